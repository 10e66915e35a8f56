import { sql } from 'kysely';
import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { parseManifest } from '../oci/manifest.js';
import { dockerHubNames, PullSpecError, pullSpecOrError, withClientDefaults } from '../oci/pull-spec.js';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.js';
import { compileQuery, type RunQuery } from './compiled-query.js';
import type { BlobOrigin, BlobOrigins, ImageSources } from './image-sources.js';
import type { Database } from './schema.js';
import type { OwnMetadata } from './stream-store.js';

/** Events that are looked at: one image may have thousands of tags. */
const eventsLookedAt = 500;
/** Manifests that are read to learn a size. */
const manifestsRead = 3;
/** A tag may be copied from a copy. */
const copiesFollowed = 3;
/** Repositories that one was copied from and are asked. */
const copySources = 5;
/** openshift/api, image/v1: a stream none of whose sources need be secure. */
const insecureAnnotation = 'openshift.io/image.insecureRepository';

/** An event that brought an image from elsewhere, or from another repository, with what is wanted of its tag now. */
interface SourceRow {
  /** Null for a copy that does not say it. */
  readonly reference: string | null;
  /** As in `ImageStreamImage team/app@sha256:…`. */
  readonly source: string | null;
  readonly version: number;
  readonly shown: 0 | 1;
  readonly spec: string | null;
}

/** Where an image came from, with what is wanted of a tag that holds it. */
interface Source {
  readonly reference: string;
  readonly version: number;
  readonly shown: 0 | 1;
  readonly spec: TagSpec;
}

/** What of the spec of a tag says how its image is got (image.openshift.io/v1 TagReference). */
interface TagSpec {
  readonly importPolicy?: { readonly insecure?: boolean };
  readonly referencePolicy?: { readonly type?: string };
}

/** ImageSources in SQL. */
export class KyselyImageSources implements ImageSources {
  readonly #db: Database;
  readonly #findHolder: RunQuery<
    { readonly id: number; readonly metadata: string },
    { readonly repository: RepositoryName; readonly digest: Digest }
  >;

  constructor(db: Database) {
    this.#db = db;
    // Whoever pushes asks for each blob first, and most are nowhere.
    this.#findHolder = compileQuery(db, (parameter) =>
      db
        .selectFrom('repository')
        .crossJoin('image_reference')
        .innerJoin('repository_image', (join) =>
          join
            .onRef('repository_image.repository_id', '=', 'repository.id')
            .onRef('repository_image.image', '=', 'image_reference.image'),
        )
        .select(['repository.id', 'repository.metadata'])
        .where('repository.name', '=', parameter('repository'))
        .where('image_reference.target', '=', parameter('digest'))
        .limit(1),
    );
  }

  async findBlobOrigins(repository: RepositoryName, digest: Digest, limit: number): Promise<BlobOrigins | undefined> {
    const holder = await this.#findHolder({ repository, digest });
    if (holder === undefined) return undefined;
    const sources = await this.#readSources(holder.id, digest, copiesFollowed);
    const { annotations } = JSON.parse(holder.metadata) as OwnMetadata;
    return {
      size: await this.#findSize(holder.id, digest),
      isLocal: sources.some(({ shown, spec }) => shown === 1 && spec.referencePolicy?.type === 'Local'),
      origins: originsOf(sources, annotations?.[insecureAnnotation] === 'true').slice(0, limit),
    };
  }

  /** @param copies so many times in a row it may have been copied */
  async #readSources(repositoryId: number, digest: Digest, copies: number): Promise<readonly Source[]> {
    const sources: Source[] = [];
    const copied = new Map<RepositoryName, Omit<Source, 'reference'>[]>();
    for (const { reference, source, spec: body, version, shown } of await this.#readEvents(repositoryId, digest)) {
      const wish = { version, shown, spec: body === null ? {} : (JSON.parse(body) as TagSpec) };
      const from = reference === null ? copiedFrom(source) : undefined;
      if (reference !== null) sources.push({ ...wish, reference });
      else if (from !== undefined) copied.set(from, [...(copied.get(from) ?? []), wish]);
    }
    if (copies === 0) return sources;
    for (const [from, wishes] of [...copied].slice(0, copySources)) {
      const holder = await this.#findHolder({ repository: from, digest });
      if (holder === undefined || holder.id === repositoryId) continue;
      const found = await this.#readSources(holder.id, digest, copies - 1);
      // What counts is what is wanted here, not there.
      for (const { reference } of found) sources.push(...wishes.map((wish) => ({ ...wish, reference })));
    }
    return sources;
  }

  /** Those that brought an image here that has the blob, but for pushes. */
  async #readEvents(repositoryId: number, digest: Digest): Promise<readonly SourceRow[]> {
    // SQLite takes the tables of a cross join in this order: from the blob up to the indexes, and then to what brought them.
    // It finds the events by their image only in the index alone, and would else read all that ever happened in the repository.
    const { rows } = await sql<SourceRow>`with recursive holder(image) as (
        select image_reference.image from image_reference
          cross join repository_image
        where image_reference.target = ${digest}
          and repository_image.repository_id = ${repositoryId} and repository_image.image = image_reference.image
        union select image_reference.image from holder
          cross join image_reference
          cross join repository_image
        where image_reference.target = holder.image and image_reference.role = 'manifest'
          and repository_image.repository_id = ${repositoryId} and repository_image.image = image_reference.image)
      select tag_event.reference, tag_event.source, tag_event.version, tag_event.shown, tag.spec from holder
        cross join tag_event as found
        cross join tag_event
        left join tag on tag.repository_id = found.repository_id and tag.name = found.tag
      where found.repository_id = ${repositoryId} and found.image = holder.image
        and tag_event.repository_id = found.repository_id and tag_event.tag = found.tag
        and tag_event.sequence = found.sequence
        and (tag_event.reference is not null or tag_event.source like 'ImageStream%')
      limit ${eventsLookedAt}`.execute(this.#db);
    return rows;
  }

  async #findSize(repositoryId: number, digest: Digest): Promise<number | undefined> {
    const images = await this.#db
      .selectFrom('image_reference')
      .crossJoin('repository_image')
      .innerJoin('image', 'image.digest', 'image_reference.image')
      .select(['image.bytes', 'image.media_type as mediaType'])
      .where('image_reference.target', '=', digest)
      .where('repository_image.repository_id', '=', repositoryId)
      .whereRef('repository_image.image', '=', 'image_reference.image')
      .limit(manifestsRead)
      .execute();
    const sizes = new Set(images.flatMap(({ bytes, mediaType }) => sizesIn(bytes, mediaType, digest)));
    const [size] = sizes;
    return sizes.size === 1 ? size : undefined;
  }
}

function sizesIn(bytes: Buffer, mediaType: string, digest: Digest): readonly number[] {
  try {
    const { references } = parseManifest(bytes, mediaType);
    return references.filter((reference) => reference.digest === digest).map(({ size }) => size);
  } catch (error) {
    // It was stored when less was asked of manifests.
    if (error instanceof OciError) return [];
    throw error;
  }
}

function originsOf(sources: readonly Source[], isStreamInsecure: boolean): readonly BlobOrigin[] {
  const origins = new Map<string, BlobOrigin>();
  for (const { reference, spec } of sources.toSorted((a, b) => b.shown - a.shown || b.version - a.version)) {
    const place = placeOf(reference);
    if (place === undefined) continue;
    const key = `${place.registry}/${place.path}`;
    const isInsecure =
      isStreamInsecure || spec.importPolicy?.insecure === true || origins.get(key)?.isInsecure === true;
    // An entry that is set again stays where it is.
    origins.set(key, { ...place, isInsecure });
  }
  return [...origins.values()];
}

/** The repository of `ImageStreamTag team/app:v1` and `ImageStreamImage team/app@sha256:…`. */
function copiedFrom(source: string | null): RepositoryName | undefined {
  const [, name] = /^ImageStream(?:Tag|Image) ([^\s:@]+)[:@]/.exec(source ?? '') ?? [];
  if (name === undefined) return undefined;
  try {
    return parseRepositoryName(name);
  } catch (error) {
    if (error instanceof OciError) return undefined;
    throw error;
  }
}

function placeOf(reference: string): Pick<BlobOrigin, 'registry' | 'path'> | undefined {
  const parsed = pullSpecOrError(reference);
  if (parsed instanceof PullSpecError || parsed.name === '') return undefined;
  const { registry, namespace, name } = withClientDefaults(parsed);
  return {
    registry: dockerHubNames.includes(registry) ? dockerHubNames[0]! : registry,
    path: namespace === '' ? name : `${namespace}/${name}`,
  };
}
