import { setTimeout as sleep } from 'node:timers/promises';

/** Lets so many bytes a second through, whoever they belong to. */
export class ByteRate {
  readonly #bytesPerSecond: number;
  /** When the bytes that were let through so far are paid for, by `performance.now()`. */
  #paidAt = 0;

  /** @param bytesPerSecond `Infinity`: as many as come */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when so many more bytes may pass. */
  async take(bytes: number): Promise<void> {
    const now = performance.now();
    const from = Math.max(now, this.#paidAt);
    this.#paidAt = from + (bytes / this.#bytesPerSecond) * 1000;
    if (from > now) await sleep(from - now);
  }
}
