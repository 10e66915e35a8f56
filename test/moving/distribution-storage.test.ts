import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { DistributionStorage, NoStorageError } from '../../src/moving/distribution-storage.js';
import { parseDigest } from '../../src/oci/digest.js';
import { content, sha512 } from '../support/images.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { StorageFolder } from './storage-folder.js';

describe('a storage folder', () => {
  let folder: StorageFolder;
  beforeEach(async () => {
    folder = await StorageFolder.make();
  });

  const open = () => DistributionStorage.open(folder.root);

  async function repositories(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of (await open()).repositories()) names.push(name);
    return names;
  }

  test('is opened by its root and by the folder inside of it, and nothing else is', async () => {
    await folder.addImage('app', 'one', 'v1');
    for (const path of [folder.root, folder.path()]) {
      const storage = await DistributionStorage.open(path);
      expect((await storage.tags('app')).map(({ name }) => name)).toEqual(['v1']);
    }
    await expect(DistributionStorage.open(join(folder.root, 'docker'))).rejects.toThrow(NoStorageError);
    await expect(DistributionStorage.open(await temporaryFolder())).rejects.toThrow(NoStorageError);
  });

  test('lists repositories, also those inside of others, and not what is only on its way', async () => {
    for (const name of ['b', 'team/app', 'team', 'team/app/deep', 'a-b']) await folder.addImage(name, 'one');
    await mkdir(folder.path('repositories', 'begun', '_uploads', 'some-id'), { recursive: true });
    await folder.addLayer('layers-only', content('a layer'));
    expect(await repositories()).toEqual(['a-b', 'b', 'team', 'team/app', 'team/app/deep']);
  });

  test('lists manifests with and without a tag, and none that was deleted', async () => {
    const tagged = await folder.addImage('app', 'tagged', 'v1');
    const earlier = await folder.addImage('app', 'earlier', 'v2');
    const now = await folder.addImage('app', 'now', 'v2');
    const bare = await folder.addImage('app', 'bare');
    const deleted = await folder.addImage('app', 'deleted', 'v3');
    await rm(folder.revisionLink('app', deleted));
    const revisions = await (await open()).revisions('app');
    expect([...revisions].sort()).toEqual([tagged, earlier, now, bare].map(({ digest }) => digest).sort());
  });

  test('says where tags are, and which have lost that', async () => {
    const image = await folder.addImage('app', 'one', 'v2', 'v1', 'empty');
    await writeFile(folder.tagLink('app', 'empty'), '');
    expect(await (await open()).tags('app')).toEqual([
      { name: 'empty', digest: undefined },
      { name: 'v1', digest: image.digest },
      { name: 'v2', digest: image.digest },
    ]);
  });

  test('finds bytes through the repository that links them, and through no other', async () => {
    const { layer, ...image } = await folder.addImage('app', 'one', 'v1');
    await folder.addImage('other', 'two', 'v1');
    const storage = await open();
    const found = { path: folder.data(layer), size: layer.bytes.length };
    expect(await storage.findLayer('app', parseDigest(layer.digest))).toEqual(found);
    expect(await storage.findLayer('other', parseDigest(layer.digest))).toBeUndefined();
    expect(await storage.findManifest('app', parseDigest(image.digest))).toMatchObject({ path: folder.data(image) });
    expect(await storage.findManifest('other', parseDigest(image.digest))).toBeUndefined();
  });

  test('follows the link of another algorithm to where the bytes are', async () => {
    const blob = await folder.addLayer('app', content('hashed twice'));
    const other = sha512(blob.bytes);
    const link = folder.layerLink('app', { digest: other });
    await mkdir(dirname(link), { recursive: true });
    await writeFile(link, blob.digest);
    const found = await (await open()).findLayer('app', parseDigest(other));
    expect(found).toEqual({ path: folder.data(blob), size: blob.bytes.length });
  });

  test('finds no bytes that are gone, nor what is no file', async () => {
    const gone = await folder.addLayer('app', content('gone'));
    await rm(folder.data(gone));
    const linked = await folder.addLayer('app', content('a link'));
    await rm(folder.data(linked));
    await symlink('/dev/zero', folder.data(linked));
    const storage = await open();
    for (const { digest } of [gone, linked]) {
      expect(await storage.findLayer('app', parseDigest(digest))).toBeUndefined();
    }
  });

  test('takes the name of a folder for a link that a crash has left empty', async () => {
    const blob = await folder.addLayer('app', content('linked by an empty file'));
    await writeFile(folder.layerLink('app', blob), '');
    expect(await (await open()).findLayer('app', parseDigest(blob.digest))).toMatchObject({ path: folder.data(blob) });
  });
});
