import { describe, expect, test } from 'vitest';
import { coversJson, parseMediaRanges } from '../../src/kube/accept.js';

function typesOf(accept: string): string[] {
  return parseMediaRanges(accept).map(({ type }) => type);
}

describe('parseMediaRanges', () => {
  test.each([
    { name: 'no header has none', accept: '', expected: [] },
    { name: 'of equal weight the first comes first', accept: 'a/a, b/b;q=1, c/c', expected: ['a/a', 'b/b', 'c/c'] },
    { name: 'weights count', accept: 'a/a;q=0.5,b/b;q=0.9,c/c', expected: ['c/c', 'b/b', 'a/a'] },
    { name: 'weight zero refuses', accept: 'a/a;q=0,b/b;q=0.000,c/c;q=0.001', expected: ['c/c'] },
    { name: 'a weight that is no number is one', accept: 'a/a;q=0.9,b/b;q=x', expected: ['b/b', 'a/a'] },
    { name: 'types are in any case', accept: 'Application/JSON', expected: ['application/json'] },
    { name: 'empty alternatives are none', accept: ',a/a, ,', expected: ['a/a'] },
  ])('$name', ({ accept, expected }) => {
    expect(typesOf(accept)).toEqual(expected);
  });

  test('parameters are there without quotes and without the weight', () => {
    expect(parseMediaRanges('a/a; AS=Table ;v="v1"; q=0.5; flag')).toEqual([
      {
        type: 'a/a',
        parameters: new Map([
          ['as', 'Table'],
          ['v', 'v1'],
          ['flag', ''],
        ]),
      },
    ]);
  });
});

test.each([
  { type: 'application/json', expected: true },
  { type: 'application/*', expected: true },
  { type: '*/*', expected: true },
  { type: 'application/yaml', expected: false },
  { type: 'text/*', expected: false },
])('$type covers JSON: $expected', ({ type, expected }) => {
  expect(coversJson({ type, parameters: new Map() })).toBe(expected);
});
