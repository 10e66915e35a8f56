import type { Digest } from '../oci/digest.js';
import type { ImageSummary } from '../oci/image-config.js';
import type { ParsedManifest } from '../oci/manifest.js';
import type { ManifestMediaType } from '../oci/media-types.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { StoredSignature } from './image-signatures.js';
import type { OwnMetadata } from './stream-store.js';

/** An image as an object of the API. */
export interface ImageRecord {
  readonly digest: Digest;
  readonly uid: string;
  readonly mediaType: ManifestMediaType;
  readonly bytes: Buffer;
  /** The text of its config; undefined when it has none that was kept. */
  readonly config: string | undefined;
  readonly createdAt: Date;
  /** The resourceVersion. */
  readonly version: number;
  readonly metadata: OwnMetadata;
  /** In byte order of their names. */
  readonly signatures: readonly StoredSignature[];
  /** The oldest repository that links it; undefined when none does, so that nobody can pull it. */
  readonly repository: RepositoryName | undefined;
}

/** Some images in the order of their digests. */
export interface ImagePage {
  readonly images: readonly ImageRecord[];
  readonly isLast: boolean;
}

/** What may be said of an image; all else is in its manifest. */
export interface ImageWords {
  readonly metadata: OwnMetadata;
  readonly signatures: readonly StoredSignature[];
}

/** An image that comes through the API. */
export interface NewImage extends ImageWords {
  readonly digest: Digest;
  readonly bytes: Buffer;
  /** Of the bytes. */
  readonly manifest: ParsedManifest;
  readonly summary: ImageSummary;
}

/** What became of the wish to say something else of an image. */
export type ImageReplacement =
  | { readonly kind: 'replaced'; readonly image: ImageRecord }
  /** It has another version by now. */
  | { readonly kind: 'conflict' }
  | { readonly kind: 'absent' };

/** What an image is there for, in a repository. */
export type ImageNeed =
  | { readonly kind: 'tag'; readonly repository: RepositoryName; readonly tag: string }
  /** An index lists it. */
  | { readonly kind: 'index'; readonly repository: RepositoryName; readonly image: Digest }
  /** It says something about another image. */
  | { readonly kind: 'subject'; readonly repository: RepositoryName; readonly image: Digest };

/** What became of the wish to remove an image. */
export type ImageRemoval =
  { readonly kind: 'removed' } | { readonly kind: 'absent' } | { readonly kind: 'needed'; readonly by: ImageNeed };

/** How an image is removed. */
export interface ImageRemovalOptions {
  /** When blobs that only this image referred to may be collected. */
  readonly collectAt: Date;
  /** Only find out what would become of it. */
  readonly dryRun?: boolean;
}

/** Images as objects of the API, whatever repositories link them. */
export interface ImageStore {
  find(digest: Digest): Promise<ImageRecord | undefined>;

  /** @returns at most `limit` images, and fewer when they are large: some 16 MiB or a single one */
  list(after: string | undefined, limit: number): Promise<ImagePage>;

  /** @returns undefined when there is no such image */
  listSignatures(digest: Digest): Promise<readonly StoredSignature[] | undefined>;

  /**
   * Stores an image that no repository links. It stays until it is removed, or until a repository that has come to link it
   * does so no more.
   *
   * @returns undefined when there is such an image
   */
  create(image: NewImage): Promise<ImageRecord | undefined>;

  /** @param version that the image was read with */
  replace(digest: Digest, version: number, by: ImageWords): Promise<ImageReplacement>;

  /**
   * Removes an image from every repository, as `RepositoryStore.deleteManifest` does from one, and its row. It is refused
   * while a repository needs it: a tag points at it, an index there lists it, or it says something about an image that is
   * there. Whoever prunes has decided by what they saw some time ago, and does not know of indexes and referrers; whoever
   * means the image itself deletes the tag, the index or the subject before. From many repositories it goes in several
   * steps, each of which leaves everything in order.
   */
  remove(digest: Digest, options: ImageRemovalOptions): Promise<ImageRemoval>;

  /**
   * @returns `exists` when the image has a signature of that name or of that type and content, `full` when it can have no
   *   more, `absent` when there is no such image
   */
  addSignature(digest: Digest, signature: StoredSignature): Promise<'added' | 'exists' | 'full' | 'absent'>;

  /** @returns false when there is no such signature */
  removeSignature(digest: Digest, name: string): Promise<boolean>;
}

/** Summaries of images that came before summaries were kept. */
export interface ImageSummaryRecords {
  /**
   * Looks at some images in the order of their digests for those without a summary.
   *
   * @param limit how many are looked at
   * @returns `next` is what to go on after; undefined when all were looked at
   */
  listUnsummarized(
    after: Digest | undefined,
    limit: number,
  ): Promise<{ readonly digests: readonly Digest[]; readonly next: Digest | undefined }>;

  /** A repository that links both the image and its config. */
  findConfigRepository(digest: Digest): Promise<RepositoryName | undefined>;

  /** Keeps a summary, and its size with the tags that point at the image; an image that has one keeps that. */
  putSummary(digest: Digest, summary: ImageSummary): Promise<void>;
}
