import { dockerHubNames } from '../../oci/pull-spec.js';
import { RegistryClient } from '../../upstream/registry-client.js';
import { canonicalRegistry } from '../../upstream/upstream-settings.js';
import type { Credential, UpstreamAccess } from '../../upstream/upstream.js';
import { UsageError } from '../usage-error.js';
import { readCa } from './connection.js';
import { credentialHelper, credentialPaths, findCredentials } from './docker-credentials.js';
import type { SourceAddress } from './registry-copy-names.js';
import type { Terminal } from './terminal.js';

/** What the command line says of the other registry. */
export interface SourceOptions {
  readonly sourceUsername?: string;
  readonly sourcePasswordStdin?: true;
  /** A file of PEM certificates. */
  readonly sourceCa?: string;
  readonly insecureSource?: true;
  /** Hosts beside its own that it sends clients to. */
  readonly sourceHosts?: readonly string[];
}

/** Another registry, ready to be read. */
export interface Source {
  readonly source: RegistryClient;
  readonly access: UpstreamAccess;
}

const silenceMs = 30_000;

/**
 * Opens the other registry. Whoever named it may speak to it wherever it is, so its own addresses may be private ones;
 * those of hosts that it sends clients to may not, unless they are named as well.
 *
 * @throws {UsageError} @throws {ClientError} when a file cannot be read
 */
export async function openSource(
  terminal: Terminal,
  { registry, isPlain }: SourceAddress,
  options: SourceOptions,
  signal: AbortSignal,
): Promise<Source> {
  const credential = await findCredential(terminal, registry, options);
  const { sourceCa, sourceHosts = [] } = options;
  const ca = sourceCa === undefined ? undefined : await readCa(sourceCa);
  const isInsecure = isPlain || options.insecureSource === true;
  const source = new RegistryClient({
    registries: [{ registry, ca, insecure: isInsecure, tokenHosts: sourceHosts }],
    allowPrivate: [withoutPort(registry), ...sourceHosts],
    timeoutMs: silenceMs,
    environment: terminal.environment,
    userAgent: 'weir',
  });
  const own = canonicalRegistry(registry);
  const credentials: UpstreamAccess['credentials'] = (repository) =>
    canonicalRegistry(repository.registry) === own ? credential : undefined;
  return { source, access: { credentials, isInsecure, signal } };
}

async function findCredential(
  terminal: Terminal,
  registry: string,
  { sourceUsername, sourcePasswordStdin }: SourceOptions,
): Promise<Credential | undefined> {
  if (sourceUsername !== undefined) {
    const password =
      sourcePasswordStdin === true
        ? await terminal.readInput()
        : await terminal.askSecret(`Password of ${sourceUsername} at ${registry}: `);
    return { username: sourceUsername, password, origin: '--source-username' };
  }
  if (sourcePasswordStdin === true) throw new UsageError('whose password it is, is said by --source-username');
  const paths = credentialPaths(terminal);
  const isHub = canonicalRegistry(registry) === dockerHubNames[0];
  for (const name of isHub ? dockerHubNames : [registry]) {
    const found = await findCredentials(paths, name);
    if (found !== undefined) {
      return { username: found.name, password: found.password, origin: `the login of docker or podman for ${name}` };
    }
    const helper = await credentialHelper(paths, name);
    if (helper !== undefined) {
      terminal.note(
        `the password of ${name} is kept by ${helper}, which weir does not ask; give it with --source-username\n`,
      );
    }
  }
  return undefined;
}

/** Its token server may listen on another port. */
function withoutPort(registry: string): string {
  return registry.replace(/:\d+$/, '');
}
