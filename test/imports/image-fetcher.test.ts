import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ImageFetcher, upstreamRepositoryOf, type FetchWish } from '../../src/imports/image-fetcher.js';
import { parsePullSpec } from '../../src/oci/pull-spec.js';
import { RegistryClient } from '../../src/upstream/registry-client.js';
import { UpstreamError, type UpstreamAccess } from '../../src/upstream/upstream.js';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { content, descriptor, imageIndex, imageManifest, types, type Content } from '../support/images.js';
import { addIndex } from './import-api.js';

describe('the repository of a pull spec', () => {
  test.each([
    { spec: 'busybox', registry: 'docker.io', path: 'library/busybox' },
    { spec: 'busybox:1.36', registry: 'docker.io', path: 'library/busybox' },
    { spec: 'docker.io/busybox', registry: 'docker.io', path: 'library/busybox' },
    { spec: 'docker.io/library/busybox', registry: 'docker.io', path: 'library/busybox' },
    { spec: 'index.docker.io/busybox', registry: 'index.docker.io', path: 'library/busybox' },
    { spec: 'registry-1.docker.io/busybox', registry: 'registry-1.docker.io', path: 'library/busybox' },
    { spec: 'bitnami/redis', registry: 'docker.io', path: 'bitnami/redis' },
    { spec: 'team/part/app:v1', registry: 'docker.io', path: 'team/part/app' },
    { spec: 'quay.io/app', registry: 'quay.io', path: 'app' },
    { spec: 'quay.io/team/app:v1', registry: 'quay.io', path: 'team/app' },
    { spec: 'localhost/app', registry: 'localhost', path: 'app' },
    { spec: 'localhost:5000/a/b/c/d', registry: 'localhost:5000', path: 'a/b/c/d' },
    { spec: `host.example:8443/a@sha256:${'1'.repeat(64)}`, registry: 'host.example:8443', path: 'a' },
  ])('$spec is $path of $registry', ({ spec, registry, path }) => {
    expect(upstreamRepositoryOf(parsePullSpec(spec))).toEqual({ registry, path });
  });
});

describe('fetching', () => {
  const access: UpstreamAccess = { credentials: () => undefined, isInsecure: true };
  const legacy: FetchWish = { importMode: 'Legacy' };
  const whole: FetchWish = { importMode: 'PreserveOriginal' };
  let upstream: FaultyRegistry;
  let client: RegistryClient;
  let fetcher: ImageFetcher;
  beforeAll(async () => {
    upstream = await startFaultyRegistry();
    client = new RegistryClient({
      registries: [],
      allowPrivate: [upstream.host],
      timeoutMs: 5000,
      userAgent: 'tests',
      environment: {},
    });
    fetcher = new ImageFetcher(client);
  });
  afterAll(async () => {
    await client.close();
    await upstream.close();
  });
  beforeEach(() => upstream.requests.splice(0));
  afterEach(() => {
    upstream.clearFaults();
  });

  const spec = (name: string) => parsePullSpec(`${upstream.host}/${name}`);
  const manifests = () => upstream.seen.filter((seen) => seen.includes('/manifests/'));
  const failureOf = async (name: string, wish = legacy): Promise<UpstreamError> => {
    const failure: unknown = await fetcher.fetch(spec(name), wish, access).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure instanceof UpstreamError) return failure;
    throw new Error('not refused by an UpstreamError', { cause: failure });
  };
  const addWithConfig = (repository: string, config: Content, fields = {}): void => {
    upstream.addBlob(repository, config);
    upstream.addManifest(repository, imageManifest(config, [], fields), '1');
  };

  test('asks for manifest and config, and for no layer', async () => {
    const a = upstream.addImage('lean', '1');
    const { digest, image, children } = await fetcher.fetch(spec('lean:1'), legacy, access);
    expect([digest, image.digest, children]).toEqual([a.digest, a.digest, []]);
    expect(image.bytes.equals(a.bytes)).toBe(true);
    expect(image.summary.config).toBe(a.config.bytes.toString());
    expect(upstream.seen.filter((seen) => !seen.endsWith('/v2/'))).toEqual([
      'GET /v2/lean/manifests/1',
      `GET /v2/lean/blobs/${a.config.digest}`,
    ]);
  });

  test('without a tag asks for latest, and with a digest for that', async () => {
    const a = upstream.addImage('default', 'latest');
    await fetcher.fetch(spec('default'), legacy, access);
    await fetcher.fetch(spec(`default:other@${a.digest}`), legacy, access);
    expect(manifests()).toEqual(['GET /v2/default/manifests/latest', `GET /v2/default/manifests/${a.digest}`]);
  });

  test('of one image of an index tells of the index, and asks for no other image', async () => {
    const { index, children } = addIndex(upstream, 'index', '1', ['linux/amd64', 'linux/arm64', 'linux/s390x']);
    const wish = { ...legacy, os: 'linux', architecture: 's390x' };
    const { digest, image } = await fetcher.fetch(spec('index:1'), wish, access);
    expect([digest, image.digest]).toEqual([index.digest, children[2]!.digest]);
    expect(manifests()).toHaveLength(2);
  });

  test('of an index asks for what it lists twice only once', async () => {
    const { children } = addIndex(upstream, 'double', '1', ['linux/amd64']);
    const twice = imageIndex([children[0]!, children[0]!]);
    upstream.addManifest('double', twice, '2');
    const found = await fetcher.fetch(spec('double:2'), whole, access);
    expect(found.children.map(({ digest }) => digest)).toEqual([children[0]!.digest]);
    expect(manifests()).toHaveLength(2);
  });

  test('of an index needs all that it lists', async () => {
    const { children } = addIndex(upstream, 'holes', '1', ['linux/amd64']);
    const absent = imageManifest(content('{}'));
    upstream.addManifest('holes', imageIndex([...children, absent]), '2');
    expect((await failureOf('holes:2', whole)).problem).toBe('not-found');
    expect((await fetcher.fetch(spec('holes:2'), legacy, access)).image.digest).toBe(children[0]!.digest);
  });

  test('of an index whose image is an index gives none', async () => {
    const { index } = addIndex(upstream, 'nested', 'inner', ['linux/amd64']);
    upstream.addManifest('nested', imageIndex([index]), '1');
    const failure = await failureOf('nested:1');
    expect(failure).toMatchObject({
      problem: 'invalid-answer',
      message: 'the index lists another index for this platform',
    });
    const found = await fetcher.fetch(spec('nested:1'), whole, access);
    expect(found.children.map(({ digest }) => digest)).toEqual([index.digest]);
  });

  test('of an index that lists too much gives up before it asks for any of it', async () => {
    const many = Array.from({ length: 1001 }, (_, count) => imageManifest(content(`${count}`)));
    upstream.addManifest('huge', imageIndex(many), '1');
    const failure = await failureOf('huge:1', whole);
    expect(failure).toMatchObject({
      problem: 'invalid-answer',
      message: 'the index lists more than 1000 images',
      reference: `${upstream.host}/huge:1`,
    });
    expect(manifests()).toHaveLength(1);
  });

  test.each([
    { name: 'no JSON', config: 'no JSON' },
    { name: 'no object', config: '[]' },
    { name: 'empty', config: '' },
  ])('of an image whose config is $name fails', async ({ name, config }) => {
    const repository = `config-${name.toLowerCase().replace(' ', '-')}`;
    addWithConfig(repository, content(config));
    expect((await failureOf(`${repository}:1`)).problem).toBe('invalid-answer');
  });

  test('of an image whose config is too large does not begin with it', async () => {
    const config = content('{}');
    const size = 100_000_000;
    addWithConfig('large', config, { config: { ...descriptor(types.config, config), size } });
    const failure = await failureOf('large:1');
    expect(failure.problem).toBe('invalid-answer');
    expect(failure.message).toMatch(/the config has more than \d+ bytes/);
    expect(upstream.seen.filter((seen) => seen.includes('/blobs/'))).toEqual([]);
  });

  test('of an image whose config has other bytes than were named fails', async () => {
    const a = upstream.addImage('forged', '1');
    const forged = a.config.bytes.toString().replace('amd64', 'arm64');
    upstream.addFault({ kind: 'body', path: /forged\/blobs/, body: forged });
    expect((await failureOf('forged:1')).problem).toBe('integrity');
  });

  test('of what is no manifest tells what is wrong with it', async () => {
    upstream.addFault({
      kind: 'answer',
      path: /odd\/manifests/,
      status: 200,
      body: '{"schemaVersion":2,"config":"none"}',
      headers: { 'Content-Type': types.manifest },
    });
    const failure = await failureOf('odd:1');
    expect(failure).toMatchObject({ problem: 'invalid-answer', reference: `${upstream.host}/odd:1` });
    expect(failure.message).toMatch(/^is no manifest: /);
  });

  test('only the digest asks for no manifest, and for one that is known for nothing', async () => {
    const a = upstream.addImage('head', '1');
    expect(await fetcher.digestOf(spec('head:1'), access)).toBe(a.digest);
    expect(manifests()).toEqual(['HEAD /v2/head/manifests/1']);
    expect(await fetcher.digestOf(spec(`head@${a.digest}`), access)).toBe(a.digest);
    expect(manifests()).toHaveLength(1);
  });
});
