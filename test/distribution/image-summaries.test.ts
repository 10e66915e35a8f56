import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigReader } from '../../src/distribution/config-reader.js';
import { ImageSummaries } from '../../src/distribution/image-summaries.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyImageStore } from '../../src/metadata/kysely-image-store.js';
import type { Digest } from '../../src/oci/digest.js';
import { imageIndex, pushImage, pushManifest, type PushedImage } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const neverStopped = new AbortController().signal;

describe('summaries of images that came before they were kept', () => {
  let registry: TestRegistry;
  let images: KyselyImageStore;
  let summaries: ImageSummaries;
  beforeAll(async () => {
    registry = await startRegistry();
    await registry.addProject('team');
    const db = await registry.openDatabase();
    images = new KyselyImageStore(db);
    summaries = new ImageSummaries(images, new ConfigReader(new KyselyBlobRecords(db), await registry.openBlobStore()));
  });
  afterAll(() => registry.stop());

  /** As if everything had been pushed to an older version. */
  async function forget(): Promise<void> {
    const db = await registry.openDatabase();
    await db.deleteFrom('image_summary').execute();
    await db.updateTable('tag').set({ size: 0 }).execute();
  }

  async function summaryOf({ digest }: { readonly digest: string }) {
    const db = await registry.openDatabase();
    return db
      .selectFrom('image_summary')
      .selectAll()
      .where('image', '=', digest as Digest)
      .executeTakeFirst();
  }

  async function sizeOfTag(name: string): Promise<number | undefined> {
    const db = await registry.openDatabase();
    const row = await db
      .selectFrom('tag')
      .select('size')
      .where('name', '=', name as never)
      .executeTakeFirst();
    return row?.size;
  }

  const sizeOf = ({ config, layer }: PushedImage) => config.bytes.length + layer.bytes.length;

  test('are what a push would have kept', async () => {
    const image = await pushImage(registry, 'team/app', 'v1');
    await pushManifest(registry, 'team/app', imageIndex([image]), 'index');
    const db = await registry.openDatabase();
    const before = await db.selectFrom('image_summary').selectAll().orderBy('image').execute();
    expect(await sizeOfTag('v1')).toBe(sizeOf(image));
    await forget();
    expect(await summaries.run(neverStopped)).toBe(2);
    expect(await db.selectFrom('image_summary').selectAll().orderBy('image').execute()).toEqual(before);
    expect(await sizeOfTag('v1')).toBe(sizeOf(image));
    expect(await summaryOf(image)).toMatchObject({
      platforms: '["linux/amd64"]',
      config: image.config.bytes.toString(),
    });
    expect(await summaries.run(neverStopped)).toBe(0);
  });

  test('have no config when its bytes are lost', async () => {
    const image = await pushImage(registry, 'team/lost', 'lost', 'lost');
    await forget();
    const db = await registry.openDatabase();
    const { location } = await db
      .selectFrom('blob')
      .select('location')
      .where('digest', '=', image.config.digest as Digest)
      .executeTakeFirstOrThrow();
    await (await registry.openBlobStore()).delete(location);
    await summaries.run(neverStopped);
    expect(await summaryOf(image)).toMatchObject({ size: sizeOf(image), platforms: '[]', config: null });
  });

  test('come of the other images when one cannot be read, and the failure is told', async () => {
    const [first, second] = [await pushImage(registry, 'team/bad', 'x'), await pushImage(registry, 'team/bad', 'y')];
    await forget();
    const failing = new ImageSummaries(
      Object.assign(Object.create(images) as KyselyImageStore, {
        find: (digest: Digest) =>
          digest === first.digest ? Promise.reject(new Error('EIO: i/o error')) : images.find(digest),
        listUnsummarized: images.listUnsummarized.bind(images),
        findConfigRepository: images.findConfigRepository.bind(images),
        putSummary: images.putSummary.bind(images),
      }),
      new ConfigReader(new KyselyBlobRecords(await registry.openDatabase()), await registry.openBlobStore()),
    );
    await expect(failing.run(neverStopped)).rejects.toThrow('EIO');
    expect(await summaryOf(first)).toBeUndefined();
    expect(await summaryOf(second)).toBeDefined();
    await summaries.run(neverStopped);
    expect(await summaryOf(first)).toBeDefined();
  });

  test('are left for later when the process is going away', async () => {
    await pushImage(registry, 'team/later', 'later', 'later');
    await forget();
    expect(await summaries.run(AbortSignal.abort())).toBe(0);
    expect(await sizeOfTag('later')).toBe(0);
  });
});
