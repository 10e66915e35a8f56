import { createHash, randomBytes } from 'node:crypto';
import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { AppendResult, BlobStore, ByteRange, StoredBytes } from '../../src/blobstore/blob-store.js';
import { RememberedUploads } from '../support/remembered-uploads.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const MiB = 1024 * 1024;

/**
 * Everything that any BlobStore must do.
 *
 * @param createStore opens a store; it need not be empty, and others may use it at the same time
 * @param toldFrom how many bytes an unfinished upload has at least to be listed as such, and not as a finished one
 */
export function blobStoreContract(
  name: string,
  createStore: () => Promise<BlobStore>,
  { toldFrom = 1 }: { readonly toldFrom?: number } = {},
): void {
  describe(`${name} is a blob store that`, () => {
    let store: BlobStore;
    let uploads: RememberedUploads;
    beforeAll(async () => {
      store = await createStore();
      uploads = new RememberedUploads(store);
    });

    /** As every append that resolved, it is followed by a sync. */
    async function append(
      upload: string,
      source: Readable | string | Buffer,
      offset = 0,
    ): Promise<Omit<AppendResult, 'state'>> {
      const stream = source instanceof Readable ? source : Readable.from([Buffer.from(source)], { objectMode: false });
      const result = await uploads.append(upload, stream, { offset, observer: createHash('sha256') });
      await uploads.sync(upload);
      return result;
    }

    async function finish(upload: string, size: number): Promise<string> {
      const location = await uploads.finish(upload, size);
      if (location === undefined) throw new Error(`the upload has fewer than ${size} bytes`);
      return location;
    }

    async function storeBytes(bytes: string | Buffer): Promise<string> {
      const upload = newUpload();
      await append(upload, bytes);
      return finish(upload, Buffer.byteLength(bytes));
    }

    async function open(location: string, range?: ByteRange): Promise<StoredBytes> {
      const bytes = await store.open(location, range);
      if (bytes === undefined) throw new Error(`nothing at ${location}`);
      return bytes;
    }

    async function read(location: string, range?: ByteRange): Promise<Buffer> {
      return collect(await open(location, range));
    }

    async function locations(): Promise<string[]> {
      const all: string[] = [];
      for await (const location of store.list()) all.push(location);
      return all;
    }

    async function readUpload(upload: string, size: number): Promise<string | undefined> {
      const bytes = await uploads.openUpload(upload, size);
      return bytes && (await collect(bytes)).toString();
    }

    describe('takes an upload and', () => {
      test('gives back what was appended, and its size', async () => {
        const upload = newUpload();
        expect(await append(upload, 'hello')).toEqual({ appendedBytes: 5, interrupted: undefined });
        const location = await finish(upload, 5);
        expect((await read(location)).toString()).toBe('hello');
        expect(await store.size(location)).toBe(5);
      });

      test('goes on at the offset where the append before ended', async () => {
        const upload = newUpload();
        await append(upload, 'one ');
        await append(upload, 'two ', 4);
        expect(await append(upload, 'three', 8)).toEqual({ appendedBytes: 5, interrupted: undefined });
        expect((await read(await finish(upload, 13))).toString()).toBe('one two three');
      });

      test('overwrites what lies beyond the offset, also when less comes than was there', async () => {
        const upload = newUpload();
        await append(upload, 'kept, then dropped');
        await append(upload, '!', 4);
        expect((await read(await finish(upload, 5))).toString()).toBe('kept!');
      });

      test('starts from nothing when the offset is 0 again', async () => {
        const upload = newUpload();
        await append(upload, 'a first try');
        await append(upload, 'second', 0);
        expect((await read(await finish(upload, 6))).toString()).toBe('second');
      });

      test('appends nothing when the source is empty', async () => {
        const upload = newUpload();
        await append(upload, 'all');
        expect(await append(upload, Readable.from([]), 3)).toEqual({ appendedBytes: 0, interrupted: undefined });
        expect((await read(await finish(upload, 3))).toString()).toBe('all');
      });

      test('finishes an upload that never had a byte as an empty blob', async () => {
        const location = await finish(newUpload(), 0);
        expect(await store.size(location)).toBe(0);
        expect(await read(location)).toHaveLength(0);
      });

      test('finishes an upload whose one append was empty as an empty blob', async () => {
        const upload = newUpload();
        await append(upload, Readable.from([]));
        const location = await finish(upload, 0);
        expect(await store.size(location)).toBe(0);
        expect(await read(location)).toHaveLength(0);
      });

      test('finishes with those bytes only that count', async () => {
        const upload = newUpload();
        await append(upload, 'counted and not');
        const location = await finish(upload, 7);
        expect((await read(location)).toString()).toBe('counted');
        expect(await store.size(location)).toBe(7);
      });

      test('does not finish with more bytes than it has', async () => {
        const upload = newUpload();
        await append(upload, 'few');
        expect(await uploads.finish(upload, 10)).toBeUndefined();
        expect(await uploads.finish(newUpload(), 1)).toBeUndefined();
        await uploads.discardUpload(upload);
        expect(await uploads.openUpload(upload, 1)).toBeUndefined();
      });

      test('reads back what it has so far, up to the size that counts', async () => {
        const upload = newUpload();
        await append(upload, 'counted and not');
        expect(await readUpload(upload, 15)).toBe('counted and not');
        expect(await readUpload(upload, 7)).toBe('counted');
      });

      test('reads back nothing of an upload of which nothing counts', async () => {
        const upload = newUpload();
        await append(upload, 'appended, and then refused');
        expect(await readUpload(upload, 0)).toBe('');
      });

      test('has nothing to read back of an upload it does not know', async () => {
        expect(await uploads.openUpload(newUpload(), 5)).toBeUndefined();
      });

      test('gives the same bytes again when it is finished twice, as after a crash before anybody remembered them', async () => {
        const upload = newUpload();
        await append(upload, 'finished twice');
        await finish(upload, 14);
        expect((await read(await finish(upload, 14))).toString()).toBe('finished twice');
      });

      test('goes on with an upload that was finished and that nobody remembered', async () => {
        const upload = newUpload();
        await append(upload, 'finished');
        await finish(upload, 8);
        expect(await readUpload(upload, 8)).toBe('finished');
        await append(upload, ', and more', 8);
        expect((await read(await finish(upload, 18))).toString()).toBe('finished, and more');
      });

      test('keeps uploads that run at the same time apart', async () => {
        const contents = Array.from({ length: 8 }, (_, index) => Buffer.alloc(300_000, index));
        const locations = await Promise.all(
          contents.map(async (bytes) => {
            const upload = newUpload();
            await append(upload, slowly(inChunks(bytes, 70_000)));
            return finish(upload, bytes.length);
          }),
        );
        expect(new Set(locations).size).toBe(contents.length);
        for (const [index, location] of locations.entries()) {
          expect((await read(location)).equals(contents[index]!)).toBe(true);
        }
      });
    });

    describe('takes over a file and', () => {
      test.each([
        { name: 'sharing it where that can be', mayShare: true },
        { name: 'copying it', mayShare: false },
      ])('has its bytes, and leaves it where it is, $name', async ({ mayShare }) => {
        const bytes = pseudoRandom(300_000);
        const path = await fileOf(bytes);
        const adopted = (await store.adopt(newUpload(), path, mayShare))!;
        expect(adopted.size).toBe(bytes.length);
        if (!mayShare) expect(adopted.isShared).toBe(false);
        expect((await read(adopted.location)).equals(bytes)).toBe(true);
        expect(await store.size(adopted.location)).toBe(bytes.length);
        expect((await readFile(path)).equals(bytes)).toBe(true);
        expect(await locations()).toContain(adopted.location);
      });

      test.each([true, false])(
        'deletes it without harm to the file, and the other way round (%s)',
        async (mayShare) => {
          const path = await fileOf('shared');
          const first = (await store.adopt(newUpload(), path, mayShare))!;
          const second = (await store.adopt(newUpload(), path, mayShare))!;
          await store.delete(first.location);
          expect(await store.size(first.location)).toBeUndefined();
          expect(await readFile(path, 'utf8')).toBe('shared');
          await rm(path);
          expect((await read(second.location)).toString()).toBe('shared');
        },
      );

      test.each([true, false])('discards it as any upload that nobody remembers (%s)', async (mayShare) => {
        const upload = newUpload();
        const path = await fileOf('discarded');
        const { location } = (await store.adopt(upload, path, mayShare))!;
        await uploads.discardUpload(upload);
        expect(await store.size(location)).toBeUndefined();
        expect(await readFile(path, 'utf8')).toBe('discarded');
      });

      test('takes an empty one', async () => {
        const adopted = (await store.adopt(newUpload(), await fileOf(''), true))!;
        expect(adopted.size).toBe(0);
        expect(await read(adopted.location)).toHaveLength(0);
      });

      test('says when there is none', async () => {
        expect(await store.adopt(newUpload(), `${await fileOf('')}-not`, true)).toBeUndefined();
      });

      test('does not take a folder, nor a link to a file', async () => {
        const path = await fileOf('x');
        await symlink(path, `${path}-link`);
        for (const other of [dirname(path), `${path}-link`]) {
          await expect(store.adopt(newUpload(), other, true)).rejects.toThrow('is no file');
        }
      });
    });

    describe('when the source breaks off', () => {
      test('keeps what came before, says why, and takes the rest later', async () => {
        const upload = newUpload();
        const result = await append(upload, breakingOff(['first ', 'second '], new Error('connection reset')));
        expect(result.appendedBytes).toBe(13);
        expect(result.interrupted?.message).toBe('connection reset');
        expect(await readUpload(upload, 13)).toBe('first second ');
        await append(upload, 'third', 13);
        expect((await read(await finish(upload, 18))).toString()).toBe('first second third');
      });

      test('keeps what came before of a source that was closed without an error', async () => {
        const upload = newUpload();
        const source = new Readable({ read: () => undefined });
        source.push('came');
        const appending = append(upload, source);
        // On a busy machine it takes its time until the bytes are taken.
        while (source.readableLength > 0) await new Promise((resolve) => setTimeout(resolve, 1));
        source.destroy();
        const result = await appending;
        expect(result.appendedBytes).toBe(4);
        expect(result.interrupted).toBeInstanceOf(Error);
        expect(await readUpload(upload, 4)).toBe('came');
      });

      test('keeps nothing of a source that was broken from its beginning', async () => {
        const upload = newUpload();
        const result = await append(upload, breakingOff([], new Error('gone')));
        expect(result).toMatchObject({ appendedBytes: 0, interrupted: { message: 'gone' } });
      });

      test('has shown the observer exactly what it kept', async () => {
        const upload = newUpload();
        const seen: Buffer[] = [];
        const bytes = pseudoRandom(3 * MiB + 17);
        const source = breakingOff(inChunks(bytes, 100_000), new Error('gone'));
        const { appendedBytes } = await uploads.append(upload, source, {
          offset: 0,
          observer: { update: (chunk) => seen.push(Buffer.from(chunk)) },
        });
        expect(Buffer.concat(seen).equals(bytes.subarray(0, appendedBytes))).toBe(true);
        await uploads.sync(upload);
        const kept = await collect((await uploads.openUpload(upload, appendedBytes))!);
        expect(kept.equals(Buffer.concat(seen))).toBe(true);
      });
    });

    describe('with a limit', () => {
      test('takes exactly as many bytes as that', async () => {
        const upload = newUpload();
        const result = await uploads.append(upload, Readable.from([Buffer.from('abcde')]), {
          offset: 0,
          observer: createHash('sha256'),
          maxBytes: 5,
        });
        expect(result).toEqual({ appendedBytes: 5, interrupted: undefined });
        await finish(upload, 5);
      });

      test.each([
        { name: 'in its first chunk', chunks: ['abcdef'] },
        { name: 'in a later chunk', chunks: ['abc', 'de', 'f'] },
        { name: 'when nothing may come', chunks: ['a'], maxBytes: 0 },
      ])('rejects a source that has more, $name, with a RangeError', async ({ chunks, maxBytes = 5 }) => {
        const appending = uploads.append(newUpload(), Readable.from(chunks.map((chunk) => Buffer.from(chunk))), {
          offset: 0,
          observer: createHash('sha256'),
          maxBytes,
        });
        await expect(appending).rejects.toThrow(RangeError);
      });

      test('goes on from the offset before after a source that had more', async () => {
        const upload = newUpload();
        await append(upload, 'good ');
        const source = Readable.from(inChunks(Buffer.alloc(2 * MiB), 100_000));
        const options = { offset: 5, observer: createHash('sha256'), maxBytes: MiB + 1 };
        await expect(uploads.append(upload, source, options)).rejects.toThrow(RangeError);
        await append(upload, 'end', 5);
        expect((await read(await finish(upload, 8))).toString()).toBe('good end');
      });

      test('stops reading a source that has more', async () => {
        const { source, produced } = endlessSource(1024 * MiB);
        const options = { offset: 0, observer: createHash('sha256'), maxBytes: 100_000 };
        await expect(uploads.append(newUpload(), source, options)).rejects.toThrow(RangeError);
        expect(produced()).toBeLessThan(16 * MiB);
        // Not destroyed either: the client that sent it is to read the answer.
        expect(source.isPaused()).toBe(true);
        source.destroy();
      });
    });

    describe('streams and', () => {
      test('keeps and shows every byte in order, whatever the size of the chunks', { timeout: 60_000 }, async () => {
        const edges = [1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, MiB - 1, MiB, MiB + 1, 2 * MiB + 3];
        const sizes = fc.array(fc.oneof(fc.constantFrom(...edges), fc.integer({ min: 1, max: 200_000 })), {
          minLength: 1,
          maxLength: 12,
        });
        await fc.assert(
          fc.asyncProperty(sizes, async (chunkSizes) => {
            const total = chunkSizes.reduce((sum, size) => sum + size, 0);
            const bytes = pseudoRandom(total);
            const upload = newUpload();
            const hash = createHash('sha256');
            const chunks = bySizes(bytes, chunkSizes);
            const result = await uploads.append(upload, Readable.from(chunks), { offset: 0, observer: hash });
            expect(result).toEqual({ appendedBytes: total, interrupted: undefined });
            expect(hash.digest('hex')).toBe(sha256(bytes));
            const location = await finish(upload, total);
            expect(await store.size(location)).toBe(total);
            expect(sha256(await read(location))).toBe(sha256(bytes));
            await store.delete(location);
          }),
          { numRuns: 12 },
        );
      });

      test(
        'makes the same blob of appends as of a single one, wherever they are cut',
        { timeout: 60_000 },
        async () => {
          const sizes = fc.array(fc.integer({ min: 0, max: 700_000 }), { minLength: 1, maxLength: 5 });
          await fc.assert(
            fc.asyncProperty(sizes, async (appendSizes) => {
              const bytes = pseudoRandom(appendSizes.reduce((sum, size) => sum + size, 0));
              const upload = newUpload();
              const hash = createHash('sha256');
              let offset = 0;
              for (const part of bySizes(bytes, appendSizes)) {
                const source = Readable.from(inChunks(part, 50_001));
                const { appendedBytes } = await uploads.append(upload, source, { offset, observer: hash });
                expect(appendedBytes).toBe(part.length);
                await uploads.sync(upload);
                offset += appendedBytes;
              }
              expect(hash.digest('hex')).toBe(sha256(bytes));
              const location = await finish(upload, offset);
              expect(sha256(await read(location))).toBe(sha256(bytes));
              await store.delete(location);
            }),
            { numRuns: 8 },
          );
        },
      );

      test('takes bytes that come a few at a time', async () => {
        const bytes = pseudoRandom(300_000);
        const upload = newUpload();
        await append(upload, Readable.from(inChunks(bytes, 7)));
        expect(sha256(await read(await finish(upload, bytes.length)))).toBe(sha256(bytes));
      });

      test('takes no more of an endless source than it can put away', async () => {
        const upload = newUpload();
        const { source, produced } = endlessSource(1024 * MiB);
        const appending = append(upload, source);
        // Within one turn of the event loop nothing is stored: what is taken in a turn is held in memory.
        let mostInOneTurn = 0;
        while (produced() < 4 * MiB) {
          const before = produced();
          await new Promise((resolve) => setImmediate(resolve));
          mostInOneTurn = Math.max(mostInOneTurn, produced() - before);
        }
        source.destroy();
        const { appendedBytes, interrupted } = await appending;
        expect(mostInOneTurn).toBeLessThan(32 * MiB);
        expect(interrupted).toBeInstanceOf(Error);
        expect(appendedBytes).toBeLessThanOrEqual(produced());
        await uploads.discardUpload(upload);
      });
    });

    describe('opens ranges: both ends included,', () => {
      const bytes = pseudoRandom(MiB + 100);
      let location: string;
      beforeAll(async () => {
        location = await storeBytes(bytes);
      });

      test.each([
        { name: 'the first byte', start: 0, end: 0 },
        { name: 'the last byte', start: bytes.length - 1, end: bytes.length - 1 },
        { name: 'some bytes in the middle', start: 1000, end: 1999 },
        { name: 'bytes on both sides of a megabyte', start: MiB - 3, end: MiB + 2 },
        { name: 'everything', start: 0, end: bytes.length - 1 },
        { name: 'everything but the first byte', start: 1, end: bytes.length - 1 },
      ])('$name', async ({ start, end }) => {
        const got = await read(location, { start, end });
        expect(got.length).toBe(end - start + 1);
        expect(got.equals(bytes.subarray(start, end + 1))).toBe(true);
      });

      test('for several readers at once', async () => {
        const readers = [read(location), read(location, { start: 5, end: 700_000 }), read(location)];
        const [whole, part, again] = await Promise.all(readers);
        expect(whole!.equals(bytes)).toBe(true);
        expect(part!.equals(bytes.subarray(5, 700_001))).toBe(true);
        expect(again!.equals(bytes)).toBe(true);
      });

      test('and rejects when the bytes end before the range does', async () => {
        const size = bytes.length;
        await expect(read(location, { start: size - 10, end: size + 9 })).rejects.toThrow();
      });
    });

    describe('copies what it opened and', () => {
      const bytes = pseudoRandom(5 * MiB + 1);
      let location: string;
      beforeAll(async () => {
        location = await storeBytes(bytes);
      });

      test('leaves the sink open, so that more may follow', async () => {
        const sink = new Collector();
        sink.write('before ');
        await (await open(location, { start: 0, end: 9 })).copyTo(sink);
        await (await open(location, { start: 10, end: 19 })).copyTo(sink);
        expect(sink.writable).toBe(true);
        expect(sink.bytes()).toEqual(Buffer.concat([Buffer.from('before '), bytes.subarray(0, 20)]));
      });

      test('waits for a sink that is slow', async () => {
        const sink = new Collector({ delay: (next) => setImmediate(next) });
        await (await open(location)).copyTo(sink);
        expect(sink.bytes().equals(bytes)).toBe(true);
      });

      test('gives a sink that takes nothing only a little, and rejects when that sink closes', async () => {
        const sink = new Collector({ delay: () => undefined });
        const copying = (await open(location)).copyTo(sink);
        const rejected = expect(copying).rejects.toThrow();
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect(sink.bytes().length + sink.writableLength).toBeLessThanOrEqual(4 * MiB);
        sink.destroy();
        await rejected;
      });

      test('rejects when the sink breaks in the middle', async () => {
        const sink = new Writable({
          write: (_chunk, _encoding, callback) => {
            callback(new Error('disk full'));
          },
        });
        sink.on('error', () => undefined);
        await expect((await open(location)).copyTo(sink)).rejects.toThrow();
      });

      test('rejects when the sink was closed before', async () => {
        const sink = new Collector();
        sink.destroy();
        await expect((await open(location)).copyTo(sink)).rejects.toThrow();
      });

      test('rejects when an upload has fewer bytes than it should have', async () => {
        const upload = newUpload();
        await append(upload, 'few');
        await expect(readUpload(upload, 10)).rejects.toThrow();
      });

      test('may be closed instead', async () => {
        await (await open(location)).close();
        expect((await read(location)).equals(bytes)).toBe(true);
      });
    });

    describe('deletes and', () => {
      test('has nothing at a location whose bytes were deleted', async () => {
        const location = await storeBytes('short-lived');
        await store.delete(location);
        expect(await store.open(location)).toBeUndefined();
        expect(await store.open(location, { start: 0, end: 1 })).toBeUndefined();
        expect(await store.size(location)).toBeUndefined();
      });

      test('does not mind that the bytes are gone already', async () => {
        const location = await storeBytes('deleted twice');
        await store.delete(location);
        await expect(store.delete(location)).resolves.toBeUndefined();
      });

      test('keeps other bytes of the same content', async () => {
        const [first, second] = [await storeBytes('the same'), await storeBytes('the same')];
        expect(first).not.toBe(second);
        await store.delete(first);
        expect((await read(second)).toString()).toBe('the same');
      });

      test('discards an upload that was not finished', async () => {
        const upload = newUpload();
        await append(upload, 'never finished');
        await uploads.discardUpload(upload);
        expect(await uploads.openUpload(upload, 5)).toBeUndefined();
      });

      test('discards an upload that was finished, for when nobody remembers its location', async () => {
        const upload = newUpload();
        await append(upload, 'finished and forgotten');
        const location = await finish(upload, 22);
        await uploads.discardUpload(upload);
        expect(await store.size(location)).toBeUndefined();
        expect(await store.open(location)).toBeUndefined();
      });

      test('discards an upload that has no bytes, and one that was discarded', async () => {
        const upload = newUpload();
        await expect(uploads.discardUpload(upload)).resolves.toBeUndefined();
        await expect(uploads.discardUpload(upload)).resolves.toBeUndefined();
      });

      test('keeps other uploads when it discards one', async () => {
        const [gone, kept] = [newUpload(), newUpload()];
        await append(gone, 'gone');
        await append(kept, 'kept');
        await uploads.discardUpload(gone);
        expect((await read(await finish(kept, 4))).toString()).toBe('kept');
      });
    });

    test('lists finished bytes, and neither unfinished nor deleted ones', async () => {
      const unfinished = newUpload();
      await append(unfinished, Buffer.alloc(toldFrom, 'unfinished'));
      const [kept, empty, deleted] = [
        await storeBytes('kept'),
        await finish(newUpload(), 0),
        await storeBytes('deleted'),
      ];
      await store.delete(deleted);
      const listed: string[] = [];
      for await (const location of store.list()) listed.push(location);
      expect(listed).toEqual(expect.arrayContaining([kept, empty]));
      expect(listed).not.toContain(deleted);
      expect(listed.filter((location) => location.includes(unfinished))).toEqual([]);
      expect(new Set(listed).size).toBe(listed.length);
    });

    test('lists uploads that have unfinished bytes, and neither finished nor discarded ones', async () => {
      const [unfinished, finished, discarded] = [newUpload(), newUpload(), newUpload()];
      const bytes = Buffer.alloc(toldFrom, 'bytes');
      for (const upload of [unfinished, finished, discarded]) await append(upload, bytes);
      await finish(finished, bytes.length);
      await uploads.discardUpload(discarded);
      const listed: string[] = [];
      for await (const upload of store.listUploads()) listed.push(upload);
      expect(listed).toContain(unfinished);
      expect(listed).not.toContain(finished);
      expect(listed).not.toContain(discarded);
    });

    test('answers a check when it can take and give bytes, also several at once', async () => {
      await expect(Promise.all([store.check(), store.check(), store.check()])).resolves.toBeDefined();
      const listed: string[] = [];
      for await (const location of store.list()) listed.push(location);
      expect(listed.filter((location) => location.includes('check'))).toEqual([]);
    });
  });
}

function callNow(next: () => void): void {
  next();
}

/** Keeps what it is given, by copying it: the bytes of a chunk count only until it has been answered. */
class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  constructor({ delay = callNow }: { readonly delay?: (next: () => void) => unknown } = {}) {
    super({
      write: (chunk: Buffer, _encoding, callback) => {
        delay(() => {
          this.#chunks.push(Buffer.from(chunk));
          callback();
        });
      },
    });
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

async function collect(bytes: StoredBytes): Promise<Buffer> {
  const sink = new Collector();
  await bytes.copyTo(sink);
  return sink.bytes();
}

/** A file beside the store, in a folder that goes after the test. */
async function fileOf(bytes: string | Buffer): Promise<string> {
  const path = join(await temporaryFolder(), 'data');
  await writeFile(path, bytes);
  return path;
}

/** Ids of uploads are made like this by the upload service. */
function newUpload(): string {
  return randomBytes(20).toString('hex');
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes without a pattern that a mistake of a whole buffer's size would fit into. */
function pseudoRandom(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let state = size + 1;
  for (let index = 0; index < size; index += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

function* inChunks(bytes: Buffer, size: number): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

function bySizes(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  let start = 0;
  return sizes.map((size) => bytes.subarray(start, (start += size)));
}

/** Chunks of which each comes in a later turn of the event loop. */
function slowly(chunks: Iterable<Buffer>): Readable {
  async function* generate() {
    for (const chunk of chunks) {
      await new Promise((resolve) => setImmediate(resolve));
      yield chunk;
    }
  }
  return Readable.from(generate());
}

function breakingOff(chunks: Iterable<string | Buffer>, reason: Error): Readable {
  async function* generate() {
    for (const chunk of chunks) yield Buffer.from(chunk);
    // What was sent before a connection broke arrives in an earlier turn than the break.
    await new Promise((resolve) => setImmediate(resolve));
    throw reason;
  }
  return Readable.from(generate());
}

/** A source that always has more at once, as far as `size`. */
function endlessSource(size: number): { readonly source: Readable; readonly produced: () => number } {
  const chunk = Buffer.alloc(64 * 1024);
  let produced = 0;
  const source = new Readable({
    highWaterMark: chunk.length,
    read() {
      if (produced < size) {
        produced += chunk.length;
        this.push(chunk);
      } else this.push(null);
    },
  });
  return { source, produced: () => produced };
}
