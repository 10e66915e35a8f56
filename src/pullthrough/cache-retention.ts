import type { ImagePulls, RepositoryImage, UnpulledPosition } from '../metadata/image-pulls.js';
import type { RepositoryStore } from '../metadata/repository-store.js';
import { TagProtectedError, type FindTagRules } from '../metadata/tag-history.js';
import { cacheActor } from './cache-filler.js';
import type { PullRecorder } from './pull-recorder.js';
import type { UpstreamCache, UpstreamCaches } from './upstream-caches.js';

/** Images looked at in one step. */
const lookedAtAtOnce = 200;
const forgottenAtOnce = 500;

/** What retention works with. */
export interface CacheRetentionOptions {
  readonly caches: Pick<UpstreamCaches, 'list'>;
  readonly recorder: Pick<PullRecorder, 'flush'>;
  readonly pulls: Pick<ImagePulls, 'listUnpulled' | 'forgetUnlinked'>;
  readonly repositories: Pick<RepositoryStore, 'deleteManifest'>;
  readonly findRules: FindTagRules;
  /** How long a blob that nothing refers to is kept. */
  readonly graceMs: number;
  readonly now?: () => Date;
}

/**
 * Removes images of cache projects that nobody pulled for as long as the project keeps them, with the tags on them, in
 * small steps between other people's requests. The history of the tags stays as that of tags which people delete, tags
 * that a policy protects stay, and the blobs go with the usual collection.
 */
export class CacheRetention {
  readonly #options: CacheRetentionOptions;
  readonly #now: () => Date;

  constructor(options: CacheRetentionOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
  }

  /** @param signal ends the run between two images @returns how many images were removed */
  async run(signal: AbortSignal): Promise<number> {
    const { caches, recorder } = this.#options;
    // First, or what is being pulled just now would look as if it were not.
    await recorder.flush();
    let removed = 0;
    for (const cache of await caches.list()) {
      if (cache.keepUnpulledMs === undefined) continue;
      removed += await this.#clear(cache, new Date(this.#now().getTime() - cache.keepUnpulledMs), signal);
    }
    return removed;
  }

  async #clear({ project }: UpstreamCache, before: Date, signal: AbortSignal): Promise<number> {
    const { pulls } = this.#options;
    const isOver = () => signal.aborted;
    let removed = 0;
    let after: UnpulledPosition | undefined;
    do {
      if (isOver()) return removed;
      const { images, next } = await pulls.listUnpulled(project, before, { after, limit: lookedAtAtOnce });
      for (const image of images) {
        if (isOver()) return removed;
        if (await this.#remove(project, image)) removed += 1;
      }
      after = next;
    } while (after !== undefined);
    while (!isOver() && (await pulls.forgetUnlinked(project, forgottenAtOnce)) > 0);
    return removed;
  }

  async #remove(project: string, { repository, image }: RepositoryImage): Promise<boolean> {
    const { repositories, findRules, graceMs } = this.#options;
    const { guard } = await findRules(project, { name: cacheActor.name, groups: [] });
    const by = { actor: cacheActor, reason: 'nobody pulled the image for as long as the project keeps it', guard };
    try {
      return await repositories.deleteManifest(repository, image, by, new Date(this.#now().getTime() + graceMs));
    } catch (error) {
      if (error instanceof TagProtectedError) return false;
      throw error;
    }
  }
}
