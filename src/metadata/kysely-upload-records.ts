import type { Database } from './schema.js';
import { withoutSync } from './without-sync.js';
import type { UploadRecord, UploadRecords } from './upload-records.js';

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

  async addUpload({ digestSoFar, ...upload }: UploadRecord): Promise<void> {
    const at = this.#now().getTime();
    const row = { ...upload, digest_so_far: digestSoFar, started_at: at, updated_at: at };
    // Nothing was received yet that could be lost with the session, and the first progress syncs it as well.
    await withoutSync(this.#db, (db) => db.insertInto('upload').values(row).execute());
  }

  findUpload(id: string): Promise<UploadRecord | undefined> {
    return this.#db
      .selectFrom('upload')
      .select(['id', 'repository', 'principal', 'algorithm', 'size', 'digest_so_far as digestSoFar'])
      .where('id', '=', id)
      .where('updated_at', '>', ended)
      .executeTakeFirst();
  }

  async recordProgress(upload: UploadRecord, previousSize: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('upload')
      .set({
        algorithm: upload.algorithm,
        size: upload.size,
        digest_so_far: upload.digestSoFar,
        updated_at: this.#now().getTime(),
      })
      .where('id', '=', upload.id)
      .where('size', '=', previousSize)
      .where('updated_at', '>', ended)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async endUpload(id: string): Promise<void> {
    await this.#db.updateTable('upload').set({ updated_at: ended }).where('id', '=', id).execute();
  }

  async removeUpload(id: string): Promise<void> {
    await this.#db.deleteFrom('upload').where('id', '=', id).execute();
  }

  async listStaleUploads(since: Date, limit: number): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('upload')
      .select('id')
      .where('updated_at', '<', since.getTime())
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
