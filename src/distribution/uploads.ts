import { randomBytes } from 'node:crypto';
import { Writable, type Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { AppendResult, BlobStore, ByteRange } from '../blobstore/blob-store.js';
import type { BlobRecords } from '../metadata/blob-records.js';
import type { UploadRecord, UploadRecords, UploadTurn } from '../metadata/upload-records.js';
import { digestAlgorithm, digestOf, type Digest, type DigestAlgorithm } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { resumeHash, startHash, type HashSnapshot, type RunningHash } from './running-hash.js';
import { isHolderGone, newHolder } from './turn-holder.js';

/** Which session, and who asks for it. */
export interface UploadKey {
  readonly repository: RepositoryName;
  readonly id: string;
  /** Name of the caller. */
  readonly principal: string;
}

/** A body on its way into a session. */
export interface UploadBody {
  readonly source: Readable;
  /** `Content-Range`: where in the blob these bytes belong; undefined: at the end. */
  readonly range: ByteRange | undefined;
  /** `Content-Length`; undefined when the body is sent in pieces of unknown number. */
  readonly length: number | undefined;
  /** As `AppendOptions.onWritten`. */
  readonly onWritten?: (bytes: number) => void;
}

/** A body that was received, and what is wrong with it: to be thrown once the progress is recorded. */
interface Received {
  readonly moved: UploadRecord;
  readonly problem: OciError | undefined;
}

/** A request of this process that works on a session. */
interface Turn {
  readonly holder: string;
  /** False once its body has ended, well or not: what is left takes a moment, and no client can speed it up. */
  isReceiving: boolean;
  readonly over: Promise<void>;
}

/** A process of another machine that died gives its turns back after so long. */
const turnMs = 5_000;
const turnRenewalMs = 1_500;
/** Somebody else's turn mostly takes a moment more, for it has received all it will; or its time will be over. */
const turnPatienceMs = 6_000;
/** Who only asks is told what is durable, whether or not there will be more. */
const statusPatienceMs = 1_000;
const turnPollMs = 50;

/** What an UploadService works with. */
export interface UploadServiceOptions {
  readonly store: BlobStore;
  readonly uploads: UploadRecords;
  readonly blobs: BlobRecords;
  /** How long a blob that nothing refers to is kept. */
  readonly graceMs: number;
  /** How long a session may rest before it is given up. */
  readonly expireMs: number;
  /** Whether hashes of chunked uploads are saved: where bytes on their way cannot be read again, for another process to go on. */
  readonly savesHashes?: boolean;
  readonly now?: () => Date;
}

/** Blob push: OCI Distribution Spec end-4, end-5, end-6, end-13 and end-14. */
export class UploadService {
  readonly #store: BlobStore;
  readonly #uploads: UploadRecords;
  readonly #blobs: BlobRecords;
  readonly #graceMs: number;
  readonly #expireMs: number;
  readonly #savesHashes: boolean;
  readonly #now: () => Date;
  /** A session that is not here any more, or was moved on by another process, goes on from its saved hash or is hashed again. */
  readonly #hashes = new LRUCache<string, RunningHash>({ max: 10_000 });
  readonly #turns = new Map<string, Turn>();

  constructor(options: UploadServiceOptions) {
    this.#store = options.store;
    this.#uploads = options.uploads;
    this.#blobs = options.blobs;
    this.#graceMs = options.graceMs;
    this.#expireMs = options.expireMs;
    this.#savesHashes = options.savesHashes ?? false;
    this.#now = options.now ?? (() => new Date());
  }

  /** Begins a session. */
  async start(repository: RepositoryName, principal: string, algorithm: DigestAlgorithm): Promise<UploadRecord> {
    const id = randomBytes(20).toString('hex');
    const nothing = { size: 0, digestSoFar: digestOf('', algorithm), state: undefined, hashState: undefined };
    const upload = { id, repository, principal, algorithm, ...nothing };
    await this.#uploads.addUpload(upload);
    return upload;
  }

  /** @throws {OciError} BLOB_UPLOAD_UNKNOWN when there is no such session of this caller in this repository */
  async status(key: UploadKey): Promise<UploadRecord> {
    // A client whose body broke off asks at once how much there is, and is to be told what will be durable.
    await this.#endOfTurn(key.id);
    const patience = patienceFrom(statusPatienceMs);
    while (isId(key.id) && !this.#turns.has(key.id) && patience()) {
      const holder = await this.#uploads.findHolder(key.id);
      if (holder === undefined || isHolderGone(holder, this.#turns.has(key.id))) break;
      await sleep(turnPollMs);
    }
    return this.#find(key);
  }

  async #find(key: UploadKey): Promise<UploadRecord> {
    return ofCaller(key, isId(key.id) ? await this.#uploads.findUpload(key.id) : undefined);
  }

  /**
   * Appends a chunk or a stream. What was received is durable and counted also when the body breaks off.
   *
   * @throws {OciError} BLOB_UPLOAD_UNKNOWN; BLOB_UPLOAD_INVALID with status 416 when the range does not begin where the
   * session ends; SIZE_INVALID when range, length and body differ
   */
  async append(key: UploadKey, body: UploadBody): Promise<UploadRecord> {
    return this.#exclusively(key, async (upload) => {
      const { moved, problem } = await this.#receive(upload, body, upload.algorithm, false);
      await this.#record(upload, moved);
      if (problem !== undefined) throw problem;
      return moved;
    });
  }

  /**
   * Ends a session: its bytes become a blob of the repository, durable before the promise resolves.
   *
   * @param body the last chunk, when there is one
   * @param into the repository, for bytes that were received before it was known; that of the session when left out
   * @throws {OciError} as `append`; DIGEST_INVALID when the bytes are not what the digest names (the session is then over)
   */
  async finish(key: UploadKey, digest: Digest, body: UploadBody | undefined, into = key.repository): Promise<void> {
    await this.#exclusively(key, async (upload) => {
      let finished = upload;
      if (body !== undefined) {
        // Nothing was hashed yet, so the algorithm can still be the one that will be asked for.
        const algorithm = upload.size === 0 ? digestAlgorithm(digest) : upload.algorithm;
        const { moved, problem } = await this.#receive(upload, body, algorithm, true);
        if (problem !== undefined) {
          await this.#record(upload, moved);
          throw problem;
        }
        finished = moved;
      }
      const { actual, state } = await this.#digest(finished, digestAlgorithm(digest));
      finished = { ...finished, state };
      if (actual !== digest) {
        await this.#discard(upload.id);
        throw new OciError('DIGEST_INVALID', { expected: digest, actual, size: finished.size });
      }
      await this.#commit({ ...finished, repository: into }, digest);
      this.#hashes.delete(upload.id);
    });
  }

  /**
   * Takes a whole blob in one request, in a session that nobody hears of.
   *
   * @throws {OciError} as `finish`
   */
  async receive(repository: RepositoryName, principal: string, digest: Digest, body: UploadBody): Promise<void> {
    const { id } = await this.start(repository, principal, digestAlgorithm(digest));
    const key = { repository, id, principal };
    try {
      await this.finish(key, digest, body);
    } catch (error) {
      await this.#discard(id);
      throw error;
    }
  }

  /** Ends a session and throws its bytes away. @throws {OciError} BLOB_UPLOAD_UNKNOWN */
  async cancel(key: UploadKey): Promise<void> {
    await this.#exclusively(key, (upload) => this.#discard(upload.id));
  }

  /** Gives up sessions that have rested too long, at most a hundred. @returns how many */
  async expire(): Promise<number> {
    const since = new Date(this.#now().getTime() - this.#expireMs);
    const stale = await this.#uploads.listStaleUploads(since, 100);
    let discarded = 0;
    for (const id of stale) if (await this.#discardIdle(id)) discarded += 1;
    return discarded;
  }

  async #discardIdle(id: string): Promise<boolean> {
    if (this.#turns.has(id)) return false;
    return this.#inTurn(id, async (turn) => {
      const held = await this.#uploads.holdUpload(id, turn);
      if (held !== undefined && 'heldBy' in held) return false;
      await this.#discard(id);
      return true;
    });
  }

  /** Two requests that write one session at once would mix their bytes, whatever process they have come to. */
  async #exclusively<T>(key: UploadKey, work: (upload: UploadRecord) => Promise<T>): Promise<T> {
    const { id } = key;
    await this.#find(key);
    await this.#endOfTurn(id);
    if (this.#turns.has(id)) throw busy();
    return this.#inTurn(id, async (turn) => work(await this.#hold(key, turn)));
  }

  async #hold(key: UploadKey, turn: UploadTurn): Promise<UploadRecord> {
    const patience = patienceFrom(turnPatienceMs);
    let gone: string | undefined;
    for (;;) {
      const held = await this.#uploads.holdUpload(key.id, turn, gone);
      if (held === undefined || 'upload' in held) {
        const upload = ofCaller(key, held?.upload);
        if (held?.isTakenOver === true) await this.#store.takeOver?.(upload);
        return upload;
      }
      gone = isHolderGone(held.heldBy, false) ? held.heldBy : undefined;
      if (gone !== undefined) continue;
      if (!patience()) throw busy();
      await sleep(turnPollMs);
    }
  }

  async #inTurn<T>(id: string, work: (turn: UploadTurn) => Promise<T>): Promise<T> {
    const holder = newHolder();
    const until = () => new Date(this.#now().getTime() + turnMs);
    let end: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#turns.set(id, { holder, isReceiving: true, over });
    // Should it fail, somebody else may take the turn, and what was received here does not count.
    const renewal = setInterval(() => {
      void this.#uploads.holdUpload(id, { holder, until: until() }).catch(() => undefined);
    }, turnRenewalMs);
    renewal.unref();
    try {
      return await work({ holder, until: until() });
    } catch (error) {
      // Mostly it was given back with the progress, or with the session.
      await this.#uploads.releaseUpload(id, holder).catch(() => undefined);
      throw error;
    } finally {
      clearInterval(renewal);
      this.#turns.delete(id);
      end();
    }
  }

  /** Waits for a request that has received all it will. One that is receiving may take as long as it likes. */
  async #endOfTurn(id: string): Promise<void> {
    const turn = this.#turns.get(id);
    if (turn?.isReceiving === false) await turn.over;
  }

  async #receive(
    upload: UploadRecord,
    body: UploadBody,
    algorithm: DigestAlgorithm,
    isLast: boolean,
  ): Promise<Received> {
    const expectedBytes = checkRange(upload, body);
    // Who says where a chunk belongs has more of them.
    const isSaved = this.#savesHashes && body.range !== undefined && !isLast;
    const { hash, state } = await this.#hash(upload, algorithm, isSaved);
    // Whatever goes wrong below, the hash may have seen bytes that do not count.
    this.#hashes.delete(upload.id);
    const checkpoints = new Checkpoints(hash);
    let appended;
    try {
      appended = await this.#store.append({ ...upload, state }, body.source, {
        observer: hash,
        isLast,
        onCheckpoint: (bytes) => {
          checkpoints.add(bytes);
        },
        ...(expectedBytes !== undefined && { maxBytes: expectedBytes }),
        ...(body.onWritten !== undefined && { onWritten: body.onWritten }),
      });
    } catch (error) {
      if (error instanceof RangeError) throw new OciError('SIZE_INVALID', `the body has ${error.message}`);
      throw error;
    } finally {
      this.#turns.get(upload.id)!.isReceiving = false;
    }
    const size = upload.size + appended.appendedBytes;
    const snapshot = appended.failure === undefined ? hash.snapshot() : checkpoints.at(appended.appendedBytes);
    this.#hashes.set(upload.id, appended.failure === undefined ? hash : await snapshot.resume());
    const { digest: digestSoFar, state: hashState } = snapshot;
    const moved = { ...upload, algorithm, size, digestSoFar, state: appended.state, hashState };
    return { moved, problem: bodyProblem(appended, expectedBytes) };
  }

  async #record(upload: UploadRecord, moved: UploadRecord): Promise<void> {
    await this.#store.sync(upload.id);
    const { holder } = this.#turns.get(upload.id)!;
    if (await this.#uploads.recordProgress(moved, upload.size, holder)) return;
    this.#hashes.delete(upload.id);
    if ((await this.#uploads.findUpload(upload.id)) === undefined) {
      throw new OciError('BLOB_UPLOAD_UNKNOWN', { session: upload.id });
    }
    const reason = 'another request took this upload over; ask where it stands, and go on from there';
    throw new OciError('BLOB_UPLOAD_INVALID', reason, { status: 503, headers: { 'Retry-After': '1' } });
  }

  /** The hash of what an upload has, and the state it has after that. */
  async #hash(
    upload: UploadRecord,
    algorithm: DigestAlgorithm,
    isSaved: boolean,
  ): Promise<{ readonly hash: RunningHash; readonly state: string | undefined }> {
    const { id, size, state, hashState } = upload;
    const running = this.#hashes.get(id);
    if (size === 0) return { hash: await startHash(algorithm, isSaved), state };
    // It may have seen bytes that were not counted in the end, and others were.
    if (running?.algorithm === algorithm && running.snapshot().digest === upload.digestSoFar) {
      return { hash: running, state };
    }
    if (hashState !== undefined && upload.algorithm === algorithm) {
      return { hash: await resumeHash(algorithm, hashState), state };
    }
    const hash = await startHash(algorithm, isSaved);
    try {
      const opened = await this.#store.openUpload(upload);
      if (opened === undefined) throw new Error('the upload has no bytes');
      const sink = new Writable({
        highWaterMark: 1024 * 1024,
        write: (bytes: Buffer, _encoding, done) => {
          hash.update(bytes);
          done();
        },
      });
      await opened.bytes.copyTo(sink);
      return { hash, state: opened.state };
    } catch (error) {
      throw bytesLost(error);
    }
  }

  /** The row has the digest of the session's own algorithm; another one takes a second reading. */
  async #digest(
    upload: UploadRecord,
    algorithm: DigestAlgorithm,
  ): Promise<{ readonly actual: Digest; readonly state: string | undefined }> {
    if (upload.algorithm === algorithm) return { actual: upload.digestSoFar, state: upload.state };
    const { hash, state } = await this.#hash(upload, algorithm, false);
    return { actual: hash.snapshot().digest, state };
  }

  async #commit(upload: UploadRecord, digest: Digest): Promise<void> {
    const collectAt = new Date(this.#now().getTime() + this.#graceMs);
    const known = await this.#blobs.linkBlob(upload.repository, digest, collectAt);
    if (known !== undefined && (await this.#store.size(known.location)) === known.size) {
      await this.#discard(upload.id);
      return;
    }
    const location = await this.#store.finish(upload);
    if (location === undefined) throw bytesLost();
    if (known !== undefined) {
      // The row was there and its bytes were not: these heal it.
      await this.#blobs.relocateBlob(digest, location, upload.id);
      await this.#store.settle?.(upload, location);
      return;
    }
    const blob = { digest, size: upload.size, location };
    const kept = await this.#blobs.addBlob(upload.repository, blob, upload.id, collectAt);
    if (kept.location === location) await this.#store.settle?.(upload, location);
    else await this.#discard(upload.id);
  }

  /**
   * From the first step on nobody is told of bytes that are about to go. The row goes last: while it is there, somebody
   * will look for the bytes again.
   */
  async #discard(id: string): Promise<void> {
    this.#hashes.delete(id);
    const upload = await this.#uploads.endUpload(id);
    await this.#store.discardUpload({ id, state: upload?.state });
    await this.#uploads.removeUpload(id);
  }
}

/** What a hash had seen wherever an append may turn out to end. */
class Checkpoints {
  readonly #hash: RunningHash;
  readonly #snapshots = new Map<number, HashSnapshot>();

  constructor(hash: RunningHash) {
    this.#hash = hash;
    this.add(0);
  }

  /** A store has few parts on their way at once. */
  add(bytes: number): void {
    this.#snapshots.set(bytes, this.#hash.snapshot());
    if (this.#snapshots.size > keptCheckpoints) this.#snapshots.delete(this.#snapshots.keys().next().value!);
  }

  at(bytes: number): HashSnapshot {
    const snapshot = this.#snapshots.get(bytes);
    if (snapshot === undefined) throw new Error(`nothing is known of the hash after ${bytes} bytes`);
    return snapshot;
  }
}

const keptCheckpoints = 16;

function isId(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** Somebody else's session is not told from one that does not exist. @throws {OciError} BLOB_UPLOAD_UNKNOWN */
function ofCaller({ repository, id, principal }: UploadKey, upload: UploadRecord | undefined): UploadRecord {
  if (upload?.repository !== repository || upload.principal !== principal) {
    throw new OciError('BLOB_UPLOAD_UNKNOWN', { session: id.slice(0, 100) });
  }
  return upload;
}

function busy(): OciError {
  return new OciError('BLOB_UPLOAD_INVALID', 'another request is writing to this upload', { status: 409 });
}

/** @returns whether there is still time to wait */
function patienceFrom(ms: number): () => boolean {
  const end = performance.now() + ms;
  return () => performance.now() < end;
}

/** The session's row knows of bytes that are not there any more. */
function bytesLost(cause?: unknown): OciError {
  return new OciError('BLOB_UPLOAD_UNKNOWN', 'bytes of this upload were lost; begin a new one', { cause });
}

/** @returns how many bytes the body must have, where that is known */
function checkRange(upload: UploadRecord, { range, length }: UploadBody): number | undefined {
  if (range === undefined) return length;
  const expected = range.end - range.start + 1;
  if (range.start !== upload.size) {
    throw new OciError(
      'BLOB_UPLOAD_INVALID',
      { reason: 'chunk out of order', expectedStart: upload.size },
      { status: 416 },
    );
  }
  if (length !== undefined && length !== expected) {
    throw new OciError('SIZE_INVALID', { contentLength: length, contentRange: `${range.start}-${range.end}` });
  }
  return expected;
}

function bodyProblem(
  { appendedBytes, interrupted, failure }: AppendResult,
  expectedBytes: number | undefined,
): OciError | undefined {
  if (failure !== undefined) {
    const reason = 'the storage did not take all bytes; go on from where this upload stands';
    return new OciError('BLOB_UPLOAD_INVALID', reason, {
      status: 503,
      headers: { 'Retry-After': '5' },
      cause: failure,
    });
  }
  if (interrupted !== undefined) {
    return new OciError('BLOB_UPLOAD_INVALID', 'the body broke off before its end', { cause: interrupted });
  }
  if (expectedBytes === undefined || appendedBytes === expectedBytes) return undefined;
  return new OciError('SIZE_INVALID', { expectedBytes, receivedBytes: appendedBytes });
}
