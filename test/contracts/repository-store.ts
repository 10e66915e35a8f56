import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import type { Page, RepositoryStore } from '../../src/metadata/repository-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { mediaTypes } from '../../src/oci/media-types.js';
import { parseReference, parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { app, by, imagePush, indexPush, other } from './pushes.js';

const all = { last: undefined, limit: 1000 };
const tag = (name: string) => parseReference(name);
const byDigest = (digest: Digest) => ({ kind: 'digest', digest }) as const;

/**
 * Everything that any RepositoryStore must do.
 *
 * @param openDatabase opens an empty database, migrated
 */
export function repositoryStoreContract(name: string, openDatabase: () => Promise<Database>): void {
  describe(`${name} has repositories that`, () => {
    let db: Database;
    let store: RepositoryStore;
    let blobs: KyselyBlobRecords;
    let now: Date;
    beforeEach(async () => {
      db = await openDatabase();
      now = new Date('2026-01-01T00:00:00Z');
      store = new KyselyRepositoryStore(db, () => now);
      blobs = new KyselyBlobRecords(db, () => now);
    });
    afterEach(() => db.destroy());

    async function addBlob(repository: RepositoryName, content: string, collectAt = now): Promise<Digest> {
      const digest = digestOf(content);
      await blobs.addBlob(repository, { digest, size: content.length, location: digest }, 'none', collectAt);
      return digest;
    }

    describe('store manifests and', () => {
      test('find them by tag and by digest, with their bytes as pushed', async () => {
        const push = imagePush({ tags: ['v1', 'latest'] });
        expect(await store.putManifest(push)).toEqual({ kind: 'stored' });
        const stored = { digest: push.digest, mediaType: mediaTypes.ociManifest, size: push.bytes.length };
        for (const reference of [tag('v1'), tag('latest'), byDigest(push.digest)]) {
          expect(await store.findManifest(app, reference)).toEqual(stored);
          const read = await store.readManifest(app, reference);
          expect(read).toMatchObject(stored);
          expect(Buffer.from(read!.bytes).equals(push.bytes)).toBe(true);
        }
      });

      test('keep a manifest of 4 MiB with a thousand layers', async () => {
        const layers = Array.from({ length: 1000 }, (_, index) => digestOf(`layer ${index}`));
        const push = imagePush({ layers, name: 'x'.repeat(3 * 1024 * 1024) });
        expect(await store.putManifest({ ...push, sparse: false })).toMatchObject({ kind: 'missing' });
        expect(await store.putManifest(push)).toEqual({ kind: 'stored' });
        expect((await store.readManifest(app, byDigest(push.digest)))!.bytes.equals(push.bytes)).toBe(true);
      });

      test.each([
        { name: 'a tag that was never pushed', repository: app, reference: tag('v2') },
        { name: 'a digest that was never pushed', repository: app, reference: byDigest(digestOf('never')) },
        { name: 'a tag of another repository', repository: other, reference: tag('v1') },
        { name: 'a tag in other letters', repository: app, reference: tag('V1') },
      ])('find nothing by $name', async ({ repository, reference }) => {
        await store.putManifest(imagePush({ tags: ['v1'] }));
        await store.putManifest(imagePush({ repository: other, name: 'other' }));
        expect(await store.findManifest(repository, reference)).toBeUndefined();
        expect(await store.readManifest(repository, reference)).toBeUndefined();
      });

      test('show a manifest only through repositories that it was pushed to', async () => {
        const push = imagePush();
        await store.putManifest(push);
        await store.putManifest(imagePush({ repository: other, name: 'something else' }));
        expect(await store.findManifest(other, byDigest(push.digest))).toBeUndefined();
        await store.putManifest({ ...push, repository: other });
        expect(await store.findManifest(other, byDigest(push.digest))).toMatchObject({ digest: push.digest });
      });

      test('come to be with the first manifest', async () => {
        expect(await store.repositoryExists(app)).toBe(false);
        await store.putManifest(imagePush());
        expect(await store.repositoryExists(app)).toBe(true);
        expect(await store.repositoryExists(other)).toBe(false);
      });
    });

    describe('check what a manifest refers to and', () => {
      test('take it when everything is there', async () => {
        const [config, layer] = [await addBlob(app, 'config'), await addBlob(app, 'layer')];
        const push = imagePush({ config, layers: [layer, layer], sparse: false });
        expect(await store.putManifest(push)).toEqual({ kind: 'stored' });
      });

      test('name what is missing, each once, and store nothing', async () => {
        const [config, there, missing] = [digestOf('config'), await addBlob(other, 'there'), digestOf('missing')];
        const push = imagePush({ config, layers: [missing, there, missing], tags: ['v1'], sparse: false });
        const result = await store.putManifest(push);
        expect(result).toEqual({ kind: 'missing', missing: [config, missing, there] });
        expect(await store.findManifest(app, byDigest(push.digest))).toBeUndefined();
        expect(await store.findManifest(app, tag('v1'))).toBeUndefined();
        expect(await store.repositoryExists(app)).toBe(false);
      });

      test('name what is missing of a repository that has a part', async () => {
        const [config, missing] = [await addBlob(app, 'config'), digestOf('missing')];
        const result = await store.putManifest(imagePush({ config, layers: [missing], sparse: false }));
        expect(result).toEqual({ kind: 'missing', missing: [missing] });
      });

      test('take it in spite of that when policy allows', async () => {
        const push = imagePush({ config: digestOf('missing'), sparse: true });
        expect(await store.putManifest(push)).toEqual({ kind: 'stored' });
      });

      test('do not ask for layers that are not distributed with their image', async () => {
        const push = imagePush({
          config: await addBlob(app, 'config'),
          foreignLayers: [digestOf('elsewhere')],
          sparse: false,
        });
        expect(await store.putManifest(push)).toEqual({ kind: 'stored' });
      });

      test('do not ask for the subject', async () => {
        const config = await addBlob(app, 'config');
        const push = imagePush({ config, subject: digestOf('comes later'), sparse: false });
        expect(await store.putManifest(push)).toEqual({ kind: 'stored' });
      });

      test('ask for the children of an index in the same repository', async () => {
        const child = imagePush({ repository: other });
        await store.putManifest(child);
        const index = indexPush([{ digest: child.digest, mediaType: mediaTypes.ociManifest }], { sparse: false });
        expect(await store.putManifest(index)).toEqual({ kind: 'missing', missing: [child.digest] });
        await store.putManifest({ ...child, repository: app });
        expect(await store.putManifest(index)).toEqual({ kind: 'stored' });
      });

      test('do not take a blob for the child manifest of an index', async () => {
        const digest = await addBlob(app, 'bytes of a manifest, pushed as a blob');
        const index = indexPush([{ digest, mediaType: mediaTypes.ociManifest }], { sparse: false });
        expect(await store.putManifest(index)).toEqual({ kind: 'missing', missing: [digest] });
      });

      test('take a blob in an index where the index does not call it a manifest, as build caches do', async () => {
        const digest = await addBlob(app, 'layer');
        const index = indexPush([{ digest, mediaType: 'application/vnd.oci.image.layer.v1.tar' }], { sparse: false });
        expect(await store.putManifest(index)).toEqual({ kind: 'stored' });
      });
    });

    describe('keep the history of each tag and', () => {
      test('record who moved it where, when and how, newest first', async () => {
        const [first, second] = [
          imagePush({ name: 'first', tags: ['v1'] }),
          imagePush({ name: 'second', tags: ['v1'] }),
        ];
        await store.putManifest(first);
        now = new Date('2026-01-02T00:00:00.123Z');
        await store.putManifest({ ...second, actor: by('grace').actor });
        now = new Date('2026-01-03T00:00:00Z');
        await store.deleteTag(app, parseTag('v1'), by('linus'));
        const moved = { ...by('ada'), cause: 'push', image: first.digest, at: new Date('2026-01-01T00:00:00Z') };
        expect(await store.listTagEvents(app, parseTag('v1'), 10)).toMatchObject([
          { sequence: 3, image: undefined, cause: 'delete', ...by('linus'), at: new Date('2026-01-03T00:00:00Z') },
          { ...moved, sequence: 2, image: second.digest, ...by('grace'), at: new Date('2026-01-02T00:00:00.123Z') },
          { ...moved, sequence: 1 },
        ]);
      });

      test('record nothing when a push leaves it where it was', async () => {
        const push = imagePush({ tags: ['v1'] });
        await store.putManifest(push);
        await store.putManifest(push);
        expect(await store.listTagEvents(app, parseTag('v1'), 10)).toHaveLength(1);
      });

      test('record an event when it goes back to an image it was on before', async () => {
        const [first, second] = [
          imagePush({ name: 'first', tags: ['v1'] }),
          imagePush({ name: 'second', tags: ['v1'] }),
        ];
        for (const push of [first, second, first]) await store.putManifest(push);
        const events = await store.listTagEvents(app, parseTag('v1'), 10);
        expect(events.map(({ sequence, image }) => [sequence, image])).toEqual([
          [3, first.digest],
          [2, second.digest],
          [1, first.digest],
        ]);
      });

      test('go on counting after the tag was deleted', async () => {
        const push = imagePush({ tags: ['v1'] });
        await store.putManifest(push);
        await store.deleteTag(app, parseTag('v1'), by('ada'));
        await store.putManifest(push);
        const events = await store.listTagEvents(app, parseTag('v1'), 10);
        expect(events.map(({ sequence, cause }) => [sequence, cause])).toEqual([
          [3, 'push'],
          [2, 'delete'],
          [1, 'push'],
        ]);
      });

      test('list no more events than were asked for', async () => {
        for (const name of ['a', 'b', 'c']) await store.putManifest(imagePush({ name, tags: ['v1'] }));
        const events = await store.listTagEvents(app, parseTag('v1'), 2);
        expect(events.map(({ sequence }) => sequence)).toEqual([3, 2]);
      });

      test('count each tag of each repository by itself', async () => {
        await store.putManifest(imagePush({ tags: ['a', 'b'] }));
        await store.putManifest(imagePush({ repository: other, tags: ['a'] }));
        for (const [repository, name] of [
          [app, 'a'],
          [app, 'b'],
          [other, 'a'],
        ] as const) {
          expect(await store.listTagEvents(repository, parseTag(name), 10)).toMatchObject([{ sequence: 1 }]);
        }
        expect(await store.listTagEvents(other, parseTag('b'), 10)).toEqual([]);
      });

      test('lose no event of pushes that come all at once', async () => {
        const pushes = Array.from({ length: 20 }, (_, index) => imagePush({ name: `at once ${index}`, tags: ['v1'] }));
        await Promise.all(pushes.map((push) => store.putManifest(push)));
        const events = await store.listTagEvents(app, parseTag('v1'), 100);
        expect(events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 20 }, (_, index) => 20 - index));
        expect(await store.findManifest(app, tag('v1'))).toMatchObject({ digest: events[0]!.image });
      });
    });

    describe('delete and', () => {
      test('only untag when a tag is deleted', async () => {
        const push = imagePush({ tags: ['v1', 'v2'] });
        await store.putManifest(push);
        expect(await store.deleteTag(app, parseTag('v1'), by('ada'))).toBe(true);
        expect(await store.findManifest(app, tag('v1'))).toBeUndefined();
        expect(await store.findManifest(app, tag('v2'))).toMatchObject({ digest: push.digest });
        expect(await store.findManifest(app, byDigest(push.digest))).toMatchObject({ digest: push.digest });
      });

      test('say that a tag was not there', async () => {
        expect(await store.deleteTag(app, parseTag('v1'), by('ada'))).toBe(false);
        await store.putManifest(imagePush({ tags: ['v1'] }));
        expect(await store.deleteTag(app, parseTag('v2'), by('ada'))).toBe(false);
        expect(await store.deleteTag(other, parseTag('v1'), by('ada'))).toBe(false);
        expect(await store.listTagEvents(app, parseTag('v2'), 10)).toEqual([]);
      });

      test('take every tag of a manifest with it, and record that, and leave the others', async () => {
        const [gone, kept] = [imagePush({ name: 'gone', tags: ['a', 'b'] }), imagePush({ name: 'kept', tags: ['c'] })];
        await store.putManifest(gone);
        await store.putManifest(kept);
        expect(await store.deleteManifest(app, gone.digest, by('grace'), now)).toBe(true);
        expect(await store.findManifest(app, byDigest(gone.digest))).toBeUndefined();
        expect(await store.listTags(app, all)).toEqual(['c']);
        for (const name of ['a', 'b']) {
          expect(await store.listTagEvents(app, parseTag(name), 1)).toMatchObject([
            { sequence: 2, cause: 'delete', ...by('grace'), image: undefined },
          ]);
        }
      });

      test('say that a manifest was not there', async () => {
        const push = imagePush();
        expect(await store.deleteManifest(app, push.digest, by('ada'), now)).toBe(false);
        await store.putManifest(push);
        expect(await store.deleteManifest(other, push.digest, by('ada'), now)).toBe(false);
        expect(await store.deleteManifest(app, push.digest, by('ada'), now)).toBe(true);
        expect(await store.deleteManifest(app, push.digest, by('ada'), now)).toBe(false);
      });

      test('keep a manifest for the other repositories that link it', async () => {
        const push = imagePush({ tags: ['v1'] });
        await store.putManifest(push);
        await store.putManifest({ ...push, repository: other });
        await store.deleteManifest(app, push.digest, by('ada'), now);
        expect((await store.readManifest(other, tag('v1')))!.bytes.equals(push.bytes)).toBe(true);
        await store.deleteManifest(other, push.digest, by('ada'), now);
        await store.putManifest(push);
        expect((await store.readManifest(app, tag('v1')))!.bytes.equals(push.bytes)).toBe(true);
      });

      test('let blobs of a deleted manifest be collected after the time that was said', async () => {
        const [config, layer] = [await addBlob(app, 'config'), await addBlob(app, 'layer')];
        const push = imagePush({ config, layers: [layer, layer], sparse: false });
        await store.putManifest(push);
        expect(await blobs.collectLinks(now, 10)).toBe(2);
        expect((await blobs.findLinkedBlob(app, layer))?.collectAt).toBeUndefined();
        const collectAt = new Date(now.getTime() + 86_400_000);
        await store.deleteManifest(app, push.digest, by('ada'), collectAt);
        for (const digest of [config, layer]) {
          expect((await blobs.findLinkedBlob(app, digest))?.collectAt).toEqual(collectAt);
        }
      });

      test('give blobs of a deleted manifest the whole time that was said, also soon after their push', async () => {
        const anHourAfterPush = new Date(now.getTime() + 3_600_000);
        const layer = await addBlob(app, 'layer', anHourAfterPush);
        const push = imagePush({ layers: [layer] });
        await store.putManifest(push);
        const collectAt = new Date(now.getTime() + 86_400_000);
        await store.deleteManifest(app, push.digest, by('ada'), collectAt);
        expect(await blobs.collectLinks(anHourAfterPush, 10)).toBe(0);
        expect((await blobs.findLinkedBlob(app, layer))?.collectAt).toEqual(collectAt);
      });
    });

    describe('are removed with their project and', () => {
      const elsewhere = parseRepositoryName('other/app');

      /** @returns how many steps it took */
      async function removeAll(limit: number): Promise<number> {
        for (let steps = 0; ; steps += 1) {
          const removed = await store.removeRepositories('team', limit);
          expect(removed).toBeLessThanOrEqual(limit);
          if (removed === 0) return steps;
        }
      }

      test('leave nothing of theirs, in steps no larger than was said, and nothing else is touched', async () => {
        const [shared, own] = [await addBlob(app, 'shared'), await addBlob(app, 'own')];
        await addBlob(elsewhere, 'shared');
        const push = imagePush({ layers: [shared, own], tags: ['v1', 'v2'] });
        await store.putManifest(push);
        await store.putManifest(imagePush({ name: 'second', tags: ['v1'] }));
        await store.putManifest({ ...push, repository: other });
        await store.deleteTag(app, parseTag('v2'), by('ada'));
        const kept = imagePush({ repository: elsewhere, layers: [shared], tags: ['v1'] });
        await store.putManifest(kept);

        expect(await removeAll(3)).toBeGreaterThan(3);

        expect(await store.listRepositories(all)).toEqual([elsewhere]);
        for (const table of ['tag', 'tag_event', 'repository_image', 'image', 'blob', 'repository_blob'] as const) {
          const { count } = await db
            .selectFrom(table)
            .select(({ fn }) => fn.countAll<number>().as('count'))
            .executeTakeFirstOrThrow();
          expect([table, count]).toEqual([table, 1]);
        }
        expect(await blobs.listDiscardedLocations(10)).toEqual([own]);
        expect(await store.findManifest(elsewhere, tag('v1'))).toMatchObject({ digest: kept.digest });
        expect((await blobs.findLinkedBlob(elsewhere, shared))?.digest).toBe(shared);
      });

      test('begin anew when they are pushed again, without the old history', async () => {
        const push = imagePush({ tags: ['v1'] });
        await store.putManifest(push);
        await removeAll(100);
        expect(await store.listTagEvents(app, parseTag('v1'), 10)).toEqual([]);
        await store.putManifest(push);
        expect(await store.listTagEvents(app, parseTag('v1'), 10)).toMatchObject([{ sequence: 1 }]);
      });

      test('let upload sessions expire at once, also those of repositories that never came to be', async () => {
        const uploads = new KyselyUploadRecords(db, () => now);
        const session = {
          principal: 'ada',
          algorithm: 'sha256',
          size: 0,
          digestSoFar: digestOf(''),
          state: undefined,
          hashState: undefined,
        } as const;
        await uploads.addUpload({ id: 'ours', repository: app, ...session });
        await uploads.addUpload({ id: 'theirs', repository: elsewhere, ...session });
        await removeAll(100);
        expect(await uploads.listStaleUploads(new Date(now.getTime() - 1), 10)).toEqual(['ours']);
      });

      test('are not those of a project whose name begins alike', async () => {
        const alike = parseRepositoryName('a-b/c');
        await store.putManifest(imagePush({ repository: parseRepositoryName('a/c') }));
        await store.putManifest(imagePush({ repository: alike }));
        while ((await store.removeRepositories('a', 100)) > 0);
        expect(await store.listRepositories(all)).toEqual([alike]);
      });
    });

    describe('list and', () => {
      test('have no tags when the repository is unknown, or has none', async () => {
        expect(await store.listTags(app, all)).toEqual([]);
        await store.putManifest(imagePush());
        expect(await store.listTags(app, all)).toEqual([]);
      });

      test(
        'give the same tags in the order of their bytes, whatever the size of a page',
        { timeout: 60_000 },
        async () => {
          const names = ['v1', 'v1.0', 'v1-0', 'v1_0', 'V1', 'v10', 'v2', '1', '_', 'a', 'B', 'v1.0.0', 'v', 'zz', 'Z'];
          await store.putManifest(imagePush({ tags: names }));
          await store.putManifest(imagePush({ repository: other, tags: ['not-here'] }));
          await expectSamePages([...names].sort(byBytes), (page) => store.listTags(app, page));
        },
      );

      test(
        'give the same names in the order of their bytes, whatever the size of a page',
        { timeout: 60_000 },
        async () => {
          const names = ['a/b', 'a/b/c', 'a/b-c', 'a/b.c', 'a/b_c', 'a-b/c', 'a/bc', 'ab/c', 'a1/b', 'b/a', 'a/b0'];
          for (const repository of names.map((name) => parseRepositoryName(name))) {
            await store.putManifest(imagePush({ repository }));
          }
          await expectSamePages([...names].sort(byBytes), (page) => store.listRepositories(page));
        },
      );

      test('begin after `last`, also when there is no entry of that name', async () => {
        await store.putManifest(imagePush({ tags: ['a', 'c', 'e'] }));
        expect(await store.listTags(app, { last: 'b', limit: 10 })).toEqual(['c', 'e']);
        expect(await store.listTags(app, { last: 'c', limit: 10 })).toEqual(['e']);
        expect(await store.listTags(app, { last: 'e', limit: 10 })).toEqual([]);
        expect(await store.listRepositories({ last: 'team', limit: 10 })).toEqual([app]);
        expect(await store.listRepositories({ last: app, limit: 10 })).toEqual([]);
      });
    });

    describe('know the referrers of a subject and', () => {
      const subject = imagePush({ name: 'subject' });
      const signature = imagePush({
        subject: subject.digest,
        artifactType: 'application/vnd.signature',
        annotations: { 'org.example.by': 'ada', 'org.example.ünicode': '✓' },
      });
      const sbom = imagePush({ subject: subject.digest, artifactType: 'application/vnd.sbom' });

      async function listReferrers(artifactType?: string, repository = app): Promise<Digest[]> {
        const found = await store.listReferrers(repository, subject.digest, artifactType, all);
        return found.map(({ digest }) => digest);
      }

      test('describe each in the order of digests', async () => {
        for (const push of [subject, signature, sbom]) await store.putManifest(push);
        const described = [
          {
            mediaType: mediaTypes.ociManifest,
            digest: signature.digest,
            size: signature.bytes.length,
            artifactType: 'application/vnd.signature',
            annotations: { 'org.example.by': 'ada', 'org.example.ünicode': '✓' },
          },
          {
            mediaType: mediaTypes.ociManifest,
            digest: sbom.digest,
            size: sbom.bytes.length,
            artifactType: 'application/vnd.sbom',
          },
        ].sort((a, b) => byBytes(a.digest, b.digest));
        expect(await store.listReferrers(app, subject.digest, undefined, all)).toEqual(described);
      });

      test('find them when the subject comes later, or never', async () => {
        await store.putManifest(signature);
        expect(await listReferrers()).toEqual([signature.digest]);
        await store.putManifest(subject);
        expect(await listReferrers()).toEqual([signature.digest]);
      });

      test('keep to an artifact type', async () => {
        for (const push of [signature, sbom]) await store.putManifest(push);
        expect(await listReferrers('application/vnd.sbom')).toEqual([sbom.digest]);
        expect(await listReferrers('application/vnd.nothing')).toEqual([]);
      });

      test('give the same list, whatever the size of a page', { timeout: 60_000 }, async () => {
        const pushes = Array.from({ length: 12 }, (_, index) =>
          imagePush({ name: `referrer ${index}`, subject: subject.digest, artifactType: `application/${index % 2}` }),
        );
        for (const push of pushes) await store.putManifest(push);
        const digests = pushes.map(({ digest }) => digest).sort(byBytes);
        await expectSamePages(digests, async (page) =>
          (await store.listReferrers(app, subject.digest, undefined, page)).map(({ digest }) => digest),
        );
        const even = pushes.filter((_, index) => index % 2 === 0).map(({ digest }) => digest);
        await expectSamePages(even.sort(byBytes), async (page) =>
          (await store.listReferrers(app, subject.digest, 'application/0', page)).map(({ digest }) => digest),
        );
      });

      test('show only those of the same repository', async () => {
        await store.putManifest(subject);
        await store.putManifest({ ...signature, repository: other });
        expect(await listReferrers()).toEqual([]);
        expect(await listReferrers(undefined, other)).toEqual([signature.digest]);
      });

      test('forget one that was deleted, and keep it where it was not', async () => {
        for (const push of [subject, signature, sbom, { ...signature, repository: other }])
          await store.putManifest(push);
        await store.deleteManifest(app, signature.digest, by('ada'), now);
        expect(await listReferrers()).toEqual([sbom.digest]);
        expect(await listReferrers(undefined, other)).toEqual([signature.digest]);
      });

      test('keep them when the subject is deleted', async () => {
        for (const push of [subject, signature]) await store.putManifest(push);
        await store.deleteManifest(app, subject.digest, by('ada'), now);
        expect(await listReferrers()).toEqual([signature.digest]);
      });

      test('count a referrer that is an index', async () => {
        const bytes = { digest: digestOf('x'), mediaType: mediaTypes.ociManifest };
        const index = indexPush([bytes]);
        const push = { ...index, manifest: { ...index.manifest, subject: subject.digest } };
        await store.putManifest(push);
        expect(await store.listReferrers(app, subject.digest, undefined, all)).toEqual([
          { mediaType: mediaTypes.ociIndex, digest: index.digest, size: index.bytes.length },
        ]);
      });
    });
  });
}

/** Walks the list by pages of every size. */
async function expectSamePages<T extends string>(
  expected: readonly T[],
  list: (page: Page<string>) => Promise<readonly T[]>,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: expected.length + 1 }), async (limit) => {
      const walked: T[] = [];
      let page: readonly T[];
      do {
        page = await list({ last: walked.at(-1), limit });
        expect(page.length).toBeLessThanOrEqual(limit);
        walked.push(...page);
      } while (page.length === limit);
      expect(walked).toEqual(expected);
    }),
    { numRuns: expected.length + 5 },
  );
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
