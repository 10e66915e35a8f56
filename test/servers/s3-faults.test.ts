import { createHash } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { PagedBytes, PartBuffers, pagesFor, payloadOf } from '../../src/blobstore/part-buffers.js';
import { S3Bucket } from '../../src/blobstore/s3-bucket.js';
import { connectS3 } from '../../src/blobstore/s3-client.js';
import type { S3Request } from '../../src/blobstore/s3-retries.js';
import { collect, chunksOf, MiB, RememberedUpload, s3Fixture, sha256, someBytes } from './s3-fixture.js';
import type { Fault } from '../support/fault-proxy.js';

const fixture = s3Fixture();
const size = 27 * MiB + 11;
const bytes = someBytes(size);

/** A store that soon gives up a connection that rests, and tells of its requests. */
async function impatientStore(requests: S3Request[] = []) {
  return fixture.open({ idleTimeoutMs: 500, onRequest: (request) => requests.push(request) });
}

describe('a push comes through', () => {
  const faults: readonly (Fault & { readonly name: string })[] = [
    { name: 'SlowDown for a time', kind: 'slow-down', operation: 'UploadPart', times: 5 },
    { name: 'SlowDown before the body was read', kind: 'slow-down-early', operation: 'UploadPart', times: 3 },
    { name: 'SlowDown at each kind of request', kind: 'slow-down', times: 4 },
    { name: '500', kind: 'answer', status: 500, body: '<Error><Code>InternalError</Code></Error>', times: 3 },
    { name: '429 without a code', kind: 'answer', status: 429, body: '', times: 2 },
    {
      name: 'connections cut in the middle of parts',
      kind: 'reset',
      after: 3 * MiB,
      operation: 'UploadPart',
      times: 4,
    },
    { name: 'connections cut before the body', kind: 'reset', after: 0, times: 3 },
    { name: 'parts that stall', kind: 'stall', after: MiB, operation: 'UploadPart', times: 2 },
    { name: 'a beginning whose answer is lost', kind: 'lose-answer', operation: 'CreateMultipartUpload', times: 1 },
    { name: 'parts whose answers are lost', kind: 'lose-answer', operation: 'UploadPart', times: 3 },
    { name: 'an end whose answer is lost', kind: 'lose-answer', operation: 'CompleteMultipartUpload', times: 1 },
    { name: 'an end that stalls', kind: 'stall', after: 0, operation: 'CompleteMultipartUpload', times: 1 },
    {
      name: 'an error in an answer that began well',
      kind: 'answer',
      status: 200,
      operation: 'CompleteMultipartUpload',
      body: '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code><Message>x</Message></Error>',
      times: 1,
    },
    { name: 'bytes damaged on their way', kind: 'damage', operation: 'UploadPart', times: 2 },
    { name: 'a last piece that is damaged', kind: 'damage', operation: 'PutObject', times: 1 },
  ];
  test.each(faults)('$name', async ({ name: _name, ...fault }) => {
    const store = await impatientStore();
    fixture.proxy.add(fault);
    const upload = new RememberedUpload();
    const observer = createHash('sha256');
    const result = await upload.append(store, bytes, { observer });
    expect(result.failure).toBeUndefined();
    expect(result.appendedBytes).toBe(size);
    expect(observer.digest('hex')).toBe(sha256(bytes));
    const location = await upload.finish(store);
    expect(sha256(await collect(await store.open(location)))).toBe(sha256(bytes));
  });

  test('an outage of several seconds in the middle', { timeout: 60_000 }, async () => {
    const requests: S3Request[] = [];
    const store = await fixture.open({ retries: undefined, onRequest: (request) => requests.push(request) });
    const upload = new RememberedUpload();
    async function* slowly() {
      for (const chunk of chunksOf(bytes, MiB)) {
        yield chunk;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const appending = upload.append(store, Readable.from(slowly()));
    await vi.waitFor(() => {
      expect(fixture.proxy.counts().UploadPart).toBeGreaterThan(0);
    }, 10_000);
    fixture.proxy.setOutage(true);
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    fixture.proxy.setOutage(false);
    expect((await appending).failure).toBeUndefined();
    expect(requests.filter(({ outcome }) => outcome === 'retried').length).toBeGreaterThan(2);
    const location = await upload.finish(store);
    expect(sha256(await collect(await store.open(location)))).toBe(sha256(bytes));
  });
});

describe('a part that cannot be stored', () => {
  test.each([
    { name: 'the first', skip: 0, good: 0 },
    { name: 'the second', skip: 1, good: 8 * MiB },
    { name: 'the third', skip: 2, good: 16 * MiB },
  ])('ends the append at the last good offset, and the upload goes on from there: $name', async ({ skip, good }) => {
    const store = await fixture.open({
      retries: { attempts: 2, delayMs: 10, maxDelayMs: 10, deadlineMs: 1000 },
      bufferBytes: 256 * MiB,
    });
    const forbidden = '<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>';
    fixture.proxy.add({ kind: 'answer', status: 403, body: forbidden, operation: 'UploadPart', skip });
    const upload = new RememberedUpload();
    const hash = createHash('sha256');
    const snapshots = new Map([[0, hash.copy()]]);
    const source = Readable.from(chunksOf(bytes, 100_000));
    const { failure, appendedBytes } = await upload.append(store, source, {
      observer: hash,
      onCheckpoint: (seen) => snapshots.set(seen, hash.copy()),
    });
    expect(failure).toMatchObject({ name: 'AccessDenied' });
    // Parts are sent three at once, and may arrive in any order: none before the failed one is lost.
    expect(appendedBytes % (8 * MiB)).toBe(0);
    expect(appendedBytes).toBeLessThanOrEqual(good);
    const kept = snapshots.get(appendedBytes)!;
    fixture.proxy.reset();
    await upload.append(await fixture.open(), bytes.subarray(appendedBytes), { observer: kept });
    expect(kept.digest('hex')).toBe(sha256(bytes));
    const location = await upload.finish(fixture.store);
    expect(sha256(await collect(await fixture.store.open(location)))).toBe(sha256(bytes));
  });

  test('pauses the source, which is not destroyed', async () => {
    const store = await fixture.open({ retries: { attempts: 1, delayMs: 1, maxDelayMs: 1, deadlineMs: 1 } });
    fixture.proxy.add({ kind: 'slow-down', operation: 'UploadPart' });
    let produced = 0;
    const source = new Readable({
      read() {
        produced += 1;
        this.push(Buffer.alloc(64 * 1024));
      },
    });
    const { failure, appendedBytes } = await new RememberedUpload().append(store, source);
    expect(failure).toMatchObject({ name: 'StoreUnavailableError', cause: { name: 'SlowDown' } });
    expect(appendedBytes).toBe(0);
    const before = produced;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(produced).toBe(before);
    expect(source.destroyed).toBe(false);
    source.destroy();
  });

  test('is a last piece as well: what is in parts is kept', async () => {
    const store = await fixture.open({ retries: { attempts: 1, delayMs: 1, maxDelayMs: 1, deadlineMs: 1 } });
    fixture.proxy.add({ kind: 'slow-down', operation: 'PutObject' });
    const upload = new RememberedUpload();
    const { failure, appendedBytes } = await upload.append(store, bytes);
    expect(failure).toMatchObject({ name: 'StoreUnavailableError', cause: { name: 'SlowDown' } });
    expect(appendedBytes).toBe(24 * MiB);
    fixture.proxy.reset();
    await upload.append(store, bytes.subarray(appendedBytes), { isLast: true });
    const location = await upload.finish(store);
    expect(sha256(await collect(await store.open(location)))).toBe(sha256(bytes));
  });

  test('is a small blob as well: nothing of it is kept, and the next try is whole', async () => {
    const store = await fixture.open({ retries: { attempts: 1, delayMs: 1, maxDelayMs: 1, deadlineMs: 1 } });
    fixture.proxy.add({ kind: 'slow-down', times: 1 });
    const upload = new RememberedUpload();
    const first = await upload.append(store, Buffer.from('small'), { isLast: true });
    expect(first).toMatchObject({
      appendedBytes: 0,
      failure: { name: 'StoreUnavailableError', cause: { name: 'SlowDown' } },
    });
    await upload.append(store, Buffer.from('small'), { isLast: true });
    expect((await collect(await store.open(await upload.finish(store)))).toString()).toBe('small');
  });

  test('leaves pieces of earlier appends as they were', async () => {
    const store = await fixture.open({ retries: { attempts: 1, delayMs: 1, maxDelayMs: 1, deadlineMs: 1 } });
    const upload = new RememberedUpload();
    await upload.append(store, bytes.subarray(0, 2 * MiB));
    await upload.append(store, bytes.subarray(2 * MiB, 3 * MiB));
    fixture.proxy.add({ kind: 'slow-down', operation: 'UploadPart' });
    const { appendedBytes } = await upload.append(store, bytes.subarray(3 * MiB));
    expect(appendedBytes).toBe(0);
    fixture.proxy.reset();
    await upload.append(store, bytes.subarray(3 * MiB));
    const location = await upload.finish(store);
    expect(sha256(await collect(await store.open(location)))).toBe(sha256(bytes));
  });
});

test('a part with a wrong checksum is refused, and so is an object', async () => {
  const { accessKeyId, secretAccessKey, region, endpoint } = fixture.server;
  const options = { bucket: fixture.bucket, endpoint, accessKeyId, secretAccessKey, region, scratchDir: '' };
  const client = await connectS3(options);
  const bucket = new S3Bucket(client, {
    ...options,
    retries: { attempts: 1, delayMs: 1, maxDelayMs: 1, deadlineMs: 1 },
  });
  const gathered: PagedBytes = pagesFor(new PartBuffers(MiB).lease(1), 1);
  gathered.add(Buffer.from('these bytes'));
  const wrong = { ...payloadOf(gathered), crc32: payloadOf().crc32 };
  await expect(bucket.putObject('wrong', wrong)).rejects.toMatchObject({ cause: { name: 'BadDigest' } });
  const multipart = await bucket.createMultipart('wrong', { hasCrc: true });
  await expect(bucket.putPart(multipart, 1, wrong)).rejects.toMatchObject({ cause: { name: 'BadDigest' } });
  await expect(bucket.putPart(multipart, 1, payloadOf(gathered))).resolves.toMatchObject({ size: 11 });
  await bucket.abortMultipart(multipart);
  bucket.close();
});

describe('a read', () => {
  let location: string | undefined;
  async function stored(): Promise<string> {
    if (location !== undefined) return location;
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes, { isLast: true });
    location = await upload.finish(fixture.store);
    fixture.proxy.reset();
    return location;
  }

  test.each([
    { name: 'a busy store', kind: 'slow-down', times: 2 },
    { name: 'a body that breaks off, again and again', kind: 'cut-answer', after: 5 * MiB, times: 4 },
    { name: 'an answer that does not come', kind: 'stall', after: 0, times: 1 },
  ] as const)('comes through $name', async ({ name: _name, ...fault }) => {
    const at = await stored();
    const store = await impatientStore();
    fixture.proxy.add({ ...fault, operation: 'GetObject' });
    const range = { start: 1000, end: size - 5 };
    expect(sha256(await collect(await store.open(at, range)))).toBe(sha256(bytes.subarray(1000, size - 4)));
  });

  test('of a slow store gives what comes', async () => {
    const at = await stored();
    fixture.proxy.add({ kind: 'slow-answer', bytesPerSecond: 400_000, operation: 'GetObject' });
    const got = await collect(await fixture.store.open(at, { start: 0, end: 299_999 }));
    expect(got.equals(bytes.subarray(0, 300_000))).toBe(true);
  });

  test('by a client that rests longer than a connection may is gone on with', async () => {
    const at = await stored();
    const store = await impatientStore();
    const hash = createHash('sha256');
    let taken = 0;
    const sink = new Writable({
      write(chunk: Buffer, _encoding, callback) {
        hash.update(chunk);
        const rests = taken < 10 * MiB && taken + chunk.length >= 10 * MiB;
        taken += chunk.length;
        if (rests) setTimeout(callback, 1_500);
        else callback();
      },
    });
    await (await store.open(at))!.copyTo(sink);
    expect(hash.digest('hex')).toBe(sha256(bytes));
    expect(fixture.proxy.counts().GetObject).toBeGreaterThan(1);
  });

  test('ends with its client, and the store is not read on', async () => {
    const at = await stored();
    const sink = new Writable({ write: (_chunk, _encoding, callback) => setTimeout(callback, 10) });
    const copying = (await fixture.store.open(at))!.copyTo(sink);
    const rejected = expect(copying).rejects.toThrow();
    setTimeout(() => sink.destroy(), 50);
    await rejected;
    expect(fixture.proxy.counts()).toEqual({ GetObject: 1 });
  });
});
