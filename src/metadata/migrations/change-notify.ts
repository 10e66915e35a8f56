import { SqliteAdapter, type Kysely } from 'kysely';

/** On PostgreSQL every commit that takes a version says so on a channel; on SQLite processes look for themselves. */
export async function notifyChanges(db: Kysely<unknown>): Promise<void> {
  if (db.getExecutor().adapter instanceof SqliteAdapter) return;
}
