import { sql, type Transaction } from 'kysely';
import { isSqlite } from '../metadata/dialect.js';
import type { Database, Schema } from '../metadata/schema.js';
import { anyDatabase, readPages, RowsDigest, type AnyDatabase, type Row } from './database-copy-rows.js';
import { copiedTableNames, copiedTables, type CopiedTable } from './database-copy-tables.js';

/** A database that cannot be copied, or copied to, as it is; the message says what to do. */
export class DatabaseCopyError extends Error {
  override readonly name = 'DatabaseCopyError';
}

/** What was copied of a table, and was read again from where it is now. */
export interface CopiedRows {
  readonly table: string;
  readonly rows: number;
  /** SHA-256 in hex of all rows in the order of the key, the same on both sides. */
  readonly digest: string;
  /** Texts with a zero character, which PostgreSQL does not take: U+FFFD is in its place. */
  readonly changedTexts: number;
}

/** How far a copy is. */
export interface CopyProgress {
  readonly table: string;
  readonly step: 'copy' | 'compare';
  /** Of all tables; each row counts once for each step. */
  readonly done: number;
  readonly total: number;
}

/** How to copy. */
export interface DatabaseCopyOptions {
  readonly onProgress?: (progress: CopyProgress) => void;
  /** The last thing before the copy is committed; what it throws undoes all. */
  readonly beforeCommit?: () => Promise<void>;
}

/**
 * Copies all tables into an empty database, and compares the two row by row. Nobody writes into the source meanwhile. All of it
 * is one transaction of the target: there is a whole copy that was found to be the same, or none.
 *
 * @throws {DatabaseCopyError} when the target has rows, the two have different tables, or they differ in the end
 */
export async function copyDatabase(
  source: Database,
  target: Database,
  { onProgress = () => undefined, beforeCommit }: DatabaseCopyOptions = {},
): Promise<readonly CopiedRows[]> {
  await requireSameMigrations(source, target);
  await requireTwoDatabases(source, target);
  return withoutWriters(source, (from) =>
    target.transaction().execute(async (to) => {
      await waitForEver(to);
      await requireEmpty(to);
      const copy = new Copy(from, anyDatabase(to), await countRows(from), onProgress);
      const copied: CopiedRows[] = [];
      for (const table of copiedTableNames) copied.push(await copy.copyTable(table));
      for (const each of copied) await copy.compareTable(each);
      if (!isSqlite(to)) await settle(to);
      await beforeCommit?.();
      return copied;
    }),
  );
}

/** Tables on their way. */
class Copy {
  readonly #from: AnyDatabase;
  readonly #to: AnyDatabase;
  readonly #total: number;
  readonly #onProgress: (progress: CopyProgress) => void;
  #done = 0;

  constructor(from: AnyDatabase, to: AnyDatabase, rows: number, onProgress: (progress: CopyProgress) => void) {
    this.#from = from;
    this.#to = to;
    this.#total = rows * 2;
    this.#onProgress = onProgress;
  }

  async copyTable(table: keyof Schema): Promise<CopiedRows> {
    const digest = new RowsDigest();
    const takesZero = isSqlite(this.#to);
    let changedTexts = 0;
    for await (const page of readPages(this.#from, table)) {
      const rows = takesZero ? page : page.map(withoutZero);
      changedTexts += rows.filter((row, index) => row !== page[index]).length;
      await this.#to.insertInto(table).values(rows).execute();
      digest.update(rows);
      this.#tell(table, 'copy', page.length);
    }
    return { table, rows: digest.rows, digest: digest.digest(), changedTexts };
  }

  async compareTable({ table, rows, digest: expected }: CopiedRows): Promise<void> {
    const digest = new RowsDigest();
    for await (const page of readPages(this.#to, table as keyof Schema)) {
      digest.update(page);
      this.#tell(table, 'compare', page.length);
    }
    const actual = digest.digest();
    if (digest.rows === rows && actual === expected) return;
    throw new DatabaseCopyError(
      `table ${table} is not the same on both sides (${rows} rows of digest ${expected} became ${digest.rows} of ` +
        `${actual}): nothing was copied`,
    );
  }

  #tell(table: string, step: CopyProgress['step'], rows: number): void {
    this.#done += rows;
    this.#onProgress({ table, step, done: this.#done, total: this.#total });
  }
}

/** @returns the same row when there is nothing to change */
function withoutZero(row: Row): Row {
  const changed = Object.entries(row).filter(([, value]) => typeof value === 'string' && value.includes('\0'));
  if (changed.length === 0) return row;
  return {
    ...row,
    ...Object.fromEntries(changed.map(([column, text]) => [column, String(text).replaceAll('\0', '\uFFFD')])),
  };
}

/**
 * Lets a database be read while nobody writes into it. Who writes takes a lock: on SQLite the one of the file, on PostgreSQL that
 * of the writers, beside which a snapshot is read that also holds what is written without it still.
 */
async function withoutWriters<Result>(db: Database, read: (db: AnyDatabase) => Promise<Result>): Promise<Result> {
  return db.transaction().execute(async (tx) => {
    if (isSqlite(db)) return read(anyDatabase(tx));
    await waitForEver(tx);
    return db
      .transaction()
      .setAccessMode('read only')
      .execute(async (snapshot) => {
        await waitForEver(snapshot);
        return read(anyDatabase(snapshot));
      });
  });
}

/** A transaction waits for the other database, longer than one that does its own work would. */
async function waitForEver(tx: Transaction<Schema>): Promise<void> {
  if (!isSqlite(tx)) await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx);
}

async function requireSameMigrations(source: Database, target: Database): Promise<void> {
  const [here, there] = await Promise.all([source, target].map(async (db) => (await migrationsOf(db)).join(', ')));
  if (here === there) return;
  throw new DatabaseCopyError(
    `the databases belong to different versions of Weir (${here}; ${there}): use the newer one for this command`,
  );
}

async function migrationsOf(db: Database): Promise<string[]> {
  const { rows } = await sql<{ readonly name: string }>`select name from kysely_migration order by name`.execute(db);
  return rows.map((row) => row.name);
}

/** The same one twice would wait for its own lock. */
async function requireTwoDatabases(source: Database, target: Database): Promise<void> {
  if (isSqlite(source) || isSqlite(target)) return;
  const [here, there] = await Promise.all([source, target].map(identityOf));
  if (here === there) throw new DatabaseCopyError('this is the database that is to be moved: name another one');
}

async function identityOf(db: Database): Promise<string> {
  const query = sql<{ readonly identity: string }>`
    select concat_ws(' ', pg_postmaster_start_time(), oid) as identity
    from pg_database where datname = current_database()`;
  return (await query.execute(db)).rows[0]!.identity;
}

/** Takes away what the migrations put into it. */
async function requireEmpty(to: Transaction<Schema>): Promise<void> {
  const db = anyDatabase(to);
  const filled: string[] = [];
  for (const table of copiedTableNames) {
    let query = db
      .selectFrom(table)
      .select(sql<number>`1`.as('one'))
      .limit(1);
    // They begin with nothing given and nothing forgotten.
    if (table === 'sequence') query = query.where('value', '>', 0);
    if ((await query.executeTakeFirst()) !== undefined) filled.push(table);
  }
  if (filled.length > 0) throw new DatabaseCopyError(`it has rows already, in ${filled.join(', ')}`);
  await to.deleteFrom('sequence').execute();
}

async function countRows(db: AnyDatabase): Promise<number> {
  let rows = 0;
  for (const table of copiedTableNames) {
    const { count } = await db
      .selectFrom(table)
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    rows += count;
  }
  return rows;
}

/** What PostgreSQL has to know of rows that brought their numbers with them. */
async function settle(to: Transaction<Schema>): Promise<void> {
  for (const table of copiedTableNames) {
    const { counted }: CopiedTable = copiedTables[table];
    if (counted !== undefined) {
      await sql`select setval(pg_get_serial_sequence(${sql.lit(`"${table}"`)}, ${sql.lit(counted)}),
        coalesce(max(${sql.ref(counted)}), 1), max(${sql.ref(counted)}) is not null) from ${sql.table(table)}`.execute(
        to,
      );
    }
    await sql`analyze ${sql.table(table)}`.execute(to);
  }
}
