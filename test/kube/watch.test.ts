import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { WatchSource } from '../../src/kube/resource.js';
import { matchesLabels, parseLabelSelector } from '../../src/kube/selectors.js';
import {
  bookmark,
  ChangeFeed,
  expired,
  watchChanges,
  type WatchEvent,
  type WatchOptions,
  type WatchSelection,
} from '../../src/kube/watch.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import type { ApiObject, ObjectWrite } from '../../src/metadata/object-store.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const resource = 'things';
const source: WatchSource = { resource, view: (stored) => stored };

describe('a watch', () => {
  let path: string;
  let store: KyselyObjectStore;
  let feed: ChangeFeed;
  let begun: number;
  /** Of the watches, and of the server. */
  let stop: AbortController;
  let stopping: AbortController;
  beforeEach(async () => {
    path = join(await temporaryFolder(), 'weir.sqlite');
    store = await openStore();
    stop = new AbortController();
    stopping = new AbortController();
    feed = new ChangeFeed(store, stopping.signal);
    begun = await store.currentVersion();
    onTestFinished(() => {
      stop.abort();
      stopping.abort();
    });
  });

  async function openStore(): Promise<KyselyObjectStore> {
    const db = await openSqlite(path);
    onTestFinished(() => db.destroy());
    const opened = new KyselyObjectStore(db);
    if ((await opened.currentVersion()) === 0) await addProjects(db, ['team', 'other']);
    return opened;
  }

  function created(name: string, labels: Record<string, string> = {}, namespace = 'team'): ObjectWrite {
    const metadata = { name, namespace, uid: `uid of ${name}`, creationTimestamp: '2026-01-01T00:00:00Z', labels };
    return { kind: 'create', resource, object: { metadata } };
  }

  async function commit(...writes: readonly ObjectWrite[]): Promise<readonly ApiObject[]> {
    const result = await store.commit(writes);
    if (result.kind === 'refused') throw new Error(result.reason);
    return result.objects;
  }

  async function relabel(name: string, labels: Record<string, string>): Promise<void> {
    const object = (await store.find({ resource, namespace: 'team', name }))!;
    await commit({ kind: 'replace', resource, object: { ...object, metadata: { ...object.metadata, labels } } });
  }

  const removed = (name: string): ObjectWrite => ({ kind: 'remove', resource, namespace: 'team', name });

  /** The events of a watch one by one. */
  async function* watch(
    selection: Partial<WatchSelection> = {},
    options: Partial<WatchOptions> = {},
  ): AsyncGenerator<WatchEvent, undefined> {
    const batches = watchChanges(
      feed,
      { source, namespace: '', matches: () => true, visible: undefined, show: undefined, ...selection },
      {
        from: begun,
        bookmarks: false,
        signal: stop.signal,
        untilMs: performance.now() + 60_000,
        stillMay: () => Promise.resolve(true),
        ...options,
      },
    );
    for await (const told of batches) yield* told.map(({ event }) => event);
    return undefined;
  }

  /** The next events of a watch, which goes on. */
  async function take(watching: AsyncGenerator<WatchEvent, undefined>, count: number): Promise<readonly WatchEvent[]> {
    const events: WatchEvent[] = [];
    while (events.length < count) {
      const next = await watching.next();
      if (next.done === true) break;
      events.push(next.value);
    }
    return events;
  }

  const short = ({ type, object }: WatchEvent) => `${type} ${object.metadata.name}`;
  const versionOf = ({ object }: WatchEvent) => Number(object.metadata.resourceVersion);

  test('tells what is created, changed and removed, each with the version of its change', async () => {
    await commit(created('a'));
    await relabel('a', { k: 'v' });
    await commit(removed('a'));
    const events = await take(watch(), 3);
    expect(events.map(short)).toEqual(['ADDED a', 'MODIFIED a', 'DELETED a']);
    expect(events.map(versionOf)).toEqual([begun + 1, begun + 2, begun + 3]);
    expect(events[2]!.object.metadata.labels).toEqual({ k: 'v' });
  });

  test('tells what happens while it waits, here or in another process', async () => {
    const watching = watch();
    const first = take(watching, 1);
    await commit(created('a'));
    expect((await first).map(short)).toEqual(['ADDED a']);
    const second = take(watching, 1);
    await (await openStore()).commit([created('b')]);
    expect((await second).map(short)).toEqual(['ADDED b']);
  });

  test('goes on from a version, after it', async () => {
    await commit(created('a'), created('b'), created('c'));
    expect((await take(watch({}, { from: begun + 1 }), 2)).map(short)).toEqual(['ADDED b', 'ADDED c']);
  });

  test('tells nothing of other resources and namespaces', async () => {
    const elsewhere: ObjectWrite = { ...created('x'), resource: 'others' };
    await commit(elsewhere, created('a', {}, 'other'), created('b'));
    expect((await take(watch({ namespace: 'team' }), 1)).map(short)).toEqual(['ADDED b']);
    expect((await take(watch(), 2)).map(short)).toEqual(['ADDED a', 'ADDED b']);
  });

  test('of a selection tells of objects that enter it, change in it and leave it', async () => {
    const selector = parseLabelSelector('tier=gold');
    await commit(created('a', { tier: 'gold' }), created('b', { tier: 'tin' }));
    await relabel('b', { tier: 'gold' });
    await relabel('a', { tier: 'gold', x: 'y' });
    await relabel('a', { tier: 'tin' });
    await relabel('a', { tier: 'lead' });
    await commit(removed('a'));
    await commit(removed('b'));
    const watching = watch({ matches: ({ metadata }) => matchesLabels(selector, metadata.labels) });
    const events = await take(watching, 5);
    expect(events.map(short)).toEqual(['ADDED a', 'ADDED b', 'MODIFIED a', 'DELETED a', 'DELETED b']);
    // As it was when it was last in the selection, and when it left.
    expect(events[3]!.object.metadata).toMatchObject({
      labels: { tier: 'gold', x: 'y' },
      resourceVersion: String(begun + 5),
    });
  });

  test('shows and selects objects as they are viewed', async () => {
    await commit(created('a'), created('b'));
    const viewed: WatchSource = {
      resource,
      view: (stored) => ({ ...stored, metadata: { ...stored.metadata, labels: { name: stored.metadata.name } } }),
    };
    const watching = watch({ source: viewed, matches: ({ metadata }) => metadata.labels?.['name'] === 'b' });
    const [event] = await take(watching, 1);
    expect(event!.object.metadata).toMatchObject({ name: 'b', labels: { name: 'b' } });
  });

  test('asks for every change whether the object is visible', async () => {
    await commit(created('a'), created('b'));
    await relabel('a', { k: 'v' });
    const seen = new Set(['b']);
    const watching = watch({
      visible: ({ metadata }) => {
        const isVisible = seen.has(metadata.name);
        seen.add(metadata.name);
        return Promise.resolve(isVisible);
      },
    });
    expect((await take(watching, 2)).map(short)).toEqual(['ADDED b', 'MODIFIED a']);
  });

  test('is expired when changes after its version are no longer kept', async () => {
    await commit(created('a'), created('b'));
    await store.pruneChanges(new Date(Date.now() + 1000));
    await expect(watch().next()).rejects.toMatchObject({
      reason: 'Expired',
      code: 410,
      message: `too old resource version: ${begun}; list again and watch from there`,
    });
    await commit(created('c'));
    expect((await take(watch({}, { from: begun + 2 }), 1)).map(short)).toEqual(['ADDED c']);
  });

  test('is told from memory what the log no longer has, when somebody watched all along', async () => {
    const watching = watch();
    await commit(created('a'), created('b'));
    expect((await take(watching, 2)).map(short)).toEqual(['ADDED a', 'ADDED b']);
    await store.pruneChanges(new Date(Date.now() + 1000));
    expect((await take(watch({}, { from: begun + 1 }), 1)).map(short)).toEqual(['ADDED b']);
  });

  test('goes on after a time in which nobody watched and much was forgotten', async () => {
    await commit(created('a'));
    expect(await take(watch(), 1)).toHaveLength(1);
    await commit(created('b'));
    await store.pruneChanges(new Date(Date.now() + 1000));
    const watching = watch({}, { from: begun + 2 });
    const next = take(watching, 2);
    await commit(created('c'));
    await commit(created('d'));
    expect((await next).map(short)).toEqual(['ADDED c', 'ADDED d']);
  });

  describe('ends', () => {
    test('at its time', async () => {
      const started = performance.now();
      expect(await watch({}, { untilMs: started + 300 }).next()).toEqual({ done: true, value: undefined });
      expect(performance.now() - started).toBeGreaterThanOrEqual(300);
      expect(performance.now() - started).toBeLessThan(5000);
    });

    test('within a second or so when it is told to, though it waits', async () => {
      const watching = watch();
      const waiting = watching.next();
      await sleep(50);
      const told = Date.now();
      stop.abort();
      expect(await waiting).toMatchObject({ done: true });
      expect(Date.now() - told).toBeLessThan(3000);
      await commit(created('a'));
      expect(await watch().next()).toMatchObject({ done: true });
    });

    test('at once with the server', async () => {
      stopping.signal.addEventListener('abort', () => {
        stop.abort();
      });
      const waiting = watch().next();
      await sleep(50);
      const told = Date.now();
      stopping.abort();
      expect(await waiting).toMatchObject({ done: true });
      expect(Date.now() - told).toBeLessThan(500);
    });

    test('when the caller may no longer: within a second nothing more is told', async () => {
      let may = true;
      let asked = 0;
      const stillMay = () => {
        asked += 1;
        return Promise.resolve(may);
      };
      const watching = watch({}, { stillMay });
      await commit(created('a'));
      expect(await take(watching, 1)).toHaveLength(1);
      await sleep(1000);
      await commit(...Array.from({ length: 20 }, (_, index) => created(`b${index}`)));
      expect(await take(watching, 20)).toHaveLength(20);
      expect(asked).toBe(1);
      may = false;
      await sleep(1000);
      await commit(created('c'));
      expect(await watching.next()).toEqual({ done: true, value: undefined });
    });
  });

  describe('with bookmarks', () => {
    test('tells now and then which version it has reached, though nothing was told', async () => {
      await commit({ ...created('x'), resource: 'others' });
      const [event] = await take(watch({}, { bookmarks: true, bookmarkMs: 150 }), 1);
      expect(event).toEqual({
        type: 'BOOKMARK',
        object: { metadata: { resourceVersion: String(begun + 1), creationTimestamp: null } },
      });
    });

    test('misses nothing when it goes on from one', async () => {
      const events: WatchEvent[] = [];
      const watching = watch({}, { bookmarks: true, bookmarkMs: 20 });
      const writing = (async () => {
        for (let index = 0; index < 30; index += 1) {
          await commit(created(`a${index}`));
          await sleep(5);
        }
      })();
      let reached = begun;
      for await (const event of watching) {
        if (event.type === 'BOOKMARK') expect(versionOf(event)).toBeGreaterThanOrEqual(reached);
        else expect(versionOf(event)).toBeGreaterThan(reached);
        reached = versionOf(event);
        if (event.type !== 'BOOKMARK') events.push(event);
        else if (events.length > 5) break;
      }
      const rest = take(watch({}, { from: reached }), 30 - events.length);
      await writing;
      expect([...events, ...(await rest)].map(short)).toEqual(Array.from({ length: 30 }, (_, i) => `ADDED a${i}`));
    });

    test('ends at one when the caller may no longer', async () => {
      const watching = watch({}, { bookmarks: true, bookmarkMs: 50, stillMay: () => Promise.resolve(false) });
      expect(await watching.next()).toEqual({ done: true, value: undefined });
    });

    test('gives none to those who did not ask', async () => {
      const watching = watch({}, { bookmarkMs: 10, untilMs: performance.now() + 300 });
      expect(await watching.next()).toMatchObject({ done: true });
    });
  });

  test('tells all fifty who watch the same 500 changes in the same order', { timeout: 60_000 }, async () => {
    const watchers = Array.from({ length: 50 }, () => take(watch(), 500));
    const writers = Array.from({ length: 5 }, async (_, writer) => {
      for (let index = 0; index < 100; index += 1) {
        const name = `w${writer}-${index}`;
        await commit(created(name));
      }
    });
    await Promise.all(writers);
    const told = (await Promise.all(watchers)).map((events) => events.map(versionOf));
    expect(told[0]).toEqual(Array.from({ length: 500 }, (_, index) => begun + 1 + index));
    for (const versions of told) expect(versions).toEqual(told[0]);
  });

  test(
    'that is further behind than what is kept in memory finds the rest in the log',
    { timeout: 60_000 },
    async () => {
      const count = 4500;
      const slow = watch();
      const fast = watch();
      const names: string[] = [];
      for (let batch = 0; batch < count; batch += 500) {
        const writes = Array.from({ length: 500 }, (_, index) => created(`n${batch + index}`));
        await commit(...writes);
        names.push(...Array.from({ length: 500 }, (_, index) => `ADDED n${batch + index}`));
        await take(fast, 500);
        if (batch === 0) expect((await take(slow, 1)).map(short)).toEqual(['ADDED n0']);
      }
      expect((await take(slow, count - 1)).map(short)).toEqual(names.slice(1));
      const next = Promise.all([take(slow, 1), take(fast, 1), take(watch({}, { from: begun + count }), 1)]);
      await commit(created('last'));
      expect((await next).flat().map(short)).toEqual(['ADDED last', 'ADDED last', 'ADDED last']);
    },
  );

  test('that starts before anything in memory reads the log, and the others do not', async () => {
    await commit(...Array.from({ length: 600 }, (_, index) => created(`n${index}`)));
    const watching = watch({}, { from: begun + 600 });
    const next = take(watching, 1);
    await commit(created('last'));
    expect((await next).map(short)).toEqual(['ADDED last']);
    const all = await take(watch(), 601);
    expect(all.map(versionOf)).toEqual(Array.from({ length: 601 }, (_, index) => begun + 1 + index));
  });
});

test('a bookmark may carry annotations', () => {
  expect(bookmark('7', { 'k8s.io/initial-events-end': 'true' })).toEqual({
    type: 'BOOKMARK',
    object: {
      metadata: { resourceVersion: '7', creationTimestamp: null, annotations: { 'k8s.io/initial-events-end': 'true' } },
    },
  });
});

test('what has expired says from where', () => {
  expect(expired('7')).toMatchObject({ reason: 'Expired', code: 410 });
});
