import { sql, type Transaction } from 'kysely';
import type { ChangeTable, Schema } from './schema.js';

/** Of the commit under way. Within the transaction that uses the number, so that nobody sees a later one before it. */
export async function nextVersion(tx: Transaction<Schema>): Promise<number> {
  const { value } = await tx
    .updateTable('sequence')
    .set({ value: sql<number>`value + 1` })
    .where('name', '=', 'resource_version')
    .returning('value')
    .executeTakeFirstOrThrow();
  return value;
}

/** Writes a line of the change log. */
export async function appendChange(tx: Transaction<Schema>, change: ChangeTable): Promise<void> {
  await tx.insertInto('change').values(change).execute();
}
