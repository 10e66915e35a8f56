import { timestamp } from '../kube/object-meta.js';
import type { Digest } from '../oci/digest.js';
import {
  configOf,
  createdOf,
  indexEntries,
  layersOf,
  readImageConfig,
  totalSize,
  type ContainerConfig,
} from '../oci/image-config.js';
import { parseManifest, type ParsedManifest } from '../oci/manifest.js';
import type { ManifestMediaType } from '../oci/media-types.js';
import type { DockerImage, Image, ImageManifestEntry, ImageSignature } from './types.js';

/** What is kept of an image, an index or an artifact. */
export interface StoredImage {
  readonly digest: Digest;
  readonly mediaType: ManifestMediaType;
  /** Of the manifest, which was checked when it was pushed. */
  readonly bytes: Buffer;
  /** The text of the config; undefined when it is not that of an image. */
  readonly config: string | undefined;
  /** When it came to the registry, not when it was built. */
  readonly createdAt: Date;
  readonly uid: string;
  /** The resourceVersion. */
  readonly version: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** The dockerImageReference. */
  readonly reference: string;
  readonly signatures?: readonly ImageSignature[];
}

/** The annotations of Images that OpenShift's clients look at. */
export const imageAnnotations = {
  /** It was pushed here: its bytes are here, and pruning takes it. */
  managed: 'openshift.io/image.managed',
  manifestBlobStored: 'image.openshift.io/manifestBlobStored',
  layersOrder: 'image.openshift.io/dockerLayersOrder',
} as const;

/**
 * image.openshift.io/v1 Image, as clients see it. The manifest is left out, since it is stored as bytes. An annotation of
 * the image may say that it is not managed; the others of the server cannot be changed.
 */
export function imageObjectOf(image: StoredImage, { withConfig }: { readonly withConfig: boolean }): Image {
  const manifest = parseManifest(image.bytes, image.mediaType);
  return {
    metadata: {
      name: image.digest,
      uid: image.uid,
      resourceVersion: image.version,
      creationTimestamp: timestamp(image.createdAt),
      ...present({ labels: nonEmpty(image.labels) }),
      annotations: {
        [imageAnnotations.managed]: 'true',
        ...image.annotations,
        [imageAnnotations.manifestBlobStored]: 'true',
        [imageAnnotations.layersOrder]: 'ascending',
      },
    },
    dockerImageReference: image.reference,
    dockerImageMetadata: dockerImageOf(image, manifest),
    dockerImageMetadataVersion: '1.0',
    dockerImageLayers: manifest.isIndex
      ? null
      : layersOf(manifest).map(({ digest, size, mediaType }) => ({ name: digest, size, mediaType })),
    ...(image.signatures !== undefined && image.signatures.length > 0 && { signatures: image.signatures }),
    dockerImageManifestMediaType: image.mediaType,
    ...(withConfig && image.config !== undefined && { dockerImageConfig: image.config }),
    ...(manifest.isIndex && { dockerImageManifests: manifestEntries(image.bytes, manifest) }),
  };
}

/**
 * image.openshift.io/1.0 DockerImage: what the config of an image says in Docker's words, without what is empty. An index
 * has the time it came here when nothing says when it was made; anything else then has none.
 *
 * @param manifest the image's own, parsed
 */
export function dockerImageOf(
  image: Pick<StoredImage, 'digest' | 'config' | 'createdAt'>,
  manifest: ParsedManifest,
): DockerImage {
  const config = readImageConfig(image.config);
  const created = createdOf(config, manifest) ?? (manifest.isIndex ? image.createdAt : undefined);
  return {
    kind: 'DockerImage',
    apiVersion: 'image.openshift.io/1.0',
    Id: configOf(manifest)?.digest ?? image.digest,
    ...present({ Parent: config.parent, Comment: config.comment }),
    Created: created === undefined ? null : timestamp(created),
    ...present({
      Container: config.container,
      ContainerConfig: dockerConfigOf(config.container_config),
      DockerVersion: config.docker_version,
      Author: config.author,
      Config: dockerConfigOf(config.config),
      Architecture: config.architecture,
    }),
    Size: totalSize(manifest),
  };
}

/** A layer of an image, with the command that made it. */
export interface CommandedLayer {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly mediaType: string;
  /** As the build tool wrote it down (OCI Image Configuration, `history[].created_by`). */
  readonly createdBy?: string;
}

/**
 * The layers of an image, base first. They have commands only when the history has as many steps with a layer as there
 * are layers: otherwise nobody can tell which step made which.
 *
 * @param bytes of a manifest that was checked when it was pushed; an index has no layers
 * @param config its text; undefined when it is not that of an image
 */
export function layersWithCommands(bytes: Buffer, config: string | undefined): readonly CommandedLayer[] {
  const layers = layersOf(parseManifest(bytes, undefined));
  const steps = readImageConfig(config).history?.filter((step) => !step.isEmptyLayer) ?? [];
  const isComplete = steps.length === layers.length;
  return layers.map(({ digest, size, mediaType }, position) => ({
    digest,
    size,
    mediaType,
    ...(isComplete && present({ createdBy: steps[position]?.createdBy })),
  }));
}

/** Go has sets as maps from their members to empty structs. */
function dockerConfigOf(container: ContainerConfig | undefined): Readonly<Record<string, unknown>> | undefined {
  if (container === undefined) return undefined;
  const { ExposedPorts, Volumes } = container;
  return { ...container, ...present({ ExposedPorts: toSet(ExposedPorts), Volumes: toSet(Volumes) }) };
}

function toSet(names: readonly string[] | undefined): Readonly<Record<string, object>> | undefined {
  return names && Object.fromEntries(names.map((name) => [name, {}]));
}

/** Clients ask for words in `architecture` and `os`; `unknown` is what build tools write where there is no platform. */
function manifestEntries(bytes: Buffer, index: ParsedManifest): readonly ImageManifestEntry[] {
  return indexEntries(bytes, index).map(({ digest, mediaType, size, platform }) => ({
    digest,
    mediaType,
    manifestSize: size,
    ...(platform ?? { architecture: 'unknown', os: 'unknown' }),
  }));
}

function nonEmpty<T extends object>(value: T | undefined): T | undefined {
  return value !== undefined && Object.keys(value).length > 0 ? value : undefined;
}

/** Without the members that are undefined. */
function present<T extends object>(members: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, member]) => member !== undefined)) as {
    [Name in keyof T]?: Exclude<T[Name], undefined>;
  };
}
