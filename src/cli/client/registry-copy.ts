import { forEachAtMost, Slots } from '../../slots.js';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.js';
import { parseManifest, type ManifestReference } from '../../oci/manifest.js';
import { isIndexMediaType, isManifestMediaType } from '../../oci/media-types.js';
import { isTag, type Tag } from '../../oci/reference.js';
import { UpstreamError, type Upstream, type UpstreamAccess, type UpstreamRepository } from '../../upstream/upstream.js';
import { ClientError } from './client-error.js';
import { SharedWork } from './registry-copy-limits.js';
import { isEndOfAll, reasonOf } from './registry-copy-failures.js';
import type { CopyReport } from './registry-copy-report.js';
import type { CopyState } from './registry-copy-state.js';
import type { ManifestContent, RegistryPush } from './registry-push.js';

/** A repository there, and its name here. */
export interface CopiedRepository {
  readonly from: UpstreamRepository;
  readonly to: string;
}

/** What a copier works with. */
export interface RegistryCopyOptions {
  readonly source: Upstream;
  readonly access: UpstreamAccess;
  readonly target: RegistryPush;
  readonly report: CopyReport;
  readonly state: CopyState;
  /** Blobs under way at once. */
  readonly blobs: number;
  /**
   * Whether tags that cosign derives from a digest are looked for beside each image; not needed where all tags are
   * copied anyway.
   */
  readonly findsCosignTags: boolean;
}

/** The manifests of an image: itself, and what it lists when it is an index. */
interface ImageTree {
  readonly manifests: readonly Digest[];
  /** Whether nothing below is missing. */
  readonly isComplete: boolean;
}

/** Parts of one manifest that are worked on at once. */
const partsAtOnce = 4;
/** More than any index or chain of signatures has. */
const maxDepth = 8;
const maxManifestsOfImage = 20_000;
const maxSourceAttempts = 3;
const cosignEndings = ['sig', 'att', 'sbom'] as const;

/**
 * Copies images with all that belongs to them: what an index lists, and what refers to any of it. Everything below is
 * there before a manifest is, and all of it before the tag: a run that ends early leaves no tag on half an image.
 */
export class RegistryCopy {
  readonly #options: RegistryCopyOptions;
  readonly #slots: Slots;
  readonly #trees = new LRUCache<string, ImageTree>({
    maxSize: 100_000,
    sizeCalculation: ({ manifests }) => manifests.length,
  });
  readonly #referred = new LRUCache<string, true>({ max: 50_000 });
  readonly #blobs = new LRUCache<string, true>({ max: 50_000 });
  /** Which repository of the target has a blob. */
  readonly #holders = new LRUCache<Digest, string>({ max: 50_000 });
  /** Some that were copied lately, as their tags come right after them. */
  readonly #manifests = new LRUCache<Digest, ManifestContent>({
    maxSize: 32 * 1024 * 1024,
    sizeCalculation: ({ bytes }) => bytes.length + 1,
  });
  readonly #treesUnderWay = new SharedWork<ImageTree>();
  readonly #blobsUnderWay = new SharedWork<void>();

  constructor(options: RegistryCopyOptions) {
    this.#options = options;
    this.#slots = new Slots(options.blobs);
  }

  /** Copies a tag; when it is there and known to be whole, that takes one HEAD on each side. */
  async copyTag(repository: CopiedRepository, tag: Tag): Promise<void> {
    const { source, access, target, report, state } = this.#options;
    const { from, to } = repository;
    const reference = { kind: 'tag', tag } as const;
    const digest =
      (await source.headManifest(from, reference, access)).digest ??
      // Few registries do not say.
      (await source.readManifest(from, reference, access)).digest;
    const isThere = (await target.headManifest(to, tag))?.digest === digest;
    const entry = { from: `${from.registry}/${from.path}`, to: `${target.host}/${to}`, digest };
    if (isThere && state.has(entry)) {
      report.tagsThere += 1;
      return;
    }
    const isComplete = await this.#copyImage(repository, digest);
    if (!isThere) await target.putManifest(to, tag, await this.#contentOf(repository, digest));
    if (isThere) report.tagsThere += 1;
    else report.tagsCopied += 1;
    if (isComplete) state.add(entry);
  }

  /**
   * Copies an image, then what refers to any part of it, then what refers to that.
   *
   * @returns false when something that refers to it could not be copied, which has been reported
   */
  async #copyImage(repository: CopiedRepository, digest: Digest): Promise<boolean> {
    const { manifests, isComplete: isWhole } = await this.#tree(repository, digest, 0);
    const seen = new Set<Digest>(manifests);
    let isComplete = isWhole;
    for (const subject of seen) {
      if (seen.size > maxManifestsOfImage) {
        throw new ClientError(`more than ${maxManifestsOfImage} manifests belong to it, which no image has`);
      }
      const key = `${repository.to}@${subject}`;
      if (this.#referred.has(key)) continue;
      const added = await this.#copyReferrers(repository, subject, seen);
      if (added) this.#referred.set(key, true);
      else isComplete = false;
    }
    return isComplete;
  }

  /** @param seen gets the manifests that came with them @returns false when one could not be copied */
  async #copyReferrers(repository: CopiedRepository, subject: Digest, seen: Set<Digest>): Promise<boolean> {
    const { source, access, report } = this.#options;
    let isComplete = true;
    const fail = (what: string, error: unknown): void => {
      if (isEndOfAll(error, access.signal)) throw error;
      isComplete = false;
      report.notCopied(`${repository.to}@${what}`, reasonOf(error));
    };
    try {
      for (const { digest } of await source.listReferrers(repository.from, subject, access)) {
        if (seen.has(digest)) continue;
        try {
          const tree = await this.#tree(repository, digest, 0);
          for (const manifest of tree.manifests) seen.add(manifest);
          isComplete &&= tree.isComplete;
        } catch (error) {
          fail(digest, error);
        }
      }
    } catch (error) {
      fail(`${subject} (its signatures, SBOMs and the like)`, error);
    }
    if (!this.#options.findsCosignTags) return isComplete;
    for (const ending of cosignEndings) {
      const tag = `${subject.replace(':', '-')}.${ending}`;
      try {
        if (isTag(tag)) await this.#copyCosignTag(repository, tag, seen);
      } catch (error) {
        fail(tag, error);
      }
    }
    return isComplete;
  }

  /** cosign, "Signature Storage": tags `sha256-<hex>.sig`, `.att` and `.sbom` of the image with that digest. */
  async #copyCosignTag(repository: CopiedRepository, tag: Tag, seen: Set<Digest>): Promise<void> {
    const { source, access, target, report } = this.#options;
    let digest: Digest | undefined;
    try {
      ({ digest } = await source.headManifest(repository.from, { kind: 'tag', tag }, access));
    } catch (error) {
      if (error instanceof UpstreamError && error.problem === 'not-found') return;
      throw error;
    }
    digest ??= (await source.readManifest(repository.from, { kind: 'tag', tag }, access)).digest;
    const { manifests } = await this.#tree(repository, digest, 0);
    for (const manifest of manifests) seen.add(manifest);
    if ((await target.headManifest(repository.to, tag))?.digest === digest) return;
    await target.putManifest(repository.to, tag, await this.#contentOf(repository, digest));
    report.tagsCopied += 1;
  }

  /** A manifest with its blobs and, of an index, with all that it lists; once, whoever else wants it. */
  #tree(repository: CopiedRepository, digest: Digest, depth: number): Promise<ImageTree> {
    const key = `${repository.to}@${digest}`;
    const known = this.#trees.get(key);
    if (known !== undefined) return Promise.resolve(known);
    // What contains something else never waits for what contains it: digests have no circles.
    return this.#treesUnderWay.run(key, async () => {
      if (depth > maxDepth) throw new ClientError(`indexes are in one another more than ${maxDepth} deep`);
      const tree = await this.#copyTree(repository, digest, depth);
      if (tree.isComplete) this.#trees.set(key, tree);
      return tree;
    });
  }

  async #copyTree(repository: CopiedRepository, digest: Digest, depth: number): Promise<ImageTree> {
    const { source, access, target, report } = this.#options;
    const { from, to } = repository;
    const there = await target.headManifest(to, digest);
    // An image is only there with all its blobs. An index may have been taken without its parts.
    if (there !== undefined && !isIndex(there.mediaType)) return { manifests: [digest], isComplete: true };
    const manifest =
      there === undefined
        ? await source.readManifest(from, { kind: 'digest', digest }, access)
        : await target.readManifest(to, digest);
    const { references, subject } = parseManifest(manifest.bytes, manifest.mediaType);
    const children = await this.#copyChildren(repository, references, depth);
    if (there === undefined) {
      await this.#copyBlobs(repository, references);
      await this.#putWithChildren(repository, digest, { manifest, failure: children.failures[0] });
      this.#manifests.set(digest, manifest);
      report.manifestsCopied += 1;
      if (subject !== undefined) report.referrersCopied += 1;
    }
    for (const { what, error } of children.failures) report.notCopied(`${to}@${what}`, reasonOf(error));
    return { manifests: [digest, ...children.manifests], isComplete: children.failures.length === 0 };
  }

  /** A server may take an index without some of its parts; where it does not, what was wrong with them is the reason. */
  async #putWithChildren(
    { to }: CopiedRepository,
    digest: Digest,
    { manifest, failure }: { readonly manifest: ManifestContent; readonly failure: ChildFailure | undefined },
  ): Promise<void> {
    try {
      await this.#options.target.putManifest(to, digest, manifest);
    } catch (error) {
      if (failure === undefined || !(error instanceof ClientError)) throw error;
      throw new ClientError(`${failure.what}, which it lists, was not copied: ${reasonOf(failure.error)}`, {
        cause: error,
      });
    }
  }

  async #copyChildren(
    repository: CopiedRepository,
    references: readonly ManifestReference[],
    depth: number,
  ): Promise<{ readonly manifests: readonly Digest[]; readonly failures: readonly ChildFailure[] }> {
    const { access } = this.#options;
    const manifests: Digest[] = [];
    const failures: ChildFailure[] = [];
    const children = references.filter(({ role }) => role === 'manifest');
    await forEachAtMost(partsAtOnce, children, async ({ digest }) => {
      try {
        const tree = await this.#tree(repository, digest, depth + 1);
        for (const manifest of tree.manifests) manifests.push(manifest);
      } catch (error) {
        if (isEndOfAll(error, access.signal)) throw error;
        failures.push({ what: digest, error });
      }
    });
    return { manifests, failures };
  }

  async #copyBlobs(repository: CopiedRepository, references: readonly ManifestReference[]): Promise<void> {
    const blobs = references.filter(({ role }) => role !== 'manifest');
    const wanted = new Map(blobs.filter(({ required }) => required).map((blob) => [blob.digest, blob]));
    this.#options.report.layersLeftOut += blobs.filter(({ required }) => !required).length;
    await forEachAtMost(partsAtOnce, wanted.values(), ({ digest }) => this.#copyBlob(repository, digest));
  }

  async #copyBlob(repository: CopiedRepository, digest: Digest): Promise<void> {
    const { target } = this.#options;
    const key = `${repository.to}@${digest}`;
    // One after the other, also for several repositories: what is there for one is linked for the next.
    await this.#blobsUnderWay.runAlone(digest, async () => {
      if (this.#blobs.has(key)) return;
      await this.#slots.run(async () => {
        if (!(await target.hasBlob(repository.to, digest))) await this.#sendBlob(repository, digest);
      });
      this.#blobs.set(key, true);
      this.#holders.set(digest, repository.to);
    });
  }

  async #sendBlob({ from, to }: CopiedRepository, digest: Digest): Promise<void> {
    const { source, access, target, report } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      let shown: ReturnType<CopyReport['blobStarted']> | undefined;
      try {
        const how = await target.pushBlob(to, digest, {
          from: this.#holders.get(digest),
          open: async () => {
            const blob = await source.openBlob(from, digest, access);
            shown ??= report.blobStarted(`${to}@${digest}`, blob.size);
            return blob;
          },
          onBytes: (count) => shown?.advance(count),
        });
        if (how === 'linked') report.blobsLinked += 1;
        else report.blobsCopied += 1;
        return;
      } catch (error) {
        // The connection was lost on the way, after the source had begun to answer.
        const isLost = shown !== undefined && error instanceof UpstreamError && error.problem === 'unavailable';
        if (!isLost || attempt === maxSourceAttempts) throw error;
      } finally {
        shown?.end();
      }
    }
  }

  /** For its tag. The target has it by now, and another GET of the source may cost. */
  async #contentOf({ to }: CopiedRepository, digest: Digest): Promise<ManifestContent> {
    return this.#manifests.get(digest) ?? this.#options.target.readManifest(to, digest);
  }
}

/** A part of an index that could not be copied. */
interface ChildFailure {
  readonly what: Digest;
  readonly error: unknown;
}

function isIndex(mediaType: string): boolean {
  return isManifestMediaType(mediaType) && isIndexMediaType(mediaType);
}
