import type { StreamStore } from '../metadata/stream-store.js';

/** Rows removed in one short transaction. */
const removedAtOnce = 500;

/** Removes what removed streams leave, and the history of tags that were deleted long ago. */
export class StreamLeftovers {
  readonly #store: Pick<StreamStore, 'removeLeftovers' | 'forgetDeletedTags'>;
  readonly #retentionMs: number;

  /** @param retentionMs how long the history of a deleted tag is kept */
  constructor(store: Pick<StreamStore, 'removeLeftovers' | 'forgetDeletedTags'>, retentionMs: number) {
    this.#store = store;
    this.#retentionMs = retentionMs;
  }

  /** @param signal ends the run between two steps */
  async run(signal: AbortSignal, now = new Date()): Promise<void> {
    const before = new Date(now.getTime() - this.#retentionMs);
    while (!signal.aborted && (await this.#store.removeLeftovers(removedAtOnce)) > 0);
    while (!signal.aborted && (await this.#store.forgetDeletedTags(before, removedAtOnce)) > 0);
  }
}
