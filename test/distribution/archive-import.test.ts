import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  content,
  imageIndex,
  imageManifest,
  pushBlob,
  sha256,
  sha512,
  types,
  type Content,
} from '../support/images.js';
import { admin, startRegistry, user, type TestRegistry, type TestRequest } from '../support/registry.js';
import {
  archiveOf,
  configOf,
  dockerEntries,
  layerOf,
  layoutEntries,
  refName,
  savedImage,
  writtenManifest,
} from './archive-builders.js';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['shop', 'closed']) await registry.addProject(project);
});
afterAll(() => registry.stop());

const archives = '/extensions/weir/v1/projects/shop/archives';

interface Imported {
  readonly images: readonly {
    readonly repository: string;
    readonly tag: string;
    readonly digest: string;
    readonly mediaType: string;
  }[];
  readonly warnings: readonly string[];
}

function send(
  body: Buffer,
  query: Readonly<Record<string, string>> = {},
  request: TestRequest = {},
): Promise<Response> {
  return registry.fetch(`${archives}?${new URLSearchParams(query).toString()}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-tar', ...(request.headers as object) },
    ...request,
    body,
  });
}

async function imported(response: Response): Promise<Imported> {
  expect({ status: response.status, text: response.status === 201 ? '' : await response.text() }).toEqual({
    status: 201,
    text: '',
  });
  return (await response.json()) as Imported;
}

/** The one error of an answer, as code and detail. */
async function refusal(response: Response): Promise<{ status: number; code: string; detail: unknown }> {
  const { errors } = (await response.json()) as { errors: { code: string; detail: unknown }[] };
  return { status: response.status, code: errors[0]!.code, detail: errors[0]!.detail };
}

/** The manifest under a tag, and whether all it refers to can be pulled and is what it should be. */
async function pulled(repository: string, reference: string): Promise<{ digest: string; text: string }> {
  const response = await registry.fetch(`/v2/${repository}/manifests/${reference}`);
  expect(response.status).toBe(200);
  const text = await response.text();
  const {
    config,
    layers = [],
    manifests = [],
  } = JSON.parse(text) as {
    config?: { digest: string };
    layers?: { digest: string }[];
    manifests?: { digest: string }[];
  };
  for (const { digest } of [...(config ? [config] : []), ...layers]) {
    const blob = await registry.fetch(`/v2/${repository}/blobs/${digest}`);
    expect(sha256(Buffer.from(await blob.arrayBuffer()))).toBe(digest);
  }
  for (const { digest } of manifests) await pulled(repository, digest);
  return { digest: sha256(text), text };
}

async function tagsOf(repository: string): Promise<readonly string[] | undefined> {
  const response = await registry.fetch(`/v2/${repository}/tags/list`);
  return response.status === 200 ? ((await response.json()) as { tags: string[] }).tags : undefined;
}

async function openUploads(): Promise<readonly string[]> {
  return readdir(join(registry.dataDir, 'uploads'));
}

describe('an archive of docker save', () => {
  test('becomes an image with the config and the layers that it has, under its own name', async () => {
    const image = await savedImage('one', ['docker.io/library/app:v1', 'app:latest']);
    const { images, warnings } = await imported(await send(await archiveOf(dockerEntries([image]))));
    const { digest } = writtenManifest(image);
    const mediaType = types.manifest;
    expect(images).toEqual([
      { repository: 'shop/app', tag: 'v1', digest, mediaType },
      { repository: 'shop/app', tag: 'latest', digest, mediaType },
    ]);
    expect(warnings).toEqual([]);
    expect(await pulled('shop/app', 'v1')).toEqual({ digest, text: writtenManifest(image).bytes.toString() });
    expect(await openUploads()).toEqual([]);
  });

  test('is taken compressed, with its list first, under another name', async () => {
    const image = await savedImage('two', ['localhost/else:v1']);
    const body = gzipSync(await archiveOf([...dockerEntries([image])].reverse()));
    const { images } = await imported(await send(body, { repository: 'tools/two', tag: 'best' }));
    expect(images).toMatchObject([{ repository: 'shop/tools/two', tag: 'best' }]);
    expect((await pulled('shop/tools/two', 'best')).digest).toBe(writtenManifest(image).digest);
  });

  test('may hold several images that share layers, for several repositories', async () => {
    const first = await savedImage('three', ['quay.io/team/deep/three:v1']);
    const second = { ...first, config: configOf(first.layers, { author: 'b' }), repoTags: ['localhost:5000/four:v2'] };
    const { images } = await imported(await send(await archiveOf(dockerEntries([first, second]))));
    expect(images).toMatchObject([
      { repository: 'shop/deep/three', tag: 'v1' },
      { repository: 'shop/four', tag: 'v2' },
    ]);
    expect((await pulled('shop/deep/three', 'v1')).digest).toBe(writtenManifest(first).digest);
    expect((await pulled('shop/four', 'v2')).digest).toBe(writtenManifest(second).digest);
  });

  test('gives each of its images to every repository that it names', async () => {
    const image = await savedImage('spread', ['one-of-two:v1', 'two-of-two:v1', 'two-of-two:v2']);
    const { images } = await imported(await send(await archiveOf(dockerEntries([image]))));
    expect(images.map(({ repository, tag }) => `${repository}:${tag}`)).toEqual([
      'shop/one-of-two:v1',
      'shop/two-of-two:v1',
      'shop/two-of-two:v2',
    ]);
    for (const repository of ['shop/one-of-two', 'shop/two-of-two']) await pulled(repository, 'v1');
  });

  test('may name one layer by a link to another', async () => {
    const layer = await layerOf('twice');
    const config = configOf([layer, layer]);
    const body = await archiveOf([
      ['./a/layer.tar', layer.bytes],
      ['b/layer.tar', { link: '../a/layer.tar' }],
      ['c/layer.tar', { link: '../b/layer.tar' }],
      ['config.json', config.bytes],
      [
        'manifest.json',
        JSON.stringify([{ Config: 'config.json', RepoTags: ['linked:v1'], Layers: ['b/layer.tar', 'c/layer.tar'] }]),
      ],
    ]);
    await imported(await send(body));
    expect((await pulled('shop/linked', 'v1')).digest).toBe(
      writtenManifest({ config, layers: [layer, layer], repoTags: null }).digest,
    );
  });

  test('may have layers that are compressed, which the manifest says', async () => {
    const layer = await layerOf('packed');
    const packed = content(gzipSync(layer.bytes));
    const config = configOf([layer]);
    const list = [{ Config: 'c.json', RepoTags: ['packed:v1'], Layers: ['l.tar'] }];
    const body = await archiveOf([
      ['l.tar', packed.bytes],
      ['c.json', config.bytes],
      ['manifest.json', JSON.stringify(list)],
    ]);
    await imported(await send(body));
    expect(JSON.parse((await pulled('shop/packed', 'v1')).text)).toMatchObject({
      layers: [{ mediaType: types.layer, digest: packed.digest }],
    });
  });
});

describe('an OCI layout', () => {
  const image = (text: string, architecture = 'amd64') => {
    const layer = content(gzipSync(randomBytes(100_000)));
    const config = content(
      JSON.stringify({ architecture, os: 'linux', text, rootfs: { type: 'layers', diff_ids: [] } }),
    );
    return { manifest: imageManifest(config, [layer]), blobs: [config, layer] as readonly Content[] };
  };

  test.each([{ isListLast: true }, { isListLast: false }])('keeps its manifest byte by byte %o', async (order) => {
    const { manifest, blobs } = image('plain');
    const listed = [{ manifest, annotations: { [refName]: 'localhost/oci:v1' } }];
    const { images } = await imported(await send(await archiveOf(layoutEntries(listed, blobs, order))));
    expect(images).toEqual([{ repository: 'shop/oci', tag: 'v1', digest: manifest.digest, mediaType: types.manifest }]);
    expect((await pulled('shop/oci', 'v1')).digest).toBe(manifest.digest);
  });

  test('keeps an index for several platforms with all it lists', async () => {
    const all = [image('multi'), image('multi', 'arm64')];
    const inner = imageIndex(all.map(({ manifest }) => manifest));
    const outer = imageIndex([inner]);
    const listed = [
      { manifest: outer, annotations: { [refName]: 'v1', 'io.containerd.image.name': 'docker.io/team/multi:v1' } },
    ];
    const blobs = [inner, ...all.flatMap(({ manifest, blobs: own }) => [manifest, ...own])];
    const { images } = await imported(await send(await archiveOf(layoutEntries(listed, blobs))));
    expect(images).toEqual([{ repository: 'shop/multi', tag: 'v1', digest: outer.digest, mediaType: types.index }]);
    expect((await pulled('shop/multi', 'v1')).digest).toBe(outer.digest);
  });

  test('is itself the index when it lists platforms without names', async () => {
    const all = [image('whole'), image('whole', 'arm64')];
    const listed = all.map(({ manifest }, index) => ({
      manifest,
      platform: { os: 'linux', architecture: index === 0 ? 'amd64' : 'arm64' },
    }));
    const entries = layoutEntries(
      listed,
      all.flatMap(({ blobs }) => blobs),
    );
    const { images } = await imported(await send(await archiveOf(entries), { repository: 'shop/whole', tag: 'v1' }));
    expect(images).toMatchObject([{ digest: sha256(entries[0]![1] as string), mediaType: types.index }]);
    await pulled('shop/whole', 'v1');
  });

  test('of which only one platform is there becomes that image, with a warning', async () => {
    const [here, elsewhere] = [image('here'), image('elsewhere', 'arm64')];
    const index = imageIndex([here.manifest, elsewhere.manifest]);
    const listed = [{ manifest: index, annotations: { [refName]: 'part:v1' } }];
    const body = await archiveOf(layoutEntries(listed, [here.manifest, ...here.blobs]));
    const { images, warnings } = await imported(await send(body));
    expect(images).toMatchObject([{ repository: 'shop/part', digest: here.manifest.digest }]);
    expect(warnings).toEqual([expect.stringContaining(index.digest)]);
  });

  test('counts before the manifest.json beside it', async () => {
    const { manifest, blobs } = image('both');
    const [config, layer] = blobs;
    const path = ({ digest }: Content) => `blobs/${digest.replace(':', '/')}`;
    const list = [{ Config: path(config!), RepoTags: ['both:v1'], Layers: [path(layer!)] }];
    const listed = [{ manifest, annotations: { [refName]: 'v1', 'io.containerd.image.name': 'both:v1' } }];
    const body = await archiveOf([...layoutEntries(listed, blobs), ['manifest.json', JSON.stringify(list)]]);
    expect((await imported(await send(body))).images).toMatchObject([{ digest: manifest.digest }]);
  });

  test('may leave out what the repository has', async () => {
    const { manifest, blobs } = image('known');
    await pushBlob(registry, 'shop/known', blobs[1]!.bytes);
    const body = await archiveOf(layoutEntries([{ manifest, annotations: { [refName]: 'v1' } }], [blobs[0]!]));
    await imported(await send(body, { repository: 'known' }));
    expect((await pulled('shop/known', 'v1')).digest).toBe(manifest.digest);
  });

  test('may have a layer that is a manifest as well', async () => {
    const layer = imageManifest(content('{}'));
    const config = content('{}');
    const manifest = imageManifest(config, [layer]);
    const body = await archiveOf(layoutEntries([{ manifest, annotations: { [refName]: 'odd:v1' } }], [config, layer]));
    await imported(await send(body));
    expect((await pulled('shop/odd', 'v1')).digest).toBe(manifest.digest);
  });

  test('may have blobs by sha512', async () => {
    const config = content('{"architecture":"amd64"}');
    const bytes = randomBytes(1000);
    const byOther = { bytes, digest: sha512(bytes) };
    const manifest = imageManifest(config, [byOther]);
    const listed = [{ manifest, annotations: { [refName]: 'sha512:v1' } }];
    await imported(await send(await archiveOf(layoutEntries(listed, [config, byOther]))));
    expect((await registry.fetch(`/v2/shop/sha512/blobs/${byOther.digest}`)).status).toBe(200);
  });

  test('leaves out what has no name beside what has one', async () => {
    const [named, other] = [image('named'), image('other')];
    const listed = [{ manifest: named.manifest, annotations: { [refName]: 'named:v1' } }, { manifest: other.manifest }];
    const body = await archiveOf(layoutEntries(listed, [...named.blobs, ...other.blobs]));
    const { images, warnings } = await imported(await send(body));
    expect(images).toHaveLength(1);
    expect(warnings).toEqual(['1 manifests without a name were left out']);
  });
});

describe('a form', () => {
  function form(
    fields: Readonly<Record<string, string>>,
    archive: Buffer,
    after: Readonly<Record<string, string>> = {},
  ) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    body.set('archive', new Blob([new Uint8Array(archive)], { type: 'application/x-tar' }), 'archive.tar');
    for (const [name, value] of Object.entries(after)) body.set(name, value);
    return registry.fetch(archives, { method: 'POST', body });
  }

  test('has the archive, and names before and after it', async () => {
    const image = await savedImage('form', null);
    const body = await archiveOf(dockerEntries([image]));
    const { images } = await imported(await form({ repository: 'form' }, body, { tag: 'v1', reason: 'größer' }));
    expect(images).toMatchObject([{ repository: 'shop/form', tag: 'v1' }]);
    const history = await registry.api('/apis/weir.dev/v1/namespaces/shop/imagestreams/form/history');
    expect(await history.text()).toContain('größer');
  });

  test.each([
    { name: 'a field that nobody knows', fields: { other: 'x' } },
    { name: 'another repository than the query', fields: {}, query: { repository: 'a' }, after: { repository: 'b' } },
    { name: 'a reason of two lines', fields: { reason: 'a\nb' } },
  ])('with $name is refused, and leaves nothing', async ({ fields, after, query }) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    const image = await savedImage('refused form', ['refused-form:v1']);
    body.set('archive', new Blob([new Uint8Array(await archiveOf(dockerEntries([image])))]));
    for (const [name, value] of Object.entries(after ?? {})) body.set(name, value);
    const path = `${archives}?${new URLSearchParams(query ?? {}).toString()}`;
    const response = await registry.fetch(path, { method: 'POST', body });
    expect(await refusal(response)).toMatchObject({ status: 400, code: 'UNSUPPORTED' });
    expect(await tagsOf('shop/refused-form')).toBeUndefined();
    expect(await openUploads()).toEqual([]);
  });

  test('without an archive is refused', async () => {
    const body = new FormData();
    body.set('repository', 'x');
    const response = await registry.fetch(archives, { method: 'POST', body });
    expect(await refusal(response)).toMatchObject({ status: 400, code: 'UNSUPPORTED' });
  });

  test('that breaks off is refused', async () => {
    const whole = await archiveOf(dockerEntries([await savedImage('broken form', ['broken-form:v1'])]));
    const head = '--x\r\nContent-Disposition: form-data; name="archive"; filename="a"\r\n\r\n';
    const response = await registry.fetch(archives, {
      method: 'POST',
      headers: { 'Content-Type': 'multipart/form-data; boundary=x' },
      body: Buffer.concat([Buffer.from(head), whole.subarray(0, 3000)]),
    });
    expect(response.status).toBe(400);
    expect(await openUploads()).toEqual([]);
  });
});

test('an archive whose sender goes away leaves nothing', async () => {
  const whole = await archiveOf(dockerEntries([await savedImage(randomBytes(2_000_000).toString('hex'), ['gone:v1'])]));
  const controller = new AbortController();
  const { pull, sent } = halfOf(whole);
  const body = new ReadableStream({ pull });
  const headers = { 'Content-Type': 'application/x-tar' };
  const request = registry.fetch(archives, { method: 'POST', headers, body, signal: controller.signal });
  await sent;
  await expect.poll(openUploads).not.toEqual([]);
  controller.abort();
  await expect(request).rejects.toThrow();
  await expect.poll(openUploads).toEqual([]);
  expect(await tagsOf('shop/gone')).toBeUndefined();
});

/** The first half of a body, and then nothing. */
function halfOf(whole: Buffer) {
  let tell: () => void = () => undefined;
  const sent = new Promise<void>((resolve) => {
    tell = resolve;
  });
  let isFirst = true;
  const pull = (stream: ReadableStreamDefaultController): Promise<void> | undefined => {
    if (!isFirst) return sent.then(() => new Promise<never>(() => undefined));
    isFirst = false;
    stream.enqueue(new Uint8Array(whole.subarray(0, whole.length / 2)));
    tell();
    return undefined;
  };
  return { pull, sent };
}

describe('names', () => {
  test('are asked for where neither the archive nor the request has them', async () => {
    const body = await archiveOf(dockerEntries([await savedImage('nameless', null)]));
    expect(await refusal(await send(body))).toMatchObject({
      status: 400,
      code: 'MANIFEST_INVALID',
      detail: { reason: 'neither the request nor the archive names a repository for the image' },
    });
    expect(await refusal(await send(body, { repository: 'nameless' }))).toMatchObject({
      detail: { reason: 'neither the request nor the archive names a tag for the image' },
    });
  });

  test('must not be the same for two images', async () => {
    const all = [await savedImage('same a', ['a:v1']), await savedImage('same b', ['b:v1'])];
    const body = await archiveOf(dockerEntries(all));
    expect(await refusal(await send(body, { repository: 'same' }))).toMatchObject({
      status: 400,
      detail: { repository: 'shop/same', tag: 'v1' },
    });
    expect(await tagsOf('shop/same')).toBeUndefined();
  });

  test('must be names', async () => {
    const body = await archiveOf(dockerEntries([await savedImage('bad', ['a:v1'])]));
    expect(await refusal(await send(body, { repository: '../x' }))).toMatchObject({
      status: 400,
      code: 'NAME_INVALID',
    });
    expect(await refusal(await send(body, { tag: '-' }))).toMatchObject({ status: 400, code: 'MANIFEST_INVALID' });
  });
});

describe('rights', () => {
  test('are looked at before the body, and for each repository', async () => {
    const body = await archiveOf(dockerEntries([await savedImage('rights', ['rights:v1'])]));
    expect((await send(body, {}, { as: 'nobody' })).status).toBe(401);
    expect((await send(body, {}, { as: user })).status).toBe(201);
    const narrow = { token: await registry.token(['repository:shop/narrow:pull,push'], admin) };
    expect((await send(body, {}, { as: narrow })).status).toBe(401);
    expect((await send(body, { repository: 'narrow' }, { as: narrow })).status).toBe(201);
    expect((await send(body, { repository: 'wider' }, { as: narrow })).status).toBe(401);
  });

  test('a pusher of what is there cannot make a repository', async () => {
    const pusher = { name: 'pusher', password: 'pusher-secret' };
    await registry.addUser({ ...pusher, role: 'user' });
    await registry.bind(pusher.name, 'system:image-pusher', 'shop');
    const body = await archiveOf(dockerEntries([await savedImage('pusher', ['not-there:v1'])]));
    expect(await refusal(await send(body, {}, { as: pusher }))).toMatchObject({ status: 403, code: 'DENIED' });
    expect(await tagsOf('shop/not-there')).toBeUndefined();
    expect(await openUploads()).toEqual([]);
  });

  test('a policy that wants a reason wants it here', async () => {
    const policy = { metadata: { name: 'why' }, spec: { requireReason: ['push'], streams: ['reasoned'] } };
    const made = await registry.api('/apis/weir.dev/v1/namespaces/shop/tagpolicies', { method: 'POST', body: policy });
    const body = await archiveOf(dockerEntries([await savedImage('reasoned', ['reasoned:v1'])]));
    expect({ status: made.status, text: made.status === 201 ? '' : await made.text() }).toEqual({
      status: 201,
      text: '',
    });
    expect((await send(body)).status).toBe(403);
    const headers = { 'Weir-Reason': 'because' };
    expect((await send(body, {}, { headers: { 'Content-Type': 'application/x-tar', ...headers } })).status).toBe(201);
  });
});
