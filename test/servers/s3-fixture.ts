import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { AppendOptions, AppendResult, StoredBytes, UploadProgress } from '../../src/blobstore/blob-store.js';
import { S3BlobStore } from '../../src/blobstore/s3.js';
import type { S3Options } from '../../src/blobstore/s3-client.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import { startS3, type TestS3 } from '../support/s3.js';

export const MiB = 1024 * 1024;

/** Soon tried again, and often enough for what a test does. */
export const quickRetries = { attempts: 6, delayMs: 20, maxDelayMs: 200, deadlineMs: 30_000 };

/** An S3 server behind a fault proxy, and stores in one bucket of it, each as on a machine of its own. */
export interface S3Fixture {
  readonly server: TestS3;
  readonly proxy: FaultProxy;
  readonly bucket: string;
  /** Of the first store. */
  readonly scratchDir: string;
  readonly store: S3BlobStore;
  open(options?: Partial<S3Options>): Promise<S3BlobStore>;
}

/** Starts them before the tests of a file; before each, the proxy has no faults and no requests. */
export function s3Fixture(): S3Fixture {
  let server: TestS3;
  let proxy: FaultProxy;
  let bucket: string;
  let root: string;
  let store: S3BlobStore;
  const opened: S3BlobStore[] = [];

  async function open(options: Partial<S3Options> = {}): Promise<S3BlobStore> {
    const scratchDir = await mkdtemp(join(root, 'scratch-'));
    const { accessKeyId, secretAccessKey, region } = server;
    const given = { endpoint: proxy.endpoint, accessKeyId, secretAccessKey, region, bucket, scratchDir };
    const one = await S3BlobStore.open({ ...given, retries: quickRetries, ...options });
    opened.push(one);
    return one;
  }

  beforeAll(async () => {
    server = await startS3();
    proxy = await startFaultProxy(server.endpoint);
    bucket = await server.createBucket();
    root = await mkdtemp(join(tmpdir(), 'weir-test-'));
    store = await open({ scratchDir: join(root, 'scratch') });
  });
  beforeEach(() => {
    proxy.reset();
  });
  afterAll(async () => {
    proxy.reset();
    proxy.setOutage(false);
    for (const one of opened) await one.close();
    await proxy.stop();
    await server.stop();
    await rm(root, { recursive: true, force: true });
  });
  return {
    get server() {
      return server;
    },
    get proxy() {
      return proxy;
    },
    get bucket() {
      return bucket;
    },
    get scratchDir() {
      return join(root, 'scratch');
    },
    get store() {
      return store;
    },
    open,
  };
}

/** An upload as a session would remember it, with the hash of what counts. */
export class RememberedUpload {
  progress: UploadProgress;
  /** Numbers that `onCheckpoint` was given in the last append. */
  checkpoints: number[] = [];

  constructor(progress: UploadProgress = { id: randomBytes(20).toString('hex'), size: 0, state: undefined }) {
    this.progress = progress;
  }

  async append(
    store: S3BlobStore,
    source: Readable | Buffer,
    options: Partial<AppendOptions> = {},
  ): Promise<AppendResult> {
    this.checkpoints = [];
    const stream = Buffer.isBuffer(source) ? Readable.from(chunksOf(source, 64 * 1024)) : source;
    const result = await store.append(this.progress, stream, {
      observer: { update: () => undefined },
      onCheckpoint: (bytes) => this.checkpoints.push(bytes),
      ...options,
    });
    const { id, size } = this.progress;
    this.progress = { id, size: size + result.appendedBytes, state: result.state };
    return result;
  }

  /** @throws {Error} when the bytes are not there */
  async finish(store: S3BlobStore): Promise<string> {
    const location = await store.finish(this.progress);
    if (location === undefined) throw new Error('the bytes are not there');
    await store.settle(this.progress, location);
    return location;
  }
}

/** Bytes without a pattern that a mistake of a whole part's size would fit into; the same for the same size. */
export function someBytes(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let state = size + 1;
  for (let index = 0; index < size; index += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

export function* chunksOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

/** What was opened, as one buffer. */
export async function collect(bytes: StoredBytes | undefined): Promise<Buffer> {
  if (bytes === undefined) throw new Error('there is nothing');
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      chunks.push(Buffer.from(chunk));
      callback();
    },
  });
  await bytes.copyTo(sink);
  return Buffer.concat(chunks);
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
