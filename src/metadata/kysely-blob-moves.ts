import type { Digest } from '../oci/digest.js';
import type { BlobMoves } from './blob-moves.js';
import type { BlobRecord } from './blob-records.js';
import { findBlob } from './kysely-blob-records.js';
import { ended } from './kysely-upload-records.js';
import type { Database } from './schema.js';

/** BlobMoves in SQL. */
export class KyselyBlobMoves implements BlobMoves {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  listBlobs({ after, limit }: { readonly after: Digest | undefined; readonly limit: number }): Promise<BlobRecord[]> {
    let query = this.#db.selectFrom('blob').select(['digest', 'size', 'location']).orderBy('digest').limit(limit);
    if (after !== undefined) query = query.where('digest', '>', after);
    return query.execute();
  }

  findBlob(digest: Digest): Promise<BlobRecord | undefined> {
    return findBlob(this.#db, digest);
  }

  async moveBlob(
    { digest, location: from }: BlobRecord,
    { location, upload, deleteFrom }: { readonly location: string; readonly upload: string; readonly deleteFrom: Date },
  ): Promise<boolean> {
    return this.#db.transaction().execute(async (tx) => {
      // Without its session the new bytes may be deleted already.
      const session = await tx
        .selectFrom('upload')
        .select('id')
        .where('id', '=', upload)
        .where('updated_at', '>', ended)
        .executeTakeFirst();
      if (session === undefined) return false;
      const { numUpdatedRows } = await tx
        .updateTable('blob')
        .set({ location })
        .where('digest', '=', digest)
        .where('location', '=', from)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) return false;
      await tx
        .insertInto('discarded_location')
        .values({ location: from, discarded_at: deleteFrom.getTime() })
        .execute();
      await tx.deleteFrom('upload').where('id', '=', upload).execute();
      return true;
    });
  }
}
