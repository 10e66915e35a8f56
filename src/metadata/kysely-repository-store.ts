import type { Transaction } from 'kysely';
import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import type { ManifestReference } from '../oci/manifest.js';
import type { Reference, Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { inBatches } from './batches.js';
import { compileQuery, type RunQuery } from './compiled-query.js';
import {
  dropImageIfUnlinked,
  ensureRepository,
  findRepositoryId,
  projectRange,
  unlinkBlob,
} from './repository-rows.js';
import type {
  ManifestPush,
  ManifestPushResult,
  Page,
  RepositoryDescription,
  RepositoryStore,
  StoredManifest,
  TagEvent,
} from './repository-store.js';
import type { Database, Schema } from './schema.js';

/** RepositoryStore in SQL. */
export class KyselyRepositoryStore implements RepositoryStore {
  readonly #db: Database;
  readonly #now: () => Date;
  readonly #findRepository: RunQuery<{ id: number }, { name: RepositoryName }>;
  readonly #findByTag: RunQuery<StoredManifest, ByTag>;
  readonly #findByDigest: RunQuery<StoredManifest, ByDigest>;
  readonly #readByTag: RunQuery<StoredManifest & { readonly bytes: Buffer }, ByTag>;
  readonly #readByDigest: RunQuery<StoredManifest & { readonly bytes: Buffer }, ByDigest>;

  constructor(db: Database, now: () => Date = () => new Date()) {
    this.#db = db;
    this.#now = now;
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
    const at = this.#now().getTime();
    return this.#db.transaction().execute(async (tx) => {
      // A push that is refused leaves no empty repository behind, so the repository is made after the check.
      const existingId = await findRepositoryId(tx, push.repository);
      const missing = await findMissing(tx, existingId, push.manifest.references);
      if (missing.length > 0 && !push.sparse) return { kind: 'missing', missing };
      const repositoryId = existingId ?? (await ensureRepository(tx, push.repository, at));
      await insertImage(tx, push, at);
      await tx
        .insertInto('repository_image')
        .values({
          repository_id: repositoryId,
          image: push.digest,
          subject: push.manifest.subject ?? null,
          sparse: missing.length > 0 ? 1 : 0,
          linked_at: at,
        })
        .onConflict((conflict) =>
          conflict.columns(['repository_id', 'image']).doUpdateSet({ sparse: missing.length > 0 ? 1 : 0 }),
        )
        .execute();
      for (const tag of push.tags) await moveTag(tx, repositoryId, tag, push.digest, push.principal, at);
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

  async deleteManifest(
    repository: RepositoryName,
    digest: Digest,
    principal: string,
    collectAt: Date,
  ): Promise<boolean> {
    const at = this.#now().getTime();
    return this.#db.transaction().execute(async (tx) => {
      const repositoryId = await findRepositoryId(tx, repository);
      if (repositoryId === undefined) return false;
      const tags = await tx
        .selectFrom('tag')
        .select('name')
        .where('repository_id', '=', repositoryId)
        .where('image', '=', digest)
        .execute();
      for (const { name } of tags) await removeTag(tx, repositoryId, name, principal, at);
      const { numDeletedRows } = await tx
        .deleteFrom('repository_image')
        .where('repository_id', '=', repositoryId)
        .where('image', '=', digest)
        .executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await tx
        .updateTable('repository_blob')
        .set({ collect_at: collectAt.getTime() })
        .where('repository_id', '=', repositoryId)
        .where('digest', 'in', (query) =>
          query.selectFrom('image_reference').select('target').where('image', '=', digest),
        )
        .execute();
      await dropImageIfUnlinked(tx, digest);
      return true;
    });
  }

  async deleteTag(repository: RepositoryName, tag: Tag, principal: string): Promise<boolean> {
    const at = this.#now().getTime();
    return this.#db.transaction().execute(async (tx) => {
      const repositoryId = await findRepositoryId(tx, repository);
      return repositoryId !== undefined && (await removeTag(tx, repositoryId, tag, principal, at));
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

  async describeRepository(name: RepositoryName): Promise<RepositoryDescription | undefined> {
    const row = await this.#db
      .selectFrom('repository')
      .select(['id', 'name', 'created_at'])
      .where('name', '=', name)
      .executeTakeFirst();
    return row && (await this.#withTags([row]))[0];
  }

  async describeRepositories({
    last,
    limit,
    project,
  }: Page<RepositoryName> & { readonly project?: string }): Promise<readonly RepositoryDescription[]> {
    let query = this.#db.selectFrom('repository').select(['id', 'name', 'created_at']).orderBy('name').limit(limit);
    if (last !== undefined) query = query.where('name', '>', last);
    if (project !== undefined) {
      const [from, to] = projectRange(project);
      query = query.where('name', '>=', from).where('name', '<', to);
    }
    return this.#withTags(await query.execute());
  }

  async #withTags(
    rows: readonly { readonly id: number; readonly name: RepositoryName; readonly created_at: number }[],
  ): Promise<readonly RepositoryDescription[]> {
    const tags = new Map<number, { tag: Tag; image: Digest; sequence: number; movedAt: Date }[]>(
      rows.map(({ id }) => [id, []]),
    );
    for (const ids of inBatches(tags.keys())) {
      const heads = await this.#db
        .selectFrom('tag')
        .innerJoin('tag_event', (join) =>
          join
            .onRef('tag_event.repository_id', '=', 'tag.repository_id')
            .onRef('tag_event.tag', '=', 'tag.name')
            .onRef('tag_event.sequence', '=', 'tag.sequence'),
        )
        .select(['tag.repository_id as id', 'tag.name as tag', 'tag.image', 'tag.sequence', 'tag_event.at'])
        .where('tag.repository_id', 'in', ids)
        .orderBy('tag.repository_id')
        .orderBy('tag.name')
        .execute();
      for (const { id, tag, image, sequence, at } of heads) {
        tags.get(id)!.push({ tag, image, sequence, movedAt: new Date(at) });
      }
    }
    return rows.map(({ id, name, created_at }) => ({
      id,
      name,
      createdAt: new Date(created_at),
      tags: tags.get(id)!,
    }));
  }

  async listTags(repository: RepositoryName, { last, limit }: Page<string>): Promise<Tag[]> {
    let query = this.#db
      .selectFrom('tag')
      .innerJoin('repository', 'repository.id', 'tag.repository_id')
      .select('tag.name')
      .where('repository.name', '=', repository)
      .orderBy('tag.name')
      .limit(limit);
    if (last !== undefined) query = query.where('tag.name', '>', last as Tag);
    return (await query.execute()).map((row) => row.name);
  }

  async listTagEvents(repository: RepositoryName, tag: Tag, limit: number): Promise<TagEvent[]> {
    const rows = await this.#db
      .selectFrom('tag_event')
      .innerJoin('repository', 'repository.id', 'tag_event.repository_id')
      .select(['sequence', 'image', 'cause', 'principal', 'at'])
      .where('repository.name', '=', repository)
      .where('tag', '=', tag)
      .orderBy('sequence', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ ...row, image: row.image ?? undefined, at: new Date(row.at) }));
  }

  async listReferrers(
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    { last, limit }: Page<string>,
  ): Promise<Descriptor[]> {
    let query = this.#db
      .selectFrom('repository_image')
      .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
      .innerJoin('image', 'image.digest', 'repository_image.image')
      .select(['image.media_type', 'image.digest', 'image.size', 'image.artifact_type', 'image.annotations'])
      .where('repository.name', '=', repository)
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
    const at = this.#now().getTime();
    const [from, to] = projectRange(project);
    return this.#db.transaction().execute(async (tx) => {
      // A session may be older than its repository. Whoever expires it takes its bytes along.
      await tx
        .updateTable('upload')
        .set({ updated_at: 0 })
        .where('repository', '>=', from)
        .where('repository', '<', to)
        .where('updated_at', '>', 0)
        .execute();
      let removed = 0;
      while (removed < limit) {
        const repository = await tx
          .selectFrom('repository')
          .select('id')
          .where('name', '>=', from)
          .where('name', '<', to)
          .orderBy('name')
          .limit(1)
          .executeTakeFirst();
        if (repository === undefined) break;
        removed += await removeFromRepository(tx, repository.id, limit - removed, at);
        if (removed === limit) break;
        await tx.deleteFrom('repository').where('id', '=', repository.id).execute();
        removed += 1;
      }
      return removed;
    });
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

async function insertImage(
  tx: Transaction<Schema>,
  { digest, bytes, manifest }: ManifestPush,
  at: number,
): Promise<void> {
  const { numInsertedOrUpdatedRows } = await tx
    .insertInto('image')
    .values({
      digest,
      media_type: manifest.mediaType,
      size: bytes.length,
      bytes,
      artifact_type: manifest.artifactType ?? null,
      annotations: manifest.annotations === undefined ? null : JSON.stringify(manifest.annotations),
      subject: manifest.subject ?? null,
      created_at: at,
    })
    .onConflict((conflict) => conflict.column('digest').doNothing())
    .executeTakeFirst();
  if (numInsertedOrUpdatedRows === 0n) return;
  const rows = manifest.references.map((reference, position) => ({
    image: digest,
    position,
    role: reference.role,
    target: reference.digest,
    required: reference.required ? (1 as const) : (0 as const),
  }));
  for (const batch of inBatches(rows)) await tx.insertInto('image_reference').values(batch).execute();
}

/** Appends an event and moves the pointer; a tag that points there already has nothing to tell. */
async function moveTag(
  tx: Transaction<Schema>,
  repositoryId: number,
  name: Tag,
  image: Digest,
  principal: string,
  at: number,
): Promise<void> {
  const current = await tx
    .selectFrom('tag')
    .select('image')
    .where('repository_id', '=', repositoryId)
    .where('name', '=', name)
    .executeTakeFirst();
  if (current?.image === image) return;
  const sequence = await appendTagEvent(tx, {
    repository_id: repositoryId,
    tag: name,
    image,
    cause: 'push',
    principal,
    at,
  });
  await tx
    .insertInto('tag')
    .values({ repository_id: repositoryId, name, image, sequence })
    .onConflict((conflict) => conflict.columns(['repository_id', 'name']).doUpdateSet({ image, sequence }))
    .execute();
}

async function removeTag(
  tx: Transaction<Schema>,
  repositoryId: number,
  name: Tag,
  principal: string,
  at: number,
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('tag')
    .where('repository_id', '=', repositoryId)
    .where('name', '=', name)
    .executeTakeFirst();
  if (numDeletedRows === 0n) return false;
  await appendTagEvent(tx, { repository_id: repositoryId, tag: name, image: null, cause: 'delete', principal, at });
  return true;
}

async function appendTagEvent(tx: Transaction<Schema>, event: Omit<Schema['tag_event'], 'sequence'>): Promise<number> {
  const newest = await tx
    .selectFrom('tag_event')
    .select('sequence')
    .where('repository_id', '=', event.repository_id)
    .where('tag', '=', event.tag)
    .orderBy('sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  const sequence = (newest?.sequence ?? 0) + 1;
  await tx
    .insertInto('tag_event')
    .values({ ...event, sequence })
    .execute();
  return sequence;
}

/** @returns how many rows were removed; less than the limit when the repository holds nothing any more */
async function removeFromRepository(
  tx: Transaction<Schema>,
  repositoryId: number,
  limit: number,
  at: number,
): Promise<number> {
  // A tag refers to the link of its image, so tags go first.
  const tags = await tx
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', repositoryId)
    .orderBy('name')
    .limit(limit)
    .execute();
  for (const { name } of tags) {
    await tx.deleteFrom('tag').where('repository_id', '=', repositoryId).where('name', '=', name).execute();
  }
  let removed = tags.length;
  const events = await tx
    .selectFrom('tag_event')
    .select(['tag', 'sequence'])
    .where('repository_id', '=', repositoryId)
    .orderBy('tag')
    .orderBy('sequence')
    .limit(limit - removed)
    .execute();
  for (const { tag, sequence } of events) {
    await tx
      .deleteFrom('tag_event')
      .where('repository_id', '=', repositoryId)
      .where('tag', '=', tag)
      .where('sequence', '=', sequence)
      .execute();
  }
  removed += events.length;
  const images = await tx
    .selectFrom('repository_image')
    .select('image')
    .where('repository_id', '=', repositoryId)
    .orderBy('image')
    .limit(limit - removed)
    .execute();
  for (const { image } of images) {
    await tx
      .deleteFrom('repository_image')
      .where('repository_id', '=', repositoryId)
      .where('image', '=', image)
      .execute();
    await dropImageIfUnlinked(tx, image);
  }
  removed += images.length;
  const blobs = await tx
    .selectFrom('repository_blob')
    .select('digest')
    .where('repository_id', '=', repositoryId)
    .orderBy('digest')
    .limit(limit - removed)
    .execute();
  for (const { digest } of blobs) await unlinkBlob(tx, repositoryId, digest, at);
  return removed + blobs.length;
}
