import { sql, type Selectable, type Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { Tag } from '../oci/reference.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { appendChange, nextVersion } from './change-log.js';
import type { ImportOutcome } from './import-state.js';
import { outcomeColumns } from './import-rows.js';
import { stateOfNamespace, ProjectUnavailableError } from './repository-rows.js';
import type { RepositoryTable, Schema, TagEventTable, TagTable } from './schema.js';
import {
  actorColumns,
  leftoverPrefix,
  toChangeBody,
  toStreamObject,
  toStreamShell,
  toTagEvent,
} from './stream-rows.js';
import {
  streamsResource,
  type JsonBody,
  type OwnMetadata,
  type SpecTag,
  type StreamShell,
  type TagRemover,
} from './stream-store.js';
import {
  sortNameOf,
  TagProtectedError,
  type NewTagEvent,
  type TagEvent,
  type TagGuard,
  type TagTarget,
} from './tag-history.js';

/** A stream that is changed in this commit. */
interface Touched {
  /** As it was; undefined when it is made in this commit. */
  readonly previous: StreamShell | undefined;
  readonly version: number;
  readonly tags: Set<string>;
  isRemoved: boolean;
}

/** How a writer works. */
export interface StreamWriterOptions {
  readonly guard?: TagGuard | undefined;
  readonly keepEvents?: number | undefined;
}

/** A tag that nothing has happened to and that nobody wants anything of. */
const blankTag = {
  spec: null,
  spec_generation: null,
  follows: null,
  scheduled: 0,
  image: null,
  sequence: 0,
  first_sequence: 0,
  conditions: null,
  size: 0,
} as const;

/** Of the history that a lower limit cuts off, removed with each event. */
const trimmedAtOnce = 1000;

/**
 * Writes streams, their tags and their history inside of one transaction. Every stream that changes gets one version and
 * one line in the change log, both at the end.
 */
export class StreamWriter {
  readonly #tx: Transaction<Schema>;
  readonly #guard: TagGuard;
  readonly #keepEvents: number;
  readonly #touched = new Map<number, Touched>();
  readonly at: Date;

  constructor(tx: Transaction<Schema>, at: Date, { guard, keepEvents }: StreamWriterOptions = {}) {
    this.#tx = tx;
    this.at = at;
    this.#guard = guard ?? (() => undefined);
    this.#keepEvents = keepEvents ?? Infinity;
  }

  async find(name: RepositoryName): Promise<StreamShell | undefined> {
    const row = await this.#tx.selectFrom('repository').selectAll().where('name', '=', name).executeTakeFirst();
    return row && toStreamShell(row);
  }

  /**
   * The stream, which is made when it is new.
   *
   * @throws {ProjectUnavailableError} when it is new and its project cannot take it
   */
  async ensure(name: RepositoryName): Promise<StreamShell> {
    return (await this.find(name)) ?? (await this.create(name, { metadata: {}, spec: {} }));
  }

  /** @throws {ProjectUnavailableError} */
  async create(
    name: RepositoryName,
    { metadata, spec }: { readonly metadata: OwnMetadata; readonly spec: JsonBody },
  ): Promise<StreamShell> {
    const project = projectOf(name);
    const state = await stateOfNamespace(this.#tx, project);
    if (state !== 'active') throw new ProjectUnavailableError(project, state);
    const version = await nextVersion(this.#tx);
    const row = await this.#tx
      .insertInto('repository')
      .values({
        name,
        created_at: this.at.getTime(),
        version,
        metadata: JSON.stringify(metadata),
        spec: JSON.stringify(spec),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    this.#touched.set(row.id, { previous: undefined, version, tags: new Set(), isRemoved: false });
    return toStreamShell(row);
  }

  async replace(
    stream: StreamShell,
    by: { readonly metadata: OwnMetadata; readonly spec: JsonBody; readonly generation: number },
  ): Promise<void> {
    await this.#touch(stream);
    await this.#update(stream.id, {
      metadata: JSON.stringify(by.metadata),
      spec: JSON.stringify(by.spec),
      generation: by.generation,
    });
  }

  /** Gone from everyone's sight; its rows stay under a name that nobody asks for until they are collected. */
  async remove(stream: StreamShell): Promise<void> {
    const touched = await this.#touch(stream);
    touched.isRemoved = true;
    await this.#tx.deleteFrom('tag_import').where('repository_id', '=', stream.id).execute();
    await this.#update(stream.id, { name: `${leftoverPrefix}${stream.id}` as RepositoryName });
  }

  async findTag(stream: StreamShell, tag: string): Promise<Selectable<TagTable> | undefined> {
    return this.#tx
      .selectFrom('tag')
      .selectAll()
      .where('repository_id', '=', stream.id)
      .where('name', '=', tag as Tag)
      .executeTakeFirst();
  }

  async putSpecTag(
    stream: StreamShell,
    tag: string,
    { generation, body, follows, scheduled, source }: SpecTag,
  ): Promise<void> {
    await this.#touch(stream, tag);
    const spec = {
      spec: JSON.stringify(body),
      spec_generation: generation,
      follows: (follows ?? null) as Tag | null,
      scheduled: scheduled ? (1 as const) : (0 as const),
    };
    const before = await this.findTag(stream, tag);
    if (before === undefined) await this.#insertTag(stream, tag, spec);
    else await this.#updateTag(stream, tag, spec);
    await this.#putImport(stream, tag, source, before?.spec_generation !== generation || scheduled);
  }

  async putSource(stream: StreamShell, source: string | undefined): Promise<void> {
    await this.#putImport(stream, '', source, true);
  }

  async settleImport(stream: StreamShell, tag: string, outcome: ImportOutcome): Promise<void> {
    await this.#tx
      .updateTable('tag_import')
      .set(outcomeColumns(outcome, this.at))
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag)
      .execute();
  }

  /** @param isDue whether it is to be looked at now though its source is the same as before */
  async #putImport(stream: StreamShell, tag: string, source: string | undefined, isDue: boolean): Promise<void> {
    if (source === undefined) {
      await this.#dropImport(stream, tag);
      return;
    }
    const now = { source, due_at: this.at.getTime(), lease: null, lease_until: null };
    // What another source was says nothing of this one.
    const digest = sql<Digest | null>`case when tag_import.source = ${source} then tag_import.digest end`;
    await this.#tx
      .insertInto('tag_import')
      .values({ repository_id: stream.id, tag, ...now })
      .onConflict((conflict) => {
        const update = conflict.columns(['repository_id', 'tag']).doUpdateSet({ ...now, digest });
        return isDue ? update : update.where('tag_import.source', '!=', source);
      })
      .execute();
  }

  async #dropImport(stream: StreamShell, tag: string): Promise<void> {
    await this.#tx.deleteFrom('tag_import').where('repository_id', '=', stream.id).where('tag', '=', tag).execute();
  }

  async removeSpecTag(stream: StreamShell, tag: string): Promise<void> {
    const row = await this.findTag(stream, tag);
    if (row === undefined || row.spec === null) return;
    await this.#touch(stream, tag);
    await this.#updateTag(stream, tag, { spec: null, spec_generation: null, follows: null, scheduled: 0 });
    await this.#dropImport(stream, tag);
    await this.#dropIfBlank(stream, tag);
  }

  async setConditions(stream: StreamShell, tag: string, conditions: readonly JsonBody[]): Promise<void> {
    const row = await this.findTag(stream, tag);
    const text = conditions.length === 0 ? null : JSON.stringify(conditions);
    if ((row?.conditions ?? null) === text) return;
    await this.#touch(stream, tag);
    if (row === undefined) await this.#insertTag(stream, tag, { conditions: text });
    else await this.#updateTag(stream, tag, { conditions: text });
    await this.#dropIfBlank(stream, tag);
  }

  /** As `StreamEdit.addEvent` says; the image is linked already where it is to be served. */
  async addEvent(stream: StreamShell, tag: string, event: NewTagEvent): Promise<boolean> {
    const isChanged = await this.#addToTag(stream, tag, event);
    if (!isChanged) return false;
    for (const name of await this.listFollowers(stream, tag)) {
      const { returnedTo: _returnedTo, ...told } = event;
      await this.#addToTag(stream, name, { ...told, source: `ImageStreamTag ${streamNameOf(stream.name)}:${tag}` });
    }
    return true;
  }

  /** The tags that follow a tag. */
  async listFollowers(stream: StreamShell, tag: string): Promise<readonly Tag[]> {
    const followers = await this.#tx
      .selectFrom('tag')
      .select('name')
      .where('repository_id', '=', stream.id)
      .where('follows', '=', tag as Tag)
      .where('name', '!=', tag as Tag)
      .execute();
    return followers.map(({ name }) => name);
  }

  /** @returns false when there is no such tag */
  async removeTag(stream: StreamShell, tag: string, by: TagRemover): Promise<boolean> {
    const row = await this.findTag(stream, tag);
    if (row === undefined) return false;
    if (row.sequence > 0) this.#checkGuard(stream, tag);
    await this.#touch(stream, tag);
    await this.#tx.deleteFrom('tag').where('repository_id', '=', stream.id).where('name', '=', row.name).execute();
    await this.#dropImport(stream, tag);
    await this.#countTags(stream, -1);
    if (row.sequence > 0) await this.#appendDeletion(stream, row.name, by);
    return true;
  }

  async #appendDeletion(stream: StreamShell, tag: Tag, { actor, reason }: TagRemover): Promise<void> {
    await this.#appendEvent(stream, {
      ...blankEvent(stream, tag, this.at),
      ...actorColumns(actor),
      cause: 'delete',
      reason: reason ?? null,
      shown: 0,
    });
  }

  /** Lets the present life of a tag begin earlier. */
  async extendLife(stream: StreamShell, tag: string, firstSequence: number): Promise<void> {
    await this.#touch(stream, tag);
    await this.#updateTag(stream, tag, { first_sequence: firstSequence });
  }

  /** Hides all shown events of the present life but these. */
  async keepEvents(stream: StreamShell, tag: string, sequences: readonly number[], by: TagRemover): Promise<void> {
    const row = await this.findTag(stream, tag);
    if (row === undefined) return;
    await this.#touch(stream, tag);
    const kept = new Set(sequences);
    const shown = await this.#tx
      .selectFrom('tag_event')
      .select('sequence')
      .where('repository_id', '=', stream.id)
      .where('tag', '=', row.name)
      .where('sequence', '>=', row.first_sequence)
      .where('shown', '=', 1)
      .execute();
    for (const { sequence } of shown) {
      if (!kept.has(sequence)) await this.#changeEvent(stream, row.name, sequence, { shown: 0 });
    }
    const newest = Math.max(0, ...shown.map(({ sequence }) => sequence).filter((sequence) => kept.has(sequence)));
    if (newest !== row.sequence) {
      this.#checkGuard(stream, tag);
      await this.#pointAt(stream, row.name, newest);
      if (newest === 0) await this.#appendDeletion(stream, row.name, by);
    }
    await this.#dropIfBlank(stream, tag);
  }

  /** Makes an image readable through a stream, with all that belongs to it, as it is through another. */
  async link(to: StreamShell, from: StreamShell, image: Digest): Promise<void> {
    if (to.id === from.id || (await this.isLinked(to, image))) return;
    const at = this.at.getTime();
    const closure = sql`with recursive closure(image) as (
        select digest from image where digest = ${image}
        union select image_reference.target from closure
          inner join image_reference on image_reference.image = closure.image and image_reference.role = 'manifest')`;
    const { rows: linked } = await sql<{ readonly image: Digest }>`${closure}
      insert into repository_image (repository_id, image, subject, sparse, linked_at)
      select cast(${to.id} as bigint), source.image, source.subject, source.sparse, cast(${at} as bigint) from closure
        inner join repository_image as source on source.repository_id = ${from.id} and source.image = closure.image
      where true on conflict do nothing returning image`.execute(this.#tx);
    await sql`${closure}
      insert into repository_blob (repository_id, digest, linked_at, collect_at)
      select distinct cast(${to.id} as bigint), source.digest, cast(${at} as bigint), cast(null as bigint) from closure
        inner join image_reference on image_reference.image = closure.image
        inner join repository_blob as source
          on source.repository_id = ${from.id} and source.digest = image_reference.target
      where true on conflict do nothing`.execute(this.#tx);
    for (const each of linked) await this.#serveAgain(to, each.image);
  }

  /** Makes an image readable through a stream. @param sparse undefined: as it is, and sparse when it is new */
  async linkImage(
    stream: StreamShell,
    {
      image,
      subject,
      sparse,
    }: { readonly image: Digest; readonly subject: Digest | undefined; readonly sparse?: 0 | 1 },
  ): Promise<void> {
    const isNew = !(await this.isLinked(stream, image));
    await this.#tx
      .insertInto('repository_image')
      .values({
        repository_id: stream.id,
        image,
        subject: subject ?? null,
        sparse: sparse ?? 1,
        linked_at: this.at.getTime(),
      })
      .onConflict((conflict) => {
        const known = conflict.columns(['repository_id', 'image']);
        return sparse === undefined ? known.doNothing() : known.doUpdateSet({ sparse });
      })
      .execute();
    if (isNew) await this.#serveAgain(stream, image);
  }

  /** Tags that were at the image when it was deleted lead to it again. */
  async #serveAgain(stream: StreamShell, image: Digest): Promise<void> {
    const tags = await this.#tx
      .selectFrom('tag_event')
      .innerJoin('tag', (join) =>
        join
          .onRef('tag.repository_id', '=', 'tag_event.repository_id')
          .onRef('tag.name', '=', 'tag_event.tag')
          .onRef('tag.sequence', '=', 'tag_event.sequence'),
      )
      .select(['tag.name', 'tag.sequence'])
      .where('tag_event.repository_id', '=', stream.id)
      .where('tag_event.image', '=', image)
      .where('tag_event.location', 'is', null)
      .where('tag.image', 'is', null)
      .execute();
    for (const { name, sequence } of tags) {
      await this.#touch(stream, name);
      await this.#pointAt(stream, name, sequence);
    }
  }

  async isLinked(stream: StreamShell, image: Digest): Promise<boolean> {
    const row = await this.#tx
      .selectFrom('repository_image')
      .select('image')
      .where('repository_id', '=', stream.id)
      .where('image', '=', image)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** The image leaves the history: events that name it are no longer shown. */
  async hideEventsOf(stream: StreamShell, image: Digest): Promise<void> {
    await this.#touch(stream);
    await this.#tx
      .updateTable('tag_event')
      .set({ shown: 0 })
      .where('repository_id', '=', stream.id)
      .where('image', '=', image)
      .where('location', 'is', null)
      .execute();
  }

  /** Writes the lines of the change log. @returns whether anything changed */
  async finish(): Promise<boolean> {
    // In the order in which the versions were taken, which is that of the log.
    for (const [id, { previous, version, tags, isRemoved }] of this.#touched) {
      const row = await this.#tx.selectFrom('repository').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
      const before = previous && toStreamObject(previous, []);
      const now = isRemoved ? { ...before!, changedTags: [] } : toStreamObject(toStreamShell(row), [...tags]);
      await appendChange(this.#tx, {
        version,
        resource: streamsResource,
        namespace: now.metadata.namespace!,
        name: now.metadata.name,
        kind: isRemoved ? 'DELETED' : previous === undefined ? 'ADDED' : 'MODIFIED',
        body: toChangeBody(now),
        previous: before === undefined ? null : toChangeBody(before),
        at: this.at.getTime(),
      });
    }
    return this.#touched.size > 0;
  }

  async #touch(stream: StreamShell, tag?: string): Promise<Touched> {
    let touched = this.#touched.get(stream.id);
    if (touched === undefined) {
      const version = await nextVersion(this.#tx);
      touched = { previous: stream, version, tags: new Set(), isRemoved: false };
      this.#touched.set(stream.id, touched);
      await this.#update(stream.id, { version });
    }
    if (tag !== undefined) touched.tags.add(tag);
    return touched;
  }

  async #addToTag(stream: StreamShell, tag: string, event: NewTagEvent): Promise<boolean> {
    const row = await this.findTag(stream, tag);
    const head =
      row === undefined || row.sequence === 0 ? undefined : await this.#findEvent(stream, row.name, row.sequence);
    const isSamePlace = head !== undefined && placeOf(head) === placeOf(event);
    const isSameImage = head !== undefined && head.image === event.image;
    if (head !== undefined && !isSameImage) this.#checkGuard(stream, tag);
    if (isSamePlace && isSameImage) {
      if (row!.conditions !== null) await this.setConditions(stream, tag, []);
      // The image may have been deleted, and is here again.
      if (row!.image === null && event.image !== undefined) await this.#pointAt(stream, tag as Tag, head.sequence);
      if (head.generation === event.generation) return false;
      await this.#touch(stream, tag);
      await this.#changeEvent(stream, tag as Tag, head.sequence, { generation: event.generation });
      return true;
    }
    const { version } = await this.#touch(stream, tag);
    const takesPlace = isSamePlace || isSameImage;
    const created = takesPlace ? head.created : (event.created ?? this.at);
    const sequence = await this.#appendEvent(stream, {
      ...blankEvent(stream, tag as Tag, this.at),
      image: event.image ?? null,
      location: event.location ?? null,
      reference: event.reference ?? null,
      cause: event.cause,
      ...actorColumns(event.actor),
      generation: event.generation,
      created_at: created.getTime(),
      reason: event.reason ?? null,
      source: event.source ?? null,
      returned_to: event.returnedTo ?? null,
      version,
    });
    if (takesPlace) await this.#changeEvent(stream, tag as Tag, head.sequence, { shown: 0 });
    if (row === undefined) await this.#insertTag(stream, tag, { first_sequence: sequence });
    else if (row.sequence === 0) await this.#updateTag(stream, tag, { first_sequence: sequence });
    await this.#lead(stream, tag as Tag, sequence, { ...event, at: this.at });
    if (row !== undefined && row.conditions !== null) await this.#updateTag(stream, tag, { conditions: null });
    await this.#trim(stream, tag as Tag, sequence);
    return true;
  }

  /** @throws {TagProtectedError} */
  #checkGuard(stream: StreamShell, tag: string): void {
    const rule = this.#guard(stream.name, tag);
    if (rule !== undefined) throw new TagProtectedError(stream.name, tag, rule);
  }

  /** Makes an event what the tag is; 0: nothing is. */
  async #pointAt(stream: StreamShell, tag: Tag, sequence: number): Promise<void> {
    await this.#lead(stream, tag, sequence, sequence === 0 ? undefined : await this.#findEvent(stream, tag, sequence));
  }

  async #lead(
    stream: StreamShell,
    tag: Tag,
    sequence: number,
    event: (TagTarget & { readonly at: Date }) | undefined,
  ): Promise<void> {
    const image =
      event?.image !== undefined && (await this.isLinked(stream, event.image)) && isServed(event) ? event.image : null;
    const summary =
      image === null
        ? undefined
        : await this.#tx.selectFrom('image_summary').select('size').where('image', '=', image).executeTakeFirst();
    await this.#updateTag(stream, tag, {
      image,
      sequence,
      ...(sequence === 0 && { first_sequence: 0 }),
      changed_at: (event?.at ?? this.at).getTime(),
      size: summary?.size ?? 0,
    });
  }

  async #findEvent(stream: StreamShell, tag: Tag, sequence: number): Promise<TagEvent | undefined> {
    const row = await this.#tx
      .selectFrom('tag_event')
      .selectAll()
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag)
      .where('sequence', '=', sequence)
      .executeTakeFirst();
    return row && toTagEvent(row);
  }

  async #appendEvent(
    stream: StreamShell,
    event: Omit<TagEventTable, 'sequence' | 'shown'> & { shown?: 0 | 1 },
  ): Promise<number> {
    const newest = await this.#tx
      .selectFrom('tag_event')
      .select('sequence')
      .where('repository_id', '=', stream.id)
      .where('tag', '=', event.tag)
      .orderBy('sequence', 'desc')
      .limit(1)
      .executeTakeFirst();
    const sequence = (newest?.sequence ?? 0) + 1;
    const { version } = await this.#touch(stream, event.tag);
    await this.#tx
      .insertInto('tag_event')
      .values({ ...event, sequence, version })
      .execute();
    return sequence;
  }

  async #changeEvent(
    stream: StreamShell,
    tag: Tag,
    sequence: number,
    to: { readonly generation?: number; readonly shown?: 0 },
  ): Promise<void> {
    await this.#tx
      .updateTable('tag_event')
      .set(to)
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag)
      .where('sequence', '=', sequence)
      .execute();
  }

  /** Lets go of the oldest events, where there is a limit. */
  async #trim(stream: StreamShell, tag: Tag, newest: number): Promise<void> {
    if (!Number.isFinite(this.#keepEvents) || newest <= this.#keepEvents) return;
    const tooOld = await this.#tx
      .selectFrom('tag_event')
      .select('sequence')
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag)
      .where('sequence', '<=', newest - this.#keepEvents)
      .orderBy('sequence')
      .limit(trimmedAtOnce)
      .execute();
    const last = tooOld.at(-1);
    if (last === undefined) return;
    await this.#tx
      .deleteFrom('tag_event')
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag)
      .where('sequence', '<=', last.sequence)
      .execute();
  }

  async #insertTag(stream: StreamShell, tag: string, columns: Partial<TagTable>): Promise<void> {
    await this.#tx
      .insertInto('tag')
      .values({
        ...blankTag,
        repository_id: stream.id,
        name: tag as Tag,
        changed_at: this.at.getTime(),
        sort_name: sortNameOf(tag),
        ...columns,
      })
      .execute();
    await this.#countTags(stream, 1);
  }

  async #updateTag(stream: StreamShell, tag: string, columns: Partial<TagTable>): Promise<void> {
    await this.#tx
      .updateTable('tag')
      .set(columns)
      .where('repository_id', '=', stream.id)
      .where('name', '=', tag as Tag)
      .execute();
  }

  /** A tag that nothing has happened to and that nobody wants anything of is none. */
  async #dropIfBlank(stream: StreamShell, tag: string): Promise<void> {
    const { numDeletedRows } = await this.#tx
      .deleteFrom('tag')
      .where('repository_id', '=', stream.id)
      .where('name', '=', tag as Tag)
      .where('sequence', '=', 0)
      .where('spec', 'is', null)
      .where('conditions', 'is', null)
      .executeTakeFirst();
    if (numDeletedRows > 0n) await this.#countTags(stream, -1);
  }

  async #countTags(stream: StreamShell, by: 1 | -1): Promise<void> {
    await this.#tx
      .updateTable('repository')
      .set({ tag_count: sql<number>`tag_count + ${by}` })
      .where('id', '=', stream.id)
      .execute();
  }

  async #update(id: number, columns: Partial<Selectable<RepositoryTable>>): Promise<void> {
    await this.#tx.updateTable('repository').set(columns).where('id', '=', id).execute();
  }
}

/** Two events of the same place have the same pull spec. */
function placeOf({ image, location, reference }: TagTarget): string {
  return reference ?? `${location ?? ''}@${image ?? ''}`;
}

/** Whether the registry serves what an event points at under this repository's name. */
function isServed({ location }: TagTarget): boolean {
  return location === undefined;
}

function blankEvent(
  stream: StreamShell,
  tag: Tag,
  at: Date,
): Omit<TagEventTable, 'sequence' | 'shown' | 'cause' | 'principal' | 'principal_kind'> {
  return {
    repository_id: stream.id,
    tag,
    image: null,
    at: at.getTime(),
    generation: stream.generation,
    created_at: at.getTime(),
    location: null,
    reference: null,
    reason: null,
    source: null,
    returned_to: null,
    version: 0,
    project: projectOf(stream.name),
  };
}
