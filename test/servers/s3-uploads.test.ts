import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { chunksOf, collect, MiB, RememberedUpload, s3Fixture, sha256, someBytes } from './s3-fixture.js';

const fixture = s3Fixture();

async function expectBytes(location: string, bytes: Buffer): Promise<void> {
  expect(await fixture.store.size(location)).toBe(bytes.length);
  expect(sha256(await collect(await fixture.store.open(location)))).toBe(sha256(bytes));
}

/** Keys of the bucket that name an upload; what is deleted soon has been. */
async function keysOf(upload: RememberedUpload): Promise<string[]> {
  await Promise.all([collectUploads(), new Promise((resolve) => setTimeout(resolve, 100))]);
  const files = await readdir(join(fixture.server.folder, fixture.bucket), { recursive: true });
  return files.filter((path) => path.includes(upload.progress.id) && !path.startsWith('.')).sort();
}

async function collectUploads(): Promise<string[]> {
  const uploads: string[] = [];
  for await (const upload of fixture.store.listUploads()) uploads.push(upload);
  return uploads;
}

describe('a blob that ends within one part', () => {
  test.each([
    { name: 'one byte', size: 1, isLast: true },
    { name: 'a small one', size: 300_000, isLast: true },
    { name: 'one that is not known to have ended', size: 300_000, isLast: false },
    { name: 'one of exactly a part', size: 8 * MiB, isLast: false },
  ])('is a single PutObject: $name', async ({ size, isLast }) => {
    const bytes = someBytes(size);
    const upload = new RememberedUpload();
    const result = await upload.append(fixture.store, bytes, { isLast });
    expect(result).toMatchObject({ appendedBytes: size, interrupted: undefined });
    const location = await upload.finish(fixture.store);
    expect(fixture.proxy.counts()).toEqual({ PutObject: 1 });
    await expectBytes(location, bytes);
    expect(await keysOf(upload)).toEqual([`blobs/${location}`]);
  });
});

describe('a blob of several parts', () => {
  test('goes in parts of 8 MiB into one multipart upload, and the last of them is shorter', async () => {
    const bytes = someBytes(20 * MiB + 17);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes, { isLast: true });
    expect(upload.checkpoints).toEqual([8 * MiB, 16 * MiB, 20 * MiB + 17]);
    const location = await upload.finish(fixture.store);
    expect(fixture.proxy.counts()).toEqual({ CreateMultipartUpload: 1, UploadPart: 3, CompleteMultipartUpload: 1 });
    const lengths = fixture.proxy.requests.map(({ headers }) => Number(headers['content-length'] ?? 0));
    expect(lengths.filter((length) => length > MiB).sort((a, b) => b - a)).toEqual([8 * MiB, 8 * MiB, 4 * MiB + 17]);
    await expectBytes(location, bytes);
    expect(await keysOf(upload)).toEqual([`blobs/${location}`]);
  });

  test('keeps what is too short for a part as a piece until more comes, and never copies the whole', async () => {
    const bytes = someBytes(17 * MiB + 5);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes);
    expect(fixture.proxy.counts()).toEqual({ CreateMultipartUpload: 1, UploadPart: 2, PutObject: 1 });
    const location = await upload.finish(fixture.store);
    // As docker pushes: a body, and then a request without one.
    expect(fixture.proxy.counts()).toMatchObject({ UploadPartCopy: 1, CompleteMultipartUpload: 1 });
    await expectBytes(location, bytes);
    expect(await keysOf(upload)).toEqual([`blobs/${location}`]);
    const counts = fixture.proxy.counts();
    expect(counts).not.toHaveProperty('ListParts');
    expect(counts.GetObject).toBe(1);
  });

  test('has at most three parts under way', async () => {
    let [now, most] = [0, 0];
    const store = await fixture.open({ bufferBytes: 512 * MiB });
    for (let times = 0; times < 4; times += 1)
      fixture.proxy.add({ kind: 'stall', after: 0, operation: 'UploadPart', times: 1 });
    const upload = new RememberedUpload();
    const source = Readable.from(chunksOf(someBytes(64 * MiB), MiB));
    const appending = upload.append(store, source);
    await vi.waitFor(() => {
      now = fixture.proxy.counts().UploadPart ?? 0;
      most = Math.max(most, now);
      expect(now).toBe(3);
    }, 5_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(fixture.proxy.counts().UploadPart).toBe(3);
    expect(upload.checkpoints.length).toBeLessThanOrEqual(4);
    fixture.proxy.setOutage(true);
    fixture.proxy.reset();
    fixture.proxy.setOutage(false);
    await appending;
    await expectBytes(await upload.finish(store), someBytes(64 * MiB));
  });

  test('makes smaller parts when there is no memory, and waits for none but its own', async () => {
    const store = await fixture.open({ bufferBytes: MiB });
    const uploads = Array.from({ length: 4 }, () => new RememberedUpload());
    const bytes = someBytes(23 * MiB);
    await Promise.all(uploads.map((upload) => upload.append(store, bytes)));
    const parts = fixture.proxy.requests.filter(({ operation }) => operation === 'UploadPart');
    const sizes = parts.map(({ headers }) => Number(headers['content-length']));
    expect(Math.min(...sizes)).toBe(5 * MiB);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(6 * MiB);
    for (const upload of uploads) await expectBytes(await upload.finish(store), bytes);
  });
});

describe('chunks', () => {
  test.each([
    { name: 'of 1 byte', size: 150, chunk: 1 },
    { name: 'of 100 kB', size: 12_000_000, chunk: 100_000 },
    { name: 'of 1 MiB', size: 19 * MiB + 3, chunk: MiB },
    { name: 'of 5 MiB', size: 21 * MiB, chunk: 5 * MiB },
    { name: 'of 7 MiB', size: 29 * MiB, chunk: 7 * MiB },
    { name: 'of 9 MiB', size: 27 * MiB, chunk: 9 * MiB },
    { name: 'of 12 MiB and a bit', size: 40 * MiB, chunk: 12 * MiB + 333 },
  ])('$name, each at another replica', { timeout: 60_000 }, async ({ size, chunk }) => {
    const replicas = [fixture.store, await fixture.open(), await fixture.open()];
    const bytes = someBytes(size);
    const upload = new RememberedUpload();
    let turn = 0;
    for (const part of chunksOf(bytes, chunk)) {
      const { appendedBytes } = await upload.append(replicas[turn++ % 3]!, part);
      expect(appendedBytes).toBe(part.length);
    }
    const location = await upload.finish(replicas[turn % 3]!);
    await expectBytes(location, bytes);
    for (const store of replicas) await Promise.all([collectUploads(), store.check()]);
    expect(await keysOf(upload)).toEqual([`blobs/${location}`]);
    expect(fixture.proxy.counts()).not.toHaveProperty('ListParts');
  });

  test('and a last one: what came before becomes parts with it', async () => {
    const bytes = someBytes(10 * MiB);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes.subarray(0, 2 * MiB));
    await upload.append(fixture.store, bytes.subarray(2 * MiB), { isLast: true });
    await expectBytes(await upload.finish(fixture.store), bytes);
  });

  test('small ones and a last one become a single object', async () => {
    const bytes = someBytes(3000);
    const upload = new RememberedUpload();
    for (const part of chunksOf(bytes.subarray(0, 2000), 500)) await upload.append(fixture.store, part);
    await upload.append(fixture.store, bytes.subarray(2000), { isLast: true });
    const location = await upload.finish(fixture.store);
    expect(fixture.proxy.counts()).not.toHaveProperty('CreateMultipartUpload');
    await expectBytes(location, bytes);
    expect(await keysOf(upload)).toEqual([`blobs/${location}`]);
  });
});

describe('an upload in parts', () => {
  test('can be read and then goes on, its object being a part of the next', async () => {
    const bytes = someBytes(24 * MiB + 9);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes.subarray(0, 18 * MiB));
    const opened = (await fixture.store.openUpload(upload.progress))!;
    expect(sha256(await collect(opened.bytes))).toBe(sha256(bytes.subarray(0, 18 * MiB)));
    // Whoever did not get to remember it finds the bytes nevertheless.
    const again = (await fixture.store.openUpload(upload.progress))!;
    expect(sha256(await collect(again.bytes))).toBe(sha256(bytes.subarray(0, 18 * MiB)));
    upload.progress = { ...upload.progress, state: again.state };
    await upload.append(fixture.store, bytes.subarray(18 * MiB));
    const location = await upload.finish(fixture.store);
    await expectBytes(location, bytes);
    expect(await keysOf(upload)).toEqual([`blobs/${location}`]);
  });

  test('is finished without a copy when it was read', async () => {
    const bytes = someBytes(16 * MiB);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes, { isLast: true });
    const { state } = (await fixture.store.openUpload(upload.progress))!;
    upload.progress = { ...upload.progress, state };
    fixture.proxy.reset();
    const location = await upload.finish(fixture.store);
    expect(fixture.proxy.counts()).toEqual({});
    expect(await fixture.store.size(location)).toBe(bytes.length);
  });

  test.each([
    { name: 'in parts', size: 16 * MiB },
    { name: 'in parts and a piece', size: 17 * MiB },
    { name: 'in one piece', size: 1000 },
  ])('is finished twice with one outcome, $name', async ({ size }) => {
    const bytes = someBytes(size);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes);
    const location = await upload.finish(fixture.store);
    await collectUploads();
    expect(await upload.finish(await fixture.open())).toBe(location);
    await expectBytes(location, bytes);
  });

  test('of small chunks is finished twice with one outcome', async () => {
    const upload = new RememberedUpload();
    for (const chunk of chunksOf(someBytes(3000), 1000)) await upload.append(fixture.store, chunk);
    const location = await upload.finish(fixture.store);
    await collectUploads();
    expect(await upload.finish(fixture.store)).toBe(location);
    await expectBytes(location, someBytes(3000));
  });

  test('that was finished, and that nobody remembered, goes on at the second try', async () => {
    const bytes = someBytes(30 * MiB);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes.subarray(0, 17 * MiB));
    await upload.finish(fixture.store);
    const first = await upload.append(fixture.store, bytes.subarray(17 * MiB));
    expect(first.appendedBytes).toBe(0);
    expect(first.failure).toBeInstanceOf(Error);
    await upload.append(fixture.store, bytes.subarray(17 * MiB));
    await expectBytes(await upload.finish(fixture.store), bytes);
  });

  test.each([16 * MiB, 17 * MiB])('says that its bytes are gone when they are (%i)', async (size) => {
    const upload = new RememberedUpload();
    await upload.append(fixture.store, someBytes(size));
    await fixture.store.discardUpload(upload.progress);
    expect(await keysOf(upload)).toEqual([]);
    expect(await fixture.store.finish(upload.progress)).toBeUndefined();
    expect(await fixture.store.openUpload(upload.progress)).toBeUndefined();
    await expect(upload.append(fixture.store, someBytes(9 * MiB))).rejects.toThrow();
  });

  test('that is refused for its size leaves nothing, and goes on', async () => {
    const bytes = someBytes(40 * MiB);
    const upload = new RememberedUpload();
    await expect(upload.append(fixture.store, bytes, { maxBytes: 30 * MiB })).rejects.toThrow(RangeError);
    expect(await collectUploads()).not.toContain(upload.progress.id);
    await upload.append(fixture.store, bytes.subarray(0, 9 * MiB));
    await expectBytes(await upload.finish(fixture.store), bytes.subarray(0, 9 * MiB));
  });
});

describe('what is left behind', () => {
  test('is removed when no session knows of it and it is old, and is kept otherwise', async () => {
    const store = await fixture.open({ prefix: 'left' });
    const [known, unknown, small] = [new RememberedUpload(), new RememberedUpload(), new RememberedUpload()];
    for (const upload of [known, unknown]) await upload.append(store, someBytes(9 * MiB));
    await small.append(store, someBytes(10));
    await small.append(store, someBytes(10));
    const isKnown = (upload: string) => Promise.resolve(upload === known.progress.id);
    const isLeftover = () => Promise.resolve(false);
    const { signal } = new AbortController();
    const listed = async () => {
      const uploads: string[] = [];
      for await (const upload of store.listUploads()) uploads.push(upload);
      return uploads.sort();
    };
    const all = [known, unknown, small].map(({ progress }) => progress.id).sort();
    expect(await listed()).toEqual(all);
    expect(await store.removeAbandoned({ before: new Date(Date.now() - 60_000), isKnown, isLeftover, signal })).toBe(0);
    expect(await listed()).toEqual(all);
    // A multipart upload and a piece of the one, a piece of the other.
    expect(await store.removeAbandoned({ before: new Date(Date.now() + 60_000), isKnown, isLeftover, signal })).toBe(3);
    expect(await listed()).toEqual([known.progress.id]);
    await known.finish(store);
  });

  test('is removed of an upload that became a blob elsewhere, and nothing else that is finished', async () => {
    const store = await fixture.open({ prefix: 'leftovers' });
    const [one, other] = [new RememberedUpload(), new RememberedUpload()];
    for (const upload of [one, other]) await upload.append(store, someBytes(10));
    const [leftover, kept] = [await one.finish(store), await other.finish(store)];
    const { signal } = new AbortController();
    const removed = await store.removeAbandoned({
      before: new Date(Date.now() + 60_000),
      isKnown: () => Promise.resolve(true),
      isLeftover: (location) => Promise.resolve(location === leftover),
      signal,
    });
    expect(removed).toBe(1);
    expect(await store.size(leftover)).toBeUndefined();
    expect(await store.size(kept)).toBe(10);
  });

  test('of a request that died goes when another one takes the upload over, and what counts stays', async () => {
    const upload = new RememberedUpload();
    const bytes = someBytes(9 * MiB + 10);
    await upload.append(fixture.store, bytes.subarray(0, 9 * MiB));
    const remembered = upload.progress;
    await upload.append(fixture.store, someBytes(9 * MiB));
    const all = await keysOf(upload);
    await fixture.store.takeOver(remembered);
    expect((await keysOf(upload)).length).toBeLessThan(all.length);
    const other = new RememberedUpload(remembered);
    await other.append(fixture.store, bytes.subarray(9 * MiB));
    await expectBytes(await other.finish(fixture.store), bytes);
  });

  test('of an upload that was finished, when nobody remembers, is what it goes on with', async () => {
    const upload = new RememberedUpload();
    const bytes = someBytes(9 * MiB + 10);
    await upload.append(fixture.store, bytes);
    const remembered = upload.progress;
    await upload.finish(fixture.store);
    await fixture.store.takeOver(remembered);
    await expectBytes(await new RememberedUpload(remembered).finish(fixture.store), bytes);
  });

  test('of what was there before a last append stays until the end is remembered', async () => {
    const bytes = someBytes(2 * MiB);
    const upload = new RememberedUpload();
    await upload.append(fixture.store, bytes.subarray(0, MiB));
    await upload.append(fixture.store, bytes.subarray(MiB, MiB + 10));
    const remembered = upload.progress;
    await upload.append(fixture.store, bytes.subarray(MiB + 10), { isLast: true });
    // Its process dies here.
    expect(await fixture.store.finish(upload.progress)).toBeDefined();
    await fixture.store.takeOver(remembered);
    const other = new RememberedUpload(remembered);
    await expectBytes(await other.finish(fixture.store), bytes.subarray(0, MiB + 10));
  });

  test('of an append that nobody remembered goes with the upload', async () => {
    const upload = new RememberedUpload();
    await upload.append(fixture.store, someBytes(10));
    const before = upload.progress;
    await upload.append(fixture.store, someBytes(9 * MiB));
    await fixture.store.discardUpload(before);
    expect(await keysOf(upload)).toEqual([]);
    expect(await collectUploads()).not.toContain(before.id);
  });
});

describe('bytes that are read while they come in', () => {
  test('are in a file until the upload is over', async () => {
    const bytes = someBytes(9 * MiB);
    const upload = new RememberedUpload();
    let written = 0;
    let grow: () => void = () => undefined;
    const onWritten = (count: number) => {
      written = count;
      grow();
    };
    const source = new Readable({ read: () => undefined });
    source.push(bytes.subarray(0, MiB));
    const appending = upload.append(fixture.store, source, { onWritten });
    const following = await vi.waitFor(async () => {
      const found = await fixture.store.followUpload(upload.progress.id);
      expect(found).toBeDefined();
      return found!;
    });
    const seen: Buffer[] = [];
    const sink = new (await import('node:stream')).Writable({
      write(chunk: Buffer, _encoding, callback) {
        seen.push(Buffer.from(chunk));
        callback();
      },
    });
    const copying = following.copyTo(sink, { start: 100, end: bytes.length - 1 }, async (known) => {
      while (written <= known) await new Promise<void>((resolve) => (grow = resolve));
      return written;
    });
    await vi.waitFor(() => {
      expect(Buffer.concat(seen).length).toBe(MiB - 100);
    });
    for (const chunk of chunksOf(bytes.subarray(MiB), 100_000)) source.push(chunk);
    source.push(null);
    await appending;
    await copying;
    await following.close();
    expect(Buffer.concat(seen).equals(bytes.subarray(100))).toBe(true);
    const file = join(fixture.scratchDir, upload.progress.id);
    expect(existsSync(file)).toBe(true);
    await expectBytes(await upload.finish(fixture.store), bytes);
    expect(existsSync(file)).toBe(false);
  });
});
