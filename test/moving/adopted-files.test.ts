import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { FilesystemBlobStore } from '../../src/blobstore/filesystem.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const newUpload = () => randomBytes(20).toString('hex');

async function openStore(): Promise<{ readonly root: string; readonly store: FilesystemBlobStore }> {
  const root = await temporaryFolder();
  const store = await FilesystemBlobStore.open(root);
  onTestFinished(() => store.close());
  return { root, store };
}

describe('a folder of blobs takes over a file and', () => {
  test('gives it a second name, under which it is what it was', async () => {
    const { root, store } = await openStore();
    const path = join(await temporaryFolder(), 'data');
    await writeFile(path, 'bytes', { mode: 0o644 });
    const upload = newUpload();
    const adopted = await store.adopt(upload, path, true);
    expect(adopted).toEqual({ location: `${upload.slice(0, 2)}/${upload}`, size: 5, isShared: true });
    const there = await stat(join(root, 'blobs', adopted!.location));
    expect([there.ino, there.nlink]).toEqual([(await stat(path)).ino, 2]);
  });

  test('copies it when told to, for nobody else to read, and leaves nothing unfinished', async () => {
    const { root, store } = await openStore();
    const path = join(await temporaryFolder(), 'data');
    await writeFile(path, 'bytes');
    await chmod(path, 0o444);
    const { location, isShared } = (await store.adopt(newUpload(), path, false))!;
    expect(isShared).toBe(false);
    const there = await stat(join(root, 'blobs', location));
    expect([there.mode & 0o777, there.nlink]).toEqual([0o600, 1]);
    expect(await readdir(join(root, 'uploads'))).toEqual([]);
  });

  test('copies it from another file system', async () => {
    const { root, store } = await openStore();
    const elsewhere = await mkdtemp('/dev/shm/weir-test-');
    onTestFinished(() => rm(elsewhere, { recursive: true }));
    expect((await stat(elsewhere)).dev, 'two file systems').not.toBe((await stat(root)).dev);
    await writeFile(join(elsewhere, 'data'), 'from afar');
    const { location, isShared, size } = (await store.adopt(newUpload(), join(elsewhere, 'data'), true))!;
    expect([isShared, size]).toEqual([false, 9]);
    expect(await readFile(join(root, 'blobs', location), 'utf8')).toBe('from afar');
  });

  test('keeps no file open', async () => {
    const { root, store } = await openStore();
    const path = join(await temporaryFolder(), 'data');
    await writeFile(path, 'bytes');
    for (const mayShare of [true, false]) await store.adopt(newUpload(), path, mayShare);
    await expect(store.adopt(newUpload(), root, true)).rejects.toThrow('is no file');
    const descriptors = await readdir('/proc/self/fd');
    const open = await Promise.all(descriptors.map((each) => readlink(`/proc/self/fd/${each}`).catch(() => '')));
    expect(
      open.filter((each) => each.startsWith(root) && existsSync(each) && !/blobs\/[0-9a-f]{2}$/.test(each)),
    ).toEqual([]);
  });
});
