import { readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { makeFolder, writeFileDurably } from '../../durable-files.js';
import { ClientError } from './client-error.js';
import type { Terminal } from './terminal.js';

/** The file of `docker login`, which `podman login` writes in the same form. */
const fileSchema = z.looseObject({
  auths: z
    .record(
      z.string(),
      z
        .looseObject({ auth: z.string().nullish(), username: z.string().nullish(), password: z.string().nullish() })
        .nullish(),
    )
    .nullish(),
  credsStore: z.string().nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
});
type CredentialFile = z.output<typeof fileSchema>;

/** What is kept for a registry. */
export interface RegistryCredentials {
  readonly name: string;
  /** A password, or an API token in its place. */
  readonly password: string;
}

type Place = Pick<Terminal, 'environment' | 'home' | 'userId'>;

/** Where podman, skopeo and docker keep credentials, in the order in which they are looked at (containers-auth.json(5)). */
export function credentialPaths({ environment, home, userId }: Place): readonly string[] {
  const named = environment['REGISTRY_AUTH_FILE'];
  if (named !== undefined && named !== '') return [named];
  return [
    runtimePath({ environment, userId }),
    join(environment['XDG_CONFIG_HOME'] ?? join(home, '.config'), 'containers', 'auth.json'),
    join(environment['DOCKER_CONFIG'] ?? join(home, '.docker'), 'config.json'),
  ];
}

/** Where `podman login` and `oc registry login` write when nothing else is said. */
export function defaultCredentialPath(place: Place): string {
  return credentialPaths(place)[0]!;
}

function runtimePath({ environment, userId }: Pick<Terminal, 'environment' | 'userId'>): string {
  const runtime = environment['XDG_RUNTIME_DIR'];
  if (runtime !== undefined && runtime !== '') return join(runtime, 'containers', 'auth.json');
  return join('/run/containers', String(userId ?? 0), 'auth.json');
}

/** @param host with its port, as in a reference @throws {ClientError} when a file is not valid */
export async function findCredentials(
  paths: readonly string[],
  host: string,
): Promise<RegistryCredentials | undefined> {
  for (const path of paths) {
    const { auths } = await readCredentialFile(path);
    for (const [key, entry] of Object.entries(auths ?? {})) {
      const found = hostOf(key) === host && entry ? credentialsOf(entry) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** The hosts that credentials are kept for, each once. */
export async function credentialHosts(paths: readonly string[]): Promise<readonly string[]> {
  const hosts = new Set<string>();
  for (const path of paths) {
    const { auths } = await readCredentialFile(path);
    for (const [key, entry] of Object.entries(auths ?? {})) {
      if (entry && credentialsOf(entry) !== undefined) hosts.add(hostOf(key));
    }
  }
  return [...hosts];
}

/** A program that keeps the credentials of a host instead of the files: `desktop`, `secretservice`. */
export async function credentialHelper(paths: readonly string[], host: string): Promise<string | undefined> {
  for (const path of paths) {
    const { credHelpers, credsStore, auths } = await readCredentialFile(path);
    const helper =
      credHelpers?.[host] ?? (Object.keys(auths ?? {}).some((key) => hostOf(key) === host) ? credsStore : '');
    if (helper) return helper;
  }
  return undefined;
}

/** Keeps an API token for docker and podman as `oc registry login` does. @throws {ClientError} when docker would not read it there */
export async function putCredentials(named: string, host: string, token: string): Promise<void> {
  const file = await readCredentialFile(named);
  const helper = file.credHelpers?.[host] ?? file.credsStore;
  if (helper) {
    throw new ClientError(
      `${named} says that ${helper} keeps the passwords, so one in the file would not be read; ` +
        `pipe it in with "docker login -u user --password-stdin ${host}"`,
    );
  }
  const auth = Buffer.from(`user:${token}`).toString('base64');
  // An entry of the same host in another spelling would be a second truth.
  const others = Object.entries(file.auths ?? {}).filter(([key]) => hostOf(key) !== host);
  const changed = { ...file, auths: { ...Object.fromEntries(others), [host]: { auth } } };
  await makeFolder(dirname(named), 0o700);
  const path = await realpath(named).catch(() => named);
  await writeFileDurably(path, `${JSON.stringify(changed, undefined, '\t')}\n`, 0o600);
}

/** docker has written whole URLs; what podman keeps for a part of a registry alone is not for all of it. */
function hostOf(key: string): string {
  return key
    .replace(/^https?:\/\//, '')
    .replace(/\/(v1|v2)?\/?$/, '')
    .replace(/:443$/, '');
}

function credentialsOf({
  auth,
  username,
  password,
}: {
  readonly auth?: string | null | undefined;
  readonly username?: string | null | undefined;
  readonly password?: string | null | undefined;
}): RegistryCredentials | undefined {
  if (auth) {
    const decoded = Buffer.from(auth, 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    return colon > 0 ? { name: decoded.slice(0, colon), password: decoded.slice(colon + 1) } : undefined;
  }
  return username && password ? { name: username, password } : undefined;
}

async function readCredentialFile(path: string): Promise<CredentialFile> {
  let written: string;
  try {
    written = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new ClientError(`the credentials in ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  let document: unknown;
  try {
    document = written.trim() === '' ? {} : JSON.parse(written);
  } catch {
    // What the parser says may quote the file, and there are passwords in it.
    throw new ClientError(`the credentials in ${path} cannot be read: it is no JSON`);
  }
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success) {
    const where = parsed.error.issues[0]!.path.slice(0, 1).join('.') || 'the whole';
    throw new ClientError(`the credentials in ${path} cannot be read: ${where} is not what it has to be`);
  }
  return parsed.data;
}
