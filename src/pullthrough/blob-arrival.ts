import type { Writable } from 'node:stream';
import type { ByteRange, GrowingBytes, StoredBytes } from '../blobstore/blob-store.js';

/** Tells whoever waits that something has changed; what it is, they look up themselves. */
export class Changes {
  #announce: () => void = () => undefined;
  #next = this.#renew();

  /** Resolves with the next change. */
  get next(): Promise<void> {
    return this.#next;
  }

  readonly announce = (): void => {
    const announce = this.#announce;
    this.#next = this.#renew();
    announce();
  };

  #renew(): Promise<void> {
    return new Promise((resolve) => {
      this.#announce = resolve;
    });
  }
}

/**
 * The bytes of a blob on their way from one registry into an upload, and those who read them meanwhile. Each reads from the
 * disk at a pace of its own, so that none waits for another and nothing is kept in memory for the slow ones.
 */
export class BlobArrival {
  /** Bytes that the registry has announced. */
  readonly size: number;
  readonly #changes: Changes;
  #whenIdle: (() => Promise<void>) | undefined;
  #bytes: GrowingBytes | undefined;
  #written = 0;
  #isVerified = false;
  #failure: { readonly error: unknown } | undefined;
  #readers = 0;

  constructor(size: number, changes: Changes) {
    this.size = size;
    this.#changes = changes;
  }

  /** @param work done whenever the last reader has gone, from now on; at once when there is none */
  onIdle(work: () => Promise<void>): void {
    this.#whenIdle = work;
    this.#noteIdle();
  }

  #noteIdle(): void {
    // What it does is to clean up; there is nobody left who could be told.
    if (this.#readers === 0) this.#whenIdle?.().catch(() => undefined);
  }

  /** Bytes that are on the disk. */
  get written(): number {
    return this.#written;
  }

  get readers(): number {
    return this.#readers;
  }

  /** There are more bytes. @param bytes in all */
  grow(bytes: number): void {
    this.#written = bytes;
    this.#changes.announce();
  }

  /** From now on it can be read. @param bytes are closed with this */
  follow(bytes: GrowingBytes): void {
    this.#bytes = bytes;
    this.#changes.announce();
  }

  get isFollowed(): boolean {
    return this.#bytes !== undefined;
  }

  /** All bytes are there and have the digest. */
  verify(): void {
    this.#isVerified = true;
    this.#changes.announce();
  }

  /** Cuts off all readers. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#changes.announce();
  }

  /** How many bytes somebody may read who wants this range: its last byte only when all are known to be right. */
  #readable({ end }: ByteRange): number {
    return this.#isVerified ? this.size : Math.min(this.#written, end);
  }

  /** Whether the first byte of the range can be given out. */
  isReadable(range: ByteRange): boolean {
    if (this.#bytes === undefined || this.#failure !== undefined) return false;
    return this.#isVerified || this.#readable(range) > range.start;
  }

  /** A range that `isReadable`; the reader counts as one until it is done. */
  open(range: ByteRange): StoredBytes {
    const bytes = this.#bytes!;
    let isOpen = true;
    this.#readers += 1;
    const close = () => {
      if (isOpen) {
        isOpen = false;
        this.#readers -= 1;
        this.#noteIdle();
      }
      return Promise.resolve();
    };
    return {
      copyTo: async (sink: Writable) => {
        try {
          await bytes.copyTo(sink, range, (read) => this.#grown(read, range));
        } finally {
          await close();
        }
      },
      close,
    };
  }

  async #grown(read: number, range: ByteRange): Promise<number> {
    for (;;) {
      if (this.#failure !== undefined)
        throw new Error('the blob did not come as a whole', { cause: this.#failure.error });
      const readable = this.#readable(range);
      if (readable > read) return readable;
      await this.#changes.next;
    }
  }

  /** Lets go of the file; there must be no reader any more. */
  async close(): Promise<void> {
    const bytes = this.#bytes;
    this.#bytes = undefined;
    await bytes?.close();
  }
}
