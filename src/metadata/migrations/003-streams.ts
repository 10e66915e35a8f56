import { sql, type CreateTableBuilder, type Kysely } from 'kysely';
import { isSqlite } from '../dialect.js';

interface TagsBefore {
  repository: { id: number; name: string };
  tag: { repository_id: number; name: string; image: string; sequence: number };
  tag_event: { repository_id: number; tag: string; sequence: number; at: number };
  sequence: { name: string; value: number };
}

/** Image streams: what a tag is wanted to be beside what it is, the whole of its history, and facts about images. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  const byKey = <Table extends string, Column extends string>(table: CreateTableBuilder<Table, Column>) =>
    isSqlite(db) ? table.modifyEnd(sql`without rowid`) : table;

  // A repository is an image stream. `metadata` and `spec` are JSON objects: what of ObjectMeta and of the stream's spec
  // its owner says. `version` is the resourceVersion of the last change.
  const repository = (column: string) => ({
    add: (type: 'bigint' | 'integer' | 'text', defaultTo: number | string) =>
      schema
        .alterTable('repository')
        .addColumn(column, type, (each) => each.notNull().defaultTo(defaultTo))
        .execute(),
  });
  await repository('version').add('bigint', 1);
  await repository('generation').add('bigint', 1);
  await repository('metadata').add('text', '{}');
  await repository('spec').add('text', '{}');
  await repository('tag_count').add('integer', 0);

  // What a tag is wanted to be (`spec` and what else has its name) and what it is (the rest). The image is null when the
  // repository does not link what the newest event names; `sequence` is that of this event, and the present life of the tag
  // began with `first_sequence`. Both are 0 when nothing has happened yet. `follows` is the tag of the same stream whose
  // events this one gets too. The sort name has numbers in an order that people expect.
  await byKey(
    schema
      .createTable('tag_new')
      .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id'))
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('spec', 'text')
      .addColumn('spec_generation', 'bigint')
      .addColumn('follows', 'text')
      .addColumn('scheduled', 'integer', (column) => column.notNull())
      .addColumn('image', 'text')
      .addColumn('sequence', 'integer', (column) => column.notNull())
      .addColumn('first_sequence', 'integer', (column) => column.notNull())
      .addColumn('conditions', 'text')
      .addColumn('changed_at', 'bigint', (column) => column.notNull())
      .addColumn('size', 'bigint', (column) => column.notNull())
      .addColumn('sort_name', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('tag_new_key', ['repository_id', 'name'])
      .addForeignKeyConstraint('tag_new_image', ['repository_id', 'image'], 'repository_image', [
        'repository_id',
        'image',
      ]),
  ).execute();

  // Events get what the history is asked for. The location is the repository whose image is meant, where that is not this
  // one; the reference a pull spec outside. Events that a later one took the place of are not shown as entries of a stream.
  const event = (column: string, type: 'bigint' | 'integer' | 'text') =>
    schema.alterTable('tag_event').addColumn(column, type).execute();
  await event('generation', 'bigint');
  await event('created_at', 'bigint');
  await event('location', 'text');
  await event('reference', 'text');
  await event('principal_kind', 'text');
  await event('reason', 'text');
  await event('source', 'text');
  await event('returned_to', 'integer');
  await event('version', 'bigint');
  await event('project', 'text');
  await schema
    .alterTable('tag_event')
    .addColumn('shown', 'integer', (column) => column.notNull().defaultTo(1))
    .execute();

  await moveTags(db);

  await schema.createIndex('tag_image').on('tag').columns(['repository_id', 'image']).execute();
  await schema.createIndex('tag_sort_name').on('tag').columns(['repository_id', 'sort_name']).execute();
  await schema.createIndex('tag_changed_at').on('tag').columns(['repository_id', 'changed_at']).execute();
  await schema.createIndex('tag_size').on('tag').columns(['repository_id', 'size']).execute();
  await schema
    .createIndex('tag_follows')
    .on('tag')
    .columns(['repository_id', 'follows'])
    .where(sql.ref('follows'), 'is not', null)
    .execute();
  // Few tags are failing or scheduled; in whatever order they are wanted, they need not be looked for among all others.
  for (const [suffix, column] of [
    ['', 'sort_name'],
    ['_changed_at', 'changed_at'],
    ['_size', 'size'],
  ] as const) {
    await schema
      .createIndex(`tag_failing${suffix}`)
      .on('tag')
      .columns(['repository_id', column])
      .where(sql.ref('conditions'), 'is not', null)
      .execute();
    await schema
      .createIndex(`tag_scheduled${suffix}`)
      .on('tag')
      .columns(['repository_id', column])
      .where(sql.ref('scheduled'), '=', 1)
      .execute();
  }
  // With what tells whether an event counts: how many images a stream has shown is read from here alone.
  await schema.createIndex('tag_event_image').on('tag_event').columns(['repository_id', 'image', 'shown']).execute();
  await schema.createIndex('tag_event_version').on('tag_event').columns(['repository_id', 'version']).execute();
  await schema.createIndex('tag_event_all').on('tag_event').column('version').execute();
  await schema.createIndex('tag_event_project').on('tag_event').columns(['project', 'version']).execute();
  await schema
    .createIndex('tag_event_deleted')
    .on('tag_event')
    .column('at')
    .where(sql.ref('cause'), '=', 'delete')
    .execute();

  // An image is an object of the API too.
  await schema
    .alterTable('image')
    .addColumn('version', 'bigint', (column) => column.notNull().defaultTo(1))
    .execute();
  await schema
    .alterTable('image')
    .addColumn('metadata', 'text', (column) => column.notNull().defaultTo('{}'))
    .execute();

  // What was read out of manifest and config when the image came, in a table of its own to keep the rows that every pull
  // reads short. Platforms is a JSON list of texts such as `linux/arm64`; config the text of the config blob.
  await schema
    .createTable('image_summary')
    .addColumn('image', 'text', (column) => column.primaryKey().references('image.digest').onDelete('cascade'))
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('platforms', 'text', (column) => column.notNull())
    .addColumn('version', 'text')
    .addColumn('config', 'text')
    .execute();

  await byKey(
    schema
      .createTable('image_signature')
      .addColumn('image', 'text', (column) => column.notNull().references('image.digest').onDelete('cascade'))
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('image_signature_key', ['image', 'name']),
  ).execute();
}

/** Tags and events of before, with what is known of them. */
async function moveTags(db: Kysely<TagsBefore & { tag_new: Record<string, unknown> }>): Promise<void> {
  await sql`update tag_event set generation = 1, created_at = at, version = 0, principal_kind = case
      when principal = 'system:anonymous' then 'anonymous'
      when principal like 'system:serviceaccount:%' then 'service-account'
      else 'user' end,
    project = (select substr(name, 1, ${sql.raw(isSqlite(db) ? 'instr' : 'strpos')}(name, '/') - 1) from repository where id = tag_event.repository_id)`.execute(
    db,
  );
  let last = { id: 0, name: '' };
  for (;;) {
    const tags = await db
      .selectFrom('tag')
      .innerJoin('tag_event', (join) =>
        join
          .onRef('tag_event.repository_id', '=', 'tag.repository_id')
          .onRef('tag_event.tag', '=', 'tag.name')
          .onRef('tag_event.sequence', '=', 'tag.sequence'),
      )
      .select(['tag.repository_id as id', 'tag.name', 'tag.image', 'tag.sequence', 'tag_event.at'])
      .where(sql<boolean>`(tag.repository_id, tag.name) > (${last.id}, ${last.name})`)
      .orderBy('tag.repository_id')
      .orderBy('tag.name')
      .limit(500)
      .execute();
    if (tags.length === 0) break;
    for (const { id, name, image, sequence, at } of tags) {
      const { rows } = await sql<{ first: number }>`select coalesce(max(sequence), 0) + 1 as first from tag_event
        where repository_id = ${id} and tag = ${name} and image is null`.execute(db);
      await db
        .insertInto('tag_new')
        .values({
          repository_id: id,
          name,
          scheduled: 0,
          image,
          sequence,
          first_sequence: rows[0]!.first,
          changed_at: at,
          size: 0,
          sort_name: sortNameOf(name),
        })
        .execute();
      last = { id, name };
    }
  }
  await db.schema.dropTable('tag').execute();
  await db.schema.alterTable('tag_new').renameTo('tag').execute();
  await sql`update repository set tag_count = (select count(*) from tag where repository_id = repository.id)`.execute(
    db,
  );
}

/** As it was when this was written: a migration stands by itself. */
function sortNameOf(name: string): string {
  return name.replaceAll(/0*(\d+)/g, (_, digits: string) => String(digits.length).padStart(3, '0') + digits);
}
