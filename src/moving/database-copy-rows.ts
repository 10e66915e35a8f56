import { createHash } from 'node:crypto';
import { sql, type Kysely } from 'kysely';
import type { Schema } from '../metadata/schema.js';
import { copiedTables, type CopiedTable } from './database-copy-tables.js';

/** A row by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>;

/** A database whose tables are all alike. */
export type AnyDatabase = Kysely<Record<string, Record<string, unknown>>>;

/** The same database, for what is done to every table. */
export function anyDatabase(db: Kysely<Schema>): AnyDatabase {
  return db as unknown as AnyDatabase;
}

/** All rows of a table in the order of its key, page by page. */
export async function* readPages(db: AnyDatabase, table: keyof Schema): AsyncGenerator<readonly Row[]> {
  const { key, pageSize }: CopiedTable = copiedTables[table];
  let last: Row | undefined;
  for (;;) {
    let query = db.selectFrom(table).selectAll().limit(pageSize);
    for (const column of key) query = query.orderBy(column);
    if (last !== undefined) {
      const [columns, values] = [key.map((column) => sql.ref(column)), key.map((column) => last![column])];
      query = query.where(sql<boolean>`(${sql.join(columns)}) > (${sql.join(values)})`);
    }
    const page: readonly Row[] = await query.execute();
    if (page.length > 0) yield page;
    if (page.length < pageSize) return;
    last = page.at(-1);
  }
}

/** Digest of rows, the same for the same values whatever database they come from. */
export class RowsDigest {
  rows = 0;
  readonly #hash = createHash('sha256');

  update(page: readonly Row[]): void {
    this.rows += page.length;
    for (const row of page) this.#hash.update(`${textOf(row)}\n`);
  }

  /** In hex, once. */
  digest(): string {
    return this.#hash.digest('hex');
  }
}

function textOf(row: Row): string {
  const columns = Object.keys(row).sort();
  return JSON.stringify(columns.map((column) => [column, comparable(row[column])]));
}

function comparable(value: unknown): unknown {
  // As an object, so that bytes are never the same as a text.
  return Buffer.isBuffer(value) ? { bytes: value.toString('base64') } : value;
}
