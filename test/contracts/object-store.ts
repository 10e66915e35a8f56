import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import type { ApiObject, CommitResult, ObjectStore, ObjectWrite } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';

/**
 * Everything that any ObjectStore must do.
 *
 * @param openDatabase opens a migrated database with the projects `team` and `other`
 */
export function objectStoreContract(name: string, openDatabase: () => Promise<Database>): void {
  describe(`${name} has a store of objects that`, () => {
    let db: Database;
    let now: Date;
    let store: ObjectStore;
    let begun: number;
    beforeEach(async () => {
      db = await openDatabase();
      now = new Date('2026-01-02T00:00:00Z');
      store = new KyselyObjectStore(db, () => now);
      begun = await store.currentVersion();
    });
    afterEach(() => db.destroy());

    const resource = 'configmaps';
    const object = (name: string, fields: object = {}, namespace = 'team'): ApiObject => ({
      metadata: { name, namespace, uid: `uid of ${name}`, creationTimestamp: '2026-01-02T00:00:00Z' },
      ...fields,
    });
    const create = (name: string, fields: object = {}, namespace = 'team'): ObjectWrite => ({
      kind: 'create',
      resource,
      object: object(name, fields, namespace),
    });
    const key = (name: string, namespace = 'team') => ({ resource, namespace, name });

    async function committed(...writes: readonly ObjectWrite[]): Promise<readonly ApiObject[]> {
      const result = await store.commit(writes);
      if (result.kind === 'refused') throw new Error(`refused: ${result.reason}`);
      return result.objects;
    }
    const refusal = (result: CommitResult) => (result.kind === 'refused' ? [result.reason, result.index] : result.kind);

    test('finds an object by its exact key, with a resourceVersion', async () => {
      const [created] = await committed(create('a', { data: { x: '1' } }));
      expect(created).toEqual({
        ...object('a', { data: { x: '1' } }),
        metadata: { ...object('a').metadata, resourceVersion: String(begun + 1) },
      });
      expect(await store.find(key('a'))).toEqual(created);
      expect(await store.find(key('A'))).toBeUndefined();
      expect(await store.find(key('a', 'other'))).toBeUndefined();
      expect(await store.find({ ...key('a'), resource: 'secrets' })).toBeUndefined();
    });

    test('does not keep apiVersion and kind, which are the request’s', async () => {
      await committed({ kind: 'create', resource, object: { apiVersion: 'v1', kind: 'ConfigMap', ...object('a') } });
      expect(Object.keys((await store.find(key('a')))!)).toEqual(['metadata']);
    });

    test('refuses a second object of one name, and keeps the first', async () => {
      await committed(create('a', { data: { x: '1' } }));
      expect(refusal(await store.commit([create('a', { data: { x: '2' } })]))).toEqual(['exists', 0]);
      expect(await store.find(key('a'))).toMatchObject({ data: { x: '1' } });
    });

    test('replaces an object only from its present resourceVersion', async () => {
      const [created] = await committed(create('a'));
      const [replaced] = await committed({ kind: 'replace', resource, object: { ...created!, data: { x: '2' } } });
      expect(replaced!.metadata.resourceVersion).toBe(String(begun + 2));
      const stale: ObjectWrite = { kind: 'replace', resource, object: { ...created!, data: { x: '3' } } };
      expect(refusal(await store.commit([stale]))).toEqual(['conflict', 0]);
      expect(await store.find(key('a'))).toEqual(replaced);
    });

    test('does not replace an object by one of another uid', async () => {
      const [created] = await committed(create('a'));
      const other = { ...created!, metadata: { ...created!.metadata, uid: 'another' } };
      expect(refusal(await store.commit([{ kind: 'replace', resource, object: other }]))).toEqual(['conflict', 0]);
    });

    test('tells what is absent', async () => {
      const missing = { ...object('a'), metadata: { ...object('a').metadata, resourceVersion: '1' } };
      expect(refusal(await store.commit([{ kind: 'replace', resource, object: missing }]))).toEqual(['absent', 0]);
      expect(refusal(await store.commit([{ kind: 'remove', ...key('a') }]))).toEqual(['absent', 0]);
    });

    test('removes an object, by uid and version when they are given', async () => {
      const [created] = await committed(create('a'));
      expect(refusal(await store.commit([{ kind: 'remove', ...key('a'), uid: 'another' }]))).toEqual(['conflict', 0]);
      expect(refusal(await store.commit([{ kind: 'remove', ...key('a'), version: '1' }]))).toEqual(['conflict', 0]);
      const [removed] = await committed({
        kind: 'remove',
        ...key('a'),
        uid: created!.metadata.uid,
        version: created!.metadata.resourceVersion!,
      });
      expect(removed!.metadata.resourceVersion).toBe(String(begun + 2));
      expect(await store.find(key('a'))).toBeUndefined();
    });

    test('writes all of a commit or nothing, and says which write could not be', async () => {
      await committed(create('b'));
      expect(refusal(await store.commit([create('a'), create('b'), create('c')]))).toEqual(['exists', 1]);
      expect(await store.find(key('a'))).toBeUndefined();
      expect(await store.currentVersion()).toBe(begun + 1);
    });

    test('puts nothing into a namespace that is not there', async () => {
      expect(refusal(await store.commit([create('a', {}, 'nowhere')]))).toEqual(['namespace-absent', 0]);
    });

    test('puts nothing into a namespace that is going away, and removes that only when it is empty', async () => {
      const [inside] = await committed(create('a'));
      const team = (await store.find({ resource: 'namespaces', namespace: '', name: 'team' }))!;
      const going = { ...team, metadata: { ...team.metadata, deletionTimestamp: '2026-01-02T00:00:00Z' } };
      await committed({ kind: 'replace', resource: 'namespaces', object: going });
      expect(refusal(await store.commit([create('b')]))).toEqual(['namespace-terminating', 0]);
      const removal: ObjectWrite = { kind: 'remove', resource: 'namespaces', namespace: '', name: 'team' };
      expect(refusal(await store.commit([removal]))).toEqual(['namespace-in-use', 0]);
      await committed({ kind: 'replace', resource, object: { ...inside!, data: { still: 'changes' } } });
      await committed({ kind: 'remove', ...key('a') }, removal);
      expect(await store.find({ resource: 'namespaces', namespace: '', name: 'team' })).toBeUndefined();
    });

    test('lists in the order of namespace and name, in pages', async () => {
      await committed(create('b'), create('a'), create('c', {}, 'other'), create('A'));
      const names = async (after?: { namespace: string; name: string }) => {
        const page = await store.list({ resource, limit: 2, ...(after && { after }) });
        return { names: page.objects.map(({ metadata }) => metadata.name), isLast: page.isLast };
      };
      expect(await names()).toEqual({ names: ['c', 'A'], isLast: false });
      expect(await names({ namespace: 'team', name: 'A' })).toEqual({ names: ['a', 'b'], isLast: true });
      const inTeam = await store.list({ resource, namespace: 'team', limit: 10 });
      expect(inTeam.objects.map(({ metadata }) => metadata.name)).toEqual(['A', 'a', 'b']);
      expect(inTeam.version).toBe(begun + 4);
    });

    test('lists by a lookup, and forgets the lookups of an earlier state', async () => {
      const [first] = await committed(
        { ...create('a'), lookups: ['User:bob', 'Group:dev', 'User:bob'] } as ObjectWrite,
        { ...create('b'), lookups: ['User:ann'] } as ObjectWrite,
      );
      const found = async (lookup: string) =>
        (await store.list({ resource, lookup, limit: 10 })).objects.map(({ metadata }) => metadata.name);
      expect(await found('User:bob')).toEqual(['a']);
      expect(await found('User:b_b')).toEqual([]);
      await committed({ kind: 'replace', resource, object: first!, lookups: ['User:ann'] });
      expect(await found('User:bob')).toEqual([]);
      expect(await found('User:ann')).toEqual(['a', 'b']);
      await committed({ kind: 'remove', ...key('a') });
      expect(await found('User:ann')).toEqual(['b']);
    });

    test('does not count what has expired, and removes it some time', async () => {
      const expiresAt = new Date('2026-01-02T00:01:00Z');
      await committed({ ...create('a'), expiresAt } as ObjectWrite, create('b'));
      expect(await store.find(key('a'))).toBeDefined();
      now = expiresAt;
      expect(await store.find(key('a'))).toBeUndefined();
      expect((await store.list({ resource, limit: 10 })).objects.map(({ metadata }) => metadata.name)).toEqual(['b']);
      await committed(create('a', { data: { again: 'yes' } }));
      expect(await store.find(key('a'))).toMatchObject({ data: { again: 'yes' } });
      await committed({ ...create('c'), expiresAt: new Date('2026-01-02T00:02:00Z') } as ObjectWrite);
      expect(await store.removeExpired(new Date('2026-01-02T00:03:00Z'))).toBe(1);
    });

    test('removes what is in a namespace, some at a time, with a line in the log for each', async () => {
      await committed(
        create('a'),
        create('b'),
        { ...create('c'), expiresAt: now } as ObjectWrite,
        create('d', {}, 'other'),
        { kind: 'create', resource: 'secrets', object: object('s') },
        { kind: 'create', resource: 'users', object: { metadata: { ...object('u').metadata, namespace: '' } } },
      );
      expect(await store.removeInNamespace('team', { limit: 2, except: ['secrets'] })).toBe(2);
      expect(await store.removeInNamespace('team', { limit: 2, except: ['secrets'] })).toBe(1);
      expect(await store.removeInNamespace('team', { limit: 2, except: ['secrets'] })).toBe(0);
      expect(await store.removeInNamespace('team', { limit: 2 })).toBe(1);
      expect(await store.removeInNamespace('', { limit: 10 })).toBe(0);
      const read = (await store.readChanges(begun + 6, { limit: 10 }))!;
      expect(read.changes.map(({ kind, object: { metadata } }) => [kind, metadata.name])).toEqual([
        ['DELETED', 'a'],
        ['DELETED', 'b'],
        ['DELETED', 'c'],
        ['DELETED', 's'],
      ]);
      expect(await store.find(key('d', 'other'))).toBeDefined();
      expect(await store.find({ resource: 'users', namespace: '', name: 'u' })).toBeDefined();
    });

    test('logs every change in the order of the commits, with what was before', async () => {
      const [created] = await committed(create('a', { data: { x: '1' } }));
      await committed({ kind: 'replace', resource, object: { ...created!, data: { x: '2' } } });
      await committed({ kind: 'remove', ...key('a') });
      const read = (await store.readChanges(begun, { limit: 10 }))!;
      expect(read.through).toBe(begun + 3);
      expect(
        read.changes.map(({ version, kind, object: after, previous }) => [
          version - begun,
          kind,
          after['data'],
          after.metadata.resourceVersion,
          previous?.['data'],
        ]),
      ).toEqual([
        [1, 'ADDED', { x: '1' }, String(begun + 1), undefined],
        [2, 'MODIFIED', { x: '2' }, String(begun + 2), { x: '1' }],
        [3, 'DELETED', { x: '2' }, String(begun + 3), { x: '2' }],
      ]);
    });

    test('reads the changes of one resource, and through which version they are complete', async () => {
      await committed(create('a'), { kind: 'create', resource: 'secrets', object: object('s') }, create('b'));
      const read = (await store.readChanges(begun, { resource: 'secrets', limit: 10 }))!;
      expect(read.changes.map(({ object: { metadata } }) => metadata.name)).toEqual(['s']);
      expect(read.through).toBe(begun + 3);
      const first = (await store.readChanges(begun, { resource, limit: 1 }))!;
      expect(first.through).toBe(begun + 1);
      expect(await store.lastChangeOf([resource, 'secrets'])).toBe(begun + 3);
      expect(await store.lastChangeOf(['secrets'])).toBe(begun + 2);
      expect(await store.lastChangeOf(['nothing'])).toBe(0);
    });

    test('has another last change after each change, though it is no longer kept', async () => {
      const seen = new Set<number>();
      for (const name of ['a', 'b', 'c']) {
        await committed(create(name));
        await store.pruneChanges(new Date(now.getTime() + 1));
        seen.add(await store.lastChangeOf([resource, 'secrets']));
      }
      expect(seen.size).toBe(3);
    });

    test('says when changes are no longer kept', async () => {
      await committed(create('a'));
      now = new Date('2026-01-02T01:00:00Z');
      await committed(create('b'));
      expect(await store.pruneChanges(new Date('2026-01-02T00:30:00Z'))).toBeGreaterThan(0);
      expect(await store.readChanges(begun, { limit: 10 })).toBeUndefined();
      const kept = (await store.readChanges(begun + 1, { limit: 10 }))!;
      expect(kept.changes.map(({ object: { metadata } }) => metadata.name)).toEqual(['b']);
    });

    test('wakes those who wait for a change: its own, and one of another process', async () => {
      const { signal } = new AbortController();
      const own = store.waitForChange(begun, { signal });
      await committed(create('a'));
      await own;
      const others = store.waitForChange(begun + 1, { signal });
      await new KyselyObjectStore(db, () => now).commit([create('b')]);
      await others;
      await store.waitForChange(begun, { signal });
    });

    test('lets those who wait go when they are told to, or when the time is over', async () => {
      const controller = new AbortController();
      const waiting = store.waitForChange(begun, { signal: controller.signal });
      controller.abort();
      await waiting;
      const later = store.waitForChange(begun, { signal: new AbortController().signal, withinMs: 0 });
      await later;
    });

    test('gives each of many writers at once its own version', async () => {
      const results = await Promise.all(Array.from({ length: 40 }, (_, index) => store.commit([create(`n${index}`)])));
      const versions = results.map((result) =>
        result.kind === 'committed' ? Number(result.objects[0]!.metadata.resourceVersion) : undefined,
      );
      expect(new Set(versions).size).toBe(40);
      expect(await store.currentVersion()).toBe(begun + 40);
    });

    test('lets one of two writers win who replace the same version', async () => {
      const [created] = await committed(create('a'));
      const write = (x: string): ObjectWrite => ({ kind: 'replace', resource, object: { ...created!, data: { x } } });
      const results = await Promise.all([store.commit([write('1')]), store.commit([write('2')])]);
      expect(results.map(({ kind }) => kind).sort()).toEqual(['committed', 'refused']);
    });
  });
}
