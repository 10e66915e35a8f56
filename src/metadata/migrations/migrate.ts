import { Migrator, sql, type Kysely, type Migration } from 'kysely';
import { migrations } from './index.js';

/**
 * Brings a database up to date, one process at a time.
 *
 * @param allowsNewer whether a database is taken that was migrated once more than is known here: while processes are replaced
 *   one by one, an old one may start after a new one. A migration must leave what the version before it can work with.
 */
export async function migrate<Tables>(
  db: Kysely<Tables>,
  { allowsNewer }: { readonly allowsNewer: boolean },
): Promise<void> {
  const getMigrations = async (): Promise<Record<string, Migration>> => ({
    ...migrations,
    ...(allowsNewer && (await newerMigrations(db))),
  });
  const { error, results } = await new Migrator({ db, provider: { getMigrations } }).migrateToLatest();
  if (error === undefined) return;
  const failed = results?.find((result) => result.status === 'Error')?.migrationName;
  throw new Error(`the database could not be brought up to date${failed === undefined ? '' : ` (${failed})`}`, {
    cause: error,
  });
}

/** What is done already and comes next after all that is known. Asked on a second connection, while the first has the lock. */
async function newerMigrations<Tables>(db: Kysely<Tables>): Promise<Record<string, Migration>> {
  const last = Object.keys(migrations).sort().at(-1)!;
  const { rows } = await sql<{ readonly name: string }>`select name from kysely_migration`.execute(db);
  const newer = rows.map(({ name }) => name).filter((name) => name > last);
  if (newer.length > 1) throw new Error(`it belongs to a version of Weir that is newer by ${newer.length} migrations`);
  return Object.fromEntries(newer.map((name) => [name, { up: () => Promise.resolve() }]));
}
