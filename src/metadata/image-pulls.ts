import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** An image of a repository. */
export interface RepositoryImage {
  readonly repository: RepositoryName;
  readonly image: Digest;
}

/** When images were last pulled, for projects that keep only what is. */
export interface ImagePulls {
  /** Keeps the newest time of each image. What a power failure takes is the last minute. */
  record(pulls: readonly (RepositoryImage & { readonly at: Date })[]): Promise<void>;

  /**
   * Images of a project that have been there since a time and were not pulled since. One call looks at a limited number of
   * images, so a page may be empty and yet not the last.
   *
   * @param after as an earlier page gave it
   * @param limit images that are looked at
   * @returns next: undefined on the last page
   */
  listUnpulled(
    project: string,
    before: Date,
    page: { readonly after: UnpulledPosition | undefined; readonly limit: number },
  ): Promise<{ readonly images: readonly RepositoryImage[]; readonly next: UnpulledPosition | undefined }>;

  /** Forgets some pulls of images that have left the repositories of a project. @returns how many */
  forgetUnlinked(project: string, limit: number): Promise<number>;
}

/** Up to where the images of a project were looked at. */
export interface UnpulledPosition {
  readonly repository: RepositoryName;
  /** Undefined: the whole repository. */
  readonly image: Digest | undefined;
}
