import { Readable } from 'node:stream';
import type { BlobStore } from '../blobstore/blob-store.js';
import type { BlobOrigin } from '../metadata/image-sources.js';
import { digestAlgorithm, type Digest, type DigestAlgorithm } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import {
  UpstreamError,
  type Upstream,
  type UpstreamAccess,
  type UpstreamBlob,
  type UpstreamProblem,
} from '../upstream/upstream.js';
import { BlobArrival } from './blob-arrival.js';
import type { BlobFetch } from './blob-fetch.js';

/** Upload sessions, by which blobs that are kept become those of a repository. */
export interface BlobUploads {
  start(repository: RepositoryName, principal: string, algorithm: DigestAlgorithm): Promise<{ readonly id: string }>;
  append(key: UploadKey, body: UploadBody): Promise<{ readonly digestSoFar: Digest }>;
  /** Durable, with its row and a link to the repository, when it resolves. */
  finish(key: UploadKey, digest: Digest, body: UploadBody): Promise<void>;
  cancel(key: UploadKey): Promise<void>;
}

interface UploadKey {
  readonly repository: RepositoryName;
  readonly id: string;
  readonly principal: string;
}

interface UploadBody {
  readonly source: Readable;
  readonly range: undefined;
  readonly length: number;
  readonly onWritten: (bytes: number) => void;
}

/** How one attempt at one registry ended. */
export interface FetchReport {
  readonly registry: string;
  readonly outcome: 'kept' | 'passed-on' | 'failed' | UpstreamProblem;
  /** That came, whether they counted or not. */
  readonly bytes: number;
}

/** What a BlobReceiver works with. */
export interface BlobReceiverOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly store: Pick<BlobStore, 'followUpload'>;
  readonly uploads: BlobUploads;
  /** Whether the limits of a project let it have so many bytes more, in one blob. */
  readonly mayKeep: (repository: RepositoryName, size: number) => Promise<boolean>;
  readonly onFetch?: (report: FetchReport) => void;
  /** Blobs that are not kept and may be here at once, until nobody reads them. 256 when left out. */
  readonly maxPassing?: number;
  /** How long such a blob waits for a next reader. 5 seconds when left out. */
  readonly lingerMs?: number;
}

/** What one registry is to give. */
export interface Delivery {
  readonly origin: BlobOrigin;
  readonly access: UpstreamAccess;
  /** Bytes it must have; undefined when nobody knows. */
  readonly size: number | undefined;
  /** Whether it is to be kept, when the limits of the project allow it. */
  readonly isKept: boolean;
  /** Asked when all bytes are there and are about to be kept: whether the repository still wants them. */
  readonly isWanted: () => Promise<boolean>;
  /** What is not kept has gone. */
  readonly onGone: () => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Who the sessions belong to. */
const principal = 'system:pull-through';

/** Receives blobs of other registries into upload sessions, for all who read them meanwhile. */
export class BlobReceiver {
  readonly #options: BlobReceiverOptions;
  #passing = 0;
  /** Takes away what is passing. */
  readonly #endings = new Set<() => Promise<void>>();

  constructor(options: BlobReceiverOptions) {
    this.#options = options;
  }

  /** Takes away all that is not kept; who is reading it may read on. */
  async close(): Promise<void> {
    await Promise.all([...this.#endings].map((end) => end()));
  }

  /** Gets a blob from one registry. @throws {UpstreamError} when another one should be asked */
  async receive(fetch: BlobFetch, delivery: Delivery): Promise<'stored' | 'passing'> {
    const { upstream, onFetch } = this.#options;
    const { origin, access, signal } = delivery;
    const { registry } = origin;
    let bytes = 0;
    const onBytes = (count: number) => {
      bytes = count;
    };
    try {
      const blob = await upstream.openBlob(origin, fetch.digest, access);
      const stop = () => {
        blob.cancel();
      };
      signal.addEventListener('abort', stop, { once: true });
      try {
        const isKept = await this.#admit(fetch, delivery, blob);
        const end = await this.#take(fetch, delivery, blob, { isKept, onBytes });
        onFetch?.({ registry, outcome: end === 'stored' ? 'kept' : 'passed-on', bytes });
        return end;
      } finally {
        signal.removeEventListener('abort', stop);
        blob.cancel();
      }
    } catch (error) {
      onFetch?.({ registry, outcome: error instanceof UpstreamError ? error.problem : 'failed', bytes });
      throw error;
    }
  }

  /** @returns whether the blob is kept @throws {OciError} when it may not come at all */
  async #admit(fetch: BlobFetch, { origin, size, isKept }: Delivery, blob: UpstreamBlob): Promise<boolean> {
    const { mayKeep, maxPassing = 256 } = this.#options;
    if (size !== undefined && blob.size !== size) {
      throw integrity(origin, fetch.digest, `it has ${blob.size} bytes, and the manifest says ${size}`);
    }
    if ((isKept || fetch.mustKeep) && (await mayKeep(fetch.repository, blob.size))) return true;
    if (fetch.mustKeep) throw new OciError('DENIED', 'the limits of the project stand against keeping the blob');
    if (this.#passing < maxPassing) return false;
    throw new OciError('TOOMANYREQUESTS', 'too many blobs that are not kept are being pulled; try again later', {
      headers: { 'Retry-After': '10' },
    });
  }

  /** Takes what a registry sends into an upload, for all who read it meanwhile. */
  async #take(
    fetch: BlobFetch,
    delivery: Delivery,
    blob: UpstreamBlob,
    { isKept, onBytes }: { readonly isKept: boolean; readonly onBytes: (bytes: number) => void },
  ): Promise<'stored' | 'passing'> {
    const { uploads, store } = this.#options;
    const { repository, digest } = fetch;
    if (!isKept) this.#passing += 1;
    const arrival = new BlobArrival(blob.size, fetch.changes);
    let key: UploadKey | undefined;
    let following: Promise<void> | undefined;
    let broken: { readonly error: unknown } | undefined;
    const source = Readable.from(checked(blob, delivery, { digest, isKept }), { objectMode: false });
    // Also while nobody reads on.
    source.on('error', (error) => {
      broken ??= { error };
    });
    try {
      const { id } = await uploads.start(repository, principal, digestAlgorithm(digest));
      key = { repository, id, principal };
      const follow = async () => {
        const bytes = await store.followUpload(id);
        if (bytes !== undefined) arrival.follow(bytes);
      };
      const onWritten = (count: number) => {
        onBytes(count);
        arrival.grow(count);
        // Should it not be readable now, it is when all has come.
        following ??= follow().catch(() => undefined);
      };
      const body = { source, range: undefined, length: blob.size, onWritten };
      fetch.arrival = arrival;
      if (isKept) await uploads.finish(key, digest, body);
      else {
        const { digestSoFar } = await uploads.append(key, body);
        if (digestSoFar !== digest) throw new OciError('DIGEST_INVALID', { expected: digest, actual: digestSoFar });
      }
      await following;
      if (!isKept && !arrival.isFollowed) await follow();
      arrival.verify();
    } catch (error) {
      const reason = broken === undefined ? asIntegrity(error, delivery.origin, digest) : broken.error;
      fetch.arrival = undefined;
      blob.cancel();
      source.destroy();
      await following;
      // A session that is left, because the database does not answer, expires.
      if (key !== undefined) await uploads.cancel(key).catch(() => undefined);
      if (!isKept) this.#passing -= 1;
      // Last: who is cut off comes back at once, and is to find a new fetch.
      arrival.fail(reason);
      arrival.onIdle(() => arrival.close());
      throw reason;
    }
    if (isKept) arrival.onIdle(() => arrival.close());
    else this.#letPass(arrival, key, delivery.onGone);
    return isKept ? 'stored' : 'passing';
  }

  /** Keeps a blob for those who read it, and a little longer for who comes next. */
  #letPass(arrival: BlobArrival, key: UploadKey, onGone: () => void): void {
    const { uploads, lingerMs = 5000 } = this.#options;
    let lingering: NodeJS.Timeout | undefined;
    const end = async () => {
      clearTimeout(lingering);
      if (!this.#endings.delete(end)) return;
      this.#passing -= 1;
      onGone();
      arrival.onIdle(() => arrival.close());
      await uploads.cancel(key).catch(() => undefined);
    };
    this.#endings.add(end);
    arrival.onIdle(() => {
      clearTimeout(lingering);
      lingering = setTimeout(() => {
        if (arrival.readers === 0) void end();
      }, lingerMs);
      lingering.unref();
      return Promise.resolve();
    });
  }
}

/** The bytes; at their end, where they would become a blob of the repository, whether that is still wanted. */
async function* checked(
  blob: UpstreamBlob,
  { origin, isWanted }: Delivery,
  { digest, isKept }: { readonly digest: Digest; readonly isKept: boolean },
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of blob.body) if (chunk.length > 0) yield chunk;
  } catch (error) {
    if (error instanceof UpstreamError) throw error;
    const reference = referenceOf(origin, digest);
    throw new UpstreamError('unavailable', `${reference} broke off`, { reference, cause: error });
  }
  if (isKept && !(await isWanted())) {
    throw new OciError('BLOB_UNKNOWN', { digest, reason: 'its image was deleted while it was fetched' });
  }
}

function referenceOf({ registry, path }: BlobOrigin, digest: Digest): string {
  return `${registry}/${path}@${digest}`;
}

function integrity(origin: BlobOrigin, digest: Digest, what: string, cause?: unknown): UpstreamError {
  const reference = referenceOf(origin, digest);
  return new UpstreamError('integrity', `${reference} is not what it should be: ${what}`, { reference, cause });
}

/** That bytes are not what they should be is the fault of who sent them. */
function asIntegrity(error: unknown, origin: BlobOrigin, digest: Digest): unknown {
  if (!(error instanceof OciError)) return error;
  if (error.code === 'DIGEST_INVALID') return integrity(origin, digest, 'its bytes have another digest', error);
  if (error.code === 'SIZE_INVALID')
    return integrity(origin, digest, 'it does not have as many bytes as it said', error);
  return error;
}
