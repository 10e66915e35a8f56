import { createHash, randomBytes } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { BlobStores, kindOfLocation, type BlobStoreKind } from '../../src/blobstore/blob-stores.js';
import type { StoredBytes } from '../../src/blobstore/blob-store.js';
import { FilesystemBlobStore } from '../../src/blobstore/filesystem.js';
import { temporaryFolder } from '../support/temporary-folder.js';

/** A folder takes the place of S3: what matters here is which of the two is asked. */
async function openBoth(): Promise<Record<BlobStoreKind, FilesystemBlobStore>> {
  const [disk, s3] = await Promise.all([temporaryFolder(), temporaryFolder()]);
  const stores = { disk: await FilesystemBlobStore.open(disk), s3: await FilesystemBlobStore.open(s3) };
  onTestFinished(async () => {
    await Promise.all([stores.disk.close(), stores.s3.close()]);
  });
  return stores;
}

/** With a state, as S3 has one. */
function withState(store: FilesystemBlobStore): FilesystemBlobStore {
  const append = store.append.bind(store);
  store.append = async (...parameters) => ({ ...(await append(...parameters)), state: 'whatever' });
  return store;
}

async function append(
  stores: BlobStores,
  text: string,
  before = { id: newId(), size: 0, state: undefined as string | undefined },
) {
  const options = { observer: createHash('sha256') };
  const { appendedBytes, state } = await stores.append(before, Readable.from([Buffer.from(text)]), options);
  await stores.sync(before.id);
  return { ...before, size: before.size + appendedBytes, state };
}

function newId(): string {
  return randomBytes(20).toString('hex');
}

async function textOf(bytes: StoredBytes | undefined): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  await bytes?.copyTo(sink);
  return bytes && Buffer.concat(chunks).toString();
}

test('new bytes go to the store of the configuration, and are found whatever it says later', async () => {
  const { disk, s3 } = await openBoth();
  const onDisk = new BlobStores({ disk, s3: withState(s3) }, 'disk');
  const onS3 = onDisk.writingTo('s3');
  const [first, second] = [await append(onDisk, 'first'), await append(onS3, 'second')];
  const [diskLocation, s3Location] = [(await onDisk.finish(first))!, (await onS3.finish(second))!];
  expect([kindOfLocation(diskLocation), kindOfLocation(s3Location)]).toEqual(['disk', 's3']);
  for (const stores of [onDisk, onS3]) {
    expect(await textOf(await stores.open(diskLocation))).toBe('first');
    expect(await textOf(await stores.open(s3Location))).toBe('second');
    expect(await stores.size(s3Location)).toBe(6);
    const listed: string[] = [];
    for await (const location of stores.list()) listed.push(location);
    expect(listed.sort()).toEqual([diskLocation, s3Location].sort());
  }
  expect(await disk.size(diskLocation)).toBe(5);
  expect(await s3.size(s3Location.replace('s3:', ''))).toBe(6);
  await onDisk.delete(s3Location);
  expect(await onS3.open(s3Location)).toBeUndefined();
});

test('an upload goes on where it began, though new ones begin elsewhere', async () => {
  const { disk, s3 } = await openBoth();
  const before = new BlobStores({ disk, s3: withState(s3) }, 'disk');
  const after = before.writingTo('s3');
  const begun = await append(before, 'begun here, ');
  const ended = await append(after, 'ended here', begun);
  expect(await textOf((await after.openUpload(ended))?.bytes)).toBe('begun here, ended here');
  expect(kindOfLocation((await after.finish(ended))!)).toBe('disk');

  const other = await append(before, ' and back', await append(after, 'on S3'));
  expect(kindOfLocation((await before.finish(other))!)).toBe('s3');
});

test('an upload is discarded where it is, and where one that left no word would be', async () => {
  const { disk, s3 } = await openBoth();
  const onS3 = new BlobStores({ disk, s3 }, 's3');
  const silent = await append(onS3, 'its state was never told');
  await onS3.discardUpload({ id: silent.id, state: undefined });
  expect(await s3.openUpload({ ...silent, state: undefined })).toBeUndefined();

  const old = await append(onS3.writingTo('disk'), 'begun on disk');
  await onS3.discardUpload(old);
  expect(await disk.openUpload(old)).toBeUndefined();
});
