import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { content, imageManifest, pushImage, type Manifest, type PushedImage } from '../support/images.js';
import { admin, startRegistry, type TestRegistry } from '../support/registry.js';

const images = '/apis/image.openshift.io/v1/namespaces/hub';
const weir = '/apis/weir.dev/v1';
const reader = { name: 'reader', password: 'reader-secret' };
const stranger = { name: 'stranger', password: 'stranger-secret' };

/** The other registry, and this one, in which project `hub` is a cache of it. */
let origin: TestRegistry;
let registry: TestRegistry;
let host: string;
let first: PushedImage;
beforeAll(async () => {
  origin = await startRegistry();
  host = new URL(origin.url).host;
  await origin.addProject('lib');
  first = await pushImage(origin, 'lib/app', '3', 'first');
  registry = await startRegistry({ WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1:*' });
  await registry.addProject('hub');
  for (const who of [reader, stranger]) await registry.addUser({ ...who, role: 'user' });
  await registry.bind(reader.name, 'registry-viewer', 'hub');
  const auth = Buffer.from(`${admin.name}:${admin.password}`).toString('base64');
  await create('/api/v1/namespaces/hub/secrets', {
    metadata: { name: 'pull' },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [host]: { auth } } }) },
  });
  await create(`${weir}/namespaces/hub/upstreamcaches`, {
    metadata: { name: 'origin' },
    spec: { registry: host, insecure: true, freshSeconds: 0, missingSeconds: 0, mirror: true },
  });
});
afterAll(async () => {
  await registry.stop();
  await origin.stop();
});

async function create(path: string, body: object): Promise<void> {
  const response = await registry.api(path, { method: 'POST', body });
  expect({ path, status: response.status, text: response.ok ? '' : await response.text() }).toEqual({
    path,
    status: 201,
    text: '',
  });
}

const pull = (path: string, as: NonNullable<Parameters<TestRegistry['fetch']>[1]>['as'] = reader) =>
  registry.fetch(`/v2/${path}`, { as });

/** Another image for a tag there. */
async function move(tag: string, name: string): Promise<Manifest> {
  return pushImage(origin, 'lib/app', tag, name);
}

describe('a pull from a cache project', () => {
  test('is answered with what the other registry has, for whoever may pull from the project', async () => {
    const response = await pull('hub/lib/app/manifests/3');
    expect(response.status).toBe(200);
    expect(response.headers.get('Docker-Content-Digest')).toBe(first.digest);
    expect(response.headers.get('Warning')).toBeNull();
    expect(Buffer.from(await response.arrayBuffer())).toEqual(first.bytes);
  });

  test('is a move of the tag in its history when the tag moved there', async () => {
    const second = await move('history', 'second');
    await pull('hub/lib/app/manifests/history');
    const third = await move('history', 'third');
    expect((await pull('hub/lib/app/manifests/history')).headers.get('Docker-Content-Digest')).toBe(third.digest);
    const stream = (await (await registry.api(`${images}/imagestreams/lib__app`)).json()) as {
      status: { tags: { tag: string; items: { image: string; dockerImageReference: string }[] }[] };
    };
    const items = stream.status.tags.find(({ tag }) => tag === 'history')?.items;
    expect(items?.map(({ image }) => image)).toEqual([third.digest, second.digest]);
    expect(items?.[0]?.dockerImageReference).toBe(`${host}/lib/app@${third.digest}`);
  });

  test('by HEAD says the same', async () => {
    const response = await registry.fetch('/v2/hub/lib/app/manifests/3', { as: reader, method: 'HEAD' });
    expect({ status: response.status, digest: response.headers.get('Docker-Content-Digest') }).toEqual({
      status: 200,
      digest: first.digest,
    });
  });

  test('of what is not there either is an unknown manifest', async () => {
    const response = await pull('hub/lib/app/manifests/none');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ errors: [{ code: 'MANIFEST_UNKNOWN' }] });
  });

  test('is refused to whoever may not pull, and nothing comes', async () => {
    await pushImage(origin, 'lib/secret', '1');
    expect((await pull('hub/lib/secret/manifests/1', stranger)).status).toBe(403);
    expect((await pull('hub/lib/secret/manifests/1', 'nobody')).status).toBe(401);
    expect((await registry.api(`${images}/imagestreams/lib__secret`)).status).toBe(404);
  });

  test('that many make at the same time brings one image', async () => {
    const cold = await pushImage(origin, 'lib/cold', '1', 'cold');
    const answers = await Promise.all(Array.from({ length: 200 }, () => pull('hub/lib/cold/manifests/1')));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ headers }) => headers.get('Docker-Content-Digest')))).toEqual(new Set([cold.digest]));
    const { items } = (await (
      await registry.api(`${weir}/namespaces/hub/imagestreamtags/lib__cold:1/history`)
    ).json()) as {
      items: unknown[];
    };
    expect(items).toHaveLength(1);
  });
});

describe('a tag that people rolled back', () => {
  test('stays until it is deleted', async () => {
    const second = await move('pinned', 'pinned-1');
    await pull('hub/lib/app/manifests/pinned');
    const third = await move('pinned', 'pinned-2');
    await pull('hub/lib/app/manifests/pinned');
    const tag = `${images}/imagestreamtags/lib__app:pinned`;
    const body = { spec: { to: { steps: 1 } } };
    expect((await registry.api(`${tag}/rollback`, { method: 'POST', body })).status).toBe(201);
    const digest = async () => (await pull('hub/lib/app/manifests/pinned')).headers.get('Docker-Content-Digest');
    expect(await digest()).toBe(second.digest);
    expect((await registry.api(tag, { method: 'DELETE' })).status).toBe(200);
    expect(await digest()).toBe(third.digest);
  });
});

describe('a push to a cache project', () => {
  const manifest = imageManifest(content('{}'));

  test.each([
    { name: 'an upload', method: 'POST', path: 'blobs/uploads/' },
    { name: 'a mount', method: 'POST', path: `blobs/uploads/?mount=${manifest.digest}&from=hub/lib/app` },
    { name: 'a manifest', method: 'PUT', path: 'manifests/mine' },
  ])('($name) is refused, in words that name the other registry', async ({ method, path }) => {
    const response = await registry.fetch(`/v2/hub/lib/app/${path}`, {
      method,
      headers: { 'Content-Type': manifest.mediaType },
      ...(method === 'PUT' && { body: manifest.bytes }),
    });
    expect(response.status).toBe(405);
    expect(await response.json()).toMatchObject({
      errors: [{ code: 'UNSUPPORTED', message: `project hub is a cache of ${host}, and takes no pushes` }],
    });
  });

  test('is refused to whoever may not push, in the words that they get everywhere', async () => {
    const response = await registry.fetch('/v2/hub/lib/app/blobs/uploads/', { method: 'POST', as: reader });
    expect(response.status).toBe(403);
  });

  test('is none to another project', async () => {
    await registry.addProject('own');
    await pushImage(registry, 'own/app', '1');
  });

  test('frees space: who may delete does, and the image comes back with the next pull', async () => {
    const gone = await move('gone', 'gone');
    await pull('hub/lib/app/manifests/gone');
    const deleted = await registry.fetch(`/v2/hub/lib/app/manifests/${gone.digest}`, { method: 'DELETE' });
    expect(deleted.status).toBe(202);
    expect((await pull('hub/lib/app/manifests/gone')).headers.get('Docker-Content-Digest')).toBe(gone.digest);
  });
});

describe('a client that uses this registry as a mirror', () => {
  test('finds the repository of the other registry, and is told to ask for the scope of that here', async () => {
    const path = `lib/app/manifests/3?ns=${host}`;
    const challenged = await pull(path, 'nobody');
    expect(challenged.status).toBe(401);
    expect(challenged.headers.get('WWW-Authenticate')).toContain('scope="repository:hub/lib/app:pull"');
    const token = await registry.token(['repository:hub/lib/app:pull', 'repository:lib/app:pull'], reader);
    const response = await pull(path, { token });
    expect({ status: response.status, digest: response.headers.get('Docker-Content-Digest') }).toEqual({
      status: 200,
      digest: first.digest,
    });
  });

  test('goes on to its next mirror when this is none of that registry', async () => {
    const response = await pull('lib/app/manifests/3?ns=quay.io');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ errors: [{ code: 'NAME_UNKNOWN' }] });
  });

  test('cannot push through it', async () => {
    const response = await registry.fetch(`/v2/lib/app/blobs/uploads/?ns=${host}`, { method: 'POST' });
    expect(response.status).toBe(405);
  });
});

test('a second cache in a project is refused, and one of this registry itself', async () => {
  const paths = `${weir}/namespaces/hub/upstreamcaches`;
  const second = await registry.api(paths, {
    method: 'POST',
    body: { metadata: { name: 'second' }, spec: { registry: 'quay.io' } },
  });
  expect(second.status).toBe(403);
  await registry.addProject('loop');
  const loop = await registry.api(`${weir}/namespaces/loop/upstreamcaches`, {
    method: 'POST',
    body: { metadata: { name: 'loop' }, spec: { registry: new URL(registry.url).host } },
  });
  expect(loop.status).toBe(422);
});

test('what is left of the requests to the other registry is there for who runs this one', async () => {
  const name = host.replace(':', '_');
  await expect
    .poll(async () => (await registry.api(`${weir}/upstreams/${name}`)).status, { timeout: 10_000 })
    .toBe(200);
  const upstream = (await (await registry.api(`${weir}/upstreams/${name}`)).json()) as object;
  expect(upstream).toMatchObject({ kind: 'Upstream', metadata: { name }, status: { registry: host } });
  expect((await registry.api(`${weir}/upstreams`, { as: reader })).status).toBe(403);
});

test('what is here is served when the other registry is gone, with a warning', async () => {
  await pull('hub/lib/app/manifests/3');
  await origin.running.stop();
  const response = await pull('hub/lib/app/manifests/3');
  expect(response.status).toBe(200);
  expect(response.headers.get('Docker-Content-Digest')).toBe(first.digest);
  expect(response.headers.get('Warning')).toMatch(/^299 - "[^"]+"$/);
  expect((await pull(`hub/lib/app/manifests/${first.digest}`)).headers.get('Warning')).toBeNull();
  const unknown = await pull('hub/lib/app/manifests/never-pulled');
  expect(unknown.status).toBe(503);
  expect(unknown.headers.get('Retry-After')).toMatch(/^\d+$/);
});
