import { pagesFor, type PagedBytes, type PageLease, payloadOf, pageSize } from './part-buffers.js';
import { copiesOf, copyPiece, piecesToTakeUp, readPieces, type PiecesToTakeUp } from './s3-assembly.js';
import type { S3Bucket } from './s3-bucket.js';
import {
  keys,
  mostParts,
  partSizes,
  sumOf,
  type Multipart,
  type Piece,
  type StoredPart,
  type UploadState,
} from './s3-state.js';

/** Parts of one upload that are under way at once. */
const mostInFlight = 3;

/** A part on its way. */
interface SentPart {
  readonly number: number;
  /** Bytes of the append that came up to the end of this part. */
  readonly end: number;
  readonly abort: AbortController;
  /** Once it is stored. */
  stored: StoredPart | undefined;
}

/** What came of the parts of an append. */
export interface SettledParts {
  /** Bytes of the append in parts that count: all up to the first that could not be stored. */
  readonly end: number;
  readonly state: UploadState;
  /** Why that one was not. */
  readonly failure: Error | undefined;
}

/** The parts that one append makes of its bytes, and first of the pieces that earlier appends have left. */
export class PartUploads {
  /** Why a part could not be stored; those after it are of no use then. */
  failure: Error | undefined;
  readonly #bucket: S3Bucket;
  readonly #upload: string;
  readonly #state: UploadState;
  readonly #lease: PageLease;
  readonly #pieces: PiecesToTakeUp;
  readonly #pieceBytes: PagedBytes;
  readonly #sent: SentPart[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #multipart: Promise<Multipart> | undefined;
  #created: Multipart | undefined;
  #copied: readonly StoredPart[] = [];
  #next: number;

  constructor(bucket: S3Bucket, upload: string, state: UploadState, lease: PageLease) {
    this.#bucket = bucket;
    this.#upload = upload;
    this.#state = state;
    this.#lease = lease;
    this.#pieces = piecesToTakeUp(state.pieces);
    this.#next = state.multipart?.next ?? 1;
    const piecePages = Math.ceil(sumOf(this.#pieces.read) / pageSize);
    // What is in the last page of the pieces and in the last of the bytes that follow fits into one, but is in two.
    const least = Math.ceil(this.sizes.least / pageSize);
    lease.promise(piecePages > 0 ? Math.max(least, piecePages) + 1 : least);
    this.#pieceBytes = pagesFor(lease, piecePages);
  }

  /** Sizes of the part that will be sent next. */
  get sizes(): { readonly target: number; readonly least: number } {
    return partSizes(this.#next + (this.#sent.length === 0 ? copiesOf(this.#pieces.copied) : 0));
  }

  /** Bytes that go before what is sent first, in the same part. */
  get pieceSize(): number {
    return this.#sent.length === 0 ? sumOf(this.#pieces.read) : 0;
  }

  /** Whether the upload is going to be in parts whatever else comes: it has some, or a piece that is too large to be read. */
  get isInParts(): boolean {
    return this.#sent.length > 0 || (this.#state.multipart?.parts.length ?? 0) > 0 || this.#pieces.copied !== undefined;
  }

  get hasSent(): boolean {
    return this.#sent.length > 0;
  }

  get isFull(): boolean {
    return this.#inFlight.size >= mostInFlight;
  }

  /** Sends a part; its pages are given back in the end. @param end as `SentPart.end` */
  send(bytes: PagedBytes, end: number): void {
    this.#lease.promise(Math.ceil(this.sizes.least / pageSize));
    const isFirst = this.#sent.length === 0;
    const firstCopy = this.#next;
    if (isFirst) this.#next += copiesOf(this.#pieces.copied);
    const part: SentPart = { number: this.#next, end, abort: new AbortController(), stored: undefined };
    this.#next += 1;
    this.#sent.push(part);
    const sending = this.#store(part, bytes, isFirst ? firstCopy : undefined)
      .catch((error: unknown) => {
        this.#fail(part, error);
      })
      .finally(() => {
        bytes.release(this.#lease);
        this.#inFlight.delete(sending);
      });
    this.#inFlight.add(sending);
  }

  /** Resolves when one of the parts under way is not any more. */
  async oneDone(): Promise<void> {
    if (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
  }

  /** Gives up whatever is under way, and what it was for. */
  async abandon(): Promise<void> {
    for (const { abort } of this.#sent) abort.abort();
    await this.settle();
    if (this.#created !== undefined) await this.#bucket.abortMultipart(this.#created);
  }

  async settle(): Promise<SettledParts> {
    await Promise.all(this.#inFlight);
    this.#pieceBytes.release(this.#lease);
    const firstLost = this.#sent.findIndex(({ stored }) => stored === undefined);
    const kept = firstLost === -1 ? this.#sent : this.#sent.slice(0, firstLost);
    return { end: kept.at(-1)?.end ?? 0, state: this.#stateWith(kept), failure: this.failure };
  }

  /** Reads the pieces, for them not to become a part. */
  async readPieces(): Promise<{ readonly bytes: PagedBytes; readonly pieces: readonly Piece[] }> {
    await readPieces(this.#bucket, this.#pieces.read, this.#pieceBytes);
    return { bytes: this.#pieceBytes, pieces: this.#pieces.read };
  }

  #stateWith(kept: readonly SentPart[]): UploadState {
    const multipart = this.#state.multipart ?? this.#created;
    if (multipart === undefined) return { ...this.#state, leftovers: [] };
    if (kept.length === 0) return { ...this.#state, multipart: { ...multipart, next: this.#next }, leftovers: [] };
    const parts = [...multipart.parts, ...this.#copied, ...kept.map(({ stored }) => stored!)];
    return {
      multipart: { ...multipart, parts, next: this.#next },
      pieces: [],
      leftovers: this.#state.pieces.map(({ key }) => key),
    };
  }

  async #store(part: SentPart, bytes: PagedBytes, firstCopy: number | undefined): Promise<void> {
    if (part.number > mostParts) throw new Error(`an upload has at most ${mostParts} parts`);
    const multipart = await (this.#multipart ??= this.#openMultipart());
    const isFirst = firstCopy !== undefined;
    if (isFirst) await this.#takeUp(multipart, firstCopy);
    const payload = isFirst ? payloadOf(this.#pieceBytes, bytes) : payloadOf(bytes);
    part.stored = await this.#bucket.putPart(multipart, part.number, payload, part.abort.signal);
    if (isFirst) this.#pieceBytes.release(this.#lease);
  }

  async #openMultipart(): Promise<Multipart> {
    if (this.#state.multipart !== undefined) return this.#state.multipart;
    const hasCrc = this.#pieces.copied === undefined;
    return (this.#created = await this.#bucket.createMultipart(keys.blob(this.#upload), { hasCrc }));
  }

  async #takeUp(multipart: Multipart, firstCopy: number): Promise<void> {
    const { copied, read } = this.#pieces;
    await readPieces(this.#bucket, read, this.#pieceBytes);
    if (copied !== undefined) this.#copied = await copyPiece(this.#bucket, multipart, firstCopy, copied);
  }

  #fail(part: SentPart, error: unknown): void {
    const index = this.#sent.indexOf(part);
    for (const { abort } of this.#sent.slice(index + 1)) abort.abort();
    // A part that was given up because of one before it says nothing.
    if (part.abort.signal.aborted) return;
    this.failure = error instanceof Error ? error : new Error(String(error));
  }
}
