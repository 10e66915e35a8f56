import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';

/** Something done again and again. */
export interface Job {
  readonly name: string;
  readonly intervalMs: number;
  /** @param signal fires when the process is going away; the job should end soon */
  readonly run: (signal: AbortSignal) => Promise<unknown>;
}

/** Runs jobs, each one after its previous run is over, with a little jitter so that processes do not march in step. */
export class Jobs {
  readonly #log: Logger;
  readonly #stopping = new AbortController();
  readonly #loops: Promise<void>[] = [];

  constructor(log: Logger) {
    this.#log = log;
    // Every job waits for it.
    setMaxListeners(0, this.#stopping.signal);
  }

  start(job: Job): void {
    this.#loops.push(this.#loop(job));
  }

  /** Starts no further run and waits for those under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#loops);
  }

  async #loop(job: Job): Promise<void> {
    const { signal } = this.#stopping;
    for (;;) {
      await sleep(job.intervalMs * (0.9 + Math.random() * 0.2), undefined, { signal, ref: false }).catch(
        () => undefined,
      );
      if (signal.aborted) return;
      try {
        await job.run(signal);
      } catch (error) {
        this.#log.error({ err: error, job: job.name }, 'job failed; it will be tried again');
      }
    }
  }
}
