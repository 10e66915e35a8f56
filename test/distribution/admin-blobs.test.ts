import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPerson } from '../support/identities.js';
import { content, imageManifest, pushBlob, pushImage, pushManifest, sha256 } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, user, type Credentials, type Identity, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
let pruner: Credentials;
beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['team', 'other']) await registry.addProject(project);
  pruner = await addPerson(registry, 'pruner', { role: 'system:image-pruner' });
});
afterAll(() => registry.stop());

function remove(digest: string, as: Identity = pruner): Promise<Response> {
  return registry.fetch(`/admin/blobs/${digest}`, { method: 'DELETE', as });
}

async function isThere(repository: string, digest: string): Promise<boolean> {
  return (await registry.fetch(`/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })).status === 200;
}

describe('pruning a blob', () => {
  test('takes it from every repository, with its bytes', async () => {
    const { digest } = await pushBlob(registry, 'team/app', 'to be pruned');
    await registry.fetch(`/v2/other/app/blobs/uploads/?mount=${digest}&from=team/app`, { method: 'POST' });
    expect(await isThere('other/app', digest)).toBe(true);
    const response = await remove(digest);
    expect(response.status).toBe(204);
    expect(response.headers.get('Content-Length')).toBeNull();
    for (const repository of ['team/app', 'other/app']) expect(await isThere(repository, digest)).toBe(false);
    await registry.running.app.collection.run(new AbortController().signal);
    const db = await registry.openDatabase();
    expect(
      await db
        .selectFrom('blob')
        .select('digest')
        .where('digest', '=', digest as never)
        .execute(),
    ).toEqual([]);
    expect(await db.selectFrom('discarded_location').selectAll().execute()).toEqual([]);
  });

  test('succeeds when there is none, also for the digest of a manifest', async () => {
    expect((await remove(sha256('never pushed'))).status).toBe(204);
    const { digest } = await pushImage(registry, 'team/app', 'v1');
    expect((await remove(digest)).status).toBe(204);
    expect((await registry.fetch('/v2/team/app/manifests/v1')).status).toBe(200);
  });

  test('is refused while an image of any repository refers to it, and says which', async () => {
    const { digest, config, layer } = await pushImage(registry, 'other/app', 'needed', 'needed');
    for (const blob of [config, layer]) {
      const response = await remove(blob.digest);
      const text = await response.clone().text();
      await expectFailure(response, 405, 'UNSUPPORTED');
      expect(JSON.parse(text)).toMatchObject({ errors: [{ detail: { digest: blob.digest, referencedBy: digest } }] });
      expect(await isThere('other/app', blob.digest)).toBe(true);
    }
    await registry.fetch(`/v2/other/app/manifests/${digest}`, { method: 'DELETE' });
    for (const blob of [config, layer]) expect((await remove(blob.digest)).status).toBe(204);
  });

  test('is refused for what a second image needs after the first is gone', async () => {
    const first = await pushImage(registry, 'team/shared', 'first', 'shared');
    const second = imageManifest(content(first.config.bytes), [first.layer], { annotations: { second: 'yes' } });
    await pushManifest(registry, 'team/shared', second, 'second');
    await registry.fetch(`/v2/team/shared/manifests/${first.digest}`, { method: 'DELETE' });
    await expectFailure(await remove(first.layer.digest), 405, 'UNSUPPORTED');
  });

  test('is done by who shows an API token as a password, without being asked to', async () => {
    const { digest } = await pushBlob(registry, 'team/app', 'to be pruned by token');
    const password = await registry.apiToken(pruner);
    expect((await remove(digest, { name: 'x7b2k', password })).status).toBe(204);
    expect(await isThere('team/app', digest)).toBe(false);
  });

  test('is not for those who only may delete in their project, or push', async () => {
    const { digest } = await pushBlob(registry, 'team/app', 'kept');
    const admin = await addPerson(registry, 'of-team', { role: 'admin', namespace: 'team' });
    for (const as of [admin, user]) await expectFailure(await remove(digest, as), 403, 'DENIED');
    const nobody = await remove(digest, 'nobody');
    await expectFailure(nobody, 401, 'UNAUTHORIZED');
    expect(nobody.headers.get('WWW-Authenticate')).toMatch(/^Bearer realm=/);
    expect(await isThere('team/app', digest)).toBe(true);
  });

  test('is not covered by a token that was narrowed, whoever it is of', async () => {
    const { digest } = await pushBlob(registry, 'team/app', 'kept from tokens');
    const token = await registry.token(['repository:team/app:pull,push,delete'], pruner);
    await expectFailure(await remove(digest, { token }), 401, 'UNAUTHORIZED');
    expect(await isThere('team/app', digest)).toBe(true);
  });

  test('wants a digest', async () => {
    await expectFailure(await remove('latest'), 400, 'DIGEST_INVALID');
  });
});
