import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import type { Change, ObjectWrite } from '../../src/metadata/object-store.js';
import type { OpenedDatabase } from '../../src/metadata/opened-database.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import { digestOf } from '../../src/oci/digest.js';
import { app, imagePush } from '../contracts/pushes.js';
import { execute, startPostgres, type TestPostgres } from '../support/postgres.js';
import { addProjects } from '../support/projects.js';

let server: TestPostgres;
/** As three processes see one database. */
let opened: readonly OpenedDatabase[];
let stores: readonly KyselyObjectStore[];
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());
beforeEach(async () => {
  const url = await server.createDatabase();
  opened = await Promise.all(Array.from({ length: 3 }, () => openPostgres(url, { poolSize: 8 })));
  // Nobody looks on their own while a test runs.
  stores = opened.map(({ db, now }) => new KyselyObjectStore(db, now, 60_000));
  for (const [index, { onChange }] of opened.entries()) {
    onChange(() => {
      stores[index]!.announce();
    });
  }
  await addProjects(opened[0]!.db, ['team']);
});
afterEach(() => Promise.all(opened.map(({ db }) => db.destroy())));

const creation = (name: string): ObjectWrite => ({
  kind: 'create',
  resource: 'secrets',
  object: { metadata: { name, namespace: 'team', uid: name, creationTimestamp: '2026-01-01T00:00:00Z' } },
});

/** Follows the log from a version on, until it has heard of so many versions or the time is over. */
async function follow(store: KyselyObjectStore, after: number, through: () => number): Promise<readonly Change[]> {
  const heard: Change[] = [];
  const signal = AbortSignal.timeout(60_000);
  for (let position = after; position < through() && !signal.aborted;) {
    const page = await store.readChanges(position, { limit: 7 });
    if (page === undefined) throw new Error('pruned');
    heard.push(...page.changes);
    position = page.through;
    if (page.changes.length === 0) await store.waitForChange(position, { signal });
  }
  return heard;
}

describe('the change log on PostgreSQL', () => {
  test('is in the order of the commits: who follows it misses nothing and hears nothing twice', async () => {
    const before = await stores[0]!.currentVersion();
    let last = Infinity;
    const following = [follow(stores[0]!, before, () => last), follow(stores[2]!, before, () => last)];
    const writers = Array.from({ length: 9 }, async (_, writer) => {
      const { db, now } = opened[writer % 3]!;
      const repositories = new KyselyRepositoryStore(db, now);
      const blobs = new KyselyBlobRecords(db, now);
      for (let round = 0; round < 20; round += 1) {
        const name = `${writer}-${round}`;
        if (round % 4 === 0) await repositories.putManifest(imagePush({ name, tags: ['v1'] }));
        else if (round % 4 === 1) {
          await blobs.addBlob(app, { digest: digestOf(name), size: 1, location: name }, 'none', now());
        } else await stores[writer % 3]!.commit([creation(name)]);
      }
    });
    await Promise.all(writers);
    last = await stores[1]!.currentVersion();
    // Those who wait for more are to look once more.
    for (const store of stores) store.announce();
    const versions = Array.from({ length: last - before }, (_, index) => before + 1 + index);
    for (const heard of await Promise.all(following)) expect(heard.map(({ version }) => version)).toEqual(versions);
  });

  test('is heard of by another process within 200 ms', async () => {
    await sleep(100);
    const delays: number[] = [];
    for (let round = 0; round < 20; round += 1) {
      const version = await stores[1]!.currentVersion();
      const heard = stores[1]!.waitForChange(version, { signal: AbortSignal.timeout(5000) });
      await sleep(5);
      const committing = stores[0]!.commit([creation(`object-${round}`)]);
      await committing;
      const committed = performance.now();
      await heard;
      expect(await stores[1]!.currentVersion()).toBeGreaterThan(version);
      delays.push(performance.now() - committed);
    }
    expect(delays.toSorted((a, b) => a - b)[10]).toBeLessThan(200);
  });

  test('is heard of again after the connection that listens broke, with what was said meanwhile', async () => {
    await sleep(100);
    const version = await stores[1]!.currentVersion();
    const heard = stores[1]!.waitForChange(version, { signal: AbortSignal.timeout(10_000) });
    await sleep(20);
    await execute(
      server.url,
      `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' or
      query like 'select extract%'`,
    );
    await stores[0]!.commit([creation('while nobody listened')]);
    await heard;
    expect(await stores[1]!.currentVersion()).toBeGreaterThan(version);
  });

  test('is looked at now and then where nobody says anything', async () => {
    const silent = new KyselyObjectStore(opened[1]!.db, opened[1]!.now, 50);
    const version = await silent.currentVersion();
    const heard = silent.waitForChange(version, { signal: AbortSignal.timeout(5000) });
    await stores[0]!.commit([creation('unannounced')]);
    await heard;
    expect(await silent.currentVersion()).toBeGreaterThan(version);
  });

  test('says nothing of what was rolled back, nor of blobs of a repository that is there', async () => {
    await new KyselyRepositoryStore(opened[0]!.db).putManifest(imagePush());
    await sleep(100);
    let told = 0;
    opened[1]!.onChange(() => (told += 1));
    const refused = await stores[0]!.commit([creation('a'), creation('a')]);
    expect(refused).toMatchObject({ kind: 'refused', index: 1 });
    const blob = { digest: digestOf('b'), size: 1, location: 'b' };
    await new KyselyBlobRecords(opened[0]!.db).addBlob(app, blob, 'none', new Date());
    await sleep(100);
    expect(told).toBe(0);
    const ending = new EventTarget();
    opened[1]!.onChange(() => ending.dispatchEvent(new Event('told')));
    const heard = once(ending, 'told');
    await stores[0]!.commit([creation('a')]);
    await heard;
  });
});
