import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import type { ParsedManifest } from '../oci/manifest.js';
import type { ManifestMediaType } from '../oci/media-types.js';
import type { Reference, Tag } from '../oci/reference.js';
import type { ImageSummary } from '../oci/image-config.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { TagRemover } from './stream-store.js';
import type { Actor, TagEvent, TagGuard } from './tag-history.js';

/** A manifest as it was pushed. */
export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: ManifestMediaType;
  /** Bytes. */
  readonly size: number;
}

/** A manifest to link into a repository, and the tags to point at it. */
export interface ManifestPush {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: ParsedManifest;
  readonly tags: readonly Tag[];
  /** Store it even when blobs or manifests it refers to are not in the repository. */
  readonly sparse: boolean;
  readonly summary: ImageSummary;
  readonly actor: Actor;
  /** Why, for the history. */
  readonly reason?: string;
  readonly guard?: TagGuard;
  /** The events of a tag that are kept at most. */
  readonly keepEvents?: number;
  /** Looks at how many different images the tags would have had; asked only when the push adds one. */
  readonly admitImages?: ImageAdmission;
}

/** @throws {StreamLimitError} when there are too many different images in the history of a stream's tags */
export type ImageAdmission = (count: number) => void;

/** Who takes a tag away, and what stands against it. */
export interface TagRemoval extends TagRemover {
  readonly guard?: TagGuard;
}

/** What became of a push. */
export type ManifestPushResult =
  { readonly kind: 'stored' } | { readonly kind: 'missing'; readonly missing: readonly Digest[] };

/** A page of a list in order: what comes after `last`, at most `limit` entries. */
export interface Page<T extends string> {
  readonly last: T | undefined;
  readonly limit: number;
}

/** Repositories, the images they link, their tags and the tags' history. */
export interface RepositoryStore {
  /**
   * In one step: makes the repository when it is new, stores and links the image, moves the tags and records a tag
   * event for each that really moved. Nothing is stored when a required reference is missing.
   *
   * @throws {TagProtectedError}
   * @throws {StreamLimitError}
   */
  putManifest(push: ManifestPush): Promise<ManifestPushResult>;

  findManifest(repository: RepositoryName, reference: Reference): Promise<StoredManifest | undefined>;

  /** As `findManifest`, with the bytes exactly as pushed. */
  readManifest(
    repository: RepositoryName,
    reference: Reference,
  ): Promise<(StoredManifest & { readonly bytes: Buffer }) | undefined>;

  /**
   * Unlinks the image and deletes every tag that points at it.
   *
   * @param collectAt when blobs that only this image referred to may be collected
   * @returns false when the repository does not link the image
   * @throws {TagProtectedError}
   */
  deleteManifest(repository: RepositoryName, digest: Digest, by: TagRemoval, collectAt: Date): Promise<boolean>;

  /**
   * @returns false when there is no such tag
   * @throws {TagProtectedError}
   */
  deleteTag(repository: RepositoryName, tag: Tag, by: TagRemoval): Promise<boolean>;

  repositoryExists(repository: RepositoryName): Promise<boolean>;

  /** Repository names in byte order; only those of one project when it is given. */
  listRepositories(page: Page<string>, project?: string): Promise<RepositoryName[]>;

  /** Tags that can be pulled, in byte order. */
  listTags(repository: RepositoryName, page: Page<string>): Promise<Tag[]>;

  /** Events of a tag, newest first, also of a tag that was deleted. */
  listTagEvents(repository: RepositoryName, tag: Tag, limit: number): Promise<TagEvent[]>;

  /** Descriptors of the images that name `subject`, in order of digest; `page.last` is a digest. */
  listReferrers(
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    page: Page<string>,
  ): Promise<Descriptor[]>;

  /**
   * Removes a part of what the repositories of a project hold, and at the end the repositories: tags with their history,
   * links of images and blobs, and what nobody links any more. Upload sessions of the project are left to expire at once.
   * To be called until nothing is left, in a project that takes no new repositories.
   *
   * @param limit rows removed at most, in one short transaction
   * @returns how many rows were removed; 0 when the project has no repository
   */
  removeRepositories(project: string, limit: number): Promise<number>;
}
