import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  credentialHelper,
  credentialHosts,
  credentialPaths,
  findCredentials,
  putCredentials,
} from '../../../src/cli/client/docker-credentials.js';
import { ClientTerminal } from './client-terminal.js';

const auth = (text: string): string => Buffer.from(text).toString('base64');

async function fileOf(content: object | string): Promise<string> {
  const terminal = await ClientTerminal.open();
  return terminal.write('auth.json', typeof content === 'string' ? content : JSON.stringify(content));
}

describe('credentials of docker and podman', () => {
  test('are looked for where podman and docker keep them', () => {
    const place = { home: '/home/ada', userId: 1000 };
    expect(credentialPaths({ ...place, environment: {} })).toEqual([
      '/run/containers/1000/auth.json',
      '/home/ada/.config/containers/auth.json',
      '/home/ada/.docker/config.json',
    ]);
    expect(
      credentialPaths({ ...place, environment: { XDG_RUNTIME_DIR: '/run/user/1000', DOCKER_CONFIG: '/d' } }),
    ).toEqual(['/run/user/1000/containers/auth.json', '/home/ada/.config/containers/auth.json', '/d/config.json']);
    expect(credentialPaths({ ...place, environment: { REGISTRY_AUTH_FILE: '/x/auth.json' } })).toEqual([
      '/x/auth.json',
    ]);
  });

  test.each([
    { key: 'reg.example', entry: { auth: auth('ada:a:b') }, password: 'a:b' },
    { key: 'https://reg.example/v2/', entry: { auth: auth('ada:secret') }, password: 'secret' },
    { key: 'reg.example:443', entry: { username: 'ada', password: 'plain' }, password: 'plain' },
  ])('of $key are found for the host', async ({ key, entry, password }) => {
    const path = await fileOf({ auths: { 'other.example': { auth: auth('eve:x') }, [key]: entry } });
    expect(await findCredentials(['/nowhere', path], 'reg.example')).toEqual({ name: 'ada', password });
  });

  test.each([
    { name: 'another port', key: 'reg.example:5000' },
    { name: 'a part of the registry', key: 'reg.example/shop' },
    { name: 'a host whose name ends the same', key: 'evil-reg.example' },
  ])('of $name are not for the host', async ({ key }) => {
    const path = await fileOf({ auths: { [key]: { auth: auth('ada:secret') } } });
    expect(await findCredentials([path], 'reg.example')).toBeUndefined();
  });

  test('kept by a program are told of', async () => {
    const path = await fileOf({
      auths: { 'reg.example': {} },
      credsStore: 'desktop',
      credHelpers: { 'x.example': 'ecr' },
    });
    expect(await findCredentials([path], 'reg.example')).toBeUndefined();
    expect(await credentialHelper([path], 'reg.example')).toBe('desktop');
    expect(await credentialHelper([path], 'x.example')).toBe('ecr');
    expect(await credentialHelper([path], 'y.example')).toBeUndefined();
    expect(await credentialHosts([path])).toEqual([]);
  });

  test.each([
    { name: 'no JSON', content: '{"auths": {"reg.example": {"auth": "secret"' },
    { name: 'something else', content: '{"auths": [{"auth": "secret"}]}' },
  ])('in a file that is $name are refused without a word of what is in it', async ({ content }) => {
    const path = await fileOf(content);
    const refused = findCredentials([path], 'reg.example');
    await expect(refused).rejects.toThrow(`the credentials in ${path} cannot be read`);
    await expect(refused).rejects.not.toThrow(/secret/);
  });
});

describe('keeping a token', () => {
  test('writes what oc registry login writes, and leaves the rest alone', async () => {
    const path = await fileOf({
      auths: { 'other.example': { auth: 'eA==' }, 'https://reg.example/v1/': { auth: 'b2xk' } },
      experimental: 'enabled',
    });
    await putCredentials(path, 'reg.example', 'sha256~x');
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
      auths: { 'other.example': { auth: 'eA==' }, 'reg.example': { auth: auth('user:sha256~x') } },
      experimental: 'enabled',
    });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test('makes a file that is not there', async () => {
    const terminal = await ClientTerminal.open();
    const path = terminal.path('deep', 'auth.json');
    await putCredentials(path, 'reg.example', 'sha256~x');
    expect(await findCredentials([path], 'reg.example')).toEqual({ name: 'user', password: 'sha256~x' });
  });

  test('says what to do where docker would not read it', async () => {
    const path = await fileOf({ credsStore: 'desktop' });
    await expect(putCredentials(path, 'reg.example', 'sha256~x')).rejects.toThrow(
      `${path} says that desktop keeps the passwords, so one in the file would not be read; pipe it in with "docker login`,
    );
    expect(await readFile(join(path), 'utf8')).not.toContain('sha256~x');
  });
});
