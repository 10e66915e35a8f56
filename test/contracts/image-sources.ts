import { beforeEach, describe, expect, test } from 'vitest';
import type { ImageSources } from '../../src/metadata/image-sources.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import type { ManifestPush } from '../../src/metadata/repository-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import type { RepositoryName } from '../../src/oci/repository-name.js';
import { app, by, imagePush, indexPush, other } from './pushes.js';

const layer = digestOf('layer');
const image = imagePush({ layers: [layer] });

/** An import of images into a tag, as it is stored. */
interface StoredImport {
  readonly repository?: RepositoryName;
  readonly tag?: string;
  /** The first is what the tag is. */
  readonly images?: readonly [ManifestPush, ...ManifestPush[]];
  /** Left out for what was pushed. */
  readonly reference?: string;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Everything that any ImageSources must do.
 *
 * @param openDatabase opens an empty database, migrated
 * @param createSources on that database
 */
export function imageSourcesContract(
  name: string,
  openDatabase: () => Promise<Database>,
  createSources: (db: Database) => ImageSources,
): void {
  describe(`${name} has sources of images that`, () => {
    let streams: KyselyStreamStore;
    let sources: ImageSources;
    beforeEach(async () => {
      const db = await openDatabase();
      streams = new KyselyStreamStore(db);
      sources = createSources(db);
    });

    async function store(of: StoredImport = {}): Promise<void> {
      const { repository = app, tag = 'v1', images = [image], reference, spec, annotations } = of;
      await streams.edit(async (edit) => {
        const metadata = annotations === undefined ? {} : { annotations };
        const { generation } =
          (await edit.findStream(repository)) ?? (await edit.createStream(repository, { metadata, spec: {} }));
        for (const each of images) await edit.addImage(repository, each);
        if (spec !== undefined) await edit.putSpecTag(repository, tag, { generation, body: spec, scheduled: false });
        await edit.addEvent(repository, tag, {
          image: images[0].digest,
          generation,
          cause: reference === undefined ? 'push' : 'import',
          ...by('ada'),
          ...(reference !== undefined && { reference }),
        });
      });
    }

    function find(digest: Digest = layer, repository = app) {
      return sources.findBlobOrigins(repository, digest, 5);
    }

    test('know of a blob where the image that has it came from, and its size', async () => {
      await store({ reference: `quay.io/team/app@${image.digest}` });
      expect(await find()).toEqual({
        size: 2,
        isLocal: false,
        origins: [{ registry: 'quay.io', path: 'team/app', isInsecure: false }],
      });
      expect((await find(digestOf('{}')))?.origins).toHaveLength(1);
    });

    test.each([
      { reference: 'alpine', origin: { registry: 'docker.io', path: 'library/alpine' } },
      { reference: 'index.docker.io/grafana/loki:3', origin: { registry: 'docker.io', path: 'grafana/loki' } },
      { reference: 'localhost:5000/a/b/c', origin: { registry: 'localhost:5000', path: 'a/b/c' } },
    ])('read $reference as a client would', async ({ reference, origin }) => {
      await store({ reference });
      expect((await find())?.origins).toEqual([{ ...origin, isInsecure: false }]);
    });

    test('know nothing of a blob that no image of the repository refers to', async () => {
      await store({ repository: other, reference: 'quay.io/team/app' });
      await store({ images: [imagePush({ name: 'without' })], reference: 'quay.io/team/app' });
      expect(await find()).toBeUndefined();
      expect(await find(digestOf('nothing'))).toBeUndefined();
      expect(await find(layer, 'team/none' as RepositoryName)).toBeUndefined();
    });

    test('know no origin of what was pushed', async () => {
      await store();
      expect(await find()).toEqual({ size: 2, isLocal: false, origins: [] });
    });

    test('find the origin of an index for the blobs of the images that it lists, at any depth', async () => {
      const inner = indexPush([{ digest: image.digest, mediaType: image.manifest.mediaType }], { name: 'inner' });
      const outer = indexPush([{ digest: inner.digest, mediaType: inner.manifest.mediaType }], { name: 'outer' });
      await store({ images: [outer, inner, image], reference: 'quay.io/team/index' });
      expect((await find())?.origins).toEqual([{ registry: 'quay.io', path: 'team/index', isInsecure: false }]);
    });

    test('do not climb to an index that the repository does not link', async () => {
      const index = indexPush([{ digest: image.digest, mediaType: image.manifest.mediaType }]);
      await store({ repository: other, images: [index, image], reference: 'quay.io/team/index' });
      await store();
      expect((await find())?.origins).toEqual([]);
    });

    test('name each repository once, the newest first, and no more than are asked for', async () => {
      for (const [tag, path] of Object.entries({ a: 'one', b: 'two', c: 'three', d: 'two' })) {
        await store({ tag, reference: `quay.io/team/${path}:${tag}` });
      }
      expect((await find())?.origins.map(({ path }) => path)).toEqual(['team/two', 'team/three', 'team/one']);
      expect((await sources.findBlobOrigins(app, layer, 2))?.origins).toHaveLength(2);
    });

    test('name what is in no history any more last', async () => {
      await store({ tag: 'a', reference: 'quay.io/team/shown' });
      await store({ tag: 'b', reference: 'quay.io/team/hidden' });
      await streams.edit((edit) => edit.keepEvents(app, 'b', [], by('ada')));
      expect((await find())?.origins.map(({ path }) => path)).toEqual(['team/shown', 'team/hidden']);
    });

    test('still know where the image of a deleted tag came from', async () => {
      await store({ reference: 'quay.io/team/app' });
      await streams.edit((edit) => edit.removeTag(app, 'v1', by('ada')));
      expect((await find())?.origins).toHaveLength(1);
    });

    test.each([
      { spec: { referencePolicy: { type: 'Local' } }, isLocal: true },
      { spec: { referencePolicy: { type: 'Source' } }, isLocal: false },
      { spec: undefined, isLocal: false },
    ])('say whether a tag wants it kept: $spec', async ({ spec, isLocal }) => {
      await store({ reference: 'quay.io/team/app', ...(spec !== undefined && { spec }) });
      expect((await find())?.isLocal).toBe(isLocal);
    });

    test('take one tag of several that wants it kept, but none that has lost it', async () => {
      await store({ tag: 'a', reference: 'quay.io/team/app', spec: { referencePolicy: { type: 'Source' } } });
      await store({ tag: 'b', reference: 'quay.io/team/app', spec: { referencePolicy: { type: 'Local' } } });
      expect((await find())?.isLocal).toBe(true);
      await streams.edit((edit) => edit.keepEvents(app, 'b', [], by('ada')));
      expect((await find())?.isLocal).toBe(false);
    });

    test('say which origin need not be secure: by its tag', async () => {
      await store({ tag: 'a', reference: 'one.example/app', spec: { importPolicy: { insecure: true } } });
      await store({ tag: 'b', reference: 'two.example/app', spec: { importPolicy: {} } });
      await store({ tag: 'c', reference: 'one.example/app' });
      expect((await find())?.origins).toEqual([
        { registry: 'one.example', path: 'app', isInsecure: true },
        { registry: 'two.example', path: 'app', isInsecure: false },
      ]);
    });

    test('say which origin need not be secure: by its stream', async () => {
      const annotations = { 'openshift.io/image.insecureRepository': 'true' };
      await store({ reference: 'one.example/app', annotations });
      expect((await find())?.origins).toEqual([{ registry: 'one.example', path: 'app', isInsecure: true }]);
    });

    test('do not vouch for a size of which manifests say different things', async () => {
      await store({ reference: 'quay.io/team/app' });
      const bytes = Buffer.from(image.bytes.toString().replaceAll('"size":2', '"size":3'));
      await store({ tag: 'v2', images: [{ ...image, bytes, digest: digestOf(bytes) }], reference: 'quay.io/team/app' });
      const found = await find();
      expect(found?.size).toBeUndefined();
      expect(found?.origins).toHaveLength(1);
    });
  });
}
