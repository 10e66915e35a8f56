import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GarbageCollection, type CollectionReport } from '../../src/distribution/garbage-collection.js';
import { UploadService } from '../../src/distribution/uploads.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import { parseDigest } from '../../src/oci/digest.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { imageManifest, pushBlob, pushImage, pushManifest, startUpload, type Content } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { uploadPath } from '../support/upload-progress.js';

const graceSeconds = 3600;
const expireSeconds = 7200;
let registry: TestRegistry;

beforeAll(async () => {
  registry = await startRegistry({
    WEIR_COLLECTION_GRACE_SECONDS: String(graceSeconds),
    WEIR_UPLOADS_EXPIRE_SECONDS: String(expireSeconds),
  });
});
afterAll(() => registry.stop());

/** A round of collection as it will be after so many seconds. */
async function collectAfter(seconds: number): Promise<CollectionReport> {
  const now = () => new Date(Date.now() + seconds * 1000);
  const db = await registry.openDatabase();
  const store = await registry.openBlobStore();
  const blobs = new KyselyBlobRecords(db, now);
  const uploads = new UploadService({
    store,
    blobs,
    uploads: new KyselyUploadRecords(db, now),
    graceMs: graceSeconds * 1000,
    expireMs: expireSeconds * 1000,
    now,
  });
  return new GarbageCollection(store, blobs, uploads, now).run(new AbortController().signal);
}

const soon = graceSeconds - 60;
const late = graceSeconds + 60;

async function isThere(repository: string, { digest }: Content): Promise<boolean> {
  const response = await registry.fetch(`/v2/${repository}/blobs/${digest}`);
  await response.arrayBuffer();
  return response.status === 200;
}

async function fileOf({ digest }: Content): Promise<string> {
  const db = await registry.openDatabase();
  const row = await db
    .selectFrom('blob')
    .select('location')
    .where('digest', '=', digest as never)
    .executeTakeFirstOrThrow();
  return join(registry.dataDir, 'blobs', row.location);
}

async function fileExists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function remove(repository: string, path: string): Promise<Response> {
  return registry.fetch(`/v2/${repository}/${path}`, { method: 'DELETE' });
}

/** As if only so much of a blob's grace time were left. */
async function leave(seconds: number, repository: string, { digest }: Content): Promise<void> {
  const records = new KyselyBlobRecords(await registry.openDatabase());
  const collectAt = new Date(Date.now() + seconds * 1000);
  await records.linkBlob(parseRepositoryName(repository), parseDigest(digest), collectAt);
}

describe('a blob that nothing refers to', () => {
  test('stays for the grace time, and then goes with its file', async () => {
    const blob = await pushBlob(registry, 'gc/orphan', 'orphan');
    const file = await fileOf(blob);
    await collectAfter(soon);
    expect(await isThere('gc/orphan', blob)).toBe(true);
    const report = await collectAfter(late);
    expect(report.blobsDeleted).toBeGreaterThanOrEqual(1);
    expect(await isThere('gc/orphan', blob)).toBe(false);
    expect(await fileExists(file)).toBe(false);
  });

  test.each([
    {
      name: 'somebody checks for it',
      touch: (blob: Content) => registry.fetch(`/v2/gc/touched/blobs/${blob.digest}`, { method: 'HEAD' }),
    },
    { name: 'somebody pushes it again', touch: (blob: Content) => pushBlob(registry, 'gc/touched', blob.bytes) },
    {
      name: 'somebody mounts it where it is',
      touch: (blob: Content) =>
        registry.fetch(`/v2/gc/touched/blobs/uploads/?mount=${blob.digest}&from=gc/touched`, { method: 'POST' }),
    },
  ])('stays for longer when $name', async ({ name, touch }) => {
    const blob = await pushBlob(registry, 'gc/touched', `touched: ${name}`);
    await leave(10, 'gc/touched', blob);
    await touch(blob);
    await collectAfter(60);
    expect(await isThere('gc/touched', blob)).toBe(true);
    await collectAfter(late);
    expect(await isThere('gc/touched', blob)).toBe(false);
  });

  test('goes at once from view, and soon from the disk, when it is deleted', async () => {
    const blob = await pushBlob(registry, 'gc/deleted', 'deleted');
    const file = await fileOf(blob);
    await remove('gc/deleted', `blobs/${blob.digest}`);
    expect(await isThere('gc/deleted', blob)).toBe(false);
    await collectAfter(0);
    expect(await fileExists(file)).toBe(false);
  });

  test('that was deleted and pushed again stays', async () => {
    const blob = await pushBlob(registry, 'gc/again', 'again');
    await remove('gc/again', `blobs/${blob.digest}`);
    await pushBlob(registry, 'gc/again', 'again');
    await collectAfter(soon);
    expect(await isThere('gc/again', blob)).toBe(true);
  });
});

describe('a blob that an image refers to', () => {
  test('never goes, tagged or not', async () => {
    const image = await pushImage(registry, 'gc/image', 'v1', 'kept');
    await remove('gc/image', 'manifests/v1');
    await collectAfter(10 * late);
    expect(await isThere('gc/image', image.config)).toBe(true);
    expect(await isThere('gc/image', image.layer)).toBe(true);
  });

  test('never goes when the image came after the blob had become a candidate', async () => {
    const layer = await pushBlob(registry, 'gc/late', 'late layer');
    await leave(1, 'gc/late', layer);
    const image = imageManifest(await pushBlob(registry, 'gc/late', 'late config'), [layer]);
    await pushManifest(registry, 'gc/late', image, 'v1');
    await collectAfter(late);
    expect(await isThere('gc/late', layer)).toBe(true);
  });

  test('goes the grace time after the image did, except what another image needs', async () => {
    const image = await pushImage(registry, 'gc/gone', 'v1', 'gone');
    const config = await pushBlob(registry, 'gc/gone', 'config of another');
    await pushManifest(registry, 'gc/gone', imageManifest(config, [image.layer]), 'v2');
    // Only now are the candidates that the pushes made out of the way.
    await collectAfter(late);
    const file = await fileOf(image.config);
    await remove('gc/gone', `manifests/${image.digest}`);
    await collectAfter(soon);
    expect(await isThere('gc/gone', image.config)).toBe(true);
    await collectAfter(late);
    expect(await isThere('gc/gone', image.config)).toBe(false);
    expect(await fileExists(file)).toBe(false);
    expect(await isThere('gc/gone', image.layer)).toBe(true);
    expect(await isThere('gc/gone', config)).toBe(true);
  });

  test('stays when the image is deleted and pushed again', async () => {
    const image = await pushImage(registry, 'gc/returned', 'v1', 'returned');
    await collectAfter(late);
    await remove('gc/returned', `manifests/${image.digest}`);
    await pushManifest(registry, 'gc/returned', image, 'v1');
    await collectAfter(late);
    expect(await isThere('gc/returned', image.config)).toBe(true);
    expect(await isThere('gc/returned', image.layer)).toBe(true);
  });

  test('in one repository goes from another where nothing refers to it, and its bytes stay', async () => {
    const image = await pushImage(registry, 'gc/holder', 'v1', 'held');
    await pushBlob(registry, 'gc/passer', image.layer.bytes);
    const file = await fileOf(image.layer);
    await collectAfter(late);
    expect(await isThere('gc/passer', image.layer)).toBe(false);
    expect(await isThere('gc/holder', image.layer)).toBe(true);
    expect(await fileExists(file)).toBe(true);
  });
});

test('a blob of two repositories survives its deletion from one, and goes with the last', async () => {
  const blob = await pushBlob(registry, 'gc/left', 'in two');
  await pushBlob(registry, 'gc/right', 'in two');
  const file = await fileOf(blob);
  await remove('gc/left', `blobs/${blob.digest}`);
  await collectAfter(0);
  expect(await isThere('gc/right', blob)).toBe(true);
  await remove('gc/right', `blobs/${blob.digest}`);
  await collectAfter(0);
  expect(await fileExists(file)).toBe(false);
});

describe('an upload', () => {
  test('that rests too long goes with its bytes, and one that does not stays', async () => {
    const session = await startUpload(registry, 'gc/upload');
    await registry.fetch(session, { method: 'PATCH', body: 'some bytes' });
    await collectAfter(expireSeconds - 60);
    expect((await registry.fetch(session)).status).toBe(204);
    const report = await collectAfter(expireSeconds + 60);
    expect(report.uploadsExpired).toBeGreaterThanOrEqual(1);
    expect((await registry.fetch(session)).status).toBe(404);
    expect(await fileExists(uploadPath(registry, session))).toBe(false);
  });

  test('that was begun and got nothing goes as well', async () => {
    const session = await startUpload(registry, 'gc/upload');
    await collectAfter(expireSeconds + 60);
    expect((await registry.fetch(session)).status).toBe(404);
  });
});

test('a round works off more than one batch', async () => {
  const sessions = await Promise.all(Array.from({ length: 130 }, () => startUpload(registry, 'gc/batches')));
  const report = await collectAfter(expireSeconds + 60);
  expect(report.uploadsExpired).toBeGreaterThanOrEqual(sessions.length);
  expect(await readdir(join(registry.dataDir, 'uploads'))).toEqual([]);
});

test('a round that is told to stop does nothing more', async () => {
  const blob = await pushBlob(registry, 'gc/stopped', 'stopped');
  const { collection } = registry.running.app;
  const report = await collection.run(AbortSignal.abort());
  expect(report).toEqual({ linksLookedAt: 0, blobsDeleted: 0, uploadsExpired: 0 });
  expect(await isThere('gc/stopped', blob)).toBe(true);
});
