import type { Selectable, Transaction, Updateable } from 'kysely';
import type { Database, Schema, UpstreamBudgetTable } from './schema.js';
import type { UpstreamBudget, UpstreamBudgets } from './upstream-budgets.js';
import { withoutSync } from './without-sync.js';

/** Of an error, for people. */
const maxErrorLength = 1000;

/** UpstreamBudgets in SQL. After a power failure a few of the last requests may be uncounted. */
export class KyselyUpstreamBudgets implements UpstreamBudgets {
  readonly #db: Database;
  readonly #now: () => Date;

  constructor(db: Database, now: () => Date = () => new Date()) {
    this.#db = db;
    this.#now = now;
  }

  take(
    registry: string,
    wanted: number,
    { requests, windowMs }: { readonly requests: number | undefined; readonly windowMs: number },
  ): Promise<{ readonly granted: number; readonly retryAfterMs: number }> {
    return this.#write(registry, async (tx, at) => {
      // A window begins with its first request. The update also takes hold of the row, where several may write at a time.
      await tx
        .updateTable('upstream_budget')
        .set({ used: 0, window_start: at })
        .where('registry', '=', registry)
        .where('window_start', '<=', at - windowMs)
        .execute();
      const budget = await tx
        .updateTable('upstream_budget')
        .set({ last_used_at: at })
        .where('registry', '=', registry)
        .returningAll()
        .executeTakeFirstOrThrow();
      const left = requests === undefined ? wanted : Math.max(requests - budget.used, 0);
      const granted = Math.min(wanted, left);
      if (granted === 0 && wanted > 0) return { granted, retryAfterMs: budget.window_start + windowMs - at };
      await this.#update(tx, registry, { used: budget.used + granted });
      return { granted, retryAfterMs: 0 };
    });
  }

  async record(
    registry: string,
    {
      limit,
      remaining,
      blockedUntil,
      error,
    }: {
      readonly limit?: number | undefined;
      readonly remaining?: number | undefined;
      readonly blockedUntil?: Date | undefined;
      readonly error?: string | null;
    },
  ): Promise<void> {
    const told = {
      ...(limit !== undefined && { told_limit: limit }),
      ...(remaining !== undefined && { told_remaining: remaining }),
      ...(blockedUntil !== undefined && { blocked_until: blockedUntil.getTime() }),
      ...(error !== undefined && { last_error: error?.slice(0, maxErrorLength) ?? null }),
    };
    if (Object.keys(told).length === 0) return;
    await this.#write(registry, (tx) => this.#update(tx, registry, told));
  }

  async find(registry: string): Promise<UpstreamBudget | undefined> {
    const row = await this.#db
      .selectFrom('upstream_budget')
      .selectAll()
      .where('registry', '=', registry)
      .executeTakeFirst();
    return row && toBudget(row);
  }

  async list(after: string | undefined, limit: number): Promise<readonly UpstreamBudget[]> {
    const rows = await this.#db
      .selectFrom('upstream_budget')
      .selectAll()
      .$if(after !== undefined, (query) => query.where('registry', '>', after!))
      .orderBy('registry')
      .limit(limit)
      .execute();
    return rows.map(toBudget);
  }

  /**
   * Forgets registries that were not asked for long, of which people may name any number.
   *
   * @param kept those that are known to the configuration
   */
  async forgetUnused(before: Date, kept: readonly string[]): Promise<void> {
    await this.#db
      .deleteFrom('upstream_budget')
      .where('last_used_at', '<', before.getTime())
      .where((where) => where.or([where('blocked_until', 'is', null), where('blocked_until', '<', before.getTime())]))
      .$if(kept.length > 0, (query) => query.where('registry', 'not in', kept))
      .execute();
  }

  async #update(tx: Transaction<Schema>, registry: string, values: Updateable<UpstreamBudgetTable>): Promise<void> {
    await tx.updateTable('upstream_budget').set(values).where('registry', '=', registry).execute();
  }

  /** One transaction on the row of a registry, which is made when it is not there. */
  #write<Result>(registry: string, work: (tx: Transaction<Schema>, at: number) => Promise<Result>): Promise<Result> {
    const at = this.#now().getTime();
    return withoutSync(this.#db, (db) =>
      // Beside others: whoever has changed the row of a registry holds it until the end.
      db
        .transaction()
        .setIsolationLevel('read committed')
        .execute(async (tx) => {
          await tx
            .insertInto('upstream_budget')
            .values({
              registry,
              used: 0,
              window_start: at,
              blocked_until: null,
              told_limit: null,
              told_remaining: null,
              last_used_at: at,
              last_error: null,
            })
            .onConflict((conflict) => conflict.column('registry').doNothing())
            .execute();
          return work(tx, at);
        }),
    );
  }
}

function toBudget(row: Selectable<UpstreamBudgetTable>): UpstreamBudget {
  return {
    registry: row.registry,
    used: row.used,
    windowStart: new Date(row.window_start),
    blockedUntil: row.blocked_until === null ? undefined : new Date(row.blocked_until),
    toldLimit: row.told_limit ?? undefined,
    toldRemaining: row.told_remaining ?? undefined,
    lastUsedAt: new Date(row.last_used_at),
    lastError: row.last_error ?? undefined,
  };
}
