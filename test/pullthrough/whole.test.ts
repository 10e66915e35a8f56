import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import { parseDigest } from '../../src/oci/digest.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { addIndex, addPullSecret, imageOf, ImportApi, insecure } from '../imports/import-api.js';
import { accepted, from, StreamApi } from '../streams/stream-api.js';
import { startFaultyRegistry, type FaultyImage, type FaultyRegistry } from '../support/faulty-registry.js';
import { content, imageManifest, sha256, type Content } from '../support/images.js';
import { admin, startRegistry, type TestRegistry } from '../support/registry.js';

const MiB = 1024 * 1024;
const reader = { name: 'reader', password: 'reader-secret' };
const stranger = { name: 'stranger', password: 'stranger-secret' };

const local = { ...insecure, referencePolicy: { type: 'Local' } } as const;

/** The other registry, which speaks plain HTTP, and this one, whose project `team` imports from it. */
let upstream: FaultyRegistry;
let registry: TestRegistry;
let team: StreamApi;
let imports: ImportApi;
let count = 0;
/** Of the repository there and the stream here, which each test has of its own. */
let app: string;
beforeAll(async () => {
  upstream = await startFaultyRegistry();
  registry = await startRegistry({ WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1' });
  for (const project of ['team', 'other', 'small']) await registry.addProject(project);
  for (const who of [reader, stranger]) await registry.addUser({ ...who, role: 'user' });
  await registry.bind(reader.name, 'registry-viewer', 'team');
  team = new StreamApi(registry, 'team');
  imports = new ImportApi(registry, 'team');
});
beforeEach(() => {
  count += 1;
  app = `app-${count}`;
});
afterEach(() => {
  upstream.clearFaults();
});
afterAll(async () => {
  await registry.stop();
  await upstream.close();
});

/** Imports what a tag is there, without its blobs. */
async function importTag(tag: string, policy: object = local, into = imports): Promise<void> {
  const result = await into.image(app, imageOf(`${upstream.host}/${app}:${tag}`, tag, policy));
  expect(result.status.message ?? '').toBe('');
}

/** An image there, and its import here. */
async function imported(tag: string, policy: object = local, into = imports): Promise<FaultyImage> {
  const image = upstream.addImage(app, tag, `${app}:${tag}`);
  await importTag(tag, policy, into);
  return image;
}

/** An image there with a layer of so many bytes, imported. */
async function importedLayer(size: number, policy: object = local, into = imports): Promise<Content> {
  const config = content(JSON.stringify({ architecture: 'amd64', os: 'linux', name: app }));
  const layer = content(Buffer.alloc(size, app));
  for (const blob of [config, layer]) upstream.addBlob(app, blob);
  upstream.addManifest(app, imageManifest(config, [layer]), 'v1');
  await importTag('v1', policy, into);
  return layer;
}

function getBlob(
  { digest }: Content,
  { project = 'team', ...request }: NonNullable<Parameters<TestRegistry['fetch']>[1]> & { project?: string } = {},
): Promise<Response> {
  return registry.fetch(`/v2/${project}/${app}/blobs/${digest}`, { as: reader, ...request });
}

/** The whole of a blob, with its own digest. */
async function expectBlob(blob: Content, request?: Parameters<typeof getBlob>[1]): Promise<void> {
  const response = await getBlob(blob, request);
  expect(response.status, response.ok ? '' : await response.clone().text()).toBe(200);
  expect(sha256(Buffer.from(await response.arrayBuffer()))).toBe(blob.digest);
}

async function isHere({ digest }: Content, project = 'team'): Promise<boolean> {
  const records = new KyselyBlobRecords(await registry.openDatabase());
  return (await records.findLinkedBlob(parseRepositoryName(`${project}/${app}`), parseDigest(digest))) !== undefined;
}

/** What the other registry was asked of one blob, each as its method. */
function askedFor({ digest }: Content, of = upstream): readonly string[] {
  return of.requests.filter(({ path }) => path.endsWith(digest)).map(({ method }) => method);
}

async function errorOf(response: Response): Promise<{ code: string; message: string }> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return errors[0]!;
}

describe('80: a registry that speaks plain HTTP only', () => {
  test('is pulled through when the tag says insecure', async () => {
    const { config, layer } = await imported('v1', { ...insecure });
    for (const blob of [config, layer]) await expectBlob(blob);
  });

  test('is not imported from when it does not', async () => {
    upstream.addImage(app, 'v1');
    const { status } = await imports.image(app, imageOf(`${upstream.host}/${app}:v1`));
    expect(status).toMatchObject({ status: 'Failure' });
    expect(status.message).toContain(upstream.host);
  });

  test('is spoken to no more once the tag says so no more, and the answer tells why', async () => {
    const { layer, digest } = await imported('v1', { ...insecure });
    const edited = await team.editTags(app, (tags) =>
      tags.map((tag) => ({ ...tag, importPolicy: { ...tag.importPolicy, insecure: false } })),
    );
    expect(edited.status).toBe(200);
    const response = await getBlob(layer);
    expect(response.status).toBe(502);
    const { code, message } = await errorOf(response);
    expect({ code, message }).toEqual({
      code: 'BLOB_UNKNOWN',
      message: `blob unknown to registry (${upstream.host}/${app}@${layer.digest}: http-only)`,
    });
    expect(askedFor(layer)).toEqual([]);
    // The manifest came with the import.
    expect(await team.pull(app, 'v1', reader)).toBe(digest);
  });
});

describe('when the other registry has gone', () => {
  test('what a tag with the policy Local pulled is served, and what another one pulled is not to be had for now', async () => {
    const gone = await startFaultyRegistry();
    const { host } = gone;
    const kept = gone.addImage(app, 'kept');
    const passed = gone.addImage(app, 'passed', `${app}:passed`);
    await imports.image(app, imageOf(`${host}/${app}:kept`, 'kept', local));
    await imports.image(app, imageOf(`${host}/${app}:passed`, 'passed', insecure));
    for (const blob of [kept.config, kept.layer, passed.config, passed.layer]) await expectBlob(blob);
    expect([await isHere(kept.layer), await isHere(passed.layer)]).toEqual([true, false]);
    await gone.close();
    // What was passed on can be had for a moment more, from the process that did.
    await registry.restart();
    for (const blob of [kept.config, kept.layer]) await expectBlob(blob);
    expect(await team.pull(app, 'passed', reader)).toBe(passed.digest);
    const response = await getBlob(passed.layer);
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect((await errorOf(response)).message).toContain(`${host}/${app}@${passed.layer.digest}: unavailable`);
  });
});

test('what is being passed on is unknown once its image is deleted', async () => {
  const { layer, digest } = await imported('v1', { ...insecure });
  await expectBlob(layer);
  expect((await registry.fetch(`/v2/team/${app}/manifests/${digest}`, { method: 'DELETE' })).status).toBe(202);
  for (const method of ['GET', 'HEAD']) expect((await getBlob(layer, { method })).status).toBe(404);
});

describe('when the other registry lets nobody pull for now', () => {
  test('what is here is served, and for the rest the answer is 429 with when to come again', async () => {
    // Of its own: for a minute nobody asks it for anything.
    const busy = await startFaultyRegistry();
    try {
      const { config, layer } = busy.addImage(app, 'v1');
      await imports.image(app, imageOf(`${busy.host}/${app}:v1`, 'v1', local));
      await expectBlob(config);
      busy.addFault({ kind: 'answer', status: 429, headers: { 'Retry-After': '60' }, path: /\/blobs\// });
      const response = await getBlob(layer);
      expect(response.status).toBe(429);
      expect(Number(response.headers.get('Retry-After'))).toBeGreaterThan(50);
      expect((await errorOf(response)).code).toBe('TOOMANYREQUESTS');
      await expectBlob(config);
      expect((await getBlob(layer, { method: 'HEAD' })).status).toBe(200);
      // It is left alone until then.
      expect((await getBlob(layer)).status).toBe(429);
      expect(askedFor(layer, busy)).toHaveLength(1);
    } finally {
      await busy.close();
    }
  });
});

describe('many at once', () => {
  test('who want one blob that is not here get it from one request', async () => {
    const layer = await importedLayer(2 * MiB);
    await Promise.all(Array.from({ length: 200 }, () => expectBlob(layer)));
    expect(askedFor(layer)).toEqual(['GET']);
  });

  test('who want ranges of it get them from the same request', async () => {
    const layer = await importedLayer(3 * MiB);
    const ranges = [
      { range: 'bytes=0-9', start: 0, end: 10 },
      { range: `bytes=${MiB}-${2 * MiB - 1}`, start: MiB, end: 2 * MiB },
      { range: `bytes=${2 * MiB}-`, start: 2 * MiB, end: 3 * MiB },
      { range: 'bytes=-1', start: 3 * MiB - 1, end: 3 * MiB },
    ];
    await Promise.all([
      expectBlob(layer),
      ...ranges.map(async ({ range, start, end }) => {
        const response = await getBlob(layer, { headers: { Range: range } });
        expect(response.status).toBe(206);
        expect(response.headers.get('Content-Range')).toBe(`bytes ${start}-${end - 1}/${3 * MiB}`);
        expect(Buffer.from(await response.arrayBuffer()).equals(layer.bytes.subarray(start, end))).toBe(true);
      }),
    ]);
    expect(askedFor(layer)).toEqual(['GET']);
  });

  test('who go away leave it to those who come later', async () => {
    const layer = await importedLayer(8 * MiB);
    const leaving = new AbortController();
    const response = await getBlob(layer, { signal: leaving.signal });
    expect(response.status).toBe(200);
    leaving.abort();
    await expect.poll(() => isHere(layer)).toBe(true);
    await expectBlob(layer);
    expect(askedFor(layer)).toEqual(['GET']);
  });
});

test('HEAD tells of a blob that is not here, without a question to the other registry', async () => {
  const { layer } = await imported('v1');
  const response = await getBlob(layer, { method: 'HEAD' });
  expect([response.status, response.headers.get('Content-Length')]).toEqual([200, String(layer.bytes.length)]);
  expect(response.headers.get('Docker-Content-Digest')).toBe(layer.digest);
  expect(askedFor(layer)).toEqual([]);
  expect(await isHere(layer)).toBe(false);
});

test('whoever may not pull here is refused before the other registry is asked for anything', async () => {
  const { layer, digest } = await imported('v1');
  const before = upstream.requests.length;
  for (const [as, status] of [
    [stranger, 403],
    ['nobody', 401],
  ] as const) {
    for (const method of ['GET', 'HEAD']) expect((await getBlob(layer, { as, method })).status).toBe(status);
    const manifest = await registry.fetch(`/v2/team/${app}/manifests/${digest}`, { as });
    expect(manifest.status).toBe(status);
  }
  // Of a project in which they may not pull, nobody learns which blobs it could get.
  const none = content('a blob of nobody');
  expect((await getBlob(none, { as: stranger })).status).toBe(403);
  expect(upstream.requests.length).toBe(before);
  expect(await isHere(layer)).toBe(false);
});

test('a blob that no image of the repository refers to is unknown, although the other registry has it', async () => {
  await imported('v1');
  const secret = content(`of another image than ${app}`);
  upstream.addBlob(app, secret);
  expect((await getBlob(secret)).status).toBe(404);
  expect(askedFor(secret)).toEqual([]);
});

describe('a tag that is copied to another project before its blobs came', () => {
  let other: StreamApi;
  beforeAll(async () => {
    other = new StreamApi(registry, 'other');
    await registry.bind(reader.name, 'registry-viewer', 'other');
  });

  test('is pulled there from where it was imported', async () => {
    const { config, layer, digest } = await imported('v1');
    const tag = { ...from.tag(`${app}:v1`, 'team'), importPolicy: { insecure: true } };
    expect((await other.putTag(`${app}:v2`, { ...tag, referencePolicy: { type: 'Local' } })).status).toBe(201);
    expect(await other.pull(app, 'v2', reader)).toBe(digest);
    for (const blob of [config, layer]) await expectBlob(blob, { project: 'other' });
    expect(await isHere(layer, 'other')).toBe(true);
    expect(await isHere(layer, 'team')).toBe(false);
  });

  test('is pulled there also when one image of an index is all that was copied', async () => {
    const { children } = addIndex(upstream, app, 'multi', ['linux/amd64', 'linux/arm64']);
    await imports.image(
      app,
      imageOf(`${upstream.host}/${app}:multi`, 'multi', {
        importPolicy: { insecure: true, importMode: 'PreserveOriginal' },
      }),
    );
    const child = children[1]!;
    const tag = { ...from.image(`${app}@${child.digest}`, 'team'), importPolicy: { insecure: true } };
    accepted(await other.putTag(`${app}:arm64`, tag), 201);
    expect(await other.pull(app, 'arm64', reader)).toBe(child.digest);
    await expectBlob(content(`layer of ${app} for linux/arm64`), { project: 'other' });
    // A copy of the copy, of which no event says where it came from.
    const copy = { ...from.tag(`${app}:arm64`, 'other'), importPolicy: { insecure: true } };
    accepted(await new StreamApi(registry, 'small').putTag(`${app}:again`, copy), 201);
    await expectBlob(content(`layer of ${app} for linux/arm64`), { project: 'small', as: admin });
    // Only what was copied: the other images of the index are none of theirs.
    expect((await getBlob(content(`layer of ${app} for linux/amd64`), { project: 'other' })).status).toBe(404);
  });
});

test('an image of an index is pulled from where the index came from', async () => {
  addIndex(upstream, app, 'multi', ['linux/amd64', 'linux/arm64']);
  const policy = {
    importPolicy: { insecure: true, importMode: 'PreserveOriginal' },
    referencePolicy: { type: 'Local' },
  };
  await importTag('multi', policy);
  for (const platform of ['linux/amd64', 'linux/arm64']) {
    await expectBlob(content(`layer of ${app} for ${platform}`));
    expect(await isHere(content(`layer of ${app} for ${platform}`))).toBe(true);
  }
});

test('the image that a tag is rolled back to is pulled by its digest, although nobody pulled it before', async () => {
  const first = await imported('v1');
  const second = upstream.addImage(app, 'v1', 'second');
  await importTag('v1');
  expect(await team.pull(app, 'v1', reader)).toBe(second.digest);
  const path = `/apis/image.openshift.io/v1/namespaces/team/imagestreamtags/${app}:v1/rollback`;
  expect((await registry.api(path, { method: 'POST', body: { spec: { to: { steps: 1 } } } })).status).toBe(201);
  expect(await team.pull(app, 'v1', reader)).toBe(first.digest);
  for (const blob of [first.config, first.layer]) await expectBlob(blob);
  expect(await isHere(first.layer)).toBe(true);
});

test('an image beyond what the project takes is passed on and not kept', async () => {
  await registry.bind(reader.name, 'registry-viewer', 'small');
  const small = new ImportApi(registry, 'small');
  const layer = await importedLayer(MiB, local, small);
  const limit = {
    metadata: { name: 'images' },
    spec: { limits: [{ type: 'openshift.io/Image', max: { storage: '500Ki' } }] },
  };
  expect((await registry.api('/api/v1/namespaces/small/limitranges', { method: 'POST', body: limit })).status).toBe(
    201,
  );
  await expectBlob(layer, { project: 'small' });
  expect(await isHere(layer, 'small')).toBe(false);
});

test('a registry that is read-only passes on what is not here, keeps nothing, and leaves nothing', async () => {
  const { config, layer } = await imported('v1');
  await expectBlob(config);
  const frozen = await startRegistry({
    WEIR_DATA_DIR: registry.dataDir,
    WEIR_MAINTENANCE_READ_ONLY: 'true',
    WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
  });
  try {
    for (const blob of [config, layer]) {
      const response = await frozen.fetch(`/v2/team/${app}/blobs/${blob.digest}`, { as: reader });
      expect(response.status).toBe(200);
      expect(sha256(Buffer.from(await response.arrayBuffer()))).toBe(blob.digest);
    }
    expect(await isHere(layer)).toBe(false);
  } finally {
    await frozen.running.stop();
  }
  const uploads = new KyselyUploadRecords(await registry.openDatabase());
  await expect.poll(() => uploads.countUploads(), { timeout: 10_000 }).toBe(0);
  await expectBlob(layer);
});

test('a cache project of a registry that is read-only serves what is here, and asks nobody what moved', async () => {
  await registry.addProject('hub');
  const cache = {
    metadata: { name: 'upstream' },
    spec: { registry: upstream.host, insecure: true, freshSeconds: 0 },
  };
  const made = await registry.api('/apis/weir.dev/v1/namespaces/hub/upstreamcaches', { method: 'POST', body: cache });
  expect(made.status).toBe(201);
  const { digest, layer } = upstream.addImage(app, 'v1');
  const path = `/v2/hub/${app}/manifests/v1`;
  expect((await registry.fetch(path)).headers.get('Docker-Content-Digest')).toBe(digest);
  await expectBlob(layer, { project: 'hub', as: admin });
  upstream.addImage(app, 'v1', 'moved');
  const before = upstream.requests.length;
  const frozen = await startRegistry({
    WEIR_DATA_DIR: registry.dataDir,
    WEIR_MAINTENANCE_READ_ONLY: 'true',
    WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
  });
  try {
    expect((await frozen.fetch(path)).headers.get('Docker-Content-Digest')).toBe(digest);
    expect((await frozen.fetch(`/v2/hub/${app}/blobs/${layer.digest}`)).status).toBe(200);
    expect(upstream.requests.length).toBe(before);
  } finally {
    await frozen.running.stop();
  }
});

test('a credential of the project pulls for whoever may pull from it', async () => {
  const login = { username: 'robot', password: 'robot-secret' };
  const closed = await startFaultyRegistry({ auth: { kind: 'bearer', ...login } });
  try {
    const { layer } = closed.addImage(app, 'v1');
    await addPullSecret(registry, 'team', `pull-${count}`, { [closed.host]: login });
    await imports.image(app, imageOf(`${closed.host}/${app}:v1`, 'v1', local));
    await expectBlob(layer);
    expect(askedFor(layer, closed)).toContain('GET');
    expect(closed.requests.some(({ headers }) => JSON.stringify(headers).includes(reader.name))).toBe(false);
  } finally {
    await closed.close();
  }
});

test('bytes that are not those of the digest never end a whole answer, and are not kept', async () => {
  const { layer } = await imported('v1');
  upstream.addFault({ kind: 'body', body: Buffer.alloc(layer.bytes.length, 'x'), path: /\/blobs\//, times: 1 });
  const got = await getBlob(layer)
    .then(async (response) => ({ status: response.status, body: await response.arrayBuffer() }))
    .catch(() => undefined);
  if (got !== undefined) expect(got.status).toBe(502);
  expect(await isHere(layer)).toBe(false);
  await delay(50);
  await expectBlob(layer);
});
