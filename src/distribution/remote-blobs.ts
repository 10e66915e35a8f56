import type { ByteRange, StoredBytes } from '../blobstore/blob-store.js';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** Blobs that repositories have without their bytes being here: images refer to them that came from other registries. */
export interface RemoteBlobs {
  /**
   * @returns bytes; undefined when no image of the repository that came from elsewhere refers to the blob
   * @throws {OciError} as `open`, when only another registry knows the size
   */
  stat(repository: RepositoryName, digest: Digest): Promise<number | undefined>;

  /**
   * Resolves when the first byte wanted is here. The last one is given out only when all of the blob has come and has the
   * digest, so that nobody gets a whole answer of wrong bytes; when they are wrong, or stop coming, `copyTo` rejects.
   *
   * @param range the whole when left out
   * @returns undefined as `stat`
   * @throws {OciError} BLOB_UNKNOWN when no registry gives it; with status 502 or 503 when that may change; TOOMANYREQUESTS,
   *   with `Retry-After`, when one may not be asked more often for now
   */
  open(repository: RepositoryName, digest: Digest, range?: ByteRange): Promise<StoredBytes | undefined>;

  /**
   * Makes the blob one of the repository, for an image that is being pushed and needs it: `stat` has told the client that it
   * need not be sent.
   *
   * @returns whether the repository links it now
   * @throws {OciError} as `open`
   */
  obtain(repository: RepositoryName, digest: Digest): Promise<boolean>;
}
