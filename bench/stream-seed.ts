import fs from 'node:fs';
import SqliteDatabase from 'better-sqlite3';
import { digestOf } from './blobs.js';

/** A stream that is to be there as if it had been pushed to. */
export interface SeededStream {
  readonly project: string;
  /** Below the project. */
  readonly name: string;
  readonly tags: number;
  /** Of each tag, each with an image of its own. */
  readonly events: number;
  /** The number of the first of its images; those of the others follow. */
  readonly firstImage: number;
}

/** An image of a seeded stream. */
export interface SeededImage {
  readonly digest: string;
  /** Of the manifest. */
  readonly bytes: Buffer;
  readonly config: string;
  readonly configDigest: string;
  /** Bytes of config and layer. */
  readonly totalSize: number;
}

/** What was seeded. */
export interface Seeded {
  readonly images: number;
  readonly seconds: number;
  /** The image of that number. */
  readonly imageOf: (number: number) => SeededImage;
}

/** Streams with the numbers of their images. */
export function numberImages(streams: Iterable<Omit<SeededStream, 'firstImage'>>): readonly SeededStream[] {
  let firstImage = 0;
  return Array.from(streams, (stream) => {
    const numbered = { ...stream, firstImage };
    firstImage += stream.tags * stream.events;
    return numbered;
  });
}

/** The name of the tag that came at a position. Names come from both ends, so that their order is not that of time. */
export function tagNameOf({ tags }: Pick<SeededStream, 'tags'>, position: number): string {
  const half = Math.floor(position / 2);
  return `v1.${position % 2 === 0 ? half : tags - 1 - half}`;
}

/**
 * Fills a database that no registry has open with the rows that pushes would have left: each is a copy of a row of one
 * pushed image with other names and numbers. They are older than the change log, so it says nothing of them, and the
 * grace of their blobs is over. Their configs are not in the blob store: nothing here pulls them.
 *
 * @param file of SQLite, which loses all if this does not end
 * @param repository to which one image was pushed with one tag; its streams' projects are there
 */
export function seedStreams(file: string, repository: string, streams: readonly SeededStream[]): Seeded {
  const began = performance.now();
  const db = new SqliteDatabase(file);
  // Nothing is worth keeping if it fails half-way, and digests come in no order: what does not fit into the cache is
  // written and read again and again.
  for (const pragma of ['journal_mode = off', 'synchronous = off', 'foreign_keys = off', 'cache_size = -1500000']) {
    db.pragma(pragma);
  }
  const template = readTemplate(db, repository);
  const indexes = db
    .prepare<[], { name: string; sql: string }>(`select name, sql from sqlite_master where type = 'index' and sql > ''`)
    .all();
  const images = db.transaction(() => {
    // In order an index is made many times faster than row by row.
    for (const { name } of indexes) db.exec(`drop index ${name}`);
    const count = new Seeder(db, template).seed(streams);
    for (const { sql } of indexes) db.exec(sql);
    return count;
  })();
  db.pragma('journal_mode = wal');
  db.close();
  // Otherwise the first checkpoint of the registry has to wait for all of it.
  const opened = fs.openSync(file, 'r+');
  fs.fsyncSync(opened);
  fs.closeSync(opened);
  return {
    images,
    seconds: (performance.now() - began) / 1000,
    imageOf: (number) => makeImage(template, number),
  };
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly [Descriptor];
}

/** What was pushed. */
interface Template {
  readonly repositoryId: number;
  readonly image: string;
  readonly manifest: Manifest;
  readonly config: string;
}

function readTemplate(db: SqliteDatabase.Database, repository: string): Template {
  const row = db
    .prepare<[string], { repositoryId: number; image: string; bytes: Buffer; config: string }>(
      `select repository.id as repositoryId, image.digest as image, image.bytes, image_summary.config
      from repository
        inner join repository_image on repository_image.repository_id = repository.id
        inner join image on image.digest = repository_image.image
        inner join image_summary on image_summary.image = image.digest
      where repository.name = ?`,
    )
    .get(repository);
  if (row === undefined) throw new Error(`nothing was pushed to ${repository}`);
  return { ...row, manifest: JSON.parse(row.bytes.toString()) as Manifest };
}

/** Images differ in their configs, and those in their sizes too, so that there is something to sort by. */
function makeImage({ manifest, config: pushed }: Template, number: number): SeededImage {
  const changed = { ...(JSON.parse(pushed) as object), author: `${number} ${'x'.repeat(number % 97)}` };
  const config = JSON.stringify(changed);
  const configDigest = digestOf(Buffer.from(config));
  const described = { ...manifest.config, digest: configDigest, size: config.length };
  const bytes = Buffer.from(JSON.stringify({ ...manifest, config: described }));
  const totalSize = config.length + manifest.layers[0].size;
  return { digest: digestOf(bytes), bytes, config, configDigest, totalSize };
}

/** Which rows of the template are copied, once for each seed or for some, and what differs: SQL by column. */
interface Copy {
  readonly table: string;
  readonly of: string;
  readonly only?: string;
  readonly order?: string;
  readonly set: Readonly<Record<string, string>>;
}

/** Events that are seeded at a time. In the order of their keys, rows go into a table at half the cost. */
const seedsAtOnce = 100_000;

const seedColumns = [
  'repository_id',
  'repository',
  'project',
  'tag_count',
  'stream_version',
  'is_first',
  'tag',
  'sort_name',
  'sequence',
  'is_newest',
  'at',
  'image',
  'bytes',
  'manifest_size',
  'config',
  'config_digest',
  'config_size',
  'total_size',
  'image_version',
  'event_version',
] as const;

type Seed = Readonly<Record<(typeof seedColumns)[number], number | string | Buffer>>;

/** Each seed is one event of a tag, with its image. */
const copies: readonly Copy[] = [
  {
    table: 'repository',
    of: 'template.id = :repositoryId',
    only: 'seed.is_first',
    set: {
      id: 'seed.repository_id',
      name: 'seed.repository',
      created_at: 'seed.at',
      version: 'seed.stream_version',
      tag_count: 'seed.tag_count',
    },
  },
  {
    table: 'image',
    of: 'template.digest = :image',
    order: 'seed.image',
    set: {
      digest: 'seed.image',
      size: 'seed.manifest_size',
      bytes: 'seed.bytes',
      created_at: 'seed.at',
      version: 'seed.image_version',
    },
  },
  {
    table: 'image_reference',
    of: 'template.image = :image',
    order: 'seed.image',
    set: {
      image: 'seed.image',
      target: `case template.role when 'config' then seed.config_digest else template.target end`,
    },
  },
  {
    table: 'image_summary',
    of: 'template.image = :image',
    order: 'seed.image',
    set: { image: 'seed.image', size: 'seed.total_size', config: 'seed.config' },
  },
  {
    table: 'repository_image',
    of: 'template.repository_id = :repositoryId',
    set: { repository_id: 'seed.repository_id', image: 'seed.image', linked_at: 'seed.at' },
  },
  {
    table: 'blob',
    of: 'template.digest = :config',
    order: 'seed.config_digest',
    set: {
      digest: 'seed.config_digest',
      size: 'seed.config_size',
      location: `substr(seed.config_digest, 8, 2) || '/' || substr(seed.config_digest, 8, 32)`,
      created_at: 'seed.at',
    },
  },
  {
    table: 'repository_blob',
    of: 'template.repository_id = :repositoryId and template.digest = :config',
    set: {
      repository_id: 'seed.repository_id',
      digest: 'seed.config_digest',
      linked_at: 'seed.at',
      collect_at: 'null',
    },
  },
  {
    table: 'repository_blob',
    of: 'template.repository_id = :repositoryId and template.digest = :layer',
    only: 'seed.is_first',
    set: { repository_id: 'seed.repository_id', linked_at: 'seed.at', collect_at: 'null' },
  },
  {
    table: 'tag',
    of: 'template.repository_id = :repositoryId',
    only: 'seed.is_newest',
    set: {
      repository_id: 'seed.repository_id',
      name: 'seed.tag',
      image: 'seed.image',
      sequence: 'seed.sequence',
      changed_at: 'seed.at',
      size: 'seed.total_size',
      sort_name: 'seed.sort_name',
    },
  },
  {
    table: 'tag_event',
    of: 'template.repository_id = :repositoryId',
    set: {
      repository_id: 'seed.repository_id',
      tag: 'seed.tag',
      sequence: 'seed.sequence',
      image: 'seed.image',
      at: 'seed.at',
      created_at: 'seed.at',
      version: 'seed.event_version',
      project: 'seed.project',
    },
  },
];

class Seeder {
  readonly #db: SqliteDatabase.Database;
  readonly #template: Template;
  readonly #insertSeed: SqliteDatabase.Statement;
  readonly #clearSeeds: SqliteDatabase.Statement;
  readonly #copies: readonly SqliteDatabase.Statement[];

  constructor(db: SqliteDatabase.Database, template: Template) {
    this.#db = db;
    this.#template = template;
    db.exec(`create temporary table seed (${seedColumns.join(', ')})`);
    this.#insertSeed = db.prepare(`insert into seed values (${seedColumns.map((column) => `@${column}`).join(', ')})`);
    this.#clearSeeds = db.prepare('delete from seed');
    this.#copies = copies.map((copy) => this.#prepareCopy(copy));
  }

  /** @returns how many images there are now */
  seed(streams: readonly SeededStream[]): number {
    const number = this.#db.prepare<[], number>('select max(id) from repository').pluck().get()!;
    const version = this.#db
      .prepare<[], number>(`select value from sequence where name = 'resource_version'`)
      .pluck()
      .get()!;
    const last = streams.at(-1);
    const images = last === undefined ? 0 : last.firstImage + last.tags * last.events;
    const begun = { repositoryId: number + 1, version, at: Date.now() - images * 1000 };
    let waiting = 0;
    for (const [position, stream] of streams.entries()) {
      for (const seed of this.#seedsOf(stream, { ...begun, repositoryId: begun.repositoryId + position })) {
        this.#insertSeed.run(seed);
        waiting += 1;
        if (waiting < seedsAtOnce) continue;
        this.#copyAll();
        waiting = 0;
      }
    }
    this.#copyAll();
    this.#db.prepare('update sequence set value = ?').run(version + 2 * images);
    return images;
  }

  /** One image a second, the events in the order of their versions. */
  *#seedsOf(
    stream: SeededStream,
    begun: { readonly repositoryId: number; readonly version: number; readonly at: number },
  ): Generator<Seed> {
    const { project, tags, events, firstImage } = stream;
    const newest = firstImage + tags * events;
    for (let number = firstImage; number < newest; number += 1) {
      const position = Math.floor((number - firstImage) / events);
      const sequence = ((number - firstImage) % events) + 1;
      const tag = tagNameOf(stream, position);
      const image = makeImage(this.#template, number);
      yield {
        repository_id: begun.repositoryId,
        repository: `${project}/${stream.name}`,
        project,
        tag_count: tags,
        stream_version: begun.version + 2 * newest,
        is_first: number === firstImage ? 1 : 0,
        tag,
        sort_name: sortNameOf(tag),
        sequence,
        is_newest: sequence === events ? 1 : 0,
        at: begun.at + number * 1000,
        image: image.digest,
        bytes: image.bytes,
        manifest_size: image.bytes.length,
        config: image.config,
        config_digest: image.configDigest,
        config_size: image.config.length,
        total_size: image.totalSize,
        image_version: begun.version + 2 * number + 1,
        event_version: begun.version + 2 * number + 2,
      };
    }
  }

  #copyAll(): void {
    const { repositoryId, image, manifest } = this.#template;
    const values = { repositoryId, image, config: manifest.config.digest, layer: manifest.layers[0].digest };
    for (const copy of this.#copies) copy.run(values);
    this.#clearSeeds.run();
  }

  /** Columns that nothing is said of are the template's, also those that are added some day. */
  #prepareCopy({ table, of, only = 'true', order = 'seed.rowid', set }: Copy): SqliteDatabase.Statement {
    const columns = this.#db.prepare<[string], string>('select name from pragma_table_info(?)').pluck().all(table);
    const values = columns.map((column) => set[column] ?? `template.${column}`);
    // Read first, because the table grows meanwhile.
    return this.#db.prepare(
      `with template as materialized (select * from ${table} as template where ${of})
      insert into ${table} (${columns.join(', ')}) select ${values.join(', ')} from seed, template where ${only}
      order by ${order}`,
    );
  }
}

/** As Weir keeps it: the count of its digits before each number. */
function sortNameOf(tag: string): string {
  return tag.replaceAll(/0*(\d+)/g, (_, digits: string) => String(digits.length).padStart(3, '0') + digits);
}
