import type { Logger } from 'pino';
import type { AuditRecords, NewAuditRecord } from '../metadata/audit-records.js';
import { AuditLines } from './audit-lines.js';
import { auditSpec } from './audit-spec.js';

const dayMs = 86_400_000;
/** Written, or removed, in one transaction. */
const batchSize = 500;

/** How an audit log is kept. */
export interface AuditLogOptions {
  readonly log: Logger;
  /** Where JSON lines go, beside the database: a file, or `-` for standard output; nowhere when left out. */
  readonly file?: string | undefined;
  readonly retentionDays: number;
  /** How many records may wait to be written. */
  readonly capacity?: number;
}

interface Waiting {
  readonly record: NewAuditRecord;
  readonly isWritten: () => void;
}

/** Appends to the audit log. Records that come while some are being written go together in the next transaction. */
export class AuditLog {
  readonly #records: AuditRecords;
  readonly #log: Logger;
  readonly #lines: AuditLines | undefined;
  readonly #retentionDays: number;
  readonly #capacity: number;
  readonly #queue: Waiting[] = [];
  readonly #waitingForRoom: (() => void)[] = [];
  #writing: Promise<void> | undefined;

  constructor(records: AuditRecords, { log, file, retentionDays, capacity = 10_000 }: AuditLogOptions) {
    this.#records = records;
    this.#log = log;
    this.#lines = file === undefined ? undefined : new AuditLines(file, log);
    this.#retentionDays = retentionDays;
    this.#capacity = capacity;
  }

  /**
   * Resolves when the record is in the database. When it could not be put there, that is logged with the whole record,
   * and the promise resolves all the same: what the record tells of has happened.
   */
  async record(record: NewAuditRecord): Promise<void> {
    while (this.#queue.length >= this.#capacity) {
      await new Promise<void>((resolve) => this.#waitingForRoom.push(resolve));
    }
    await new Promise<void>((resolve) => {
      this.#queue.push({ record, isWritten: resolve });
      this.#writing ??= this.#write();
    });
  }

  /** Resolves when everything recorded so far is written, lines included. */
  async close(): Promise<void> {
    await this.#writing;
  }

  /**
   * Removes what is older than records are kept for, in small transactions.
   *
   * @param signal ends it between two of them
   * @returns how many
   */
  async removeOldRecords(now: Date, signal?: AbortSignal): Promise<number> {
    const before = new Date(now.getTime() - this.#retentionDays * dayMs);
    let total = 0;
    let count = batchSize;
    while (count === batchSize && signal?.aborted !== true) {
      count = await this.#records.removeBefore(before, batchSize);
      total += count;
    }
    return total;
  }

  async #write(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, batchSize);
      for (const goOn of this.#waitingForRoom.splice(0, batch.length)) goOn();
      const records = batch.map(({ record }) => record);
      await this.#store(records);
      for (const { isWritten } of batch) isWritten();
      await this.#lines?.write(records);
    }
    this.#writing = undefined;
  }

  async #store(records: readonly NewAuditRecord[]): Promise<void> {
    try {
      await this.#records.append(records);
    } catch (error) {
      for (const record of records) {
        this.#log.error({ err: error, audit: auditSpec(record) }, 'audit record could not be stored');
      }
    }
  }
}
