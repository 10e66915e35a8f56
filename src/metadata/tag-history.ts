import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** Why a tag changed. */
export type TagEventCause = 'push' | 'tag' | 'import' | 'rollback' | 'delete' | 'undelete';

/** Who did something. */
export interface Actor {
  readonly name: string;
  readonly kind: 'anonymous' | 'user' | 'service-account' | 'system';
}

/** What an event says a tag points at. */
export interface TagTarget {
  /** Undefined when the tag only points at something outside. */
  readonly image: Digest | undefined;
  /** Repository whose image is meant, where that is another one. */
  readonly location?: RepositoryName;
  /** Pull spec of what is outside. */
  readonly reference?: string;
}

/** Something that happens to a tag. */
export interface NewTagEvent extends TagTarget {
  /** Of the stream, or of the wish that this fulfils. */
  readonly generation: number;
  /** For a copied event, when the one it was copied from came to be; now when left out. */
  readonly created?: Date;
  readonly cause: Exclude<TagEventCause, 'delete'>;
  readonly actor: Actor;
  readonly reason?: string;
  /** Where it came from, in the words of its cause: `ImageStreamImage base@sha256:…`. */
  readonly source?: string;
  /** The sequence of the event that a rollback returns to. */
  readonly returnedTo?: number;
}

/** One change of a tag, the newest having the highest sequence. */
export interface TagEvent extends TagTarget {
  /** Counts the changes of this tag from 1. */
  readonly sequence: number;
  readonly cause: TagEventCause;
  readonly actor: Actor;
  /** When it was recorded. */
  readonly at: Date;
  readonly generation: number;
  readonly created: Date;
  readonly reason?: string;
  readonly source?: string;
  readonly returnedTo?: number;
  /** Of the commit; 0 for events from before there were any. */
  readonly version: number;
  /** False when a later event took its place. */
  readonly shown: boolean;
}

/** Which tags may not be moved or deleted: the name of the rule that says so, or undefined. */
export type TagGuard = (repository: RepositoryName, tag: string) => string | undefined;

/** Names that match one of the included globs of `*` and `?`, and none of the excluded ones. */
export interface GlobSet {
  readonly included: readonly string[];
  readonly excluded: readonly string[];
}

/** What a project's policy says of changing its tags, to whoever is about to. */
export interface TagRules {
  readonly guard: TagGuard;
  /** The tags of a repository that the guard keeps: each set by globs. */
  readonly protectedTags: (repository: RepositoryName) => readonly GlobSet[];
  /** The events of a tag that are kept at most; all when undefined, or when left out. */
  readonly keepEvents?: (repository: RepositoryName) => number | undefined;
  /** The causes for which a reason must be given. */
  readonly reasonsFor: (repository: RepositoryName) => readonly TagEventCause[];
}

/** Finds the rules of a project for somebody. */
export type FindTagRules = (
  project: string,
  who: { readonly name: string; readonly groups: readonly string[] },
) => Promise<TagRules>;

/** A rule of the project keeps a tag where it is. */
export class TagProtectedError extends Error {
  override readonly name = 'TagProtectedError';
  readonly repository: RepositoryName;
  readonly tag: string;
  readonly rule: string;
  constructor(repository: RepositoryName, tag: string, rule: string) {
    super(`tag ${tag} of ${repository} is protected by ${rule}: it can neither be moved nor deleted`);
    this.repository = repository;
    this.tag = tag;
    this.rule = rule;
  }
}

/** A limit of the project stands against what a stream was to become. */
export class StreamLimitError extends Error {
  override readonly name = 'StreamLimitError';
}

/** What a tag is sorted by, so that `v2` comes before `v10`: before each number goes the count of its digits. */
export function sortNameOf(tag: string): string {
  return tag.replaceAll(/0*(\d+)/g, (_, digits: string) => String(digits.length).padStart(3, '0') + digits);
}
