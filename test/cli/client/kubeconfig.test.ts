import { lstat, readFile, stat, symlink } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ClientError } from '../../../src/cli/client/client-error.js';
import { Kubeconfig, tokenOf, trustOf } from '../../../src/cli/client/kubeconfig.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';

const written = `
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: shop/reg-example:443/ada
clusters:
- name: reg-example:443
  cluster: {server: 'https://reg.example:443', certificate-authority: ca.crt, proxy-url: 'http://proxy'}
- name: other
  cluster: {server: 'https://other.example:6443', insecure-skip-tls-verify: true}
- name: nested
  cluster: {server: 'https://other.example/k8s/clusters/c1'}
contexts:
- name: nested
  context: {cluster: nested, user: bob}
- name: other
  context: {cluster: other, user: bob}
- name: shop/reg-example:443/ada
  context: {cluster: 'reg-example:443', namespace: shop, user: ada/reg-example:443}
users:
- name: ada/reg-example:443
  user: {token: ada-token}
- name: bob
  user: {token: bob-token, tokenFile: token.txt}
`;

async function files(contents: Readonly<Record<string, string>>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, content] of Object.entries(contents)) await writeFile(join(folder, name), content);
  return folder;
}

describe('a kubeconfig', () => {
  test('tells where the server of the current context is, whom to trust, and who speaks', async () => {
    const folder = await files({ config: written, 'ca.crt': 'PEM' });
    const { current } = await Kubeconfig.read([join(folder, 'config')]);
    expect(current).toMatchObject({ server: new URL('https://reg.example'), namespace: 'shop' });
    expect(await tokenOf(current!)).toBe('ada-token');
    expect(await trustOf(current!)).toEqual({ ca: 'PEM', isInsecure: false });
  });

  test('has another context for another server, whose token is in a file', async () => {
    const folder = await files({ config: written, 'token.txt': 'renewed-token\n' });
    const kubeconfig = await Kubeconfig.read([join(folder, 'config')]);
    const context = kubeconfig.contextOf(new URL('https://other.example:6443'))!;
    expect(context.name).toBe('other');
    expect(await tokenOf(context)).toBe('renewed-token');
    expect(await trustOf(context)).toEqual({ ca: undefined, isInsecure: true });
    expect(kubeconfig.contextOf(new URL('https://other.example'))).toBeUndefined();
  });

  test('may be several files, of which the first to say a thing wins', async () => {
    const first = 'users: [{name: ada/reg-example:443, user: {token: first}}]';
    const folder = await files({ first, second: written });
    const paths = ['first', 'nowhere', 'second'].map((name) => join(folder, name));
    const { current } = await Kubeconfig.read(paths);
    expect(await tokenOf(current!)).toBe('first');
  });

  test.each([
    { user: '{exec: {command: aws, args: [secret-argument]}}', message: 'a program to run (exec: aws)' },
    { user: '{auth-provider: {name: oidc}}', message: 'an auth-provider (oidc)' },
    { user: '{client-certificate-data: abcd}', message: 'a client certificate' },
    { user: '{username: ada, password: secret-password}', message: 'a password' },
  ])('says plainly that it does not use $message', async ({ user, message }) => {
    const content = `${written.split('users:')[0]!}users: [{name: ada/reg-example:443, user: ${user}}]`;
    const folder = await files({ config: content });
    const { current } = await Kubeconfig.read([join(folder, 'config')]);
    await expect(tokenOf(current!)).rejects.toThrow(ClientError);
    await expect(tokenOf(current!)).rejects.toThrow(
      `the kubeconfig has ${message} for user ada/reg-example:443, which weir does not use; log in with "weir login"`,
    );
  });

  test.each([
    {
      name: 'no YAML',
      content: 'users: [{name: x, user: {token: secret}}',
      message: 'is not valid: line 1 is no YAML',
    },
    { name: 'no list', content: 'users: {name: secret}', message: 'is not valid: users is not what it has to be' },
    { name: 'a number', content: 'users: [{name: x, user: {token: 1}}]', message: 'users.0.user.token is not' },
  ])('that is $name is refused without a word of what is in it', async ({ content, message }) => {
    const folder = await files({ config: content });
    const refused = Kubeconfig.read([join(folder, 'config')]);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(/secret/);
  });

  test('whose context is not there is refused when it is asked for', async () => {
    const folder = await files({ config: 'current-context: gone' });
    const kubeconfig = await Kubeconfig.read([join(folder, 'config')]);
    expect(() => kubeconfig.current).toThrow('has no context gone');
    expect(kubeconfig.contextOf(new URL('https://reg.example'))).toBeUndefined();
  });
});

describe('a login', () => {
  const login = {
    server: new URL('https://new.reg.example:5000'),
    user: 'ada',
    token: 'sha256~x',
    namespace: 'shop',
    isInsecure: false,
  };

  test('is written as oc writes it, into a file that nobody else can read', async () => {
    const path = join(await temporaryFolder(), 'deep', 'config');
    const kubeconfig = await Kubeconfig.read([path]);
    expect(await kubeconfig.logIn({ ...login, caFile: '/etc/ca.crt' })).toBe(path);
    expect(parse(await readFile(path, 'utf8'))).toEqual({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'shop/new-reg-example:5000/ada',
      clusters: [
        {
          name: 'new-reg-example:5000',
          cluster: { 'certificate-authority': '/etc/ca.crt', server: 'https://new.reg.example:5000' },
        },
      ],
      users: [{ name: 'ada/new-reg-example:5000', user: { token: 'sha256~x' } }],
      contexts: [
        {
          name: 'shop/new-reg-example:5000/ada',
          context: { cluster: 'new-reg-example:5000', namespace: 'shop', user: 'ada/new-reg-example:5000' },
        },
      ],
    });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
  });

  test('names the usual port, and no project where there is none', async () => {
    const path = join(await temporaryFolder(), 'config');
    const kubeconfig = await Kubeconfig.read([path]);
    const server = new URL('https://reg.example');
    await kubeconfig.logIn({ ...login, server, namespace: undefined, user: 'system:serviceaccount:shop:ci' });
    const { current } = await Kubeconfig.read([path]);
    expect(current).toMatchObject({
      name: '/reg-example:443/system:serviceaccount:shop:ci',
      userName: 'system:serviceaccount:shop:ci/reg-example:443',
      namespace: undefined,
      cluster: { value: { server: 'https://reg.example:443' } },
    });
  });

  test('leaves everything else in the file as it was, and a link a link', async () => {
    const folder = await files({ real: written });
    const path = join(folder, 'config');
    await symlink(join(folder, 'real'), path);
    await (await Kubeconfig.read([path])).logIn(login);
    const before = parse(written) as { users: unknown[]; clusters: unknown[]; preferences: unknown };
    const after = parse(await readFile(join(folder, 'real'), 'utf8')) as typeof before;
    expect(after.preferences).toEqual({ colors: true });
    expect(after.users.slice(0, 2)).toEqual(before.users);
    expect(after.clusters.slice(0, 3)).toEqual(before.clusters);
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
  });

  test('replaces the one before of the same user at the same server', async () => {
    const path = join(await temporaryFolder(), 'config');
    await (await Kubeconfig.read([path])).logIn({ ...login, token: 'old', isInsecure: true });
    await (await Kubeconfig.read([path])).logIn({ ...login, token: 'new', ca: 'PEM' });
    const kubeconfig = await Kubeconfig.read([path]);
    expect(await readFile(path, 'utf8')).not.toContain('old');
    expect(await trustOf(kubeconfig.current!)).toEqual({ ca: 'PEM', isInsecure: false });
  });
});
