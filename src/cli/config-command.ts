import { Command } from 'commander';
import { configEntries } from '../config.js';
import { configOf } from './config-of.js';

/** `weir config`: what can be configured, and whether it is configured well. */
export function configCommand(): Command {
  const config = new Command('config').description('look at the configuration');
  config
    .command('check')
    .description('say whether weir.yaml and the environment are valid, and what is wrong')
    .action((_options, command: Command) => {
      configOf(command);
      process.stdout.write('the configuration is valid\n');
    });
  config
    .command('list')
    .description('print every name, its variable, its default and its meaning')
    .action(() => {
      for (const entry of configEntries) {
        const fallback = entry.default === undefined ? '' : ` [${JSON.stringify(entry.default)}]`;
        process.stdout.write(`${entry.path.padEnd(32)} ${entry.variable.padEnd(38)} ${entry.meaning}${fallback}\n`);
      }
    });
  return config;
}
