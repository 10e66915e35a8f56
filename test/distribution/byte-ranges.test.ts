import { describe, expect, test } from 'vitest';
import { parseContentRange, parseRange } from '../../src/distribution/byte-ranges.js';

describe('parseRange of 100 bytes', () => {
  const ranges: readonly { readonly header: string; readonly expected: readonly [number, number][] }[] = [
    { header: 'bytes=0-0', expected: [[0, 0]] },
    { header: 'bytes=0-99', expected: [[0, 99]] },
    { header: 'bytes=99-99', expected: [[99, 99]] },
    { header: 'bytes=50-', expected: [[50, 99]] },
    { header: 'bytes=50-1000', expected: [[50, 99]] },
    { header: 'bytes=-1', expected: [[99, 99]] },
    { header: 'bytes=-100', expected: [[0, 99]] },
    { header: 'bytes=-101', expected: [[0, 99]] },
    { header: 'Bytes=1-2', expected: [[1, 2]] },
    { header: ' bytes=1-2 ', expected: [[1, 2]] },
    {
      header: 'bytes=1-2, 5-6',
      expected: [
        [1, 2],
        [5, 6],
      ],
    },
    {
      header: 'bytes=5-6,1-2',
      expected: [
        [5, 6],
        [1, 2],
      ],
    },
    { header: 'bytes=1-2,100-200', expected: [[1, 2]] },
    { header: 'bytes=007-008', expected: [[7, 8]] },
    {
      header: `bytes=${Array.from({ length: 16 }, () => '0-0').join(',')}`,
      expected: Array.from({ length: 16 }, () => [0, 0] as [number, number]),
    },
  ];
  test.each(ranges)('$header', ({ header, expected }) => {
    const list = expected.map(([start, end]) => ({ start, end }));
    expect(parseRange(header, 100)).toEqual({ kind: 'ranges', ranges: list });
  });

  test.each([
    'bytes=100-',
    'bytes=100-200',
    'bytes=-0',
    'bytes=-000',
    'bytes=2-1',
    'bytes=100-,200-',
    `bytes=${'9'.repeat(400)}-`,
  ])('%s cannot be satisfied', (header) => {
    expect(parseRange(header, 100)).toEqual({ kind: 'unsatisfiable' });
  });

  test.each([
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1',
    'bytes=1-2-3',
    'bytes=--1',
    'bytes=1-2,',
    'items=0-1',
    '0-1',
    'bytes 0-1',
    'bytes=+1-2',
    'bytes=1.5-2',
  ])('%j is ignored', (header) => {
    expect(parseRange(header, 100)).toEqual({ kind: 'whole' });
  });

  test('more than 16 ranges are ignored', () => {
    const header = `bytes=${Array.from({ length: 17 }, () => '0-0').join(',')}`;
    expect(parseRange(header, 100)).toEqual({ kind: 'whole' });
  });
});

test.each(['bytes=0-', 'bytes=0-0', 'bytes=-1'])('%s of nothing cannot be satisfied', (header) => {
  expect(parseRange(header, 0)).toEqual({ kind: 'unsatisfiable' });
});

describe('parseContentRange', () => {
  test.each([
    { header: '0-0', expected: { start: 0, end: 0 } },
    { header: '0-1023', expected: { start: 0, end: 1023 } },
    { header: '1024-2047', expected: { start: 1024, end: 2047 } },
    { header: '0-999999999999999', expected: { start: 0, end: 999_999_999_999_999 } },
    { header: 'bytes 0-9/10', expected: { start: 0, end: 9 } },
    { header: 'bytes 0-9/*', expected: { start: 0, end: 9 } },
    { header: 'bytes=0-9', expected: { start: 0, end: 9 } },
    { header: '0-9/10', expected: { start: 0, end: 9 } },
  ])('$header', ({ header, expected }) => {
    expect(parseContentRange(header)).toEqual(expected);
  });

  test.each([
    '',
    '0',
    '-',
    '0-',
    '-9',
    '9-0',
    '0-9-',
    'a-b',
    '0x0-0x9',
    ' 0-9',
    '0-9 ',
    '0 - 9',
    '+0-9',
    '0-1e3',
    '0-9/x',
    '0-9,10-19',
    `0-${'9'.repeat(16)}`,
    'items 0-9/10',
    '٠-٩',
  ])('%j is refused', (header) => {
    expect(() => parseContentRange(header)).toThrow(RangeError);
  });
});
