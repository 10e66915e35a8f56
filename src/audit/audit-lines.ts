import { appendFile } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { Logger } from 'pino';
import type { NewAuditRecord } from '../metadata/audit-records.js';
import { auditSpec } from './audit-spec.js';

/**
 * Writes audit records as JSON lines to a file or to standard output, for whoever collects them elsewhere. The file is
 * opened anew for each batch, so one that was renamed (by logrotate, say) is followed by a new one.
 */
export class AuditLines {
  readonly #append: (text: string) => Promise<void>;
  readonly #file: string;
  readonly #log: Logger;
  #hasFailed = false;

  /** @param file where to; `-` is standard output */
  constructor(file: string, log: Logger, stdout: Writable = process.stdout) {
    this.#file = file;
    this.#log = log;
    this.#append = file === '-' ? (text) => write(stdout, text) : (text) => appendFile(file, text, { mode: 0o600 });
  }

  /** Never rejects: the database has the records as well. A failure is logged, once for all until a write succeeds. */
  async write(records: readonly NewAuditRecord[]): Promise<void> {
    try {
      await this.#append(records.map(toLine).join(''));
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.#log.error({ err: error, file: this.#file }, 'audit lines could not be written');
      this.#hasFailed = true;
    }
  }
}

/** Its kind comes first, for the lines that stand among others on standard output. */
function toLine(record: NewAuditRecord): string {
  return `${JSON.stringify({ kind: 'AuditRecord', ...auditSpec(record) })}\n`;
}

function write(stream: Writable, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
