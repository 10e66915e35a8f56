import { actorOf, type Principal } from '../auth/principal.js';
import type { RepositoryStore, StoredManifest, TagRemoval } from '../metadata/repository-store.js';
import { StreamLimitError, type FindTagRules, type TagEventCause } from '../metadata/tag-history.js';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { summarizeImage } from '../oci/image-config.js';
import { parseManifest } from '../oci/manifest.js';
import { reasonHeader } from '../oci/reason.js';
import type { Reference, Tag } from '../oci/reference.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import type { ConfigReader } from './config-reader.js';

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
  readonly by: Changer;
}

/** Who changes a tag, and why. */
export interface Changer {
  readonly principal: Principal;
  readonly reason: string | undefined;
}

/** What a push came to. */
export interface PushedManifest {
  readonly digest: Digest;
  readonly subject: Digest | undefined;
}

/** What a project limits of its images; each says why not, or nothing. */
export interface PushLimits {
  /** @param size bytes of config and layers */
  readonly refuseSize: (size: number) => string | undefined;
  /** Left out when their number is not limited. @param count different images in the history of a repository's tags */
  readonly refuseImages?: (count: number) => string | undefined;
}

/** Finds the limits of a project. */
export type FindPushLimits = (project: string) => Promise<PushLimits>;

/** What the service works with. */
export interface ManifestServiceOptions {
  readonly store: RepositoryStore;
  readonly configs: ConfigReader;
  readonly findRules: FindTagRules;
  readonly findLimits: FindPushLimits;
  readonly sparse: SparsePolicy;
  /** How long a blob that nothing refers to is kept. */
  readonly graceMs: number;
  /** Brings a blob here that can be pulled through the repository from another registry. @returns false when it cannot */
  readonly obtain?: (repository: RepositoryName, digest: Digest) => Promise<boolean>;
  readonly now?: () => Date;
}

/** Blobs of one manifest that are brought here when it is pushed. */
const maxObtained = 200;

/** @throws {StreamLimitError} */
function refuse(why: string | undefined): void {
  if (why !== undefined) throw new StreamLimitError(why);
}

/** Manifests and the tags on them: OCI Distribution Spec end-3, end-7 and end-9. */
export class ManifestService {
  readonly #store: RepositoryStore;
  readonly #configs: ConfigReader;
  readonly #findRules: FindTagRules;
  readonly #findLimits: FindPushLimits;
  readonly #sparse: SparsePolicy;
  readonly #graceMs: number;
  readonly #obtain: (repository: RepositoryName, digest: Digest) => Promise<boolean>;
  readonly #now: () => Date;

  constructor({ store, configs, findRules, findLimits, sparse, graceMs, obtain, now }: ManifestServiceOptions) {
    this.#store = store;
    this.#configs = configs;
    this.#findRules = findRules;
    this.#findLimits = findLimits;
    this.#sparse = sparse;
    this.#graceMs = graceMs;
    this.#obtain = obtain ?? (() => Promise.resolve(false));
    this.#now = now ?? (() => new Date());
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
   * MANIFEST_BLOB_UNKNOWN when the repository lacks what the manifest refers to; DENIED when the project wants a reason
   * @throws {TagProtectedError}
   * @throws {StreamLimitError}
   */
  async put({ repository, reference, tags: further, bytes, contentType, by }: ManifestUpload): Promise<PushedManifest> {
    const digest = digestOf(bytes, reference.kind === 'digest' ? digestAlgorithm(reference.digest) : 'sha256');
    if (reference.kind === 'digest' && reference.digest !== digest) {
      throw new OciError('DIGEST_INVALID', { expected: reference.digest, actual: digest });
    }
    const manifest = parseManifest(bytes, contentType);
    const tags = reference.kind === 'tag' ? [reference.tag] : further;
    const rules = await this.#rulesFor(repository, tags.length > 0 ? 'push' : undefined, by);
    const keepEvents = rules.keepEvents?.(repository);
    const config = await this.#configs.read(repository, manifest);
    const summary = summarizeImage(bytes, manifest, config);
    const limits = await this.#findLimits(projectOf(repository));
    refuse(limits.refuseSize(summary.totalSize));
    const push = {
      repository,
      digest,
      bytes,
      manifest,
      tags,
      sparse: this.#sparse.includes(manifest.isIndex ? 'indexes' : 'images'),
      summary,
      actor: actorOf(by.principal),
      ...(by.reason !== undefined && { reason: by.reason }),
      guard: rules.guard,
      ...(keepEvents !== undefined && { keepEvents }),
      ...(limits.refuseImages !== undefined && {
        admitImages: (count: number) => {
          refuse(limits.refuseImages?.(count));
        },
      }),
    };
    let result = await this.#store.putManifest(push);
    if (result.kind === 'missing' && (await this.#obtainAll(repository, result.missing))) {
      result = await this.#store.putManifest(push);
    }
    if (result.kind === 'missing')
      throw new OciError('MANIFEST_BLOB_UNKNOWN', { missing: result.missing.slice(0, 100) });
    return { digest, subject: manifest.subject };
  }

  /**
   * By digest: the image leaves the repository, and every tag on it goes. By tag: only the tag goes.
   *
   * @throws {OciError} MANIFEST_UNKNOWN; DENIED when the project wants a reason
   * @throws {TagProtectedError}
   */
  async delete(repository: RepositoryName, reference: Reference, by: Changer): Promise<void> {
    const { guard } = await this.#rulesFor(repository, 'delete', by);
    const removal: TagRemoval = {
      actor: actorOf(by.principal),
      ...(by.reason !== undefined && { reason: by.reason }),
      guard,
    };
    const collectAt = new Date(this.#now().getTime() + this.#graceMs);
    const deleted =
      reference.kind === 'digest'
        ? await this.#store.deleteManifest(repository, reference.digest, removal, collectAt)
        : await this.#store.deleteTag(repository, reference.tag, removal);
    if (!deleted) await this.#throwUnknown(repository, reference);
  }

  /** Whoever asked for these blobs was told that they are here, as they can be pulled: now they must be. */
  async #obtainAll(repository: RepositoryName, missing: readonly Digest[]): Promise<boolean> {
    if (missing.length > maxObtained) return false;
    for (const digest of missing) if (!(await this.#obtain(repository, digest))) return false;
    return true;
  }

  async #rulesFor(repository: RepositoryName, cause: TagEventCause | undefined, { principal, reason }: Changer) {
    const rules = await this.#findRules(projectOf(repository), principal);
    if (cause !== undefined && reason === undefined && rules.reasonsFor(repository).includes(cause)) {
      throw new OciError('DENIED', {
        project: projectOf(repository),
        expected: `a reason in the header ${reasonHeader}: the project wants one for every ${cause}`,
      });
    }
    return rules;
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
