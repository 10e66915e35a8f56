import { join } from 'node:path';
import { Command } from 'commander';
import { SigningKeys } from '../auth/signing-keys.js';
import { configOf } from './config-of.js';

/** A key is kept this long after it stopped signing: longer than any token it signed. */
const keepMs = 24 * 3_600_000;

/** `weir keys`: the keys that registry tokens are signed with. */
export function keysCommand(): Command {
  const keys = new Command('keys').description('manage the keys that tokens are signed with');
  keys
    .command('rotate')
    .description('make a new key; the old ones go on verifying for a day (works while the registry runs)')
    .action(async (_options, command: Command) => {
      const signingKeys = await SigningKeys.open(join(configOf(command).dataDir, 'keys'));
      const added = await signingKeys.add();
      const removed = await signingKeys.removeOld(new Date(Date.now() - keepMs));
      process.stdout.write(`tokens are now signed with ${added}\n`);
      for (const id of removed) process.stdout.write(`removed ${id}\n`);
    });
  return keys;
}
