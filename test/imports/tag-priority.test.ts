import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prioritizeTags } from '../../src/imports/tag-priority.js';

test.each([
  {
    name: 'versions of two and three numbers, then all others',
    tags: ['v1', 'v2', 'other', '3', '3.1', 'abc'],
    order: ['3.1', '3', 'abc', 'other', 'v1', 'v2'],
  },
  { name: 'latest before all', tags: ['9.9', 'aaa', 'latest', '1.0.0'], order: ['latest', '9.9', '1.0.0', 'aaa'] },
  { name: 'versions of two numbers before those of three', tags: ['9.9.9', '1.0'], order: ['1.0', '9.9.9'] },
  { name: 'numbers as numbers', tags: ['1.9', '1.10', '1.100', '10.0'], order: ['10.0', '1.100', '1.10', '1.9'] },
  { name: 'the one without v first', tags: ['v5.1', '5.1', 'v5.2', '5.0'], order: ['v5.2', '5.1', 'v5.1', '5.0'] },
  {
    name: 'what comes before a release after it',
    tags: ['5.1-rc1', '5.1', '5.1-rc2', '5.0', '5.1-beta'],
    order: ['5.1', '5.1-rc2', '5.1-rc1', '5.1-beta', '5.0'],
  },
  {
    name: 'parts of what comes before a release by their kind',
    tags: ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0'],
    order: ['1.0.0', '1.0.0-beta.11', '1.0.0-beta.2', '1.0.0-beta', '1.0.0-alpha.beta', '1.0.0-alpha.1', '1.0.0-alpha'],
  },
  {
    name: 'what only looks like a version as a name',
    tags: ['1', 'v1', '1.2.3.4', '1.x', 'V1.2', 'sha256-abc.sig', '1.2'],
    order: ['1.2', '1', '1.2.3.4', '1.x', 'V1.2', 'sha256-abc.sig', 'v1'],
  },
  { name: 'names by their bytes', tags: ['b', 'a', 'B', '_', 'A'], order: ['A', 'B', '_', 'a', 'b'] },
  { name: 'nothing of nothing', tags: [], order: [] },
])('$name', ({ tags, order }) => {
  expect(prioritizeTags(tags)).toEqual(order);
  expect(prioritizeTags([...tags].reverse())).toEqual(order);
});

describe('whatever the tags are', () => {
  const part = fc.constantFrom('0', '1', '2', '10', '007', 'rc1', 'a', 'B', 'x-y', '1a', '-', '9007199254740993');
  const version = fc
    .tuple(
      fc.constantFrom('', 'v'),
      fc.array(fc.constantFrom('0', '1', '2', '10', '01', '999999999999999'), { minLength: 1, maxLength: 4 }),
      fc.array(part, { maxLength: 3 }),
    )
    .map(([v, numbers, suffix]) => `${v}${numbers.join('.')}${suffix.length > 0 ? `-${suffix.join('.')}` : ''}`);
  const name = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,6}$/);
  const tags = fc.uniqueArray(fc.oneof(version, name, fc.constant('latest')), { maxLength: 30 });

  test('they stay the same tags', () => {
    fc.assert(
      fc.property(tags, (list) => {
        expect([...prioritizeTags(list)].sort()).toEqual([...list].sort());
      }),
    );
  });

  test('their order does not depend on the order in which they come', () => {
    fc.assert(
      fc.property(
        tags.chain((list) =>
          fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
        ),
        ([list, shuffled]) => {
          expect(prioritizeTags(shuffled)).toEqual(prioritizeTags(list));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('two of them are in one order, and three in one too', () => {
    const isBefore = (a: string, b: string): boolean => prioritizeTags([b, a])[0] === a;
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(version, name), { minLength: 3, maxLength: 3 }), ([a, b, c]) => {
        expect(isBefore(a!, b!)).toBe(!isBefore(b!, a!));
        if (isBefore(a!, b!) && isBefore(b!, c!)) expect(isBefore(a!, c!)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});
