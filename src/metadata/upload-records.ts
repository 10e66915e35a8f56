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
}

/** Upload sessions, shared by all processes. */
export interface UploadRecords {
  addUpload(upload: UploadRecord): Promise<void>;

  findUpload(id: string): Promise<UploadRecord | undefined>;

  /**
   * Moves a session on from the size it had.
   *
   * @returns false when the session is gone or someone else has moved it meanwhile
   */
  recordProgress(upload: UploadRecord, previousSize: number): Promise<boolean>;

  /** Ends a session for everyone but `listStaleUploads`, durably; its bytes may go then, and at last its row. */
  endUpload(id: string): Promise<void>;

  removeUpload(id: string): Promise<void>;

  /** Ids of sessions not touched since, and of those that have ended. */
  listStaleUploads(since: Date, limit: number): Promise<string[]>;

  countUploads(): Promise<number>;
}
