import { open, type FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { ByteRange, StoredBytes } from './blob-store.js';

/** Bytes in one read; a smaller one costs more than its bytes do. */
const readSize = 512 * 1024;

/** A file, or a part of one, that is read into one of two buffers while the other is being sent. */
export class StoredFile implements StoredBytes {
  readonly #file: FileHandle;
  readonly #start: number;
  readonly #size: number;

  private constructor(file: FileHandle, start: number, size: number) {
    this.#file = file;
    this.#start = start;
    this.#size = size;
  }

  static async open(path: string, range: ByteRange | undefined): Promise<StoredFile | undefined> {
    const file = await undefinedWhenAbsent(open(path, 'r'));
    if (file === undefined) return undefined;
    if (range !== undefined) return new StoredFile(file, range.start, range.end - range.start + 1);
    try {
      return new StoredFile(file, 0, (await file.stat()).size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async copyTo(sink: Writable): Promise<void> {
    try {
      await sendTo(sink, async (send) => {
        const buffers = [this.#buffer(), this.#buffer()];
        let sending: Promise<void> = Promise.resolve();
        for (let copied = 0, turn = 0; copied < this.#size; turn ^= 1) {
          const buffer = buffers[turn]!;
          const wanted = Math.min(buffer.length, this.#size - copied);
          const { bytesRead } = await this.#file.read(buffer, 0, wanted, this.#start + copied);
          if (bytesRead === 0) throw new Error('the file is shorter than it should be');
          copied += bytesRead;
          await sending;
          sending = send(buffer.subarray(0, bytesRead));
          // It is waited for in the next round; until then a failure must not count as unhandled.
          sending.catch(() => undefined);
        }
        await sending;
      });
    } finally {
      await this.#file.close();
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #buffer(): Buffer {
    return Buffer.allocUnsafeSlow(Math.min(readSize, this.#size));
  }
}

/**
 * Copies something to a sink that may close. A response whose client has gone may swallow a write and never answer it; that
 * it closed is always told.
 *
 * @param copy is given what sends bytes: it resolves when the sink has no more need of them, and rejects when the sink closes
 */
export async function sendTo(
  sink: Writable,
  copy: (send: (bytes: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  const broken = new AbortController();
  const onClose = () => {
    broken.abort();
  };
  sink.once('close', onClose);
  try {
    if (sink.destroyed) onClose();
    await copy((bytes) => writeTo(sink, bytes, broken.signal));
  } finally {
    sink.removeListener('close', onClose);
  }
}

/** Resolves when the sink has no more need of the bytes, and they may be overwritten. */
function writeTo(sink: Writable, bytes: Buffer, broken: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onBroken = () => {
      reject(new Error('the sink was closed'));
    };
    if (broken.aborted) onBroken();
    broken.addEventListener('abort', onBroken, { once: true });
    sink.write(bytes, (error) => {
      broken.removeEventListener('abort', onBroken);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** What a file operation comes to, or `undefined` when there is no such file. */
export async function undefinedWhenAbsent<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
