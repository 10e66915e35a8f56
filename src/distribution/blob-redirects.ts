import { BlockList, isIP } from 'node:net';
import type { BlobStore } from '../blobstore/blob-store.js';
import type { ReadableBlob } from './blobs.js';

/** Whether blobs are read at the store that has them, and by whom. */
export interface BlobRedirectOptions {
  readonly expireSeconds: number;
  /** Addresses and ranges of addresses of clients that are never sent elsewhere. */
  readonly exclude: readonly string[];
}

/** Sends clients to where the bytes of a blob are, by a URL that is good for a while and for this blob alone. */
export class BlobRedirects {
  readonly #store: Pick<BlobStore, 'presign'>;
  readonly #expireSeconds: number;
  readonly #excluded = new BlockList();

  constructor(store: Pick<BlobStore, 'presign'>, { expireSeconds, exclude }: BlobRedirectOptions) {
    this.#store = store;
    this.#expireSeconds = expireSeconds;
    for (const range of exclude) {
      const [address = '', prefix] = range.split('/');
      const family = familyOf(address);
      if (prefix === undefined) this.#excluded.addAddress(address, family);
      else this.#excluded.addSubnet(address, Number(prefix), family);
    }
  }

  /**
   * @param addresses of the client, and of proxies it may have come through
   * @returns undefined when the bytes are to be had here only
   */
  async urlOf({ location }: ReadableBlob, addresses: readonly string[]): Promise<string | undefined> {
    if (location === undefined || addresses.some((address) => this.#isExcluded(address))) return undefined;
    return this.#store.presign?.(location, this.#expireSeconds);
  }

  /** What is no address might be one of those. */
  #isExcluded(address: string): boolean {
    const plain = address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
    return isIP(plain) === 0 || this.#excluded.check(plain, familyOf(plain));
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
