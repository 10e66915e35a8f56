import type { BlobStore } from '../blobstore/blob-store.js';
import type { BlobRecords } from '../metadata/blob-records.js';
import type { UploadService } from './uploads.js';

const batchSize = 100;

/** What a round of collection did. */
export interface CollectionReport {
  readonly linksLookedAt: number;
  readonly blobsDeleted: number;
  readonly uploadsExpired: number;
}

/**
 * Collects what nothing reaches, from queues that were filled when it became unreachable: no walk of the store, no
 * pause, only small transactions between other people's requests. Nothing that an image refers to is ever deleted, nor
 * a blob before its grace time is over.
 */
export class GarbageCollection {
  readonly #store: BlobStore;
  readonly #blobs: BlobRecords;
  readonly #uploads: UploadService;
  readonly #now: () => Date;

  constructor(store: BlobStore, blobs: BlobRecords, uploads: UploadService, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#blobs = blobs;
    this.#uploads = uploads;
    this.#now = now;
  }

  /** Works off all that is due. @param signal ends the round between two steps */
  async run(signal: AbortSignal): Promise<CollectionReport> {
    return {
      linksLookedAt: await inRounds(signal, () => this.#blobs.collectLinks(this.#now(), batchSize)),
      blobsDeleted: await inRounds(signal, () => this.#deleteDiscarded()),
      uploadsExpired: await inRounds(signal, () => this.#uploads.expire()),
    };
  }

  async #deleteDiscarded(): Promise<number> {
    const locations = await this.#blobs.listDiscardedLocations(batchSize);
    for (const location of locations) {
      await this.#store.delete(location);
      await this.#blobs.forgetDiscardedLocation(location);
    }
    return locations.length;
  }
}

async function inRounds(signal: AbortSignal, round: () => Promise<number>): Promise<number> {
  let total = 0;
  let count;
  do {
    if (signal.aborted) break;
    count = await round();
    total += count;
  } while (count === batchSize);
  return total;
}
