import type { Digest } from '../oci/digest.js';
import type { ImageSummary } from '../oci/image-config.js';
import type { ParsedManifest } from '../oci/manifest.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { ObjectMeta } from './object-store.js';
import type { ImportOutcome, ImportState } from './import-state.js';
import type { Actor, GlobSet, NewTagEvent, TagEvent, TagEventCause, TagGuard } from './tag-history.js';

/** The resource by which streams are in the change log. */
export const streamsResource = 'imagestreams.image.openshift.io';
/** The resource by which images are in the change log. */
export const imagesResource = 'images.image.openshift.io';

/** What of its ObjectMeta the owner of an object says. */
export type OwnMetadata = Omit<
  ObjectMeta,
  'name' | 'namespace' | 'uid' | 'resourceVersion' | 'generation' | 'creationTimestamp'
>;

/** JSON as the service that owns it writes it. */
export type JsonBody = Readonly<Record<string, unknown>>;

/** A repository as an image stream, without its tags. */
export interface StreamShell {
  readonly id: number;
  readonly name: RepositoryName;
  readonly uid: string;
  readonly createdAt: Date;
  /** The resourceVersion. */
  readonly version: number;
  readonly generation: number;
  readonly metadata: OwnMetadata;
  /** Without tags. */
  readonly spec: JsonBody;
  readonly tagCount: number;
}

/** What a tag is wanted to be. */
export interface SpecTag {
  readonly generation: number;
  /** Without name and generation. */
  readonly body: JsonBody;
  /** The tag of the same stream whose events it gets too. */
  readonly follows?: string;
  readonly scheduled: boolean;
  /** Where its image is imported from, in one spelling; only read when the tag is put. */
  readonly source?: string;
}

/** A tag: what it is wanted to be, and what it is. */
export interface TagState {
  readonly name: string;
  readonly spec: SpecTag | undefined;
  /** What the registry serves; undefined when the newest event names nothing that the repository links. */
  readonly image: Digest | undefined;
  /** Of the newest event; 0 when there is none. */
  readonly sequence: number;
  /** Of the event with which the present life of the tag began. */
  readonly firstSequence: number;
  /** JSON; empty when nothing failed. */
  readonly conditions: readonly JsonBody[];
  /** Those that are shown, newest first, at most so many as were asked for. */
  readonly events: readonly TagEvent[];
  /** Of a tag that is imported; only told of a single tag. */
  readonly lastImport?: ImportState;
}

/** A stream with tags in byte order of their names. */
export interface StreamState {
  readonly stream: StreamShell;
  readonly tags: readonly TagState[];
}

/** A page of streams in byte order of their names. */
export interface StreamQuery {
  readonly project?: string;
  readonly after?: RepositoryName;
  readonly limit: number;
  /** Of each tag at most so many. */
  readonly events: number;
}

/** How tags of a stream are looked for. */
export interface TagQuery {
  /** A name with `*` and `?`. */
  readonly glob?: string;
  /** What the digest of the image begins with. */
  readonly digestPrefix?: string;
  readonly sort: 'name' | 'changed' | 'size';
  readonly descending: boolean;
  readonly state?: 'scheduled' | 'failing';
  /** Only tags in one of these sets. */
  readonly within?: readonly GlobSet[];
  readonly limit: number;
  /** As an earlier page gave it. */
  readonly after?: { readonly key: string | number; readonly name: string };
}

/** One row of a list of tags. */
export interface TagRow {
  readonly name: string;
  readonly key: string | number;
  readonly spec: SpecTag | undefined;
  readonly image: Digest | undefined;
  readonly conditions: readonly JsonBody[];
  readonly newest: TagEvent | undefined;
  /** Events in its present life. */
  readonly events: number;
  readonly changedAt: Date;
  readonly summary: ImageFacts | undefined;
  /** Of a tag that is imported. */
  readonly lastImport: ImportState | undefined;
}

/** What is kept of an image beside its manifest. */
export interface ImageFacts {
  /** Bytes: config and unique layers. */
  readonly size: number;
  /** As in `linux/arm64`. */
  readonly platforms: readonly string[];
  readonly version: string | undefined;
}

/** Where an event is in the history of a tag, a stream or a project. */
export interface HistoryPosition {
  readonly version: number;
  readonly repositoryId: number;
  readonly tag: string;
  readonly sequence: number;
}

/** An image that is not there yet. */
export interface NewImage {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: ParsedManifest;
  readonly summary: ImageSummary;
}

/** An event with the tag and repository it belongs to. */
export interface HistoryEvent extends TagEvent {
  readonly position: HistoryPosition;
  readonly repository: RepositoryName;
  readonly tag: string;
  /** Whether it is what the tag is now. */
  readonly isCurrent: boolean;
  readonly facts: ImageFacts | undefined;
}

/** Which events, newest first. */
export interface HistoryQuery {
  readonly of:
    | { readonly kind: 'tag'; readonly repository: RepositoryName; readonly tag: string }
    | { readonly kind: 'stream'; readonly repository: RepositoryName }
    | { readonly kind: 'project'; readonly project: string }
    | { readonly kind: 'everything' };
  readonly causes?: readonly TagEventCause[];
  readonly actor?: string;
  readonly image?: Digest;
  readonly since?: Date;
  readonly until?: Date;
  readonly limit: number;
  /** Only events after this one. */
  readonly before?: HistoryPosition;
}

/** Who takes something away, and why. */
export interface TagRemover {
  readonly actor: Actor;
  readonly reason?: string;
}

/**
 * An image came without its config, and others have it with it: what is read out of the config is kept once for all, and would
 * be shown to somebody who cannot have it.
 */
export class ConfigUnknownError extends Error {
  override readonly name = 'ConfigUnknownError';
}

/** What can be done to streams in one commit. All of it sees what was done before in the same commit. */
export interface StreamEdit {
  /** The time of the commit. */
  readonly at: Date;

  findStream(name: RepositoryName): Promise<StreamShell | undefined>;

  /** @param events how many at most */
  findTag(name: RepositoryName, tag: string, events: number): Promise<TagState | undefined>;

  /** All of them, in byte order of their names. */
  listTags(name: RepositoryName, events: number): Promise<readonly TagState[]>;

  /**
   * Events of a stream, of whatever tag, whose image is or begins like this, the newest of each image.
   *
   * @param prefix of a digest, or of its hex part
   */
  findEventsByImage(name: RepositoryName, prefix: string): Promise<readonly TagEvent[]>;

  /** One event of a tag, also of one that was deleted. */
  findEvent(name: RepositoryName, tag: string, sequence: number): Promise<TagEvent | undefined>;

  /** The newest shown event of a tag with this image. */
  findEventOfTag(name: RepositoryName, tag: string, image: Digest): Promise<TagEvent | undefined>;

  /** The tags of the stream that follow this one. */
  listFollowers(name: RepositoryName, tag: string): Promise<readonly string[]>;

  /** A tag in one of the sets to which something has happened; undefined when there is none. */
  findTagWithin(name: RepositoryName, sets: readonly GlobSet[]): Promise<string | undefined>;

  /** Whether a tag of the stream points at an image. */
  isTagged(name: RepositoryName, image: Digest): Promise<boolean>;

  /** The event that deleted the tag, and the one with which the life it ended began; undefined when it is not deleted. */
  findDeletion(
    name: RepositoryName,
    tag: string,
  ): Promise<{ readonly deletion: TagEvent; readonly last: TagEvent; readonly firstSequence: number } | undefined>;

  /** How many streams a project has. */
  countStreams(project: string): Promise<number>;

  /** As `StreamStore.findLinkedImages`. */
  findLinkedImages(name: RepositoryName, prefix: string): Promise<readonly Digest[]>;

  /** Whether the repository links an image, so that it can be pulled through it. */
  isLinked(name: RepositoryName, image: Digest): Promise<boolean>;

  /** @throws {ProjectUnavailableError} */
  createStream(
    name: RepositoryName,
    of: { readonly metadata: OwnMetadata; readonly spec: JsonBody },
  ): Promise<StreamShell>;

  replaceStream(
    name: RepositoryName,
    by: { readonly metadata: OwnMetadata; readonly spec: JsonBody; readonly generation: number },
  ): Promise<void>;

  /**
   * Stores an image whose blobs may be elsewhere, and makes it readable through the repository.
   *
   * @throws {ConfigUnknownError}
   */
  addImage(name: RepositoryName, image: NewImage): Promise<void>;

  /** One with another generation or source than before is due to be imported at once. */
  putSpecTag(name: RepositoryName, tag: string, spec: SpecTag): Promise<void>;

  /** Lets all tags of a repository elsewhere be imported at once; undefined: there is none any more. */
  putSource(name: RepositoryName, source: string | undefined): Promise<void>;

  /**
   * Keeps what came of looking for a tag that is imported.
   *
   * @param tag empty: the stream as a whole
   */
  settleImport(name: RepositoryName, tag: string, outcome: ImportOutcome): Promise<void>;

  /** What the tag is stays. */
  removeSpecTag(name: RepositoryName, tag: string): Promise<void>;

  /**
   * Adds an event by the rules of a history (openshift-apiserver, imageutil): only the newest entry is looked at; one that
   * differs in image and place goes before it, one that differs in one of the two takes its place. Tags that follow this
   * one get it too, but not those that follow them. Conditions go.
   *
   * @param linkFrom the repository through which the image is readable; it becomes so through this one, with all that
   *   belongs to it. Left out for a mere pointer.
   * @returns whether anything changed
   * @throws {TagProtectedError}
   */
  addEvent(name: RepositoryName, tag: string, event: NewTagEvent, linkFrom?: RepositoryName): Promise<boolean>;

  /** Lets a life of a tag that an `undelete` event has just brought back begin with an earlier event. */
  extendLife(name: RepositoryName, tag: string, firstSequence: number): Promise<void>;

  /**
   * Takes all events out of what is shown of a tag but these, by sequence.
   *
   * @throws {TagProtectedError} when the newest is not among them
   */
  keepEvents(name: RepositoryName, tag: string, sequences: readonly number[], by: TagRemover): Promise<void>;

  setConditions(name: RepositoryName, tag: string, conditions: readonly JsonBody[]): Promise<void>;

  /**
   * Removes what the tag is and what it is wanted to be; its history stays.
   *
   * @returns false when there is no such tag
   * @throws {TagProtectedError}
   */
  removeTag(name: RepositoryName, tag: string, by: TagRemover): Promise<boolean>;

  /** The stream is gone at once; its rows go some time later. */
  removeStream(name: RepositoryName): Promise<void>;
}

/** How a commit is made. */
export interface EditOptions {
  /** Keeps tags where they are. */
  readonly guard?: TagGuard;
  /** The events of a tag that are kept at most. */
  readonly keepEvents?: number;
  /** Do all and take it back. */
  readonly dryRun?: boolean;
}

/** Image streams over the rows of repositories. */
export interface StreamStore {
  findStream(name: RepositoryName): Promise<StreamShell | undefined>;

  /** A tag with its stream; the tag is undefined when the stream has none of that name. */
  findTag(
    name: RepositoryName,
    tag: string,
    events: number,
  ): Promise<{ readonly stream: StreamShell; readonly tag: TagState | undefined } | undefined>;

  /** A stream with all its tags. */
  readStream(name: RepositoryName, events: number): Promise<StreamState | undefined>;

  /** Streams with all their tags. */
  listStreams(query: StreamQuery): Promise<readonly StreamState[]>;

  /** Tags of streams one after the other, in the order of streams and tags. */
  listTagStates(query: {
    readonly project?: string;
    readonly after?: { readonly stream: RepositoryName; readonly tag: string };
    readonly limit: number;
    readonly events: number;
  }): Promise<readonly { readonly stream: StreamShell; readonly tag: TagState }[]>;

  /** A page of the tags of a stream, and how many match in all; undefined when there is no such stream. */
  queryTags(
    name: RepositoryName,
    query: TagQuery,
  ): Promise<{ readonly rows: readonly TagRow[]; readonly total: number; readonly isLast: boolean } | undefined>;

  listHistory(query: HistoryQuery): Promise<readonly HistoryEvent[]>;

  countStreams(project: string): Promise<number>;

  /**
   * Images that are readable through a repository: those whose digest, or the hex part of it, begins like this.
   *
   * @returns at most two
   */
  findLinkedImages(name: RepositoryName, prefix: string): Promise<readonly Digest[]>;

  /** Digests of the images of a stream's history and of what belongs to them, page by page in their order. */
  listLinkedImages(name: RepositoryName, after: string | undefined, limit: number): Promise<readonly Digest[]>;

  factsOf(images: readonly Digest[]): Promise<ReadonlyMap<Digest, ImageFacts>>;

  /** Other tags of the repository that point at an image. */
  listTagsOfImage(name: RepositoryName, image: Digest, limit: number): Promise<readonly Tag[]>;

  /**
   * One commit: what `work` does through the edit is done wholly or, when it throws, not at all. It may be run again, so
   * it must do nothing else, and it waits for nothing but the edit.
   */
  edit<Result>(work: (edit: StreamEdit) => Promise<Result>, options?: EditOptions): Promise<Result>;

  /** Removes a part of what removed streams left. @returns how many rows; 0 when there are none */
  removeLeftovers(limit: number): Promise<number>;

  /** Forgets a part of the history of tags that were deleted before a time. @returns how many events */
  forgetDeletedTags(before: Date, limit: number): Promise<number>;
}
