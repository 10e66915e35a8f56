import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushBlob, pushImage, sha256, type Content } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, user, type TestRegistry } from '../support/registry.js';

const letters = 'abcdefghijklmnopqrstuvwxyz';
let registry: TestRegistry;
let blob: Content;
let target: string;
let etag: string;

beforeAll(async () => {
  registry = await startRegistry();
  blob = await pushBlob(registry, 'app', letters);
  target = `/v2/app/blobs/${blob.digest}`;
  etag = `"${blob.digest}"`;
});
afterAll(() => registry.stop());

function get(headers: Readonly<Record<string, string>> = {}, method = 'GET'): Promise<Response> {
  return registry.fetch(target, { method, headers });
}

describe('a blob', () => {
  test('is pulled with its digest, length, type and tag of its content', async () => {
    const response = await get();
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'docker-content-digest': blob.digest,
      'content-length': '26',
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
      etag,
    });
    expect(await response.text()).toBe(letters);
  });

  test('is checked with HEAD: the same headers, no body', async () => {
    const response = await get({}, 'HEAD');
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'docker-content-digest': blob.digest,
      'content-length': '26',
      'content-type': 'application/octet-stream',
      etag,
    });
    expect(await response.text()).toBe('');
  });

  test('that is not there answers HEAD with 404', async () => {
    const response = await registry.fetch(`/v2/app/blobs/${sha256('never pushed')}`, { method: 'HEAD' });
    expect(response.status).toBe(404);
  });

  test('whose digest has an encoded colon in the path is the same blob', async () => {
    const response = await registry.fetch(target.replace(':', '%3A'));
    expect(await response.text()).toBe(letters);
  });

  test.each(['', 'bytes=0-1', 'bytes=0-1,3-4'])(
    'whose bytes are gone answers 404 before anything else (Range: %j)',
    async (range) => {
      const lost = await pushBlob(registry, 'lost', `bytes lost for ${range}`);
      const db = await registry.openDatabase();
      const { location } = await db
        .selectFrom('blob')
        .select('location')
        .where('digest', '=', lost.digest as never)
        .executeTakeFirstOrThrow();
      await rm(join(registry.dataDir, 'blobs', location));
      const headers = range === '' ? {} : { Range: range };
      const response = await registry.fetch(`/v2/lost/blobs/${lost.digest}`, { headers });
      await expectFailure(response, 404, 'BLOB_UNKNOWN');
    },
  );
});

describe('one range', () => {
  test.each([
    { range: 'bytes=0-0', text: 'a', contentRange: 'bytes 0-0/26' },
    { range: 'bytes=0-25', text: letters, contentRange: 'bytes 0-25/26' },
    { range: 'bytes=2-4', text: 'cde', contentRange: 'bytes 2-4/26' },
    { range: 'bytes=23-', text: 'xyz', contentRange: 'bytes 23-25/26' },
    { range: 'bytes=25-25', text: 'z', contentRange: 'bytes 25-25/26' },
    { range: 'bytes=24-1000', text: 'yz', contentRange: 'bytes 24-25/26' },
    { range: 'bytes=-3', text: 'xyz', contentRange: 'bytes 23-25/26' },
    { range: 'bytes=-1000', text: letters, contentRange: 'bytes 0-25/26' },
    { range: `bytes=-${'9'.repeat(30)}`, text: letters, contentRange: 'bytes 0-25/26' },
    { range: `bytes=25-${'9'.repeat(30)}`, text: 'z', contentRange: 'bytes 25-25/26' },
    { range: 'BYTES=2-4', text: 'cde', contentRange: 'bytes 2-4/26' },
    { range: 'bytes= 2 - 4 ', text: 'cde', contentRange: 'bytes 2-4/26' },
    { range: 'bytes=2-4,30-40', text: 'cde', contentRange: 'bytes 2-4/26' },
  ])('$range is $contentRange', async ({ range, text, contentRange }) => {
    const response = await get({ Range: range });
    expect(response.status).toBe(206);
    expect(response.headers.get('Content-Range')).toBe(contentRange);
    expect(response.headers.get('Content-Length')).toBe(String(text.length));
    expect(response.headers.get('Docker-Content-Digest')).toBe(blob.digest);
    expect(await response.text()).toBe(text);
  });

  test('does not count for HEAD', async () => {
    const response = await get({ Range: 'bytes=2-4' }, 'HEAD');
    expect(response.status).toBe(200);
    expect(response.headers.get('Content-Length')).toBe('26');
  });
});

describe('several ranges', () => {
  test.each([
    { range: 'bytes=0-1,4-5', parts: ['bytes 0-1/26: ab', 'bytes 4-5/26: ef'] },
    { range: 'bytes=-2, 0-0', parts: ['bytes 24-25/26: yz', 'bytes 0-0/26: a'] },
    { range: 'bytes=3-3,24-,90-99,0-2', parts: ['bytes 3-3/26: d', 'bytes 24-25/26: yz', 'bytes 0-2/26: abc'] },
  ])('$range are the parts of one multipart body', async ({ range, parts }) => {
    const response = await get({ Range: range });
    expect(response.status).toBe(206);
    expect(response.headers.get('Content-Range')).toBeNull();
    const body = await response.text();
    expect(response.headers.get('Content-Length')).toBe(String(body.length));
    expect(parseMultipart(response.headers.get('Content-Type')!, body)).toEqual(parts);
  });
});

/** Each part of a multipart/byteranges body (RFC 9110, section 14.6) as `<Content-Range>: <bytes>`. */
function parseMultipart(contentType: string, body: string): string[] {
  const boundary = /^multipart\/byteranges; boundary=([\w-]+)$/.exec(contentType)![1]!;
  const pieces = body.split(`\r\n--${boundary}`);
  expect(pieces[0]).toBe('');
  expect(pieces.at(-1)).toBe('--\r\n');
  return pieces.slice(1, -1).map((piece) => {
    const [head = '', bytes = ''] = piece.split('\r\n\r\n');
    expect(head).toContain('\r\nContent-Type: application/octet-stream');
    return `${/\r\nContent-Range: (.*)/.exec(head)![1]!}: ${bytes}`;
  });
}

describe('conditions', () => {
  test.each([
    { name: 'its tag', value: () => etag, status: 304 },
    { name: 'its tag, weak', value: () => `W/${etag}`, status: 304 },
    { name: 'its tag among others', value: () => `"a", ${etag}, "b"`, status: 304 },
    { name: 'any tag', value: () => '*', status: 304 },
    { name: 'another tag', value: () => '"other"', status: 200 },
    { name: 'its digest without quotes', value: () => blob.digest, status: 200 },
  ])('If-None-Match with $name answers $status', async ({ value, status }) => {
    for (const method of ['GET', 'HEAD']) {
      const response = await get({ 'If-None-Match': value() }, method);
      expect(response.status).toBe(status);
      expect(response.headers.get('ETag')).toBe(etag);
      if (status === 304) expect(await response.text()).toBe('');
    }
  });

  test.each([
    { name: 'its tag', value: () => etag, status: 206, text: 'ab' },
    { name: 'another tag', value: () => '"other"', status: 200, text: letters },
    { name: 'its tag, weak', value: () => `W/${etag}`, status: 200, text: letters },
    { name: 'a date', value: () => 'Wed, 21 Oct 2015 07:28:00 GMT', status: 200, text: letters },
  ])('If-Range with $name answers $status', async ({ value, status, text }) => {
    const response = await get({ 'If-Range': value(), Range: 'bytes=0-1' });
    expect(response.status).toBe(status);
    expect(await response.text()).toBe(text);
  });

  test('If-Range with another tag makes an unsatisfiable range harmless', async () => {
    expect((await get({ 'If-Range': '"other"', Range: 'bytes=99-' })).status).toBe(200);
  });
});

describe('deleting a blob', () => {
  test('that nothing needs takes it out of this repository and no other', async () => {
    const { digest } = await pushBlob(registry, 'one', 'shared bytes');
    await pushBlob(registry, 'two', 'shared bytes');
    const response = await registry.fetch(`/v2/one/blobs/${digest}`, { method: 'DELETE' });
    expect(response.status).toBe(202);
    await expectFailure(await registry.fetch(`/v2/one/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
    await expectFailure(await registry.fetch(`/v2/one/blobs/${digest}`, { method: 'DELETE' }), 404, 'BLOB_UNKNOWN');
    expect(await (await registry.fetch(`/v2/two/blobs/${digest}`)).text()).toBe('shared bytes');
  });

  test('that an image needs is refused until the image is gone', async () => {
    const image = await pushImage(registry, 'needed', 'v1');
    for (const { digest } of [image.config, image.layer]) {
      const refused = await registry.fetch(`/v2/needed/blobs/${digest}`, { method: 'DELETE' });
      expect(refused.headers.get('Allow')).toBe('GET, HEAD');
      await expectFailure(refused, 405, 'DENIED');
    }
    await registry.fetch(`/v2/needed/manifests/${image.digest}`, { method: 'DELETE' });
    const response = await registry.fetch(`/v2/needed/blobs/${image.layer.digest}`, { method: 'DELETE' });
    expect(response.status).toBe(202);
  });

  test('is for the admin', async () => {
    const response = await registry.fetch(target, { method: 'DELETE', as: user });
    await expectFailure(response, 403, 'DENIED');
  });
});
