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
