import type { BlobStore, ByteRange, StoredBytes } from '../blobstore/blob-store.js';
import type { BlobRecords } from '../metadata/blob-records.js';
import type { BlobOrigin, ImageSources } from '../metadata/image-sources.js';
import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import { askAlsoAnonymously } from '../upstream/also-anonymously.js';
import { canonicalRepository } from '../upstream/upstream-settings.js';
import { UpstreamError, type Upstream, type UpstreamAccess, type UpstreamRepository } from '../upstream/upstream.js';
import { BlobFetch } from './blob-fetch.js';
import { BlobReceiver, type BlobReceiverOptions } from './blob-receiver.js';
import { blobRefusal } from './blob-refusals.js';
import { Slots } from './slots.js';

/** What a BlobRelay works with. */
export interface BlobRelayOptions extends BlobReceiverOptions {
  readonly upstream: Pick<Upstream, 'headBlob' | 'openBlob'>;
  readonly sources: ImageSources;
  readonly store: Pick<BlobStore, 'followUpload' | 'open' | 'size'>;
  readonly blobs: Pick<BlobRecords, 'findLinkedBlob'>;
  /** In whose name a project speaks to other registries. */
  readonly accessOf: (project: string, isInsecure: boolean) => Promise<UpstreamAccess>;
  /** Of a repository that is one of another registry's: its blobs come from there, and are kept. */
  readonly cacheSourceOf?: (
    repository: RepositoryName,
  ) => Promise<(UpstreamRepository & { readonly isInsecure?: boolean }) | undefined>;
  /** Whether a registry is this one, which is never asked: by the host and port that people write. */
  readonly isOwn: (registry: string) => boolean;
  /** Keep what came for a tag whose reference policy is `Local`. */
  readonly keep: boolean;
  /** Keep all else too. */
  readonly keepSource: boolean;
  /** Blobs that may be coming in at once; others wait. 64 when left out. */
  readonly maxFetches?: number;
  /** Of them those of one project, so that none waits for the slow registries of another. 32 when left out. */
  readonly maxFetchesOfProject?: number;
}

/** Where a blob may come from to which an image of the repository refers. */
interface Wanted {
  /** Bytes; undefined when only the registries know. */
  readonly size: number | undefined;
  /** Whether it is to be kept, as far as the policy goes. */
  readonly isKept: boolean;
  readonly origins: readonly BlobOrigin[];
}

/** Registries that are asked for one blob. */
const maxOrigins = 5;

/**
 * Blobs of other registries, served through repositories whose images came from there (`RemoteBlobs`). Within this process
 * there is one fetch for each repository and blob at a time, and it goes on whether or not anybody still waits for it; another
 * repository or process has a fetch of its own, since what one may see is no reason that the other may, and what is kept is
 * kept once all the same. The bytes go into an upload session, from whose file everybody reads while they come: one that was
 * cut short by a crash expires like any other.
 */
export class BlobRelay {
  readonly #options: BlobRelayOptions;
  readonly #slots: Slots;
  readonly #fetches = new Map<string, BlobFetch>();
  readonly #receiver: BlobReceiver;
  readonly #closing = new AbortController();

  constructor(options: BlobRelayOptions) {
    this.#options = options;
    this.#slots = new Slots(options.maxFetches ?? 64, options.maxFetchesOfProject ?? 32);
    this.#receiver = new BlobReceiver(options);
  }

  /** As `RemoteBlobs.stat`. */
  async stat(repository: RepositoryName, digest: Digest): Promise<number | undefined> {
    // First: what is passing may be read by those who come next, but not when its image was deleted meanwhile.
    const wanted = await this.#find(repository, digest);
    if (wanted === undefined || wanted.size !== undefined) return wanted?.size;
    const arrival = this.#fetches.get(keyOf(repository, digest))?.arrival;
    if (arrival !== undefined) return arrival.size;
    return this.#fromFirst(repository, digest, wanted, async (origin) =>
      askAlsoAnonymously(await this.#accessTo(origin, repository), (access) =>
        this.#options.upstream.headBlob(origin, digest, access),
      ),
    );
  }

  /** As `RemoteBlobs.open`. */
  async open(repository: RepositoryName, digest: Digest, range?: ByteRange): Promise<StoredBytes | undefined> {
    const fetch = this.#join(repository, digest);
    for (;;) {
      const { arrival, end } = fetch;
      if (end?.kind === 'failed') throw end.error;
      if (end?.kind === 'unknown') return undefined;
      if (end?.kind === 'stored') return this.#openStored(repository, digest, range);
      if (arrival !== undefined) {
        const wanted = range ?? { start: 0, end: arrival.size - 1 };
        if (arrival.isReadable(wanted)) return arrival.open(wanted);
      }
      await fetch.changes.next;
    }
  }

  /** As `RemoteBlobs.obtain`. */
  async obtain(repository: RepositoryName, digest: Digest): Promise<boolean> {
    const running = this.#fetches.get(keyOf(repository, digest));
    await running?.over;
    if (running?.end?.kind === 'stored') return true;
    const fetch = this.#join(repository, digest, { mustKeep: true });
    await fetch.over;
    if (fetch.end?.kind === 'failed') throw fetch.end.error;
    return fetch.end?.kind === 'stored';
  }

  /** Ends all fetches, and resolves when nothing is written any more. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the registry is stopping'));
    await Promise.all([...this.#fetches.values()].map(({ over }) => over));
    await this.#receiver.close();
  }

  #join(repository: RepositoryName, digest: Digest, { mustKeep } = { mustKeep: false }): BlobFetch {
    const key = mustKeep ? `${keyOf(repository, digest)} kept` : keyOf(repository, digest);
    const known = this.#fetches.get(key);
    if (known !== undefined) return known;
    const fetch = new BlobFetch(repository, digest, mustKeep);
    this.#fetches.set(key, fetch);
    fetch.over = this.#run(fetch).then(() => {
      // What is passing is found until it goes.
      if (fetch.end?.kind !== 'passing') this.#fetches.delete(key);
    });
    return fetch;
  }

  /** Never rejects: what goes wrong is for those who wait. */
  async #run(fetch: BlobFetch): Promise<void> {
    const { repository, digest } = fetch;
    try {
      this.#closing.signal.throwIfAborted();
      // An earlier fetch may have ended while somebody came who had not found the blob yet.
      if (await this.#isStored(repository, digest)) {
        fetch.finish({ kind: 'stored' });
        return;
      }
      const wanted = await this.#find(repository, digest);
      if (wanted === undefined) {
        fetch.finish({ kind: 'unknown' });
        return;
      }
      const kind = await this.#slots.run(projectOf(repository), () =>
        this.#fromFirst(repository, digest, wanted, (origin) => this.#receive(fetch, wanted, origin)),
      );
      fetch.finish({ kind });
    } catch (error) {
      fetch.finish({ kind: 'failed', error: this.#closing.signal.aborted ? stopping(error) : error });
    }
  }

  async #receive(fetch: BlobFetch, { size, isKept }: Wanted, origin: BlobOrigin): Promise<'stored' | 'passing'> {
    const { repository, digest } = fetch;
    return askAlsoAnonymously(await this.#accessTo(origin, repository), (access) =>
      this.#receiver.receive(fetch, {
        origin,
        access,
        size,
        isKept,
        isWanted: async () => (await this.#find(repository, digest)) !== undefined,
        onGone: () => {
          this.#fetches.delete(keyOf(repository, digest));
        },
        signal: this.#closing.signal,
      }),
    );
  }

  /** Asks one registry after the other. @throws {OciError} when none gave it */
  async #fromFirst<T>(
    repository: RepositoryName,
    digest: Digest,
    { origins }: Wanted,
    ask: (origin: BlobOrigin) => Promise<T>,
  ): Promise<T> {
    const errors: UpstreamError[] = [];
    for (const origin of origins) {
      try {
        return await ask(origin);
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
        errors.push(error);
        this.#closing.signal.throwIfAborted();
      }
    }
    throw blobRefusal(repository, digest, errors);
  }

  async #find(repository: RepositoryName, digest: Digest): Promise<Wanted | undefined> {
    const { sources, cacheSourceOf, isOwn, keep, keepSource } = this.#options;
    const found = await sources.findBlobOrigins(repository, digest, maxOrigins * 2);
    // Whoever makes up digests has nobody asked for them.
    if (found === undefined) return undefined;
    const cache = await cacheSourceOf?.(repository);
    const origins = new Map<string, BlobOrigin>();
    for (const { isInsecure = false, ...place } of [...(cache === undefined ? [] : [cache]), ...found.origins]) {
      const { registry, path } = canonicalRepository(place);
      const key = `${registry}/${path}`;
      if (!isOwn(registry) && !origins.has(key)) origins.set(key, { registry, path, isInsecure });
    }
    if (origins.size === 0) return undefined;
    return {
      size: found.size,
      isKept: cache !== undefined || (found.isLocal ? keep : keepSource),
      origins: [...origins.values()].slice(0, maxOrigins),
    };
  }

  async #accessTo({ isInsecure }: BlobOrigin, repository: RepositoryName): Promise<UpstreamAccess> {
    const access = await this.#options.accessOf(projectOf(repository), isInsecure);
    const { signal } = this.#closing;
    return { ...access, signal: access.signal === undefined ? signal : AbortSignal.any([access.signal, signal]) };
  }

  async #isStored(repository: RepositoryName, digest: Digest): Promise<boolean> {
    const { blobs, store } = this.#options;
    const blob = await blobs.findLinkedBlob(repository, digest);
    return blob !== undefined && (await store.size(blob.location)) === blob.size;
  }

  async #openStored(repository: RepositoryName, digest: Digest, range?: ByteRange): Promise<StoredBytes | undefined> {
    const blob = await this.#options.blobs.findLinkedBlob(repository, digest);
    return blob && this.#options.store.open(blob.location, range);
  }
}

function keyOf(repository: RepositoryName, digest: Digest): string {
  return `${repository} ${digest}`;
}

function stopping(cause: unknown): OciError {
  return new OciError('BLOB_UNKNOWN', 'the registry is stopping; try again', { status: 503, cause });
}
