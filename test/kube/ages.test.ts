import { describe, expect, test } from 'vitest';
import { ageOf, agoOf } from '../../src/kube/ages.js';

const createdAt = '2026-01-02T03:04:05Z';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const year = 365 * day;

function after(age: number): Date {
  return new Date(Date.UTC(2026, 0, 2, 3, 4, 5) + age);
}

describe('ageOf', () => {
  test.each([
    { age: -year, expected: '<invalid>' },
    { age: -2 * second, expected: '<invalid>' },
    { age: -1999, expected: '0s' },
    { age: -1, expected: '0s' },
    { age: 0, expected: '0s' },
    { age: 999, expected: '0s' },
    { age: second, expected: '1s' },
    { age: 59 * second, expected: '59s' },
    { age: minute, expected: '60s' },
    { age: 2 * minute - 1, expected: '119s' },
    { age: 2 * minute, expected: '2m' },
    { age: 2 * minute + second, expected: '2m1s' },
    { age: 3 * minute + 20 * second, expected: '3m20s' },
    { age: 10 * minute - 1, expected: '9m59s' },
    { age: 10 * minute, expected: '10m' },
    { age: 10 * minute + 59 * second, expected: '10m' },
    { age: 3 * hour - 1, expected: '179m' },
    { age: 3 * hour, expected: '3h' },
    { age: 3 * hour + 20 * minute, expected: '3h20m' },
    { age: 8 * hour - 1, expected: '7h59m' },
    { age: 8 * hour, expected: '8h' },
    { age: 8 * hour + 59 * minute, expected: '8h' },
    { age: 2 * day - 1, expected: '47h' },
    { age: 2 * day, expected: '2d' },
    { age: 2 * day + 3 * hour, expected: '2d3h' },
    { age: 8 * day - 1, expected: '7d23h' },
    { age: 8 * day, expected: '8d' },
    { age: 8 * day + 23 * hour, expected: '8d' },
    { age: 2 * year - 1, expected: '729d' },
    { age: 2 * year, expected: '2y' },
    { age: 2 * year + 30 * day, expected: '2y30d' },
    { age: 8 * year - 1, expected: '7y364d' },
    { age: 8 * year, expected: '8y' },
    { age: 8 * year + 364 * day, expected: '8y' },
    { age: 30 * year, expected: '30y' },
  ])('$age ms are $expected', ({ age, expected }) => {
    expect(ageOf(createdAt, after(age))).toBe(expected);
  });

  test.each([[undefined], [''], ['yesterday']])('%j has no known age', (time) => {
    expect(ageOf(time, after(0))).toBe('<unknown>');
  });

  test('fractions of a second count', () => {
    expect(ageOf('2026-01-02T03:04:05.500Z', after(2 * second))).toBe('1s');
  });

  test('the offset of a time zone counts', () => {
    expect(ageOf('2026-01-02T04:04:05+01:00', after(5 * minute))).toBe('5m');
  });
});

describe('agoOf', () => {
  test.each([
    { age: -day, expected: 'Less than a second ago' },
    { age: 0, expected: 'Less than a second ago' },
    { age: 999, expected: 'Less than a second ago' },
    { age: second, expected: '1 second ago' },
    { age: 2 * second, expected: '2 seconds ago' },
    { age: minute - 1, expected: '59 seconds ago' },
    { age: minute, expected: 'About a minute ago' },
    { age: 2 * minute - 1, expected: 'About a minute ago' },
    { age: 2 * minute, expected: '2 minutes ago' },
    { age: hour - 1, expected: '59 minutes ago' },
    { age: hour, expected: 'About an hour ago' },
    { age: 90 * minute - 1, expected: 'About an hour ago' },
    { age: 90 * minute, expected: '2 hours ago' },
    { age: 47 * hour + 30 * minute - 1, expected: '47 hours ago' },
    { age: 47 * hour + 30 * minute, expected: '2 days ago' },
    { age: 3 * day, expected: '3 days ago' },
    { age: 4 * day - 30 * minute - 1, expected: '3 days ago' },
    { age: 14 * day - 30 * minute - 1, expected: '13 days ago' },
    { age: 14 * day - 30 * minute, expected: '2 weeks ago' },
    { age: 21 * day, expected: '3 weeks ago' },
    { age: 60 * day - 30 * minute - 1, expected: '8 weeks ago' },
    { age: 60 * day - 30 * minute, expected: '2 months ago' },
    { age: 90 * day, expected: '3 months ago' },
    { age: 2 * year - 30 * minute - 1, expected: '24 months ago' },
    // Years are cut off where hours were rounded up, so the last half hour of two years counts as one.
    { age: 2 * year - 30 * minute, expected: '1 years ago' },
    { age: 2 * year, expected: '2 years ago' },
    { age: 3 * year - 1, expected: '2 years ago' },
    { age: 10 * year, expected: '10 years ago' },
  ])('$age ms are $expected', ({ age, expected }) => {
    expect(agoOf(createdAt, after(age))).toBe(expected);
  });

  test.each([[undefined], [''], ['yesterday']])('%j is no time ago', (time) => {
    expect(agoOf(time, after(0))).toBe('');
  });
});
