import { createServer, request as httpRequest, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseDigest } from '../../src/oci/digest.js';
import { parseReference } from '../../src/oci/reference.js';
import { ForbiddenAddressError } from '../../src/upstream/addresses.js';
import { guardedFetch } from '../../src/upstream/guarded-fetch.js';
import { RegistryClient, type RegistryClientOptions } from '../../src/upstream/registry-client.js';
import type { UpstreamRegistry } from '../../src/upstream/upstream-settings.js';
import { UpstreamError, type Credential, type UpstreamAccess } from '../../src/upstream/upstream.js';
import {
  basic,
  startFaultyRegistry,
  type FaultyRegistry,
  type FaultyRegistryOptions,
} from '../support/faulty-registry.js';
import { MemoryBudgets } from './memory-budgets.js';

const anonymous: UpstreamAccess = { credentials: () => undefined, isInsecure: true };
const v1 = parseReference('v1');

const opened: { close(): Promise<void> }[] = [];
let nowMs = 0;
const now = () => new Date(nowMs);

beforeEach(() => {
  nowMs = Date.parse('2026-03-01T12:00:00Z');
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

async function start(options: FaultyRegistryOptions = {}): Promise<FaultyRegistry> {
  const registry = await startFaultyRegistry(options);
  opened.push(registry);
  return registry;
}

function clientOf(
  registries: readonly UpstreamRegistry[] = [],
  options: Partial<RegistryClientOptions> = {},
): RegistryClient {
  const client = new RegistryClient({
    registries,
    allowPrivate: ['127.0.0.1', 'localhost'],
    timeoutMs: 10_000,
    userAgent: 'weir-test',
    now,
    random: () => 0,
    sleep: () => Promise.resolve(),
    ...options,
  });
  opened.push(client);
  return client;
}

async function failureOf(asked: Promise<unknown>): Promise<UpstreamError> {
  const error: unknown = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UpstreamError);
  return error as UpstreamError;
}

function paths(registry: FaultyRegistry): string[] {
  return registry.seen.map((line) => line.slice(line.indexOf(' ') + 1));
}

describe('mirrors', () => {
  test('are asked first, in their order, and stand for the beginning of the name', async () => {
    const source = await start({ images: ['team/app:v1'] });
    const down = await start({ host: 'localhost', faults: [{ kind: 'answer', status: 404, body: '{"errors":[]}' }] });
    const mirror = await start({ images: ['cache/deep/app:v1'] });
    const client = clientOf([
      { registry: source.host, insecure: true, mirrors: ['none.example'] },
      { registry: `${source.host}/team`, mirrors: [down.host, `${mirror.host}/cache/deep`] },
      { registry: down.host, insecure: true },
      { registry: mirror.host, insecure: true },
    ]);
    const { digest } = await client.readManifest({ registry: source.host, path: 'team/app' }, v1, anonymous);
    expect(digest).toMatch(/^sha256:/);
    expect(paths(down)).toContain('/v2/app/manifests/v1');
    expect(paths(mirror)).toEqual(['/v2/cache/deep/app/manifests/v1']);
    expect(source.requests).toEqual([]);
  });

  test('that fail are followed by the registry itself', async () => {
    const source = await start({ images: ['team/app:v1'] });
    const down = await start({ faults: [{ kind: 'answer', status: 503 }] });
    const client = clientOf([
      { registry: source.host, mirrors: [down.host] },
      { registry: down.host, insecure: true },
    ]);
    const repository = { registry: source.host, path: 'team/app' };
    expect((await client.readManifest(repository, v1, anonymous)).digest).toMatch(/^sha256:/);
    const tags = [];
    for await (const tag of client.listTags(repository, anonymous)) tags.push(tag);
    expect(tags).toEqual(['v1']);
  });

  test('several failures are one error that tells of all', async () => {
    const source = await start();
    const down = await start({ faults: [{ kind: 'answer', status: 503 }] });
    const client = clientOf([
      { registry: source.host, mirrors: [`${down.host}/hub`] },
      { registry: down.host, insecure: true },
    ]);
    const error = await failureOf(client.readManifest({ registry: source.host, path: 'team/app' }, v1, anonymous));
    expect(error.problem).toBe('not-found');
    expect(error.reference).toBe(`${source.host}/team/app:v1`);
    expect(error.message).toBe(
      `[mirror ${down.host}/hub/team/app: ${down.host} answers 503, ${source.host} does not know it]`,
    );
  });

  test('are asked alone when the registry must not be', async () => {
    const source = await start({ images: ['team/app:v1'] });
    const mirror = await start();
    const client = clientOf([
      { registry: source.host, mirrors: [mirror.host], neverSource: true },
      { registry: mirror.host, insecure: true },
    ]);
    const error = await failureOf(client.readManifest({ registry: source.host, path: 'team/app' }, v1, anonymous));
    expect(error).toMatchObject({ problem: 'not-found', reference: `${source.host}/team/app:v1` });
    expect(source.requests).toEqual([]);
  });

  test('of digests are not asked for tags, nor the other way round', async () => {
    const source = await start();
    const image = source.addImage('team/app', 'v1');
    const mirror = await start();
    const repository = { registry: source.host, path: 'team/app' };
    const insecureMirror = { registry: mirror.host, insecure: true };
    const byDigests = clientOf([
      { registry: source.host, mirrors: [mirror.host], mirrorsFor: 'digests' },
      insecureMirror,
    ]);
    await byDigests.readManifest(repository, v1, anonymous);
    expect(mirror.requests).toHaveLength(0);
    await byDigests.readManifest(repository, parseReference(image.digest), anonymous);
    expect(mirror.requests).not.toHaveLength(0);
    const before = mirror.requests.length;
    const byTags = clientOf([{ registry: source.host, mirrors: [mirror.host], mirrorsFor: 'tags' }, insecureMirror]);
    await byTags.headBlob(repository, parseDigest(image.layer.digest), anonymous);
    expect(mirror.requests).toHaveLength(before);
  });

  test('see the credential that is for them, and the insecurity of the registry is not theirs', async () => {
    const source = await start({ auth: { kind: 'basic', username: 'source', password: 'p' } });
    const mirror = await start({ auth: { kind: 'basic', username: 'mirror', password: 'p' } });
    mirror.addImage('team/app', 'v1');
    const credentials = ({ registry }: { registry: string }): Credential => ({
      username: registry === mirror.host ? 'mirror' : 'source',
      password: 'p',
      origin: 'secret a/b',
    });
    const repository = { registry: source.host, path: 'team/app' };
    const access = { credentials, isInsecure: true };
    const strict = clientOf([{ registry: source.host, mirrors: [mirror.host], neverSource: true }]);
    expect((await failureOf(strict.readManifest(repository, v1, access))).problem).toBe('http-only');
    const client = clientOf([
      { registry: source.host, mirrors: [mirror.host] },
      { registry: mirror.host, insecure: true },
    ]);
    await client.readManifest(repository, v1, access);
    expect(mirror.shown).toEqual([basic({ username: 'mirror', password: 'p' })]);
    expect(source.shown).toEqual([]);
  });
});

describe('what is not asked at all', () => {
  test('a blocked registry', async () => {
    const registry = await start({ images: ['team/app:v1', 'open/app:v1'] });
    const client = clientOf([
      { registry: registry.host, blocked: true },
      { registry: `${registry.host}/open`, blocked: false },
    ]);
    const error = await failureOf(client.readManifest({ registry: registry.host, path: 'team/app' }, v1, anonymous));
    expect(error).toMatchObject({ problem: 'blocked', message: `registry ${registry.host} blocked` });
    await client.readManifest({ registry: registry.host, path: 'open/app' }, v1, anonymous);
    await expect(client.listRepositories(registry.host, anonymous)[Symbol.asyncIterator]().next()).rejects.toThrow(
      UpstreamError,
    );
    expect(paths(registry)).toEqual(['/v2/open/app/manifests/v1']);
  });

  test.each(['a@b.example', 'a.example/x', 'a.example?', 'a.example#', 'a b', '', 'a.example:99999', '-', '[::1'])(
    'a registry that is called %j',
    async (registry) => {
      const error = await failureOf(clientOf().readManifest({ registry, path: 'team/app' }, v1, anonymous));
      expect(error.problem).toBe('forbidden-address');
    },
  );

  test.each(['../etc', 'team/../app', 'team//app', 'Team/app', 'team/app?x=1', 'a'.repeat(600), 'team/app/', '%2e%2e'])(
    'a repository that is called %j',
    async (path) => {
      const registry = await start();
      const error = await failureOf(clientOf().readManifest({ registry: registry.host, path }, v1, anonymous));
      expect(error.problem).toBe('not-found');
      expect(registry.requests).toEqual([]);
    },
  );

  test.each([
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '[::1]',
    '[::ffff:127.0.0.1]',
    'localhost',
    '169.254.169.254',
  ])('a registry at %s', async (host) => {
    const registry = await start();
    const port = registry.host.split(':')[1]!;
    const client = clientOf([], { allowPrivate: [] });
    const error = await failureOf(client.readManifest({ registry: `${host}:${port}`, path: 'a' }, v1, anonymous));
    expect(error.problem).toBe('forbidden-address');
    expect(registry.requests).toEqual([]);
  });

  test('a name that has a private address among its own', async () => {
    const registry = await start();
    const port = registry.host.split(':')[1]!;
    const client = clientOf([], {
      allowPrivate: ['other.example'],
      resolve: () =>
        Promise.resolve([
          { address: '93.184.216.34', family: 4 },
          { address: '127.0.0.1', family: 4 },
        ]),
    });
    const repository = { registry: `evil.example:${port}`, path: 'a' };
    expect((await failureOf(client.readManifest(repository, v1, anonymous))).problem).toBe('forbidden-address');
    expect(registry.requests).toEqual([]);
  });

  test('a name is looked up once for a connection, so that what is checked is what is connected to', async () => {
    const registry = await start({ images: ['team/app:v1'] });
    const port = registry.host.split(':')[1]!;
    const asked: string[] = [];
    const client = clientOf([], {
      allowPrivate: ['allowed.example'],
      resolve: (host) => {
        asked.push(host);
        return Promise.resolve([{ address: '127.0.0.1', family: 4 }]);
      },
    });
    const repository = { registry: `allowed.example:${port}`, path: 'team/app' };
    expect((await client.readManifest(repository, v1, anonymous)).digest).toMatch(/^sha256:/);
    // By https, and as nobody spoke that, by http.
    expect(asked).toEqual(['allowed.example', 'allowed.example']);
  });
});

describe('Docker Hub', () => {
  test('is spoken to by the name that answers, and a lone name is in library', async () => {
    const asked: string[] = [];
    const client = clientOf([], {
      resolve: (host) => {
        asked.push(host);
        return Promise.resolve([{ address: '10.0.0.1', family: 4 }]);
      },
    });
    const error = await failureOf(client.headManifest({ registry: 'docker.io', path: 'alpine' }, v1, anonymous));
    expect(error).toMatchObject({ problem: 'forbidden-address', reference: 'docker.io/alpine:v1' });
    expect(new Set(asked)).toEqual(new Set(['registry-1.docker.io']));
  });
});

describe('tokens', () => {
  const auth = { kind: 'bearer', username: 'u', password: 'p', expiresIn: 300 } as const;
  const credential = (username: string, password = 'p'): UpstreamAccess => ({
    credentials: () => ({ username, password, origin: 'secret a/b' }),
    isInsecure: true,
  });
  const tokenRequests = (registry: FaultyRegistry) => registry.seen.filter((line) => line.includes('/token'));

  test('are asked for once by many, and used until they end', async () => {
    const registry = await start({ auth, images: ['team/app:v1'] });
    const client = clientOf();
    const ask = () => client.readManifest({ registry: registry.host, path: 'team/app' }, v1, credential('u'));
    await ask();
    await Promise.all(Array.from({ length: 10 }, ask));
    expect(tokenRequests(registry)).toHaveLength(1);
    nowMs += 291_000;
    await Promise.all(Array.from({ length: 10 }, ask));
    expect(tokenRequests(registry)).toHaveLength(2);
  });

  test('that are taken back are asked for again', async () => {
    const registry = await start({ auth, images: ['team/app:v1'] });
    const client = clientOf();
    const ask = () => client.readManifest({ registry: registry.host, path: 'team/app' }, v1, credential('u'));
    await ask();
    registry.revokeTokens();
    await ask();
    expect(tokenRequests(registry)).toHaveLength(2);
  });

  test('of one credential are not used for another, nor for nobody', async () => {
    const registry = await start({ auth, images: ['team/app:v1'] });
    const client = clientOf();
    const repository = { registry: registry.host, path: 'team/app' };
    await client.readManifest(repository, v1, credential('u'));
    expect((await failureOf(client.readManifest(repository, v1, credential('u', 'wrong')))).problem).toBe(
      'unauthorized',
    );
    expect((await failureOf(client.readManifest(repository, v1, anonymous))).problem).toBe('unauthorized');
  });

  test('one who goes away does not take it from the others', async () => {
    const registry = await start({ auth, images: ['team/app:v1'] });
    const client = clientOf();
    const repository = { registry: registry.host, path: 'team/app' };
    const controller = new AbortController();
    const leaving = failureOf(client.readManifest(repository, v1, { ...credential('u'), signal: controller.signal }));
    const staying = client.readManifest(repository, v1, credential('u'));
    controller.abort();
    expect(await leaving).toMatchObject({ problem: 'unavailable', message: 'ended by who asked for it' });
    expect((await staying).digest).toMatch(/^sha256:/);
  });

  test("the administrator's credential is not shown insecurely because somebody else says so", async () => {
    const registry = await start({ auth: { kind: 'basic', username: 'u', password: 'p' }, images: ['team/app:v1'] });
    const configured: UpstreamAccess = {
      credentials: () => ({ username: 'u', password: 'p', origin: 'configured for x', isConfigured: true }),
      isInsecure: true,
    };
    const repository = { registry: registry.host, path: 'team/app' };
    expect((await failureOf(clientOf().readManifest(repository, v1, configured))).problem).toBe('http-only');
    expect(registry.shown).toEqual([]);
    const client = clientOf([{ registry: registry.host, insecure: true }]);
    expect((await client.readManifest(repository, v1, configured)).digest).toMatch(/^sha256:/);
  });
});

describe('rate limits', () => {
  test('a registry that wants no requests is left alone until it does', async () => {
    const registry = await start({
      images: ['team/app:v1'],
      faults: [{ kind: 'answer', status: 429, headers: { 'Retry-After': 120 }, times: 1 }],
    });
    const budgets = new MemoryBudgets(now);
    const client = clientOf([], { budgets });
    const ask = () => client.readManifest({ registry: registry.host, path: 'team/app' }, v1, anonymous);
    expect(await failureOf(ask())).toMatchObject({ problem: 'rate-limited', retryAfterMs: 120_000, status: 429 });
    nowMs += 20_000;
    expect(await failureOf(ask())).toMatchObject({ problem: 'rate-limited', retryAfterMs: 100_000, status: undefined });
    expect(registry.requests).toHaveLength(1);
    expect((await budgets.find(registry.host))?.blockedUntil).toEqual(new Date('2026-03-01T12:02:00Z'));
    nowMs += 100_000;
    expect((await ask()).digest).toMatch(/^sha256:/);
  });

  test('a wait without any sense is cut to a day', async () => {
    const faults = [{ kind: 'answer', status: 429, headers: { 'Retry-After': 999_999_999 } }] as const;
    const registry = await start({ faults });
    const budgets = new MemoryBudgets(now);
    const repository = { registry: registry.host, path: 'team/app' };
    await failureOf(clientOf([], { budgets }).headManifest(repository, v1, anonymous));
    expect((await budgets.find(registry.host))?.blockedUntil).toEqual(new Date('2026-03-02T12:00:00Z'));
  });

  test('what Docker Hub says of its limit is kept', async () => {
    const registry = await start({
      images: ['team/app:v1'],
      faults: [{ kind: 'headers', headers: { 'RateLimit-Limit': '100;w=21600', 'RateLimit-Remaining': '76;w=21600' } }],
    });
    const budgets = new MemoryBudgets(now);
    await clientOf([], { budgets }).headManifest({ registry: registry.host, path: 'team/app' }, v1, anonymous);
    expect(await budgets.find(registry.host)).toMatchObject({ toldLimit: 100, toldRemaining: 76, used: 1 });
  });

  test('our own budget ends before that of the registry', async () => {
    const registry = await start({ images: ['team/app:v1'] });
    const client = clientOf([{ registry: registry.host, requests: 2, windowSeconds: 60 }], {
      budgets: new MemoryBudgets(now),
    });
    const ask = () => client.readManifest({ registry: registry.host, path: 'team/app' }, v1, anonymous);
    await ask();
    await ask();
    expect(await failureOf(ask())).toMatchObject({ problem: 'budget', retryAfterMs: 60_000 });
    expect(registry.requests).toHaveLength(2);
  });
});

describe('what is read', () => {
  test('a tag that moves is seen at its new place', async () => {
    const registry = await start({ images: ['team/app:v1'] });
    const client = clientOf();
    const repository = { registry: registry.host, path: 'team/app' };
    const before = await client.headManifest(repository, v1, anonymous);
    const { digest } = registry.addImage('team/app', 'v2');
    registry.setTag('team/app', 'v1', digest);
    const after = await client.headManifest(repository, v1, anonymous);
    expect(before.digest).not.toBe(digest);
    expect(after.digest).toBe(digest);
  });

  test('a blob that is let go of ends its connection', async () => {
    const registry = await start();
    const image = registry.addImage('team/app', 'v1');
    registry.addFault({ kind: 'stall-body', after: 1000 });
    const client = clientOf();
    const repository = { registry: registry.host, path: 'team/app' };
    const blob = await client.openBlob(repository, parseDigest(image.layer.digest), anonymous);
    expect(blob.size).toBe(100_000);
    const iterator = blob.body[Symbol.asyncIterator]();
    expect((await iterator.next()).done).toBe(false);
    blob.cancel();
    await expect(iterator.next()).rejects.toThrow(UpstreamError);
    expect(registry.requests).toHaveLength(1);
  });

  test('a blob that breaks before anyone reads it is told to who reads it', async () => {
    const registry = await start({ hasRanges: false });
    const image = registry.addImage('team/app', 'v1');
    registry.addFault({ kind: 'truncate', after: 1000 });
    const repository = { registry: registry.host, path: 'team/app' };
    const digest = parseDigest(image.layer.digest);
    const controller = new AbortController();
    const access = { ...anonymous, signal: controller.signal };
    const client = clientOf();
    const [broken, ended] = [
      await client.openBlob(repository, digest, anonymous),
      await client.openBlob(repository, digest, access),
    ];
    controller.abort();
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const { body } of [broken, ended]) {
      const read = async () => {
        for await (const chunk of body) expect(chunk.length).toBeLessThanOrEqual(1000);
      };
      expect((await failureOf(read())).problem).toBe('unavailable');
    }
  });

  test('a blob that is let go of while it is taken up again is not asked for once more', async () => {
    const registry = await start();
    const image = registry.addImage('team/app', 'v1');
    registry.addFault({ kind: 'truncate', after: 1000, times: 1 });
    registry.addFault({ kind: 'stall' });
    const repository = { registry: registry.host, path: 'team/app' };
    const blob = await clientOf().openBlob(repository, parseDigest(image.layer.digest), anonymous);
    const iterator = blob.body[Symbol.asyncIterator]();
    await iterator.next();
    const failing = failureOf(iterator.next());
    await expect.poll(() => registry.requests.length).toBe(2);
    blob.cancel();
    expect((await failing).message).toBe('ended by who asked for it');
    expect(registry.requests).toHaveLength(2);
  });

  test('a signal ends a blob in the middle', async () => {
    const registry = await start();
    const image = registry.addImage('team/app', 'v1');
    registry.addFault({ kind: 'stall-body', after: 1000 });
    const controller = new AbortController();
    const access = { ...anonymous, signal: controller.signal };
    const repository = { registry: registry.host, path: 'team/app' };
    const blob = await clientOf().openBlob(repository, parseDigest(image.layer.digest), access);
    const iterator = blob.body[Symbol.asyncIterator]();
    await iterator.next();
    controller.abort();
    expect((await failureOf(iterator.next())).message).toBe('ended by who asked for it');
  });
});

describe('proxies', () => {
  test('are asked for hosts whose addresses may be spoken to', async () => {
    const registry = await start({ images: ['team/app:v1'] });
    const proxy = await startProxy(registry);
    const environment = { HTTP_PROXY: proxy.url, https_proxy: proxy.url, no_proxy: 'direct.example, .internal' };
    const client = clientOf([], {
      allowPrivate: [],
      environment,
      resolve: (host) => {
        if (host === 'unknown.example') return Promise.reject(new Error('ENOTFOUND'));
        const address = host === 'private.example' ? '10.0.0.1' : '93.184.216.34';
        return Promise.resolve([{ address, family: 4 }]);
      },
    });
    const ask = (host: string) => client.readManifest({ registry: host, path: 'team/app' }, v1, anonymous);
    expect((await ask('public.example')).digest).toMatch(/^sha256:/);
    expect(proxy.seen).toEqual(['CONNECT public.example:443', 'GET http://public.example/v2/team/app/manifests/v1']);
    expect((await failureOf(ask('private.example'))).problem).toBe('forbidden-address');
    expect((await failureOf(ask('unknown.example'))).message).toMatch(/cannot be looked up.*allowPrivate/);
    expect(proxy.seen).toHaveLength(2);
  });

  test('tunnel what is secret', async () => {
    const registry = await start({ tls: true, images: ['team/app:v1'] });
    const proxy = await startProxy(registry, { tunnels: true });
    const client = clientOf([], {
      allowPrivate: [],
      environment: { https_proxy: proxy.url },
      resolve: () => Promise.resolve([{ address: '93.184.216.34', family: 4 }]),
    });
    const repository = { registry: 'public.example', path: 'team/app' };
    expect((await failureOf(client.readManifest(repository, v1, { ...anonymous, isInsecure: false }))).problem).toBe(
      'certificate',
    );
    expect((await client.readManifest(repository, v1, anonymous)).digest).toMatch(/^sha256:/);
    expect(new Set(proxy.seen)).toEqual(new Set(['CONNECT public.example:443']));
  });
});

/** A proxy that leads all requests to one registry. */
async function startProxy(
  registry: FaultyRegistry,
  { tunnels = false } = {},
): Promise<{ readonly url: string; readonly seen: string[] }> {
  const seen: string[] = [];
  const [hostname = '', port = ''] = registry.host.split(':');
  const server: Server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    const { pathname, search } = new URL(request.url ?? '');
    const { method, headers } = request;
    const sent = httpRequest({ hostname, port, path: pathname + search, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    request.pipe(sent);
  });
  server.on('connect', (request, socket) => {
    seen.push(`CONNECT ${request.url}`);
    socket.on('error', () => undefined);
    if (!tunnels) {
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
      return;
    }
    const target = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      target.pipe(socket).pipe(target);
    });
    target.on('error', () => socket.destroy());
    socket.on('close', () => target.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.push({
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

describe('guardedFetch', () => {
  test('fetches from allowed hosts, and follows redirects among them', async () => {
    const registry = await start({ images: ['team/app:v1'] });
    registry.addFault({ kind: 'redirect', path: /old/, to: '/v2/team/app/tags/list' });
    const fetchGuarded = guardedFetch({ allowPrivate: ['127.0.0.1'], timeoutMs: 1000 });
    const response = await fetchGuarded(`${registry.url}/old`);
    expect(await response.json()).toEqual({ tags: ['v1'] });
    const manual = await fetchGuarded(`${registry.url}/old`, { redirect: 'manual' });
    expect(manual.status).toBe(307);
    await manual.body?.cancel();
  });

  test('refuses what only we can reach, also behind a redirect', async () => {
    const registry = await start();
    registry.addFault({ kind: 'redirect', to: `http://localhost:${registry.host.split(':')[1]}/secret` });
    const strict = guardedFetch({ allowPrivate: [], timeoutMs: 1000 });
    const causeOf = async (asked: Promise<Response>) => {
      const error = await asked.then(
        () => undefined,
        (reason: unknown) => reason as Error,
      );
      return error?.cause ?? error;
    };
    expect(await causeOf(strict(registry.url))).toBeInstanceOf(ForbiddenAddressError);
    const lax = guardedFetch({ allowPrivate: ['127.0.0.1'], timeoutMs: 1000 });
    const headers = { Authorization: 'Bearer x' };
    expect(await causeOf(lax(registry.url, { headers }))).toBeInstanceOf(ForbiddenAddressError);
    expect(registry.requests).toHaveLength(1);
  });
});
