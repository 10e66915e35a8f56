import { readFile, realpath } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parse, stringify, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { makeFolder, writeFileDurably } from '../../durable-files.js';
import { UsageError } from '../usage-error.js';
import { ClientError } from './client-error.js';
import type { Trust } from './json-request.js';
import { addressOf, clusterNameOf, parseServerUrl } from './server-url.js';
import type { Terminal } from './terminal.js';

const text = z.string().nullish();

const clusterSchema = z.looseObject({
  server: text,
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
});

const userSchema = z.looseObject({
  token: text,
  tokenFile: text,
  exec: z.looseObject({ command: text }).nullish(),
  'auth-provider': z.looseObject({ name: text }).nullish(),
  'client-certificate': text,
  'client-certificate-data': text,
  username: text,
});

const contextSchema = z.looseObject({ cluster: text, user: text, namespace: text });

/** `kubectl` and `oc` keep more in it, which is left as it is. */
const fileSchema = z.looseObject({
  'current-context': text,
  clusters: z.array(z.looseObject({ name: z.string(), cluster: clusterSchema.nullish() })).nullish(),
  users: z.array(z.looseObject({ name: z.string(), user: userSchema.nullish() })).nullish(),
  contexts: z.array(z.looseObject({ name: z.string(), context: contextSchema.nullish() })).nullish(),
});
type KubeconfigFile = z.output<typeof fileSchema>;

interface ReadFile {
  readonly folder: string;
  readonly content: KubeconfigFile;
}

/** An entry and the folder of its file, which paths in it are relative to. */
interface Found<T> {
  readonly name: string;
  readonly value: T;
  readonly folder: string;
}

/** A context with what it names: where a server is and who speaks to it. */
export interface KubeContext {
  readonly name: string;
  readonly server: URL;
  readonly namespace: string | undefined;
  readonly userName: string | undefined;
  readonly cluster: Found<z.output<typeof clusterSchema>>;
  readonly user: Found<z.output<typeof userSchema>> | undefined;
}

/** What somebody logged in to. */
export interface KubeLogin {
  readonly server: URL;
  readonly user: string;
  readonly token: string;
  readonly namespace: string | undefined;
  readonly isInsecure: boolean;
  /** PEM certificates that are written into the entry, unless there is a file of them. */
  readonly ca?: string | undefined;
  /** A file of PEM certificates. */
  readonly caFile?: string | undefined;
}

/** The files of $KUBECONFIG, or the one in the user's folder. */
export function kubeconfigPaths({ environment, home }: Pick<Terminal, 'environment' | 'home'>): readonly string[] {
  const named = (environment['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  return named.length > 0 ? named : [join(home, '.kube', 'config')];
}

/** What `kubectl` and `oc` know of servers: several files that are read as one, of which the first to say a thing wins. */
export class Kubeconfig {
  readonly #paths: readonly string[];
  readonly #files: readonly ReadFile[];

  private constructor(paths: readonly string[], files: readonly ReadFile[]) {
    this.#paths = paths;
    this.#files = files;
  }

  /** Files that are not there count as empty. @throws {ClientError} when one cannot be read */
  static async read(paths: readonly string[]): Promise<Kubeconfig> {
    const files = await Promise.all(
      paths.map(async (path) => ({ folder: dirname(resolve(path)), content: await readKubeconfigFile(path) })),
    );
    return new Kubeconfig(paths, files);
  }

  /** @throws {ClientError} when the context that is current names what is not there */
  get current(): KubeContext | undefined {
    const name = this.#currentName;
    return name === undefined ? undefined : this.#context(name);
  }

  /** A context for a server: the one that is current when it is of that server, or else the first that is. */
  contextOf(server: URL): KubeContext | undefined {
    const all = this.#files.flatMap(({ content }) => (content.contexts ?? []).map(({ name }) => name));
    for (const name of [this.#currentName ?? '', ...all]) {
      const found = this.#contextOrUndefined(name);
      if (found?.server.origin === server.origin) return found;
    }
    return undefined;
  }

  /** Writes a login as `oc login` does, makes it the current context, and names the file. */
  async logIn({ server, user, token, namespace, isInsecure, ca, caFile }: KubeLogin): Promise<string> {
    const cluster = clusterNameOf(server);
    const userName = `${user}/${cluster}`;
    const trust = isInsecure
      ? { 'insecure-skip-tls-verify': true }
      : caFile !== undefined
        ? { 'certificate-authority': resolve(caFile) }
        : ca !== undefined
          ? { 'certificate-authority-data': Buffer.from(ca).toString('base64') }
          : {};
    return this.#write((file) => ({
      ...file,
      clusters: withEntry(file.clusters, {
        name: cluster,
        cluster: { ...trust, server: `${server.protocol}//${addressOf(server)}` },
      }),
      users: withEntry(file.users, { name: userName, user: { token } }),
      ...withContext(file, { cluster, user: userName, namespace }),
    }));
  }

  /** Makes a project of the same server and user current. @returns the file written to */
  async switchProject(context: KubeContext, namespace: string): Promise<string> {
    const { cluster, userName } = context;
    return this.#write((file) => ({
      ...file,
      ...withContext(file, { cluster: cluster.name, user: userName ?? '', namespace }),
    }));
  }

  get #currentName(): string | undefined {
    return this.#files.map(({ content }) => content['current-context']).find(isFilled) ?? undefined;
  }

  /** A context that leads nowhere is in the way of nobody who does not ask for it. */
  #contextOrUndefined(name: string): KubeContext | undefined {
    try {
      return this.#context(name);
    } catch (error) {
      if (error instanceof ClientError || error instanceof UsageError) return undefined;
      throw error;
    }
  }

  #context(name: string): KubeContext {
    const context = this.#find('contexts', name, (entry) => entry.context)?.value;
    if (context === undefined) throw new ClientError(`${this.#paths[0]!} has no context ${name}, which it says to use`);
    const cluster = this.#find('clusters', context.cluster ?? '', (entry) => entry.cluster);
    if (!isFilled(cluster?.value.server)) {
      throw new ClientError(`${this.#paths[0]!} does not say where the server of context ${name} is`);
    }
    return {
      name,
      server: parseServerUrl(cluster.value.server),
      namespace: isFilled(context.namespace) ? context.namespace : undefined,
      userName: isFilled(context.user) ? context.user : undefined,
      cluster,
      user: this.#find('users', context.user ?? '', (entry) => entry.user),
    };
  }

  #find<K extends 'clusters' | 'users' | 'contexts', T>(
    list: K,
    name: string,
    valueOf: (entry: NonNullable<KubeconfigFile[K]>[number]) => T | null | undefined,
  ): Found<T> | undefined {
    for (const { folder, content } of this.#files) {
      const entries: readonly NonNullable<KubeconfigFile[K]>[number][] = content[list] ?? [];
      const value = entries.filter((entry) => entry.name === name).map(valueOf)[0];
      if (value !== undefined && value !== null) return { name, value, folder };
    }
    return undefined;
  }

  /** Changes the first file, whose word counts most. */
  async #write(change: (file: KubeconfigFile) => KubeconfigFile): Promise<string> {
    const named = this.#paths[0]!;
    const changed = change(this.#files[0]!.content);
    await makeFolder(dirname(named), 0o700);
    // A link to the file stays one.
    const path = await realpath(named).catch(() => named);
    await writeFileDurably(path, stringify({ apiVersion: 'v1', kind: 'Config', ...changed }), 0o600);
    return named;
  }
}

/** Whom to trust for the server of a context. @throws {ClientError} when its file of certificates cannot be read */
export async function trustOf({ cluster: { value, folder } }: KubeContext): Promise<Trust> {
  const data = value['certificate-authority-data'];
  const path = value['certificate-authority'];
  const ca = isFilled(data)
    ? Buffer.from(data, 'base64').toString('utf8')
    : isFilled(path)
      ? await readNamedFile(resolve(folder, path), 'certificates')
      : undefined;
  return { ca, isInsecure: value['insecure-skip-tls-verify'] === true };
}

/**
 * The token of the user of a context.
 *
 * @returns undefined when it has none
 * @throws {ClientError} when the user has to be asked for otherwise, by a program or a certificate
 */
export async function tokenOf({ user }: KubeContext): Promise<string | undefined> {
  if (user === undefined) return undefined;
  const { value, folder, name } = user;
  // A file may have been renewed since the token beside it was written.
  if (isFilled(value.tokenFile)) return (await readNamedFile(resolve(folder, value.tokenFile), 'a token')).trim();
  if (isFilled(value.token)) return value.token;
  const other = otherCredentials(value);
  if (other === undefined) return undefined;
  throw new ClientError(
    `the kubeconfig has ${other} for user ${name}, which weir does not use; ` +
      'log in with "weir login", or give a token in WEIR_TOKEN',
  );
}

function otherCredentials(user: z.output<typeof userSchema>): string | undefined {
  if (user.exec) return `a program to run (exec: ${user.exec.command ?? 'without a command'})`;
  if (user['auth-provider']) return `an auth-provider (${user['auth-provider'].name ?? 'without a name'})`;
  if (isFilled(user['client-certificate']) || isFilled(user['client-certificate-data'])) return 'a client certificate';
  return isFilled(user.username) ? 'a password' : undefined;
}

async function readKubeconfigFile(path: string): Promise<KubeconfigFile> {
  let written: string;
  try {
    written = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new ClientError(`the kubeconfig ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    return fileSchema.parse(parse(written) ?? {});
  } catch (error) {
    // What the parsers say may quote the file, and there are tokens in it.
    const where =
      error instanceof YAMLParseError
        ? `line ${error.linePos?.[0].line ?? '?'} is no YAML`
        : error instanceof z.ZodError
          ? `${error.issues[0]!.path.join('.') || 'the whole'} is not what it has to be`
          : undefined;
    if (where === undefined) throw error;
    throw new ClientError(`the kubeconfig ${path} is not valid: ${where}`, { cause: error });
  }
}

async function readNamedFile(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ClientError(`the kubeconfig names ${path} for ${what}, which cannot be read`, { cause: error });
  }
}

function withContext(
  file: KubeconfigFile,
  {
    cluster,
    user,
    namespace,
  }: { readonly cluster: string; readonly user: string; readonly namespace?: string | undefined },
): Pick<KubeconfigFile, 'contexts' | 'current-context'> {
  // The user without its server, whose name has no slash.
  const name = `${namespace ?? ''}/${cluster}/${user.slice(0, user.lastIndexOf('/')) || user}`;
  const context = { cluster, ...(namespace !== undefined && { namespace }), user };
  return { contexts: withEntry(file.contexts, { name, context }), 'current-context': name };
}

/** A list with an entry replaced, or added at the end. */
function withEntry<T extends { readonly name: string }>(list: readonly T[] | null | undefined, entry: T): T[] {
  const entries = [...(list ?? [])];
  const index = entries.findIndex(({ name }) => name === entry.name);
  if (index === -1) return [...entries, entry];
  entries[index] = entry;
  return entries;
}

function isFilled(value: string | null | undefined): value is string {
  return value !== undefined && value !== null && value !== '';
}
