import fs from 'node:fs';
import path from 'node:path';
import { digestOf, makeBlob } from './blobs.js';

/** One image as files of a folder: each blob, and the manifest, by its digest. */
export interface ColdImage {
  readonly folder: string;
  /** Of the manifest, of the config, and of the layers. */
  readonly manifest: ColdContent;
  readonly config: ColdContent;
  readonly layers: readonly ColdContent[];
}

/** Bytes by their digest. */
export interface ColdContent {
  readonly digest: string;
  readonly size: number;
}

/** Media type of the manifest. */
export const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** Makes an image of random layers. @param layerSize bytes of each */
export function makeImage(folder: string, layerCount: number, layerSize: number): ColdImage {
  fs.mkdirSync(folder, { recursive: true });
  const layers = Array.from({ length: layerCount }, () => {
    const blob = makeBlob(layerSize);
    const { digest, size } = blob;
    const file = fs.openSync(fileOf(folder, digest), 'w');
    for (const chunk of blob.chunks()) fs.writeSync(file, chunk);
    fs.closeSync(file);
    return { digest, size };
  });
  const config = write(folder, { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } });
  const manifest = write(folder, {
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer })),
  });
  return { folder, manifest, config, layers };
}

/** All of an image's contents, into memory. */
export function readImage({ folder, manifest, config, layers }: ColdImage): ReadonlyMap<string, Buffer> {
  return new Map([manifest, config, ...layers].map(({ digest }) => [digest, fs.readFileSync(fileOf(folder, digest))]));
}

function write(folder: string, content: object): ColdContent {
  const bytes = Buffer.from(JSON.stringify(content));
  const digest = digestOf(bytes);
  fs.writeFileSync(fileOf(folder, digest), bytes);
  return { digest, size: bytes.length };
}

function fileOf(folder: string, digest: string): string {
  return path.join(folder, digest.replace(':', '-'));
}
