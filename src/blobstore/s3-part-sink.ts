import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AppendOptions, AppendResult } from './blob-store.js';
import type { FileSink } from './file-sink.js';
import { PagedBytes, pageSize, payloadOf, type PageLease } from './part-buffers.js';
import { countReceivedMemory } from './received-memory.js';
import type { S3Bucket } from './s3-bucket.js';
import type { PartUploads } from './s3-parts.js';
import { keys, writeState, type Piece, type UploadState } from './s3-state.js';

/** Pieces beyond so many are joined: it takes a request to read each of them. */
const mostPieces = 100;

/** What an append works with. */
export interface PartSinkParts {
  readonly bucket: S3Bucket;
  readonly upload: string;
  /** What the upload has. */
  readonly state: UploadState;
  readonly lease: PageLease;
  readonly uploads: PartUploads;
  /** Where the bytes are written as well, to be read while they come in. */
  readonly mirror: FileSink | undefined;
}

/** What an append puts behind the last part. */
interface Tail {
  readonly pieces: readonly Piece[];
  readonly leftovers: readonly string[];
}

/**
 * Gathers the bytes that it is given, shows them to the observer, and sends them in parts; what is left in the end is a
 * piece, an object of its own, when it is too short for a part.
 */
export class PartSink {
  /** What the source did wrong: nothing of it is kept. */
  failure: RangeError | undefined;
  readonly #parts: PartSinkParts;
  readonly #options: AppendOptions;
  #gathered = new PagedBytes();
  /** The rest of a chunk that there was no room for. */
  #pending: Buffer = Buffer.alloc(0);
  /** A part that is to be sent once there is a place for it. */
  #sealed: PagedBytes | undefined;
  #lacksPages = false;
  #receivedBytes = 0;
  #observedBytes = 0;
  /** Why no more is taken, other than because of a part. */
  #problem: Error | undefined;

  constructor(parts: PartSinkParts, options: AppendOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** @returns false when the source has to wait until the sink is ready for more */
  take(chunk: Buffer): boolean {
    if (this.#stopped !== undefined) return false;
    this.#receivedBytes += chunk.length;
    const { maxBytes = Infinity } = this.#options;
    if (this.#receivedBytes > maxBytes) {
      this.failure = new RangeError(`more than ${maxBytes} bytes`);
      return false;
    }
    const isMirrored = this.#parts.mirror?.take(chunk) ?? true;
    if (this.#pending.length > 0 || this.#sealed !== undefined) {
      this.#pending = Buffer.concat([this.#pending, chunk]);
      return false;
    }
    this.#pending = chunk;
    return this.#consume() && isMirrored;
  }

  /** Resolves when there is room for more. @throws {Error} when there will never be */
  async ready(): Promise<void> {
    try {
      await this.#parts.mirror?.ready();
      await this.#consumeAll();
    } catch (error) {
      this.#problem ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  /** Takes what was given and had to wait, also of a stream that broke off. */
  async drain(): Promise<void> {
    await this.#parts.mirror?.drain();
    this.#problem ??= this.#parts.mirror?.failure;
    if (this.#stopped === undefined) await this.ready().catch(() => undefined);
    if (this.failure === undefined) return;
    this.#releaseAll();
    await this.#parts.uploads.abandon().catch(() => undefined);
  }

  /** Stores the rest, and resolves when nothing is under way any more. */
  async end(interrupted: Error | undefined): Promise<AppendResult> {
    const { uploads } = this.#parts;
    const isLast = this.#options.isLast === true && interrupted === undefined;
    let tail: Tail | undefined;
    if (this.#stopped === undefined) {
      tail = await this.#storeRest(isLast).catch((error: unknown) => {
        this.#problem = error instanceof Error ? error : new Error(String(error));
        return undefined;
      });
    }
    const settled = await uploads.settle();
    this.#releaseAll();
    const failure = settled.failure ?? this.#problem;
    if (failure !== undefined) {
      const leftovers = [...settled.state.leftovers, ...(tail?.pieces.map(({ key }) => key) ?? [])];
      const kept = new Set(settled.state.pieces.map(({ key }) => key));
      const state = { ...settled.state, leftovers: leftovers.filter((key) => !kept.has(key)) };
      return { appendedBytes: settled.end, state: writeState(state), interrupted, failure };
    }
    const { multipart, leftovers } = settled.state;
    const state = tail
      ? { multipart, pieces: tail.pieces, leftovers: [...leftovers, ...tail.leftovers] }
      : settled.state;
    return { appendedBytes: this.#observedBytes, state: writeState(state), interrupted };
  }

  get #stopped(): Error | undefined {
    return this.failure ?? this.#problem ?? this.#parts.uploads.failure;
  }

  /** Whether it takes the end of a part under way to go on. */
  get #needsPart(): boolean {
    return this.#sealed !== undefined || this.#lacksPages;
  }

  async #consumeAll(): Promise<void> {
    const { uploads } = this.#parts;
    for (;;) {
      // What waits for its turn elsewhere goes on first: no source takes all for itself.
      await nextTurn();
      if (this.#stopped !== undefined) throw this.#stopped;
      if (this.#sealed !== undefined && !uploads.isFull) this.#send();
      this.#lacksPages = false;
      if (this.#sealed === undefined && this.#consume()) return;
      if (this.#needsPart) await uploads.oneDone();
    }
  }

  /** @returns false when bytes have to wait */
  #consume(): boolean {
    while (this.#pending.length > 0) {
      if (this.#gathered.room === 0 && !this.#makeRoom()) return false;
      const added = this.#gathered.add(this.#pending);
      this.#options.observer.update(added === this.#pending.length ? this.#pending : this.#pending.subarray(0, added));
      this.#observedBytes += added;
      this.#pending = this.#pending.subarray(added);
    }
    return true;
  }

  #makeRoom(): boolean {
    const { uploads, lease } = this.#parts;
    const { target, least } = uploads.sizes;
    const size = uploads.pieceSize + this.#gathered.size;
    if (this.#gathered.size > 0) countReceivedMemory(pageSize);
    if (size < target) {
      const page = lease.take();
      if (page !== undefined) {
        this.#gathered.addPage(page);
        return true;
      }
      // All that was promised is in parts under way: one of them gives its pages back.
      if (size < least) {
        this.#lacksPages = true;
        return false;
      }
    }
    this.#seal();
    return false;
  }

  /** What was gathered is a part. */
  #seal(): void {
    this.#sealed = this.#gathered;
    this.#gathered = new PagedBytes();
    this.#options.onCheckpoint?.(this.#observedBytes);
    if (!this.#parts.uploads.isFull) this.#send();
  }

  #send(): void {
    const sealed = this.#sealed!;
    this.#sealed = undefined;
    this.#parts.uploads.send(sealed, this.#observedBytes);
  }

  /** @returns what comes after the parts now; undefined when all is in parts, or nothing has changed */
  async #storeRest(isLast: boolean): Promise<Tail | undefined> {
    const { uploads, state } = this.#parts;
    if (this.#gathered.size === 0) return undefined;
    if (!uploads.isInParts && state.pieces.length === 0) return this.#putAlone(true, []);
    const size = uploads.pieceSize + this.#gathered.size;
    const { target, least } = uploads.sizes;
    if (isLast && !uploads.isInParts && size < target) return this.#joinPieces(true);
    if (isLast || size >= least) {
      this.#seal();
      while (this.#sealed !== undefined && this.#stopped === undefined) {
        await uploads.oneDone();
        if (!uploads.isFull) this.#send();
      }
      return undefined;
    }
    // Those that were there before are in a part of this append, when there is one.
    const pieces = uploads.hasSent ? [] : state.pieces;
    return pieces.length >= mostPieces ? this.#joinPieces(!uploads.isInParts) : this.#putAlone(false, pieces);
  }

  /** One object of all small pieces and the rest. @param isWhole whether it is then all that there is */
  async #joinPieces(isWhole: boolean): Promise<Tail> {
    const { uploads, state } = this.#parts;
    const { bytes, pieces } = await uploads.readPieces();
    const piece = await this.#put(isWhole, bytes, this.#gathered);
    const others = state.pieces.filter((other) => !pieces.includes(other));
    return { pieces: [...others, piece], leftovers: pieces.map(({ key }) => key) };
  }

  async #putAlone(isWhole: boolean, before: readonly Piece[]): Promise<Tail> {
    return { pieces: [...before, await this.#put(isWhole, this.#gathered)], leftovers: [] };
  }

  async #put(isWhole: boolean, ...bytes: readonly PagedBytes[]): Promise<Piece> {
    const { bucket, upload } = this.#parts;
    const payload = payloadOf(...bytes);
    const key = isWhole ? keys.blob(upload) : keys.piece(upload);
    await bucket.putObject(key, payload);
    return { key, size: payload.size, isCut: false };
  }

  #releaseAll(): void {
    this.#gathered.release(this.#parts.lease);
    this.#sealed?.release(this.#parts.lease);
    this.#sealed = undefined;
    this.#pending = Buffer.alloc(0);
  }
}
