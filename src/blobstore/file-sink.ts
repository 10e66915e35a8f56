import type { FileHandle } from 'node:fs/promises';
import { finished, type Readable } from 'node:stream';
import type { AppendOptions, ByteObserver } from './blob-store.js';
import { countReceivedMemory } from './received-memory.js';

/** Bytes in one write; a smaller one costs more than its bytes do. */
const writeSize = 1024 * 1024;

/** Written but not yet on the disk; beyond it the disk is set to work while more bytes come in. */
const writebackSize = 32 * 1024 * 1024;

/** How long bytes are gathered that somebody is waiting to read. */
const gatherMs = 20;

/** Where a stream goes that is received; `FileSink` says what each of these does. */
export interface ByteSink {
  readonly failure: Error | undefined;
  take(chunk: Buffer): boolean;
  ready(): Promise<void>;
  drain(): Promise<void>;
}

/**
 * Streams a source into a sink. The events of the source are listened to here, since a pipe costs more for each of the
 * many small pieces that a socket gives than hashing them does.
 *
 * @returns why the source broke off; what the store did wrong is thrown
 */
export async function receive(source: Readable, sink: ByteSink): Promise<Error | undefined> {
  const interrupted = await new Promise<Error | undefined>((resolve) => {
    const stop = finished(source, { writable: false }, (error) => {
      source.off('data', onData);
      stop();
      resolve(error ?? undefined);
    });
    const fail = () => {
      stop();
      source.off('data', onData);
      // Nobody reads on: what is still to come must not fill memory.
      source.pause();
      resolve(undefined);
    };
    const onData = (chunk: Buffer) => {
      if (sink.take(chunk)) return;
      source.pause();
      sink.ready().then(() => source.resume(), fail);
    };
    source.on('data', onData);
  });
  await sink.drain();
  if (sink.failure !== undefined) throw sink.failure;
  return interrupted;
}

/**
 * Writes what it is given at an offset, and shows it to the observer. Bytes are gathered into large writes, and while
 * one is under way the next is gathered.
 */
export class FileSink implements ByteSink {
  /** Bytes written since the sink was made; after `drain`, all that the observer saw. */
  appendedBytes = 0;
  /** What went wrong on this side of the stream. */
  failure: Error | undefined;
  readonly #file: FileHandle;
  readonly #offset: number;
  readonly #observer: ByteObserver;
  readonly #maxBytes: number;
  readonly #onWritten: ((bytes: number) => void) | undefined;
  #writeSoon: NodeJS.Timeout | undefined;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #seenBytes = 0;
  #isWriting = false;
  #writing: Promise<void> = Promise.resolve();
  #writeback: Promise<void> = Promise.resolve();
  #unsyncedBytes = 0;

  /** @param offset where in the file the bytes go */
  constructor(file: FileHandle, offset: number, { observer, maxBytes, onWritten }: AppendOptions) {
    this.#file = file;
    this.#offset = offset;
    this.#observer = observer;
    this.#maxBytes = maxBytes ?? Infinity;
    this.#onWritten = onWritten;
  }

  /** @returns false when the source has to wait until the sink is ready for more */
  take(chunk: Buffer): boolean {
    if (this.failure !== undefined) return false;
    this.#seenBytes += chunk.length;
    if (this.#seenBytes > this.#maxBytes) {
      this.failure = new RangeError(`more than ${this.#maxBytes} bytes`);
      return false;
    }
    this.#observer.update(chunk);
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes < writeSize) {
      this.#writeForReaders();
      return true;
    }
    // At most one write is under way: the source waits when the disk is slower than the client.
    if (this.#isWriting) return false;
    this.#writeGathered();
    return true;
  }

  /** Resolves when there is room for more. @throws {Error} the failure, when there will never be */
  async ready(): Promise<void> {
    await this.#writing.catch(() => undefined);
    if (this.failure !== undefined) throw this.failure;
    if (this.#gatheredBytes >= writeSize) this.#writeGathered();
  }

  /** Writes what was gathered, also of a stream that broke off, and resolves when nothing is under way any more. */
  async drain(): Promise<void> {
    clearTimeout(this.#writeSoon);
    await this.#settle();
    if (this.failure === undefined) this.#writeGathered();
    await this.#settle();
  }

  async #settle(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#writeback.catch(() => undefined);
  }

  /** A source that is slow, or rests, must not keep from readers what it gave. */
  #writeForReaders(): void {
    if (this.#onWritten === undefined || this.#writeSoon !== undefined) return;
    this.#writeSoon = setTimeout(() => {
      this.#writeSoon = undefined;
      if (this.#isWriting) this.#writeForReaders();
      else if (this.failure === undefined) this.#writeGathered();
    }, gatherMs);
  }

  #writeGathered(): void {
    const buffers = this.#gathered;
    const size = this.#gatheredBytes;
    if (size === 0) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#isWriting = true;
    this.#writing = this.#write(buffers, size).finally(() => {
      this.#isWriting = false;
    });
    this.#noteFailure(this.#writing);
  }

  /** Whoever looks next is told; until then it must not count as unhandled. */
  #noteFailure(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.failure ??= error instanceof Error ? error : new Error(String(error));
    });
  }

  async #write(buffers: Buffer[], size: number): Promise<void> {
    await writeFully(this.#file, buffers, size, this.#offset + this.appendedBytes);
    this.appendedBytes += size;
    this.#onWritten?.(this.appendedBytes);
    countReceivedMemory(size);
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
