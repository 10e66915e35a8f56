import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** A repository of another registry that an image came from. */
export interface BlobOrigin {
  /** Host and perhaps port: `docker.io` for Docker Hub, however it was written. */
  readonly registry: string;
  /** Below the registry, as in `library/alpine`. */
  readonly path: string;
  /** Whether a tag or the stream says that certificates need not be valid there, and plain HTTP may be spoken. */
  readonly isInsecure: boolean;
}

/** Where a blob of an image may be got from that came from elsewhere without its blobs. */
export interface BlobOrigins {
  /** Bytes, as the manifests say; undefined when none says it, or when they differ. */
  readonly size: number | undefined;
  /** Whether a tag with the reference policy `Local` holds an image that has the blob. */
  readonly isLocal: boolean;
  /** Each once: those of what is in the history of a tag first, and of these the newest. */
  readonly origins: readonly BlobOrigin[];
}

/** Knows which images came from elsewhere, and from where. */
export interface ImageSources {
  /**
   * Where a blob may come from that an image refers to which this repository links: the sources of that image, and of the
   * indexes that list it.
   *
   * @param limit of origins
   * @returns undefined when no image of the repository refers to the blob
   */
  findBlobOrigins(repository: RepositoryName, digest: Digest, limit: number): Promise<BlobOrigins | undefined>;
}
