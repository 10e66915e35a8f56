import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { Changes, type BlobArrival } from './blob-arrival.js';

/** What became of a fetch. */
export type FetchEnd =
  /** The repository links the blob. */
  | { readonly kind: 'stored' }
  /** It can be read from its last arrival, while somebody does. */
  | { readonly kind: 'passing' }
  /** No image from elsewhere has it. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'failed'; readonly error: unknown };

/** One search for a blob in the registries it may come from, for everyone who wants it meanwhile. */
export class BlobFetch {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Whether it is only worth having when it is kept. */
  readonly mustKeep: boolean;
  readonly changes = new Changes();
  /** From the registry that is giving it, or has given it last; undefined between two. */
  arrival: BlobArrival | undefined;
  /** Undefined while it is going on. */
  end: FetchEnd | undefined;
  /** Resolves when it has ended. */
  over: Promise<void> = Promise.resolve();

  constructor(repository: RepositoryName, digest: Digest, mustKeep: boolean) {
    this.repository = repository;
    this.digest = digest;
    this.mustKeep = mustKeep;
  }

  finish(end: FetchEnd): void {
    this.end = end;
    this.changes.announce();
  }
}
