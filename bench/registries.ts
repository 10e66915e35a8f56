import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Memory, readMemory } from './memory.js';
import { readProcessorSeconds } from './processor.js';
import type { Credentials } from './registry-client.js';

/** A registry that can be measured: one column of the table. */
export interface Registry {
  readonly id: string;
  /** Heading of its column. */
  readonly title: string;
  /** Starts it with empty storage in `folder`, which is there, empty, and its own. */
  start(folder: string): Promise<RunningRegistry>;
}

/** A registry that answers. */
export interface RunningRegistry {
  readonly url: URL;
  readonly credentials?: Credentials;
  /** Memory of its processes; `undefined` when they are not ours to look at. */
  memory(): Memory | undefined;
  /** Processor time that its processes have used; `undefined` when they are not ours to look at. */
  processorSeconds(): number | undefined;
  /** All it has printed so far. */
  log(): string;
  /** Ends it; resolves when its process is gone. */
  stop(): Promise<void>;
}

/** A program to be started. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  /** Its working directory, where its output goes to `log`. */
  readonly folder: string;
  readonly env?: Record<string, string>;
  /** Whose rights it has; ours when left out. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/** A bucket of an S3 server, and how to get at it. */
export interface Bucket {
  readonly endpoint: URL;
  readonly name: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

const running = new Set<ChildProcess>();

/** Ends every registry at once, for when the run itself is being ended. */
export function killRegistries(): void {
  for (const child of running) child.kill('SIGKILL');
}

/**
 * Weir from this checkout, as it starts by default, but for TLS: the others have none either.
 *
 * @param nodeOptions options of Node to run it with
 * @param environment further settings, by the names of their variables
 */
export function weir(
  checkout: string,
  nodeOptions: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Registry {
  const { version } = JSON.parse(fs.readFileSync(path.join(checkout, 'package.json'), 'utf8')) as { version: string };
  return {
    id: 'weir',
    title: `Weir ${version}`,
    async start(folder) {
      const password = environment['WEIR_ADMIN_PASSWORD'] ?? randomBytes(12).toString('hex');
      const credentials = { name: 'admin', password };
      const env = {
        WEIR_LISTEN: '127.0.0.1:0',
        WEIR_TLS_MODE: 'off',
        WEIR_DATA_DIR: path.join(folder, 'data'),
        WEIR_ADMIN_PASSWORD: credentials.password,
        ...environment,
      };
      const args = [...nodeOptions, path.join(checkout, 'bin', 'weir.cjs'), 'serve'];
      const child = startProgram({ command: process.execPath, args, folder, env });
      const url = await child.until(() => /is serving (https?:\/\/[^\s"]+)/.exec(child.log())?.[1]);
      return { url: new URL(url), credentials, ...child };
    },
  };
}

/**
 * The distribution registry, version 2 or 3, as the samples that come with it set it up: a cache of blob descriptors in
 * memory, health checks, no tracing. No users, which spares it all authentication.
 *
 * @param cacheOf the registry that it is a pull-through cache of; of none when left out
 * @param bucket where it keeps all, in place of a folder; whoever pulls gets the bytes from itself all the same
 */
export function distribution(
  id: string,
  name: string,
  command: string,
  { cacheOf, bucket }: { readonly cacheOf?: URL; readonly bucket?: Bucket } = {},
): Registry {
  const version = spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout;
  return {
    id,
    title: `${name} ${/ v?(\d+\.\d+\.\d+)/.exec(version)?.[1] ?? ''}`.trim(),
    async start(folder) {
      const address = `127.0.0.1:${await freePort()}`;
      const config = {
        version: 0.1,
        storage: {
          ...(bucket === undefined
            ? { filesystem: { rootdirectory: path.join(folder, 'data') } }
            : { s3: s3Parameters(bucket), redirect: { disable: true } }),
          cache: { blobdescriptor: 'inmemory' },
          delete: { enabled: true },
        },
        // With the same secret, each of several goes on with an upload that another has begun.
        http: { addr: address, headers: { 'X-Content-Type-Options': ['nosniff'] }, secret: 'of all processes' },
        health: { storagedriver: { enabled: true, interval: '10s', threshold: 3 } },
        ...(cacheOf !== undefined && { proxy: { remoteurl: cacheOf.origin } }),
      };
      const file = path.join(folder, 'config.yml');
      // Every JSON document is a YAML document.
      fs.writeFileSync(file, JSON.stringify(config));
      // As in its own container image; left alone, version 3 looks for a trace collector with every request.
      const env = { OTEL_TRACES_EXPORTER: 'none' };
      const child = startProgram({ command, args: ['serve', file], folder, env });
      const url = new URL(`http://${address}`);
      await child.until(() => answers(url));
      return { url, ...child };
    },
  };
}

/** All else is as it comes: parts of 10 MiB, and copies in pieces of 32 MiB. */
function s3Parameters({ endpoint, name, region, accessKey, secretKey }: Bucket) {
  const account = { accesskey: accessKey, secretkey: secretKey };
  return { ...account, region, regionendpoint: endpoint.origin, forcepathstyle: true, bucket: name };
}

/** A registry that somebody else runs. */
export function existing(url: URL, credentials: Credentials | undefined): Registry {
  return {
    id: url.host,
    title: url.host,
    start: () =>
      Promise.resolve({
        url,
        ...(credentials && { credentials }),
        memory: () => undefined,
        processorSeconds: () => undefined,
        log: () => '',
        stop: () => Promise.resolve(),
      }),
  };
}

/** A program that was started. */
export interface Started extends Omit<RunningRegistry, 'url' | 'credentials'> {
  /** Asks again and again until there is an answer, as long as the program lives and for at most a minute. */
  until<T>(find: () => T | undefined | Promise<T | undefined>): Promise<T>;
}

/** Starts a program that ends with the run at the latest. */
export function startProgram(program: Program): Started {
  // A file, because reading a pipe would take processor time from the measurement.
  const logFile = path.join(program.folder, 'log');
  const output = fs.openSync(logFile, 'a');
  // The settings of whoever runs this must not reach the registries.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(WEIR|REGISTRY|OTEL)_/.test(name));
  const child = spawn(program.command, program.args, {
    cwd: program.folder,
    env: { ...Object.fromEntries(inherited), ...program.env },
    stdio: ['ignore', output, output],
    ...program.owner,
  });
  fs.closeSync(output);
  running.add(child);
  const exited = once(child, 'exit').finally(() => running.delete(child));
  exited.catch(() => undefined);
  const log = (): string => fs.readFileSync(logFile, 'utf8');
  return {
    log,
    async until(find) {
      const deadline = Date.now() + 60_000;
      while (running.has(child) && Date.now() < deadline) {
        const found = await find();
        if (found !== undefined) return found;
        await sleep(50);
      }
      throw new Error(`${program.command} does not serve; it printed:\n${log().slice(-2000)}`);
    },
    memory: () => (child.pid === undefined ? undefined : readMemory(child.pid)),
    processorSeconds: () => (child.pid === undefined ? undefined : readProcessorSeconds(child.pid)),
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await exited;
      clearTimeout(timer);
    },
  };
}

async function answers(url: URL): Promise<true | undefined> {
  const response = await fetch(new URL('/v2/', url)).catch(() => undefined);
  await response?.body?.cancel();
  return response === undefined ? undefined : true;
}

/** A port of the loopback interface at which nobody listens. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
