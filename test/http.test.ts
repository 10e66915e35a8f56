import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushBlob, pushImage, startUpload, type PushedImage } from './support/images.js';
import { expectOciError } from './support/oci-errors.js';
import { exchange, openSocket, rawBytes, readResponse, type RawRequest } from './support/raw-http.js';
import { admin, authorizationOf, startRegistry, type TestRegistry } from './support/registry.js';

let registry: TestRegistry;
let image: PushedImage;

beforeAll(async () => {
  registry = await startRegistry();
  image = await pushImage(registry, 'app', 'v1');
});
afterAll(() => registry.stop());

function rawRequest(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): RawRequest {
  const all = {
    Host: new URL(registry.url).host,
    Authorization: authorizationOf(admin)!,
    ...(body !== '' && { 'Content-Length': String(body.length) }),
    ...headers,
  };
  return { method, target, headers: Object.entries(all), body };
}

describe('the root of the API', () => {
  test.each(['/v2/', '/v2'])('%s says that the registry is there', async (path) => {
    const response = await registry.fetch(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('Docker-Distribution-API-Version')).toBe('registry/2.0');
    expect(await response.json()).toEqual({});
  });

  test.each(['/V2/', '/V2/app/tags/list', '/v3/', '/v2x', '/index.html'])(
    '%s is no path of the registry',
    async (target) => {
      expect((await exchange(registry.url, rawBytes(rawRequest('GET', target)))).status).toBe(404);
    },
  );
});

describe('answers without content', () => {
  test.each([
    {
      name: '201 of a blob',
      run: () => registry.fetch('/v2/b/blobs/uploads/?mount=' + image.layer.digest, { method: 'POST' }),
      status: 201,
    },
    { name: '202 of a session', run: () => registry.fetch('/v2/app/blobs/uploads/', { method: 'POST' }), status: 202 },
  ])('$name say that nothing follows', async ({ run, status }) => {
    const response = await run();
    expect(response.status).toBe(status);
    expect(response.headers.get('Content-Length')).toBe('0');
    expect(await response.text()).toBe('');
  });

  test('204 has no length', async () => {
    const response = await registry.fetch(await startUpload(registry, 'app'));
    expect(response.status).toBe(204);
    expect(response.headers.get('Content-Length')).toBeNull();
  });
});

describe('HEAD', () => {
  test.each([
    { path: '/v2/', status: 200 },
    { path: '/v2/app/tags/list', status: 200 },
    { path: '/v2/app/manifests/v1', status: 200 },
    { path: '/v2/app/manifests/none', status: 404 },
    { path: '/v2/App/manifests/v1', status: 400 },
    { path: '/v2/nothing', status: 404 },
  ])('of $path answers $status, with the headers of GET and no body', async ({ path, status }) => {
    const get = await registry.fetch(path);
    const head = await registry.fetch(path, { method: 'HEAD' });
    expect(head.status).toBe(status);
    expect(get.status).toBe(status);
    expect(await head.text()).toBe('');
    for (const name of ['Content-Type', 'Content-Length', 'Docker-Content-Digest']) {
      expect(head.headers.get(name)).toBe(get.headers.get(name));
    }
  });
});

describe('a connection', () => {
  test('serves one request after another, also after a refusal with a body', async () => {
    const socket = await openSocket(registry.url);
    try {
      const steps: readonly (readonly [RawRequest, number])[] = [
        [rawRequest('PUT', '/v2/app/manifests/bad', {}, 'this is not JSON'), 400],
        [rawRequest('GET', '/v2/'), 200],
        [rawRequest('PATCH', `/v2/app/blobs/uploads/${'0'.repeat(40)}`, {}, 'bytes'), 404],
        [rawRequest('GET', `/v2/app/blobs/${image.layer.digest}`), 200],
        [rawRequest('GET', `/v2/app/blobs/${image.layer.digest}`, { Range: 'bytes=0-1,3-4' }), 206],
      ];
      for (const [request, status] of steps) {
        socket.write(rawBytes(request));
        expect((await readResponse(socket)).status).toBe(status);
      }
    } finally {
      socket.destroy();
    }
  });

  test('may carry requests one behind the other', async () => {
    const socket = await openSocket(registry.url);
    socket.write(Buffer.concat([rawBytes(rawRequest('GET', '/v2/')), rawBytes(rawRequest('GET', '/v2/nothing'))]));
    const { status, body } = await readResponse(socket);
    socket.destroy();
    expect(status).toBe(200);
    expect(body.toString()).toBe('{}');
  });

  test('takes a head of 30 KiB, as tokens with many scopes have', async () => {
    const response = await registry.fetch('/v2/', { headers: { 'X-Large': 'x'.repeat(30 * 1024) } });
    expect(response.status).toBe(200);
  });

  test('of HTTP/1.0 is served', async () => {
    const head = `GET /v2/ HTTP/1.0\r\nAuthorization: ${authorizationOf(admin)!}\r\n\r\n`;
    expect((await exchange(registry.url, Buffer.from(head))).status).toBe(200);
  });

  test('that waits for 100 Continue before it sends a body gets it', async () => {
    const socket = await openSocket(registry.url);
    const session = await startUpload(registry, 'app');
    const request = rawRequest('PATCH', session, { Expect: '100-continue', 'Content-Length': '4' });
    socket.write(rawBytes(request));
    const first = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    expect(first.toString()).toMatch(/^HTTP\/1\.1 100 /);
    socket.write('abcd');
    expect((await readResponse(socket)).status).toBe(202);
    socket.destroy();
  });
});

describe('every answer', () => {
  test('has an id of its own, errors included', async () => {
    const ids = await Promise.all(
      ['/v2/', '/v2/nothing', '/v2/App/tags/list', '/none'].map(async (path) =>
        (await registry.fetch(path)).headers.get('X-Request-Id'),
      ),
    );
    expect(ids).not.toContain(null);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('to a failure names no path of the disk and no line of code', async () => {
    const blob = await pushBlob(registry, 'app', 'x');
    const paths = ['/v2/nothing', '/v2/App/tags/list', '/v2/app/manifests/none', `/v2/other/blobs/${blob.digest}`];
    for (const path of paths) {
      const text = await (await registry.fetch(path)).text();
      expect(text).not.toContain(registry.dataDir);
      expect(text).not.toMatch(/node_modules|\bat \S+ \(|\.[jt]s:\d/);
    }
  });
});

test.each([
  { name: 'that is no UTF-8', target: '/%ff' },
  { name: 'that begins with two slashes', target: '//v2/' },
])('a path $name is refused', async ({ target }) => {
  const { status, headers, body } = await exchange(registry.url, rawBytes(rawRequest('GET', target)));
  expectOciError({ status, contentType: headers['content-type'], text: body.toString() }, 400, 'NAME_INVALID');
});
