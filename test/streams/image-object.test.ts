import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseManifest } from '../../src/oci/manifest.js';
import type { ManifestMediaType } from '../../src/oci/media-types.js';
import type { Digest } from '../../src/oci/digest.js';
import { imageObjectOf, layersWithCommands, type StoredImage } from '../../src/streams/image-object.js';
import type { DockerImage } from '../../src/streams/types.js';
import { content, descriptor, imageManifest, manifestOf, sha256, types, type Manifest } from '../support/images.js';

/** A row of the registry for this manifest. */
function stored(manifest: Manifest, fields: Partial<StoredImage> = {}): StoredImage {
  return {
    digest: manifest.digest as Digest,
    mediaType: manifest.mediaType as ManifestMediaType,
    bytes: manifest.bytes,
    config: undefined,
    createdAt: new Date('2024-11-23T12:18:00.500Z'),
    uid: '7c5b1f3e-0000-4000-8000-000000000000',
    version: '41',
    reference: `registry.example.org/shop/checkout@${manifest.digest}`,
    ...fields,
  };
}

/** An image with this config, as the registry has it. */
function imageWith(config: unknown, fields: Partial<StoredImage> = {}): StoredImage {
  const text = JSON.stringify(config);
  return stored(imageManifest(content(text), [content('base'), content('app')]), { config: text, ...fields });
}

function metadataOf(image: StoredImage): DockerImage {
  return imageObjectOf(image, { withConfig: false }).dockerImageMetadata;
}

describe('the Image of an image', () => {
  const config = {
    created: '2024-05-06T07:08:09.123456789Z',
    author: 'Maya',
    architecture: 'amd64',
    os: 'linux',
    config: {
      User: 'node',
      ExposedPorts: { '8080/tcp': {} },
      Env: ['PATH=/bin'],
      Entrypoint: ['node'],
      Cmd: ['server.js'],
      Volumes: { '/data': {} },
      WorkingDir: '/srv',
      Labels: { version: '2' },
    },
  };

  test('is what OpenShift shows of it', () => {
    const image = imageWith(config);
    expect(imageObjectOf(image, { withConfig: false })).toEqual({
      metadata: {
        name: image.digest,
        uid: '7c5b1f3e-0000-4000-8000-000000000000',
        resourceVersion: '41',
        creationTimestamp: '2024-11-23T12:18:00Z',
        annotations: {
          'openshift.io/image.managed': 'true',
          'image.openshift.io/manifestBlobStored': 'true',
          'image.openshift.io/dockerLayersOrder': 'ascending',
        },
      },
      dockerImageReference: `registry.example.org/shop/checkout@${image.digest}`,
      dockerImageMetadata: {
        kind: 'DockerImage',
        apiVersion: 'image.openshift.io/1.0',
        Id: sha256(JSON.stringify(config)),
        Created: '2024-05-06T07:08:09Z',
        Author: 'Maya',
        Config: {
          User: 'node',
          ExposedPorts: { '8080/tcp': {} },
          Env: ['PATH=/bin'],
          Cmd: ['server.js'],
          Volumes: { '/data': {} },
          WorkingDir: '/srv',
          Entrypoint: ['node'],
          Labels: { version: '2' },
        },
        Architecture: 'amd64',
        Size: JSON.stringify(config).length + 7,
      },
      dockerImageMetadataVersion: '1.0',
      dockerImageLayers: [
        { name: sha256('base'), size: 4, mediaType: types.layer },
        { name: sha256('app'), size: 3, mediaType: types.layer },
      ],
      dockerImageManifestMediaType: types.manifest,
    });
  });

  test('has the text of the config only when it is asked for', () => {
    const image = imageWith(config);
    expect(imageObjectOf(image, { withConfig: true }).dockerImageConfig).toBe(image.config);
    expect(imageObjectOf(image, { withConfig: false })).not.toHaveProperty('dockerImageConfig');
  });

  test('has a layer as often as the manifest has it, and its size once', () => {
    const base = content('base');
    const image = stored(imageManifest(content('{}'), [base, content('app'), base]), { config: '{}' });
    const { dockerImageLayers, dockerImageMetadata } = imageObjectOf(image, { withConfig: false });
    expect(dockerImageLayers?.map(({ name }) => name)).toEqual([base.digest, sha256('app'), base.digest]);
    expect(dockerImageMetadata.Size).toBe(2 + 4 + 3);
  });

  test('has labels, annotations and signatures of its own', () => {
    const signature = {
      metadata: { name: 'a@b', creationTimestamp: '2024-11-23T12:18:00Z' },
      type: 'AtomicImageV1',
      content: 'eA==',
    };
    const object = imageObjectOf(
      imageWith(config, { labels: { a: 'b' }, annotations: { c: 'd' }, signatures: [signature] }),
      { withConfig: false },
    );
    expect(object.metadata.labels).toEqual({ a: 'b' });
    expect(object.metadata.annotations).toMatchObject({ c: 'd', 'openshift.io/image.managed': 'true' });
    expect(object.signatures).toEqual([signature]);
  });

  test('leaves out labels and signatures when there are none', () => {
    const object = imageObjectOf(imageWith(config, { labels: {}, signatures: [] }), { withConfig: false });
    expect(object).not.toHaveProperty('signatures');
    expect(object.metadata).not.toHaveProperty('labels');
  });

  test('may say that it is not managed, and nothing else about how it is kept', () => {
    const annotations = {
      'openshift.io/image.managed': 'false',
      'image.openshift.io/manifestBlobStored': 'false',
      'image.openshift.io/dockerLayersOrder': 'descending',
    };
    expect(imageObjectOf(imageWith(config, { annotations }), { withConfig: false }).metadata.annotations).toEqual({
      'openshift.io/image.managed': 'false',
      'image.openshift.io/manifestBlobStored': 'true',
      'image.openshift.io/dockerLayersOrder': 'ascending',
    });
  });
});

describe('the metadata of an image', () => {
  test('has what Docker wrote into a config of its own', () => {
    const container = {
      Hostname: 'a1',
      Tty: true,
      OpenStdin: false,
      Memory: 1024,
      MemorySwap: -1,
      Image: 'x',
      OnBuild: [],
    };
    const image = imageWith({
      parent: 'p',
      comment: 'c',
      container: 'k',
      docker_version: '20.10',
      container_config: container,
      config: { ...container, CpuShares: 2, Cpuset: '0', Dns: ['1.1.1.1'], NetworkDisabled: true },
    });
    expect(metadataOf(image)).toEqual({
      kind: 'DockerImage',
      apiVersion: 'image.openshift.io/1.0',
      Id: parseManifest(image.bytes, image.mediaType).references[0]?.digest,
      Parent: 'p',
      Comment: 'c',
      Created: null,
      Container: 'k',
      ContainerConfig: { Hostname: 'a1', Tty: true, Memory: 1024, MemorySwap: -1, Image: 'x' },
      DockerVersion: '20.10',
      Config: {
        Hostname: 'a1',
        Tty: true,
        Memory: 1024,
        MemorySwap: -1,
        Image: 'x',
        CpuShares: 2,
        Cpuset: '0',
        Dns: ['1.1.1.1'],
        NetworkDisabled: true,
      },
      Size: (image.config?.length ?? 0) + 7,
    });
  });

  test.each([
    { name: 'an empty config', config: {} },
    { name: 'a config of empty parts', config: { author: '', config: { Cmd: [], Labels: {} }, container_config: {} } },
    { name: 'a config of wrong types', config: { created: 5, architecture: {}, config: 'x', parent: null } },
    { name: 'a time before all time', config: { created: '0001-01-01T00:00:00Z' } },
  ])('of $name is what the manifest says', ({ config }) => {
    const image = imageWith(config);
    expect(metadataOf(image)).toEqual({
      kind: 'DockerImage',
      apiVersion: 'image.openshift.io/1.0',
      Id: sha256(JSON.stringify(config)),
      Created: null,
      Size: JSON.stringify(config).length + 7,
    });
  });

  test('treats __proto__ as a name like any other', () => {
    const text =
      '{"config":{"Labels":{"__proto__":"x"},"ExposedPorts":{"__proto__":{"User":"root"}},"__proto__":{"User":"root"}}}';
    const image = stored(imageManifest(content(text)), { config: text });
    expect(JSON.stringify(metadataOf(image)['Config'])).toBe(
      '{"ExposedPorts":{"__proto__":{}},"Labels":{"__proto__":"x"}}',
    );
  });
});

describe('the Image of an index', () => {
  const manifests = [
    { mediaType: types.manifest, digest: sha256('1'), size: 500, platform: { os: 'linux', architecture: 'amd64' } },
    {
      mediaType: types.dockerManifest,
      digest: sha256('2'),
      size: 600,
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    },
    { mediaType: types.manifest, digest: sha256('3'), size: 70 },
    { mediaType: types.manifest, digest: sha256('4'), size: 8, platform: { os: 7, architecture: 'a b' } },
  ];
  const index = manifestOf({ schemaVersion: 2, mediaType: types.index, manifests }, types.index);

  test('has manifests and no layers', () => {
    const object = imageObjectOf(stored(index), { withConfig: true });
    expect(object.dockerImageLayers).toBeNull();
    expect(object).not.toHaveProperty('dockerImageConfig');
    expect(object.dockerImageManifestMediaType).toBe(types.index);
    expect(object.dockerImageManifests).toEqual([
      { digest: sha256('1'), mediaType: types.manifest, manifestSize: 500, architecture: 'amd64', os: 'linux' },
      {
        digest: sha256('2'),
        mediaType: types.dockerManifest,
        manifestSize: 600,
        architecture: 'arm',
        os: 'linux',
        variant: 'v7',
      },
      { digest: sha256('3'), mediaType: types.manifest, manifestSize: 70, architecture: 'unknown', os: 'unknown' },
      { digest: sha256('4'), mediaType: types.manifest, manifestSize: 8, architecture: 'unknown', os: 'unknown' },
    ]);
  });

  test('is named by its own digest, and was made when it came', () => {
    expect(metadataOf(stored(index))).toEqual({
      kind: 'DockerImage',
      apiVersion: 'image.openshift.io/1.0',
      Id: index.digest,
      Created: '2024-11-23T12:18:00Z',
      Size: 1178,
    });
  });

  test('was made when it says so', () => {
    const annotations = { 'org.opencontainers.image.created': '2024-01-02T03:04:05Z' };
    const dated = manifestOf({ schemaVersion: 2, mediaType: types.index, manifests: [], annotations }, types.index);
    expect(metadataOf(stored(dated)).Created).toBe('2024-01-02T03:04:05Z');
    expect(imageObjectOf(stored(dated), { withConfig: false }).dockerImageManifests).toEqual([]);
  });
});

test('the Image of an artifact has its layers, and no more metadata than its manifest says', () => {
  const chart = { mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', digest: sha256('chart'), size: 5 };
  const config = descriptor('application/vnd.cncf.helm.config.v1+json', content('{"name":"shop"}'));
  const artifact = imageManifest(content(''), [], { config, layers: [chart] });
  const object = imageObjectOf(stored(artifact), { withConfig: true });
  expect(object.dockerImageMetadata).toEqual({
    kind: 'DockerImage',
    apiVersion: 'image.openshift.io/1.0',
    Id: config.digest,
    Created: null,
    Size: 20,
  });
  expect(object.dockerImageLayers).toEqual([{ name: chart.digest, size: 5, mediaType: chart.mediaType }]);
  expect(object).not.toHaveProperty('dockerImageConfig');
  expect(object).not.toHaveProperty('dockerImageManifests');
});

describe('layersWithCommands', () => {
  const { bytes } = imageManifest(content('{}'), [content('base'), content('app')]);
  const commandsOf = (config: unknown) =>
    layersWithCommands(bytes, JSON.stringify(config)).map(({ createdBy }) => createdBy);

  test('pairs each layer with the step that made it, passing over steps without a layer', () => {
    const history = [
      { created_by: 'ADD base' },
      { created_by: 'ENV A=b', empty_layer: true },
      { created_by: 'COPY . /srv' },
      { created_by: 'CMD ["node"]', empty_layer: true },
    ];
    expect(layersWithCommands(bytes, JSON.stringify({ history }))).toEqual([
      { digest: sha256('base'), size: 4, mediaType: types.layer, createdBy: 'ADD base' },
      { digest: sha256('app'), size: 3, mediaType: types.layer, createdBy: 'COPY . /srv' },
    ]);
  });

  test.each([
    { name: 'the history has a step less', config: { history: [{ created_by: 'ADD base' }] } },
    { name: 'the history has a step more', config: { history: [1, 2, 3].map((n) => ({ created_by: `step ${n}` })) } },
    { name: 'there is no history', config: {} },
    { name: 'the history is no list', config: { history: { 0: { created_by: 'x' }, 1: { created_by: 'y' } } } },
    { name: 'the steps are no objects', config: { history: ['ADD base', 'COPY . /srv'] } },
    { name: 'the commands are no text', config: { history: [{ created_by: 1 }, { created_by: ['x'] }] } },
  ])('has no commands when $name', ({ config }) => {
    expect(commandsOf(config)).toEqual([undefined, undefined]);
  });

  test('leaves out only the command that is missing', () => {
    expect(commandsOf({ history: [{}, { created_by: 'COPY . /srv' }] })).toEqual([undefined, 'COPY . /srv']);
  });

  test('has no layers for an index', () => {
    const index = manifestOf({ schemaVersion: 2, mediaType: types.index, manifests: [] }, types.index);
    expect(layersWithCommands(index.bytes, undefined)).toEqual([]);
  });
});

describe('whatever a config says', () => {
  /** How Go's clients decode each member; they refuse the whole object for one of another type. */
  const members: Readonly<Record<string, (value: unknown) => boolean>> = {
    ...Object.fromEntries(['User', 'WorkingDir', 'Hostname', 'Image'].map((name) => [name, isText])),
    ...Object.fromEntries(['Env', 'Cmd', 'Entrypoint', 'OnBuild'].map((name) => [name, isTexts])),
    ...Object.fromEntries(['Memory', 'CpuShares'].map((name) => [name, Number.isSafeInteger])),
    ...Object.fromEntries(['ExposedPorts', 'Volumes'].map((name) => [name, isSet])),
    Tty: (value) => value === true,
    Labels: (value) => typeof value === 'object' && value !== null && isTexts(Object.values(value)),
  };
  const imageMembers = ['created', 'author', 'architecture', 'config', 'container_config', 'history', 'parent'];
  const hostile = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.jsonValue(),
      fc.maxSafeInteger(),
      fc.array(fc.string(), { maxLength: 3 }),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('object'),
    ),
    object: fc.dictionary(
      fc.oneof(fc.constantFrom(...imageMembers, ...Object.keys(members), '__proto__', 'constructor'), fc.string()),
      tie('value'),
      { maxKeys: 10 },
    ),
  })).object;

  test('clients can read its metadata', () => {
    fc.assert(
      fc.property(hostile, (config) => {
        const metadata = JSON.parse(JSON.stringify(metadataOf(imageWith(config)))) as Record<string, unknown>;
        expect(metadata['Created'] ?? '2024-05-06T07:08:09Z').toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        for (const name of ['Author', 'Architecture', 'Parent']) expect(isText(metadata[name] ?? '')).toBe(true);
        for (const name of ['Config', 'ContainerConfig']) {
          for (const [member, value] of Object.entries(metadata[name] ?? {})) {
            expect(members[member]?.(value), `${name}.${member}`).toBe(true);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('its layers are those of the manifest', () => {
    fc.assert(
      fc.property(hostile, (config) => {
        const { bytes, config: text } = imageWith(config);
        expect(layersWithCommands(bytes, text).map(({ digest }) => digest)).toEqual([sha256('base'), sha256('app')]);
      }),
    );
  });
});

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}

function isSet(value: unknown): boolean {
  return Object.values(value as object).every((member) => JSON.stringify(member) === '{}');
}
