import type { RepositoryStore } from '../metadata/repository-store.js';
import {
  ConfigUnknownError,
  type NewImage,
  type StreamEdit,
  type StreamStore,
  type TagState,
} from '../metadata/stream-store.js';
import {
  StreamLimitError,
  type Actor,
  type FindTagRules,
  type TagEvent,
  type TagRules,
} from '../metadata/tag-history.js';
import type { Digest } from '../oci/digest.js';
import { configOf, isImageConfig, maxConfigSize, summarizeImage } from '../oci/image-config.js';
import type { ParsedManifest } from '../oci/manifest.js';
import type { Reference, Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { askAlsoAnonymously } from '../upstream/also-anonymously.js';
import { parseUpstreamManifest, readSmallBlob } from '../upstream/image-reading.js';
import { UpstreamError, type Upstream, type UpstreamAccess, type UpstreamRepository } from '../upstream/upstream.js';
import { sourceOf, type UpstreamCache } from './upstream-caches.js';

/** Whoever fills caches, as histories name it. */
export const cacheActor: Actor = { name: 'system:upstream-cache', kind: 'system' };

/** What a config says is for people to look at: nobody waits long for it. */
const configPatienceMs = 3000;
/** More events than any tag has. */
const allEvents = 1_000_000;

/** What a project limits of its images; each says why not, or nothing. */
export interface CacheLimits {
  /** @param size bytes of config and layers */
  readonly refuseSize: (size: number) => string | undefined;
  /** Left out when their number is not limited. @param count different images in the history of a repository's tags */
  readonly refuseImages?: (count: number) => string | undefined;
}

/** What the filler works with. */
export interface CacheFillerOptions {
  readonly upstream: Pick<Upstream, 'headManifest' | 'readManifest' | 'openBlob'>;
  /** In whose name a project speaks to other registries: by its own secrets. */
  readonly accessOf: (project: string, isInsecure: boolean) => Promise<UpstreamAccess>;
  readonly repositories: Pick<RepositoryStore, 'findManifest' | 'repositoryExists'>;
  readonly streams: Pick<StreamStore, 'findTag' | 'edit'>;
  readonly findRules: FindTagRules;
  readonly findLimits: (project: string) => Promise<CacheLimits>;
  /** Why a project takes no further repository; undefined when it does. */
  readonly refuseRepository: (project: string) => Promise<string | undefined>;
}

/** Where an image is fetched from, and where to. */
interface Errand {
  readonly repository: RepositoryName;
  readonly source: UpstreamRepository;
  readonly access: UpstreamAccess;
  readonly limits: CacheLimits;
}

/** Fetches images, without their blobs, into the repositories of cache projects. Everything is written as a push would be. */
export class CacheFiller {
  readonly #options: CacheFillerOptions;

  constructor(options: CacheFillerOptions) {
    this.#options = options;
  }

  /**
   * Makes a tag what it is in the other registry. A tag that people moved, that they say more of, or that a policy keeps
   * where it is, stays, and nobody is asked.
   *
   * @param here what it is now; undefined when it cannot be pulled
   * @throws {UpstreamError}
   * @throws {StreamLimitError}
   * @throws {ProjectUnavailableError}
   */
  async fillTag(cache: UpstreamCache, repository: RepositoryName, tag: Tag, here: Digest | undefined): Promise<void> {
    const rules = await this.#options.findRules(cache.project, { name: cacheActor.name, groups: [] });
    if (here !== undefined && rules.guard(repository, tag) !== undefined) return;
    const found = await this.#options.streams.findTag(repository, tag, 1);
    if (found?.tag !== undefined && isPeoples(found.tag)) return;
    const errand = await this.#errand(cache, repository);
    await askAlsoAnonymously(errand.access, (access) => this.#fillTag({ ...errand, access }, tag, here, rules));
  }

  async #fillTag(errand: Errand, tag: Tag, here: Digest | undefined, rules: TagRules): Promise<void> {
    const { repository, source, access } = errand;
    const reference: Reference = { kind: 'tag', tag };
    if (here === undefined) {
      const image = await this.#read(errand, reference);
      await this.#store(errand, image.digest, { image, tag, rules });
      return;
    }
    const { digest } = await this.#options.upstream.headManifest(source, reference, access);
    if (digest === here) return;
    if (digest !== undefined && (await this.#isLinked(repository, digest))) {
      if (await this.#store(errand, digest, { tag, rules })) return;
    }
    const image = await this.#read(errand, digest === undefined ? reference : { kind: 'digest', digest });
    await this.#store(errand, image.digest, { image, tag, rules });
  }

  /** Fetches an image that is not here. Throws as `fillTag`. */
  async fillDigest(cache: UpstreamCache, repository: RepositoryName, digest: Digest): Promise<void> {
    const errand = await this.#errand(cache, repository);
    await askAlsoAnonymously(errand.access, async (access) => {
      const image = await this.#read({ ...errand, access }, { kind: 'digest', digest });
      await this.#store(errand, image.digest, { image });
    });
  }

  /** @throws {UpstreamError} */
  async #errand(cache: UpstreamCache, repository: RepositoryName): Promise<Errand> {
    const { project, isInsecure, refusal } = cache;
    const source = sourceOf(cache, repository);
    if (refusal !== undefined) throw new UpstreamError('blocked', refusal, { reference: nameOf(source) });
    const { accessOf, findLimits, refuseRepository, repositories } = this.#options;
    if (!(await repositories.repositoryExists(repository))) refuse(await refuseRepository(project));
    return {
      repository,
      source,
      access: await accessOf(project, isInsecure),
      limits: await findLimits(project),
    };
  }

  async #isLinked(repository: RepositoryName, digest: Digest): Promise<boolean> {
    return (await this.#options.repositories.findManifest(repository, { kind: 'digest', digest })) !== undefined;
  }

  async #read({ source, access, limits }: Errand, reference: Reference): Promise<NewImage> {
    const found = await this.#options.upstream.readManifest(source, reference, access);
    const { digest, bytes } = found;
    const manifest = parseUpstreamManifest(found, `${nameOf(source)}@${digest}`);
    refuse(limits.refuseSize(summarizeImage(bytes, manifest, undefined).totalSize));
    const config = await this.#readConfig(source, manifest, access);
    return { digest, bytes, manifest, summary: summarizeImage(bytes, manifest, config) };
  }

  /** Whatever is in its way is no reason not to serve the image. */
  async #readConfig(
    source: UpstreamRepository,
    manifest: ParsedManifest,
    access: UpstreamAccess,
  ): Promise<Buffer | undefined> {
    const config = configOf(manifest);
    if (config === undefined || !isImageConfig(config) || config.size > maxConfigSize) return undefined;
    const patience = AbortSignal.timeout(configPatienceMs);
    const signal = access.signal === undefined ? patience : AbortSignal.any([access.signal, patience]);
    try {
      const { digest } = config;
      const blob = { repository: source, digest };
      return await readSmallBlob(this.#options.upstream, blob, maxConfigSize, { ...access, signal });
    } catch {
      return undefined;
    }
  }

  /** @returns false when an image that was here a moment ago is here no more, and nothing was done */
  async #store(
    { repository, source, limits }: Errand,
    digest: Digest,
    { image, tag, rules }: { readonly image?: NewImage; readonly tag?: Tag; readonly rules?: TagRules },
  ): Promise<boolean> {
    const keepEvents = rules?.keepEvents?.(repository);
    return this.#options.streams.edit(
      async (edit) => {
        const existing = await edit.findStream(repository);
        const { generation } = existing ?? (await edit.createStream(repository, { metadata: {}, spec: {} }));
        if (!(await edit.isLinked(repository, digest))) {
          if (image === undefined) return false;
          await addImage(edit, repository, image, nameOf(source));
        }
        if (tag === undefined) return true;
        const state = await edit.findTag(repository, tag, 1);
        if (state !== undefined && isPeoples(state)) return true;
        const { refuseImages } = limits;
        const isCounted = refuseImages !== undefined && !(await hasEventOf(edit, repository, digest));
        await edit.addEvent(repository, tag, {
          image: digest,
          reference: `${nameOf(source)}@${digest}`,
          generation,
          cause: 'import',
          actor: cacheActor,
          source: `DockerImage ${nameOf(source)}:${tag}`,
        });
        if (isCounted) refuse(refuseImages(await countImages(edit, repository)));
        return true;
      },
      { ...(rules !== undefined && { guard: rules.guard }), ...(keepEvents !== undefined && { keepEvents }) },
    );
  }
}

/** Whether people decided what the tag is: the cache leaves it where it is until it is deleted. */
function isPeoples({ spec, events: [newest] }: TagState): boolean {
  const ofCache: readonly TagEvent['cause'][] = ['import', 'undelete'];
  return spec !== undefined || (newest !== undefined && !ofCache.includes(newest.cause));
}

/** As in `docker.io/library/alpine`. */
function nameOf({ registry, path }: UpstreamRepository): string {
  return `${registry}/${path}`;
}

/** @throws {UpstreamError} when others have it with its config, which could not be read now */
async function addImage(edit: StreamEdit, repository: RepositoryName, image: NewImage, place: string): Promise<void> {
  try {
    await edit.addImage(repository, image);
  } catch (error) {
    if (!(error instanceof ConfigUnknownError)) throw error;
    const reference = `${place}@${image.digest}`;
    throw new UpstreamError('unavailable', 'the config of the image cannot be read', { reference, cause: error });
  }
}

/** @throws {StreamLimitError} */
function refuse(why: string | undefined): void {
  if (why !== undefined) throw new StreamLimitError(why);
}

async function hasEventOf(edit: StreamEdit, repository: RepositoryName, digest: Digest): Promise<boolean> {
  return (await edit.findEventsByImage(repository, digest)).length > 0;
}

async function countImages(edit: StreamEdit, repository: RepositoryName): Promise<number> {
  const tags = await edit.listTags(repository, allEvents);
  return new Set(tags.flatMap(({ events }) => events.map(({ image }) => image)).filter(Boolean)).size;
}
