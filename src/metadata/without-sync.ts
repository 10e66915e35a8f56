import type { Kysely } from 'kysely';
import type { Database, Schema } from './schema.js';

/** Runs a write, and does not wait for the disk. */
export type RunWithoutSync = <Result>(write: (db: Kysely<Schema>) => Promise<Result>) => Promise<Result>;

const offered = new WeakMap<Database, RunWithoutSync>();

/** Lets an adapter spare a write the wait for the disk. */
export function offerWithoutSync(db: Database, run: RunWithoutSync): void {
  offered.set(db, run);
}

/**
 * Runs one write whose loss in a power failure would harm nobody: it is visible at once to everyone, and on the disk
 * with the next commit at the latest. It spares the wait for the disk.
 */
export async function withoutSync<T>(db: Database, write: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
  const run = offered.get(db);
  return run === undefined ? write(db) : run(write);
}
