import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Router from '@koa/router';
import Koa from 'koa';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { RegistryAccess } from '../../src/auth/registry-access.js';
import { blobRoutes } from '../../src/distribution/blob-routes.js';
import { ociErrors } from '../../src/distribution/error-middleware.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import type { BlobRelayOptions } from '../../src/pullthrough/blob-relay.js';
import { app, bytesOf, contentOf, place, relayFixture } from './relay-fixture.js';

const MiB = 1024 * 1024;

/** The routes of blobs behind a listener, open to everyone, and an image whose layer only another registry has. */
async function served(size: number, giving = {}, options: Partial<BlobRelayOptions> = {}) {
  const fixture = await relayFixture();
  const bytes = bytesOf(size);
  const digest = fixture.upstream.put(place, bytes, giving);
  await fixture.importImage([contentOf(bytes)]);
  const router = new Router();
  const access = { requireRepository: () => Promise.resolve() } as unknown as RegistryAccess;
  blobRoutes(router, { access, parseName: parseRepositoryName }, fixture.start(options).blobs);
  const koa = new Koa();
  koa.silent = true;
  koa.use(ociErrors).use(router.routes());
  const handle = koa.callback();
  const server = createServer((request, response) => void handle(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const get = (headers: Record<string, string> = {}, method = 'GET', signal?: AbortSignal) =>
    fetch(`http://127.0.0.1:${port}/v2/${app}/blobs/${digest}`, { method, headers, ...(signal && { signal }) });
  return { ...fixture, bytes, digest, get };
}

async function bodyOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

test('a pull looks the same whether the blob is here or comes from elsewhere', async () => {
  const { get, bytes, digest, upstream } = await served(100_000);
  const seen: unknown[] = [];
  for (let count = 0; count < 2; count += 1) {
    const response = await get();
    const { date: _date, ...headers } = Object.fromEntries(response.headers);
    expect((await bodyOf(response)).equals(bytes)).toBe(true);
    seen.push({ status: response.status, headers });
  }
  expect(seen[0]).toEqual(seen[1]);
  expect(seen[0]).toMatchObject({
    status: 200,
    headers: { 'content-length': '100000', 'docker-content-digest': digest, etag: `"${digest}"` },
  });
  expect(upstream.requests).toEqual([`GET ${place}`]);
});

test('HEAD, and who has the blob already, cost the other registry nothing', async () => {
  const { get, digest, upstream } = await served(100_000);
  const head = await get({}, 'HEAD');
  expect([head.status, head.headers.get('Content-Length')]).toEqual([200, '100000']);
  expect((await get({ 'If-None-Match': `"${digest}"` })).status).toBe(304);
  expect(upstream.requests).toEqual([]);
});

test.each([
  { range: 'bytes=0-99', first: 0, end: 100 },
  { range: 'bytes=99000-', first: 99_000, end: 100_000 },
  { range: 'bytes=-1', first: 99_999, end: 100_000 },
])('$range is answered with 206 while the blob comes', async ({ range, first, end }) => {
  const { get, bytes } = await served(100_000);
  const response = await get({ Range: range });
  expect(response.status).toBe(206);
  expect(response.headers.get('Content-Range')).toBe(`bytes ${first}-${end - 1}/100000`);
  expect((await bodyOf(response)).equals(bytes.subarray(first, end))).toBe(true);
});

test('several ranges are answered in parts, with one fetch', async () => {
  const { get, bytes, upstream } = await served(100_000);
  const response = await get({ Range: 'bytes=0-9,50000-50009' });
  expect(response.status).toBe(206);
  const body = await bodyOf(response);
  expect(body.includes(bytes.subarray(0, 10)) && body.includes(bytes.subarray(50_000, 50_010))).toBe(true);
  expect(body).toHaveLength(Number(response.headers.get('Content-Length')));
  expect(upstream.requests).toHaveLength(1);
});

test('a range beyond the end asks nobody', async () => {
  const { get, upstream } = await served(1000);
  expect((await get({ Range: 'bytes=1000-' })).status).toBe(416);
  expect(upstream.requests).toEqual([]);
});

test('200 clients at once get all of it from one fetch', async () => {
  const { get, bytes, upstream } = await served(MiB);
  const bodies = await Promise.all(Array.from({ length: 200 }, async () => bodyOf(await get())));
  expect(bodies.every((body) => body.equals(bytes))).toBe(true);
  expect(upstream.requests).toHaveLength(1);
});

test('a client that goes away does not stop the fetch', async () => {
  const { get, digest, records, upstream } = await served(2 * MiB, { pauseAt: MiB });
  const leaving = new AbortController();
  const response = await get({}, 'GET', leaving.signal);
  expect(response.status).toBe(200);
  leaving.abort();
  upstream.go();
  await vi.waitFor(async () => {
    expect(await records.findLinkedBlob(app, digest)).toBeDefined();
  });
});

test('a fetch that fails in the middle cuts the answer off', async () => {
  const { get, upstream } = await served(2 * MiB, { pauseAt: MiB, breakAt: MiB + 1 });
  const response = await get();
  expect(response.status).toBe(200);
  upstream.go();
  await expect(bodyOf(response)).rejects.toThrow();
});

test('a registry that lets nobody pull is told of, with when to come again', async () => {
  const { get, digest, upstream } = await served(1000);
  upstream.refuse(place, 'rate-limited', 30_000);
  const response = await get();
  expect([response.status, response.headers.get('Retry-After')]).toEqual([429, '30']);
  expect(await response.json()).toMatchObject({
    errors: [
      {
        code: 'TOOMANYREQUESTS',
        message: `too many requests (${place}: rate-limited)`,
        detail: { repository: app, digest, upstreams: [{ reference: place, problem: 'rate-limited' }] },
      },
    ],
  });
});

test('nothing that went wrong there is told with the headers of a blob', async () => {
  const { get, upstream } = await served(1000);
  upstream.refuse(place, 'unavailable');
  const response = await get();
  expect(response.status).toBe(503);
  expect(response.headers.get('Docker-Content-Digest')).toBeNull();
  expect(response.headers.get('ETag')).toBeNull();
});
