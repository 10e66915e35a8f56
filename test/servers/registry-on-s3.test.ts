import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkRegistry, type Finding } from '../../src/distribution/fsck.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import { pushBlob, pushImage, startUpload } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { startS3, type TestS3 } from '../support/s3.js';

let s3: TestS3;
let settings: Readonly<Record<string, string>>;
beforeAll(async () => {
  s3 = await startS3();
  settings = {
    WEIR_BLOBSTORE_KIND: 's3',
    WEIR_BLOBSTORE_S3_BUCKET: await s3.createBucket(),
    WEIR_BLOBSTORE_S3_ENDPOINT: s3.endpoint,
    WEIR_BLOBSTORE_S3_REGION: s3.region,
    WEIR_BLOBSTORE_S3_ACCESS_KEY_ID: s3.accessKeyId,
    WEIR_BLOBSTORE_S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  };
});
afterAll(() => s3.stop());

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

describe('a registry whose clients read at the store', () => {
  let registry: TestRegistry;
  let digest: string;
  const bytes = randomBytes(100_000);
  beforeAll(async () => {
    registry = await startRegistry({
      ...settings,
      WEIR_BLOBSTORE_S3_PREFIX: 'redirecting',
      WEIR_BLOBSTORE_S3_REDIRECT: 'true',
      WEIR_BLOBSTORE_S3_REDIRECT_EXCLUDE: '10.0.0.0/8',
    });
    ({ digest } = await pushBlob(registry, 'library/app', bytes));
  });
  afterAll(() => registry.stop());

  const get = (init: RequestInit = {}) =>
    registry.fetch(`/v2/library/app/blobs/${digest}`, { redirect: 'manual', ...init });

  test('sends them there, with a URL that gives the bytes to whoever has it', async () => {
    const answer = await get();
    expect(answer.status).toBe(307);
    expect(answer.headers.get('docker-content-digest')).toBe(digest);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const url = answer.headers.get('location')!;
    expect(url.startsWith(s3.endpoint)).toBe(true);
    expect(url).not.toContain(s3.secretAccessKey);
    const stored = await fetch(url);
    expect(Buffer.from(await stored.arrayBuffer()).equals(bytes)).toBe(true);
    const part = await fetch(url, { headers: { Range: 'bytes=10-19' } });
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20))).toBe(true);
    // What was signed cannot be read under another name.
    expect((await fetch(url.replace(/blobs\/../, 'blobs/zz'))).status).toBe(403);
  });

  test('answers HEAD itself', async () => {
    const answer = await get({ method: 'HEAD' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-length')).toBe(String(bytes.length));
  });

  test('gives the bytes to clients at other addresses, as a proxy tells of them', async () => {
    const answer = await get({ headers: { 'X-Forwarded-For': '10.1.2.3, 192.0.2.1' } });
    expect(answer.status).toBe(200);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
    expect((await get({ headers: { 'X-Forwarded-For': '192.0.2.1' } })).status).toBe(307);
  });

  test('sends nobody there who may not pull', async () => {
    const answer = await registry.fetch(`/v2/library/app/blobs/${digest}`, { redirect: 'manual', as: 'nobody' });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('location')).toBeNull();
  });
});

describe('a registry on S3', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ ...settings, WEIR_BLOBSTORE_S3_PREFIX: 'whole' });
  });
  afterAll(() => registry.stop());

  test('is ready, tells of its requests, and is whole, also beside uploads that are not finished', async () => {
    expect((await fetch(`${registry.url}/readyz`)).status).toBe(200);
    await pushImage(registry, 'library/app', 'v1');
    const session = await startUpload(registry, 'library/app');
    const body = randomBytes(1000);
    expect((await registry.fetch(session, { method: 'PATCH', body })).status).toBe(202);
    const findings: Finding[] = [];
    const counts = await checkRegistry(
      new KyselyInspection(await registry.openDatabase()),
      await registry.openBlobStore(),
      { readBlobs: true, onFinding: (finding) => findings.push(finding) },
    );
    expect(findings).toEqual([]);
    expect(counts.blobs).toBeGreaterThan(0);
    expect((await registry.fetch(`${session}?digest=${sha256(body)}`, { method: 'PUT' })).status).toBe(201);
    const metrics = await (await registry.fetch('/metrics')).text();
    expect(metrics).toMatch(/weir_store_request_duration_seconds_count\{operation="PutObject",outcome="ok"\} [1-9]/);
  });

  test('goes on with chunks after a restart, and ends with another algorithm than it began with', async () => {
    const chunks = [randomBytes(300_000), randomBytes(6_000_000), randomBytes(10)];
    const session = await startUpload(registry, 'library/app');
    let offset = 0;
    for (const body of chunks) {
      const headers = { 'Content-Range': `${offset}-${offset + body.length - 1}` };
      expect((await registry.fetch(session, { method: 'PATCH', headers, body })).status).toBe(202);
      offset += body.length;
      await registry.restart();
    }
    const bytes = Buffer.concat(chunks);
    const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    expect((await registry.fetch(`${session}?digest=${digest}`, { method: 'PUT' })).status).toBe(201);
    const answer = await registry.fetch(`/v2/library/app/blobs/${digest}`);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
  });
});
