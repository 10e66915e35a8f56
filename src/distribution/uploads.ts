import { createHash, randomBytes, type Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { LRUCache } from 'lru-cache';
import type { BlobStore, ByteRange } from '../blobstore/blob-store.js';
import type { BlobRecords } from '../metadata/blob-records.js';
import type { UploadRecord, UploadRecords } from '../metadata/upload-records.js';
import { digestAlgorithm, digestOf, digestOfHash, type Digest, type DigestAlgorithm } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';

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

/** Bytes hashed so far, kept with the session while it is worked on by this process. */
interface RunningHash {
  readonly hash: Hash;
  readonly algorithm: DigestAlgorithm;
  readonly size: number;
}

/** A request that works on a session. */
interface Turn {
  /** False once its body has ended, well or not: what is left takes a moment, and no client can speed it up. */
  isReceiving: boolean;
  readonly over: Promise<void>;
}

/** What an UploadService works with. */
export interface UploadServiceOptions {
  readonly store: BlobStore;
  readonly uploads: UploadRecords;
  readonly blobs: BlobRecords;
  /** How long a blob that nothing refers to is kept. */
  readonly graceMs: number;
  /** How long a session may rest before it is given up. */
  readonly expireMs: number;
  readonly now?: () => Date;
}

/** Blob push: OCI Distribution Spec end-4, end-5, end-6, end-13 and end-14. */
export class UploadService {
  readonly #store: BlobStore;
  readonly #uploads: UploadRecords;
  readonly #blobs: BlobRecords;
  readonly #graceMs: number;
  readonly #expireMs: number;
  readonly #now: () => Date;
  /** A session that is not here any more, or was moved on by another process, is hashed again from its bytes. */
  readonly #hashes = new LRUCache<string, RunningHash>({ max: 10_000 });
  readonly #turns = new Map<string, Turn>();

  constructor(options: UploadServiceOptions) {
    this.#store = options.store;
    this.#uploads = options.uploads;
    this.#blobs = options.blobs;
    this.#graceMs = options.graceMs;
    this.#expireMs = options.expireMs;
    this.#now = options.now ?? (() => new Date());
  }

  /** Begins a session. */
  async start(repository: RepositoryName, principal: string, algorithm: DigestAlgorithm): Promise<UploadRecord> {
    const id = randomBytes(20).toString('hex');
    const upload = { id, repository, principal, algorithm, size: 0, digestSoFar: digestOf('', algorithm) };
    await this.#uploads.addUpload(upload);
    return upload;
  }

  /** @throws {OciError} BLOB_UPLOAD_UNKNOWN when there is no such session of this caller in this repository */
  async status(key: UploadKey): Promise<UploadRecord> {
    // A client whose body broke off asks at once how much there is, and is to be told what will be durable.
    await this.#endOfTurn(key.id);
    return this.#find(key);
  }

  async #find({ repository, id, principal }: UploadKey): Promise<UploadRecord> {
    const upload = /^[0-9a-f]{40}$/.test(id) ? await this.#uploads.findUpload(id) : undefined;
    // Somebody else's session is not told from one that does not exist.
    if (upload?.repository !== repository || upload.principal !== principal) {
      throw new OciError('BLOB_UPLOAD_UNKNOWN', { session: id.slice(0, 100) });
    }
    return upload;
  }

  /**
   * Appends a chunk or a stream. What was received is durable and counted also when the body breaks off.
   *
   * @throws {OciError} BLOB_UPLOAD_UNKNOWN; BLOB_UPLOAD_INVALID with status 416 when the range does not begin where the
   * session ends; SIZE_INVALID when range, length and body differ
   */
  async append(key: UploadKey, body: UploadBody): Promise<UploadRecord> {
    return this.#exclusively(key, async (upload) => {
      const { moved, problem } = await this.#receive(upload, body, upload.algorithm);
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
        const { moved, problem } = await this.#receive(upload, body, algorithm);
        if (problem !== undefined) {
          await this.#record(upload, moved);
          throw problem;
        }
        finished = moved;
      }
      const actual = await this.#digest(finished, digestAlgorithm(digest));
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
    await this.#inTurn(id, () => this.#discard(id));
    return true;
  }

  /** Two requests that write one session at once would mix their bytes. */
  async #exclusively<T>(key: UploadKey, work: (upload: UploadRecord) => Promise<T>): Promise<T> {
    const { id } = key;
    await this.#find(key);
    await this.#endOfTurn(id);
    if (this.#turns.has(id)) {
      throw new OciError('BLOB_UPLOAD_INVALID', 'another request is writing to this upload', { status: 409 });
    }
    return this.#inTurn(id, async () => work(await this.#find(key)));
  }

  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    let end: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#turns.set(id, { isReceiving: true, over });
    try {
      return await work();
    } finally {
      this.#turns.delete(id);
      end();
    }
  }

  /** Waits for a request that has received all it will. One that is receiving may take as long as it likes. */
  async #endOfTurn(id: string): Promise<void> {
    const turn = this.#turns.get(id);
    if (turn?.isReceiving === false) await turn.over;
  }

  /** Appends a body; `problem` is what the client did wrong, to be thrown once the progress is recorded. */
  async #receive(
    upload: UploadRecord,
    body: UploadBody,
    algorithm: DigestAlgorithm,
  ): Promise<{ readonly moved: UploadRecord; readonly problem: OciError | undefined }> {
    const expectedBytes = checkRange(upload, body);
    const hash = await this.#hash(upload, algorithm);
    // Whatever goes wrong below, the hash may have seen bytes that do not count.
    this.#hashes.delete(upload.id);
    let appended;
    try {
      appended = await this.#store.append(upload.id, body.source, {
        offset: upload.size,
        observer: hash,
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
    this.#hashes.set(upload.id, { hash, algorithm, size });
    const moved = { ...upload, algorithm, size, digestSoFar: digestOfHash(hash, algorithm) };
    return { moved, problem: bodyProblem(appended, expectedBytes) };
  }

  async #record(upload: UploadRecord, moved: UploadRecord): Promise<void> {
    await this.#store.sync(upload.id);
    if (await this.#uploads.recordProgress(moved, upload.size)) return;
    throw new OciError('BLOB_UPLOAD_UNKNOWN', { session: upload.id });
  }

  async #hash(upload: UploadRecord, algorithm: DigestAlgorithm): Promise<Hash> {
    const running = this.#hashes.get(upload.id);
    if (running?.size === upload.size && running.algorithm === algorithm) return running.hash;
    const hash = createHash(algorithm);
    if (upload.size === 0) return hash;
    const bytes = await this.#store.openUpload(upload.id, upload.size);
    try {
      if (bytes === undefined) throw new Error('the upload has no bytes');
      await bytes.copyTo(hash);
    } catch (error) {
      throw bytesLost(error);
    }
    return hash;
  }

  /** The row has the digest of the session's own algorithm; another one takes a second reading. */
  async #digest(upload: UploadRecord, algorithm: DigestAlgorithm): Promise<Digest> {
    if (upload.algorithm === algorithm) return upload.digestSoFar;
    return digestOfHash(await this.#hash(upload, algorithm), algorithm);
  }

  async #commit(upload: UploadRecord, digest: Digest): Promise<void> {
    const collectAt = new Date(this.#now().getTime() + this.#graceMs);
    const known = await this.#blobs.linkBlob(upload.repository, digest, collectAt);
    if (known !== undefined && (await this.#store.size(known.location)) === known.size) {
      await this.#discard(upload.id);
      return;
    }
    const location = await this.#store.finish(upload.id, upload.size);
    if (location === undefined) throw bytesLost();
    if (known !== undefined) {
      // The row was there and its bytes were not: these heal it.
      await this.#blobs.relocateBlob(digest, location, upload.id);
      return;
    }
    const blob = { digest, size: upload.size, location };
    const kept = await this.#blobs.addBlob(upload.repository, blob, upload.id, collectAt);
    if (kept.location !== location) await this.#discard(upload.id);
  }

  /**
   * From the first step on nobody is told of bytes that are about to go. The row goes last: while it is there, somebody
   * will look for the bytes again.
   */
  async #discard(id: string): Promise<void> {
    this.#hashes.delete(id);
    await this.#uploads.endUpload(id);
    await this.#store.discardUpload(id);
    await this.#uploads.removeUpload(id);
  }
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
  { appendedBytes, interrupted }: { readonly appendedBytes: number; readonly interrupted: Error | undefined },
  expectedBytes: number | undefined,
): OciError | undefined {
  if (interrupted !== undefined) {
    return new OciError('BLOB_UPLOAD_INVALID', 'the body broke off before its end', { cause: interrupted });
  }
  if (expectedBytes === undefined || appendedBytes === expectedBytes) return undefined;
  return new OciError('SIZE_INVALID', { expectedBytes, receivedBytes: appendedBytes });
}
