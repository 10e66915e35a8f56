import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { UpstreamBudgets } from '../metadata/upstream-budgets.js';
import type { Credential } from './upstream.js';

const maxRegistries = 1000;
/** Taken at once, so that not each request costs a write. */
const batchSize = 10;
/** What was taken and not used by then is given up: the window may be another one. */
const batchLifetimeMs = 5000;
const recordEveryMs = 1000;
const lookEveryMs = 5000;
const defaultWindowSeconds = 21_600;

/** Why a request is not sent. */
export interface BudgetRefusal {
  readonly problem: 'budget' | 'rate-limited';
  readonly retryAfterMs: number;
}

/** What a registry says of its limit. */
export interface ToldLimit {
  readonly limit?: number | undefined;
  readonly remaining?: number | undefined;
  /** null: it works. */
  readonly error?: string | null;
}

/**
 * Who asks: with a credential; without any, as we do where the administrator has none; or as nobody where there is one that is
 * not shown, which is another account to the registry.
 */
export type Asker = Credential | undefined | 'nobody';

/** What this process knows of a registry. */
interface Account {
  left: number;
  takenAt: number;
  taking: Promise<BudgetRefusal | undefined> | undefined;
  /** Requests that have not been counted yet. */
  uncounted: number;
  countedAt: number;
  lookedAt: number;
  recordedAt: number;
  recordedError: string | null | undefined;
  /** By who asks: registries count for each account, and one tenant's must not stop the others. */
  readonly blockedUntil: Map<string, number>;
}

/** Holds back requests to registries: by our own budget, and while they do not want any. */
export class RateBudget {
  readonly #budgets: UpstreamBudgets | undefined;
  readonly #now: () => Date;
  readonly #accounts = new LRUCache<string, Account>({ max: maxRegistries });

  constructor(budgets: UpstreamBudgets | undefined, now: () => Date) {
    this.#budgets = budgets;
    this.#now = now;
  }

  /** Takes one request; undefined when it may be sent. */
  async admit(
    registry: string,
    asker: Asker,
    limit: { readonly requests: number | undefined; readonly windowSeconds: number | undefined },
  ): Promise<BudgetRefusal | undefined> {
    const account = this.#accountOf(registry);
    await this.#lookForBlock(registry, account);
    const now = this.#now().getTime();
    const blockedMs = (account.blockedUntil.get(whoOf(asker)) ?? 0) - now;
    if (blockedMs > 0) return { problem: 'rate-limited', retryAfterMs: blockedMs };
    const windowMs = 1000 * (limit.windowSeconds ?? defaultWindowSeconds);
    if (limit.requests === undefined) {
      this.#count(registry, account, windowMs);
      return undefined;
    }
    for (;;) {
      if (account.left > 0 && this.#now().getTime() - account.takenAt < batchLifetimeMs) {
        account.left--;
        return undefined;
      }
      account.taking ??= this.#take(registry, account, { requests: limit.requests, windowMs });
      const refusal = await account.taking;
      if (refusal !== undefined) return refusal;
    }
  }

  async #take(
    registry: string,
    account: Account,
    limit: { readonly requests: number; readonly windowMs: number },
  ): Promise<BudgetRefusal | undefined> {
    try {
      // A small budget is not spent on what is given up again.
      const wanted = Math.max(1, Math.min(batchSize, Math.floor(limit.requests / 20)));
      const taken = await this.#budgets?.take(registry, wanted, limit);
      account.left = taken?.granted ?? wanted;
      account.takenAt = this.#now().getTime();
      return account.left > 0 ? undefined : { problem: 'budget', retryAfterMs: taken?.retryAfterMs ?? 0 };
    } finally {
      account.taking = undefined;
    }
  }

  /** Without a budget, requests are counted for people, now and then and behind their back. */
  #count(registry: string, account: Account, windowMs: number): void {
    account.uncounted++;
    const now = this.#now().getTime();
    if (now - account.countedAt < lookEveryMs) return;
    account.countedAt = now;
    const counted = account.uncounted;
    account.uncounted = 0;
    this.#budgets?.take(registry, counted, { requests: undefined, windowMs }).catch(() => undefined);
  }

  /** Other processes may have been told to wait. */
  async #lookForBlock(registry: string, account: Account): Promise<void> {
    const now = this.#now().getTime();
    if (this.#budgets === undefined || now - account.lookedAt < lookEveryMs) return;
    account.lookedAt = now;
    const blockedUntil = (await this.#budgets.find(registry))?.blockedUntil?.getTime() ?? 0;
    if (blockedUntil > now) account.blockedUntil.set(whoOf(undefined), blockedUntil);
  }

  /** Nothing is asked of a registry for a while. */
  block(registry: string, asker: Asker, { forMs, error }: { forMs: number; error: string }): void {
    const account = this.#accountOf(registry);
    const who = whoOf(asker);
    const now = this.#now().getTime();
    const isBlocked = (account.blockedUntil.get(who) ?? 0) > now;
    for (const [other, until] of account.blockedUntil) if (until <= now) account.blockedUntil.delete(other);
    if (account.blockedUntil.size < maxRegistries) account.blockedUntil.set(who, now + forMs);
    if (isBlocked || who !== whoOf(undefined)) return;
    account.recordedError = error;
    this.#record(registry, { blockedUntil: new Date(now + forMs), error });
  }

  /** Keeps what a registry says, at most once a second, and never makes anyone wait for it. */
  tell(registry: string, told: ToldLimit): void {
    const account = this.#accountOf(registry);
    const now = this.#now().getTime();
    const isNew = told.error !== undefined && told.error !== account.recordedError;
    if (!isNew && told.limit === undefined && told.remaining === undefined) return;
    if (now - account.recordedAt < recordEveryMs) return;
    account.recordedAt = now;
    if (told.error !== undefined) account.recordedError = told.error;
    this.#record(registry, told);
  }

  #record(registry: string, told: Parameters<UpstreamBudgets['record']>[1]): void {
    // What is kept is for people; that it could not be kept is no reason to fail.
    this.#budgets?.record(registry, told).catch(() => undefined);
  }

  #accountOf(registry: string): Account {
    const known = this.#accounts.get(registry);
    if (known !== undefined) return known;
    const account: Account = {
      left: 0,
      takenAt: 0,
      taking: undefined,
      uncounted: 0,
      countedAt: 0,
      lookedAt: 0,
      recordedAt: 0,
      recordedError: undefined,
      blockedUntil: new Map(),
    };
    this.#accounts.set(registry, account);
    return account;
  }
}

/** Who a registry counts requests for: us, or the account of a tenant. */
function whoOf(asker: Asker): string {
  if (asker === 'nobody') return asker;
  if (asker === undefined || asker.isConfigured === true) return '';
  const { username, password, identityToken = '' } = asker;
  return createHash('sha256')
    .update(JSON.stringify([username, password, identityToken]))
    .digest('base64');
}

/** Of `100;w=21600`, as Docker Hub says it, the number. */
export function parseLimitHeader(header: string | undefined): number | undefined {
  const [, digits] = /^\s*(\d{1,9})\s*(?:[;,]|$)/.exec(header ?? '') ?? [];
  return digits === undefined ? undefined : Number(digits);
}
