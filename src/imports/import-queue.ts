import { LRUCache } from 'lru-cache';
import { registryOfSource, type DueSource } from '../metadata/import-records.js';

const maxRegistries = 1000;
/** Of a registry so many times what is asked at a time is claimed beforehand. */
const claimedAhead = 4;

/**
 * Which sources are asked now. A registry that is not known to answer is asked one thing at a time until it does, and all of
 * these together get half of the places: however many are silent, the others are asked in time.
 */
export class ImportQueue {
  readonly #atOnce: number;
  readonly #perRegistry: number;
  readonly #isLeftAlone: (registry: string) => boolean;
  readonly #answering = new LRUCache<string, true>({ max: maxRegistries });
  /** What is under way, by registry. */
  readonly #running = new Map<string, number>();
  /** What is claimed and not begun, by registry, the longest due first. */
  readonly #waiting = new Map<string, DueSource[]>();

  /**
   * @param options.atOnce sources that are asked at a time
   * @param options.perRegistry of them, those of one registry
   * @param options.isLeftAlone whether a registry is asked nothing for a while, so that what wants it is soon done
   */
  constructor(options: {
    readonly atOnce: number;
    readonly perRegistry: number;
    readonly isLeftAlone: (registry: string) => boolean;
  }) {
    this.#atOnce = options.atOnce;
    this.#perRegistry = options.perRegistry;
    this.#isLeftAlone = options.isLeftAlone;
  }

  /** How many sources of a registry should be claimed: enough at a time to be worth it. */
  roomFor(registry: string): number {
    const places = this.#placesOf(registry);
    const waiting = this.#waiting.get(registry)?.length ?? 0;
    return waiting > places ? 0 : claimedAhead * places - waiting;
  }

  /** Whether there is little left to be asked of registries that answer. */
  get isShort(): boolean {
    let ready = 0;
    for (const [registry, waiting] of this.#waiting) if (this.#answering.has(registry)) ready += waiting.length;
    return ready <= this.#perRegistry;
  }

  add(sources: readonly DueSource[]): void {
    for (const source of sources) {
      const registry = registryOfSource(source.source);
      const waiting = this.#waiting.get(registry);
      if (waiting === undefined) this.#waiting.set(registry, [source]);
      else waiting.push(source);
    }
  }

  /** What is to be asked now: of each registry in turn, so that none has all the places. */
  begin(): readonly DueSource[] {
    const begun: DueSource[] = [];
    let places = this.#atOnce;
    let forUnknown = Math.max(1, Math.floor(this.#atOnce / 2));
    for (const [registry, running] of this.#running) {
      places -= running;
      if (this.#isUnknown(registry)) forUnknown -= running;
    }
    for (let hasBegun = true; hasBegun && places > 0;) {
      hasBegun = false;
      for (const [registry, waiting] of [...this.#waiting]) {
        const running = this.#running.get(registry) ?? 0;
        const isUnknown = this.#isUnknown(registry);
        if (places <= 0 || running >= this.#placesOf(registry) || (isUnknown && forUnknown <= 0)) continue;
        begun.push(waiting.shift()!);
        if (waiting.length === 0) this.#waiting.delete(registry);
        this.#running.set(registry, running + 1);
        places -= 1;
        if (isUnknown) forUnknown -= 1;
        hasBegun = true;
      }
    }
    return begun;
  }

  /** One of what was begun is over. */
  finish({ source }: Pick<DueSource, 'source'>): void {
    const registry = registryOfSource(source);
    const running = this.#running.get(registry)! - 1;
    if (running === 0) this.#running.delete(registry);
    else this.#running.set(registry, running);
  }

  /** Keeps whether a registry answers. */
  tell(registry: string, { isAnswering }: { readonly isAnswering: boolean }): void {
    if (isAnswering) this.#answering.set(registry, true);
    else this.#answering.delete(registry);
  }

  /** Forgets what was not begun. */
  clear(): void {
    this.#waiting.clear();
  }

  #isUnknown(registry: string): boolean {
    return !this.#answering.has(registry) && !this.#isLeftAlone(registry);
  }

  #placesOf(registry: string): number {
    return this.#isUnknown(registry) ? 1 : this.#perRegistry;
  }
}
