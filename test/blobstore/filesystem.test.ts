import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, readdir, readFile, readlink, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FilesystemBlobStore } from '../../src/blobstore/filesystem.js';
import { blobStoreContract } from '../contracts/blob-store.js';
import { RememberedUploads } from '../support/remembered-uploads.js';

let root: string;
const opened: FilesystemBlobStore[] = [];

async function openStore(name: string): Promise<FilesystemBlobStore> {
  const store = await FilesystemBlobStore.open(join(root, name));
  opened.push(store);
  return store;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(async () => {
  for (const store of opened) await store.close();
  await rm(root, { recursive: true, force: true });
});

blobStoreContract('FilesystemBlobStore', () => openStore('contract'));

describe('a folder of blobs', () => {
  let store: FilesystemBlobStore;
  let uploads: RememberedUploads;
  let folder: string;
  beforeAll(async () => {
    folder = join(root, 'own');
    store = await openStore('own');
    uploads = new RememberedUploads(store);
  });

  async function append(upload: string, bytes: Buffer) {
    const observer = createHash('sha256');
    const result = await uploads.append(upload, Readable.from([bytes]), { offset: 0, observer });
    await uploads.sync(upload);
    return { ...result, sha256: observer.digest('hex') };
  }

  test('has a folder for uploads and 256 for blobs, which nobody else can enter', async () => {
    expect((await readdir(folder)).sort()).toEqual(['blobs', 'uploads']);
    const folders = (await readdir(join(folder, 'blobs'))).sort();
    expect(folders).toHaveLength(256);
    expect(folders[0]).toBe('00');
    expect(folders.at(-1)).toBe('ff');
    for (const path of ['uploads', 'blobs/00', 'blobs/ff']) expect(await modeOf(join(folder, path))).toBe(0o700);
  });

  test('keeps an upload under its id, and the blob under the same one, in the folder of its first two characters', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.from('bytes'));
    expect(await readFile(join(folder, 'uploads', upload), 'utf8')).toBe('bytes');
    expect(await uploads.finish(upload, 5)).toBe(`${upload.slice(0, 2)}/${upload}`);
    expect(await readFile(join(folder, 'blobs', upload.slice(0, 2), upload), 'utf8')).toBe('bytes');
    expect(await readdir(join(folder, 'uploads'))).not.toContain(upload);
  });

  test('moves the file when it finishes, and does not copy it', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.from('bytes'));
    const before = await stat(join(folder, 'uploads', upload));
    const after = await stat(join(folder, 'blobs', (await uploads.finish(upload, 5))!));
    expect(after.ino).toBe(before.ino);
  });

  test.each([
    { name: 'with bytes', bytes: Buffer.from('bytes') },
    { name: 'without', bytes: Buffer.alloc(0) },
  ])('makes files that nobody else can read, $name', async ({ bytes }) => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, bytes);
    expect(await modeOf(join(folder, 'uploads', upload))).toBe(0o600);
    expect(await modeOf(join(folder, 'blobs', (await uploads.finish(upload, bytes.length))!))).toBe(0o600);
  });

  test('holds in the file exactly what the observer hashed', async () => {
    const bytes = randomBytes(5 * 1024 * 1024 + 321);
    const upload = randomBytes(20).toString('hex');
    const { sha256 } = await append(upload, bytes);
    const file = await readFile(join(folder, 'blobs', (await uploads.finish(upload, bytes.length))!));
    expect(createHash('sha256').update(file).digest('hex')).toBe(sha256);
  });

  test('is the same folder when it is opened again', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.from('kept'));
    const location = (await uploads.finish(upload, 4))!;
    const again = await openStore('own');
    expect(await again.size(location)).toBe(4);
  });

  test('throws what the disk says, and does not take it for a source that broke off', async () => {
    const upload = randomBytes(20).toString('hex');
    await symlink('/dev/full', join(folder, 'uploads', upload));
    await expect(append(upload, Buffer.alloc(10))).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect(append(upload, Buffer.alloc(3 * 1024 * 1024))).rejects.toMatchObject({ code: 'ENOSPC' });
    await rm(join(folder, 'uploads', upload));
  });

  test('keeps nothing of an append that failed, and all of what came before it', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.from('kept'));
    const refused = { offset: 4, observer: createHash('sha256'), maxBytes: 2 * 1024 * 1024 };
    const pieces = [randomBytes(2 * 1024 * 1024), Buffer.from('x')];
    await expect(uploads.append(upload, Readable.from(pieces), refused)).rejects.toThrow(RangeError);
    expect(await readFile(join(folder, 'uploads', upload), 'utf8')).toBe('kept');
  });

  test.each([
    { name: 'an append and its sync', end: (upload: string) => uploads.sync(upload) },
    { name: 'an append and its finish', end: (upload: string) => uploads.finish(upload, 1) },
    { name: 'an append and its discard', end: (upload: string) => uploads.discardUpload(upload) },
  ])('keeps no file open after $name', async ({ end }) => {
    const upload = randomBytes(20).toString('hex');
    await uploads.append(upload, Readable.from([Buffer.from('x')]), { offset: 0, observer: createHash('sha256') });
    await end(upload);
    expect((await openFiles()).filter((path) => path.includes(upload))).toEqual([]);
  });

  test('keeps no file open of what was read, cut short, refused or closed', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.alloc(3_000_000));
    const location = (await uploads.finish(upload, 3_000_000))!;
    await (await store.open(location))!.copyTo(createHash('sha256'));
    const broken = new PassThrough();
    broken.destroy();
    await expect((await store.open(location))!.copyTo(broken)).rejects.toThrow();
    await expect(
      (await store.open(location, { start: 0, end: 9_000_000 }))!.copyTo(createHash('sha256')),
    ).rejects.toThrow();
    await (await store.open(location))!.close();
    const refused = uploads.append(upload, Readable.from([Buffer.alloc(10)]), {
      offset: 0,
      observer: createHash('sha256'),
      maxBytes: 5,
    });
    await expect(refused).rejects.toThrow(RangeError);
    expect((await openFiles()).filter((path) => path.includes(upload))).toEqual([]);
  });

  test('does not answer a check when its folder is gone', async () => {
    const lost = await openStore('lost');
    await lost.check();
    await rm(join(root, 'lost'), { recursive: true });
    await expect(lost.check()).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('bytes that were taken over are not those that a process which had them goes on writing', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.from('what counts'));
    const late = await open(join(folder, 'uploads', upload), 'r+');
    await store.takeOver({ id: upload, size: 11, state: undefined });
    await late.write('something else', 3);
    await late.close();
    const location = (await uploads.finish(upload, 11))!;
    expect(await readFile(join(folder, 'blobs', location), 'utf8')).toBe('what counts');
    expect((await readdir(join(folder, 'uploads'))).filter((name) => name.includes(upload))).toEqual([]);
  });

  test('nor can that process finish them as its own', async () => {
    const upload = randomBytes(20).toString('hex');
    const source = Readable.from([Buffer.from('mine')]);
    await store.append({ id: upload, size: 0, state: undefined }, source, { observer: createHash('sha256') });
    const other = await FilesystemBlobStore.open(folder);
    opened.push(other);
    await other.takeOver({ id: upload, size: 0, state: undefined });
    const others = new RememberedUploads(other);
    const observer = createHash('sha256');
    await others.append(upload, Readable.from([Buffer.from('theirs')]), { offset: 0, observer });
    await others.sync(upload);
    expect(await store.finish({ id: upload, size: 4, state: undefined })).toBeUndefined();
    const location = (await others.finish(upload, 6))!;
    expect(await readFile(join(folder, 'blobs', location), 'utf8')).toBe('theirs');
  });

  test('of an upload that had nothing that counts nothing is left when it is taken over', async () => {
    const upload = randomBytes(20).toString('hex');
    await append(upload, Buffer.from('nobody was told of these'));
    await store.takeOver({ id: upload, size: 0, state: undefined });
    await expect(stat(join(folder, 'uploads', upload))).rejects.toThrow('ENOENT');
  });
});

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

/** Paths of the files that this process has open. */
async function openFiles(): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  return Promise.all(descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')));
}
