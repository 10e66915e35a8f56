import { open, type FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { ByteRange, GrowingBytes } from './blob-store.js';
import { undefinedWhenAbsent, sendTo } from './stored-file.js';

/** Bytes in one read. There may be hundreds of readers, each with a buffer of its own. */
const readSize = 128 * 1024;

/** A file that is still being written, read by many through one handle: each reads from a position of its own. */
export class GrowingFile implements GrowingBytes {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string): Promise<GrowingFile | undefined> {
    const file = await undefinedWhenAbsent(open(path, 'r'));
    return file && new GrowingFile(file);
  }

  async copyTo(sink: Writable, { start, end }: ByteRange, grown: (bytes: number) => Promise<number>): Promise<void> {
    await sendTo(sink, async (send) => {
      const buffer = Buffer.allocUnsafeSlow(Math.min(readSize, end - start + 1));
      for (let position = start, readable = start; position <= end;) {
        if (position >= readable) readable = await grown(position);
        const wanted = Math.min(buffer.length, readable - position, end - position + 1);
        const { bytesRead } = await this.#file.read(buffer, 0, wanted, position);
        if (bytesRead === 0) throw new Error('the file is shorter than it should be');
        await send(buffer.subarray(0, bytesRead));
        position += bytesRead;
      }
    });
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
