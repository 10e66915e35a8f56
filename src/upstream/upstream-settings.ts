import { dockerHubNames } from '../oci/pull-spec.js';
import type { UpstreamRepository } from './upstream.js';

/**
 * What the administrator says of a registry or of a part of it. What is left out is looked for in the next shorter entry
 * that fits, so an entry for a part says only what is different there.
 */
export interface UpstreamRegistry {
  /** `host[:port]`, or with the beginning of a path. */
  readonly registry: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Names of the projects for which these are shown, with `*` and `?`; all when left out. */
  readonly projects?: readonly string[] | undefined;
  /** PEM certificates of authorities that are trusted there, beside the usual ones. */
  readonly ca?: string | undefined;
  /** Certificates need not be valid, and plain HTTP may be spoken. */
  readonly insecure?: boolean | undefined;
  /** Hosts of token realms that may see the credential, beside the registry's own. */
  readonly tokenHosts?: readonly string[] | undefined;
  /** At most so many, in `windowSeconds`. */
  readonly requests?: number | undefined;
  readonly windowSeconds?: number | undefined;
  /** Asked first, in order: `host[:port][/path]` stands for `registry`. */
  readonly mirrors?: readonly string[] | undefined;
  /** `all` when left out. */
  readonly mirrorsFor?: 'all' | 'digests' | 'tags' | undefined;
  /** Only the mirrors are asked. */
  readonly neverSource?: boolean | undefined;
  /** Nothing comes from there. */
  readonly blocked?: boolean | undefined;
}

/** The one spelling of a registry's name: lower case, Docker Hub by its first name, without the port of https. */
export function canonicalRegistry(registry: string): string {
  const name = registry
    .toLowerCase()
    .replace(/:0+(?=\d+$)/, ':')
    .replace(/:443$/, '');
  return dockerHubNames.includes(name) ? dockerHubNames[0]! : name;
}

/** Repositories of Docker Hub that are written with one component are in `library`. */
export function canonicalRepository({ registry, path }: UpstreamRepository): UpstreamRepository {
  const name = canonicalRegistry(registry);
  return {
    registry: name,
    path: name === dockerHubNames[0] && !path.includes('/') && path !== '' ? `library/${path}` : path,
  };
}

interface Entry {
  readonly registry: string;
  readonly path: string;
  readonly settings: UpstreamRegistry;
}

/** The administrator's entries, by the repositories they are for. */
export class UpstreamSettings {
  /** The longest paths first. */
  readonly #entries: readonly Entry[];

  constructor(registries: readonly UpstreamRegistry[]) {
    this.#entries = registries
      .map((settings) => ({ ...splitPlace(settings.registry), settings }))
      .sort((a, b) => b.path.length - a.path.length);
  }

  /** The longest entry that fits and says something of this; undefined when none does. */
  find(repository: UpstreamRepository, says: (settings: UpstreamRegistry) => boolean): UpstreamRegistry | undefined {
    const { registry, path } = canonicalRepository(repository);
    return this.#entries.find(
      (entry) => entry.registry === registry && isPathPrefix(entry.path, path) && says(entry.settings),
    )?.settings;
  }

  /** What the longest entry that says it says. */
  get<Name extends keyof UpstreamRegistry>(
    repository: UpstreamRepository,
    name: Name,
  ): UpstreamRegistry[Name] | undefined {
    return this.find(repository, (settings) => settings[name] !== undefined)?.[name];
  }
}

/** `host[:port][/path]` in its parts. */
export function splitPlace(place: string): UpstreamRepository {
  const slash = place.indexOf('/');
  if (slash === -1) return { registry: canonicalRegistry(place), path: '' };
  return { registry: canonicalRegistry(place.slice(0, slash)), path: place.slice(slash + 1).replace(/\/+$/, '') };
}

/** Whether a path begins with these components. */
export function isPathPrefix(prefix: string, path: string): boolean {
  return prefix === '' || path === prefix || path.startsWith(`${prefix}/`);
}

/** Where a repository is asked for. */
export interface Place {
  readonly repository: UpstreamRepository;
  readonly isSource: boolean;
}

/** The places to ask, in order: mirrors, and last the registry itself. */
export function placesOf(
  settings: UpstreamSettings,
  source: UpstreamRepository,
  by: 'tags' | 'digests',
): readonly Place[] {
  const repository = canonicalRepository(source);
  const entry = settings.find(repository, ({ mirrors = [], mirrorsFor = 'all' }) => {
    return mirrors.length > 0 && (mirrorsFor === 'all' || mirrorsFor === by);
  });
  const itself = { repository, isSource: true };
  if (entry === undefined) return settings.get(repository, 'neverSource') === true ? [] : [itself];
  const below = repository.path.slice(splitPlace(entry.registry).path.length).replace(/^\//, '');
  const mirrors = (entry.mirrors ?? []).map((mirror) => {
    const { registry, path } = splitPlace(mirror);
    const repository = { registry, path: [path, below].filter((part) => part !== '').join('/') };
    return { repository: canonicalRepository(repository), isSource: false };
  });
  return settings.get(repository, 'neverSource') === true ? mirrors : [...mirrors, itself];
}
