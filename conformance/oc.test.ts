import { beforeAll, describe, expect, test } from 'vitest';
import type { Login } from './support/api-token.js';
import { run, runRefused, tryRun, type Command, type Outcome } from './support/command.js';
import { siteWithWeir, skipLoudly, type Site } from './support/suite.js';
import { addUser } from './support/users.js';

// There is no package of oc to install. `npm test` therefore leaves this file out where WEIR_TEST_OC names none, as it
// would otherwise report a gap that nobody who runs the tests could close.
const oc = process.env['WEIR_TEST_OC'];

if (oc === undefined || oc === '') skipLoudly('oc', 'WEIR_TEST_OC names no oc');
else {
  describe('oc', () => {
    suite(oc);
  });
}

/** A user at a command line of their own. */
interface Terminal {
  oc(...args: readonly string[]): Promise<string>;
  refused(...args: readonly string[]): Promise<string>;
  tried(...args: readonly string[]): Promise<Outcome>;
}

function openTerminal({ workspace }: Site, program: string, name: string): Terminal {
  const command: Command = {
    environment: {
      ...workspace.environment,
      HOME: workspace.makeDirectory(`home-${name}`),
      KUBECONFIG: workspace.path(`home-${name}`, 'config'),
    },
    workingDirectory: workspace.directory,
  };
  return {
    oc: (...args) => run(program, args, command),
    refused: (...args) => runRefused(program, args, command),
    tried: (...args) => tryRun(program, args, command),
  };
}

function suite(program: string): void {
  const site = siteWithWeir();
  let devLogin: Login;
  let dev: Terminal;
  let admin: Terminal;

  const logIn = (terminal: Terminal, { username, password }: Login): Promise<string> =>
    terminal.oc('login', site.weir.url, ...trust(), '-u', username, '-p', password);
  const trust = (): string[] => ['--certificate-authority', site.weir.caFile];

  beforeAll(async () => {
    devLogin = await addUser(site, 'dev');
    await addUser(site, 'bob');
    dev = openTerminal(site, program, 'dev');
    admin = openTerminal(site, program, 'admin');
    await logIn(admin, site.weir);
    await logIn(dev, devLogin);
  });

  test('logs in with a password, and is told when it is wrong', async () => {
    const stranger = openTerminal(site, program, 'stranger');
    expect(await stranger.refused('login', site.weir.url, ...trust(), '-u', 'dev', '-p', 'wrong')).toBe(
      'Login failed (401 Unauthorized)\nVerify you have provided the correct credentials.\n',
    );
    const output = await logIn(stranger, devLogin);
    expect(output).toContain('Login successful.\n');
    expect(output).toContain("You don't have any projects. You can try to create a new project, by running");
    expect(await stranger.oc('whoami')).toBe('dev\n');
    expect(await stranger.oc('whoami', '--show-server')).toBe(`${site.weir.url}\n`);
    expect(await stranger.oc('whoami', '-t')).toMatch(/^sha256~[\w-]{43}\n$/);
  });

  test('makes a project, and finds it again', async () => {
    const words = ['--display-name', 'The demo', '--description', 'For a test'];
    const output = await dev.oc('new-project', 'demo', ...words);
    expect(output).toMatch(new RegExp(`^Now using project "demo" on server "${site.weir.url}".\n`));
    expect(await dev.oc('project')).toBe(`Using project "demo" on server "${site.weir.url}".\n`);
    expect(await dev.oc('projects')).toContain('demo');
    expect(await dev.oc('projects', '-q')).toBe('demo\n');
    expect(await dev.oc('get', 'projects')).toMatch(/^NAME +DISPLAY NAME +STATUS\ndemo +The demo +Active\n$/);
    const description = await dev.oc('describe', 'project', 'demo');
    expect(description).toMatch(/^Display Name:\s+The demo$/m);
    expect(description).toMatch(/^Description:\s+For a test$/m);
    expect(description).toMatch(/openshift\.io\/requester=dev$/m);
    expect(await dev.refused('new-project', 'demo')).toContain('project.project.openshift.io "demo" already exists');
    expect(await dev.refused('new-project', 'openshift-mine')).toContain('Error from server (Forbidden)');
    expect(await dev.refused('project', 'nowhere')).toContain('You are not a member of project "nowhere"');
  });

  test('goes from one project to another', async () => {
    await dev.oc('new-project', 'second', '--skip-config-write');
    expect(await dev.oc('project', '-q')).toBe('demo\n');
    expect(await dev.oc('project', 'second')).toBe(`Now using project "second" on server "${site.weir.url}".\n`);
    expect(await dev.oc('project', 'demo')).toBe(`Now using project "demo" on server "${site.weir.url}".\n`);
  });

  test('gives a role to a user, and takes it away', async () => {
    expect(await dev.oc('policy', 'add-role-to-user', 'view', 'bob')).toBe(
      'clusterrole.rbac.authorization.k8s.io/view added: "bob"\n',
    );
    const who = await dev.oc('policy', 'who-can', 'get', 'configmaps');
    expect(who).toMatch(/^Namespace: demo\nVerb: +get\nResource: +configmaps\n$/m);
    expect(who).toMatch(/^ *(Users: +)?bob$/m);
    expect(who).toMatch(/^ *(Users: +)?dev$/m);
    expect(await dev.oc('policy', 'who-can', 'get', 'secrets')).not.toMatch(/^ *(Users: +)?bob$/m);
    expect(await dev.oc('policy', 'remove-role-from-user', 'view', 'bob')).toBe(
      'clusterrole.rbac.authorization.k8s.io/view removed: "bob"\n',
    );
    expect(await dev.oc('policy', 'who-can', 'get', 'configmaps')).not.toMatch(/^ *(Users: +)?bob$/m);
    expect(await dev.refused('policy', 'remove-role-from-user', 'view', 'bob')).toContain(
      'unable to locate any RoleBinding for ClusterRole "view"',
    );
  });

  test('asks what one may do', async () => {
    expect(await dev.oc('auth', 'can-i', 'create', 'secrets')).toBe('yes\n');
    expect(await dev.tried('auth', 'can-i', 'delete', 'namespaces', '--all-namespaces')).toMatchObject({ exitCode: 1 });
    const list = await dev.oc('auth', 'can-i', '--list');
    expect(list).toMatch(/^Resources +Non-Resource URLs +Resource Names +Verbs\n/);
    expect(list).toMatch(/^selfsubjectaccessreviews\.authorization\.k8s\.io +\[\] +\[\] +\[create\]$/m);
  });

  test('makes a service account with a token and a secret to pull with', async () => {
    expect(await dev.oc('create', 'sa', 'robot')).toBe('serviceaccount/robot created\n');
    const token = (await dev.oc('create', 'token', 'robot')).trim();
    const robot = openTerminal(site, program, 'robot');
    expect(await robot.oc('login', site.weir.url, ...trust(), `--token=${token}`)).toContain(
      `Logged into "${site.weir.url}" as "system:serviceaccount:demo:robot" using the token provided.`,
    );
    expect(await robot.oc('whoami')).toBe('system:serviceaccount:demo:robot\n');

    const credentials = ['--docker-server=registry.test', '--docker-username=dev', '--docker-password=pw'];
    expect(await dev.oc('create', 'secret', 'docker-registry', 'pull', ...credentials)).toBe('secret/pull created\n');
    expect(await dev.oc('secrets', 'link', 'robot', 'pull', '--for=pull')).toBe('');
    const linked = (): Promise<string> =>
      dev.oc('get', 'sa', 'robot', '-o', 'jsonpath={.imagePullSecrets[?(@.name=="pull")].name}');
    expect(await linked()).toBe('pull');
    expect(await dev.oc('secrets', 'unlink', 'robot', 'pull')).toBe('serviceaccount/robot updated\n');
    expect(await linked()).toBe('');
    expect(await dev.oc('extract', 'secret/pull', '--to=-')).toContain('"registry.test"');
  });

  test('makes groups, and lets them in', async () => {
    expect(await admin.oc('adm', 'groups', 'new', 'crew', 'dev')).toBe('group.user.openshift.io/crew created\n');
    expect(await admin.oc('adm', 'groups', 'add-users', 'crew', 'bob')).toBe(
      'group.user.openshift.io/crew added: "bob"\n',
    );
    expect(await admin.oc('get', 'group', 'crew')).toMatch(/^NAME +USERS\ncrew +dev, bob\n$/);
    expect(await dev.oc('policy', 'add-role-to-group', 'view', 'crew')).toBe(
      'clusterrole.rbac.authorization.k8s.io/view added: "crew"\n',
    );
    const bob = openTerminal(site, program, 'bob');
    await logIn(bob, { username: 'bob', password: 'the password of bob' });
    expect(await bob.oc('auth', 'can-i', 'get', 'configmaps', '-n', 'demo')).toBe('yes\n');
    expect(await admin.oc('adm', 'groups', 'remove-users', 'crew', 'bob')).toBe(
      'group.user.openshift.io/crew removed: "bob"\n',
    );
    expect(await bob.tried('auth', 'can-i', 'get', 'configmaps', '-n', 'demo')).toMatchObject({ exitCode: 1 });
    expect(await dev.refused('adm', 'groups', 'new', 'mine')).toContain(
      'Error from server (Forbidden): groups.user.openshift.io is forbidden',
    );
  });

  test('says how a project is doing', async () => {
    expect(await dev.oc('status')).toContain('You have no services, deployment configs, or build configs.');
    expect(await dev.oc('get', 'users', '~', '-o', 'jsonpath={.metadata.name}')).toBe('dev');
  });

  test('applies, edits and waits as kubectl does', async () => {
    const file = site.workspace.writeFile(
      'account.yaml',
      'apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: applied }\nimagePullSecrets: [{ name: pull }]\n',
    );
    expect(await dev.oc('apply', '-f', file)).toBe('serviceaccount/applied created\n');
    expect(await dev.oc('apply', '-f', file)).toBe('serviceaccount/applied unchanged\n');
    expect(await dev.oc('label', 'sa/applied', 'tier=gold')).toBe('serviceaccount/applied labeled\n');
    expect(await dev.oc('wait', 'sa/applied', '--for=jsonpath={.metadata.labels.tier}=gold')).toBe(
      'serviceaccount/applied condition met\n',
    );
    expect(await dev.oc('delete', 'sa', 'applied')).toMatch(/^serviceaccount "applied" deleted/);
  });

  test('deletes a project, and returns when it is gone', async () => {
    expect(await dev.oc('delete', 'project', 'second')).toBe('project.project.openshift.io "second" deleted\n');
    expect(await dev.oc('projects', '-q')).toBe('demo\n');
    expect(await dev.refused('get', 'project', 'second')).toMatch(/NotFound|Forbidden/);
  });

  test('logs out, and its token is good for nothing then', async () => {
    const token = (await dev.oc('whoami', '-t')).trim();
    expect(await dev.oc('logout')).toBe(`Logged "dev" out on "${site.weir.url}"\n`);
    expect(await dev.refused('login', site.weir.url, ...trust(), `--token=${token}`)).toContain(
      'The token provided is invalid or expired',
    );
    await logIn(dev, devLogin);
    expect(await dev.oc('whoami')).toBe('dev\n');
  });
}
