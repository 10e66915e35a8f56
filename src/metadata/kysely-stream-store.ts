import { sql, type Kysely, type Selectable, type Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { inBatches } from './batches.js';
import { compileQuery, type RunQuery } from './compiled-query.js';
import { isSqlite } from './dialect.js';
import { insertImage } from './image-rows.js';
import type { ImportOutcome, ImportState } from './import-state.js';
import { toImportState } from './import-rows.js';
import { removeLeftovers } from './repository-removal.js';
import { idOf, projectRange } from './repository-rows.js';
import type { Database, RepositoryTable, Schema, TagEventTable, TagImportTable, TagTable } from './schema.js';
import { eventsKey, readEvents, toSpecTag, toStreamShell, toTagEvent, toTagState } from './stream-rows.js';
import { ConfigUnknownError } from './stream-store.js';
import type {
  EditOptions,
  HistoryEvent,
  HistoryQuery,
  ImageFacts,
  JsonBody,
  NewImage,
  OwnMetadata,
  SpecTag,
  StreamEdit,
  StreamQuery,
  StreamShell,
  StreamState,
  StreamStore,
  TagQuery,
  TagRemover,
  TagRow,
  TagState,
} from './stream-store.js';
import { StreamWriter } from './stream-writer.js';
import type { GlobSet, NewTagEvent, TagEvent } from './tag-history.js';

/** Ends a transaction that was only to be tried. */
class TriedOut extends Error {
  override readonly name = 'TriedOut';
  readonly result: unknown;
  constructor(result: unknown) {
    super('a dry run ends here');
    this.result = result;
  }
}

type RepositoryRow = Selectable<RepositoryTable>;
type TagTableRow = Selectable<TagTable>;

/** StreamStore in SQL. */
export class KyselyStreamStore implements StreamStore {
  readonly #db: Database;
  readonly #now: () => Date;
  readonly #onChange: () => void;
  readonly #findStream: RunQuery<RepositoryRow, { name: RepositoryName }>;
  readonly #findTag: RunQuery<TagTableRow, { repository: number; tag: Tag }>;
  readonly #findImport: RunQuery<Selectable<TagImportTable>, { repository: number; tag: string }>;
  readonly #findHead: RunQuery<Selectable<TagEventTable>, { repository: number; tag: Tag; sequence: number }>;

  /** @param onChange called after a commit that wrote lines of the change log */
  constructor(db: Database, now: () => Date = () => new Date(), onChange: () => void = () => undefined) {
    this.#db = db;
    this.#now = now;
    this.#onChange = onChange;
    this.#findStream = compileQuery(db, (parameter) =>
      db.selectFrom('repository').selectAll().where('name', '=', parameter('name')),
    );
    this.#findTag = compileQuery(db, (parameter) =>
      db
        .selectFrom('tag')
        .selectAll()
        .where('repository_id', '=', parameter('repository'))
        .where('name', '=', parameter('tag')),
    );
    this.#findImport = compileQuery(db, (parameter) =>
      db
        .selectFrom('tag_import')
        .selectAll()
        .where('repository_id', '=', parameter('repository'))
        .where('tag', '=', parameter('tag')),
    );
    this.#findHead = compileQuery(db, (parameter) =>
      db
        .selectFrom('tag_event')
        .selectAll()
        .where('repository_id', '=', parameter('repository'))
        .where('tag', '=', parameter('tag'))
        .where('sequence', '=', parameter('sequence')),
    );
  }

  async findStream(name: RepositoryName): Promise<StreamShell | undefined> {
    const row = await this.#findStream({ name });
    return row && toStreamShell(row);
  }

  async findTag(
    name: RepositoryName,
    tag: string,
    events: number,
  ): Promise<{ readonly stream: StreamShell; readonly tag: TagState | undefined } | undefined> {
    const stream = await this.findStream(name);
    if (stream === undefined) return undefined;
    const row = await this.#findTag({ repository: stream.id, tag: tag as Tag });
    if (row === undefined) return { stream, tag: undefined };
    const lastImport = row.spec === null ? undefined : await this.#findImport({ repository: stream.id, tag: row.name });
    const further = lastImport === undefined ? {} : { lastImport: toImportState(lastImport) };
    if (events > 1 || row.sequence === 0) {
      return { stream, tag: { ...(await withEvents(this.#db, row, events)), ...further } };
    }
    const head = await this.#findHead({ repository: stream.id, tag: row.name, sequence: row.sequence });
    return { stream, tag: { ...toTagState(row, head === undefined ? [] : [toTagEvent(head)]), ...further } };
  }

  async readStream(name: RepositoryName, events: number): Promise<StreamState | undefined> {
    const stream = await this.findStream(name);
    return stream && (await this.#withTags([stream], events))[0];
  }

  async listStreams({ project, after, limit, events }: StreamQuery): Promise<readonly StreamState[]> {
    const rows = await this.#selectStreams(project)
      .$if(after !== undefined, (query) => query.where('name', '>', after!))
      .limit(limit)
      .execute();
    return this.#withTags(rows.map(toStreamShell), events);
  }

  async listTagStates({
    project,
    after,
    limit,
    events,
  }: {
    readonly project?: string;
    readonly after?: { readonly stream: RepositoryName; readonly tag: string };
    readonly limit: number;
    readonly events: number;
  }): Promise<readonly { readonly stream: StreamShell; readonly tag: TagState }[]> {
    const found: { stream: StreamShell; tag: TagState }[] = [];
    let from = after;
    for (;;) {
      const rows = await this.#selectStreams(project)
        .$if(from !== undefined, (query) => query.where('name', '>=', from!.stream))
        .limit(streamsAtOnce)
        .execute();
      for (const row of rows) {
        const stream = toStreamShell(row);
        const lastTag = from?.stream === stream.name ? from.tag : undefined;
        for (const tag of await this.#tagsAfter(stream, lastTag, limit - found.length, events))
          found.push({ stream, tag });
        if (found.length === limit) return found;
        from = { stream: stream.name, tag: highest };
      }
      if (rows.length < streamsAtOnce) return found;
    }
  }

  async queryTags(
    name: RepositoryName,
    query: TagQuery,
  ): Promise<{ readonly rows: readonly TagRow[]; readonly total: number; readonly isLast: boolean } | undefined> {
    const stream = await this.findStream(name);
    if (stream === undefined) return undefined;
    const key = sortColumns[query.sort];
    const [operator, direction] = query.descending ? (['<', 'desc'] as const) : (['>', 'asc'] as const);
    // The page alone first: every index that it may be sorted by has what it needs, and only its rows are looked up.
    const page = this.#matchingTags(stream.id, query)
      .select(['tag.name', `${key} as key`])
      .$if(query.after !== undefined, (tags) =>
        tags.where(
          sql<boolean>`(${sql.ref(key)}, tag.name) ${sql.raw(operator)} (${query.after!.key}, ${query.after!.name})`,
        ),
      )
      .orderBy(key, direction)
      .orderBy('tag.name', direction)
      .limit(query.limit + 1)
      .as('page');
    const rows = await this.#db
      .selectFrom(page)
      .innerJoin('tag', (join) => join.on('tag.repository_id', '=', stream.id).onRef('tag.name', '=', 'page.name'))
      .leftJoin('tag_event', (join) =>
        join
          .onRef('tag_event.repository_id', '=', 'tag.repository_id')
          .onRef('tag_event.tag', '=', 'tag.name')
          .onRef('tag_event.sequence', '=', 'tag.sequence'),
      )
      .leftJoin('image_summary', 'image_summary.image', 'tag_event.image')
      .selectAll('tag_event')
      .select([
        'tag.name as tagName',
        'tag.spec',
        'tag.spec_generation',
        'tag.follows',
        'tag.scheduled',
        'tag.image as tagImage',
        'tag.conditions',
        'tag.changed_at',
        'tag.sequence as newest',
        'tag.first_sequence',
        'page.key',
        'image_summary.image as summarized',
        'image_summary.size',
        'image_summary.platforms',
        'image_summary.version as imageVersion',
      ])
      .orderBy('page.key', direction)
      .orderBy('page.name', direction)
      .execute();
    const imports = await this.#importsOf(
      stream,
      rows.filter(({ spec }) => spec !== null).map(({ tagName }) => tagName),
    );
    const isLast = rows.length <= query.limit;
    const isAll = isLast && query.after === undefined;
    return {
      rows: rows.slice(0, query.limit).map((row) => ({
        name: row.tagName,
        key: row.key,
        spec: toSpecTag(row),
        image: row.tagImage ?? undefined,
        conditions: row.conditions === null ? [] : (JSON.parse(row.conditions) as JsonBody[]),
        newest: row.sequence === null ? undefined : toTagEvent(row as Selectable<TagEventTable>),
        events: row.newest === 0 ? 0 : row.newest - row.first_sequence + 1,
        changedAt: new Date(row.changed_at),
        summary:
          row.summarized === null
            ? undefined
            : {
                size: row.size!,
                platforms: JSON.parse(row.platforms!) as string[],
                version: row.imageVersion ?? undefined,
              },
        lastImport: imports.get(row.tagName),
      })),
      total: isAll ? rows.length : await this.#countTags(stream, query),
      isLast,
    };
  }

  async listHistory(query: HistoryQuery): Promise<readonly HistoryEvent[]> {
    const { of, before } = query;
    const rows = await this.#db
      .selectFrom('tag_event')
      .innerJoin('repository', 'repository.id', 'tag_event.repository_id')
      .leftJoin('tag', (join) =>
        join
          .onRef('tag.repository_id', '=', 'tag_event.repository_id')
          .onRef('tag.name', '=', 'tag_event.tag')
          .onRef('tag.sequence', '=', 'tag_event.sequence'),
      )
      .leftJoin('image_summary', 'image_summary.image', 'tag_event.image')
      .selectAll('tag_event')
      .select([
        'repository.name as repository',
        'tag.name as currentOf',
        'image_summary.image as summarized',
        'image_summary.size',
        'image_summary.platforms',
        'image_summary.version as imageVersion',
      ])
      .$if(of.kind === 'tag' || of.kind === 'stream', (events) =>
        events.where('tag_event.repository_id', '=', idOf((of as { repository: RepositoryName }).repository)),
      )
      .$if(of.kind === 'tag', (events) =>
        events
          .where('tag_event.tag', '=', (of as { tag: string }).tag as Tag)
          .$if(before !== undefined, (page) => page.where('tag_event.sequence', '<', before!.sequence))
          .orderBy('tag_event.sequence', 'desc'),
      )
      .$if(of.kind === 'everything', (events) =>
        events.where('repository.name', '>=', afterLeftovers as RepositoryName),
      )
      .$if(of.kind === 'project', (events) => {
        const { project } = of as { project: string };
        const [from, to] = projectRange(project);
        return (
          events
            .where('tag_event.project', '=', project)
            // Removed streams have another name until their rows are gone.
            .where('repository.name', '>=', from)
            .where('repository.name', '<', to)
        );
      })
      .$if(of.kind !== 'tag', (events) =>
        events
          .$if(before !== undefined, (page) =>
            page.where((where) =>
              where(
                where.refTuple('tag_event.version', 'tag_event.repository_id', 'tag_event.tag', 'tag_event.sequence'),
                '<',
                where.tuple(before!.version, before!.repositoryId, before!.tag as Tag, before!.sequence),
              ),
            ),
          )
          .orderBy('tag_event.version', 'desc')
          .orderBy('tag_event.repository_id', 'desc')
          .orderBy('tag_event.tag', 'desc')
          .orderBy('tag_event.sequence', 'desc'),
      )
      .$if(query.causes !== undefined, (events) => events.where('tag_event.cause', 'in', query.causes!))
      .$if(query.actor !== undefined, (events) => events.where('tag_event.principal', '=', query.actor!))
      .$if(query.image !== undefined, (events) => events.where('tag_event.image', '=', query.image!))
      .$if(query.since !== undefined, (events) => events.where('tag_event.at', '>=', query.since!.getTime()))
      .$if(query.until !== undefined, (events) => events.where('tag_event.at', '<', query.until!.getTime()))
      .limit(query.limit)
      .execute();
    return rows.map((row) => ({
      ...toTagEvent(row),
      position: { version: row.version, repositoryId: row.repository_id, tag: row.tag, sequence: row.sequence },
      repository: row.repository,
      tag: row.tag,
      isCurrent: row.currentOf !== null,
      facts:
        row.summarized === null
          ? undefined
          : {
              size: row.size!,
              platforms: JSON.parse(row.platforms!) as string[],
              version: row.imageVersion ?? undefined,
            },
    }));
  }

  findLinkedImages(name: RepositoryName, prefix: string): Promise<readonly Digest[]> {
    return findLinkedImages(this.#db, name, prefix);
  }

  async listLinkedImages(name: RepositoryName, after: string | undefined, limit: number): Promise<readonly Digest[]> {
    const rows = await this.#db
      .selectFrom('repository_image')
      .select('repository_image.image')
      .where('repository_id', '=', idOf(name))
      .$if(after !== undefined, (query) => query.where('repository_image.image', '>', after as Digest))
      .orderBy('repository_image.image')
      .limit(limit)
      .execute();
    return rows.map(({ image }) => image);
  }

  countStreams(project: string): Promise<number> {
    return countStreams(this.#db, project);
  }

  async factsOf(images: readonly Digest[]): Promise<ReadonlyMap<Digest, ImageFacts>> {
    const facts = new Map<Digest, ImageFacts>();
    for (const batch of inBatches(new Set(images))) {
      const rows = await this.#db
        .selectFrom('image_summary')
        .select(['image', 'size', 'platforms', 'version'])
        .where('image', 'in', batch)
        .execute();
      for (const row of rows) {
        facts.set(row.image, {
          size: row.size,
          platforms: JSON.parse(row.platforms) as string[],
          version: row.version ?? undefined,
        });
      }
    }
    return facts;
  }

  async listTagsOfImage(name: RepositoryName, image: Digest, limit: number): Promise<readonly Tag[]> {
    const rows = await this.#db
      .selectFrom('tag')
      .select('tag.name')
      .where('repository_id', '=', idOf(name))
      .where('tag.image', '=', image)
      .orderBy('tag.name')
      .limit(limit)
      .execute();
    return rows.map((row) => row.name);
  }

  async edit<Result>(work: (edit: StreamEdit) => Promise<Result>, options: EditOptions = {}): Promise<Result> {
    try {
      const [result, isChanged] = await this.#db.transaction().execute(async (tx) => {
        const writer = new StreamWriter(tx, this.#now(), options);
        const done = await work(new TransactionalEdit(tx, writer));
        const isDone = await writer.finish();
        if (options.dryRun === true) throw new TriedOut(done);
        return [done, isDone] as const;
      });
      if (isChanged) this.#onChange();
      return result;
    } catch (error) {
      if (error instanceof TriedOut) return error.result as Result;
      throw error;
    }
  }

  removeLeftovers(limit: number): Promise<number> {
    return this.#db.transaction().execute((tx) => removeLeftovers(tx, limit, this.#now()));
  }

  async forgetDeletedTags(before: Date, limit: number): Promise<number> {
    return this.#db.transaction().execute(async (tx) => {
      const deletion = await tx
        .selectFrom('tag_event')
        .select(['repository_id', 'tag', 'sequence'])
        .where('cause', '=', 'delete')
        .where('at', '<', before.getTime())
        .orderBy('at')
        .limit(1)
        .executeTakeFirst();
      if (deletion === undefined) return 0;
      const old = await tx
        .selectFrom('tag_event')
        .select('sequence')
        .where('repository_id', '=', deletion.repository_id)
        .where('tag', '=', deletion.tag)
        .where('sequence', '<=', deletion.sequence)
        .orderBy('sequence')
        .limit(limit)
        .execute();
      await tx
        .deleteFrom('tag_event')
        .where('repository_id', '=', deletion.repository_id)
        .where('tag', '=', deletion.tag)
        .where('sequence', '<=', old.at(-1)!.sequence)
        .execute();
      return old.length;
    });
  }

  #selectStreams(project: string | undefined) {
    const query = this.#db.selectFrom('repository').selectAll().orderBy('name');
    const [from, to] = project === undefined ? [afterLeftovers as RepositoryName, undefined] : projectRange(project);
    return query.where('name', '>=', from).$if(to !== undefined, (each) => each.where('name', '<', to!));
  }

  async #withTags(streams: readonly StreamShell[], events: number): Promise<readonly StreamState[]> {
    const ids = streams.map(({ id }) => id);
    const tags = new Map<number, TagState[]>(ids.map((id) => [id, []]));
    const history = await readEvents(this.#db, ids, events);
    for (const batch of inBatches(ids)) {
      const rows = await this.#db
        .selectFrom('tag')
        .selectAll()
        .where('repository_id', 'in', batch)
        .orderBy('repository_id')
        .orderBy('name')
        .execute();
      for (const row of rows) {
        tags.get(row.repository_id)!.push(toTagState(row, history.get(eventsKey(row.repository_id, row.name)) ?? []));
      }
    }
    return streams.map((stream) => ({ stream, tags: tags.get(stream.id)! }));
  }

  async #importsOf({ id }: StreamShell, tags: readonly string[]): Promise<ReadonlyMap<string, ImportState>> {
    const found = new Map<string, ImportState>();
    for (const batch of inBatches(tags)) {
      const rows = await this.#db
        .selectFrom('tag_import')
        .selectAll()
        .where('repository_id', '=', id)
        .where('tag', 'in', batch)
        .execute();
      for (const row of rows) found.set(row.tag, toImportState(row));
    }
    return found;
  }

  async #tagsAfter(
    stream: StreamShell,
    after: string | undefined,
    limit: number,
    events: number,
  ): Promise<readonly TagState[]> {
    if (after === highest) return [];
    const rows = await this.#db
      .selectFrom('tag')
      .selectAll()
      .where('repository_id', '=', stream.id)
      .$if(after !== undefined, (query) => query.where('name', '>', after as Tag))
      .orderBy('name')
      .limit(limit)
      .execute();
    return withEventsOfRange(this.#db, stream.id, rows, events);
  }

  #matchingTags(repositoryId: number, { glob, digestPrefix, state, within }: Omit<TagQuery, 'limit' | 'after'>) {
    return this.#db
      .selectFrom('tag')
      .where('tag.repository_id', '=', repositoryId)
      .$if(glob !== undefined, (query) => query.where(matchesGlob(this.#db, glob!)))
      .$if(digestPrefix !== undefined, (query) =>
        query.where((where) =>
          where.or(
            digestRanges(digestPrefix!).map(([from, to]) =>
              where.and([where('tag.image', '>=', from), where('tag.image', '<', to)]),
            ),
          ),
        ),
      )
      .$if(state === 'scheduled', (query) => query.where('tag.scheduled', '=', 1))
      .$if(state === 'failing', (query) => query.where('tag.conditions', 'is not', null))
      .$if(within !== undefined, (query) => query.where(isWithin(this.#db, within!)));
  }

  /** All tags are counted as they come and go; what is filtered is counted when it is asked for. */
  async #countTags(stream: StreamShell, query: TagQuery): Promise<number> {
    const isFiltered =
      query.glob !== undefined ||
      query.digestPrefix !== undefined ||
      query.state !== undefined ||
      query.within !== undefined;
    if (!isFiltered) return stream.tagCount;
    const { count } = await this.#matchingTags(stream.id, query)
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return count;
  }
}

/** Reads at a time when tags are listed stream by stream. */
const streamsAtOnce = 100;
/** After every tag. */
const highest = '\u{10FFFF}';
/** After the names of removed streams, before those of all others. */
const afterLeftovers = '"';

const sortColumns = { name: 'tag.sort_name', changed: 'tag.changed_at', size: 'tag.size' } as const;

async function withEvents(db: Kysely<Schema>, row: TagTableRow, events: number): Promise<TagState> {
  const found = await db
    .selectFrom('tag_event')
    .selectAll()
    .where('repository_id', '=', row.repository_id)
    .where('tag', '=', row.name)
    .where('sequence', '>=', row.first_sequence)
    .where('sequence', '<=', row.sequence)
    .where('shown', '=', 1)
    .orderBy('sequence', 'desc')
    .limit(events)
    .execute();
  return toTagState(row, found.map(toTagEvent));
}

/** @param rows all tags of one repository from the first of them to the last */
async function withEventsOfRange(
  db: Kysely<Schema>,
  repositoryId: number,
  rows: readonly TagTableRow[],
  events: number,
): Promise<readonly TagState[]> {
  const [first, last] = [rows[0], rows.at(-1)];
  if (first === undefined || last === undefined) return [];
  const history = await readEvents(db, [repositoryId], events, { first: first.name, last: last.name });
  return rows.map((row) => toTagState(row, history.get(eventsKey(repositoryId, row.name)) ?? []));
}

/** The ranges of digests that begin like this, or whose hex part does. */
function digestRanges(prefix: string): readonly (readonly [Digest, Digest])[] {
  const prefixes = prefix.includes(':') ? [prefix] : [`sha256:${prefix}`, `sha512:${prefix}`];
  // "g" comes after every hex digit.
  return prefixes.map((each) => [each as Digest, `${each}g` as Digest]);
}

/** Tags like a glob of `*` and `?`. */
function matchesGlob(db: Kysely<Schema>, glob: string) {
  if (!/[*?]/.test(glob)) return sql<boolean>`tag.name = ${glob}`;
  const [prefix] = glob.split(/[*?]/, 1) as [string];
  // What may begin with anything is looked for in the order in which it is wanted, until the page is full.
  const isLike = isSqlite(db)
    ? sql<boolean>`tag.name glob ${glob.replaceAll('[', '[[]')}`
    : sql<boolean>`tag.name like ${glob
        .replaceAll(/[\\%_]/g, '\\$&')
        .replaceAll('*', '%')
        .replaceAll('?', '_')}`;
  if (prefix === '') return isLike;
  // The range lets an index find what begins like the glob.
  return sql<boolean>`(tag.name >= ${prefix} and tag.name < ${prefix + highest} and ${isLike})`;
}

async function countStreams(db: Kysely<Schema>, project: string): Promise<number> {
  const [from, to] = projectRange(project);
  const { count } = await db
    .selectFrom('repository')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('name', '>=', from)
    .where('name', '<', to)
    .executeTakeFirstOrThrow();
  return count;
}

/** Tags in one of the sets. */
function isWithin(db: Kysely<Schema>, sets: readonly GlobSet[]) {
  const anyOf = (globs: readonly string[]) =>
    sql<boolean>`(${sql.join([sql`1 = 0`, ...globs.map((glob) => matchesGlob(db, glob))], sql` or `)})`;
  const each = sets.map(({ included, excluded }) => sql<boolean>`(${anyOf(included)} and not ${anyOf(excluded)})`);
  return sql<boolean>`(${sql.join([sql`1 = 0`, ...each], sql` or `)})`;
}

async function findLinkedImages(db: Kysely<Schema>, name: RepositoryName, prefix: string): Promise<readonly Digest[]> {
  const found: Digest[] = [];
  for (const [from, to] of digestRanges(prefix)) {
    const rows = await db
      .selectFrom('repository_image')
      .innerJoin('repository', 'repository.id', 'repository_image.repository_id')
      .select('repository_image.image')
      .where('repository.name', '=', name)
      .where('repository_image.image', '>=', from)
      .where('repository_image.image', '<', to)
      .limit(2)
      .execute();
    found.push(...rows.map(({ image }) => image));
  }
  return found.slice(0, 2);
}

/** The edit of one transaction. */
class TransactionalEdit implements StreamEdit {
  readonly #tx: Transaction<Schema>;
  readonly #writer: StreamWriter;

  constructor(tx: Transaction<Schema>, writer: StreamWriter) {
    this.#tx = tx;
    this.#writer = writer;
  }

  get at(): Date {
    return this.#writer.at;
  }

  findStream(name: RepositoryName): Promise<StreamShell | undefined> {
    return this.#writer.find(name);
  }

  async findTag(name: RepositoryName, tag: string, events: number): Promise<TagState | undefined> {
    const stream = await this.#writer.find(name);
    const row = stream && (await this.#writer.findTag(stream, tag));
    return row && withEvents(this.#tx, row, events);
  }

  async listTags(name: RepositoryName, events: number): Promise<readonly TagState[]> {
    const stream = await this.#writer.find(name);
    if (stream === undefined) return [];
    const rows = await this.#tx
      .selectFrom('tag')
      .selectAll()
      .where('repository_id', '=', stream.id)
      .orderBy('name')
      .execute();
    return withEventsOfRange(this.#tx, stream.id, rows, events);
  }

  async findEventsByImage(name: RepositoryName, prefix: string): Promise<readonly TagEvent[]> {
    const stream = await this.#writer.find(name);
    if (stream === undefined) return [];
    const newest = new Map<Digest, TagEvent>();
    for (const [from, to] of digestRanges(prefix)) {
      // Distinct images first, each found by a step in the index: one image may have many events.
      let last: Digest | undefined;
      while (newest.size < imagesAtOnce) {
        const row = await this.#tx
          .selectFrom('tag_event')
          .selectAll()
          .where('repository_id', '=', stream.id)
          .where('image', last === undefined ? '>=' : '>', last ?? from)
          .where('image', '<', to)
          .where('shown', '=', 1)
          .orderBy('image')
          .limit(1)
          .executeTakeFirst();
        if (row === undefined) break;
        last = row.image!;
        newest.set(last, toTagEvent(row));
      }
    }
    return [...newest.values()];
  }

  async findEvent(name: RepositoryName, tag: string, sequence: number): Promise<TagEvent | undefined> {
    const stream = await this.#writer.find(name);
    if (stream === undefined) return undefined;
    const row = await this.#tx
      .selectFrom('tag_event')
      .selectAll()
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag as Tag)
      .where('sequence', '=', sequence)
      .executeTakeFirst();
    return row && toTagEvent(row);
  }

  async findEventOfTag(name: RepositoryName, tag: string, image: Digest): Promise<TagEvent | undefined> {
    const stream = await this.#writer.find(name);
    if (stream === undefined) return undefined;
    const row = await this.#tx
      .selectFrom('tag_event')
      .selectAll()
      .where('repository_id', '=', stream.id)
      .where('tag', '=', tag as Tag)
      .where('image', '=', image)
      .where('shown', '=', 1)
      .orderBy('sequence', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row && toTagEvent(row);
  }

  async listFollowers(name: RepositoryName, tag: string): Promise<readonly string[]> {
    const stream = await this.#writer.find(name);
    return stream === undefined ? [] : this.#writer.listFollowers(stream, tag);
  }

  async findTagWithin(name: RepositoryName, sets: readonly GlobSet[]): Promise<string | undefined> {
    const stream = await this.#writer.find(name);
    if (stream === undefined || sets.length === 0) return undefined;
    const row = await this.#tx
      .selectFrom('tag')
      .select('name')
      .where('repository_id', '=', stream.id)
      .where('sequence', '>', 0)
      .where(isWithin(this.#tx, sets))
      .limit(1)
      .executeTakeFirst();
    return row?.name;
  }

  async isTagged(name: RepositoryName, image: Digest): Promise<boolean> {
    const row = await this.#tx
      .selectFrom('tag')
      .innerJoin('repository', 'repository.id', 'tag.repository_id')
      .select('tag.name')
      .where('repository.name', '=', name)
      .where('tag.image', '=', image)
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }

  async findDeletion(
    name: RepositoryName,
    tag: string,
  ): Promise<{ readonly deletion: TagEvent; readonly last: TagEvent; readonly firstSequence: number } | undefined> {
    const stream = await this.#writer.find(name);
    if (stream === undefined || ((await this.#writer.findTag(stream, tag))?.sequence ?? 0) > 0) return undefined;
    const events = () =>
      this.#tx
        .selectFrom('tag_event')
        .selectAll()
        .where('repository_id', '=', stream.id)
        .where('tag', '=', tag as Tag)
        .orderBy('sequence', 'desc')
        .limit(1);
    const deletion = await events().executeTakeFirst();
    if (deletion?.cause !== 'delete') return undefined;
    const last = await events().where('sequence', '<', deletion.sequence).where('shown', '=', 1).executeTakeFirst();
    const earlier = await events()
      .where('sequence', '<', deletion.sequence)
      .where('cause', '=', 'delete')
      .executeTakeFirst();
    if (last === undefined || (earlier !== undefined && last.sequence < earlier.sequence)) return undefined;
    return {
      deletion: toTagEvent(deletion),
      last: toTagEvent(last),
      firstSequence: (earlier?.sequence ?? 0) + 1,
    };
  }

  countStreams(project: string): Promise<number> {
    return countStreams(this.#tx, project);
  }

  findLinkedImages(name: RepositoryName, prefix: string): Promise<readonly Digest[]> {
    return findLinkedImages(this.#tx, name, prefix);
  }

  async isLinked(name: RepositoryName, image: Digest): Promise<boolean> {
    const stream = await this.#writer.find(name);
    return stream !== undefined && this.#writer.isLinked(stream, image);
  }

  createStream(
    name: RepositoryName,
    of: { readonly metadata: OwnMetadata; readonly spec: JsonBody },
  ): Promise<StreamShell> {
    return this.#writer.create(name, of);
  }

  async replaceStream(
    name: RepositoryName,
    by: { readonly metadata: OwnMetadata; readonly spec: JsonBody; readonly generation: number },
  ): Promise<void> {
    await this.#writer.replace(await this.#stream(name), by);
  }

  async addImage(name: RepositoryName, image: NewImage): Promise<void> {
    const stream = await this.#stream(name);
    const isNew = await insertImage(this.#tx, image, this.#writer.at);
    if (!isNew) await this.#requireConfig(stream, image);
    await this.#writer.linkImage(stream, { image: image.digest, subject: image.manifest.subject });
  }

  /** @throws {ConfigUnknownError} */
  async #requireConfig(stream: StreamShell, { digest, summary }: NewImage): Promise<void> {
    if (summary.config !== undefined || (await this.#writer.isLinked(stream, digest))) return;
    const known = await this.#tx
      .selectFrom('image_summary')
      .select('image')
      .where('image', '=', digest)
      .where('config', 'is not', null)
      .executeTakeFirst();
    if (known !== undefined) throw new ConfigUnknownError(`the config of image ${digest} is not known to who adds it`);
  }

  async putSpecTag(name: RepositoryName, tag: string, spec: SpecTag): Promise<void> {
    await this.#writer.putSpecTag(await this.#stream(name), tag, spec);
  }

  async putSource(name: RepositoryName, source: string | undefined): Promise<void> {
    await this.#writer.putSource(await this.#stream(name), source);
  }

  async settleImport(name: RepositoryName, tag: string, outcome: ImportOutcome): Promise<void> {
    await this.#writer.settleImport(await this.#stream(name), tag, outcome);
  }

  async removeSpecTag(name: RepositoryName, tag: string): Promise<void> {
    await this.#writer.removeSpecTag(await this.#stream(name), tag);
  }

  async addEvent(name: RepositoryName, tag: string, event: NewTagEvent, linkFrom?: RepositoryName): Promise<boolean> {
    const stream = await this.#stream(name);
    if (linkFrom !== undefined && event.image !== undefined) {
      await this.#writer.link(stream, await this.#stream(linkFrom), event.image);
    }
    return this.#writer.addEvent(stream, tag, event);
  }

  async extendLife(name: RepositoryName, tag: string, firstSequence: number): Promise<void> {
    await this.#writer.extendLife(await this.#stream(name), tag, firstSequence);
  }

  async keepEvents(name: RepositoryName, tag: string, sequences: readonly number[], by: TagRemover): Promise<void> {
    await this.#writer.keepEvents(await this.#stream(name), tag, sequences, by);
  }

  async setConditions(name: RepositoryName, tag: string, conditions: readonly JsonBody[]): Promise<void> {
    await this.#writer.setConditions(await this.#stream(name), tag, conditions);
  }

  async removeTag(name: RepositoryName, tag: string, by: TagRemover): Promise<boolean> {
    return this.#writer.removeTag(await this.#stream(name), tag, by);
  }

  async removeStream(name: RepositoryName): Promise<void> {
    await this.#writer.remove(await this.#stream(name));
  }

  async #stream(name: RepositoryName): Promise<StreamShell> {
    const stream = await this.#writer.find(name);
    if (stream === undefined) throw new Error(`there is no stream ${name} to be changed`);
    return stream;
  }
}

/** Nobody needs to be told of more that a prefix could mean. */
const imagesAtOnce = 10;
