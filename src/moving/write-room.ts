import { setTimeout as sleep } from 'node:timers/promises';

/** After so long of writing there is a pause of the other length. */
const writingMs = 45;
const pauseMs = 15;

/**
 * Leaves other processes room to write. SQLite lets one write at a time, and who waits only looks now and then whether it
 * is their turn: a process that writes without a break would keep them from getting one, and their requests would fail.
 */
export class WriteRoom {
  readonly #running = new Set<Promise<unknown>>();
  #pause: Promise<void> | undefined;
  #since = performance.now();

  /** Does a short write, after a pause when it is time for one. */
  async write<T>(work: () => Promise<T>): Promise<T> {
    if (this.#pause === undefined && performance.now() - this.#since > writingMs) {
      this.#pause = this.#rest();
    }
    while (this.#pause !== undefined) await this.#pause;
    const running = work();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #rest(): Promise<void> {
    await Promise.allSettled(this.#running);
    await sleep(pauseMs);
    this.#since = performance.now();
    this.#pause = undefined;
  }
}
