import cluster from 'node:cluster';
import { Command } from 'commander';
import type { Config } from '../config.js';
import { configOf } from './config-of.js';
import { exitCodes } from './exit-codes.js';
import { openServeLog } from './serve-log.js';
import { welcome } from './welcome.js';
import type { Serving } from './worker-messages.js';

/** `weir serve`: runs the registry until a signal comes. */
export function serveCommand(version: string): Command {
  return new Command('serve')
    .description('run the registry')
    .addHelpText(
      'after',
      `
The first SIGTERM or SIGINT lets running requests finish (shutdownGraceSeconds), the second ends at once.
With WEIR_WORKERS=n, n processes share the listener and the data; one that dies is replaced.
Exit codes: 0 stopped, 1 failure, 2 configuration not valid, 4 stopped with requests cut off.`,
    )
    .action(async (_options, command: Command) => {
      process.exitCode = await serve(command, version);
      // Clients that keep a connection open must not keep the process.
      process.exit();
    });
}

/** @returns the exit code */
async function serve(command: Command, version: string): Promise<number> {
  // What serves takes a second to load, which the other commands have no need of.
  if (cluster.isWorker) {
    const { serveAsWorker } = await import('./serve-worker.js');
    return serveAsWorker(version);
  }
  const config = configOf(command);
  return config.workers === 1 ? serveAlone(config, version) : serveWithWorkers(config, version);
}

async function serveAlone(config: Config, version: string): Promise<number> {
  const { startRegistry } = await import('../serve.js');
  const { log, close } = openServeLog(config);
  const registry = await startRegistry(config, log, version);
  const code = await untilStopped(registry, () => {
    greet(registry, config, version);
  });
  await close();
  return code;
}

async function serveWithWorkers(config: Config, version: string): Promise<number> {
  const { WorkerGroup, WorkerStartError } = await import('./worker-group.js');
  const { log, close } = openServeLog(config);
  const group = new WorkerGroup(config, log);
  let serving: Serving;
  try {
    serving = await group.start();
  } catch (error) {
    if (!(error instanceof WorkerStartError)) throw error;
    await close();
    return error.exitCode;
  }
  const code = await untilStopped(group, () => {
    greet(serving, config, version);
  });
  await close();
  return code;
}

function greet({ url, caCertificatePath, passwordPath }: Serving, config: Config, version: string): void {
  process.stdout.write(
    welcome({
      version,
      url: config.publicUrl ?? url,
      listenUrl: url,
      dataDir: config.dataDir,
      caCertificatePath,
      passwordPath,
    }),
  );
}

/**
 * Waits for a signal, and then for what is under way.
 *
 * @param onWaiting tells that there is something to stop, for signals are waited for by then
 * @returns the exit code
 */
async function untilStopped(
  running: { readonly stop: () => Promise<boolean> },
  onWaiting: () => void,
): Promise<number> {
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve();
      });
    }
  });
  onWaiting();
  await signalled;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(exitCodes.cutOff));
  return (await running.stop()) ? exitCodes.ok : exitCodes.cutOff;
}
