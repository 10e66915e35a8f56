import { beforeEach, describe, expect, test } from 'vitest';
import { parseLimitHeader, RateBudget } from '../../src/upstream/rate-budget.js';
import { MemoryBudgets } from './memory-budgets.js';

const unlimited = { requests: undefined, windowSeconds: undefined };

describe('RateBudget', () => {
  let nowMs: number;
  let budgets: MemoryBudgets;
  let budget: RateBudget;
  const now = () => new Date(nowMs);

  beforeEach(() => {
    nowMs = Date.parse('2026-03-01T12:00:00Z');
    budgets = new MemoryBudgets(now);
    budget = new RateBudget(budgets, now);
  });

  const tenant = (username: string) => ({ username, password: 'p', origin: 'secret a/b' });

  test('lets through what was configured, and says when there is more', async () => {
    const limit = { requests: 3, windowSeconds: 60 };
    for (let count = 0; count < 3; count++) expect(await budget.admit('quay.io', undefined, limit)).toBeUndefined();
    nowMs += 20_000;
    expect(await budget.admit('quay.io', undefined, limit)).toEqual({ problem: 'budget', retryAfterMs: 40_000 });
    nowMs += 40_000;
    expect(await budget.admit('quay.io', undefined, limit)).toBeUndefined();
  });

  test('counts each registry for itself', async () => {
    const limit = { requests: 1, windowSeconds: 60 };
    expect(await budget.admit('quay.io', undefined, limit)).toBeUndefined();
    expect(await budget.admit('ghcr.io', undefined, limit)).toBeUndefined();
    expect(await budget.admit('quay.io', undefined, limit)).toMatchObject({ problem: 'budget' });
  });

  test('takes ten at once from a large budget, and no more than are let through in all', async () => {
    const limit = { requests: 200, windowSeconds: 60 };
    const answers = await Promise.all(Array.from({ length: 250 }, () => budget.admit('quay.io', undefined, limit)));
    expect(answers.filter((answer) => answer === undefined)).toHaveLength(200);
    expect(budgets.calls.take).toBeGreaterThanOrEqual(20);
    expect(budgets.calls.take).toBeLessThanOrEqual(20 + 50);
  });

  test('two processes share a budget', async () => {
    const other = new RateBudget(budgets, now);
    const limit = { requests: 4, windowSeconds: 60 };
    for (const one of [budget, other, budget, other]) {
      expect(await one.admit('quay.io', undefined, limit)).toBeUndefined();
    }
    expect(await budget.admit('quay.io', undefined, limit)).toMatchObject({ problem: 'budget' });
    expect(await other.admit('quay.io', undefined, limit)).toMatchObject({ problem: 'budget' });
  });

  test('gives up what was taken and not used', async () => {
    const limit = { requests: 200, windowSeconds: 3600 };
    await budget.admit('quay.io', undefined, limit);
    nowMs += 6000;
    await budget.admit('quay.io', undefined, limit);
    expect((await budgets.find('quay.io'))?.used).toBe(20);
  });

  test('counts without a limit, now and then', async () => {
    for (let count = 0; count < 100; count++) await budget.admit('quay.io', undefined, unlimited);
    nowMs += 5000;
    await budget.admit('quay.io', undefined, unlimited);
    expect(budgets.calls.take).toBe(2);
    expect((await budgets.find('quay.io'))?.used).toBe(101);
  });

  test('lets nothing through while the registry wants none, also in other processes', async () => {
    const other = new RateBudget(budgets, now);
    budget.block('quay.io', undefined, { forMs: 60_000, error: 'too many' });
    nowMs += 10_000;
    const refusal = { problem: 'rate-limited', retryAfterMs: 50_000 };
    expect(await budget.admit('quay.io', undefined, unlimited)).toEqual(refusal);
    expect(await other.admit('quay.io', undefined, unlimited)).toEqual(refusal);
    expect(await budget.admit('ghcr.io', undefined, unlimited)).toBeUndefined();
    expect(await budgets.find('quay.io')).toMatchObject({ lastError: 'too many' });
    nowMs += 50_000;
    expect(await budget.admit('quay.io', undefined, unlimited)).toBeUndefined();
  });

  test('the account of one tenant holds up no other', async () => {
    budget.block('docker.io', tenant('one'), { forMs: 60_000, error: 'too many' });
    expect(await budget.admit('docker.io', tenant('one'), unlimited)).toMatchObject({ problem: 'rate-limited' });
    expect(await budget.admit('docker.io', tenant('other'), unlimited)).toBeUndefined();
    expect(await budget.admit('docker.io', undefined, unlimited)).toBeUndefined();
    expect((await budgets.find('docker.io'))?.blockedUntil).toBeUndefined();
  });

  test('keeps what is told once a second', async () => {
    budget.tell('docker.io', { limit: 100, remaining: 76 });
    for (let remaining = 75; remaining > 60; remaining--) budget.tell('docker.io', { limit: 100, remaining });
    expect(budgets.calls.record).toBe(1);
    nowMs += 1000;
    budget.tell('docker.io', { limit: 100, remaining: 50 });
    expect(await budgets.find('docker.io')).toMatchObject({ toldLimit: 100, toldRemaining: 50 });
  });

  test('that all is well is told once', () => {
    for (let count = 0; count < 5; count++) {
      budget.tell('docker.io', { error: null });
      nowMs += 2000;
    }
    budget.tell('docker.io', { error: 'down' });
    nowMs += 2000;
    budget.tell('docker.io', { error: null });
    expect(budgets.calls.record).toBe(3);
  });

  test('what cannot be kept stops nobody', async () => {
    const broken = new RateBudget(
      {
        take: () => Promise.reject(new Error('disk')),
        record: () => Promise.reject(new Error('disk')),
        find: () => Promise.resolve(undefined),
        list: () => Promise.resolve([]),
      },
      now,
    );
    broken.tell('quay.io', { limit: 1 });
    broken.block('ghcr.io', undefined, { forMs: 1000, error: 'x' });
    expect(await broken.admit('quay.io', undefined, unlimited)).toBeUndefined();
    await expect(broken.admit('quay.io', undefined, { requests: 5, windowSeconds: 1 })).rejects.toThrow('disk');
  });
});

test.each([
  ['100;w=21600', 100],
  ['100', 100],
  [' 76 ; w=1', 76],
  ['0;w=21600', 0],
  ['100, 200', 100],
  ['', undefined],
  [undefined, undefined],
  ['-1', undefined],
  ['many', undefined],
  ['99999999999999', undefined],
])('the limit %j is %j', (header, is) => {
  expect(parseLimitHeader(header)).toBe(is);
});
