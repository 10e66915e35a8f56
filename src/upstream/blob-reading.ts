import { createHash } from 'node:crypto';
import { digestAlgorithm, digestOfHash, type Digest } from '../oci/digest.js';
import { contentLengthOf, discard, headerOf, type HttpAnswer } from './http-answer.js';
import type { RegistryExchange } from './registry-exchange.js';
import { UpstreamError, type UpstreamBlob } from './upstream.js';

/** A blob whose connection breaks is taken up again so many times. */
const maxResumptions = 3;
/** What comes more slowly is given up, as it would be of a push: whoever drips bytes would hold a place for ever. */
const minimumBytesPerMs = 1;

/** OCI Distribution Spec, end-2, by HEAD. @returns size in bytes */
export async function headBlob(exchange: RegistryExchange, path: string, digest: Digest): Promise<number> {
  const size = await exchange
    .send({ method: 'HEAD', path: `${path}/blobs/${digest}`, accepts: [200, 405] }, (answer) => {
      answer.body.resume();
      return Promise.resolve(answer.status === 200 ? contentLengthOf(answer) : undefined);
    })
    .catch((error: unknown) => {
      // Addresses of a store that a registry redirects to may be good for GET only.
      if (error instanceof UpstreamError && error.problem === 'denied') return undefined;
      throw error;
    });
  if (size !== undefined) return size;
  return exchange.send({ method: 'GET', path: `${path}/blobs/${digest}`, accepts: [200] }, (answer) => {
    discard(answer);
    return Promise.resolve(sizeOf(exchange, answer));
  });
}

function sizeOf(exchange: RegistryExchange, answer: HttpAnswer): number {
  const size = contentLengthOf(answer);
  if (size !== undefined) return size;
  throw exchange.error('invalid-answer', `${exchange.registry} does not say how large a blob is`);
}

/** OCI Distribution Spec, end-2. */
export async function openBlob(exchange: RegistryExchange, path: string, digest: Digest): Promise<UpstreamBlob> {
  const download = new BlobDownload(exchange, `${path}/blobs/${digest}`, digest);
  const size = await download.open();
  return {
    size,
    body: download.read(size),
    cancel: () => {
      download.cancel();
    },
  };
}

class BlobDownload {
  readonly #exchange: RegistryExchange;
  readonly #path: string;
  readonly #digest: Digest;
  readonly #abort = new AbortController();
  #answer: HttpAnswer | undefined;
  #received = 0;
  /** How long the registry let us wait, without the time that those take who read. */
  #waitedMs = 0;
  #resumptions = 0;

  constructor(exchange: RegistryExchange, path: string, digest: Digest) {
    this.#exchange = exchange;
    this.#path = path;
    this.#digest = digest;
  }

  /** @returns size in bytes */
  async open(): Promise<number> {
    const announced = await this.#send('GET', {}, [200], (answer) => {
      this.#answer = answer;
      return Promise.resolve(contentLengthOf(answer));
    });
    if (announced !== undefined) return announced;
    try {
      // What comes in chunks is announced to who asks for nothing else.
      return await this.#send('HEAD', {}, [200], (answer) => {
        answer.body.resume();
        return Promise.resolve(sizeOf(this.#exchange, answer));
      });
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  cancel(): void {
    this.#abort.abort();
    if (this.#answer !== undefined) discard(this.#answer);
  }

  /** Until all bytes came; then they have the digest. */
  async *read(size: number): AsyncGenerator<Buffer, void, undefined> {
    const algorithm = digestAlgorithm(this.#digest);
    const hash = createHash(algorithm);
    try {
      for await (const chunk of this.#chunks(size)) {
        hash.update(chunk);
        yield chunk;
      }
      const actual = digestOfHash(hash, algorithm);
      if (actual !== this.#digest) {
        throw this.#exchange.error(
          'integrity',
          `content integrity error: ${this.#exchange.registry} sends ${actual} for ${this.#digest}`,
        );
      }
    } finally {
      this.cancel();
    }
  }

  async *#chunks(size: number): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      try {
        let askedAt = performance.now();
        for await (const chunk of this.#answer!.body as AsyncIterable<Buffer>) {
          this.#waitedMs += performance.now() - askedAt;
          this.#received += chunk.length;
          if (this.#received > size) throw this.#wrongSize(size);
          this.#checkPace();
          yield chunk;
          askedAt = performance.now();
        }
        if (this.#received === size) return;
      } catch (error) {
        if (error instanceof UpstreamError) throw error;
        if (this.#received === size) return;
        await this.#resume(size, error);
        continue;
      }
      await this.#resume(size, undefined);
    }
  }

  /** Goes on with a new answer after the bytes that came. */
  async #resume(size: number, cause: unknown): Promise<void> {
    if (!this.#abort.signal.aborted && this.#resumptions < maxResumptions) {
      this.#resumptions++;
      const start = this.#received;
      const isResumed = await this.#send('GET', { Range: `bytes=${start}-` }, [200, 206], (answer) => {
        this.#answer = answer;
        const isRest =
          answer.status === 206 && headerOf(answer, 'content-range') === `bytes ${start}-${size - 1}/${size}`;
        const isWhole = answer.status === 200 && start === 0 && contentLengthOf(answer) === size;
        if (!isRest && !isWhole) discard(answer);
        return Promise.resolve(isRest || isWhole);
      });
      if (isResumed) return;
    }
    const { registry } = this.#exchange;
    throw this.#exchange.error(
      'unavailable',
      `the connection to ${registry} broke after ${this.#received} of ${size} bytes of ${this.#digest}`,
      { cause },
    );
  }

  #send<T>(
    method: 'GET' | 'HEAD',
    headers: Readonly<Record<string, string>>,
    accepts: readonly number[],
    read: (answer: HttpAnswer) => Promise<T>,
  ): Promise<T> {
    const { signal } = this.#abort;
    return this.#exchange.send({ method, path: this.#path, headers, accepts, isStream: true, signal }, read);
  }

  #checkPace(): void {
    const { registry, timeoutMs } = this.#exchange;
    if (this.#waitedMs <= timeoutMs + this.#received / minimumBytesPerMs) return;
    throw this.#exchange.error('unavailable', `${registry} sends ${this.#digest} too slowly`);
  }

  #wrongSize(size: number): UpstreamError {
    return this.#exchange.error(
      'integrity',
      `${this.#exchange.registry} sends more than the ${size} bytes of ${this.#digest}`,
    );
  }
}
