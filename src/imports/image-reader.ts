import type { StreamStore } from '../metadata/stream-store.js';
import { isDigest } from '../oci/digest.js';
import {
  asRepository,
  formatPullSpec,
  PullSpecError,
  pullSpecOrError,
  withClientDefaults,
  type PullSpec,
} from '../oci/pull-spec.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { ownRepository } from '../streams/tag-targets.js';
import { askAlsoAnonymously } from '../upstream/also-anonymously.js';
import { UpstreamError, type Upstream, type UpstreamAccess, type UpstreamRepository } from '../upstream/upstream.js';
import type { FoundImage } from './apply-imports.js';
import { ImageFetcher, sizeOf, upstreamRepositoryOf, type FetchedSource, type FetchWish } from './image-fetcher.js';
import { failureOf, type ImportFailure } from './import-failure.js';
import { inParallel } from './in-parallel.js';
import type { ProjectAccess } from './project-access.js';
import { prioritizeTags } from './tag-priority.js';

/** An image that is wanted. */
export interface ImageWish extends FetchWish {
  /** As written. */
  readonly from: string;
  readonly isInsecure: boolean;
}

/** For whom images are looked for. */
export interface Reader {
  readonly project: string;
  /** Names of this registry: what is asked of them is found here, without any request. */
  readonly ownHosts: readonly string[];
  /** Whether images of another repository here may be taken. */
  readonly mayPull: (repository: RepositoryName) => Promise<boolean>;
  readonly signal?: AbortSignal;
}

/** What a repository elsewhere was found to hold. */
export type FoundRepository =
  | { readonly kind: 'found'; readonly tags: readonly string[]; readonly further: readonly string[] }
  | { readonly kind: 'failed'; readonly failure: ImportFailure };

/** What is read of this registry. */
type OwnStreams = Pick<StreamStore, 'findTag' | 'readStream' | 'findLinkedImages'>;

/** Images of one request that are looked for at a time. */
const imagesAtOnce = 8;
/** No repository has more tags that anybody could look through. */
const maxListedTags = 100_000;
/** Manifests and configs of one request, which are in memory until they are stored together. */
const maxReadBytes = 128 * 1024 * 1024;
/** Nobody who answers now and then keeps an image or a list waiting for longer. */
const defaultMaxReadMs = 300_000;

/** Looks for images, in other registries and in this one. Nothing is stored. */
export class ImageReader {
  readonly #fetcher: ImageFetcher;
  readonly #upstream: Upstream;
  readonly #access: Pick<ProjectAccess, 'of'>;
  readonly #streams: OwnStreams;
  readonly #maxReadMs: number;

  constructor({
    upstream,
    access,
    streams,
    maxReadMs = defaultMaxReadMs,
  }: {
    readonly upstream: Upstream;
    readonly access: Pick<ProjectAccess, 'of'>;
    readonly streams: OwnStreams;
    readonly maxReadMs?: number;
  }) {
    this.#maxReadMs = maxReadMs;
    this.#fetcher = new ImageFetcher(upstream);
    this.#upstream = upstream;
    this.#access = access;
    this.#streams = streams;
  }

  /** What the images are; each is asked for once, however often it is wanted. */
  async read(wishes: readonly ImageWish[], reader: Reader): Promise<readonly FoundImage[]> {
    const asked = new Map<string, Promise<FoundImage>>();
    let size = 0;
    const readOne = async (wish: ImageWish): Promise<FoundImage> => {
      const found = size > maxReadBytes ? undefined : await this.#readOne(wish, reader);
      size +=
        found?.kind === 'fetched' ? [found.image, ...found.children].reduce((sum, each) => sum + sizeOf(each), 0) : 0;
      return found === undefined || size > maxReadBytes ? { kind: 'failed', failure: tooMuch(wish.from) } : found;
    };
    return inParallel(wishes, imagesAtOnce, (wish) => {
      const key = JSON.stringify([wish.from, wish.importMode, wish.os, wish.architecture, wish.isInsecure]);
      const found = asked.get(key) ?? readOne(wish);
      asked.set(key, found);
      return found;
    });
  }

  /**
   * The tags of a repository elsewhere, those that are wanted most first.
   *
   * @param limit of the tags that are to be imported; the further ones are only named
   */
  async listTags(from: string, isInsecure: boolean, limit: number, reader: Reader): Promise<FoundRepository> {
    const spec = pullSpecOrError(from);
    if (spec instanceof PullSpecError) return { kind: 'failed', failure: invalidName(from, spec) };
    const own = ownRepositoryOf(from, reader);
    if (own !== undefined) return this.#listOwn(own, from, limit, reader);
    try {
      const repository = upstreamRepositoryOf(spec);
      return upTo(
        limit,
        await this.#speak(reader, { from, isInsecure }, (access) => this.#gatherTags(repository, access)),
      );
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      return { kind: 'failed', failure: failureOf(error, from, 'repository') };
    }
  }

  async #gatherTags(repository: UpstreamRepository, access: UpstreamAccess): Promise<readonly string[]> {
    const found = new Set<string>();
    for await (const tag of this.#upstream.listTags(repository, access)) {
      found.add(tag === '' ? 'latest' : tag);
      if (found.size === maxListedTags) break;
    }
    return [...found];
  }

  async #listOwn(own: RepositoryName, from: string, limit: number, reader: Reader): Promise<FoundRepository> {
    const state = (await reader.mayPull(own)) ? await this.#streams.readStream(own, 0) : undefined;
    if (state === undefined) return { kind: 'failed', failure: absent(from) };
    return upTo(
      limit,
      state.tags.filter(({ image }) => image !== undefined).map(({ name }) => name),
    );
  }

  async #readOne(wish: ImageWish, reader: Reader): Promise<FoundImage> {
    const spec = pullSpecOrError(wish.from);
    if (spec instanceof PullSpecError) return { kind: 'failed', failure: invalidName(wish.from, spec) };
    const own = ownRepositoryOf(wish.from, reader);
    if (own !== undefined) return this.#readOwn(own, spec, wish.from, reader);
    try {
      return toFound(await this.#speak(reader, wish, (access) => this.#fetcher.fetch(spec, wish, access)), spec);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      return { kind: 'failed', failure: failureOf(error, wish.from, 'image') };
    }
  }

  /** Asks another registry in the name of a project; it may not take as long as it likes. @throws {UpstreamError} */
  async #speak<T>(
    { project, signal }: Reader,
    { from, isInsecure }: Pick<ImageWish, 'from' | 'isInsecure'>,
    work: (access: UpstreamAccess) => Promise<T>,
  ): Promise<T> {
    const deadline = new AbortController();
    const timer = setTimeout(() => {
      deadline.abort();
    }, this.#maxReadMs);
    try {
      const either = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
      return await askAlsoAnonymously(await this.#access.of(project, isInsecure, either), work);
    } catch (error) {
      if (!deadline.signal.aborted || signal?.aborted === true) throw error;
      const why = `it is not read after ${this.#maxReadMs / 1000} seconds`;
      throw new UpstreamError('unavailable', why, { reference: from, cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  async #readOwn(own: RepositoryName, spec: PullSpec, from: string, reader: Reader): Promise<FoundImage> {
    const failed: FoundImage = { kind: 'failed', failure: absent(from) };
    // Absent and foreign are the same to who may not see it.
    const refused: FoundImage = { ...failed, isRefused: true };
    if (!(await reader.mayPull(own))) return refused;
    if (isDigest(spec.id)) {
      const [image] = await this.#streams.findLinkedImages(own, spec.id);
      return image === undefined ? failed : { kind: 'own', image, repository: own };
    }
    const state = (await this.#streams.findTag(own, withClientDefaults(spec).tag, 1))?.tag;
    const event = state?.events[0];
    const repository = event?.location ?? own;
    // The tag may only point at it, where it is.
    if (repository !== own && !(await reader.mayPull(repository))) return refused;
    const image = repository === own ? state?.image : event?.image;
    return image === undefined ? failed : { kind: 'own', image, repository };
  }
}

/** The repository of this registry that is meant; undefined when it is one elsewhere. */
export function ownRepositoryOf(pullSpec: string, { ownHosts }: Pick<Reader, 'ownHosts'>): RepositoryName | undefined {
  return ownHosts.map((host) => ownRepository(pullSpec, { host })).find((own) => own !== undefined);
}

function upTo(limit: number, names: readonly string[]): FoundRepository {
  const tags = prioritizeTags(names);
  return { kind: 'found', tags: tags.slice(0, limit), further: tags.slice(limit) };
}

function absent(from: string): ImportFailure {
  return { reason: 'NotFound', message: `dockerimage.image.openshift.io "${from}" not found` };
}

function tooMuch(from: string): ImportFailure {
  const why = `the images of one import have manifests and configs of more than ${maxReadBytes} bytes`;
  return { reason: 'ImportFailed', message: `Internal error occurred: ${from}: ${why}` };
}

function toFound({ digest, image, children }: FetchedSource, spec: PullSpec): FoundImage {
  return {
    kind: 'fetched',
    image,
    children,
    sourceDigest: digest,
    pullSpec: formatPullSpec({ ...asRepository(spec), id: image.digest }),
  };
}

function invalidName(from: string, { message }: PullSpecError): ImportFailure {
  return { reason: 'Invalid', message: `${JSON.stringify(from)} is invalid: invalid name: ${message}` };
}
