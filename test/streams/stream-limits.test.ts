import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import type { ObjectStore } from '../../src/metadata/object-store.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import {
  imagesOf,
  imageSizeRefusal,
  limitRefusal,
  noUsage,
  quotaRefusal,
  specReferencesOf,
  StreamLimits,
  type StreamLimit,
  type StreamUsage,
} from '../../src/streams/stream-limits.js';
import type { TagSource } from '../../src/streams/types.js';
import { addProjects } from '../support/projects.js';
import { put, remove } from '../support/stored-access.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const streamType = 'openshift.io/ImageStream';

function limited(limit: { specReferences?: number; images?: number; imageSize?: number }): StreamLimit {
  const quantities = Object.entries(limit).map(([name, value]) => [name, { value, units: 'decimal' }]);
  return { ...(Object.fromEntries(quantities) as object), quotas: [] };
}

/** How a stream with these sources and images is counted. */
function usage(references: string, images = ''): StreamUsage {
  const setOf = (words: string) => new Set(words.split(' ').filter((word) => word !== ''));
  return { specReferences: setOf(references), images: setOf(images) };
}

describe('the limits of a project', () => {
  let store: ObjectStore;
  let limits: StreamLimits;
  beforeEach(async () => {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    await addProjects(db, ['team', 'other']);
    store = new KyselyObjectStore(db);
    limits = new StreamLimits(store);
  });

  const putLimits = (name: string, items: readonly object[], namespace = 'team') =>
    put(store, 'limitranges', { name, namespace }, { spec: { limits: items } });
  const putQuota = (name: string, spec: object) => put(store, 'resourcequotas', { name, namespace: 'team' }, { spec });

  test('are none when nothing says any', async () => {
    await putLimits('containers', [{ type: 'Container', max: { memory: '1Gi', storage: '1' } }]);
    await putLimits('elsewhere', [{ type: streamType, max: { 'openshift.io/images': '1' } }], 'other');
    await putLimits('least', [{ type: streamType, min: { 'openshift.io/images': '1' } }]);
    await putQuota('compute', { hard: { pods: '1', 'count/secrets': '1' } });
    expect(await limits.of('team')).toEqual({ quotas: [] });
  });

  test('are the lowest of several', async () => {
    await putLimits('a', [{ type: streamType, max: { 'openshift.io/image-tags': '5', 'openshift.io/images': '1k' } }]);
    await putLimits('b', [
      { type: streamType, max: { 'openshift.io/image-tags': '3' } },
      { type: streamType, max: { 'openshift.io/images': '999', storage: '1' } },
      { type: 'openshift.io/Image', max: { storage: '2Gi' } },
      { type: 'openshift.io/Image', max: { storage: '1Gi', 'openshift.io/images': '1' } },
    ]);
    expect(await limits.of('team')).toEqual({
      specReferences: { value: 3, units: 'decimal' },
      images: { value: 999, units: 'decimal' },
      imageSize: { value: 1_073_741_824, units: 'binary' },
      quotas: [],
    });
  });

  test('have the quotas that count image streams, but for those with a scope, which count pods', async () => {
    const key = 'openshift.io/imagestreams';
    await putQuota('streams', { hard: { [key]: '2', 'count/imagestreams.image.openshift.io': '3', pods: '1' } });
    await putQuota('scoped', { hard: { [key]: '1' }, scopes: ['BestEffort'] });
    await putQuota('selected', { hard: { [key]: '1' }, scopeSelector: { matchExpressions: [] } });
    const { quotas } = await limits.of('team');
    expect(quotas).toEqual([
      {
        name: 'streams',
        hard: [
          { key: 'count/imagestreams.image.openshift.io', most: { value: 3, units: 'decimal' } },
          { key, most: { value: 2, units: 'decimal' } },
        ],
      },
    ]);
  });

  test('count from the next question on when they change', async () => {
    expect((await limits.of('team')).images).toBeUndefined();
    await putLimits('a', [{ type: streamType, max: { 'openshift.io/images': '2' } }]);
    expect((await limits.of('team')).images?.value).toBe(2);
    await putLimits('a', [{ type: streamType, max: { 'openshift.io/images': '4' } }]);
    expect((await limits.of('team')).images?.value).toBe(4);
    await remove(store, 'limitranges', { name: 'a', namespace: 'team' });
    await putQuota('q', { hard: { 'openshift.io/imagestreams': '1' } });
    const { images, quotas } = await limits.of('team');
    expect(images).toBeUndefined();
    expect(quotas).toHaveLength(1);
  });
});

describe('the sources of a spec', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const docker = (name: string): TagSource => ({ kind: 'DockerImage', name });

  test.each<{ readonly name: string; readonly from: TagSource | undefined; readonly reference: string | undefined }>([
    { name: 'no source', from: undefined, reference: undefined },
    { name: 'an official image', from: docker('busybox'), reference: 'docker.io/busybox' },
    { name: 'its full name', from: docker('docker.io/library/busybox:latest'), reference: 'docker.io/busybox' },
    { name: 'another name of Docker Hub', from: docker('registry-1.docker.io/a/b:1'), reference: 'docker.io/a/b:1' },
    { name: 'a library elsewhere', from: docker('quay.io/library/a:latest'), reference: 'quay.io/library/a' },
    { name: 'a digest', from: docker(`quay.io/a/b:v1@${digest}`), reference: `quay.io/a/b@${digest}` },
    { name: 'what cannot be read', from: docker('A B'), reference: undefined },
    { name: 'a tag of its own', from: { kind: 'ImageStreamTag', name: 'v1' }, reference: undefined },
    { name: 'a tag beside it', from: { kind: 'ImageStreamTag', name: 'app:v1' }, reference: 'team/app:v1' },
    {
      name: 'a tag elsewhere',
      from: { kind: 'ImageStreamTag', name: 'app:v1', namespace: 'other' },
      reference: 'other/app:v1',
    },
    {
      name: 'an image elsewhere',
      from: { kind: 'ImageStreamImage', name: `app@${digest}`, namespace: 'other' },
      reference: `other/app@${digest}`,
    },
    { name: 'an image without a digest', from: { kind: 'ImageStreamImage', name: 'app' }, reference: undefined },
  ])('with $name count as $reference', ({ from, reference }) => {
    expect([...specReferencesOf('team', [from === undefined ? {} : { from }])]).toEqual(
      reference === undefined ? [] : [reference],
    );
  });

  test('count once when they are the same', () => {
    const tags = ['nginx', 'docker.io/library/nginx:latest', 'index.docker.io/nginx'].map((name) => ({
      from: docker(name),
    }));
    expect([...specReferencesOf('team', tags)]).toEqual(['docker.io/nginx']);
    expect(specReferencesOf('team', undefined).size).toBe(0);
  });
});

test('the images of a history count once each, and what only points elsewhere not at all', () => {
  const item = (image: string) => ({ created: '', dockerImageReference: '', image, generation: 1 });
  const tags = [
    { items: [item('sha256:a'), item('sha256:b'), item('')] },
    { items: [item('sha256:a')] },
    { items: null },
  ];
  expect([...imagesOf(tags)]).toEqual(['sha256:a', 'sha256:b']);
  expect(imagesOf(undefined).size).toBe(0);
});

describe('a change of a stream', () => {
  const overTags = (counts: string) =>
    `requested usage of openshift.io/image-tags exceeds the maximum limit per openshift.io/ImageStream (${counts})`;
  const overImages = (counts: string) =>
    `requested usage of openshift.io/images exceeds the maximum limit per openshift.io/ImageStream (${counts})`;

  test.each<{
    readonly name: string;
    readonly old: StreamUsage;
    readonly next: StreamUsage;
    readonly limit: StreamLimit;
    readonly refusal: string | undefined;
  }>([
    {
      name: 'may add anything without limits',
      old: noUsage,
      next: usage('a b', 'x y'),
      limit: limited({}),
      refusal: undefined,
    },
    {
      name: 'may reach a limit',
      old: noUsage,
      next: usage('a'),
      limit: limited({ specReferences: 1 }),
      refusal: undefined,
    },
    {
      name: 'may not go beyond one',
      old: usage('a'),
      next: usage('a b'),
      limit: limited({ specReferences: 1 }),
      refusal: overTags('2 > 1'),
    },
    {
      name: 'may not create what is beyond one',
      old: noUsage,
      next: usage('', 'x y z'),
      limit: limited({ images: 2 }),
      refusal: overImages('3 > 2'),
    },
    {
      name: 'may replace something at the limit',
      old: usage('a'),
      next: usage('b'),
      limit: limited({ specReferences: 1 }),
      refusal: undefined,
    },
    {
      name: 'may not replace anything above the limit',
      old: usage('a b'),
      next: usage('a c'),
      limit: limited({ specReferences: 1 }),
      refusal: overTags('2 > 1'),
    },
    {
      name: 'may leave all as it is above the limit',
      old: usage('a b', 'x y'),
      next: usage('b a', 'y x'),
      limit: limited({ specReferences: 1, images: 1 }),
      refusal: undefined,
    },
    {
      name: 'may take away above the limit',
      old: usage('a b c', 'x y'),
      next: usage('a b', 'x'),
      limit: limited({ specReferences: 1, images: 0 }),
      refusal: undefined,
    },
    {
      name: 'may not take away and add above the limit',
      old: usage('a b c'),
      next: usage('a d'),
      limit: limited({ specReferences: 1 }),
      refusal: overTags('2 > 1'),
    },
    {
      name: 'may not add an image to a stream with too many sources',
      old: usage('a b'),
      next: usage('a b', 'x'),
      limit: limited({ specReferences: 1 }),
      refusal: overTags('2 > 1'),
    },
    {
      name: 'is told of every limit',
      old: noUsage,
      next: usage('a b', 'x'),
      limit: limited({ specReferences: 1, images: 0 }),
      refusal: `[${overImages('1 > 0')}, ${overTags('2 > 1')}]`,
    },
  ])('$name', ({ old, next, limit, refusal }) => {
    expect(limitRefusal(old, next, limit)).toBe(refusal);
  });

  test('is told of large numbers as Kubernetes writes them', () => {
    const many = usage(Array.from({ length: 2000 }, (_, index) => `r${index}`).join(' '));
    expect(limitRefusal(noUsage, many, limited({ specReferences: 1500 }))).toBe(overTags('2k > 1500'));
  });
});

test.each([
  { size: 1024, imageSize: { value: 1024, units: 'binary' }, refusal: undefined },
  {
    size: 2048,
    imageSize: { value: 1024, units: 'binary' },
    refusal: 'requested usage of storage exceeds the maximum limit per openshift.io/Image (2Ki > 1Ki)',
  },
  {
    size: 1_000_001,
    imageSize: { value: 1_000_000, units: 'decimal' },
    refusal: 'requested usage of storage exceeds the maximum limit per openshift.io/Image (1000001 > 1M)',
  },
  { size: Number.MAX_SAFE_INTEGER, imageSize: undefined, refusal: undefined },
] as const)('an image of $size bytes under a limit of $imageSize.value: $refusal', ({ size, imageSize, refusal }) => {
  expect(imageSizeRefusal(size, { quotas: [], ...(imageSize && { imageSize }) })).toBe(refusal);
});

describe('one more image stream', () => {
  const key = 'openshift.io/imagestreams';
  const generic = 'count/imagestreams.image.openshift.io';
  const most = (value: number) => ({ value, units: 'decimal' as const });
  const quotas = [
    { name: 'wide', hard: [{ key, most: most(10) }] },
    {
      name: 'both',
      hard: [
        { key: generic, most: most(3) },
        { key, most: most(2) },
      ],
    },
  ];

  test('may come up to the quota', () => {
    expect(quotaRefusal(1, { quotas })).toBeUndefined();
    expect(quotaRefusal(1000, { quotas: [] })).toBeUndefined();
  });

  test('may not come beyond it, and the quota is named with what is exceeded', () => {
    expect(quotaRefusal(2, { quotas })).toBe(
      'exceeded quota: both, requested: openshift.io/imagestreams=1, used: openshift.io/imagestreams=2, limited: openshift.io/imagestreams=2',
    );
    expect(quotaRefusal(3, { quotas })).toBe(
      `exceeded quota: both, requested: ${generic}=1,${key}=1, used: ${generic}=3,${key}=3, limited: ${generic}=3,${key}=2`,
    );
    expect(quotaRefusal(10, { quotas })).toBe(
      'exceeded quota: wide, requested: openshift.io/imagestreams=1, used: openshift.io/imagestreams=10, limited: openshift.io/imagestreams=10',
    );
  });
});
