import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompiledQuery, createQueryId, type KyselyPlugin, type RootOperationNode } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { registryOfSource, type DueSource, type ImportClaim } from '../../src/metadata/import-records.js';
import { KyselyImportRecords } from '../../src/metadata/kysely-import-records.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { digestOf } from '../../src/oci/digest.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { addProjects } from '../support/projects.js';

const begin = new Date('2026-01-01T00:00:00Z').getTime();
const at = (seconds: number) => new Date(begin + seconds * 1000);
const repository = parseRepositoryName('team/app');
const digest = digestOf('image');

let folder: string;
let path: string;
let db: Database;
let records: KyselyImportRecords;
/** Of another process. */
let elsewhere: { readonly db: Database; readonly records: KyselyImportRecords };
let now: Date;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
  path = join(folder, 'weir.sqlite');
  db = await addProjects(await openSqlite(path), ['team']);
  records = new KyselyImportRecords(db);
  const other = await openSqlite(path);
  elsewhere = { db: other, records: new KyselyImportRecords(other) };
  now = at(0);
});
afterEach(async () => {
  await Promise.all([db.destroy(), elsewhere.db.destroy()]);
  await rm(folder, { recursive: true, force: true });
});

/** Lets tags be wanted, each at the moment that `now` is. */
async function want(sources: Readonly<Record<string, string>>, of = repository, generation = 1): Promise<void> {
  const streams = new KyselyStreamStore(db, () => now);
  await streams.edit(async (edit) => {
    if ((await edit.findStream(of)) === undefined) await edit.createStream(of, { metadata: {}, spec: {} });
    for (const [tag, source] of Object.entries(sources)) {
      const body = { name: tag, importPolicy: {}, referencePolicy: { type: 'Source' } };
      await edit.putSpecTag(of, tag, { generation, body, scheduled: true, source });
    }
  });
}

const claim = (by: Partial<ImportClaim> = {}, of = records) =>
  of.claim({
    now,
    leaseUntil: new Date(now.getTime() + 10_000),
    sources: 100,
    imports: 100,
    room: () => 100,
    except: [],
    ...by,
  });

const tagsOf = (sources: readonly DueSource[]) => sources.flatMap(({ imports }) => imports.map(({ tag }) => tag));
const settled = ({ lease }: DueSource, tag: string, of: RepositoryName = repository) => ({
  lease,
  repository: of,
  tag,
});

describe('what is claimed', () => {
  test('is what is due, with all that is wanted of it', async () => {
    await want({ a: 'r.test/a:1', b: 'r.test/b:1' });
    const [source] = await claim();
    expect(source).toEqual({
      source: 'r.test/a:1',
      lease: expect.stringMatching(/./) as string,
      imports: [
        {
          repository,
          tag: 'a',
          spec: expect.objectContaining({ generation: 1, scheduled: true }) as object,
          digest: undefined,
          isPending: true,
          failures: 0,
        },
      ],
    });
  });

  test('comes with the source that is due longest first, and all tags of a source together', async () => {
    now = at(2);
    await want({ late: 'r.test/late:1', shared1: 'r.test/shared:1' });
    now = at(1);
    await want({ shared2: 'r.test/shared:1' });
    now = at(0);
    await want({ early: 'r.test/early:1' });
    now = at(1.5);
    await want({ middle: 'r.test/middle:1' });
    now = at(5);
    const sources = await claim({ sources: 3 });
    expect(sources.map(({ source }) => source)).toEqual(['r.test/early:1', 'r.test/shared:1', 'r.test/middle:1']);
    expect(sources[1]?.imports.map(({ tag }) => tag)).toEqual(['shared2', 'shared1']);
    expect(tagsOf(await claim())).toEqual(['late']);
  });

  test('is not what will be due', async () => {
    now = at(10);
    await want({ a: 'r.test/a:1' });
    now = at(9);
    expect(await claim()).toEqual([]);
    now = at(10);
    expect(tagsOf(await claim())).toEqual(['a']);
  });

  test('is of each source no more than is wanted, the longest due first', async () => {
    for (const [second, tag] of ['c', 'a', 'b'].entries()) {
      now = at(second);
      await want({ [tag]: 'r.test/shared:1' });
    }
    now = at(5);
    expect(tagsOf(await claim({ imports: 2 }))).toEqual(['c', 'a']);
    // The rest under a lease of its own.
    const rest = await claim({ imports: 2 });
    expect(rest.map(({ imports }) => imports.map(({ tag }) => tag))).toEqual([['b']]);
  });

  test('is not what a registry has no room for, and others come in its place', async () => {
    const many = Array.from({ length: 300 }, (_, n) => [`b${n}`, `busy.test:5000/r${n}:1`] as const);
    await want(Object.fromEntries(many));
    now = at(1);
    // Names that are next to that of the busy one.
    await want({ x: 'busy.test:50/x:1', y: 'busy.test:50001/y:1', z: 'a.test/z:1' });
    now = at(2);
    const room = (registry: string) => (registry === 'busy.test:5000' ? 2 : 100);
    const first = await claim({ room, sources: 10 });
    expect(first.map(({ source }) => registryOfSource(source)).sort()).toEqual([
      'a.test',
      'busy.test:50',
      'busy.test:5000',
      'busy.test:5000',
      'busy.test:50001',
    ]);
    expect(await claim({ room: () => 0 })).toEqual([]);
  });

  test('is not what is left out', async () => {
    await want({ a: 'r.test/a:1', b: 'r.test/b:1' });
    expect(tagsOf(await claim({ except: ['r.test/a:1'] }))).toEqual(['b']);
  });

  test('comes however many tags want another source', async () => {
    await want(Object.fromEntries(Array.from({ length: 1500 }, (_, n) => [`t${n}`, 'r.test/shared:1'])));
    now = at(1);
    await want({ other: 'r.test/other:1' });
    now = at(2);
    const sources = await claim({ sources: 10, imports: 50 });
    expect(sources.map(({ source, imports }) => [source, imports.length])).toEqual([
      ['r.test/shared:1', 50],
      ['r.test/other:1', 1],
    ]);
  });
});

describe('two processes', () => {
  test('never hold the same', async () => {
    const names = Array.from({ length: 200 }, (_, n) => `t${n}`);
    await want(Object.fromEntries(names.map((tag, n) => [tag, `r.test/r${n % 50}:1`])));
    const taken: string[] = [];
    // Each time that one has seen what is due, the other is faster.
    const slow = new KyselyImportRecords(
      db.withPlugin({
        transformQuery: ({ node }) => node,
        transformResult: async ({ result }) => {
          if (result.rows.some((row) => Object.keys(row).join() === 'source')) {
            taken.push(...tagsOf(await claim({ sources: 2, imports: 3 }, elsewhere.records)));
          }
          return result;
        },
      }),
    );
    for (let isEmpty = false; !isEmpty;) {
      const claimed = await claim({ sources: 3, imports: 3 }, slow);
      taken.push(...tagsOf(claimed));
      isEmpty = (await records.count(now)).due === taken.length && claimed.length === 0;
    }
    expect(taken.sort()).toEqual(names.sort());
  });

  test('never hold the same, however they are interleaved', async () => {
    const names = Array.from({ length: 200 }, (_, n) => `t${n}`);
    await want(Object.fromEntries(names.map((tag, n) => [tag, `r.test/r${n % 50}:1`])));
    const taken: string[] = [];
    const takeAll = async () => {
      for (let claimed; claimed === undefined || claimed.length > 0; taken.push(...tagsOf(claimed))) {
        claimed = await claim({ sources: 3, imports: 2 });
      }
    };
    await Promise.all([takeAll(), takeAll(), takeAll(), takeAll()]);
    expect(taken.sort()).toEqual(names.sort());
  });

  test('take over what the other holds no longer', async () => {
    await want({ a: 'r.test/a:1' });
    const [dead] = await claim();
    now = at(9);
    expect(await claim({}, elsewhere.records)).toEqual([]);
    now = at(10);
    const [taken] = await claim({}, elsewhere.records);
    expect(tagsOf([taken!])).toEqual(['a']);
    // Whoever was held up says what it found.
    await records.settle(now, [{ ...settled(dead!, 'a'), dueAt: at(1000), digest }]);
    await records.renew([dead!], at(1000));
    await records.release([dead!]);
    expect(await records.find(repository, 'a')).toMatchObject({ dueAt: at(0), checkedAt: undefined });
    expect(await claim()).toEqual([]);
    await elsewhere.records.settle(now, [{ ...settled(taken!, 'a'), dueAt: at(60), digest }]);
    expect(await records.find(repository, 'a')).toMatchObject({ dueAt: at(60), checkedAt: at(10), digest });
  });

  test('keep what they renew', async () => {
    await want({ a: 'r.test/a:1', b: 'r.test/b:1' });
    const [a, b] = await claim();
    await records.renew([a!], at(20));
    now = at(15);
    expect(tagsOf(await claim({}, elsewhere.records))).toEqual(['b']);
    await records.settle(now, [{ ...settled(b!, 'b'), dueAt: undefined }]);
    now = at(20);
    expect(tagsOf(await claim({}, elsewhere.records))).toEqual(['a']);
  });
});

test('a tag that is wanted anew is free, whoever holds it, and what was found before changes nothing', async () => {
  await want({ a: 'r.test/a:1', b: 'r.test/b:1' });
  const [a, b] = await claim();
  now = at(1);
  await want({ a: 'r.test/other:1' }, repository, 2);
  const [anew] = await claim();
  expect(anew).toMatchObject({ source: 'r.test/other:1', imports: [{ tag: 'a' }] });
  expect(anew?.lease).not.toBe(a?.lease);
  await records.settle(now, [
    { ...settled(a!, 'a'), dueAt: undefined },
    { ...settled(b!, 'b'), dueAt: at(60) },
  ]);
  expect(await records.find(repository, 'a')).toMatchObject({ source: 'r.test/other:1', dueAt: at(1) });
  expect(await records.find(repository, 'b')).toMatchObject({ dueAt: at(60), checkedAt: at(1) });
  await records.release([anew!]);
  expect(tagsOf(await claim())).toEqual(['a']);
});

test('what was given back is due as before', async () => {
  await want({ a: 'r.test/a:1', b: 'r.test/b:1' });
  const [a] = await claim();
  await records.release([a!]);
  expect(await records.find(repository, 'a')).toMatchObject({ dueAt: at(0), checkedAt: undefined, failures: 0 });
  expect(tagsOf(await claim())).toEqual(['a']);
});

test('failures are counted until a look goes well', async () => {
  await want({ a: 'r.test/a:1' });
  for (const [second, error] of ['first', 'second'].entries()) {
    now = at(second);
    const [held] = await claim();
    expect(held?.imports).toMatchObject([{ failures: second }]);
    await records.settle(now, [{ ...settled(held!, 'a'), dueAt: at(second + 1), error }]);
  }
  expect(await records.find(repository, 'a')).toMatchObject({ error: 'second', failures: 2 });
  now = at(5);
  const [held] = await claim();
  await records.settle(now, [{ ...settled(held!, 'a'), dueAt: at(60), digest, isMoved: true }]);
  expect(await records.find(repository, 'a')).toEqual({
    source: 'r.test/a:1',
    dueAt: at(60),
    checkedAt: at(5),
    movedAt: at(5),
    digest,
    error: undefined,
    failures: 0,
  });
});

test('what is due, waiting and failing is counted', async () => {
  expect(await records.count(now)).toEqual({ waiting: 0, due: 0, failing: 0, oldestDueAt: undefined });
  await want({ a: 'r.test/a:1', b: 'r.test/b:1', c: 'r.test/c:1', d: 'r.test/d:1' });
  const [a, b, c] = await claim();
  now = at(3);
  await records.settle(now, [
    { ...settled(a!, 'a'), dueAt: undefined },
    { ...settled(b!, 'b'), dueAt: at(60), error: 'no answer' },
    { ...settled(c!, 'c'), dueAt: at(2) },
  ]);
  // One that is held is due until it is settled.
  expect(await records.count(now)).toEqual({ waiting: 3, due: 2, failing: 1, oldestDueAt: at(0) });
});

test('nothing is held of a stream that was removed', async () => {
  await want({ a: 'r.test/a:1' });
  const [held] = await claim();
  await new KyselyStreamStore(db, () => now).edit((edit) => edit.removeStream(repository));
  await records.settle(now, [{ ...settled(held!, 'a'), dueAt: at(60) }]);
  expect(await records.find(repository, 'a')).toBeUndefined();
  now = at(100);
  expect(await claim()).toEqual([]);
});

describe('with 100,000 tags that are not due', () => {
  beforeEach(async () => {
    await want({ due: 'r.test/due:1' });
    now = at(1);
    await db.executeQuery(
      CompiledQuery.raw(
        `with recursive number (n) as (select 1 union all select n + 1 from number where n < 100000)
        insert into tag_import (repository_id, tag, source, due_at)
        select (select id from repository), 't' || n, 'r.test/r' || (n % 5000) || ':1', ? from number`,
        [at(3600).getTime()],
      ),
    );
  });

  /** SQLite's plans of the statements that run. */
  async function plansOf(run: (records: KyselyImportRecords) => Promise<unknown>): Promise<readonly string[]> {
    const nodes: RootOperationNode[] = [];
    const recorder: KyselyPlugin = {
      transformQuery: ({ node }) => {
        nodes.push(node);
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    };
    await run(new KyselyImportRecords(db.withPlugin(recorder)));
    const plans: string[] = [];
    for (const node of nodes) {
      const { sql, parameters } = db.getExecutor().compileQuery(node, createQueryId());
      const { rows } = await db.executeQuery<{ readonly detail: string }>(
        CompiledQuery.raw(`explain query plan ${sql}`, [...parameters]),
      );
      plans.push(...rows.map(({ detail }) => detail));
    }
    return plans;
  }

  test('what is due is found, held and settled by indexes', async () => {
    const plans = await plansOf(async (recorded) => {
      const [held] = await claim({}, recorded);
      expect(held?.imports).toMatchObject([{ tag: 'due' }]);
      await recorded.renew([held!], at(20));
      await recorded.release([held!]);
      const [again] = await claim({ room: () => 1 }, recorded);
      await recorded.settle(now, [{ ...settled(again!, 'due'), dueAt: at(60) }]);
      await recorded.find(repository, 'due');
    });
    expect(plans.length).toBeGreaterThan(8);
    // What an inner query has found is read as it is.
    expect(plans.filter((step) => /^SCAN (?!due$|\(subquery)/.test(step))).toEqual([]);
    // Of what is found by the time that it is due at, what is not due is no part.
    const byTime = plans.filter((step) => step.includes('INDEX tag_import_due '));
    expect(byTime.length).toBeGreaterThan(0);
    expect(byTime.filter((step) => !step.includes('due_at<?'))).toEqual([]);
  });
});
