import { isPathPrefix, splitPlace, type UpstreamRegistry } from './upstream-settings.js';
import type { Credential, CredentialChooser } from './upstream.js';

/** The two types of Secret that hold a docker config. */
export type DockerConfigType = 'kubernetes.io/dockercfg' | 'kubernetes.io/dockerconfigjson';

/** A docker config, as it lies in a Secret. */
export interface DockerConfigSource {
  /** For people: `secret shop/pull`. */
  readonly origin: string;
  readonly type: DockerConfigType;
  /** `{host: {auth | username, password}}`, or for the newer type that below `auths`. */
  readonly text: string;
}

/** A credential, and the repositories it is for. */
export interface CredentialEntry {
  /** Host and perhaps port; the host's labels may have `*`. */
  readonly registry: string;
  /** `''`: all of the registry. */
  readonly path: string;
  readonly credential: Credential;
}

/** What a docker config holds. */
export interface DockerConfig {
  readonly entries: readonly CredentialEntry[];
  /** One line for each thing that cannot be used; it says where, and repeats nothing of it. */
  readonly problems: readonly string[];
}

/** Where the two types of Secret keep it. */
const secretKeys: ReadonlyMap<unknown, string> = new Map<DockerConfigType, string>([
  ['kubernetes.io/dockercfg', '.dockercfg'],
  ['kubernetes.io/dockerconfigjson', '.dockerconfigjson'],
]);
const maxEntries = 1000;
const maxFieldLength = 64 * 1024;

/** The docker config of a Secret, whose `data` is base64. @param origin as in `secret shop/pull` */
export function dockerConfigOfSecret(
  secret: { readonly type?: unknown; readonly data?: unknown },
  origin: string,
): DockerConfig {
  const key = secretKeys.get(secret.type);
  if (key === undefined)
    return { entries: [], problems: [`${origin}: is of another type than ${[...secretKeys.keys()].join(' or ')}`] };
  const data = objectOf(secret.data)?.[key];
  if (typeof data !== 'string') return { entries: [], problems: [`${origin}: has no ${key}`] };
  const text = Buffer.from(data, 'base64').toString('utf8');
  return parseDockerConfig({ origin, type: secret.type as DockerConfigType, text });
}

/** Reads a docker config. It never throws: what cannot be used is told and left out. */
export function parseDockerConfig({ origin, type, text }: DockerConfigSource): DockerConfig {
  const config = parseObject(text);
  if (config === undefined) return { entries: [], problems: [`${origin}: is no JSON object`] };
  const auths = type === 'kubernetes.io/dockercfg' ? config : objectOf(config['auths'] ?? {});
  if (auths === undefined) return { entries: [], problems: [`${origin}: auths is no object`] };
  const all = Object.entries(auths);
  const problems = all.length > maxEntries ? [`${origin}: more than ${maxEntries} entries`] : [];
  const entries: CredentialEntry[] = [];
  for (const [position, [key, value]] of all.slice(0, maxEntries).entries()) {
    const result = parseEntry(key, value, origin);
    if (typeof result === 'string') problems.push(`${origin}: entry ${position + 1} ${result}`);
    else if (result !== undefined) entries.push(result);
  }
  return { entries, problems };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** An entry; undefined when it holds no credential; or what is wrong with it. */
function parseEntry(key: string, value: unknown, origin: string): CredentialEntry | string | undefined {
  const place = placeOfKey(key);
  if (place === undefined) return 'is for what is no registry';
  const fields = objectOf(value);
  if (fields === undefined) return 'is no object';
  const texts = ['auth', 'username', 'password', 'identitytoken'].map((name) => fields[name] ?? '');
  if (!texts.every((text) => typeof text === 'string' && text.length <= maxFieldLength)) {
    return 'has a field that is no text, or is too long';
  }
  const [auth = '', username = '', password = '', identityToken = ''] = texts as string[];
  const pair = auth === '' ? { username, password } : decodeAuth(auth);
  if (pair === undefined) return 'has an auth that is not base64 of username:password';
  if (identityToken !== '') return { ...place, credential: { ...pair, origin, identityToken } };
  // Where a helper of the client keeps it, nothing is left here.
  if (pair.username === '' && pair.password === '') return undefined;
  return { ...place, credential: { ...pair, origin } };
}

function decodeAuth(auth: string): { username: string; password: string } | undefined {
  if (!/^[A-Za-z0-9+/_-]+={0,2}\s*$/.test(auth)) return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1) return undefined;
  // Some clients pad what is inside.
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
}

const keyPattern = /^[A-Za-z0-9_*][A-Za-z0-9_.*-]*(?::\d{1,5})?$|^\[[0-9A-Fa-f:.]+\](?::\d{1,5})?$/;

/** What a key is for: a URL or `host[:port][/path]`, with the version of the API that clients of Docker write behind it. */
function placeOfKey(key: string): { registry: string; path: string } | undefined {
  const bare = key.trim().replace(/^https?:\/\//i, '');
  const { registry, path } = splitPlace(bare);
  if (!keyPattern.test(registry)) return undefined;
  return { registry, path: path.replace(/^v[12](?:\/|$)/, '') };
}

/**
 * Chooses among credentials: the one for the longest path, and of these the first; then the administrator's.
 *
 * @param registries whose `username` and `password` are the administrator's
 */
export function credentialChooser(
  configs: readonly DockerConfig[],
  registries: readonly UpstreamRegistry[],
): CredentialChooser {
  const ordered = [
    ...byLength(configs.flatMap(({ entries }) => entries)),
    ...byLength(registries.flatMap(configuredEntry)),
  ];
  return (repository) =>
    ordered.find(
      (entry) => isHostMatch(entry.registry, repository.registry) && isPathPrefix(entry.path, repository.path),
    )?.credential;
}

function configuredEntry({ registry, username, password }: UpstreamRegistry): CredentialEntry[] {
  if (username === undefined || password === undefined) return [];
  const origin = `configured for ${registry}`;
  return [{ ...splitPlace(registry), credential: { username, password, origin, isConfigured: true } }];
}

/** The longest paths first, and names before patterns of names. */
function byLength(entries: readonly CredentialEntry[]): readonly CredentialEntry[] {
  const isPattern = ({ registry }: CredentialEntry) => Number(registry.includes('*'));
  return [...entries].sort((a, b) => b.path.length - a.path.length || isPattern(a) - isPattern(b));
}

/** Whether a host is meant: `*` stands for any characters of one label, and never for a dot. */
function isHostMatch(pattern: string, registry: string): boolean {
  const { registry: name } = splitPlace(registry);
  if (!pattern.includes('*')) return pattern === name;
  const [host, port, ...none] = name.split(':');
  const [hostPattern, portPattern] = pattern.split(':');
  if (none.length > 0 || port !== portPattern) return false;
  const labels = host!.split('.');
  const patterns = hostPattern!.split('.');
  return (
    labels.length === patterns.length && labels.every((label, position) => isLabelMatch(patterns[position]!, label))
  );
}

function isLabelMatch(pattern: string, label: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === label;
  if (!label.startsWith(first)) return false;
  let position = first.length;
  for (const part of rest) {
    const found = label.indexOf(part, position);
    if (found === -1) return false;
    position = found + part.length;
  }
  return label.length - last.length >= position && label.endsWith(last);
}
