import { CompiledQuery, type KyselyConfig } from 'kysely';
import { DatabaseClock } from './database-clock.js';
import { migrate } from './migrations/migrate.js';
import { changeChannel } from './migrations/change-notify.js';
import type { OpenedDatabase } from './opened-database.js';
import { WeirPostgresDialect } from './postgres-dialect.js';
import { PostgresDriver } from './postgres-driver.js';
import { PostgresListener } from './postgres-listener.js';
import { createClient, PostgresPool, type PostgresAddress } from './postgres-pool.js';
import { RepeatingKysely } from './postgres-transactions.js';
import type { Database, Schema } from './schema.js';
import { offerWithoutSync } from './without-sync.js';

/** How to use a PostgreSQL database. */
export interface PostgresOptions {
  /** Called with the duration of each statement, in milliseconds. */
  readonly onQuery?: (durationMs: number) => void;
  /** Connections at most, 20 by default; there is one more that listens. */
  readonly poolSize?: number;
  /** Milliseconds for which a connection is tried for, 10,000 by default: a server that starts again is waited for. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds after which a statement is given up, 30,000 by default. */
  readonly statementTimeoutMs?: number;
  /** Told of connections that broke while nobody waited for them. */
  readonly onConnectionError?: (error: unknown) => void;
}

/** Every commit is heard of; this is for those whose message was lost. */
const pollMs = 1000;
/** As the server says it. */
const oldestVersion = 150_000;
/** How often the clock is looked at. */
const beatMs = 15_000;

/**
 * Opens a PostgreSQL database (15 or newer, encoding UTF8), and migrates it: one process at a time, and writers wait meanwhile.
 *
 * @throws {DatabaseUnavailableError} when it does not answer
 */
export async function openPostgres(url: string, options: PostgresOptions = {}): Promise<OpenedDatabase> {
  const { poolSize = 20, connectTimeoutMs = 10_000, statementTimeoutMs = 30_000, onQuery } = options;
  const address: PostgresAddress = { url, connectTimeoutMs, statementTimeoutMs };
  const onError = options.onConnectionError ?? (() => undefined);
  const clock = new DatabaseClock();

  // What a migration does may take as long as it takes.
  const migrating = kyselyOn(new PostgresPool({ ...address, statementTimeoutMs: 0, size: 2, sync: true, onError }), 2);
  try {
    await checkServer(migrating);
    await migrate(migrating, { allowsNewer: true });
  } finally {
    await migrating.destroy();
  }

  const listener = new PostgresListener({
    createClient: () => createClient(address),
    channel: changeChannel,
    onBeat: (client) => clock.look(async () => timeOf((await client.query<TimeRow>(readTime)).rows)),
    beatMs,
    onError,
  });
  const [unsyncedSize, size] = [Math.max(1, Math.floor(poolSize / 4)), Math.max(1, Math.ceil((poolSize * 3) / 4))];
  const unsynced = new PostgresPool({ ...address, size: unsyncedSize, sync: false, onError });
  const unsyncedDb = kyselyOn(unsynced, unsyncedSize, onQuery);
  const pool = new PostgresPool({ ...address, size, sync: true, onError });
  const db = kyselyOn(pool, size, onQuery, async () => {
    await Promise.all([unsyncedDb.destroy(), listener.close()]);
  });
  offerWithoutSync(db, (write) => write(unsyncedDb));
  await clock.look(async () => timeOf((await db.executeQuery<TimeRow>(CompiledQuery.raw(readTime))).rows));
  listener.start();
  return {
    db,
    now: clock.now,
    onChange: (each) => {
      listener.add(each);
    },
    pollMs,
    ping: () => pool.ping(),
  };
}

const readTime = 'select extract(epoch from clock_timestamp()) * 1000 as time';

interface TimeRow {
  readonly time: number;
}

function timeOf(rows: readonly TimeRow[]): number {
  return rows[0]!.time;
}

function kyselyOn(
  pool: PostgresPool,
  size: number,
  onQuery?: (durationMs: number) => void,
  onDestroy?: () => Promise<void>,
): Database {
  const config: KyselyConfig = {
    dialect: new WeirPostgresDialect(() => new PostgresDriver(pool, onDestroy)),
    ...(onQuery && {
      log: (event) => {
        onQuery(event.queryDurationMillis);
      },
    }),
  };
  return new RepeatingKysely<Schema>(config, size);
}

/** @throws what is wrong with the server or the database */
async function checkServer(db: Database): Promise<void> {
  const query = CompiledQuery.raw(
    `select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding`,
  );
  const { rows } = await db.executeQuery<{ readonly version: number; readonly encoding: string }>(query);
  const { version, encoding } = rows[0]!;
  if (version < oldestVersion) throw new Error('PostgreSQL must be of version 15 or newer');
  if (encoding !== 'UTF8') throw new Error(`the database must be made with encoding UTF8; it has ${encoding}`);
}
