import type { Readable } from 'node:stream';
import type {
  AbandonedOptions,
  AdoptedFile,
  AppendOptions,
  AppendResult,
  BlobStore,
  ByteRange,
  GrowingBytes,
  StoredBytes,
  UploadProgress,
} from './blob-store.js';

/** Before locations and states of S3; those of the disk, which was there first, have nothing. */
const s3Prefix = 's3:';

/** Where bytes can be. */
export type BlobStoreKind = 'disk' | 's3';

/** The store in which bytes of a location are. */
export function kindOfLocation(location: string): BlobStoreKind {
  return location.startsWith(s3Prefix) ? 's3' : 'disk';
}

/**
 * A folder and S3 at once: new bytes go to one of them, and whatever was written before is read where it is. An upload goes on in the
 * store in which it began.
 */
export class BlobStores implements BlobStore {
  readonly kind: BlobStoreKind;
  readonly #stores: Readonly<Record<BlobStoreKind, BlobStore>>;
  /** Uploads with bytes on disk that may not be synced yet; on S3 nothing is ever left to sync. */
  readonly #unsynced = new Set<string>();

  /** @param kind where new bytes go */
  constructor(stores: Readonly<Record<BlobStoreKind, BlobStore>>, kind: BlobStoreKind) {
    this.#stores = stores;
    this.kind = kind;
  }

  /** The same stores, with new bytes going to the one or the other. */
  writingTo(kind: BlobStoreKind): BlobStores {
    return new BlobStores(this.#stores, kind);
  }

  async append(upload: UploadProgress, source: Readable, options: AppendOptions): Promise<AppendResult> {
    // Also for bytes of none: a session that was begun and never written to begins here.
    const kind = upload.size === 0 ? this.kind : kindOfState(upload.state);
    if (kind === 'disk') this.#unsynced.add(upload.id);
    const result = await this.#stores[kind].append({ ...upload, state: inner(upload.state) }, source, options);
    return { ...result, state: outer(kind, result.state) };
  }

  async sync(upload: string): Promise<void> {
    if (this.#unsynced.delete(upload)) await this.#stores.disk.sync(upload);
  }

  async openUpload(
    upload: UploadProgress,
  ): Promise<{ readonly bytes: StoredBytes; readonly state: string | undefined } | undefined> {
    const kind = kindOfState(upload.state);
    const opened = await this.#stores[kind].openUpload({ ...upload, state: inner(upload.state) });
    return opened && { bytes: opened.bytes, state: outer(kind, opened.state) };
  }

  async followUpload(upload: string): Promise<GrowingBytes | undefined> {
    return (await this.#stores[this.kind].followUpload(upload)) ?? this.#stores.disk.followUpload(upload);
  }

  async finish(upload: UploadProgress): Promise<string | undefined> {
    const kind = upload.size === 0 ? this.kind : kindOfState(upload.state);
    this.#unsynced.delete(upload.id);
    const location = await this.#stores[kind].finish({ ...upload, state: inner(upload.state) });
    return location && outerLocation(kind, location);
  }

  async settle(upload: UploadProgress, location: string): Promise<void> {
    const inStore = { ...upload, state: inner(upload.state) };
    await this.#stores[kindOfLocation(location)].settle?.(inStore, innerLocation(location));
  }

  async takeOver(upload: UploadProgress): Promise<void> {
    await this.#stores[kindOfState(upload.state)].takeOver?.({ ...upload, state: inner(upload.state) });
  }

  async adopt(upload: string, path: string, mayShare: boolean): Promise<AdoptedFile | undefined> {
    const adopted = await this.#stores[this.kind].adopt(upload, path, mayShare);
    return adopted && { ...adopted, location: outerLocation(this.kind, adopted.location) };
  }

  async discardUpload({ id, state }: Pick<UploadProgress, 'id' | 'state'>): Promise<void> {
    this.#unsynced.delete(id);
    // What failed before its state was remembered is where new bytes went.
    const kinds = new Set([kindOfState(state), this.kind]);
    for (const kind of kinds) await this.#stores[kind].discardUpload({ id, state: inner(state) });
  }

  open(location: string, range?: ByteRange): Promise<StoredBytes | undefined> {
    return this.#of(location).open(innerLocation(location), range);
  }

  size(location: string): Promise<number | undefined> {
    return this.#of(location).size(innerLocation(location));
  }

  async presign(location: string, expiresSeconds: number): Promise<string | undefined> {
    return this.#of(location).presign?.(innerLocation(location), expiresSeconds);
  }

  delete(location: string): Promise<void> {
    return this.#of(location).delete(innerLocation(location));
  }

  async *list(): AsyncIterable<string> {
    for (const kind of ['disk', 's3'] as const) {
      for await (const location of this.#stores[kind].list()) yield outerLocation(kind, location);
    }
  }

  async *listUploads(): AsyncIterable<string> {
    for (const kind of ['disk', 's3'] as const) yield* this.#stores[kind].listUploads();
  }

  async removeAbandoned(options: AbandonedOptions): Promise<number> {
    let removed = 0;
    for (const kind of ['disk', 's3'] as const) {
      const isLeftover = (location: string) => options.isLeftover(outerLocation(kind, location));
      removed += (await this.#stores[kind].removeAbandoned?.({ ...options, isLeftover })) ?? 0;
    }
    return removed;
  }

  async check(): Promise<void> {
    await this.#stores[this.kind].check();
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#stores).map((store) => store.close()));
  }

  #of(location: string): BlobStore {
    return this.#stores[kindOfLocation(location)];
  }
}

function kindOfState(state: string | undefined): BlobStoreKind {
  return state?.startsWith(s3Prefix) === true ? 's3' : 'disk';
}

function inner(state: string | undefined): string | undefined {
  return state?.startsWith(s3Prefix) === true ? state.slice(s3Prefix.length) : state;
}

function outer(kind: BlobStoreKind, state: string | undefined): string | undefined {
  return kind === 's3' && state !== undefined ? `${s3Prefix}${state}` : state;
}

function innerLocation(location: string): string {
  return location.startsWith(s3Prefix) ? location.slice(s3Prefix.length) : location;
}

function outerLocation(kind: BlobStoreKind, location: string): string {
  return kind === 's3' ? `${s3Prefix}${location}` : location;
}
