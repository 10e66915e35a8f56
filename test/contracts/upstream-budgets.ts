import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { UpstreamBudgets } from '../../src/metadata/upstream-budgets.js';

/** A store, twice, as two processes see it. */
export interface OpenBudgets {
  readonly here: UpstreamBudgets;
  readonly there: UpstreamBudgets;
  readonly close: () => Promise<unknown>;
}

/**
 * Everything that any UpstreamBudgets must do.
 *
 * @param open opens an empty store, whose clock is given
 */
export function upstreamBudgetsContract(name: string, open: (now: () => Date) => Promise<OpenBudgets>): void {
  describe(`${name} has budgets of upstreams that`, () => {
    let now: Date;
    let stores: OpenBudgets;
    let budgets: UpstreamBudgets;
    beforeEach(async () => {
      now = new Date('2026-01-01T00:00:00Z');
      stores = await open(() => now);
      budgets = stores.here;
    });
    afterEach(() => stores.close());

    const after = (seconds: number) => {
      now = new Date(now.getTime() + seconds * 1000);
    };
    const limit = { requests: 10, windowMs: 60_000 };

    test('are none at first', async () => {
      expect(await budgets.find('docker.io')).toBeUndefined();
      expect(await budgets.list(undefined, 10)).toEqual([]);
    });

    test('grant what is wanted, then what is left, then nothing until the window is over', async () => {
      expect(await budgets.take('docker.io', 4, limit)).toEqual({ granted: 4, retryAfterMs: 0 });
      after(20);
      expect(await budgets.take('docker.io', 9, limit)).toEqual({ granted: 6, retryAfterMs: 0 });
      expect(await budgets.take('docker.io', 1, limit)).toEqual({ granted: 0, retryAfterMs: 40_000 });
      after(40);
      expect(await budgets.take('docker.io', 1, limit)).toEqual({ granted: 1, retryAfterMs: 0 });
      expect(await budgets.find('docker.io')).toMatchObject({ used: 1, windowStart: now, lastUsedAt: now });
    });

    test('count requests that are not limited', async () => {
      await budgets.take('quay.io', 3, { requests: undefined, windowMs: 60_000 });
      after(59);
      expect(await budgets.take('quay.io', 1000, { requests: undefined, windowMs: 60_000 })).toEqual({
        granted: 1000,
        retryAfterMs: 0,
      });
      expect(await budgets.find('quay.io')).toMatchObject({ used: 1003 });
      after(1);
      await budgets.take('quay.io', 1, { requests: undefined, windowMs: 60_000 });
      expect(await budgets.find('quay.io')).toMatchObject({ used: 1 });
    });

    test('are those of one registry each', async () => {
      await budgets.take('docker.io', 10, limit);
      expect((await budgets.take('docker.io:8443', 10, limit)).granted).toBe(10);
    });

    test('grant nothing when a lower limit is used up already, and more when it is raised', async () => {
      await budgets.take('docker.io', 10, limit);
      expect((await budgets.take('docker.io', 1, { ...limit, requests: 5 })).granted).toBe(0);
      expect((await budgets.take('docker.io', 9, { ...limit, requests: 12 })).granted).toBe(2);
    });

    test('are never overdrawn by several at once', async () => {
      const taken = await Promise.all(
        Array.from({ length: 40 }, () => budgets.take('docker.io', 3, { requests: 50, windowMs: 1000 })),
      );
      expect(taken.reduce((sum, { granted }) => sum + granted, 0)).toBe(50);
    });

    test('are shared by all processes', async () => {
      expect((await stores.here.take('docker.io', 6, limit)).granted).toBe(6);
      expect((await stores.there.take('docker.io', 6, limit)).granted).toBe(4);
      expect((await stores.here.take('docker.io', 6, limit)).granted).toBe(0);
    });

    test('keep what the registry said, each thing until it says otherwise', async () => {
      const blockedUntil = new Date('2026-01-01T00:10:00Z');
      await budgets.record('docker.io', { limit: 100, remaining: 7 });
      await budgets.record('docker.io', { remaining: 6, blockedUntil, error: 'too many requests' });
      await budgets.record('docker.io', {});
      expect(await stores.there.find('docker.io')).toEqual({
        registry: 'docker.io',
        used: 0,
        windowStart: now,
        blockedUntil,
        toldLimit: 100,
        toldRemaining: 6,
        lastUsedAt: now,
        lastError: 'too many requests',
      });
      await budgets.record('docker.io', { error: null });
      expect(await budgets.find('docker.io')).toMatchObject({ toldLimit: 100, blockedUntil, lastError: undefined });
    });

    test('shorten an error that is long', async () => {
      await budgets.record('docker.io', { error: 'x'.repeat(5000) });
      expect((await budgets.find('docker.io'))?.lastError?.length).toBe(1000);
    });

    test('are listed in the order of their registries, page by page', async () => {
      for (const registry of ['quay.io', 'docker.io', 'ghcr.io']) await budgets.take(registry, 1, limit);
      const registries = async (last: string | undefined, count: number) =>
        (await budgets.list(last, count)).map(({ registry }) => registry);
      expect(await registries(undefined, 2)).toEqual(['docker.io', 'ghcr.io']);
      expect(await registries('ghcr.io', 2)).toEqual(['quay.io']);
    });
  });
}
