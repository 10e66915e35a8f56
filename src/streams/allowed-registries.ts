import type { StatusCause } from '../kube/errors.js';
import {
  asRepository,
  dockerHubNames,
  formatPullSpec,
  PullSpecError,
  pullSpecOrError,
  splitHostPort,
  withClientDefaults,
  type PullSpec,
} from '../oci/pull-spec.js';
import type { TagReference } from './types.js';
import { isWildcardMatch } from '../oci/wildcards.js';

/** An entry of a list of registries, as it is configured. */
export interface RegistryLocation {
  /** `host` or `host:port`; both may have `*` for any characters and `?` for one. */
  readonly domainName: string;
  /** Makes the default port 80 instead of 443. */
  readonly insecure?: boolean | undefined;
}

/** From where images may be imported. */
export interface AllowedRegistries {
  readonly registries: readonly { readonly host: string; readonly port: string }[];
  /** Repositories that are allowed whatever their registry, without tag and digest. */
  readonly repositories: ReadonlySet<string>;
}

/** A registry that is not configured as it must be. */
export class RegistryLocationError extends Error {
  override readonly name = 'RegistryLocationError';
}

const everywhere: readonly RegistryLocation[] = [{ domainName: '*:*' }];

/**
 * @param locations undefined: images may be imported from everywhere
 * @param ownHost under which Weir itself is configured to be called, with its port when it has one; never what a
 *   request says, which would let clients allow themselves any registry
 * @throws {RegistryLocationError}
 */
export function parseAllowedRegistries(
  locations: readonly RegistryLocation[] = everywhere,
  ownHost?: string,
): AllowedRegistries {
  // No pull spec can name an IPv6 address.
  const own = ownHost === undefined || ownHost.startsWith('[') ? [] : [{ domainName: ownHost }];
  return { registries: [...own, ...locations].map(parseLocation), repositories: new Set() };
}

function parseLocation({ domainName, insecure = false }: RegistryLocation): { host: string; port: string } {
  const [host = '', port = insecure ? '80' : '443', ...rest] = domainName.split(':', 3);
  const wrong = (why: string) =>
    new RegistryLocationError(`failed to parse allowed registry ${JSON.stringify(domainName)}: ${why}`);
  if (rest.length > 0) throw wrong('too many colons');
  if (host === '' || port === '') throw wrong('expected host or host:port');
  return { host, port };
}

/** The same, and repositories beside: those that a stream had before stay allowed for it. */
export function withRepositories(allowed: AllowedRegistries, specs: Iterable<PullSpec>): AllowedRegistries {
  return { ...allowed, repositories: new Set([...allowed.repositories, ...[...specs].map(canonicalRepository)]) };
}

function canonicalRepository(spec: PullSpec): string {
  return formatPullSpec(asRepository(withClientDefaults(spec)));
}

/** How a list is looked up. */
export interface RegistryAdmission {
  /** Whether plain HTTP may be spoken: without a port, both 80 and 443 count. */
  readonly isInsecure: boolean;
}

/** Whether images may be imported from there. */
export function allowsRegistry(allowed: AllowedRegistries, spec: PullSpec, { isInsecure }: RegistryAdmission): boolean {
  if (allowed.repositories.has(canonicalRepository(spec))) return true;
  const { host, port } = splitHostPort(withClientDefaults(spec).registry);
  const names = dockerHubNames.includes(host) ? dockerHubNames : [host];
  const isPort = (pattern: string) => {
    if (port !== '') return isWildcardMatch(pattern, port);
    return isInsecure ? ['80', '443', '*'].includes(pattern) : isWildcardMatch(pattern, '443');
  };
  return allowed.registries.some(
    (registry) => names.some((name) => isWildcardMatch(registry.host, name)) && isPort(registry.port),
  );
}

const maxListed = 5;

/** Why images may not be imported from there; undefined when they may (openshift-apiserver, package whitelist). */
export function registryRefusal(
  allowed: AllowedRegistries,
  spec: PullSpec,
  admission: RegistryAdmission,
): string | undefined {
  if (allowsRegistry(allowed, spec, admission)) return undefined;
  const host = spec.registry !== '' ? spec.registry : admission.isInsecure ? 'docker.io' : 'docker.io:443';
  const what = `registry ${JSON.stringify(host)} not allowed by`;
  const listed = allowed.registries.map((registry) => JSON.stringify(`${registry.host}:${registry.port}`));
  if (listed.length === 0) return `${what} empty whitelist`;
  if (listed.length <= maxListed) return `${what} whitelist: ${listed.join(', ')}`;
  const first = listed.slice(0, maxListed - 1);
  return `${what} whitelist: ${first.join(', ')}, and ${listed.length - first.length} more ...`;
}

/**
 * A cause when the source of a tag is in a registry that images may not be imported from.
 *
 * @param fieldPath of the tag, as in `spec.tags[v1]`
 * @param options.isInsecureStream whether the whole stream is marked as insecure
 */
export function registryCauses(
  { from, importPolicy }: TagReference,
  fieldPath: string,
  { allowed, isInsecureStream }: { readonly allowed: AllowedRegistries; readonly isInsecureStream: boolean },
): StatusCause[] {
  if (from?.kind !== 'DockerImage') return [];
  const spec = pullSpecOrError(from.name);
  // One that cannot be read has its cause from `tagCauses`.
  if (spec instanceof PullSpecError) return [];
  const refusal = registryRefusal(allowed, spec, { isInsecure: isInsecureStream || importPolicy.insecure === true });
  if (refusal === undefined) return [];
  return [{ reason: 'FieldValueForbidden', field: `${fieldPath}.from.name`, message: `Forbidden: ${refusal}` }];
}
