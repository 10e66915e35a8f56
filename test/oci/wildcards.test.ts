import { expect, test } from 'vitest';
import { isWildcardMatch } from '../../src/oci/wildcards.js';

test.each([
  { pattern: 'v1', text: 'v1', yes: true },
  { pattern: 'v1', text: 'v10', yes: false },
  { pattern: 'v1', text: 'xv1', yes: false },
  { pattern: '*', text: '', yes: true },
  { pattern: '?', text: '', yes: false },
  { pattern: 'v*', text: 'v', yes: true },
  { pattern: 'v*', text: 'v1.2.3', yes: true },
  { pattern: 'v?', text: 'v1', yes: true },
  { pattern: 'v?', text: 'v10', yes: false },
  { pattern: 'v?.*', text: 'v1.2', yes: true },
  { pattern: 'v?.*', text: 'v12.2', yes: false },
  { pattern: '*-rc', text: '1-rc-rc', yes: true },
  { pattern: '*-rc', text: '1-rc2', yes: false },
  { pattern: 'a*b*c', text: 'a-b-b-c', yes: true },
  { pattern: 'a*b*c', text: 'a-c-b', yes: false },
  { pattern: 'ab*ba', text: 'aba', yes: false },
  { pattern: 'a.c', text: 'abc', yes: false },
  { pattern: 'V*', text: 'v1', yes: false },
  { pattern: 'a**b', text: 'ab', yes: true },
  { pattern: '', text: '', yes: true },
  { pattern: '', text: 'a', yes: false },
])('pattern "$pattern" matches "$text": $yes', ({ pattern, text, yes }) => {
  expect(isWildcardMatch(pattern, text)).toBe(yes);
});

test('a pattern that other matchers take forever with is answered', () => {
  const text = 'a'.repeat(253);
  expect(isWildcardMatch(`${'*a'.repeat(126)}b`, text)).toBe(false);
  expect(isWildcardMatch(`${'*a?'.repeat(84)}b`, text)).toBe(false);
  expect(isWildcardMatch(`*${'a'.repeat(126)}b*`, text)).toBe(false);
});
