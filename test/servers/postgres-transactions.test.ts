import { setTimeout as sleep } from 'node:timers/promises';
import { sql, type Kysely } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CommitUnknownError } from '../../src/metadata/postgres-errors.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import type { Database, Schema } from '../../src/metadata/schema.js';
import { withoutSync } from '../../src/metadata/without-sync.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { app, by, imagePush, other } from '../contracts/pushes.js';
import { startCommitThief, type CommitThief } from '../support/commit-thief.js';
import { execute, startPostgres, type TestPostgres } from '../support/postgres.js';
import { addProjects } from '../support/projects.js';

let server: TestPostgres;
let url: string;
/** As two processes see one database. */
let databases: readonly [Database, Database];
let db: Database;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());
beforeEach(async () => {
  url = await server.createDatabase();
  databases = [(await openPostgres(url, { poolSize: 8 })).db, (await openPostgres(url, { poolSize: 8 })).db];
  [db] = databases;
  await addProjects(db, ['team', 'other']);
});
afterEach(() => Promise.all(databases.map((each) => each.destroy())));

const counter = 'counter' as Digest;

async function makeCounter(): Promise<void> {
  await db.insertInto('blob').values({ digest: counter, size: 0, location: 'nowhere', created_at: 0 }).execute();
}

async function readCounter(of: Kysely<Schema>): Promise<number> {
  const { size } = await of.selectFrom('blob').select('size').where('digest', '=', counter).executeTakeFirstOrThrow();
  return size;
}

/** Reads and then writes, which is wrong where others write in between. */
async function count(tx: Kysely<Schema>): Promise<void> {
  const size = await readCounter(tx);
  await sleep(2);
  await tx
    .updateTable('blob')
    .set({ size: size + 1 })
    .where('digest', '=', counter)
    .execute();
}

/** Ends the connection of a transaction, as a server that goes away does. */
async function endConnection(tx: Kysely<Schema>): Promise<void> {
  const { rows } = await sql<{ id: number }>`select pg_backend_pid() as id`.execute(tx);
  await execute(server.url, `select pg_terminate_backend(${rows[0]!.id})`);
  await sleep(20);
}

describe('a transaction on PostgreSQL', () => {
  test('that writes sees all that was committed before it, whatever process it is of', async () => {
    await makeCounter();
    await Promise.all(
      Array.from({ length: 60 }, (_, index) => databases[index % 2 === 0 ? 0 : 1].transaction().execute(count)),
    );
    expect(await readCounter(db)).toBe(60);
  });

  test('that shares its turn runs beside others like it, and beside none that is alone', async () => {
    const running = { shared: 0, exclusive: 0 };
    let mostShared = 0;
    const seen = new Set<string>();
    const run = (kind: 'shared' | 'exclusive') => async () => {
      running[kind] += 1;
      mostShared = Math.max(mostShared, running.shared);
      seen.add(`${running.shared > 0 ? 'shared' : 'no shared'} beside ${running.exclusive}`);
      await sleep(10);
      running[kind] -= 1;
    };
    await Promise.all(
      Array.from({ length: 40 }, (_, index) => {
        const each = databases[index % 2 === 0 ? 0 : 1].transaction();
        return index % 5 === 0
          ? each.execute(run('exclusive'))
          : each.setIsolationLevel('read committed').execute(run('shared'));
      }),
    );
    expect(mostShared).toBeGreaterThan(1);
    expect([...seen].sort()).toEqual(['no shared beside 1', 'shared beside 0']);
  });

  test('that only reads waits for nobody, sees one moment, and writes nothing', async () => {
    await makeCounter();
    await db.transaction().execute(async (tx) => {
      await count(tx);
      const reading = databases[1].transaction().setAccessMode('read only');
      expect(await reading.execute(readCounter)).toBe(0);
    });
    const reading = db.transaction().setAccessMode('read only');
    await reading.execute(async (tx) => {
      expect(await readCounter(tx)).toBe(1);
      await databases[1].transaction().execute(count);
      expect(await readCounter(tx)).toBe(1);
    });
    await expect(reading.execute(count)).rejects.toThrow('read-only');
  });

  test('leaves connections to those who read while many wait to write', async () => {
    await makeCounter();
    let isWriting = true;
    const writing = Promise.all(Array.from({ length: 50 }, () => db.transaction().execute(() => sleep(10)))).finally(
      () => (isWriting = false),
    );
    await sleep(50);
    for (let times = 0; times < 10; times += 1) await readCounter(db);
    expect(isWriting).toBe(true);
    await writing;
  });

  test('is rolled back as a whole when a part of it fails, and is no obstacle to others', async () => {
    await makeCounter();
    const failing = db.transaction().execute(async (tx) => {
      await count(tx);
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    expect(await readCounter(db)).toBe(0);
    await databases[1].transaction().execute(count);
    expect(await readCounter(db)).toBe(1);
  });

  test('of which a statement failed unnoticed is not taken for one that was committed', async () => {
    await makeCounter();
    const failing = db.transaction().execute(async (tx) => {
      await count(tx);
      await sql`select 1 / 0`.execute(tx).catch(() => undefined);
    });
    await expect(failing).rejects.toThrow('rolled back');
    expect(await readCounter(db)).toBe(0);
  });

  test('is run again when its connection broke before it was committed', async () => {
    await makeCounter();
    let runs = 0;
    await db.transaction().execute(async (tx) => {
      await count(tx);
      if ((runs += 1) === 1) await endConnection(tx);
    });
    expect([runs, await readCounter(db)]).toEqual([2, 1]);
  });

  test('is run again when two of them stood in each others way', async () => {
    await db
      .insertInto('blob')
      .values(['a', 'b'].map((name) => ({ digest: name as Digest, size: 0, location: name, created_at: 0 })))
      .execute();
    const add = async (tx: Kysely<Schema>, name: string) => {
      await tx
        .updateTable('blob')
        .set({ size: sql<number>`size + 1` })
        .where('digest', '=', name as Digest)
        .execute();
      await sleep(50);
    };
    await Promise.all(
      ['ab', 'ba'].map((names) =>
        db
          .transaction()
          .setIsolationLevel('read committed')
          .execute(async (tx) => {
            for (const name of names) await add(tx, name);
          }),
      ),
    );
    expect((await db.selectFrom('blob').select('size').execute()).map(({ size }) => size)).toEqual([2, 2]);
  });

  describe('whose commit was sent and whose answer was lost', () => {
    let thief: CommitThief;
    let stolen: Database;
    beforeEach(async () => {
      thief = await startCommitThief(url);
      stolen = (await openPostgres(thief.url, { poolSize: 4 })).db;
    });
    afterEach(async () => {
      await stolen.destroy();
      await thief.stop();
    });

    test('is not run again, and nobody says that it was done', async () => {
      await makeCounter();
      let runs = 0;
      thief.stealNext();
      const committing = stolen.transaction().execute(async (tx) => {
        runs += 1;
        await count(tx);
      });
      await expect(committing).rejects.toThrow(CommitUnknownError);
      expect(runs).toBe(1);
      expect(await readCounter(db)).toBe(1);
      await stolen.transaction().execute(count);
      expect(await readCounter(db)).toBe(2);
    });
  });
});

describe('connections to PostgreSQL', () => {
  test('that died while nobody used them are replaced before anybody notices', async () => {
    await makeCounter();
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(Array.from({ length: 6 }, () => readCounter(db)));
      await execute(
        server.url,
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weir'`,
      );
      await Promise.all([readCounter(db), db.transaction().execute(count), readCounter(databases[1])]);
    }
    expect(await readCounter(db)).toBe(3);
  });

  test('that broke during a look-up are replaced, and the look-up is made again', async () => {
    await makeCounter();
    const slow = db
      .selectFrom('blob')
      .select(sql`pg_sleep(0.3)`.as('slept'))
      .where('digest', '=', counter);
    const reading = slow.execute();
    await sleep(100);
    await execute(server.url, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weir'`);
    expect(await reading).toHaveLength(1);
  });

  test('do not wait for the disk with what may be lost', async () => {
    const setting = sql<{ synchronous_commit: string }>`show synchronous_commit`;
    expect((await setting.execute(db)).rows).toEqual([{ synchronous_commit: 'on' }]);
    expect((await withoutSync(db, (each) => setting.execute(each))).rows).toEqual([{ synchronous_commit: 'off' }]);
  });
});

test('blobs are pushed by many, linked and collected at the same time, and none is lost that was acknowledged', async () => {
  const repositories = Array.from({ length: 4 }, (_, index) => parseRepositoryName(`team/app-${index}`));
  const [here, there] = databases.map((each) => new KyselyBlobRecords(each)) as [KyselyBlobRecords, KyselyBlobRecords];
  const past = new Date(Date.now() - 60_000);
  const future = new Date(Date.now() + 3_600_000);
  const stopping = new AbortController();
  const collecting = (async () => {
    while (!stopping.signal.aborted) await there.collectLinks(new Date(), 100);
  })();
  const acknowledged: [(typeof repositories)[number], Digest][] = [];
  const errors: unknown[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async (_, worker) => {
      for (let round = 0; round < 25; round += 1) {
        const store = (worker + round) % 2 === 0 ? here : there;
        const repository = repositories[(worker + round) % repositories.length]!;
        // The same few contents by all of them: first as a link that is to go at once, then as one that is to stay.
        const digest = digestOf(`content ${round % 10}`);
        const location = `at/${worker}-${round}`;
        try {
          await store.addBlob(repository, { digest, size: 5, location }, `upload-${worker}-${round}`, past);
          if ((await store.linkBlob(repository, digest, future)) === undefined) {
            await store.addBlob(repository, { digest, size: 5, location: `${location}-again` }, 'none', future);
          }
          acknowledged.push([repository, digest]);
        } catch (error) {
          errors.push(error);
        }
      }
    }),
  );
  stopping.abort();
  await collecting;
  expect(errors).toEqual([]);
  expect(acknowledged).toHaveLength(200);
  const rows = await db.selectFrom('blob').select(['digest', 'location']).execute();
  const discarded = await db.selectFrom('discarded_location').select('location').execute();
  // No location is both in use and given away, and each repository was made once.
  expect(discarded.filter(({ location }) => rows.some((row) => row.location === location))).toEqual([]);
  expect(await db.selectFrom('repository').select('name').orderBy('name').execute()).toEqual(
    repositories.map((name) => ({ name })),
  );
  const links = await db
    .selectFrom('repository_blob')
    .leftJoin('blob', 'blob.digest', 'repository_blob.digest')
    .select(['repository_blob.digest', 'blob.digest as stored'])
    .execute();
  expect(links.filter(({ stored }) => stored === null)).toEqual([]);
});

test('pushes that come over two processes at once lose no event of a tag, and number them without a gap', async () => {
  const stores = databases.map((each) => new KyselyRepositoryStore(each));
  const pushes = Array.from({ length: 40 }, (_, index) => imagePush({ name: `image ${index}`, tags: ['v1'] }));
  await Promise.all(pushes.map((push, index) => stores[index % 2]!.putManifest(push)));
  const events = await stores[0]!.listTagEvents(app, 'v1' as never, 100);
  expect(events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 40 }, (_, index) => 40 - index));
  expect(new Set(events.map(({ image }) => image))).toEqual(new Set(pushes.map(({ digest }) => digest)));
  const found = await stores[1]!.findManifest(app, { kind: 'tag', tag: 'v1' as never });
  expect(found?.digest).toBe(events[0]!.image);
  expect(await stores[0]!.deleteTag(other, 'v1' as never, by('ada'))).toBe(false);
});
