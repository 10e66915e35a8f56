import type { Digest } from '../oci/digest.js';
import type { BlobRecord } from './blob-records.js';

/** Blobs whose bytes go from one place to another, while they are read and others come and go. */
export interface BlobMoves {
  /**
   * Blobs in byte order of their digests.
   *
   * @param after the last digest of the page before; undefined for the first page
   */
  listBlobs(page: { readonly after: Digest | undefined; readonly limit: number }): Promise<BlobRecord[]>;

  findBlob(digest: Digest): Promise<BlobRecord | undefined>;

  /**
   * Lets a blob be at another location, where its bytes are durable, and ends the upload they came by. Those of before may be
   * deleted from a time on.
   *
   * @param blob as it was read
   * @returns false when the blob is no more as it was read, or the upload has ended: nothing has changed then, and the new bytes
   *   are to be discarded
   */
  moveBlob(
    blob: BlobRecord,
    to: { readonly location: string; readonly upload: string; readonly deleteFrom: Date },
  ): Promise<boolean>;
}
