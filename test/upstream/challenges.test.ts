import { describe, expect, test } from 'vitest';
import { parseChallenges, usableChallenge } from '../../src/upstream/challenges.js';

function parsed(header: string | undefined): unknown {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

describe('parseChallenges', () => {
  test.each([
    { header: undefined, is: [] },
    { header: '', is: [] },
    { header: 'Basic', is: [['basic', {}]] },
    { header: 'Basic realm="x"', is: [['basic', { realm: 'x' }]] },
    { header: 'bearer Realm=https://a/t,service=b', is: [['bearer', { realm: 'https://a/t', service: 'b' }]] },
    {
      header: 'Bearer realm="https://a/t",service="b",scope="repository:x:pull,push"',
      is: [['bearer', { realm: 'https://a/t', service: 'b', scope: 'repository:x:pull,push' }]],
    },
    { header: 'Bearer realm = "a" , service = "b"', is: [['bearer', { realm: 'a', service: 'b' }]] },
    { header: String.raw`Basic realm="a\"b\\c"`, is: [['basic', { realm: String.raw`a"b\c` }]] },
    {
      header: 'Negotiate, Basic realm="x", Bearer realm="y"',
      is: [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
        ['bearer', { realm: 'y' }],
      ],
    },
    { header: 'realm="x"', is: [] },
    { header: '"', is: [] },
    { header: 'Bearer realm="x', is: [['bearer', { realm: '' }]] },
  ])('$header', ({ header, is }) => {
    expect(parsed(header)).toEqual(is);
  });

  test('takes no longer than the header', () => {
    const start = performance.now();
    for (const header of ['a,'.repeat(50_000), '"\\'.repeat(50_000), 'a="'.repeat(50_000), ' '.repeat(100_000)]) {
      parseChallenges(header);
    }
    expect(performance.now() - start).toBeLessThan(1000);
  });
});

describe('usableChallenge', () => {
  test.each([
    { header: 'Basic realm="x", Bearer realm="y"', scheme: 'bearer' },
    { header: 'Bearer, Basic realm="x"', scheme: 'basic' },
    { header: 'Negotiate, NTLM', scheme: undefined },
    { header: undefined, scheme: undefined },
  ])('$header: $scheme', ({ header, scheme }) => {
    expect(usableChallenge(header)?.scheme).toBe(scheme);
  });
});
