import { sql, type Kysely, type Selectable, type Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { ImageSummary } from '../oci/image-config.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { inBatches } from './batches.js';
import { nextVersion } from './change-log.js';
import { appendImageChange, imageUidOf, insertImage, insertSummary } from './image-rows.js';
import { areWithinLimits, hasSignature, type StoredSignature } from './image-signatures.js';
import type {
  ImageNeed,
  ImagePage,
  ImageRecord,
  ImageRemoval,
  ImageRemovalOptions,
  ImageReplacement,
  ImageStore,
  ImageSummaryRecords,
  ImageWords,
  NewImage,
} from './image-store.js';
import { dropImageIfUnlinked } from './repository-rows.js';
import type { Database, ImageTable, Schema } from './schema.js';
import { afterLeftovers } from './stream-rows.js';
import type { OwnMetadata } from './stream-store.js';
import { StreamWriter } from './stream-writer.js';

/** Of a page: an image may have a manifest of 4 MiB, a config of 8 MiB and signatures of 3 MiB. */
const pageBytes = 16 * 1024 * 1024;
/** Repositories that an image is removed from in one transaction. */
const linksAtOnce = 100;

type ImageHead = Pick<Selectable<ImageTable>, 'digest' | 'created_at' | 'metadata' | 'version'>;

/** ImageStore in SQL. */
export class KyselyImageStore implements ImageStore, ImageSummaryRecords {
  readonly #db: Database;
  readonly #now: () => Date;
  readonly #onChange: () => void;

  /** @param onChange called after a commit that wrote lines of the change log */
  constructor(db: Database, now: () => Date = () => new Date(), onChange: () => void = () => undefined) {
    this.#db = db;
    this.#now = now;
    this.#onChange = onChange;
  }

  find(digest: Digest): Promise<ImageRecord | undefined> {
    return readImage(this.#db, digest);
  }

  async list(after: string | undefined, limit: number): Promise<ImagePage> {
    const sizes = await this.#db
      .selectFrom('image')
      .leftJoin('image_summary', 'image_summary.image', 'image.digest')
      .select([
        'image.digest',
        sql<number>`image.size + coalesce(octet_length(image_summary.config), 0) + coalesce(
          (select sum(octet_length(body)) from image_signature where image_signature.image = image.digest), 0)`.as(
          'bytes',
        ),
      ])
      .$if(after !== undefined, (page) => page.where('image.digest', '>', after as Digest))
      .orderBy('image.digest')
      .limit(limit + 1)
      .execute();
    const fitting = withinBytes(sizes.slice(0, limit));
    const last = fitting.at(-1);
    if (last === undefined) return { images: [], isLast: true };
    const images = await readImages(this.#db, (query) =>
      query
        .$if(after !== undefined, (page) => page.where('image.digest', '>', after as Digest))
        .where('image.digest', '<=', last.digest)
        .orderBy('image.digest')
        .limit(fitting.length),
    );
    return { images, isLast: fitting.length === sizes.length };
  }

  async listSignatures(digest: Digest): Promise<readonly StoredSignature[] | undefined> {
    if ((await findHead(this.#db, digest)) === undefined) return undefined;
    return (await readSignatures(this.#db, [digest])).get(digest) ?? [];
  }

  async create({ digest, bytes, manifest, summary, ...words }: NewImage): Promise<ImageRecord | undefined> {
    const at = this.#now();
    const created = await this.#db.transaction().execute(async (tx) => {
      if (!(await insertImage(tx, { digest, bytes, manifest, summary }, at, words.metadata))) return undefined;
      await insertSignatures(tx, digest, words.signatures);
      return readImage(tx, digest);
    });
    if (created !== undefined) this.#onChange();
    return created;
  }

  async replace(digest: Digest, version: number, { metadata, signatures }: ImageWords): Promise<ImageReplacement> {
    const result = await this.#db.transaction().execute(async (tx): Promise<ImageReplacement> => {
      const head = await findHead(tx, digest);
      if (head === undefined) return { kind: 'absent' };
      if (head.version !== version) return { kind: 'conflict' };
      await tx.deleteFrom('image_signature').where('image', '=', digest).execute();
      await insertSignatures(tx, digest, signatures);
      await this.#change(tx, head, metadata);
      return { kind: 'replaced', image: (await readImage(tx, digest))! };
    });
    if (result.kind === 'replaced') this.#onChange();
    return result;
  }

  async remove(digest: Digest, options: ImageRemovalOptions): Promise<ImageRemoval> {
    for (;;) {
      const result = await this.#db.transaction().execute((tx) => this.#removeSome(tx, digest, options));
      if (options.dryRun !== true && (result === 'more' || result.kind === 'removed')) this.#onChange();
      if (result !== 'more') return result;
    }
  }

  async addSignature(digest: Digest, signature: StoredSignature): Promise<'added' | 'exists' | 'full' | 'absent'> {
    const result = await this.#db.transaction().execute(async (tx) => {
      const head = await findHead(tx, digest);
      if (head === undefined) return 'absent';
      const known = (await readSignatures(tx, [digest])).get(digest) ?? [];
      if (hasSignature(known, signature)) return 'exists';
      if (!areWithinLimits([...known, signature])) return 'full';
      await insertSignatures(tx, digest, [signature]);
      await this.#change(tx, head);
      return 'added';
    });
    if (result === 'added') this.#onChange();
    return result;
  }

  async removeSignature(digest: Digest, name: string): Promise<boolean> {
    const isRemoved = await this.#db.transaction().execute(async (tx) => {
      const head = await findHead(tx, digest);
      if (head === undefined) return false;
      const { numDeletedRows } = await tx
        .deleteFrom('image_signature')
        .where('image', '=', digest)
        .where('name', '=', name)
        .executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await this.#change(tx, head);
      return true;
    });
    if (isRemoved) this.#onChange();
    return isRemoved;
  }

  async listUnsummarized(
    after: Digest | undefined,
    limit: number,
  ): Promise<{ readonly digests: readonly Digest[]; readonly next: Digest | undefined }> {
    const rows = await this.#db
      .selectFrom('image')
      .leftJoin('image_summary', 'image_summary.image', 'image.digest')
      .select(['image.digest', 'image_summary.image as summarized'])
      .$if(after !== undefined, (page) => page.where('image.digest', '>', after!))
      .orderBy('image.digest')
      .limit(limit)
      .execute();
    return {
      digests: rows.filter(({ summarized }) => summarized === null).map(({ digest }) => digest),
      next: rows.length < limit ? undefined : rows.at(-1)?.digest,
    };
  }

  async findConfigRepository(digest: Digest): Promise<RepositoryName | undefined> {
    const row = await this.#db
      .selectFrom('image_reference')
      .innerJoin('repository_image', 'repository_image.image', 'image_reference.image')
      .innerJoin('repository_blob', (join) =>
        join
          .onRef('repository_blob.repository_id', '=', 'repository_image.repository_id')
          .onRef('repository_blob.digest', '=', 'image_reference.target'),
      )
      .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
      .select('repository.name')
      .where('image_reference.image', '=', digest)
      .where('image_reference.role', '=', 'config')
      .limit(1)
      .executeTakeFirst();
    return row?.name;
  }

  async putSummary(digest: Digest, summary: ImageSummary): Promise<void> {
    await this.#db.transaction().execute(async (tx) => {
      const image = await tx
        .selectFrom('image')
        .leftJoin('image_summary', 'image_summary.image', 'image.digest')
        .select('image_summary.image as summarized')
        .where('image.digest', '=', digest)
        .executeTakeFirst();
      // It may have gone, or been summarized, while its config was being read.
      if (image?.summarized !== null) return;
      await insertSummary(tx, digest, summary);
      await tx
        .updateTable('tag')
        .set({ size: summary.totalSize })
        // The repositories let an index find the tags.
        .where('repository_id', 'in', (query) =>
          query.selectFrom('repository_image').select('repository_id').where('image', '=', digest),
        )
        .where('image', '=', digest)
        .execute();
    });
  }

  /** Gives an image a new version and writes the line of the change log. */
  async #change(tx: Transaction<Schema>, head: ImageHead, metadata?: OwnMetadata): Promise<void> {
    const { digest } = head;
    const previous = JSON.parse(head.metadata) as OwnMetadata;
    const now = metadata ?? previous;
    const version = await nextVersion(tx);
    await tx
      .updateTable('image')
      .set({ version, metadata: JSON.stringify(now) })
      .where('digest', '=', digest)
      .execute();
    const createdAt = new Date(head.created_at);
    const at = this.#now();
    await appendImageChange(tx, { kind: 'MODIFIED', digest, createdAt, metadata: now, previous, version, at });
  }

  async #removeSome(
    tx: Transaction<Schema>,
    digest: Digest,
    { collectAt, dryRun }: ImageRemovalOptions,
  ): Promise<ImageRemoval | 'more'> {
    if ((await findHead(tx, digest)) === undefined) return { kind: 'absent' };
    const by = await findNeed(tx, digest);
    if (by !== undefined) return { kind: 'needed', by };
    if (dryRun === true) return { kind: 'removed' };
    const links = await tx
      .selectFrom('repository_image')
      .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
      .select(['repository.id', 'repository.name'])
      .where('repository_image.image', '=', digest)
      .limit(linksAtOnce)
      .execute();
    const writer = new StreamWriter(tx, this.#now());
    for (const { id, name } of links) {
      // Nobody is told of streams that were removed, and their tags hold nothing.
      if (name < afterLeftovers) {
        await tx.deleteFrom('tag').where('repository_id', '=', id).where('image', '=', digest).execute();
      } else await writer.hideEventsOf((await writer.find(name))!, digest);
      await unlinkImage(tx, id, digest, collectAt);
    }
    await writer.finish();
    if (links.length === linksAtOnce) return 'more';
    await dropImageIfUnlinked(tx, digest, writer.at);
    return { kind: 'removed' };
  }
}

/** As many as fit into a page, and at least the first. */
function withinBytes<Row extends { readonly bytes: number }>(rows: readonly Row[]): readonly Row[] {
  let bytes = 0;
  const end = rows.findIndex((row, index) => (bytes += row.bytes) > pageBytes && index > 0);
  return end === -1 ? rows : rows.slice(0, end);
}

function imageQuery(db: Kysely<Schema>) {
  return db
    .selectFrom('image')
    .leftJoin('image_summary', 'image_summary.image', 'image.digest')
    .select([
      'image.digest',
      'image.media_type',
      'image.bytes',
      'image.created_at',
      'image.version',
      'image.metadata',
      'image_summary.config',
    ])
    .select((query) =>
      query
        .selectFrom('repository_image')
        .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
        .select('repository.name')
        .whereRef('repository_image.image', '=', 'image.digest')
        .where('repository.name', '>=', afterLeftovers)
        .orderBy('repository_image.repository_id')
        .limit(1)
        .as('repository'),
    );
}

async function readImage(db: Kysely<Schema>, digest: Digest): Promise<ImageRecord | undefined> {
  return (await readImages(db, (query) => query.where('image.digest', '=', digest)))[0];
}

async function readImages(
  db: Kysely<Schema>,
  select: (query: ReturnType<typeof imageQuery>) => ReturnType<typeof imageQuery>,
): Promise<readonly ImageRecord[]> {
  const rows = await select(imageQuery(db)).execute();
  const signatures = await readSignatures(
    db,
    rows.map(({ digest }) => digest),
  );
  return rows.map((row) => {
    const createdAt = new Date(row.created_at);
    return {
      digest: row.digest,
      uid: imageUidOf(row.digest, createdAt),
      mediaType: row.media_type,
      bytes: row.bytes,
      config: row.config ?? undefined,
      createdAt,
      version: row.version,
      metadata: JSON.parse(row.metadata) as OwnMetadata,
      signatures: signatures.get(row.digest) ?? [],
      repository: row.repository ?? undefined,
    };
  });
}

async function readSignatures(
  db: Kysely<Schema>,
  images: readonly Digest[],
): Promise<ReadonlyMap<Digest, readonly StoredSignature[]>> {
  const signatures = new Map<Digest, StoredSignature[]>();
  for (const batch of inBatches(images)) {
    const rows = await db
      .selectFrom('image_signature')
      .select(['image', 'body'])
      .where('image', 'in', batch)
      .orderBy('image')
      .orderBy('name')
      .execute();
    for (const { image, body } of rows) {
      const signature = JSON.parse(body) as StoredSignature;
      const others = signatures.get(image);
      if (others === undefined) signatures.set(image, [signature]);
      else others.push(signature);
    }
  }
  return signatures;
}

async function insertSignatures(
  tx: Transaction<Schema>,
  image: Digest,
  signatures: readonly StoredSignature[],
): Promise<void> {
  for (const signature of signatures) {
    const { name, creationTimestamp } = signature.metadata;
    await tx
      .insertInto('image_signature')
      .values({ image, name, body: JSON.stringify(signature), created_at: Date.parse(creationTimestamp) })
      .execute();
  }
}

function findHead(db: Kysely<Schema>, digest: Digest): Promise<ImageHead | undefined> {
  return db
    .selectFrom('image')
    .select(['digest', 'created_at', 'metadata', 'version'])
    .where('digest', '=', digest)
    .executeTakeFirst();
}

/** What a repository needs an image for, if any does. */
async function findNeed(tx: Transaction<Schema>, digest: Digest): Promise<ImageNeed | undefined> {
  const tag = await linksOf(tx, digest)
    .innerJoin('tag', (join) =>
      join.onRef('tag.repository_id', '=', 'link.repository_id').onRef('tag.image', '=', 'link.image'),
    )
    .select(['repository.name as repository', 'tag.name as tag'])
    .executeTakeFirst();
  if (tag !== undefined) return { kind: 'tag', ...tag };
  const index = await linksOf(tx, digest)
    .innerJoin('image_reference', 'image_reference.target', 'link.image')
    .innerJoin('repository_image as parent', (join) =>
      join.onRef('parent.repository_id', '=', 'link.repository_id').onRef('parent.image', '=', 'image_reference.image'),
    )
    .select(['repository.name as repository', 'parent.image'])
    .where('image_reference.role', '=', 'manifest')
    .executeTakeFirst();
  if (index !== undefined) return { kind: 'index', ...index };
  const subject = await linksOf(tx, digest)
    .innerJoin('repository_image as about', (join) =>
      join.onRef('about.repository_id', '=', 'link.repository_id').onRef('about.image', '=', 'link.subject'),
    )
    .select(['repository.name as repository', 'about.image'])
    .executeTakeFirst();
  return subject && { kind: 'subject', ...subject };
}

/** Of an image, to repositories that are not removed: one that something is found beside is enough. */
function linksOf(tx: Transaction<Schema>, digest: Digest) {
  return tx
    .selectFrom('repository_image as link')
    .innerJoin('repository', 'repository.id', 'link.repository_id')
    .where('link.image', '=', digest)
    .where('repository.name', '>=', afterLeftovers)
    .limit(1);
}

/** The image can no longer be read through a repository, and what only it referred to there is to be looked at. */
async function unlinkImage(
  tx: Transaction<Schema>,
  repositoryId: number,
  digest: Digest,
  collectAt: Date,
): Promise<void> {
  await tx
    .deleteFrom('repository_image')
    .where('repository_id', '=', repositoryId)
    .where('image', '=', digest)
    .execute();
  await tx
    .updateTable('repository_blob')
    .set({ collect_at: collectAt.getTime() })
    .where('repository_id', '=', repositoryId)
    .where('digest', 'in', (query) => query.selectFrom('image_reference').select('target').where('image', '=', digest))
    .execute();
}
