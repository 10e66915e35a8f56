import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { ImportOutcome, ImportState } from './import-state.js';
import type { SpecTag } from './stream-store.js';

/** A tag that it is time to look for. */
export interface DueImport {
  readonly repository: RepositoryName;
  /** Empty: the stream as a whole, all tags of its `dockerImageRepository`. */
  readonly tag: string;
  readonly spec: SpecTag | undefined;
  /** What the source was when it was last imported. */
  readonly digest: Digest | undefined;
  /** Whether it must be imported whatever the source is: it is wanted anew, the last import failed, or something was pushed over it. */
  readonly isPending: boolean;
  /** Failed looks before this one, one after the other. */
  readonly failures: number;
}

/** What is asked of one registry for all tags that want it now. */
export interface DueSource {
  readonly source: string;
  /** Under which it is held; another one each time that something is claimed. */
  readonly lease: string;
  readonly imports: readonly DueImport[];
}

/** What somebody holds. */
export type HeldSource = Pick<DueSource, 'source' | 'lease'>;

/** What came of looking for a tag that is held. */
export interface SettledImport extends ImportOutcome {
  readonly lease: string;
  readonly repository: RepositoryName;
  readonly tag: string;
}

/** How many tags come from other registries. */
export interface ImportCounts {
  /** Those that will be looked for. */
  readonly waiting: number;
  /** Those of them whose time has come. */
  readonly due: number;
  readonly failing: number;
  /** When the one that waits longest was due; undefined when none is. */
  readonly oldestDueAt: Date | undefined;
}

/** What is to be claimed. */
export interface ImportClaim {
  readonly now: Date;
  readonly leaseUntil: Date;
  /** At most so many, the longest due first. */
  readonly sources: number;
  /** Of each source at most so many. */
  readonly imports: number;
  /** How many sources of a registry are wanted at most; those of others come in place of the further ones. */
  readonly room: (registry: string) => number;
  /** Sources that are not wanted. */
  readonly except: readonly string[];
}

/** Tags that come from other registries: when to look for them, and who does. */
export interface ImportRecords {
  /** Takes what is due, source by source, for the caller alone until the lease ends. What anybody holds is left out. */
  claim(by: ImportClaim): Promise<readonly DueSource[]>;

  /** Makes leases last longer. What is not held any more, because it is wanted anew or was taken over, stays as it is. */
  renew(held: readonly HeldSource[], leaseUntil: Date): Promise<void>;

  /** Ends leases, with what came of the looks. What is not held any more stays as it is. */
  settle(now: Date, outcomes: readonly SettledImport[]): Promise<void>;

  /** Gives back what was claimed and not looked at. */
  release(held: readonly HeldSource[]): Promise<void>;

  find(repository: RepositoryName, tag: string): Promise<ImportState | undefined>;

  count(now: Date): Promise<ImportCounts>;
}

/** Of a source, what comes before the first slash. */
export function registryOfSource(source: string): string {
  return source.slice(0, source.indexOf('/'));
}
