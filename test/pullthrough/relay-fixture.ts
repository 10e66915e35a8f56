import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { FilesystemBlobStore } from '../../src/blobstore/filesystem.js';
import type { StoredBytes } from '../../src/blobstore/blob-store.js';
import { BlobService } from '../../src/distribution/blobs.js';
import { UploadService } from '../../src/distribution/uploads.js';
import { KyselyBlobRecords } from '../../src/metadata/kysely-blob-records.js';
import { KyselyImageSources } from '../../src/metadata/kysely-image-sources.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { summarizeImage } from '../../src/oci/image-config.js';
import { parseManifest } from '../../src/oci/manifest.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { BlobRelay, type BlobRelayOptions } from '../../src/pullthrough/blob-relay.js';
import type { FetchReport } from '../../src/pullthrough/blob-receiver.js';
import { imageManifest, type Content } from '../support/images.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { FakeUpstream } from './blob-registries.js';

export const app = parseRepositoryName('team/app');
export const stranger = parseRepositoryName('other/app');
/** Where images of `importImage` come from. */
export const place = 'quay.io/team/app';

const hourMs = 3600_000;

/** Bytes that no other test has, and that no reader can make up. */
export function bytesOf(size: number): Buffer {
  return randomBytes(size);
}

export function contentOf(bytes: Buffer): Content {
  return { bytes, digest: digestOf(bytes) };
}

/** How an image was imported. */
export interface ImportOptions {
  readonly repository?: RepositoryName;
  readonly tag?: string;
  /** Undefined: `place`. */
  readonly from?: string;
  /** Undefined: the tag has no spec. */
  readonly policy?: 'Local' | 'Source';
  readonly isInsecure?: boolean;
  readonly config?: Content;
}

/** A database, a folder and registries elsewhere; a service over them can be made again and again. */
export async function relayFixture() {
  const folder = await temporaryFolder();
  const db = await addProjects(await openSqlite(join(folder, 'weir.sqlite')), ['team', 'other']);
  const store = await FilesystemBlobStore.open(join(folder, 'data'));
  const relays: BlobRelay[] = [];
  onTestFinished(async () => {
    for (const relay of relays) await relay.close();
    await store.close();
    await db.destroy();
  });
  const upstream = new FakeUpstream();
  const streams = new KyselyStreamStore(db);
  const records = new KyselyBlobRecords(db);
  const uploadRecords = new KyselyUploadRecords(db);
  const reports: FetchReport[] = [];

  function uploadService(now: () => Date = () => new Date()): UploadService {
    return new UploadService({
      store,
      uploads: new KyselyUploadRecords(db, now),
      blobs: records,
      graceMs: hourMs,
      expireMs: hourMs,
      now,
    });
  }

  /** What one process has. */
  function start(options: Partial<BlobRelayOptions> = {}) {
    const relay = new BlobRelay({
      upstream,
      sources: new KyselyImageSources(db),
      store,
      blobs: records,
      uploads: uploadService(),
      accessOf: (_project, isInsecure) => Promise.resolve({ credentials: () => undefined, isInsecure }),
      isOwn: (registry) => registry === 'weir.example',
      mayKeep: () => Promise.resolve(true),
      keep: true,
      keepSource: false,
      lingerMs: 20,
      onFetch: (report) => reports.push(report),
      ...options,
    });
    relays.push(relay);
    return { relay, blobs: new BlobService(store, records, hourMs, undefined, relay) };
  }

  /** Stores what an import stores: a manifest, and where it came from. */
  async function importImage(layers: readonly Content[], options: ImportOptions = {}): Promise<Digest> {
    const { repository = app, tag = 'v1', from = place, policy = 'Local', isInsecure = false } = options;
    const { bytes } = imageManifest(options.config ?? contentOf(Buffer.from('{}')), layers);
    const manifest = parseManifest(bytes, undefined);
    const digest = digestOf(bytes);
    const spec = { referencePolicy: { type: policy }, importPolicy: { insecure: isInsecure } };
    await streams.edit(async (edit) => {
      const { generation } =
        (await edit.findStream(repository)) ?? (await edit.createStream(repository, { metadata: {}, spec: {} }));
      await edit.addImage(repository, { digest, bytes, manifest, summary: summarizeImage(bytes, manifest, undefined) });
      await edit.putSpecTag(repository, tag, { generation, body: spec, scheduled: false });
      await edit.addEvent(repository, tag, {
        image: digest,
        generation,
        cause: 'import',
        actor: { name: 'system:imports', kind: 'system' },
        reference: `${from}@${digest}`,
      });
    });
    return digest;
  }

  /** As somebody who pulls: whether there is one, and then its bytes. */
  async function pull(blobs: BlobService, digest: Digest, repository = app): Promise<Buffer> {
    const blob = await blobs.get(repository, digest);
    return read(await blobs.open(repository, blob));
  }

  return { db, store, upstream, streams, records, uploadRecords, reports, uploadService, start, importImage, pull };
}

/** A sink that keeps what it gets. */
export class Collector extends Writable {
  readonly chunks: Buffer[] = [];
  /** It takes nothing before this resolves. */
  readonly #ready: Promise<void>;
  #size = 0;
  readonly #waiting: { readonly size: number; readonly resolve: () => void }[] = [];

  constructor(ready: Promise<void> = Promise.resolve()) {
    super();
    this.#ready = ready;
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** Resolves when it has so many bytes. */
  async has(size: number): Promise<void> {
    if (this.#size >= size) return;
    await new Promise<void>((resolve) => this.#waiting.push({ size, resolve }));
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    // What is passed on may be used again for the next bytes.
    this.chunks.push(Buffer.from(chunk));
    this.#size += chunk.length;
    for (const { size, resolve } of this.#waiting) if (this.#size >= size) resolve();
    void this.#ready.then(() => {
      done();
    });
  }
}

export async function read(bytes: StoredBytes): Promise<Buffer> {
  const sink = new Collector();
  await bytes.copyTo(sink);
  return sink.bytes;
}
