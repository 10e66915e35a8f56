import type { IncomingMessage } from 'node:http';

/** How slow a request body may be. */
export interface BodyLimits {
  readonly idleTimeoutMs: number;
  /** Over the idle time; 0: any. */
  readonly minimumBytesPerSecond: number;
}

interface Watched {
  readonly request: IncomingMessage;
  bytesAtWindow: number;
  windowBeganAt: number;
}

/**
 * Cuts off bodies that stopped coming, or come too slowly to be meant seriously. Node's own limit on the whole request
 * is off: a layer of many gigabytes over a slow line is in order as long as bytes flow.
 */
export class BodyGuard {
  readonly #limits: BodyLimits;
  readonly #watched = new Set<Watched>();
  readonly #timer: NodeJS.Timeout;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
    this.#timer = setInterval(() => {
      this.#check(performance.now());
    }, limits.idleTimeoutMs / 4).unref();
  }

  /** Watches the body of a request until it has come to its end. */
  watch(request: IncomingMessage): void {
    const { headers } = request;
    if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return;
    const watched = { request, bytesAtWindow: request.socket.bytesRead, windowBeganAt: performance.now() };
    this.#watched.add(watched);
    const forget = () => this.#watched.delete(watched);
    request.once('end', forget).once('close', forget);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #check(now: number): void {
    for (const watched of this.#watched) {
      const elapsedMs = now - watched.windowBeganAt;
      if (elapsedMs < this.#limits.idleTimeoutMs) continue;
      const { bytesRead } = watched.request.socket;
      const received = bytesRead - watched.bytesAtWindow;
      if (received === 0 || received < (this.#limits.minimumBytesPerSecond * elapsedMs) / 1000) {
        watched.request.destroy(new Error('the request body came too slowly'));
        this.#watched.delete(watched);
      } else {
        watched.bytesAtWindow = bytesRead;
        watched.windowBeganAt = now;
      }
    }
  }
}
