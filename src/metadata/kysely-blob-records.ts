import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { BlobRecord, BlobRecords, LinkedBlob, UnlinkResult } from './blob-records.js';
import { compileQuery, type RunQuery } from './compiled-query.js';
import { findRepositoryId, unlinkBlob } from './repository-rows.js';
import type { Database, Schema } from './schema.js';
import { afterLeftovers } from './stream-rows.js';
import { StreamWriter } from './stream-writer.js';

/** BlobRecords in SQL. */
export class KyselyBlobRecords implements BlobRecords {
  readonly #db: Database;
  readonly #now: () => Date;

  readonly #findLinked: RunQuery<
    BlobRecord & { readonly collectAt: number | null },
    { readonly repository: RepositoryName; readonly digest: Digest }
  >;

  constructor(db: Database, now: () => Date = () => new Date()) {
    this.#db = db;
    this.#now = now;
    this.#findLinked = compileQuery(db, (parameter) =>
      db
        .selectFrom('repository')
        .innerJoin('repository_blob', 'repository_blob.repository_id', 'repository.id')
        .innerJoin('blob', 'blob.digest', 'repository_blob.digest')
        .select(['blob.digest', 'blob.size', 'blob.location', 'repository_blob.collect_at as collectAt'])
        .where('repository.name', '=', parameter('repository'))
        .where('repository_blob.digest', '=', parameter('digest')),
    );
  }

  async findLinkedBlob(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | undefined> {
    const row = await this.#findLinked({ repository, digest });
    if (row === undefined) return undefined;
    const { collectAt, ...blob } = row;
    return { ...blob, collectAt: collectAt === null ? undefined : new Date(collectAt) };
  }

  async listRepositoriesWithBlob(
    digest: Digest,
    { last, limit }: { readonly last: string | undefined; readonly limit: number },
  ): Promise<RepositoryName[]> {
    let query = this.#db
      .selectFrom('repository_blob')
      .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
      .select('repository.name')
      .where('repository_blob.digest', '=', digest)
      .orderBy('repository.name')
      .limit(limit);
    if (last !== undefined) query = query.where('repository.name', '>', last as RepositoryName);
    return (await query.execute()).map((row) => row.name);
  }

  async linkBlob(repository: RepositoryName, digest: Digest, collectAt: Date): Promise<BlobRecord | undefined> {
    // Most uploads are of new content: they need not wait for the write lock to learn that.
    if ((await findBlob(this.#db, digest)) === undefined) return undefined;
    return this.#write(repository, async (tx, repositoryId) => {
      const blob = await findBlob(tx, digest);
      if (blob !== undefined) await this.#link(tx, await repositoryId(), digest, collectAt);
      return blob;
    });
  }

  async addBlob(repository: RepositoryName, blob: BlobRecord, upload: string, collectAt: Date): Promise<BlobRecord> {
    return this.#write(repository, async (tx, repositoryId) => {
      await tx
        .insertInto('blob')
        .values({ ...blob, created_at: this.#now().getTime() })
        .onConflict((conflict) => conflict.column('digest').doNothing())
        .execute();
      await this.#link(tx, await repositoryId(), blob.digest, collectAt);
      const kept = (await findBlob(tx, blob.digest))!;
      if (kept.location === blob.location) await removeUpload(tx, upload);
      return kept;
    });
  }

  /**
   * One transaction on the blobs of a repository, which is made when its id is asked for. Where it is there already nothing
   * takes a version, and many may add and link blobs at a time: whoever comes second finds the rows of the first. Those who
   * take blobs away do so alone.
   */
  async #write<Result>(
    repository: RepositoryName,
    work: (tx: Transaction<Schema>, repositoryId: () => Promise<number>) => Promise<Result>,
  ): Promise<Result> {
    const beside = this.#db.transaction().setIsolationLevel('read committed');
    const done = await beside.execute(async (tx) => {
      const id = await findRepositoryId(tx, repository);
      return id === undefined ? undefined : { result: await work(tx, () => Promise.resolve(id)) };
    });
    if (done !== undefined) return done.result;
    return this.#db.transaction().execute((tx) =>
      work(tx, async () => {
        const writer = new StreamWriter(tx, this.#now());
        const { id } = await writer.ensure(repository);
        await writer.finish();
        return id;
      }),
    );
  }

  async #link(tx: Transaction<Schema>, repositoryId: number, digest: Digest, collectAt: Date): Promise<void> {
    const times = { linked_at: this.#now().getTime(), collect_at: collectAt.getTime() };
    await tx
      .insertInto('repository_blob')
      .values({ repository_id: repositoryId, digest, ...times })
      .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doUpdateSet(times))
      .execute();
  }

  async relocateBlob(digest: Digest, location: string, upload: string): Promise<void> {
    await this.#db.transaction().execute(async (tx) => {
      await tx.updateTable('blob').set({ location }).where('digest', '=', digest).execute();
      await removeUpload(tx, upload);
    });
  }

  async unlinkBlob(repository: RepositoryName, digest: Digest): Promise<UnlinkResult> {
    return this.#db.transaction().execute(async (tx) => {
      const repositoryId = await findRepositoryId(tx, repository);
      if (repositoryId === undefined) return { kind: 'absent' };
      const by = await findReferrer(tx, repositoryId, digest);
      if (by !== undefined) return { kind: 'referenced', by };
      const at = this.#now().getTime();
      return { kind: (await unlinkBlob(tx, repositoryId, digest, at)) ? 'unlinked' : 'absent' };
    });
  }

  async unlinkEverywhere(digest: Digest): Promise<UnlinkResult> {
    return this.#db.transaction().execute(async (tx) => {
      const blob = await findBlob(tx, digest);
      if (blob === undefined) return { kind: 'absent' };
      const by = await findReferrerAnywhere(tx, digest);
      if (by !== undefined) return { kind: 'referenced', by };
      await tx.deleteFrom('repository_blob').where('digest', '=', digest).execute();
      await tx.deleteFrom('blob').where('digest', '=', digest).execute();
      await tx
        .insertInto('discarded_location')
        .values({ location: blob.location, discarded_at: this.#now().getTime() })
        .execute();
      return { kind: 'unlinked' };
    });
  }

  async postponeCollection(repository: RepositoryName, digest: Digest, collectAt: Date): Promise<void> {
    await this.#db
      .updateTable('repository_blob')
      .set({ collect_at: collectAt.getTime() })
      .where('repository_id', '=', (query) =>
        query.selectFrom('repository').select('id').where('name', '=', repository),
      )
      .where('digest', '=', digest)
      .where('collect_at', 'is not', null)
      .execute();
  }

  async collectLinks(now: Date, limit: number): Promise<number> {
    const due = await this.#db
      .selectFrom('repository_blob')
      .select(['repository_id', 'digest'])
      .where('collect_at', '<=', now.getTime())
      .orderBy('collect_at')
      .limit(limit)
      .execute();
    for (const { repository_id: repositoryId, digest } of due) {
      await this.#db.transaction().execute(async (tx) => {
        // A push may have put it off since it was listed.
        const { numUpdatedRows } = await tx
          .updateTable('repository_blob')
          .set({ collect_at: null })
          .where('repository_id', '=', repositoryId)
          .where('digest', '=', digest)
          .where('collect_at', '<=', now.getTime())
          .executeTakeFirst();
        if (numUpdatedRows === 0n || (await findReferrer(tx, repositoryId, digest)) !== undefined) return;
        await unlinkBlob(tx, repositoryId, digest, this.#now().getTime());
      });
    }
    return due.length;
  }

  async listDiscardedLocations(limit: number): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('discarded_location')
      .select('location')
      .where('discarded_at', '<=', this.#now().getTime())
      .limit(limit)
      .execute();
    return rows.map((row) => row.location);
  }

  async forgetDiscardedLocation(location: string): Promise<void> {
    await this.#db.deleteFrom('discarded_location').where('location', '=', location).execute();
  }

  async countBlobs(): Promise<number> {
    const row = await this.#db
      .selectFrom('blob')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return row.count;
  }
}

/** The blob as it is recorded, whoever links it. */
export function findBlob(db: Kysely<Schema>, digest: Digest): Promise<BlobRecord | undefined> {
  return db.selectFrom('blob').select(['digest', 'size', 'location']).where('digest', '=', digest).executeTakeFirst();
}

/** An image of the repository that refers to the blob. */
async function findReferrer(
  tx: Transaction<Schema>,
  repositoryId: number,
  digest: Digest,
): Promise<Digest | undefined> {
  const row = await tx
    .selectFrom('image_reference')
    .innerJoin('repository_image', 'repository_image.image', 'image_reference.image')
    .select('image_reference.image')
    .where('image_reference.target', '=', digest)
    .where('repository_image.repository_id', '=', repositoryId)
    .limit(1)
    .executeTakeFirst();
  return row?.image;
}

/** An image that refers to the blob, of a repository that is not removed. */
async function findReferrerAnywhere(tx: Transaction<Schema>, digest: Digest): Promise<Digest | undefined> {
  const row = await tx
    .selectFrom('image_reference')
    .innerJoin('repository_image', 'repository_image.image', 'image_reference.image')
    .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
    .select('image_reference.image')
    .where('image_reference.target', '=', digest)
    .where('repository.name', '>=', afterLeftovers)
    .limit(1)
    .executeTakeFirst();
  return row?.image;
}

async function removeUpload(tx: Transaction<Schema>, id: string): Promise<void> {
  await tx.deleteFrom('upload').where('id', '=', id).execute();
}
