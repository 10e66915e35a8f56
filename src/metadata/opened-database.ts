import type { Database } from './schema.js';

/** A database that is open, with what it tells of itself. `db.destroy()` ends all of it. */
export interface OpenedDatabase {
  readonly db: Database;
  /** The time, the same for all processes that use the database, however wrong the clocks of their machines are. */
  readonly now: () => Date;
  /**
   * Calls back whenever somebody, in whatever process, may have written lines of the change log. Nobody is told where the
   * database has no such thing, and a message may be lost: it spares waiting, and is nothing to rely on.
   */
  readonly onChange: (listener: () => void) => void;
  /** How often to look for changes nonetheless, in milliseconds. */
  readonly pollMs: number;
  /** Resolves when the database answers a query now. Waits for nothing, and rejects when it does not. */
  readonly ping: () => Promise<void>;
}
