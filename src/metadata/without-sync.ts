import type { Kysely } from 'kysely';
import type { Database, Schema } from './schema.js';

const overlooked = new WeakMap<Database, () => void>();

/**
 * Lets an adapter spare a write the wait for the disk.
 *
 * @param overlook makes what was just written on the connection not count as something to be synced
 */
export function offerWithoutSync(db: Database, overlook: () => void): void {
  overlooked.set(db, overlook);
}

/**
 * Runs one write whose loss in a power failure would harm nobody: it is visible at once to everyone, and on the disk
 * with the next commit at the latest. It spares the wait for the disk.
 */
export async function withoutSync<T>(db: Database, write: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
  const overlook = overlooked.get(db);
  if (overlook === undefined) return write(db);
  return db.connection().execute(async (connection) => {
    const result = await write(connection);
    overlook();
    return result;
  });
}
