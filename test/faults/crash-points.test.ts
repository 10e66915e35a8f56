import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeBytes, mediaTypes } from '../../conformance/support/image.js';
import { manifestOf } from './load.js';
import { Random } from './random.js';
import { NoAnswerError, receivedBytes, RegistryClient, sha256 } from './registry-client.js';
import { runFsck, startRegistryProcess, type RegistryProcess } from './registry-process.js';

const repository = 'faults/crash';
const crashPoint = fileURLToPath(new URL('crash-point.mjs', import.meta.url));
const bytes = new Random('crash points').bytes(700_000);
const digest = sha256(bytes);

let folder = '';
let dataDir = '';
let registry: RegistryProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-crash-'));
  dataDir = path.join(folder, 'data');
});

afterEach(async () => {
  await registry?.kill();
  registry = undefined;
  await rm(folder, { recursive: true, force: true });
});

const blobPoints = [
  'before the sync of the upload',
  'after the sync of the upload',
  'before the rename',
  'after the rename',
  'before the sync of the folder',
  'after the sync of the folder',
  'before the row in blob',
  'after the row in blob',
  'before the commit',
  'after the commit',
  'before the answer',
] as const;

test.each(blobPoints)('a blob push that dies %s can be asked for again, and then is whole', async (point) => {
  const location = await crash(point, async (client, session) => {
    await client.send('PUT', `${session}?digest=${digest}`, { body: bytes });
  });
  const client = await restart();
  const { status } = await client.expect([204, 404], 'GET', location);
  if (status === 204) {
    const received = receivedBytes(await client.send('GET', location));
    await client.expect(201, 'PUT', `${location}?digest=${digest}`, { body: bytes.subarray(received) });
  }
  await expectWholeBlob(client);
});

test.each(blobPoints)('the end of an upload that dies %s can be asked for again, and then is whole', async (point) => {
  const location = await crash(point, async (client, session) => {
    await client.send('PATCH', session, { body: bytes });
    await client.send('PUT', `${session}?digest=${digest}`);
  });
  const client = await restart();
  const answer = await client.expect([204, 404], 'GET', location);
  if (answer.status === 204) {
    const rest = bytes.subarray(receivedBytes(answer));
    if (rest.length > 0) await client.expect(202, 'PATCH', location, { body: rest });
    await client.expect(201, 'PUT', `${location}?digest=${digest}`);
  }
  await expectWholeBlob(client);
});

test.each(['after the commit', 'before an upload is removed', 'after an upload is removed', 'before the answer'])(
  'a push of a blob that is there already loses nothing when it dies %s',
  async (point) => {
    registry = await startRegistryProcess({ dataDir });
    const before = new RegistryClient(registry.url);
    await before.pushBlob({ repository: 'faults/other', bytes, digest, way: 'POST then PUT' });
    before.close();
    await registry.stop();
    const location = await crash(point, async (client, session) => {
      await client.send('PUT', `${session}?digest=${digest}`, { body: bytes });
    });
    const client = await restart();
    const answer = await client.expect([204, 404], 'GET', location);
    if (answer.status === 204) {
      await client.expect(201, 'PUT', `${location}?digest=${digest}`, {
        body: bytes.subarray(receivedBytes(answer)),
      });
    }
    await expectWholeBlob(client);
  },
);

test.each(['before the row in image', 'after the row in tag_event', 'after the row in tag', 'before the commit'])(
  'a manifest push that dies %s did nothing at all',
  async (point) => {
    const { status, tags } = await crashInManifestPush(point);
    expect({ status, tags }).toEqual({ status: 404, tags: [] });
  },
);

test.each(['after the commit', 'before the answer'])('a manifest push that dies %s did all of it', async (point) => {
  const { status, tags } = await crashInManifestPush(point);
  expect({ status, tags }).toEqual({ status: 200, tags: ['v1'] });
});

/** Runs requests against a registry that dies from one of them. @returns the upload session they were given */
async function crash(
  point: string,
  work: (client: RegistryClient, session: string) => Promise<unknown>,
): Promise<string> {
  const dying = await startRegistryProcess({
    dataDir,
    preload: [crashPoint],
    environment: { WEIR_TEST_CRASH_AT: point },
  });
  registry = dying;
  const client = new RegistryClient(dying.url);
  const opened = await client.expect(202, 'POST', `/v2/${repository}/blobs/uploads/`);
  const location = opened.headers.location!;
  await expect(work(client, location), `the registry was to die ${point}`).rejects.toThrow(NoAnswerError);
  client.close();
  await dying.kill();
  return location;
}

async function crashInManifestPush(point: string): Promise<{ readonly status: number; readonly tags: string[] }> {
  registry = await startRegistryProcess({ dataDir });
  const before = new RegistryClient(registry.url);
  await before.pushBlob({ repository, bytes, digest, way: 'POST then PUT' });
  before.close();
  await registry.stop();
  const image = manifestOf({
    mediaType: mediaTypes.manifest,
    config: describeBytes(bytes, mediaTypes.config),
    layers: [],
  });
  await crash(point, (client) =>
    client.send('PUT', `/v2/${repository}/manifests/v1`, {
      headers: { 'content-type': image.mediaType },
      body: image.bytes,
    }),
  );
  const client = await restart();
  const { status } = await client.send('GET', `/v2/${repository}/manifests/${image.digest}`);
  const { body } = await client.expect(200, 'GET', `/v2/${repository}/tags/list`);
  client.close();
  await expectClean();
  return { status, tags: (JSON.parse(body.toString('utf8')) as { tags: string[] }).tags };
}

async function restart(): Promise<RegistryClient> {
  registry = await startRegistryProcess({ dataDir, environment: { WEIR_COLLECTION_INTERVAL_SECONDS: '1' } });
  return new RegistryClient(registry.url);
}

async function expectWholeBlob(client: RegistryClient): Promise<void> {
  const { body } = await client.expect(200, 'GET', `/v2/${repository}/blobs/${digest}`);
  client.close();
  expect({ size: body.length, digest: sha256(body) }).toEqual({ size: bytes.length, digest });
  // Bytes of a session that has ended go with the next collection.
  await expect.poll(() => readdir(path.join(dataDir, 'uploads')), { timeout: 20_000 }).toEqual([]);
  await expectClean();
}

async function expectClean(): Promise<void> {
  await registry?.stop();
  expect(await runFsck(dataDir)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining(': 0 lost, 0 notes') as string,
  });
}
