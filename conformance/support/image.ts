import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { tar } from './tar.js';

/** A descriptor as on the wire (OCI Image Spec, "Content Descriptors"). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

/** The fields that lead from a manifest to other content, of an image manifest or of an index. */
export interface Manifest {
  readonly mediaType?: string;
  readonly artifactType?: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest with all it refers to, byte for byte. Two of them are equal when nothing was changed on the way. */
export interface Image {
  /** Of the manifest at the top. */
  readonly descriptor: Descriptor;
  /** Manifests by digest, the one at the top included. */
  readonly manifests: ReadonlyMap<string, Buffer>;
  /** Config and layers by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

export const mediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

/** Files of random bytes under names that tell them apart: no two images share a layer. */
export function randomFiles(count: number, size = 100_000): Map<string, Buffer> {
  return new Map(Array.from({ length: count }, (_, number) => [`file-${number}`, randomBytes(size)]));
}

/** An image for one platform, with one layer for each of the files. */
export function buildImage(files: ReadonlyMap<string, Buffer>, architecture = 'amd64'): Image {
  const archives = [...files].map((file) => tar(new Map([file])));
  const layers = archives.map((archive) => gzipSync(archive));
  const config = jsonBytes({
    os: 'linux',
    architecture,
    config: { Cmd: ['/none'] },
    rootfs: { type: 'layers', diff_ids: archives.map(digestOf) },
    history: archives.map((_, number) => ({ created: '2026-01-01T00:00:00Z', created_by: `layer ${number}` })),
  });
  const manifest = jsonBytes({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describeBytes(config, mediaTypes.config),
    layers: layers.map((layer) => describeBytes(layer, mediaTypes.layer)),
  });
  const descriptor = { ...describeBytes(manifest, mediaTypes.manifest), platform: { os: 'linux', architecture } };
  return {
    descriptor,
    manifests: new Map([[descriptor.digest, manifest]]),
    blobs: new Map([config, ...layers].map((blob) => [digestOf(blob), blob])),
  };
}

/** An index of images for different platforms. */
export function buildIndex(images: readonly Image[]): Image {
  const index = jsonBytes({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: images.map((image) => image.descriptor),
  });
  const descriptor = describeBytes(index, mediaTypes.index);
  return {
    descriptor,
    manifests: new Map([[descriptor.digest, index], ...images.flatMap((image) => [...image.manifests])]),
    blobs: new Map(images.flatMap((image) => [...image.blobs])),
  };
}

/** Gathers an image from wherever its content is, and checks each piece against its digest. */
export async function readImage(
  descriptor: Descriptor,
  readManifest: (descriptor: Descriptor) => Promise<Buffer>,
  readBlob: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<Image> {
  const manifests = new Map<string, Buffer>();
  const blobs = new Map<string, Buffer>();
  const visit = async (current: Descriptor): Promise<void> => {
    const bytes = checked(current, await readManifest(current));
    manifests.set(current.digest, bytes);
    const manifest = parseManifest(bytes);
    for (const child of manifest.manifests ?? []) await visit(child);
    for (const blob of [...(manifest.config ? [manifest.config] : []), ...(manifest.layers ?? [])]) {
      blobs.set(blob.digest, checked(blob, await readBlob(blob)));
    }
  };
  await visit(descriptor);
  return { descriptor, manifests, blobs };
}

/** What two images must agree in to be the same, in a form whose differences read well. */
export function contentOf(image: Image): { digest: string; manifests: Record<string, string>; blobs: string[] } {
  return {
    digest: image.descriptor.digest,
    manifests: Object.fromEntries(
      [...image.manifests].map(([digest, bytes]) => [digest, bytes.toString('utf8')] as const),
    ),
    // Each was read whole and matches its digest, so equal digests are equal bytes.
    blobs: [...image.blobs.keys()].sort(),
  };
}

export function parseManifest(bytes: Buffer): Manifest {
  return JSON.parse(bytes.toString('utf8')) as Manifest;
}

export function describeBytes(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function checked(descriptor: Descriptor, bytes: Buffer): Buffer {
  const actual = describeBytes(bytes, descriptor.mediaType);
  if (actual.digest === descriptor.digest && actual.size === descriptor.size) return bytes;
  throw new Error(`${descriptor.digest} (${descriptor.size} bytes) reads as ${actual.digest} (${actual.size} bytes)`);
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
