import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  indexEntries,
  maxConfigSize,
  readImageConfig,
  summarizeImage,
  totalSize,
  type ImageSummary,
} from '../../src/oci/image-config.js';
import { parseManifest } from '../../src/oci/manifest.js';
import { content, descriptor, imageManifest, manifestOf, sha256, types, type Manifest } from '../support/images.js';

function summarize(manifest: Manifest, config?: Buffer | string): ImageSummary {
  const parsed = parseManifest(manifest.bytes, manifest.mediaType);
  return summarizeImage(manifest.bytes, parsed, config === undefined ? undefined : Buffer.from(config));
}

/** An image whose config is this text or JSON, summarized. */
function summarizeConfig(config: unknown, fields: Parameters<typeof imageManifest>[2] = {}): ImageSummary {
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  return summarize(imageManifest(content(text), [], fields), text);
}

function indexOf(...entries: readonly object[]): Manifest {
  const manifests = entries.map((entry, position) => ({
    mediaType: types.manifest,
    digest: sha256(`manifest ${position}`),
    size: 100 + position,
    ...entry,
  }));
  return manifestOf({ schemaVersion: 2, mediaType: types.index, manifests }, types.index);
}

const version = 'org.opencontainers.image.version';

describe('the summary of an image', () => {
  test('adds up the config and each layer once', () => {
    const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }));
    const [base, app] = [content('base'), content('application')];
    const { totalSize } = summarize(imageManifest(config, [base, app, base]), config.bytes);
    expect(totalSize).toBe(config.bytes.length + 4 + 11);
  });

  test('counts layers that are not distributed as they are described', () => {
    const config = content('{}');
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const layers = [{ mediaType, digest: sha256('windows'), size: 1_700_000_000, urls: ['https://example.com/base'] }];
    expect(summarize(imageManifest(config, [], { layers }), '{}').totalSize).toBe(1_700_000_002);
  });

  test('stays a whole number that can be kept, whatever the descriptors say', () => {
    const layers = ['a', 'b', 'c'].map((name) => ({
      mediaType: types.layer,
      digest: sha256(name),
      size: Number.MAX_SAFE_INTEGER,
    }));
    expect(summarize(imageManifest(content('{}'), [], { layers })).totalSize).toBe(9_007_199_254_740_991);
  });

  test.each([
    { config: { os: 'linux', architecture: 'amd64' }, platforms: ['linux/amd64'] },
    { config: { os: 'linux', architecture: 'arm', variant: 'v7' }, platforms: ['linux/arm/v7'] },
    { config: { os: 'linux', architecture: 'arm', variant: 7 }, platforms: ['linux/arm'] },
    { config: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' }, platforms: ['windows/amd64'] },
    { config: { os: 'linux' }, platforms: [] },
    { config: { os: '', architecture: '' }, platforms: [] },
    { config: { os: ['linux'], architecture: 'amd64' }, platforms: [] },
    { config: { os: 'linux/../..', architecture: 'amd64' }, platforms: [] },
    { config: { os: 'linux\n', architecture: 'amd64' }, platforms: [] },
    { config: { os: 'l'.repeat(65), architecture: 'amd64' }, platforms: [] },
    { config: null, platforms: [] },
    { config: [{ os: 'linux', architecture: 'amd64' }], platforms: [] },
  ])('of the config $config is for $platforms', ({ config, platforms }) => {
    expect(summarizeConfig(config).platforms).toEqual(platforms);
  });

  test.each([
    { name: 'the label', labels: { [version]: '1.2' }, annotations: { [version]: '3' }, expected: '1.2' },
    { name: 'the annotation when there is no label', labels: {}, annotations: { [version]: '3' }, expected: '3' },
    {
      name: 'the annotation when the label is no text',
      labels: { [version]: 2 },
      annotations: { [version]: '3' },
      expected: '3',
    },
    { name: 'the annotation when there are no labels', labels: 'x', annotations: { [version]: '3' }, expected: '3' },
    { name: 'nothing of more than a line', labels: { [version]: '1\n2' }, annotations: {}, expected: undefined },
    {
      name: 'nothing of more than 128 characters',
      labels: { [version]: '1'.repeat(129) },
      annotations: {},
      expected: undefined,
    },
    { name: 'nothing when nobody says it', labels: {}, annotations: {}, expected: undefined },
  ])('takes as version $name', ({ labels, annotations, expected }) => {
    expect(summarizeConfig({ config: { Labels: labels } }, { annotations }).version).toBe(expected);
  });

  test('keeps the text of the config as it is', () => {
    const text = '{ "os":"linux",\n "architecture": "amd64", "x": 1.0 }';
    expect(summarizeConfig(text).config).toBe(text);
  });

  test('knows the config of a Docker image', () => {
    const text = '{"os":"linux","architecture":"s390x"}';
    const config = descriptor('application/vnd.docker.container.image.v1+json', content(text));
    const manifest = imageManifest(content(text), [], { mediaType: types.dockerManifest, config });
    expect(summarize(manifest, text)).toMatchObject({ config: text, platforms: ['linux/s390x'] });
  });

  test.each([
    { name: 'text that is no JSON', config: Buffer.from('{"os":"linux"') },
    { name: 'a JSON array', config: Buffer.from('[]') },
    { name: 'a JSON null', config: Buffer.from('null') },
    {
      name: 'no text in UTF-8',
      config: Buffer.concat([Buffer.from('{"os":"'), Buffer.from([0xff]), Buffer.from('"}')]),
    },
    { name: 'a byte order mark and an object', config: Buffer.from('\ufeff{}') },
    { name: 'nothing', config: Buffer.alloc(0) },
    { name: 'a hundred thousand arrays in each other', config: Buffer.from('['.repeat(100_000)) },
    { name: 'an object of more than 8 MiB', config: Buffer.from(`{"os":"linux"}${' '.repeat(maxConfigSize)}`) },
  ])('has no config of $name, and says the rest', ({ config }) => {
    const manifest = imageManifest({ bytes: config, digest: sha256(config) }, [content('layer')]);
    expect(summarize(manifest, config)).toEqual({
      totalSize: config.length + 5,
      platforms: [],
      version: undefined,
      config: undefined,
    });
  });

  test('takes a config of exactly 8 MiB', () => {
    const text = '{"os":"linux","architecture":"amd64"}'.padEnd(8 * 1024 * 1024);
    expect(summarizeConfig(text)).toMatchObject({ platforms: ['linux/amd64'], config: text });
  });

  test('says what the manifest says when there is no config at hand', () => {
    const manifest = imageManifest(content('12345'), [content('layer')], { annotations: { [version]: '2' } });
    expect(summarize(manifest)).toEqual({ totalSize: 10, platforms: [], version: '2', config: undefined });
  });

  test('of an artifact looks into no config', () => {
    const text = JSON.stringify({ os: 'linux', architecture: 'amd64', config: { Labels: { [version]: '9' } } });
    const config = descriptor('application/vnd.cncf.helm.config.v1+json', content(text));
    const manifest = imageManifest(content(text), [content('chart')], { config, annotations: { [version]: '0.3.1' } });
    expect(summarize(manifest, text)).toEqual({
      totalSize: text.length + 5,
      platforms: [],
      version: '0.3.1',
      config: undefined,
    });
  });
});

describe('the summary of an index', () => {
  const amd64 = { platform: { os: 'linux', architecture: 'amd64' } };
  const arm = { platform: { os: 'linux', architecture: 'arm', variant: 'v7' } };
  const attestation = { platform: { os: 'unknown', architecture: 'unknown' } };

  test('has the platforms of its entries in their order, each once, and not those of attestations', () => {
    expect(summarize(indexOf(arm, amd64, attestation, amd64)).platforms).toEqual(['linux/arm/v7', 'linux/amd64']);
  });

  test('adds up what it says of its manifests', () => {
    const index = indexOf(amd64, arm, { digest: sha256('manifest 0'), size: 100 });
    expect(summarize(index).totalSize).toBe(201);
  });

  test('leaves out entries whose platform is missing or no platform', () => {
    const strange = [
      {},
      { platform: null },
      { platform: 'linux/amd64' },
      { platform: { os: 'linux' } },
      { platform: [] },
    ];
    expect(summarize(indexOf(...strange, amd64)).platforms).toEqual(['linux/amd64']);
  });

  test('has at most 100 platforms', () => {
    const many = Array.from({ length: 150 }, (_, n) => ({ platform: { os: 'linux', architecture: `cpu${n}` } }));
    expect(summarize(indexOf(...many)).platforms).toHaveLength(100);
  });

  test('has the version of its annotation, and no config even when one is handed in', () => {
    const { bytes } = indexOf(amd64);
    const index = manifestOf(
      { ...(JSON.parse(bytes.toString()) as object), annotations: { [version]: '7' } },
      types.index,
    );
    expect(summarize(index, '{}')).toEqual({
      totalSize: 100,
      platforms: ['linux/amd64'],
      version: '7',
      config: undefined,
    });
  });

  test('of nothing is empty', () => {
    const index = manifestOf({ schemaVersion: 2, mediaType: types.index, manifests: null }, types.index);
    expect(summarize(index)).toEqual({ totalSize: 0, platforms: [], version: undefined, config: undefined });
  });

  test('pairs each entry with its own platform', () => {
    const index = indexOf(amd64, {}, arm);
    const entries = indexEntries(index.bytes, parseManifest(index.bytes, index.mediaType));
    expect(entries.map(({ size, platform }) => [size, platform])).toEqual([
      [100, amd64.platform],
      [101, undefined],
      [102, arm.platform],
    ]);
  });
});

describe('readImageConfig', () => {
  test('reads what the specification has', () => {
    const config = {
      created: '2024-05-06T07:08:09.123456789+02:00',
      author: 'Maya',
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
      config: {
        User: '1000:1000',
        ExposedPorts: { '8080/tcp': {}, '53/udp': null },
        Env: ['PATH=/bin', 'EMPTY='],
        Entrypoint: ['/app'],
        Cmd: ['serve', ''],
        Volumes: { '/data': {} },
        WorkingDir: '/srv',
        Labels: { a: 'b', empty: '' },
      },
      history: [{ created_by: 'ADD base' }, { created_by: 'ENV A=b', empty_layer: true }, {}],
      rootfs: { type: 'layers', diff_ids: [] },
    };
    expect(readImageConfig(JSON.stringify(config))).toEqual({
      created: new Date('2024-05-06T05:08:09.123Z'),
      author: 'Maya',
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
      config: {
        User: '1000:1000',
        ExposedPorts: ['8080/tcp', '53/udp'],
        Env: ['PATH=/bin', 'EMPTY='],
        Entrypoint: ['/app'],
        Cmd: ['serve', ''],
        Volumes: ['/data'],
        WorkingDir: '/srv',
        Labels: { a: 'b', empty: '' },
      },
      history: [
        { createdBy: 'ADD base', isEmptyLayer: false },
        { createdBy: 'ENV A=b', isEmptyLayer: true },
        { isEmptyLayer: false },
      ],
    });
  });

  test.each([
    {
      name: 'what is empty',
      config: { author: '', config: { Cmd: [], Labels: {}, Volumes: {}, Memory: 0, Tty: false } },
    },
    { name: 'nulls, as Go writes them', config: { created: null, history: null, config: { Cmd: null, Labels: null } } },
    {
      name: 'other types',
      config: { author: 1, history: {}, config: { Cmd: 'sh', Labels: ['a'], Env: {}, Volumes: '/x', Tty: 1 } },
    },
    { name: 'a command of which a part is no text', config: { config: { Cmd: ['rm', 5], Entrypoint: [null] } } },
    { name: 'a label that is no text', config: { config: { Labels: { a: { b: 'c' } } } } },
    { name: 'a history of which a part is no step', config: { history: [{ created_by: 'x' }, 'y'] } },
    {
      name: 'a history that is longer than any image',
      config: { history: Array.from({ length: 50_001 }, () => ({})) },
    },
    { name: 'numbers that are no integers', config: { config: { Memory: 1.5, MemorySwap: 1e300, CpuShares: '1' } } },
    { name: 'members that are written in another way', config: { Author: 'x', Config: { Cmd: ['x'] } } },
  ])('counts $name as absent', ({ config }) => {
    expect(readImageConfig(JSON.stringify(config))).toEqual({});
  });

  test.each([
    '0001-01-01T00:00:00Z',
    '0000-06-01T00:00:00Z',
    '9999-12-31T23:59:59-01:00',
    '2024-13-01T00:00:00Z',
    '2024-05-06',
    '2024-05-06T07:08:09',
    'May 6, 2024',
    '+012024-05-06T07:08:09Z',
    ' 2024-05-06T07:08:09Z',
  ])('counts the time %j as absent', (created) => {
    expect(readImageConfig(JSON.stringify({ created }))).toEqual({});
  });

  test('treats __proto__ as a name like any other', () => {
    const text =
      '{"__proto__":{"os":"linux"},"config":{"__proto__":{"User":"root"},"Labels":{"__proto__":"x","a":"b"}}}';
    const { os, config } = readImageConfig(text);
    expect(os).toBeUndefined();
    expect(config?.User).toBeUndefined();
    expect(Object.entries(config?.Labels ?? {})).toEqual([
      ['__proto__', 'x'],
      ['a', 'b'],
    ]);
    expect(({} as Record<string, unknown>)['os']).toBeUndefined();
  });

  test('says nothing of no text', () => {
    expect(readImageConfig(undefined)).toEqual({});
  });
});

describe('whatever a config says', () => {
  const memberNames = [
    'os',
    'architecture',
    'variant',
    'created',
    'author',
    'config',
    'container_config',
    'history',
    'Labels',
    'Env',
    'Cmd',
    'Memory',
    'Volumes',
    '__proto__',
    'constructor',
    version,
  ];
  const hostile = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.jsonValue(),
      fc.string(),
      fc.array(tie('value'), { maxLength: 4 }),
      tie('object'),
    ),
    object: fc.dictionary(fc.constantFrom(...memberNames), tie('value'), { maxKeys: 8 }),
  })).object;

  test('its summary has the form of a summary', () => {
    fc.assert(
      fc.property(hostile, (config) => {
        const text = JSON.stringify(config);
        const summary = summarizeConfig(text);
        expect(summary.config).toBe(text);
        expect(summary.totalSize).toBe(Buffer.byteLength(text));
        for (const platform of summary.platforms) expect(platform).toMatch(/^[\w.-]+\/[\w.-]+(\/[\w.-]+)?$/);
        expect(summary.version ?? 'none').toMatch(/^[^\p{Cc}]{1,128}$/u);
      }),
    );
  });

  test('any bytes are summarized, and kept only when they are a JSON object', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
        const bytes = Buffer.from(array);
        const manifest = imageManifest({ bytes, digest: sha256(bytes) });
        const { config, totalSize } = summarize(manifest, bytes);
        expect(totalSize).toBe(bytes.length);
        if (config !== undefined) expect(JSON.parse(config)).toBeTypeOf('object');
      }),
    );
  });

  test('every list is of texts, every set of names, every label a text', () => {
    fc.assert(
      fc.property(hostile, (json) => {
        const { config = {} } = readImageConfig(JSON.stringify(json));
        const texts = [config.Env, config.Cmd, config.Volumes].flatMap((list) => list ?? []);
        for (const text of [...texts, ...Object.values(config.Labels ?? {})]) expect(text).toBeTypeOf('string');
        expect(Number.isSafeInteger(config.Memory ?? 0)).toBe(true);
      }),
    );
  });
});

test('the size of an artifact whose layer is its config counts both', () => {
  const empty = content('{}');
  const layers = [descriptor(types.empty, empty)];
  const manifest = imageManifest(empty, [], { config: descriptor(types.empty, empty), layers });
  expect(totalSize(parseManifest(manifest.bytes, manifest.mediaType))).toBe(4);
});
