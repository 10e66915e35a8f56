import { createHash } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import type { Tag } from '../oci/reference.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { inBatches } from './batches.js';
import type { ApiObject } from './object-store.js';
import type { RepositoryTable, Schema, TagEventTable, TagTable } from './schema.js';
import type { JsonBody, OwnMetadata, SpecTag, StreamShell, TagState } from './stream-store.js';
import type { Actor, TagEvent } from './tag-history.js';

type RepositoryRow = Selectable<RepositoryTable>;
type TagRow = Selectable<TagTable>;
type TagEventRow = Selectable<TagEventTable>;

/** Removed streams have a name that no repository can have, until their rows are gone. */
export const leftoverPrefix = '!';
/** After the names of removed streams, before those of all others. */
export const afterLeftovers = String.fromCharCode(leftoverPrefix.charCodeAt(0) + 1) as RepositoryName;

/** The same for the same row, and another for one of that name that is made later. */
export function uidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

export function toStreamShell(row: RepositoryRow): StreamShell {
  return {
    id: row.id,
    name: row.name,
    uid: uidOf(`${row.id} ${row.created_at} ${row.name}`),
    createdAt: new Date(row.created_at),
    version: row.version,
    generation: row.generation,
    metadata: JSON.parse(row.metadata) as OwnMetadata,
    spec: JSON.parse(row.spec) as JsonBody,
    tagCount: row.tag_count,
  };
}

/** A stream as it stands in the change log: without tags, but with the names of those that changed. */
export function toStreamObject(stream: StreamShell, changedTags: readonly string[]): ApiObject {
  return {
    metadata: {
      name: streamNameOf(stream.name),
      namespace: projectOf(stream.name),
      uid: stream.uid,
      resourceVersion: String(stream.version),
      generation: stream.generation,
      creationTimestamp: stream.createdAt.toISOString().replace(/\.\d+Z$/, 'Z'),
      ...stream.metadata,
    },
    spec: stream.spec,
    changedTags,
  };
}

/** Without its resourceVersion, which is the key of a change. */
export function toChangeBody({
  metadata: { resourceVersion: _resourceVersion, ...metadata },
  ...fields
}: ApiObject): string {
  return JSON.stringify({ metadata, ...fields });
}

export function toTagEvent(row: TagEventRow): TagEvent {
  return {
    sequence: row.sequence,
    image: row.image ?? undefined,
    ...(row.location !== null && { location: row.location }),
    ...(row.reference !== null && { reference: row.reference }),
    cause: row.cause,
    actor: { name: row.principal, kind: row.principal_kind },
    at: new Date(row.at),
    generation: row.generation,
    created: new Date(row.created_at),
    ...(row.reason !== null && { reason: row.reason }),
    ...(row.source !== null && { source: row.source }),
    ...(row.returned_to !== null && { returnedTo: row.returned_to }),
    version: row.version,
    shown: row.shown === 1,
  };
}

export function toSpecTag(
  row: Pick<TagRow, 'spec' | 'spec_generation' | 'follows' | 'scheduled'>,
): SpecTag | undefined {
  if (row.spec === null) return undefined;
  return {
    generation: row.spec_generation ?? 1,
    body: JSON.parse(row.spec) as JsonBody,
    ...(row.follows !== null && { follows: row.follows }),
    scheduled: row.scheduled === 1,
  };
}

export function toTagState(row: TagRow, events: readonly TagEvent[]): TagState {
  return {
    name: row.name,
    spec: toSpecTag(row),
    image: row.image ?? undefined,
    sequence: row.sequence,
    firstSequence: row.first_sequence,
    conditions: row.conditions === null ? [] : (JSON.parse(row.conditions) as JsonBody[]),
    events,
  };
}

/**
 * The newest shown events of the tags of repositories, of each tag at most `limit`, by `<repository id> <tag>`: what is looked
 * at is a stretch of so many at the end of each history, whatever its length.
 *
 * @param within only tags from the first to the last, both included
 */
export async function readEvents(
  db: Kysely<Schema>,
  repositoryIds: readonly number[],
  limit: number,
  within?: { readonly first: Tag; readonly last: Tag },
): Promise<ReadonlyMap<string, readonly TagEvent[]>> {
  const found = new Map<string, TagEvent[]>();
  if (limit === 0) return found;
  for (const ids of inBatches(repositoryIds)) {
    const rows = await db
      .selectFrom('tag')
      // SQLite takes the tables of a cross join in this order: a stretch of each tag, and not all that ever happened.
      .crossJoin('tag_event')
      .whereRef('tag_event.repository_id', '=', 'tag.repository_id')
      .whereRef('tag_event.tag', '=', 'tag.name')
      .whereRef('tag_event.sequence', '<=', 'tag.sequence')
      .where((where) => where('tag_event.sequence', '>', where(where.ref('tag.sequence'), '-', limit)))
      // Of two lower bounds only one can be looked up, and this is the farther one.
      .where((where) => where(where('tag_event.sequence', '+', 0), '>=', where.ref('tag.first_sequence')))
      .selectAll('tag_event')
      .where('tag.repository_id', 'in', ids)
      .$if(within !== undefined, (query) =>
        query.where('tag.name', '>=', within!.first).where('tag.name', '<=', within!.last),
      )
      .where('tag_event.shown', '=', 1)
      .orderBy('tag_event.repository_id')
      .orderBy('tag_event.tag')
      .orderBy('tag_event.sequence', 'desc')
      .execute();
    for (const row of rows) {
      const key = eventsKey(row.repository_id, row.tag);
      const events = found.get(key);
      if (events === undefined) found.set(key, [toTagEvent(row)]);
      else events.push(toTagEvent(row));
    }
  }
  return found;
}

export function eventsKey(repositoryId: number, tag: string): string {
  return `${repositoryId} ${tag}`;
}

export function actorColumns({ name, kind }: Actor): Pick<TagEventTable, 'principal' | 'principal_kind'> {
  return { principal: name, principal_kind: kind };
}
