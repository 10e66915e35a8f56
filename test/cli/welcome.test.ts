import { describe, expect, test } from 'vitest';
import { welcome, type Welcome } from '../../src/cli/welcome.js';

const first: Welcome = {
  version: '0.1.0',
  url: 'https://127.0.0.1:5000',
  listenUrl: 'https://127.0.0.1:5000',
  dataDir: '/srv/weir',
  caCertificatePath: '/srv/weir/tls/ca.crt',
  passwordPath: '/srv/weir/admin-password',
};

describe('the welcome', () => {
  test('fits on one screen', () => {
    const lines = welcome(first).split('\n');
    expect(lines.length).toBeLessThanOrEqual(24);
  });

  test('tells the URL, the CA certificate and the first password, and lines to paste', () => {
    const text = welcome(first);
    for (const part of [
      'Weir 0.1.0 is serving https://127.0.0.1:5000',
      'CA certificate  /srv/weir/tls/ca.crt',
      'first password  /srv/weir/admin-password (user admin)',
      'podman login --cert-dir /srv/weir/tls -u admin --password-stdin < /srv/weir/admin-password 127.0.0.1:5000',
      'podman push --cert-dir /srv/weir/tls 127.0.0.1:5000/hello:v1',
      'docker login -u admin --password-stdin < /srv/weir/admin-password 127.0.0.1:5000',
      'docker push 127.0.0.1:5000/hello:v1',
    ]) {
      expect(text).toContain(part);
    }
    expect(text).not.toContain('listening at');
  });

  test('tells where it listens when clients call it by another name', () => {
    const text = welcome({ ...first, url: 'https://registry.example.org' });
    expect(text).toContain('is serving https://registry.example.org');
    expect(text).toContain('listening at    https://127.0.0.1:5000');
    expect(text).toContain('docker push registry.example.org/hello:v1');
  });

  test('tells podman not to expect TLS where there is none', () => {
    const text = welcome({ ...first, url: 'http://127.0.0.1:5000', caCertificatePath: undefined });
    expect(text).toContain('podman push --tls-verify=false 127.0.0.1:5000/hello:v1');
    expect(text).not.toContain('CA certificate');
  });

  test('names no password file when there is none', () => {
    const text = welcome({ ...first, passwordPath: undefined });
    expect(text).toContain('docker login -u admin 127.0.0.1:5000');
    expect(text).not.toContain('first password');
  });

  test('quotes paths that a shell would take apart', () => {
    const text = welcome({ ...first, passwordPath: "/home/o'brien/my data/admin-password" });
    expect(text).toContain(`--password-stdin < '/home/o'\\''brien/my data/admin-password' `);
  });
});
