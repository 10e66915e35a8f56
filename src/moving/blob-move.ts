import { createHash, randomBytes } from 'node:crypto';
import { Transform } from 'node:stream';
import type { StoredBytes, UploadProgress } from '../blobstore/blob-store.js';
import { kindOfLocation, type BlobStoreKind, type BlobStores } from '../blobstore/blob-stores.js';
import type { BlobMoves } from '../metadata/blob-moves.js';
import type { BlobRecord } from '../metadata/blob-records.js';
import type { UploadRecords } from '../metadata/upload-records.js';
import { digestAlgorithm, digestOf, digestOfHash, type Digest } from '../oci/digest.js';
import { parseRepositoryName } from '../oci/repository-name.js';
import type { ByteRate } from './blob-move-rate.js';
import { forEachAtMost } from '../slots.js';
import type { WriteRoom } from './write-room.js';

const pageSize = 500;
/** Sessions account for bytes on their way; nobody but those who clean up looks at them. */
const session = { repository: parseRepositoryName('system/blob-move'), principal: 'system:blob-move' };
/** Nobody gives a session up for so long, which is prolonged all the time. */
const turnMs = 10 * 60_000;
const prolongMs = 2 * 60_000;

/** What blobs are moved with. */
export interface BlobMoveOptions {
  readonly to: BlobStoreKind;
  readonly stores: BlobStores;
  readonly moves: BlobMoves;
  readonly uploads: Pick<UploadRecords, 'addUpload' | 'holdUpload' | 'removeUpload'>;
  /** Blobs at a time. */
  readonly parallel: number;
  readonly rate: ByteRate;
  readonly room: WriteRoom;
  /** How long the bytes of before are kept: who was told where they are may still come for them. */
  readonly keepMs: number;
  /** The clock of the database. */
  readonly now: () => Date;
  readonly onProgress?: (progress: BlobMoveProgress) => void;
  readonly onDamage?: (damage: BlobDamage) => void;
}

/** A blob that stays where it is. */
export interface BlobDamage {
  readonly digest: Digest;
  readonly location: string;
  readonly why: string;
}

/** What became of the blobs so far. */
export interface BlobMoveCounts {
  readonly moved: number;
  readonly movedBytes: number;
  readonly damaged: number;
  /** Collected, or moved by somebody else, before it was their turn. */
  readonly gone: number;
}

/** How far the move is. */
export interface BlobMoveProgress extends BlobMoveCounts {
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly totalBlobs: number;
}

/** What became of a blob. */
type Outcome = 'moved' | 'damaged' | 'gone';

/**
 * Moves blobs from one store to the other while they are read: the bytes are copied and hashed on the way, then the record
 * points at the new ones, and those of before go a while later. It can be broken off anywhere, and a next one goes on with what
 * is left.
 */
export class BlobMove {
  readonly #options: BlobMoveOptions;
  readonly #target: BlobStores;
  readonly #outcomes: Record<Outcome, number> = { moved: 0, damaged: 0, gone: 0 };
  #movedBytes = 0;
  #doneBytes = 0;
  #totalBytes = 0;
  #totalBlobs = 0;

  constructor(options: BlobMoveOptions) {
    this.#options = options;
    this.#target = options.stores.writingTo(options.to);
  }

  /** @throws {Error} when the store that the blobs go to does not take them */
  async run(): Promise<BlobMoveCounts> {
    for await (const { size } of this.#blobs()) {
      this.#totalBlobs += 1;
      this.#totalBytes += size;
    }
    await forEachAtMost(this.#options.parallel, this.#blobs(), async ({ digest, size }) => {
      let told = 0;
      const outcome = await this.#move(digest, (bytes) => {
        told += bytes;
        this.#tell(bytes);
      });
      this.#outcomes[outcome] += 1;
      if (outcome === 'moved') this.#movedBytes += size;
      // What was not read, or read in vain, is done with as well.
      this.#tell(size - told);
    });
    return this.#counts();
  }

  /** Blobs whose bytes are in the other store. */
  async *#blobs(): AsyncGenerator<BlobRecord> {
    const { moves, to } = this.#options;
    let after: Digest | undefined;
    for (;;) {
      const page = await moves.listBlobs({ after, limit: pageSize });
      for (const blob of page) if (kindOfLocation(blob.location) !== to) yield blob;
      if (page.length < pageSize) return;
      after = page.at(-1)!.digest;
    }
  }

  async #move(digest: Digest, onBytes: (bytes: number) => void): Promise<Outcome> {
    const { moves, stores, to } = this.#options;
    // The page it was on may be old.
    const blob = await moves.findBlob(digest);
    if (blob === undefined || kindOfLocation(blob.location) === to) return 'gone';
    let bytes;
    try {
      bytes = await stores.open(blob.location);
    } catch (error) {
      return this.#damage(blob, `cannot be read: ${messageOf(error)}`);
    }
    if (bytes === undefined) return this.#damage(blob, 'has no bytes');
    return this.#inSession(digest, (upload) => this.#copy(blob, bytes, upload, onBytes));
  }

  /** @param upload of the session that accounts for the bytes */
  async #copy(
    blob: BlobRecord,
    bytes: StoredBytes,
    upload: string,
    onBytes: (bytes: number) => void,
  ): Promise<Outcome> {
    const { copied, digest, problem } = await this.#append(blob, bytes, upload, onBytes);
    if (problem !== undefined || digest !== blob.digest) {
      await this.#discard(copied);
      return this.#damage(blob, problem ?? `has bytes of digest ${digest}`);
    }
    const location = await this.#target.finish(copied);
    if (location === undefined) throw new Error(`the bytes of ${blob.digest} are gone before they were final`);
    const { keepMs, moves, now, room } = this.#options;
    const deleteFrom = new Date(now().getTime() + keepMs);
    // Should this fail, nobody knows whether it was done: the session, if it is still there, says whether the bytes may go.
    if (await room.write(() => moves.moveBlob(blob, { location, upload, deleteFrom }))) {
      await this.#target.settle(copied, location);
      return 'moved';
    }
    await this.#discard(copied);
    return 'gone';
  }

  /** @returns `problem`: why not all could be read. @throws {Error} when not all could be written */
  async #append(
    { digest, size }: BlobRecord,
    bytes: StoredBytes,
    upload: string,
    onBytes: (bytes: number) => void,
  ): Promise<{ readonly copied: UploadProgress; readonly digest: Digest; readonly problem: string | undefined }> {
    const nothing = { id: upload, size: 0, state: undefined };
    const algorithm = digestAlgorithm(digest);
    const hash = createHash(algorithm);
    const passage = this.#passage(onBytes);
    const reading = bytes.copyTo(passage).then(
      () => passage.end(),
      (error: unknown) => passage.destroy(error instanceof Error ? error : new Error(String(error))),
    );
    try {
      const options = { observer: hash, isLast: true };
      const { appendedBytes, state, interrupted, failure } = await this.#target.append(nothing, passage, options);
      if (failure !== undefined) throw failure;
      const copied = { id: upload, size: appendedBytes, state };
      const short = appendedBytes === size ? undefined : `has ${appendedBytes} bytes instead of ${size}`;
      const problem = interrupted === undefined ? short : `cannot be read: ${interrupted.message}`;
      return { copied, digest: digestOfHash(hash, algorithm), problem };
    } catch (error) {
      passage.destroy();
      // The session stays when this fails, too, and what it accounts for is cleaned up later.
      await this.#discard(nothing).catch(() => undefined);
      throw error;
    } finally {
      await reading;
    }
  }

  /** A stream that is read as fast as may be. What is written to it is copied, since the writer uses its memory again. */
  #passage(onBytes: (bytes: number) => void): Transform {
    const { rate } = this.#options;
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        rate.take(chunk.length).then(() => {
          onBytes(chunk.length);
          done(null, Buffer.from(chunk));
        }, done);
      },
    });
  }

  /** Lets a session account for bytes until a record does: should we be killed, they are collected by it. */
  async #inSession(digest: Digest, work: (upload: string) => Promise<Outcome>): Promise<Outcome> {
    const { now, room, uploads } = this.#options;
    const id = randomBytes(20).toString('hex');
    const holder = randomBytes(16).toString('hex');
    const turn = () => ({ holder, until: new Date(now().getTime() + turnMs) });
    const algorithm = digestAlgorithm(digest);
    const nothing = { size: 0, digestSoFar: digestOf('', algorithm), state: undefined, hashState: undefined };
    await room.write(() => uploads.addUpload({ id, ...session, algorithm, ...nothing }, turn()));
    const prolonging = setInterval(() => {
      // One that fails is followed by others long before the turn is over.
      room.write(() => uploads.holdUpload(id, turn())).catch(() => undefined);
    }, prolongMs);
    try {
      return await work(id);
    } finally {
      clearInterval(prolonging);
    }
  }

  async #discard(upload: UploadProgress): Promise<void> {
    const { room, uploads } = this.#options;
    await this.#target.discardUpload(upload);
    await room.write(() => uploads.removeUpload(upload.id));
  }

  /** Whoever collects it or moves it as well may have been faster, which is no damage. */
  async #damage({ digest, location }: BlobRecord, why: string): Promise<Outcome> {
    const now = await this.#options.moves.findBlob(digest);
    if (now?.location !== location) return 'gone';
    this.#options.onDamage?.({ digest, location, why });
    return 'damaged';
  }

  #tell(bytes: number): void {
    this.#doneBytes += bytes;
    this.#options.onProgress?.({
      ...this.#counts(),
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
      totalBlobs: this.#totalBlobs,
    });
  }

  #counts(): BlobMoveCounts {
    return { ...this.#outcomes, movedBytes: this.#movedBytes };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
