import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { digestAlgorithm, digestOf, digestOfHash, parseDigest, parseDigestAlgorithm } from '../../src/oci/digest.js';
import { OciError } from '../../src/oci/errors.js';

const hex64 = '0123456789abcdef'.repeat(4);
const hex128 = hex64 + hex64;

describe('parseDigest', () => {
  test.each([
    { text: `sha256:${hex64}`, algorithm: 'sha256' },
    { text: `sha512:${hex128}`, algorithm: 'sha512' },
  ])('takes $algorithm', ({ text, algorithm }) => {
    expect(parseDigest(text)).toBe(text);
    expect(digestAlgorithm(parseDigest(text))).toBe(algorithm);
  });

  test.each([
    ['empty text', ''],
    ['a colon', ':'],
    ['no colon', `sha256${hex64}`],
    ['no algorithm', `:${hex64}`],
    ['no hex', 'sha256:'],
    ['63 digits', `sha256:${hex64.slice(1)}`],
    ['65 digits', `sha256:${hex64}0`],
    ['sha512 with 64 digits', `sha512:${hex64}`],
    ['sha256 with 128 digits', `sha256:${hex128}`],
    ['upper-case hex', `sha256:${hex64.toUpperCase()}`],
    ['one upper-case digit', `sha256:A${hex64.slice(1)}`],
    ['upper-case algorithm', `SHA256:${hex64}`],
    ['a letter after f', `sha256:g${hex64.slice(1)}`],
    ['a space before it', ` sha256:${hex64}`],
    ['a newline after it', `sha256:${hex64}\n`],
    ['a newline in place of a digit', `sha256:${hex64.slice(1)}\n`],
    ['two colons', `sha256::${hex64.slice(1)}`],
    ['md5', `md5:${hex64.slice(32)}`],
    ['sha384', `sha384:${hex64}${hex64.slice(32)}`],
    ['blake3', `blake3:${hex64}`],
    ['a property of every object', `toString:${hex64}`],
    ['the prototype', `__proto__:${hex64}`],
    ['a digit of another script', `sha256:${hex64.slice(1)}٣`],
    ['an at sign', `@sha256:${hex64}`],
  ])('refuses %s', (_name, text) => {
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'DIGEST_INVALID', status: 400 }));
  });

  test('repeats no more than 200 letters of what it refuses', () => {
    let refusal: unknown;
    try {
      parseDigest('x'.repeat(100_000));
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(OciError);
    expect(JSON.stringify((refusal as OciError).detail).length).toBeLessThan(500);
  });
});

describe('parseDigestAlgorithm', () => {
  test.each(['sha256', 'sha512'])('takes %s', (text) => {
    expect(parseDigestAlgorithm(text)).toBe(text);
  });
  test.each(['', 'sha1', 'md5', 'SHA256', 'sha-256', 'sha256 ', 'constructor'])('refuses %j', (text) => {
    expect(() => parseDigestAlgorithm(text)).toThrow(expect.objectContaining({ code: 'DIGEST_INVALID' }));
  });
});

describe('digestOf', () => {
  test.each([
    { algorithm: 'sha256' as const, digest: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
    {
      algorithm: 'sha512' as const,
      digest:
        'sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
    },
  ])('of nothing, $algorithm', ({ algorithm, digest }) => {
    expect(digestOf('', algorithm)).toBe(digest);
  });

  test('is of sha256 when nothing is said', () => {
    expect(digestOf('abc')).toBe('sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  test('of a hash leaves the hash usable', () => {
    const hash = createHash('sha256').update('a');
    expect(digestOfHash(hash, 'sha256')).toBe(
      'sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb',
    );
    hash.update('bc');
    expect(digestOfHash(hash, 'sha256')).toBe(
      'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
  });
});
