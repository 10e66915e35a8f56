import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { anonymous } from '../../src/auth/principal.js';
import type { Call, ListQuery, ObjectChange, RemoveOptions } from '../../src/kube/resource.js';
import { matchesLabels, parseLabelSelector } from '../../src/kube/selectors.js';
import { StoredResource, type StoredNames, type StoredStrategy } from '../../src/kube/stored-resource.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { namespacesResource, type ApiObject, type ObjectWrite } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const names: StoredNames = { group: 'example.dev', plural: 'things', kind: 'Thing', isNamespaced: true };
const now = new Date('2026-01-02T03:04:05Z');
const really = { dryRun: false };
const dryly = { dryRun: true };
const anyState: RemoveOptions = { ...really, uid: undefined, resourceVersion: undefined };

function call(namespace = 'team'): Call {
  return {
    principal: anonymous,
    namespace,
    now,
    origin: 'https://weir.example',
    may: () => Promise.resolve(true),
    warn: () => undefined,
    query: () => undefined,
    header: () => '',
  };
}

/** An object as a client sends it: the rest of its metadata is the server's. */
function sent(metadata: object, fields: object = {}): ApiObject {
  return { metadata: metadata as ApiObject['metadata'], ...fields };
}

function query(rest: Partial<ListQuery> = {}): ListQuery {
  return { limit: undefined, continue: undefined, matches: () => true, name: undefined, fields: {}, ...rest };
}

const labelled = (selector: string): Partial<ListQuery> => {
  const parsed = parseLabelSelector(selector);
  return { matches: ({ metadata }) => matchesLabels(parsed, metadata.labels) };
};

describe('a stored resource', () => {
  let db: Database;
  let store: KyselyObjectStore;
  let things: StoredResource;
  beforeEach(async () => {
    db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    await addProjects(db, ['team', 'other', 'going']);
    store = new KyselyObjectStore(db);
    things = new StoredResource(store, names);
    const namespace = (await store.find({ resource: namespacesResource, namespace: '', name: 'going' }))!;
    const metadata = { ...namespace.metadata, deletionTimestamp: '2026-01-02T00:00:00Z' };
    await store.commit([{ kind: 'replace', resource: namespacesResource, object: { ...namespace, metadata } }]);
  });

  const make = (name: string, fields: object = {}, metadata: object = {}, namespace = 'team') =>
    things.create(call(namespace), sent({ name, ...metadata }, fields), really);
  const change =
    (change: (object: ApiObject) => ApiObject): ObjectChange =>
    (current) =>
      change(current!);
  const relabelled = (labels: Record<string, string>) =>
    change((object) => ({ ...object, metadata: { ...object.metadata, labels } }));
  const namesIn = async (namespace: string, rest: Partial<ListQuery> = {}) =>
    (await things.list(call(namespace), query(rest))).items.map(({ metadata }) => metadata.name);

  describe('creates an object', () => {
    test('with what is the server’s, and answers with it as it is stored', async () => {
      const made = await make('a', { spec: { x: 1 } }, { uid: 'mine', resourceVersion: '1', labels: { k: 'v' } });
      expect(made).toEqual({
        metadata: {
          name: 'a',
          namespace: 'team',
          uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
          resourceVersion: String(await store.currentVersion()),
          creationTimestamp: '2026-01-02T03:04:05Z',
          labels: { k: 'v' },
        },
        spec: { x: 1 },
      });
      expect(await things.get(call(), 'a')).toEqual(made);
      expect(await store.find({ resource: 'things.example.dev', namespace: 'team', name: 'a' })).toEqual(made);
    });

    test('with a generated name, unless it has one', async () => {
      const first = await things.create(call(), sent({ generateName: 'a-' }), really);
      expect(first.metadata.name).toMatch(/^a-[a-z0-9]{5}$/);
      expect(first.metadata).toMatchObject({ generateName: 'a-' });
      const second = await things.create(call(), sent({ name: '', generateName: 'a-' }), really);
      expect(second.metadata.name).not.toBe(first.metadata.name);
      const named = await things.create(call(), sent({ name: 'own', generateName: 'a-' }), really);
      expect(named.metadata.name).toBe('own');
    });

    test.each([{}, { name: '' }, { generateName: '' }, { name: '', generateName: '' }])(
      'and wants a name of %j',
      async (metadata) => {
        await expect(things.create(call(), sent(metadata), really)).rejects.toMatchObject({
          reason: 'Invalid',
          message: 'Thing.example.dev "" is invalid: metadata.name: Required value: name or generateName is required',
        });
      },
    );

    test('and names everything that is wrong with it', async () => {
      const strict = new StoredResource(store, names, {
        validate: (object) =>
          object['spec'] === undefined
            ? [{ reason: 'FieldValueRequired', field: 'spec', message: 'Required value' }]
            : [],
      });
      const wrong = sent({ name: 'A', labels: { 'a b': '' } });
      await expect(strict.create(call(), wrong, really)).rejects.toMatchObject({
        reason: 'Invalid',
        details: {
          name: 'A',
          kind: 'Thing',
          group: 'example.dev',
          causes: [{ field: 'metadata.name' }, { field: 'metadata.labels' }, { field: 'spec' }],
        },
      });
    });

    test.each([
      {
        name: 'into a namespace that is not there',
        namespace: 'nowhere',
        reason: 'NotFound',
        message: 'namespaces "nowhere" not found',
      },
      {
        name: 'into a namespace that is going away',
        namespace: 'going',
        reason: 'Forbidden',
        message:
          'things.example.dev "a" is forbidden: unable to create new content in namespace going because it is being terminated',
      },
      {
        name: 'a second time',
        namespace: 'team',
        reason: 'AlreadyExists',
        message: 'things.example.dev "a" already exists',
      },
    ])('and not $name, dry or not', async ({ namespace, reason, message }) => {
      await make('a');
      const before = await store.currentVersion();
      for (const options of [really, dryly]) {
        const attempt = things.create(call(namespace), sent({ name: 'a' }), options);
        await expect(attempt).rejects.toMatchObject({ reason, message });
      }
      expect(await store.currentVersion()).toBe(before);
    });

    test('dryly without storing it', async () => {
      const before = await store.currentVersion();
      const made = await things.create(call(), sent({ name: 'a' }), dryly);
      expect(made.metadata).toMatchObject({ name: 'a', namespace: 'team' });
      expect(await store.currentVersion()).toBe(before);
      await expect(things.get(call(), 'a')).rejects.toMatchObject({ reason: 'NotFound' });
    });

    test('in no namespace when the resource is in none', async () => {
      const clusterThings = new StoredResource(store, { ...names, isNamespaced: false });
      const made = await clusterThings.create(call(''), sent({ name: 'a', namespace: 'team' }), really);
      expect(made.metadata.namespace).toBeUndefined();
      expect(await clusterThings.get(call('ignored'), 'a')).toEqual(made);
    });
  });

  test('tells what is not there', async () => {
    const reason = { reason: 'NotFound', message: 'things.example.dev "a" not found' };
    await expect(things.get(call(), 'a')).rejects.toMatchObject(reason);
    await expect(things.remove(call(), 'a', anyState)).rejects.toMatchObject(reason);
    const missing = things.update(call(), 'a', () => sent({ name: 'a' }), really);
    await expect(missing).rejects.toMatchObject(reason);
    await make('a', {}, {}, 'other');
    await expect(things.get(call(), 'a')).rejects.toMatchObject(reason);
  });

  describe('updates an object', () => {
    test('and keeps what is the server’s', async () => {
      const made = await make('a', { spec: { x: 1 } });
      const wanted = sent(
        { name: 'other', creationTimestamp: '1999-01-01T00:00:00Z', labels: { k: 'v' } },
        { spec: { x: 2 } },
      );
      const { object, isNew } = await things.update(call(), 'a', () => wanted, really);
      expect(isNew).toBe(false);
      expect(object).toEqual({
        metadata: {
          ...made.metadata,
          resourceVersion: String(Number(made.metadata.resourceVersion) + 1),
          labels: { k: 'v' },
        },
        spec: { x: 2 },
      });
      expect(await things.get(call(), 'a')).toEqual(object);
    });

    test('that would change nothing without writing, type and order of members or not', async () => {
      const made = await make('a', { spec: { x: 1, y: 2 } }, { labels: { k: 'v' } });
      const same = { apiVersion: 'example.dev/v1', kind: 'Thing', spec: { y: 2, x: 1 }, metadata: made.metadata };
      expect(await things.update(call(), 'a', () => same, really)).toEqual({ object: made, isNew: false });
      expect(await store.currentVersion()).toBe(Number(made.metadata.resourceVersion));
    });

    test.each([
      {
        name: 'another resourceVersion',
        metadata: { resourceVersion: '1' },
        message:
          'Operation cannot be fulfilled on things.example.dev "a": the object has been modified; please apply your changes to the latest version and try again',
      },
      {
        name: 'another uid',
        metadata: { uid: 'another' },
        message:
          /^Operation cannot be fulfilled on things.example.dev "a": Precondition failed: UID in precondition: another, UID in object meta: /,
      },
    ])('and not from $name, though it would change nothing', async ({ metadata, message }) => {
      const made = await make('a', { spec: 1 });
      for (const fields of [{ spec: 1 }, { spec: 2 }]) {
        const attempt = things.update(call(), 'a', () => sent({ name: 'a', ...metadata }, fields), really);
        await expect(attempt).rejects.toMatchObject({ reason: 'Conflict' });
        await expect(attempt).rejects.toThrow(message);
      }
      expect(await things.get(call(), 'a')).toEqual(made);
    });

    test('whatever it was when the client names no version', async () => {
      await make('a', { spec: 1 });
      const { object } = await things.update(
        call(),
        'a',
        () => sent({ resourceVersion: '', uid: '' }, { spec: 2 }),
        really,
      );
      expect(object['spec']).toBe(2);
    });

    test('again from what it has become, when somebody else was faster', async () => {
      await make('a', { count: 0 });
      const increments = Array.from({ length: 4 }, () =>
        things.update(
          call(),
          'a',
          change((object) => ({ ...object, count: (object['count'] as number) + 1 })),
          really,
        ),
      );
      await Promise.all(increments);
      expect((await things.get(call(), 'a'))['count']).toBe(4);
    });

    test('once, of several who name the same version, and tells the others', async () => {
      const { metadata } = await make('a', { count: 0 });
      const results = await Promise.allSettled(
        [1, 2, 3].map((count) =>
          things.update(call(), 'a', () => sent({ resourceVersion: metadata.resourceVersion }, { count }), really),
        ),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ reason: 'Conflict' });
      }
    });

    test('dryly without storing it, and not when it is wrong', async () => {
      const made = await make('a');
      const { object } = await things.update(call(), 'a', relabelled({ k: 'v' }), dryly);
      expect(object.metadata.labels).toEqual({ k: 'v' });
      expect(await things.get(call(), 'a')).toEqual(made);
      await expect(things.update(call(), 'a', relabelled({ 'a b': '' }), dryly)).rejects.toMatchObject({
        reason: 'Invalid',
      });
    });

    test('in a namespace that is going away', async () => {
      const created: ObjectWrite = {
        kind: 'create',
        resource: 'things.example.dev',
        object: { metadata: { name: 'a', namespace: 'other', uid: 'u', creationTimestamp: '' } },
      };
      await store.commit([created]);
      const other = (await store.find({ resource: namespacesResource, namespace: '', name: 'other' }))!;
      const metadata = { ...other.metadata, deletionTimestamp: '2026-01-02T00:00:00Z' };
      await store.commit([{ kind: 'replace', resource: namespacesResource, object: { ...other, metadata } }]);
      const { object } = await things.update(call('other'), 'a', relabelled({ k: 'v' }), really);
      expect(object.metadata.labels).toEqual({ k: 'v' });
    });
  });

  describe('removes an object', () => {
    test('and answers with its last state', async () => {
      const made = await make('a', { spec: 1 });
      const removed = await things.remove(call(), 'a', anyState);
      expect(removed).toEqual({
        ...made,
        metadata: { ...made.metadata, resourceVersion: String(Number(made.metadata.resourceVersion) + 1) },
      });
      await expect(things.get(call(), 'a')).rejects.toMatchObject({ reason: 'NotFound' });
    });

    test('only when it is the one that was meant', async () => {
      const { metadata } = await make('a');
      for (const other of [{ uid: 'another' }, { resourceVersion: '1' }]) {
        await expect(things.remove(call(), 'a', { ...anyState, ...other })).rejects.toMatchObject({
          reason: 'Conflict',
        });
      }
      await things.remove(call(), 'a', { ...really, uid: metadata.uid, resourceVersion: metadata.resourceVersion });
    });

    test('dryly not at all', async () => {
      const made = await make('a');
      expect(await things.remove(call(), 'a', { ...anyState, dryRun: true })).toEqual(made);
      expect(await things.get(call(), 'a')).toEqual(made);
      expect(await store.currentVersion()).toBe(Number(made.metadata.resourceVersion));
    });

    test('with finalizers slowly: it is marked once, and goes with the last of them', async () => {
      await make('a', {}, { finalizers: ['example.dev/one', 'example.dev/two'] });
      const going = await things.remove(call(), 'a', anyState);
      expect(going.metadata).toMatchObject({
        deletionTimestamp: '2026-01-02T03:04:05Z',
        deletionGracePeriodSeconds: 0,
      });
      expect(await things.get(call(), 'a')).toEqual(going);
      expect(await things.remove({ ...call(), now: new Date() }, 'a', anyState)).toEqual(going);
      const keep = (finalizers: readonly string[]) =>
        change((object) => ({ ...object, metadata: { ...object.metadata, finalizers } }));
      const { object } = await things.update(call(), 'a', keep(['example.dev/two']), really);
      expect(object.metadata.deletionTimestamp).toBe('2026-01-02T03:04:05Z');
      await things.update(call(), 'a', keep([]), really);
      await expect(things.get(call(), 'a')).rejects.toMatchObject({ reason: 'NotFound' });
      const changes = (await store.readChanges(Number(going.metadata.resourceVersion), { limit: 10 }))!.changes;
      expect(changes.map(({ kind }) => kind)).toEqual(['MODIFIED', 'DELETED']);
    });

    test('and does not let a client mark one as going away by an update', async () => {
      await make('a');
      const marked = change((object) => ({
        ...object,
        metadata: { ...object.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
      }));
      const { object } = await things.update(call(), 'a', marked, really);
      expect(object.metadata.deletionTimestamp).toBeUndefined();
      await things.get(call(), 'a');
    });
  });

  describe('lists objects', () => {
    test('of a namespace or of all, in their order, with the version of the list', async () => {
      for (const [name, namespace] of [
        ['b', 'team'],
        ['a', 'team'],
        ['c', 'other'],
      ] as const) {
        await make(name, {}, {}, namespace);
      }
      expect(await namesIn('team')).toEqual(['a', 'b']);
      expect(await namesIn('')).toEqual(['c', 'a', 'b']);
      const list = await things.list(call('nowhere'), query());
      expect(list).toEqual({ items: [], resourceVersion: String(await store.currentVersion()) });
    });

    test('by name, in a namespace and in all', async () => {
      for (const namespace of ['team', 'other']) await make('a', {}, {}, namespace);
      await make('b');
      const wanted = { name: 'a', matches: ({ metadata }: ApiObject) => metadata.name === 'a' };
      expect(await namesIn('team', wanted)).toEqual(['a']);
      expect(await namesIn('', wanted)).toEqual(['a', 'a']);
      expect(await namesIn('team', { ...wanted, name: 'c' })).toEqual([]);
      expect(await namesIn('team', { name: 'a', matches: () => false })).toEqual([]);
    });

    async function pages(limit: number, rest: Partial<ListQuery> = {}) {
      const found: string[][] = [];
      const versions = new Set<string>();
      let position: string | undefined;
      do {
        const list = await things.list(call(), query({ ...rest, limit, continue: position }));
        found.push(list.items.map(({ metadata }) => metadata.name));
        versions.add(list.resourceVersion);
        position = list.continue;
      } while (position !== undefined);
      return { found, versions };
    }

    test('in pages: every object once, and no empty page at the end', async () => {
      for (const name of ['a', 'b', 'c', 'd', 'e']) await make(name);
      expect((await pages(2)).found).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
      expect((await pages(5)).found).toEqual([['a', 'b', 'c', 'd', 'e']]);
      expect((await pages(1)).found).toEqual([['a'], ['b'], ['c'], ['d'], ['e']]);
    });

    test('in full pages of what a selector selects', async () => {
      for (const [index, name] of ['a', 'b', 'c', 'd', 'e', 'f', 'g'].entries()) {
        await make(name, {}, { labels: { odd: index % 2 === 0 ? 'no' : 'yes' } });
      }
      expect((await pages(2, labelled('odd=yes'))).found).toEqual([['b', 'd'], ['f']]);
      expect((await pages(3, labelled('odd=no'))).found).toEqual([['a', 'c', 'e'], ['g']]);
      expect((await pages(2, labelled('odd=maybe'))).found).toEqual([[]]);
    });

    test('in pages that all have the version of the first, so that a watch from there misses nothing', async () => {
      for (const name of ['a', 'c']) await make(name);
      const first = await things.list(call(), query({ limit: 1 }));
      await make('b');
      const second = await things.list(call(), query({ limit: 1, continue: first.continue }));
      expect(second.items.map(({ metadata }) => metadata.name)).toEqual(['b']);
      expect(second.resourceVersion).toBe(first.resourceVersion);
    });

    test('from few reads, though a selector passes over most of them', async () => {
      const writes = Array.from({ length: 1200 }, (_, index): ObjectWrite => {
        const labels = index === 1100 ? { rare: 'yes' } : {};
        const metadata = {
          name: `n${10_000 + index}`,
          namespace: 'team',
          uid: `${index}`,
          creationTimestamp: '',
          labels,
        };
        return { kind: 'create', resource: 'things.example.dev', object: { metadata } };
      });
      await store.commit(writes);
      let reads = 0;
      const counting = new (class extends KyselyObjectStore {
        override list(wanted: Parameters<KyselyObjectStore['list']>[0]) {
          reads += 1;
          return super.list(wanted);
        }
      })(db);
      const list = await new StoredResource(counting, names).list(call(), query({ ...labelled('rare'), limit: 1 }));
      expect(list.items.map(({ metadata }) => metadata.name)).toEqual(['n11100']);
      expect(reads).toBeLessThan(5);
    });

    test.each(['x', 'bm90IGpzb24', ...[null, 7, {}, [], ['1'], [1, 'a', 'b'], ['1', 'a', 2]].map(position)])(
      'and refuses to go on from "%s"',
      async (text) => {
        await expect(things.list(call(), query({ continue: text }))).rejects.toMatchObject({
          reason: 'BadRequest',
          message: 'continue key is not valid: expected the value of metadata.continue of the page before',
        });
      },
    );
  });

  describe('follows its strategy', () => {
    const strategic = (strategy: StoredStrategy) => new StoredResource(store, names, strategy);

    test('and prepares what is stored', async () => {
      const prepared = strategic({
        prepareCreate: (_call, object) => ({ ...object, status: 'new' }),
        prepareUpdate: (_call, object, old) => ({ ...object, status: old['status'] }),
      });
      await prepared.create(call(), sent({ name: 'a' }, { status: 'mine' }), really);
      const { object } = await prepared.update(call(), 'a', () => sent({}, { status: 'mine', spec: 1 }), really);
      expect(object).toMatchObject({ status: 'new', spec: 1 });
    });

    test('and does nothing that it forbids, dry or not', async () => {
      const guarded = strategic({
        mayWrite: (_call, object) => {
          if (object['spec'] === 'secret') throw new Error('not that');
        },
        mayRemove: () => {
          throw new Error('not ever');
        },
      });
      await guarded.create(call(), sent({ name: 'a' }), really);
      for (const options of [really, dryly]) {
        await expect(guarded.create(call(), sent({ name: 'b' }, { spec: 'secret' }), options)).rejects.toThrow(
          'not that',
        );
        await expect(guarded.update(call(), 'a', () => sent({}, { spec: 'secret' }), options)).rejects.toThrow(
          'not that',
        );
        await expect(guarded.remove(call(), 'a', { ...anyState, ...options })).rejects.toThrow('not ever');
      }
      expect(await namesIn('team')).toEqual(['a']);
    });

    test('and keeps sealed what must not lie in the database as it is', async () => {
      const flip = (object: ApiObject) => ({
        ...object,
        data: Buffer.from(object['data'] as string)
          .reverse()
          .toString(),
      });
      const sealed = strategic({ seal: flip, open: flip });
      expect(await sealed.create(call(), sent({ name: 'a' }, { data: 'abc' }), really)).toMatchObject({ data: 'abc' });
      const stored = () => store.find({ resource: 'things.example.dev', namespace: 'team', name: 'a' });
      expect(await stored()).toMatchObject({ data: 'cba' });
      expect(await sealed.get(call(), 'a')).toMatchObject({ data: 'abc' });
      expect((await sealed.list(call(), query())).items).toMatchObject([{ data: 'abc' }]);
      expect((await sealed.list(call(), query({ name: 'a' }))).items).toMatchObject([{ data: 'abc' }]);
      expect(sealed.watch.view((await stored())!)).toMatchObject({ data: 'abc' });
      const { object } = await sealed.update(call(), 'a', () => sent({}, { data: 'xyz' }), really);
      expect(object).toMatchObject({ data: 'xyz' });
      expect(await stored()).toMatchObject({ data: 'zyx' });
      expect(await sealed.remove(call(), 'a', anyState)).toMatchObject({ data: 'xyz' });
    });

    test('and writes what belongs to a new object in the same commit, or nothing', async () => {
      const companion = (name: string): ObjectWrite => ({
        kind: 'create',
        resource: 'companions',
        object: { metadata: { name, namespace: 'team', uid: name, creationTimestamp: '' } },
      });
      const paired = strategic({ alongside: (_call, { metadata }) => [companion(metadata.name)] });
      await paired.create(call(), sent({ name: 'a' }), really);
      expect(await store.find({ resource: 'companions', namespace: 'team', name: 'a' })).toBeDefined();
      await store.commit([companion('b')]);
      await expect(paired.create(call(), sent({ name: 'b' }), really)).rejects.toMatchObject({ code: 409 });
      expect(await namesIn('team')).toEqual(['a']);
    });

    test('and lists by the lookups that it keeps', async () => {
      const looked = strategic({
        traits: (object) => ({ lookups: [object['owner'] as string] }),
        lookup: ({ fields }) => fields['owner'],
      });
      for (const [name, owner] of [
        ['a', 'ann'],
        ['b', 'bob'],
        ['c', 'ann'],
      ] as const) {
        await looked.create(call(), sent({ name }, { owner }), really);
      }
      const owned = async (owner: string) =>
        (await looked.list(call(), query({ fields: { owner } }))).items.map(({ metadata }) => metadata.name);
      expect(await owned('ann')).toEqual(['a', 'c']);
      await looked.update(call(), 'a', () => sent({}, { owner: 'bob' }), really);
      expect(await owned('ann')).toEqual(['c']);
      expect(await owned('bob')).toEqual(['a', 'b']);
    });

    test('and stores under the resource that it names', async () => {
      const view = new StoredResource(store, { ...names, storedAs: 'others' });
      await view.create(call(), sent({ name: 'a' }), really);
      expect(await store.find({ resource: 'others', namespace: 'team', name: 'a' })).toBeDefined();
      expect(view.watch.resource).toBe('others');
    });
  });
});

function position(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
