import { timestamp } from '../kube/object-meta.js';
import type { Digest } from '../oci/digest.js';
import {
  createdOf,
  platformOf,
  readImageConfig,
  totalSize,
  versionOf,
  type ContainerConfig,
} from '../oci/image-config.js';
import { parseManifest } from '../oci/manifest.js';
import { layersWithCommands, type CommandedLayer, type StoredImage } from './image-object.js';

/** What is looked at of an image: one for one platform, not an index. */
export type ComparedImage = Pick<StoredImage, 'digest' | 'mediaType' | 'bytes' | 'config'>;

/** What something was and what it is; null where there is none. */
export interface Change<T> {
  readonly from: T | null;
  readonly to: T | null;
}

/** A variable of the environment, or a label. */
export interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** How two sets of named values differ, in the order of the names. */
export interface NamedChanges {
  readonly added: readonly NamedValue[];
  readonly removed: readonly NamedValue[];
  readonly changed: readonly { readonly name: string; readonly from: string; readonly to: string }[];
}

/** How a container is run, as far as that differs: what is the same is left out. */
export interface ConfigChanges {
  readonly entrypoint?: Change<readonly string[]>;
  readonly cmd?: Change<readonly string[]>;
  readonly user?: Change<string>;
  readonly workingDir?: Change<string>;
  /** As in `8080/tcp`, sorted. */
  readonly exposedPorts?: Change<readonly string[]>;
  /** Paths, sorted. */
  readonly volumes?: Change<readonly string[]>;
}

/** A layer that only one of two images has. */
export type ComparedLayer = Omit<CommandedLayer, 'mediaType'>;

/** How one image differs from another; what both may have is given for both, and everything else as a difference. */
export interface ImageComparison {
  readonly image: { readonly from: Digest; readonly to: Digest };
  readonly version: Change<string>;
  /** As in `linux/arm/v7`. */
  readonly platform: Change<string>;
  /** When the images were built. */
  readonly created: Change<string>;
  /** Bytes of config and layers. */
  readonly size: { readonly from: number; readonly to: number };
  readonly config: ConfigChanges;
  readonly environment: NamedChanges;
  readonly labels: NamedChanges;
  readonly layers: {
    /** How many layers both have. */
    readonly kept: number;
    /** Bytes of those, each time they occur. */
    readonly keptSize: number;
    /** Base first. */
    readonly added: readonly ComparedLayer[];
    /** Base first. */
    readonly removed: readonly ComparedLayer[];
  };
}

/** What changes for someone who has the image `from` and gets the image `to`. */
export function compareImages(from: ComparedImage, to: ComparedImage): ImageComparison {
  const before = describe(from);
  const after = describe(to);
  return {
    image: { from: from.digest, to: to.digest },
    version: change(before.version, after.version),
    platform: change(before.platform, after.platform),
    created: change(before.created, after.created),
    size: { from: before.size, to: after.size },
    config: compareConfigs(before.container, after.container),
    environment: compareValues(environmentOf(before.container), environmentOf(after.container)),
    labels: compareValues(labelsOf(before.container), labelsOf(after.container)),
    layers: compareLayers(before.layers, after.layers),
  };
}

function describe({ bytes, mediaType, config }: ComparedImage) {
  const manifest = parseManifest(bytes, mediaType);
  const image = readImageConfig(config);
  const created = createdOf(image, manifest);
  return {
    version: versionOf(image, manifest),
    platform: platformOf(image),
    created: created && timestamp(created),
    size: totalSize(manifest),
    container: image.config ?? {},
    layers: layersWithCommands(bytes, config),
  };
}

function change<T>(from: T | undefined, to: T | undefined): Change<T> {
  return { from: from ?? null, to: to ?? null };
}

function compareConfigs(from: ContainerConfig, to: ContainerConfig): ConfigChanges {
  const changes = {
    entrypoint: change(from.Entrypoint, to.Entrypoint),
    cmd: change(from.Cmd, to.Cmd),
    user: change(from.User, to.User),
    workingDir: change(from.WorkingDir, to.WorkingDir),
    exposedPorts: change(from.ExposedPorts?.toSorted(), to.ExposedPorts?.toSorted()),
    volumes: change(from.Volumes?.toSorted(), to.Volumes?.toSorted()),
  };
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => !isSame(value.from, value.to)));
}

type ConfigValue = string | readonly string[] | null;

function isSame(a: ConfigValue, b: ConfigValue): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  return a.length === b.length && a.every((element, position) => element === b[position]);
}

/** `NAME=value` each; of two of one name the last counts, and one without a value is empty. */
function environmentOf({ Env: variables = [] }: ContainerConfig): ReadonlyMap<string, string> {
  return new Map(
    variables.map((variable): [string, string] => {
      // Windows has variables whose names begin with one.
      const equals = variable.indexOf('=', 1);
      return equals === -1 ? [variable, ''] : [variable.slice(0, equals), variable.slice(equals + 1)];
    }),
  );
}

function labelsOf({ Labels: labels = {} }: ContainerConfig): ReadonlyMap<string, string> {
  return new Map(Object.entries(labels));
}

function compareValues(from: ReadonlyMap<string, string>, to: ReadonlyMap<string, string>): NamedChanges {
  return {
    added: missingIn(from, to),
    removed: missingIn(to, from),
    changed: [...to.keys()]
      .filter((name) => from.has(name) && from.get(name) !== to.get(name))
      .sort()
      .map((name) => ({ name, from: from.get(name)!, to: to.get(name)! })),
  };
}

/** What only the second has. */
function missingIn(first: ReadonlyMap<string, string>, second: ReadonlyMap<string, string>): readonly NamedValue[] {
  return [...second.keys()]
    .filter((name) => !first.has(name))
    .sort()
    .map((name) => ({ name, value: second.get(name)! }));
}

/** A layer that an image has twice is kept twice only if the other has it twice as well. */
function compareLayers(from: readonly CommandedLayer[], to: readonly CommandedLayer[]): ImageComparison['layers'] {
  const added = withoutThose(to, from);
  const addedSet = new Set(added);
  const kept = to.filter((layer) => !addedSet.has(layer));
  return {
    kept: kept.length,
    keptSize: Math.min(
      kept.reduce((sum, { size }) => sum + size, 0),
      Number.MAX_SAFE_INTEGER,
    ),
    added: added.map(toComparedLayer),
    removed: withoutThose(from, to).map(toComparedLayer),
  };
}

/** The layers without as many of each digest as the others have. */
function withoutThose(layers: readonly CommandedLayer[], others: readonly CommandedLayer[]): readonly CommandedLayer[] {
  const left = new Map<string, number>();
  for (const { digest } of others) left.set(digest, (left.get(digest) ?? 0) + 1);
  return layers.filter(({ digest }) => {
    const count = left.get(digest) ?? 0;
    left.set(digest, count - 1);
    return count <= 0;
  });
}

function toComparedLayer({ mediaType: _mediaType, ...layer }: CommandedLayer): ComparedLayer {
  return layer;
}
