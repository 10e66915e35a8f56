import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';

/** What is listened to, and how. */
export interface PostgresListenerOptions {
  readonly createClient: () => Client;
  readonly channel: string;
  /** Called at the beginning of each connection and every few seconds: it fails when the connection is dead. */
  readonly onBeat: (client: Client) => Promise<void>;
  readonly beatMs: number;
  /** Told of connections that broke. */
  readonly onError: (error: unknown) => void;
}

const firstDelayMs = 20;
const longestDelayMs = 1000;

/** Listens to a channel of the server, on a connection of its own that is made anew when it breaks. */
export class PostgresListener {
  readonly #options: PostgresListenerOptions;
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: PostgresListenerOptions) {
    this.#options = options;
  }

  /** Calls back for each message, and when some may have been missed. */
  add(listener: () => void): void {
    this.#listeners.add(listener);
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let delay = firstDelayMs;
    while (!signal.aborted) {
      const client = this.#options.createClient();
      try {
        await client.connect();
        await this.#listen(client, () => (delay = firstDelayMs));
      } catch (error) {
        this.#report(error);
      }
      await client.end().catch(() => undefined);
      await sleep(delay, undefined, { signal, ref: false }).catch(() => undefined);
      delay = Math.min(delay * 2, longestDelayMs);
    }
  }

  /** Until the connection breaks or nobody wants it any more. */
  async #listen(client: Client, onReady: () => void): Promise<void> {
    const { channel, onBeat, beatMs } = this.#options;
    const ending = new AbortController();
    client.on('end', () => {
      ending.abort();
    });
    client.on('notification', () => {
      this.#tell();
    });
    await client.query(`listen ${channel}`);
    onReady();
    // Of what was said before, nothing was heard.
    this.#tell();
    const signal = AbortSignal.any([ending.signal, this.#closing.signal]);
    while (!signal.aborted) {
      await onBeat(client);
      await sleep(beatMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
    if (ending.signal.aborted) throw new Error('the connection that listens to the database was lost');
  }

  /** What breaks because nobody wants it any more is nobody's concern. */
  #report(error: unknown): void {
    if (!this.#closing.signal.aborted) this.#options.onError(error);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
