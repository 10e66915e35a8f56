import { join } from 'node:path';
import { Command } from 'commander';
import { SigningKeys } from '../auth/signing-keys.js';
import type { Config } from '../config.js';
import type { KeyRecords } from '../metadata/key-records.js';
import { KyselyKeyRecords } from '../metadata/kysely-key-records.js';
import { openDatabase } from '../registry-files.js';
import { openSecretBox } from '../secret-keys.js';
import { configOf } from './config-of.js';

/** A key is kept this long after it stopped signing: longer than any token it signed. */
const keepMs = 24 * 3_600_000;

/** `weir keys`: the keys that registry tokens are signed with, and what else all processes share. */
export function keysCommand(): Command {
  const keys = new Command('keys').description('manage the keys that tokens are signed with');
  keys
    .command('rotate')
    .description('make a new key; the old ones go on verifying for a day (works while the registry runs)')
    .action((_options, command: Command) =>
      withKeys(command, async (records, { config, now }) => {
        const signingKeys = await SigningKeys.open(records, 'registry-tokens', {
          earlierFolder: join(config.dataDir, 'keys'),
          now,
        });
        const added = await signingKeys.add();
        const removed = await signingKeys.removeOld(new Date(now().getTime() - keepMs));
        process.stdout.write(`tokens are signed with ${added} within ten seconds\n`);
        for (const id of removed) process.stdout.write(`removed ${id}\n`);
      }),
    );
  keys
    .command('discard')
    .description('forget the keys that cannot be decrypted because the secrets.keys they need are lost')
    .option('--yes', 'do it; without this, only print them')
    .addHelpText(
      'after',
      `
Only for when those secrets.keys are lost for good. The next start makes new keys: tokens signed with the
old ones are worth nothing any more, and clients have to trust a new CA.`,
    )
    .action((options: { readonly yes?: true }, command: Command) =>
      withKeys(command, async (records) => {
        for (const { purpose, id } of await records.listUnreadable()) {
          if (options.yes === true) await records.remove(purpose, [id]);
          process.stdout.write(`${options.yes === true ? 'removed' : 'cannot be decrypted:'} ${purpose} ${id}\n`);
        }
      }),
    );
  return keys;
}

async function withKeys(
  command: Command,
  work: (records: KeyRecords, context: { readonly config: Config; readonly now: () => Date }) => Promise<void>,
): Promise<void> {
  const config = configOf(command);
  const { db, now } = await openDatabase(config);
  try {
    await work(new KyselyKeyRecords(db, await openSecretBox(config)), { config, now });
  } finally {
    await db.destroy();
  }
}
