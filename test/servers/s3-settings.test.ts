import { readdir, writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { S3BlobStore } from '../../src/blobstore/s3.js';
import { CertificateAuthority } from '../../src/tls/certificate-authority.js';
import { startS3, type TestS3 } from '../support/s3.js';
import { collect, MiB, RememberedUpload, s3Fixture, someBytes } from './s3-fixture.js';

const warnings: string[] = [];
const note = (warning: Error) => warnings.push(String(warning));
beforeAll(() => {
  process.on('warning', note);
});
afterAll(() => {
  process.off('warning', note);
});

const fixture = s3Fixture();

async function push(store: S3BlobStore, bytes: Buffer): Promise<string> {
  const upload = new RememberedUpload();
  const { failure } = await upload.append(store, bytes);
  if (failure !== undefined) throw failure;
  return upload.finish(store);
}

test('a client is made without a warning of the version of Node, and leaves the environment as it was', async () => {
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(warnings.filter((warning) => warning.includes('AWS SDK'))).toEqual([]);
  expect(process.env).not.toHaveProperty('AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED');
});

describe('encryption', () => {
  test.each([
    { name: 'with keys of the store', options: { encryption: 'AES256' as const }, algorithm: 'AES256', key: undefined },
    { name: 'with a key service', options: { encryption: 'aws:kms' as const }, algorithm: 'aws:kms', key: undefined },
    {
      name: 'with a key of a key service',
      options: { encryption: 'aws:kms' as const, kmsKeyId: 'alias/weir' },
      algorithm: 'aws:kms',
      key: 'alias/weir',
    },
    { name: 'by what the bucket says', options: {}, algorithm: undefined, key: undefined },
  ])('is asked for with each new object: $name', async ({ options, algorithm, key }) => {
    const store = await fixture.open(options);
    await push(store, someBytes(10)).catch(() => undefined);
    // The test server has no encryption, and may refuse to begin with it: what counts is that it was asked.
    await push(store, someBytes(9 * MiB)).catch(() => undefined);
    const begun = fixture.proxy.requests.filter(({ operation }) =>
      ['PutObject', 'CreateMultipartUpload'].includes(operation),
    );
    expect(new Set(begun.map(({ operation }) => operation))).toEqual(new Set(['PutObject', 'CreateMultipartUpload']));
    for (const { headers } of begun) {
      expect(headers['x-amz-server-side-encryption']).toBe(algorithm);
      expect(headers['x-amz-server-side-encryption-aws-kms-key-id']).toBe(key);
    }
    const parts = fixture.proxy.requests.filter(({ operation }) => operation === 'UploadPart');
    for (const { headers } of parts) expect(headers).not.toHaveProperty('x-amz-server-side-encryption');
  });
});

test('every part and object is sent with its checksum, and not as aws-chunked', async () => {
  await push(fixture.store, someBytes(17 * MiB));
  const sent = fixture.proxy.requests.filter(({ operation }) => ['PutObject', 'UploadPart'].includes(operation));
  expect(sent).toHaveLength(3);
  for (const { headers } of sent) {
    expect(headers['x-amz-checksum-crc32']).toMatch(/^[\w+/]{6}==$/);
    expect(headers['content-encoding']).toBeUndefined();
    expect(headers['content-length']).toBeDefined();
    expect(headers).not.toHaveProperty('expect');
  }
});

test.each(['deep/registry', 'deep2/registry/'])(
  'keys stand below the prefix %s, and others in the bucket are not ours',
  async (prefix) => {
    const store = await fixture.open({ prefix });
    const outside = await push(fixture.store, someBytes(5));
    const location = await push(store, someBytes(9 * MiB));
    const listed: string[] = [];
    for await (const one of store.list()) listed.push(one);
    expect(listed).toEqual([location]);
    expect(await store.size(outside)).toBeUndefined();
    const folder = join(fixture.server.folder, fixture.bucket, prefix, 'blobs');
    expect(await readdir(folder)).toEqual([location.slice(0, 2)]);
    await store.delete(location);
  },
);

describe('a signed URL', () => {
  test('gives the bytes to whoever has it, ranges too, and nothing when it was changed', async () => {
    const location = await push(fixture.store, Buffer.from('for whoever has the URL'));
    fixture.proxy.reset();
    const url = await fixture.store.presign(location, 60);
    expect(fixture.proxy.counts()).toEqual({});
    const [whole, part, changed] = await Promise.all([
      fetch(url),
      fetch(url, { headers: { Range: 'bytes=4-10' } }),
      fetch(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=6000')),
    ]);
    expect(await whole.text()).toBe('for whoever has the URL');
    expect({ status: part.status, text: await part.text() }).toEqual({ status: 206, text: 'whoever' });
    expect(changed.status).toBe(403);
    await changed.body?.cancel();
  });

  test('expires', async () => {
    const location = await push(fixture.store, Buffer.from('soon gone'));
    const url = await fixture.store.presign(location, 1);
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    const answer = await fetch(url);
    expect(answer.status).toBe(403);
    await answer.body?.cancel();
  });

  test.each([
    {
      name: 'AWS itself',
      options: { endpoint: undefined, region: 'eu-central-1' },
      host: 'images.s3.eu-central-1.amazonaws.com',
      path: '/p/blobs/',
    },
    {
      name: 'AWS by path',
      options: { endpoint: undefined, region: 'eu-central-1', pathStyle: true },
      host: 's3.eu-central-1.amazonaws.com',
      path: '/images/p/blobs/',
    },
    {
      name: 'an endpoint by path',
      options: { endpoint: 'https://s3.example.com:9000' },
      host: 's3.example.com:9000',
      path: '/images/p/blobs/',
    },
    {
      name: 'an endpoint by name',
      options: { endpoint: 'https://s3.example.com', pathStyle: false },
      host: 'images.s3.example.com',
      path: '/p/blobs/',
    },
  ])('leads to the bucket at $name', async ({ options, host, path }) => {
    const store = await fixture.open({ bucket: 'images', prefix: 'p', pathStyle: undefined, ...options });
    const url = new URL(await store.presign('ab/abcd-1', 60));
    expect(url.host).toBe(host);
    expect(url.pathname).toBe(`${path}ab/abcd-1`);
  });
});

describe('credentials', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('are those of the environment when none are given', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', fixture.server.accessKeyId);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', fixture.server.secretAccessKey);
    const store = await fixture.open({ accessKeyId: undefined, secretAccessKey: undefined });
    await expect(store.check()).resolves.toBeUndefined();
  });

  test('that are wrong fail at once, with what the store says', async () => {
    const store = await fixture.open({ secretAccessKey: 'wrong' });
    await expect(store.check()).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
    await expect(push(store, someBytes(10))).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
    expect(fixture.proxy.counts()).toEqual({ PutObject: 2 });
  });
});

test('a check fails soon when the store is not there', async () => {
  const store = await fixture.open();
  fixture.proxy.setOutage(true);
  const start = performance.now();
  await expect(store.check()).rejects.toThrow();
  expect(performance.now() - start).toBeLessThan(6_000);
  fixture.proxy.setOutage(false);
  await expect(store.check()).resolves.toBeUndefined();
});

describe('a store with a certificate of its own', () => {
  let folder: string;
  let server: TestS3;
  let caFile: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    const authority = new CertificateAuthority(folder);
    const { cert, key } = await authority.serverCertificate(['127.0.0.1']);
    caFile = authority.certificatePath;
    const [certFile, keyFile] = [join(folder, 'server.crt'), join(folder, 'server.key')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    server = await startS3({ tls: { caFile, certFile, keyFile } });
  });
  afterAll(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('is trusted when its authority is named, and only then', async () => {
    const bucket = await server.createBucket();
    const { endpoint, accessKeyId, secretAccessKey } = server;
    const strange = await fixture.open({ endpoint, accessKeyId, secretAccessKey, bucket });
    await expect(strange.check()).rejects.toThrow(/certificate/);
    const trusted = await fixture.open({ endpoint, accessKeyId, secretAccessKey, bucket, caFile });
    const bytes = someBytes(9 * MiB);
    expect((await collect(await trusted.open(await push(trusted, bytes)))).equals(bytes)).toBe(true);
  });

  test('needs a file that can be read', async () => {
    await expect(fixture.open({ caFile: join(folder, 'missing') })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
