import { createHash } from 'node:crypto';
import { PassThrough, Readable, Writable } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { FilesystemBlobStore } from '../../src/blobstore/filesystem.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { RememberedUploads } from '../support/remembered-uploads.js';

const upload = 'ab'.repeat(20);

async function openStore(): Promise<RememberedUploads> {
  const store = await FilesystemBlobStore.open(await temporaryFolder());
  onTestFinished(() => store.close());
  return new RememberedUploads(store);
}

/** A source that gives what it is told, and tells how much of it can be read. */
function slowUpload(uploads: RememberedUploads) {
  const source = new PassThrough();
  const told: number[] = [];
  let announce: () => void = () => undefined;
  const onWritten = (bytes: number) => {
    told.push(bytes);
    announce();
  };
  const appended = uploads.append(upload, source, { offset: 0, observer: createHash('sha256'), onWritten });
  const written = async (bytes: number): Promise<number> => {
    while ((told.at(-1) ?? 0) <= bytes) await new Promise<void>((resolve) => (announce = resolve));
    return told.at(-1)!;
  };
  return { source, appended, written };
}

function collector(): Writable & { readonly text: () => string } {
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return Object.assign(sink, { text: () => Buffer.concat(chunks).toString() });
}

test('bytes of a source that rests can be read at once by who follows the upload', async () => {
  const uploads = await openStore();
  const { source, appended, written } = slowUpload(uploads);
  source.write('first');
  expect(await written(0)).toBe(5);
  const following = (await uploads.followUpload(upload))!;
  const sink = collector();
  const copied = following.copyTo(sink, { start: 2, end: 9 }, written);
  await expect.poll(() => sink.text()).toBe('rst');
  source.end(' last');
  await copied;
  expect(sink.text()).toBe('rst last');
  expect(await appended).toEqual({ appendedBytes: 10, interrupted: undefined });
  await uploads.sync(upload);
  await following.close();
});

test('what is followed can be read on when the upload was finished, or discarded', async () => {
  const uploads = await openStore();
  const { source, appended } = slowUpload(uploads);
  source.end('all of it');
  await appended;
  const followed = (await uploads.followUpload(upload))!;
  await uploads.finish(upload, 9);
  const late = (await uploads.followUpload(upload))!;
  await uploads.discardUpload(upload);
  expect(await uploads.followUpload(upload)).toBeUndefined();
  for (const following of [followed, late]) {
    const sink = collector();
    await following.copyTo(sink, { start: 0, end: 8 }, () => Promise.resolve(9));
    expect(sink.text()).toBe('all of it');
    await following.close();
  }
});

test('who follows is told when there will be no more, and when their own sink breaks', async () => {
  const uploads = await openStore();
  const { source, appended } = slowUpload(uploads);
  source.end('short');
  await appended;
  await uploads.sync(upload);
  const following = (await uploads.followUpload(upload))!;
  const sink = collector();
  const grown = (bytes: number) => (bytes < 5 ? Promise.resolve(5) : Promise.reject(new Error('broke off')));
  await expect(following.copyTo(sink, { start: 0, end: 9 }, grown)).rejects.toThrow('broke off');
  expect(sink.text()).toBe('short');
  const gone = collector();
  gone.destroy();
  await expect(following.copyTo(gone, { start: 0, end: 4 }, grown)).rejects.toThrow('closed');
  await following.close();
});

test('an upload without bytes cannot be followed', async () => {
  const uploads = await openStore();
  expect(await uploads.followUpload(upload)).toBeUndefined();
  await uploads.append(upload, Readable.from([]), { offset: 0, observer: createHash('sha256') });
  await uploads.sync(upload);
  const empty = (await uploads.followUpload(upload))!;
  const sink = collector();
  await empty.copyTo(sink, { start: 0, end: -1 }, () => Promise.reject(new Error('not asked')));
  expect(sink.text()).toBe('');
  await empty.close();
});
