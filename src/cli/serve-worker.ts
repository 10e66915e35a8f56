import cluster from 'node:cluster';
import { exitCodes } from './exit-codes.js';
import { openServeLog } from './serve-log.js';
import type { GroupMessage, WorkerMessage } from './worker-messages.js';

/** What a worker asked for is collected in less, unless something is wrong. */
const collectTimeoutMs = 5000;

/**
 * Runs the registry as one of several processes that share a listener, until it is told to stop. It ends at once when the
 * process that started it does (node:cluster sees to that).
 *
 * @returns the exit code
 */
export async function serveAsWorker(version: string): Promise<number> {
  const group = new GroupLink();
  try {
    return await run(group, version);
  } catch (error) {
    // Why is told as by a registry of one process, which would end by itself now.
    cluster.worker?.disconnect();
    throw error;
  }
}

async function run(group: GroupLink, version: string): Promise<number> {
  const { config, number } = await group.order();
  const [{ startRegistry }, { Metrics }] = await Promise.all([import('../serve.js'), import('../metrics.js')]);
  const { log, close } = openServeLog(config, number);
  const metrics = new Metrics({ processMetrics: true, collectAll: () => group.collect() });
  group.onMeasure(() => metrics.registry.getMetricsAsJSON());
  const registry = await startRegistry(config, log, version, metrics);
  const stopped = group.untilStopped();
  const { url, caCertificatePath, passwordPath } = registry;
  group.send({ kind: 'serving', serving: { url, caCertificatePath, passwordPath } });
  await stopped;
  const isClean = await registry.stop();
  await close();
  return isClean ? exitCodes.ok : exitCodes.cutOff;
}

type Order = Extract<GroupMessage, { readonly kind: 'serve' }>;
type Measure = () => Promise<Extract<WorkerMessage, { readonly kind: 'figures' }>['figures']>;

/** How a worker speaks with the process that started it. */
class GroupLink {
  readonly #requests = new Map<number, (text: string) => void>();
  #requestCount = 0;
  #measure: Measure | undefined;
  /** Before it serves there is nothing to finish. */
  #stop = (): void => process.exit(exitCodes.ok);
  #takeOrder: (order: Order) => void = () => undefined;

  constructor() {
    process.on('message', (message: GroupMessage) => {
      switch (message.kind) {
        case 'serve':
          this.#takeOrder(message);
          break;
        case 'stop':
          this.#stop();
          break;
        case 'measure':
          void this.#tellFigures(message.collection);
          break;
        case 'collected':
          this.#requests.get(message.request)?.(message.text);
          break;
      }
    });
  }

  send(message: WorkerMessage): void {
    // When nobody is there any more, this process is about to end.
    process.send?.(message, undefined, undefined, () => undefined);
  }

  /** What this process is to serve. */
  order(): Promise<Order> {
    return new Promise((resolve) => {
      this.#takeOrder = resolve;
      this.send({ kind: 'hello' });
    });
  }

  onMeasure(measure: Measure): void {
    this.#measure = measure;
  }

  /**
   * Resolves when this process is to finish what it is at. Signals come beside the message, when they are sent to all
   * processes of a terminal or a service; a second one is for the process that started this one, and ends both.
   */
  untilStopped(): Promise<void> {
    return new Promise((resolve) => {
      this.#stop = resolve;
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
    });
  }

  /** What all workers have measured. @throws {Error} when that takes too long */
  async collect(): Promise<string> {
    const request = (this.#requestCount += 1);
    let timeout: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#requests.set(request, resolve);
        timeout = setTimeout(() => {
          reject(new Error('what the workers have measured could not be collected in time'));
        }, collectTimeoutMs);
        this.send({ kind: 'collect', request });
      });
    } finally {
      clearTimeout(timeout);
      this.#requests.delete(request);
    }
  }

  async #tellFigures(collection: number): Promise<void> {
    const figures = await this.#measure?.();
    if (figures !== undefined) this.send({ kind: 'figures', collection, figures });
  }
}
