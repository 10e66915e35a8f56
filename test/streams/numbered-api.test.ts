import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPerson, apiTokenFor } from '../support/identities.js';
import {
  imageIndex,
  imageManifest,
  pushBlob,
  pushImage,
  pushManifest,
  putManifest,
  sha256,
  types,
  type Manifest,
} from '../support/images.js';
import { startRegistry, user, type Credentials, type Identity, type TestRegistry } from '../support/registry.js';

const group = '/apis/image.openshift.io/v1';
const asTable = { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };

interface Failure {
  readonly reason: string;
  readonly message: string;
}

interface Stream {
  readonly metadata: {
    readonly resourceVersion: string;
    readonly generation: number;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly tags?: readonly object[] };
  readonly status: {
    readonly tags?: readonly {
      readonly tag: string;
      readonly items: readonly {
        readonly image: string;
        readonly generation: number;
        readonly dockerImageReference: string;
      }[];
    }[];
  };
}

interface StreamTag {
  readonly metadata: { readonly resourceVersion: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly tag: object | null;
}

interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
}

let registry: TestRegistry;
let host: string;
beforeAll(async () => {
  // Scenarios 72 and 88 are of a registry that may have public projects.
  registry = await startRegistry({ WEIR_ANONYMOUS_PULL: 'true' });
  host = new URL(registry.url).host;
  for (const project of ['team', 'other', 'empty', 'limited', 'open']) await registry.addProject(project);
});
afterAll(() => registry.stop());

async function call<Body>(
  method: string,
  path: string,
  { body, as, headers }: { readonly body?: unknown; readonly as?: Identity; readonly headers?: object } = {},
): Promise<Answer<Body>> {
  const response = await registry.api(path.startsWith('/') ? path : `${group}/namespaces/${path}`, {
    method,
    ...(body !== undefined && { body }),
    ...(as !== undefined && { as }),
    ...(headers !== undefined && { headers: headers as Record<string, string> }),
  });
  return { status: response.status, body: (await response.json()) as Body };
}

async function get<Body>(path: string): Promise<Body> {
  const { status, body } = await call<Body>('GET', path);
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

const streamOf = (name: string, project = 'team') => get<Stream>(`${project}/imagestreams/${name}`);

/** The newest event of a tag. */
async function headOf(name: string, tag: string, project = 'team') {
  return (await streamOf(name, project)).status.tags?.find((each) => each.tag === tag)?.items[0];
}

/** Makes a stream without any image. */
async function makeStream(name: string, fields: object = {}, project = 'team'): Promise<Stream> {
  const { metadata = {}, ...rest } = fields as { readonly metadata?: object };
  const answer = await call<Stream>('POST', `${project}/imagestreams`, {
    body: { metadata: { name, ...metadata }, ...rest },
  });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer.body;
}

/** Pushes an image by its digest: no tag names it. */
async function pushUntagged(repository: string, name: string): Promise<Manifest> {
  const config = await pushBlob(registry, repository, JSON.stringify({ architecture: 'amd64', os: 'linux', name }));
  const layer = await pushBlob(registry, repository, `layer of ${name}`);
  return pushManifest(registry, repository, imageManifest(config, [layer]));
}

/** Sends an ImageStreamMapping. @param image fields beside the name of the image */
function map(
  [project, stream, tag]: readonly [string, string, string],
  digest: string,
  { metadata = {}, ...image }: { readonly metadata?: object } & Readonly<Record<string, unknown>> = {},
): Promise<Answer<Failure & { readonly status: string }>> {
  return call('POST', `${project}/imagestreammappings`, {
    body: { metadata: { name: stream }, tag, image: { metadata: { name: digest, ...metadata }, ...image } },
  });
}

const fromTag = (name: string) => ({ from: { kind: 'ImageStreamTag', name } });
const dockerSource = { from: { kind: 'DockerImage', name: 'quay.io/example/app:1' } };

async function errorCodes(response: Response): Promise<readonly string[]> {
  const { errors } = (await response.json()) as { readonly errors: readonly { readonly code: string }[] };
  return errors.map(({ code }) => code);
}

describe('istag, itag and isimage', () => {
  test('41: an istag without a tag is a bad request', async () => {
    expect(await call('GET', 'team/imagestreamtags/app')).toMatchObject({
      status: 400,
      body: { reason: 'BadRequest', message: 'ImageStreamTags must be retrieved with <name>:<tag>' },
    });
  });

  test('42: an istag is made anew only when no tag of the spec has its name', async () => {
    await pushImage(registry, 'team/created', 'pushed');
    const create = (tag: string) =>
      call<Failure>('POST', 'team/imagestreamtags', {
        body: { metadata: { name: `created:${tag}` }, tag: { name: tag, ...fromTag('created:pushed') } },
      });
    expect((await create('wanted')).status).toBe(201);
    expect(await create('wanted')).toMatchObject({ status: 409, body: { reason: 'AlreadyExists' } });
    const source = { metadata: { name: 'created:pushed' }, tag: { name: 'pushed', ...dockerSource } };
    expect((await call('POST', 'team/imagestreamtags', { body: source })).status).toBe(201);
    expect((await call('POST', 'team/imagestreamtags', { body: source })).status).toBe(409);
  });

  test('44: the labels of an istag cannot be changed', async () => {
    await makeStream('labels', { metadata: { labels: { tier: 'web' } } });
    await pushImage(registry, 'team/labels', 'v1');
    const put = (labels: object) =>
      call<Failure>('PUT', 'team/imagestreamtags/labels:v1', {
        body: { metadata: { name: 'labels:v1', labels }, tag: { name: 'v1', ...dockerSource } },
      });
    expect(await put({ tier: 'db' })).toMatchObject({
      status: 422,
      body: {
        reason: 'Invalid',
        message: expect.stringContaining('may not update fields other than metadata.annotations') as string,
      },
    });
    expect((await put({ tier: 'web' })).status).toBe(201);
    expect((await streamOf('labels')).metadata.labels).toEqual({ tier: 'web' });
  });

  test('45: an istag that was only pushed is not updated without a tag to want', async () => {
    await pushImage(registry, 'team/pushed-only', 'v1');
    const body = { metadata: { name: 'pushed-only:v1', annotations: { note: 'x' } } };
    expect(await call('PUT', 'team/imagestreamtags/pushed-only:v1', { body })).toMatchObject({
      status: 400,
      body: {
        message: 'imagestreamtag v1 is not a spec tag in imagestream team/pushed-only, cannot be updated',
      },
    });
  });

  test('46: an istag is not updated with a resource version that has passed', async () => {
    await pushImage(registry, 'team/stale', 'v1');
    const { metadata } = await get<StreamTag>('team/imagestreamtags/stale:v1');
    await pushImage(registry, 'team/stale', 'v2');
    const { resourceVersion: current } = (await streamOf('stale')).metadata;
    const put = (resourceVersion: string) =>
      call<Failure>('PUT', 'team/imagestreamtags/stale:v1', {
        body: { metadata: { name: 'stale:v1', resourceVersion }, tag: { name: 'v1', ...dockerSource } },
      });
    const refused = await put(metadata.resourceVersion);
    expect(refused).toMatchObject({ status: 409, body: { reason: 'Conflict' } });
    expect(refused.body.message).toContain(`another caller has updated the resource version to ${current}`);
    expect((await put(current)).status).toBe(201);
  });

  test('48: an itag shows a tag that nothing has come of, and an istag does not', async () => {
    await makeStream('waiting', { spec: { tags: [{ name: 'v1', ...dockerSource }] } });
    const itag = await get<{ spec: object; status: unknown }>('team/imagetags/waiting:v1');
    expect(itag.spec).toMatchObject({ name: 'v1', ...dockerSource });
    expect(itag.status).toBeNull();
    expect((await call('GET', 'team/imagestreamtags/waiting:v1')).status).toBe(404);
  });

  test('49: an isimage is found by a prefix of a child of a list in the history', async () => {
    const child = await pushUntagged('team/lists', 'a child');
    await pushManifest(registry, 'team/lists', imageIndex([child]), 'v1');
    await pushImage(registry, 'team/lists', 'v1', 'later');
    for (const id of [child.digest.slice(0, 'sha256:'.length + 12), child.digest.slice('sha256:'.length, 19)]) {
      expect(await get(`team/imagestreamimages/lists@${id}`)).toMatchObject({
        image: { metadata: { name: child.digest } },
      });
    }
  });

  test('50: istags are listed by the labels of their streams', async () => {
    await makeStream('selected', { metadata: { labels: { pick: 'me' } } });
    await makeStream('left', { metadata: { labels: { pick: 'another' } } });
    for (const repository of ['team/selected', 'team/left']) await pushImage(registry, repository, 'v1');
    await pushImage(registry, 'team/selected', 'v2');
    const { items } = await get<{ items: readonly { metadata: { name: string } }[] }>(
      'team/imagestreamtags?labelSelector=pick%3Dme',
    );
    expect(items.map(({ metadata }) => metadata.name)).toEqual(['selected:v1', 'selected:v2']);
  });
});

describe('a mapping', () => {
  test('52: points a tag at an image, and leaves the generation of the stream', async () => {
    const { metadata } = await makeStream('mapped', { spec: { tags: [{ name: 'v1', ...dockerSource }] } });
    const { digest } = await pushUntagged('team/mapped', 'mapped');
    expect(await map(['team', 'mapped', 'v1'], digest)).toMatchObject({
      status: 201,
      body: { kind: 'Status', status: 'Success' },
    });
    expect((await call('GET', `${group}/images/${digest}`)).status).toBe(200);
    expect(await headOf('mapped', 'v1')).toMatchObject({
      image: digest,
      generation: metadata.generation,
      dockerImageReference: `${host}/team/mapped@${digest}`,
    });
    expect((await streamOf('mapped')).metadata.generation).toBe(metadata.generation);
  });

  test('52: makes the image of another registry, which comes with its manifest', async () => {
    await makeStream('external');
    const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', name: 'external' }));
    const manifest = imageManifest({ bytes: config, digest: sha256(config) });
    const reference = `quay.io/example/app@${manifest.digest}`;
    const image = {
      dockerImageReference: reference,
      dockerImageManifest: manifest.bytes.toString(),
      dockerImageManifestMediaType: manifest.mediaType,
      dockerImageConfig: config.toString(),
    };
    expect((await map(['team', 'external', 'v1'], manifest.digest, image)).status).toBe(201);
    expect((await call('GET', `${group}/images/${manifest.digest}`)).status).toBe(200);
    expect(await headOf('external', 'v1')).toMatchObject({ image: manifest.digest, dockerImageReference: reference });
  });

  test('53: of a managed image of another stream gives the stream a place of its own', async () => {
    const { digest } = await pushImage(registry, 'team/owner', 'v1', 'owned');
    await makeStream('borrower', {}, 'other');
    const answer = await map(['other', 'borrower', 'v1'], digest, {
      metadata: { annotations: { 'openshift.io/image.managed': 'true' } },
      dockerImageReference: `${host}/team/owner@${digest}`,
    });
    expect(answer.status).toBe(201);
    expect(await headOf('borrower', 'v1', 'other')).toMatchObject({
      image: digest,
      dockerImageReference: `${host}/other/borrower@${digest}`,
    });
    expect((await registry.fetch('/v2/other/borrower/manifests/v1')).status).toBe(200);
  });

  test('54: that meets another is one transaction: both succeed, and the last writer wins', async () => {
    await makeStream('contended');
    const images = [await pushUntagged('team/contended', 'one'), await pushUntagged('team/contended', 'two')];
    const [edited, ...mapped] = await Promise.all([
      call('PATCH', 'team/imagestreams/contended', {
        headers: { 'Content-Type': 'application/merge-patch+json' },
        body: { metadata: { labels: { edited: 'meanwhile' } } },
      }),
      ...images.map(({ digest }) => map(['team', 'contended', 'v1'], digest)),
    ]);
    expect([edited, ...mapped].map(({ status }) => status)).toEqual([200, 201, 201]);
    const { metadata, status } = await streamOf('contended');
    expect(metadata.labels).toEqual({ edited: 'meanwhile' });
    const items = status.tags![0]!.items.map(({ image }) => image);
    expect([...items].sort()).toEqual(images.map(({ digest }) => digest).sort());
    const pulled = await registry.fetch('/v2/team/contended/manifests/v1');
    expect(pulled.headers.get('Docker-Content-Digest')).toBe(items[0]);
  });
});

describe('the registry', () => {
  test('72: sends nobody to the token endpoint, and lets in with a token of its own or the word anonymous', async () => {
    const challenged = await registry.fetch('/v2/', { as: 'nobody' });
    expect(challenged.status).toBe(401);
    expect(challenged.headers.get('WWW-Authenticate')).toMatch(/^Bearer realm="[^"]+\/(auth|openshift)\/token"/);
    const answer = await registry.fetch('/openshift/token', { as: 'nobody' });
    expect(answer.status).toBe(200);
    const { token } = (await answer.json()) as { readonly token: string };
    for (const each of [token, 'anonymous']) {
      expect((await registry.fetch('/v2/', { as: { token: each } })).status).toBe(200);
    }
  });

  test('73: gives a token of its own for a password and for a token as the password, and none for others', async () => {
    const apiToken = await apiTokenFor(registry, user, 300);
    for (const password of [user.password, apiToken]) {
      const answer = await registry.fetch('/openshift/token', { as: { name: user.name, password } });
      expect(answer.status).toBe(200);
      const { token } = (await answer.json()) as { readonly token: string };
      expect(token).not.toBe(password);
      expect((await registry.fetch('/v2/', { as: { token } })).status).toBe(200);
    }
    for (const password of ['wrong', `${apiToken}x`]) {
      expect((await registry.fetch('/openshift/token', { as: { name: user.name, password } })).status).toBe(401);
    }
  });

  test('74: a push makes a repository for those who may make streams, and is 403 DENIED for others', async () => {
    const pusher = await addPerson(registry, 'pusher', { role: 'system:image-pusher', namespace: 'team' });
    const builder = await addPerson(registry, 'builder', { role: 'system:image-builder', namespace: 'team' });
    const other = await pushImage(registry, 'team/there', 'v1', 'there');
    const push = (repository: string, as: Credentials) =>
      putManifest(registry, repository, imageManifest(other.config, [other.layer]), 'v2', { as });
    expect((await push('team/there', pusher)).status).toBe(201);
    const denied = await push('team/not-there', pusher);
    expect(denied.status).toBe(403);
    expect(await errorCodes(denied)).toEqual(['DENIED']);
    expect((await call('GET', 'team/imagestreams/not-there')).status).toBe(404);
    const config = await pushBlob(registry, 'team/made', '{"name":"made"}', { as: builder });
    const manifest = imageManifest(config);
    expect((await putManifest(registry, 'team/made', manifest, 'v1', { as: builder })).status).toBe(201);
    const { spec, status } = await streamOf('made');
    expect(spec.tags ?? []).toEqual([]);
    expect(status.tags).toMatchObject([{ tag: 'v1', items: [{ image: manifest.digest }] }]);
  });

  test('76: shows an image of OCI as what was pushed', async () => {
    const { digest, layer } = await pushImage(registry, 'team/oci', 'v1', 'oci');
    expect(await headOf('oci', 'v1')).toMatchObject({ image: digest });
    expect(await get(`${group}/images/${digest}`)).toMatchObject({
      dockerImageManifestMediaType: types.manifest,
      dockerImageLayers: [{ name: layer.digest, mediaType: types.layer }],
    });
  });

  test('77: serves by its digest what was pushed over or lost its tag, until the manifest is deleted', async () => {
    const first = await pushImage(registry, 'team/over', 't', 'first');
    await pushImage(registry, 'team/over', 't', 'second');
    const path = `/v2/team/over/manifests/${first.digest}`;
    expect((await registry.fetch(path)).status).toBe(200);
    expect((await call('DELETE', 'team/imagestreamtags/over:t')).status).toBe(200);
    expect((await registry.fetch('/v2/team/over/manifests/t')).status).toBe(404);
    expect((await registry.fetch(path)).status).toBe(200);
    expect((await registry.fetch(path, { method: 'DELETE' })).status).toBe(202);
    expect((await registry.fetch(path)).status).toBe(404);
  });

  test('78: mounts a blob only from a repository that its client may pull from', async () => {
    const mounter = await addPerson(registry, 'mounter', { role: 'registry-editor', namespace: 'other' });
    const foreign = await pushBlob(registry, 'team/private', 'a blob of another project');
    const own = await pushBlob(registry, 'other/own', 'a blob of the same project');
    const mount = (digest: string, from: string) =>
      registry.fetch(`/v2/other/mounted/blobs/uploads/?mount=${digest}&from=${from}`, { method: 'POST', as: mounter });
    const refused = await mount(foreign.digest, 'team/private');
    expect(refused.status).toBe(202);
    expect(refused.headers.get('Location')).toContain('/v2/other/mounted/blobs/uploads/');
    expect((await registry.fetch(`/v2/other/mounted/blobs/${foreign.digest}`)).status).toBe(404);
    expect((await mount(own.digest, 'other/own')).status).toBe(201);
    expect((await registry.fetch(`/v2/other/mounted/blobs/${own.digest}`)).status).toBe(200);
  });

  test('81: has no blob in a repository that it does not belong to', async () => {
    const viewer = await addPerson(registry, 'viewer', { role: 'registry-viewer', namespace: 'other' });
    const blob = await pushBlob(registry, 'team/elsewhere', 'a blob that is in storage');
    await pushImage(registry, 'other/plain', 'v1');
    const response = await registry.fetch(`/v2/other/plain/blobs/${blob.digest}`, { as: viewer });
    expect(response.status).toBe(404);
    expect(await errorCodes(response)).toEqual(['BLOB_UNKNOWN']);
  });

  test('82: lists no tags of a stream that has none, and knows no stream that is not there', async () => {
    await makeStream('tagless');
    const empty = await registry.fetch('/v2/team/tagless/tags/list');
    expect(empty.status).toBe(200);
    expect(await empty.json()).toEqual({ name: 'team/tagless', tags: [] });
    const missing = await registry.fetch('/v2/team/missing/tags/list');
    expect(missing.status).toBe(404);
    expect(await errorCodes(missing)).toEqual(['NAME_UNKNOWN']);
  });

  test('84: deletes an unknown blob for those who prune, with 403 for others and 401 for nobody', async () => {
    const pruner = await addPerson(registry, 'pruner', { role: 'system:image-pruner' });
    const remove = (as: Identity) => registry.fetch(`/admin/blobs/${sha256('never there')}`, { method: 'DELETE', as });
    expect((await remove(pruner)).status).toBe(204);
    const denied = await remove(user);
    expect(denied.status).toBe(403);
    expect(await errorCodes(denied)).toEqual(['DENIED']);
    expect((await remove('nobody')).status).toBe(401);
  });

  test('86: takes deeper names of repositories, which are streams too', async () => {
    const { digest } = await pushImage(registry, 'team/b/c', 'v1', 'deep');
    expect((await registry.fetch('/v2/team/b/c/manifests/v1')).status).toBe(200);
    expect(await headOf('b__c', 'v1')).toMatchObject({
      image: digest,
      dockerImageReference: `${host}/team/b/c@${digest}`,
    });
  });

  test('88: lets nobody pull where everybody may, and asks nobody who pushes for a login', async () => {
    await pushImage(registry, 'open/app', 'v1');
    expect((await registry.fetch('/v2/open/app/manifests/v1', { as: 'nobody' })).status).toBe(401);
    const apiGroup = 'rbac.authorization.k8s.io';
    await registry.bind({ kind: 'Group', apiGroup, name: 'system:unauthenticated' }, 'registry-viewer', 'open');
    const token = await registry.token(['repository:open/app:pull,push'], 'nobody');
    for (const as of ['nobody', { token }] as const) {
      expect((await registry.fetch('/v2/open/app/manifests/v1', { as })).status).toBe(200);
      const push = await registry.fetch('/v2/open/app/blobs/uploads/', { method: 'POST', as });
      expect(push.status).toBe(401);
      expect(push.headers.get('WWW-Authenticate')).toMatch(/^Bearer realm="/);
    }
  });

  test('89: has a catalog, sorted and in pages, of what its client may see', async () => {
    const editor = await addPerson(registry, 'editor', { role: 'edit', namespace: 'other' });
    for (const repository of ['other/zebra', 'other/aardvark', 'team/hidden']) {
      await pushImage(registry, repository, 'v1');
    }
    const catalog = async (as?: Identity) => {
      const seen: string[] = [];
      for (let path: string | undefined = '/v2/_catalog?n=2'; path !== undefined;) {
        const response: Response = await registry.fetch(path, { ...(as !== undefined && { as }) });
        expect(response.status).toBe(200);
        const { repositories } = (await response.json()) as { readonly repositories: readonly string[] };
        expect(repositories.length).toBeLessThanOrEqual(2);
        seen.push(...repositories);
        path = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1];
      }
      return seen;
    };
    const all = await catalog();
    expect(all).toEqual([...new Set(all)].sort());
    expect(all).toEqual(expect.arrayContaining(['other/aardvark', 'other/zebra', 'team/hidden']));
    const seen = await catalog(editor);
    expect(seen).toEqual(expect.arrayContaining(['other/aardvark', 'other/zebra']));
    expect(seen).not.toContain('team/hidden');
    expect(seen).toEqual([...seen].sort());
  });
});

describe('of the error paths', () => {
  test('120: an istag that is put without annotations loses those it had', async () => {
    await pushImage(registry, 'team/noted', 'v1');
    const put = (annotations?: object) =>
      call<StreamTag>('PUT', 'team/imagestreamtags/noted:latest', {
        body: {
          metadata: { name: 'noted:latest', ...(annotations !== undefined && { annotations }) },
          tag: { name: 'latest', ...fromTag('noted:v1') },
        },
      });
    expect((await put({ owner: 'ada' })).body.metadata.annotations).toEqual({ owner: 'ada' });
    expect((await get<StreamTag>('team/imagestreamtags/noted:latest')).tag).toMatchObject({
      annotations: { owner: 'ada' },
    });
    expect((await put()).status).toBe(200);
    const { metadata, tag } = await get<StreamTag>('team/imagestreamtags/noted:latest');
    expect(metadata.annotations ?? {}).toEqual({});
    expect((tag as { readonly annotations: object | null }).annotations ?? {}).toEqual({});
  });

  test('121: a tag whose import failed, as its status says, is an itag and no istag', async () => {
    const stream = await makeStream('failing', { spec: { tags: [{ name: 'v1', ...dockerSource }] } });
    const condition = {
      type: 'ImportSuccess',
      status: 'False',
      reason: 'Unauthorized',
      message: 'you may not have access to the image',
      generation: 2,
      lastTransitionTime: '2026-01-02T03:04:05Z',
    };
    const tags = [{ tag: 'v1', items: null, conditions: [condition] }];
    const put = await call('PUT', 'team/imagestreams/failing/status', {
      body: { ...stream, status: { ...stream.status, tags } },
    });
    expect(put.status, JSON.stringify(put.body)).toBe(200);
    expect(await streamOf('failing')).toMatchObject({
      spec: { tags: [{ name: 'v1' }] },
      status: { tags: [{ tag: 'v1', items: null, conditions: [condition] }] },
    });
    expect((await call('GET', 'team/imagestreamtags/failing:v1')).status).toBe(404);
    expect(await get('team/imagetags/failing:v1')).toMatchObject({ status: { conditions: [condition] } });
    const table = await call<{ rows: readonly { cells: readonly unknown[] }[] }>('GET', 'team/imagetags/failing:v1', {
      headers: asTable,
    });
    expect(table.body.rows[0]!.cells.slice(0, 3)).toEqual(['failing:v1', 'Tag', 'ImportFailed (Unauthorized)']);
  });

  test('122: a push by digest makes the image and links it to the repository, without a tag', async () => {
    const { digest } = await pushUntagged('team/by-digest', 'by digest');
    expect((await call('GET', `${group}/images/${digest}`)).status).toBe(200);
    expect((await streamOf('by-digest')).status.tags ?? []).toEqual([]);
    expect((await registry.fetch(`/v2/team/by-digest/manifests/${digest}`)).status).toBe(200);
    expect((await registry.fetch(`/v2/team/missing/manifests/${digest}`)).status).toBe(404);
  });

  test('124: nothing more is mapped or pushed to a stream above the limit of its images', async () => {
    for (const name of ['a', 'b']) await pushImage(registry, 'limited/app', name);
    const further = await pushUntagged('limited/app', 'c');
    const limits = [{ type: 'openshift.io/ImageStream', max: { 'openshift.io/images': '1' } }];
    const range = { apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'images' }, spec: { limits } };
    expect((await call('POST', '/api/v1/namespaces/limited/limitranges', { body: range })).status).toBe(201);
    const mapped = await map(['limited', 'app', 'c'], further.digest);
    expect(mapped).toMatchObject({ status: 422, body: { reason: 'Invalid' } });
    expect(mapped.body.message).toMatch(/imageStream: Forbidden: .*exceeds the maximum limit/);
    const pushed = await putManifest(registry, 'limited/app', further, 'c');
    expect(pushed.status).toBe(403);
    const { errors } = (await pushed.json()) as { readonly errors: readonly object[] };
    expect(errors).toMatchObject([{ code: 'DENIED' }]);
    expect(JSON.stringify(errors)).toContain('exceeds the maximum limit');
    expect((await registry.fetch('/v2/limited/app/manifests/c')).status).toBe(404);
  });

  test('125: a secret that is marked as excluded is none of those that images are imported with', async () => {
    await makeStream('any', {}, 'empty');
    const auths = { 'quay.io': { auth: Buffer.from('robot:secret').toString('base64') } };
    const config = Buffer.from(JSON.stringify({ auths })).toString('base64');
    for (const [name, annotations] of [
      ['used', {}],
      ['excluded', { 'openshift.io/image.excludeSecret': 'true' }],
    ] as const) {
      const { status } = await call('POST', '/api/v1/namespaces/empty/secrets', {
        body: {
          metadata: { name, annotations },
          type: 'kubernetes.io/dockerconfigjson',
          data: { '.dockerconfigjson': config },
        },
      });
      expect(status).toBe(201);
    }
    const { items } = await get<{ items: readonly { metadata: { name: string } }[] }>('empty/imagestreams/any/secrets');
    const names = items.map(({ metadata }) => metadata.name);
    expect(names).toContain('used');
    expect(names).not.toContain('excluded');
  });

  test('126: a tag of status that is left with nothing disappears', async () => {
    await pushImage(registry, 'team/emptied', 'v1', 'emptied');
    await pushImage(registry, 'team/emptied', 'v2', 'kept');
    const stream = await streamOf('emptied');
    const tags = [...stream.status.tags!.filter(({ tag }) => tag !== 'v1'), { tag: 'v1', items: null }];
    const put = await call('PUT', 'team/imagestreams/emptied/status', {
      body: { ...stream, status: { ...stream.status, tags } },
    });
    expect(put.status, JSON.stringify(put.body)).toBe(200);
    expect((await streamOf('emptied')).status.tags!.map(({ tag }) => tag)).toEqual(['v2']);
    expect((await call('GET', 'team/imagetags/emptied:v1')).status).toBe(404);
  });
});
