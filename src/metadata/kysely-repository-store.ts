import type { Transaction } from 'kysely';
import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import type { ManifestReference } from '../oci/manifest.js';
import type { Reference, Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { inBatches } from './batches.js';
import { compileQuery, type RunQuery } from './compiled-query.js';
import { insertImage } from './image-rows.js';
import { ended } from './kysely-upload-records.js';
import { removeLeftovers } from './repository-removal.js';
import { dropImageIfUnlinked, idOf, projectRange } from './repository-rows.js';
import type {
  ManifestPush,
  ManifestPushResult,
  Page,
  RepositoryStore,
  StoredManifest,
  TagRemoval,
} from './repository-store.js';
import type { Database, Schema } from './schema.js';
import { toTagEvent } from './stream-rows.js';
import { StreamWriter } from './stream-writer.js';
import type { TagEvent, TagGuard } from './tag-history.js';

/** RepositoryStore in SQL. */
export class KyselyRepositoryStore implements RepositoryStore {
  readonly #db: Database;
  readonly #now: () => Date;
  readonly #onChange: () => void;
  readonly #findRepository: RunQuery<{ id: number }, { name: RepositoryName }>;
  readonly #findByTag: RunQuery<StoredManifest, ByTag>;
  readonly #findByDigest: RunQuery<StoredManifest, ByDigest>;
  readonly #readByTag: RunQuery<StoredManifest & { readonly bytes: Buffer }, ByTag>;
  readonly #readByDigest: RunQuery<StoredManifest & { readonly bytes: Buffer }, ByDigest>;

  /** @param onChange called after a commit that wrote lines of the change log */
  constructor(db: Database, now: () => Date = () => new Date(), onChange: () => void = () => undefined) {
    this.#db = db;
    this.#now = now;
    this.#onChange = onChange;
    this.#findRepository = compileQuery(db, (parameter) =>
      db.selectFrom('repository').select('id').where('name', '=', parameter('name')),
    );
    const facts = ['image.digest', 'image.media_type as mediaType', 'image.size'] as const;
    this.#findByTag = compileQuery(db, (parameter) =>
      selectByTag(db, parameter('repository'), parameter('tag')).select(facts),
    );
    this.#readByTag = compileQuery(db, (parameter) =>
      selectByTag(db, parameter('repository'), parameter('tag')).select([...facts, 'image.bytes']),
    );
    this.#findByDigest = compileQuery(db, (parameter) =>
      selectByDigest(db, parameter('repository'), parameter('digest')).select(facts),
    );
    this.#readByDigest = compileQuery(db, (parameter) =>
      selectByDigest(db, parameter('repository'), parameter('digest')).select([...facts, 'image.bytes']),
    );
  }

  async putManifest(push: ManifestPush): Promise<ManifestPushResult> {
    return this.#write(push, async (tx, writer) => {
      // A push that is refused leaves no empty repository behind, so the repository is made after the check.
      const existing = await writer.find(push.repository);
      const missing = await findMissing(tx, existing?.id, push.manifest.references);
      if (missing.length > 0 && !push.sparse) return { kind: 'missing', missing };
      const stream = existing ?? (await writer.ensure(push.repository));
      await insertImage(tx, push, writer.at);
      const { subject } = push.manifest;
      await writer.linkImage(stream, { image: push.digest, subject, sparse: missing.length > 0 ? 1 : 0 });
      const isTold = push.tags.length === 0 || (await hasEventOf(tx, stream.id, push.digest));
      const { actor, reason, digest: image } = push;
      const event = { image, generation: stream.generation, cause: 'push', actor } as const;
      for (const tag of push.tags) {
        await writer.addEvent(stream, tag, { ...event, ...(reason !== undefined && { reason }) });
      }
      if (!isTold && push.admitImages !== undefined) push.admitImages(await countImages(tx, stream.id));
      return { kind: 'stored' };
    });
  }

  findManifest(repository: RepositoryName, reference: Reference): Promise<StoredManifest | undefined> {
    return reference.kind === 'tag'
      ? this.#findByTag({ repository, tag: reference.tag })
      : this.#findByDigest({ repository, digest: reference.digest });
  }

  readManifest(
    repository: RepositoryName,
    reference: Reference,
  ): Promise<(StoredManifest & { readonly bytes: Buffer }) | undefined> {
    return reference.kind === 'tag'
      ? this.#readByTag({ repository, tag: reference.tag })
      : this.#readByDigest({ repository, digest: reference.digest });
  }

  async deleteManifest(repository: RepositoryName, digest: Digest, by: TagRemoval, collectAt: Date): Promise<boolean> {
    return this.#write(by, async (tx, writer) => {
      const stream = await writer.find(repository);
      if (stream === undefined || !(await writer.isLinked(stream, digest))) return false;
      const tags = await tx
        .selectFrom('tag')
        .select('name')
        .where('repository_id', '=', stream.id)
        .where('image', '=', digest)
        .execute();
      for (const { name } of tags) await writer.removeTag(stream, name, by);
      await writer.hideEventsOf(stream, digest);
      await tx
        .deleteFrom('repository_image')
        .where('repository_id', '=', stream.id)
        .where('image', '=', digest)
        .execute();
      await tx
        .updateTable('repository_blob')
        .set({ collect_at: collectAt.getTime() })
        .where('repository_id', '=', stream.id)
        .where('digest', 'in', (query) =>
          query.selectFrom('image_reference').select('target').where('image', '=', digest),
        )
        .execute();
      await dropImageIfUnlinked(tx, digest, writer.at);
      return true;
    });
  }

  async deleteTag(repository: RepositoryName, tag: Tag, by: TagRemoval): Promise<boolean> {
    return this.#write(by, async (_tx, writer) => {
      const stream = await writer.find(repository);
      if (stream === undefined || (await writer.findTag(stream, tag)) === undefined) return false;
      return writer.removeTag(stream, tag, by);
    });
  }

  async repositoryExists(repository: RepositoryName): Promise<boolean> {
    return (await this.#findRepository({ name: repository })) !== undefined;
  }

  async listRepositories({ last, limit }: Page<string>, project?: string): Promise<RepositoryName[]> {
    let query = this.#db.selectFrom('repository').select('name').orderBy('name').limit(limit);
    if (project !== undefined) {
      const [from, to] = projectRange(project);
      query = query.where('name', '>=', from).where('name', '<', to);
    }
    if (last !== undefined) query = query.where('name', '>', last as RepositoryName);
    return (await query.execute()).map((row) => row.name);
  }

  async listTags(repository: RepositoryName, { last, limit }: Page<string>): Promise<Tag[]> {
    let query = this.#db
      .selectFrom('tag')
      .select('tag.name')
      .where('tag.repository_id', '=', idOf(repository))
      .where('tag.image', 'is not', null)
      .orderBy('tag.name')
      .limit(limit);
    if (last !== undefined) query = query.where('tag.name', '>', last as Tag);
    return (await query.execute()).map((row) => row.name);
  }

  async listTagEvents(repository: RepositoryName, tag: Tag, limit: number): Promise<TagEvent[]> {
    const rows = await this.#db
      .selectFrom('tag_event')
      .selectAll('tag_event')
      .where('repository_id', '=', idOf(repository))
      .where('tag', '=', tag)
      .orderBy('sequence', 'desc')
      .limit(limit)
      .execute();
    return rows.map(toTagEvent);
  }

  async listReferrers(
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    { last, limit }: Page<string>,
  ): Promise<Descriptor[]> {
    let query = this.#db
      .selectFrom('repository_image')
      .innerJoin('image', 'image.digest', 'repository_image.image')
      .select(['image.media_type', 'image.digest', 'image.size', 'image.artifact_type', 'image.annotations'])
      .where('repository_image.repository_id', '=', idOf(repository))
      .where('repository_image.subject', '=', subject)
      .orderBy('repository_image.image')
      .limit(limit);
    if (artifactType !== undefined) query = query.where('image.artifact_type', '=', artifactType);
    if (last !== undefined) query = query.where('repository_image.image', '>', last as Digest);
    return (await query.execute()).map((row) => ({
      mediaType: row.media_type,
      digest: row.digest,
      size: row.size,
      ...(row.artifact_type !== null && { artifactType: row.artifact_type }),
      ...(row.annotations !== null && { annotations: JSON.parse(row.annotations) as Record<string, string> }),
    }));
  }

  async removeRepositories(project: string, limit: number): Promise<number> {
    const [from, to] = projectRange(project);
    const removed = await this.#write({}, async (tx, writer) => {
      // A session may be older than its repository. Whoever expires it takes its bytes along.
      await tx
        .updateTable('upload')
        .set({ updated_at: ended })
        .where('repository', '>=', from)
        .where('repository', '<', to)
        .where('updated_at', '>', ended)
        .execute();
      const names = await tx
        .selectFrom('repository')
        .select('name')
        .where('name', '>=', from)
        .where('name', '<', to)
        .orderBy('name')
        .limit(limit)
        .execute();
      for (const { name } of names) await writer.remove((await writer.find(name))!);
      return names.length;
    });
    return removed > 0 ? removed : this.#db.transaction().execute((tx) => removeLeftovers(tx, limit, this.#now()));
  }

  /** One transaction, and its lines of the change log. */
  async #write<Result>(
    { guard, keepEvents }: { readonly guard?: TagGuard; readonly keepEvents?: number },
    work: (tx: Transaction<Schema>, writer: StreamWriter) => Promise<Result>,
  ): Promise<Result> {
    const [result, isChanged] = await this.#db.transaction().execute(async (tx) => {
      const writer = new StreamWriter(tx, this.#now(), { guard, keepEvents });
      return [await work(tx, writer), await writer.finish()] as const;
    });
    if (isChanged) this.#onChange();
    return result;
  }
}

interface ByTag {
  readonly repository: RepositoryName;
  readonly tag: Tag;
}

interface ByDigest {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

function selectByTag(db: Database, repository: RepositoryName, tag: Tag) {
  return db
    .selectFrom('repository')
    .innerJoin('tag', 'tag.repository_id', 'repository.id')
    .innerJoin('image', 'image.digest', 'tag.image')
    .where('repository.name', '=', repository)
    .where('tag.name', '=', tag);
}

function selectByDigest(db: Database, repository: RepositoryName, digest: Digest) {
  return db
    .selectFrom('repository')
    .innerJoin('repository_image', 'repository_image.repository_id', 'repository.id')
    .innerJoin('image', 'image.digest', 'repository_image.image')
    .where('repository.name', '=', repository)
    .where('repository_image.image', '=', digest);
}

/** Whether the history of the tags of a repository shows an image. */
async function hasEventOf(tx: Transaction<Schema>, repositoryId: number, image: Digest): Promise<boolean> {
  const row = await tx
    .selectFrom('tag_event')
    .select('image')
    .where('repository_id', '=', repositoryId)
    .where('image', '=', image)
    .where('shown', '=', 1)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

async function countImages(tx: Transaction<Schema>, repositoryId: number): Promise<number> {
  const { count } = await tx
    .selectFrom('tag_event')
    .select(({ fn }) => fn.count<number>('image').distinct().as('count'))
    .where('repository_id', '=', repositoryId)
    .where('shown', '=', 1)
    .executeTakeFirstOrThrow();
  return count;
}

/** Required references that the repository does not link. */
async function findMissing(
  tx: Transaction<Schema>,
  repositoryId: number | undefined,
  references: readonly ManifestReference[],
): Promise<Digest[]> {
  const required = references.filter((reference) => reference.required);
  if (repositoryId === undefined) return [...new Set(required.map((reference) => reference.digest))];
  const present = new Set<Digest>();
  // Build caches list their layers in an index, so what is no manifest may be a blob there.
  const asBlob = required.filter(
    (reference) => reference.role !== 'manifest' || !isManifestMediaType(reference.mediaType),
  );
  for (const batch of inBatches(new Set(asBlob.map((reference) => reference.digest)))) {
    const rows = await tx
      .selectFrom('repository_blob')
      .select('digest')
      .where('repository_id', '=', repositoryId)
      .where('digest', 'in', batch)
      .execute();
    for (const { digest } of rows) present.add(digest);
  }
  const asManifest = required.filter((reference) => reference.role === 'manifest');
  for (const batch of inBatches(new Set(asManifest.map((reference) => reference.digest)))) {
    const rows = await tx
      .selectFrom('repository_image')
      .select('image')
      .where('repository_id', '=', repositoryId)
      .where('image', 'in', batch)
      .execute();
    for (const { image } of rows) present.add(image);
  }
  return [...new Set(required.map((reference) => reference.digest))].filter((digest) => !present.has(digest));
}
