import { Readable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import type { UploadService } from '../../src/distribution/uploads.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { OciError } from '../../src/oci/errors.js';
import type { RepositoryName } from '../../src/oci/repository-name.js';
import { app, bytesOf, Collector, contentOf, place, read, relayFixture, stranger } from './relay-fixture.js';

const MiB = 1024 * 1024;

/** What a promise was rejected with, as clients are told. */
async function refusalOf(promise: Promise<unknown>): Promise<OciError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OciError);
  return error as OciError;
}

/** An image with one layer that only the other registry has. */
async function withLayer(size: number, giving: { pauseAt?: number; breakAt?: number } = {}) {
  const fixture = await relayFixture();
  const bytes = bytesOf(size);
  const digest = fixture.upstream.put(place, bytes, giving);
  return { ...fixture, bytes, digest };
}

describe('a blob of an imported image', () => {
  test('comes from where the image came from, and is kept', async () => {
    const { upstream, records, reports, importImage, pull, start, bytes, digest } = await withLayer(300_000);
    await importImage([contentOf(bytes)]);
    const { blobs } = start();
    expect(await pull(blobs, digest)).toEqual(bytes);
    await vi.waitFor(() => {
      expect(reports).toEqual([{ registry: 'quay.io', outcome: 'kept', bytes: bytes.length }]);
    });
    expect(await records.findLinkedBlob(app, digest)).toMatchObject({ size: bytes.length });
    upstream.refuse(place, 'unavailable');
    expect(await pull(blobs, digest)).toEqual(bytes);
    expect(upstream.requests).toEqual([`GET ${place}`]);
  });

  test('has a size without anyone being asked, as its manifest says', async () => {
    const { upstream, importImage, start, bytes, digest } = await withLayer(5000);
    await importImage([contentOf(bytes)]);
    expect(await start().blobs.get(app, digest)).toEqual({ digest, size: 5000, location: undefined });
    expect(upstream.requests).toEqual([]);
  });

  test.each([0, 1, 2, 65_536, 3 * MiB + 1])('is right with %i bytes', async (size) => {
    const { importImage, pull, start, bytes, digest } = await withLayer(size);
    await importImage([contentOf(bytes)]);
    expect((await pull(start().blobs, digest)).equals(bytes)).toBe(true);
  });

  test('is fetched once for 200 clients, and each gets all of it', async () => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(4 * MiB, { pauseAt: MiB });
    await importImage([contentOf(bytes)]);
    const { blobs } = start();
    const pulls = Array.from({ length: 200 }, () => pull(blobs, digest));
    await vi.waitFor(() => {
      expect(upstream.running).toBe(1);
    });
    upstream.go();
    for (const pulled of await Promise.all(pulls)) expect(pulled.equals(bytes)).toBe(true);
    expect(upstream.requests).toEqual([`GET ${place}`]);
  });

  test('is fetched once however soon after each other clients come', async () => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(100_000);
    await importImage([contentOf(bytes)]);
    const { blobs } = start();
    const pulls: Promise<Buffer>[] = [];
    for (let count = 0; count < 100; count += 1) {
      pulls.push(pull(blobs, digest));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    for (const pulled of await Promise.all(pulls)) expect(pulled.equals(bytes)).toBe(true);
    expect(upstream.requests).toHaveLength(1);
  });

  test('is given out while it comes', async () => {
    const { upstream, importImage, start, bytes, digest } = await withLayer(2 * MiB, { pauseAt: 1000 });
    await importImage([contentOf(bytes)]);
    const { relay } = start();
    const sink = new Collector();
    const copied = (await relay.open(app, digest))!.copyTo(sink);
    await sink.has(1000);
    expect(upstream.running).toBe(1);
    upstream.go();
    await copied;
    expect(sink.bytes.equals(bytes)).toBe(true);
  });

  test('waits for no slow client, and a slow client gets all of it', async () => {
    const { importImage, pull, start, bytes, digest, upstream } = await withLayer(3 * MiB, { pauseAt: 1000 });
    await importImage([contentOf(bytes)]);
    const { relay, blobs } = start();
    let goOn: () => void = () => undefined;
    const slow = new Collector(new Promise((resolve) => (goOn = resolve)));
    const copied = (await relay.open(app, digest))!.copyTo(slow);
    upstream.go();
    expect((await pull(blobs, digest)).equals(bytes)).toBe(true);
    expect(slow.size).toBeLessThan(bytes.length);
    goOn();
    await copied;
    expect(slow.bytes.equals(bytes)).toBe(true);
  });

  test('goes on coming when the only client has gone away', async () => {
    const { upstream, records, importImage, start, bytes, digest } = await withLayer(2 * MiB, { pauseAt: 1000 });
    await importImage([contentOf(bytes)]);
    const { relay } = start();
    const sink = new Collector();
    const copied = (await relay.open(app, digest))!.copyTo(sink);
    await sink.has(500);
    sink.destroy();
    upstream.go();
    await expect(copied).rejects.toThrow('closed');
    await vi.waitFor(async () => {
      expect(await records.findLinkedBlob(app, digest)).toMatchObject({ size: bytes.length });
    });
  });

  test('is fetched with what the tag says of its source', async () => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(10);
    await importImage([contentOf(bytes)], { isInsecure: true });
    await pull(start().blobs, digest);
    expect(upstream.accesses).toMatchObject([{ isInsecure: true }]);
  });

  test('is kept like a push: the collector leaves it as long as an image needs it', async () => {
    const { records, importImage, pull, start, bytes, digest } = await withLayer(10);
    await importImage([contentOf(bytes)]);
    await pull(start().blobs, digest);
    const later = new Date(Date.now() + 24 * 3600_000);
    await records.collectLinks(later, 10);
    expect(await records.findLinkedBlob(app, digest)).toMatchObject({ collectAt: undefined });
  });

  test('is got for an image that is pushed and needs it', async () => {
    const { records, importImage, start, bytes, digest } = await withLayer(1000);
    await importImage([contentOf(bytes)], { policy: 'Source' });
    const { relay } = start();
    expect(await relay.obtain(app, digest)).toBe(true);
    expect(await records.findLinkedBlob(app, digest)).toBeDefined();
    expect(await relay.obtain(app, digestOf('nobody has it'))).toBe(false);
  });
});

describe('a range', () => {
  test.each([
    { name: 'at the beginning', start: 0, end: 99 },
    { name: 'of one byte', start: 5, end: 5 },
    { name: 'across pieces', start: 100_000, end: 1_500_000 },
    { name: 'to the end', start: 1_000_000, end: 2 * MiB - 1 },
  ])('$name is served from what is coming', async ({ start: first, end }) => {
    const { upstream, importImage, start, bytes, digest } = await withLayer(2 * MiB);
    await importImage([contentOf(bytes)]);
    const opened = (await start().relay.open(app, digest, { start: first, end }))!;
    expect((await read(opened)).equals(bytes.subarray(first, end + 1))).toBe(true);
    expect(upstream.requests).toHaveLength(1);
  });

  test('that has come already ends only when all of the blob is known to be right', async () => {
    const { upstream, importImage, start, bytes, digest } = await withLayer(2 * MiB, { pauseAt: MiB });
    await importImage([contentOf(bytes)]);
    const sink = new Collector();
    const opened = (await start().relay.open(app, digest, { start: 0, end: 999 }))!;
    let isOver = false;
    const copied = opened.copyTo(sink).then(() => {
      isOver = true;
    });
    await sink.has(999);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([sink.size, isOver]).toEqual([999, false]);
    upstream.go();
    await copied;
    expect(sink.bytes.equals(bytes.subarray(0, 1000))).toBe(true);
  });
});

describe('what is wrong', () => {
  test('is never linked and never given out as a whole', async () => {
    const { upstream, records, uploadRecords, importImage, start } = await relayFixture();
    const right = bytesOf(2 * MiB);
    const digest = digestOf(right);
    upstream.put(place, bytesOf(2 * MiB), { digest, pauseAt: MiB });
    await importImage([contentOf(right)]);
    const { relay } = start();
    const sink = new Collector();
    const copied = (await relay.open(app, digest))!.copyTo(sink);
    const part = (await relay.open(app, digest, { start: 0, end: 9 }))!.copyTo(new Collector());
    const waiting = refusalOf(relay.open(app, digest, { start: 2 * MiB - 1, end: 2 * MiB - 1 }));
    upstream.go();
    for (const end of await Promise.allSettled([copied, part])) {
      expect(end).toMatchObject({ status: 'rejected', reason: { message: 'the blob did not come as a whole' } });
    }
    expect(sink.size).toBeLessThan(2 * MiB);
    expect(await waiting).toMatchObject({ code: 'BLOB_UNKNOWN', status: 502 });
    expect(await records.findLinkedBlob(app, digest)).toBeUndefined();
    await vi.waitFor(async () => {
      expect(await uploadRecords.countUploads()).toBe(0);
    });
  });

  test.each([
    { name: 'fewer bytes than it says', size: 5000, given: 4000 },
    { name: 'more bytes than it says', size: 5000, given: 6000 },
    { name: 'another size than the manifest has', size: 6000, given: 6000 },
  ])('a registry that has $name gives nothing', async ({ size, given }) => {
    const { upstream, records, reports, importImage, pull, start } = await relayFixture();
    const right = bytesOf(5000);
    const digest = digestOf(right);
    upstream.put(place, bytesOf(given), { digest, size });
    await importImage([contentOf(right)]);
    await expect(pull(start().blobs, digest)).rejects.toThrow();
    await vi.waitFor(() => {
      expect(reports).toMatchObject([{ outcome: 'integrity' }]);
    });
    expect(await records.findLinkedBlob(app, digest)).toBeUndefined();
  });

  test('cuts off who has begun when it breaks off, and who has not gets the next source', async () => {
    const { upstream, importImage, start, records, bytes, digest } = await withLayer(2 * MiB);
    await importImage([contentOf(bytes)], { tag: 'a', from: 'second.example/app' });
    await importImage([contentOf(bytes)], { tag: 'b', from: 'first.example/app' });
    upstream.put('first.example/app', bytes, { pauseAt: 1000, breakAt: 1001 });
    upstream.put('second.example/app', bytes);
    const { relay } = start();
    const sink = new Collector();
    const begun = (await relay.open(app, digest))!.copyTo(sink);
    const other = relay.open(app, digest, { start: MiB, end: 2 * MiB - 1 });
    await sink.has(1000);
    upstream.go();
    await expect(begun).rejects.toThrow('did not come as a whole');
    expect((await read((await other)!)).equals(bytes.subarray(MiB))).toBe(true);
    expect(upstream.requests).toEqual(['GET first.example/app', 'GET second.example/app']);
    expect(await records.findLinkedBlob(app, digest)).toBeDefined();
  });

  test('is got anew by the next who asks', async () => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(MiB, { breakAt: 1000 });
    await importImage([contentOf(bytes)]);
    const { blobs } = start();
    await expect(pull(blobs, digest)).rejects.toThrow();
    await new Promise((resolve) => setImmediate(resolve));
    upstream.put(place, bytes);
    expect((await pull(blobs, digest)).equals(bytes)).toBe(true);
  });

  test('is not kept when the image was deleted meanwhile', async () => {
    const { db, upstream, streams, importImage, start, bytes, digest } = await withLayer(MiB, { pauseAt: 1000 });
    await importImage([contentOf(bytes)]);
    const { relay } = start();
    const copied = (await relay.open(app, digest))!.copyTo(new Collector());
    await streams.edit((edit) => edit.removeStream(app));
    upstream.go();
    await expect(copied).rejects.toThrow('did not come as a whole');
    const names = await db.selectFrom('repository').select('name').execute();
    expect(names.map(({ name }) => name)).not.toContain(app);
  });
});

describe('registries', () => {
  test('are asked one after the other, the newest source first, and this one never', async () => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(1000);
    for (const [tag, from] of Object.entries({ a: place, b: 'down.example/app', c: 'weir.example/team/app' })) {
      await importImage([contentOf(bytes)], { tag, from });
    }
    upstream.refuse('down.example/app', 'unavailable');
    expect((await pull(start().blobs, digest)).equals(bytes)).toBe(true);
    expect(upstream.requests).toEqual(['GET down.example/app', `GET ${place}`]);
  });

  test('are asked once, and at most five of them', async () => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(1000);
    for (let count = 0; count < 8; count += 1) {
      await importImage([contentOf(bytes)], { tag: `t${count}`, from: `r${count}.example/app` });
    }
    expect(await refusalOf(pull(start().blobs, digest))).toMatchObject({ code: 'BLOB_UNKNOWN', status: 404 });
    expect(upstream.requests).toEqual([7, 6, 5, 4, 3].map((count) => `GET r${count}.example/app`));
  });

  test('of which a repository is a cache come first, and what they give is kept', async () => {
    const { upstream, records, importImage, pull, start, bytes, digest } = await withLayer(1000);
    await importImage([contentOf(bytes)], { policy: 'Source', from: 'elsewhere.example/app' });
    const { blobs } = start({ cacheSourceOf: () => Promise.resolve({ registry: 'quay.io', path: 'team/app' }) });
    await pull(blobs, digest);
    expect(upstream.requests).toEqual([`GET ${place}`]);
    expect(await records.findLinkedBlob(app, digest)).toBeDefined();
  });

  test('of which a repository is a cache are not asked for what no image of it names', async () => {
    const { upstream, start, digest } = await withLayer(1000);
    const { relay, blobs } = start({
      cacheSourceOf: () => Promise.resolve({ registry: 'quay.io', path: 'team/app' }),
    });
    expect(await refusalOf(blobs.get(app, digest))).toMatchObject({ code: 'BLOB_UNKNOWN', status: 404 });
    expect(await relay.obtain(app, digest)).toBe(false);
    expect(upstream.requests).toEqual([]);
  });

  test.each([
    { problem: 'rate-limited', retryAfterMs: 61_500, code: 'TOOMANYREQUESTS', status: 429, retry: '62' },
    { problem: 'budget', retryAfterMs: 0, code: 'TOOMANYREQUESTS', status: 429, retry: '1' },
    { problem: 'unavailable', retryAfterMs: undefined, code: 'BLOB_UNKNOWN', status: 503, retry: '15' },
    { problem: 'certificate', retryAfterMs: undefined, code: 'BLOB_UNKNOWN', status: 502, retry: undefined },
    { problem: 'unauthorized', retryAfterMs: undefined, code: 'BLOB_UNKNOWN', status: 404, retry: undefined },
    { problem: 'not-found', retryAfterMs: undefined, code: 'BLOB_UNKNOWN', status: 404, retry: undefined },
  ] as const)('that answer $problem make it $status', async ({ problem, retryAfterMs, code, status, retry }) => {
    const { upstream, importImage, pull, start, bytes, digest } = await withLayer(1000);
    await importImage([contentOf(bytes)], { tag: 'a', from: 'gone.example/app' });
    await importImage([contentOf(bytes)], { tag: 'b' });
    upstream.refuse(place, problem, retryAfterMs);
    const refusal = await refusalOf(pull(start().blobs, digest));
    expect(refusal).toMatchObject({ code, status });
    expect(refusal.headers['Retry-After']).toBe(retry);
    expect(refusal.detail).toMatchObject({
      upstreams: [
        { reference: place, problem, answer: `${place} says ${problem}` },
        { reference: 'gone.example/app', problem: 'not-found' },
      ],
    });
  });

  test('give no more at once than is allowed', async () => {
    const { upstream, importImage, pull, start } = await relayFixture();
    const layers = Array.from({ length: 6 }, () => bytesOf(1000));
    for (const bytes of layers) upstream.put(place, bytes, { pauseAt: 500 });
    await importImage(layers.map(contentOf));
    const { blobs } = start({ maxFetches: 2 });
    const pulls = layers.map((bytes) => pull(blobs, digestOf(bytes)));
    await vi.waitFor(() => {
      expect(upstream.running).toBe(2);
    });
    upstream.go();
    await Promise.all(pulls);
    expect(upstream.mostRunning).toBe(2);
    expect(upstream.requests).toHaveLength(6);
  });
});

describe('a blob that is not kept', () => {
  const ways = [
    { name: 'because of the policy Source', policy: 'Source', options: {} },
    { name: 'because nothing is', policy: 'Local', options: { keep: false } },
    {
      name: 'because of the limits of the project',
      policy: 'Local',
      options: { mayKeep: (_: unknown, size: number) => Promise.resolve(size < 1000) },
    },
  ] as const;

  test.each(ways)('$name is fetched once for all who read it, and leaves nothing', async ({ policy, options }) => {
    const fixture = await withLayer(3 * MiB, { pauseAt: 1000 });
    const { upstream, store, records, uploadRecords, reports, importImage, pull, start, bytes, digest } = fixture;
    await importImage([contentOf(bytes)], { policy });
    const { blobs } = start(options);
    const pulls = Array.from({ length: 20 }, () => pull(blobs, digest));
    await vi.waitFor(() => {
      expect(upstream.running).toBe(1);
    });
    upstream.go();
    for (const pulled of await Promise.all(pulls)) expect(pulled.equals(bytes)).toBe(true);
    expect(upstream.requests).toHaveLength(1);
    expect(reports).toEqual([{ registry: 'quay.io', outcome: 'passed-on', bytes: bytes.length }]);
    expect(await records.findLinkedBlob(app, digest)).toBeUndefined();
    await vi.waitFor(async () => {
      expect(await uploadRecords.countUploads()).toBe(0);
    });
    for await (const upload of store.listUploads()) throw new Error(`${upload} was left`);
    for await (const location of store.list()) throw new Error(`${location} was left`);
    // It can be had again, and again comes from there.
    expect((await pull(blobs, digest)).equals(bytes)).toBe(true);
    expect(upstream.requests).toHaveLength(2);
  });

  test('stays while somebody reads it', async () => {
    const { uploadRecords, upstream, importImage, start, bytes, digest } = await withLayer(MiB);
    await importImage([contentOf(bytes)], { policy: 'Source' });
    const { relay } = start({ lingerMs: 1 });
    const slow = (await relay.open(app, digest))!;
    await vi.waitFor(() => {
      expect(upstream.running).toBe(0);
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await read(slow)).equals(bytes)).toBe(true);
    await vi.waitFor(async () => {
      expect(await uploadRecords.countUploads()).toBe(0);
    });
  });

  test('is kept after all when everything is', async () => {
    const { records, importImage, pull, start, bytes, digest } = await withLayer(1000);
    await importImage([contentOf(bytes)], { policy: 'Source' });
    await pull(start({ keepSource: true }).blobs, digest);
    expect(await records.findLinkedBlob(app, digest)).toBeDefined();
  });

  test('that is wrong is not given out as a whole', async () => {
    const { upstream, uploadRecords, importImage, pull, start } = await relayFixture();
    const digest = digestOf(bytesOf(10));
    const wrong = bytesOf(MiB);
    upstream.put(place, wrong, { digest });
    await importImage([{ bytes: wrong, digest }], { policy: 'Source' });
    await expect(pull(start().blobs, digest)).rejects.toThrow();
    await vi.waitFor(async () => {
      expect(await uploadRecords.countUploads()).toBe(0);
    });
  });

  test('is refused when there are too many', async () => {
    const { upstream, importImage, pull, start } = await relayFixture();
    const layers = [bytesOf(1000), bytesOf(1000)] as const;
    for (const bytes of layers) upstream.put(place, bytes, { pauseAt: 500 });
    await importImage(layers.map(contentOf), { policy: 'Source' });
    const { blobs } = start({ maxPassing: 1 });
    const first = pull(blobs, digestOf(layers[0]));
    await vi.waitFor(() => {
      expect(upstream.running).toBe(1);
    });
    expect(await refusalOf(pull(blobs, digestOf(layers[1])))).toMatchObject({ code: 'TOOMANYREQUESTS' });
    upstream.go();
    await first;
  });
});

describe('a blob of another project', () => {
  test('is not opened by a manifest that names it', async () => {
    const { upstream, uploadService, importImage, pull, start, records } = await relayFixture();
    const secret = bytesOf(1000);
    const digest = digestOf(secret);
    await push(uploadService(), stranger, secret);
    await importImage([contentOf(secret)]);
    const { blobs, relay } = start();
    expect(await refusalOf(pull(blobs, digest))).toMatchObject({ code: 'BLOB_UNKNOWN', status: 404 });
    await expect(relay.obtain(app, digest)).rejects.toThrow(OciError);
    expect(upstream.countOf(`GET ${place}`)).toBe(2);
    expect(await records.findLinkedBlob(app, digest)).toBeUndefined();
  });

  test('is asked of nobody when no image from elsewhere names it', async () => {
    const { upstream, uploadService, start } = await relayFixture();
    const secret = bytesOf(1000);
    await push(uploadService(), stranger, secret);
    const refusal = await refusalOf(start().blobs.get(app, digestOf(secret)));
    expect(refusal).toMatchObject({ code: 'BLOB_UNKNOWN', status: 404 });
    expect(upstream.requests).toEqual([]);
  });

  test('is kept once when both got it from elsewhere', async () => {
    const { store, uploadService, importImage, pull, start, records, bytes, digest } = await withLayer(1000);
    await push(uploadService(), stranger, bytes);
    await importImage([contentOf(bytes)]);
    expect((await pull(start().blobs, digest)).equals(bytes)).toBe(true);
    expect(await records.findLinkedBlob(app, digest)).toBeDefined();
    const locations: string[] = [];
    for await (const location of store.list()) locations.push(location);
    expect(locations).toHaveLength(1);
  });
});

describe('a process', () => {
  test('that was killed in the middle leaves nothing that is served, and the next one begins anew', async () => {
    const fixture = await withLayer(2 * MiB, { pauseAt: MiB });
    const { upstream, store, records, uploadRecords, uploadService, importImage, pull, start, bytes, digest } = fixture;
    await importImage([contentOf(bytes)]);
    const sink = new Collector();
    // It is never heard of again.
    const lost = (await start().relay.open(app, digest))!.copyTo(sink);
    lost.catch(() => undefined);
    await sink.has(1000);
    expect(await uploadRecords.countUploads()).toBe(1);
    expect(await records.findLinkedBlob(app, digest)).toBeUndefined();

    upstream.put(place, bytes);
    const { blobs } = start();
    expect((await pull(blobs, digest)).equals(bytes)).toBe(true);
    expect(upstream.requests).toHaveLength(2);
    // What was begun goes like any upload that nobody goes on with.
    expect(await uploadService(() => new Date(Date.now() + 2 * 3600_000)).expire()).toBe(1);
    for await (const upload of store.listUploads()) throw new Error(`${upload} was left`);
    expect((await pull(blobs, digest)).equals(bytes)).toBe(true);
  });

  test('is not alone: of two that fetch the same blob both serve it, and one copy is kept', async () => {
    const { store, upstream, uploadRecords, importImage, pull, start, bytes, digest } = await withLayer(MiB);
    await importImage([contentOf(bytes)]);
    const [one, other] = [start(), start()];
    const pulled = await Promise.all([pull(one.blobs, digest), pull(other.blobs, digest)]);
    for (const each of pulled) expect(each.equals(bytes)).toBe(true);
    expect(upstream.requests).toHaveLength(2);
    expect(await uploadRecords.countUploads()).toBe(0);
    const locations: string[] = [];
    for await (const location of store.list()) locations.push(location);
    expect(locations).toHaveLength(1);
  });

  test('that stops ends what is coming in, and keeps none of it', async () => {
    const { store, records, importImage, start, bytes, digest } = await withLayer(2 * MiB, { pauseAt: MiB });
    await importImage([contentOf(bytes)]);
    const { relay } = start();
    const sink = new Collector();
    const copied = (await relay.open(app, digest))!.copyTo(sink);
    const cut = expect(copied).rejects.toThrow('did not come as a whole');
    await sink.has(1000);
    await relay.close();
    await cut;
    expect(await records.findLinkedBlob(app, digest)).toBeUndefined();
    for await (const upload of store.listUploads()) throw new Error(`${upload} was left`);
    expect(await refusalOf(relay.open(app, digest))).toMatchObject({ status: 503 });
  });
});

test('bytes that were lost here are got anew', async () => {
  const { store, records, importImage, pull, start, bytes, digest } = await withLayer(1000);
  await importImage([contentOf(bytes)]);
  const { blobs } = start();
  await pull(blobs, digest);
  await store.delete((await records.findLinkedBlob(app, digest))!.location);
  expect((await pull(blobs, digest)).equals(bytes)).toBe(true);
  expect(await store.size((await records.findLinkedBlob(app, digest))!.location)).toBe(1000);
});

async function push(uploads: UploadService, repository: RepositoryName, bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  const source = Readable.from([bytes], { objectMode: false });
  await uploads.receive(repository, 'ada', digest, { source, range: undefined, length: bytes.length });
  return digest;
}
