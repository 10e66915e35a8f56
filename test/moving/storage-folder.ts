import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { content, imageManifest, type Content, type Manifest } from '../support/images.js';
import { temporaryFolder } from '../support/temporary-folder.js';

/** An image of a storage folder, with what it is made of. */
export interface StoredImage extends Manifest {
  readonly config: Content;
  readonly layer: Content;
}

/** The storage folder of a registry of Distribution, written as that would write it; it goes after the test. */
export class StorageFolder {
  /** What the registry is configured with. */
  readonly root: string;
  readonly #registry: string;

  private constructor(root: string) {
    this.root = root;
    this.#registry = join(root, 'docker', 'registry', 'v2');
  }

  static async make(): Promise<StorageFolder> {
    const folder = new StorageFolder(await temporaryFolder());
    await mkdir(folder.path('repositories'), { recursive: true });
    return folder;
  }

  path(...parts: readonly string[]): string {
    return join(this.#registry, ...parts);
  }

  /** Where the bytes of a digest are. */
  data({ digest }: { readonly digest: string }): string {
    const [algorithm, hex] = digest.split(':') as [string, string];
    return this.path('blobs', algorithm, hex.slice(0, 2), hex, 'data');
  }

  layerLink(repository: string, { digest }: { readonly digest: string }): string {
    return this.path('repositories', repository, '_layers', ...digest.split(':'), 'link');
  }

  revisionLink(repository: string, { digest }: { readonly digest: string }): string {
    return this.path('repositories', repository, '_manifests', 'revisions', ...digest.split(':'), 'link');
  }

  tagLink(repository: string, tag: string): string {
    return this.path('repositories', repository, '_manifests', 'tags', tag, 'current', 'link');
  }

  /** A config or a layer. */
  async addLayer<T extends Content>(repository: string, blob: T): Promise<T> {
    await write(this.data(blob), blob.bytes);
    await write(this.layerLink(repository, blob), blob.digest);
    return blob;
  }

  async addManifest<T extends Content>(repository: string, manifest: T, ...tags: readonly string[]): Promise<T> {
    await write(this.data(manifest), manifest.bytes);
    await write(this.revisionLink(repository, manifest), manifest.digest);
    for (const tag of tags) {
      const folder = this.path('repositories', repository, '_manifests', 'tags', tag);
      await write(join(folder, 'index', ...manifest.digest.split(':'), 'link'), manifest.digest);
      await write(this.tagLink(repository, tag), manifest.digest);
    }
    return manifest;
  }

  /** @param name tells images apart: two of the same name are the same bytes */
  async addImage(repository: string, name: string, ...tags: readonly string[]): Promise<StoredImage> {
    const config = content(JSON.stringify({ architecture: 'amd64', os: 'linux', name }));
    const layer = content(`layer of ${name}`);
    for (const blob of [config, layer]) await this.addLayer(repository, blob);
    const manifest = await this.addManifest(repository, imageManifest(config, [layer]), ...tags);
    return { ...manifest, config, layer };
  }

  /** Writes something else where the bytes of a digest are. */
  async damage(blob: { readonly digest: string }, bytes: string): Promise<void> {
    // A new file: the old one may have other names.
    await rm(this.data(blob));
    await writeFile(this.data(blob), bytes);
  }
}

async function write(path: string, bytes: string | Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}
