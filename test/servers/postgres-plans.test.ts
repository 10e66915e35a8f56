import { CompiledQuery, createQueryId, sql, type KyselyPlugin, type RootOperationNode } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import type { Database } from '../../src/metadata/schema.js';
import { digestOf } from '../../src/oci/digest.js';
import { parseTag } from '../../src/oci/reference.js';
import { app, imagePush } from '../contracts/pushes.js';
import { startPostgres, type TestPostgres } from '../support/postgres.js';
import { addProjects } from '../support/projects.js';

interface Stores {
  readonly repositories: KyselyRepositoryStore;
  readonly blobs: KyselyBlobRecords;
  readonly objects: KyselyObjectStore;
  readonly streams: KyselyStreamStore;
  readonly uploads: KyselyUploadRecords;
}

const now = new Date('2026-01-01T00:00:00Z');
const digest = digestOf('layer');
const image = imagePush({ name: 'image', layers: [digest], tags: ['v1'] });
const page = { last: 'a', limit: 10 };

const lookups: readonly { readonly name: string; readonly run: (stores: Stores) => Promise<unknown> }[] = [
  {
    name: 'a pull by tag',
    run: ({ repositories }) => repositories.readManifest(app, { kind: 'tag', tag: parseTag('v1') }),
  },
  {
    name: 'a pull by digest',
    run: ({ repositories }) => repositories.readManifest(app, { kind: 'digest', digest: image.digest }),
  },
  { name: 'a linked blob', run: ({ blobs }) => blobs.findLinkedBlob(app, digest) },
  { name: 'the link of a blob', run: ({ blobs }) => blobs.linkBlob(app, digest, now) },
  { name: 'a new blob', run: ({ blobs }) => blobs.addBlob(app, { digest, size: 5, location: 'x' }, 'upload', now) },
  { name: 'a push', run: ({ repositories }) => repositories.putManifest(image) },
  { name: 'a page of tags', run: ({ repositories }) => repositories.listTags(app, page) },
  { name: 'a page of events of a tag', run: ({ repositories }) => repositories.listTagEvents(app, parseTag('v1'), 10) },
  {
    name: 'a page of referrers',
    run: ({ repositories }) => repositories.listReferrers(app, digest, undefined, page),
  },
  {
    name: 'a page of the history of a stream',
    run: ({ streams }) => streams.listHistory({ of: { kind: 'stream', repository: app }, limit: 10 }),
  },
  { name: 'a page of repositories', run: ({ repositories }) => repositories.listRepositories(page) },
  {
    name: 'a page of tags like a glob',
    run: ({ streams }) => streams.queryTags(app, { sort: 'name', descending: false, limit: 10, glob: 'v-1*' }),
  },
  { name: 'an object', run: ({ objects }) => objects.find({ resource: 'secrets', namespace: 'team', name: 'a' }) },
  { name: 'the last change of a resource', run: ({ objects }) => objects.lastChangeOf(['secrets']) },
  { name: 'an upload', run: ({ uploads }) => uploads.findUpload('id') },
];

describe('on PostgreSQL the plan of', () => {
  let server: TestPostgres;
  let db: Database;
  beforeAll(async () => {
    server = await startPostgres();
    ({ db } = await openPostgres(await server.createDatabase()));
    await addProjects(db, ['team']);
    const { blobs, repositories } = storesOn(db);
    await blobs.addBlob(app, { digest, size: 5, location: 'x' }, 'none', now);
    await repositories.putManifest(image);
    await fill(db);
  });
  afterAll(async () => {
    await db.destroy();
    await server.stop();
  });

  test.each(lookups)('$name finds what it looks for by indexes, among many', async ({ run }) => {
    const plans = await plansOf(db, run);
    expect(plans.length).toBeGreaterThan(0);
    // One row holds the number of the last version.
    expect(plans.filter(({ plan }) => /Seq Scan on (?!sequence)/.test(plan))).toEqual([]);
  });
});

/** Of every statement that looks for something in the course of a call. */
async function plansOf(db: Database, run: (stores: Stores) => Promise<unknown>) {
  const nodes = new Map<string, RootOperationNode>();
  const executed: string[] = [];
  const recorder: KyselyPlugin = {
    transformQuery: ({ node, queryId }) => {
      nodes.set(queryId.queryId, node);
      return node;
    },
    transformResult: ({ result, queryId }) => {
      executed.push(queryId.queryId);
      return Promise.resolve(result);
    },
  };
  await run(storesOn(db.withPlugin(recorder)));
  const looking = executed.flatMap((id) => nodes.get(id) ?? []).filter(({ kind }) => kind !== 'InsertQueryNode');
  return Promise.all(
    looking.map(async (node) => {
      const { sql: text, parameters } = db.getExecutor().compileQuery(node, createQueryId());
      // A query that was compiled beforehand has no values.
      const values = parameters.map((value) => (typeof value === 'object' ? 'sha256:none' : value));
      const { rows } = await db.executeQuery<{ 'QUERY PLAN': string }>(CompiledQuery.raw(`explain ${text}`, values));
      return { sql: text, plan: rows.map((row) => row['QUERY PLAN']).join('\n') };
    }),
  );
}

/** With so much that an index is worth its while. */
async function fill(db: Database): Promise<void> {
  const count = 5000;
  for (const statement of [
    `insert into repository (name, created_at) select 'team/r-' || n, 0 from generate_series(1, ${count}) n`,
    `insert into image (digest, media_type, size, bytes, created_at)
      select 'sha256:' || n, 'x', 1, 'x', 0 from generate_series(1, ${count}) n`,
    `insert into image_reference select 'sha256:' || n, 0, 'layer', 'sha256:' || n, 1 from generate_series(1, ${count}) n`,
    `insert into repository_image
      select id, 'sha256:' || n, null, 0, 0 from repository, generate_series(1, ${count}) n where name = '${app}'`,
    `insert into tag_event (repository_id, tag, sequence, image, cause, principal, at, version, principal_kind, project)
      select id, 'v-' || n, 1, 'sha256:' || n, 'push', 'ada', 0, n, 'user', 'team'
      from repository, generate_series(1, ${count}) n where name = '${app}'`,
    `insert into tag (repository_id, name, scheduled, image, sequence, first_sequence, changed_at, size, sort_name)
      select id, 'v-' || n, 0, 'sha256:' || n, 1, 1, n, n, 'v-' || n
      from repository, generate_series(1, ${count}) n where name = '${app}'`,
    `insert into blob select 'sha256:' || n, 1, n::text, 0 from generate_series(1, ${count}) n`,
    `insert into repository_blob
      select id, 'sha256:' || n, 0, null from repository, generate_series(1, ${count}) n where name = '${app}'`,
    `insert into image_summary select 'sha256:' || n, 1, '[]', null, null from generate_series(1, ${count}) n`,
    `insert into object select 'secrets', 'team', 's-' || n, 'u', n, null, '{"metadata":{}}' from generate_series(1, ${count}) n`,
    `insert into change select 1000000 + n, 'secrets', 'team', 's', 'ADDED', '{"metadata":{}}', null, 0
      from generate_series(1, ${count}) n`,
    `insert into upload (id, repository, principal, algorithm, size, digest_so_far, started_at, updated_at)
      select n::text, '${app}', 'ada', 'sha256', 0, 'x', 0, 1 from generate_series(1, ${count}) n`,
    'analyze',
  ]) {
    await sql.raw(statement).execute(db);
  }
}

function storesOn(db: Database): Stores {
  return {
    repositories: new KyselyRepositoryStore(db, () => now),
    blobs: new KyselyBlobRecords(db, () => now),
    objects: new KyselyObjectStore(db, () => now),
    streams: new KyselyStreamStore(db, () => now),
    uploads: new KyselyUploadRecords(db, () => now),
  };
}
