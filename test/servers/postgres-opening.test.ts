import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { migrations } from '../../src/metadata/migrations/index.js';
import { DatabaseUnavailableError } from '../../src/metadata/postgres-errors.js';
import { openPostgres, type PostgresOptions } from '../../src/metadata/postgres.js';
import { execute, startPostgres, type TestPostgres } from '../support/postgres.js';
import { addProjects } from '../support/projects.js';

let server: TestPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

async function open(url: string, options: PostgresOptions = {}) {
  const opened = await openPostgres(url, { poolSize: 4, ...options });
  onTestFinished(() => opened.db.destroy());
  return opened;
}

const migrationsIn = async (url: string) =>
  (await execute(url, 'select name from kysely_migration order by name')).map(({ name }) => name);

describe('a PostgreSQL database', () => {
  test('is migrated once when many open it at the same time while it is empty', async () => {
    const url = await server.createDatabase();
    const opened = await Promise.all(Array.from({ length: 5 }, () => open(url)));
    expect(await migrationsIn(url)).toEqual(Object.keys(migrations));
    await addProjects(opened[0]!.db, ['team']);
    for (const { db } of opened) expect(await new KyselyObjectStore(db).currentVersion()).toBe(1);
  });

  test('is opened by the version before the one that migrated it last, and by none that is older', async () => {
    const url = await server.createDatabase();
    await open(url);
    await execute(url, `insert into kysely_migration values ('998-later', '2099-01-01T00:00:00Z')`);
    await open(url);
    await execute(url, `insert into kysely_migration values ('999-latest', '2099-01-02T00:00:00Z')`);
    await expect(open(url)).rejects.toThrow('could not be brought up to date');
  });

  test('is opened when the server comes up while it is tried for', async () => {
    const own = await startPostgres();
    onTestFinished(() => own.stop());
    const url = await own.createDatabase();
    const restarting = own.restart({ downMs: 1000 });
    await open(url);
    await restarting;
  });

  test('is not opened when the server does not come up in time', async () => {
    const began = performance.now();
    const url = 'postgres://weir@127.0.0.1:1/weir';
    await expect(openPostgres(url, { connectTimeoutMs: 500 })).rejects.toThrow(DatabaseUnavailableError);
    expect(performance.now() - began).toBeLessThan(3000);
  });

  test('is not tried for again when it does not exist', async () => {
    const began = performance.now();
    await expect(openPostgres(`${server.url}_nowhere`)).rejects.toThrow('does not exist');
    expect(performance.now() - began).toBeLessThan(3000);
  });

  test('of another encoding than UTF8 is refused', async () => {
    await execute(server.url, `create database latin template template0 encoding 'LATIN1' locale 'C'`);
    await expect(openPostgres(new URL('/latin', server.url).href)).rejects.toThrow('UTF8');
  });

  test('is used by name, with an end to every statement and every silence in a transaction', async () => {
    const { db } = await open(await server.createDatabase(), { statementTimeoutMs: 400 });
    const settings = ['application_name', 'statement_timeout', 'idle_in_transaction_session_timeout'];
    const { rows } = await sql<{ name: string; setting: string }>`select name, setting from pg_settings
      where name in (${sql.join(settings)}) order by name`.execute(db);
    expect(rows).toEqual([
      { name: 'application_name', setting: 'weir' },
      { name: 'idle_in_transaction_session_timeout', setting: '15000' },
      { name: 'statement_timeout', setting: '400' },
    ]);
    await expect(sql`select pg_sleep(5)`.execute(db)).rejects.toThrow('statement timeout');
  });

  test('gives numbers as numbers, exactly, and texts in the order of their bytes', async () => {
    const { db } = await open(await server.createDatabase());
    const large = 2 ** 52 + 1;
    const names = ['b', 'a', 'A', 'a-b', 'ab', 'é', 'z'];
    await db
      .insertInto('blob')
      .values(names.map((name, index) => ({ digest: name as never, size: large, location: `${index}`, created_at: 0 })))
      .execute();
    const rows = await db.selectFrom('blob').select(['digest', 'size']).orderBy('digest').execute();
    expect(rows.map(({ digest }) => digest)).toEqual(['A', 'a', 'a-b', 'ab', 'b', 'z', 'é']);
    expect(rows[0]?.size).toBe(large);
    const { sum } = await db
      .selectFrom('blob')
      .select(({ fn }) => fn.sum<number>('size').as('sum'))
      .executeTakeFirstOrThrow();
    expect(sum).toBe(large * names.length);
  });

  test('is asked for names that it could not hold, and finds nothing', async () => {
    const { db } = await open(await server.createDatabase());
    expect(await new KyselyUserRecords(db).findUser('ada\0')).toBeUndefined();
  });

  test('prepares the statements that come again, and those are planned anew when a table gets a column', async () => {
    const { db } = await open(await server.createDatabase());
    const find = () => db.selectFrom('user').selectAll().where('name', '=', 'ada').executeTakeFirst();
    for (let times = 0; times < 5; times += 1) await find();
    const { rows } = await sql<{ statement: string }>`select statement from pg_prepared_statements`.execute(db);
    expect(rows.map(({ statement }) => statement)).toContain('select * from "user" where "name" = $1');
    await new KyselyUserRecords(db).addUser({ name: 'ada', passwordHash: 'x', role: 'user' });
    await sql`alter table "user" add column later text`.execute(db);
    expect(await find()).toMatchObject({ name: 'ada', later: null });
    // In a transaction as well, which is run again.
    for (let times = 0; times < 5; times += 1) await find();
    await sql`alter table "user" add column latest text`.execute(db);
    const found = await db
      .transaction()
      .execute((tx) => tx.selectFrom('user').selectAll().where('name', '=', 'ada').executeTakeFirst());
    expect(found).toMatchObject({ latest: null });
  });

  test('tells the time, whatever the clock of this machine says', async () => {
    const { db, now } = await open(await server.createDatabase());
    const { rows } = await sql<{ time: number }>`select extract(epoch from clock_timestamp()) * 1000 as time`.execute(
      db,
    );
    expect(Math.abs(now().getTime() - rows[0]!.time)).toBeLessThan(500);
  });

  test('answers a ping, or says at once that it does not', async () => {
    const own = await startPostgres();
    const { ping } = await open(await own.createDatabase());
    await ping();
    await own.stop();
    await expect(ping()).rejects.toThrow();
  });
});
