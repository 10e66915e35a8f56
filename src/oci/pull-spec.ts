/** Where an image is, as `docker pull` takes it, in its parts; `''` for a part that is not there. */
export interface PullSpec {
  /** Host and perhaps port. */
  readonly registry: string;
  /** The first of several components of the repository. */
  readonly namespace: string;
  /** What comes after the namespace; it may have slashes. Empty when the text names a registry only. */
  readonly name: string;
  readonly tag: string;
  /** Digest. */
  readonly id: string;
}

/** A text that is no pull spec; the message says what is wrong with it and does not repeat it. */
export class PullSpecError extends Error {
  override readonly name = 'PullSpecError';
}

/** No pull spec is as long: 255 for the repository, 128 for the tag, 136 for the digest. */
const maxLength = 1024;
const maxRepositoryLength = 255;

// Each of these can be read in one way only, so that none takes longer than in proportion to the text.
const componentPattern = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const hostPattern = /^[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*(?:\.[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*)*(?::[0-9]+)?$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/;
const digestPattern = /^[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}$/;

/** The algorithms of digests in pull specs, and the length of their hex form. */
const hexLengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/**
 * Reads `[registry/][namespace/]name[:tag][@digest]` (distribution, package reference; library-go, package
 * image/reference). The first of several components is a registry when it has `.` or `:` or is `localhost`; a lone one
 * that has `.` or begins with `localhost` is a registry without a name.
 *
 * @throws {PullSpecError} with the text of distribution's parser
 */
export function parsePullSpec(text: string): PullSpec {
  if (text === '') throw new PullSpecError('repository name must have at least one component');
  if (text.length > maxLength) {
    throw new PullSpecError(`invalid reference format: may not be longer than ${maxLength} characters`);
  }
  const parts = splitPullSpec(text);
  if (parts === undefined) {
    const isOnlyCase = splitPullSpec(text.toLowerCase()) !== undefined;
    throw new PullSpecError(isOnlyCase ? 'repository name must be lowercase' : 'invalid reference format');
  }
  const { repository, tag, id } = parts;
  if (repository.length > maxRepositoryLength) {
    throw new PullSpecError(`repository name must not be more than ${maxRepositoryLength} characters`);
  }
  if (id !== '') checkDigest(id);
  return { ...splitRepository(repository, tag), id };
}

/** Reads a pull spec, for whoever gathers all that is wrong: the error is given back. */
export function pullSpecOrError(text: string): PullSpec | PullSpecError {
  try {
    return parsePullSpec(text);
  } catch (error) {
    if (error instanceof PullSpecError) return error;
    throw error;
  }
}

/** The three parts that punctuation tells apart; undefined when one of them is not written as it must be. */
function splitPullSpec(text: string): { repository: string; tag: string; id: string } | undefined {
  const at = text.indexOf('@');
  const front = at === -1 ? text : text.slice(0, at);
  // A colon before the last slash is that of a port.
  const colon = front.indexOf(':', front.lastIndexOf('/') + 1);
  const repository = colon === -1 ? front : front.slice(0, colon);
  const tag = colon === -1 ? '' : front.slice(colon + 1);
  const id = at === -1 ? '' : text.slice(at + 1);
  const isWellFormed =
    isRepository(repository.split('/')) &&
    (colon === -1 || tagPattern.test(tag)) &&
    (at === -1 || digestPattern.test(id));
  return isWellFormed ? { repository, tag, id } : undefined;
}

function isRepository([first = '', ...rest]: readonly string[]): boolean {
  // The grammar would let any first component be a host, and so let upper case into repositories: Hub/app.
  const isHost = rest.length > 0 && isRegistry(first) && hostPattern.test(first);
  return (isHost || componentPattern.test(first)) && rest.every((component) => componentPattern.test(component));
}

function isRegistry(first: string): boolean {
  return /[.:]/.test(first) || first === 'localhost';
}

function checkDigest(id: string): void {
  const colon = id.indexOf(':');
  const algorithm = id.slice(0, colon);
  const hex = id.slice(colon + 1);
  if (!Object.hasOwn(hexLengths, algorithm)) throw new PullSpecError('unsupported digest algorithm');
  if (hex.length !== hexLengths[algorithm]) throw new PullSpecError('invalid checksum digest length');
  // OCI Image Spec, "Digests": such a digest would be that of nothing.
  if (hex !== hex.toLowerCase()) throw new PullSpecError('invalid checksum digest format');
}

function splitRepository(repository: string, tag: string): Omit<PullSpec, 'id'> {
  const slash = repository.indexOf('/');
  if (slash === -1) {
    const isHost = repository.includes('.') || repository.startsWith('localhost');
    // What looks like its tag is its port.
    if (isHost) {
      return { registry: tag === '' ? repository : `${repository}:${tag}`, namespace: '', name: '', tag: '' };
    }
    return { registry: '', namespace: '', name: repository, tag };
  }
  const first = repository.slice(0, slash);
  const path = repository.slice(slash + 1);
  return isRegistry(first)
    ? { registry: first, ...splitPath(path), tag }
    : { registry: '', namespace: first, name: path, tag };
}

function splitPath(path: string): Pick<PullSpec, 'namespace' | 'name'> {
  const slash = path.indexOf('/');
  return slash === -1
    ? { namespace: '', name: path }
    : { namespace: path.slice(0, slash), name: path.slice(slash + 1) };
}

/**
 * The text of a pull spec, without any default. The digest hides the tag; of a registry alone it is the registry and a
 * slash.
 */
export function formatPullSpec({ registry, namespace, name, tag, id }: PullSpec): string {
  const place = [registry, namespace].map((part) => (part === '' ? '' : `${part}/`)).join('');
  if (name === '') return place;
  if (id !== '') return `${place}${name}${isDigestText(id) ? '@' : ':'}${id}`;
  return `${place}${name}${tag === '' ? '' : `:${tag}`}`;
}

function isDigestText(id: string): boolean {
  const colon = id.indexOf(':');
  const algorithm = id.slice(0, colon);
  return (
    Object.hasOwn(hexLengths, algorithm) &&
    id.length === colon + 1 + hexLengths[algorithm]! &&
    /^[0-9a-f]+$/.test(id.slice(colon + 1))
  );
}

const dockerHub = 'docker.io';
const dockerHubServer = 'registry-1.docker.io';

/** The names under which Docker Hub is known; the last is the one that answers. */
export const dockerHubNames: readonly string[] = [dockerHub, 'index.docker.io', dockerHubServer];

/** What a client of Docker makes of it: registry `docker.io`, on Docker Hub namespace `library`, and tag `latest`. */
export function withClientDefaults(spec: PullSpec): PullSpec {
  const registry = spec.registry === '' ? dockerHub : spec.registry;
  const namespace = spec.namespace === '' && dockerHubNames.includes(registry) ? 'library' : spec.namespace;
  return { ...spec, registry, namespace, tag: spec.tag === '' ? 'latest' : spec.tag };
}

/** Without tag and digest. */
export function asRepository(spec: PullSpec): PullSpec {
  return { ...spec, tag: '', id: '' };
}

/** A digest drops the tag, as it says all; an id that is no digest stands in for a tag that is not there. */
export function mostSpecific(spec: PullSpec): PullSpec {
  if (spec.id === '') return spec;
  if (isDigestText(spec.id)) return { ...spec, tag: '' };
  return spec.tag === '' ? { ...spec, tag: spec.id, id: '' } : spec;
}

/**
 * Where the registry is reached: Docker Hub when none is named, and by the name that answers.
 *
 * @param options.isInsecure whether plain HTTP may be spoken, which makes the default port 80 instead of 443
 */
export function registryHostPort(
  { registry }: PullSpec,
  { isInsecure }: { readonly isInsecure: boolean },
): { readonly host: string; readonly port: string } {
  const { host, port } = splitHostPort(registry === '' ? dockerHub : registry);
  return {
    host: dockerHubNames.includes(host) ? dockerHubServer : host,
    port: port !== '' ? port : isInsecure ? '80' : '443',
  };
}

/** @returns port `''` when the text has none */
export function splitHostPort(registry: string): { readonly host: string; readonly port: string } {
  const colon = registry.indexOf(':');
  return colon === -1
    ? { host: registry, port: '' }
    : { host: registry.slice(0, colon), port: registry.slice(colon + 1) };
}

/** Whether both are the same to a client of Docker: `app` is `docker.io/library/app:latest`. */
export function isSamePullSpec(one: PullSpec, other: PullSpec): boolean {
  const a = withClientDefaults(one);
  const b = withClientDefaults(other);
  return (
    a.registry === b.registry && a.namespace === b.namespace && a.name === b.name && a.tag === b.tag && a.id === b.id
  );
}
