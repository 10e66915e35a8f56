import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDigest, type Digest } from '../oci/digest.js';

/** A folder that no registry kept its content in. */
export class NoStorageError extends Error {
  override readonly name = 'NoStorageError';
}

/** Bytes of the storage. */
export interface StoredContent {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** A tag as the storage has it. */
export interface StoredTag {
  readonly name: string;
  /** Undefined when it points nowhere: a crash may have left its file empty. */
  readonly digest: Digest | undefined;
}

/** Where the file system driver begins, below the root it was configured with. */
const below = join('docker', 'registry', 'v2');

/** Files read at once. */
const batchSize = 64;

/**
 * The storage folder of a registry of the CNCF project Distribution (the image `registry:2` or `registry:3`, Debian's
 * `docker-registry`) with the driver `filesystem`, read only:
 *
 *     blobs/<algorithm>/<xx>/<hex>/data                                         bytes of a manifest, a config or a layer
 *     repositories/<name>/_layers/<algorithm>/<hex>/link                        a blob that the repository links
 *     repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link           a manifest that the repository links
 *     repositories/<name>/_manifests/tags/<tag>/current/link                    where a tag is
 *
 * A link is the digest under which the bytes are kept. It differs from the one in its path only when somebody pushed by
 * another algorithm than sha256.
 */
export class DistributionStorage {
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /**
   * @param folder the root that the driver was configured with, or the folder `docker/registry/v2` inside of it
   * @throws {NoStorageError} when it is neither
   */
  static async open(folder: string): Promise<DistributionStorage> {
    for (const root of [join(folder, below), folder]) {
      if (await isFolder(join(root, 'repositories'))) return new DistributionStorage(root);
    }
    throw new NoStorageError(
      `${folder} has neither ${below} with a folder "repositories" in it, nor that folder itself`,
    );
  }

  /** Names of the repositories, in order of the components of their names. */
  async *repositories(): AsyncIterable<string> {
    yield* this.#repositoriesIn('');
  }

  async *#repositoriesIn(name: string): AsyncIterable<string> {
    const folders = await listFolders(this.#repository(name));
    if (folders.includes('_manifests')) yield name;
    // Components of names do not begin with _, which is what tells the folders of a repository itself.
    for (const folder of folders.filter((entry) => !entry.startsWith('_')).sort()) {
      yield* this.#repositoriesIn(name === '' ? folder : `${name}/${folder}`);
    }
  }

  /** The manifests that a repository links: those of its tags, earlier ones of its tags, and those without a tag. */
  async revisions(repository: string): Promise<readonly Digest[]> {
    const folder = this.#repository(repository, '_manifests', 'revisions');
    const digests: Digest[] = [];
    for (const algorithm of await listFolders(folder)) {
      // What was deleted may have left its folder, without a link.
      const linked = await inBatches(await listFolders(join(folder, algorithm)), async (hex) =>
        (await isFile(join(folder, algorithm, hex, 'link'))) ? `${algorithm}:${hex}` : '',
      );
      for (const digest of linked) if (isDigest(digest)) digests.push(digest);
    }
    return digests;
  }

  async tags(repository: string): Promise<readonly StoredTag[]> {
    const folder = this.#repository(repository, '_manifests', 'tags');
    return inBatches((await listFolders(folder)).sort(), async (name) => ({
      name,
      digest: await readLink(join(folder, name, 'current', 'link')),
    }));
  }

  /** The bytes of a manifest that the repository links; undefined when they are gone. */
  async findManifest(repository: string, digest: Digest): Promise<StoredContent | undefined> {
    return this.#find(this.#repository(repository, '_manifests', 'revisions'), digest);
  }

  /** The bytes of a config or a layer; undefined when the repository does not link them, or when they are gone. */
  async findLayer(repository: string, digest: Digest): Promise<StoredContent | undefined> {
    return this.#find(this.#repository(repository, '_layers'), digest);
  }

  async #find(links: string, digest: Digest): Promise<StoredContent | undefined> {
    const [algorithm, hex] = digest.split(':') as [string, string];
    const link = join(links, algorithm, hex, 'link');
    const kept = algorithm === 'sha256' ? (await isFile(link)) && digest : await readLink(link);
    return kept ? this.#content(kept) : undefined;
  }

  async #content(digest: Digest): Promise<StoredContent | undefined> {
    const [algorithm, hex] = digest.split(':') as [string, string];
    const path = join(this.#root, 'blobs', algorithm, hex.slice(0, 2), hex, 'data');
    const found = await whenThere(lstat(path));
    return found?.isFile() === true ? { path, size: found.size } : undefined;
  }

  #repository(name: string, ...parts: readonly string[]): string {
    return join(this.#root, 'repositories', name, ...parts);
  }
}

async function inBatches<T>(names: readonly string[], read: (name: string) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let start = 0; start < names.length; start += batchSize) {
    results.push(...(await Promise.all(names.slice(start, start + batchSize).map(read))));
  }
  return results;
}

async function readLink(path: string): Promise<Digest | undefined> {
  const text = (await whenThere(readFile(path, 'utf8')))?.trim() ?? '';
  return isDigest(text) ? text : undefined;
}

/** None when the folder is not there. */
async function listFolders(path: string): Promise<string[]> {
  const entries = (await whenThere(readdir(path, { withFileTypes: true }))) ?? [];
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

async function isFolder(path: string): Promise<boolean> {
  return (await whenThere(stat(path)))?.isDirectory() === true;
}

async function isFile(path: string): Promise<boolean> {
  return (await whenThere(stat(path)))?.isFile() === true;
}

/** What an operation on a file or folder comes to, or `undefined` when it is not there. */
async function whenThere<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) {
      return undefined;
    }
    throw error;
  }
}
