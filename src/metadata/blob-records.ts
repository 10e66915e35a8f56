import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** Where the bytes of a blob are. */
export interface BlobRecord {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Names the bytes to the blob store that wrote them. */
  readonly location: string;
}

/** A blob as one repository sees it. */
export interface LinkedBlob extends BlobRecord {
  /** Set while nothing is known to refer to the blob: the earliest time at which the link may be collected. */
  readonly collectAt: Date | undefined;
}

/** What became of the wish to delete a blob from a repository. */
export type UnlinkResult =
  { readonly kind: 'unlinked' } | { readonly kind: 'absent' } | { readonly kind: 'referenced'; readonly by: Digest };

/** Facts about blobs: where their bytes are, and through which repositories they may be read. */
export interface BlobRecords {
  /** The blob, when this repository links it. */
  findLinkedBlob(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | undefined>;

  /** Names of repositories that link the blob, in byte order. */
  listRepositoriesWithBlob(
    digest: Digest,
    page: { readonly last: string | undefined; readonly limit: number },
  ): Promise<RepositoryName[]>;

  /**
   * Links a blob whose bytes are in the store already.
   *
   * @param collectAt when the link may be collected if nothing has come to refer to the blob
   * @returns undefined when the store holds no such blob
   */
  linkBlob(repository: RepositoryName, digest: Digest, collectAt: Date): Promise<BlobRecord | undefined>;

  /**
   * Records bytes that are durable at `blob.location`, links them, and ends the upload they came by. When another
   * upload of the same digest was faster, its location stays, and this upload goes on until its bytes are discarded.
   *
   * @returns the record that holds now
   */
  addBlob(repository: RepositoryName, blob: BlobRecord, upload: string, collectAt: Date): Promise<BlobRecord>;

  /** Points a blob whose bytes were lost at new ones, and ends the upload they came by. */
  relocateBlob(digest: Digest, location: string, upload: string): Promise<void>;

  /** Removes the link, and the record with its bytes when it was the last one; refused while an image needs it. */
  unlinkBlob(repository: RepositoryName, digest: Digest): Promise<UnlinkResult>;

  /**
   * Removes the blob from every repository that links it, with its record and bytes; refused while an image of any
   * repository refers to it.
   */
  unlinkEverywhere(digest: Digest): Promise<UnlinkResult>;

  /** Puts off the collection of a link that has become a candidate; a link that is none stays so. */
  postponeCollection(repository: RepositoryName, digest: Digest, collectAt: Date): Promise<void>;

  /**
   * Looks at links whose time has come: those that an image of their repository refers to are kept, the others go,
   * and with the last link the record. Each is one transaction.
   *
   * @returns how many links were looked at, at most `limit`
   */
  collectLinks(now: Date, limit: number): Promise<number>;

  /** Locations whose record is gone and whose bytes are to be deleted. */
  listDiscardedLocations(limit: number): Promise<string[]>;

  /** The bytes at this location are gone. */
  forgetDiscardedLocation(location: string): Promise<void>;

  /** Walks an index; for a gauge that is refreshed now and then, never for a request. */
  countBlobs(): Promise<number>;
}
