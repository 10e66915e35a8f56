import { Command } from 'commander';
import { pino } from 'pino';
import type { RunningRegistry } from '../serve.js';
import { configOf } from './config-of.js';
import { exitCodes } from './exit-codes.js';
import { welcome } from './welcome.js';

/** `weir serve`: runs the registry until a signal comes. */
export function serveCommand(version: string): Command {
  return new Command('serve')
    .description('run the registry')
    .addHelpText(
      'after',
      `
The first SIGTERM or SIGINT lets running requests finish (shutdownGraceSeconds), the second ends at once.
Exit codes: 0 stopped, 1 failure, 2 configuration not valid, 4 stopped with requests cut off.`,
    )
    .action(async (_options, command: Command) => {
      const config = configOf(command);
      // The whole server takes a second to load, which the other commands have no need of.
      const { startRegistry } = await import('../serve.js');
      const log = pino(
        { level: config.logLevel, base: null },
        // Collected and written in the background: a log line must not hold up an answer.
        pino.destination({ dest: 2, sync: false, minLength: 16_000 }),
      );
      const flush = setInterval(() => {
        log.flush();
      }, 1000).unref();
      const registry = await startRegistry(config, log, version);
      // Listened for before anyone is told that there is something to stop.
      const stopped = untilStopped(registry);
      process.stdout.write(
        welcome({
          version,
          url: config.publicUrl ?? registry.url,
          listenUrl: registry.url,
          dataDir: config.dataDir,
          caCertificatePath: registry.caCertificatePath,
          passwordPath: registry.passwordPath,
        }),
      );
      process.exitCode = await stopped;
      clearInterval(flush);
      await new Promise((resolve) => {
        log.flush(resolve);
      });
      // Clients that keep a connection open must not keep the process.
      process.exit();
    });
}

async function untilStopped(registry: RunningRegistry): Promise<number> {
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve();
      });
    }
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(exitCodes.cutOff));
  return (await registry.stop()) ? exitCodes.ok : exitCodes.cutOff;
}
