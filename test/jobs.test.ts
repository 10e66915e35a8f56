import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Jobs } from '../src/jobs.js';

describe('a job', () => {
  let lines: Record<string, unknown>[];
  let jobs: Jobs;
  beforeEach(() => {
    lines = [];
    jobs = new Jobs(
      pino({ level: 'trace' }, { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) }),
    );
  });
  afterEach(() => jobs.stop());

  test('is done again and again, first after its interval', async () => {
    let runs = 0;
    const began = performance.now();
    await new Promise<void>((resolve) => {
      jobs.start({
        name: 'counting',
        intervalMs: 5,
        run: () => {
          if ((runs += 1) === 3) resolve();
          return Promise.resolve();
        },
      });
      expect(runs).toBe(0);
    });
    // Three intervals, each up to a tenth shorter.
    expect(performance.now() - began).toBeGreaterThan(11);
  });

  test('that fails is logged by its name, and tried again', async () => {
    let runs = 0;
    await new Promise<void>((resolve) => {
      jobs.start({
        name: 'failing',
        intervalMs: 2,
        run: () => {
          if ((runs += 1) === 3) resolve();
          return Promise.reject(new Error(`failure ${runs}`));
        },
      });
    });
    await jobs.stop();
    expect(lines.length).toBeGreaterThanOrEqual(3);
    expect(lines[0]).toMatchObject({
      level: 50,
      job: 'failing',
      msg: 'job failed; it will be tried again',
      err: { message: 'failure 1' },
    });
  });

  test('that fails at once, without a promise, is tried again as well', async () => {
    let runs = 0;
    await new Promise<void>((resolve) => {
      jobs.start({
        name: 'throwing',
        intervalMs: 2,
        run: () => {
          if ((runs += 1) === 2) resolve();
          throw new Error('at once');
        },
      });
    });
    expect(runs).toBe(2);
  });

  test('does not hold up the others', async () => {
    const stuck = deferred();
    jobs.start({ name: 'stuck', intervalMs: 1, run: () => stuck.promise });
    let runs = 0;
    await new Promise<void>((resolve) => {
      jobs.start({
        name: 'lively',
        intervalMs: 2,
        run: () => {
          if ((runs += 1) === 5) resolve();
          return Promise.resolve();
        },
      });
    });
    expect(runs).toBe(5);
    stuck.resolve();
  });

  test('is never done twice at a time, however long it takes', async () => {
    let running = 0;
    let most = 0;
    let runs = 0;
    await new Promise<void>((resolve) => {
      jobs.start({
        name: 'slow',
        intervalMs: 1,
        run: async () => {
          most = Math.max(most, (running += 1));
          await new Promise((later) => setTimeout(later, 5));
          running -= 1;
          if ((runs += 1) === 3) resolve();
        },
      });
    });
    expect(most).toBe(1);
  });

  test('that is under way is told to end, and waited for, when all stop', async () => {
    const work = deferred();
    const signal = await new Promise<AbortSignal>((resolve) => {
      jobs.start({
        name: 'under way',
        intervalMs: 1,
        run: (given) => {
          resolve(given);
          return work.promise;
        },
      });
    });
    let stopped = false;
    const stopping = jobs.stop().then(() => (stopped = true));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(signal.aborted).toBe(true);
    expect(stopped).toBe(false);
    work.resolve();
    await stopping;
    expect(stopped).toBe(true);
  });

  test('that waits for its next time does not hold up the end', async () => {
    let runs = 0;
    const count = () => Promise.resolve((runs += 1));
    jobs.start({ name: 'hourly', intervalMs: 3_600_000, run: count });
    const began = performance.now();
    await jobs.stop();
    expect(performance.now() - began).toBeLessThan(1000);
    expect(runs).toBe(0);
  });

  test('is not done any more once all have stopped', async () => {
    let runs = 0;
    jobs.start({ name: 'frequent', intervalMs: 1, run: () => Promise.resolve((runs += 1)) });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await jobs.stop();
    const before = runs;
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(runs).toBe(before);
  });
});

/** A promise that is kept by calling `resolve`. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: (() => void) | undefined;
  const promise = new Promise<void>((given) => (resolve = given));
  return { promise, resolve: () => resolve?.() };
}
