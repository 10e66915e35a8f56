import { sql, type Kysely } from 'kysely';
import { isSqlite } from '../dialect.js';

/** Where PostgreSQL tells that somebody committed lines of the change log. */
export const changeChannel = 'weir_change';

/** On PostgreSQL every commit that takes a version says so on a channel; on SQLite processes look for themselves. */
export async function notifyChanges(db: Kysely<unknown>): Promise<void> {
  if (isSqlite(db)) return;
  await sql`create function ${sql.id(changeChannel)}() returns trigger language plpgsql as $$
    begin
      perform pg_notify(${sql.lit(changeChannel)}, '');
      return null;
    end $$`.execute(db);
  await sql`create trigger ${sql.id(changeChannel)} after update on sequence
    for each statement execute function ${sql.id(changeChannel)}()`.execute(db);
}
