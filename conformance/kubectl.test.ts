import { beforeAll, describe, expect, test } from 'vitest';
import { fetchApiToken } from './support/api-token.js';
import { run, runRefused, tryRun, type Command, type Outcome } from './support/command.js';
import { follow } from './support/follow.js';
import { writeKubeconfig } from './support/kubeconfig.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';
import { addUser } from './support/users.js';

/** One object of each kind that a namespace usually has, as people keep them in a file. */
const application = `
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, labels: { app: web } }
data: { color: blue, size: small }
---
apiVersion: v1
kind: Secret
metadata: { name: password, labels: { app: web } }
stringData: { password: swordfish }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: robot, labels: { app: web } }
imagePullSecrets: [{ name: pull }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, labels: { app: web } }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get, list, watch] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: readers, labels: { app: web } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects:
  - { kind: User, apiGroup: rbac.authorization.k8s.io, name: dev }
  - { kind: Group, apiGroup: rbac.authorization.k8s.io, name: crew }
  - { kind: ServiceAccount, name: robot, namespace: NAMESPACE }
`;

describeWithPrograms('kubectl', ['kubectl'], () => {
  const site = siteWithWeir();
  let admin: Command;
  let dev: Command;
  const program = (): string => installedProgram('kubectl');
  const kubectl = (...args: readonly string[]): Promise<string> => run(program(), args, admin);
  const refused = (...args: readonly string[]): Promise<string> => runRefused(program(), args, admin);
  const given = (input: string, ...args: readonly string[]): Promise<string> =>
    run(program(), args, { ...admin, input });
  const tried = (input: string, ...args: readonly string[]): Promise<Outcome> =>
    tryRun(program(), args, { ...admin, input });
  /** A namespace of its own for one test; the returned function runs kubectl in it. */
  const namespace = async (name: string): Promise<(...args: readonly string[]) => Promise<string>> => {
    await kubectl('create', 'namespace', name);
    return (...args) => kubectl('-n', name, ...args);
  };

  beforeAll(async () => {
    const commandOf = (name: string, token: string): Command => ({
      environment: {
        ...site.workspace.environment,
        KUBECONFIG: writeKubeconfig(site, [{ name, token, namespace: 'default' }]),
      },
      workingDirectory: site.workspace.directory,
    });
    admin = commandOf('admin', await fetchApiToken(site.weir));
    dev = commandOf('dev', await fetchApiToken(site.weir, await addUser(site, 'dev')));
  });

  describe('creates', () => {
    test('what a file names, each kind of object', async () => {
      await namespace('from-file');
      const created = await given(
        application.replace('NAMESPACE', 'from-file'),
        '-n',
        'from-file',
        'create',
        '-f',
        '-',
      );
      expect(created.split('\n')).toEqual([
        'configmap/settings created',
        'secret/password created',
        'serviceaccount/robot created',
        'role.rbac.authorization.k8s.io/reader created',
        'rolebinding.rbac.authorization.k8s.io/readers created',
        '',
      ]);
      const password = ['get', 'secret', 'password', '-o', 'jsonpath={.data.password} {.type}'];
      expect(await kubectl('-n', 'from-file', ...password)).toBe(
        `${Buffer.from('swordfish').toString('base64')} Opaque`,
      );
    });

    test('what its own subcommands make', async () => {
      expect(await kubectl('create', 'namespace', 'by-command')).toBe('namespace/by-command created\n');
      const create = (...args: readonly string[]): Promise<string> => kubectl('-n', 'by-command', 'create', ...args);
      expect(await create('configmap', 'settings', '--from-literal=color=blue')).toBe('configmap/settings created\n');
      expect(await create('secret', 'generic', 'password', '--from-literal=password=swordfish')).toBe(
        'secret/password created\n',
      );
      const server = ['--docker-server=registry.test', '--docker-username=dev', '--docker-password=pw'];
      expect(await create('secret', 'docker-registry', 'pull', ...server)).toBe('secret/pull created\n');
      expect(await create('serviceaccount', 'robot')).toBe('serviceaccount/robot created\n');
      expect(await create('role', 'reader', '--verb=get,list', '--resource=configmaps')).toBe(
        'role.rbac.authorization.k8s.io/reader created\n',
      );
      expect(await create('rolebinding', 'readers', '--role=reader', '--serviceaccount=by-command:robot')).toBe(
        'rolebinding.rbac.authorization.k8s.io/readers created\n',
      );
      expect(await create('clusterrole', 'lister', '--verb=list', '--resource=namespaces')).toBe(
        'clusterrole.rbac.authorization.k8s.io/lister created\n',
      );
      expect(await create('clusterrolebinding', 'listers', '--clusterrole=lister', '--group=crew')).toBe(
        'clusterrolebinding.rbac.authorization.k8s.io/listers created\n',
      );
      expect(await create('quota', 'small', '--hard=secrets=10,configmaps=10')).toBe('resourcequota/small created\n');

      const get = (...args: readonly string[]): Promise<string> => kubectl('-n', 'by-command', 'get', ...args);
      expect(await get('secret', 'pull', '-o', 'jsonpath={.type}')).toBe('kubernetes.io/dockerconfigjson');
      const config = await get('secret', 'pull', '-o', 'jsonpath={.data.\\.dockerconfigjson}');
      expect(JSON.parse(Buffer.from(config, 'base64').toString('utf8'))).toMatchObject({
        auths: { 'registry.test': { username: 'dev', password: 'pw' } },
      });
      expect(JSON.parse(await get('rolebinding', 'readers', '-o', 'json'))).toMatchObject({
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
        subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'by-command' }],
      });
      await kubectl('delete', 'clusterrolebinding/listers', 'clusterrole/lister');
    });

    test('a token of a service account, which is then someone', async () => {
      const work = await namespace('tokens');
      await work('create', 'serviceaccount', 'robot');
      const token = (await work('create', 'token', 'robot', '--duration=1h')).trim();
      // Without the other token of the kubeconfig, which would win.
      const environment = { ...admin.environment, KUBECONFIG: '/nonexistent' };
      const connection = ['--server', site.weir.url, '--certificate-authority', site.weir.caFile, '--token', token];
      const whoami = await run(program(), ['auth', 'whoami', '-o', 'json', ...connection], { ...admin, environment });
      expect(JSON.parse(whoami)).toMatchObject({
        status: {
          userInfo: {
            username: 'system:serviceaccount:tokens:robot',
            groups: expect.arrayContaining(['system:serviceaccounts', 'system:serviceaccounts:tokens']) as unknown,
          },
        },
      });
      expect(await refused('-n', 'tokens', 'create', 'token', 'nobody')).toContain(
        'serviceaccounts "nobody" not found',
      );
    });

    test('nothing twice', async () => {
      const work = await namespace('twice');
      await work('create', 'configmap', 'settings');
      expect(await refused('-n', 'twice', 'create', 'configmap', 'settings')).toBe(
        'error: failed to create configmap: configmaps "settings" already exists\n',
      );
      expect(await refused('create', 'namespace', 'twice')).toBe(
        'Error from server (AlreadyExists): namespaces "twice" already exists\n',
      );
    });

    test('names by prefix', async () => {
      await namespace('generated');
      const file = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { generateName: settings- }\n';
      expect(await given(file, '-n', 'generated', 'create', '-f', '-')).toMatch(
        /^configmap\/settings-[a-z0-9]{5} created\n$/,
      );
    });

    test('nothing in a dry run of the server', async () => {
      await namespace('dry');
      const create = ['create', 'configmap', 'trial', '--dry-run=server'];
      expect(await kubectl('-n', 'dry', ...create)).toBe('configmap/trial created (server dry run)\n');
      expect(await refused('-n', 'dry', 'get', 'configmap', 'trial')).toBe(
        'Error from server (NotFound): configmaps "trial" not found\n',
      );
    });

    test('nothing that has a field of no such name, unless told to', async () => {
      await namespace('strict');
      const file = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: misspelt }\ndta: { color: blue }\n';
      const create = ['-n', 'strict', 'create', '-f', '-'];
      const { exitCode, stderr } = await tried(file, ...create);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/Error from server \(BadRequest\): .*strict decoding error: unknown field "dta"/);
      const warned = await tried(file, ...create, '--validate=warn');
      expect(warned).toMatchObject({ exitCode: 0, stdout: 'configmap/misspelt created\n' });
      expect(warned.stderr).toContain('Warning: unknown field "dta"');
    });

    test('nothing that is not valid, and says where', async () => {
      await namespace('invalid');
      const file = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: Not_A_Name }\n';
      const { stderr } = await tried(file, '-n', 'invalid', 'create', '-f', '-');
      expect(stderr).toContain('The ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: "Not_A_Name"');
    });
  });

  describe('changes', () => {
    const settings = (color: string): string =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\ndata: { color: ${color} }\n`;

    test('by apply, once for each difference', async () => {
      await namespace('applied');
      const apply = (file: string): Promise<string> => given(file, '-n', 'applied', 'apply', '-f', '-');
      const file = application.replace('NAMESPACE', 'applied');
      const said = (word: string): string[] => [
        `configmap/settings ${word}`,
        `secret/password ${word}`,
        `serviceaccount/robot ${word}`,
        `role.rbac.authorization.k8s.io/reader ${word}`,
        `rolebinding.rbac.authorization.k8s.io/readers ${word}`,
        '',
      ];
      expect((await apply(file)).split('\n')).toEqual(said('created'));
      const again = (await apply(file)).split('\n');
      // A Secret's stringData is never given back, and so differs for ever.
      expect(again.filter((line) => !line.startsWith('secret/'))).toEqual(
        said('unchanged').filter((line) => !line.startsWith('secret/')),
      );
      expect(await apply(file.replace('color: blue, size: small', 'color: red'))).toContain(
        'configmap/settings configured\n',
      );
      expect(await kubectl('-n', 'applied', 'get', 'configmap', 'settings', '-o', 'jsonpath={.data}')).toBe(
        '{"color":"red"}',
      );
    });

    test('by apply, and leaves alone what the file does not have', async () => {
      const work = await namespace('together');
      const account = (name: string): string =>
        `apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: robot }\nsecrets: [{ name: ${name} }]\n`;
      const apply = (file: string): Promise<string> => given(file, '-n', 'together', 'apply', '-f', '-');
      await apply(account('one'));
      await work('patch', 'serviceaccount', 'robot', '-p', '{"secrets":[{"name":"other"}]}');
      expect(await apply(account('two'))).toBe('serviceaccount/robot configured\n');
      const names = await work('get', 'serviceaccount', 'robot', '-o', 'jsonpath={.secrets[*].name}');
      expect(names.split(' ').sort()).toEqual(['other', 'two']);
    });

    test('by edit, with an editor', async () => {
      const work = await namespace('edited');
      await given(settings('blue'), '-n', 'edited', 'create', '-f', '-');
      const edit = (editor: string): Promise<string> =>
        run(program(), ['-n', 'edited', 'edit', 'configmap', 'settings'], {
          ...admin,
          environment: { ...admin.environment, KUBE_EDITOR: editor },
        });
      expect(await edit("sed -i 's/color: blue/color: green/'")).toBe('configmap/settings edited\n');
      expect(await work('get', 'configmap', 'settings', '-o', 'jsonpath={.data.color}')).toBe('green');
      expect(await edit('true')).toBe('');
    });

    test.each([
      { type: 'strategic', patch: '{"data":{"size":"large","color":null}}', data: { size: 'large', shape: 'round' } },
      { type: 'merge', patch: '{"data":{"color":"red","size":null}}', data: { color: 'red', shape: 'round' } },
      {
        type: 'json',
        patch: '[{"op":"test","path":"/data/color","value":"blue"},{"op":"remove","path":"/data/shape"}]',
        data: { color: 'blue', size: 'small' },
      },
    ])('by a $type patch', async ({ type, patch, data }) => {
      const work = await namespace(`patched-${type}`);
      const literals = ['--from-literal=color=blue', '--from-literal=size=small', '--from-literal=shape=round'];
      await work('create', 'configmap', 'settings', ...literals);
      const change = ['patch', 'configmap', 'settings', '--type', type, '-p', patch];
      expect(await work(...change)).toBe('configmap/settings patched\n');
      expect(JSON.parse(await work('get', 'configmap', 'settings', '-o', 'jsonpath={.data}'))).toEqual(data);
    });

    test('by a strategic patch, one element of a list by its name', async () => {
      const work = await namespace('elements');
      await work('create', 'serviceaccount', 'robot');
      const patch = (body: string): Promise<string> => work('patch', 'serviceaccount', 'robot', '-p', body);
      const names = (list: string): Promise<string> =>
        work('get', 'serviceaccount', 'robot', '-o', `jsonpath={.${list}[*].name}`);
      await patch('{"secrets":[{"name":"one"},{"name":"two"}]}');
      await patch('{"secrets":[{"name":"three"}]}');
      expect((await names('secrets')).split(' ').sort()).toEqual(['one', 'three', 'two']);
      await patch('{"secrets":[{"$patch":"delete","name":"two"}]}');
      expect((await names('secrets')).split(' ').sort()).toEqual(['one', 'three']);
      // This list has no key to merge by, whatever one might expect.
      await patch('{"imagePullSecrets":[{"name":"one"},{"name":"two"}]}');
      await patch('{"imagePullSecrets":[{"name":"three"}]}');
      expect(await names('imagePullSecrets')).toBe('three');
    });

    test('labels and annotations', async () => {
      const work = await namespace('labeled');
      await work('create', 'configmap', 'settings');
      expect(await work('label', 'configmap', 'settings', 'tier=gold')).toBe('configmap/settings labeled\n');
      expect(await work('annotate', 'configmap', 'settings', 'owner=dev')).toBe('configmap/settings annotated\n');
      expect(await refused('-n', 'labeled', 'label', 'configmap', 'settings', 'tier=silver')).toContain(
        "'tier' already has a value (gold), and --overwrite is false",
      );
      const metadata = ['get', 'configmap', 'settings', '-o', 'jsonpath={.metadata.labels} {.metadata.annotations}'];
      expect(await work(...metadata)).toBe('{"tier":"gold"} {"owner":"dev"}');
      expect(await work('label', 'configmap', 'settings', 'tier-')).toBe('configmap/settings unlabeled\n');
      expect(await work('annotate', 'configmap', 'settings', 'owner-')).toBe('configmap/settings annotated\n');
      expect(await work(...metadata)).toBe(' ');
      await refused('-n', 'labeled', 'label', 'configmap', 'settings', 'tier=gold', '--resource-version=1');
    });

    test('by replace, unless someone else was faster', async () => {
      const work = await namespace('replaced');
      await given(settings('blue'), '-n', 'replaced', 'create', '-f', '-');
      const read = await work('get', 'configmap', 'settings', '-o', 'json');
      const replacement = read.replace('"blue"', '"red"');
      expect(await given(replacement, '-n', 'replaced', 'replace', '-f', '-')).toBe('configmap/settings replaced\n');
      expect(await work('get', 'configmap', 'settings', '-o', 'jsonpath={.data.color}')).toBe('red');
      const { exitCode, stderr } = await tried(read, '-n', 'replaced', 'replace', '-f', '-');
      expect(exitCode).toBe(1);
      expect(stderr).toContain('Error from server (Conflict)');
      expect(stderr).toContain(
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; please apply your changes to the latest version and try again',
      );
    });

    test('what diff has shown', async () => {
      await namespace('compared');
      await given(settings('blue'), '-n', 'compared', 'apply', '-f', '-');
      const diff = (color: string): Promise<Outcome> => tried(settings(color), '-n', 'compared', 'diff', '-f', '-');
      expect(await diff('blue')).toMatchObject({ exitCode: 0, stdout: '' });
      const { exitCode, stdout } = await diff('red');
      expect(exitCode).toBe(1);
      expect(stdout).toContain('\n-  color: blue\n+  color: red\n');
      expect(await kubectl('-n', 'compared', 'get', 'configmap', 'settings', '-o', 'jsonpath={.data.color}')).toBe(
        'blue',
      );
    });
  });

  describe('reads', () => {
    let work: (...args: readonly string[]) => Promise<string>;
    const get = (...args: readonly string[]): Promise<string> => work('get', ...args);

    beforeAll(async () => {
      work = await namespace('read');
      await given(application.replace('NAMESPACE', 'read'), '-n', 'read', 'create', '-f', '-');
      for (const [name, rank] of [
        ['first', '2'],
        ['second', '3'],
        ['third', '1'],
      ] as const) {
        await work('create', 'configmap', name, `--from-literal=rank=${rank}`);
        await work('label', 'configmap', name, 'app=list');
      }
    });

    test.each([
      { what: ['configmap', 'settings'], table: /^NAME +DATA +AGE\nsettings +2 +\d+m?s\n$/ },
      { what: ['secret', 'password'], table: /^NAME +TYPE +DATA +AGE\npassword +Opaque +1 +\d+m?s\n$/ },
      { what: ['serviceaccount', 'robot'], table: /^NAME +(SECRETS +)?AGE\nrobot +(\d+ +)?\d+m?s\n$/ },
      { what: ['role', 'reader'], table: /^NAME +CREATED AT\nreader +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n$/ },
      { what: ['rolebinding', 'readers'], table: /^NAME +ROLE +AGE\nreaders +Role\/reader +\d+m?s\n$/ },
      {
        what: ['rolebinding', 'readers', '-o', 'wide'],
        table:
          /^NAME +ROLE +AGE +USERS +GROUPS +SERVICEACCOUNTS\nreaders +Role\/reader +\d+m?s +dev +crew +read\/robot\n$/,
      },
      { what: ['namespace', 'read'], table: /^NAME +STATUS +AGE\nread +Active +\d+m?s\n$/ },
      { what: ['configmap', '-l', 'app=web', '-o', 'name'], table: /^configmap\/settings\n$/ },
      { what: ['configmap,secret', '-l', 'app=web', '-o', 'name'], table: /^configmap\/settings\nsecret\/password\n$/ },
      {
        what: ['configmap', 'settings', '-o', 'jsonpath={.data.color}-{.metadata.namespace}-{.kind}'],
        table: /^blue-read-ConfigMap$/,
      },
      {
        what: ['configmap', 'settings', '-o', 'custom-columns=N:.metadata.name,C:.data.color'],
        table: /^N +C\nsettings +blue\n$/,
      },
      {
        what: ['configmap', 'settings', '-o', 'yaml'],
        table: /^apiVersion: v1\ndata:\n {2}color: blue\n {2}size: small\nkind: ConfigMap\nmetadata:\n/,
      },
      { what: ['configmap', '-l', 'app=list', '--no-headers'], table: /^first .*\nsecond .*\nthird .*\n$/ },
      {
        what: ['configmap', '-l', 'app=list', '--no-headers', '--sort-by=.data.rank'],
        table: /^third .*\nfirst .*\nsecond .*\n$/,
      },
      { what: ['configmap', '-l', 'app in (list)', '--no-headers', '--chunk-size=2'], table: /^(.+\n){3}$/ },
      {
        what: ['configmap', '-l', 'app=list', '--field-selector=metadata.name!=first', '-o', 'name'],
        table: /^configmap\/second\nconfigmap\/third\n$/,
      },
      { what: ['secret', '--field-selector=type=Opaque', '-o', 'name'], table: /^secret\/password\n$/ },
      {
        what: ['configmap', '-l', 'app=web', '--show-labels', '--no-headers'],
        table: /^settings +2 +\d+m?s +app=web\n$/,
      },
    ])('$what', async ({ what, table }) => {
      expect(await get(...what)).toMatch(table);
    });

    test('all namespaces at once', async () => {
      await namespace('elsewhere');
      await kubectl('-n', 'elsewhere', 'create', 'configmap', 'settings');
      const rows = await kubectl('get', 'configmap', '-A', '--field-selector=metadata.name=settings');
      expect(rows).toMatch(/^NAMESPACE +NAME +DATA +AGE\n/);
      expect(rows).toMatch(/^read +settings +2 /m);
      expect(rows).toMatch(/^elsewhere +settings +0 /m);
    });

    test('an object as JSON, with all that identifies it', async () => {
      expect(JSON.parse(await get('configmap', 'settings', '-o', 'json'))).toMatchObject({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: {
          name: 'settings',
          namespace: 'read',
          labels: { app: 'web' },
          uid: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) as unknown,
          resourceVersion: expect.stringMatching(/^\d+$/) as unknown,
          creationTimestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as unknown,
        },
        data: { color: 'blue', size: 'small' },
      });
      expect(JSON.parse(await get('configmap', '-l', 'app=none', '-o', 'json'))).toMatchObject({
        apiVersion: 'v1',
        kind: 'List',
        items: [],
      });
    });

    test.each(['configmap/settings', 'secret/password', 'serviceaccount/robot', 'role/reader', 'rolebinding/readers'])(
      'a description of %s',
      async (object) => {
        const name = object.replace(/.*\//, '');
        expect(await work('describe', object)).toMatch(new RegExp(`^Name: +${name}\n`));
      },
    );

    test('a description of a namespace with its quota', async () => {
      await namespace('described');
      await kubectl('-n', 'described', 'create', 'quota', 'small', '--hard=configmaps=10');
      const description = await kubectl('describe', 'namespace', 'described');
      expect(description).toMatch(/^Name: +described\n/);
      expect(description).toMatch(/^Status: +Active$/m);
      expect(description).toMatch(/^ +Name: +small$/m);
    });

    test('nothing where there is nothing', async () => {
      await namespace('empty');
      const { stdout, stderr } = await tried('', '-n', 'empty', 'get', 'secret', '-l', 'app=none');
      expect({ stdout, stderr }).toEqual({ stdout: '', stderr: 'No resources found in empty namespace.\n' });
      expect(await refused('get', 'nonsense')).toContain('error: the server doesn\'t have a resource type "nonsense"');
    });

    test('changes as they happen', async () => {
      const watched = await namespace('watched');
      await watched('create', 'configmap', 'settings');
      const watch = follow(program(), ['-n', 'watched', 'get', 'configmap', '-w', '-l', '!other'], admin);
      try {
        await watch.waitFor(/^settings +0 /m);
        await watched('patch', 'configmap', 'settings', '-p', '{"data":{"color":"blue"}}');
        await watch.waitFor(/^settings +1 /m);
        await watched('create', 'configmap', 'more', '--from-literal=a=1', '--from-literal=b=2');
        await watch.waitFor(/^more +2 /m);
      } finally {
        await watch.stop();
      }
      const events = follow(
        program(),
        ['-n', 'watched', 'get', 'configmap', 'more', '-w', '--output-watch-events'],
        admin,
      );
      try {
        await events.waitFor(/^ADDED +more +2 /m);
        await watched('delete', 'configmap', 'more');
        await events.waitFor(/^DELETED +more +2 /m);
      } finally {
        await events.stop();
      }
    });
  });

  describe('waits', () => {
    test('until a field has a value', async () => {
      const work = await namespace('awaited');
      await work('create', 'configmap', 'state', '--from-literal=phase=new');
      const wait = work('wait', 'configmap/state', '--for=jsonpath={.data.phase}=ready', '--timeout=60s');
      await work('patch', 'configmap', 'state', '-p', '{"data":{"phase":"ready"}}');
      expect(await wait).toBe('configmap/state condition met\n');
      expect(
        await refused('-n', 'awaited', 'wait', 'configmap/state', '--for=jsonpath={.data.phase}=never', '--timeout=1s'),
      ).toContain('timed out waiting for the condition');
    });

    test('until an object is gone, which a finalizer delays', async () => {
      const work = await namespace('leaving');
      const file = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: state, finalizers: [weir.test/hold] }\n';
      await given(file, '-n', 'leaving', 'create', '-f', '-');
      await work('delete', 'configmap', 'state', '--wait=false');
      expect(await work('get', 'configmap', 'state', '-o', 'jsonpath={.metadata.deletionTimestamp}')).toMatch(/Z$/);
      // With its requests shown, so as to know when it is waiting.
      const wait = follow(program(), ['-n', 'leaving', 'wait', 'configmap/state', '--for=delete', '-v=6'], admin);
      try {
        await wait.waitFor(/watch=true/);
        await work('patch', 'configmap', 'state', '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
        await wait.waitFor(/^configmap\/state condition met$/m);
      } finally {
        await wait.stop();
      }
    });
  });

  describe('deletes', () => {
    test('one object, several, or all', async () => {
      const work = await namespace('deleted');
      for (const name of ['a', 'b', 'c', 'd', 'e']) await work('create', 'configmap', name);
      await work('label', 'configmap', 'e', 'app=web');
      expect(await work('delete', 'configmap', 'a')).toMatch(/^configmap "a" deleted( from deleted namespace)?\n$/);
      expect(await work('delete', 'configmap', 'b', '--wait=false')).toMatch(/^configmap "b" deleted/);
      expect(await work('delete', 'configmap', 'c', '--dry-run=server')).toMatch(/^configmap "c" deleted/);
      expect(await work('delete', 'configmap', '-l', 'app=web')).toMatch(/^configmap "e" deleted/);
      expect(await work('get', 'configmap', '--field-selector=metadata.name!=x', '-o', 'name')).toMatch(
        /^configmap\/c\nconfigmap\/d\n/,
      );
      expect(await work('delete', 'configmap', '--all')).toMatch(/^configmap "c" deleted/);
      expect(await work('get', 'configmap', 'd', '--ignore-not-found', '-o', 'name')).toBe('');
      expect(await refused('-n', 'deleted', 'delete', 'configmap', 'a')).toBe(
        'Error from server (NotFound): configmaps "a" not found\n',
      );
      expect(await work('delete', 'configmap', 'a', '--ignore-not-found')).toBe('');
    });

    test('a namespace with all that is in it', async () => {
      await namespace('doomed');
      await given(application.replace('NAMESPACE', 'doomed'), '-n', 'doomed', 'create', '-f', '-');
      expect(await kubectl('delete', 'namespace', 'doomed')).toBe('namespace "doomed" deleted\n');
      expect(await refused('get', 'namespace', 'doomed')).toBe(
        'Error from server (NotFound): namespaces "doomed" not found\n',
      );
      await namespace('doomed');
      expect(await kubectl('-n', 'doomed', 'get', 'configmap', 'settings', '--ignore-not-found')).toBe('');
    });
  });

  describe('explains', () => {
    test.each([
      {
        field: 'serviceaccounts.secrets',
        kind: 'ServiceAccount',
        says: /^FIELD: +secrets <\[\]\w+>$[^]*^ +name\t<string>$/m,
      },
      {
        field: 'rolebindings.subjects',
        kind: 'RoleBinding',
        says: /^FIELD: +subjects <\[\]\w+>$[^]*^ +kind\t<string> -required-$/m,
      },
      { field: 'configmaps', kind: 'ConfigMap', says: /^ +data\t<map\[string\]string>$/m },
    ])('$field', async ({ field, kind, says }) => {
      const explanation = await kubectl('explain', field);
      expect(explanation).toMatch(new RegExp(`^KIND: +${kind}$`, 'm'));
      expect(explanation).toMatch(says);
    });

    test('which resources and versions there are', async () => {
      const resources = (await kubectl('api-resources', '-o', 'name')).trim().split('\n');
      expect(resources).toEqual(
        expect.arrayContaining([
          'configmaps',
          'namespaces',
          'resourcequotas',
          'secrets',
          'serviceaccounts',
          'projects.project.openshift.io',
          'projectrequests.project.openshift.io',
          'users.user.openshift.io',
          'groups.user.openshift.io',
          'roles.rbac.authorization.k8s.io',
          'clusterrolebindings.rbac.authorization.k8s.io',
        ]),
      );
      expect(await kubectl('api-resources', '--no-headers', '--api-group=')).toMatch(
        /^configmaps +cm +v1 +true +ConfigMap$/m,
      );
      const versions = (await kubectl('api-versions')).trim().split('\n');
      expect(versions).toEqual(
        expect.arrayContaining([
          'authentication.k8s.io/v1',
          'authorization.k8s.io/v1',
          'project.openshift.io/v1',
          'rbac.authorization.k8s.io/v1',
          'user.openshift.io/v1',
          'v1',
        ]),
      );
    });
  });

  describe('knows who may do what', () => {
    const asDev = (...args: readonly string[]): Promise<Outcome> => tryRun(program(), args, dev);

    test('who one is', async () => {
      expect(await kubectl('auth', 'whoami')).toMatch(/^Username +admin$/m);
      const { stdout } = await asDev('auth', 'whoami', '-o', 'json');
      expect(JSON.parse(stdout)).toMatchObject({
        kind: 'SelfSubjectReview',
        status: {
          userInfo: {
            username: 'dev',
            groups: expect.arrayContaining(['system:authenticated', 'system:authenticated:oauth']) as unknown,
          },
        },
      });
    });

    test('yes and no', async () => {
      await namespace('allowed');
      expect(await kubectl('auth', 'can-i', 'create', 'configmaps', '-n', 'allowed')).toBe('yes\n');
      expect(await kubectl('auth', 'can-i', '*', '*', '--all-namespaces')).toBe('yes\n');
      const ask = (verb: string): Promise<Outcome> => asDev('auth', 'can-i', verb, 'configmaps', '-n', 'allowed');
      expect(await ask('get')).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^no\b/) as unknown });
      await kubectl('-n', 'allowed', 'create', 'rolebinding', 'viewers', '--clusterrole=view', '--user=dev');
      expect(await ask('get')).toMatchObject({ exitCode: 0, stdout: 'yes\n' });
      expect(await ask('create')).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^no\b/) as unknown });
      const { stdout } = await asDev('auth', 'can-i', '--list', '-n', 'allowed');
      expect(stdout).toMatch(/^Resources +Non-Resource URLs +Resource Names +Verbs\n/);
      expect(stdout).toMatch(/^configmaps +\[\] +\[\] +\[get list watch\]$/m);
    });

    test('and says no in full', async () => {
      await namespace('forbidden');
      expect(await asDev('-n', 'forbidden', 'get', 'secrets')).toEqual({
        exitCode: 1,
        stdout: '',
        stderr:
          'Error from server (Forbidden): secrets is forbidden: User "dev" cannot list resource "secrets" in API group "" in the namespace "forbidden"\n',
      });
      const { stderr } = await asDev('-n', 'forbidden', 'create', 'role', 'r', '--verb=get', '--resource=secrets');
      expect(stderr).toContain(
        'roles.rbac.authorization.k8s.io is forbidden: User "dev" cannot create resource "roles" in API group "rbac.authorization.k8s.io" in the namespace "forbidden"',
      );
    });

    test('and grants nothing that the granter does not have', async () => {
      await namespace('escalated');
      await kubectl('-n', 'escalated', 'create', 'rolebinding', 'admins', '--clusterrole=admin', '--user=dev');
      const grant = (role: string): Promise<Outcome> =>
        asDev('-n', 'escalated', 'create', 'rolebinding', `grant-${role}`, `--clusterrole=${role}`, '--user=friend');
      expect(await grant('view')).toMatchObject({ exitCode: 0 });
      const { exitCode, stderr } = await grant('cluster-admin');
      expect(exitCode).toBe(1);
      expect(stderr).toContain('is attempting to grant RBAC permissions not currently held');
    });

    test('acts as another, when an administrator says so', async () => {
      expect(await kubectl('--as=dev', 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}')).toBe('dev');
      const asGroup = ['--as=dev', '--as-group=crew', 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.groups}'];
      expect(await kubectl(...asGroup)).toContain('"crew"');
      expect(await refused('--as=dev', 'get', 'secrets', '-A')).toContain('User "dev" cannot list resource "secrets"');
      const { exitCode, stderr } = await asDev('--as=admin', 'get', 'namespaces');
      expect(exitCode).toBe(1);
      expect(stderr).toContain(
        'users "admin" is forbidden: User "dev" cannot impersonate resource "users" in API group "" at the cluster scope',
      );
    });

    test('and lets in no one with a token that is none', async () => {
      const environment = { ...admin.environment, KUBECONFIG: '/nonexistent' };
      const connection = ['--server', site.weir.url, '--certificate-authority', site.weir.caFile];
      const args = ['get', 'configmaps', ...connection, '--token', 'sha256~none'];
      expect(await runRefused(program(), args, { ...admin, environment })).toContain(
        'error: You must be logged in to the server',
      );
    });
  });
});
