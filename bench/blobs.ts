import { createHash, randomBytes } from 'node:crypto';

/** A blob to push: bytes made on demand, with a digest that no registry has seen before. */
export interface Blob {
  readonly digest: string;
  readonly size: number;
  /** The bytes in pieces of at most 1 MiB. Asking again gives the same bytes, so a request can be repeated. */
  chunks(): Iterable<Buffer>;
}

const MiB = 1024 * 1024;

// Random, so that neither a file system nor a proxy can win by compressing; repeated, so that 1 GiB costs 4 MiB.
const noise = randomBytes(4 * MiB);

/** Makes a blob of `size` bytes. Takes as long as hashing them, so make it before the clock starts. */
export function makeBlob(size: number): Blob {
  const prefix = randomBytes(Math.min(32, size));
  const chunks = (): Iterable<Buffer> => prefixedNoise(prefix, size);
  const hash = createHash('sha256');
  for (const chunk of chunks()) hash.update(chunk);
  return { digest: `sha256:${hash.digest('hex')}`, size, chunks };
}

/** Makes a blob of these very bytes. */
export function blobOf(bytes: Buffer): Blob {
  return { digest: digestOf(bytes), size: bytes.length, chunks: () => [bytes] };
}

/** The sha256 digest of some bytes, as the OCI Image Spec writes it. */
export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function* prefixedNoise(prefix: Buffer, size: number): Generator<Buffer> {
  yield prefix;
  let left = size - prefix.length;
  for (let offset = 0; left > 0; offset = (offset + MiB) % noise.length) {
    const chunk = noise.subarray(offset, offset + Math.min(MiB, left));
    left -= chunk.length;
    yield chunk;
  }
}
