import type { Writable } from 'node:stream';
import type { ByteRange, StoredBytes } from './blob-store.js';
import type { ObjectBody, S3Bucket } from './s3-bucket.js';
import { isPassing } from './s3-retries.js';
import type { Piece } from './s3-state.js';
import { sendTo } from './stored-file.js';

/** How often in a row a body may break off without a byte. */
const emptyTries = 5;

/** An object, or a range of one, that comes as fast as its reader takes it, and goes on where it broke off. */
export class S3Object implements StoredBytes {
  readonly #bucket: S3Bucket;
  readonly #key: string;
  readonly #start: number;
  readonly #size: number;
  readonly #etag: string | undefined;
  #body: ObjectBody['body'] | undefined;

  private constructor(bucket: S3Bucket, key: string, range: ByteRange, { body, etag }: ObjectBody) {
    this.#bucket = bucket;
    this.#key = key;
    this.#start = range.start;
    this.#size = range.end - range.start + 1;
    this.#etag = etag;
    this.#keep(body);
  }

  /** @returns undefined when there is none @throws {Error} when it ends before the range begins */
  static async open(bucket: S3Bucket, key: string, range?: ByteRange): Promise<S3Object | undefined> {
    const answer = await bucket.getObject(key, range);
    return answer && new S3Object(bucket, key, range ?? { start: 0, end: answer.size - 1 }, answer);
  }

  async copyTo(sink: Writable): Promise<void> {
    try {
      await sendTo(sink, async (send) => {
        let sending: Promise<void> = Promise.resolve();
        for await (const chunk of this.#chunks()) {
          await sending;
          sending = send(chunk);
          // It is waited for in the next round; until then a failure must not count as unhandled.
          sending.catch(() => undefined);
        }
        await sending;
      });
    } finally {
      await this.close();
    }
  }

  close(): Promise<void> {
    this.#body?.destroy();
    this.#body = undefined;
    return Promise.resolve();
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    let read = 0;
    for (let tries = 0; read < this.#size; tries += 1) {
      this.#body ??= await this.#goOn(read);
      try {
        for await (const chunk of this.#body as AsyncIterable<Buffer>) {
          read += chunk.length;
          tries = 0;
          yield chunk;
        }
      } catch (error) {
        // A reader that was slow, or a store that rested: the body may have ended while nobody looked at it.
        if (!isPassing(error) || tries >= emptyTries) throw error;
        this.#body = undefined;
        continue;
      }
      if (read < this.#size) throw new Error('the object is shorter than it should be');
    }
  }

  async #goOn(read: number): Promise<ObjectBody['body']> {
    const range = { start: this.#start + read, end: this.#start + this.#size - 1 };
    const answer = await this.#bucket.getObject(this.#key, range, this.#etag);
    if (answer === undefined) throw new Error('the object is gone');
    return this.#keep(answer.body);
  }

  /** A body that nobody reads yet, or any more, may break as well. */
  #keep(body: ObjectBody['body']): ObjectBody['body'] {
    body.on('error', () => undefined);
    this.#body = body;
    return body;
  }
}

/** Pieces one after the other, as if they were one object. */
export class S3Pieces implements StoredBytes {
  readonly #bucket: S3Bucket;
  readonly #first: S3Object | undefined;
  readonly #others: readonly Piece[];

  private constructor(bucket: S3Bucket, first: S3Object | undefined, others: readonly Piece[]) {
    this.#bucket = bucket;
    this.#first = first;
    this.#others = others;
  }

  /** @returns undefined when the first of them is not there */
  static async open(bucket: S3Bucket, pieces: readonly Piece[]): Promise<S3Pieces | undefined> {
    const [first, ...others] = pieces;
    if (first === undefined) return new S3Pieces(bucket, undefined, []);
    const opened = await openPiece(bucket, first);
    return opened && new S3Pieces(bucket, opened, others);
  }

  async copyTo(sink: Writable): Promise<void> {
    await this.#first?.copyTo(sink);
    for (const piece of this.#others) {
      const opened = await openPiece(this.#bucket, piece);
      if (opened === undefined) throw new Error('a piece of the upload is gone');
      await opened.copyTo(sink);
    }
  }

  async close(): Promise<void> {
    await this.#first?.close();
  }
}

function openPiece(bucket: S3Bucket, { key, size }: Piece): Promise<S3Object | undefined> {
  return S3Object.open(bucket, key, { start: 0, end: size - 1 });
}
