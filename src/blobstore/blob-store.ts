import type { Readable, Writable } from 'node:stream';

/** A range of bytes, both ends inclusive (RFC 9110, section 14.1.2). */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Sees every byte that is appended, in order; `node:crypto`'s Hash is one. */
export interface ByteObserver {
  update(bytes: Buffer): unknown;
}

/** An upload as its session remembers it, wherever it is worked on next. */
export interface UploadProgress {
  /** Random; lower-case hex. */
  readonly id: string;
  /** Bytes that count; whatever lies beyond, from an append that failed, is overwritten. */
  readonly size: number;
  /** What the store gave to be remembered with these bytes, and reads again; undefined when it gave nothing. */
  readonly state: string | undefined;
}

/** How to append. */
export interface AppendOptions {
  readonly observer: ByteObserver;
  /** More bytes than this are an error: the append rejects with a `RangeError`. */
  readonly maxBytes?: number;
  /**
   * Told how many bytes were appended so far, whenever there are more that `followUpload` can read. Bytes that come slowly are
   * then not held back for long.
   */
  readonly onWritten?: (bytes: number) => void;
  /**
   * Told how many bytes the observer has seen in this append, wherever it could end because those after are not stored, before
   * the observer sees more.
   */
  readonly onCheckpoint?: (bytes: number) => void;
  /** Nothing is known to come after these bytes: a store may spare itself what only a next append would need. */
  readonly isLast?: boolean;
}

/** How an append ended. When it broke off, what came before is kept, so that the client can go on from there. */
export interface AppendResult {
  /** Bytes that count. With a `failure` the observer may have seen more: it has this number at one of the checkpoints. */
  readonly appendedBytes: number;
  /** To be remembered from now on. */
  readonly state: string | undefined;
  /** Why the source broke off; undefined when it ended by itself. */
  readonly interrupted: Error | undefined;
  /** Why the store could not take all that the source had, though it takes what it was given before. */
  readonly failure?: Error;
}

/** Bytes that are there to be read, once; whoever opened them copies or closes them. */
export interface StoredBytes {
  /**
   * Writes them to a sink, waiting for it as needed, and leaves it open. What was opened is closed in any case.
   *
   * @throws {Error} when the sink breaks, or when there are fewer bytes than there should be
   */
  copyTo(sink: Writable): Promise<void>;

  close(): Promise<void>;
}

/** Bytes that are still coming in, to be read by any number of readers. */
export interface GrowingBytes {
  /**
   * Writes a range to a sink as its bytes come, waiting for the sink as needed, and leaves it open.
   *
   * @param grown resolves with how many bytes may be read, once these are more than it is given; rejects when there will never
   *   be more
   * @throws {Error} when the sink breaks, and what `grown` rejects with
   */
  copyTo(sink: Writable, range: ByteRange, grown: (bytes: number) => Promise<number>): Promise<void>;

  close(): Promise<void>;
}

/** A file that was taken over. */
export interface AdoptedFile {
  /** For the database to remember. */
  readonly location: string;
  /** Bytes. */
  readonly size: number;
  /** Whether the store and the file now have the same bytes in common; otherwise they were copied. */
  readonly isShared: boolean;
}

/** The store could not be reached, or was too busy, for as long as it was tried. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
}

/** What of unfinished bytes is abandoned. */
export interface AbandonedOptions {
  /** Only what was begun before. */
  readonly before: Date;
  /** Whether a session knows of the upload. */
  readonly isKnown: (upload: string) => Promise<boolean>;
  /**
   * Whether finished bytes are what an upload has left behind that became a blob at another location. Of what is not, nothing is
   * known: it may be somebody else's.
   */
  readonly isLeftover: (location: string) => Promise<boolean>;
  readonly signal: AbortSignal;
}

/**
 * Bytes: finished ones by location, unfinished ones by the id of their upload. A store knows nothing of digests or
 * repositories: what the bytes are, and who may see them, is the caller's question.
 */
export interface BlobStore {
  /**
   * Appends a stream to an upload, which begins with the first append. One append at a time for each upload; a `sync`,
   * `finish` or `discardUpload` follows each one that resolved.
   *
   * @throws {RangeError} when the source has more than `maxBytes`
   */
  append(upload: UploadProgress, source: Readable, options: AppendOptions): Promise<AppendResult>;

  /** Makes what was appended so far durable, to be told to the client as received. */
  sync(upload: string): Promise<void>;

  /**
   * What an upload has so far, to be read once more.
   *
   * @returns undefined when the bytes are not there; otherwise also the state to be remembered from now on
   */
  openUpload(
    upload: UploadProgress,
  ): Promise<{ readonly bytes: StoredBytes; readonly state: string | undefined } | undefined>;

  /**
   * Opens an upload to be read while it is appended to by this process with `onWritten`. What was opened can be read on when the
   * upload has been finished or discarded.
   *
   * @returns undefined when it has no bytes, or none any more
   */
  followUpload(upload: string): Promise<GrowingBytes | undefined>;

  /**
   * Makes what an upload has final and durable, without copying it. Until `settle` it can be done again, also by another process
   * that knows an earlier state only.
   *
   * @returns its location, for the database to remember; undefined when the bytes are not there
   */
  finish(upload: UploadProgress): Promise<string | undefined>;

  /** Told that the location of an upload that was finished is remembered: what else there is of it can go. */
  settle?(upload: UploadProgress, location: string): Promise<void>;

  /**
   * Makes the bytes of a file of this machine the final and durable bytes of an upload that has none: as a second name of
   * the file where that can be, by a copy otherwise. The file stays where it is; when they are shared, nobody may write to
   * it from now on, and whoever deletes one of the two names leaves the other.
   *
   * @param mayShare false: copy in any case
   * @returns undefined when there is no such file
   * @throws {Error} when it is something else than a file of bytes
   */
  adopt(upload: string, path: string, mayShare: boolean): Promise<AdoptedFile | undefined>;

  /**
   * Makes the bytes of an upload such that whoever has been appending to it until now, in another process that was given up,
   * can change them no more.
   */
  takeOver?(upload: UploadProgress): Promise<void>;

  /** Deletes whatever an upload left: unfinished bytes, and finished ones whose location nobody remembers. */
  discardUpload(upload: Pick<UploadProgress, 'id' | 'state'>): Promise<void>;

  /** @param range the whole when left out */
  open(location: string, range?: ByteRange): Promise<StoredBytes | undefined>;

  /** Bytes at the location; undefined when there are none. */
  size(location: string): Promise<number | undefined>;

  /**
   * A URL at which whoever has it can read the bytes for a while, without us.
   *
   * @returns undefined when the store has none for this location
   */
  presign?(location: string, expiresSeconds: number): Promise<string | undefined>;

  /** Deletes finished bytes; no error when they are gone already. */
  delete(location: string): Promise<void>;

  /** Every location that holds finished bytes, in no order. For checking the store as a whole, never for a request. */
  list(): AsyncIterable<string>;

  /** As `list`, for the ids of uploads that have unfinished bytes. */
  listUploads(): AsyncIterable<string>;

  /** Deletes what uploads left behind that no session knows of. @returns how many it found */
  removeAbandoned?(options: AbandonedOptions): Promise<number>;

  /** Rejects when the store cannot take or give bytes. */
  check(): Promise<void>;

  /** Closes what is kept open. */
  close(): Promise<void>;
}
