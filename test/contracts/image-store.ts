import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { signatureLimits, type StoredSignature } from '../../src/metadata/image-signatures.js';
import type { ImageStore, ImageSummaryRecords, NewImage } from '../../src/metadata/image-store.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyImageStore } from '../../src/metadata/kysely-image-store.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import type { Change } from '../../src/metadata/object-store.js';
import type { ManifestPush } from '../../src/metadata/repository-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { imagesResource, streamsResource } from '../../src/metadata/stream-store.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { summarizeImage } from '../../src/oci/image-config.js';
import { parseManifest } from '../../src/oci/manifest.js';
import { mediaTypes } from '../../src/oci/media-types.js';
import { parseReference, parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { app, imagePush, indexPush, other } from './pushes.js';

const now = new Date('2026-01-01T00:00:00Z');
const later = new Date('2026-01-01T01:00:00Z');
const none = { metadata: {}, signatures: [] } as const;

/** A signature of an image; two of the same content are told apart by their names only. */
export function signature(image: Digest, name: string, content = name): StoredSignature {
  return {
    metadata: { name: `${image}@${name}`, uid: `uid of ${name}`, creationTimestamp: '2026-01-01T00:00:00Z' },
    type: 'atomic',
    content: Buffer.from(content).toString('base64'),
  };
}

/** An image as it comes through the API. */
function newImage(name: string, words: Partial<NewImage> = {}): NewImage {
  const { digest, bytes, manifest, summary } = imagePush({ name });
  return { digest, bytes, manifest, summary, ...none, ...words };
}

/**
 * Everything that any ImageStore must do.
 *
 * @param openDatabase opens an empty database, migrated
 */
export function imageStoreContract(name: string, openDatabase: () => Promise<Database>): void {
  describe(`${name} has images that`, () => {
    let db: Database;
    let images: ImageStore & ImageSummaryRecords;
    let repositories: KyselyRepositoryStore;
    let blobs: KyselyBlobRecords;
    let objects: KyselyObjectStore;
    let begin: number;
    let told: number;
    beforeEach(async () => {
      db = await openDatabase();
      told = 0;
      images = new KyselyImageStore(
        db,
        () => now,
        () => {
          told += 1;
        },
      );
      repositories = new KyselyRepositoryStore(db, () => now);
      blobs = new KyselyBlobRecords(db, () => now);
      objects = new KyselyObjectStore(db);
      begin = await objects.currentVersion();
    });
    afterEach(() => db.destroy());

    async function push(fields: Parameters<typeof imagePush>[0] = {}): Promise<ManifestPush> {
      const pushed = imagePush(fields);
      expect(await repositories.putManifest(pushed)).toEqual({ kind: 'stored' });
      return pushed;
    }

    async function addBlob(repository: RepositoryName, content: string): Promise<Digest> {
      const digest = digestOf(content);
      await blobs.addBlob(repository, { digest, size: content.length, location: content }, 'none', later);
      return digest;
    }

    async function changes(resource: string = imagesResource): Promise<readonly Change[]> {
      return (await objects.readChanges(begin, { resource, limit: 1000 }))!.changes;
    }

    async function kinds(resource?: string): Promise<readonly string[]> {
      return (await changes(resource)).map(({ kind }) => kind);
    }

    async function removeStream(repository: RepositoryName): Promise<void> {
      await new KyselyStreamStore(db, () => now).edit((edit) => edit.removeStream(repository));
    }

    describe('can be read and', () => {
      test('are found by digest, with what was kept of them', async () => {
        const { digest, bytes } = await push();
        expect(await images.find(digest)).toEqual({
          digest,
          uid: expect.stringMatching(/^[0-9a-f]{8}-/) as string,
          mediaType: mediaTypes.ociManifest,
          bytes,
          config: undefined,
          createdAt: now,
          version: expect.any(Number) as number,
          metadata: {},
          signatures: [],
          repository: app,
        });
        expect(await images.find(digestOf('something else'))).toBeUndefined();
      });

      test('have the text of their config', async () => {
        const config = Buffer.from('{"os":"linux","architecture":"arm64"}');
        const pushed = imagePush();
        await repositories.putManifest({
          ...pushed,
          summary: summarizeImage(pushed.bytes, parseManifest(pushed.bytes, undefined), config),
        });
        expect((await images.find(pushed.digest))?.config).toBe(config.toString());
      });

      test('name the oldest repository that links them, and none that is removed', async () => {
        const { digest } = await push({ repository: other });
        await push({ repository: app });
        expect((await images.find(digest))?.repository).toBe(other);
        await removeStream(other);
        expect((await images.find(digest))?.repository).toBe(app);
        await removeStream(app);
        expect((await images.find(digest))?.repository).toBeUndefined();
      });

      test('come page by page in the order of their digests', async () => {
        const digests = [];
        for (const each of ['a', 'b', 'c', 'd', 'e']) digests.push((await push({ name: each })).digest);
        digests.sort();
        const first = await images.list(undefined, 2);
        expect(first).toMatchObject({ images: [{ digest: digests[0] }, { digest: digests[1] }], isLast: false });
        const second = await images.list(digests[1], 2);
        expect(second).toMatchObject({ images: [{ digest: digests[2] }, { digest: digests[3] }], isLast: false });
        const third = await images.list(digests[3], 2);
        expect(third.images.map(({ digest }) => digest)).toEqual(digests.slice(4));
        expect(third.isLast).toBe(true);
        expect(await images.list(digests[4], 2)).toEqual({ images: [], isLast: true });
        expect((await images.list(undefined, 5)).isLast).toBe(true);
      });

      test('come in shorter pages when they are large, one at least in each', async () => {
        const digests = [];
        for (const each of ['a', 'b', 'c', 'd', 'e', 'f']) {
          digests.push((await push({ name: each.repeat(3.5 * 1024 * 1024) })).digest);
        }
        const first = await images.list(undefined, 50);
        expect(first.images).toHaveLength(4);
        expect(first.isLast).toBe(false);
        const second = await images.list(first.images.at(-1)!.digest, 50);
        expect([...first.images, ...second.images].map(({ digest }) => digest)).toEqual(digests.sort());
        expect(second.isLast).toBe(true);
      });

      test('count their signatures among their bytes', async () => {
        for (const each of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
          const { digest } = await push({ name: each });
          for (const part of ['1', '2']) {
            const content = part.repeat(signatureLimits.contentBytes);
            expect(await images.addSignature(digest, signature(digest, part, content))).toBe('added');
          }
        }
        const { images: first, isLast } = await images.list(undefined, 50);
        expect(first.length).toBeLessThan(7);
        expect(isLast).toBe(false);
      });
    });

    describe('are made through the API and', () => {
      test('are there, linked by no repository, with one line in the change log', async () => {
        const image = newImage('made', {
          metadata: { labels: { a: 'b' } },
          signatures: [signature(imagePush({ name: 'made' }).digest, 'first')],
        });
        const created = await images.create(image);
        expect(created).toMatchObject({ digest: image.digest, metadata: image.metadata, signatures: image.signatures });
        expect(created?.repository).toBeUndefined();
        expect(await images.find(image.digest)).toEqual(created);
        const [change, ...more] = await changes();
        expect(more).toEqual([]);
        expect(change).toMatchObject({
          kind: 'ADDED',
          object: {
            metadata: {
              name: image.digest,
              uid: created!.uid,
              labels: { a: 'b' },
              resourceVersion: String(created!.version),
            },
          },
        });
        expect(told).toBe(1);
      });

      test('are not made twice, nor when they were pushed', async () => {
        await push({ name: 'pushed' });
        expect(await images.create(newImage('pushed', { metadata: { labels: { a: 'b' } } }))).toBeUndefined();
        expect((await images.find(newImage('pushed').digest))?.metadata).toEqual({});
        expect(await kinds()).toEqual(['ADDED']);
        expect(told).toBe(0);
      });

      test('can be pushed afterwards, and keep what was said of them', async () => {
        const image = newImage('made', { metadata: { labels: { a: 'b' } } });
        await images.create(image);
        await push({ name: 'made', tags: ['v1'] });
        expect(await images.find(image.digest)).toMatchObject({ metadata: image.metadata, repository: app });
        expect(await repositories.findManifest(app, parseReference('v1'))).toMatchObject({ digest: image.digest });
      });
    });

    describe('get other words and', () => {
      test('have a new version and a line in the change log that tells both states', async () => {
        const { digest } = await push();
        const before = (await images.find(digest))!;
        const words = { metadata: { labels: { a: 'b' } }, signatures: [signature(digest, 'first')] };
        const result = await images.replace(digest, before.version, words);
        const after = (await images.find(digest))!;
        expect(result).toEqual({ kind: 'replaced', image: after });
        expect(after).toEqual({ ...before, ...words, version: expect.any(Number) as number });
        expect(after.version).toBeGreaterThan(before.version);
        const [, change] = await changes();
        expect(change).toMatchObject({ kind: 'MODIFIED', version: after.version });
        expect(change!.object.metadata.labels).toEqual({ a: 'b' });
        expect(change!.previous!.metadata.labels).toBeUndefined();
        expect(told).toBe(1);
      });

      test('lose what is left out', async () => {
        const { digest } = await push();
        const { version } = (await images.find(digest))!;
        const first = await images.replace(digest, version, {
          metadata: { labels: { a: 'b' } },
          signatures: [signature(digest, 'first')],
        });
        const { image } = first as Extract<typeof first, { kind: 'replaced' }>;
        await images.replace(digest, image.version, none);
        expect(await images.find(digest)).toMatchObject(none);
      });

      test('stay as they are when they have another version by now, or are not there', async () => {
        const { digest } = await push();
        const { version } = (await images.find(digest))!;
        expect(await images.replace(digest, version - 1, { ...none, metadata: { labels: { a: 'b' } } })).toEqual({
          kind: 'conflict',
        });
        expect(await images.replace(digestOf('none'), version, none)).toEqual({ kind: 'absent' });
        expect((await images.find(digest))?.metadata).toEqual({});
        expect(await kinds()).toEqual(['ADDED']);
        expect(told).toBe(0);
      });
    });

    describe('are removed and', () => {
      const remove = (digest: Digest) => images.remove(digest, { collectAt: later });

      test('are gone when no repository links them', async () => {
        const image = newImage('made', { signatures: [signature(newImage('made').digest, 'first')] });
        await images.create(image);
        expect(await remove(image.digest)).toEqual({ kind: 'removed' });
        expect(await images.find(image.digest)).toBeUndefined();
        expect(await images.listSignatures(image.digest)).toBeUndefined();
        expect(await kinds()).toEqual(['ADDED', 'DELETED']);
        expect(told).toBe(2);
        expect(await remove(image.digest)).toEqual({ kind: 'absent' });
      });

      test('leave every repository, with the versions of their streams', async () => {
        const { digest } = await push();
        await push({ repository: other });
        expect(await remove(digest)).toEqual({ kind: 'removed' });
        for (const repository of [app, other]) {
          expect(await repositories.findManifest(repository, { kind: 'digest', digest })).toBeUndefined();
          expect(await repositories.repositoryExists(repository)).toBe(true);
        }
        expect(await kinds()).toEqual(['ADDED', 'DELETED']);
        expect(await kinds(streamsResource)).toEqual(['ADDED', 'ADDED', 'MODIFIED', 'MODIFIED']);
      });

      test('are not shown in the history of a tag that has moved on', async () => {
        const { digest } = await push({ name: 'old', tags: ['v1'] });
        const { digest: newer } = await push({ name: 'new', tags: ['v1'] });
        expect(await remove(digest)).toEqual({ kind: 'removed' });
        const { tags } = (await new KyselyStreamStore(db).readStream(app, 10))!;
        expect(tags[0]!.events.map(({ image }) => image)).toEqual([newer]);
        const events = await repositories.listTagEvents(app, parseTag('v1'), 10);
        expect(events.map(({ image, shown }) => ({ image, shown }))).toEqual([
          { image: newer, shown: true },
          { image: digest, shown: false },
        ]);
      });

      test('let their blobs be collected when the grace time is over', async () => {
        const layer = await addBlob(app, 'layer');
        const { digest } = await push({ layers: [layer] });
        await blobs.collectLinks(later, 10);
        expect((await blobs.findLinkedBlob(app, layer))?.collectAt).toBeUndefined();
        await remove(digest);
        expect((await blobs.findLinkedBlob(app, layer))?.collectAt).toEqual(later);
      });

      test('stay while a tag points at them', async () => {
        const { digest } = await push({ repository: other, tags: ['v1'] });
        await push({ repository: app });
        const by = { kind: 'tag', repository: other, tag: 'v1' };
        expect(await remove(digest)).toEqual({ kind: 'needed', by });
        expect(await repositories.findManifest(app, { kind: 'digest', digest })).toBeDefined();
        expect(await kinds()).toEqual(['ADDED']);
        expect(told).toBe(0);
      });

      test('stay while an index of the repository lists them, and an index of another one does not matter', async () => {
        const child = await push();
        const children = [{ digest: child.digest, mediaType: child.manifest.mediaType }];
        const index = indexPush(children);
        await repositories.putManifest({ ...index, repository: other });
        expect((await images.remove(child.digest, { collectAt: later, dryRun: true })).kind).toBe('removed');
        await repositories.putManifest(index);
        const by = { kind: 'index', repository: app, image: index.digest };
        expect(await remove(child.digest)).toEqual({ kind: 'needed', by });
        expect(await remove(index.digest)).toEqual({ kind: 'removed' });
        expect(await remove(child.digest)).toEqual({ kind: 'removed' });
      });

      test('stay while an image is there that they say something about', async () => {
        const subject = await push({ tags: ['v1'] });
        const referrer = await push({ name: 'signature', subject: subject.digest });
        const by = { kind: 'subject', repository: app, image: subject.digest };
        expect(await remove(referrer.digest)).toEqual({ kind: 'needed', by });
        await repositories.deleteTag(app, parseTag('v1'), { actor: { name: 'ada', kind: 'user' } });
        expect(await remove(subject.digest)).toEqual({ kind: 'removed' });
        expect(await remove(referrer.digest)).toEqual({ kind: 'removed' });
      });

      test('are not held by a repository that is removed', async () => {
        const { digest } = await push({ tags: ['v1'] });
        await removeStream(app);
        expect(await remove(digest)).toEqual({ kind: 'removed' });
        expect(await images.find(digest)).toBeUndefined();
        while ((await new KyselyStreamStore(db).removeLeftovers(10)) > 0);
        expect(await kinds()).toEqual(['ADDED', 'DELETED']);
      });

      test('leave more repositories than go into one transaction', async () => {
        const { digest } = await push();
        const names = Array.from({ length: 250 }, (_, index) => parseRepositoryName(`team/app-${index}`));
        for (const repository of names) await repositories.putManifest(imagePush({ repository }));
        expect(await remove(digest)).toEqual({ kind: 'removed' });
        expect(await images.find(digest)).toBeUndefined();
        expect(await repositories.findManifest(names[249]!, { kind: 'digest', digest })).toBeUndefined();
        expect((await kinds()).filter((kind) => kind === 'DELETED')).toHaveLength(1);
      });

      test('stay when it is only tried', async () => {
        const { digest } = await push();
        expect(await images.remove(digest, { collectAt: later, dryRun: true })).toEqual({ kind: 'removed' });
        expect(await repositories.findManifest(app, { kind: 'digest', digest })).toBeDefined();
        expect(await kinds()).toEqual(['ADDED']);
        expect(told).toBe(0);
      });
    });

    describe('get signatures and', () => {
      test('have them in the order of their names, and a new version for each', async () => {
        const { digest } = await push();
        const { version } = (await images.find(digest))!;
        for (const each of ['b', 'a']) {
          expect(await images.addSignature(digest, signature(digest, each))).toBe('added');
        }
        const both = [signature(digest, 'a'), signature(digest, 'b')];
        expect(await images.listSignatures(digest)).toEqual(both);
        expect(await images.find(digest)).toMatchObject({ signatures: both, version: version + 2 });
        expect(await kinds()).toEqual(['ADDED', 'MODIFIED', 'MODIFIED']);
        expect(told).toBe(2);
      });

      test.each([
        { what: 'of the same name', name: 'first', content: 'other' },
        { what: 'of the same type and content', name: 'second', content: 'first' },
      ])('take no other $what', async ({ name: second, content }) => {
        const { digest } = await push();
        await images.addSignature(digest, signature(digest, 'first'));
        expect(await images.addSignature(digest, signature(digest, second, content))).toBe('exists');
        expect(await images.listSignatures(digest)).toEqual([signature(digest, 'first')]);
      });

      test('take as many as there may be, and no more', async () => {
        const { digest } = await push();
        for (let count = 0; count < signatureLimits.perImage; count += 1) {
          expect(await images.addSignature(digest, signature(digest, `${count}`))).toBe('added');
        }
        expect(await images.addSignature(digest, signature(digest, 'more'))).toBe('full');
      });

      test('take as many bytes as there may be, and no more', async () => {
        const { digest } = await push();
        const large = (letter: string) => signature(digest, letter, letter.repeat(signatureLimits.contentBytes));
        expect(await images.addSignature(digest, large('a'))).toBe('added');
        expect(await images.addSignature(digest, large('b'))).toBe('added');
        expect(await images.addSignature(digest, large('c'))).toBe('full');
        expect(await images.addSignature(digest, signature(digest, 'small'))).toBe('added');
      });

      test('lose one, and no other', async () => {
        const { digest } = await push();
        for (const each of ['a', 'b']) await images.addSignature(digest, signature(digest, each));
        expect(await images.removeSignature(digest, `${digest}@a`)).toBe(true);
        expect(await images.removeSignature(digest, `${digest}@a`)).toBe(false);
        expect(await images.listSignatures(digest)).toEqual([signature(digest, 'b')]);
        expect(await kinds()).toEqual(['ADDED', 'MODIFIED', 'MODIFIED', 'MODIFIED']);
      });

      test('are not there to be signed when they were never pushed', async () => {
        const digest = digestOf('none');
        expect(await images.addSignature(digest, signature(digest, 'a'))).toBe('absent');
        expect(await images.removeSignature(digest, `${digest}@a`)).toBe(false);
        expect(await images.listSignatures(digest)).toBeUndefined();
      });
    });

    describe('came before summaries were kept and', () => {
      const summary = { totalSize: 4711, platforms: ['linux/arm64'], version: '1.2', config: '{"os":"linux"}' };

      async function pushLongAgo(fields: Parameters<typeof imagePush>[0]): Promise<Digest> {
        const { digest } = await push(fields);
        await db.deleteFrom('image_summary').where('image', '=', digest).execute();
        await db.updateTable('tag').set({ size: 0 }).where('image', '=', digest).execute();
        return digest;
      }

      test('are found among the others, some looked at at a time', async () => {
        const old = [];
        for (const each of ['a', 'b', 'c']) old.push(await pushLongAgo({ name: each }));
        for (const each of ['d', 'e', 'f']) await push({ name: each });
        const found: Digest[] = [];
        let pages = 0;
        for (let after: Digest | undefined; ; pages += 1) {
          const page = await images.listUnsummarized(after, 2);
          found.push(...page.digests);
          after = page.next;
          if (after === undefined) break;
        }
        expect(found).toEqual(old.sort());
        expect(pages).toBe(3);
      });

      test('get a summary, and the tags that point at them its size', async () => {
        const digest = await pushLongAgo({ name: 'old', tags: ['v1', 'v2'] });
        await push({ name: 'new', tags: ['v3'] });
        await images.putSummary(digest, summary);
        expect((await images.find(digest))?.config).toBe(summary.config);
        expect((await images.listUnsummarized(undefined, 10)).digests).toEqual([]);
        const tags = await db.selectFrom('tag').select(['name', 'size']).orderBy('name').execute();
        expect(tags.map(({ name: tag, size }) => [tag, size === 4711])).toEqual([
          ['v1', true],
          ['v2', true],
          ['v3', false],
        ]);
      });

      test('keep the one they have, and need not be there any more', async () => {
        const digest = await pushLongAgo({ name: 'old' });
        await images.putSummary(digest, summary);
        await images.putSummary(digest, { ...summary, config: '{"os":"windows"}' });
        expect((await images.find(digest))?.config).toBe(summary.config);
        await images.putSummary(digestOf('none'), summary);
        expect(await images.find(digestOf('none'))).toBeUndefined();
      });

      test('have their config in a repository that links both', async () => {
        const config = await addBlob(other, 'config');
        const { digest } = await push({ config });
        expect(await images.findConfigRepository(digest)).toBeUndefined();
        await push({ config, repository: other });
        expect(await images.findConfigRepository(digest)).toBe(other);
      });
    });
  });
}
