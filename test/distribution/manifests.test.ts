import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  content,
  descriptor,
  emptyJson,
  imageIndex,
  imageManifest,
  manifestOf,
  pushBlob,
  pushImage,
  pushManifest,
  putManifest,
  referrer,
  sha256,
  sha512,
  types,
  type Content,
  type Manifest,
} from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
let config: Content;
let layer: Content;
const repository = 'library/app';

beforeAll(async () => {
  registry = await startRegistry();
  config = await pushBlob(registry, repository, '{"architecture":"amd64"}');
  layer = await pushBlob(registry, repository, 'a layer');
  await pushBlob(registry, repository, emptyJson.bytes);
});
afterAll(() => registry.stop());

let count = 0;
/** A manifest like no other. */
function freshImage(fields: Readonly<Record<string, unknown>> = {}): Manifest {
  count += 1;
  return imageManifest(config, [layer], { ...fields, annotations: { count: String(count) } });
}

function get(reference: string, method = 'GET'): Promise<Response> {
  return registry.fetch(`/v2/${repository}/manifests/${reference}`, { method });
}

async function expectPulled(reference: string, manifest: Manifest): Promise<void> {
  const response = await get(reference);
  expect(response.status).toBe(200);
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': manifest.mediaType,
    'content-length': String(manifest.bytes.length),
    'docker-content-digest': manifest.digest,
    etag: `"${manifest.digest}"`,
  });
  expect(Buffer.from(await response.arrayBuffer())).toEqual(manifest.bytes);
  const head = await get(reference, 'HEAD');
  expect(head.status).toBe(200);
  expect(head.headers.get('Content-Length')).toBe(String(manifest.bytes.length));
  expect(head.headers.get('Content-Type')).toBe(manifest.mediaType);
  expect(head.headers.get('Docker-Content-Digest')).toBe(manifest.digest);
}

async function tags(): Promise<string[]> {
  const response = await registry.fetch(`/v2/${repository}/tags/list`);
  return ((await response.json()) as { tags: string[] }).tags;
}

describe('every kind of manifest is taken, and given back as it was', () => {
  const kinds: readonly { readonly name: string; readonly make: () => Promise<Manifest> | Manifest }[] = [
    { name: 'an OCI image', make: () => freshImage() },
    {
      name: 'an OCI image without mediaType',
      make: () => manifestOf({ ...fieldsOf(freshImage()), mediaType: undefined }),
    },
    { name: 'a Docker image of schema 2', make: () => freshImage({ mediaType: types.dockerManifest }) },
    { name: 'an image without layers', make: () => imageManifest(config, []) },
    { name: 'an image whose layers are null', make: () => imageManifest(config, [], { layers: null }) },
    { name: 'an image with a layer twice', make: () => imageManifest(config, [layer, layer]) },
    { name: 'an artifact', make: () => referrer(freshImage(), 'application/vnd.example.sbom') },
    {
      name: 'an image with embedded data',
      make: () =>
        manifestOf({
          ...fieldsOf(freshImage()),
          config: { ...descriptor(types.config, config), data: config.bytes.toString('base64') },
        }),
    },
    {
      name: 'an image with a layer that is not distributed',
      make: () =>
        manifestOf({
          ...fieldsOf(freshImage()),
          layers: [
            {
              mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
              digest: sha256('elsewhere'),
              size: 9,
              urls: ['https://example.org/layer'],
            },
          ],
        }),
    },
    { name: 'an empty index', make: () => imageIndex([]) },
    {
      name: 'an index of images',
      make: async () => {
        const child = await pushManifest(registry, repository, freshImage());
        return imageIndex([child], { annotations: { kind: 'index' } });
      },
    },
    {
      name: 'a Docker manifest list',
      make: async () => {
        const child = await pushManifest(registry, repository, freshImage({ mediaType: types.dockerManifest }));
        return imageIndex([child], { mediaType: types.dockerList });
      },
    },
    {
      name: 'an index of an index',
      make: async () => {
        const child = await pushManifest(registry, repository, freshImage());
        return imageIndex([await pushManifest(registry, repository, imageIndex([child]))], { annotations: { a: 'b' } });
      },
    },
    {
      name: 'an index of blobs, as build caches push it',
      make: () =>
        manifestOf(
          { schemaVersion: 2, mediaType: types.index, manifests: [descriptor(types.layer, layer)] },
          types.index,
        ),
    },
  ];

  test.each(kinds)('$name', async ({ make }) => {
    const manifest = await make();
    const response = await putManifest(registry, repository, manifest, 'kind');
    expect(response.status).toBe(201);
    expect(response.headers.get('Docker-Content-Digest')).toBe(manifest.digest);
    expect(response.headers.get('Location')).toBe(`/v2/${repository}/manifests/${manifest.digest}`);
    await expectPulled('kind', manifest);
    await expectPulled(manifest.digest, manifest);
  });

  function fieldsOf(manifest: Manifest): Readonly<Record<string, unknown>> {
    return JSON.parse(manifest.bytes.toString()) as Record<string, unknown>;
  }
});

describe('bytes', () => {
  const valid = () => freshImage().bytes.toString();

  test.each([
    { name: 'unknown fields', edit: (text: string) => text.replace(/}$/, ',"x-unknown":{"a":[1,2.50,"\\u00e9"]}}') },
    { name: 'odd whitespace', edit: (text: string) => `\n\t ${text.replaceAll(',', ' ,\r\n ')} \n\n` },
    { name: 'letters beyond ASCII', edit: (text: string) => text.replace(/}$/, ',"note":"é ☃ 𝄞"}') },
    { name: 'escapes', edit: (text: string) => text.replace('schemaVersion', '\\u0073chemaVersion') },
    {
      name: 'deep nesting in an unknown field',
      edit: (text: string) => text.replace(/}$/, `,"x":${'['.repeat(5000)}${']'.repeat(5000)}}`),
    },
    {
      name: 'fields named like those of every object',
      edit: (text: string) => text.replace(/}$/, ',"__proto__":{"a":1},"constructor":2}'),
    },
  ])('are kept exactly with $name', async ({ edit }) => {
    const manifest: Manifest = { ...content(edit(valid())), mediaType: types.manifest };
    await pushManifest(registry, repository, manifest, 'exact');
    await expectPulled('exact', manifest);
  });

  test('may be sent with parameters and upper case in Content-Type, which are not given back', async () => {
    const manifest = freshImage();
    const response = await registry.fetch(`/v2/${repository}/manifests/parameters`, {
      method: 'PUT',
      headers: { 'Content-Type': `${types.manifest.replace('application', 'Application')}; charset=utf-8` },
      body: manifest.bytes,
    });
    expect(response.status).toBe(201);
    await expectPulled('parameters', manifest);
  });

  test.each(['application/json', 'application/octet-stream'])(
    'may be sent as %s, and get the type they name themselves',
    async (contentType) => {
      const manifest = freshImage();
      await registry.fetch(`/v2/${repository}/manifests/generic`, {
        method: 'PUT',
        headers: { 'Content-Type': contentType },
        body: manifest.bytes,
      });
      await expectPulled('generic', manifest);
    },
  );

  test('of sha512 are found by that digest', async () => {
    const manifest = freshImage();
    const digest = sha512(manifest.bytes);
    await pushManifest(registry, repository, manifest, digest);
    await expectPulled(digest, { ...manifest, digest });
  });

  test('are not sent again to who has them', async () => {
    const manifest = await pushManifest(registry, repository, freshImage(), 'cached');
    for (const reference of ['cached', manifest.digest]) {
      const response = await registry.fetch(`/v2/${repository}/manifests/${reference}`, {
        headers: { 'If-None-Match': `"${manifest.digest}"` },
      });
      expect(response.status).toBe(304);
      expect(await response.text()).toBe('');
    }
  });

  test('can be pulled through no repository but those they were pushed to', async () => {
    const manifest = await pushManifest(registry, repository, freshImage());
    await pushBlob(registry, 'library/other', 'makes the repository');
    const response = await registry.fetch(`/v2/library/other/manifests/${manifest.digest}`);
    await expectFailure(response, 404, 'MANIFEST_UNKNOWN');
  });

  test('pushed to two repositories leave the one they are deleted from', async () => {
    const image = await pushImage(registry, 'library/left', 'v1', 'both');
    await pushImage(registry, 'library/right', 'v1', 'both');
    await registry.fetch(`/v2/library/left/manifests/${image.digest}`, { method: 'DELETE' });
    expect((await registry.fetch('/v2/library/left/manifests/v1')).status).toBe(404);
    const right = await registry.fetch('/v2/library/right/manifests/v1');
    expect(Buffer.from(await right.arrayBuffer())).toEqual(image.bytes);
  });
});

describe('tags', () => {
  test('move to what is pushed last', async () => {
    const first = await pushManifest(registry, repository, freshImage(), 'moving');
    const second = await pushManifest(registry, repository, freshImage(), 'moving');
    await expectPulled('moving', second);
    await expectPulled(first.digest, first);
  });

  test('of a push by digest are each made and named in the answer', async () => {
    const manifest = freshImage();
    const names = Array.from({ length: 12 }, (_, number) => `many-${number}`);
    const query = names.map((name) => `tag=${name}`).join('&');
    const response = await putManifest(registry, repository, manifest, `${manifest.digest}?${query}`);
    expect(response.status).toBe(201);
    expect(response.headers.get('OCI-Tag')!.split(', ')).toEqual(names);
    for (const name of names) await expectPulled(name, manifest);
  });

  test('of a push by tag are not in OCI-Tag', async () => {
    const response = await putManifest(registry, repository, freshImage(), 'plain');
    expect(response.headers.get('OCI-Tag')).toBeNull();
  });

  test('named twice in one push are made once', async () => {
    const manifest = freshImage();
    const response = await putManifest(registry, repository, manifest, `${manifest.digest}?tag=twice&tag=twice`);
    expect(response.headers.get('OCI-Tag')).toBe('twice');
  });

  test('of a push that is refused are not made', async () => {
    const manifest = imageManifest(content('missing config'));
    const response = await putManifest(registry, repository, manifest, `${manifest.digest}?tag=refused`);
    await expectFailure(response, 404, 'MANIFEST_BLOB_UNKNOWN');
    expect(await tags()).not.toContain('refused');
  });

  test.each(['a', '_', 'A.b-c_d', '0', 'v'.repeat(128)])('may be called %s', async (tag) => {
    const manifest = await pushManifest(registry, repository, freshImage(), tag);
    await expectPulled(tag, manifest);
  });

  test('that differ in case are two', async () => {
    const lower = await pushManifest(registry, repository, freshImage(), 'case');
    const upper = await pushManifest(registry, repository, freshImage(), 'CASE');
    await expectPulled('case', lower);
    await expectPulled('CASE', upper);
  });
});

describe('deleting', () => {
  test('a tag only untags', async () => {
    const manifest = freshImage();
    await putManifest(registry, repository, manifest, `${manifest.digest}?tag=gone&tag=kept`);
    expect((await get('gone', 'DELETE')).status).toBe(202);
    await expectFailure(await get('gone'), 404, 'MANIFEST_UNKNOWN');
    await expectFailure(await get('gone', 'DELETE'), 404, 'MANIFEST_UNKNOWN');
    await expectPulled('kept', manifest);
    await expectPulled(manifest.digest, manifest);
  });

  test('the last tag of an image leaves the image', async () => {
    const manifest = await pushManifest(registry, repository, freshImage(), 'last');
    await get('last', 'DELETE');
    await expectPulled(manifest.digest, manifest);
  });

  test('by digest takes every tag of the image, and no other', async () => {
    const manifest = freshImage();
    await putManifest(registry, repository, manifest, `${manifest.digest}?tag=one&tag=two`);
    const other = await pushManifest(registry, repository, freshImage(), 'three');
    expect((await get(manifest.digest, 'DELETE')).status).toBe(202);
    for (const reference of ['one', 'two', manifest.digest]) {
      await expectFailure(await get(reference), 404, 'MANIFEST_UNKNOWN');
    }
    await expectFailure(await get(manifest.digest, 'DELETE'), 404, 'MANIFEST_UNKNOWN');
    expect(await tags()).not.toContain('one');
    await expectPulled('three', other);
  });

  test('and pushing again brings the image and its tag back', async () => {
    const manifest = await pushManifest(registry, repository, freshImage(), 'again');
    await get(manifest.digest, 'DELETE');
    await pushManifest(registry, repository, manifest, 'again');
    await expectPulled('again', manifest);
  });

  test('a child of an index leaves the index', async () => {
    const child = await pushManifest(registry, repository, freshImage());
    const index = await pushManifest(registry, repository, imageIndex([child]), 'parent');
    expect((await get(child.digest, 'DELETE')).status).toBe(202);
    await expectPulled('parent', index);
  });

  test('in a repository that does not exist is refused', async () => {
    const response = await registry.fetch(`/v2/library/none/manifests/${sha256('x')}`, { method: 'DELETE' });
    await expectFailure(response, 404, 'NAME_UNKNOWN');
  });
});

describe('subject', () => {
  test('is named in the answer, whether it exists or not', async () => {
    const existing = await pushManifest(registry, repository, freshImage());
    for (const subject of [existing, freshImage()]) {
      const response = await putManifest(registry, repository, referrer(subject, 'application/vnd.example'));
      expect(response.status).toBe(201);
      expect(response.headers.get('OCI-Subject')).toBe(subject.digest);
    }
  });

  test('of an index is named as well', async () => {
    const subject = freshImage();
    const index = imageIndex([], { subject: descriptor(types.manifest, subject) });
    const response = await putManifest(registry, repository, index);
    expect(response.headers.get('OCI-Subject')).toBe(subject.digest);
  });

  test('that is absent is not in the answer', async () => {
    const response = await putManifest(registry, repository, freshImage());
    expect(response.headers.get('OCI-Subject')).toBeNull();
  });
});

describe('what is missing', () => {
  test('is named, and the repository is not made by a push that is refused', async () => {
    const manifest = imageManifest(content('no such config'), [content('no such layer')]);
    const response = await putManifest(registry, 'library/fresh', manifest, 'v1');
    expect(response.status).toBe(404);
    const { errors } = (await response.json()) as { errors: { code: string; detail: { missing: string[] } }[] };
    expect(errors[0]).toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN' });
    expect(errors[0]!.detail.missing.sort()).toEqual([sha256('no such config'), sha256('no such layer')].sort());
    await expectFailure(await registry.fetch('/v2/library/fresh/tags/list'), 404, 'NAME_UNKNOWN');
  });

  test('in this repository is missing, though another has it', async () => {
    const manifest = await pushManifest(registry, repository, freshImage());
    await expectFailure(await putManifest(registry, 'library/other', manifest), 404, 'MANIFEST_BLOB_UNKNOWN');
  });
});

describe('the sparse policy', () => {
  const image = () => imageManifest(content('absent config'), [content('absent layer')]);
  const index = () => imageIndex([image()]);

  test.each([
    { policy: 'images', imageStatus: 201, indexStatus: 404 },
    { policy: 'indexes', imageStatus: 404, indexStatus: 201 },
    { policy: 'images,indexes', imageStatus: 201, indexStatus: 201 },
  ])('$policy', async ({ policy, imageStatus, indexStatus }) => {
    const sparse = await startRegistry({ WEIR_POLICY_SPARSE: policy });
    try {
      expect((await putManifest(sparse, 'library/index', index(), 'v1')).status).toBe(indexStatus);
      expect((await putManifest(sparse, 'library/image', image(), 'v1')).status).toBe(imageStatus);
      const pulled = await sparse.fetch('/v2/library/image/manifests/v1');
      expect(pulled.status).toBe(imageStatus === 201 ? 200 : 404);
    } finally {
      await sparse.stop();
    }
  });
});
