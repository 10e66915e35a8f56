import type { Digest } from './digest.js';
import type { ManifestReference, ParsedManifest } from './manifest.js';

/** The most bytes of a config that are looked at; an ordinary one has some thousand. */
export const maxConfigSize = 8 * 1024 * 1024;

/** More steps than a manifest can have layers are no history of its layers. */
const maxHistory = 50_000;

/** More than any image is built for; the rest of a longer list is left out. */
const maxPlatforms = 100;

/** Configs that describe an image to be run; those of artifacts may be anything. */
const imageConfigMediaTypes: readonly string[] = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

/** What an image is for (OCI Image Index Spec, `platform`). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** One step of how an image was built (OCI Image Configuration, `history`). */
export interface HistoryStep {
  readonly createdBy?: string;
  /** The step changed no file, so there is no layer of it. */
  readonly isEmptyLayer: boolean;
}

/** What lists show of an image, an index or an artifact. */
export interface ImageSummary {
  /** Bytes: see {@link totalSize}. */
  readonly totalSize: number;
  /** As in `linux/arm/v7`, each once, at most 100; of an index those of its entries; none for an artifact. */
  readonly platforms: readonly string[];
  /** Label `org.opencontainers.image.version` of the config, else that annotation of the manifest. */
  readonly version: string | undefined;
  /** The text of the config, when it is a JSON object and described as the config of an image. */
  readonly config: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** By the name of a member, how its value is read; undefined for what is empty or of another type. */
type Readers = Readonly<Record<string, (value: unknown) => unknown>>;

type Read<R extends Readers> = { readonly [Name in keyof R]?: Exclude<ReturnType<R[Name]>, undefined> };

/** `config` in OCI's words and in Docker's, which are the older and the more. */
const containerReaders = {
  Hostname: readText,
  Domainname: readText,
  User: readText,
  Memory: readInteger,
  MemorySwap: readInteger,
  CpuShares: readInteger,
  Cpuset: readText,
  AttachStdin: readFlag,
  AttachStdout: readFlag,
  AttachStderr: readFlag,
  PortSpecs: readTexts,
  ExposedPorts: readNames,
  Tty: readFlag,
  OpenStdin: readFlag,
  StdinOnce: readFlag,
  Env: readTexts,
  Cmd: readTexts,
  Dns: readTexts,
  Image: readText,
  Volumes: readNames,
  VolumesFrom: readText,
  WorkingDir: readText,
  Entrypoint: readTexts,
  NetworkDisabled: readFlag,
  SecurityOpts: readTexts,
  OnBuild: readTexts,
  Labels: readTextMap,
} as const satisfies Readers;

const imageReaders = {
  created: readTime,
  author: readText,
  comment: readText,
  os: readText,
  architecture: readText,
  variant: readText,
  config: readContainer,
  history: readHistory,
  parent: readText,
  container: readText,
  container_config: readContainer,
  docker_version: readText,
} as const satisfies Readers;

/** How a container of an image is run (OCI Image Configuration, `config`; Docker Image Specification v1.2). */
export type ContainerConfig = Read<typeof containerReaders>;

/** What a config says of its image (OCI Image Configuration; Docker Image Specification v1.2). */
export type ImageConfig = Read<typeof imageReaders>;

/**
 * What a config says. Nobody has checked it, so what is empty or of another type counts as absent: a member of a map by
 * itself, a list as a whole, because the rest of a command is another command.
 *
 * @param text of a config; whatever is not a JSON object says nothing
 */
export function readImageConfig(text: string | undefined): ImageConfig {
  return readFields(imageReaders, text === undefined ? undefined : parseJson(text));
}

/**
 * What is known of an image, whatever its config is.
 *
 * @param manifestBytes of the manifest that `manifest` was parsed from
 * @param config undefined when it is not at hand; one of more than 8 MiB is not looked at
 */
export function summarizeImage(
  manifestBytes: Buffer,
  manifest: ParsedManifest,
  config: Buffer | undefined,
): ImageSummary {
  const text = config !== undefined && hasImageConfig(manifest) ? decodeConfig(config) : undefined;
  const json = text === undefined ? undefined : parseJson(text);
  const image = readFields(imageReaders, json);
  return {
    totalSize: totalSize(manifest),
    platforms: manifest.isIndex ? platformsOfIndex(manifestBytes) : platformsOfImage(image),
    version: versionOf(image, manifest),
    config: isObject(json) ? text : undefined,
  };
}

/**
 * The bytes of an image: its config and each of its layers once, as they are described. Of an index, those of the
 * manifests that it lists.
 *
 * @returns never more than a double holds exactly, whatever the descriptors say
 */
export function totalSize(manifest: ParsedManifest): number {
  const sizes = new Map<string, number>();
  for (const { role, digest, size } of manifest.references) sizes.set(`${role} ${digest}`, size);
  let total = 0;
  for (const size of sizes.values()) total += size;
  return Math.min(total, Number.MAX_SAFE_INTEGER);
}

/** The config of an image or artifact; undefined for an index. */
export function configOf(manifest: ParsedManifest): ManifestReference | undefined {
  return manifest.references.find((reference) => reference.role === 'config');
}

/** The layers of an image or artifact, base first; one may be there more than once. */
export function layersOf(manifest: ParsedManifest): readonly ManifestReference[] {
  return manifest.references.filter((reference) => reference.role === 'layer');
}

/** The platform as it is written, in `linux/arm/v7`; undefined when the config does not say it. */
export function platformOf(image: ImageConfig): string | undefined {
  const platform = readPlatform(image);
  return platform && formatPlatform(platform);
}

/** The version that the maker of an image gave it: a line of at most 128 characters, or nothing. */
export function versionOf(image: ImageConfig, manifest: ParsedManifest): string | undefined {
  const key = 'org.opencontainers.image.version';
  return readLine(image.config?.Labels?.[key]) ?? readLine(manifest.annotations?.[key]);
}

/** When an image was made, as its config says or else annotation `org.opencontainers.image.created` of the manifest. */
export function createdOf(image: ImageConfig, manifest: ParsedManifest): Date | undefined {
  return image.created ?? readTime(manifest.annotations?.['org.opencontainers.image.created']);
}

/** An entry of an index, with what it is for. */
export interface IndexEntry {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
  /** Undefined when the index does not say it, or not in words that could be those of a platform. */
  readonly platform: Platform | undefined;
}

/** The entries of an index in their order, from the bytes that `index` was parsed from. */
export function indexEntries(bytes: Buffer, index: ParsedManifest): readonly IndexEntry[] {
  const platforms = readPlatforms(bytes);
  return index.references
    .filter(({ role }) => role === 'manifest')
    .map(({ digest, mediaType, size }, position) => ({ digest, mediaType, size, platform: platforms[position] }));
}

function platformsOfImage(image: ImageConfig): readonly string[] {
  const platform = platformOf(image);
  return platform === undefined ? [] : [platform];
}

function platformsOfIndex(bytes: Buffer): readonly string[] {
  const platforms = readPlatforms(bytes)
    .filter((platform) => platform !== undefined)
    // Build tools list what they attest of an image beside it, as if it were for a platform of this name.
    .filter(({ os, architecture }) => os !== 'unknown' || architecture !== 'unknown');
  return [...new Set(platforms.map(formatPlatform))].slice(0, maxPlatforms);
}

function readPlatforms(bytes: Buffer): readonly (Platform | undefined)[] {
  const index = parseJson(bytes.toString());
  const entries = isObject(index) ? index['manifests'] : undefined;
  if (!Array.isArray(entries)) return [];
  return entries.map((entry: unknown) => (isObject(entry) ? readPlatform(entry['platform']) : undefined));
}

function readPlatform(value: unknown): Platform | undefined {
  if (!isObject(value)) return undefined;
  const { os, architecture, variant } = value;
  if (!isPlatformWord(os) || !isPlatformWord(architecture)) return undefined;
  return { os, architecture, ...(isPlatformWord(variant) && { variant }) };
}

function isPlatformWord(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value);
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((word) => word !== undefined).join('/');
}

/** Whether a config is that of an image to be run. */
export function isImageConfig({ mediaType }: Pick<ManifestReference, 'mediaType'>): boolean {
  return imageConfigMediaTypes.includes(mediaType);
}

function hasImageConfig(manifest: ParsedManifest): boolean {
  const config = configOf(manifest);
  return config !== undefined && isImageConfig(config);
}

function decodeConfig(config: Buffer): string | undefined {
  if (config.length > maxConfigSize) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(config);
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** None of the names that are read is one that every JavaScript object inherits. */
function readFields<R extends Readers>(readers: R, value: unknown): Read<R> {
  if (!isObject(value)) return {};
  const entries = Object.entries(readers)
    .map(([name, read]): [string, unknown] => [name, read(value[name])])
    .filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries) as Read<R>;
}

function readContainer(value: unknown): ContainerConfig | undefined {
  const container = readFields(containerReaders, value);
  return Object.keys(container).length > 0 ? container : undefined;
}

function readHistory(value: unknown): readonly HistoryStep[] | undefined {
  if (!Array.isArray(value) || value.length > maxHistory || !value.every(isObject)) return undefined;
  return value.map((step) => {
    const createdBy = readText(step['created_by']);
    return { ...(createdBy !== undefined && { createdBy }), isEmptyLayer: step['empty_layer'] === true };
  });
}

function readText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function readLine(value: unknown): string | undefined {
  return typeof value === 'string' && /^[^\p{Cc}]{1,128}$/u.test(value) ? value : undefined;
}

function readFlag(value: unknown): true | undefined {
  return value === true ? true : undefined;
}

/** Go's clients refuse the whole object for a number that is no int64. */
function readInteger(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && value !== 0 ? (value as number) : undefined;
}

function readTexts(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  return value.every((element) => typeof element === 'string') ? value : undefined;
}

/** A set, which JSON has as the names of an object's members. */
function readNames(value: unknown): readonly string[] | undefined {
  const names = isObject(value) ? Object.keys(value) : [];
  return names.length > 0 ? names : undefined;
}

function readTextMap(value: unknown): Readonly<Record<string, string>> | undefined {
  if (!isObject(value)) return undefined;
  const entries = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  // Object.fromEntries defines members and sets none, so __proto__ stays a name like any other.
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
/** Go's zero time, which stands for none. */
const zeroTime = Date.parse('0001-01-01T00:00:00Z');
const endOfTime = Date.parse('9999-12-31T23:59:59.999Z');

function readTime(value: unknown): Date | undefined {
  if (typeof value !== 'string' || !rfc3339.test(value)) return undefined;
  const time = Date.parse(value);
  return time > zeroTime && time <= endOfTime ? new Date(time) : undefined;
}
