import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompiledQuery, createQueryId, type KyselyPlugin, type RootOperationNode } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyImageStore } from '../../src/metadata/kysely-image-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { digestOf } from '../../src/oci/digest.js';
import { parseTag } from '../../src/oci/reference.js';
import { addProjects } from '../support/projects.js';
import { signature } from '../contracts/image-store.js';
import { app, by, imagePush, indexPush, other } from '../contracts/pushes.js';

const now = new Date('2026-01-01T00:00:00Z');
const digest = digestOf('layer');
const page = { last: 'a', limit: 10 };

const ofTag = { kind: 'tag', repository: app, tag: 'v1' } as const;
const ofStream = { kind: 'stream', repository: app } as const;
const position = { version: 9, repositoryId: 1, tag: 'v1', sequence: 3 };
const tagQuery = { descending: false, limit: 10 };

interface Stores {
  readonly streams: KyselyStreamStore;
  readonly repositories: KyselyRepositoryStore;
  readonly blobs: KyselyBlobRecords;
  readonly images: KyselyImageStore;
  readonly uploads: KyselyUploadRecords;
  readonly users: KyselyUserRecords;
}

interface Plan {
  readonly sql: string;
  readonly steps: readonly string[];
}

interface Lookup {
  readonly name: string;
  readonly run: (stores: Stores) => Promise<unknown>;
}

const image = imagePush({ layers: [digest], tags: ['v1'] });
const untagged = imagePush({ name: 'untagged', layers: [digest] });
const unsummarized = imagePush({ name: 'unsummarized', tags: ['old'] });

/** What requests wait for, and what the collector does beside them. */
const lookups: readonly Lookup[] = [
  { name: 'a manifest by tag', run: ({ repositories }) => repositories.readManifest(app, tagged('v1')) },
  { name: 'a manifest by digest', run: ({ repositories }) => repositories.findManifest(app, image0()) },
  { name: 'a push', run: ({ repositories }) => repositories.putManifest({ ...image, sparse: false }) },
  { name: 'a push of a new image', run: ({ repositories }) => repositories.putManifest(newImage()) },
  { name: 'a push of an index', run: ({ repositories }) => repositories.putManifest(newIndex()) },
  { name: 'a page of tags', run: ({ repositories }) => repositories.listTags(app, page) },
  { name: 'events of a tag', run: ({ repositories }) => repositories.listTagEvents(app, parseTag('v1'), 10) },
  { name: 'a page of referrers', run: ({ repositories }) => repositories.listReferrers(app, digest, undefined, page) },
  {
    name: 'a page of referrers of a type',
    run: ({ repositories }) => repositories.listReferrers(app, digest, 'x', page),
  },
  { name: 'the deletion of a tag', run: ({ repositories }) => repositories.deleteTag(app, parseTag('v2'), by('ada')) },
  {
    name: 'the deletion of a manifest',
    run: ({ repositories }) => repositories.deleteManifest(app, gone(), by('ada'), now),
  },
  { name: 'a linked blob', run: ({ blobs }) => blobs.findLinkedBlob(app, digest) },
  { name: 'the link of a blob', run: ({ blobs }) => blobs.linkBlob(other, digest, now) },
  { name: 'a new blob', run: ({ blobs }) => blobs.addBlob(app, { digest, size: 5, location: 'x' }, 'upload', now) },
  { name: 'a blob that is put off', run: ({ blobs }) => blobs.postponeCollection(app, digest, now) },
  { name: 'the deletion of a blob', run: ({ blobs }) => blobs.unlinkBlob(other, digestOf('other')) },
  { name: 'the deletion of a blob that is needed', run: ({ blobs }) => blobs.unlinkBlob(app, digest) },
  { name: 'the deletion of a blob everywhere', run: ({ blobs }) => blobs.unlinkEverywhere(digestOf('other')) },
  { name: 'the deletion of a blob everywhere that is needed', run: ({ blobs }) => blobs.unlinkEverywhere(digest) },
  { name: 'an image object', run: ({ images }) => images.find(image.digest) },
  { name: 'a page of image objects', run: ({ images }) => images.list('sha256:', 10) },
  { name: 'signatures of an image', run: ({ images }) => images.listSignatures(image.digest) },
  { name: 'a new signature', run: ({ images }) => images.addSignature(image.digest, signature(image.digest, 'new')) },
  { name: 'the removal of a signature', run: ({ images }) => images.removeSignature(image.digest, 'old') },
  { name: 'the removal of an image', run: ({ images }) => images.remove(untagged.digest, { collectAt: now }) },
  {
    name: 'the removal of an image that is needed',
    run: ({ images }) => images.remove(image.digest, { collectAt: now }),
  },
  { name: 'a page of images without a summary', run: ({ images }) => images.listUnsummarized(digest, 10) },
  { name: 'where the config of an image is', run: ({ images }) => images.findConfigRepository(image.digest) },
  { name: 'a late summary', run: ({ images }) => images.putSummary(unsummarized.digest, unsummarized.summary) },
  { name: 'a tag of a stream', run: ({ streams }) => streams.findTag(app, 'v1', 100) },
  { name: 'a page of the history of a tag', run: ({ streams }) => streams.listHistory({ of: ofTag, limit: 10 }) },
  {
    name: 'a later page of the history of a tag',
    run: ({ streams }) => streams.listHistory({ of: ofTag, before: position, limit: 10 }),
  },
  { name: 'a page of the history of a stream', run: ({ streams }) => streams.listHistory({ of: ofStream, limit: 10 }) },
  {
    name: 'a later page of the history of a stream',
    run: ({ streams }) => streams.listHistory({ of: ofStream, before: position, limit: 10 }),
  },
  { name: 'a page of tags by name', run: ({ streams }) => streams.queryTags(app, { ...tagQuery, sort: 'name' }) },
  { name: 'a page of tags by change', run: ({ streams }) => streams.queryTags(app, { ...tagQuery, sort: 'changed' }) },
  { name: 'a page of tags by size', run: ({ streams }) => streams.queryTags(app, { ...tagQuery, sort: 'size' }) },
  {
    name: 'a page of tags that are failing',
    run: ({ streams }) => streams.queryTags(app, { ...tagQuery, sort: 'name', state: 'failing' }),
  },
  { name: 'images that a repository has', run: ({ streams }) => streams.findLinkedImages(app, 'sha256:ab') },
  { name: 'tags of an image', run: ({ streams }) => streams.listTagsOfImage(app, image.digest, 10) },
  { name: 'a stream with its tags', run: ({ streams }) => streams.readStream(app, 100) },
  {
    name: 'an edit that moves a tag',
    run: ({ streams }) =>
      streams.edit((edit) =>
        edit.addEvent(app, 'v1', { image: image.digest, generation: 2, cause: 'tag', ...by('ada') }, app),
      ),
  },
  { name: 'the history of tags that were deleted long ago', run: ({ streams }) => streams.forgetDeletedTags(now, 10) },
  { name: 'the links that are due', run: ({ blobs }) => blobs.collectLinks(now, 10) },
  { name: 'an upload', run: ({ uploads }) => uploads.findUpload('id') },
  { name: 'stale uploads', run: ({ uploads }) => uploads.listStaleUploads(now, 10) },
  { name: 'the end of an upload', run: ({ uploads }) => uploads.removeUpload('id') },
  { name: 'a user', run: ({ users }) => users.findUser('ada') },
  { name: 'a refresh token', run: ({ users }) => users.findRefreshToken('hash', now) },
];

describe('the plan of', () => {
  let folder: string;
  let db: Database;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    db = await addProjects(await openSqlite(join(folder, 'plans.sqlite')), ['team']);
    const { repositories, blobs } = storesOn(db);
    for (const [repository, content] of [
      [app, 'layer'],
      [other, 'other'],
    ] as const) {
      const blob = { digest: digestOf(content), size: 5, location: content };
      await blobs.addBlob(repository, blob, 'none', now);
    }
    await repositories.putManifest(imagePush({ name: 'gone', tags: ['v2', 'v3'] }));
    for (const each of [image, untagged, unsummarized]) await repositories.putManifest(each);
    await db.deleteFrom('image_summary').where('image', '=', unsummarized.digest).execute();
  });
  afterAll(async () => {
    await db.destroy();
    await rm(folder, { recursive: true, force: true });
  });

  /** SQLite's plans of every statement that a look-up runs. */
  async function planOf(run: Lookup['run']): Promise<readonly Plan[]> {
    const nodes = new Map<string, RootOperationNode>();
    const executed: string[] = [];
    const recorder: KyselyPlugin = {
      transformQuery: ({ node, queryId }) => {
        nodes.set(queryId.queryId, node);
        return node;
      },
      // Some queries are compiled once and run often: what counts is what runs.
      transformResult: ({ result, queryId }) => {
        executed.push(queryId.queryId);
        return Promise.resolve(result);
      },
    };
    await run(storesOn(db.withPlugin(recorder)));
    return Promise.all(executed.flatMap((id) => nodes.get(id) ?? []).map(explain));
  }

  async function explain(node: RootOperationNode): Promise<Plan> {
    const { sql, parameters } = db.getExecutor().compileQuery(node, createQueryId());
    // A plan does not depend on the values, and a query that was compiled beforehand has none.
    const values = parameters.map((value) => (typeof value === 'object' ? null : value));
    const explained = CompiledQuery.raw(`explain query plan ${sql}`, values);
    const { rows } = await db.executeQuery<{ readonly detail: string }>(explained);
    return { sql, steps: rows.map((row) => row.detail) };
  }

  test.each(lookups)('$name searches by indexes and scans no table', async ({ run }) => {
    const plans = await planOf(run);
    expect(plans.length).toBeGreaterThan(0);
    // A page is what an inner query has found already.
    const scans = plans.filter(({ steps }) =>
      steps.some((step) => /^SCAN (?!CONSTANT ROW|\d+-ROW VALUES|page$)/.test(step)),
    );
    expect(scans).toEqual([]);
  });

  test.each(lookups.filter(({ name }) => /page of|events of|due|stale/.test(name)))(
    '$name reads rows in the order of an index and sorts nothing',
    async ({ run }) => {
      const plans = await planOf(run);
      const sorted = plans.filter(({ steps }) => steps.some((step) => step.includes('TEMP B-TREE FOR ORDER BY')));
      expect(sorted).toEqual([]);
    },
  );

  test('a page of the catalog walks the index of names from where it begins', async () => {
    const plans = await planOf(({ repositories }) => repositories.listRepositories(page));
    expect(plans.flatMap(({ steps }) => steps)).toEqual([expect.stringMatching(/^SEARCH repository USING .*INDEX/)]);
  });
});

function storesOn(db: Database): Stores {
  return {
    repositories: new KyselyRepositoryStore(db, () => now),
    blobs: new KyselyBlobRecords(db, () => now),
    images: new KyselyImageStore(db, () => now),
    streams: new KyselyStreamStore(db, () => now),
    uploads: new KyselyUploadRecords(db, () => now),
    users: new KyselyUserRecords(db),
  };
}

function tagged(name: string) {
  return { kind: 'tag', tag: parseTag(name) } as const;
}

function image0() {
  return { kind: 'digest', digest: image.digest } as const;
}

function newImage() {
  return imagePush({ name: 'new', layers: [digest], tags: ['v1', 'v9'], subject: image.digest });
}

function newIndex() {
  return indexPush([{ digest: image.digest, mediaType: image.manifest.mediaType }], { sparse: false });
}

function gone() {
  return imagePush({ name: 'gone', tags: ['v2', 'v3'] }).digest;
}
