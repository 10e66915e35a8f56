import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobRecords } from '../../src/metadata/blob-records.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import type { RepositoryStore } from '../../src/metadata/repository-store.js';
import type { Database } from '../../src/metadata/schema.js';
import type { UploadRecords } from '../../src/metadata/upload-records.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { app, by, imagePush, indexPush, other } from './pushes.js';

const hourMs = 3_600_000;

/**
 * Everything that any BlobRecords must do.
 *
 * @param openDatabase opens an empty database, migrated
 */
export function blobRecordsContract(name: string, openDatabase: () => Promise<Database>): void {
  describe(`${name} has records of blobs that`, () => {
    const now = new Date('2026-01-01T00:00:00Z');
    const later = new Date(now.getTime() + hourMs);
    let db: Database;
    let blobs: BlobRecords;
    let repositories: RepositoryStore;
    let uploads: UploadRecords;
    beforeEach(async () => {
      db = await openDatabase();
      blobs = new KyselyBlobRecords(db, () => now);
      repositories = new KyselyRepositoryStore(db, () => now);
      uploads = new KyselyUploadRecords(db, () => now);
    });
    afterEach(() => db.destroy());

    async function beginUpload(id: string): Promise<void> {
      const nothing = { size: 0, digestSoFar: digestOf(''), state: undefined, hashState: undefined };
      await uploads.addUpload({ id, repository: app, principal: 'ada', algorithm: 'sha256', ...nothing });
    }

    /** Adds a blob of which the location is told by its content. */
    async function addBlob(repository: RepositoryName, content: string, collectAt = now): Promise<Digest> {
      const digest = digestOf(content);
      const blob = { digest, size: content.length, location: `at/${content}` };
      await blobs.addBlob(repository, blob, `upload of ${content}`, collectAt);
      return digest;
    }

    describe('take a new blob and', () => {
      test('find it, with where its bytes are and when its link may go', async () => {
        const blob = { digest: digestOf('bytes'), size: 5, location: 'ab/abc' };
        expect(await blobs.addBlob(app, blob, 'upload', later)).toEqual(blob);
        expect(await blobs.findLinkedBlob(app, blob.digest)).toEqual({ ...blob, collectAt: later });
      });

      test('keep sizes exactly that do not fit into 32 bits', async () => {
        const blob = { digest: digestOf('big'), size: 5 * 1024 ** 4 + 1, location: 'big' };
        await blobs.addBlob(app, blob, 'upload', later);
        expect((await blobs.findLinkedBlob(app, blob.digest))?.size).toBe(5 * 1024 ** 4 + 1);
      });

      test('end the upload that it came by, and no other', async () => {
        await beginUpload('this');
        await beginUpload('that');
        await blobs.addBlob(app, { digest: digestOf('bytes'), size: 5, location: 'ab/abc' }, 'this', later);
        expect(await uploads.findUpload('this')).toBeUndefined();
        expect(await uploads.findUpload('that')).toBeDefined();
      });

      test('make its repository', async () => {
        await addBlob(app, 'bytes');
        expect(await repositories.repositoryExists(app)).toBe(true);
      });

      test('keep the bytes of the faster of two uploads, and let the slower go on until its bytes are discarded', async () => {
        const fast = { digest: digestOf('same'), size: 4, location: 'fast' };
        await beginUpload('slow');
        await blobs.addBlob(app, fast, 'fast', later);
        expect(await blobs.addBlob(app, { ...fast, location: 'slow' }, 'slow', later)).toEqual(fast);
        expect((await blobs.findLinkedBlob(app, fast.digest))?.location).toBe('fast');
        expect(await uploads.findUpload('slow')).toBeDefined();
        expect(await blobs.countBlobs()).toBe(1);
      });

      test('link it for the slower upload too, when that was of another repository', async () => {
        const fast = { digest: digestOf('same'), size: 4, location: 'fast' };
        await blobs.addBlob(app, fast, 'fast', later);
        await blobs.addBlob(other, { ...fast, location: 'slow' }, 'slow', later);
        expect((await blobs.findLinkedBlob(other, fast.digest))?.location).toBe('fast');
      });

      test('keep one record when many uploads of it end at once', async () => {
        const digest = digestOf('same');
        const kept = await Promise.all(
          Array.from({ length: 10 }, (_, index) =>
            blobs.addBlob(app, { digest, size: 4, location: `location ${index}` }, `upload ${index}`, later),
          ),
        );
        expect(new Set(kept.map(({ location }) => location)).size).toBe(1);
        expect(await blobs.countBlobs()).toBe(1);
      });
    });

    describe('link blobs to repositories and', () => {
      test('show a blob only through repositories that link it', async () => {
        const digest = await addBlob(app, 'bytes');
        expect(await blobs.findLinkedBlob(other, digest)).toBeUndefined();
        expect(await blobs.findLinkedBlob(app, digestOf('something else'))).toBeUndefined();
        await repositories.putManifest(imagePush({ repository: other }));
        expect(await blobs.findLinkedBlob(other, digest)).toBeUndefined();
      });

      test('link one that is in the store already', async () => {
        const digest = await addBlob(app, 'bytes');
        const blob = { digest, size: 5, location: 'at/bytes' };
        expect(await blobs.linkBlob(other, digest, later)).toEqual(blob);
        expect(await blobs.findLinkedBlob(other, digest)).toEqual({ ...blob, collectAt: later });
      });

      test('link none that the store does not have, and make no repository for it', async () => {
        expect(await blobs.linkBlob(app, digestOf('nothing'), later)).toBeUndefined();
        expect(await repositories.repositoryExists(app)).toBe(false);
      });

      test('give a link that is made again the new time', async () => {
        const digest = await addBlob(app, 'bytes', now);
        await blobs.linkBlob(app, digest, later);
        expect((await blobs.findLinkedBlob(app, digest))?.collectAt).toEqual(later);
      });

      test('list the repositories that link a blob in the order of their names, by pages', async () => {
        const digest = await addBlob(parseRepositoryName('b/b'), 'bytes');
        for (const name of ['c/c', 'a/a', 'a-a/a']) await blobs.linkBlob(parseRepositoryName(name), digest, later);
        await addBlob(parseRepositoryName('a/0'), 'other bytes');
        expect(await blobs.listRepositoriesWithBlob(digest, { last: undefined, limit: 10 })).toEqual([
          'a-a/a',
          'a/a',
          'b/b',
          'c/c',
        ]);
        expect(await blobs.listRepositoriesWithBlob(digest, { last: 'a/a', limit: 1 })).toEqual(['b/b']);
        expect(await blobs.listRepositoriesWithBlob(digest, { last: 'c/c', limit: 1 })).toEqual([]);
      });

      test('point a blob at new bytes when the old ones were lost, and end the upload these came by', async () => {
        const digest = await addBlob(app, 'bytes');
        await beginUpload('healing');
        await blobs.relocateBlob(digest, 'at/new', 'healing');
        expect(await blobs.findLinkedBlob(app, digest)).toMatchObject({ location: 'at/new', size: 5 });
        expect(await uploads.findUpload('healing')).toBeUndefined();
        expect(await blobs.listDiscardedLocations(10)).toEqual([]);
      });
    });

    describe('unlink blobs on demand and', () => {
      test('say that there is no such link', async () => {
        expect(await blobs.unlinkBlob(app, digestOf('bytes'))).toEqual({ kind: 'absent' });
        const digest = await addBlob(app, 'bytes');
        await addBlob(other, 'other bytes');
        expect(await blobs.unlinkBlob(other, digest)).toEqual({ kind: 'absent' });
      });

      test('remove the record with the last link, and remember where bytes are to be deleted', async () => {
        const digest = await addBlob(app, 'bytes');
        await blobs.linkBlob(other, digest, later);
        expect(await blobs.unlinkBlob(app, digest)).toEqual({ kind: 'unlinked' });
        expect(await blobs.findLinkedBlob(app, digest)).toBeUndefined();
        expect(await blobs.findLinkedBlob(other, digest)).toMatchObject({ location: 'at/bytes' });
        expect(await blobs.listDiscardedLocations(10)).toEqual([]);
        expect(await blobs.unlinkBlob(other, digest)).toEqual({ kind: 'unlinked' });
        expect(await blobs.listDiscardedLocations(10)).toEqual(['at/bytes']);
        expect(await blobs.countBlobs()).toBe(0);
      });

      test.each([{ role: 'config' }, { role: 'layer' }])(
        'refuse while an image of the repository needs it as its $role',
        async ({ role }) => {
          const digest = await addBlob(app, 'bytes');
          const image = imagePush(role === 'config' ? { config: digest } : { layers: [digestOf('x'), digest] });
          await repositories.putManifest(image);
          expect(await blobs.unlinkBlob(app, digest)).toEqual({ kind: 'referenced', by: image.digest });
          expect(await blobs.findLinkedBlob(app, digest)).toBeDefined();
          await repositories.deleteManifest(app, image.digest, by('ada'), now);
          expect(await blobs.unlinkBlob(app, digest)).toEqual({ kind: 'unlinked' });
        },
      );

      test('do not mind an image of another repository that needs it', async () => {
        const digest = await addBlob(app, 'bytes');
        await blobs.linkBlob(other, digest, later);
        await repositories.putManifest(imagePush({ repository: other, layers: [digest] }));
        expect(await blobs.unlinkBlob(app, digest)).toEqual({ kind: 'unlinked' });
        expect(await blobs.unlinkBlob(other, digest)).toMatchObject({ kind: 'referenced' });
      });

      test('take the digest again after its bytes were discarded, at another location', async () => {
        const digest = await addBlob(app, 'bytes');
        await blobs.unlinkBlob(app, digest);
        await blobs.addBlob(app, { digest, size: 5, location: 'at/again' }, 'upload', later);
        expect(await blobs.listDiscardedLocations(10)).toEqual(['at/bytes']);
        expect((await blobs.findLinkedBlob(app, digest))?.location).toBe('at/again');
      });
    });

    describe('go from everywhere at once and', () => {
      test('are not there any more, nor is any link to them', async () => {
        const digest = await addBlob(app, 'bytes', later);
        await blobs.linkBlob(other, digest, later);
        expect(await blobs.unlinkEverywhere(digest)).toEqual({ kind: 'unlinked' });
        for (const repository of [app, other]) expect(await blobs.findLinkedBlob(repository, digest)).toBeUndefined();
        expect(await blobs.countBlobs()).toBe(0);
        expect(await blobs.listDiscardedLocations(10)).toEqual(['at/bytes']);
        expect(await blobs.collectLinks(later, 10)).toBe(0);
        expect(await blobs.unlinkEverywhere(digest)).toEqual({ kind: 'absent' });
      });

      test('stay while an image of any repository refers to them', async () => {
        const digest = await addBlob(app, 'bytes');
        await blobs.linkBlob(other, digest, later);
        const image = imagePush({ repository: other, layers: [digest] });
        await repositories.putManifest(image);
        expect(await blobs.unlinkEverywhere(digest)).toEqual({ kind: 'referenced', by: image.digest });
        expect(await blobs.findLinkedBlob(app, digest)).toBeDefined();
        await repositories.deleteManifest(other, image.digest, by('ada'), now);
        expect(await blobs.unlinkEverywhere(digest)).toEqual({ kind: 'unlinked' });
      });

      test('do not mind an image of a repository that was removed', async () => {
        const digest = await addBlob(app, 'bytes');
        await repositories.putManifest(imagePush({ layers: [digest] }));
        await new KyselyStreamStore(db, () => now).edit((edit) => edit.removeStream(app));
        expect(await blobs.unlinkEverywhere(digest)).toEqual({ kind: 'unlinked' });
        while ((await new KyselyStreamStore(db).removeLeftovers(10)) > 0);
        expect(await blobs.listDiscardedLocations(10)).toEqual(['at/bytes']);
      });

      test('are not mistaken for a manifest, which is no blob', async () => {
        const child = imagePush();
        await repositories.putManifest(child);
        await repositories.putManifest(indexPush([{ digest: child.digest, mediaType: child.manifest.mediaType }]));
        expect(await blobs.unlinkEverywhere(child.digest)).toEqual({ kind: 'absent' });
      });
    });

    describe('collect links and', () => {
      test('take none before its time', async () => {
        const digest = await addBlob(app, 'bytes', later);
        expect(await blobs.collectLinks(new Date(later.getTime() - 1), 10)).toBe(0);
        expect(await blobs.findLinkedBlob(app, digest)).toBeDefined();
        expect(await blobs.collectLinks(later, 10)).toBe(1);
        expect(await blobs.findLinkedBlob(app, digest)).toBeUndefined();
        expect(await blobs.listDiscardedLocations(10)).toEqual(['at/bytes']);
      });

      test('keep what an image of the repository refers to, and look at it no more', async () => {
        const [config, layer, loose] = [
          await addBlob(app, 'config'),
          await addBlob(app, 'layer'),
          await addBlob(app, 'x'),
        ];
        await repositories.putManifest(imagePush({ config, layers: [layer], sparse: false }));
        expect(await blobs.collectLinks(now, 10)).toBe(3);
        for (const digest of [config, layer]) {
          expect(await blobs.findLinkedBlob(app, digest)).toMatchObject({ digest, collectAt: undefined });
        }
        expect(await blobs.findLinkedBlob(app, loose)).toBeUndefined();
        expect(await blobs.collectLinks(later, 10)).toBe(0);
      });

      test('keep what an index refers to as a blob', async () => {
        const layer = await addBlob(app, 'cached layer');
        await repositories.putManifest(indexPush([{ digest: layer, mediaType: 'application/octet-stream' }]));
        await blobs.collectLinks(now, 10);
        expect(await blobs.findLinkedBlob(app, layer)).toBeDefined();
      });

      test('keep what an image without tags refers to', async () => {
        const layer = await addBlob(app, 'layer');
        const image = imagePush({ layers: [layer], tags: ['v1'] });
        await repositories.putManifest(image);
        await repositories.deleteTag(app, image.tags[0]!, by('ada'));
        await blobs.collectLinks(later, 10);
        expect(await blobs.findLinkedBlob(app, layer)).toBeDefined();
      });

      test('remove the link where no image needs it, and keep the record for where one does', async () => {
        const digest = await addBlob(app, 'bytes');
        await blobs.linkBlob(other, digest, now);
        await repositories.putManifest(imagePush({ repository: other, layers: [digest] }));
        expect(await blobs.collectLinks(now, 10)).toBe(2);
        expect(await blobs.findLinkedBlob(app, digest)).toBeUndefined();
        expect(await blobs.findLinkedBlob(other, digest)).toMatchObject({ location: 'at/bytes' });
        expect(await blobs.listDiscardedLocations(10)).toEqual([]);
      });

      test('remove blobs of a deleted image when their time has come, and none that another image needs', async () => {
        const [shared, own] = [await addBlob(app, 'shared'), await addBlob(app, 'own')];
        const [kept, gone] = [imagePush({ layers: [shared] }), imagePush({ layers: [shared, own] })];
        await repositories.putManifest(kept);
        await repositories.putManifest(gone);
        await blobs.collectLinks(now, 10);
        await repositories.deleteManifest(app, gone.digest, by('ada'), later);
        await blobs.collectLinks(now, 10);
        expect(await blobs.findLinkedBlob(app, own)).toBeDefined();
        await blobs.collectLinks(later, 10);
        expect(await blobs.findLinkedBlob(app, own)).toBeUndefined();
        expect(await blobs.findLinkedBlob(app, shared)).toMatchObject({ collectAt: undefined });
      });

      test('look at no more than the limit, those first whose time came first', async () => {
        for (const [index, content] of ['third', 'first', 'second'].entries()) {
          await addBlob(app, content, new Date(now.getTime() + [3, 1, 2][index]!));
        }
        expect(await blobs.collectLinks(later, 2)).toBe(2);
        expect(await blobs.findLinkedBlob(app, digestOf('third'))).toBeDefined();
        expect(await blobs.findLinkedBlob(app, digestOf('first'))).toBeUndefined();
        expect(await blobs.collectLinks(later, 2)).toBe(1);
        expect(await blobs.collectLinks(later, 2)).toBe(0);
      });

      test('put off one whose blob was asked for', async () => {
        const digest = await addBlob(app, 'bytes', now);
        await blobs.linkBlob(other, digest, now);
        await blobs.postponeCollection(app, digest, later);
        await blobs.collectLinks(now, 10);
        expect((await blobs.findLinkedBlob(app, digest))?.collectAt).toEqual(later);
        expect(await blobs.findLinkedBlob(other, digest)).toBeUndefined();
      });

      test('do not look at a link because it was put off', async () => {
        const layer = await addBlob(app, 'layer');
        await repositories.putManifest(imagePush({ layers: [layer] }));
        await blobs.collectLinks(now, 10);
        await blobs.postponeCollection(app, layer, later);
        expect((await blobs.findLinkedBlob(app, layer))?.collectAt).toBeUndefined();
        await blobs.postponeCollection(other, layer, later);
        expect(await blobs.collectLinks(later, 10)).toBe(0);
      });
    });

    test('remember locations to be deleted until they are forgotten, as many as are asked for', async () => {
      for (const content of ['a', 'b', 'c']) await blobs.unlinkBlob(app, await addBlob(app, content));
      expect(await blobs.listDiscardedLocations(2)).toHaveLength(2);
      await blobs.forgetDiscardedLocation('at/b');
      await blobs.forgetDiscardedLocation('at/nothing');
      expect((await blobs.listDiscardedLocations(10)).sort()).toEqual(['at/a', 'at/c']);
    });

    test('are counted, each blob once however many repositories link it', async () => {
      expect(await blobs.countBlobs()).toBe(0);
      await blobs.linkBlob(other, await addBlob(app, 'bytes'), now);
      await addBlob(app, 'more bytes');
      expect(await blobs.countBlobs()).toBe(2);
    });
  });
}
