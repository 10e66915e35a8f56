import type { Digest } from '../oci/digest.js';

/** When a tag was looked for in the registry it comes from, and when it will be again. */
export interface ImportState {
  /** What is asked for, in one spelling, as in `docker.io/library/alpine:3`. */
  readonly source: string;
  /** Undefined: not again. */
  readonly dueAt: Date | undefined;
  readonly checkedAt: Date | undefined;
  /** When what is there was found to be another image than before. */
  readonly movedAt: Date | undefined;
  /** What the source was when it was last imported. */
  readonly digest: Digest | undefined;
  /** Of the last look; undefined when it went well. */
  readonly error: string | undefined;
  /** Failed looks, one after the other. */
  readonly failures: number;
}

/** What came of looking. */
export interface ImportOutcome {
  /** When to look again; undefined: not again. */
  readonly dueAt: Date | undefined;
  readonly error?: string | undefined;
  /** What the source is, where that was found out. */
  readonly digest?: Digest | undefined;
  readonly isMoved?: boolean;
}
