import { SqliteAdapter, sql, type CreateTableBuilder, type Kysely } from 'kysely';

/** Projects, repositories, images, tags with their history, blobs, upload sessions and users. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  // SQLite keeps a table apart from its key unless it is told not to: twice the pages for each row.
  const isSqlite = db.getExecutor().adapter instanceof SqliteAdapter;
  const byKey = <Table extends string, Column extends string>(table: CreateTableBuilder<Table, Column>) =>
    isSqlite ? table.modifyEnd(sql`without rowid`) : table;

  await schema
    .createTable('project')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();

  await schema
    .createTable('repository')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('project', 'text', (column) => column.notNull().references('project.name'))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();

  // A manifest by its digest, once per registry whatever the number of repositories that link it.
  await schema
    .createTable('image')
    .addColumn('digest', 'text', (column) => column.primaryKey())
    .addColumn('media_type', 'text', (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('bytes', 'blob', (column) => column.notNull())
    .addColumn('artifact_type', 'text')
    .addColumn('annotations', 'text')
    .addColumn('subject', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();

  // The graph: which blobs and which manifests an image refers to.
  await byKey(
    schema
      .createTable('image_reference')
      .addColumn('image', 'text', (column) => column.notNull().references('image.digest').onDelete('cascade'))
      .addColumn('position', 'integer', (column) => column.notNull())
      .addColumn('role', 'text', (column) => column.notNull())
      .addColumn('target', 'text', (column) => column.notNull())
      .addColumn('required', 'integer', (column) => column.notNull())
      .addPrimaryKeyConstraint('image_reference_key', ['image', 'position']),
  ).execute();
  await schema.createIndex('image_reference_target').on('image_reference').columns(['target', 'image']).execute();

  // Which image may be read through which repository. The subject is repeated here so that the referrers of a subject
  // in one repository are one range of one index.
  await byKey(
    schema
      .createTable('repository_image')
      .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id'))
      .addColumn('image', 'text', (column) => column.notNull().references('image.digest'))
      .addColumn('subject', 'text')
      .addColumn('sparse', 'integer', (column) => column.notNull())
      .addColumn('linked_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('repository_image_key', ['repository_id', 'image']),
  ).execute();
  await schema.createIndex('repository_image_image').on('repository_image').column('image').execute();
  await schema
    .createIndex('repository_image_subject')
    .on('repository_image')
    .columns(['repository_id', 'subject', 'image'])
    .execute();

  // What each tag points to now; written only together with the event that says so.
  await byKey(
    schema
      .createTable('tag')
      .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id'))
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('image', 'text', (column) => column.notNull())
      .addColumn('sequence', 'integer', (column) => column.notNull())
      .addPrimaryKeyConstraint('tag_key', ['repository_id', 'name'])
      .addForeignKeyConstraint('tag_image', ['repository_id', 'image'], 'repository_image', ['repository_id', 'image']),
  ).execute();
  await schema.createIndex('tag_image').on('tag').columns(['repository_id', 'image']).execute();

  // The history. An event without an image says that the tag was deleted. Events outlive the images they name.
  await byKey(
    schema
      .createTable('tag_event')
      .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id'))
      .addColumn('tag', 'text', (column) => column.notNull())
      .addColumn('sequence', 'integer', (column) => column.notNull())
      .addColumn('image', 'text')
      .addColumn('cause', 'text', (column) => column.notNull())
      .addColumn('principal', 'text', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('tag_event_key', ['repository_id', 'tag', 'sequence']),
  ).execute();

  // Bytes that are durable, and where the blob store keeps them.
  await byKey(
    schema
      .createTable('blob')
      .addColumn('digest', 'text', (column) => column.primaryKey())
      .addColumn('size', 'bigint', (column) => column.notNull())
      .addColumn('location', 'text', (column) => column.notNull().unique())
      .addColumn('created_at', 'bigint', (column) => column.notNull()),
  ).execute();

  // Which blob may be read through which repository. With a time in collect_at nothing is known to refer to the blob, and
  // from that time on somebody looks again.
  await byKey(
    schema
      .createTable('repository_blob')
      .addColumn('repository_id', 'integer', (column) => column.notNull().references('repository.id'))
      .addColumn('digest', 'text', (column) => column.notNull().references('blob.digest'))
      .addColumn('linked_at', 'bigint', (column) => column.notNull())
      .addColumn('collect_at', 'bigint')
      .addPrimaryKeyConstraint('repository_blob_key', ['repository_id', 'digest']),
  ).execute();
  await schema
    .createIndex('repository_blob_digest')
    .on('repository_blob')
    .columns(['digest', 'repository_id'])
    .execute();
  await schema
    .createIndex('repository_blob_collect_at')
    .on('repository_blob')
    .column('collect_at')
    .where('collect_at', 'is not', null)
    .execute();

  // Bytes whose row is gone; a row here goes after the bytes did, so that a crash between the two leaves no orphan.
  await byKey(
    schema
      .createTable('discarded_location')
      .addColumn('location', 'text', (column) => column.primaryKey())
      .addColumn('discarded_at', 'bigint', (column) => column.notNull()),
  ).execute();

  await byKey(
    schema
      .createTable('upload')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('repository', 'text', (column) => column.notNull())
      .addColumn('principal', 'text', (column) => column.notNull())
      .addColumn('algorithm', 'text', (column) => column.notNull())
      .addColumn('size', 'bigint', (column) => column.notNull())
      .addColumn('digest_so_far', 'text', (column) => column.notNull())
      .addColumn('started_at', 'bigint', (column) => column.notNull())
      .addColumn('updated_at', 'bigint', (column) => column.notNull()),
  ).execute();
  await schema.createIndex('upload_updated').on('upload').column('updated_at').execute();

  await schema
    .createTable('user')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('password_hash', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();

  // Secrets are kept as hashes: who reads the database learns none of them.
  await schema
    .createTable('refresh_token')
    .addColumn('hash', 'text', (column) => column.primaryKey())
    .addColumn('user', 'text', (column) => column.notNull().references('user.name').onDelete('cascade'))
    .addColumn('client', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema.createIndex('refresh_token_user').on('refresh_token').column('user').execute();
}
