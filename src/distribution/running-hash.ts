import { createHash, type Hash } from 'node:crypto';
import { createSHA256, createSHA512, type IHasher } from 'hash-wasm';
import type { ByteObserver } from '../blobstore/blob-store.js';
import { digestOfHash, type Digest, type DigestAlgorithm } from '../oci/digest.js';

/** What a hash had seen at a moment. */
export interface HashSnapshot {
  readonly digest: Digest;
  /** For `resumeHash`; undefined when the hash cannot be saved. */
  readonly state: string | undefined;
  /** Goes on from here. */
  resume(): Promise<RunningHash>;
}

/** A digest in the making. */
export interface RunningHash extends ByteObserver {
  readonly algorithm: DigestAlgorithm;
  snapshot(): HashSnapshot;
}

/**
 * @param isSaved whether its snapshots can be saved, for another process to go on: a hash of WebAssembly, which takes five times
 *   as long as that of Node, whose state cannot be had
 */
export async function startHash(algorithm: DigestAlgorithm, isSaved: boolean): Promise<RunningHash> {
  if (!isSaved) return new NodeHash(algorithm, createHash(algorithm));
  const hasher = await createHasher(algorithm);
  return new SavedHash(algorithm, hasher.init());
}

/** @param state of an earlier snapshot of the same algorithm */
export async function resumeHash(algorithm: DigestAlgorithm, state: string): Promise<RunningHash> {
  const hasher = await createHasher(algorithm);
  return new SavedHash(algorithm, hasher.load(Buffer.from(state, 'base64')));
}

function createHasher(algorithm: DigestAlgorithm): Promise<IHasher> {
  return algorithm === 'sha256' ? createSHA256() : createSHA512();
}

class NodeHash implements RunningHash {
  readonly algorithm: DigestAlgorithm;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm, hash: Hash) {
    this.algorithm = algorithm;
    this.#hash = hash;
  }

  update(bytes: Buffer): void {
    this.#hash.update(bytes);
  }

  snapshot(): HashSnapshot {
    const { algorithm } = this;
    const copy = this.#hash.copy();
    return {
      get digest() {
        return digestOfHash(copy, algorithm);
      },
      state: undefined,
      resume: () => Promise.resolve(new NodeHash(algorithm, copy.copy())),
    };
  }
}

class SavedHash implements RunningHash {
  readonly algorithm: DigestAlgorithm;
  readonly #hasher: IHasher;

  constructor(algorithm: DigestAlgorithm, hasher: IHasher) {
    this.algorithm = algorithm;
    this.#hasher = hasher;
  }

  update(bytes: Buffer): void {
    this.#hasher.update(bytes);
  }

  snapshot(): HashSnapshot {
    const { algorithm } = this;
    const saved = this.#hasher.save();
    const digest = `${algorithm}:${this.#hasher.digest('hex')}` as Digest;
    this.#hasher.load(saved);
    const state = Buffer.from(saved).toString('base64');
    return { digest, state, resume: () => resumeHash(algorithm, state) };
  }
}
