import { open, type FileHandle } from 'node:fs/promises';

/** Makes commits durable: the write-ahead log of a SQLite file, synced in the background. */
export class CommitLog {
  readonly #path: string;
  readonly #countChanges: () => number;
  #counted = 0;
  #file: Promise<FileHandle> | undefined;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /**
   * @param path of the write-ahead log, which is there from the first commit to the last `close`
   * @param countChanges a number that grows with every row that is written
   */
  constructor(path: string, countChanges: () => number) {
    this.#path = path;
    this.#countChanges = countChanges;
  }

  /** Rows written since this was last asked. */
  countWritten(): number {
    const changes = this.#countChanges();
    const written = changes - this.#counted;
    this.#counted = changes;
    return written;
  }

  /**
   * Resolves when all that was committed before this call is on the disk. Calls that come while a sync is under way wait
   * for the one after it, together.
   *
   * A sync that failed may have lost pages that the next one, which would succeed, knows nothing of. So one that failed is
   * the last: nothing is acknowledged any more until the registry is started again and reads what the disk has.
   */
  sync(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#running.then(() => {
      this.#running = next;
      this.#next = undefined;
      return this.#sync();
    });
    this.#next = next;
    return next;
  }

  close(): void {
    // That it could not be opened was told to whoever waited for a sync.
    this.#file?.then((file) => file.close()).catch(() => undefined);
  }

  async #sync(): Promise<void> {
    this.#file ??= open(this.#path, 'r+');
    await (await this.#file).datasync();
  }
}
