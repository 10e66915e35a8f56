import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DatabaseUnavailableError, isConnectionLoss } from './postgres-errors.js';

/** How to reach a server. */
export interface PostgresAddress {
  /** As in `postgres://user:password@host:5432/database?sslmode=verify-full`. */
  readonly url: string;
  /** Milliseconds for which a connection is tried for. */
  readonly connectTimeoutMs: number;
  /** Milliseconds after which the server gives a statement up; 0: never. */
  readonly statementTimeoutMs: number;
}

/** Connections to a server, as many as are needed and no more than may be. */
export interface PostgresPoolOptions extends PostgresAddress {
  readonly size: number;
  /** Whether a commit waits for the disk. */
  readonly sync: boolean;
  /** Told of connections that broke while nobody used them. */
  readonly onError: (error: unknown) => void;
}

const firstDelayMs = 20;
const longestDelayMs = 1000;
/** Milliseconds for which a connection nobody needs is kept. */
const idleMs = 30_000;
/** A transaction of ours waits for nothing but its own statements: who is silent for this long in one is gone. */
const silentInTransactionMs = 15_000;
/** What the server gets beyond the time it gives a statement, before the client takes it for dead. */
const graceMs = 5000;

/** Whole numbers come as texts, since they may be too large for a double; ours are not. */
const numbersAsNumbers = new pg.TypeOverrides();
numbersAsNumbers.setTypeParser(pg.types.builtins.INT8, Number);
numbersAsNumbers.setTypeParser(pg.types.builtins.NUMERIC, Number);

/** Connections to a server, made anew when they break, and waited for while the server is away for some seconds. */
export class PostgresPool {
  readonly #pool: pg.Pool;
  readonly #connectTimeoutMs: number;

  constructor({ size, sync, onError, ...address }: PostgresPoolOptions) {
    this.#connectTimeoutMs = address.connectTimeoutMs;
    this.#pool = new pg.Pool({
      ...clientConfig(address, sync ? [] : ['synchronous_commit=off']),
      max: size,
      idleTimeoutMillis: idleMs,
      connectionTimeoutMillis: address.connectTimeoutMs,
    });
    this.#pool.on('error', onError);
    // Who uses a connection learns of its end from the statement; without a listener the process would end as well.
    this.#pool.on('connect', (client) => client.on('error', () => undefined));
  }

  /** @throws {DatabaseUnavailableError} */
  async connect(): Promise<pg.PoolClient> {
    const deadline = performance.now() + this.#connectTimeoutMs;
    for (let delay = firstDelayMs; ; delay = Math.min(delay * 2, longestDelayMs)) {
      try {
        return await this.#pool.connect();
      } catch (error) {
        if (!isConnectionLoss(error)) throw isTimeout(error) ? new DatabaseUnavailableError(error) : error;
        if (performance.now() + delay >= deadline) throw new DatabaseUnavailableError(error);
      }
      await sleep(delay * (0.5 + Math.random() / 2));
    }
  }

  /** Runs a statement on a connection, which is tried for only once. */
  async ping(): Promise<void> {
    await this.#pool.query('select 1');
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }
}

/** A connection apart from the pools. The caller connects and ends it. */
export function createClient(address: PostgresAddress): pg.Client {
  const client = new pg.Client({
    ...clientConfig(address, []),
    connectionTimeoutMillis: address.connectTimeoutMs,
  });
  client.on('error', () => undefined);
  return client;
}

function clientConfig({ url, statementTimeoutMs }: PostgresAddress, settings: readonly string[]): pg.ClientConfig {
  // A machine that vanished holds its locks until the server finds out.
  const all = [...settings, 'tcp_keepalives_idle=15', 'tcp_keepalives_interval=5', 'tcp_keepalives_count=3'];
  return {
    connectionString: url,
    application_name: 'weir',
    options: all.map((setting) => `-c ${setting}`).join(' '),
    keepAlive: true,
    idle_in_transaction_session_timeout: silentInTransactionMs,
    ...(statementTimeoutMs > 0 && {
      statement_timeout: statementTimeoutMs,
      query_timeout: statementTimeoutMs + graceMs,
    }),
    types: numbersAsNumbers,
  };
}

/** Whether all connections of the pool were in use for too long. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('timeout exceeded');
}
