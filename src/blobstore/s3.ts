import { createReadStream } from 'node:fs';
import { lstat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type {
  AbandonedOptions,
  AdoptedFile,
  AppendOptions,
  AppendResult,
  BlobStore,
  ByteRange,
  GrowingBytes,
  StoredBytes,
  UploadProgress,
} from './blob-store.js';
import { receive } from './file-sink.js';
import { PartBuffers, payloadOf } from './part-buffers.js';
import { endsShort, finalKey, piecesGone, reopened } from './s3-assembly.js';
import { S3Bucket } from './s3-bucket.js';
import { S3Object, S3Pieces } from './s3-bytes.js';
import { connectS3, type S3Options } from './s3-client.js';
import { assemble, type AssemblyParts } from './s3-finish.js';
import { PartSink } from './s3-part-sink.js';
import { PartUploads } from './s3-parts.js';
import { isAbsent, patientRetries } from './s3-retries.js';
import { ScratchFolder, type Mirror } from './s3-scratch.js';
import { cutState, keys, keysOf, noBytes, parseState, sizeOf, writeState, type UploadState } from './s3-state.js';
import { undefinedWhenAbsent } from './stored-file.js';

const usualBufferBytes = 128 * 1024 * 1024;
/** A check is to tell soon. */
const checkTimeoutMs = 5_000;

/**
 * Bytes in a bucket. What an upload receives becomes parts of one multipart upload under the key that the bytes will have, so
 * that nothing is copied when it is finished; what is too short for a part is an object of its own until more comes. Where all
 * of this is, the caller remembers: no upload is bound to a process. See `keys` for how objects are named.
 */
export class S3BlobStore implements BlobStore {
  readonly #bucket: S3Bucket;
  /** That does not try again. */
  readonly #probe: S3Bucket;
  readonly #buffers: PartBuffers;
  readonly #scratch: ScratchFolder;
  /** What nobody waits for. */
  readonly #cleaning = new Set<Promise<void>>();

  private constructor(
    parts: { readonly bucket: S3Bucket; readonly probe: S3Bucket; readonly buffers: PartBuffers },
    scratch: ScratchFolder,
  ) {
    this.#bucket = parts.bucket;
    this.#probe = parts.probe;
    this.#buffers = parts.buffers;
    this.#scratch = scratch;
  }

  /** Asks the store nothing yet: `check` does. @throws {Error} when the file of authorities cannot be read */
  static async open(options: S3Options): Promise<S3BlobStore> {
    const client = await connectS3(options);
    const once = { ...(options.retries ?? patientRetries), attempts: 1 };
    const parts = {
      bucket: new S3Bucket(client, options),
      probe: new S3Bucket(client, { ...options, retries: once }),
      buffers: new PartBuffers(options.bufferBytes ?? usualBufferBytes),
    };
    return new S3BlobStore(parts, await ScratchFolder.open(options.scratchDir));
  }

  async append(upload: UploadProgress, source: Readable, options: AppendOptions): Promise<AppendResult> {
    const { id, size } = upload;
    const remembered = parseState(upload.state);
    const state = await this.#stateToAppendTo(upload, remembered);
    const lease = this.#buffers.lease(0);
    const uploads = new PartUploads(this.#bucket, id, state, lease);
    const mirror = await this.#mirror(upload, options);
    const sink = new PartSink(
      { bucket: this.#bucket, upload: id, state, lease, uploads, mirror: mirror?.sink },
      options,
    );
    try {
      const interrupted = await receive(source, sink);
      const result = await sink.end(interrupted);
      if (result.failure === undefined || !(await this.#isGone(remembered, result))) return result;
      // The upload was finished before, and nobody remembered: then its bytes are there, in another form.
      const found = await reopened(this.#bucket, id, remembered, size);
      if (found === undefined) throw result.failure;
      return { ...result, appendedBytes: 0, state: writeState(found) };
    } finally {
      await mirror?.close();
    }
  }

  /** What was appended is stored: there is nothing to wait for. */
  sync(): Promise<void> {
    return Promise.resolve();
  }

  async openUpload(
    upload: UploadProgress,
  ): Promise<{ readonly bytes: StoredBytes; readonly state: string | undefined } | undefined> {
    const { id, size, state: text } = upload;
    if (text === undefined && size > 0) return undefined;
    const remembered = parseState(text);
    if (sizeOf(remembered) < size) throw new Error('the upload is shorter than it should be');
    if (size === 0) return { bytes: (await S3Pieces.open(this.#bucket, []))!, state: text };
    const hasParts = (remembered.multipart?.parts.length ?? 0) > 0;
    for (const read of [
      () => (hasParts ? this.#completeEarly(id, remembered, size) : cutState(remembered, size)),
      () => reopened(this.#bucket, id, remembered, size),
    ]) {
      const state = await read();
      const bytes = state && (await S3Pieces.open(this.#bucket, state.pieces));
      if (bytes !== undefined) return { bytes, state: writeState(state!) };
    }
    return undefined;
  }

  followUpload(upload: string): Promise<GrowingBytes | undefined> {
    return this.#scratch.follow(upload);
  }

  async finish(upload: UploadProgress): Promise<string | undefined> {
    const { id, size } = upload;
    const remembered = parseState(upload.state);
    if (sizeOf(remembered) < size) return undefined;
    const parts: AssemblyParts = { bucket: this.#bucket, buffers: this.#buffers, upload: id };
    let state = cutState(remembered, size) ?? (await this.#completeEarly(id, remembered, size));
    let key: string;
    try {
      if (state === undefined) return undefined;
      key = await assemble(parts, state);
    } catch (error) {
      if (!isAbsent(error)) throw error;
      // It was finished before, and nobody remembered.
      state = await reopened(this.#bucket, id, remembered, size);
      if (state === undefined) return undefined;
      key = await assemble(parts, state);
    }
    await this.#scratch.remove(id);
    return keys.locationOf(key);
  }

  settle({ state }: UploadProgress, location: string): Promise<void> {
    const remembered = parseState(state);
    const key = keys.blobAt(location);
    this.#deleteSoon(keysOf(remembered).filter((other) => other !== key));
    this.#abortUnused(remembered, key);
    return Promise.resolve();
  }

  async adopt(upload: string, path: string): Promise<AdoptedFile | undefined> {
    const found = await undefinedWhenAbsent(lstat(path));
    if (found === undefined) return undefined;
    if (!found.isFile()) throw new Error(`${path} is no file`);
    const observer = { update: () => undefined };
    const nothing = { id: upload, size: 0, state: undefined };
    const appended = await this.append(nothing, createReadStream(path), { observer, isLast: true });
    const failure = appended.failure ?? appended.interrupted;
    const { appendedBytes: size, state } = appended;
    const location = failure === undefined ? await this.finish({ id: upload, size, state }) : undefined;
    if (location !== undefined) {
      await this.settle({ id: upload, size, state }, location);
      return { location, size, isShared: false };
    }
    await this.discardUpload({ id: upload, state });
    throw new Error(`${path} could not be stored`, { cause: failure });
  }

  async discardUpload({ id, state }: Pick<UploadProgress, 'id' | 'state'>): Promise<void> {
    await this.#scratch.remove(id);
    await this.#cleaned();
    const { multipart } = parseState(state);
    if (multipart !== undefined) await this.#bucket.abortMultipart(multipart);
    // What is not remembered as well: an append may have ended before anybody could.
    await this.#removeAllBut(noBytes, id);
  }

  /** What is not remembered will never count. Whoever comes late with more of it puts parts and objects that nobody names. */
  async takeOver({ id, state }: UploadProgress): Promise<void> {
    const remembered = parseState(state);
    // Should it have been finished, its bytes may be at that key only.
    await this.#removeAllBut(remembered, id, finalKey(id, remembered));
  }

  async #removeAllBut(state: UploadState, upload: string, final?: string): Promise<void> {
    const kept = new Set([...keysOf(state), state.multipart?.key, final]);
    for await (const begun of this.#bucket.listMultiparts(keys.blobsOf(upload))) {
      if (begun.id !== state.multipart?.id) await this.#bucket.abortMultipart(begun);
    }
    const left: string[] = [];
    for (const prefix of [keys.blobsOf(upload), keys.piecesOf(upload)]) {
      for await (const { key } of this.#bucket.listObjects(prefix)) if (!kept.has(key)) left.push(key);
    }
    await this.#bucket.deleteObjects(left);
  }

  open(location: string, range?: ByteRange): Promise<StoredBytes | undefined> {
    return S3Object.open(this.#bucket, keys.blobAt(location), range);
  }

  size(location: string): Promise<number | undefined> {
    return this.#bucket.sizeOfObject(keys.blobAt(location));
  }

  presign(location: string, expiresSeconds: number): Promise<string> {
    return this.#bucket.presignGet(keys.blobAt(location), expiresSeconds);
  }

  delete(location: string): Promise<void> {
    return this.#bucket.deleteObjects([keys.blobAt(location)]);
  }

  /** Among them is what small uploads have received that are not finished: it is stored where it will stay. */
  async *list(): AsyncIterable<string> {
    for await (const { key } of this.#bucket.listObjects(keys.blobAt(''))) yield keys.locationOf(key);
  }

  /** Without those whose bytes are listed as finished ones already. */
  async *listUploads(): AsyncIterable<string> {
    await this.#cleaned();
    const listed = new Set<string>();
    for (const found of [this.#bucket.listMultiparts(''), this.#bucket.listObjects(keys.pieces)]) {
      for await (const { key } of found) {
        const upload = keys.uploadOf(key);
        if (upload === undefined || listed.has(upload)) continue;
        listed.add(upload);
        yield upload;
      }
    }
  }

  async removeAbandoned({ before, isKnown, isLeftover, signal }: AbandonedOptions): Promise<number> {
    let removed = 0;
    const isAbandoned = async (key: string, begunAt: Date) => {
      signal.throwIfAborted();
      const upload = keys.uploadOf(key);
      return upload !== undefined && begunAt < before && !(await isKnown(upload));
    };
    for await (const begun of this.#bucket.listMultiparts('')) {
      if (!(await isAbandoned(begun.key, begun.begunAt))) continue;
      await this.#bucket.abortMultipart(begun);
      removed += 1;
    }
    for await (const { key, modifiedAt } of this.#bucket.listObjects(keys.pieces)) {
      if (!(await isAbandoned(key, modifiedAt))) continue;
      await this.#bucket.deleteObjects([key]);
      removed += 1;
    }
    for await (const { key, modifiedAt } of this.#bucket.listObjects(keys.blobAt(''))) {
      signal.throwIfAborted();
      if (modifiedAt >= before || !(await isLeftover(keys.locationOf(key)))) continue;
      await this.#bucket.deleteObjects([key]);
      removed += 1;
    }
    return removed;
  }

  async check(): Promise<void> {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    await this.#probe.putObject('check', payloadOf(), signal);
    const answer = await this.#probe.getObject('check');
    if (answer === undefined) throw new Error('the store does not have what it took');
    answer.body.resume();
  }

  /** Ends what is under way, and closes connections. */
  async close(): Promise<void> {
    await this.#cleaned();
    this.#bucket.close();
  }

  /** @throws {Error} when there are fewer bytes than there should be */
  async #stateToAppendTo({ id, size }: UploadProgress, remembered: UploadState): Promise<UploadState> {
    const cut = cutState(remembered, size);
    // Parts that end with a short one, or that do not all count, take no more: they become an object, and that a piece.
    const state =
      cut !== undefined && !endsShort(cut)
        ? cut
        : sizeOf(remembered) < size
          ? undefined
          : await this.#completeEarly(id, remembered, size);
    if (state === undefined) throw piecesGone();
    // Whoever remembers the state that we were given does not need them any more.
    this.#deleteSoon(state.leftovers);
    if (size === 0 && state.multipart === undefined) this.#abortUnused(remembered);
    return { ...state, leftovers: [] };
  }

  /**
   * Whether an append failed because there is nothing to append to. A store that refuses a part may close the connection while
   * the part is being sent, and then its answer is lost.
   */
  async #isGone({ multipart }: UploadState, { failure, appendedBytes }: AppendResult): Promise<boolean> {
    if (isAbsent(failure)) return true;
    if (multipart === undefined || appendedBytes > 0) return false;
    return this.#probe.hasMultipart(multipart).then(
      (isThere) => !isThere,
      () => false,
    );
  }

  /** Completes parts to which more would have come. @returns the state in which their object is a piece */
  async #completeEarly(upload: string, state: UploadState, size: number): Promise<UploadState | undefined> {
    try {
      await this.#bucket.completeMultipart(state.multipart!);
    } catch (error) {
      // It was done before, and nobody remembered.
      if (!isAbsent(error)) throw error;
    }
    return reopened(this.#bucket, upload, state, size);
  }

  async #mirror({ id, size }: UploadProgress, { onWritten }: AppendOptions): Promise<Mirror | undefined> {
    return onWritten && this.#scratch.mirror(id, size, onWritten);
  }

  #deleteSoon(left: readonly string[]): void {
    if (left.length > 0) this.#cleanSoon(this.#bucket.deleteObjects([...new Set(left)]));
  }

  /** A multipart upload that was begun, and of which nothing came. */
  #abortUnused({ multipart }: UploadState, key?: string): void {
    if (multipart !== undefined && multipart.key !== key) this.#cleanSoon(this.#bucket.abortMultipart(multipart));
  }

  /** What could not be removed is found by `removeAbandoned`. */
  #cleanSoon(work: Promise<void>): void {
    const cleaning = work
      .catch(() => undefined)
      .finally(() => {
        this.#cleaning.delete(cleaning);
      });
    this.#cleaning.add(cleaning);
  }

  async #cleaned(): Promise<void> {
    await Promise.all(this.#cleaning);
  }
}
