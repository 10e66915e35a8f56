import { describe, expect, test } from 'vitest';
import { parseRetryAfter, waitBeforeNext } from '../../src/upstream/waiting.js';

const now = new Date('2026-03-01T12:00:00Z');

describe('parseRetryAfter', () => {
  test.each([
    { header: undefined, is: undefined },
    { header: '', is: undefined },
    { header: '0', is: 0 },
    { header: ' 120 ', is: 120_000 },
    { header: '1.5', is: undefined },
    { header: '-1', is: undefined },
    { header: '99999999999999999999', is: undefined },
    { header: 'Sun, 01 Mar 2026 12:01:00 GMT', is: 60_000 },
    { header: 'Sun, 01 Mar 2026 11:00:00 GMT', is: 0 },
    { header: 'soon', is: undefined },
  ])('$header: $is', ({ header, is }) => {
    expect(parseRetryAfter(header, now)).toBe(is);
  });
});

describe('waitBeforeNext', () => {
  test.each([
    { tries: 1, retryAfterMs: undefined, is: 500 },
    { tries: 2, retryAfterMs: undefined, is: 1000 },
    { tries: 3, retryAfterMs: undefined, is: undefined },
    { tries: 1, retryAfterMs: 0, is: 0 },
    { tries: 2, retryAfterMs: 10_000, is: 10_000 },
    { tries: 1, retryAfterMs: 10_001, is: undefined },
    { tries: 3, retryAfterMs: 1, is: undefined },
  ])('after $tries tries, asked for $retryAfterMs: $is', ({ tries, retryAfterMs, is }) => {
    expect(waitBeforeNext(tries, { retryAfterMs, random: () => 0.5 })).toBe(is);
  });
});
