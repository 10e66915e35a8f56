import type { RepositoryStore, StoredManifest } from '../metadata/repository-store.js';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { parseManifest } from '../oci/manifest.js';
import type { Reference, Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** Kinds of manifests that may be pushed before what they refer to. */
export type SparsePolicy = readonly ('images' | 'indexes')[];

/** A manifest as it comes in. */
export interface ManifestUpload {
  readonly repository: RepositoryName;
  readonly reference: Reference;
  /** Further tags, with a push by digest. */
  readonly tags: readonly Tag[];
  readonly bytes: Buffer;
  /** Without parameters; undefined when the client sent none. */
  readonly contentType: string | undefined;
  /** Name of who pushes. */
  readonly principal: string;
}

/** What a push came to. */
export interface PushedManifest {
  readonly digest: Digest;
  readonly subject: Digest | undefined;
}

/** Manifests and the tags on them: OCI Distribution Spec end-3, end-7 and end-9. */
export class ManifestService {
  readonly #store: RepositoryStore;
  readonly #sparse: SparsePolicy;
  readonly #graceMs: number;
  readonly #now: () => Date;

  /** @param graceMs how long a blob that nothing refers to is kept */
  constructor(store: RepositoryStore, sparse: SparsePolicy, graceMs: number, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#sparse = sparse;
    this.#graceMs = graceMs;
    this.#now = now;
  }

  /** @throws {OciError} MANIFEST_UNKNOWN */
  async stat(repository: RepositoryName, reference: Reference): Promise<StoredManifest> {
    return (await this.#store.findManifest(repository, reference)) ?? this.#throwUnknown(repository, reference);
  }

  /** @throws {OciError} MANIFEST_UNKNOWN */
  async read(repository: RepositoryName, reference: Reference): Promise<StoredManifest & { readonly bytes: Buffer }> {
    return (await this.#store.readManifest(repository, reference)) ?? this.#throwUnknown(repository, reference);
  }

  /**
   * @throws {OciError} MANIFEST_INVALID; DIGEST_INVALID when the bytes are not what the digest names;
   * MANIFEST_BLOB_UNKNOWN when the repository lacks what the manifest refers to
   */
  async put({ repository, reference, tags, bytes, contentType, principal }: ManifestUpload): Promise<PushedManifest> {
    const digest = digestOf(bytes, reference.kind === 'digest' ? digestAlgorithm(reference.digest) : 'sha256');
    if (reference.kind === 'digest' && reference.digest !== digest) {
      throw new OciError('DIGEST_INVALID', { expected: reference.digest, actual: digest });
    }
    const manifest = parseManifest(bytes, contentType);
    const result = await this.#store.putManifest({
      repository,
      digest,
      bytes,
      manifest,
      tags: reference.kind === 'tag' ? [reference.tag] : tags,
      sparse: this.#sparse.includes(manifest.isIndex ? 'indexes' : 'images'),
      principal,
    });
    if (result.kind === 'missing')
      throw new OciError('MANIFEST_BLOB_UNKNOWN', { missing: result.missing.slice(0, 100) });
    return { digest, subject: manifest.subject };
  }

  /**
   * By digest: the image leaves the repository, and every tag on it goes. By tag: only the tag goes.
   *
   * @throws {OciError} MANIFEST_UNKNOWN
   */
  async delete(repository: RepositoryName, reference: Reference, principal: string): Promise<void> {
    const collectAt = new Date(this.#now().getTime() + this.#graceMs);
    const deleted =
      reference.kind === 'digest'
        ? await this.#store.deleteManifest(repository, reference.digest, principal, collectAt)
        : await this.#store.deleteTag(repository, reference.tag, principal);
    if (!deleted) await this.#throwUnknown(repository, reference);
  }

  async #throwUnknown(repository: RepositoryName, reference: Reference): Promise<never> {
    const detail = {
      repository,
      ...(reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest }),
    };
    if (!(await this.#store.repositoryExists(repository))) throw new OciError('NAME_UNKNOWN', detail);
    throw new OciError('MANIFEST_UNKNOWN', detail);
  }
}
