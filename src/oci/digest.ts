import { createHash, type Hash } from 'node:crypto';
import { OciError } from './errors.js';

declare const brand: unique symbol;
/** A validated `<algorithm>:<hex>` digest (OCI Image Spec, "Digests"). */
export type Digest = string & { readonly [brand]: 'Digest' };

/** The registered algorithms of the OCI Image Spec, and the length of their hex form. */
const hexLengths = { sha256: 64, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof hexLengths;

/** @throws {OciError} DIGEST_INVALID when the algorithm is not sha256 or sha512 */
export function parseDigestAlgorithm(text: string): DigestAlgorithm {
  if (text === 'sha256' || text === 'sha512') return text;
  throw new OciError('DIGEST_INVALID', { algorithm: text, expected: 'sha256 or sha512' });
}

/** @throws {OciError} DIGEST_INVALID when the text is not `sha256:` and 64 or `sha512:` and 128 lower-case hex digits */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new OciError('DIGEST_INVALID', {
    digest: text.slice(0, 200),
    expected: 'sha256:<64 lower-case hex digits> or sha512:<128 lower-case hex digits>',
  });
}

export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':');
  const length = Object.hasOwn(hexLengths, text.slice(0, colon)) && hexLengths[text.slice(0, colon) as DigestAlgorithm];
  return length !== false && text.length === colon + 1 + length && /^[0-9a-f]+$/.test(text.slice(colon + 1));
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** The digest of bytes at hand; for streams, update a hash of your own and end with `digestOfHash`. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return digestOfHash(createHash(algorithm).update(bytes), algorithm);
}

/** The digest of what a hash has seen so far; the hash stays usable. */
export function digestOfHash(hash: Hash, algorithm: DigestAlgorithm): Digest {
  return `${algorithm}:${hash.copy().digest('hex')}` as Digest;
}
