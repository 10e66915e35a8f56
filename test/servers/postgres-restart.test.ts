import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { CommitUnknownError, DatabaseUnavailableError } from '../../src/metadata/postgres-errors.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import type { Digest } from '../../src/oci/digest.js';
import type { Tag } from '../../src/oci/reference.js';
import { app, imagePush } from '../contracts/pushes.js';
import { startPostgres, type TestPostgres } from '../support/postgres.js';
import { addProjects } from '../support/projects.js';

let server: TestPostgres;
beforeAll(async () => {
  // What was acknowledged must be there after a crash.
  server = await startPostgres({ fsync: true });
});
afterAll(() => server.stop());

/** A busy machine may take long to start a server. */
const patient = { poolSize: 8, connectTimeoutMs: 60_000 };

describe('a PostgreSQL server that is started again', () => {
  test.each([
    { mode: 'fast', downMs: 500 },
    { mode: 'immediate', downMs: 500 },
  ] as const)('costs waiting and no event of a tag, lost or doubled: $mode', async ({ mode, downMs }) => {
    const url = await server.createDatabase();
    const errors: unknown[] = [];
    const onConnectionError = (error: unknown) => errors.push(error);
    const opened = await Promise.all([1, 2].map(() => openPostgres(url, { ...patient, onConnectionError })));
    onTestFinished(async () => {
      await Promise.all(opened.map(({ db }) => db.destroy()));
    });
    await addProjects(opened[0]!.db, ['team']);
    const acknowledged = new Set<Digest>();
    const unknown = new Set<Digest>();
    const failed: unknown[] = [];
    const stopping = new AbortController();
    let reads = 0;
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      const store = new KyselyRepositoryStore(opened[writer % 2]!.db);
      for (let round = 0; !stopping.signal.aborted; round += 1) {
        const push = imagePush({ name: `${writer}-${round}`, tags: ['v1'] });
        try {
          await store.putManifest(push);
          acknowledged.add(push.digest);
        } catch (error) {
          if (!(error instanceof CommitUnknownError)) failed.push(error);
          unknown.add(push.digest);
        }
      }
    });
    const reading = (async () => {
      const store = new KyselyRepositoryStore(opened[1]!.db);
      for (; !stopping.signal.aborted; reads += 1) {
        await store.findManifest(app, { kind: 'tag', tag: 'v1' as Tag }).catch((error: unknown) => failed.push(error));
        await sleep(1);
      }
    })();
    const haveCome = (count: number) =>
      vi.waitUntil(() => acknowledged.size >= count, { timeout: 60_000, interval: 10 });
    await haveCome(20);
    for (let times = 0; times < 2; times += 1) {
      await server.restart({ mode, downMs });
      await haveCome(acknowledged.size + 20);
    }
    stopping.abort();
    await Promise.all([...writers, reading]);

    expect(failed).toEqual([]);
    expect(reads).toBeGreaterThan(20);
    const events = await new KyselyRepositoryStore(opened[0]!.db).listTagEvents(app, 'v1' as Tag, 100_000);
    const images = events.map(({ image }) => image!);
    expect(new Set(images).size).toBe(images.length);
    expect([...acknowledged].filter((image) => !images.includes(image))).toEqual([]);
    expect(images.filter((image) => !acknowledged.has(image) && !unknown.has(image))).toEqual([]);
    expect(events.map(({ sequence }) => sequence)).toEqual(images.map((_, index) => images.length - index));
    // A line of the log for each: of the image and of the stream.
    const log = await new KyselyObjectStore(opened[0]!.db).readChanges(0, { limit: 1_000_000 });
    expect(log!.changes.map(({ version }) => version)).toEqual(log!.changes.map((_, index) => index + 1));
    expect(
      log!.changes.filter(({ resource, kind }) => resource.startsWith('images') && kind === 'ADDED').length,
    ).toBeGreaterThanOrEqual(images.length);
  });

  test('is waited for no longer than was said', async () => {
    const url = await server.createDatabase();
    const { db } = await openPostgres(url, { poolSize: 4, connectTimeoutMs: 300 });
    onTestFinished(() => db.destroy());
    const restarting = server.restart({ downMs: 1500 });
    await sleep(500);
    const store = new KyselyObjectStore(db);
    await expect(store.currentVersion()).rejects.toThrow(DatabaseUnavailableError);
    await expect(addProjects(db, ['team'])).rejects.toThrow(DatabaseUnavailableError);
    await restarting;
    await addProjects(db, ['team']);
  });
});
