import { isDigest, type Digest } from '../oci/digest.js';
import {
  configOf,
  indexEntries,
  isImageConfig,
  maxConfigSize,
  summarizeImage,
  type ImageSummary,
} from '../oci/image-config.js';
import type { ParsedManifest } from '../oci/manifest.js';
import { formatPullSpec, mostSpecific, withClientDefaults, type PullSpec } from '../oci/pull-spec.js';
import { parseReference } from '../oci/reference.js';
import { parseUpstreamManifest, readSmallBlob } from '../upstream/image-reading.js';
import { UpstreamError, type Upstream, type UpstreamAccess, type UpstreamRepository } from '../upstream/upstream.js';
import { inParallel } from './in-parallel.js';

/** An image of another registry, without its layers. */
export interface FetchedImage {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: ParsedManifest;
  readonly summary: ImageSummary;
}

/** What a source was found to be. */
export interface FetchedSource {
  /** What the reference names; for an index of which one image was taken, the index. */
  readonly digest: Digest;
  readonly image: FetchedImage;
  /** What an index lists, when it was taken as it is. */
  readonly children: readonly FetchedImage[];
}

/** What of a source is wanted. */
export interface FetchWish {
  /** Of an index one image, or all of it. */
  readonly importMode: 'Legacy' | 'PreserveOriginal';
  /** The platform of that one image; this machine's when left out. */
  readonly os?: string | undefined;
  readonly architecture?: string | undefined;
}

/** Children of one index that are fetched at a time. */
const childrenAtOnce = 4;
/** More than any index has images. */
const maxChildren = 1000;
/** Manifests and configs of the images of one index, which are in memory together: some thousand each is usual. */
const maxChildrenBytes = 16 * 1024 * 1024;

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
const ownPlatform = { os: 'linux', architecture: architectures[process.arch] ?? process.arch };

/** The repository that a pull spec names, by the defaults of Docker's clients. */
export function upstreamRepositoryOf(spec: PullSpec): UpstreamRepository {
  const { registry, namespace, name } = withClientDefaults(spec);
  return { registry, path: namespace === '' ? name : `${namespace}/${name}` };
}

/** Reads images from other registries: manifests and configs, never layers. */
export class ImageFetcher {
  readonly #upstream: Upstream;

  constructor(upstream: Upstream) {
    this.#upstream = upstream;
  }

  /** What a pull spec names now. @throws {UpstreamError} */
  async digestOf(spec: PullSpec, access: UpstreamAccess): Promise<Digest | undefined> {
    const { tag, id } = mostSpecific(withClientDefaults(spec));
    if (isDigest(id)) return id;
    const head = await this.#upstream.headManifest(upstreamRepositoryOf(spec), parseReference(tag), access);
    return head.digest;
  }

  /** @throws {UpstreamError} */
  async fetch(spec: PullSpec, wish: FetchWish, access: UpstreamAccess): Promise<FetchedSource> {
    const repository = upstreamRepositoryOf(spec);
    const { tag, id } = mostSpecific(withClientDefaults(spec));
    const named = await this.#read(repository, id === '' ? tag : id, access);
    if (!named.manifest.isIndex) {
      const image = await this.#complete(repository, named, access);
      return { digest: named.digest, image, children: [] };
    }
    const entries = indexEntries(named.bytes, named.manifest);
    if (wish.importMode === 'PreserveOriginal') {
      if (entries.length > maxChildren) throw invalidAnswer(spec, `the index lists more than ${maxChildren} images`);
      const digests = [...new Set(entries.map((entry) => entry.digest))];
      let size = 0;
      const children = await inParallel(digests, childrenAtOnce, async (digest) => {
        const child = await this.#complete(repository, await this.#read(repository, digest, access), access);
        size += sizeOf(child);
        if (size <= maxChildrenBytes) return child;
        throw invalidAnswer(
          spec,
          `the images of the index have manifests and configs of more than ${maxChildrenBytes} bytes`,
        );
      });
      return { digest: named.digest, image: withSummary(named, undefined), children };
    }
    const entry = chooseEntry(entries, wish);
    if (entry === undefined) throw invalidAnswer(spec, 'no manifests in manifest list');
    const child = await this.#read(repository, entry.digest, access);
    if (child.manifest.isIndex) throw invalidAnswer(spec, 'the index lists another index for this platform');
    return { digest: named.digest, image: await this.#complete(repository, child, access), children: [] };
  }

  async #read(
    repository: UpstreamRepository,
    reference: string,
    access: UpstreamAccess,
  ): Promise<Omit<FetchedImage, 'summary'>> {
    const found = await this.#upstream.readManifest(repository, parseReference(reference), access);
    const { digest, bytes } = found;
    return {
      digest,
      bytes,
      manifest: parseUpstreamManifest(found, `${repository.registry}/${repository.path}:${reference}`),
    };
  }

  /** With what its config says. */
  async #complete(
    repository: UpstreamRepository,
    image: Omit<FetchedImage, 'summary'>,
    access: UpstreamAccess,
  ): Promise<FetchedImage> {
    const config = configOf(image.manifest);
    // What describes an artifact is its maker's own.
    if (config === undefined || !isImageConfig(config)) return withSummary(image, undefined);
    const what = `${repository.registry}/${repository.path}@${image.digest}`;
    if (config.size > maxConfigSize) {
      throw new UpstreamError('invalid-answer', `the config has more than ${maxConfigSize} bytes`, { reference: what });
    }
    const { digest } = config;
    const bytes = await readSmallBlob(this.#upstream, { repository, digest }, maxConfigSize, access);
    if (bytes === undefined) {
      throw new UpstreamError('integrity', `the config has more bytes than its descriptor says`, { reference: what });
    }
    const complete = withSummary(image, bytes);
    if (complete.summary.config !== undefined) return complete;
    throw new UpstreamError('invalid-answer', 'the config of the image cannot be read', { reference: what });
  }
}

/** Bytes that an image takes in memory, about. */
export function sizeOf({ bytes, summary }: FetchedImage): number {
  return bytes.length + (summary.config?.length ?? 0);
}

function withSummary(image: Omit<FetchedImage, 'summary'>, config: Buffer | undefined): FetchedImage {
  return { ...image, summary: summarizeImage(image.bytes, image.manifest, config) };
}

/** The image of the wanted platform, else that for linux/amd64, else the first (openshift-apiserver, importer). */
function chooseEntry(
  entries: ReturnType<typeof indexEntries>,
  { os, architecture }: FetchWish,
): { readonly digest: Digest } | undefined {
  const isFor = (wanted: { os: string; architecture: string }) => (entry: (typeof entries)[number]) =>
    entry.platform?.os === wanted.os && entry.platform.architecture === wanted.architecture;
  return (
    entries.find(isFor({ os: os ?? ownPlatform.os, architecture: architecture ?? ownPlatform.architecture })) ??
    entries.find(isFor({ os: 'linux', architecture: 'amd64' })) ??
    entries[0]
  );
}

function invalidAnswer(spec: PullSpec, message: string): UpstreamError {
  return new UpstreamError('invalid-answer', message, { reference: formatPullSpec(spec) });
}
