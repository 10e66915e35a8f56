import { sql } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { BlobRecord } from './blob-records.js';
import type { InspectedImage, InspectedTag, Inspection, MissingReference } from './inspection.js';
import { findBlob } from './kysely-blob-records.js';
import type { Database } from './schema.js';

const pageSize = 200;
/** Images carry their bytes, up to 4 MiB each. */
const imagePageSize = 10;

/** Inspection in SQL, by pages in the order of a key, so that it may run beside a registry at work. */
export class KyselyInspection implements Inspection {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async *tags(): AsyncIterable<InspectedTag> {
    const rows = byPages({ repositoryId: 0, name: '' as Tag }, (last) =>
      this.#db
        .selectFrom('tag')
        .innerJoin('repository', 'repository.id', 'tag.repository_id')
        .leftJoin('repository_image', (join) =>
          join
            .onRef('repository_image.repository_id', '=', 'tag.repository_id')
            .onRef('repository_image.image', '=', 'tag.image'),
        )
        .leftJoin('tag_event as newest', (join) =>
          join
            .onRef('newest.repository_id', '=', 'tag.repository_id')
            .onRef('newest.tag', '=', 'tag.name')
            .on('newest.sequence', '=', (query) =>
              query
                .selectFrom('tag_event as other')
                .select(({ fn }) => fn.max('other.sequence').as('sequence'))
                .whereRef('other.repository_id', '=', 'tag.repository_id')
                .whereRef('other.tag', '=', 'tag.name')
                .where((where) => where.or([where('other.shown', '=', 1), where('other.cause', '=', 'delete')])),
            ),
        )
        .select([
          'tag.repository_id as repositoryId',
          'repository.name as repository',
          'tag.name',
          'tag.image',
          'tag.sequence',
          'repository_image.image as linkedImage',
          'newest.image as newestImage',
          'newest.location',
          'newest.sequence as newestSequence',
        ])
        .where('tag.sequence', '>', 0)
        .where(sql<boolean>`(tag.repository_id, tag.name) > (${last.repositoryId}, ${last.name})`)
        .orderBy('tag.repository_id')
        .orderBy('tag.name')
        .limit(pageSize)
        .execute(),
    );
    for await (const { linkedImage, newestImage, location, ...row } of rows) {
      yield {
        ...row,
        image: row.image ?? undefined,
        newestSequence: row.newestSequence ?? 0,
        linked: row.image === null || linkedImage !== null,
        // An image elsewhere is only pointed at.
        newestImage: location === null ? (newestImage ?? undefined) : undefined,
      };
    }
  }

  async *forgottenTags(): AsyncIterable<{ readonly repository: RepositoryName; readonly tag: Tag }> {
    yield* byPages({ repositoryId: 0, tag: '' as Tag }, (last) =>
      this.#db
        .selectFrom('tag_event as event')
        .innerJoin('repository', 'repository.id', 'event.repository_id')
        .leftJoin('tag', (join) =>
          join
            .onRef('tag.repository_id', '=', 'event.repository_id')
            .onRef('tag.name', '=', 'event.tag')
            .on('tag.sequence', '>', 0),
        )
        .select(['event.repository_id as repositoryId', 'repository.name as repository', 'event.tag'])
        .where('event.image', 'is not', null)
        .where('tag.name', 'is', null)
        .where('event.sequence', '=', (query) =>
          query
            .selectFrom('tag_event as other')
            .select(({ fn }) => fn.max('other.sequence').as('sequence'))
            .whereRef('other.repository_id', '=', 'event.repository_id')
            .whereRef('other.tag', '=', 'event.tag'),
        )
        .where(sql<boolean>`(event.repository_id, event.tag) > (${last.repositoryId}, ${last.tag})`)
        .orderBy('event.repository_id')
        .orderBy('event.tag')
        .limit(pageSize)
        .execute(),
    );
  }

  async *images(): AsyncIterable<InspectedImage> {
    yield* byPages({ digest: '' as Digest }, (last) =>
      this.#db
        .selectFrom('image')
        .select(['digest', 'size', 'bytes'])
        .where('digest', '>', last.digest)
        .orderBy('digest')
        .limit(imagePageSize)
        .execute(),
    );
  }

  async *missingImages(): AsyncIterable<{ readonly repository: RepositoryName; readonly image: Digest }> {
    yield* byPages({ repositoryId: 0, image: '' as Digest }, (last) =>
      this.#db
        .selectFrom('repository_image')
        .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
        .leftJoin('image', 'image.digest', 'repository_image.image')
        .select(['repository_id as repositoryId', 'repository.name as repository', 'repository_image.image'])
        .where('image.digest', 'is', null)
        .where(
          sql<boolean>`(repository_image.repository_id, repository_image.image) > (${last.repositoryId}, ${last.image})`,
        )
        .orderBy('repository_image.repository_id')
        .orderBy('repository_image.image')
        .limit(pageSize)
        .execute(),
    );
  }

  async *missingReferences(): AsyncIterable<MissingReference> {
    const links = byPages({ repositoryId: 0, image: '' as Digest }, (last) =>
      this.#db
        .selectFrom('repository_image')
        .select(['repository_id as repositoryId', 'image', 'sparse'])
        .where(sql<boolean>`(repository_id, image) > (${last.repositoryId}, ${last.image})`)
        .orderBy('repository_id')
        .orderBy('image')
        .limit(pageSize)
        .execute(),
    );
    for await (const link of links) if (link.sparse === 0) yield* await this.#missingOf(link.repositoryId, link.image);
  }

  #missingOf(repositoryId: number, image: Digest): Promise<MissingReference[]> {
    return this.#db
      .selectFrom('image_reference')
      .innerJoin('repository', (join) => join.on('repository.id', '=', repositoryId))
      .leftJoin('repository_blob', (join) =>
        join
          .on('repository_blob.repository_id', '=', repositoryId)
          .onRef('repository_blob.digest', '=', 'image_reference.target'),
      )
      .leftJoin('repository_image', (join) =>
        join
          .on('repository_image.repository_id', '=', repositoryId)
          .onRef('repository_image.image', '=', 'image_reference.target'),
      )
      .select(['repository.name as repository', 'image_reference.image', 'role', 'target'])
      .where('image_reference.image', '=', image)
      .where('image_reference.required', '=', 1)
      .where('repository_blob.digest', 'is', null)
      .where('repository_image.image', 'is', null)
      .execute();
  }

  async *blobs(): AsyncIterable<BlobRecord> {
    yield* byPages({ digest: '' as Digest }, (last) =>
      this.#db
        .selectFrom('blob')
        .select(['digest', 'size', 'location'])
        .where('digest', '>', last.digest)
        .orderBy('digest')
        .limit(pageSize)
        .execute(),
    );
  }

  findBlob(digest: Digest): Promise<BlobRecord | undefined> {
    return findBlob(this.#db, digest);
  }

  async isKnownUpload(id: string): Promise<boolean> {
    return (await this.#db.selectFrom('upload').select('id').where('id', '=', id).executeTakeFirst()) !== undefined;
  }

  async isKnownLocation(location: string): Promise<boolean> {
    // Bytes of an upload that is being finished stand at their final place before the blob's row does.
    const upload = location.slice(location.lastIndexOf('/') + 1).replace(/-.*$/, '');
    const row = await this.#db
      .selectFrom('blob')
      .select('location')
      .where('location', '=', location)
      .union((query) => query.selectFrom('discarded_location').select('location').where('location', '=', location))
      .union((query) => query.selectFrom('upload').select('id as location').where('id', '=', upload))
      .executeTakeFirst();
    return row !== undefined;
  }

  async isLeftover(location: string): Promise<boolean> {
    const [ofUpload] = /^.*\/[0-9a-f]+-/.exec(location) ?? [];
    if (ofUpload === undefined || (await this.isKnownLocation(location))) return false;
    const row = await this.#db
      .selectFrom('blob')
      .select('location')
      .where('location', '>=', ofUpload)
      .where('location', '<', `${ofUpload.slice(0, -1)}.`)
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }
}

/**
 * Everything a query finds, page by page.
 *
 * @param start a key before every other
 * @param read the page after a key
 */
async function* byPages<Key, Row extends Key>(start: Key, read: (last: Key) => Promise<Row[]>): AsyncGenerator<Row> {
  for (let page = await read(start); page.length > 0; page = await read(page.at(-1)!)) yield* page;
}
