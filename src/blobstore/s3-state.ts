import { randomBytes } from 'node:crypto';

/** A part of a multipart upload. */
export interface StoredPart {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  /** CRC-32 in base64; undefined when the store did not tell it. */
  readonly crc32: string | undefined;
}

/** A multipart upload under the key that its bytes will have. */
export interface Multipart {
  readonly key: string;
  readonly id: string;
  readonly parts: readonly StoredPart[];
  /** Number of the next part: none is given twice, so that a request that was given up does no harm when it arrives late. */
  readonly next: number;
  /**
   * Whether its parts have a CRC-32, which S3 then wants of each. Not when it takes up an object that was made of parts: what a
   * store tells as the checksum of a copy of that may be one that it does not take.
   */
  readonly hasCrc: boolean;
}

/** An object with bytes of an upload. */
export interface Piece {
  readonly key: string;
  /** Bytes that count, from its beginning. */
  readonly size: number;
  /** Whether the object has more than these. */
  readonly isCut: boolean;
}

/** Where the bytes of an upload are: first the parts, then the pieces. */
export interface UploadState {
  readonly multipart: Multipart | undefined;
  readonly pieces: readonly Piece[];
  /** Keys that an earlier state needed; they can go once this one is remembered. */
  readonly leftovers: readonly string[];
}

export const noBytes: UploadState = { multipart: undefined, pieces: [], leftovers: [] };

/** The smallest part that S3 takes, except for the last one. */
export const smallestPart = 5 * 1024 * 1024;

/** The highest number of a part. */
export const mostParts = 10_000;

const MiB = 1024 * 1024;

/**
 * How large a part is: 8 MiB, growing so that 10,000 of them hold more than 500 GiB. `least` is what it may be cut to when
 * there is no memory for more; this grows as well, for the number to suffice even so for 200 GiB.
 */
export function partSizes(number: number): { readonly target: number; readonly least: number } {
  const target = (number <= 1_000 ? 8 : number <= 2_000 ? 16 : 64) * MiB;
  const least = (number <= 5_000 ? 5 : number <= 7_500 ? 16 : 64) * MiB;
  return { target: Math.max(target, least), least };
}

/** What is remembered, as it is written. Short, since an upload may have thousands of parts. */
interface WrittenState {
  readonly m?: {
    readonly key: string;
    readonly id: string;
    readonly next: number;
    readonly noCrc?: 1;
    readonly parts: readonly (readonly [number: number, size: number, etag: string, crc32: string | null])[];
  };
  readonly p?: readonly (readonly [key: string, size: number, isCut?: 1])[];
  readonly l?: readonly string[];
}

export function writeState({ multipart, pieces, leftovers }: UploadState): string {
  const written: WrittenState = {
    ...(multipart !== undefined && {
      m: {
        key: multipart.key,
        id: multipart.id,
        next: multipart.next,
        ...(!multipart.hasCrc && { noCrc: 1 as const }),
        parts: multipart.parts.map(({ number, size, etag, crc32 }) => [number, size, etag, crc32 ?? null] as const),
      },
    }),
    ...(pieces.length > 0 && {
      p: pieces.map(({ key, size, isCut }) => (isCut ? ([key, size, 1] as const) : ([key, size] as const))),
    }),
    ...(leftovers.length > 0 && { l: leftovers }),
  };
  return JSON.stringify(written);
}

export function parseState(text: string | undefined): UploadState {
  if (text === undefined) return noBytes;
  const { m, p = [], l = [] } = JSON.parse(text) as WrittenState;
  return {
    multipart: m && {
      key: m.key,
      id: m.id,
      next: m.next,
      hasCrc: m.noCrc === undefined,
      parts: m.parts.map(([number, size, etag, crc32]) => ({ number, size, etag, crc32: crc32 ?? undefined })),
    },
    pieces: p.map(([key, size, isCut]) => ({ key, size, isCut: isCut === 1 })),
    leftovers: l,
  };
}

/** Bytes of a state. */
export function sizeOf({ multipart, pieces }: UploadState): number {
  return sumOf(multipart?.parts ?? []) + sumOf(pieces);
}

export function sumOf(sized: readonly { readonly size: number }[]): number {
  return sized.reduce((sum, { size }) => sum + size, 0);
}

/**
 * A state without what lies beyond a size.
 *
 * @returns undefined when there are fewer bytes, or the size is inside of a part, which cannot be cut
 */
export function cutState(state: UploadState, size: number): UploadState | undefined {
  const inParts = sumOf(state.multipart?.parts ?? []);
  if (size < inParts && size > 0) return undefined;
  // From nothing again: parts cannot be taken back, and nobody completes them.
  const multipart = size < inParts ? undefined : state.multipart;
  let left = size < inParts ? 0 : size - inParts;
  const pieces: Piece[] = [];
  const leftovers = [...state.leftovers];
  for (const piece of state.pieces) {
    const kept = Math.min(left, piece.size);
    left -= kept;
    if (kept > 0) pieces.push({ key: piece.key, size: kept, isCut: piece.isCut || kept < piece.size });
    else leftovers.push(piece.key);
  }
  return left > 0 ? undefined : { multipart, pieces, leftovers };
}

/** Keys of all objects that a state knows of. */
export function keysOf({ pieces, leftovers }: UploadState): string[] {
  return [...leftovers, ...pieces.map(({ key }) => key)];
}

/**
 * Keys, below the prefix of the store:
 *
 *     blobs/<xx>/<id>-<nonce>    finished bytes, or what may become such as it is; `<xx>/<id>-<nonce>` is the location
 *     uploads/<id>-<nonce>       a piece of an unfinished upload
 *
 * <xx> are the first two characters of the id of the upload. No key is ever written twice with different bytes, so a request
 * that was given up does no harm when it arrives late; and all that an upload has left is found from its id.
 */
export const keys = {
  blob: (upload: string, nonce = newNonce()) => `${keys.blobsOf(upload)}${nonce}`,
  piece: (upload: string) => `${keys.piecesOf(upload)}${newNonce()}`,
  /** What the keys of all blobs of an upload begin with. */
  blobsOf: (upload: string) => `blobs/${upload.slice(0, 2)}/${upload}-`,
  /** What those of all pieces begin with. */
  pieces: 'uploads/',
  piecesOf: (upload: string) => `uploads/${upload}-`,
  isBlob: (key: string) => key.startsWith('blobs/'),
  blobAt: (location: string) => `blobs/${location}`,
  locationOf: (blob: string) => blob.slice('blobs/'.length),
  uploadOf: (key: string) => /([0-9a-f]+)-[0-9a-f]+$/.exec(key)?.[1],
  nonceOf: (key: string) => key.slice(key.lastIndexOf('-') + 1),
};

function newNonce(): string {
  return randomBytes(6).toString('hex');
}
