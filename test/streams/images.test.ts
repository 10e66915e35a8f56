import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { StatusError } from '../../src/kube/errors.js';
import type { ListQuery, ObjectList } from '../../src/kube/resource.js';
import { matchesLabels, parseLabelSelector } from '../../src/kube/selectors.js';
import { KyselyImageStore } from '../../src/metadata/kysely-image-store.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { imagesResource } from '../../src/metadata/stream-store.js';
import { digestOf } from '../../src/oci/digest.js';
import { mediaTypes } from '../../src/oci/media-types.js';
import { imageSignatureResource } from '../../src/streams/image-signatures.js';
import { imageResource } from '../../src/streams/images.js';
import type { Image } from '../../src/streams/types.js';
import { app, imagePush, other } from '../contracts/pushes.js';
import { apiCall } from '../support/api-call.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const warnings: string[] = [];
const call = apiCall({ warnings });
const everything: ListQuery = {
  limit: undefined,
  continue: undefined,
  matches: () => true,
  name: undefined,
  fields: {},
};
const stored = { dryRun: false };
const tried = { dryRun: true };
const removal = { dryRun: false, uid: undefined, resourceVersion: undefined };

const config = '{"os":"linux","architecture":"arm64","config":{"Cmd":["run"]}}';
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: mediaTypes.ociManifest,
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
  layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf('layer'), size: 5 }],
});
const digest = digestOf(manifest);

/** An Image as somebody sends it. */
function sentImage(fields: Readonly<Record<string, unknown>> = {}, metadata: object = {}): ApiObject {
  return { metadata: { name: digest, ...metadata }, dockerImageManifest: manifest, ...fields } as unknown as ApiObject;
}

let db: Database;
let images: KyselyImageStore;
let repositories: KyselyRepositoryStore;
let objects: KyselyObjectStore;
beforeEach(async () => {
  db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
  await addProjects(db, ['team']);
  images = new KyselyImageStore(db);
  repositories = new KyselyRepositoryStore(db);
  objects = new KyselyObjectStore(db);
  warnings.length = 0;
});
afterEach(() => db.destroy());

const storage = () => imageResource({ images, objects, graceMs: 60_000 }).storage;
const get = async (name: string) => (await storage().get!(call, name)) as Image;
const list = async (query: Partial<ListQuery> = {}) =>
  (await storage().list!(call, { ...everything, ...query })) as ObjectList;
const create = async (object: ApiObject, options = stored) => (await storage().create!(call, object, options)) as Image;
const update = async (name: string, change: (image: Image) => object, options = stored) => {
  const { object, isNew } = await storage().update!(
    call,
    name,
    (current) => change(current as Image) as ApiObject,
    options,
  );
  expect(isNew).toBe(false);
  return object as Image;
};
const remove = (name: string, options: Partial<typeof removal> = {}) =>
  storage().remove!(call, name, { ...removal, ...options });
const namesIn = ({ items }: ObjectList) => items.map(({ metadata }) => metadata.name);

/** The error that something ends with. */
async function failure(work: Promise<unknown>): Promise<StatusError> {
  try {
    await work;
  } catch (error) {
    return error as StatusError;
  }
  throw new Error('it did not fail');
}

async function push(fields: Parameters<typeof imagePush>[0] = {}) {
  const pushed = imagePush(fields);
  await repositories.putManifest(pushed);
  return pushed;
}

describe('images that were pushed', () => {
  test('are shown with the repository through which they can be pulled', async () => {
    const { digest: name } = await push({ repository: other });
    await push({ repository: app });
    expect(await get(name)).toMatchObject({
      metadata: { name, annotations: { 'openshift.io/image.managed': 'true' } },
      dockerImageReference: `weir.example/team/other@${name}`,
      dockerImageMetadata: { kind: 'DockerImage' },
      dockerImageManifestMediaType: mediaTypes.ociManifest,
    });
  });

  test.each(['nothing', digestOf('nothing'), 'sha256:1', ''])('are not found by %j', async (name) => {
    expect(await failure(get(name))).toMatchObject({ reason: 'NotFound', details: { kind: 'images' } });
  });

  test('have their config in lists, where pruning looks for it', async () => {
    await create(sentImage({ dockerImageConfig: config }));
    expect((await list()).items).toMatchObject([{ dockerImageConfig: config, dockerImageLayers: [{ size: 5 }] }]);
  });

  test('come page by page, each with the version of the first', async () => {
    for (let count = 0; count < 120; count += 1) await push({ name: `${count}` });
    const { resourceVersion } = await list({ limit: 1 });
    const seen: string[] = [];
    let position: string | undefined;
    do {
      const page: ObjectList = await list({ limit: 55, continue: position });
      expect(page.resourceVersion).toBe(resourceVersion);
      seen.push(...namesIn(page));
      position = page.continue ?? undefined;
    } while (position !== undefined);
    expect(seen).toHaveLength(120);
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(namesIn(await list())).toEqual(seen);
    expect(warnings).toEqual([]);
  });

  test('come in lists that end after some 64 MiB, and say so to who asked for all', async () => {
    for (let count = 0; count < 22; count += 1) await push({ name: `${count} ${'x'.repeat(3.9 * 1024 * 1024)}` });
    const first = await list();
    expect(first.items.length).toBeGreaterThan(16);
    expect(first.items.length).toBeLessThan(22);
    expect(warnings).toEqual([expect.stringContaining('continue')]);
    const rest = await list({ continue: first.continue, limit: 500 });
    expect(first.items.length + rest.items.length).toBe(22);
    expect(rest.continue).toBeUndefined();
    expect(warnings).toHaveLength(1);
  });

  test('can be selected by name and by labels', async () => {
    const { digest: name } = await push({ name: 'a' });
    await push({ name: 'b' });
    await update(name, (image) => ({ ...image, metadata: { ...image.metadata, labels: { keep: 'yes' } } }));
    const labels = parseLabelSelector('keep=yes');
    const matches = ({ metadata }: ApiObject) => matchesLabels(labels, metadata.labels);
    expect(namesIn(await list({ matches }))).toEqual([name]);
    expect(namesIn(await list({ matches, limit: 1 }))).toEqual([name]);
    expect(namesIn(await list({ name }))).toEqual([name]);
    expect(namesIn(await list({ name: 'none' }))).toEqual([]);
  });
});

describe('an image that is made through the API', () => {
  test('is what its manifest and config say', async () => {
    const sent = sentImage(
      {
        dockerImageReference: 'docker.io/library/busybox@sha256:0',
        dockerImageConfig: config,
        dockerImageMetadata: { Architecture: 'made-up' },
        dockerImageLayers: [{ name: 'made-up', size: 1 }],
        dockerImageManifestMediaType: mediaTypes.ociManifest,
      },
      { labels: { a: 'b' }, annotations: { c: 'd' }, finalizers: ['weir.dev/forever'] },
    );
    const image = await create(sent);
    expect(image).toEqual(await get(digest));
    expect(image.metadata).toMatchObject({
      name: digest,
      labels: { a: 'b' },
      annotations: { c: 'd', 'image.openshift.io/manifestBlobStored': 'true' },
    });
    expect(image.metadata).not.toHaveProperty('finalizers');
    expect(image).toMatchObject({
      dockerImageReference: `weir.example/${digest}`,
      dockerImageMetadata: { Id: digestOf(config), Architecture: 'arm64', Config: { Cmd: ['run'] } },
      dockerImageLayers: [{ name: digestOf('layer'), size: 5 }],
      dockerImageConfig: config,
    });
    expect(image).not.toHaveProperty('dockerImageManifest');
  });

  test('is made once', async () => {
    await create(sentImage());
    for (const options of [stored, tried]) {
      expect(await failure(create(sentImage(), options))).toMatchObject({ reason: 'AlreadyExists', code: 409 });
    }
  });

  test('is not stored when it is only tried', async () => {
    const image = await create(sentImage({ dockerImageConfig: config }), tried);
    expect(image).toMatchObject({ dockerImageMetadata: { Architecture: 'arm64' } });
    expect(image.metadata).not.toHaveProperty('resourceVersion');
    expect((await list()).items).toEqual([]);
  });

  test('keeps its signatures', async () => {
    const metadata = { name: `${digest}@first` };
    const image = await create(sentImage({ signatures: [{ metadata, type: 'atomic', content: 'YQ==' }] }));
    expect(image.signatures).toMatchObject([{ metadata, type: 'atomic', content: 'YQ==' }]);
    expect(await get(digest)).toEqual(image);
  });

  test.each([
    { what: 'no name', sent: sentImage({}, { name: '' }), fields: ['metadata.name'] },
    { what: 'a name that is no digest', sent: sentImage({}, { name: 'app' }), fields: ['metadata.name'] },
    { what: 'no manifest', sent: sentImage({ dockerImageManifest: '' }), fields: ['dockerImageManifest'] },
    {
      what: 'a manifest of another digest',
      sent: sentImage({ dockerImageManifest: `${manifest} ` }),
      fields: ['dockerImageManifest'],
    },
    {
      what: 'a manifest that is none',
      sent: sentImage({ dockerImageManifest: '{}' }, { name: digestOf('{}') }),
      fields: ['dockerImageManifest'],
    },
    {
      what: 'a manifest of another media type',
      sent: sentImage({ dockerImageManifestMediaType: mediaTypes.ociIndex }),
      fields: ['dockerImageManifest'],
    },
    {
      what: 'a config of another digest',
      sent: sentImage({ dockerImageConfig: `${config} ` }),
      fields: ['dockerImageConfig'],
    },
    {
      what: 'a wrong label and a signature without content',
      sent: sentImage(
        { signatures: [{ metadata: { name: `${digest}@first` }, type: 'atomic' }] },
        { labels: { 'a b': 'c' } },
      ),
      fields: ['metadata.labels', 'signatures[0].content'],
    },
  ])('is refused with $what', async ({ sent, fields }) => {
    const error = await failure(create(sent));
    expect(error).toMatchObject({ reason: 'Invalid', code: 422, details: { kind: 'Image' } });
    expect(error.details!.causes!.map(({ field }) => field)).toEqual(fields);
    expect((await list()).items).toEqual([]);
  });
});

describe('an update of an image', () => {
  test('changes labels, annotations and signatures, and nothing else', async () => {
    const { digest: name } = await push({ tags: ['v1'] });
    const before = await get(name);
    const after = await update(name, (image) => ({
      ...image,
      metadata: {
        ...image.metadata,
        labels: { a: 'b' },
        annotations: { c: 'd', 'image.openshift.io/dockerLayersOrder': 'descending' },
      },
      dockerImageMetadata: { kind: 'DockerImage', Author: 'eve' },
      dockerImageLayers: [],
      dockerImageReference: 'elsewhere',
      dockerImageManifest: '{}',
      signatures: [{ metadata: { name: `${name}@first` }, type: 'atomic', content: 'YQ==' }],
    }));
    expect(after).toEqual({
      ...before,
      metadata: {
        ...before.metadata,
        resourceVersion: expect.any(String) as string,
        labels: { a: 'b' },
        annotations: { ...before.metadata.annotations, c: 'd' },
      },
      signatures: [
        {
          metadata: {
            name: `${name}@first`,
            uid: expect.any(String) as string,
            creationTimestamp: '2024-05-01T12:00:00Z',
          },
          type: 'atomic',
          content: 'YQ==',
        },
      ],
    });
    expect(after.metadata.resourceVersion).not.toBe(before.metadata.resourceVersion);
    expect(await get(name)).toEqual(after);
  });

  test('that changes nothing makes no new version', async () => {
    const { digest: name } = await push();
    const before = await get(name);
    expect(await update(name, (image) => image)).toEqual(before);
    expect(await get(name)).toEqual(before);
  });

  test('keeps signatures that it does not speak of', async () => {
    await create(
      sentImage({ signatures: [{ metadata: { name: `${digest}@first` }, type: 'atomic', content: 'YQ==' }] }),
    );
    const after = await update(digest, ({ metadata }) => ({ metadata: { ...metadata, labels: { a: 'b' } } }));
    expect(after.signatures).toHaveLength(1);
  });

  test('may say that an image is not to be pruned', async () => {
    const { digest: name } = await push();
    const annotations = { 'openshift.io/image.managed': 'false' };
    const after = await update(name, (image) => ({ ...image, metadata: { ...image.metadata, annotations } }));
    expect(after.metadata.annotations).toMatchObject(annotations);
    expect((await images.find(imagePush().digest))?.metadata).toEqual({ annotations });
  });

  test('is not stored when it is only tried', async () => {
    const { digest: name } = await push();
    const before = await get(name);
    const labels = { a: 'b' };
    const tryIt = await update(name, (image) => ({ ...image, metadata: { ...image.metadata, labels } }), tried);
    expect(tryIt.metadata.labels).toEqual(labels);
    expect(await get(name)).toEqual(before);
  });

  test('is a conflict when it was made from another version, or is of another image', async () => {
    const { digest: name } = await push();
    for (const precondition of [{ resourceVersion: '1' }, { uid: 'another' }]) {
      const change = (image: Image) => ({ ...image, metadata: { ...image.metadata, ...precondition } });
      expect(await failure(update(name, change))).toMatchObject({ reason: 'Conflict' });
    }
  });

  test('is tried again when somebody was faster', async () => {
    const { digest: name } = await push();
    let attempts = 0;
    const racing = imageResource({
      images: Object.assign(Object.create(images) as KyselyImageStore, {
        find: async (wanted: typeof name) => {
          const record = await images.find(wanted);
          attempts += 1;
          if (attempts === 1)
            await images.replace(wanted, record!.version, { metadata: { labels: { x: 'y' } }, signatures: [] });
          return record;
        },
        replace: images.replace.bind(images),
      }),
      objects,
      graceMs: 0,
    });
    const { object } = await racing.storage.update!(
      call,
      name,
      (current) => ({
        metadata: {
          name: current!.metadata.name,
          annotations: { a: 'b' },
          labels: { ...current!.metadata.labels, c: 'd' },
        } as never,
      }),
      stored,
    );
    expect(attempts).toBe(2);
    expect(object.metadata.labels).toEqual({ x: 'y', c: 'd' });
  });

  test('is refused with a wrong label', async () => {
    const { digest: name } = await push();
    const change = (image: Image) => ({ ...image, metadata: { ...image.metadata, labels: { 'a b': 'c' } } });
    expect(await failure(update(name, change))).toMatchObject({ reason: 'Invalid' });
  });

  test('finds nothing where there is none', async () => {
    const change = storage().update!(call, digestOf('none'), () => sentImage(), stored);
    expect(await failure(change)).toMatchObject({ reason: 'NotFound' });
  });
});

describe('the deletion of an image', () => {
  test('takes it from the repositories that link it', async () => {
    const { digest: name } = await push();
    expect(await remove(name)).toMatchObject({ metadata: { name } });
    expect(await failure(get(name))).toMatchObject({ reason: 'NotFound' });
    expect(await repositories.findManifest(app, { kind: 'digest', digest: name })).toBeUndefined();
    expect(await failure(remove(name))).toMatchObject({ reason: 'NotFound' });
  });

  test('is a conflict while a tag points to it, and says which', async () => {
    const { digest: name } = await push({ tags: ['v1'] });
    for (const dryRun of [true, false]) {
      const error = await failure(remove(name, { dryRun }));
      expect(error).toMatchObject({ reason: 'Conflict', details: { kind: 'images', name } });
      expect(error.message).toContain('tag v1 of team/app');
    }
    expect(await get(name)).toBeDefined();
  });

  test('keeps its preconditions', async () => {
    const { digest: name } = await push();
    for (const options of [{ uid: 'another' }, { resourceVersion: '1' }] as const) {
      expect(await failure(remove(name, options as never))).toMatchObject({ reason: 'Conflict' });
    }
    const { uid } = (await get(name)).metadata;
    expect(await remove(name, { uid } as never)).toBeDefined();
  });

  test('does nothing when it is only tried', async () => {
    const { digest: name } = await push();
    await remove(name, { dryRun: true });
    expect(await get(name)).toBeDefined();
  });
});

describe('a watch of images', () => {
  const show = () => storage().watch!.show!(call);
  const changes = async () => (await objects.readChanges(0, { resource: imagesResource, limit: 100 }))!.changes;

  test('tells of an image with all of its fields, as it was called then', async () => {
    const { digest: name } = await push();
    await update(name, (image) => ({ ...image, metadata: { ...image.metadata, labels: { a: 'b' } } }));
    const [added, modified] = await changes();
    const now = await get(name);
    expect(await show()(modified!.object, 'MODIFIED')).toEqual(now);
    const { labels: _labels, ...metadata } = now.metadata;
    expect(await show()(added!.object, 'ADDED')).toEqual({
      ...now,
      metadata: { ...metadata, resourceVersion: String(added!.version) },
    });
  });

  test('tells of one that is gone with what is left of it, in fields that clients look at', async () => {
    const { digest: name } = await push();
    await remove(name);
    const all = await changes();
    const deleted = all.at(-1)!;
    expect(deleted.kind).toBe('DELETED');
    for (const change of all) {
      expect(await show()(change.object, change.kind)).toMatchObject({
        metadata: { name, resourceVersion: String(change.version) },
        dockerImageMetadata: { kind: 'DockerImage', Id: name },
        dockerImageLayers: null,
      });
    }
  });

  test('does not take one that came again for the one that went', async () => {
    const clock = (at: string) => new KyselyRepositoryStore(db, () => new Date(at));
    const pushed = imagePush();
    await clock('2026-01-01T00:00:00Z').putManifest(pushed);
    await remove(pushed.digest);
    await clock('2026-01-02T00:00:00Z').putManifest(pushed);
    const [first] = await changes();
    expect(await show()(first!.object, 'ADDED')).toMatchObject({ dockerImageReference: '', dockerImageLayers: null });
  });
});

describe('image signatures', () => {
  const signatures = () => imageSignatureResource(images).storage;
  const sign = (name: string, fields: object = {}, options = stored) =>
    signatures().create!(
      call,
      { metadata: { name }, type: 'atomic', content: 'c2lnbmF0dXJl', ...fields } as unknown as ApiObject,
      options,
    ) as Promise<ApiObject>;
  const unsign = (name: string, options: object = {}) => signatures().remove!(call, name, { ...removal, ...options });

  test('are added to an image and removed from it', async () => {
    const { digest: image } = await push();
    const name = `${image}@first`;
    const signed = await sign(name, { conditions: [{ type: 'Trusted', status: 'True' }], imageIdentity: 'made-up' });
    expect(signed).toEqual({
      metadata: { name, uid: expect.any(String) as string, creationTimestamp: '2024-05-01T12:00:00Z' },
      type: 'atomic',
      content: 'c2lnbmF0dXJl',
    });
    expect((await get(image)).signatures).toEqual([signed]);
    expect(await unsign(name)).toEqual(signed);
    expect(await get(image)).not.toHaveProperty('signatures');
  });

  test('are in none of the verbs but create and delete', () => {
    expect(imageSignatureResource(images).verbs).toEqual(['create', 'delete']);
  });

  test.each([stored, tried])('are added once, by name and by content (%j)', async (options) => {
    const { digest: image } = await push();
    await sign(`${image}@first`);
    for (const [name, fields] of [
      [`${image}@first`, { content: 'b3RoZXI=' }],
      [`${image}@second`, {}],
    ] as const) {
      const error = await failure(sign(name, fields, options));
      expect(error).toMatchObject({ reason: 'AlreadyExists', details: { name, kind: 'imageSignatures' } });
    }
  });

  test('are not stored, nor removed, when it is only tried', async () => {
    const { digest: image } = await push();
    await sign(`${image}@first`, {}, tried);
    expect(await images.listSignatures(image)).toEqual([]);
    await sign(`${image}@first`);
    await unsign(`${image}@first`, { dryRun: true });
    expect(await images.listSignatures(image)).toHaveLength(1);
  });

  test.each([digestOf('none'), 'none'])('need an image: %s is none', async (image) => {
    for (const options of [stored, tried]) {
      expect(await failure(sign(`${image}@first`, {}, options))).toMatchObject({
        reason: 'NotFound',
        details: { kind: 'images', name: image },
      });
    }
    expect(await failure(unsign(`${image}@first`))).toMatchObject({
      reason: 'NotFound',
      details: { kind: 'imageSignatures' },
    });
  });

  test('are called by their image and a name of their own', async () => {
    const { digest: image } = await push();
    for (const name of ['', image, `${image}@`, `${image}@a@b`]) {
      expect(await failure(sign(name))).toMatchObject({
        reason: 'Invalid',
        details: { causes: [{ field: 'metadata.name' }] },
      });
      expect(await failure(unsign(name))).toMatchObject({ reason: 'BadRequest', code: 400 });
    }
  });

  test('are refused with all that is wrong with them', async () => {
    const { digest: image } = await push();
    const fields = { metadata: { name: `${image}@first`, labels: { a: 'b' } }, type: '', content: '?' };
    const { details } = await failure(sign('', fields));
    expect(details!.causes!.map(({ field }) => field)).toEqual(['metadata.labels', 'type', 'content']);
  });

  test('are refused when an image has enough of them', async () => {
    const { digest: image } = await push();
    for (let count = 0; count < 100; count += 1) {
      await sign(`${image}@${count}`, { content: Buffer.from(`${count}`).toString('base64') });
    }
    for (const options of [stored, tried]) {
      expect(await failure(sign(`${image}@more`, {}, options))).toMatchObject({ reason: 'Invalid' });
    }
  });

  test('keep the precondition of their uid', async () => {
    const { digest: image } = await push();
    const { metadata } = await sign(`${image}@first`);
    expect(await failure(unsign(`${image}@first`, { uid: 'another' }))).toMatchObject({ reason: 'Conflict' });
    expect(await unsign(`${image}@first`, { uid: metadata.uid })).toMatchObject({ metadata });
  });
});
