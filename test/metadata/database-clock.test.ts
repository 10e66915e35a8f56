import { expect, test } from 'vitest';
import { DatabaseClock } from '../../src/metadata/database-clock.js';

/** A clock over a database whose answers take as long as is said. */
function clockOver() {
  let monotonic = 1000;
  const clock = new DatabaseClock(() => monotonic);
  return {
    clock,
    pass: (ms: number) => {
      monotonic += ms;
    },
    look: (time: string, takesMs: number) =>
      clock.look(() => {
        monotonic += takesMs;
        return Promise.resolve(new Date(time).getTime());
      }),
  };
}

test('the time is that of the database, and goes on between two looks', async () => {
  const { clock, look, pass } = clockOver();
  expect(() => clock.now()).toThrow('not looked at');
  await look('2030-01-01T00:00:00Z', 0);
  expect(clock.now()).toEqual(new Date('2030-01-01T00:00:00Z'));
  pass(90_000);
  expect(clock.now()).toEqual(new Date('2030-01-01T00:01:30Z'));
});

test('half of the time that the answer took had passed when the database looked at its clock', async () => {
  const { clock, look } = clockOver();
  await look('2030-01-01T00:00:00Z', 200);
  expect(clock.now()).toEqual(new Date('2030-01-01T00:00:00.100Z'));
});

test('a clock that was set is followed, and an answer that took too long is not', async () => {
  const { clock, look } = clockOver();
  await look('2030-01-01T00:00:00Z', 0);
  await look('2030-01-01T01:00:00Z', 0);
  expect(clock.now()).toEqual(new Date('2030-01-01T01:00:00Z'));
  await look('2040-01-01T00:00:00Z', 5000);
  expect(clock.now()).toEqual(new Date('2030-01-01T01:00:05Z'));
});

test('what the database does not answer changes nothing', async () => {
  const { clock, look } = clockOver();
  await look('2030-01-01T00:00:00Z', 0);
  await expect(clock.look(() => Promise.reject(new Error('gone')))).rejects.toThrow('gone');
  expect(clock.now()).toEqual(new Date('2030-01-01T00:00:00Z'));
});
