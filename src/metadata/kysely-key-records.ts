import type { Selectable } from 'kysely';
import {
  UnreadableKeyError,
  type KeyPurpose,
  type KeyRecord,
  type KeyRecords,
  type KeySeal,
  type NewKey,
} from './key-records.js';
import type { Database, KeyTable } from './schema.js';

type KeyRow = Selectable<KeyTable>;

/** KeyRecords in SQL, encrypted before they reach the database. */
export class KyselyKeyRecords implements KeyRecords {
  readonly #db: Database;
  readonly #seal: KeySeal;

  constructor(db: Database, seal: KeySeal) {
    this.#db = db;
    this.#seal = seal;
  }

  async list(purpose: KeyPurpose): Promise<readonly KeyRecord[]> {
    const rows = await this.#db
      .selectFrom('key')
      .select(['id', 'created_at'])
      .where('purpose', '=', purpose)
      .orderBy('created_at', 'desc')
      .orderBy('id')
      .execute();
    return rows.map((row) => ({ id: row.id, createdAt: new Date(row.created_at) }));
  }

  async find(purpose: KeyPurpose, id: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom('key')
      .select(['purpose', 'id', 'sealed'])
      .where('purpose', '=', purpose)
      .where('id', '=', id)
      .executeTakeFirst();
    return row && this.#open(row);
  }

  async add(purpose: KeyPurpose, key: NewKey): Promise<void> {
    await this.#db
      .insertInto('key')
      .values(this.#toRow(purpose, key))
      .onConflict((conflict) => conflict.columns(['purpose', 'id']).doNothing())
      .execute();
  }

  async addFirst(purpose: KeyPurpose, keys: readonly NewKey[]): Promise<boolean> {
    return this.#db.transaction().execute(async (tx) => {
      const existing = await tx.selectFrom('key').select('id').where('purpose', '=', purpose).executeTakeFirst();
      if (existing !== undefined) return false;
      await tx
        .insertInto('key')
        .values(keys.map((key) => this.#toRow(purpose, key)))
        .execute();
      return true;
    });
  }

  async remove(purpose: KeyPurpose, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#db.deleteFrom('key').where('purpose', '=', purpose).where('id', 'in', ids).execute();
  }

  async reseal(): Promise<number> {
    let count = 0;
    for (const row of await this.#db.selectFrom('key').selectAll().execute()) {
      if (this.#seal.isPresent(parseSealed(row.sealed))) continue;
      await this.#db
        .updateTable('key')
        .set({ sealed: this.#sealText(this.#open(row), row.purpose, row.id) })
        .where('purpose', '=', row.purpose)
        .where('id', '=', row.id)
        .where('sealed', '=', row.sealed)
        .execute();
      count += 1;
    }
    return count;
  }

  async listUnreadable(): Promise<readonly { readonly purpose: KeyPurpose; readonly id: string }[]> {
    const rows = await this.#db.selectFrom('key').selectAll().orderBy('purpose').orderBy('id').execute();
    return rows
      .filter((row) => !this.#isReadable(row))
      .map(({ purpose, id }) => ({ purpose: purpose as KeyPurpose, id }));
  }

  #isReadable(row: KeyRow): boolean {
    try {
      this.#open(row);
      return true;
    } catch (error) {
      if (error instanceof UnreadableKeyError) return false;
      throw error;
    }
  }

  #toRow(purpose: KeyPurpose, { id, createdAt, text }: NewKey): KeyRow {
    return { purpose, id, sealed: this.#sealText(text, purpose, id), created_at: createdAt.getTime() };
  }

  #sealText(text: string, purpose: string, id: string): string {
    return JSON.stringify(this.#seal.seal(text, placeOf(purpose, id)));
  }

  #open({ purpose, id, sealed }: Omit<KeyRow, 'created_at'>): string {
    try {
      return this.#seal.open(parseSealed(sealed), placeOf(purpose, id));
    } catch (error) {
      throw new UnreadableKeyError(purpose as KeyPurpose, id, error);
    }
  }
}

/** A key under another id, or for another purpose, is not what was sealed. */
function placeOf(purpose: string, id: string): string {
  return `key ${purpose}/${id}`;
}

function parseSealed(sealed: string): { readonly key: string; readonly text: string } {
  return JSON.parse(sealed) as { readonly key: string; readonly text: string };
}
