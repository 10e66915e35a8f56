import { digestOf, type Digest } from '../../src/oci/digest.js';
import {
  UpstreamError,
  type Upstream,
  type UpstreamAccess,
  type UpstreamBlob,
  type UpstreamProblem,
  type UpstreamRepository,
} from '../../src/upstream/upstream.js';

const pieceSize = 64 * 1024;

/** How a registry gives a blob. */
interface Giving {
  /** After so many bytes it waits for `go`. */
  readonly pauseAt?: number;
  /** After so many bytes it breaks off. */
  readonly breakAt?: number;
  /** What it says the size is; that of the bytes when left out. */
  readonly size?: number;
  /** The bytes are given under this digest, whatever theirs is. */
  readonly digest?: Digest;
}

/**
 * Other registries inside the test process. They do not look at what they give, so that what is wrong with it must be found
 * by whoever takes it.
 */
export class FakeUpstream implements Pick<Upstream, 'headBlob' | 'openBlob'> {
  /** What was asked for, as in `GET quay.io/team/app`, oldest first. */
  readonly requests: string[] = [];
  readonly accesses: UpstreamAccess[] = [];
  /** Blobs that are being given at this moment. */
  running = 0;
  mostRunning = 0;
  readonly #blobs = new Map<string, { readonly bytes: Buffer; readonly giving: Giving }>();
  readonly #problems = new Map<string, UpstreamError>();
  #paused: (() => void)[] = [];
  #isHeld = true;

  /** @param place as in `quay.io/team/app` */
  put(place: string, bytes: Buffer, giving: Giving = {}): Digest {
    const digest = giving.digest ?? digestOf(bytes);
    this.#blobs.set(`${place}@${digest}`, { bytes, giving });
    return digest;
  }

  /** From now on it answers everything with a problem. */
  refuse(place: string, problem: UpstreamProblem, retryAfterMs?: number): void {
    const of = { reference: place, retryAfterMs, answer: `${place} says ${problem}` };
    this.#problems.set(place, new UpstreamError(problem, `${place}: ${problem}`, of));
  }

  /** Lets everything go on that has paused, and pause no more. */
  go(): void {
    this.#isHeld = false;
    for (const resume of this.#paused.splice(0)) resume();
  }

  countOf(request: string): number {
    return this.requests.filter((each) => each === request).length;
  }

  headBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<number> {
    return Promise.resolve().then(() => {
      const { bytes, giving } = this.#find('HEAD', repository, digest, access);
      return giving.size ?? bytes.length;
    });
  }

  openBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<UpstreamBlob> {
    return Promise.resolve().then(() => {
      const { bytes, giving } = this.#find('GET', repository, digest, access);
      return {
        size: giving.size ?? bytes.length,
        body: this.#give(`${repository.registry}/${repository.path}`, bytes, giving, access.signal),
        cancel: () => undefined,
      };
    });
  }

  #find(method: string, { registry, path }: UpstreamRepository, digest: Digest, access: UpstreamAccess) {
    const place = `${registry}/${path}`;
    this.requests.push(`${method} ${place}`);
    this.accesses.push(access);
    const problem = this.#problems.get(place);
    if (problem !== undefined) throw problem;
    const blob = this.#blobs.get(`${place}@${digest}`);
    if (blob !== undefined) return blob;
    throw new UpstreamError('not-found', `${place} has no such blob`, { reference: place, status: 404 });
  }

  async *#give(
    place: string,
    bytes: Buffer,
    { pauseAt, breakAt }: Giving,
    signal?: AbortSignal,
  ): AsyncGenerator<Buffer> {
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    try {
      for (let at = 0; at < bytes.length;) {
        if (at === pauseAt && this.#isHeld) await this.#pause(signal);
        if (at === breakAt) throw new UpstreamError('unavailable', `${place} broke off`, { reference: place });
        const stops = [pauseAt, breakAt].filter((stop) => stop !== undefined && stop > at) as number[];
        const end = Math.min(at + pieceSize, bytes.length, ...stops);
        // A new turn of the event loop for each piece, as from a socket.
        await new Promise((resolve) => setImmediate(resolve));
        yield bytes.subarray(at, end);
        at = end;
      }
    } finally {
      this.running -= 1;
    }
  }

  #pause(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#paused.push(resolve);
      signal?.addEventListener('abort', () => {
        reject(new UpstreamError('unavailable', 'it was ended', { reference: 'paused' }));
      });
    });
  }
}
