import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import type { TagEvent } from '../../src/metadata/tag-history.js';
import { parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { emptyJson, imageManifest, pushBlob, pushManifest, putManifest, type Manifest } from '../support/images.js';
import { startRegistry, user, type Identity, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
const repository = 'library/app';
const first = imageManifest(emptyJson, [], { annotations: { number: '1' } });
const second = imageManifest(emptyJson, [], { annotations: { number: '2' } });

beforeAll(async () => {
  registry = await startRegistry();
  await pushBlob(registry, repository, emptyJson.bytes);
});
afterAll(() => registry.stop());

/** Newest first. */
async function events(tag: string, limit = 100): Promise<TagEvent[]> {
  const store = new KyselyRepositoryStore(await registry.openDatabase());
  return store.listTagEvents(parseRepositoryName(repository), parseTag(tag), limit);
}

function push(manifest: Manifest, reference: string, as?: Identity): Promise<Manifest> {
  return pushManifest(registry, repository, manifest, reference, as && { as });
}

async function remove(reference: string): Promise<void> {
  const path = `/v2/${repository}/manifests/${reference}`;
  expect((await registry.fetch(path, { method: 'DELETE' })).status).toBe(202);
}

describe('the history of a tag', () => {
  test('has an event for each change: who, when, what', async () => {
    const before = Date.now();
    await push(first, 'changes');
    await push(second, 'changes', user);
    await push(first, 'changes');
    const after = Date.now();
    const history = await events('changes');
    expect(history).toMatchObject([
      { sequence: 3, image: first.digest, cause: 'push', actor: { name: 'admin', kind: 'user' } },
      { sequence: 2, image: second.digest, cause: 'push', actor: { name: 'user', kind: 'user' } },
      { sequence: 1, image: first.digest, cause: 'push', actor: { name: 'admin', kind: 'user' } },
    ]);
    for (const { at } of history) {
      expect(at.getTime()).toBeGreaterThanOrEqual(before);
      expect(at.getTime()).toBeLessThanOrEqual(after);
    }
  });

  test('has no event for a push of what is there already', async () => {
    await push(first, 'same');
    await push(first, 'same', user);
    expect(await events('same')).toHaveLength(1);
  });

  test('names who pushed by a token', async () => {
    const token = await registry.token([`repository:${repository}:pull,push`], user);
    await push(first, 'token', { token });
    expect(await events('token')).toMatchObject([{ actor: { name: 'user', kind: 'user' } }]);
  });

  test('has an event for each tag of one push', async () => {
    await putManifest(registry, repository, first, `${first.digest}?tag=one&tag=two`);
    for (const tag of ['one', 'two']) expect(await events(tag)).toMatchObject([{ sequence: 1, image: first.digest }]);
  });

  test('has none for a push by digest alone', async () => {
    await push(first, 'before');
    const db = await registry.openDatabase();
    const count = () => db.selectFrom('tag_event').select('sequence').execute();
    const before = await count();
    await push(first, first.digest);
    expect(await count()).toHaveLength(before.length);
  });

  test('has an event for its deletion, and goes on after it', async () => {
    await push(first, 'deleted');
    await remove('deleted');
    await push(first, 'deleted');
    expect(await events('deleted')).toMatchObject([
      { sequence: 3, image: first.digest, cause: 'push' },
      { sequence: 2, image: undefined, cause: 'delete', actor: { name: 'admin', kind: 'user' } },
      { sequence: 1, image: first.digest, cause: 'push' },
    ]);
  });

  test('has an event for each tag of an image that was deleted by digest', async () => {
    const image = imageManifest(emptyJson, [], { annotations: { number: '3' } });
    await putManifest(registry, repository, image, `${image.digest}?tag=left&tag=right`);
    await remove(image.digest);
    for (const tag of ['left', 'right']) {
      expect(await events(tag)).toMatchObject([{ cause: 'delete' }, { cause: 'push', image: image.digest }]);
    }
  });

  test('has none for what was refused', async () => {
    await putManifest(registry, repository, imageManifest({ ...emptyJson, digest: first.digest }), 'refused');
    await registry.fetch(`/v2/${repository}/manifests/refused`, { method: 'DELETE' });
    expect(await events('refused')).toEqual([]);
  });

  test('can be read in part, the newest first', async () => {
    await push(first, 'part');
    await push(second, 'part');
    expect(await events('part', 1)).toMatchObject([{ sequence: 2 }]);
  });

  test('survives a restart', async () => {
    await push(first, 'restarted');
    await registry.restart();
    await push(second, 'restarted');
    expect(await events('restarted')).toMatchObject([{ sequence: 2 }, { sequence: 1 }]);
  });
});

test('pushes of one tag at the same time are a history without gaps that ends where the tag is', async () => {
  const images = Array.from({ length: 10 }, (_, number) =>
    imageManifest(emptyJson, [], { annotations: { racing: String(number) } }),
  );
  await Promise.all(images.map((image) => push(image, 'raced')));
  const history = await events('raced');
  expect(history.map((event) => event.sequence)).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  const response = await registry.fetch(`/v2/${repository}/manifests/raced`);
  expect(response.headers.get('Docker-Content-Digest')).toBe(history[0]!.image);
});
