import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushImage, type PushedImage } from '../support/images.js';
import { admin, startRegistry, type Credentials, type TestRegistry } from '../support/registry.js';
import { addPerson } from '../support/identities.js';

// What the unmodified `oc` was seen to send, body for body, and what it needs back: for where there is no `oc` to run.

const group = '/apis/image.openshift.io/v1';
const demo = `${group}/namespaces/demo`;

/** The Accept header of each of oc's clients. */
const accepts = {
  typed: 'application/json, */*',
  dynamic: 'application/json',
  table:
    'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json',
} as const;

const types = {
  json: 'application/json',
  strategic: 'application/strategic-merge-patch+json',
  merge: 'application/merge-patch+json',
  jsonPatch: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

interface Sent {
  readonly body?: string;
  readonly type?: keyof typeof types;
  readonly accept?: keyof typeof accepts;
  readonly as?: Credentials;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

interface Tag {
  readonly name: string;
  readonly from: { readonly kind: string; readonly name: string };
}

let registry: TestRegistry;
const tokens = new Map<string, Promise<string>>();

async function send(
  method: string,
  path: string,
  { body, type = 'json', accept = 'dynamic', as = admin }: Sent = {},
): Promise<Answer> {
  if (!tokens.has(as.name)) tokens.set(as.name, registry.apiToken(as));
  const response = await registry.fetch(path, {
    method,
    as: { token: await tokens.get(as.name)! },
    headers: { Accept: accepts[accept], ...(body !== undefined && { 'Content-Type': types[type] }) },
    ...(body !== undefined && { body }),
  });
  expect(response.headers.get('Content-Type')).toMatch(/^application\/json/);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** The tags of a stream's spec. */
async function wanted(stream: string): Promise<readonly Tag[]> {
  const { body } = await send('GET', `${demo}/imagestreams/${stream}`);
  return (body['spec'] as { readonly tags?: readonly Tag[] }).tags ?? [];
}

/** The digest that a tag can be pulled as. */
async function pulled(repository: string, tag: string): Promise<string | null> {
  const response = await registry.fetch(`/v2/${repository}/manifests/${tag}`, { method: 'HEAD' });
  return response.headers.get('Docker-Content-Digest');
}

/** Makes a stream as `oc create -f` does. */
async function createStream(name: string, spec: object): Promise<void> {
  const body = JSON.stringify({ apiVersion: 'image.openshift.io/v1', kind: 'ImageStream', metadata: { name }, spec });
  const path = `${demo}/imagestreams?fieldManager=kubectl-create&fieldValidation=Ignore`;
  expect((await send('POST', path, { body })).status).toBe(201);
}

let v1: PushedImage;
let v2: PushedImage;
let host: string;
beforeAll(async () => {
  registry = await startRegistry();
  tokens.clear();
  host = new URL(registry.url).host;
  for (const project of ['demo', 'other']) await registry.addProject(project);
  v1 = await pushImage(registry, 'demo/app', 'v1');
  v2 = await pushImage(registry, 'demo/app', 'v2');
});
afterAll(() => registry.stop());

describe('reading', () => {
  test.each([
    {
      what: 'streams',
      path: `${demo}/imagestreams?limit=500`,
      columns: ['Name', 'Image Repository', 'Tags', 'Updated'],
    },
    { what: 'a stream', path: `${demo}/imagestreams/app`, columns: ['Name', 'Image Repository', 'Tags', 'Updated'] },
    {
      what: 'streams of all projects',
      path: `${group}/imagestreams?limit=500`,
      columns: ['Name', 'Image Repository', 'Tags', 'Updated'],
    },
    {
      what: 'the status of a stream',
      path: `${demo}/imagestreams/app/status`,
      columns: ['Name', 'Image Repository', 'Tags', 'Updated'],
    },
    {
      what: 'tags of streams',
      path: `${demo}/imagestreamtags?limit=500`,
      columns: ['Name', 'Image Reference', 'Updated', 'Image Name'],
    },
    {
      what: 'a tag of a stream',
      path: `${demo}/imagestreamtags/app:v1`,
      columns: ['Name', 'Image Reference', 'Updated', 'Image Name'],
    },
    { what: 'images', path: `${group}/images?limit=500`, columns: ['Name', 'Image Reference'] },
    {
      what: 'tags as they are wanted and as they are',
      path: `${demo}/imagetags?limit=500`,
      columns: ['Name', 'Spec', 'Status', 'History', 'Updated'],
    },
  ])('$what for people answers a table', async ({ path, columns }) => {
    const { status, body } = await send('GET', path, { accept: 'table' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata: {} });
    const names = (body['columnDefinitions'] as { readonly name: string }[]).map(({ name }) => name);
    expect(names).toEqual(columns);
    const [row] = body['rows'] as { readonly cells: readonly unknown[]; readonly object: object }[];
    expect(row!.cells).toHaveLength(columns.length);
    expect(row!.object).toMatchObject({
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { name: row!.cells[0] },
    });
  });

  test('an image of a stream by the beginning of its digest, and no list of them', async () => {
    const name = `app@${v1.digest.slice(0, 14)}`;
    const { status, body } = await send('GET', `${demo}/imagestreamimages/${name}`, { accept: 'table' });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      kind: 'Table',
      rows: [{ cells: [name, expect.any(String), expect.any(String), v1.digest] }],
    });
    expect(await send('GET', `${demo}/imagestreamimages?limit=500`, { accept: 'table' })).toMatchObject({
      status: 405,
      body: { kind: 'Status', reason: 'MethodNotAllowed' },
    });
  });

  test('by labels and fields, whole objects, and page by page', async () => {
    await createStream('chosen', {});
    const label = '{"metadata":{"labels":{"a":"b"}}}';
    await send('PATCH', `${demo}/imagestreams/chosen?fieldManager=kubectl-label`, { body: label, type: 'merge' });
    const names = async (query: string): Promise<unknown[]> => {
      const { body } = await send('GET', `${demo}/imagestreams?${query}`, { accept: 'table' });
      return (body['rows'] as { readonly cells: readonly unknown[] }[]).map(({ cells }) => cells[0]);
    };
    expect(await names('labelSelector=a%3Db&limit=500')).toEqual(['chosen']);
    expect(await names('fieldSelector=metadata.name%3Dapp&limit=500')).toEqual(['app']);
    const sorted = `${demo}/imagestreams?fieldSelector=metadata.name%3Dapp&includeObject=Object`;
    expect((await send('GET', sorted, { accept: 'table' })).body).toMatchObject({
      rows: [{ object: { kind: 'ImageStream', status: { dockerImageRepository: `${host}/demo/app` } } }],
    });
    const { body: first } = await send('GET', `${demo}/imagestreams?limit=1`, { accept: 'table' });
    const { continue: position } = first['metadata'] as { readonly continue: string };
    expect(await names(`limit=1&continue=${position}`)).toHaveLength(1);
  });

  test('of what is not there goes on to its project, which is', async () => {
    expect(await send('GET', `${demo}/imagestreams/none`, { accept: 'table' })).toMatchObject({
      status: 404,
      body: {
        kind: 'Status',
        apiVersion: 'v1',
        status: 'Failure',
        message: 'imagestreams.image.openshift.io "none" not found',
        reason: 'NotFound',
        details: { name: 'none', group: 'image.openshift.io', kind: 'imagestreams' },
        code: 404,
      },
    });
    expect(await send('GET', '/api/v1/namespaces/demo')).toMatchObject({
      status: 200,
      body: { kind: 'Namespace', metadata: { name: 'demo' } },
    });
    expect(await send('GET', `${group}/namespaces/nowhere/imagestreams?limit=500`, { accept: 'table' })).toMatchObject({
      status: 200,
      body: { kind: 'Table', rows: [] },
    });
  });

  test('for a description has all that is described, whichever client asks', async () => {
    for (const accept of ['dynamic', 'typed'] as const) {
      const stream = await send('GET', `${demo}/imagestreams/app`, { accept });
      expect(stream.body).toMatchObject({
        kind: 'ImageStream',
        apiVersion: 'image.openshift.io/v1',
        metadata: { name: 'app', namespace: 'demo', resourceVersion: expect.stringMatching(/^\d+$/) as string },
        spec: { lookupPolicy: { local: false } },
        status: {
          dockerImageRepository: `${host}/demo/app`,
          tags: expect.arrayContaining([
            {
              tag: 'v1',
              items: [
                {
                  created: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
                  dockerImageReference: `${host}/demo/app@${v1.digest}`,
                  image: v1.digest,
                  generation: expect.any(Number) as number,
                },
              ],
            },
          ]) as unknown,
        },
      });
      for (const path of [
        `${demo}/imagestreamtags/app:v1`,
        `${demo}/imagestreamimages/app@${v1.digest}`,
        `${group}/images/${v1.digest}`,
      ]) {
        const { body } = await send('GET', path, { accept });
        expect(body['kind'] === 'Image' ? body : body['image']).toMatchObject({
          metadata: { name: v1.digest },
          dockerImageReference: `${host}/demo/app@${v1.digest}`,
          dockerImageMetadata: { kind: 'DockerImage', Id: v1.config.digest, Architecture: 'amd64' },
          dockerImageLayers: [{ name: v1.layer.digest, size: v1.layer.bytes.length }],
        });
      }
    }
  });
});

describe('creating', () => {
  const stream = (name: string): string =>
    `{"kind":"ImageStream","apiVersion":"image.openshift.io/v1","metadata":{"name":"${name}"},"spec":{"lookupPolicy":{"local":false}},"status":{"dockerImageRepository":""}}`;

  test('a stream, not twice, and none in a dry run', async () => {
    const dry = await send('POST', `${demo}/imagestreams?dryRun=All`, { body: stream('s'), accept: 'typed' });
    expect(dry).toMatchObject({
      status: 201,
      body: { kind: 'ImageStream', metadata: { name: 's', namespace: 'demo' } },
    });
    expect((await send('GET', `${demo}/imagestreams/s`)).status).toBe(404);
    expect(await send('POST', `${demo}/imagestreams`, { body: stream('s'), accept: 'typed' })).toMatchObject({
      status: 201,
      body: { status: { dockerImageRepository: `${host}/demo/s` } },
    });
    expect(await send('POST', `${demo}/imagestreams`, { body: stream('s'), accept: 'typed' })).toMatchObject({
      status: 409,
      body: { reason: 'AlreadyExists', message: 'imagestreams.image.openshift.io "s" already exists' },
    });
  });

  const created = (name: string, from: object, importPolicy: object): string =>
    `{"kind":"ImageStreamTag","apiVersion":"image.openshift.io/v1","metadata":{"name":"${name}"},"tag":{"name":"","annotations":{},"from":${JSON.stringify(from)},"generation":null,"importPolicy":${JSON.stringify(importPolicy)},"referencePolicy":{"type":""}},"generation":0,"lookupPolicy":{"local":false},"image":{"metadata":{},"dockerImageMetadata":null}}`;

  test.each([
    { from: { kind: 'DockerImage', name: 'q/a:b' }, importPolicy: {} },
    { from: { kind: 'DockerImage', name: 'q/a:b' }, importPolicy: { scheduled: true } },
    { from: { kind: 'ImageStreamTag', name: 'app:v1' }, importPolicy: {} },
  ])('a tag from $from.kind with $importPolicy, and its stream', async ({ from, importPolicy }) => {
    const name = `new-${from.kind.toLowerCase()}${'scheduled' in importPolicy ? '-scheduled' : ''}`;
    const body = created(`${name}:t`, from, importPolicy);
    const answer = await send('POST', `${demo}/imagestreamtags`, { body, accept: 'typed' });
    expect(answer).toMatchObject({ status: 201, body: { kind: 'ImageStreamTag', metadata: { name: `${name}:t` } } });
    // What was left empty is the name of the tag, and the usual policies.
    expect(await wanted(name)).toEqual([
      {
        name: 't',
        from,
        generation: 1,
        importPolicy: { importMode: 'Legacy', ...importPolicy },
        referencePolicy: { type: 'Source' },
      },
    ]);
    expect(await send('POST', `${demo}/imagestreamtags`, { body, accept: 'typed' })).toMatchObject({
      status: 409,
      body: { reason: 'AlreadyExists' },
    });
  });
});

describe('changing', () => {
  const tags = (...names: readonly string[]): object => ({
    tags: names.map((name) => ({ name, from: { kind: 'DockerImage', name: `a/${name}` } })),
  });
  const patch = (path: string, body: string, type: Sent['type'] = 'strategic'): Promise<Answer> =>
    send('PATCH', `${demo}/${path}`, { body, type });

  test('one tag of a stream, as an editor does', async () => {
    await createStream('edited', tags('v1'));
    const body =
      '{"spec":{"$setElementOrder/tags":[{"name":"v1"}],"tags":[{"importPolicy":{"importMode":"PreserveOriginal"},"name":"v1"}]}}';
    expect((await patch('imagestreams/edited?fieldManager=kubectl-edit&fieldValidation=Ignore', body)).status).toBe(
      200,
    );
    expect(await wanted('edited')).toMatchObject([
      { name: 'v1', from: { kind: 'DockerImage', name: 'a/v1' }, importPolicy: { importMode: 'PreserveOriginal' } },
    ]);
  });

  test('several tags at once: one changed, one added, one removed', async () => {
    await createStream('applied', tags('x', 'y'));
    const body =
      '{"spec":{"$setElementOrder/tags":[{"name":"x"},{"name":"z"}],"tags":[{"from":{"name":"a/b2"},"name":"x"},{"from":{"kind":"DockerImage","name":"a/z"},"name":"z"},{"$patch":"delete","name":"y"}]}}';
    const path = 'imagestreams/applied?fieldManager=kubectl-client-side-apply&fieldValidation=Ignore';
    // As diff asks first, which stores nothing.
    const dry = await patch(`${path}&dryRun=All`, body);
    expect(dry).toMatchObject({ status: 200, body: { spec: { tags: [{ from: { name: 'a/b2' } }, { name: 'z' }] } } });
    expect((await wanted('applied')).map(({ name }) => name)).toEqual(['x', 'y']);
    expect((await patch(path, body)).status).toBe(200);
    expect((await wanted('applied')).map(({ name, from }) => [name, from])).toEqual([
      ['x', { kind: 'DockerImage', name: 'a/b2' }],
      ['z', { kind: 'DockerImage', name: 'a/z' }],
    ]);
  });

  test('of a stream the annotation of apply is kept as it is, and a spec left out of the file is emptied', async () => {
    const file =
      '{"apiVersion":"image.openshift.io/v1","kind":"ImageStream","metadata":{"annotations":{},"name":"bare","namespace":"demo"}}\n';
    const annotation = { 'kubectl.kubernetes.io/last-applied-configuration': file };
    const create = `${demo}/imagestreams?fieldManager=kubectl-client-side-apply&fieldValidation=Ignore`;
    const object = {
      apiVersion: 'image.openshift.io/v1',
      kind: 'ImageStream',
      metadata: { name: 'bare', namespace: 'demo', annotations: annotation },
      spec: tags('v1'),
    };
    expect((await send('POST', create, { body: JSON.stringify(object) })).body).toMatchObject({
      metadata: { annotations: annotation },
    });
    const { body } = await patch(
      'imagestreams/bare?fieldManager=kubectl-client-side-apply&fieldValidation=Ignore',
      '{"spec":null}',
    );
    expect(body).toMatchObject({ metadata: { annotations: annotation }, spec: { lookupPolicy: { local: false } } });
    expect(await wanted('bare')).toEqual([]);
  });

  test('annotations, and refuses what was made from an older version', async () => {
    await createStream('annotated', tags('v1'));
    const merge = (body: string): Promise<Answer> =>
      patch('imagestreams/annotated?fieldManager=kubectl-annotate', body, 'merge');
    expect((await merge('{"metadata":{"annotations":{"k":"v"}}}')).body).toMatchObject({
      metadata: { annotations: { k: 'v' } },
    });
    const { metadata } = (await merge('{"metadata":{"annotations":{"k":null}}}')).body;
    expect(metadata).not.toHaveProperty('annotations.k');
    expect(await merge('{"metadata":{"annotations":{"k":"v"},"resourceVersion":"5"}}')).toMatchObject({
      status: 409,
      body: {
        reason: 'Conflict',
        message:
          'Operation cannot be fulfilled on imagestreams.image.openshift.io "annotated": the object has been modified; please apply your changes to the latest version and try again',
      },
    });
  });

  test('annotations of a tag, which are those of the stream’s spec', async () => {
    await createStream('noted', { tags: [{ name: 'v1', from: { kind: 'ImageStreamTag', name: 'app:v1' } }] });
    const path = 'imagestreamtags/noted:v1?fieldManager=kubectl-annotate';
    const { status, body } = await patch(path, '{"metadata":{"annotations":{"k":"v"}}}', 'merge');
    expect(status).toBe(200);
    expect(body).toMatchObject({ metadata: { annotations: { k: 'v' } }, tag: { annotations: { k: 'v' } } });
    expect(await wanted('noted')).toMatchObject([{ name: 'v1', annotations: { k: 'v' } }]);
  });

  test('a tag as an editor does, which sends what is known of the image along', async () => {
    await createStream('tag-edited', { tags: [{ name: 'v1', from: { kind: 'ImageStreamTag', name: 'app:v1' } }] });
    const { body: before } = await send('GET', `${demo}/imagestreamtags/tag-edited:v1`);
    const { dockerImageMetadata } = before['image'] as { readonly dockerImageMetadata: object };
    const body = JSON.stringify({
      image: { dockerImageMetadata: { ...dockerImageMetadata, Architecture: 'changed' } },
      tag: { importPolicy: { importMode: 'PreserveOriginal' } },
    });
    const path = 'imagestreamtags/tag-edited:v1?fieldManager=kubectl-edit&fieldValidation=Ignore';
    expect((await patch(path, body)).body).toMatchObject({
      tag: { importPolicy: { importMode: 'PreserveOriginal' }, from: { name: 'app:v1' } },
      image: { dockerImageMetadata },
    });
  });

  test.each([
    { type: 'strategic', body: '{"spec":{"tags":[{"name":"x","from":{"name":"a/new"}}]}}', result: ['a/new', 'a/y'] },
    {
      type: 'merge',
      body: '{"spec":{"tags":[{"name":"z","from":{"kind":"DockerImage","name":"a/z"}}]}}',
      result: ['a/z'],
    },
    { type: 'jsonPatch', body: '[{"op":"remove","path":"/spec/tags/0"}]', result: ['a/y'] },
  ] as const)('by a patch of type $type', async ({ type, body, result }) => {
    const name = `patched-${type.toLowerCase()}`;
    await createStream(name, tags('x', 'y'));
    expect((await patch(`imagestreams/${name}?fieldManager=kubectl-patch`, body, type)).status).toBe(200);
    expect((await wanted(name)).map(({ from }) => from.name)).toEqual(result);
  });

  test('a whole stream, by its resourceVersion', async () => {
    await createStream('replaced', tags('x'));
    const { body: read } = await send('GET', `${demo}/imagestreams/replaced`);
    const { status: _status, ...object } = read;
    const body = JSON.stringify({ ...object, spec: tags('z') });
    const path = `${demo}/imagestreams/replaced?fieldManager=kubectl-replace&fieldValidation=Ignore`;
    expect((await send('PUT', path, { body })).status).toBe(200);
    expect((await wanted('replaced')).map(({ name }) => name)).toEqual(['z']);
    expect(await send('PUT', path, { body })).toMatchObject({ status: 409, body: { reason: 'Conflict' } });
  });

  test('not by the server side of apply, which oc is told in its own words', async () => {
    const path = 'imagestreams/app?fieldManager=kubectl&fieldValidation=Ignore&force=false';
    const body = '{"apiVersion":"image.openshift.io/v1","kind":"ImageStream","metadata":{"name":"app"}}';
    expect(await patch(path, body, 'apply')).toMatchObject({
      status: 415,
      body: { kind: 'Status', reason: 'UnsupportedMediaType' },
    });
  });

  test('whether images are looked up in a stream', async () => {
    await createStream('looked-up', {});
    const list = await send('GET', `${demo}/imagestreams`);
    expect(list.body).toMatchObject({
      kind: 'ImageStreamList',
      items: expect.arrayContaining([expect.objectContaining({ spec: { lookupPolicy: { local: false } } })]) as unknown,
    });
    const set = await patch(
      'imagestreams/looked-up?fieldManager=kubectl-set',
      '{"spec":{"lookupPolicy":{"local":true}}}',
    );
    expect(set).toMatchObject({ status: 200, body: { spec: { lookupPolicy: { local: true } } } });
  });
});

describe('deleting', () => {
  const background = '{"propagationPolicy":"Background"}';
  const done = (name: string, kind: string): object => ({
    status: 200,
    body: {
      kind: 'Status',
      status: 'Success',
      details: { name, group: 'image.openshift.io', kind, uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string },
    },
  });

  test.each([
    { name: 'in the usual way', body: background },
    { name: 'at once', body: '{"gracePeriodSeconds":0,"propagationPolicy":"Background"}' },
    { name: 'without what belongs to it', body: '{"propagationPolicy":"Orphan"}' },
  ])('a stream $name is over with the answer', async ({ body }) => {
    await createStream('deleted', {});
    const path = `${demo}/imagestreams/deleted`;
    const dry = await send('DELETE', path, { body: '{"dryRun":["All"],"propagationPolicy":"Background"}' });
    expect(dry.status).toBe(200);
    expect((await send('GET', path)).status).toBe(200);
    expect(await send('DELETE', path, { body })).toMatchObject(done('deleted', 'imagestreams'));
    expect((await send('GET', path)).status).toBe(404);
    expect(await send('DELETE', path, { body })).toMatchObject({ status: 404, body: { reason: 'NotFound' } });
  });

  test('a tag takes it from the registry too', async () => {
    await pushImage(registry, 'demo/tags', 'v1');
    const path = `${demo}/imagestreamtags/tags:v1`;
    expect(await send('DELETE', path, { body: background })).toMatchObject(done('tags:v1', 'imagestreamtags'));
    expect((await send('GET', path)).status).toBe(404);
    expect(await pulled('demo/tags', 'v1')).toBeNull();
  });

  test('a tag as oc tag -d does', async () => {
    await pushImage(registry, 'demo/tags', 'v2');
    const body = '{"kind":"DeleteOptions","apiVersion":"image.openshift.io/v1"}';
    const path = `${demo}/imagestreamtags/tags:v2`;
    expect(await send('DELETE', path, { body, accept: 'typed' })).toMatchObject(done('tags:v2', 'imagestreamtags'));
    expect(await send('DELETE', path, { body, accept: 'typed' })).toMatchObject({
      status: 404,
      body: { message: 'imagestreamtags.image.openshift.io "tags:v2" not found' },
    });
  });
});

describe('oc tag', () => {
  const legacy = '{"importMode":"Legacy"}';
  const body = (
    destination: string,
    tag: string,
    { namespace = 'demo', annotations = 'null' }: { readonly namespace?: string; readonly annotations?: string } = {},
  ): string =>
    `{"kind":"ImageStreamTag","apiVersion":"image.openshift.io/v1","metadata":{"name":"${destination}","namespace":"${namespace}"},"tag":{"name":"${destination.split(':')[1]!}","annotations":${annotations},${tag}},"generation":0,"lookupPolicy":{"local":false},"image":{"metadata":{},"dockerImageMetadata":null}}`;
  const docker = (name: string, importPolicy = legacy, policy = 'Source', more = ''): string =>
    `"from":{"kind":"DockerImage","name":"${name}"},${more}"generation":0,"importPolicy":${importPolicy},"referencePolicy":{"type":"${policy}"}`;
  const image = (name: string, namespace = ''): string =>
    `"from":{"kind":"ImageStreamImage",${namespace}"name":"${name}"},"generation":null,"importPolicy":{},"referencePolicy":{"type":"Source"}`;
  const put = (destination: string, sent: string, as?: Credentials): Promise<Answer> =>
    send('PUT', `${demo}/imagestreamtags/${destination}`, { body: sent, accept: 'typed', ...(as && { as }) });

  test.each([
    { tag: 'registry', sent: docker('quay.io/a/b:c'), from: 'quay.io/a/b:c', policy: {} },
    { tag: 'short-name', sent: docker('busybox'), from: 'busybox', policy: {} },
    {
      tag: 'scheduled',
      sent: docker('quay.io/a/b:c', '{"scheduled":true,"importMode":"Legacy"}'),
      from: 'quay.io/a/b:c',
      policy: { importPolicy: { importMode: 'Legacy', scheduled: true } },
    },
    {
      tag: 'insecure',
      sent: docker('quay.io/a/b:c', '{"insecure":true,"importMode":"Legacy"}'),
      from: 'quay.io/a/b:c',
      policy: { importPolicy: { importMode: 'Legacy', insecure: true } },
    },
    {
      tag: 'preserved',
      sent: docker('quay.io/a/b:c', '{"importMode":"PreserveOriginal"}'),
      from: 'quay.io/a/b:c',
      policy: { importPolicy: { importMode: 'PreserveOriginal' } },
    },
    {
      tag: 'local',
      sent: docker('quay.io/a/b:c', legacy, 'Local'),
      from: 'quay.io/a/b:c',
      policy: { referencePolicy: { type: 'Local' } },
    },
    {
      tag: 'reference',
      sent: docker('quay.io/a/b:c', legacy, 'Source', '"reference":true,'),
      from: 'quay.io/a/b:c',
      policy: { reference: true },
    },
  ])('from another registry is wanted from then on: $tag', async ({ tag, sent, from, policy }) => {
    const destination = `outside:${tag}`;
    const first = await put(destination, body(destination, sent));
    expect(first).toMatchObject({ status: 201, body: { kind: 'ImageStreamTag', metadata: { name: destination } } });
    const find = async (): Promise<Tag & { readonly generation: number }> =>
      (await wanted('outside')).find(({ name }) => name === tag) as Tag & { readonly generation: number };
    const kept = await find();
    expect(kept).toEqual({
      name: tag,
      from: { kind: 'DockerImage', name: from },
      generation: expect.any(Number) as number,
      importPolicy: { importMode: 'Legacy' },
      referencePolicy: { type: 'Source' },
      ...policy,
    });
    // The same again is no new tag; a generation of 0 asks for what is there to be looked at again.
    expect((await put(destination, body(destination, sent))).status).toBe(200);
    expect((await find()).generation).toBeGreaterThan(kept.generation);
    // There is nothing that could be pulled yet.
    expect((await send('GET', `${demo}/imagestreamtags/${destination}`)).status).toBe(404);
  });

  test('from a tag reads the stream first, and can be pulled at once', async () => {
    const { body: source } = await send('GET', `${demo}/imagestreams/app`, { accept: 'typed' });
    const { tags } = source['status'] as {
      readonly tags: readonly { readonly tag: string; readonly items: readonly { readonly image: string }[] }[];
    };
    const digest = tags.find(({ tag }) => tag === 'v1')!.items[0]!.image;
    const sent = body('copy:t', image(`app@${digest}`));
    expect(await put('copy:t', sent)).toMatchObject({
      status: 201,
      body: { image: { metadata: { name: v1.digest }, dockerImageReference: `${host}/demo/copy@${v1.digest}` } },
    });
    expect(await pulled('demo/copy', 't')).toBe(v1.digest);
    // Again is no event of its own.
    expect((await put('copy:t', sent)).status).toBe(200);
    expect((await send('GET', `${demo}/imagetags/copy:t`)).body).toMatchObject({ status: { items: [{}] } });
    expect((await put('copy:t', body('copy:t', image(`app@${v2.digest}`)))).status).toBe(200);
    expect(await pulled('demo/copy', 't')).toBe(v2.digest);
  });

  test('to several places, one of them in another project, in their order', async () => {
    const path = `${group}/namespaces/other/imagestreamtags/foo:x`;
    const sent = body('foo:x', image(`app@${v1.digest}`, '"namespace":"demo",'), { namespace: 'other' });
    expect((await send('PUT', path, { body: sent, accept: 'typed' })).status).toBe(201);
    expect((await put('app:t4', body('app:t4', image(`app@${v1.digest}`)))).status).toBe(201);
    for (const repository of ['other/foo', 'demo/app']) {
      expect(await pulled(repository, repository === 'demo/app' ? 't4' : 'x')).toBe(v1.digest);
    }
  });

  test('with --alias follows the other tag', async () => {
    await pushImage(registry, 'demo/followed', 'v1', 'followed-1');
    const alias =
      '"from":{"kind":"ImageStreamTag","name":"followed:v1"},"generation":0,"importPolicy":{"importMode":"Legacy"},"referencePolicy":{"type":"Source"}';
    expect((await put('followed:t', body('followed:t', alias))).status).toBe(201);
    const moved = await pushImage(registry, 'demo/followed', 'v1', 'followed-2');
    expect(await pulled('demo/followed', 't')).toBe(moved.digest);
  });

  test('of what is not there is refused by the name of its field', async () => {
    const nothing = `sha256:${'0'.repeat(64)}`;
    expect(await put('app:x', body('app:x', image(`app@${nothing}`)))).toMatchObject({
      status: 422,
      body: { reason: 'Invalid', details: { causes: [{ field: expect.stringMatching(/from\.name$/) as string }] } },
    });
    expect(await pulled('demo/app', 'x')).toBeNull();
  });

  test('of somebody who may change streams only goes on to the stream itself', async () => {
    const role = {
      metadata: { name: 'streams-only' },
      rules: [{ apiGroups: ['image.openshift.io'], resources: ['imagestreams'], verbs: ['get', 'update'] }],
    };
    await registry.api('/apis/rbac.authorization.k8s.io/v1/clusterroles', { method: 'POST', body: role });
    const editor = await addPerson(registry, 'streams-only', { role: 'streams-only', namespace: 'demo' });
    const sent = body('app:fallback', image(`app@${v2.digest}`));
    expect((await put('app:fallback', sent, editor)).status).toBe(403);
    const post = await send('POST', `${demo}/imagestreamtags`, { body: sent, accept: 'typed', as: editor });
    expect(post.status).toBe(403);
    const { body: stream } = await send('GET', `${demo}/imagestreams/app`, { accept: 'typed', as: editor });
    const spec = stream['spec'] as { readonly tags?: readonly object[] };
    const added = JSON.parse(`{"name":"fallback","annotations":null,${image(`app@${v2.digest}`)}}`) as object;
    const whole = JSON.stringify({ ...stream, spec: { ...spec, tags: [...(spec.tags ?? []), added] } });
    expect((await send('PUT', `${demo}/imagestreams/app`, { body: whole, accept: 'typed', as: editor })).status).toBe(
      200,
    );
    expect(await pulled('demo/app', 'fallback')).toBe(v2.digest);
  });

  test('made from an older version is refused, so that oc tries again', async () => {
    const sent = body('app:stale', image(`app@${v1.digest}`)).replace(
      '"name":"app:stale"',
      '"name":"app:stale","resourceVersion":"1"',
    );
    expect(await put('app:stale', sent)).toMatchObject({ status: 409, body: { reason: 'Conflict' } });
  });

  test('of nobody who may not', async () => {
    const viewer = await addPerson(registry, 'oc-viewer', { role: 'view', namespace: 'demo' });
    expect(await put('app:mine', body('app:mine', image(`app@${v1.digest}`)), viewer)).toMatchObject({
      status: 403,
      body: {
        reason: 'Forbidden',
        message: expect.stringContaining('User "oc-viewer" cannot update resource') as string,
      },
    });
  });
});

describe('oc image', () => {
  /** As oc does with a challenge: any user name, and the API token for a password. */
  async function tokenFor(...scopes: readonly string[]): Promise<string> {
    const challenge = await registry.fetch('/v2/', { as: 'nobody' });
    expect(challenge.status).toBe(401);
    const [, realm, service] =
      /^Bearer realm="([^"]+)",service="([^"]+)"/.exec(challenge.headers.get('WWW-Authenticate') ?? '') ?? [];
    const url = new URL(realm!);
    url.searchParams.set('account', 'user');
    for (const scope of scopes) url.searchParams.append('scope', scope);
    url.searchParams.set('service', service!);
    const response = await registry.fetch(url.href, { as: { name: 'user', password: await registry.apiToken(admin) } });
    expect(response.status).toBe(200);
    return ((await response.json()) as { readonly token: string }).token;
  }

  test('info reads the manifest by the digest that a HEAD of the tag gave, and then the config', async () => {
    const as = { token: await tokenFor('repository:demo/app:pull') };
    const headers = { Accept: 'application/vnd.oci.image.manifest.v1+json, application/json, */*' };
    const head = await registry.fetch('/v2/demo/app/manifests/v1', { method: 'HEAD', as, headers });
    const digest = head.headers.get('Docker-Content-Digest');
    expect({ status: head.status, digest }).toEqual({ status: 200, digest: v1.digest });
    const manifest = await registry.fetch(`/v2/demo/app/manifests/${digest}`, { as, headers });
    expect(Buffer.from(await manifest.arrayBuffer()).equals(v1.bytes)).toBe(true);
    const config = await registry.fetch(`/v2/demo/app/blobs/${v1.config.digest}`, { as });
    expect(Buffer.from(await config.arrayBuffer()).equals(v1.config.bytes)).toBe(true);
  });

  test('mirror and append upload with a token of two scopes, and look at each blob afterwards', async () => {
    const as = { token: await tokenFor('repository:demo/app:pull', 'repository:other/mirrored:pull,push') };
    for (const { bytes, digest } of [v1.config, v1.layer]) {
      const path = `/v2/other/mirrored/blobs/${digest}`;
      expect((await registry.fetch(path, { method: 'HEAD', as })).status).toBe(404);
      const session = await registry.fetch('/v2/other/mirrored/blobs/uploads/', { method: 'POST', as });
      const patched = await registry.fetch(session.headers.get('Location')!, { method: 'PATCH', as, body: bytes });
      expect(patched.status).toBe(202);
      const finish = new URL(patched.headers.get('Location')!, registry.url);
      finish.searchParams.set('digest', digest);
      expect((await registry.fetch(finish.href, { method: 'PUT', as })).status).toBe(201);
      const head = await registry.fetch(path, { method: 'HEAD', as });
      expect(head.headers.get('Content-Length')).toBe(String(bytes.length));
    }
    const headers = { 'Content-Type': v1.mediaType };
    const put = await registry.fetch('/v2/other/mirrored/manifests/v1', { method: 'PUT', as, headers, body: v1.bytes });
    expect(put.status).toBe(201);
    expect((await send('GET', `${group}/namespaces/other/imagestreamtags/mirrored:v1`)).body).toMatchObject({
      image: { metadata: { name: v1.digest } },
    });
  });

  test('registry login finds the host in the first stream', async () => {
    const { body } = await send('GET', `${demo}/imagestreams`, { accept: 'typed' });
    expect(body).toMatchObject({
      items: expect.arrayContaining([
        expect.objectContaining({
          status: expect.objectContaining({ dockerImageRepository: `${host}/demo/app` }) as unknown,
        }),
      ]) as unknown,
    });
  });
});
