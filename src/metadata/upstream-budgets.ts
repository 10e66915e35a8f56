/** What is known of the requests that go to another registry, shared by all processes. */
export interface UpstreamBudget {
  /** Host and perhaps port, as people write it. */
  readonly registry: string;
  /** Requests since `windowStart`. */
  readonly used: number;
  readonly windowStart: Date;
  /** Nothing is asked of it before this; undefined when it may be asked. */
  readonly blockedUntil: Date | undefined;
  /** What the registry last said of its own limit (`ratelimit-limit`, `ratelimit-remaining`); undefined when it said nothing. */
  readonly toldLimit: number | undefined;
  readonly toldRemaining: number | undefined;
  readonly lastUsedAt: Date;
  /** The last failure, for people; undefined since the last success. */
  readonly lastError: string | undefined;
}

/** Counts requests to other registries. */
export interface UpstreamBudgets {
  /**
   * Takes requests out of the budget of a registry, in one step.
   *
   * @param limit requests in a window at most; undefined: they are only counted
   * @returns how many were granted, at least one when any is left, and else when there will be some
   */
  take(
    registry: string,
    wanted: number,
    limit: { readonly requests: number | undefined; readonly windowMs: number },
  ): Promise<{ readonly granted: number; readonly retryAfterMs: number }>;

  /** Keeps what the registry said of itself. */
  record(
    registry: string,
    told: {
      readonly limit?: number | undefined;
      readonly remaining?: number | undefined;
      readonly blockedUntil?: Date | undefined;
      /** null: it works again. */
      readonly error?: string | null;
    },
  ): Promise<void>;

  find(registry: string): Promise<UpstreamBudget | undefined>;

  /** In byte order of their names. */
  list(after: string | undefined, limit: number): Promise<readonly UpstreamBudget[]>;
}
