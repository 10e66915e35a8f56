import { rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { S3BlobStore } from '../../src/blobstore/s3.js';
import { blobStoreContract } from '../contracts/blob-store.js';
import { startS3, type TestS3 } from '../support/s3.js';

let s3: TestS3;
let scratchDir: string;
const opened: S3BlobStore[] = [];

beforeAll(async () => {
  s3 = await startS3();
  scratchDir = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(async () => {
  for (const store of opened) await store.close();
  await s3.stop();
  await rm(scratchDir, { recursive: true, force: true });
});

blobStoreContract(
  'S3BlobStore',
  async () => {
    const store = await S3BlobStore.open({ ...s3, bucket: await s3.createBucket(), scratchDir });
    opened.push(store);
    return store;
  },
  // What fits into one part is stored where it will stay, before anybody knows that it is all.
  { toldFrom: 8 * 1024 * 1024 + 1 },
);
