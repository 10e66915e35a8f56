import { describe, expect, test } from 'vitest';
import { parseReference, parseTag } from '../../src/oci/reference.js';

const digest = `sha256:${'0'.repeat(64)}`;

describe('parseReference', () => {
  test.each(['latest', 'v1', '0', '_', 'A', '1.2.3-rc.1_x', 'a'.repeat(128), `sha256-${'0'.repeat(64)}`])(
    '%s is a tag',
    (text) => {
      expect(parseReference(text)).toEqual({ kind: 'tag', tag: text });
      expect(parseTag(text)).toBe(text);
    },
  );

  test.each([digest, `sha512:${'f'.repeat(128)}`])('%s is a digest', (text) => {
    expect(parseReference(text)).toEqual({ kind: 'digest', digest: text });
  });

  test.each([
    ['empty text', ''],
    ['129 characters', 'a'.repeat(129)],
    ['a leading dot', '.a'],
    ['a leading dash', '-a'],
    ['a space', 'a b'],
    ['a slash', 'a/b'],
    ['a plus', 'a+b'],
    ['a newline at the end', 'a\n'],
    ['a NUL', 'a\0'],
    ['a letter that is no ASCII', 'ä'],
    ['an at sign', 'a@b'],
    ['two dots at the beginning', '..'],
  ])('refuses %s as a tag', (_name, text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID', status: 400 }));
    expect(() => parseTag(text)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }));
  });

  test.each([
    ['a tag with a colon', 'v1:2'],
    ['a colon', ':'],
    ['a short digest', 'sha256:00'],
    ['a digest in upper case', `sha256:${'A'.repeat(64)}`],
    ['md5', `md5:${'0'.repeat(32)}`],
  ])('refuses %s as a digest', (_name, text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'DIGEST_INVALID', status: 400 }));
  });

  test('a digest is no tag', () => {
    expect(() => parseTag(digest)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }));
  });
});
