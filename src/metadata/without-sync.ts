import { SqliteAdapter, sql, type Kysely } from 'kysely';
import type { Database, Schema } from './schema.js';

/**
 * Runs one write whose loss in a power failure would harm nobody: it is visible at once to everyone, and on the disk
 * with the next commit at the latest. It spares the wait for the disk.
 */
export async function withoutSync<T>(db: Database, work: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
  if (!(db.getExecutor().adapter instanceof SqliteAdapter)) return work(db);
  return db.connection().execute(async (connection) => {
    await sql`pragma synchronous = normal`.execute(connection);
    try {
      return await work(connection);
    } finally {
      await sql`pragma synchronous = full`.execute(connection);
    }
  });
}
