import { X509Certificate } from 'node:crypto';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { CertificateAuthority, type ServerCertificate } from '../../src/tls/certificate-authority.js';
import { CertificateRefresh, certificateFiles } from '../../src/tls/server-certificates.js';
import { temporaryFolder } from '../support/temporary-folder.js';

describe('a server with a certificate from files', () => {
  let folder: string;
  let server: Server;
  let refresh: CertificateRefresh;
  let old: ServerCertificate;
  let young: ServerCertificate;
  beforeEach(async () => {
    folder = await temporaryFolder();
    old = await new CertificateAuthority(join(folder, 'old')).serverCertificate(['localhost']);
    young = await new CertificateAuthority(join(folder, 'young')).serverCertificate(['localhost']);
    await write(old);
    const source = certificateFiles(join(folder, 'tls.crt'), join(folder, 'tls.key'));
    const first = await source();
    server = createServer({ ...first }, (_request, response) => response.end());
    refresh = new CertificateRefresh(source, server, first);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(
      () =>
        new Promise((resolve) =>
          server.close(() => {
            resolve();
          }),
        ),
    );
  });

  async function write(pair: Partial<ServerCertificate>): Promise<void> {
    if (pair.cert !== undefined) await writeFile(join(folder, 'tls.crt'), pair.cert);
    if (pair.key !== undefined) await writeFile(join(folder, 'tls.key'), pair.key);
  }

  /** What a new client is shown. */
  function shown(): Promise<string> {
    return new Promise((resolve, reject) => {
      const { port } = server.address() as AddressInfo;
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()!.fingerprint256);
        socket.destroy();
      });
      socket.once('error', reject);
    });
  }

  const fingerprint = ({ cert }: ServerCertificate) => new X509Certificate(cert).fingerprint256;

  test('keeps it while the files stay the same', async () => {
    expect(await refresh.run()).toBe(false);
    expect(await shown()).toBe(fingerprint(old));
  });

  test('shows a new one to new clients, without a restart', async () => {
    expect(await shown()).toBe(fingerprint(old));
    await write(young);
    expect(await refresh.run()).toBe(true);
    expect(await shown()).toBe(fingerprint(young));
    expect(await refresh.run()).toBe(false);
  });

  test('leaves connections that are open as they are', async () => {
    const { port } = server.address() as AddressInfo;
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    await write(young);
    await refresh.run();
    const answer = new Promise<string>((resolve) =>
      socket.once('data', (data: Buffer) => {
        resolve(data.toString());
      }),
    );
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1\.1 200/);
    socket.destroy();
  });

  test.each<{ readonly name: string; readonly pair: (young: ServerCertificate) => Partial<ServerCertificate> }>([
    { name: 'a new certificate with the old key', pair: ({ cert }) => ({ cert }) },
    { name: 'a new key with the old certificate', pair: ({ key }) => ({ key }) },
    { name: 'half a certificate', pair: ({ cert, key }) => ({ cert: cert.slice(0, cert.length / 2), key }) },
    { name: 'empty files', pair: () => ({ cert: '', key: '' }) },
    { name: 'an empty certificate, as while it is being copied', pair: () => ({ cert: '' }) },
    { name: 'an empty key, as while it is being copied', pair: () => ({ key: '' }) },
    { name: 'no PEM at all', pair: () => ({ cert: 'hello', key: 'world' }) },
  ])('keeps the old one when it finds $name, says so, and takes the new one when it is whole', async ({ pair }) => {
    await write(pair(young));
    await expect(refresh.run()).rejects.toThrow();
    expect(await shown()).toBe(fingerprint(old));
    await write(young);
    expect(await refresh.run()).toBe(true);
    expect(await shown()).toBe(fingerprint(young));
  });

  test('keeps the old one when the files are gone, and takes the new one when they are back', async () => {
    await rm(join(folder, 'tls.key'));
    await expect(refresh.run()).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await shown()).toBe(fingerprint(old));
    await copyFile(join(folder, 'young/private/server.crt'), join(folder, 'tls.crt'));
    await copyFile(join(folder, 'young/private/server.key'), join(folder, 'tls.key'));
    expect(await refresh.run()).toBe(true);
  });
});
