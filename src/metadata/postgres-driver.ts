import { createHash } from 'node:crypto';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  type TransactionSettings,
} from 'kysely';
import { LRUCache } from 'lru-cache';
import type { PoolClient, QueryResult as PostgresResult } from 'pg';
import { CommitUnknownError, ConnectionLostError, isConnectionLoss, isUnsent } from './postgres-errors.js';
import type { PostgresPool } from './postgres-pool.js';

/** Of the advisory lock of those who write, in the database: "weir" in ASCII. */
const writersLock = 0x77656972;
/** A look-up whose connection broke is tried on so many others. */
const readRetries = 3;
/** A statement that came so often is prepared on each connection, and no more than so many are. */
const preparedAfter = 3;
const preparedAtMost = 400;

/** How a transaction stands to others. */
export type TransactionKind = 'exclusive' | 'shared' | 'reading';

/** What the settings of a transaction say of it. SQLite, where writers are one at a time, takes no notice of them. */
export function kindOfTransaction({ accessMode, isolationLevel }: TransactionSettings): TransactionKind {
  if (accessMode === 'read only') return 'reading';
  return isolationLevel === 'read committed' ? 'shared' : 'exclusive';
}

/**
 * What each kind begins with, in one round trip. Writers are one at a time, as on SQLite: the lock is taken before the first
 * look at anything and given back after the commit, so a transaction sees all that was committed before it, and the order of
 * the versions it takes is the order of the commits. Those that share the lock write rows of which no two have to be told
 * apart by what was read before, and take no version; none of them runs beside a writer that is alone.
 */
const beginnings = {
  exclusive: `begin isolation level read committed; select pg_advisory_xact_lock(${writersLock})`,
  shared: `begin isolation level read committed; select pg_advisory_xact_lock_shared(${writersLock})`,
  reading: 'begin isolation level repeatable read read only',
} as const satisfies Record<TransactionKind, string>;

/** Runs Kysely's queries on the connections of a pool. */
export class PostgresDriver implements Driver {
  readonly #pool: PostgresPool;
  readonly #names = new StatementNames();
  readonly #onDestroy: () => Promise<void>;

  /** @param onDestroy called when the pool has ended */
  constructor(pool: PostgresPool, onDestroy: () => Promise<void> = () => Promise.resolve()) {
    this.#pool = pool;
    this.#onDestroy = onDestroy;
  }

  async init(): Promise<void> {
    // Connections are made when they are needed.
  }

  async acquireConnection(): Promise<PostgresConnection> {
    return new PostgresConnection(this.#pool, this.#names, await this.#pool.connect());
  }

  async beginTransaction(connection: PostgresConnection, settings: TransactionSettings): Promise<void> {
    await connection.begin(beginnings[kindOfTransaction(settings)]);
  }

  async commitTransaction(connection: PostgresConnection): Promise<void> {
    await connection.commit();
  }

  async rollbackTransaction(connection: PostgresConnection): Promise<void> {
    await connection.rollback();
  }

  releaseConnection(connection: PostgresConnection): Promise<void> {
    connection.release();
    return Promise.resolve();
  }

  async destroy(): Promise<void> {
    await this.#pool.end();
    await this.#onDestroy();
  }
}

/** A connection for one piece of work. Outside of a transaction a look-up that broke off goes on with another one. */
class PostgresConnection implements DatabaseConnection {
  readonly #pool: PostgresPool;
  readonly #names: StatementNames;
  #client: PoolClient;
  /** What broke the connection. */
  #loss: unknown;
  #isInTransaction = false;

  constructor(pool: PostgresPool, names: StatementNames, client: PoolClient) {
    this.#pool = pool;
    this.#names = names;
    this.#client = client;
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    for (let retries = 0; ; retries += 1) {
      try {
        return await this.#execute<Row>(query);
      } catch (error) {
        const isRepeatable =
          error instanceof ConnectionLostError && !this.#isInTransaction && query.query.kind === 'SelectQueryNode';
        if (!isRepeatable || retries === readRetries) throw error;
      }
      this.#client.release(true);
      this.#client = await this.#pool.connect();
      this.#loss = undefined;
    }
  }

  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    await Promise.reject(new Error('rows are read by pages'));
  }

  async begin(sql: string): Promise<void> {
    this.#isInTransaction = true;
    try {
      await this.executeQuery(CompiledQuery.raw(sql));
    } catch (error) {
      // The first of the two statements may have been done, and nobody rolls back what has not begun.
      this.#loss ??= error;
      throw error;
    }
  }

  async commit(): Promise<void> {
    if (this.#loss !== undefined) throw new ConnectionLostError(this.#loss);
    const { command } = await this.#query('commit', []).catch((error: unknown) => {
      throw this.#loss === undefined || isUnsent(this.#loss) ? error : new CommitUnknownError(this.#loss);
    });
    this.#isInTransaction = false;
    // Somebody caught the error of a statement, after which the server only waits for the end.
    if (command !== 'COMMIT') throw new Error('the transaction was rolled back, since a statement of it had failed');
  }

  async rollback(): Promise<void> {
    // What goes wrong now would hide what went wrong before; without its connection the transaction is over as well.
    if (this.#isInTransaction && this.#loss === undefined) {
      await this.#query('rollback', []).catch((error: unknown) => (this.#loss ??= error));
    }
    this.#isInTransaction = false;
  }

  release(): void {
    this.#client.release(this.#loss !== undefined);
  }

  async #execute<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const { command, rowCount, rows } = await this.#query(sql, parameters);
    const isChange = ['INSERT', 'UPDATE', 'DELETE'].includes(command);
    return { rows: rows as Row[], ...(isChange && { numAffectedRows: BigInt(rowCount ?? 0) }) };
  }

  /** @throws {ConnectionLostError} */
  async #query(text: string, parameters: readonly unknown[]): Promise<PostgresResult> {
    const name = this.#names.nameOf(text);
    try {
      const results: PostgresResult | PostgresResult[] = await this.#client.query({
        text,
        values: parameters.map(withoutZero),
        ...(name !== undefined && { name }),
      });
      return Array.isArray(results) ? (results as PostgresResult[]).at(-1)! : results;
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
      this.#loss = error;
      throw new ConnectionLostError(error);
    }
  }
}

/** Names of the statements that come again and again: the server parses and plans those once a connection. */
class StatementNames {
  readonly #seen = new LRUCache<string, number>({ max: 1000 });
  readonly #names = new Map<string, string>();

  nameOf(text: string): string | undefined {
    const name = this.#names.get(text);
    if (name !== undefined || this.#names.size === preparedAtMost || text.startsWith('begin')) return name;
    const count = (this.#seen.get(text) ?? 0) + 1;
    this.#seen.set(text, count);
    if (count < preparedAfter) return undefined;
    this.#names.set(text, `weir_${createHash('sha256').update(text).digest('hex').slice(0, 40)}`);
    return this.#names.get(text);
  }
}

/** PostgreSQL knows no texts with a zero character. None of ours has one; who asks for one is to find nothing. */
function withoutZero(value: unknown): unknown {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value;
}
