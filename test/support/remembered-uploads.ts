import type { Readable } from 'node:stream';
import type {
  AppendOptions,
  AppendResult,
  BlobStore,
  GrowingBytes,
  StoredBytes,
} from '../../src/blobstore/blob-store.js';

/** Uploads of a store, whose states are remembered here as the database does it for the registry. */
export class RememberedUploads {
  readonly #store: BlobStore;
  readonly #states = new Map<string, string | undefined>();

  constructor(store: BlobStore) {
    this.#store = store;
  }

  async append(
    id: string,
    source: Readable,
    { offset, ...options }: AppendOptions & { readonly offset: number },
  ): Promise<Omit<AppendResult, 'state'>> {
    const { state, ...result } = await this.#store.append(
      { id, size: offset, state: this.stateOf(id) },
      source,
      options,
    );
    this.#states.set(id, state);
    return result;
  }

  stateOf(id: string): string | undefined {
    return this.#states.get(id);
  }

  sync(id: string): Promise<void> {
    return this.#store.sync(id);
  }

  async openUpload(id: string, size: number): Promise<StoredBytes | undefined> {
    const opened = await this.#store.openUpload({ id, size, state: this.stateOf(id) });
    if (opened !== undefined) this.#states.set(id, opened.state);
    return opened?.bytes;
  }

  followUpload(id: string): Promise<GrowingBytes | undefined> {
    return this.#store.followUpload(id);
  }

  /** Remembers the location as well. */
  async finish(id: string, size: number): Promise<string | undefined> {
    const upload = { id, size, state: this.stateOf(id) };
    const location = await this.#store.finish(upload);
    if (location !== undefined) await this.#store.settle?.(upload, location);
    return location;
  }

  discardUpload(id: string): Promise<void> {
    return this.#store.discardUpload({ id, state: this.stateOf(id) });
  }
}
