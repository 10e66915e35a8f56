import type { UpstreamBudget, UpstreamBudgets } from '../../src/metadata/upstream-budgets.js';

/** Budgets of one process, in windows that begin with the first request. */
export class MemoryBudgets implements UpstreamBudgets {
  readonly #now: () => Date;
  readonly #budgets = new Map<string, UpstreamBudget>();
  /** How often anything was asked or told. */
  readonly calls = { take: 0, record: 0, find: 0 };

  constructor(now: () => Date) {
    this.#now = now;
  }

  take(
    registry: string,
    wanted: number,
    { requests = Infinity, windowMs }: { readonly requests: number | undefined; readonly windowMs: number },
  ): Promise<{ readonly granted: number; readonly retryAfterMs: number }> {
    this.calls.take++;
    const now = this.#now();
    const known = this.#of(registry);
    const isOver = now.getTime() - known.windowStart.getTime() >= windowMs;
    const budget = isOver ? { ...known, used: 0, windowStart: now } : known;
    const granted = Math.min(wanted, requests - budget.used);
    this.#budgets.set(registry, { ...budget, used: budget.used + granted, lastUsedAt: now });
    const retryAfterMs = granted > 0 ? 0 : budget.windowStart.getTime() + windowMs - now.getTime();
    return Promise.resolve({ granted, retryAfterMs });
  }

  record(
    registry: string,
    { limit, remaining, blockedUntil, error }: Parameters<UpstreamBudgets['record']>[1],
  ): Promise<void> {
    this.calls.record++;
    const known = this.#of(registry);
    this.#budgets.set(registry, {
      ...known,
      toldLimit: limit ?? known.toldLimit,
      toldRemaining: remaining ?? known.toldRemaining,
      blockedUntil: blockedUntil ?? known.blockedUntil,
      lastError: error === undefined ? known.lastError : (error ?? undefined),
    });
    return Promise.resolve();
  }

  find(registry: string): Promise<UpstreamBudget | undefined> {
    this.calls.find++;
    return Promise.resolve(this.#budgets.get(registry));
  }

  list(): Promise<readonly UpstreamBudget[]> {
    return Promise.resolve([...this.#budgets.values()]);
  }

  #of(registry: string): UpstreamBudget {
    const now = this.#now();
    return (
      this.#budgets.get(registry) ?? {
        registry,
        used: 0,
        windowStart: now,
        blockedUntil: undefined,
        toldLimit: undefined,
        toldRemaining: undefined,
        lastUsedAt: now,
        lastError: undefined,
      }
    );
  }
}
