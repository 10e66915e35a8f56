import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from '../../scripts/tools.mjs';
import type { Workspace } from './workspace.js';
import { freePort } from '../../test/support/free-port.js';

/** The built program, running. */
export interface Weir {
  /** `localhost:<port>`, as in an image's name. */
  readonly host: string;
  readonly url: string;
  readonly port: number;
  /** The file of the certificate authority that clients must trust. */
  readonly caFile: string;
  readonly caCertificate: string;
  readonly username: string;
  readonly password: string;
  /** What it wrote to standard error so far. */
  log(): string;
  /** @throws {Error} when it does not end cleanly on SIGTERM */
  stop(): Promise<void>;
}

export interface WeirOptions {
  /** Value of WEIR_POLICY_SPARSE: which manifests may be pushed before what they refer to. */
  readonly sparse?: string;
  /** Value of WEIR_PUBLIC_URL, whose host is then in the certificate too. */
  readonly publicUrl?: string;
  /** Value of WEIR_ANONYMOUS_PULL: whether what is bound to nobody in particular counts. */
  readonly anonymousPull?: boolean;
  /** Further settings, by the names of their variables. */
  readonly settings?: Readonly<Record<string, string>>;
}

const readyTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;

/** Starts Weir over TLS on a free port, its data inside the workspace. */
export async function startWeir(workspace: Workspace, options: WeirOptions = {}): Promise<Weir> {
  const dataDirectory = workspace.makeDirectory('weir-data');
  const username = 'admin';
  const password = 'the password of the tests';
  // The line that says it is ready has the public URL, where there is one, and so not the port it listens on.
  const chosenPort = options.publicUrl === undefined ? undefined : await freePort();
  const child = spawn(process.execPath, [path.join(root, 'bin', 'weir.cjs'), 'serve'], {
    cwd: workspace.directory,
    env: {
      ...workspace.environment,
      WEIR_LISTEN: `127.0.0.1:${chosenPort ?? 0}`,
      WEIR_DATA_DIR: dataDirectory,
      WEIR_TLS_MODE: 'auto',
      WEIR_ADMIN_PASSWORD: password,
      WEIR_LOG_LEVEL: 'warn',
      WEIR_POLICY_SPARSE: options.sparse ?? '',
      WEIR_ANONYMOUS_PULL: String(options.anonymousPull ?? false),
      // Streams of tests name registries that nobody is to be asked for.
      WEIR_IMPORTS_AUTOMATIC: 'false',
      ...options.settings,
      ...(options.publicUrl === undefined ? {} : { WEIR_PUBLIC_URL: options.publicUrl }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stopWithTests = (): void => void child.kill('SIGKILL');
  process.once('exit', stopWithTests);

  const stderr: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const log = (): string => Buffer.concat(stderr).toString('utf8');

  const announcedUrl = await readUrl(child, log);
  const port = chosenPort ?? Number(announcedUrl.port);
  const caFile = path.join(dataDirectory, 'tls', 'ca.crt');
  return {
    host: `localhost:${port}`,
    url: `https://localhost:${port}`,
    port,
    caFile,
    caCertificate: readFileSync(caFile, 'utf8'),
    username,
    password,
    log,
    stop: async () => {
      await stop(child, log);
      process.removeListener('exit', stopWithTests);
    },
  };
}

async function readUrl(child: ChildProcess, log: () => string): Promise<URL> {
  let stdout = '';
  const ready = new Promise<URL>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
      const url = /is serving (https?:\/\/\S+)/.exec(stdout)?.[1];
      if (url !== undefined) resolve(new URL(url));
    });
  });
  const url = await Promise.race([ready, once(child, 'exit'), delay(readyTimeoutMs, undefined, { ref: false })]);
  if (url instanceof URL) return url;
  child.kill('SIGKILL');
  throw new Error(`Weir did not say that it is serving\n${stdout}${log()}`);
}

async function stop(child: ChildProcess, log: () => string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM');
    await Promise.race([once(child, 'exit'), delay(stopTimeoutMs, undefined, { ref: false })]);
  }
  if (child.exitCode === 0) return;
  child.kill('SIGKILL');
  throw new Error(`Weir did not end cleanly: ${child.exitCode ?? child.signalCode ?? 'still running'}\n${log()}`);
}
