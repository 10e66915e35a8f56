import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { ImageReader } from '../../src/imports/image-reader.js';
import { ImportJob, type ImportLook } from '../../src/imports/import-job.js';
import { ImportSchedule } from '../../src/imports/import-schedule.js';
import { ProjectAccess } from '../../src/imports/project-access.js';
import { TagImporter } from '../../src/imports/tag-importer.js';
import { KyselyImportRecords } from '../../src/metadata/kysely-import-records.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { parseAllowedRegistries } from '../../src/streams/allowed-registries.js';
import { StreamLimits } from '../../src/streams/stream-limits.js';
import { StreamService } from '../../src/streams/stream-service.js';
import { specTagOf } from '../../src/streams/tag-edits.js';
import { TagPolicies } from '../../src/streams/tag-policies.js';
import { RegistryClient } from '../../src/upstream/registry-client.js';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const app = parseRepositoryName('team/app');
const begin = new Date('2026-01-01T00:00:00Z').getTime();
const intervalMs = 60_000;

let upstream: FaultyRegistry;
let db: Database;
let records: KyselyImportRecords;
let streams: KyselyStreamStore;
let time: number;
const now = () => new Date(time);

beforeEach(async () => {
  time = begin;
  upstream = await startFaultyRegistry();
  db = await addProjects(await openSqlite(join(await temporaryFolder(), 'weir.sqlite')), ['team']);
  records = new KyselyImportRecords(db);
  streams = new KyselyStreamStore(db, now);
});
afterEach(async () => {
  await upstream.close();
  await db.destroy();
});

/** What a process has: its own job, its own connections to other registries. */
function startJob({ failEdits = () => undefined }: { readonly failEdits?: () => Error | undefined } = {}) {
  const objects = new KyselyObjectStore(db);
  const client = new RegistryClient({
    registries: [],
    allowPrivate: ['127.0.0.1', 'localhost'],
    timeoutMs: 60_000,
    userAgent: 'test',
    sleep: () => Promise.resolve(),
  });
  onTestFinished(() => client.close());
  const policies = new TagPolicies(objects);
  const service = new StreamService({
    store: streams,
    findRules: async (project, principal) => {
      const error = failEdits();
      if (error !== undefined) throw error;
      return policies.find(project, principal);
    },
    limits: new StreamLimits(objects),
    allowedRegistries: parseAllowedRegistries(undefined, undefined),
    ownHosts: [],
  });
  const access = new ProjectAccess(objects, { list: () => noSecrets() }, []);
  const schedule = new ImportSchedule(objects, { intervalMs, minIntervalMs: 1000 });
  const reader = new ImageReader({ upstream: client, access, streams });
  const looks: ImportLook[] = [];
  const job = new ImportJob({
    records,
    importer: new TagImporter({
      store: streams,
      service,
      reader,
      upstream: client,
      access,
      schedule,
      ownHosts: [],
      mayFollow: () => Promise.resolve(false),
      maxTags: 50,
      now,
    }),
    onLook: (look) => looks.push(look),
    now,
  });
  return { job, looks };
}

/** Lets tags of one stream be wanted, by where they come from. */
async function want(sources: Readonly<Record<string, string>>, { scheduled = true } = {}): Promise<void> {
  await streams.edit(async (edit) => {
    const found = await edit.findStream(app);
    const stream = found ?? (await edit.createStream(app, { metadata: {}, spec: {} }));
    for (const [name, from] of Object.entries(sources)) {
      const tag = {
        name,
        from: { kind: 'DockerImage', name: from } as const,
        generation: stream.generation,
        importPolicy: { insecure: true, scheduled, importMode: 'Legacy' } as const,
        referencePolicy: { type: 'Source' } as const,
      };
      await edit.putSpecTag(app, name, specTagOf(tag, stream));
    }
  });
}

// eslint-disable-next-line @typescript-eslint/no-empty-function -- there are none
async function* noSecrets(): AsyncGenerator<never> {}

const running = () => new AbortController().signal;
const imagesOf = async (tag: string) =>
  (await streams.findTag(app, tag, 10))?.tag?.events.map(({ image }) => image) ?? [];
const asked = (method: string) =>
  upstream.seen.filter((seen) => seen.startsWith(method) && seen.includes('/manifests/'));

/** Waits for what others do meanwhile. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isSo()); tries += 1) {
    if (tries === 3000) throw new Error('it never became so');
    await sleep(10);
  }
}

/** Many tags, each of a source of its own. */
function addImages(count: number): Readonly<Record<string, string>> {
  const names = Array.from({ length: count }, (_, n) => `r${n}`);
  for (const name of names) upstream.addImage(name, '1');
  return Object.fromEntries(names.map((name) => [name, `${upstream.host}/${name}:1`]));
}

test('two jobs share the work, and none of it is done twice', async () => {
  await want(addImages(60));
  const [one, two] = [startJob(), startJob()];
  await Promise.all([one.job.run(running()), two.job.run(running())]);
  expect([one.looks.length > 0, two.looks.length > 0]).toEqual([true, true]);
  expect(one.looks.length + two.looks.length).toBe(60);
  const manifests = asked('GET');
  expect(manifests).toHaveLength(60);
  expect(new Set(manifests)).toHaveProperty('size', 60);
  expect(await records.count(now())).toMatchObject({ waiting: 60, due: 0, failing: 0 });

  // The next time nothing has moved.
  time += 2 * intervalMs;
  await Promise.all([one.job.run(running()), two.job.run(running())]);
  expect(asked('HEAD')).toHaveLength(60);
  expect(asked('GET')).toHaveLength(60);
  expect(one.looks.length + two.looks.length).toBe(120);
});

test('what a job held that died is looked for by another when its lease is over', async () => {
  await want(addImages(20));
  const held = await records.claim({
    now: now(),
    leaseUntil: new Date(time + 10_000),
    sources: 15,
    imports: 100,
    room: () => 100,
    except: [],
  });
  expect(held).toHaveLength(15);
  const { job, looks } = startJob();
  await job.run(running());
  expect(looks).toHaveLength(5);
  time += 9_999;
  await job.run(running());
  expect(looks).toHaveLength(5);
  time += 1;
  await job.run(running());
  expect(looks).toHaveLength(20);
  expect(await records.count(now())).toMatchObject({ due: 0, failing: 0 });
});

test('what is under way for long stays held', async () => {
  await want(addImages(1));
  upstream.addFault({ kind: 'stall', path: /r0\/manifests/ });
  const [slow, other] = [startJob(), startJob()];
  const ending = new AbortController();
  const run = slow.job.run(ending.signal);
  await until(() => asked('GET').length === 1);
  // By the clock on the wall, which the job asks how long it has held something.
  for (let count = 0; count < 3; count += 1) {
    await sleep(1600);
    time += 1600;
    await other.job.run(running());
  }
  // The first lease is over by now, but it was renewed.
  time = begin + 11_000;
  await other.job.run(running());
  expect(other.looks).toEqual([]);
  ending.abort();
  await run;
});

test('a registry that is silent does not keep the others waiting', async () => {
  const silent = await startFaultyRegistry({ faults: [{ kind: 'stall' }] });
  onTestFinished(() => silent.close());
  // They have waited longest.
  await want(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`s${n}`, `${silent.host}/s${n}:1`])));
  time += 1000;
  const sources = addImages(50);
  await want(sources);
  const { job, looks } = startJob();
  const ending = new AbortController();
  const run = job.run(ending.signal);
  await until(() => looks.length === 50);
  expect(looks.every(({ registry, result }) => registry === upstream.host && result === 'imported')).toBe(true);
  // It was asked for one thing, over https and http at most.
  expect(silent.requests.length).toBeLessThanOrEqual(2);
  // What comes later is done in time as well.
  time += 2 * intervalMs;
  await until(() => looks.length === 100);
  ending.abort();
  await run;
});

test('when a registry turns out to be silent, all that want it are told without asking it again', async () => {
  const gone = await startFaultyRegistry();
  const { host } = gone;
  await gone.close();
  await want(Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`s${n}`, `${host}/s${n}:1`])));
  time += 1;
  await want({ once: `${host}/once:1` }, { scheduled: false });
  const { job, looks } = startJob();
  await job.run(running());
  const { waiting, failing, due } = await records.count(now());
  expect({ waiting, failing, due }).toEqual({ waiting: 41, failing: 41, due: 0 });
  expect(looks).toHaveLength(40);
  // One that nobody would look for again is only put off, but not for ever.
  expect(await records.find(app, 'once')).toMatchObject({ dueAt: new Date(time + 30_000), failures: 1 });
  expect((await streams.findTag(app, 'once', 1))?.tag?.conditions).toEqual([]);
  for (let count = 0; count < 3; count += 1) {
    time += 30_000;
    await job.run(running());
  }
  expect(await records.find(app, 'once')).toMatchObject({ dueAt: undefined, failures: 4 });
  expect((await streams.findTag(app, 'once', 1))?.tag?.conditions).toMatchObject([{ reason: 'ServiceUnavailable' }]);
});

test('who is ended in the middle of a look leaves the tag as it was, and due', async () => {
  await want(addImages(1));
  const { job, looks } = startJob();
  await job.run(running());
  const before = await streams.findTag(app, 'r0', 10);
  upstream.addImage('r0', '1', 'moved');
  time += 2 * intervalMs;
  upstream.addFault({ kind: 'stall', path: /manifests/, method: 'GET' });
  const ending = new AbortController();
  const run = job.run(ending.signal);
  await until(() => asked('GET').length === 2);
  ending.abort();
  await run;
  expect(looks).toHaveLength(1);
  expect(await streams.findTag(app, 'r0', 10)).toEqual(before);
  expect(await records.count(now())).toMatchObject({ due: 1, failing: 0 });
  // At once, by whoever comes.
  upstream.clearFaults();
  await startJob().job.run(running());
  expect(await imagesOf('r0')).toHaveLength(2);
});

test('what nobody foresaw is tried again, later each time', async () => {
  await want(addImages(1));
  let isBroken = true;
  const { job, looks } = startJob({ failEdits: () => (isBroken ? new Error('out of luck') : undefined) });
  const waits: number[] = [];
  for (let count = 0; count < 4; count += 1) {
    await job.run(running());
    const { dueAt, error, failures } = (await records.find(app, 'r0'))!;
    expect({ error, failures }).toEqual({ error: 'out of luck', failures: count + 1 });
    waits.push(dueAt!.getTime() - time);
    // Not a moment sooner.
    time = dueAt!.getTime() - 1;
    await job.run(running());
    expect(looks).toHaveLength(count + 1);
    time += 1;
  }
  expect(waits).toEqual([10_000, 20_000, 40_000, 80_000]);
  expect(looks.every(({ result, reason }) => result === 'failed' && reason === 'InternalError')).toBe(true);
  expect(await imagesOf('r0')).toEqual([]);
  isBroken = false;
  await job.run(running());
  expect(await imagesOf('r0')).toHaveLength(1);
  expect(await records.find(app, 'r0')).toMatchObject({ error: undefined, failures: 0 });
});

test('a job whose findings cannot be kept says so, and gives back what it held', async () => {
  await want(addImages(30));
  const { job } = startJob();
  const settle = records.settle.bind(records);
  let count = 0;
  records.settle = (...args) => {
    count += 1;
    return count === 3 ? Promise.reject(new Error('disk full')) : settle(...args);
  };
  await expect(job.run(running())).rejects.toThrow('disk full');
  records.settle = settle;
  const { job: next } = startJob();
  await next.run(running());
  expect(await records.count(now())).toMatchObject({ waiting: 30, due: 0, failing: 0 });
});

test('many tags of one source are looked for with one request, also when they come in several parts', async () => {
  const { digest } = upstream.addImage('shared', '1');
  await want(Object.fromEntries(Array.from({ length: 205 }, (_, n) => [`t${n}`, `${upstream.host}/shared:1`])));
  const { job, looks } = startJob();
  await job.run(running());
  expect(looks).toHaveLength(205);
  expect(asked('GET')).toHaveLength(2);
  expect(await imagesOf('t204')).toEqual([digest]);
});
