import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ClientError } from './cli/client/client-error.js';
import { clientCommands } from './cli/client/commands.js';
import { processTerminal } from './cli/client/terminal.js';
import { blobsCommand } from './cli/blobs-command.js';
import { configCommand } from './cli/config-command.js';
import { environment } from './cli/config-of.js';
import { dbCommand } from './cli/db-command.js';
import { exitCodes } from './cli/exit-codes.js';
import { fsckCommand } from './cli/fsck-command.js';
import { importStorageCommand } from './cli/import-storage-command.js';
import { keysCommand } from './cli/keys-command.js';
import { serveCommand } from './cli/serve-command.js';
import { UsageError } from './cli/usage-error.js';
import { userCommand } from './cli/user-command.js';
import { ConfigError } from './config.js';
import { UnreadableKeyError } from './metadata/key-records.js';
import { isDatabaseOutage } from './metadata/postgres-errors.js';

// Keys, passwords and content are nobody else's to read, whatever the shell's mask is.
process.umask(0o077);

// Whoever reads only the first lines, as "weir config list | head" does, has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('weir')
  .description('Weir: an OCI registry with image streams built in')
  .version(version)
  .option('--config <file>', 'configuration file (weir.yaml in this folder, where there is one)')
  .exitOverride()
  .showHelpAfterError('("weir --help" shows every command)')
  .addHelpText(
    'after',
    `
Every setting can be given in the file or in the environment; "weir config list" shows all of them.

Examples:
  weir serve                                    run with everything in ./weir-data
  WEIR_LISTEN=0.0.0.0:443 weir serve            for the whole network
  weir user add ci --password-stdin < secret    add a user who may pull and push
  weir fsck                                     check that nothing is lost
  weir login registry.example                   log in to a registry, for the commands that ask one
  weir history shop/app:prod                    when a tag changed, who changed it, how and why`,
  );
for (const command of [
  serveCommand(version),
  configCommand(),
  userCommand(),
  keysCommand(),
  fsckCommand(),
  importStorageCommand(),
  dbCommand(),
  blobsCommand(),
]) {
  program.addCommand(inherit(command.helpGroup('Being a registry:'), program));
}
for (const command of clientCommands(processTerminal(environment()))) {
  program.addCommand(inherit(command.helpGroup('Asking a registry:'), program));
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error);
}

/** Settings of the program, for a command and the commands below it: how errors are told and that they are thrown. */
function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
  return command;
}

function reportFailure(error: unknown): number {
  // Commander has printed its message already; asking for help is no failure.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  if (error instanceof ConfigError || error instanceof UsageError) {
    process.stderr.write(`weir: ${error.message}\n`);
    return exitCodes.usage;
  }
  process.stderr.write(`weir: ${error instanceof ClientError ? error.message : explain(error)}\n`);
  return exitCodes.failure;
}

/** What an operator can do about the failures that are theirs; the whole stack of any other. */
function explain(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'EADDRINUSE') return `${message}; set WEIR_LISTEN to another host:port`;
  if (error instanceof UnreadableKeyError) return message;
  if (isDatabaseOutage(error)) return `${message}; does the server of database.url run, and may Weir connect to it?`;
  if (code === 'EACCES' || code === 'EPERM' || code === 'ENOENT' || code === 'ENOSPC') return message;
  return error instanceof Error ? (error.stack ?? message) : message;
}
