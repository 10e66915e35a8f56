import { LRUCache } from 'lru-cache';
import { ProjectUnavailableError } from '../metadata/repository-rows.js';
import type { RepositoryStore } from '../metadata/repository-store.js';
import { StreamLimitError, TagProtectedError } from '../metadata/tag-history.js';
import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { Reference, Tag } from '../oci/reference.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import { UpstreamError, type UpstreamRepository } from '../upstream/upstream.js';
import type { CacheFiller } from './cache-filler.js';
import type { PullRecorder } from './pull-recorder.js';
import { staleReason, upstreamRefusal, warningHeader } from './upstream-answers.js';
import { sourceOf, type UpstreamCache, type UpstreamCaches } from './upstream-caches.js';

/** Of tags and digests that were asked for; what is forgotten is asked for again. */
const maxChecks = 10_000;
/** After a failure nobody is asked again for so long; for longer, up to the second, when the registry says when. */
const backOffMs = 15_000;
const maxBackOffMs = 60_000;
/** So long a client waits to hear whether something moved of which there is something to serve. */
const defaultPatienceMs = 5000;

/** What the service works with. */
export interface CachedManifestsOptions {
  readonly caches: Pick<UpstreamCaches, 'of'>;
  readonly filler: Pick<CacheFiller, 'fillTag' | 'fillDigest'>;
  readonly repositories: Pick<RepositoryStore, 'findManifest'>;
  readonly pulls: Pick<PullRecorder, 'note'>;
  /** Told of what went wrong here, and not there. */
  readonly onError: (error: unknown) => void;
  readonly patienceMs?: number;
  readonly now?: () => Date;
}

/** What is known before a manifest is looked up: see `RemoteManifests` of the registry's routes. */
export interface CacheAnswer {
  /** The value of a `Warning` header. */
  readonly warning: string | undefined;
  readonly served: (digest: Digest) => void;
}

/** What came of asking the other registry, and until when that counts. */
interface Check {
  /** Undefined: what is here is what is there, or is to stay. */
  readonly error: Error | undefined;
  readonly until: number;
}

/** Somebody is being asked; all who want to know wait for the one answer. */
interface RunningCheck {
  readonly since: number;
  /** Never rejects. */
  readonly outcome: Promise<Check>;
}

/**
 * Manifests of cache projects: by tag with one question to the other registry in a window, by digest with none for what is
 * here. What is here is served whatever the other registry says, and when it says nothing. What was heard is kept in this
 * process only: another one, or the next, asks once more. No client that goes away ends what others wait for.
 */
export class CachedManifests {
  readonly #options: CachedManifestsOptions;
  readonly #patienceMs: number;
  readonly #now: () => Date;
  readonly #checks = new LRUCache<string, Check>({ max: maxChecks });
  readonly #running = new Map<string, RunningCheck>();

  constructor(options: CachedManifestsOptions) {
    this.#options = options;
    this.#patienceMs = options.patienceMs ?? defaultPatienceMs;
    this.#now = options.now ?? (() => new Date());
  }

  /**
   * @returns undefined when the repository is in no cache project
   * @throws {OciError} as `RemoteManifests.prepare`
   * @throws {StreamLimitError} @throws {ProjectUnavailableError} when the project does not take what there is
   */
  async prepare(repository: RepositoryName, reference: Reference): Promise<CacheAnswer | undefined> {
    const cache = await this.#options.caches.of(projectOf(repository));
    if (cache === undefined) return undefined;
    const warning =
      reference.kind === 'tag'
        ? await this.#prepareTag(cache, repository, reference.tag)
        : await this.#prepareDigest(cache, repository, reference.digest);
    return {
      warning: warning === undefined ? undefined : warningHeader(warning),
      served: (digest) => {
        this.#options.pulls.note(repository, digest);
      },
    };
  }

  /** Where blobs of a repository come from that are not here; undefined when it is in no cache project. */
  async cacheSourceOf(
    repository: RepositoryName,
  ): Promise<(UpstreamRepository & { readonly isInsecure: boolean }) | undefined> {
    const cache = await this.#options.caches.of(projectOf(repository));
    if (cache === undefined || cache.refusal !== undefined) return undefined;
    return { ...sourceOf(cache, repository), isInsecure: cache.isInsecure };
  }

  /** Why nothing can be pushed to a repository; undefined when it is in no cache project. */
  async refusePush(repository: RepositoryName): Promise<OciError | undefined> {
    const cache = await this.#options.caches.of(projectOf(repository));
    if (cache === undefined) return undefined;
    const { registry, path } = sourceOf(cache, repository);
    const refusal = new OciError(
      'UNSUPPORTED',
      { project: cache.project, upstream: `${registry}/${path}` },
      { headers: { Allow: 'GET, HEAD' } },
    );
    refusal.message = `project ${cache.project} is a cache of ${registry}, and takes no pushes`;
    return refusal;
  }

  async #prepareTag(cache: UpstreamCache, repository: RepositoryName, tag: Tag): Promise<string | undefined> {
    if (!cache.takesTag(tag)) return undefined;
    const { filler, repositories } = this.#options;
    const here = (await repositories.findManifest(repository, { kind: 'tag', tag }))?.digest;
    const key = keyOf(cache, repository, tag);
    const known = this.#known(key);
    // What was fresh a moment ago may have been deleted.
    if (known !== undefined && (here !== undefined || known.error !== undefined)) {
      return this.#answer(cache, known.error, here);
    }
    const running = this.#checkOnce(key, cache, () => filler.fillTag(cache, repository, tag, here));
    if (here === undefined) return this.#answer(cache, (await running.outcome).error, here);
    const check = await within(running.outcome, running.since + this.#patienceMs - this.#now().getTime());
    if (check === undefined) return staleWarning(cache, staleReason(cache.registry, undefined));
    return this.#answer(cache, check.error, here);
  }

  async #prepareDigest(cache: UpstreamCache, repository: RepositoryName, digest: Digest): Promise<string | undefined> {
    const { filler, repositories } = this.#options;
    if ((await repositories.findManifest(repository, { kind: 'digest', digest })) !== undefined) return undefined;
    const key = keyOf(cache, repository, digest);
    const known = this.#known(key);
    if (known?.error !== undefined) return this.#answer(cache, known.error, undefined);
    const { outcome } = this.#checkOnce(key, cache, () => filler.fillDigest(cache, repository, digest));
    return this.#answer(cache, (await outcome).error, undefined);
  }

  #known(key: string): Check | undefined {
    const known = this.#checks.get(key);
    return known === undefined || known.until <= this.#now().getTime() ? undefined : known;
  }

  #checkOnce(key: string, cache: UpstreamCache, work: () => Promise<void>): RunningCheck {
    const under = this.#running.get(key);
    if (under !== undefined) return under;
    const running = { since: this.#now().getTime(), outcome: this.#check(key, cache, work) };
    this.#running.set(key, running);
    void running.outcome.then(() => this.#running.delete(key));
    return running;
  }

  async #check(key: string, { freshMs, missingMs }: UpstreamCache, work: () => Promise<void>): Promise<Check> {
    const ending = (error: Error | undefined, ms: number): Check => ({ error, until: this.#now().getTime() + ms });
    let check: Check;
    try {
      await work();
      check = ending(undefined, freshMs);
    } catch (error) {
      if (!isExpected(error)) {
        this.#options.onError(error);
        return ending(error instanceof Error ? error : new Error('unknown', { cause: error }), 0);
      }
      check = ending(error, waitAfter(error, missingMs));
    }
    this.#checks.set(key, check);
    return check;
  }

  /** @returns a warning for what is here, if any; throws what is to be told when nothing is */
  #answer(cache: UpstreamCache, error: Error | undefined, here: Digest | undefined): string | undefined {
    if (error === undefined) return undefined;
    const isUpstream = error instanceof UpstreamError;
    if (here === undefined) throw isUpstream ? upstreamRefusal(cache.registry, error) : error;
    if (error instanceof TagProtectedError) return undefined;
    return staleWarning(cache, isUpstream ? staleReason(cache.registry, error.problem) : reasonHere(error));
  }
}

function keyOf(cache: UpstreamCache, repository: RepositoryName, reference: string): string {
  return `${repository} ${reference} ${cache.registry}/${cache.path}`;
}

/** What the other registry, or the rules of the project, may say at any time. */
function isExpected(error: unknown): error is Error {
  return [UpstreamError, OciError, StreamLimitError, TagProtectedError, ProjectUnavailableError].some(
    (expected) => error instanceof expected,
  );
}

function waitAfter(error: Error, missingMs: number): number {
  if (!(error instanceof UpstreamError)) return backOffMs;
  if (error.problem === 'not-found') return missingMs;
  return Math.min(Math.max(error.retryAfterMs ?? backOffMs, 1000), maxBackOffMs);
}

function reasonHere(error: Error): string {
  return error instanceof StreamLimitError ? error.message : 'what is new could not be stored';
}

function staleWarning({ registry }: UpstreamCache, why: string): string {
  return `${why}; this is what ${registry} had before`;
}

/** @returns undefined when it takes longer */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.max(ms, 0), undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
