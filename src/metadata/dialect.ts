import { SqliteAdapter, type Kysely } from 'kysely';

/** Whether a database is SQLite; else it is PostgreSQL. For the little SQL that the two do not share. */
export function isSqlite(db: Pick<Kysely<unknown>, 'getExecutor'>): boolean {
  return db.getExecutor().adapter instanceof SqliteAdapter;
}
