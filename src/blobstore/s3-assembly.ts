import { Writable } from 'node:stream';
import type { PagedBytes } from './part-buffers.js';
import type { S3Bucket } from './s3-bucket.js';
import { S3Object } from './s3-bytes.js';
import {
  cutState,
  keys,
  keysOf,
  smallestPart,
  sumOf,
  type Multipart,
  type Piece,
  type StoredPart,
  type UploadState,
} from './s3-state.js';

/** Bytes that the store copies in one request. It takes 5 GiB, and a while for it. */
const copiedAtOnce = 512 * 1024 * 1024;

/** Smaller pieces are read: they are not worth what it takes to copy them, and fit into memory. */
const smallestCopied = 2 * smallestPart;

/** What becomes of the pieces of an upload when it goes on: a large first one is copied by the store, the rest is read. */
export interface PiecesToTakeUp {
  readonly copied: Piece | undefined;
  /** Together smaller than a part, or than a part and one that is too small to be copied. */
  readonly read: readonly Piece[];
}

/** @param pieces of a state */
export function piecesToTakeUp(pieces: readonly Piece[]): PiecesToTakeUp {
  const [first, ...others] = pieces;
  return first !== undefined && first.size >= smallestCopied
    ? { copied: first, read: others }
    : { copied: undefined, read: pieces };
}

/** Numbers that `copyPiece` needs. */
export function copiesOf(piece: Piece | undefined): number {
  return Math.ceil((piece?.size ?? 0) / copiedAtOnce);
}

/** Makes a piece one part or several equal ones of a multipart upload, without reading it. */
export async function copyPiece(
  bucket: S3Bucket,
  multipart: Multipart,
  firstNumber: number,
  piece: Piece,
): Promise<StoredPart[]> {
  const copies = copiesOf(piece);
  const parts: StoredPart[] = [];
  for (let index = 0; index < copies; index += 1) {
    const start = Math.floor((piece.size * index) / copies);
    const end = Math.floor((piece.size * (index + 1)) / copies) - 1;
    parts.push(await bucket.copyPart(multipart, firstNumber + index, piece.key, { start, end }));
  }
  return parts;
}

/** Reads pieces into pages that were added before. @throws {Error} when one is gone */
export async function readPieces(bucket: S3Bucket, pieces: readonly Piece[], into: PagedBytes): Promise<void> {
  for (const piece of pieces) {
    const object = await S3Object.open(bucket, piece.key, { start: 0, end: piece.size - 1 });
    if (object === undefined) throw piecesGone();
    await object.copyTo(writableOf(into));
  }
}

/** Told from a failure of the store: no patience brings them back. */
export function piecesGone(): Error {
  return Object.assign(new Error('a piece of the upload is gone'), { name: 'NoSuchKey' });
}

function writableOf(bytes: PagedBytes): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      for (let rest = chunk; rest.length > 0;) {
        const added = bytes.add(rest);
        if (added === 0) {
          callback(new Error('there are more bytes than there should be'));
          return;
        }
        rest = rest.subarray(added);
      }
      callback();
    },
  });
}

/**
 * The key at which the bytes of a state are once it is finished. It is the same each time, so that they are found when
 * nobody remembers that it was.
 */
export function finalKey(upload: string, { multipart, pieces }: UploadState): string {
  if (multipart !== undefined && multipart.parts.length > 0) return multipart.key;
  const last = pieces.at(-1);
  if (last === undefined) return keys.blob(upload, '0');
  if (isFinal(pieces)) return last.key;
  // The bytes that do not count may be other ones the next time.
  return keys.blob(upload, keys.nonceOf(last.key) + (last.isCut ? last.size.toString(16) : ''));
}

/** Whether these pieces are a blob such as they are. */
export function isFinal(pieces: readonly Piece[]): boolean {
  const [only, ...others] = pieces;
  return only !== undefined && others.length === 0 && !only.isCut && keys.isBlob(only.key);
}

/**
 * What an upload has when its state says what was before it was finished, or before its parts were made an object to be read.
 *
 * @returns a state without parts; undefined when the bytes are not there
 */
export async function reopened(
  bucket: S3Bucket,
  upload: string,
  state: UploadState,
  size: number,
): Promise<UploadState | undefined> {
  const key = finalKey(upload, state);
  const found = await bucket.sizeOfObject(key);
  if (found === undefined) return undefined;
  if (found >= size) {
    const leftovers = keysOf(state).filter((other) => other !== key);
    return { multipart: undefined, pieces: [{ key, size, isCut: found > size }], leftovers };
  }
  if (state.multipart === undefined || found !== sumOf(state.multipart.parts)) return undefined;
  return cutState(
    { ...state, multipart: undefined, pieces: [{ key, size: found, isCut: false }, ...state.pieces] },
    size,
  );
}

/** Whether the parts of a state end with one that only a last part may be. */
export function endsShort({ multipart }: UploadState): boolean {
  const last = multipart?.parts.at(-1);
  return last !== undefined && last.size < smallestPart;
}
