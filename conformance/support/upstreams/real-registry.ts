import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hash } from 'bcrypt';
import { findProgram, searchPath } from '../../../scripts/tools.mjs';
import type { Login } from '../api-token.js';
import type { Certificate } from './certificate.js';
import type { TokenServer } from './token-server.js';

/** The distribution registry, as its project has it now (version 3) and as Debian has it (version 2). */
export type RegistryKind = 'distribution' | 'docker-registry';

/** Who may do what: anybody everything, users with a password everything, or what a token server grants. */
export type RegistryAuth =
  | { readonly kind: 'none' }
  | { readonly kind: 'htpasswd'; readonly users: readonly Login[] }
  | { readonly kind: 'token'; readonly server: TokenServer };

export interface RealRegistryOptions {
  readonly kind: RegistryKind;
  /** For its configuration and, in `data`, its storage; made where there is none. What is in it is served again. */
  readonly folder: string;
  /** With it the registry speaks HTTPS, else plain HTTP. */
  readonly tls?: Certificate;
  /** Default none. */
  readonly auth?: RegistryAuth;
  /** Whether manifests, blobs and tags can be deleted; default true. */
  readonly deletes?: boolean;
  /** Default is any free one. */
  readonly port?: number;
  /** Who asks for more repositories at once is refused; default 1,000. */
  readonly maxCatalogEntries?: number;
}

/** A registry that answers, on loopback. */
export interface RealRegistry {
  readonly kind: RegistryKind;
  readonly url: string;
  /** `127.0.0.1:<port>`, as in an image's name. */
  readonly host: string;
  readonly port: number;
  /** What clients must trust; undefined for plain HTTP. */
  readonly caFile: string | undefined;
  readonly caCertificate: string | undefined;
  /** Its storage: `docker/registry/v2/…` lies in it. */
  readonly storage: string;
  /** All it has printed so far, a line for each request among it. */
  log(): string;
  /** Resolves when its process is gone. */
  stop(): Promise<void>;
}

const readyTimeoutMs = 60_000;
const stopTimeoutMs = 10_000;

/** The name by which `findProgram` knows the registry. */
export function programOf(kind: RegistryKind): string {
  return kind === 'distribution' ? 'registry' : kind;
}

/** @throws {Error} when the program is not installed, or does not serve */
export async function startRealRegistry(options: RealRegistryOptions): Promise<RealRegistry> {
  const program = findProgram(programOf(options.kind));
  if (program === undefined) throw new Error(`${programOf(options.kind)} is not installed`);
  const storage = path.join(options.folder, 'data');
  await mkdir(storage, { recursive: true });
  const configuration = path.join(options.folder, 'config.yml');
  // Every JSON document is a YAML document.
  await writeFile(configuration, JSON.stringify(await configure(options, storage)));
  const child = spawn(program, ['serve', configuration], {
    cwd: options.folder,
    // Nothing of whoever runs this. Left alone, version 3 looks for a trace collector with every request.
    env: { PATH: searchPath, HOME: options.folder, OTEL_TRACES_EXPORTER: 'none' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stopWithTests = (): void => void child.kill('SIGKILL');
  process.once('exit', stopWithTests);
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const log = (): string => Buffer.concat(output).toString('utf8');

  const port = await readPort(child, log);
  const host = `127.0.0.1:${port}`;
  return {
    kind: options.kind,
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    host,
    port,
    caFile: options.tls?.caFile,
    caCertificate: options.tls?.caCertificate,
    storage,
    log,
    stop: async () => {
      await stop(child);
      process.removeListener('exit', stopWithTests);
    },
  };
}

async function configure(options: RealRegistryOptions, storage: string): Promise<object> {
  const { folder, tls, auth, deletes = true, port = 0, maxCatalogEntries = 1000 } = options;
  return {
    version: 0.1,
    log: { level: 'info' },
    storage: {
      filesystem: { rootdirectory: storage },
      cache: { blobdescriptor: 'inmemory' },
      delete: { enabled: deletes },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: {
      addr: `127.0.0.1:${port}`,
      secret: 'of the tests',
      ...(tls && { tls: { certificate: tls.certificateFile, key: tls.keyFile } }),
    },
    catalog: { maxentries: maxCatalogEntries },
    ...(await configureAuth(folder, auth)),
  };
}

async function configureAuth(folder: string, auth: RegistryAuth = { kind: 'none' }): Promise<object> {
  switch (auth.kind) {
    case 'none':
      return {};
    case 'htpasswd': {
      const file = path.join(folder, 'htpasswd');
      await writeFile(file, await htpasswd(auth.users));
      return { auth: { htpasswd: { realm: 'tests', path: file } } };
    }
    case 'token': {
      const { realm, service, issuer, rootCertificateFile } = auth.server;
      return { auth: { token: { realm, service, issuer, rootcertbundle: rootCertificateFile } } };
    }
  }
}

async function htpasswd(users: readonly Login[]): Promise<string> {
  // The least that bcrypt knows: every request is checked anew.
  const lines = users.map(async ({ username, password }) => `${username}:${await hash(password, 4)}\n`);
  return (await Promise.all(lines)).join('');
}

/** From the log, where it says on which address it listens: a port that was looked for before could be taken by then. */
async function readPort(child: ChildProcess, log: () => string): Promise<number> {
  const deadline = Date.now() + readyTimeoutMs;
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(log())?.[1];
    if (port !== undefined) return Number(port);
    await delay(20);
  }
  child.kill('SIGKILL');
  throw new Error(`the registry does not serve; it printed:\n${log().slice(-2000)}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  await exited;
  clearTimeout(timer);
}
