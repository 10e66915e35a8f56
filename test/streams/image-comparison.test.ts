import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.js';
import type { ManifestMediaType } from '../../src/oci/media-types.js';
import { compareImages, type ComparedImage, type ImageComparison } from '../../src/streams/image-comparison.js';
import { content, descriptor, imageManifest, sha256, types, type Manifest } from '../support/images.js';

function compared({ digest, mediaType, bytes }: Manifest, config?: string): ComparedImage {
  return { digest: digest as Digest, mediaType: mediaType as ManifestMediaType, bytes, config };
}

/** An image of layers with these contents. */
function imageOf(config: unknown, layers: readonly string[] = []): ComparedImage {
  const text = JSON.stringify(config);
  return compared(imageManifest(content(text), layers.map(content)), text);
}

function compareContainers(from: unknown, to: unknown): ImageComparison {
  return compareImages(imageOf({ config: from }), imageOf({ config: to }));
}

const none = { added: [], removed: [], changed: [] };

test('a newer image is compared with the one before it', () => {
  const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
  const from = imageOf(
    {
      ...platform,
      created: '2024-05-06T07:08:09.5Z',
      config: {
        Env: ['PATH=/bin', 'NODE_VERSION=20.17.0', 'OLD=1'],
        Cmd: ['server.js'],
        User: 'node',
        Labels: { 'org.opencontainers.image.version': '2.13.4', team: 'shop' },
      },
      history: [{ created_by: 'ADD debian' }, { created_by: 'RUN node 20.17.0' }],
    },
    ['debian', 'node 20'],
  );
  const to = imageOf(
    {
      ...platform,
      created: '2024-05-07T07:08:09Z',
      config: {
        Env: ['PATH=/bin', 'NODE_VERSION=22.9.0', 'DB_POOL_MAX=40'],
        Cmd: ['server.js', '--pool'],
        User: 'node',
        Labels: { 'org.opencontainers.image.version': '2.14.1', team: 'shop' },
      },
      history: [
        { created_by: 'ADD debian' },
        { created_by: 'ENV DB_POOL_MAX=40', empty_layer: true },
        { created_by: 'RUN node 22.9.0' },
        { created_by: 'COPY . /srv' },
      ],
    },
    ['debian', 'node 22', 'server'],
  );
  expect(compareImages(from, to)).toEqual({
    image: { from: from.digest, to: to.digest },
    version: { from: '2.13.4', to: '2.14.1' },
    platform: { from: 'linux/arm/v7', to: 'linux/arm/v7' },
    created: { from: '2024-05-06T07:08:09Z', to: '2024-05-07T07:08:09Z' },
    size: { from: (from.config?.length ?? 0) + 13, to: (to.config?.length ?? 0) + 19 },
    config: { cmd: { from: ['server.js'], to: ['server.js', '--pool'] } },
    environment: {
      added: [{ name: 'DB_POOL_MAX', value: '40' }],
      removed: [{ name: 'OLD', value: '1' }],
      changed: [{ name: 'NODE_VERSION', from: '20.17.0', to: '22.9.0' }],
    },
    labels: { ...none, changed: [{ name: 'org.opencontainers.image.version', from: '2.13.4', to: '2.14.1' }] },
    layers: {
      kept: 1,
      keptSize: 6,
      added: [
        { digest: sha256('node 22'), size: 7, createdBy: 'RUN node 22.9.0' },
        { digest: sha256('server'), size: 6, createdBy: 'COPY . /srv' },
      ],
      removed: [{ digest: sha256('node 20'), size: 7, createdBy: 'RUN node 20.17.0' }],
    },
  });
});

describe('how a container is run', () => {
  test.each([
    {
      name: 'an entrypoint that comes',
      from: {},
      to: { Entrypoint: ['node'] },
      config: { entrypoint: { from: null, to: ['node'] } },
    },
    {
      name: 'a command that goes',
      from: { Cmd: ['sh', '-c'] },
      to: { Cmd: null },
      config: { cmd: { from: ['sh', '-c'], to: null } },
    },
    {
      name: 'the order of a command',
      from: { Cmd: ['a', 'b'] },
      to: { Cmd: ['b', 'a'] },
      config: { cmd: { from: ['a', 'b'], to: ['b', 'a'] } },
    },
    {
      name: 'a command split otherwise',
      from: { Cmd: ['a,b'] },
      to: { Cmd: ['a', 'b'] },
      config: { cmd: { from: ['a,b'], to: ['a', 'b'] } },
    },
    {
      name: 'another user',
      from: { User: 'root' },
      to: { User: '1000' },
      config: { user: { from: 'root', to: '1000' } },
    },
    {
      name: 'another working directory',
      from: { WorkingDir: '/' },
      to: { WorkingDir: '/srv' },
      config: { workingDir: { from: '/', to: '/srv' } },
    },
    {
      name: 'ports, sorted',
      from: { ExposedPorts: { '8080/tcp': {} } },
      to: { ExposedPorts: { '9090/tcp': {}, '8080/tcp': {} } },
      config: { exposedPorts: { from: ['8080/tcp'], to: ['8080/tcp', '9090/tcp'] } },
    },
    {
      name: 'volumes',
      from: { Volumes: { '/data': {} } },
      to: {},
      config: { volumes: { from: ['/data'], to: null } },
    },
    {
      name: 'nothing when ports are in another order',
      from: { ExposedPorts: { a: {}, b: {} } },
      to: { ExposedPorts: { b: {}, a: {} } },
      config: {},
    },
    { name: 'nothing when empty is absent', from: { Cmd: [], User: '', Volumes: {} }, to: {}, config: {} },
  ])('differs by $name', ({ from, to, config }) => {
    expect(compareContainers(from, to).config).toEqual(config);
  });
});

describe('the environment', () => {
  test.each([
    {
      name: 'a value that holds =',
      from: ['A=b=c'],
      to: ['A=b=d'],
      environment: { ...none, changed: [{ name: 'A', from: 'b=c', to: 'b=d' }] },
    },
    {
      name: 'a variable without a value',
      from: [],
      to: ['A'],
      environment: { ...none, added: [{ name: 'A', value: '' }] },
    },
    {
      name: 'a name that begins with =',
      from: [],
      to: ['=C:=C:\\'],
      environment: { ...none, added: [{ name: '=C:', value: 'C:\\' }] },
    },
    { name: 'the last of two of one name', from: ['A=1'], to: ['A=2', 'A=1'], environment: none },
    { name: 'no order', from: ['A=1', 'B=2'], to: ['B=2', 'A=1'], environment: none },
    {
      name: 'names in order',
      from: ['Y=', 'X='],
      to: ['B=', 'A='],
      environment: {
        added: [
          { name: 'A', value: '' },
          { name: 'B', value: '' },
        ],
        removed: [
          { name: 'X', value: '' },
          { name: 'Y', value: '' },
        ],
        changed: [],
      },
    },
    {
      name: '__proto__ like any other',
      from: ['__proto__=1'],
      to: ['__proto__=2'],
      environment: { ...none, changed: [{ name: '__proto__', from: '1', to: '2' }] },
    },
  ])('is compared with $name', ({ from, to, environment }) => {
    expect(compareContainers({ Env: from }, { Env: to }).environment).toEqual(environment);
  });
});

describe('layers', () => {
  test('that an image has twice are kept as often as the other has them', () => {
    const { layers } = compareImages(imageOf({}, ['a', 'empty']), imageOf({}, ['a', 'empty', 'b', 'empty']));
    expect(layers).toEqual({
      kept: 2,
      keptSize: 6,
      added: [
        { digest: sha256('b'), size: 1 },
        { digest: sha256('empty'), size: 5 },
      ],
      removed: [],
    });
  });

  test('in another order are the same layers', () => {
    const { layers } = compareImages(imageOf({}, ['a', 'b']), imageOf({}, ['b', 'a']));
    expect(layers).toEqual({ kept: 2, keptSize: 2, added: [], removed: [] });
  });

  test('of artifacts are compared as well, and nothing else is known of them', () => {
    const config = descriptor('application/vnd.example.config', content('{}'));
    const [from, to] = ['1', '2'].map((name) => compared(imageManifest(content('{}'), [content(name)], { config })));
    expect(compareImages(from!, to!)).toEqual({
      image: { from: from!.digest, to: to!.digest },
      version: { from: null, to: null },
      platform: { from: null, to: null },
      created: { from: null, to: null },
      size: { from: 3, to: 3 },
      config: {},
      environment: none,
      labels: none,
      layers: {
        kept: 0,
        keptSize: 0,
        added: [{ digest: sha256('2'), size: 1 }],
        removed: [{ digest: sha256('1'), size: 1 }],
      },
    });
  });
});

describe('of any two images', () => {
  const names = fc.constantFrom('A', 'B', 'C', '__proto__', 'constructor', '');
  const texts = fc.array(
    fc.oneof(
      names,
      fc.tuple(names, names).map(([name, value]) => `${name}=${value}`),
    ),
  );
  const container = fc.record(
    {
      Env: fc.oneof(texts, fc.jsonValue()),
      Cmd: fc.oneof(texts, fc.jsonValue()),
      Entrypoint: texts,
      User: fc.oneof(names, fc.jsonValue()),
      Labels: fc.oneof(fc.dictionary(names, names), fc.dictionary(names, fc.jsonValue())),
      ExposedPorts: fc.oneof(fc.dictionary(names, fc.constant({})), fc.jsonValue()),
      Volumes: fc.dictionary(names, fc.jsonValue()),
    },
    { requiredKeys: [] },
  );
  const image = fc
    .tuple(fc.oneof(container, fc.jsonValue()), fc.array(fc.constantFrom('a', 'bb', 'ccc'), { maxLength: 6 }))
    .map(([config, layers]) => ({ ...imageOf({ config }, layers), layers }));

  test('an image is like itself', () => {
    fc.assert(
      fc.property(image, ({ layers, ...same }) => {
        const comparison = compareImages(same, same);
        expect(comparison).toMatchObject({ config: {}, environment: none, labels: none });
        expect(Object.keys(comparison.config)).toEqual([]);
        expect(comparison.layers).toEqual({
          kept: layers.length,
          keptSize: layers.join('').length,
          added: [],
          removed: [],
        });
      }),
    );
  });

  test('there and back, what came goes and what went comes', () => {
    fc.assert(
      fc.property(image, image, (from, to) => {
        const there = compareImages(from, to);
        const back = compareImages(to, from);
        for (const part of ['environment', 'labels'] as const) {
          expect(back[part].added).toEqual(there[part].removed);
          expect(back[part].removed).toEqual(there[part].added);
          expect(back[part].changed).toEqual(
            there[part].changed.map(({ name, from, to }) => ({ name, from: to, to: from })),
          );
        }
        expect(back.layers).toEqual({
          ...there.layers,
          added: there.layers.removed,
          removed: there.layers.added,
        });
        expect(Object.keys(back.config)).toEqual(Object.keys(there.config));
      }),
    );
  });

  test('what is kept and what comes is what there is in the end', () => {
    fc.assert(
      fc.property(image, image, (from, to) => {
        const { kept, keptSize, added, removed } = compareImages(from, to).layers;
        expect(kept + added.length).toBe(to.layers.length);
        expect(kept + removed.length).toBe(from.layers.length);
        expect(keptSize + added.reduce((sum, { size }) => sum + size, 0)).toBe(to.layers.join('').length);
      }),
    );
  });

  test('the comparison is JSON that says all of it', () => {
    fc.assert(
      fc.property(image, image, (from, to) => {
        const comparison = compareImages(from, to);
        expect(JSON.parse(JSON.stringify(comparison))).toEqual(comparison);
      }),
    );
  });
});

test('a layer of the same bytes is of the same size whatever it is called', () => {
  const layer = content('layer');
  const [from, to] = [types.layer, 'application/vnd.oci.image.layer.v1.tar+zstd'].map((mediaType) =>
    compared(imageManifest(content('{}'), [], { layers: [descriptor(mediaType, layer)] }), '{}'),
  );
  expect(compareImages(from!, to!).layers).toEqual({ kept: 1, keptSize: 5, added: [], removed: [] });
});
