import SqliteDatabase from 'better-sqlite3';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kysely, Migrator, SqliteDialect } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import { migrations } from '../../src/metadata/migrations/index.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a database of the first version keeps its repositories, and its projects become namespaces', async () => {
  const path = join(folder, 'first.sqlite');
  const raw = new SqliteDatabase(path);
  const old = new Kysely<unknown>({ dialect: new SqliteDialect({ database: raw }) });
  const first = { '001-registry': migrations['001-registry']! };
  await new Migrator({ db: old, provider: { getMigrations: () => Promise.resolve(first) } }).migrateToLatest();
  raw.exec(`
    insert into project values ('team', 1767225600000), ('library', 1767225601000);
    insert into repository (id, name, project, created_at) values (7, 'team/app', 'team', 1767225600000);
    insert into user values ('ada', '$2b$10$ada', 'admin', 1767225600000);
  `);
  await old.destroy();

  const db = await openSqlite(path);
  expect(await new KyselyStreamStore(db).readStream(parseRepositoryName('team/app'), 10)).toMatchObject({
    stream: { id: 7, name: 'team/app', createdAt: new Date('2026-01-01T00:00:00Z'), generation: 1 },
    tags: [],
  });
  const store = new KyselyObjectStore(db);
  const { objects } = await store.list({ resource: 'namespaces', lookup: 'bare', limit: 10 });
  expect(
    objects.map(({ metadata, ...fields }) => ({ name: metadata.name, at: metadata.creationTimestamp, ...fields })),
  ).toEqual([
    { name: 'library', at: '2026-01-01T00:00:01Z', spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } },
    { name: 'team', at: '2026-01-01T00:00:00Z', spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } },
  ]);
  // What was before the log cannot be watched from.
  expect(await store.readChanges(0, { limit: 10 })).toBeUndefined();
  expect(await store.readChanges(await store.currentVersion(), { limit: 10 })).toMatchObject({ changes: [] });
  await db.destroy();
});

test('a database without streams keeps its tags with the whole of their history', async () => {
  const path = join(folder, 'tags.sqlite');
  const raw = new SqliteDatabase(path);
  const old = new Kysely<unknown>({ dialect: new SqliteDialect({ database: raw }) });
  const { '001-registry': registry, '002-objects': objects } = migrations;
  const before = { '001-registry': registry!, '002-objects': objects! };
  await new Migrator({ db: old, provider: { getMigrations: () => Promise.resolve(before) } }).migrateToLatest();
  const [a, b] = ['a', 'b'].map((letter) => `sha256:${letter.repeat(64)}`);
  raw.exec(`
    insert into repository (id, name, created_at) values (7, 'team/app', 1000);
    insert into image (digest, media_type, size, bytes, created_at) values
      ('${a}', 'application/vnd.oci.image.manifest.v1+json', 2, x'7b7d', 1000),
      ('${b}', 'application/vnd.oci.image.manifest.v1+json', 2, x'7b7d', 1000);
    insert into repository_image (repository_id, image, sparse, linked_at) values (7, '${a}', 0, 1000), (7, '${b}', 0, 1000);
    insert into tag (repository_id, name, image, sequence) values (7, 'v10', '${b}', 2), (7, 'again', '${a}', 3);
    insert into tag_event (repository_id, tag, sequence, image, cause, principal, at) values
      (7, 'v10', 1, '${a}', 'push', 'ada', 2000),
      (7, 'v10', 2, '${b}', 'push', 'system:serviceaccount:team:builder', 3000),
      (7, 'again', 1, '${b}', 'push', 'ada', 2000),
      (7, 'again', 2, null, 'delete', 'ada', 2500),
      (7, 'again', 3, '${a}', 'push', 'ada', 4000),
      (7, 'gone', 1, '${a}', 'push', 'ada', 2000),
      (7, 'gone', 2, null, 'delete', 'system:anonymous', 5000);
  `);
  await old.destroy();

  const db = await openSqlite(path);
  const streams = new KyselyStreamStore(db);
  const app = parseRepositoryName('team/app');
  const stream = await streams.readStream(app, 10);
  expect(stream).toMatchObject({ stream: { generation: 1, tagCount: 2 } });
  expect(stream!.tags).toMatchObject([
    { name: 'again', image: a, sequence: 3, firstSequence: 3, events: [{ image: a, sequence: 3 }] },
    {
      name: 'v10',
      image: b,
      sequence: 2,
      firstSequence: 1,
      events: [
        { image: b, actor: { kind: 'service-account' }, created: new Date(3000), at: new Date(3000) },
        { image: a, actor: { name: 'ada', kind: 'user' }, generation: 1, cause: 'push' },
      ],
    },
  ]);
  const history = await streams.listHistory({ of: { kind: 'project', project: 'team' }, limit: 100 });
  expect(history).toHaveLength(7);
  expect(
    history
      .filter(({ isCurrent }) => isCurrent)
      .map(({ tag }) => tag)
      .sort(),
  ).toEqual(['again', 'v10']);
  const gone = await streams.listHistory({ of: { kind: 'tag', repository: app, tag: 'gone' }, limit: 10 });
  expect(gone).toMatchObject([
    { cause: 'delete', actor: { kind: 'anonymous' } },
    { cause: 'push', image: a },
  ]);
  // Nothing of it was in the change log, and what happens now is.
  await streams.edit(async (edit) => {
    expect(await edit.findDeletion(app, 'gone')).toMatchObject({ last: { sequence: 1 }, firstSequence: 1 });
    expect(await edit.findDeletion(app, 'again')).toBeUndefined();
  });
  await db.destroy();
});
