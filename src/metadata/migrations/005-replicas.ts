import type { Kysely } from 'kysely';
import { notifyChanges } from './change-notify.js';

/** Several processes over one database, on machines without state. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;

  // An upload session may be worked on by any process, by one at a time: `holder` names the request that does until
  // `held_until`. `store_state` is what the blob store wants to be told again, `hash_state` the hash of the bytes so far where
  // they could not be read once more.
  const upload = (column: string, type: 'bigint' | 'text') =>
    schema.alterTable('upload').addColumn(column, type).execute();
  await upload('store_state', 'text');
  await upload('hash_state', 'text');
  await upload('holder', 'text');
  await upload('held_until', 'bigint');

  // What all processes sign and encrypt with, sealed with the keys of the configuration.
  await schema
    .createTable('key')
    .addColumn('purpose', 'text', (column) => column.notNull())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('key_key', ['purpose', 'id'])
    .execute();

  await notifyChanges(db);
}
