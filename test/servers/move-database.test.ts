import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dbCommand } from '../../src/cli/db-command.js';
import { checkRegistry } from '../../src/distribution/fsck.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { copyDatabase } from '../../src/moving/database-copy.js';
import { fillDatabase } from '../moving/filled-database.js';
import { pushImage } from '../support/images.js';
import { execute, startPostgres, type TestPostgres } from '../support/postgres.js';
import { startRegistry, TestRegistry } from '../support/registry.js';
import { temporaryFolder } from '../support/temporary-folder.js';

let server: TestPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

/** Runs the command in this process, over the database of a data folder, or a URL. */
async function move(dataDir: string, database: Readonly<Record<string, string>>, to: string): Promise<string> {
  vi.stubEnv('WEIR_DATA_DIR', dataDir);
  for (const [name, value] of Object.entries(database)) vi.stubEnv(name, value);
  let printed = '';
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    printed += chunk.toString();
    return true;
  });
  const program = new Command('weir').option('--config <file>').addCommand(dbCommand());
  try {
    await program.parseAsync(['db', 'move', '--to', to], { from: 'user' });
    return printed;
  } finally {
    stdout.mockRestore();
    vi.unstubAllEnvs();
  }
}

test('a registry goes from SQLite to PostgreSQL and back with all that it has', async () => {
  const first = await startRegistry();
  const { dataDir } = first;
  const images = [];
  for (const tag of ['v1', 'v2', 'v10']) images.push(await pushImage(first, 'team/app', tag));
  await first.fetch('/v2/team/app/manifests/v2', { method: 'DELETE' });
  const token = await first.token(['repository:team/app:pull']);
  const secret = { metadata: { name: 'kept' }, stringData: { key: 'hidden' } };
  expect((await first.api('/api/v1/namespaces/team/secrets', { method: 'POST', body: secret })).status).toBe(201);
  // It tells where the registry is, which is on another port each time.
  const stream = async (registry: TestRegistry) => {
    const response = await registry.api('/apis/image.openshift.io/v1/namespaces/team/imagestreams/app');
    return JSON.parse((await response.text()).replaceAll(new URL(registry.url).host, 'registry.example')) as unknown;
  };
  const before = await stream(first);
  const url = await server.createDatabase();
  await expect(move(dataDir, {}, url)).rejects.toThrow(/is in use: stop the registry/);
  await first.running.stop();
  await (await first.openDatabase()).destroy();

  expect(await move(dataDir, {}, url)).toMatch(/23 tables with \d+ rows are the same on both sides/);
  await expect(move(dataDir, {}, url)).rejects.toThrow(/it has rows already, in sequence, key, user,/);

  const onPostgres = {
    WEIR_DATABASE_URL: url,
    WEIR_SECRETS_KEYS: (await readFile(join(dataDir, 'keys', 'secrets.key'), 'utf8')).trim(),
  };
  const second = new TestRegistry(dataDir, onPostgres);
  await second.start();
  expect(await stream(second)).toEqual(before);
  const pulled = await second.fetch('/v2/team/app/manifests/v1', { as: { token } });
  expect(Buffer.from(await pulled.arrayBuffer())).toEqual(images[0]!.bytes);
  expect(await (await second.api('/api/v1/namespaces/team/secrets/kept')).json()).toMatchObject({
    data: { key: Buffer.from('hidden').toString('base64') },
  });
  // Numbers that the database counts up by itself go on where they were.
  const added = await pushImage(second, 'team/added', 'v1');
  await expect(move(dataDir, onPostgres, 'sqlite')).rejects.toThrow(/the database is in use, by \d+ connections from/);
  await second.running.stop();
  await (await second.openDatabase()).destroy();

  await expect(move(dataDir, onPostgres, 'sqlite')).rejects.toThrow(/move that file away/);
  for (const end of ['', '-wal', '-shm']) await rm(join(dataDir, `weir.sqlite${end}`), { force: true });
  expect(await move(dataDir, onPostgres, 'sqlite')).toMatch(/23 tables with \d+ rows are the same on both sides/);

  const third = new TestRegistry(dataDir, {});
  await third.start();
  try {
    expect(await stream(third)).toEqual(before);
    expect((await third.fetch('/v2/team/added/manifests/v1')).headers.get('Docker-Content-Digest')).toBe(added.digest);
    const layer = await third.fetch(`/v2/team/added/blobs/${added.layer.digest}`);
    expect(Buffer.from(await layer.arrayBuffer())).toEqual(added.layer.bytes);
    await pushImage(third, 'team/last', 'v1');
    const problems: string[] = [];
    await checkRegistry(new KyselyInspection(await third.openDatabase()), await third.openBlobStore(), {
      readBlobs: true,
      onFinding: ({ problem }) => problems.push(problem),
    });
    expect(problems).toEqual([]);
  } finally {
    await third.stop();
  }
});

test('rows of every table and of many pages are copied there, and back to what they were', async () => {
  const folder = await temporaryFolder();
  const source = await openSqlite(join(folder, 'source.sqlite'));
  const back = await openSqlite(join(folder, 'back.sqlite'));
  const { db } = await openPostgres(await server.createDatabase(), { poolSize: 4 });
  try {
    await fillDatabase(source);
    const there = await copyDatabase(source, db);
    expect(await copyDatabase(db, back)).toEqual(there);
    expect(there.map(({ changedTexts }) => changedTexts)).toEqual(there.map(() => 0));
    const { id } = await db
      .insertInto('repository')
      .values({ name: 'b/next' as never, created_at: 1 })
      .returning('id')
      .executeTakeFirstOrThrow();
    expect(id).toBe(4_294_967_297);
  } finally {
    await Promise.all([source.destroy(), back.destroy(), db.destroy()]);
  }
});

test('a zero character, which PostgreSQL does not take, becomes another one and is told of', async () => {
  const source = await openSqlite(join(await temporaryFolder(), 'source.sqlite'));
  const { db } = await openPostgres(await server.createDatabase(), { poolSize: 4 });
  try {
    await source.insertInto('discarded_location').values({ location: 'a\0b', discarded_at: 1 }).execute();
    const copied = await copyDatabase(source, db);
    expect(copied.find(({ table }) => table === 'discarded_location')).toMatchObject({ rows: 1, changedTexts: 1 });
    expect(await db.selectFrom('discarded_location').select('location').execute()).toEqual([{ location: 'a\uFFFDb' }]);
  } finally {
    await Promise.all([source.destroy(), db.destroy()]);
  }
});

test('from PostgreSQL nobody writes while it is copied, and a server that goes away leaves an empty database', async () => {
  const url = await server.createDatabase();
  const target = join(await temporaryFolder(), 'target.sqlite');
  const { db } = await openPostgres(url, { poolSize: 4 });
  const to = await openSqlite(target);
  try {
    await fillDatabase(db);
    await expect(copyDatabase(db, db)).rejects.toThrow('name another one');
    let written: Promise<unknown> | undefined;
    const order: string[] = [];
    const copied = await copyDatabase(db, to, {
      onProgress: () => {
        written ??= db
          .transaction()
          .execute((tx) => tx.deleteFrom('image_pull').execute())
          .then(() => order.push('written'));
      },
      beforeCommit: () => {
        order.push('copied');
        return Promise.resolve();
      },
    });
    await written;
    expect(order).toEqual(['copied', 'written']);
    expect(copied.find(({ table }) => table === 'image_pull')).toMatchObject({ rows: 1 });

    const next = await openSqlite(`${target}-next`);
    let isCut = false;
    const cut = copyDatabase(db, next, {
      onProgress: ({ table }) => {
        if (isCut || table !== 'tag_event') return;
        isCut = true;
        void execute(
          server.url,
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${new URL(url).pathname.slice(1)}'`,
        );
      },
      beforeCommit: () => new Promise((resolve) => setTimeout(resolve, 500)),
    });
    // Run again within its first seconds, or given up: in both cases there is a whole copy or none.
    await cut.catch(() => undefined);
    const rows = await next.selectFrom('tag_event').select('sequence').execute();
    expect([0, 1300]).toContain(rows.length);
    await next.destroy();
  } finally {
    await Promise.all([db.destroy(), to.destroy()]);
  }
});
