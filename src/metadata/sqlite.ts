import SqliteDatabase from 'better-sqlite3';
import {
  CompiledQuery,
  Kysely,
  SqliteAdapter,
  SqliteDialect,
  SqliteDriver,
  type DatabaseConnection,
  type DialectAdapter,
  type Driver,
  type SqliteDialectConfig,
} from 'kysely';
import { LRUCache } from 'lru-cache';
import { CommitLog } from './commit-log.js';
import { offerDirectReads } from './compiled-query.js';
import { migrate } from './migrations/migrate.js';
import type { Database, Schema } from './schema.js';
import { SnapshotReads } from './snapshot-reads.js';
import { offerWithoutSync } from './without-sync.js';

/** How to open a SQLite file. */
export interface SqliteOptions {
  /** Called with the duration of each statement, in milliseconds. */
  readonly onQuery?: (durationMs: number) => void;
}

/**
 * Opens (and makes, and migrates) the SQLite file. Every commit is on the disk before its promise resolves, because what
 * it precedes is an answer to a client. The write-ahead log is synced by us and not by SQLite, which would hold up every
 * other request meanwhile: commits that come while a sync is under way share the next one.
 */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<Database> {
  const raw = new SqliteDatabase(path);
  raw.pragma('journal_mode = WAL');
  // Synced by SQLite around checkpoints only, which is what keeps the file intact.
  raw.pragma('synchronous = NORMAL');
  raw.pragma('foreign_keys = ON');
  raw.pragma('busy_timeout = 5000');
  const connection = new SqliteDatabase(path, { readonly: true });
  connection.pragma('busy_timeout = 5000');
  const reads = new SnapshotReads(connection, options.onQuery ?? (() => undefined));
  const statements = new LRUCache<string, SqliteDatabase.Statement>({ max: 500 });
  const changes = raw.prepare<[], number>('select total_changes()').pluck();
  const log = new CommitLog(`${path}-wal`, () => changes.get()!);
  const db = new Kysely<Schema>({
    dialect: new WeirSqliteDialect(
      { log, onCommit: reads.renew },
      {
        database: {
          // Preparing costs three times what a point query does, and the same few dozen texts come again and again.
          prepare: (sql) => {
            const statement = statements.get(sql) ?? raw.prepare(sql);
            statements.set(sql, statement);
            return statement;
          },
          close: () => {
            reads.close();
            raw.close();
            log.close();
          },
        },
      },
    ),
    ...(options.onQuery && { log: (event) => options.onQuery?.(event.queryDurationMillis) }),
  });
  await migrate(db, { allowsNewer: false });
  offerDirectReads(db, reads.prepare);
  offerWithoutSync(db, (write) =>
    db.connection().execute(async (connection) => {
      const result = await write(connection);
      // What was just written does not count as something to be synced.
      log.countWritten();
      reads.renew();
      return result;
    }),
  );
  return db;
}

/** What has to hear of commits. */
interface CommitListeners {
  readonly log: CommitLog;
  readonly onCommit: () => void;
}

/** SQLite with transactions that wait their turn, DDL inside of them, and commits that are synced by us. */
class WeirSqliteDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig;
  readonly #listeners: CommitListeners;

  constructor(listeners: CommitListeners, config: SqliteDialectConfig) {
    super(config);
    this.#config = config;
    this.#listeners = listeners;
  }

  override createAdapter(): DialectAdapter {
    return new TransactionalDdlAdapter();
  }

  override createDriver(): Driver {
    return new WeirSqliteDriver(this.#listeners, this.#config);
  }
}

/** Kysely holds that SQLite cannot make tables in a transaction. It can: a migration that dies half-way leaves nothing. */
class TransactionalDdlAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class WeirSqliteDriver extends SqliteDriver {
  readonly #listeners: CommitListeners;

  constructor(listeners: CommitListeners, config: SqliteDialectConfig) {
    super(config);
    this.#listeners = listeners;
  }

  /**
   * A deferred transaction that reads and then writes fails with SQLITE_BUSY when another process wrote in between,
   * whatever the busy time-out; one that takes the write lock at its beginning waits its turn.
   */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  /** On a full disk SQLite rolls back by itself, and a second time would be an error that hides the first. */
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await super.rollbackTransaction(connection);
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('no transaction is active'))) throw error;
    }
  }

  /**
   * A checkpoint of SQLite's, which a commit makes now and then, gets nowhere while somebody reads an older snapshot: it
   * would be tried again at every commit, and the log would grow.
   */
  override async acquireConnection(): Promise<DatabaseConnection> {
    this.#listeners.onCommit();
    return super.acquireConnection();
  }

  /** The next one in line gets the connection while what was committed on it is on its way to the disk. */
  override async releaseConnection(): Promise<void> {
    const { log, onCommit } = this.#listeners;
    const written = log.countWritten();
    if (written > 0) onCommit();
    await super.releaseConnection();
    if (written > 0) await log.sync();
  }
}
