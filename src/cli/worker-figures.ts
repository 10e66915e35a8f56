import { AggregatorRegistry, Counter, Gauge, Registry } from 'prom-client';
import type { Figures } from './worker-messages.js';

/** Whoever has not answered by then is told of as it was. */
const answerTimeoutMs = 2000;

interface Collection {
  readonly missing: Set<number>;
  readonly finish: () => void;
}

/**
 * What all workers have measured together. Counts never go back: those of a worker that has ended stay in the sum, as far
 * as they were told, and one that does not answer in time counts as it did before.
 */
export class WorkerFigures {
  readonly #registry = new Registry();
  readonly #serving = new Gauge({
    name: 'weir_workers',
    help: 'Processes that share the listener and serve.',
    registers: [this.#registry],
  });
  readonly #ends = new Counter({
    name: 'weir_workers_ended_total',
    help: 'Processes that ended though nobody had asked them to, and were replaced.',
    registers: [this.#registry],
  });
  /** By worker, what it told last. */
  readonly #last = new Map<number, Figures>();
  readonly #collections = new Map<number, Collection>();
  /** Of workers that are no more. */
  #ended: Figures = [];
  #collectionCount = 0;

  /**
   * @param workers by number, those that can be asked
   * @param ask has a worker call `receive`
   * @returns in the text format of Prometheus
   */
  async collect(workers: readonly number[], ask: (worker: number, collection: number) => void): Promise<string> {
    const collection = (this.#collectionCount += 1);
    await new Promise<void>((resolve) => {
      const timeout = setTimeout(resolve, answerTimeoutMs);
      const finish = (): void => {
        clearTimeout(timeout);
        resolve();
      };
      this.#collections.set(collection, { missing: new Set(workers), finish });
      for (const worker of workers) ask(worker, collection);
      if (workers.length === 0) finish();
    });
    this.#collections.delete(collection);
    this.#serving.set(workers.length);
    const own = await this.#registry.getMetricsAsJSON();
    return AggregatorRegistry.aggregate([...this.#last.values(), this.#ended, own]).metrics();
  }

  /** Takes the answer of a worker, also a late one. */
  receive(worker: number, collection: number, figures: Figures): void {
    this.#last.set(worker, figures);
    this.#strike(worker, collection);
  }

  /** A worker is no more. @param isExpected whether it was asked to end */
  async end(worker: number, { isExpected }: { readonly isExpected: boolean }): Promise<void> {
    if (!isExpected) this.#ends.inc();
    const counted = (this.#last.get(worker) ?? []).filter(({ type }) => isCount(type));
    this.#last.delete(worker);
    for (const collection of [...this.#collections.keys()]) this.#strike(worker, collection);
    if (counted.length === 0) return;
    this.#ended = await AggregatorRegistry.aggregate([this.#ended, counted]).getMetricsAsJSON();
  }

  #strike(worker: number, collection: number): void {
    const waiting = this.#collections.get(collection);
    if (waiting?.missing.delete(worker) === true && waiting.missing.size === 0) waiting.finish();
  }
}

/** A count goes on when its process has ended, a state does not. The types are texts, whatever the library declares. */
function isCount(type: unknown): boolean {
  return type === 'counter' || type === 'histogram';
}
