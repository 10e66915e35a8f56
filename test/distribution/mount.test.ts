import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushBlob, sha256, type Content } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, type TestRegistry, type TestRequest } from '../support/registry.js';

let registry: TestRegistry;
let blob: Content;
let count = 0;

beforeAll(async () => {
  registry = await startRegistry();
  blob = await pushBlob(registry, 'team/source', 'bytes to mount');
});
afterAll(() => registry.stop());

/** A repository that nothing was mounted into yet. */
function freshTarget(): string {
  count += 1;
  return `team/target-${count}`;
}

function mount(target: string, query: Readonly<Record<string, string>>, request: TestRequest = {}): Promise<Response> {
  const search = new URLSearchParams(query).toString();
  return registry.fetch(`/v2/${target}/blobs/uploads/?${search}`, { ...request, method: 'POST' });
}

async function expectMounted(response: Response, target: string): Promise<void> {
  expect(response.status).toBe(201);
  expect(response.headers.get('Location')).toBe(`/v2/${target}/blobs/${blob.digest}`);
  expect(response.headers.get('Docker-Content-Digest')).toBe(blob.digest);
  const pulled = await registry.fetch(`/v2/${target}/blobs/${blob.digest}`);
  expect(await pulled.text()).toBe('bytes to mount');
}

async function expectSession(response: Response, target: string): Promise<void> {
  expect(response.status).toBe(202);
  expect(response.headers.get('Location')).toMatch(new RegExp(`^/v2/${target}/blobs/uploads/`));
  await expectFailure(await registry.fetch(`/v2/${target}/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
}

describe('a mount', () => {
  test('from a repository that has the blob links it without a byte', async () => {
    const target = freshTarget();
    await expectMounted(await mount(target, { mount: blob.digest, from: 'team/source' }), target);
  });

  test('from nowhere in particular finds the blob where the caller may pull', async () => {
    const target = freshTarget();
    await expectMounted(await mount(target, { mount: blob.digest }), target);
  });

  test('from the repository itself succeeds', async () => {
    await expectMounted(await mount('team/source', { mount: blob.digest, from: 'team/source' }), 'team/source');
  });

  test('from a repository without the blob begins an upload', async () => {
    const target = freshTarget();
    await pushBlob(registry, 'team/elsewhere', 'something else');
    await expectSession(await mount(target, { mount: blob.digest, from: 'team/elsewhere' }), target);
  });

  test('from a repository that does not exist begins an upload', async () => {
    const target = freshTarget();
    await expectSession(await mount(target, { mount: blob.digest, from: 'team/none' }), target);
  });

  test('of a blob that does not exist begins an upload', async () => {
    const target = freshTarget();
    await expectSession(await mount(target, { mount: sha256('never pushed'), from: 'team/source' }), target);
    await expectSession(await mount(target, { mount: sha256('never pushed') }), target);
  });

  test('that failed can go on as the upload it began', async () => {
    const target = freshTarget();
    const response = await mount(target, { mount: blob.digest, from: 'team/none' });
    const session = response.headers.get('Location')!;
    const end = await registry.fetch(`${session}?digest=${blob.digest}`, { method: 'PUT', body: blob.bytes });
    expect(end.status).toBe(201);
  });

  test('takes the name of the source in its short spelling', async () => {
    const target = freshTarget();
    await pushBlob(registry, 'short', 'bytes to mount');
    await expectMounted(await mount(target, { mount: blob.digest, from: 'short' }), target);
  });
});

describe('a mount with a token', () => {
  const scopes = (target: string, ...others: string[]) => [`repository:${target}:pull,push`, ...others];

  test('that covers target and source succeeds', async () => {
    const target = freshTarget();
    const token = await registry.token(scopes(target, 'repository:team/source:pull'));
    await expectMounted(await mount(target, { mount: blob.digest, from: 'team/source' }, { as: { token } }), target);
  });

  test('that covers only the target is challenged for both', async () => {
    const target = freshTarget();
    const token = await registry.token(scopes(target));
    const response = await mount(target, { mount: blob.digest, from: 'team/source' }, { as: { token } });
    const challenge = response.headers.get('WWW-Authenticate');
    expect(challenge).toContain(`scope="repository:${target}:pull,push repository:team/source:pull"`);
    expect(challenge).toContain('error="insufficient_scope"');
    await expectFailure(response, 401, 'UNAUTHORIZED');
    await expectFailure(await registry.fetch(`/v2/${target}/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
  });

  test('that covers only the source is challenged for the target', async () => {
    const target = freshTarget();
    const token = await registry.token(['repository:team/source:pull']);
    const response = await mount(target, { mount: blob.digest, from: 'team/source' }, { as: { token } });
    expect(response.headers.get('WWW-Authenticate')).toContain(`scope="repository:${target}:pull,push"`);
    await expectFailure(response, 401, 'UNAUTHORIZED');
  });

  test('that covers only the target and a source without the blob begins an upload', async () => {
    const target = freshTarget();
    const token = await registry.token(scopes(target));
    await expectSession(await mount(target, { mount: blob.digest, from: 'team/none' }, { as: { token } }), target);
  });

  test('that covers only the target, from nowhere in particular, does not give the bytes away', async () => {
    const target = freshTarget();
    const token = await registry.token(scopes(target));
    const response = await mount(target, { mount: blob.digest }, { as: { token } });
    expect([202, 401]).toContain(response.status);
    await expectFailure(await registry.fetch(`/v2/${target}/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
  });

  test('of anybody who is not logged in is refused', async () => {
    const response = await mount(freshTarget(), { mount: blob.digest, from: 'team/source' }, { as: 'nobody' });
    await expectFailure(response, 401, 'UNAUTHORIZED');
  });
});
