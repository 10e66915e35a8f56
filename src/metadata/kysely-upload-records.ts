import type { Expression, ExpressionBuilder, Kysely, Selectable, SqlBool } from 'kysely';
import { isSqlite } from './dialect.js';
import type { Database, Schema, UploadTable } from './schema.js';
import type { HeldUpload, UploadRecord, UploadRecords, UploadTurn } from './upload-records.js';
import { withoutSync } from './without-sync.js';

/** When a session was last touched that nobody may go on with. */
export const ended = 0;

/** UploadRecords in SQL. */
export class KyselyUploadRecords implements UploadRecords {
  readonly #db: Database;
  readonly #now: () => Date;

  constructor(db: Database, now: () => Date = () => new Date()) {
    this.#db = db;
    this.#now = now;
  }

  async addUpload({ id, repository, principal, ...upload }: UploadRecord, turn?: UploadTurn): Promise<void> {
    const at = this.#now().getTime();
    const row = {
      ...{ id, repository, principal, ...progressColumns(upload) },
      ...{ started_at: at, updated_at: at },
      ...turnColumns(turn),
    };
    const insert = (db: Kysely<Schema>) => db.insertInto('upload').values(row).execute();
    // On this machine nothing was received yet that could be lost with the session, and the first progress syncs it as well. A
    // database elsewhere may fail alone, and clients would miss a session that they were told of.
    if (isSqlite(this.#db)) await withoutSync(this.#db, insert);
    else await insert(this.#db);
  }

  async findUpload(id: string): Promise<UploadRecord | undefined> {
    const row = await this.#db
      .selectFrom('upload')
      .selectAll()
      .where('id', '=', id)
      .where('updated_at', '>', ended)
      .executeTakeFirst();
    return row && toUpload(row);
  }

  async holdUpload(id: string, turn: UploadTurn, insteadOf?: string): Promise<HeldUpload | undefined> {
    const free = await this.#hold(id, turn, (each) =>
      each.or([each('holder', 'is', null), each('holder', '=', turn.holder)]),
    );
    if (free !== undefined) return { upload: free, isTakenOver: false };
    const late = await this.#hold(id, turn, (each) => {
      const isLate = each('held_until', '<=', this.#now().getTime());
      return insteadOf === undefined ? isLate : each.or([isLate, each('holder', '=', insteadOf)]);
    });
    if (late !== undefined) return { upload: late, isTakenOver: true };
    const row = await this.#db
      .selectFrom('upload')
      .select('holder')
      .where('id', '=', id)
      .where('updated_at', '>', ended)
      .executeTakeFirst();
    return row && { heldBy: row.holder ?? '' };
  }

  async #hold(
    id: string,
    turn: UploadTurn,
    isFree: (each: ExpressionBuilder<Schema, 'upload'>) => Expression<SqlBool>,
  ): Promise<UploadRecord | undefined> {
    // Should the machine fail, nobody has a turn any more.
    const row = await withoutSync(this.#db, (db) =>
      db
        .updateTable('upload')
        .set(turnColumns(turn))
        .where('id', '=', id)
        .where('updated_at', '>', ended)
        .where(isFree)
        .returningAll()
        .executeTakeFirst(),
    );
    return row && toUpload(row);
  }

  async releaseUpload(id: string, holder: string): Promise<void> {
    await withoutSync(this.#db, (db) =>
      db.updateTable('upload').set(turnColumns(undefined)).where('id', '=', id).where('holder', '=', holder).execute(),
    );
  }

  async findHolder(id: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom('upload')
      .select('holder')
      .where('id', '=', id)
      .where('held_until', '>', this.#now().getTime())
      .executeTakeFirst();
    return row?.holder ?? undefined;
  }

  async recordProgress(upload: UploadRecord, previousSize: number, holder: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('upload')
      .set({ ...progressColumns(upload), ...turnColumns(undefined), updated_at: this.#now().getTime() })
      .where('id', '=', upload.id)
      .where('size', '=', previousSize)
      .where('holder', '=', holder)
      .where('updated_at', '>', ended)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async endUpload(id: string): Promise<UploadRecord | undefined> {
    const row = await this.#db
      .updateTable('upload')
      .set({ updated_at: ended, ...turnColumns(undefined) })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirst();
    return row && toUpload(row);
  }

  async removeUpload(id: string): Promise<void> {
    await this.#db.deleteFrom('upload').where('id', '=', id).execute();
  }

  async listStaleUploads(since: Date, limit: number): Promise<string[]> {
    const now = this.#now().getTime();
    const rows = await this.#db
      .selectFrom('upload')
      .select('id')
      .where('updated_at', '<', since.getTime())
      .where((each) => each.or([each('held_until', 'is', null), each('held_until', '<=', now)]))
      .orderBy('updated_at')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id);
  }

  async countUploads(): Promise<number> {
    const row = await this.#db
      .selectFrom('upload')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return row.count;
  }
}

function progressColumns(upload: Omit<UploadRecord, 'id' | 'repository' | 'principal'>) {
  return {
    algorithm: upload.algorithm,
    size: upload.size,
    digest_so_far: upload.digestSoFar,
    store_state: upload.state ?? null,
    hash_state: upload.hashState ?? null,
  };
}

function turnColumns(turn: UploadTurn | undefined) {
  return { holder: turn?.holder ?? null, held_until: turn?.until.getTime() ?? null };
}

function toUpload(row: Selectable<UploadTable>): UploadRecord {
  const { id, repository, principal, algorithm, size, digest_so_far: digestSoFar, store_state, hash_state } = row;
  return {
    ...{ id, repository, principal, algorithm, size, digestSoFar },
    state: store_state ?? undefined,
    hashState: hash_state ?? undefined,
  };
}
