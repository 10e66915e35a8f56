import type { Digest, DigestAlgorithm } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** An upload session: bytes on their way to becoming a blob. */
export interface UploadRecord {
  /** Random, at least 128 bits. */
  readonly id: string;
  readonly repository: RepositoryName;
  /** Name of who began it; nobody else may go on with it. */
  readonly principal: string;
  readonly algorithm: DigestAlgorithm;
  /** Bytes received and durable. */
  readonly size: number;
  /** Digest of those bytes. */
  readonly digestSoFar: Digest;
  /** What the blob store wants to be told again with these bytes. */
  readonly state: string | undefined;
  /** Of the hash of those bytes, where somebody may have to go on with it who cannot read them. */
  readonly hashState: string | undefined;
}

/** The turn at a session: who has it may change it until its time is over. */
export interface UploadTurn {
  /** Random, of one request. */
  readonly holder: string;
  readonly until: Date;
}

/** What came of asking for the turn at a session. */
export type HeldUpload =
  | {
      readonly upload: UploadRecord;
      /** Whether somebody had it and did not give it back in time, who may be still at it and only slow. */
      readonly isTakenOver: boolean;
    }
  /** Somebody else has it. */
  | { readonly heldBy: string };

/** Upload sessions, shared by all processes. One that has ended is found by `listStaleUploads` only. */
export interface UploadRecords {
  /** @param turn of whoever goes on with it at once */
  addUpload(upload: UploadRecord, turn?: UploadTurn): Promise<void>;

  findUpload(id: string): Promise<UploadRecord | undefined>;

  /**
   * Takes the turn at a session, or prolongs it.
   *
   * @param insteadOf a holder that is known to be gone
   */
  holdUpload(id: string, turn: UploadTurn, insteadOf?: string): Promise<HeldUpload | undefined>;

  /** Gives the turn back. */
  releaseUpload(id: string, holder: string): Promise<void>;

  /** Who has the turn; undefined when nobody has. */
  findHolder(id: string): Promise<string | undefined>;

  /**
   * Moves a session on from the size it had, durably, and gives the turn back.
   *
   * @returns false when the session has ended, or somebody else has the turn or has moved it meanwhile
   */
  recordProgress(upload: UploadRecord, previousSize: number, holder: string): Promise<boolean>;

  /** Ends a session, durably; its bytes may go then, and at last its row. @returns it, unless its row is gone */
  endUpload(id: string): Promise<UploadRecord | undefined>;

  removeUpload(id: string): Promise<void>;

  /** Ids of sessions not touched since and of those that have ended, when nobody has the turn. */
  listStaleUploads(since: Date, limit: number): Promise<string[]>;

  countUploads(): Promise<number>;
}
