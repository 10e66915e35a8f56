/** What came of a request: done, refused for want of rights or a login, or failed in another way. */
export type AuditOutcome = 'allowed' | 'denied' | 'failed';

/** Who did or tried what, from where, and what came of it. What is not known is empty. */
export interface NewAuditRecord {
  readonly at: Date;
  readonly requestId: string;
  /** In whose name it was; empty when what was shown proved nobody. */
  readonly principal: string;
  /** Who acted in the name of the principal. */
  readonly impersonator?: string | undefined;
  /** Address of the other end of the connection. */
  readonly address: string;
  readonly userAgent: string;
  readonly verb: string;
  readonly apiGroup: string;
  /** With its subresource after a slash, as in `imagestreams/layers`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly outcome: AuditOutcome;
  /** Status of the HTTP answer. */
  readonly code: number;
  /** The error in one word, as in `Forbidden`. */
  readonly reason?: string | undefined;
}

/** A record that was appended. */
export interface AuditRecord extends NewAuditRecord {
  /** Grows in the order of appending. */
  readonly id: number;
}

/** Exact values that records must have; any when left out. */
export interface AuditFilters {
  readonly principal?: string;
  readonly verb?: string;
  readonly apiGroup?: string;
  readonly resource?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly outcome?: string;
}

/** Which records to list. */
export interface AuditQuery {
  readonly filters?: AuditFilters;
  /** Inclusive. */
  readonly since?: Date;
  /** Exclusive. */
  readonly until?: Date;
  /** At least 1. */
  readonly limit: number;
  /** Only records older than the one with this id. */
  readonly before?: number | undefined;
}

/** Some records, newest first. */
export interface AuditPage {
  readonly records: readonly AuditRecord[];
  /** The `before` of the next page; undefined on the last. */
  readonly next: number | undefined;
}

/** The audit log: records are appended, read, and forgotten when they are old; none is ever changed. */
export interface AuditRecords {
  /**
   * Appends all or none. They are visible to everyone when the promise resolves and outlast the death of the process;
   * a power failure may take those of the last moments, as the changes that they tell of have been synced by themselves.
   */
  append(records: readonly NewAuditRecord[]): Promise<void>;

  find(id: number): Promise<AuditRecord | undefined>;

  list(query: AuditQuery): Promise<AuditPage>;

  /** Id of the record that was appended last; 0 when there is none. */
  newestId(): Promise<number>;

  /** Removes records from before a time, oldest first. @returns how many; less than `limit` when no more are left */
  removeBefore(date: Date, limit: number): Promise<number>;
}
