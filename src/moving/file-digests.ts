import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { digestAlgorithm, type Digest } from '../oci/digest.js';

/** A file waiting for a thread. */
interface Job {
  readonly path: string;
  readonly like: Digest;
  readonly resolve: (digest: Digest) => void;
  readonly reject: (error: Error) => void;
}

/** What a thread answers. */
type Answer = { readonly digest: string } | { readonly message: string; readonly code: string | undefined };

/** More would only wait for the disk. */
const maxThreads = 4;

/** What a thread runs. A text and no file, so that it needs no other loader than Node's own. */
const program = `
  const { closeSync, openSync, readSync } = require('node:fs');
  const { createHash } = require('node:crypto');
  const { parentPort } = require('node:worker_threads');
  const buffer = Buffer.allocUnsafeSlow(1024 * 1024);
  parentPort.on('message', ({ path, algorithm }) => {
    try {
      const hash = createHash(algorithm);
      const file = openSync(path, 'r');
      try {
        for (let read; (read = readSync(file, buffer, 0, buffer.length, null)) > 0;) hash.update(buffer.subarray(0, read));
      } finally {
        closeSync(file);
      }
      parentPort.postMessage({ digest: algorithm + ':' + hash.digest('hex') });
    } catch (error) {
      parentPort.postMessage({ message: error.message, code: error.code });
    }
  });
`;

/**
 * Hashes whole files on other threads, a few at a time, so that every core takes part and the event loop stays free for
 * the database.
 */
export class FileDigests {
  readonly #limit = Math.max(1, Math.min(maxThreads, availableParallelism()));
  readonly #threads = new Set<Worker>();
  readonly #idle: Worker[] = [];
  readonly #waiting: Job[] = [];

  /**
   * The digest of a file's bytes.
   *
   * @param like by whose algorithm
   * @throws {Error} when the file cannot be read
   */
  async of(path: string, like: Digest): Promise<Digest> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ path, like, resolve, reject });
      this.#next();
    });
  }

  /** To be called when no more is needed: ends the threads; what is being hashed is given up. */
  async close(): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => thread.terminate()));
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    const thread = this.#idle.pop() ?? (this.#threads.size < this.#limit ? this.#start() : undefined);
    if (thread === undefined) return;
    const { path, like, resolve, reject } = this.#waiting.shift()!;
    const onExit = () => {
      this.#threads.delete(thread);
      reject(new Error(`${path} was not read to its end`));
    };
    thread.once('exit', onExit);
    thread.once('message', (answer: Answer) => {
      thread.removeListener('exit', onExit);
      if ('digest' in answer) resolve(answer.digest as Digest);
      else reject(Object.assign(new Error(answer.message), { code: answer.code }));
      this.#idle.push(thread);
      this.#next();
    });
    thread.postMessage({ path, algorithm: digestAlgorithm(like) });
  }

  #start(): Worker {
    const thread = new Worker(program, { eval: true });
    // It exits after an error of its own, and that is what is waited for.
    thread.on('error', () => undefined);
    this.#threads.add(thread);
    return thread;
  }
}
