import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPerson } from '../support/identities.js';
import { emptyJson, imageIndex, pushBlob, pushImage, pushManifest, referrer } from '../support/images.js';
import { startRegistry, type Credentials, type TestRegistry } from '../support/registry.js';

const images = '/apis/image.openshift.io/v1/images';

interface WatchLine {
  readonly type: string;
  readonly object: { readonly metadata: { readonly name: string }; readonly dockerImageLayers?: readonly unknown[] };
}

let registry: TestRegistry;
let pruner: Credentials;
beforeAll(async () => {
  registry = await startRegistry();
  await registry.addProject('team');
  pruner = await addPerson(registry, 'pruner', { role: 'system:image-pruner' });
});
afterAll(() => registry.stop());

async function read<Body>(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Body> {
  const response = await registry.api(path, { headers });
  expect(response.status).toBe(200);
  return (await response.json()) as Body;
}

/** As `oc adm prune images` does. */
async function prune(digest: string): Promise<number> {
  const body = { kind: 'DeleteOptions', apiVersion: 'image.openshift.io/v1', gracePeriodSeconds: 0 };
  return (await registry.api(`${images}/${digest}`, { method: 'DELETE', as: pruner, body })).status;
}

describe('images in the API', () => {
  test('are shown as a table with their references', async () => {
    const { digest } = await pushImage(registry, 'team/app', 'v1');
    const { columnDefinitions, rows } = await read<{
      readonly columnDefinitions: readonly { readonly name: string }[];
      readonly rows: readonly { readonly cells: readonly string[] }[];
    }>(`${images}?limit=500`, { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
    expect(columnDefinitions.map(({ name }) => name)).toEqual(['Name', 'Image Reference']);
    const { host } = new URL(registry.url);
    expect(rows.map(({ cells }) => cells)).toContainEqual([digest, `${host}/team/app@${digest}`]);
  });

  test('are told of when they come and when they go, with what they are', async () => {
    const { metadata } = await read<{ readonly metadata: { readonly resourceVersion: string } }>(images);
    const watch = await registry.api(`${images}?watch=true&resourceVersion=${metadata.resourceVersion}`);
    const { digest } = await pushImage(registry, 'team/watched', 'v1', 'watched');
    await registry.fetch(`/v2/team/watched/manifests/${digest}`, { method: 'DELETE' });
    const lines: WatchLine[] = [];
    let text = '';
    const reader = watch.body!.pipeThrough(new TextDecoderStream()).getReader();
    while (lines.length < 2) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`the watch ended: ${text}`);
      text += value;
      const parts = text.split('\n');
      text = parts.pop()!;
      lines.push(...parts.map((part) => JSON.parse(part) as WatchLine));
    }
    await reader.cancel();
    expect(lines.map(({ type, object }) => `${type} ${object.metadata.name}`)).toEqual([
      `ADDED ${digest}`,
      `DELETED ${digest}`,
    ]);
  });

  test('go one after the other when they are selected, and the others stay', async () => {
    const [kept, gone] = [
      await pushImage(registry, 'team/labelled', 'v1', 'kept'),
      await pushImage(registry, 'team/labelled', 'v2', 'gone'),
    ];
    const label = (digest: string) =>
      registry.api(`${images}/${digest}`, {
        method: 'PATCH',
        headers: { 'Content-Type': 'application/merge-patch+json' },
        body: { metadata: { labels: { stage: 'test' } } },
      });
    for (const { digest } of [kept, gone]) expect((await label(digest)).status).toBe(200);
    await registry.fetch('/v2/team/labelled/manifests/v2', { method: 'DELETE' });
    await registry.api(`${images}/${kept.digest}`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/merge-patch+json' },
      body: { metadata: { labels: null } },
    });
    const response = await registry.api(`${images}?labelSelector=stage%3Dtest`, { method: 'DELETE' });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ items: [{ metadata: { name: gone.digest } }] });
    expect((await registry.api(`${images}/${gone.digest}`)).status).toBe(404);
    expect((await registry.api(`${images}/${kept.digest}`)).status).toBe(200);
  });
});

describe('pruning an image', () => {
  test('finds it gone when it has left its last repository', async () => {
    const image = await pushImage(registry, 'team/pruned', 'v1', 'pruned');
    const path = `/v2/team/pruned/manifests/${image.digest}`;
    expect((await registry.fetch(path, { method: 'DELETE', as: pruner })).status).toBe(202);
    for (const digest of [image.layer.digest, image.config.digest, image.digest]) {
      expect((await registry.fetch(`/admin/blobs/${digest}`, { method: 'DELETE', as: pruner })).status).toBe(204);
    }
    expect(await prune(image.digest)).toBe(404);
  });

  test('takes one that no tag names any more from its repository', async () => {
    const image = await pushImage(registry, 'team/untagged', 'v1', 'untagged');
    expect(await prune(image.digest)).toBe(409);
    await registry.fetch('/v2/team/untagged/manifests/v1', { method: 'DELETE' });
    expect(await prune(image.digest)).toBe(200);
    expect((await registry.fetch(`/v2/team/untagged/manifests/${image.digest}`)).status).toBe(404);
  });

  test('leaves what an index lists, and what says something about an image that is there', async () => {
    const child = await pushImage(registry, 'team/needed', 'child', 'child');
    const index = await pushManifest(registry, 'team/needed', imageIndex([child]), 'index');
    await registry.fetch('/v2/team/needed/manifests/child', { method: 'DELETE' });
    await pushBlob(registry, 'team/needed', emptyJson.bytes);
    const signature = await pushManifest(registry, 'team/needed', referrer(index, 'application/vnd.example.signature'));
    expect(await prune(child.digest)).toBe(409);
    expect(await prune(signature.digest)).toBe(409);
    await registry.fetch(`/v2/team/needed/manifests/${index.digest}`, { method: 'DELETE' });
    expect(await prune(signature.digest)).toBe(200);
    expect(await prune(child.digest)).toBe(200);
  });
});
