import { LRUCache } from 'lru-cache';
import type { ImagePulls, RepositoryImage } from '../metadata/image-pulls.js';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** Nobody looks at it more closely. */
const resolutionMs = 3600_000;
const maxRemembered = 50_000;

/** Gathers what is pulled, so that no pull waits for a write: each image of a repository once an hour. */
export class PullRecorder {
  readonly #pulls: Pick<ImagePulls, 'record'>;
  readonly #now: () => Date;
  readonly #noted = new LRUCache<string, number>({ max: maxRemembered });
  #waiting = new Map<string, RepositoryImage & { readonly at: Date }>();

  constructor(pulls: Pick<ImagePulls, 'record'>, now: () => Date = () => new Date()) {
    this.#pulls = pulls;
    this.#now = now;
  }

  note(repository: RepositoryName, image: Digest): void {
    const key = `${repository} ${image}`;
    const at = this.#now();
    const last = this.#noted.get(key);
    if (last !== undefined && at.getTime() - last < resolutionMs) return;
    // More than anyone pulls between two writes; the rest is noted with its next pull.
    if (this.#waiting.size >= maxRemembered) return;
    this.#noted.set(key, at.getTime());
    this.#waiting.set(key, { repository, image, at });
  }

  /** Writes what has been noted since. */
  async flush(): Promise<void> {
    const waiting = this.#waiting;
    if (waiting.size === 0) return;
    this.#waiting = new Map();
    try {
      await this.#pulls.record([...waiting.values()]);
    } catch (error) {
      // With the next pull it is noted again.
      for (const key of waiting.keys()) this.#noted.delete(key);
      throw error;
    }
  }
}
