import { sql, type Kysely } from 'kysely';

/** Images of other registries: when they are looked for, and what is known of where they come from. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;

  // A tag whose image comes from another registry, or with an empty name a stream all whose tags do. `source` is what is
  // asked for, in one spelling. It is to be looked at when `due_at` has come, by whoever holds the lease; null: not again.
  // `digest` is what the source was when its image was last imported, which for one of several platforms is that of the
  // index.
  await schema
    .createTable('tag_import')
    .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id').onDelete('cascade'))
    .addColumn('tag', 'text', (column) => column.notNull())
    .addColumn('source', 'text', (column) => column.notNull())
    .addColumn('due_at', 'bigint')
    .addColumn('lease', 'text')
    .addColumn('lease_until', 'bigint')
    .addColumn('checked_at', 'bigint')
    .addColumn('moved_at', 'bigint')
    .addColumn('digest', 'text')
    .addColumn('error', 'text')
    .addColumn('failures', 'integer', (column) => column.notNull().defaultTo(0))
    .addPrimaryKeyConstraint('tag_import_key', ['repository_id', 'tag'])
    .execute();
  await schema
    .createIndex('tag_import_due')
    .on('tag_import')
    .columns(['due_at', 'source'])
    .where(sql.ref('due_at'), 'is not', null)
    .execute();
  await schema.createIndex('tag_import_source').on('tag_import').columns(['source', 'due_at']).execute();
  await schema
    .createIndex('tag_import_failing')
    .on('tag_import')
    .column('repository_id')
    .where(sql.ref('error'), 'is not', null)
    .execute();

  // Requests to another registry, counted by all processes together.
  await schema
    .createTable('upstream_budget')
    .addColumn('registry', 'text', (column) => column.primaryKey())
    .addColumn('used', 'integer', (column) => column.notNull())
    .addColumn('window_start', 'bigint', (column) => column.notNull())
    .addColumn('blocked_until', 'bigint')
    .addColumn('told_limit', 'integer')
    .addColumn('told_remaining', 'integer')
    .addColumn('last_used_at', 'bigint', (column) => column.notNull())
    .addColumn('last_error', 'text')
    .execute();

  // When an image of a cache project was last pulled, to the hour.
  await schema
    .createTable('image_pull')
    .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id').onDelete('cascade'))
    .addColumn('image', 'text', (column) => column.notNull())
    .addColumn('pulled_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('image_pull_key', ['repository_id', 'image'])
    .execute();
  await schema.createIndex('image_pull_age').on('image_pull').column('pulled_at').execute();
}
