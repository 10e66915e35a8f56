import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { migrations } from '../../src/metadata/migrations/index.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import type { Tag } from '../../src/oci/reference.js';
import { blobRecordsContract } from '../contracts/blob-records.js';
import { inspectionContract } from '../contracts/inspection.js';
import { objectStoreContract } from '../contracts/object-store.js';
import { app, imagePush } from '../contracts/pushes.js';
import { repositoryStoreContract } from '../contracts/repository-store.js';
import { uploadRecordsContract } from '../contracts/upload-records.js';
import { userRecordsContract } from '../contracts/user-records.js';
import { fileHandlePrototype } from '../support/file-handles.js';
import { addProjects } from '../support/projects.js';

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => {
  vi.restoreAllMocks();
});

const newPath = () => join(folder, `${(files += 1)}.sqlite`);
const openEmpty = async () =>
  addProjects(await openSqlite(newPath()), ['team', 'other', 'a', 'b', 'c', 'a-a', 'a-b', 'ab', 'a1']);

repositoryStoreContract('SQLite', openEmpty);
blobRecordsContract('SQLite', openEmpty);
uploadRecordsContract('SQLite', openEmpty);
userRecordsContract('SQLite', openEmpty);
objectStoreContract('SQLite', openEmpty);
inspectionContract('SQLite', openEmpty, async (db, work) => {
  await sql`pragma foreign_keys = off`.execute(db);
  await work();
  await sql`pragma foreign_keys = on`.execute(db);
});

describe('a SQLite file', () => {
  test('keeps what it holds when it is opened again, and is not migrated twice', async () => {
    const path = newPath();
    const first = await addProjects(await openSqlite(path), ['team']);
    const push = imagePush({ tags: ['v1'] });
    await new KyselyRepositoryStore(first).putManifest(push);
    await first.destroy();
    const second = await openSqlite(path);
    const found = await new KyselyRepositoryStore(second).findManifest(app, { kind: 'digest', digest: push.digest });
    expect(found).toMatchObject({ digest: push.digest });
    expect(await migrationsOf(second)).toEqual(Object.keys(migrations));
    await second.destroy();
  });

  test('may be opened by several', async () => {
    const path = newPath();
    const [first, second] = [await openSqlite(path), await openSqlite(path)];
    await new KyselyUserRecords(first).addUser({ name: 'ada', passwordHash: 'x', role: 'user' });
    expect(await new KyselyUserRecords(second).listUsers()).toHaveLength(1);
    await first.destroy();
    await second.destroy();
  });

  test.each([
    { name: 'journal_mode', value: 'wal' },
    // NORMAL: SQLite syncs around checkpoints, and every commit is synced by us.
    { name: 'synchronous', value: 1 },
    { name: 'foreign_keys', value: 1 },
    { name: 'busy_timeout', value: 5000 },
  ])('is opened with $name $value', async ({ name, value }) => {
    const db = await openEmpty();
    expect(await pragma(db, name)).toBe(value);
    await db.destroy();
  });

  describe('syncs commits:', () => {
    const addUser = (db: Database, name: string) =>
      new KyselyUserRecords(db).addUser({ name, passwordHash: 'x', role: 'user' });

    test('each before it resolves', async () => {
      const db = await openEmpty();
      const { syncs } = await watchSyncs();
      await addUser(db, 'ada');
      expect(syncs()).toBe(1);
      await addUser(db, 'bob');
      expect(syncs()).toBe(2);
      await db.destroy();
    });

    test('many with one sync when they come together', async () => {
      const db = await openEmpty();
      const { syncs } = await watchSyncs();
      await Promise.all(Array.from({ length: 50 }, (_, index) => addUser(db, `user-${index}`)));
      expect(syncs()).toBeGreaterThan(0);
      expect(syncs()).toBeLessThan(25);
      await db.destroy();
    });

    test('but not a read, nor a write that need not be', async () => {
      const db = await openEmpty();
      const { syncs } = await watchSyncs();
      await new KyselyUserRecords(db).listUsers();
      const uploads = new KyselyUploadRecords(db);
      const upload = { id: 'a', repository: app, principal: 'ada', algorithm: 'sha256', size: 0 } as const;
      await uploads.addUpload({ ...upload, digestSoFar: digestOf(''), state: undefined, hashState: undefined });
      await expect(
        uploads.addUpload({ ...upload, digestSoFar: digestOf(''), state: undefined, hashState: undefined }),
      ).rejects.toThrow();
      expect(syncs()).toBe(0);
      await addUser(db, 'ada');
      expect(syncs()).toBe(1);
      await db.destroy();
    });

    test('none is acknowledged any more once a sync has failed, until the file is opened again', async () => {
      const path = newPath();
      const db = await openSqlite(path);
      const { failNext } = await watchSyncs();
      failNext();
      await expect(addUser(db, 'ada')).rejects.toThrow('EIO');
      await expect(addUser(db, 'bob')).rejects.toThrow('EIO');
      await db.destroy();
      const again = await openSqlite(path);
      await addUser(again, 'eve');
      await again.destroy();
    });
  });

  test('shows a look-up what was committed the moment before, by this process or another', async () => {
    const path = newPath();
    const [first, second] = [await addProjects(await openSqlite(path), ['team']), await openSqlite(path)];
    const find = (db: Database) => new KyselyRepositoryStore(db);
    const stores = [find(first), find(second)] as const;
    for (let round = 0; round < 20; round += 1) {
      const push = imagePush({ tags: [`v${round}`] });
      const reference = { kind: 'tag', tag: `v${round}` as Tag } as const;
      // Looked for in the same turn, before and after: absence must not be remembered either.
      expect(await stores[0].findManifest(app, reference)).toBeUndefined();
      expect(await stores[1].findManifest(app, reference)).toBeUndefined();
      await stores[round % 2]!.putManifest(push);
      expect(await stores[0].findManifest(app, reference)).toMatchObject({ digest: push.digest });
      expect(await stores[1].findManifest(app, reference)).toMatchObject({ digest: push.digest });
    }
    await first.destroy();
    await second.destroy();
  });

  test('is made whole by the next start when the first one died, whatever statement it died after', async () => {
    let statements = 0;
    await (await openSqlite(newPath(), { onQuery: () => (statements += 1) })).destroy();
    for (let survived = 1; survived < statements; survived += 1) {
      const [dead, found] = [newPath(), newPath()];
      let count = 0;
      const dying = openSqlite(dead, {
        onQuery: () => {
          if ((count += 1) >= survived) throw new Error('died');
        },
      });
      await expect(dying).rejects.toThrow();
      // What a process that was killed has written, and nothing of what it would have done about its failure.
      for (const suffix of ['', '-wal']) await copyFile(`${dead}${suffix}`, `${found}${suffix}`);
      const db = await openSqlite(found).catch((error: unknown) => {
        throw new Error(`not after a death after statement ${survived} of ${statements}`, { cause: error });
      });
      expect(await migrationsOf(db)).toEqual(Object.keys(migrations));
      expect(await new KyselyUserRecords(db).countAdmins()).toBe(0);
      await db.destroy();
    }
  });

  test('tells how long each statement took', async () => {
    const durations: number[] = [];
    const db = await openSqlite(newPath(), { onQuery: (durationMs) => durations.push(durationMs) });
    const before = durations.length;
    await new KyselyUserRecords(db).countAdmins();
    expect(durations.length).toBe(before + 1);
    expect(durations.at(-1)).toBeGreaterThanOrEqual(0);
    expect(durations.at(-1)).toBeLessThan(1000);
    await db.destroy();
  });

  test('rolls a transaction back as a whole when a part of it fails', async () => {
    const db = await openEmpty();
    const users = new KyselyUserRecords(db);
    await expect(
      db.transaction().execute(async (tx) => {
        await tx.insertInto('user').values({ name: 'ada', password_hash: 'x', role: 'user', created_at: 0 }).execute();
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await users.countAdmins()).toBe(0);
    await db.destroy();
  });

  test('counts exactly when two processes read and then write it at the same time, and neither is turned away', async () => {
    const path = newPath();
    const times = 60;
    const db = await openSqlite(path);
    const counter = 'counter' as Digest;
    await db.insertInto('blob').values({ digest: counter, size: 0, location: 'nowhere', created_at: 0 }).execute();
    const other = spawn(process.execPath, [join(import.meta.dirname, 'counting-writer.mjs'), path, String(times)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(other, 'exit');
    await once(other.stdout, 'data');
    for (let count = 0; count < times; count += 1) {
      await db.transaction().execute(async (tx) => {
        const { size } = await tx
          .selectFrom('blob')
          .select('size')
          .where('digest', '=', counter)
          .executeTakeFirstOrThrow();
        // The other process is given the time to get in between.
        await new Promise((resolve) => setImmediate(resolve));
        await tx
          .updateTable('blob')
          .set({ size: size + 1 })
          .where('digest', '=', counter)
          .execute();
      });
    }
    expect(await ended).toEqual([0, null]);
    const { size } = await db.selectFrom('blob').select('size').executeTakeFirstOrThrow();
    expect(size).toBe(2 * times);
    await db.destroy();
  });
});

/** Counts the syncs that reach the operating system, and lets one of them fail. */
async function watchSyncs(): Promise<{ readonly syncs: () => number; readonly failNext: () => void }> {
  const prototype = await fileHandlePrototype();
  const spy = vi.spyOn(prototype, 'datasync');
  return {
    syncs: () => spy.mock.calls.length,
    failNext: () => spy.mockRejectedValueOnce(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })),
  };
}

async function pragma(db: Database, name: string): Promise<unknown> {
  const { rows } = await sql<Record<string, unknown>>`pragma ${sql.raw(name)}`.execute(db);
  return Object.values(rows[0]!)[0];
}

async function migrationsOf(db: Database): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
  return rows.map((row) => row.name);
}
