import { pagesFor, pageSize, payloadOf, type PagedBytes, type PartBuffers } from './part-buffers.js';
import { copiesOf, copyPiece, finalKey, isFinal, piecesToTakeUp, readPieces } from './s3-assembly.js';
import type { S3Bucket } from './s3-bucket.js';
import { sumOf, type Multipart, type Piece, type StoredPart, type UploadState } from './s3-state.js';

/** What it takes to make an object of an upload. */
export interface AssemblyParts {
  readonly bucket: S3Bucket;
  readonly buffers: PartBuffers;
  readonly upload: string;
}

/**
 * Makes all that an upload has one object: mostly the store does it from the parts that it has, and at most the bytes of one
 * part are sent again.
 *
 * @returns its key; what is written is the same when it is done again
 * @throws {Error} `isAbsent` when parts or pieces are not there, as after it was done before
 */
export async function assemble(parts: AssemblyParts, state: UploadState): Promise<string> {
  const { bucket, upload } = parts;
  const { multipart, pieces } = state;
  const key = finalKey(upload, state);
  const hasParts = multipart !== undefined && multipart.parts.length > 0;
  if (!hasParts && isFinal(pieces)) return key;
  const { copied, read } = piecesToTakeUp(pieces);
  if (!hasParts && copied === undefined) {
    await withBytes(parts, read, (bytes) => bucket.putObject(key, payloadOf(bytes)));
    return key;
  }
  const begun = hasParts ? multipart : await bucket.createMultipart(key, { hasCrc: copied === undefined });
  const last = await lastParts(parts, begun, pieces);
  await bucket.completeMultipart({ ...begun, parts: [...begun.parts, ...last] });
  return key;
}

/** Makes pieces the last parts of a multipart upload: by a copy in the store where that is one request. */
async function lastParts(parts: AssemblyParts, begun: Multipart, pieces: readonly Piece[]): Promise<StoredPart[]> {
  const { bucket } = parts;
  const [only, ...others] = pieces;
  if (only !== undefined && others.length === 0) return copyPiece(bucket, begun, begun.next, only);
  const { copied, read } = piecesToTakeUp(pieces);
  const stored = copied === undefined ? [] : await copyPiece(bucket, begun, begun.next, copied);
  if (read.length === 0) return stored;
  const number = begun.next + copiesOf(copied);
  const last = await withBytes(parts, read, (bytes) => bucket.putPart(begun, number, payloadOf(bytes)));
  return [...stored, last];
}

/** Reads pieces, which are together smaller than a part, for as long as it takes to send them. */
async function withBytes<T>(
  { bucket, buffers }: AssemblyParts,
  pieces: readonly Piece[],
  send: (bytes: PagedBytes) => Promise<T>,
): Promise<T> {
  const pages = Math.ceil(sumOf(pieces) / pageSize);
  const lease = buffers.lease(pages);
  const bytes = pagesFor(lease, pages);
  try {
    await readPieces(bucket, pieces, bytes);
    return await send(bytes);
  } finally {
    bytes.release(lease);
  }
}
