import type { BlobStore, ByteRange, StoredBytes } from '../blobstore/blob-store.js';
import type { BlobRecords } from '../metadata/blob-records.js';
import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { RemoteBlobs } from './remote-blobs.js';

/** How many repositories an anonymous mount looks at before it gives up and lets the client upload. */
const maxMountSources = 1000;
const mountPageSize = 100;

/** A blob that can be read through a repository. */
export interface ReadableBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Where its bytes are; undefined when they are not here. */
  readonly location: string | undefined;
}

/** Finished blobs of repositories: OCI Distribution Spec end-2, end-10 and end-11. */
export class BlobService {
  readonly #store: BlobStore;
  readonly #records: BlobRecords;
  readonly #graceMs: number;
  readonly #now: () => Date;
  readonly #remote: RemoteBlobs | undefined;

  /**
   * @param graceMs how long a blob that nothing refers to is kept
   * @param remote what is asked for blobs that are not here; undefined: they are unknown
   */
  constructor(
    store: BlobStore,
    records: BlobRecords,
    graceMs: number,
    now: () => Date = () => new Date(),
    remote?: RemoteBlobs,
  ) {
    this.#store = store;
    this.#records = records;
    this.#graceMs = graceMs;
    this.#now = now;
    this.#remote = remote;
  }

  /**
   * @throws {OciError} BLOB_UNKNOWN when the repository neither links the blob nor has an image from elsewhere that refers to
   *   it; as `RemoteBlobs.stat`
   */
  async get(repository: RepositoryName, digest: Digest): Promise<ReadableBlob> {
    const blob = await this.#records.findLinkedBlob(repository, digest);
    if (blob === undefined) {
      const size = await this.#remote?.stat(repository, digest);
      if (size === undefined) throw blobUnknown(repository, digest);
      return { digest, size, location: undefined };
    }
    // Somebody who checks for a blob is about to push a manifest that needs it.
    if (blob.collectAt !== undefined && blob.collectAt.getTime() - this.#now().getTime() < this.#graceMs / 2) {
      // Who only pulls must get the blob even when nothing can be written; who pushes is told by the push.
      await this.#records.postponeCollection(repository, digest, this.#collectAt()).catch(() => undefined);
    }
    return blob;
  }

  /** @throws {OciError} BLOB_UNKNOWN when the bytes are neither where they should be nor elsewhere; as `RemoteBlobs.open` */
  async open(repository: RepositoryName, blob: ReadableBlob, range?: ByteRange): Promise<StoredBytes> {
    const local = await this.#openHere(repository, blob, range);
    const bytes = local ?? (await this.#remote?.open(repository, blob.digest, range));
    if (bytes === undefined) throw blobUnknown(repository, blob.digest);
    return bytes;
  }

  async #openHere(
    repository: RepositoryName,
    { digest, location }: ReadableBlob,
    range: ByteRange | undefined,
  ): Promise<StoredBytes | undefined> {
    if (location === undefined) return undefined;
    const bytes = await this.#store.open(location, range);
    if (bytes !== undefined) return bytes;
    // They may have been moved since the record was read.
    const current = await this.#records.findLinkedBlob(repository, digest);
    return current === undefined || current.location === location
      ? undefined
      : this.#store.open(current.location, range);
  }

  /**
   * Looks for a repository that a blob may be mounted from. Knowing a digest is no right to its bytes.
   *
   * @param from undefined: any repository will do
   * @param mayPull whether the caller may pull from a repository
   */
  async findMountSource(
    digest: Digest,
    from: RepositoryName | undefined,
    mayPull: (repository: RepositoryName) => Promise<boolean>,
  ): Promise<RepositoryName | undefined> {
    if (from === undefined) return this.#findAnySource(digest, mayPull);
    if (!(await mayPull(from))) return undefined;
    return (await this.#records.findLinkedBlob(from, digest)) === undefined ? undefined : from;
  }

  async #findAnySource(
    digest: Digest,
    mayPull: (repository: RepositoryName) => Promise<boolean>,
  ): Promise<RepositoryName | undefined> {
    let last: RepositoryName | undefined;
    for (let seen = 0; seen < maxMountSources; seen += mountPageSize) {
      const sources = await this.#records.listRepositoriesWithBlob(digest, { last, limit: mountPageSize });
      for (const source of sources) if (await mayPull(source)) return source;
      if (sources.length < mountPageSize) return undefined;
      last = sources.at(-1);
    }
    return undefined;
  }

  /** Links a blob without a byte being sent. @returns false when it has gone meanwhile */
  async mount(repository: RepositoryName, digest: Digest): Promise<boolean> {
    return (await this.#records.linkBlob(repository, digest, this.#collectAt())) !== undefined;
  }

  /**
   * @throws {OciError} BLOB_UNKNOWN when the repository does not link the blob; DENIED when an image of the
   * repository needs it
   */
  async delete(repository: RepositoryName, digest: Digest): Promise<void> {
    const result = await this.#records.unlinkBlob(repository, digest);
    switch (result.kind) {
      case 'unlinked':
        return;
      case 'absent':
        throw blobUnknown(repository, digest);
      case 'referenced':
        throw new OciError(
          'DENIED',
          { digest, referencedBy: result.by, reason: 'an image of this repository needs the blob; delete that first' },
          { status: 405, headers: { Allow: 'GET, HEAD' } },
        );
    }
  }

  /**
   * Removes a blob from all repositories, and its bytes; nothing happens when it is not there.
   *
   * @throws {OciError} UNSUPPORTED while an image of any repository refers to it
   */
  async deleteEverywhere(digest: Digest): Promise<void> {
    const result = await this.#records.unlinkEverywhere(digest);
    if (result.kind !== 'referenced') return;
    throw new OciError(
      'UNSUPPORTED',
      { digest, referencedBy: result.by, reason: 'an image needs the blob; delete that first' },
      // RFC 9110, section 15.5.6: a 405 says what is allowed, which is nothing.
      { headers: { Allow: '' } },
    );
  }

  #collectAt(): Date {
    return new Date(this.#now().getTime() + this.#graceMs);
  }
}

function blobUnknown(repository: RepositoryName, digest: Digest): OciError {
  return new OciError('BLOB_UNKNOWN', { repository, digest });
}
