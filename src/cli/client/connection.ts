import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from '../usage-error.js';
import { ApiClient } from './api-client.js';
import { ClientError } from './client-error.js';
import { credentialHelper, credentialHosts, credentialPaths, findCredentials } from './docker-credentials.js';
import type { Trust } from './json-request.js';
import { Kubeconfig, kubeconfigPaths, tokenOf, trustOf, type KubeContext } from './kubeconfig.js';
import { logInWithPassword } from './oauth-login.js';
import { parseServerUrl } from './server-url.js';
import type { Terminal } from './terminal.js';

/** What the command line says about the server. */
export interface ConnectionOptions {
  readonly server?: string;
  readonly token?: string;
  /** A file of PEM certificates. */
  readonly ca?: string;
  readonly insecure?: true;
}

/** A server that can be spoken to, and what is known about it here. */
export interface Session {
  readonly server: URL;
  readonly api: ApiClient;
  readonly kubeconfig: Kubeconfig;
  /** Of this server. */
  readonly context: KubeContext | undefined;
}

/** Certificates that are trusted for a server, and the file they are in. */
export interface KnownTrust extends Trust {
  readonly caFile?: string | undefined;
}

/**
 * Finds the server and the token: on the command line, in the environment (`WEIR_SERVER`, `WEIR_TOKEN`), in the current
 * context of the kubeconfig, and among the credentials of docker and podman. A token is only ever sent to the server it
 * is kept for: the one of the environment goes to no server that is named by a reference alone, which may have been
 * copied from anywhere. Without any, whoever asks is nobody.
 *
 * @param host which a reference on the command line names
 * @throws {UsageError} when no server is named anywhere
 */
export async function connect(
  terminal: Terminal,
  options: ConnectionOptions,
  host: string | undefined,
): Promise<Session> {
  const kubeconfig = await Kubeconfig.read(kubeconfigPaths(terminal));
  const { server, isOwnChoice } = await findServer(terminal, options, { host, kubeconfig });
  const context = kubeconfig.contextOf(server);
  const trust = await findTrust(terminal, options, { server, context });
  const named = options.token ?? (isOwnChoice ? filled(terminal.environment['WEIR_TOKEN']) : undefined);
  const token = named?.trim() ?? (await findToken(terminal, { server, context, trust }));
  return { server, kubeconfig, context, api: new ApiClient({ server, token, trust }, terminal.note) };
}

/** Whom to trust for a server: as the command line says, the kubeconfig, or the folders that docker and podman look in. */
export async function findTrust(
  { home }: Pick<Terminal, 'home'>,
  options: ConnectionOptions,
  { server, context }: { readonly server: URL; readonly context: KubeContext | undefined },
): Promise<KnownTrust> {
  if (options.insecure === true && options.ca !== undefined) throw new UsageError('give either --ca or --insecure');
  if (options.insecure === true) return { isInsecure: true };
  if (options.ca !== undefined) return { isInsecure: false, ca: await readCa(options.ca), caFile: options.ca };
  const known = context && (await trustOf(context));
  if (known !== undefined && (known.isInsecure || known.ca !== undefined)) return known;
  // containers-certs.d(5), and the same of docker.
  const folders = [join(home, '.config/containers/certs.d'), '/etc/containers/certs.d', '/etc/docker/certs.d'];
  for (const folder of folders) {
    const caFile = join(folder, server.host, 'ca.crt');
    const ca = await readFile(caFile, 'utf8').catch(() => undefined);
    if (ca !== undefined) return { isInsecure: false, ca, caFile };
  }
  return { isInsecure: false };
}

/** A server, and whether it was named by whoever calls, in the environment or by a login, and not by a reference alone. */
interface NamedServer {
  readonly server: URL;
  readonly isOwnChoice: boolean;
}

async function findServer(
  terminal: Terminal,
  options: ConnectionOptions,
  { host, kubeconfig }: { readonly host: string | undefined; readonly kubeconfig: Kubeconfig },
): Promise<NamedServer> {
  const named = options.server ?? filled(terminal.environment['WEIR_SERVER']);
  const known = named === undefined ? kubeconfig.current?.server : parseServerUrl(named);
  if (host !== undefined && known?.host !== parseServerUrl(host).host) {
    if (options.server === undefined) return { server: parseServerUrl(host), isOwnChoice: false };
    throw new UsageError(`the reference names the server ${host}, and --server another one`);
  }
  if (known !== undefined) return { server: known, isOwnChoice: true };
  const hosts = await credentialHosts(credentialPaths(terminal));
  if (hosts.length === 1) return { server: parseServerUrl(hosts[0]!), isOwnChoice: true };
  throw new UsageError(
    hosts.length === 0
      ? 'no server is named; log in with "weir login HOST", or give --server HOST'
      : `there are credentials for ${hosts.length} registries here; name one with --server or in WEIR_SERVER`,
  );
}

async function findToken(
  terminal: Terminal,
  {
    server,
    context,
    trust,
  }: { readonly server: URL; readonly context: KubeContext | undefined; readonly trust: Trust },
): Promise<string | undefined> {
  const fromContext = context && (await tokenOf(context));
  if (fromContext !== undefined) return fromContext;
  const paths = credentialPaths(terminal);
  const found = await findCredentials(paths, server.host);
  if (found !== undefined) {
    return isToken(found.password) ? found.password : logInWithPassword({ server, trust }, found);
  }
  const helper = await credentialHelper(paths, server.host);
  if (helper !== undefined) {
    terminal.note(`the password of ${server.host} is kept by ${helper}, which weir does not ask; use "weir login"\n`);
  }
  return undefined;
}

/** An API token, or a service account's (a JWT); anything else is a password. */
export function isToken(password: string): boolean {
  return password.startsWith('sha256~') || /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(password);
}

/** PEM certificates out of a file. @throws {ClientError} */
export async function readCa(path: string): Promise<string> {
  let ca: string;
  try {
    ca = await readFile(path, 'utf8');
  } catch (error) {
    throw new ClientError(`the certificates in ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  if (ca.includes('-----BEGIN CERTIFICATE-----')) return ca;
  throw new ClientError(`${path} has no certificate in it; expected PEM, which begins -----BEGIN CERTIFICATE-----`);
}

function filled(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value;
}
