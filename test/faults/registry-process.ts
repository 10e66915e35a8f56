import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tryRun, type Outcome } from '../../conformance/support/command.js';
import { root, searchPath } from '../../scripts/tools.mjs';

/** Of user `admin` in every registry that is started here. */
export const password = 'the password of the fault tests';

const program = path.join(root, 'bin', 'weir.cjs');
const readyTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;

/** How to start the built program. */
export interface RegistryProcessOptions {
  readonly dataDir: string;
  /** `WEIR_…` variables beside the usual ones, which they replace; undefined takes one away. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Modules that Node loads before the program. */
  readonly preload?: readonly string[];
  /** A program and its arguments that run the given command as a child, such as strace. It must hold standard error open. */
  readonly tracer?: readonly string[];
}

/** The built program, running over plain http on a free port. */
export interface RegistryProcess {
  readonly url: string;
  readonly pid: number;
  /** What it wrote to standard error so far. */
  log(): string;
  /** Ends it as a crash does: no handler runs, nothing is flushed. Resolves when it is gone. */
  kill(): Promise<void>;
  /** @throws {Error} when it does not end cleanly on SIGTERM */
  stop(): Promise<void>;
}

/** Starts the program and waits until it serves. @throws {Error} with its log when it ends before that */
export async function startRegistryProcess(options: RegistryProcessOptions): Promise<RegistryProcess> {
  const { child, log } = launch(options);
  const url = await Promise.race([announcedUrl(child), once(child, 'exit'), pause(readyTimeoutMs)]);
  if (typeof url !== 'string') {
    await kill(child);
    throw new Error(`Weir did not say that it is serving (${describeEnd(child)})\n${log()}`);
  }
  return {
    url,
    pid: child.pid!,
    log,
    kill: () => kill(child),
    stop: async () => {
      if (!hasEnded(child)) {
        child.kill('SIGTERM');
        // `close` and not `exit`: a tracer has written all of its trace when it lets go of standard error.
        await Promise.race([once(child, 'close'), pause(stopTimeoutMs)]);
      }
      if (child.exitCode === 0) return;
      await kill(child);
      throw new Error(`Weir did not end cleanly (${describeEnd(child)})\n${log()}`);
    },
  };
}

/** Starts the program and ends it with SIGKILL after some time, whether it serves by then or not. */
export async function killWhileStarting(options: RegistryProcessOptions, afterMs: number): Promise<void> {
  const { child } = launch(options);
  await Promise.race([once(child, 'exit'), pause(afterMs)]);
  await kill(child);
}

/** Runs `weir fsck` on a data folder. */
export function runFsck(dataDir: string): Promise<Outcome> {
  return tryRun(process.execPath, [program, 'fsck'], {
    environment: environmentFor({ dataDir }) as Record<string, string>,
  });
}

function launch(options: RegistryProcessOptions): { readonly child: ChildProcess; readonly log: () => string } {
  const preload = (options.preload ?? []).flatMap((file) => ['--import', file]);
  const command = [...(options.tracer ?? []), process.execPath, ...preload, program, 'serve'];
  const child = spawn(command[0]!, command.slice(1), {
    cwd: path.dirname(options.dataDir),
    env: environmentFor(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killWithTests = (): void => void child.kill('SIGKILL');
  process.once('exit', killWithTests);
  child.once('exit', () => process.removeListener('exit', killWithTests));
  const stderr: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  return { child, log: () => Buffer.concat(stderr).toString('utf8') };
}

function environmentFor({ dataDir, environment = {} }: RegistryProcessOptions): Record<string, string | undefined> {
  return {
    PATH: searchPath,
    LANG: 'C.UTF-8',
    HOME: path.dirname(dataDir),
    // File operations through a ring are no system calls of their own, and would be missing from a trace.
    UV_USE_IO_URING: '0',
    WEIR_LISTEN: '127.0.0.1:0',
    WEIR_TLS_MODE: 'off',
    WEIR_LOG_LEVEL: 'error',
    WEIR_DATA_DIR: dataDir,
    WEIR_ADMIN_PASSWORD: password,
    ...environment,
  };
}

function announcedUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let stdout = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
      const url = /is serving (https?:\/\/\S+)/.exec(stdout)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
}

async function kill(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function describeEnd(child: ChildProcess): string {
  return `exit code ${child.exitCode ?? 'none'}, signal ${child.signalCode ?? 'none'}`;
}

function pause(timeoutMs: number): Promise<undefined> {
  return delay(timeoutMs, undefined, { ref: false });
}
