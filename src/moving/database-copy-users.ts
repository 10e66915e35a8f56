import { existsSync } from 'node:fs';
import SqliteDatabase from 'better-sqlite3';

/** How long other processes are tried to be reached, in milliseconds. */
const connectTimeoutMs = 10_000;

/** Whether another process has a SQLite file open. What keeps to this process itself must be closed. */
export function isSqliteInUse(path: string): boolean {
  if (!existsSync(path)) return false;
  const probe = new SqliteDatabase(path, { timeout: 0 });
  try {
    // Everybody who has read a file with a write-ahead log keeps a lock on it that this one gets along with no more.
    probe.pragma('locking_mode = exclusive');
    probe.exec('begin exclusive; rollback');
    return false;
  } catch (error) {
    if (error instanceof SqliteDatabase.SqliteError && error.code.startsWith('SQLITE_BUSY')) return true;
    throw error;
  } finally {
    probe.close();
  }
}

/** Who uses a PostgreSQL database. */
export interface PostgresUse {
  /** Process ids of the server, one for each connection of Weir. */
  readonly pids: readonly number[];
  /** The addresses that they come from. */
  readonly addresses: readonly string[];
}

/** Connections of Weir to a PostgreSQL database. */
export async function findPostgresUse(url: string): Promise<PostgresUse> {
  const { createClient } = await import('../metadata/postgres-pool.js');
  const client = createClient({ url, connectTimeoutMs, statementTimeoutMs: connectTimeoutMs });
  await client.connect();
  try {
    const { rows } = await client.query<{ readonly pid: number; readonly address: string | null }>(
      `select pid, host(client_addr) as address from pg_stat_activity
       where datname = current_database() and application_name = current_setting('application_name')
       and pid <> pg_backend_pid() order by pid`,
    );
    return {
      pids: rows.map((row) => row.pid),
      addresses: [...new Set(rows.map((row) => row.address ?? 'this machine'))],
    };
  } finally {
    await client.end();
  }
}
