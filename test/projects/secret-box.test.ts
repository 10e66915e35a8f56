import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SecretBox } from '../../src/projects/secret-box.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const key = (byte: number) => Buffer.alloc(32, byte);

describe('a secret box', () => {
  test('opens what it sealed, which never looks the same twice', () => {
    const box = new SecretBox([key(1)]);
    const [one, other] = [box.seal('grüße', 'place'), box.seal('grüße', 'place')];
    expect(box.open(one, 'place')).toBe('grüße');
    expect(one.text).not.toBe(other.text);
    expect(Buffer.from(one.text, 'base64').toString('latin1')).not.toContain('gr');
  });

  test('opens a text only where it belongs, and only as it was sealed', () => {
    const box = new SecretBox([key(1)]);
    const sealed = box.seal('text', 'secret a/b/1');
    expect(() => box.open(sealed, 'secret a/b/2')).toThrow('secret a/b/2 is not intact');
    const bytes = Buffer.from(sealed.text, 'base64');
    for (const index of [0, 12, bytes.length - 1]) {
      const changed = Buffer.from(bytes);
      changed[index]! ^= 1;
      expect(() => box.open({ ...sealed, text: changed.toString('base64') }, 'secret a/b/1')).toThrow('not intact');
    }
    expect(() => box.open({ ...sealed, text: '' }, 'secret a/b/1')).toThrow('not intact');
  });

  test('seals with the first key and opens with every key it knows', () => {
    const before = new SecretBox([key(1)]).seal('text', 'place');
    const rotated = new SecretBox([key(2), key(1)]);
    expect(rotated.open(before, 'place')).toBe('text');
    const after = rotated.seal('text', 'place');
    expect(after.key).not.toBe(before.key);
    expect(new SecretBox([key(2)]).open(after, 'place')).toBe('text');
    expect(() => new SecretBox([key(2)]).open(before, 'place')).toThrow('is not configured');
  });

  test.each([
    ['nothing', []],
    ['a short key', [Buffer.alloc(31).toString('base64')]],
    ['a long key', [Buffer.alloc(33).toString('base64')]],
    ['what is no base64', ['!'.repeat(44)]],
  ])('is not made of %s', (_name, keys) => {
    expect(() => SecretBox.parse(keys)).toThrow(/key/);
  });

  test('makes its file at the first start, for the owner only, and uses it from then on', async () => {
    const path = join(await temporaryFolder(), 'keys', 'secrets.key');
    const boxes = await Promise.all([SecretBox.open(path), SecretBox.open(path), SecretBox.open(path)]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const sealed = boxes[0].seal('text', 'place');
    for (const box of [...boxes, await SecretBox.open(path)]) expect(box.open(sealed, 'place')).toBe('text');
    const text = await readFile(path, 'utf8');
    await writeFile(path, `${key(9).toString('base64')}\n${text}`);
    const rotated = await SecretBox.open(path);
    expect(rotated.open(sealed, 'place')).toBe('text');
    expect(rotated.seal('text', 'place').key).not.toBe(sealed.key);
  });
});
