import type { Digest } from '../oci/digest.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { BlobRecord } from './blob-records.js';

/** A tag beside its newest event. */
export interface InspectedTag {
  readonly repository: RepositoryName;
  readonly name: Tag;
  /** Undefined when it points outside. */
  readonly image: Digest | undefined;
  readonly sequence: number;
  /** Whether the repository links the image. */
  readonly linked: boolean;
  readonly newestImage: Digest | undefined;
  readonly newestSequence: number;
}

export interface InspectedImage {
  readonly digest: Digest;
  readonly size: number;
  readonly bytes: Buffer;
}

/** Something an image needs and its repository does not have, although policy did not allow that. */
export interface MissingReference {
  readonly repository: RepositoryName;
  readonly image: Digest;
  readonly role: 'config' | 'layer' | 'manifest';
  readonly target: Digest;
}

/** Reads everything, a little at a time, for checking the registry as a whole; never for a request. */
export interface Inspection {
  tags(): AsyncIterable<InspectedTag>;
  /** Tags whose newest event has an image and that point nowhere. */
  forgottenTags(): AsyncIterable<{ readonly repository: RepositoryName; readonly tag: Tag }>;
  images(): AsyncIterable<InspectedImage>;
  /** Images that a repository links and that are not there. */
  missingImages(): AsyncIterable<{ readonly repository: RepositoryName; readonly image: Digest }>;
  missingReferences(): AsyncIterable<MissingReference>;
  blobs(): AsyncIterable<BlobRecord>;
  /** The blob as it is recorded now. */
  findBlob(digest: Digest): Promise<BlobRecord | undefined>;
  isKnownUpload(id: string): Promise<boolean>;
  /** Whether a blob, an upload or the list of what is to be deleted accounts for bytes at this location. */
  isKnownLocation(location: string): Promise<boolean>;
  /** Whether nothing accounts for these bytes, and a blob has other bytes of the same upload. */
  isLeftover(location: string): Promise<boolean>;
}
