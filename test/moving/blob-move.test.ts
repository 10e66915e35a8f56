import { createHash, randomBytes } from 'node:crypto';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BlobStores, kindOfLocation, type BlobStoreKind } from '../../src/blobstore/blob-stores.js';
import type { BlobStore, StoredBytes } from '../../src/blobstore/blob-store.js';
import { FilesystemBlobStore } from '../../src/blobstore/filesystem.js';
import { BlobService } from '../../src/distribution/blobs.js';
import { checkRegistry } from '../../src/distribution/fsck.js';
import { GarbageCollection } from '../../src/distribution/garbage-collection.js';
import { UploadService } from '../../src/distribution/uploads.js';
import { KyselyBlobMoves } from '../../src/metadata/kysely-blob-moves.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { ByteRate } from '../../src/moving/blob-move-rate.js';
import { BlobMove, type BlobDamage, type BlobMoveOptions, type BlobMoveProgress } from '../../src/moving/blob-move.js';
import { WriteRoom } from '../../src/moving/write-room.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const MiB = 1024 * 1024;
const dayMs = 86_400_000;
const keepMs = 600_000;
const app = parseRepositoryName('team/app');

/** Two folders, of which one stands for S3: what is asked of a store by whoever moves blobs is the same. */
describe('blobs are moved from one store to the other', () => {
  let folder: string;
  let db: Database;
  let clockMs: number;
  let disk: BlobStore;
  let s3: BlobStore;
  let stores: BlobStores;
  let records: KyselyBlobRecords;
  let uploads: KyselyUploadRecords;
  let blobs: BlobService;
  let collection: GarbageCollection;
  const now = () => new Date(clockMs);

  beforeEach(async () => {
    folder = await temporaryFolder();
    clockMs = Date.now();
    db = await addProjects(await openSqlite(join(folder, 'weir.sqlite')), ['team']);
    const open = (name: string) => FilesystemBlobStore.open(join(folder, name));
    disk = await open('disk');
    s3 = changed(await open('s3'), {});
    stores = new BlobStores({ disk, s3 }, 'disk');
    records = new KyselyBlobRecords(db, now);
    uploads = new KyselyUploadRecords(db, now);
    blobs = new BlobService(stores, records, dayMs, now);
    collection = collectionOf('s3');
  });
  afterEach(async () => {
    await stores.close();
    await db.destroy();
  });

  /** Of a registry that writes new bytes to one of them. */
  function collectionOf(kind: BlobStoreKind): GarbageCollection {
    const store = stores.writingTo(kind);
    const service = new UploadService({ store, uploads, blobs: records, graceMs: dayMs, expireMs: dayMs, now });
    return new GarbageCollection(store, records, service, now);
  }

  async function addBlob(bytes: Buffer, algorithm: 'sha256' | 'sha512' = 'sha256'): Promise<Digest> {
    const id = randomBytes(20).toString('hex');
    const digest = digestOf(bytes, algorithm);
    const source = Readable.from([bytes], { objectMode: false });
    const { state } = await stores.append({ id, size: 0, state: undefined }, source, {
      observer: createHash('sha256'),
    });
    const location = (await stores.finish({ id, size: bytes.length, state }))!;
    await records.addBlob(app, { digest, size: bytes.length, location }, id, new Date(clockMs + 100 * dayMs));
    return digest;
  }

  async function addBlobs(count: number, size = 1000): Promise<Digest[]> {
    const digests = [];
    for (let index = 0; index < count; index += 1) digests.push(await addBlob(randomBytes(size + index)));
    return digests;
  }

  async function move(to: BlobStoreKind, options: Partial<BlobMoveOptions> = {}) {
    const damages: BlobDamage[] = [];
    const counts = await new BlobMove({
      ...{ to, stores, moves: new KyselyBlobMoves(db), uploads, parallel: 4, keepMs, now },
      rate: new ByteRate(Infinity),
      room: new WriteRoom(),
      onDamage: (damage) => damages.push(damage),
      ...options,
    }).run();
    return { ...counts, damages };
  }

  async function locationOf(digest: Digest): Promise<string> {
    return (await records.findLinkedBlob(app, digest))!.location;
  }

  async function kinds(): Promise<Record<BlobStoreKind, number>> {
    const all = await new KyselyBlobMoves(db).listBlobs({ after: undefined, limit: 10_000 });
    const onDisk = all.filter(({ location }) => kindOfLocation(location) === 'disk').length;
    return { disk: onDisk, s3: all.length - onDisk };
  }

  /** As a client reads it. */
  async function read(digest: Digest): Promise<Digest> {
    return digestOf(
      await bytesOf(await blobs.open(app, await blobs.get(app, digest))),
      digest.startsWith('sha512') ? 'sha512' : 'sha256',
    );
  }

  async function findings(): Promise<string[]> {
    const problems: string[] = [];
    await checkRegistry(new KyselyInspection(db), stores, {
      readBlobs: true,
      onFinding: ({ severity, problem }) => problems.push(`${severity}: ${problem}`),
    });
    return problems;
  }

  async function filesIn(kind: BlobStoreKind): Promise<number> {
    let files = 0;
    for await (const location of stores.list()) if (kindOfLocation(location) === kind) files += 1;
    return files;
  }

  test('and back, of every size and algorithm, and those of before go when nobody comes for them any more', async () => {
    const digests = [
      await addBlob(Buffer.alloc(0)),
      await addBlob(Buffer.from('x')),
      await addBlob(randomBytes(5 * MiB + 1)),
      await addBlob(randomBytes(1000), 'sha512'),
      ...(await addBlobs(20)),
    ];
    for (const [to, from] of [
      ['s3', 'disk'],
      ['disk', 's3'],
    ] as const) {
      const { movedBytes, ...counts } = await move(to);
      expect(counts).toEqual({ moved: 24, damaged: 0, gone: 0, damages: [] });
      expect(movedBytes).toBe(5 * MiB + 2 + 1000 + 20_190);
      expect(await kinds()).toMatchObject({ [to]: 24, [from]: 0 });
      for (const digest of digests) expect(await read(digest)).toBe(digest);
      collection = collectionOf(to);
      await collection.run(new AbortController().signal);
      expect(await filesIn(from)).toBe(24);
      expect(await findings()).toEqual([]);
      clockMs += keepMs;
      await collection.run(new AbortController().signal);
      expect(await filesIn(from)).toBe(0);
      expect(await findings()).toEqual([]);
    }
    expect(await move('disk')).toMatchObject({ moved: 0, gone: 0 });
  });

  test('while all of them are read, all the time', async () => {
    const digests = await addBlobs(40, 200_000);
    let isOver = false;
    let reads = 0;
    const reader = async (start: number) => {
      for (let turn = start; !isOver; turn += 7) {
        const digest = digests[turn % digests.length]!;
        expect(await read(digest)).toBe(digest);
        reads += 1;
      }
    };
    const collecting = async () => {
      while (!isOver) {
        await collection.run(new AbortController().signal);
        await sleep(1);
      }
    };
    const others = [reader(0), reader(1), reader(2), collecting()];
    for (const to of ['s3', 'disk', 's3'] as const) {
      expect(await move(to, { keepMs: 0 })).toMatchObject({ moved: 40, gone: 0, damaged: 0 });
    }
    isOver = true;
    await Promise.all(others);
    expect(reads).toBeGreaterThan(20);
    await collection.run(new AbortController().signal);
    expect(await findings()).toEqual([]);
    expect(await filesIn('disk')).toBe(0);
  });

  test('and who looked it up before and opens it when the bytes of before are gone gets it nonetheless', async () => {
    const [digest] = await addBlobs(1);
    const early = await blobs.get(app, digest!);
    const open = await blobs.open(app, early);
    await move('s3', { keepMs: 0 });
    await collection.run(new AbortController().signal);
    expect(await filesIn('disk')).toBe(0);
    expect(digestOf(await bytesOf(open))).toBe(digest);
    expect(digestOf(await bytesOf(await blobs.open(app, early)))).toBe(digest);
    const part = await bytesOf(await blobs.open(app, early, { start: 10, end: 19 }));
    expect(part).toEqual((await bytesOf(await blobs.open(app, await blobs.get(app, digest!)))).subarray(10, 20));
  });

  test('but not the damaged ones, which are told of and stay', async () => {
    const [good, changed, short, long, lost] = await addBlobs(5);
    const pathOf = async (digest: Digest) => join(folder, 'disk', 'blobs', await locationOf(digest));
    const bytes = await readFile(await pathOf(changed!));
    bytes[500]! ^= 1;
    await writeFile(await pathOf(changed!), bytes);
    await truncate(await pathOf(short!), 10);
    await writeFile(await pathOf(long!), randomBytes(5000));
    await rm(await pathOf(lost!));
    const { damages, ...counts } = await move('s3');
    expect(counts).toEqual({ moved: 1, movedBytes: 1000, damaged: 4, gone: 0 });
    expect(Object.fromEntries(damages.map(({ digest, why }) => [digest, why]))).toEqual({
      [changed!]: `has bytes of digest ${digestOf(bytes)}`,
      [short!]: 'has 10 bytes instead of 1002',
      [long!]: 'has 5000 bytes instead of 1003',
      [lost!]: 'has no bytes',
    });
    for (const digest of [changed!, short!, long!, lost!])
      expect(kindOfLocation(await locationOf(digest))).toBe('disk');
    expect(await read(good!)).toBe(good);
    expect(await filesIn('s3')).toBe(1);
    expect(await uploads.countUploads()).toBe(0);
  });

  test('unless one is collected or moved by somebody else meanwhile', async () => {
    const digests = (await addBlobs(6)).sort();
    const moves = new KyselyBlobMoves(db);
    const { moved, gone } = await move('s3', {
      parallel: 1,
      moves: {
        listBlobs: (page) => moves.listBlobs(page),
        findBlob: (digest) => moves.findBlob(digest),
        moveBlob: async (blob, to) => {
          if (blob.digest === digests[0]) await records.unlinkBlob(app, blob.digest);
          if (blob.digest === digests[1]) await move('s3');
          return moves.moveBlob(blob, to);
        },
      },
    });
    expect({ moved, gone }).toEqual({ moved: 0, gone: 6 });
    expect(await kinds()).toEqual({ disk: 0, s3: 5 });
    expect(await filesIn('s3')).toBe(5);
    expect(await uploads.countUploads()).toBe(0);
    for (const digest of digests.slice(1)) expect(await read(digest)).toBe(digest);
    expect(await findings()).toEqual([]);
  });

  test('and not to bytes whose session was given up meanwhile, as of somebody who had died', async () => {
    const [digest] = await addBlobs(1);
    const moves = new KyselyBlobMoves(db);
    const counts = await move('s3', {
      moves: {
        listBlobs: (page) => moves.listBlobs(page),
        findBlob: (each) => moves.findBlob(each),
        moveBlob: async (blob, to) => {
          clockMs += 2 * dayMs;
          await collection.run(new AbortController().signal);
          return moves.moveBlob(blob, to);
        },
      },
    });
    expect(counts).toMatchObject({ moved: 0, gone: 1 });
    expect(await read(digest!)).toBe(digest);
    expect(await findings()).toEqual([]);
  });

  test.each(['append', 'finish', 'finished', 'swap'] as const)(
    'and what is killed at %s leaves nothing that is not accounted for; the next one goes on',
    async (point) => {
      const digests = await addBlobs(12);
      // Who is killed does not come back; neither does this one.
      const forEver = () => new Promise<never>(() => undefined);
      let left = 5;
      const isDead = () => (left -= 1) < 0;
      const dying = changed(s3, {
        append: async (...args: Parameters<BlobStore['append']>) => {
          const dead = point === 'append' && isDead();
          const result = await s3.append(...args);
          return dead ? forEver() : result;
        },
        finish: async (...args: Parameters<BlobStore['finish']>) => {
          if (point === 'finish' && isDead()) return forEver();
          const location = await s3.finish(...args);
          return point === 'finished' && isDead() ? forEver() : location;
        },
      });
      const moves = new KyselyBlobMoves(db);
      void move('s3', {
        stores: new BlobStores({ disk, s3: dying }, 's3'),
        moves: {
          listBlobs: (page) => moves.listBlobs(page),
          findBlob: (digest) => moves.findBlob(digest),
          moveBlob: async (blob, to) => {
            const dead = point === 'swap' && isDead();
            const isMoved = await moves.moveBlob(blob, to);
            return dead ? forEver() : isMoved;
          },
        },
      });
      const movedBefore = point === 'swap' ? 9 : 5;
      await expect.poll(async () => (await kinds()).s3, { timeout: 10_000 }).toBe(movedBefore);
      await sleep(100);
      for (const digest of digests) expect(await read(digest)).toBe(digest);
      expect((await findings()).filter((each) => !each.startsWith('note: bytes of upload'))).toEqual([]);
      expect(await move('s3')).toMatchObject({ moved: 12 - movedBefore, damaged: 0 });
      for (const digest of digests) expect(await read(digest)).toBe(digest);
      expect(await findings()).toEqual([]);
      // The registry gives up what was left, and has the bytes of all.
      clockMs += 2 * dayMs;
      await collection.run(new AbortController().signal);
      expect(await uploads.countUploads()).toBe(0);
      expect(await filesIn('disk')).toBe(0);
      expect(await filesIn('s3')).toBe(12);
      expect(await findings()).toEqual([]);
    },
  );

  test('until the other store takes no more, which is told', async () => {
    await addBlobs(3);
    const full = changed(s3, { append: () => Promise.reject(new Error('no space left')) });
    await expect(move('s3', { stores: new BlobStores({ disk, s3: full }, 's3') })).rejects.toThrow('no space left');
    expect(await kinds()).toEqual({ disk: 3, s3: 0 });
    expect(await uploads.countUploads()).toBe(0);
    expect(await findings()).toEqual([]);
  });

  test('no faster than they may, and it tells how far it is', async () => {
    await addBlobs(8, 100_000);
    const told: BlobMoveProgress[] = [];
    const begun = performance.now();
    const { movedBytes } = await move('s3', {
      rate: new ByteRate(1_000_000),
      onProgress: (progress) => told.push(progress),
    });
    // The first bytes need not wait.
    expect(performance.now() - begun).toBeGreaterThan(600);
    expect(told.at(-1)).toMatchObject({ doneBytes: movedBytes, totalBytes: movedBytes, totalBlobs: 8, moved: 8 });
    expect(told.map(({ doneBytes }) => doneBytes)).toEqual(
      told.map(({ doneBytes }) => doneBytes).sort((a, b) => a - b),
    );
  });
});

/** A store with some of it another way. Its uploads have a state, as those of S3 do. */
function changed(store: BlobStore, changes: Partial<BlobStore>): BlobStore {
  const append: BlobStore['append'] = async (...args) => ({ ...(await store.append(...args)), state: 'begun' });
  const own: Partial<BlobStore> = { append, ...changes };
  return new Proxy(store, {
    get: (_target, name) => {
      const value: unknown = Reflect.get(name in own ? own : store, name);
      return typeof value === 'function' ? (value.bind(store) as unknown) : value;
    },
  });
}

async function bytesOf(stored: StoredBytes): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await stored.copyTo(
    new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        chunks.push(Buffer.from(chunk));
        done();
      },
    }),
  );
  return Buffer.concat(chunks);
}
