import { Writable } from 'node:stream';
import type { BlobStore } from '../blobstore/blob-store.js';
import type { BlobRecords } from '../metadata/blob-records.js';
import { maxConfigSize } from '../oci/image-config.js';
import type { ParsedManifest } from '../oci/manifest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** Reads the configs of images, out of which people are told what an image is. */
export class ConfigReader {
  readonly #blobs: BlobRecords;
  readonly #store: BlobStore;

  constructor(blobs: BlobRecords, store: BlobStore) {
    this.#blobs = blobs;
    this.#store = store;
  }

  /** @returns undefined when there is none, when the repository lacks it, or when it is too large to be one */
  async read(repository: RepositoryName, { references }: ParsedManifest): Promise<Buffer | undefined> {
    const config = references.find(({ role }) => role === 'config');
    if (config === undefined) return undefined;
    const blob = await this.#blobs.findLinkedBlob(repository, config.digest);
    if (blob === undefined || blob.size > maxConfigSize) return undefined;
    const bytes = await this.#store.open(blob.location);
    if (bytes === undefined) return undefined;
    const chunks: Buffer[] = [];
    // What is passed on may be used again for the next bytes.
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        chunks.push(Buffer.from(chunk));
        done();
      },
    });
    await bytes.copyTo(sink);
    return Buffer.concat(chunks);
  }
}
