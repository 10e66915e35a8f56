import { randomUUID } from 'node:crypto';
import { SqliteAdapter, sql, type CreateTableBuilder, type Kysely } from 'kysely';

interface ProjectsBefore {
  project: { name: string; created_at: number };
  object: { resource: string; namespace: string; name: string; uid: string; version: number; body: string };
  object_lookup: { resource: string; value: string; namespace: string; name: string };
  sequence: { name: string; value: number };
}

/** API objects with their change log, and the audit log. A project becomes an object: its namespace. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  const isSqlite = db.getExecutor().adapter instanceof SqliteAdapter;
  const byKey = <Table extends string, Column extends string>(table: CreateTableBuilder<Table, Column>) =>
    isSqlite ? table.modifyEnd(sql`without rowid`) : table;

  // Numbers that only grow: `resource_version` is the last one given, `pruned_through` the last change no longer kept.
  await byKey(
    schema
      .createTable('sequence')
      .addColumn('name', 'text', (column) => column.primaryKey())
      .addColumn('value', 'bigint', (column) => column.notNull()),
  ).execute();

  // API objects by resource (`secrets`, `roles.rbac.authorization.k8s.io`); a cluster-scoped one has an empty namespace.
  await byKey(
    schema
      .createTable('object')
      .addColumn('resource', 'text', (column) => column.notNull())
      .addColumn('namespace', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('uid', 'text', (column) => column.notNull())
      .addColumn('version', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint')
      .addColumn('body', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('object_key', ['resource', 'namespace', 'name']),
  ).execute();
  await schema
    .createIndex('object_expires_at')
    .on('object')
    .column('expires_at')
    .where('expires_at', 'is not', null)
    .execute();

  // Values by which objects of a resource are looked for: the subjects of a binding, the members of a group, the owner
  // of a token.
  await byKey(
    schema
      .createTable('object_lookup')
      .addColumn('resource', 'text', (column) => column.notNull())
      .addColumn('value', 'text', (column) => column.notNull())
      .addColumn('namespace', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('object_lookup_key', ['resource', 'value', 'namespace', 'name'])
      .addForeignKeyConstraint(
        'object_lookup_object',
        ['resource', 'namespace', 'name'],
        'object',
        ['resource', 'namespace', 'name'],
        (constraint) => constraint.onDelete('cascade'),
      ),
  ).execute();
  await schema
    .createIndex('object_lookup_object')
    .on('object_lookup')
    .columns(['resource', 'namespace', 'name'])
    .execute();

  // Every committed change of an object, in commit order, by the resourceVersion it gave.
  await schema
    .createTable('change')
    .addColumn('version', 'integer', (column) => column.primaryKey())
    .addColumn('resource', 'text', (column) => column.notNull())
    .addColumn('namespace', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addColumn('previous', 'text')
    .addColumn('at', 'bigint', (column) => column.notNull())
    .execute();
  await schema.createIndex('change_resource').on('change').columns(['resource', 'version']).execute();
  await schema.createIndex('change_at').on('change').column('at').execute();

  // Users from a file go when they leave the file.
  await schema
    .alterTable('user')
    .addColumn('source', 'text', (column) => column.notNull().defaultTo('local'))
    .execute();

  await auditRecords(db);
  await projectsBecomeObjects(db);
}

/** Every change and every refused request: who, from where, what, on what, and what came of it. */
async function auditRecords(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('audit_record')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('request_id', 'text', (column) => column.notNull())
    .addColumn('principal', 'text', (column) => column.notNull())
    .addColumn('impersonator', 'text')
    .addColumn('address', 'text', (column) => column.notNull())
    .addColumn('user_agent', 'text', (column) => column.notNull())
    .addColumn('verb', 'text', (column) => column.notNull())
    .addColumn('api_group', 'text', (column) => column.notNull())
    .addColumn('resource', 'text', (column) => column.notNull())
    .addColumn('namespace', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('method', 'text', (column) => column.notNull())
    .addColumn('path', 'text', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('code', 'integer', (column) => column.notNull())
    .addColumn('reason', 'text')
    .execute();
  // Filters with paging by id: each is one range of one index.
  for (const column of ['principal', 'namespace', 'resource', 'outcome', 'verb'] as const) {
    await schema.createIndex(`audit_record_${column}`).on('audit_record').columns([column, 'id']).execute();
  }
  await schema.createIndex('audit_record_at').on('audit_record').column('at').execute();
}

/** The one row of a project is its namespace object; a repository's project is the first part of its name. */
async function projectsBecomeObjects(db: Kysely<ProjectsBefore>): Promise<void> {
  const projects = await db.selectFrom('project').select(['name', 'created_at']).execute();
  let version = 0;
  for (const { name, created_at } of projects) {
    version += 1;
    const uid = randomUUID();
    const creationTimestamp = new Date(created_at).toISOString().replace(/\.\d+Z$/, 'Z');
    const body = {
      metadata: { name, uid, creationTimestamp, labels: { 'kubernetes.io/metadata.name': name } },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    };
    await db
      .insertInto('object')
      .values({ resource: 'namespaces', namespace: '', name, uid, version, body: JSON.stringify(body) })
      .execute();
    // It has no roles and service accounts yet, which the next start gives it.
    await db
      .insertInto('object_lookup')
      .values({ resource: 'namespaces', value: 'bare', namespace: '', name })
      .execute();
  }
  await db
    .insertInto('sequence')
    .values([
      { name: 'resource_version', value: version },
      { name: 'pruned_through', value: version },
    ])
    .execute();
  await db.schema.alterTable('repository').dropColumn('project').execute();
  await db.schema.dropTable('project').execute();
}
