import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ImageFetcher } from '../../src/imports/image-fetcher.js';
import { ImageReader } from '../../src/imports/image-reader.js';
import { boundedLabel } from '../../src/metrics.js';
import { digestOf, parseDigest } from '../../src/oci/digest.js';
import { parsePullSpec } from '../../src/oci/pull-spec.js';
import { parseReference } from '../../src/oci/reference.js';
import { Slots } from '../../src/pullthrough/slots.js';
import { AddressGuard } from '../../src/upstream/addresses.js';
import { sendFollowing, RedirectError } from '../../src/upstream/redirects.js';
import { RegistryClient } from '../../src/upstream/registry-client.js';
import { TokenSource } from '../../src/upstream/token-source.js';
import { Transport } from '../../src/upstream/transport.js';
import { UpstreamError, type Credential, type Upstream, type UpstreamAccess } from '../../src/upstream/upstream.js';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { content, imageManifest, pushImage, types } from '../support/images.js';
import { admin, type TestRegistry } from '../support/registry.js';
import { accepted, from, StreamApi } from '../streams/stream-api.js';
import { ann, ask, bob, must, startTenants, startTimeout } from './tenants.js';
import { freePort } from '../support/free-port.js';

const weir = '/apis/weir.dev/v1';

describe('what a project takes from elsewhere', () => {
  let registry: TestRegistry;
  let hostile: FaultyRegistry;
  let publicHost: string;
  beforeAll(async () => {
    hostile = await startFaultyRegistry();
    publicHost = `127.0.0.1:${await freePort()}`;
    registry = await startTenants({
      WEIR_LISTEN: publicHost,
      WEIR_PUBLIC_URL: `http://${publicHost}`,
      WEIR_UPSTREAMS_ALLOW_PRIVATE: hostile.host,
      WEIR_IMPORTS_AUTOMATIC: 'true',
      WEIR_IMPORTS_INTERVAL_SECONDS: '1',
      WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
    });
  }, startTimeout);
  afterAll(async () => {
    await registry.stop();
    await hostile.close();
  });

  const cachePath = (project: string) => `${weir}/namespaces/${project}/upstreamcaches`;

  test('nobody makes the clients of a mirror take the images of a project for those of Docker Hub', async () => {
    await registry.addProject('trap');
    await registry.bind(ann.name, 'admin', 'trap');
    await registry.bind(bob.name, 'registry-viewer', 'trap');
    const evil = await pushImage(registry, 'trap/alpine', '3', 'evil', { as: ann });
    const body = { metadata: { name: 'hub' }, spec: { registry: 'docker.io', path: 'library' } };
    await must(registry, cachePath('trap'), { method: 'POST', as: ann, body });
    const asMirror = () => registry.fetch('/v2/library/alpine/manifests/3?ns=docker.io', { as: bob });
    expect((await asMirror()).status).toBe(404);
    // Who may write caches in one project only cannot say that it is a mirror.
    const mirror = { ...body, spec: { ...body.spec, mirror: true } };
    const path = `${cachePath('trap')}/hub`;
    expect((await ask(registry, path, { method: 'PUT', as: ann, body: mirror })).status).toBe(403);
    expect((await asMirror()).status).toBe(404);
    expect((await ask(registry, path, { method: 'PUT', as: admin, body: mirror })).status).toBe(200);
    expect((await asMirror()).headers.get('Docker-Content-Digest')).toBe(evil.digest);
    // Nor change what a mirror stands for.
    const other = { ...mirror, spec: { ...mirror.spec, registry: 'quay.io' } };
    expect((await ask(registry, path, { method: 'PUT', as: ann, body: other })).status).toBe(403);
  });

  test('who serves the manifest of a private image does not learn its config', async () => {
    const secret = await pushImage(registry, 'blue/app', '1', 'password=hunter2', { as: bob });
    hostile.addManifest('app', secret, '1');
    hostile.addBlob('app', secret.layer);
    await registry.addProject('copy');
    await registry.bind(ann.name, 'admin', 'copy');
    const spec = { registry: hostile.host, insecure: true, missingSeconds: 0 };
    const body = { metadata: { name: 'hostile' }, spec };
    await must(registry, cachePath('copy'), { method: 'POST', as: ann, body });
    const pulled = await registry.fetch(`/v2/copy/app/manifests/${secret.digest}`, { as: ann });
    expect(pulled.status).toBe(503);
    const images = '/apis/image.openshift.io/v1/namespaces';
    const shown = await ask(registry, `${images}/copy/imagestreamimages/app@${secret.digest}`, { as: ann });
    expect(shown.status).toBe(404);
    expect(shown.text).not.toContain('hunter2');
    // Nor by a mapping that brings the manifest alone.
    await must(registry, `${images}/red/imagestreams`, {
      method: 'POST',
      as: ann,
      body: { metadata: { name: 'app' } },
    });
    const mapping = {
      metadata: { name: 'app' },
      tag: 'v1',
      image: {
        metadata: { name: secret.digest },
        dockerImageReference: 'elsewhere.example/app',
        dockerImageManifest: secret.bytes.toString(),
        dockerImageManifestMediaType: secret.mediaType,
      },
    };
    const post = { method: 'POST', as: ann, body: mapping };
    expect((await ask(registry, `${images}/red/imagestreammappings`, post)).status).toBe(422);
    const known = { ...mapping, image: { ...mapping.image, dockerImageConfig: secret.config.bytes.toString() } };
    expect((await ask(registry, `${images}/red/imagestreammappings`, { ...post, body: known })).status).toBe(201);
  });

  test('a tag that only points at another project is no way into it for the job', async () => {
    const { digest } = await pushImage(registry, 'blue/hidden', '1', 'hidden', { as: bob });
    await registry.addProject('shared');
    await registry.bind(bob.name, 'admin', 'shared');
    await registry.bind(ann.name, 'registry-viewer', 'shared');
    const shared = new StreamApi(registry, 'shared');
    const red = new StreamApi(registry, 'red');
    accepted(await shared.putTag('pointer:v1', { ...from.tag('hidden:1', 'blue'), reference: true }, bob), 201);
    const wanted = { ...from.docker(`${publicHost}/shared/pointer:v1`), importPolicy: { scheduled: true } };
    accepted(await red.putTag('mine:v1', wanted, ann), 201);
    for (let tries = 0; tries < 40; tries += 1) {
      const tag = (await red.read('mine')).status.tags?.find((each) => each.tag === 'v1');
      expect(tag?.items ?? []).toEqual([]);
      if (tag?.conditions !== undefined) break;
      await sleep(100);
    }
    expect((await registry.fetch(`/v2/red/mine/manifests/${digest}`, { as: ann })).status).toBe(404);
  });
});

describe('a registry that wants to be waited for', () => {
  const access: UpstreamAccess = { credentials: () => undefined, isInsecure: true };

  test('by dripping a blob is given up', async () => {
    const blob = Buffer.alloc(100_000, 'x');
    const drips = new Set<NodeJS.Timeout>();
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': blob.length });
      drips.add(setInterval(() => response.write('x'), 50));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const registry = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = new RegistryClient({ registries: [], allowPrivate: [registry], timeoutMs: 300, userAgent: 'tests' });
    try {
      const { body } = await client.openBlob({ registry, path: 'app' }, digestOf(blob), access);
      const reading = (async () => {
        for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0);
      })();
      await expect(reading).rejects.toThrow('too slowly');
    } finally {
      for (const drip of drips) clearInterval(drip);
      await client.close();
      server.closeAllConnections();
      server.close();
    }
  });

  test('does not keep all places from the other projects', async () => {
    const slots = new Slots(4, 2);
    const release: (() => void)[] = [];
    const slow = () => new Promise<void>((resolve) => release.push(resolve));
    const held = Array.from({ length: 10 }, () => slots.run('red', slow));
    expect(await slots.run('blue', () => Promise.resolve('done'))).toBe('done');
    expect(release).toHaveLength(2);
    while (release.length > 0) {
      release.shift()!();
      await sleep(1);
    }
    await Promise.all(held);
    // All places are free again.
    const after = Array.from({ length: 4 }, (_, index) => slots.run(`p${index}`, slow));
    expect(release).toHaveLength(4);
    for (const end of release) end();
    await Promise.all(after);
  });

  test('is waited for as long as an import may take', async () => {
    const upstream = {
      readManifest: (_repository: unknown, _reference: unknown, { signal }: UpstreamAccess) =>
        new Promise((_resolve, reject) => {
          signal!.addEventListener('abort', () => {
            reject(new UpstreamError('unavailable', 'ended', { reference: 'slow.example/app' }));
          });
        }),
    } as unknown as Upstream;
    const reader = new ImageReader({
      upstream,
      access: { of: (_project, isInsecure, signal) => Promise.resolve({ ...access, isInsecure, signal: signal! }) },
      streams: {} as never,
      maxReadMs: 50,
    });
    const wish = { from: 'slow.example/app:v1', importMode: 'Legacy', isInsecure: false } as const;
    const asking = { project: 'red', ownHosts: [], mayPull: () => Promise.resolve(false) };
    expect(await reader.read([wish], asking)).toMatchObject([
      {
        kind: 'failed',
        failure: { reason: 'ServiceUnavailable', message: expect.stringContaining('0.05 seconds') as string },
      },
    ]);
  });
});

describe('a registry that sends as much as it may', () => {
  const config = content(JSON.stringify({ architecture: 'amd64', os: 'linux' }));
  const large = imageManifest(config, [], { annotations: { filler: 'x'.repeat(4_000_000) } });
  const children = Array.from({ length: 200 }, (_, index) => content(`child ${index}`).digest);
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.index,
      manifests: children.map((digest) => ({ mediaType: types.manifest, digest, size: 1 })),
    }),
  );

  /** Counts what was read of it. */
  function greedy(): { readonly upstream: Upstream; readonly sent: () => number } {
    let sent = 0;
    const upstream = {
      readManifest: (_repository: unknown, reference: { readonly kind: string; readonly digest?: string }) => {
        const isChild = reference.kind === 'digest';
        const bytes = isChild ? Buffer.from(large.bytes) : index;
        sent += bytes.length;
        const digest = parseDigest(reference.digest ?? content(index).digest);
        return Promise.resolve({ digest, mediaType: isChild ? types.manifest : types.index, bytes });
      },
      openBlob: () =>
        Promise.resolve({
          size: config.bytes.length,
          body: (async function* () {
            yield await Promise.resolve(Buffer.from(config.bytes));
          })(),
          cancel: () => undefined,
        }),
    } as unknown as Upstream;
    return { upstream, sent: () => sent };
  }

  test('in the images of an index is stopped', async () => {
    const { upstream, sent } = greedy();
    const wish = { importMode: 'PreserveOriginal' } as const;
    const access = { credentials: () => undefined, isInsecure: false };
    const fetching = new ImageFetcher(upstream).fetch(parsePullSpec('greedy.example/app:v1'), wish, access);
    await expect(fetching).rejects.toThrow('more than 16777216 bytes');
    expect(sent()).toBeLessThan(40 * 1024 * 1024);
  });

  test('in the images of one import is stopped', async () => {
    const { upstream, sent } = greedy();
    const reader = new ImageReader({
      upstream,
      access: { of: (_project, isInsecure) => Promise.resolve({ credentials: () => undefined, isInsecure }) },
      streams: {} as never,
    });
    const wishes = children.map((digest) => ({
      from: `greedy.example/app@${digest}`,
      importMode: 'Legacy' as const,
      isInsecure: false,
    }));
    const found = await reader.read(wishes, { project: 'red', ownHosts: [], mayPull: () => Promise.resolve(false) });
    expect(found.filter(({ kind }) => kind === 'fetched').length).toBeGreaterThan(20);
    expect(found.at(-1)).toMatchObject({ kind: 'failed', failure: { reason: 'ImportFailed' } });
    expect(sent()).toBeLessThan(200 * 1024 * 1024);
  });
});

describe('a registry out there', () => {
  const guard = new AddressGuard(['*.internal', '10.0.0.7:5000']);
  const transport = new Transport({ guard, timeoutMs: 1000 });
  const trust = { ca: undefined, isVerified: true };
  afterAll(() => transport.close());

  test.each([
    { from: 'https://hostile.example/', to: 'https://registry.internal/', inside: true },
    { from: 'https://hostile.example/', to: 'https://10.0.0.7:5000/', inside: true },
    { from: 'https://hostile.example/', to: 'https://cdn.example/', inside: false },
    { from: 'https://registry.internal/', to: 'https://store.internal/', inside: false },
    { from: 'https://registry.internal/', to: 'https://cdn.example/', inside: false },
  ])('$from leads inside by $to: $inside', ({ from, to, inside }) => {
    expect(transport.leadsInside(new URL(from), new URL(to))).toBe(inside);
  });

  test('is not followed to a host that only those may speak to who ask for it', async () => {
    const asked: string[] = [];
    const redirecting = {
      leadsInside: transport.leadsInside.bind(transport),
      send: ({ url }: { readonly url: URL }) => {
        asked.push(url.href);
        const headers = { location: 'https://registry.internal/v2/secret/manifests/latest' };
        return Promise.resolve({ status: 307, url, headers, body: { destroy: () => undefined } });
      },
    } as unknown as Transport;
    const request = {
      method: 'GET' as const,
      url: new URL('https://hostile.example/v2/app/manifests/v1'),
      headers: {},
      trust,
      signal: AbortSignal.timeout(1000),
    };
    await expect(sendFollowing(redirecting, request)).rejects.toThrow(RedirectError);
    expect(asked).toEqual(['https://hostile.example/v2/app/manifests/v1']);
  });

  test('gets no token of a host that only those may speak to who ask for it', async () => {
    const tokens = new TokenSource({ transport, userAgent: 'tests', timeoutMs: 1000, now: () => new Date() });
    const request = {
      registry: new URL('https://hostile.example'),
      challenge: { scheme: 'bearer', parameters: new Map([['realm', 'https://vault.internal/v1/token']]) },
      scope: 'repository:app:pull',
      credential: undefined,
      tokenHosts: [],
      trust,
      trustOf: () => trust,
    };
    await expect(tokens.get(request, undefined)).rejects.toThrow('which is private');
  });
});

test('what a registry limits for nobody in particular does not hold up the account of the configuration', async () => {
  const account = { username: 'robot', password: 'secret' };
  const registry = await startFaultyRegistry({
    images: ['app:1'],
    auth: { kind: 'basic', ...account },
    faults: [{ kind: 'answer', status: 429, headers: { 'Retry-After': '3600' }, times: 1 }],
  });
  const client = new RegistryClient({
    registries: [{ registry: registry.host, ...account, insecure: true }],
    allowPrivate: [registry.host],
    timeoutMs: 5000,
    userAgent: 'tests',
  });
  try {
    const head = (credential: Credential | undefined) =>
      client.headManifest({ registry: registry.host, path: 'app' }, parseReference('1'), {
        credentials: () => credential,
        isInsecure: false,
      });
    await expect(head(undefined)).rejects.toMatchObject({ problem: 'rate-limited' });
    const configured = { ...account, origin: 'configured', isConfigured: true };
    expect((await head(configured)).digest).toBeDefined();
    await expect(head(undefined)).rejects.toMatchObject({ problem: 'rate-limited' });
  } finally {
    await client.close();
    await registry.close();
  }
});

test('a label that others choose has so many values, and those that are known', () => {
  const labelOf = boundedLabel(['docker.io'], 2);
  const seen = ['a.example', 'b.example', 'c.example', 'a.example', 'docker.io', 'd.example'].map(labelOf);
  expect(seen).toEqual(['a.example', 'b.example', 'other', 'a.example', 'docker.io', 'other']);
});
