import { beforeEach, describe, expect, test } from 'vitest';
import type { JsonValue } from '../../src/kube/json.js';
import { toTable } from '../../src/kube/table.js';
import type { ObjectStore } from '../../src/metadata/object-store.js';
import { parseDuration } from '../../src/oci/duration.js';
import { UpstreamCaches, upstreamCacheResource } from '../../src/pullthrough/upstream-caches.js';
import { openTwice } from '../support/stored-access.js';
import { createCache, openCaches } from './cache-setup.js';

let here: ObjectStore;
let there: ObjectStore;
beforeEach(async () => {
  const databases = await openTwice(['hub', 'mirror', 'quay', 'team']);
  here = databases.here.objects;
  there = databases.there.objects;
});

const create = (spec: JsonValue, namespace = 'hub', name = 'upstream') => createCache(here, spec, { namespace, name });

describe('a cache', () => {
  test('that says nothing but its registry asks again after five minutes, and keeps everything', async () => {
    await create({ registry: 'docker.io' });
    const cache = await new UpstreamCaches(here, openCaches).of('hub');
    expect(cache).toMatchObject({
      project: 'hub',
      registry: 'docker.io',
      path: '',
      freshMs: 300_000,
      missingMs: 60_000,
      keepUnpulledMs: undefined,
      isInsecure: false,
      refusal: undefined,
    });
    expect(cache?.takesTag('anything')).toBe(true);
  });

  test('counts from the moment it is committed, in every process', async () => {
    const caches = new UpstreamCaches(there, openCaches);
    expect(await caches.of('hub')).toBeUndefined();
    await create({ registry: 'quay.io', path: 'team', keepUnpulled: '30d', freshSeconds: 0, insecure: true });
    expect(await caches.of('hub')).toMatchObject({
      registry: 'quay.io',
      path: 'team',
      freshMs: 0,
      keepUnpulledMs: 30 * 86_400_000,
      isInsecure: true,
    });
    expect(await caches.of('team')).toBeUndefined();
  });

  test('is read once, however often it is asked for', async () => {
    let reads = 0;
    const counting: Pick<ObjectStore, 'list' | 'lastChangeOf'> = {
      lastChangeOf: (resources) => here.lastChangeOf(resources),
      list: (query) => {
        reads += 1;
        return here.list(query);
      },
    };
    await create({ registry: 'docker.io' });
    const caches = new UpstreamCaches(counting, openCaches);
    for (let count = 0; count < 5; count += 1) await caches.of(count % 2 === 0 ? 'hub' : 'team');
    expect(reads).toBe(1);
  });

  test('is the only one of its project', async () => {
    await create({ registry: 'docker.io' });
    await expect(create({ registry: 'quay.io' }, 'hub', 'second')).rejects.toMatchObject({
      reason: 'Forbidden',
      message:
        'upstreamcaches.weir.dev "second" is forbidden: the project is a cache already, by "upstream"; change or delete that',
    });
    await create({ registry: 'quay.io' }, 'quay');
  });

  test.each<{ readonly spec: JsonValue; readonly message: string }>([
    { spec: { registry: '' }, message: 'spec.registry: Required value' },
    { spec: { registry: 'docker' }, message: 'spec.registry: Invalid value: "docker": expected host' },
    { spec: { registry: 'Docker.io' }, message: 'spec.registry: Invalid value' },
    { spec: { registry: 'docker.io/library' }, message: 'spec.registry: Invalid value' },
    { spec: { registry: 'https://docker.io' }, message: 'spec.registry: Invalid value' },
    { spec: { registry: 'user@docker.io' }, message: 'spec.registry: Invalid value' },
    { spec: { registry: '[::1]:5000' }, message: 'spec.registry: Invalid value' },
    { spec: { registry: `${'a'.repeat(300)}.io` }, message: 'spec.registry: Too long' },
    { spec: { registry: 'docker.io', path: '' }, message: 'spec.path: Required value' },
    { spec: { registry: 'docker.io', path: '/library' }, message: 'spec.path: Invalid value' },
    { spec: { registry: 'docker.io', path: 'library/' }, message: 'spec.path: Invalid value' },
    { spec: { registry: 'docker.io', path: '../x' }, message: 'spec.path: Invalid value' },
    { spec: { registry: 'docker.io', path: 'a:b' }, message: 'spec.path: Invalid value' },
    { spec: { registry: 'docker.io', keepUnpulled: '30' }, message: 'spec.keepUnpulled: Invalid value' },
    { spec: { registry: 'docker.io', keepUnpulled: '0d' }, message: 'spec.keepUnpulled: Invalid value' },
    { spec: { registry: 'docker.io', freshSeconds: -1 }, message: 'spec.freshSeconds' },
    { spec: { registry: 'docker.io', missingSeconds: 86_401 }, message: 'spec.missingSeconds' },
    { spec: { registry: 'docker.io', tags: [] }, message: 'spec.tags: Required value' },
    { spec: { registry: 'docker.io', tags: ['!v*'] }, message: 'spec.tags: Invalid value' },
    { spec: { registry: 'docker.io', tags: ['v/1'] }, message: 'spec.tags[0]: Invalid value' },
  ])('$spec is refused: $message', async ({ spec, message }) => {
    await expect(create(spec)).rejects.toMatchObject({
      reason: 'Invalid',
      message: expect.stringContaining(message) as string,
    });
  });

  test('of a registry that images may not come from is refused', async () => {
    const options = {
      refuse: ({ registry, path }: { registry: string; path: string }) => `registry "${registry}/${path}" not allowed`,
      ownHost: undefined,
    };
    await expect(createCache(here, { registry: 'docker.io', path: 'x' }, { options })).rejects.toMatchObject({
      reason: 'Invalid',
      message:
        'UpstreamCache.weir.dev "upstream" is invalid: spec.registry: Invalid value: "docker.io": registry "docker.io/x" not allowed',
    });
  });

  test('of this registry itself is refused', async () => {
    const options = { ...openCaches, ownHost: 'weir.example' };
    for (const registry of ['weir.example', 'weir.example:443']) {
      await expect(createCache(here, { registry }, { options })).rejects.toMatchObject({
        reason: 'Invalid',
        message: expect.stringContaining('is this registry itself') as string,
      });
    }
  });

  test.each([
    { tags: ['3*'], tag: '3.1', yes: true },
    { tags: ['3*'], tag: '4', yes: false },
    { tags: ['*', '!*-rc?'], tag: '3-rc1', yes: false },
    { tags: ['*', '!*-rc?'], tag: '3', yes: true },
  ])('of tags $tags takes $tag: $yes', async ({ tags, tag, yes }) => {
    await create({ registry: 'docker.io', tags });
    expect((await new UpstreamCaches(here, openCaches).of('hub'))?.takesTag(tag)).toBe(yes);
  });
});

describe('a repository of another registry', () => {
  beforeEach(async () => {
    await create({ registry: 'docker.io', mirror: true }, 'mirror');
    await create({ registry: 'docker.io', mirror: true }, 'hub');
    await create({ registry: 'quay.io', path: 'team/apps', mirror: true }, 'quay');
    await create({ registry: 'index.docker.io', path: 'library', mirror: true }, 'team');
  });

  test.each([
    { registry: 'docker.io', path: 'bitnami/redis', found: 'hub/bitnami/redis' },
    { registry: 'registry-1.docker.io', path: 'bitnami/redis', found: 'hub/bitnami/redis' },
    { registry: 'index.docker.io', path: 'library/alpine', found: 'team/alpine' },
    { registry: 'docker.io', path: 'library', found: 'hub/library' },
    { registry: 'docker.io', path: 'library2/alpine', found: 'hub/library2/alpine' },
    { registry: 'quay.io', path: 'team/apps/web', found: 'quay/web' },
    { registry: 'quay.io:443', path: 'team/apps/web', found: 'quay/web' },
    { registry: 'quay.io', path: 'team/other', found: undefined },
    { registry: 'quay.io:8443', path: 'team/apps/web', found: undefined },
    { registry: 'ghcr.io', path: 'a/b', found: undefined },
  ])('$registry/$path is here as $found', async ({ registry, path, found }) => {
    expect(await new UpstreamCaches(here, openCaches).findRepository(registry, path)).toBe(found);
  });

  test('is looked for in all caches there are', async () => {
    const caches = await new UpstreamCaches(here, openCaches).list();
    expect(caches.map(({ project }) => project)).toEqual(['hub', 'mirror', 'quay', 'team']);
  });
});

test.each([
  { text: '90s', ms: 90_000 },
  { text: '5m', ms: 300_000 },
  { text: '12h', ms: 43_200_000 },
  { text: '30d', ms: 2_592_000_000 },
  { text: '1.5d', ms: undefined },
  { text: '-1d', ms: undefined },
  { text: '1234567d', ms: undefined },
])('$text is so many milliseconds: $ms', ({ text, ms }) => {
  expect(parseDuration(text)).toBe(ms);
});

test('the table of caches says where from, how fresh and for how long', async () => {
  await create({ registry: 'docker.io', path: 'library', keepUnpulled: '30d', freshSeconds: 60 });
  const { objects } = await here.list({ resource: 'upstreamcaches.weir.dev', namespace: 'hub', limit: 10 });
  const table = toTable({
    resource: upstreamCacheResource(here, openCaches),
    items: objects,
    resourceVersion: '1',
    includeObject: 'None',
    now: new Date('2024-05-01T12:05:00Z'),
  });
  expect(table.columnDefinitions.map(({ name }) => name)).toEqual(['Name', 'Upstream', 'Fresh', 'Keeps', 'Age']);
  expect(table.rows.map(({ cells }) => cells)).toEqual([['upstream', 'docker.io/library', '60s', '30d', '5m']]);
});
