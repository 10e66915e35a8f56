import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushBlob, pushImage, pushManifest, sha256, startUpload } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

describe('two spellings are one repository', () => {
  test.each([
    { pushed: 'app', pulled: 'library/app', listed: 'library/app' },
    { pushed: 'library/tool', pulled: 'tool', listed: 'library/tool' },
    { pushed: 'project/a__b', pulled: 'project/a/b', listed: 'project/a/b' },
    { pushed: 'project/c/d', pulled: 'project/c__d', listed: 'project/c/d' },
    { pushed: 'project/e__f/g', pulled: 'project/e/f__g', listed: 'project/e/f/g' },
    { pushed: 'h__i', pulled: 'library/h/i', listed: 'library/h/i' },
  ])('$pushed and $pulled', async ({ pushed, pulled, listed }) => {
    const image = await pushImage(registry, pushed, 'v1', pushed);
    const manifest = await registry.fetch(`/v2/${pulled}/manifests/v1`);
    expect(manifest.headers.get('Docker-Content-Digest')).toBe(image.digest);
    expect((await registry.fetch(`/v2/${pulled}/blobs/${image.layer.digest}`)).status).toBe(200);
    const catalog = await registry.fetch('/v2/_catalog');
    expect(((await catalog.json()) as { repositories: string[] }).repositories).toContain(listed);
  });

  test('and an upload begun by one goes on by the other', async () => {
    const session = await startUpload(registry, 'spelled');
    const other = session.replace('/v2/spelled/', '/v2/library/spelled/');
    const response = await registry.fetch(`${other}?digest=${sha256('x')}`, { method: 'PUT', body: 'x' });
    expect(response.status).toBe(201);
  });

  test('and a token for one covers the other', async () => {
    await pushImage(registry, 'covered', 'v1');
    const token = await registry.token(['repository:covered:pull']);
    const response = await registry.fetch('/v2/library/covered/manifests/v1', { as: { token } });
    expect(response.status).toBe(200);
  });
});

describe('answers speak of the repository as the client does', () => {
  test('in Location and in the list of tags', async () => {
    const session = await registry.fetch('/v2/short/blobs/uploads/', { method: 'POST' });
    expect(session.headers.get('Location')).toMatch(/^\/v2\/short\/blobs\/uploads\//);
    await pushImage(registry, 'short', 'v1');
    const tags = await registry.fetch('/v2/short/tags/list');
    expect(await tags.json()).toEqual({ name: 'short', tags: ['v1'] });
  });

  test('and in the Link to the next page', async () => {
    const image = await pushImage(registry, 'paged', 'v1');
    await pushManifest(registry, 'paged', image, 'v2');
    const page = await registry.fetch('/v2/paged/tags/list?n=1');
    expect(page.headers.get('Link')).toBe('</v2/paged/tags/list?n=1&last=v1>; rel="next"');
  });
});

describe('names that are legal', () => {
  test.each([
    ['one letter', 'a'],
    ['digits', '0/1'],
    ['every separator', 'p-1/a.b_c/d-e---f'],
    ['ten components', 'p/a/b/c/d/e/f/g/h/i'],
    ['a component called blobs', 'p/blobs/uploads'],
    ['a component called manifests', 'p/manifests/v1'],
    ['a component called tags', 'p/tags/list'],
    ['a component called referrers', 'referrers/blobs'],
    ['v2 itself', 'v2/v2'],
    ['a project of 63 characters', `${'p'.repeat(63)}/a`],
    ['253 characters below the project', `p/${'a'.repeat(253)}`],
  ])('%s: push, pull, list', async (_name, repository) => {
    const image = await pushImage(registry, repository, 'v1', repository.slice(0, 20));
    const manifest = await registry.fetch(`/v2/${repository}/manifests/v1`);
    expect(Buffer.from(await manifest.arrayBuffer())).toEqual(image.bytes);
    const tags = await registry.fetch(`/v2/${repository}/tags/list`);
    expect(await tags.json()).toEqual({ name: repository, tags: ['v1'] });
    expect((await registry.fetch(`/v2/${repository}/referrers/${image.digest}`)).status).toBe(200);
  });
});

describe('the project', () => {
  test.each(['my.project', 'my_project', 'my__project', 'p'.repeat(64)])('cannot be called %s', async (project) => {
    await expectFailure(await registry.fetch(`/v2/${project}/app/tags/list`), 400, 'NAME_INVALID');
  });

  test('of a name of one component is configurable', async () => {
    const other = await startRegistry({ WEIR_DEFAULT_PROJECT: 'team' });
    try {
      await pushBlob(other, 'app', 'x');
      expect((await other.fetch(`/v2/team/app/blobs/${sha256('x')}`)).status).toBe(200);
      expect((await other.fetch(`/v2/library/app/blobs/${sha256('x')}`)).status).toBe(404);
      const response = await other.fetch('/v2/app/tags/list', { as: 'nobody' });
      expect(response.headers.get('WWW-Authenticate')).toContain('scope="repository:team/app:pull"');
    } finally {
      await other.stop();
    }
  });
});
