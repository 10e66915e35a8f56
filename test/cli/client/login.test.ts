import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ClientError } from '../../../src/cli/client/client-error.js';
import { UsageError } from '../../../src/cli/usage-error.js';
import { admin, startRegistry, user, type TestRegistry } from '../../support/registry.js';
import { startAnswering } from './answering-server.js';
import { ClientTerminal } from './client-terminal.js';

describe('weir login', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    await registry.addProject('shop');
    const annotations = { 'openshift.io/display-name': 'Backstage \u001b[31m' };
    await registry.api('/apis/project.openshift.io/v1/projects', {
      method: 'POST',
      body: { metadata: { name: 'backstage', annotations } },
    });
  });
  afterAll(() => registry.stop());

  const host = (): string => new URL(registry.url).host;

  test('keeps a token for a password, which every other command then uses', async () => {
    const terminal = await ClientTerminal.open();
    const { stdout } = await terminal.weir('login', registry.url, '-u', admin.name, '-p', admin.password);
    const path = terminal.path('.kube', 'config');
    expect(stdout).toContain(`Logged in to ${host()} as admin; ${path} has the token.\nUsing project backstage of `);
    const written = await readFile(path, 'utf8');
    expect(written).not.toContain(admin.password);
    const cluster = host().replaceAll('.', '-');
    expect(parse(written)).toMatchObject({
      'current-context': `backstage/${cluster}/admin`,
      clusters: [{ name: cluster, cluster: { server: registry.url } }],
      users: [{ name: `admin/${cluster}`, user: { token: expect.stringMatching(/^sha256~[\w-]{43}$/) as string } }],
    });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const listed = await terminal.weir('projects');
    expect(listed.stdout).toMatch(/^ +NAME +DISPLAY NAME +STATUS\n/);
    expect(listed.stdout).toMatch(/^\* +backstage +Backstage \[31m +Active$/m);
    expect(listed.stdout).toMatch(/^ +shop +Active$/m);
    const inJson = JSON.parse((await terminal.weir('projects', '-o', 'json')).stdout) as {
      kind: string;
      items: unknown[];
    };
    expect(inJson.kind).toBe('ProjectList');
    expect(inJson.items).toContainEqual(
      expect.objectContaining({ metadata: expect.objectContaining({ name: 'shop' }) as object }),
    );
  });

  test('remembers the project that was chosen', async () => {
    const terminal = await ClientTerminal.open();
    await terminal.weir('login', registry.url, '-u', admin.name, '-p', admin.password);
    expect((await terminal.weir('project', 'shop')).stdout).toBe(`Using project shop on ${host()}.\n`);
    expect((await terminal.weir('project')).stdout).toBe('shop\n');
    expect((await terminal.weir('projects')).stdout).toMatch(/^\* +shop/m);
    await expect(terminal.weir('project', 'nowhere')).rejects.toThrow('"nowhere"');
    await terminal.weir('login', registry.url, '-u', admin.name, '-p', admin.password);
    expect((await terminal.weir('project')).stdout).toBe('shop\n');
  });

  test('asks for what it is not told, and renews the login that is current', async () => {
    const terminal = await ClientTerminal.open();
    terminal.answers.push('user', user.password);
    await terminal.weir('login', registry.url);
    expect(terminal.questions).toEqual([`User name at ${host()}: `, `Password of user at ${host()}: `]);
    terminal.answers.push('', user.password);
    expect((await terminal.weir('login')).stdout).toContain(`Logged in to ${host()} as user`);
    expect(terminal.questions[2]).toBe(`User name at ${host()} [user]: `);
  });

  test('reads a password that is piped in', async () => {
    const terminal = await ClientTerminal.open();
    terminal.answers.push(user.password);
    const { stdout } = await terminal.weir('login', registry.url, '-u', 'user', '--password-stdin');
    expect(stdout).toContain('as user');
    expect(terminal.questions).toEqual(['input']);
  });

  test('takes a token, and asks the server whose it is', async () => {
    const terminal = await ClientTerminal.open({ WEIR_TOKEN: await registry.apiToken(user) });
    expect((await terminal.weir('login', registry.url)).stdout).toContain(`Logged in to ${host()} as user`);
    terminal.environment['WEIR_TOKEN'] = 'sha256~wrong';
    const refused = terminal.weir('login', registry.url);
    await expect(refused).rejects.toThrow('does not take the token');
    await expect(refused).rejects.not.toThrow(/sha256~wrong/);
  });

  test('says that a password is wrong without saying it, and keeps nothing', async () => {
    const terminal = await ClientTerminal.open();
    const refused = terminal.weir('login', registry.url, '-u', 'user', '-p', 'wrong-password');
    await expect(refused).rejects.toThrow(ClientError);
    await expect(refused).rejects.toThrow(`${host()} does not let user in: the user name or the password is wrong`);
    await expect(refused).rejects.not.toThrow(/wrong-password/);
    await expect(stat(terminal.path('.kube'))).rejects.toThrow('ENOENT');
  });

  test('gives docker and podman the token, which then are enough for weir as well', async () => {
    const terminal = await ClientTerminal.open();
    const path = terminal.path('auth.json');
    await terminal.weir('login', registry.url, '-u', 'user', '-p', user.password, '--registry', path);
    const { auths } = JSON.parse(await readFile(path, 'utf8')) as { auths: Record<string, { auth: string }> };
    const [name, token] = Buffer.from(auths[host()]!.auth, 'base64').toString().split(':');
    expect(name).toBe('user');
    const challenge = await registry.fetch('/auth/token?service=weir-registry', {
      as: { name: 'user', password: token! },
    });
    expect(challenge.status).toBe(200);
    const other = await ClientTerminal.open({ REGISTRY_AUTH_FILE: path });
    expect((await other.weir('projects', '--server', registry.url)).stdout).toMatch(/^ *NAME/);
  });

  test('is not needed where podman has kept the password', async () => {
    const terminal = await ClientTerminal.open();
    const auth = Buffer.from(`admin:${admin.password}`).toString('base64');
    await terminal.write('run/containers/auth.json', JSON.stringify({ auths: { [host()]: { auth } } }));
    expect((await terminal.weir('projects', '--server', registry.url)).stdout).toMatch(/^ *shop +Active$/m);
  });

  test.each([
    { name: 'two passwords', args: ['x', '-u', 'a', '-p', 'b', '--password-stdin'], message: 'either --password or' },
    { name: 'a token and a user', args: ['x', '-u', 'a', '--token', 't'], message: 'either a token or a user' },
    { name: 'two servers', args: ['a.example', '--server', 'b.example'], message: 'named twice' },
    { name: 'no server', args: [], message: 'name the server: weir login HOST' },
    { name: 'two ways to trust', args: ['x', '--ca', 'f', '--insecure'], message: 'either --ca or --insecure' },
  ])('refuses $name as a mistake of whoever called it', async ({ args, message }) => {
    const terminal = await ClientTerminal.open();
    const refused = terminal.weir('login', ...args);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
  });

  test('sends no password to a server that does not ask for one', async () => {
    const server = await startAnswering({ 'GET /oauth/authorize': {} });
    const terminal = await ClientTerminal.open();
    await expect(terminal.weir('login', server.url, '-u', 'ada', '-p', 'secret')).rejects.toThrow(
      `${server.host} does not ask for a password; is this the address of a Weir server?`,
    );
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });
});

describe('weir login by TLS', () => {
  test('needs the authority once, and keeps it', async () => {
    const registry = await startRegistry({ WEIR_TLS_MODE: 'auto' });
    try {
      const terminal = await ClientTerminal.open();
      const login = ['login', registry.url, '-u', admin.name, '-p', admin.password];
      await expect(terminal.weir(...login)).rejects.toThrow('give its certificate with --ca FILE');
      const caFile = join(registry.dataDir, 'tls', 'ca.crt');
      await terminal.weir(...login, '--ca', caFile);
      expect((await terminal.weir('projects')).stdout).toMatch(/^\* +library/m);
      await terminal.weir(...login);
      const written = parse(await readFile(terminal.path('.kube', 'config'), 'utf8')) as object;
      expect(written).toMatchObject({ clusters: [{ cluster: { server: registry.url } }] });
      expect((await terminal.weir('projects')).stderr).toBe('');
    } finally {
      await registry.stop();
    }
  });
});
