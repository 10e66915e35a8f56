import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describeBytes, digestOf, mediaTypes, type Descriptor } from '../image.js';
import { tar } from '../tar.js';
import { sampleBytes } from './sample-image.js';

export interface SeedOptions {
  readonly repositories: number;
  readonly tagsPerRepository: number;
  /** How many different images the tags of a repository name, in turn; default 100, and no more than tags. */
  readonly imagesPerRepository?: number;
  /** Bytes of the one layer that the images of a repository share; default 1,000. */
  readonly layerSize?: number;
  /** What the names of the repositories begin with; default `seeded/app-`, as in `seeded/app-0001`. */
  readonly prefix?: string;
}

/** Digest of the image of each tag, by the name of the repository and by tag (`v00001`). */
export type SeededStorage = ReadonlyMap<string, ReadonlyMap<string, string>>;

/**
 * Writes images into the storage of a distribution registry (version 2 or 3) nearly as it would itself. A push of each would
 * take many times as long, and so would what is left out: the index of what each tag named before, which only garbage
 * collection reads. Some disks need a third of a millisecond for each folder and each file; a tag is three of them.
 *
 * @param folder the registry's root directory, as `storage` of a real registry, which need not be stopped
 */
export async function seedStorage(folder: string, options: SeedOptions): Promise<SeededStorage> {
  const { repositories, prefix = 'seeded/app-' } = options;
  const seeded = new Map<string, ReadonlyMap<string, string>>();
  for (let number = 1; number <= repositories; number += 1) {
    const name = prefix + padded(number, 4);
    seeded.set(name, seedRepository(folder, name, options));
    // The files are written without waiting; whatever else runs here gets its turn.
    await nextTurn();
  }
  return seeded;
}

function seedRepository(folder: string, name: string, options: SeedOptions): Map<string, string> {
  const { tagsPerRepository, imagesPerRepository = 100, layerSize = 1000 } = options;
  const registry = path.join(folder, 'docker', 'registry', 'v2');
  const repository = path.join(registry, 'repositories', name);
  const addBlob = (bytes: Buffer, mediaType: string): Descriptor => {
    const descriptor = describeBytes(bytes, mediaType);
    const [algorithm, hex] = descriptor.digest.split(':') as [string, string];
    write([registry, 'blobs', algorithm, hex.slice(0, 2), hex, 'data'], bytes);
    return descriptor;
  };
  const addLayer = (bytes: Buffer, mediaType: string): Descriptor => {
    const descriptor = addBlob(bytes, mediaType);
    write([repository, '_layers', ...descriptor.digest.split(':'), 'link'], descriptor.digest);
    return descriptor;
  };

  const archive = tar(new Map([['content', sampleBytes(name, layerSize)]]));
  const layer = addLayer(gzipSync(archive), mediaTypes.layer);
  const images = Array.from({ length: Math.min(imagesPerRepository, tagsPerRepository) }, (_, number) => {
    const config = addLayer(configOf(`${name}#${number}`, digestOf(archive)), mediaTypes.config);
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] };
    const { digest } = addBlob(Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest);
    write([repository, '_manifests', 'revisions', ...digest.split(':'), 'link'], digest);
    return digest;
  });
  const tags = Array.from({ length: tagsPerRepository }, (_, number) => {
    const tag = `v${padded(number + 1, 5)}`;
    const digest = images[number % images.length]!;
    write([repository, '_manifests', 'tags', tag, 'current', 'link'], digest);
    return [tag, digest] as const;
  });
  return new Map(tags);
}

function configOf(image: string, diffId: string): Buffer {
  return Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      created: '2026-01-01T00:00:00Z',
      config: { Cmd: ['/none'], Labels: { image } },
      rootfs: { type: 'layers', diff_ids: [diffId] },
    }),
  );
}

function write(parts: readonly string[], content: string | Buffer): void {
  const file = path.join(...parts);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
}

function padded(number: number, width: number): string {
  return String(number).padStart(width, '0');
}
