import { randomBytes } from 'node:crypto';
import type { BlobStore } from '../blobstore/blob-store.js';
import type { BlobRecord, BlobRecords } from '../metadata/blob-records.js';
import type { UploadRecords } from '../metadata/upload-records.js';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.js';
import type { ManifestReference } from '../oci/manifest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { DistributionStorage, StoredContent } from './distribution-storage.js';
import type { FileDigests } from './file-digests.js';
import type { ImportTally } from './import-tally.js';
import type { WriteRoom } from './write-room.js';

/** Why something cannot be taken. */
export interface Obstacle {
  readonly why: string;
  /** It is simply not in the storage, as policy may allow; otherwise something is wrong with it. */
  readonly isAbsent: boolean;
}

/** What the blobs of a storage are taken with. */
export interface StorageBlobsOptions {
  readonly storage: DistributionStorage;
  readonly digests: FileDigests;
  readonly store: BlobStore;
  readonly blobs: Pick<BlobRecords, 'linkBlob' | 'addBlob' | 'relocateBlob' | 'listRepositoriesWithBlob'>;
  readonly uploads: Pick<UploadRecords, 'addUpload' | 'removeUpload'>;
  /** Who the short upload sessions belong to, which account for bytes that have no row yet. */
  readonly principal: string;
  /** How long a blob that nothing refers to is kept. */
  readonly graceMs: number;
  readonly now: () => Date;
  /** False: copy in any case. */
  readonly mayShare: boolean;
  readonly tally: ImportTally;
  readonly room: WriteRoom;
}

/** Configs and layers of a storage on their way into the registry, each read once. */
export class StorageBlobs {
  readonly #options: StorageBlobsOptions;
  /** What came of hashing a blob. */
  readonly #checks = new Map<Digest, Promise<Obstacle | undefined>>();
  readonly #adoptions = new Map<Digest, Promise<Obstacle | undefined>>();

  constructor(options: StorageBlobsOptions) {
    this.#options = options;
  }

  /**
   * Looks whether a repository of the storage has the blob, and whether its bytes are what it is called. What the registry
   * has already is not read again.
   *
   * @returns undefined when all is well
   */
  async check(repository: string, { digest, size }: ManifestReference): Promise<Obstacle | undefined> {
    const content = await this.#options.storage.findLayer(repository, digest);
    if (content === undefined) return { why: `${digest} is not there`, isAbsent: true };
    if (content.size !== size) {
      return { why: `${digest} has ${content.size} bytes, and ${size} by its descriptor`, isAbsent: false };
    }
    const { blobs } = this.#options;
    const known = await blobs.listRepositoriesWithBlob(digest, { last: undefined, limit: 1 });
    return known.length > 0 ? undefined : this.#checkBytes(digest, content);
  }

  #checkBytes(digest: Digest, content: StoredContent): Promise<Obstacle | undefined> {
    const check = this.#checks.get(digest) ?? this.#hash(digest, content);
    this.#checks.set(digest, check);
    return check;
  }

  async #hash(digest: Digest, { path }: StoredContent): Promise<Obstacle | undefined> {
    let why;
    try {
      const actual = await this.#options.digests.of(path, digest);
      if (actual === digest) return undefined;
      why = `its bytes are those of ${actual}`;
    } catch (error) {
      why = `it cannot be read: ${(error as Error).message}`;
    }
    this.#options.tally.leaveOut({ kind: 'blob', digest, why });
    return { why: `${digest} is damaged`, isAbsent: false };
  }

  /**
   * Links a blob that was checked into a repository of the registry, and takes over its bytes where they are not there yet.
   * They are durable before the promise resolves.
   *
   * @returns undefined when it is done
   */
  async provide(from: string, to: RepositoryName, digest: Digest): Promise<Obstacle | undefined> {
    const running = this.#adoptions.get(digest);
    if (running !== undefined) {
      const obstacle = await running;
      // It may have gone again meanwhile, which takes somebody who deletes it.
      if (obstacle !== undefined || (await this.#link(to, digest)) !== undefined) return obstacle;
    }
    const adoption = this.#provide(from, to, digest).finally(() => {
      this.#adoptions.delete(digest);
    });
    this.#adoptions.set(digest, adoption);
    return adoption;
  }

  async #provide(from: string, to: RepositoryName, digest: Digest): Promise<Obstacle | undefined> {
    const { storage, store, tally } = this.#options;
    const known = await this.#link(to, digest);
    if (known !== undefined && (await store.size(known.location)) === known.size) {
      tally.blob(known, 'there');
      return undefined;
    }
    const changed = { why: `${digest} has changed since it was looked at`, isAbsent: false };
    const content = await storage.findLayer(from, digest);
    if (content === undefined) return changed;
    // Done already, unless the registry had the blob and has lost it.
    const damage = await this.#checkBytes(digest, content);
    if (damage !== undefined) return damage;
    return (await this.#adopt(to, digest, content, known)) ? undefined : changed;
  }

  /** @returns false when the file is another one than that which was checked */
  async #adopt(
    to: RepositoryName,
    digest: Digest,
    { path, size }: StoredContent,
    known: BlobRecord | undefined,
  ): Promise<boolean> {
    const { blobs, mayShare, room, store, tally } = this.#options;
    const id = await this.#begin(to, digest);
    const adopted = await store.adopt(id, path, mayShare).catch(async (error: unknown) => {
      await this.#discard(id);
      throw error;
    });
    if (adopted?.size !== size) {
      await this.#discard(id);
      return false;
    }
    const { location, isShared } = adopted;
    if (known === undefined) {
      const collectAt = this.#collectAt();
      const kept = await room.write(() => blobs.addBlob(to, { digest, size, location }, id, collectAt));
      if (kept.location !== location) {
        // Somebody has pushed it meanwhile.
        await this.#discard(id);
        tally.blob(kept, 'there');
        return true;
      }
    } else {
      // The row was there and its bytes were not: these heal it.
      await room.write(() => blobs.relocateBlob(digest, location, id));
    }
    tally.blob({ digest, size }, isShared ? 'linked' : 'copied');
    return true;
  }

  /** A session that accounts for bytes until their blob has a row: should we be killed, they are collected by it. */
  async #begin(repository: RepositoryName, digest: Digest): Promise<string> {
    const id = randomBytes(20).toString('hex');
    const { principal, room, uploads } = this.#options;
    const algorithm = digestAlgorithm(digest);
    const nothing = { size: 0, digestSoFar: digestOf('', algorithm), state: undefined, hashState: undefined };
    await room.write(() => uploads.addUpload({ id, repository, principal, algorithm, ...nothing }));
    return id;
  }

  async #discard(id: string): Promise<void> {
    const { room, store, uploads } = this.#options;
    await store.discardUpload({ id, state: undefined });
    await room.write(() => uploads.removeUpload(id));
  }

  #link(to: RepositoryName, digest: Digest): Promise<BlobRecord | undefined> {
    const { blobs, room } = this.#options;
    return room.write(() => blobs.linkBlob(to, digest, this.#collectAt()));
  }

  #collectAt(): Date {
    return new Date(this.#options.now().getTime() + this.#options.graceMs);
  }
}
