import type { FileHandle } from 'node:fs/promises';
import { Writable, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AppendOptions, ByteObserver } from './blob-store.js';

/** Bytes in one write; a smaller one costs more than its bytes do. */
const writeSize = 1024 * 1024;

/** Written but not yet on the disk; beyond it the disk is set to work while more bytes come in. */
const writebackSize = 8 * 1024 * 1024;

/** Streams a source into a sink. @returns why the source broke off; what the store did wrong is thrown */
export async function receive(source: Readable, sink: FileSink): Promise<Error | undefined> {
  try {
    await pipeline(source, sink);
    return undefined;
  } catch (error) {
    await sink.drain();
    if (sink.failure !== undefined) throw sink.failure;
    return error instanceof Error ? error : new Error(String(error));
  }
}

/**
 * Writes what it is given at an offset, and shows it to the observer. Bytes are gathered into large writes, and while
 * one is under way the next is gathered.
 */
export class FileSink extends Writable {
  /** Bytes written since the sink was made; after `drain`, all that the observer saw. */
  appendedBytes = 0;
  /** What went wrong on this side of the stream. */
  failure: Error | undefined;
  readonly #file: FileHandle;
  readonly #offset: number;
  readonly #observer: ByteObserver;
  readonly #maxBytes: number;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #seenBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #writeback: Promise<void> = Promise.resolve();
  #unsyncedBytes = 0;

  constructor(file: FileHandle, { offset, observer, maxBytes }: AppendOptions) {
    super({ highWaterMark: writeSize / 4 });
    this.#file = file;
    this.#offset = offset;
    this.#observer = observer;
    this.#maxBytes = maxBytes ?? Infinity;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#seenBytes += chunk.length;
    if (this.#seenBytes > this.#maxBytes) {
      this.failure = new RangeError(`more than ${this.#maxBytes} bytes`);
      callback(this.failure);
      return;
    }
    this.#observer.update(chunk);
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes < writeSize) {
      callback();
      return;
    }
    // At most one write is under way: the stream waits here when the disk is slower than the client.
    this.#writing.then(
      () => {
        this.#writeGathered();
        callback();
      },
      () => {
        callback(this.failure);
      },
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.drain().then(() => {
      callback();
    }, callback);
  }

  /** Writes what was gathered, also of a stream that broke off, and resolves when nothing is under way any more. */
  async drain(): Promise<void> {
    await this.#writing;
    this.#writeGathered();
    await this.#writing;
    await this.#writeback;
  }

  #writeGathered(): void {
    const buffers = this.#gathered;
    const size = this.#gatheredBytes;
    if (size === 0) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#writing = this.#write(buffers, size);
    this.#noteFailure(this.#writing);
  }

  /** Whoever waits for the work next is told as well; until then it must not count as unhandled. */
  #noteFailure(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.failure ??= error instanceof Error ? error : new Error(String(error));
    });
  }

  async #write(buffers: Buffer[], size: number): Promise<void> {
    await writeFully(this.#file, buffers, size, this.#offset + this.appendedBytes);
    this.appendedBytes += size;
    this.#unsyncedBytes += size;
    if (this.#unsyncedBytes < writebackSize) return;
    await this.#writeback;
    this.#unsyncedBytes = 0;
    this.#writeback = this.#file.datasync();
    // The disk tells of bytes it could not keep once, and perhaps only here.
    this.#noteFailure(this.#writeback);
  }
}

async function writeFully(file: FileHandle, buffers: Buffer[], size: number, position: number): Promise<void> {
  const { bytesWritten } = await file.writev(buffers, position);
  if (bytesWritten === size) return;
  // A disk about to be full may take a part; the rest either fits as well or says why not.
  const rest = Buffer.concat(buffers).subarray(bytesWritten);
  await writeFully(file, [rest], rest.length, position + bytesWritten);
}
