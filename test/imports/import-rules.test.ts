import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { accepted, from, StreamApi } from '../streams/stream-api.js';
import { basic, startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { addPerson } from '../support/identities.js';
import { content, imageManifest, pushImage } from '../support/images.js';
import { startRegistry, type Credentials, type TestRegistry } from '../support/registry.js';
import { addPullSecret, imageOf, ImportApi, insecure } from './import-api.js';
import { freePort } from '../support/free-port.js';

/** By which name clients know this registry, and it itself. */
let publicHost: string;
let registry: TestRegistry;
let upstream: FaultyRegistry;
/** Another one, from which nothing may come. */
let foreign: FaultyRegistry;
/** Of a third one, which a test starts as it wants it. */
let openPort: number;
let editor: Credentials;
let count = 0;
let project: string;
let team: StreamApi;
let imports: ImportApi;
beforeAll(async () => {
  upstream = await startFaultyRegistry();
  foreign = await startFaultyRegistry({ images: ['app:1'] });
  publicHost = `127.0.0.1:${await freePort()}`;
  openPort = await freePort();
  registry = await startRegistry({
    WEIR_LISTEN: publicHost,
    WEIR_PUBLIC_URL: `http://${publicHost}`,
    // Not its own: what is here is not to be asked for.
    WEIR_UPSTREAMS_ALLOW_PRIVATE: `${upstream.host},${foreign.host},127.0.0.1:${openPort}`,
    WEIR_IMPORTS_AUTOMATIC: 'true',
    WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
    WEIR_IMPORTS_INTERVAL_SECONDS: '1',
    WEIR_IMPORTS_ALLOWED_REGISTRIES: upstream.host,
  });
  editor = await addPerson(registry, 'editor');
});
afterAll(async () => {
  await registry.stop();
  await upstream.close();
  await foreign.close();
});
beforeEach(async () => {
  count += 1;
  project = `team-${count}`;
  await registry.addProject(project);
  await registry.bind(editor.name, 'registry-editor', project);
  team = new StreamApi(registry, project);
  imports = new ImportApi(registry, project);
});
afterEach(() => {
  upstream.clearFaults();
});

const source = (name: string, tag = 'v1', more: object = {}): object =>
  imageOf(`${upstream.host}/${name}`, tag, { ...insecure, ...more });
const scheduled = { importPolicy: { insecure: true, scheduled: true } };

/** A rule of the project. */
async function addObject(path: string, name: string, spec: object): Promise<void> {
  const response = await registry.api(path.replace('PROJECT', project), {
    method: 'POST',
    body: { metadata: { name }, spec },
  });
  expect(response.status, await response.text()).toBe(201);
}

const addPolicy = (spec: object): Promise<void> =>
  addObject('/apis/weir.dev/v1/namespaces/PROJECT/tagpolicies', 'rule', spec);

const addLimits = (max: object): Promise<void> =>
  addObject('/api/v1/namespaces/PROJECT/limitranges', 'limits', {
    limits: [{ type: 'openshift.io/ImageStream', max }],
  });

interface HistoryEvent {
  readonly cause: string;
  readonly image?: string;
  readonly reason?: string;
  readonly source?: string;
  readonly user: { readonly name: string; readonly kind: string };
}

async function historyOf(tag: string): Promise<readonly HistoryEvent[]> {
  const response = await registry.api(`/apis/weir.dev/v1/namespaces/${project}/imagestreamtags/${tag}/history`);
  expect(response.status).toBe(200);
  return ((await response.json()) as { readonly items: readonly HistoryEvent[] }).items;
}

async function conditionsOf(stream: string, tag: string): Promise<readonly object[]> {
  const { status } = await team.read(stream);
  return status.tags?.find((each) => each.tag === tag)?.conditions ?? [];
}

async function until<T>(look: () => Promise<T>, isDone: (found: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const found = await look();
    if (isDone(found)) return found;
    if (tries === 100) throw new Error(`never became so: ${JSON.stringify(found)}`);
    await sleep(100);
  }
}

describe('who may import', () => {
  test('an editor of the project may, and a new stream is made', async () => {
    const a = upstream.addImage('app', '1');
    expect((await imports.image('app', source('app:1'), { as: editor })).status.status).toBe('Success');
    expect(await team.pull('app', 'v1', editor)).toBe(a.digest);
    expect((await historyOf('app:v1'))[0]).toMatchObject({ cause: 'import', user: { name: 'editor', kind: 'user' } });
  });

  test.each([{ role: 'registry-viewer' }, { role: undefined }])(
    'somebody with role $role may not',
    async ({ role }) => {
      const name = `nobody-${role ?? 'at-all'}`;
      const person = await addPerson(registry, name, role === undefined ? undefined : { role, namespace: project });
      upstream.requests.splice(0);
      for (const wanted of [true, false]) {
        const spec = { import: wanted, images: [source('app:1')] };
        const { status, body } = await imports.send('app', spec, { as: person });
        expect(status).toBe(403);
        expect(body.message).toContain(`User "${name}" cannot create resource "imagestreamimports"`);
      }
      expect(upstream.seen).toEqual([]);
    },
  );
});

describe('registries that images may not come from', () => {
  const refused = () => imageOf(`${foreign.host}/app:1`, 'v1', insecure);

  test('are refused, and not asked', async () => {
    foreign.requests.splice(0);
    const { status, body } = await imports.send('app', { images: [source('app:1'), refused()] }, { as: editor });
    expect(status).toBe(422);
    expect(body.details.causes).toMatchObject([
      {
        field: 'spec.images[1].from.name',
        message: expect.stringContaining(`registry "${foreign.host}" not allowed by whitelist: `) as string,
      },
    ]);
    const repository = { from: { kind: 'DockerImage', name: `${foreign.host}/app` }, ...insecure };
    const whole = await imports.send('app', { repository }, { as: editor });
    expect(whole.status).toBe(422);
    expect(whole.body.details.causes).toMatchObject([{ field: 'spec.repository.from.name' }]);
    const look = await imports.send('app', { import: false, images: [refused()] }, { as: editor });
    expect(look.status).toBe(422);
    expect(foreign.seen).toEqual([]);
    expect((await team.send('GET', 'imagestreams/app')).status).toBe(404);
  });

  test('are none to who may create images everywhere', async () => {
    expect((await imports.image('app', refused())).status.status).toBe('Success');
  });

  test('stay allowed where a stream has them already', async () => {
    await imports.image('app', refused());
    const { status } = await imports.image('app', imageOf(`${foreign.host}/app:1`, 'v2', insecure), { as: editor });
    expect(status.status).toBe('Success');
    const other = imageOf(`${foreign.host}/another:1`, 'v3', insecure);
    expect((await imports.send('app', { images: [other] }, { as: editor })).status).toBe(422);
  });
});

describe('limits of the project', () => {
  test('are kept, and the tag says why it has no image', async () => {
    const a = upstream.addImage('one', '1');
    upstream.addImage('one', '2', 'another');
    await addLimits({ 'openshift.io/images': '1' });
    expect((await imports.image('app', source('one:1'), { as: editor })).status.status).toBe('Success');
    const { status, body } = await imports.send('app', { images: [source('one:2', 'v2')] }, { as: editor });
    expect(status).toBe(422);
    expect(body.message).toContain(
      'requested usage of openshift.io/images exceeds the maximum limit per openshift.io/ImageStream (2 > 1)',
    );
    expect(await conditionsOf('app', 'v2')).toMatchObject([
      {
        type: 'ImportSuccess',
        status: 'False',
        reason: 'Forbidden',
        message: expect.stringContaining('exceeds the maximum limit') as string,
      },
    ]);
    expect(await team.images('app:v2')).toEqual([]);
    expect(await team.images('app:v1')).toEqual([a.digest]);
    expect((await team.read('app')).spec.tags?.map(({ name }) => name)).toEqual(['v1']);
  });

  test('of what is wanted are kept too', async () => {
    upstream.addImage('two', '1');
    upstream.addImage('two', '2');
    await addLimits({ 'openshift.io/image-tags': '1' });
    const { status, body } = await imports.send('app', { images: [source('two:1', 'a'), source('two:2', 'b')] });
    expect(status).toBe(422);
    expect(body.message).toContain('openshift.io/image-tags');
    expect(await team.images('app:a')).toEqual([]);
  });

  test('of the number of streams let no other be made', async () => {
    upstream.addImage('three', '1');
    const hard = { 'openshift.io/imagestreams': '0' };
    await addObject('/api/v1/namespaces/PROJECT/resourcequotas', 'quota', { hard });
    const { status, body } = await imports.send('app', { images: [source('three:1')] }, { as: editor });
    expect(status).toBe(403);
    expect(body.message).toContain('exceeded quota: quota');
    expect((await team.send('GET', 'imagestreams/app')).status).toBe(404);
  });
});

describe('a protected tag', () => {
  test('is not moved by an import', async () => {
    const a = upstream.addImage('kept', '1');
    await imports.image('app', source('kept:1', 'prod'));
    await addPolicy({ protect: [{ tags: ['prod'] }] });
    // What it has may be had again.
    expect((await imports.image('app', source('kept:1', 'prod'), { as: editor })).status.status).toBe('Success');
    upstream.addImage('kept', '1', 'another');
    const { status, body } = await imports.send('app', { images: [source('kept:1', 'prod')] }, { as: editor });
    expect(status).toBe(403);
    expect(body.reason).toBe('Forbidden');
    expect(body.message).toContain('policy rule, tags prod');
    expect(await team.images('app:prod')).toEqual([a.digest]);
    expect(await conditionsOf('app', 'prod')).toEqual([]);
  });

  test('is not moved on a schedule, and says so', async () => {
    const a = upstream.addImage('held', '1');
    await imports.image('app', source('held:1', 'prod', scheduled));
    await addPolicy({ protect: [{ tags: ['prod'] }] });
    upstream.addImage('held', '1', 'another');
    const conditions = await until(
      () => conditionsOf('app', 'prod'),
      (found) => found.length > 0,
    );
    expect(conditions).toMatchObject([
      { reason: 'Forbidden', message: expect.stringContaining('policy rule, tags prod') as string },
    ]);
    await sleep(2500);
    expect(await team.images('app:prod')).toEqual([a.digest]);
    expect(await team.pull('app', 'prod')).toBe(a.digest);
    const { metadata } = await team.read('app');
    await sleep(2500);
    // It says so once, and not with every look.
    expect((await team.read('app')).metadata.resourceVersion).toBe(metadata.resourceVersion);
  });
});

describe('why an image was imported', () => {
  test('is in the history, by header or annotation', async () => {
    upstream.addImage('told', '1');
    upstream.addImage('told', '2', 'another');
    const headers = { 'Weir-Reason': 'fixes%20CVE-1' };
    await imports.image('app', source('told:1'), { as: editor, headers });
    const metadata = { annotations: { 'weir.dev/reason': 'and CVE-2' } };
    await imports.image('app', source('told:2'), { as: editor, metadata });
    expect(await historyOf('app:v1')).toMatchObject([
      { cause: 'import', reason: 'and CVE-2', source: `DockerImage ${upstream.host}/told:2` },
      { cause: 'import', reason: 'fixes CVE-1', source: `DockerImage ${upstream.host}/told:1` },
    ]);
  });

  test('must be said where the project wants it, but not by the schedule', async () => {
    upstream.addImage('reasons', '1');
    await addPolicy({ requireReason: ['import'] });
    const { status, body } = await imports.send('app', { images: [source('reasons:1', 'v1', scheduled)] });
    expect(status).toBe(422);
    expect(body.message).toContain('the project wants a reason for every import');
    expect((await team.send('GET', 'imagestreams/app')).status).toBe(404);
    const headers = { 'Weir-Reason': 'wanted' };
    await imports.image('app', source('reasons:1', 'v1', scheduled), { headers });
    const b = upstream.addImage('reasons', '1', 'another');
    await until(
      () => team.images('app:v1'),
      ([newest]) => newest === b.digest,
    );
    expect((await historyOf('app:v1'))[0]).toMatchObject({
      cause: 'import',
      user: { kind: 'system', name: 'system:image-import' },
    });
  });
});

test('a wrong secret does not keep a tag from following what everyone may have', async () => {
  const open = await startFaultyRegistry({ auth: { kind: 'bearer' }, images: ['app:1'], port: openPort });
  try {
    const wrong = { username: 'reader', password: 'wrong' };
    await addPullSecret(registry, project, 'pull', { [open.host]: wrong });
    const refuse = () => {
      // Who shows nothing gets a token; who shows something wrong gets none.
      open.revokeTokens();
      open.addFault({ kind: 'answer', path: /^\/token/, status: 401, times: 1 });
    };
    refuse();
    const image = imageOf(`${open.host}/app:1`, 'v1', scheduled);
    expect((await imports.image('app', image)).status.status).toBe('Success');
    const { digest } = open.addImage('app', '1', 'another');
    refuse();
    await until(
      () => team.images('app:v1'),
      ([newest]) => newest === digest,
    );
    expect(open.shown).toContain(basic(wrong));
    expect(await conditionsOf('app', 'v1')).toEqual([]);
  } finally {
    await open.close();
  }
});

test('a limit of the project keeps a tag from following', async () => {
  const a = upstream.addImage('limited', '1');
  await addLimits({ 'openshift.io/images': '1' });
  await imports.image('app', source('limited:1', 'v1', scheduled));
  upstream.addImage('limited', '1', 'another');
  const conditions = await until(
    () => conditionsOf('app', 'v1'),
    (found) => found.length > 0,
  );
  expect(conditions).toMatchObject([
    { reason: 'Forbidden', message: expect.stringContaining('exceeds the maximum limit') as string },
  ]);
  expect(await team.images('app:v1')).toEqual([a.digest]);
});

test('a dry run stores nothing', async () => {
  const a = upstream.addImage('dry', '1');
  const { status, image } = await imports.image('app', source('dry:1'), { query: '?dryRun=All' });
  expect(status.status).toBe('Success');
  expect(image?.metadata.name).toBe(a.digest);
  expect((await team.send('GET', 'imagestreams/app')).status).toBe(404);
  expect((await registry.api(`/apis/image.openshift.io/v1/images/${a.digest}`)).status).toBe(404);
  await imports.image('app', source('dry:1'));
  const before = await team.read('app');
  upstream.addImage('dry', '1', 'another');
  await imports.image('app', source('dry:1'), { query: '?dryRun=All' });
  await imports.image('app', source('dry:absent', 'v2'), { query: '?dryRun=All' });
  expect(await team.read('app')).toEqual(before);
});

test('an image elsewhere that names layers of others does not open them', async () => {
  await registry.addProject(`${project}-other`);
  const hidden = await pushImage(registry, `${project}-other/app`, 'v1', `hidden from ${project}`);
  const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }));
  upstream.addBlob('lure', config);
  upstream.addManifest('lure', imageManifest(config, [hidden.layer]), '1');
  expect((await imports.image('app', source('lure:1'), { as: editor })).status.status).toBe('Success');
  const blob = await registry.fetch(`/v2/${project}/app/blobs/${hidden.layer.digest}`, { as: editor });
  expect(blob.status).toBe(404);
  // Nor with a manifest of theirs, whose config must be had from where it is said to be.
  upstream.addManifest('lure', hidden, '2');
  const { status } = await imports.image('app', source('lure:2', 'v2'), { as: editor });
  expect(status).toMatchObject({ status: 'Failure', reason: 'NotFound' });
  expect(await team.pull('app', hidden.digest, editor)).toBeNull();
});

describe('what is here already', () => {
  let other: StreamApi;
  beforeEach(async () => {
    await registry.addProject(`${project}-other`);
    other = new StreamApi(registry, `${project}-other`);
  });
  const own = (name: string, tag = 'v1', more: object = {}): object =>
    imageOf(`${publicHost}/${other.project}/${name}`, tag, more);

  test('is imported without a request, and can be pulled', async () => {
    const { digest } = await other.push('app:1', 'here');
    await registry.bind(editor.name, 'registry-viewer', other.project);
    const { status, image } = await imports.image('mine', own('app:1'), { as: editor });
    expect(status.status).toBe('Success');
    expect(image).toMatchObject({
      metadata: { name: digest },
      dockerImageReference: `${publicHost}/${other.project}/app@${digest}`,
    });
    expect(await team.pull('mine', 'v1', editor)).toBe(digest);
    expect(await team.pull('mine', digest, editor)).toBe(digest);
    expect(await team.wanted('mine:v1')).toMatchObject({ from: { name: `${publicHost}/${other.project}/app:1` } });
    const byDigest = await imports.image('mine', own(`app@${digest}`, 'v2'), { as: editor });
    expect(byDigest.status.status).toBe('Success');
    expect(await team.images('mine:v2')).toEqual([digest]);
    // Also when the source is gone.
    await other.send('DELETE', 'imagestreams/app');
    expect(await team.pull('mine', 'v1', editor)).toBe(digest);
  });

  test('is not there for who may not pull it', async () => {
    const { digest } = await other.push('app:1', 'here');
    for (const name of ['app:1', `app@${digest}`, 'app:none', 'none:1']) {
      const { status } = await imports.image('mine', own(name), { as: editor });
      expect(status).toMatchObject({
        reason: 'NotFound',
        message: `dockerimage.image.openshift.io "${publicHost}/${other.project}/${name}" not found`,
      });
    }
    const { image } = await imports.image('mine', own('app:1', ''), { as: editor });
    expect(image).toBeUndefined();
    expect(await team.pull('mine', digest, editor)).toBeNull();
  });

  test('is not there on a schedule either for who may not pull it', async () => {
    const { digest } = await other.push('app:1', 'here');
    const more = { importPolicy: { scheduled: true } };
    const { status } = await imports.image('mine', own('app:1', 'v1', more), { as: editor });
    expect(status.reason).toBe('NotFound');
    // Nor when it is wanted by its repository.
    const dockerImageRepository = `${publicHost}/${other.project}/app`;
    const body = { metadata: { name: 'whole' }, spec: { dockerImageRepository } };
    expect((await team.send('POST', 'imagestreams', { as: editor, body })).status).toBe(201);
    await sleep(3000);
    for (const stream of ['mine', 'whole']) {
      const { spec, status: now } = await team.read(stream);
      expect(spec.tags ?? []).toEqual([]);
      expect((now.tags ?? []).flatMap(({ items }) => items ?? [])).toEqual([]);
      expect(await team.pull(stream, digest, editor)).toBeNull();
    }
  });

  test('says where it came from when it came from elsewhere', async () => {
    const { digest } = upstream.addImage('far', '1');
    await new ImportApi(registry, other.project).image('app', source('far:1'));
    for (const name of ['app:v1', `app@${digest}`]) {
      expect((await imports.image('mine', own(name))).status.status).toBe('Success');
      expect(await team.items('mine:v1')).toMatchObject([
        { image: digest, dockerImageReference: `${upstream.host}/far@${digest}` },
      ]);
    }
    expect(await team.pull('mine', 'v1')).toBe(digest);
  });

  test('is found where a tag points at it', async () => {
    const { digest } = await other.push('app:1', 'here');
    await team.create('pointer', {});
    const pointer = { ...from.tag('app:1', other.project), reference: true };
    accepted(await team.putTag('pointer:v1', pointer), 201);
    const mine = () => imports.image('mine', imageOf(`${publicHost}/${project}/pointer:v1`), { as: editor });
    expect((await mine()).status.reason).toBe('NotFound');
    await registry.bind(editor.name, 'registry-viewer', other.project);
    expect((await mine()).status.status).toBe('Success');
    expect(await team.pull('mine', 'v1', editor)).toBe(digest);
  });

  test('is followed on a schedule, while the project may pull there', async () => {
    const { digest: first } = await other.push('app:1', 'first');
    const more = { importPolicy: { scheduled: true } };
    const account = { kind: 'ServiceAccount', name: 'default', namespace: team.project } as const;
    await registry.bind(account, 'registry-viewer', other.project);
    expect((await imports.image('mine', own('app:1', 'v1', more))).status.status).toBe('Success');
    await sleep(2500);
    expect(await conditionsOf('mine', 'v1')).toEqual([]);
    const { digest: second } = await other.push('app:1', 'second');
    await until(
      () => team.images('mine:v1'),
      ([newest]) => newest === second,
    );
    expect(await team.images('mine:v1')).toEqual([second, first]);
    expect(await team.pull('mine', 'v1')).toBe(second);
  });

  test('is not followed when the project may not pull there, nor wanted again by who may not', async () => {
    const { digest: first } = await other.push('app:1', 'first');
    await registry.bind(editor.name, 'registry-viewer', other.project);
    const more = { importPolicy: { scheduled: true } };
    expect((await imports.image('mine', own('app:1', 'v1', more), { as: editor })).status.status).toBe('Success');
    await other.push('app:1', 'second');
    await until(
      () => conditionsOf('mine', 'v1'),
      (conditions) => conditions.length > 0,
    );
    expect(await conditionsOf('mine', 'v1')).toMatchObject([{ reason: 'NotFound' }]);
    await sleep(1500);
    expect(await team.images('mine:v1')).toEqual([first]);
    const stranger = { name: 'stranger', password: 'stranger-secret' };
    await registry.addUser({ ...stranger, role: 'user' });
    await registry.bind(stranger.name, 'registry-editor', team.project);
    const again = await team.editTags('mine', ([tag]) => [{ ...tag, generation: 0 }], stranger);
    expect(again.status).toBe(422);
    expect(again.body.message).toContain(`${stranger.name} may not pull from it`);
  });

  test('is imported as a whole repository', async () => {
    const { digest } = await other.push('app:1', 'here');
    const { digest: second } = await other.push('app:2', 'here too');
    await registry.bind(editor.name, 'registry-viewer', other.project);
    const repository = from.docker(`${publicHost}/${other.project}/app`);
    const { status } = accepted(await imports.send('mine', { repository }, { as: editor }), 201);
    expect(status.repository?.status).toMatchObject({ status: 'Success' });
    expect(await team.images('mine:1')).toEqual([digest]);
    expect(await team.images('mine:2')).toEqual([second]);
  });
});
