import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { addPerson } from '../support/identities.js';
import { admin, startRegistry, type Credentials, type TestRegistry } from '../support/registry.js';
import { addIndex } from './import-api.js';

// What the unmodified `oc import-image` and `oc new-app` were seen to send, body for body, and what they need back.

const demo = '/apis/image.openshift.io/v1/namespaces/demo';
/** The Accept header of oc's typed client. */
const accept = 'application/json, */*';

interface Stream {
  readonly metadata: { readonly name: string; readonly resourceVersion: string; readonly generation: number };
  readonly spec: { readonly tags?: readonly Record<string, unknown>[] };
  readonly status: {
    readonly tags?: readonly {
      readonly tag: string;
      readonly items: readonly { readonly image: string }[] | null;
      readonly conditions?: readonly Record<string, unknown>[];
    }[];
  };
}

interface Result {
  readonly tag?: string;
  readonly status: Record<string, unknown>;
  readonly image?: Record<string, unknown>;
  readonly manifests?: readonly Record<string, unknown>[];
}

interface Answer {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: Record<string, unknown>;
  readonly message: string;
  readonly reason: string;
  readonly status: {
    readonly import?: Stream;
    readonly images?: readonly Result[];
    readonly repository?: { readonly status: object; readonly images?: readonly Result[]; additionalTags?: string[] };
  };
}

let registry: TestRegistry;
let upstream: FaultyRegistry;
let dev: Credentials;
beforeAll(async () => {
  upstream = await startFaultyRegistry();
  registry = await startRegistry({
    WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
    WEIR_IMPORTS_MAX_TAGS_PER_REPOSITORY: '2',
    WEIR_UPSTREAMS_REGISTRIES: JSON.stringify([{ registry: upstream.host, insecure: true }]),
  });
  await registry.addProject('demo');
  dev = await addPerson(registry, 'dev', { role: 'edit', namespace: 'demo' });
});
afterAll(async () => {
  await registry.stop();
  await upstream.close();
});

async function send(
  method: string,
  path: string,
  { body, as = dev }: { readonly body?: string; readonly as?: Credentials } = {},
): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await registry.fetch(path, {
    method,
    as: { token: await registry.apiToken(as) },
    headers: { Accept: accept, ...(body !== undefined && { 'Content-Type': 'application/json' }) },
    ...(body !== undefined && { body }),
  });
  expect(response.headers.get('Content-Type')).toMatch(/^application\/json/);
  return { status: response.status, body: await response.json() };
}

/** The first thing that each import does. */
async function readStream(name: string): Promise<{ readonly status: number; readonly body: Stream }> {
  const { status, body } = await send('GET', `${demo}/imagestreams/${name}`);
  return { status, body: body as Stream };
}

/** @param metadata beside name and namespace, as JSON that begins with a comma */
function importBody(name: string, spec: string, metadata = ''): string {
  return `{"kind":"ImageStreamImport","apiVersion":"image.openshift.io/v1","metadata":{"name":"${name}","namespace":"demo"${metadata},"creationTimestamp":null},"spec":${spec},"status":{}}`;
}

async function post(body: string, as = dev): Promise<{ readonly status: number; readonly body: Answer }> {
  const { status, body: answer } = await send('POST', `${demo}/imagestreamimports`, { body, as });
  return { status, body: answer as Answer };
}

const image = (
  from: string,
  to: string,
  importPolicy = '{"importMode":"Legacy"}',
  referencePolicy = '{"type":"Source"}',
): string =>
  `{"from":{"kind":"DockerImage","name":"${upstream.host}/${from}"},"to":{"name":"${to}"},"importPolicy":${importPolicy},"referencePolicy":${referencePolicy}}`;

const one = (entry: string): string => `{"import":true,"images":[${entry}]}`;

describe('oc import-image', () => {
  test('new --from --confirm makes a stream, whose description it can print', async () => {
    const a = upstream.addImage('q/a/b', 'latest');
    expect((await readStream('new')).status).toBe(404);
    const { status, body } = await post(importBody('new', one(image('q/a/b', 'latest'))));
    expect(status).toBe(201);
    expect(body).toMatchObject({
      kind: 'ImageStreamImport',
      apiVersion: 'image.openshift.io/v1',
      metadata: { name: 'new', namespace: 'demo' },
      spec: { import: true },
      status: {
        import: {
          kind: 'ImageStream',
          apiVersion: 'image.openshift.io/v1',
          metadata: { name: 'new', namespace: 'demo', uid: expect.any(String) as string, generation: 1 },
          spec: {
            lookupPolicy: { local: false },
            tags: [
              {
                name: 'latest',
                from: { kind: 'DockerImage', name: `${upstream.host}/q/a/b` },
                generation: 1,
                importPolicy: { importMode: 'Legacy' },
                referencePolicy: { type: 'Source' },
              },
            ],
          },
          status: {
            dockerImageRepository: `${new URL(registry.url).host}/demo/new`,
            tags: [
              {
                tag: 'latest',
                items: [
                  {
                    created: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
                    dockerImageReference: `${upstream.host}/q/a/b@${a.digest}`,
                    image: a.digest,
                    generation: 1,
                  },
                ],
              },
            ],
          },
        },
        images: [
          {
            tag: 'latest',
            status: { status: 'Success' },
            image: {
              metadata: { name: a.digest },
              dockerImageReference: `${upstream.host}/q/a/b@${a.digest}`,
              // Without it there is no description.
              dockerImageMetadata: { kind: 'DockerImage', Id: a.config.digest, Architecture: 'amd64' },
              dockerImageLayers: [{ name: a.layer.digest, size: a.layer.bytes.length }],
            },
          },
        ],
      },
    });
    const [{ image: shown }] = body.status.images as [Result];
    for (const blank of ['dockerImageManifest', 'dockerImageConfig']) expect(shown).not.toHaveProperty([blank]);
  });

  test('of a stream that is there sends its version, which must still be that', async () => {
    upstream.addImage('versions', 'v1');
    await post(importBody('versions', one(image('versions:v1', 'v1'))));
    const { metadata } = (await readStream('versions')).body;
    const body = importBody(
      'versions',
      one(image('versions:v1', 'v1', '{"scheduled":true,"importMode":"Legacy"}')),
      `,"resourceVersion":"${metadata.resourceVersion}"`,
    );
    expect((await post(body)).status).toBe(201);
    const second = await post(body);
    expect(second.status).toBe(409);
    expect(second.body).toMatchObject({
      kind: 'Status',
      reason: 'Conflict',
      message: expect.stringContaining(`the image stream was updated from "${metadata.resourceVersion}" to `) as string,
    });
    const absent = await post(
      importBody('absent', one(image('versions:v1', 'v1')), `,"resourceVersion":"${metadata.resourceVersion}"`),
    );
    expect(absent).toMatchObject({ status: 404, body: { reason: 'NotFound' } });
  });

  test('with all of its flags keeps what they say', async () => {
    const { index, children } = addIndex(upstream, 'flags', 'v9', ['linux/amd64', 'linux/arm64']);
    const policy = '{"insecure":true,"scheduled":true,"importMode":"PreserveOriginal"}';
    const { body } = await post(importBody('app', one(image('flags:v9', 'v9', policy, '{"type":"Local"}'))));
    expect(body.status.images).toMatchObject([
      {
        tag: 'v9',
        image: { metadata: { name: index.digest }, dockerImageManifests: [{}, {}] },
        manifests: children.map(({ digest }) => ({ metadata: { name: digest } })),
      },
    ]);
    expect(body.status.import?.spec.tags).toMatchObject([
      {
        name: 'v9',
        importPolicy: { insecure: true, scheduled: true, importMode: 'PreserveOriginal' },
        referencePolicy: { type: 'Local' },
      },
    ]);
  });

  test('again without flags goes back to one image, and keeps where it is pulled from', async () => {
    const { children } = addIndex(upstream, 'again', 'v1', ['linux/amd64', 'linux/arm64']);
    const policy = '{"scheduled":true,"importMode":"PreserveOriginal"}';
    await post(importBody('again', one(image('again:v1', 'v1', policy, '{"type":"Local"}'))));
    const kept = '{"scheduled":true,"importMode":"Legacy"}';
    const { body } = await post(importBody('again', one(image('again:v1', 'v1', kept))));
    const own = process.arch === 'arm64' ? 1 : 0;
    expect(body.status.import?.status.tags?.[0]?.items?.[0]?.image).toBe(children[own]!.digest);
    expect(body.status.import?.spec.tags).toMatchObject([
      { importPolicy: { scheduled: true, importMode: 'Legacy' }, referencePolicy: { type: 'Local' } },
    ]);
  });

  test('--all --from --confirm takes the tags of a repository, and names the others', async () => {
    for (const tag of ['1.1', '1.2', '1.3']) upstream.addImage('whole', tag);
    const repository = `{"from":{"kind":"DockerImage","name":"${upstream.host}/whole"},"importPolicy":{"importMode":"Legacy"},"referencePolicy":{"type":"Source"}}`;
    const { status, body } = await post(importBody('whole', `{"import":true,"repository":${repository}}`));
    expect(status).toBe(201);
    expect(body.status.repository).toMatchObject({
      status: { status: 'Success' },
      images: [
        { tag: '1.3', status: { status: 'Success' }, image: { dockerImageMetadata: { kind: 'DockerImage' } } },
        { tag: '1.2', status: { status: 'Success' } },
      ],
      additionalTags: ['1.1'],
    });
    expect(body.status).not.toHaveProperty('images');
    expect(body.status.import?.status.tags?.map(({ tag }) => tag).sort()).toEqual(['1.2', '1.3']);
  });

  test('--all of a stream with tags sends each of them', async () => {
    const a = upstream.addImage('each', 'a');
    const b = upstream.addImage('each', 'b');
    const images = [image('each:a', 'one'), image('each:b', 'two')];
    await post(importBody('each', `{"import":true,"images":[${images.join(',')}]}`));
    const { metadata } = (await readStream('each')).body;
    const spec = `{"import":true,"images":[${images.reverse().join(',')}]}`;
    const { body } = await post(importBody('each', spec, `,"resourceVersion":"${metadata.resourceVersion}"`));
    // In the order in which they were sent.
    expect(body.status.images?.map(({ tag, image: found }) => [tag, found?.['metadata']])).toMatchObject([
      ['two', { name: b.digest }],
      ['one', { name: a.digest }],
    ]);
    expect(body.status.import?.metadata.resourceVersion).toBe(metadata.resourceVersion);
  });

  test('--dry-run shows the images, and no stream', async () => {
    upstream.addImage('tried', 'v1');
    const { status, body } = await post(importBody('tried', `{"import":false,"images":[${image('tried:v1', 'v1')}]}`));
    expect(status).toBe(201);
    expect(body.status.images).toMatchObject([{ tag: 'v1', status: { status: 'Success' }, image: {} }]);
    expect(body.status).not.toHaveProperty('import');
    expect((await readStream('tried')).status).toBe(404);
  });

  test('of what is not there prints why, tag by tag', async () => {
    upstream.addImage('some', 'good');
    const images = `${image('some:good', 'good')},${image('some:bad', 'bad')}`;
    const { status, body } = await post(importBody('some', `{"import":true,"images":[${images}]}`));
    expect(status).toBe(201);
    const [good, bad] = body.status.images as [Result, Result];
    expect(good.status).toMatchObject({ status: 'Success' });
    expect(bad).toEqual({
      tag: 'bad',
      status: {
        metadata: {},
        status: 'Failure',
        reason: 'NotFound',
        code: 404,
        message: expect.stringContaining(
          `dockerimage.image.openshift.io "${upstream.host}/some:bad" not found`,
        ) as string,
      },
    });
    expect(body.status.import?.status.tags?.find(({ tag }) => tag === 'bad')).toEqual({
      tag: 'bad',
      items: null,
      conditions: [
        {
          type: 'ImportSuccess',
          status: 'False',
          reason: 'NotFound',
          message: bad.status['message'],
          generation: 1,
          lastTransitionTime: expect.stringMatching(/Z$/) as string,
        },
      ],
    });
  });

  test('is refused for who may not', async () => {
    const { status, body } = await post(
      importBody('refused', one(image('q/a/b', 'latest'))),
      await addPerson(registry, 'viewer', { role: 'view', namespace: 'demo' }),
    );
    expect(status).toBe(403);
    expect(body).toMatchObject({
      kind: 'Status',
      reason: 'Forbidden',
      message: expect.stringContaining(
        'User "viewer" cannot create resource "imagestreamimports" in API group "image.openshift.io" in the namespace "demo"',
      ) as string,
    });
    expect((await post(importBody('made', one(image('q/a/b', 'latest'))), admin)).status).toBe(201);
  });
});

describe('oc new-app', () => {
  const search = (name: string, more = ''): string =>
    `{"kind":"ImageStreamImport","apiVersion":"image.openshift.io/v1","metadata":{"name":"newapp","creationTimestamp":null},"spec":{"import":false,"images":[{"from":{"kind":"DockerImage","name":"${name}"},"importPolicy":{},"referencePolicy":{"type":""}${more}}]},"status":{}}`;

  test('looks at an image, and stores nothing', async () => {
    const { children } = addIndex(upstream, 'base', 'latest', ['linux/amd64', 'linux/arm64']);
    const { status, body } = await post(search(`${upstream.host}/base`, ',"includeManifest":true'));
    expect(status).toBe(201);
    const [found] = body.status.images as [Result];
    expect(children.map(({ digest }) => digest)).toContain((found.image?.['metadata'] as { name: string }).name);
    expect(found).not.toHaveProperty('tag');
    expect(JSON.parse(found.image?.['dockerImageConfig'] as string)).toMatchObject({ os: 'linux' });
    expect((await readStream('newapp')).status).toBe(404);
  });

  test('--list asks for every image, and is told that there is none', async () => {
    const { status, body } = await post(search('*'));
    expect(status).toBe(201);
    expect(body.status.images).toMatchObject([{ status: { status: 'Failure', reason: 'Invalid', code: 422 } }]);
    expect((await post(search('A b'))).status).toBe(422);
    const tagged = search('*', ',"to":{"name":"latest"}');
    expect((await post(tagged)).status).toBe(422);
  });
});
