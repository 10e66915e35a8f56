import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addPerson } from '../support/identities.js';
import { pushImage, sha256, type PushedImage } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, type Credentials, type TestRegistry, type TestRequest } from '../support/registry.js';

let registry: TestRegistry;
let image: PushedImage;
/** Adds signatures in project `team`, and pulls there. */
let signer: Credentials;
beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['team', 'other']) await registry.addProject(project);
  signer = await addPerson(registry, 'signer', { role: 'system:image-signer', namespace: 'team' });
});
afterAll(() => registry.stop());
beforeEach(async () => {
  image = await pushImage(registry, 'team/app', 'v1', randomUUID());
});

const path = (repository = 'team/app', digest = image.digest) => `/extensions/v2/${repository}/signatures/${digest}`;

/** A signature as containers/image sends it. */
function signature(name: string, fields: object = {}): object {
  return {
    schemaVersion: 2,
    name: `${image.digest}@${name}`,
    type: 'atomic',
    content: Buffer.from(name).toString('base64'),
    ...fields,
  };
}

function put(body: unknown, { path: to = path(), ...request }: TestRequest & { readonly path?: string } = {}) {
  return registry.fetch(to, {
    ...request,
    method: 'PUT',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function list(repository?: string): Promise<unknown> {
  const response = await registry.fetch(path(repository));
  expect(response.status).toBe(200);
  return ((await response.json()) as { readonly signatures: unknown }).signatures;
}

/** Codes of the extension are none of the OCI Distribution Spec's. */
async function expectRefusal(response: Response, status: number, code: string): Promise<unknown> {
  expect(response.status).toBe(status);
  const { errors } = (await response.json()) as { readonly errors: readonly [{ code: string; detail: unknown }] };
  expect(errors[0].code).toBe(code);
  return errors[0].detail;
}

describe('signatures of an image', () => {
  test('are announced where clients ask for the registry, also to those who are to log in', async () => {
    for (const as of [signer, 'nobody'] as const) {
      const response = await registry.fetch('/v2/', { as });
      expect(response.headers.get('X-Registry-Supports-Signatures')).toBe('1');
    }
  });

  test('are none at first', async () => {
    expect(await list()).toEqual([]);
  });

  test('are read as they were added, in the order of their names', async () => {
    for (const name of ['b', 'a']) {
      const response = await put(signature(name));
      expect(response.status).toBe(201);
      expect(await response.text()).toBe('');
    }
    expect(await list()).toEqual([signature('a'), signature('b')]);
  });

  test('have the type AtomicImageV1 when their maker says none', async () => {
    for (const [name, fields] of [
      ['a', { type: '' }],
      ['b', { type: undefined }],
    ] as const) {
      expect((await put(signature(name, fields))).status).toBe(201);
    }
    expect(await list()).toMatchObject([{ type: 'AtomicImageV1' }, { type: 'AtomicImageV1' }]);
  });

  test('are the same through every repository of the image, and in the API', async () => {
    await put(signature('a'));
    const again = `/v2/other/app/blobs/uploads/?mount=`;
    for (const { digest } of [image.config, image.layer]) {
      await registry.fetch(`${again}${digest}&from=team/app`, { method: 'POST' });
    }
    await registry.fetch('/v2/other/app/manifests/v1', {
      method: 'PUT',
      headers: { 'Content-Type': image.mediaType },
      body: image.bytes,
    });
    expect(await list('other/app')).toEqual([signature('a')]);
    const object = await registry.api(`/apis/image.openshift.io/v1/images/${image.digest}`);
    expect(await object.json()).toMatchObject({
      signatures: [{ metadata: { name: `${image.digest}@a` }, type: 'atomic' }],
    });
  });

  test('go with the image', async () => {
    await put(signature('a'));
    await registry.fetch(`/v2/team/app/manifests/${image.digest}`, { method: 'DELETE' });
    expect((await registry.fetch(path())).status).toBe(404);
  });

  test.each(['GET', 'PUT'])('are not to be had by %s where the repository does not have the image', async (method) => {
    const elsewhere = await pushImage(registry, 'other/app', 'v1', randomUUID());
    const body = method === 'PUT' ? JSON.stringify(signature('a', { name: `${elsewhere.digest}@a` })) : null;
    for (const repository of ['team/app', 'team/none']) {
      const response = await registry.fetch(path(repository, elsewhere.digest), { method, body });
      expect(response.status).toBe(404);
      expect(await response.text()).toBe('');
    }
  });
});

describe('a signature is refused', () => {
  test.each([
    { what: 'that is not JSON', body: () => '{' },
    { what: 'that is no object', body: () => 'null' },
    { what: 'of another version of the schema', body: () => signature('a', { schemaVersion: 1 }) },
    { what: 'without a name', body: () => signature('a', { name: undefined }) },
    { what: 'named without its image', body: () => signature('a', { name: 'a' }) },
    { what: 'of another image', body: () => signature('a', { name: `${sha256('another')}@a` }) },
    { what: 'with two @ in its name', body: () => signature('a@a') },
    { what: 'without content', body: () => signature('a', { content: '' }) },
    { what: 'with content that is not base64', body: () => signature('a', { content: '&&&&' }) },
    { what: 'with an endless type', body: () => signature('a', { type: 'x'.repeat(300) }) },
    { what: 'with a field that it does not have', body: () => signature('a', { conditions: [] }) },
  ])('$what', async ({ body }) => {
    expect(await expectRefusal(await put(body()), 400, 'SIGNATURE_INVALID')).toBeDefined();
    expect(await list()).toEqual([]);
  });

  test('when the image has one of that name or of that content', async () => {
    await put(signature('a'));
    for (const fields of [{ content: 'b3RoZXI=' }, { name: `${image.digest}@b` }]) {
      await expectRefusal(await put(signature('a', fields)), 409, 'SIGNATURE_EXISTS');
    }
    expect(await list()).toEqual([signature('a')]);
  });

  test('when it is larger than any may be', async () => {
    const content = (bytes: number) => Buffer.alloc(bytes).toString('base64');
    await expectRefusal(await put(signature('a', { content: content(1024 * 1024 + 1) })), 400, 'SIGNATURE_INVALID');
    await expectFailure(await put(signature('a', { content: content(2 * 1024 * 1024) })), 413, 'SIZE_INVALID');
    expect((await put(signature('a', { content: content(1024 * 1024) }))).status).toBe(201);
  });

  test('when the image has as many as it may', async () => {
    for (let count = 0; count < 100; count += 1) expect((await put(signature(`${count}`))).status).toBe(201);
    await expectFailure(await put(signature('more')), 403, 'DENIED');
  });

  test.each([
    { what: 'a digest', path: '/extensions/v2/team/app/signatures/v1', code: 'DIGEST_INVALID' },
    { what: 'a repository', path: `/extensions/v2/Team/signatures/${sha256('x')}`, code: 'NAME_INVALID' },
  ] as const)('by a path that does not name $what', async ({ path: to, code }) => {
    await expectFailure(await put(signature('a'), { path: to }), 400, code);
  });
});

describe('who may sign', () => {
  test('is whoever has the role in the project, with a password or an API token', async () => {
    expect((await put(signature('a'), { as: signer })).status).toBe(201);
    const token = await registry.apiToken(signer);
    expect((await put(signature('b'), { as: { name: 'any', password: token } })).status).toBe(201);
    expect((await put(signature('c'), { as: { token } })).status).toBe(201);
  });

  test('is nobody by a token that does not let them push, whatever else it does', async () => {
    const puller = await registry.token(['repository:team/app:pull']);
    const response = await put(signature('a'), { as: { token: puller } });
    await expectFailure(response, 401, 'UNAUTHORIZED');
    expect(response.headers.get('WWW-Authenticate')).toContain('scope="repository:team/app:pull,push"');
    const pusher = await registry.token(['repository:team/app:pull,push']);
    expect((await put(signature('a'), { as: { token: pusher } })).status).toBe(201);
  });

  test('is not who may sign in another project', async () => {
    const elsewhere = await pushImage(registry, 'other/app', 'v1', randomUUID());
    const body = signature('a', { name: `${elsewhere.digest}@a` });
    await expectFailure(await put(body, { path: path('other/app', elsewhere.digest), as: signer }), 403, 'DENIED');
  });
});
