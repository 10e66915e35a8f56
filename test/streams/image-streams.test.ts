import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushImage, type PushedImage } from '../support/images.js';
import { startRegistry, user, type TestRegistry } from '../support/registry.js';

const base = '/apis/image.openshift.io/v1';

interface Stream {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly status: {
    readonly dockerImageRepository: string;
    readonly tags?: readonly { readonly tag: string; readonly items: readonly { readonly image: string }[] }[];
  };
}

describe('an image stream', () => {
  let registry: TestRegistry;
  let image: PushedImage;
  beforeAll(async () => {
    registry = await startRegistry();
    image = await pushImage(registry, 'team/app', 'v1');
    await pushImage(registry, 'team/app', 'v2');
    await pushImage(registry, 'team/web/front', 'latest');
    await pushImage(registry, 'other/app', 'v1');
  });
  afterAll(() => registry.stop());

  const read = async (path: string): Promise<unknown> => (await registry.api(`${base}${path}`)).json();

  test('is a repository with its tags and what they point to', async () => {
    const host = new URL(registry.url).host;
    expect(await read('/namespaces/team/imagestreams/app')).toMatchObject({
      kind: 'ImageStream',
      apiVersion: 'image.openshift.io/v1',
      metadata: { name: 'app', namespace: 'team' },
      spec: { lookupPolicy: { local: false } },
      status: {
        dockerImageRepository: `${host}/team/app`,
        tags: [
          {
            tag: 'v1',
            items: [{ image: image.digest, generation: 1, dockerImageReference: `${host}/team/app@${image.digest}` }],
          },
          { tag: 'v2', items: [{ generation: 1 }] },
        ],
      },
    });
  });

  test('of a deeper repository has one name', async () => {
    expect(await read('/namespaces/team/imagestreams/web__front')).toMatchObject({
      status: { dockerImageRepository: expect.stringMatching(/\/team\/web\/front$/) as string },
    });
  });

  test.each(['gone', 'App', 'web', 'a..b', 'v1'])('%s is none', async (name) => {
    const response = await registry.api(`${base}/namespaces/team/imagestreams/${name}`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      reason: 'NotFound',
      message: `imagestreams.image.openshift.io "${name}" not found`,
    });
  });

  test('shows where a tag points after it has moved, and no deleted tag', async () => {
    const moved = await pushImage(registry, 'team/moving', 'v1');
    const other = await pushImage(registry, 'team/moving', 'v2');
    await registry.fetch('/v2/team/moving/manifests/v1', {
      method: 'PUT',
      headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' },
      body: other.bytes,
    });
    await registry.fetch('/v2/team/moving/manifests/v2', { method: 'DELETE' });
    expect(moved.digest).not.toBe(other.digest);
    const { status } = (await read('/namespaces/team/imagestreams/moving')) as Stream;
    expect(status.tags?.map(({ tag, items }) => [tag, items[0]!.image])).toEqual([['v1', other.digest]]);
  });

  test('is listed in its namespace and in all, in pages that hold everything once', async () => {
    const inTeam = (await read('/namespaces/team/imagestreams')) as { items: readonly Stream[] };
    expect(inTeam.items.map(({ metadata }) => metadata.name)).toEqual(
      expect.arrayContaining(['app', 'web__front']) as string[],
    );
    const seen: string[] = [];
    let position = '';
    do {
      const page = (await read(`/imagestreams?limit=1&continue=${position}`)) as {
        metadata: { continue?: string };
        items: readonly Stream[];
      };
      seen.push(...page.items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
      position = page.metadata.continue ?? '';
    } while (position !== '');
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(seen).toEqual(expect.arrayContaining(['other/app', 'team/app', 'team/web__front']));
  });

  test('is another one when a repository of that name is made anew', async () => {
    const first = (await read('/namespaces/team/imagestreams/app')) as Stream;
    const second = (await read('/namespaces/other/imagestreams/app')) as Stream;
    expect(first.metadata.uid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(first.metadata.uid).not.toBe(second.metadata.uid);
  });

  test('prints the columns that oc shows', async () => {
    const response = await registry.api(`${base}/namespaces/other/imagestreams`, {
      headers: { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    const table = (await response.json()) as { columnDefinitions: { name: string }[]; rows: { cells: unknown[] }[] };
    expect(table.columnDefinitions.map(({ name }) => name)).toEqual(['Name', 'Image Repository', 'Tags', 'Updated']);
    expect(table.rows.map(({ cells }) => cells)).toEqual([
      [
        'app',
        `${new URL(registry.url).host}/other/app`,
        'v1',
        expect.stringMatching(/^(Less than a second|1 second|\d+ seconds) ago$/),
      ],
    ]);
  });

  test('is for those who may see it', async () => {
    await registry.addUser({ name: 'outsider', password: 'outsider-secret', role: 'user' });
    const outsider = { name: 'outsider', password: 'outsider-secret' };
    const ask = async (name: string) => registry.api(`${base}/namespaces/team/imagestreams/${name}`, { as: outsider });
    expect((await ask('app')).status).toBe(403);
    expect((await ask('gone')).status).toBe(403);
    expect((await registry.api(`${base}/namespaces/team/imagestreams/app`, { as: user })).status).toBe(200);
  });
});
