import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configEntries, ConfigError, loadConfig, type Config } from '../src/config.js';
import { temporaryFolder } from './support/temporary-folder.js';

type Environment = Readonly<Record<string, string>>;

const noFile = { path: '/nowhere/weir.yaml', required: false };

/** The configuration of a file with this text, under this environment. */
async function load(yaml: string, environment: Environment = {}): Promise<Config> {
  const path = join(await temporaryFolder(), 'weir.yaml');
  await writeFile(path, yaml);
  return loadConfig({ path, required: true }, environment);
}

async function problemsOf(yaml: string, environment: Environment = {}): Promise<readonly string[]> {
  try {
    await load(yaml, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('the configuration was taken');
}

describe('every setting', () => {
  const ofTheDesign = [
    ['WEIR_LISTEN', 'listen', '127.0.0.1:5000'],
    ['WEIR_DATA_DIR', 'dataDir', './weir-data'],
    ['WEIR_TLS_MODE', 'tls.mode', 'auto'],
    ['WEIR_TLS_CERT', 'tls.cert', undefined],
    ['WEIR_TLS_KEY', 'tls.key', undefined],
    ['WEIR_ADMIN_PASSWORD', 'admin.password', undefined],
    ['WEIR_DATABASE_URL', 'database.url', 'sqlite'],
    ['WEIR_BLOBSTORE_KIND', 'blobstore.kind', 'disk'],
    ['WEIR_PUBLIC_URL', 'publicUrl', undefined],
    ['WEIR_WORKERS', 'workers', 1],
    ['WEIR_ANONYMOUS_PULL', 'anonymous.pull', false],
    ['WEIR_POLICY_SPARSE', 'policy.sparse', []],
    ['WEIR_LOG_LEVEL', 'logLevel', 'info'],
    ['WEIR_SHUTDOWN_GRACE_SECONDS', 'shutdownGraceSeconds', 30],
    ['WEIR_DEFAULT_PROJECT', 'defaultProject', 'library'],
    ['WEIR_UPLOADS_EXPIRE_SECONDS', 'uploads.expireSeconds', 86_400],
  ] as const;

  test.each(ofTheDesign)('%s is %s, and by default %j', (variable, path, fallback) => {
    expect(configEntries.find((entry) => entry.path === path)).toMatchObject({ path, variable });
    expect(configEntries.find((entry) => entry.path === path)!.default).toEqual(fallback);
  });

  test('has a variable of its own, a meaning and a type', () => {
    expect(new Set(configEntries.map((entry) => entry.variable)).size).toBe(configEntries.length);
    for (const { path, variable, meaning, type } of configEntries) {
      expect(variable, path).toBe(
        `WEIR_${path
          .replace(/\./g, '_')
          .replace(/([a-z])([A-Z])/g, '$1_$2')
          .toUpperCase()}`,
      );
      expect(meaning, path).not.toBe('');
      expect(['text', 'number', 'flag', 'list'], path).toContain(type);
    }
  });

  test('has its default when nothing is said', () => {
    expect(loadConfig(noFile, {})).toEqual({
      listen: { host: '127.0.0.1', port: 5000 },
      dataDir: resolve('weir-data'),
      defaultProject: 'library',
      maintenance: { readOnly: false },
      history: { shownEvents: 100, deletedTagRetention: '14d' },
      workers: 1,
      logLevel: 'info',
      shutdownGraceSeconds: 30,
      admin: {},
      anonymous: { pull: false },
      projects: {
        createOnPush: 'admins',
        selfProvisioning: true,
        requestMessage: 'You may not request a new project via this API.',
      },
      secrets: { keys: [] },
      auth: {},
      oauth: { accessTokenSeconds: 86_400 },
      oidc: {
        name: 'oidc',
        scopes: ['openid', 'profile', 'groups'],
        usernameClaim: 'preferred_username',
        groupsClaim: 'groups',
        groupsPrefix: '',
      },
      audit: { retentionDays: 90 },
      tls: { mode: 'auto' },
      database: { url: 'sqlite', poolSize: 10, connectTimeoutSeconds: 10, statementTimeoutSeconds: 30 },
      blobstore: {
        kind: 'disk',
        s3: {
          prefix: '',
          bufferBytes: 128 * 1024 * 1024,
          redirect: false,
          redirectExpireSeconds: 1200,
          redirectExclude: [],
        },
      },
      policy: { sparse: [] },
      imports: { automatic: true, intervalSeconds: 900, minIntervalSeconds: 60, maxTagsPerRepository: 50 },
      upstreams: { allowPrivate: [], timeoutSeconds: 30, registries: [] },
      pullThrough: { keep: true, keepSource: false },
      uploads: { expireSeconds: 86_400, idleTimeoutSeconds: 60, minimumBytesPerSecond: 1024 },
      collection: { graceSeconds: 86_400, intervalSeconds: 60 },
      tokens: { lifetimeSeconds: 300, refreshLifetimeSeconds: 30 * 86_400 },
    });
  });

  test.each<{
    readonly variable: string;
    readonly text: string;
    readonly yaml: string;
    readonly read: (config: Config) => unknown;
    readonly value: unknown;
  }>([
    {
      variable: 'WEIR_LISTEN',
      text: '0.0.0.0:443',
      yaml: 'listen: 0.0.0.0:443',
      read: (c) => c.listen,
      value: { host: '0.0.0.0', port: 443 },
    },
    {
      variable: 'WEIR_DATA_DIR',
      text: '/srv/weir',
      yaml: 'dataDir: /srv/weir',
      read: (c) => c.dataDir,
      value: '/srv/weir',
    },
    {
      variable: 'WEIR_PUBLIC_URL',
      text: 'https://r.example.org',
      yaml: 'publicUrl: https://r.example.org',
      read: (c) => c.publicUrl,
      value: 'https://r.example.org',
    },
    {
      variable: 'WEIR_DEFAULT_PROJECT',
      text: 'main',
      yaml: 'defaultProject: main',
      read: (c) => c.defaultProject,
      value: 'main',
    },
    { variable: 'WEIR_WORKERS', text: '1', yaml: 'workers: 1', read: (c) => c.workers, value: 1 },
    { variable: 'WEIR_LOG_LEVEL', text: 'debug', yaml: 'logLevel: debug', read: (c) => c.logLevel, value: 'debug' },
    {
      variable: 'WEIR_SHUTDOWN_GRACE_SECONDS',
      text: '5',
      yaml: 'shutdownGraceSeconds: 5',
      read: (c) => c.shutdownGraceSeconds,
      value: 5,
    },
    {
      variable: 'WEIR_ADMIN_PASSWORD',
      text: '12345',
      yaml: 'admin: { password: "12345" }',
      read: (c) => c.admin.password,
      value: '12345',
    },
    {
      variable: 'WEIR_ANONYMOUS_PULL',
      text: 'true',
      yaml: 'anonymous: { pull: true }',
      read: (c) => c.anonymous.pull,
      value: true,
    },
    { variable: 'WEIR_TLS_MODE', text: 'off', yaml: 'tls: { mode: "off" }', read: (c) => c.tls.mode, value: 'off' },
    {
      variable: 'WEIR_DATABASE_URL',
      text: 'sqlite',
      yaml: 'database: { url: sqlite }',
      read: (c) => c.database.url,
      value: 'sqlite',
    },
    {
      variable: 'WEIR_BLOBSTORE_KIND',
      text: 'disk',
      yaml: 'blobstore: { kind: disk }',
      read: (c) => c.blobstore.kind,
      value: 'disk',
    },
    {
      variable: 'WEIR_POLICY_SPARSE',
      text: 'images,indexes',
      yaml: 'policy: { sparse: [images, indexes] }',
      read: (c) => c.policy.sparse,
      value: ['images', 'indexes'],
    },
    {
      variable: 'WEIR_IMPORTS_ALLOWED_REGISTRIES',
      text: 'quay.io, *.example.org:50??',
      yaml: 'imports: { allowedRegistries: [quay.io, { domainName: "*.example.org:50??" }] }',
      read: (c) => c.imports.allowedRegistries,
      value: [
        { domainName: 'quay.io', insecure: false },
        { domainName: '*.example.org:50??', insecure: false },
      ],
    },
    {
      variable: 'WEIR_UPLOADS_EXPIRE_SECONDS',
      text: '60',
      yaml: 'uploads: { expireSeconds: 60 }',
      read: (c) => c.uploads.expireSeconds,
      value: 60,
    },
    {
      variable: 'WEIR_UPLOADS_IDLE_TIMEOUT_SECONDS',
      text: '9',
      yaml: 'uploads: { idleTimeoutSeconds: 9 }',
      read: (c) => c.uploads.idleTimeoutSeconds,
      value: 9,
    },
    {
      variable: 'WEIR_UPLOADS_MINIMUM_BYTES_PER_SECOND',
      text: '0',
      yaml: 'uploads: { minimumBytesPerSecond: 0 }',
      read: (c) => c.uploads.minimumBytesPerSecond,
      value: 0,
    },
    {
      variable: 'WEIR_COLLECTION_GRACE_SECONDS',
      text: '0',
      yaml: 'collection: { graceSeconds: 0 }',
      read: (c) => c.collection.graceSeconds,
      value: 0,
    },
    {
      variable: 'WEIR_COLLECTION_INTERVAL_SECONDS',
      text: '7',
      yaml: 'collection: { intervalSeconds: 7 }',
      read: (c) => c.collection.intervalSeconds,
      value: 7,
    },
    {
      variable: 'WEIR_TOKENS_LIFETIME_SECONDS',
      text: '60',
      yaml: 'tokens: { lifetimeSeconds: 60 }',
      read: (c) => c.tokens.lifetimeSeconds,
      value: 60,
    },
    {
      variable: 'WEIR_TOKENS_REFRESH_LIFETIME_SECONDS',
      text: '99',
      yaml: 'tokens: { refreshLifetimeSeconds: 99 }',
      read: (c) => c.tokens.refreshLifetimeSeconds,
      value: 99,
    },
  ])('can be given in the file and as $variable', async ({ variable, text, yaml, read, value }) => {
    expect(read(await load(yaml))).toEqual(value);
    expect(read(await load('', { [variable]: text }))).toEqual(value);
    expect(configEntries.map((entry) => entry.variable)).toContain(variable);
  });

  test('of the environment counts more than that of the file, one by one', async () => {
    const yaml =
      'uploads:\n  expireSeconds: 100\n  idleTimeoutSeconds: 10\nlogLevel: warn\npolicy: { sparse: [images] }\n';
    const config = await load(yaml, { WEIR_UPLOADS_EXPIRE_SECONDS: '200', WEIR_POLICY_SPARSE: '' });
    expect(config.uploads).toMatchObject({ expireSeconds: 200, idleTimeoutSeconds: 10 });
    expect(config.logLevel).toBe('warn');
    expect(config.policy.sparse).toEqual([]);
  });

  test('of the certificate files goes together', async () => {
    const config = await load('tls:\n  mode: files\n  cert: /etc/tls.crt\n', { WEIR_TLS_KEY: '/etc/tls.key' });
    expect(config.tls).toEqual({ mode: 'files', cert: '/etc/tls.crt', key: '/etc/tls.key' });
  });

  test('cannot be changed once it is read', () => {
    expect(Object.isFrozen(loadConfig(noFile, {}))).toBe(true);
  });
});

describe('a value', () => {
  test.each([
    { text: '127.0.0.1:5000', host: '127.0.0.1', port: 5000 },
    { text: 'localhost:0', host: 'localhost', port: 0 },
    { text: '[::1]:5000', host: '::1', port: 5000 },
    { text: '[::]:65535', host: '::', port: 65535 },
    { text: ':5000', host: '0.0.0.0', port: 5000 },
  ])('$text of listen is a host and a port', ({ text, host, port }) => {
    expect(loadConfig(noFile, { WEIR_LISTEN: text }).listen).toEqual({ host, port });
  });

  test.each([
    { text: 'https://r.example.org', url: 'https://r.example.org' },
    { text: 'https://r.example.org/', url: 'https://r.example.org' },
    { text: 'https://r.example.org:443', url: 'https://r.example.org' },
    { text: 'http://R.example.org:8080', url: 'http://r.example.org:8080' },
    { text: 'https://[2001:db8::1]:5000', url: 'https://[2001:db8::1]:5000' },
  ])('$text of publicUrl is the origin $url', ({ text, url }) => {
    expect(loadConfig(noFile, { WEIR_PUBLIC_URL: text }).publicUrl).toBe(url);
  });

  test.each([
    { text: '', list: [] },
    { text: ' ', list: [] },
    { text: 'images', list: ['images'] },
    { text: ' images , indexes,', list: ['images', 'indexes'] },
  ])('"$text" of a list in the environment is $list', ({ text, list }) => {
    expect(loadConfig(noFile, { WEIR_POLICY_SPARSE: text }).policy.sparse).toEqual(list);
  });

  test('of the registries to import from may say that they are insecure, and be an empty list, which is none', async () => {
    const yaml = 'imports: { allowedRegistries: [{ domainName: quay.io, insecure: true }] }';
    expect((await load(yaml)).imports.allowedRegistries).toEqual([{ domainName: 'quay.io', insecure: true }]);
    expect((await load(yaml, { WEIR_IMPORTS_ALLOWED_REGISTRIES: '' })).imports.allowedRegistries).toEqual([]);
    expect((await load('')).imports.allowedRegistries).toBeUndefined();
  });

  const listenRule = 'expected host:port, such as 127.0.0.1:5000 or [::1]:5000';
  const registryRule = 'expected host or host:port, such as quay.io, *.example.org or r.example.org:5000';
  const urlRule = 'expected http(s)://host[:port] without a path';
  test.each<{ readonly variable: string; readonly text: string; readonly problem: string }>([
    { variable: 'WEIR_LISTEN', text: '5000', problem: `listen: "5000" is not valid: ${listenRule}` },
    {
      variable: 'WEIR_LISTEN',
      text: 'localhost:65536',
      problem: `listen: "localhost:65536" is not valid: ${listenRule}`,
    },
    { variable: 'WEIR_LISTEN', text: '::1:5000', problem: `listen: "::1:5000" is not valid: ${listenRule}` },
    { variable: 'WEIR_LISTEN', text: '', problem: `listen: "" is not valid: ${listenRule}` },
    {
      variable: 'WEIR_PUBLIC_URL',
      text: 'r.example.org',
      problem: `publicUrl: "r.example.org" is not valid: ${urlRule}`,
    },
    {
      variable: 'WEIR_PUBLIC_URL',
      text: 'ftp://r.example.org',
      problem: `publicUrl: "ftp://r.example.org" is not valid: ${urlRule}`,
    },
    {
      variable: 'WEIR_PUBLIC_URL',
      text: 'https://r/path',
      problem: `publicUrl: "https://r/path" is not valid: ${urlRule}`,
    },
    {
      variable: 'WEIR_PUBLIC_URL',
      text: 'https://r/?q=1',
      problem: `publicUrl: "https://r/?q=1" is not valid: ${urlRule}`,
    },
    { variable: 'WEIR_DATA_DIR', text: '', problem: 'dataDir: "" is not valid: ' },
    {
      variable: 'WEIR_DEFAULT_PROJECT',
      text: 'Upper',
      problem: 'defaultProject: "Upper" is not valid: expected a DNS label',
    },
    {
      variable: 'WEIR_DEFAULT_PROJECT',
      text: 'a/b',
      problem: 'defaultProject: "a/b" is not valid: expected a DNS label',
    },
    { variable: 'WEIR_WORKERS', text: '0', problem: 'workers: 0 is not valid: ' },
    {
      variable: 'WEIR_DATABASE_URL',
      text: 'mysql:',
      problem: 'database.url: (hidden) is not valid: expected "sqlite" or postgres://user:password@host:port/name',
    },
    { variable: 'WEIR_BLOBSTORE_KIND', text: 'tape', problem: 'blobstore.kind: "tape" is not valid: ' },
    {
      variable: 'WEIR_BLOBSTORE_KIND',
      text: 's3',
      problem: 'blobstore: {"kind":"s3"} is not valid: kind "s3" needs blobstore.s3.bucket',
    },
    {
      variable: 'WEIR_BLOBSTORE_S3_ENDPOINT',
      text: 'minio:9000',
      problem: 'blobstore.s3.endpoint: "minio:9000" is not valid: expected an http(s) URL',
    },
    {
      variable: 'WEIR_BLOBSTORE_S3_ACCESS_KEY_ID',
      text: 'AKIA',
      problem: 'blobstore.s3: (hidden) is not valid: accessKeyId and secretAccessKey go together',
    },
    {
      variable: 'WEIR_BLOBSTORE_S3_REDIRECT_EXCLUDE',
      text: '10.0.0.0/8,10.0.0.0/33',
      problem:
        'blobstore.s3.redirectExclude.1: "10.0.0.0/33" is not valid: expected an address or a range of addresses',
    },
    {
      variable: 'WEIR_BLOBSTORE_S3_PREFIX',
      text: '/a',
      problem: 'blobstore.s3.prefix: "/a" is not valid: expected names with / between them',
    },
    { variable: 'WEIR_TLS_MODE', text: 'on', problem: 'tls.mode: "on" is not valid: ' },
    {
      variable: 'WEIR_TLS_MODE',
      text: 'files',
      problem: 'tls: {"mode":"files"} is not valid: mode "files" needs tls.cert and tls.key',
    },
    { variable: 'WEIR_LOG_LEVEL', text: 'loud', problem: 'logLevel: "loud" is not valid: ' },
    { variable: 'WEIR_POLICY_SPARSE', text: 'images,layers', problem: 'policy.sparse.1: "layers" is not valid: ' },
    {
      variable: 'WEIR_IMPORTS_ALLOWED_REGISTRIES',
      text: 'quay.io,r:1:2',
      problem: `imports.allowedRegistries.1: "r:1:2" is not valid: ${registryRule}`,
    },
    {
      variable: 'WEIR_IMPORTS_ALLOWED_REGISTRIES',
      text: 'https://quay.io',
      problem: `imports.allowedRegistries.0: "https://quay.io" is not valid: ${registryRule}`,
    },
    {
      variable: 'WEIR_IMPORTS_ALLOWED_REGISTRIES',
      text: ':443',
      problem: `imports.allowedRegistries.0: ":443" is not valid: ${registryRule}`,
    },
    { variable: 'WEIR_ANONYMOUS_PULL', text: 'yes', problem: 'anonymous.pull: "yes" is not valid: ' },
    { variable: 'WEIR_SHUTDOWN_GRACE_SECONDS', text: '0', problem: 'shutdownGraceSeconds: 0 is not valid: ' },
    { variable: 'WEIR_SHUTDOWN_GRACE_SECONDS', text: '-5', problem: 'shutdownGraceSeconds: -5 is not valid: ' },
    { variable: 'WEIR_SHUTDOWN_GRACE_SECONDS', text: '1.5', problem: 'shutdownGraceSeconds: "1.5" is not valid: ' },
    { variable: 'WEIR_SHUTDOWN_GRACE_SECONDS', text: '30s', problem: 'shutdownGraceSeconds: "30s" is not valid: ' },
    { variable: 'WEIR_SHUTDOWN_GRACE_SECONDS', text: '', problem: 'shutdownGraceSeconds: "" is not valid: ' },
    { variable: 'WEIR_TOKENS_LIFETIME_SECONDS', text: '59', problem: 'tokens.lifetimeSeconds: 59 is not valid: ' },
    { variable: 'WEIR_TOKENS_LIFETIME_SECONDS', text: '3601', problem: 'tokens.lifetimeSeconds: 3601 is not valid: ' },
    {
      variable: 'WEIR_UPLOADS_MINIMUM_BYTES_PER_SECOND',
      text: '-1',
      problem: 'uploads.minimumBytesPerSecond: -1 is not valid: ',
    },
  ])(
    '$variable="$text" is refused, with its path, itself and what was expected',
    async ({ variable, text, problem }) => {
      const problems = await problemsOf('', { [variable]: text });
      expect(problems).toHaveLength(1);
      expect(problems[0]!.slice(0, problem.length)).toBe(problem);
      expect(problems[0]!.length).toBeGreaterThan('x: y is not valid: '.length);
    },
  );

  test.each([
    {
      name: 'a number that is text',
      yaml: 'shutdownGraceSeconds: "30"',
      problem: 'shutdownGraceSeconds: "30" is not valid: ',
    },
    { name: 'text that is a number', yaml: 'dataDir: 7', problem: 'dataDir: 7 is not valid: ' },
    {
      name: 'a flag that is text',
      yaml: 'anonymous: { pull: "true" }',
      problem: 'anonymous.pull: "true" is not valid: ',
    },
    {
      name: 'a list that is text',
      yaml: 'policy: { sparse: images }',
      problem: 'policy.sparse: "images" is not valid: ',
    },
    {
      name: 'a registry without its name',
      yaml: 'imports: { allowedRegistries: [{ insecure: true }] }',
      problem: 'imports.allowedRegistries.0: {"insecure":true} is not valid: expected host or host:port, such as ',
    },
    { name: 'a section that is text', yaml: 'uploads: fast', problem: 'uploads: "fast" is not valid: ' },
    { name: 'a section that is a list', yaml: 'uploads: [1]', problem: 'uploads: [1] is not valid: ' },
    { name: 'infinity', yaml: 'shutdownGraceSeconds: .inf', problem: 'shutdownGraceSeconds: ' },
    { name: 'no number', yaml: 'shutdownGraceSeconds: .nan', problem: 'shutdownGraceSeconds: ' },
  ])('in the file, $name, is refused', async ({ yaml, problem }) => {
    const problems = await problemsOf(yaml);
    expect(problems).toHaveLength(1);
    expect(problems[0]!.slice(0, problem.length)).toBe(problem);
  });

  test.each(['WEIR_SHUTDOWN_GRACE_SECONDS', 'WEIR_UPLOADS_IDLE_TIMEOUT_SECONDS', 'WEIR_COLLECTION_INTERVAL_SECONDS'])(
    'of %s that is longer than a timer of Node can wait is refused: the timer would fire at once',
    async (variable) => {
      expect(await problemsOf('', { [variable]: '2592000' })).toHaveLength(1);
    },
  );

  test('is told with every other that is wrong', async () => {
    const problems = await problemsOf('listen: nowhere\nuploads: { idleTimeoutSeconds: 0 }\n', {
      WEIR_LOG_LEVEL: 'loud',
    });
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'listen',
      'logLevel',
      'uploads.idleTimeoutSeconds',
    ]);
  });
});

describe('a name that does not exist', () => {
  test.each([
    { yaml: 'listne: x', problem: 'listne: unknown name; see "weir config list"' },
    { yaml: 'tls: { mdoe: off }', problem: 'tls.mdoe: unknown name; see "weir config list"' },
    {
      yaml: 'imports: { allowedRegistries: [{ domainName: quay.io, insecur: true }] }',
      problem: 'imports.allowedRegistries.0.insecur: unknown name; see "weir config list"',
    },
    { yaml: 'LISTEN: x', problem: 'LISTEN: unknown name; see "weir config list"' },
    { yaml: 'tls.mode: off', problem: 'tls.mode: unknown name; see "weir config list"' },
  ])('is refused in the file: $yaml', async ({ yaml, problem }) => {
    expect(await problemsOf(yaml)).toEqual([problem]);
  });

  test.each(['WEIR_LISTNE', 'WEIR_', 'WEIR_TLS', 'WEIR_TLS_MODE_', 'WEIR_tls_mode'])(
    'is refused in the environment: %s',
    async (variable) => {
      expect(await problemsOf('', { [variable]: 'x' })).toEqual([
        `${variable}: unknown variable; see "weir config list"`,
      ]);
    },
  );

  test('of another program is nothing to us, nor one of the tests', () => {
    expect(
      loadConfig(noFile, { PATH: '/bin', WEIRD: 'x', WEIR_TEST_X: 'y', WEIR_TOKEN: 't', WEIR_SERVER: 's' }).logLevel,
    ).toBe('info');
  });
});

describe('a secret', () => {
  const secret = 's3cret-'.repeat(12);

  test.each<{ readonly name: string; readonly yaml: string; readonly environment?: Environment }>([
    { name: 'that is too long', yaml: '', environment: { WEIR_ADMIN_PASSWORD: secret } },
    { name: 'that is too long, in the file', yaml: `admin: { password: ${secret} }` },
    { name: 'that is no text', yaml: `admin: { password: [${secret}] }` },
    { name: 'in the wrong place', yaml: `admin: ${secret}` },
    { name: 'in the wrong place, in a list', yaml: `admin: [{ password: ${secret} }]` },
    { name: 'beside an unknown name', yaml: `admin: { password: x, pasword: ${secret} }` },
    { name: 'in an unknown variable', yaml: '', environment: { WEIR_ADMIN_PASWORD: secret } },
    {
      name: 'in the URL of a database',
      yaml: '',
      environment: { WEIR_DATABASE_URL: `mysql://weir:${secret}@db/weir` },
    },
    { name: 'in a public URL', yaml: '', environment: { WEIR_PUBLIC_URL: `https://weir:${secret}@r.example.org` } },
    { name: 'in a file that is no YAML', yaml: `admin: { password: ${secret}\nlisten: x: y` },
  ])('$name is not shown', async ({ yaml, environment = {} }) => {
    const problems = await problemsOf(yaml, environment);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).not.toContain('s3cret');
  });

  test('of more bytes than bcrypt looks at is refused, whatever the number of its letters', async () => {
    expect(await problemsOf('', { WEIR_ADMIN_PASSWORD: 'é'.repeat(37) })).toHaveLength(1);
    expect(loadConfig(noFile, { WEIR_ADMIN_PASSWORD: 'é'.repeat(36) }).admin.password).toBe('é'.repeat(36));
  });

  test('that is empty is refused', async () => {
    expect(await problemsOf('', { WEIR_ADMIN_PASSWORD: '' })).toEqual([
      expect.stringContaining('admin.password: (hidden) is not valid') as string,
    ]);
  });
});

describe('a configuration file', () => {
  test.each([
    { name: 'is empty', yaml: '' },
    { name: 'is all comments', yaml: '# nothing\n' },
    { name: 'is an empty document', yaml: '---\n' },
    { name: 'has an empty mapping', yaml: '{}' },
  ])('that $name gives the defaults', async ({ yaml }) => {
    expect(await load(yaml)).toEqual(loadConfig(noFile, {}));
  });

  test.each([
    { name: 'is a list', yaml: '- listen' },
    { name: 'is a text', yaml: 'listen' },
  ])('that $name is refused', async ({ yaml }) => {
    expect(await problemsOf(yaml)).toEqual([
      expect.stringMatching(/weir\.yaml: expected a mapping of names to values$/),
    ]);
  });

  test.each([
    { name: 'has a name twice', yaml: 'logLevel: info\nlogLevel: warn\n' },
    { name: 'is no YAML', yaml: 'listen: [1, 2\nlogLevel: x' },
    { name: 'has tabs', yaml: 'tls:\n\tmode: off\n' },
  ])('that $name is refused, with its path and the line', async ({ yaml }) => {
    const problems = await problemsOf(yaml);
    expect(problems).toEqual([expect.stringMatching(/weir\.yaml: .* at line \d+, column \d+/)]);
  });

  test('that was asked for must be there', () => {
    expect(() => loadConfig({ path: '/nowhere/weir.yaml', required: true }, {})).toThrow(ConfigError);
    expect(() => loadConfig({ path: '/nowhere/weir.yaml', required: true }, {})).toThrow(
      '/nowhere/weir.yaml: no such file',
    );
  });

  test('that is a folder is refused like any other that is wrong', async () => {
    const path = await temporaryFolder();
    expect(() => loadConfig({ path, required: true }, {})).toThrow(ConfigError);
  });

  test('has its problems on lines of their own', async () => {
    const path = join(await temporaryFolder(), 'weir.yaml');
    await writeFile(path, 'a: 1\nb: 2\n');
    expect(() => loadConfig({ path, required: true }, {})).toThrow(
      'configuration is not valid:\n  a: unknown name; see "weir config list"\n  b: unknown name; see "weir config list"',
    );
  });
});
