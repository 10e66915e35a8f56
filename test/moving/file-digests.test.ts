import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileDigests } from '../../src/moving/file-digests.js';
import { parseDigest } from '../../src/oci/digest.js';
import { sha256, sha512 } from '../support/images.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const of256 = parseDigest(sha256(''));
const of512 = parseDigest(sha512(''));

test('hashes many files at once, each by the algorithm that is asked for', async () => {
  const folder = await temporaryFolder();
  const digests = new FileDigests();
  try {
    const contents = [Buffer.alloc(0), ...Array.from({ length: 40 }, (_, index) => randomBytes(index * 60_000 + 1))];
    const results = await Promise.all(
      contents.map(async (bytes, index) => {
        const path = join(folder, String(index));
        await writeFile(path, bytes);
        return [await digests.of(path, of256), await digests.of(path, of512)];
      }),
    );
    expect(results).toEqual(contents.map((bytes) => [sha256(bytes), sha512(bytes)]));
  } finally {
    await digests.close();
  }
});

test('says why a file cannot be read, and goes on with the next', async () => {
  const folder = await temporaryFolder();
  const digests = new FileDigests();
  try {
    await writeFile(join(folder, 'a'), 'a');
    await expect(digests.of(join(folder, 'none'), of256)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(digests.of(folder, of256)).rejects.toMatchObject({ code: 'EISDIR' });
    expect(await digests.of(join(folder, 'a'), of256)).toBe(sha256('a'));
  } finally {
    await digests.close();
  }
});

test('gives up what is being hashed when it is closed', async () => {
  const digests = new FileDigests();
  const endless = expect(digests.of('/dev/zero', of256)).rejects.toThrow('not read to its end');
  await digests.close();
  await endless;
});
