import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Inspection } from '../../src/metadata/inspection.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { mediaTypes } from '../../src/oci/media-types.js';
import { parseTag } from '../../src/oci/reference.js';
import { app, by, imagePush, indexPush, other } from './pushes.js';

/**
 * Everything that any Inspection must do. What it is to find is damage, so these tests reach into the tables.
 *
 * @param openDatabase opens an empty database, migrated
 * @param withoutForeignKeys lets some work leave rows without what they refer to
 */
export function inspectionContract(
  name: string,
  openDatabase: () => Promise<Database>,
  withoutForeignKeys: (db: Database, work: () => Promise<unknown>) => Promise<void>,
): void {
  describe(`${name} has an inspection that`, () => {
    const now = new Date('2026-01-01T00:00:00Z');
    let db: Database;
    let inspection: Inspection;
    let repositories: KyselyRepositoryStore;
    let blobs: KyselyBlobRecords;
    beforeEach(async () => {
      db = await openDatabase();
      inspection = new KyselyInspection(db);
      repositories = new KyselyRepositoryStore(db, () => now);
      blobs = new KyselyBlobRecords(db, () => now);
    });
    afterEach(() => db.destroy());

    async function addBlob(content: string): Promise<Digest> {
      const digest = digestOf(content);
      const blob = { digest, size: content.length, location: `at/${digest.slice(7, 27)}` };
      await blobs.addBlob(app, blob, 'none', now);
      return digest;
    }

    /** As damage does, which asks for no foreign keys. */
    async function forgetImages(digests: readonly Digest[]): Promise<void> {
      await withoutForeignKeys(db, () => db.deleteFrom('image').where('digest', 'in', digests).execute());
    }

    test('finds nothing in an empty registry', async () => {
      expect(await listed(inspection.tags())).toEqual([]);
      expect(await listed(inspection.forgottenTags())).toEqual([]);
      expect(await listed(inspection.images())).toEqual([]);
      expect(await listed(inspection.missingImages())).toEqual([]);
      expect(await listed(inspection.missingReferences())).toEqual([]);
      expect(await listed(inspection.blobs())).toEqual([]);
    });

    test('finds nothing wrong in a registry that is in order', async () => {
      const [config, layer] = [await addBlob('config'), await addBlob('layer')];
      const image = imagePush({ config, layers: [layer], tags: ['v1', 'v2'], sparse: false });
      await repositories.putManifest(image);
      const child = { digest: image.digest, mediaType: mediaTypes.ociManifest };
      await repositories.putManifest(indexPush([child], { tags: ['index'], sparse: false }));
      await repositories.deleteTag(app, parseTag('v2'), by('ada'));
      await repositories.deleteManifest(app, image.digest, by('ada'), now);
      await repositories.putManifest(image);
      const tags = await listed(inspection.tags());
      expect(tags.map((tag) => tag.name)).toEqual(['index', 'v1', 'v2']);
      for (const tag of tags) {
        expect(tag).toMatchObject({ linked: true, newestImage: tag.image, newestSequence: tag.sequence });
      }
      expect(await listed(inspection.forgottenTags())).toEqual([]);
      expect(await listed(inspection.missingImages())).toEqual([]);
      expect(await listed(inspection.missingReferences())).toEqual([]);
    });

    test('walks every tag once, also more than a page of them and in several repositories', async () => {
      const names = Array.from({ length: 405 }, (_, index) => `t${index}`);
      await repositories.putManifest(imagePush({ tags: names }));
      await repositories.putManifest(imagePush({ repository: other, tags: ['t1', 'zz'] }));
      const walked = (await listed(inspection.tags())).map((tag) => `${tag.repository}:${tag.name}`);
      const expected = [...names.map((tag) => `${app}:${tag}`), `${other}:t1`, `${other}:zz`];
      expect(walked.sort()).toEqual(expected.sort());
    });

    test('shows a tag beside its newest event, so that a tag which is elsewhere stands out', async () => {
      const [first, second] = [imagePush({ name: 'first', tags: ['v1'] }), imagePush({ name: 'second', tags: ['v1'] })];
      await repositories.putManifest(first);
      await repositories.putManifest(second);
      await db.updateTable('tag').set({ image: first.digest, sequence: 1 }).execute();
      expect(await listed(inspection.tags())).toMatchObject([
        {
          repository: app,
          name: 'v1',
          image: first.digest,
          sequence: 1,
          newestImage: second.digest,
          newestSequence: 2,
        },
      ]);
    });

    test('shows a tag that has no event', async () => {
      await repositories.putManifest(imagePush({ tags: ['v1'] }));
      await db.deleteFrom('tag_event').execute();
      expect(await listed(inspection.tags())).toMatchObject([{ newestImage: undefined, newestSequence: 0 }]);
    });

    test('shows a tag whose newest event says that it was deleted', async () => {
      const image = imagePush({ tags: ['v1'] });
      await repositories.putManifest(image);
      await repositories.deleteTag(app, parseTag('v1'), by('ada'));
      const { id } = await db.selectFrom('repository').select('id').executeTakeFirstOrThrow();
      const tag = {
        repository_id: id,
        name: parseTag('v1'),
        image: image.digest,
        sequence: 1,
        first_sequence: 1,
        scheduled: 0,
        changed_at: 0,
        size: 0,
        sort_name: 'v1',
      } as const;
      await db.insertInto('tag').values(tag).execute();
      expect(await listed(inspection.tags())).toMatchObject([{ newestImage: undefined, newestSequence: 2 }]);
    });

    test('finds tags whose newest event has an image and that point nowhere', async () => {
      await repositories.putManifest(imagePush({ tags: ['forgotten', 'kept', 'deleted'] }));
      await repositories.putManifest(imagePush({ name: 'newer', tags: ['forgotten'] }));
      await repositories.deleteTag(app, parseTag('deleted'), by('ada'));
      await db.deleteFrom('tag').where('name', '=', parseTag('forgotten')).execute();
      expect(await listed(inspection.forgottenTags())).toMatchObject([{ repository: app, tag: 'forgotten' }]);
    });

    test('finds more than a page of forgotten tags, each once', async () => {
      const names = Array.from({ length: 405 }, (_, index) => `t${index}`);
      await repositories.putManifest(imagePush({ tags: names }));
      await db.deleteFrom('tag').execute();
      const found = (await listed(inspection.forgottenTags())).map(({ tag }) => tag);
      expect(found.sort()).toEqual(names.sort());
    });

    test('walks every image once, with its bytes, also when several repositories link it', async () => {
      const pushes = Array.from({ length: 25 }, (_, index) => imagePush({ name: `image ${index}` }));
      for (const push of pushes) await repositories.putManifest(push);
      await repositories.putManifest({ ...pushes[0]!, repository: other });
      const walked = await listed(inspection.images());
      expect(walked.map((image) => image.digest).sort()).toEqual(pushes.map((push) => push.digest).sort());
      for (const image of walked) {
        expect(digestOf(image.bytes)).toBe(image.digest);
        expect(image.size).toBe(image.bytes.length);
      }
    });

    test('finds images that a repository links and that are not there, also more than a page of them', async () => {
      const pushes = Array.from({ length: 205 }, (_, index) => imagePush({ name: `image ${index}` }));
      for (const push of pushes) await repositories.putManifest(push);
      const kept = imagePush({ repository: other, name: 'kept' });
      await repositories.putManifest(kept);
      await forgetImages(pushes.map((push) => push.digest));
      const found = await listed(inspection.missingImages());
      expect(found.every(({ repository }) => repository === app)).toBe(true);
      expect(found.map(({ image }) => image).sort()).toEqual(pushes.map((push) => push.digest).sort());
    });

    test.each([
      { role: 'config', lost: 'config' },
      { role: 'layer', lost: 'layer' },
    ])('finds an image whose $role is not in its repository any more', async ({ role, lost }) => {
      const [config, layer] = [await addBlob('config'), await addBlob('layer')];
      const image = imagePush({ config, layers: [layer], sparse: false });
      await repositories.putManifest(image);
      await db.deleteFrom('repository_blob').where('digest', '=', digestOf(lost)).execute();
      expect(await listed(inspection.missingReferences())).toEqual([
        { repository: app, image: image.digest, role, target: digestOf(lost) },
      ]);
    });

    test('finds an index whose child was deleted', async () => {
      const child = imagePush();
      await repositories.putManifest(child);
      const index = indexPush([{ digest: child.digest, mediaType: mediaTypes.ociManifest }], { sparse: false });
      await repositories.putManifest(index);
      await repositories.deleteManifest(app, child.digest, by('ada'), now);
      expect(await listed(inspection.missingReferences())).toEqual([
        { repository: app, image: index.digest, role: 'manifest', target: child.digest },
      ]);
    });

    test('does not call missing what policy let an image come without, or what is not distributed', async () => {
      await repositories.putManifest(imagePush({ config: digestOf('never there'), sparse: true }));
      const foreignLayers = [digestOf('elsewhere')];
      await repositories.putManifest(imagePush({ config: await addBlob('config'), foreignLayers, sparse: false }));
      expect(await listed(inspection.missingReferences())).toEqual([]);
    });

    test('holds an image that came again, whole, to what it refers to', async () => {
      const push = imagePush({ config: digestOf('config') });
      await repositories.putManifest(push);
      const config = await addBlob('config');
      await repositories.putManifest({ ...push, sparse: false });
      await db.deleteFrom('repository_blob').execute();
      expect(await listed(inspection.missingReferences())).toMatchObject([{ image: push.digest, target: config }]);
    });

    test('walks every blob once', async () => {
      const digests: Digest[] = [];
      for (let index = 0; index < 205; index += 1) digests.push(await addBlob(`blob ${index}`));
      await blobs.linkBlob(other, digests[0]!, now);
      const walked = await listed(inspection.blobs());
      expect(walked.map((blob) => blob.digest).sort()).toEqual(digests.sort());
      expect(walked.find((blob) => blob.digest === digestOf('blob 3'))).toEqual({
        digest: digestOf('blob 3'),
        size: 6,
        location: `at/${digestOf('blob 3').slice(7, 27)}`,
      });
    });

    test('tells what an upload left behind that became a blob elsewhere from what nobody knows', async () => {
      const blob = { digest: digestOf('kept'), size: 4, location: 's3:ca/cafe-01' };
      await blobs.addBlob(app, blob, 'none', now);
      expect(await inspection.isLeftover('s3:ca/cafe-02')).toBe(true);
      expect(await inspection.isLeftover('s3:ca/cafe-01')).toBe(false);
      for (const unknown of ['s3:ca/caf-02', 's3:ca/cafebabe-02', 'ca/cafe-02', 's3:be/beef-01', 's3:ca/cafe', '']) {
        expect(await inspection.isLeftover(unknown), unknown).toBe(false);
      }
    });

    test('knows the locations of blobs, of uploads and of what is to be deleted, and no others', async () => {
      const digest = await addBlob('kept');
      const gone = await addBlob('gone');
      await blobs.unlinkBlob(app, gone);
      const upload = { id: 'cafe', repository: app, principal: 'ada', algorithm: 'sha256', size: 0 } as const;
      await new KyselyUploadRecords(db).addUpload({
        ...upload,
        digestSoFar: digestOf(''),
        state: undefined,
        hashState: undefined,
      });
      expect(await inspection.isKnownLocation(`at/${digest.slice(7, 27)}`)).toBe(true);
      expect(await inspection.isKnownLocation(`at/${gone.slice(7, 27)}`)).toBe(true);
      expect(await inspection.isKnownLocation('ca/cafe')).toBe(true);
      expect(await inspection.isKnownLocation('cafe')).toBe(true);
      expect(await inspection.isKnownLocation('ca/cafebabe')).toBe(false);
      expect(await inspection.isKnownLocation('at')).toBe(false);
    });
  });
}

async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
