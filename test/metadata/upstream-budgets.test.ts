import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { KyselyUpstreamBudgets } from '../../src/metadata/kysely-upstream-budgets.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { upstreamBudgetsContract } from '../contracts/upstream-budgets.js';
import { fileHandlePrototype } from '../support/file-handles.js';
import { temporaryFolder } from '../support/temporary-folder.js';

upstreamBudgetsContract('SQLite', async (now) => {
  const folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
  const path = join(folder, 'weir.sqlite');
  const [here, there] = [await openSqlite(path), await openSqlite(path)];
  return {
    here: new KyselyUpstreamBudgets(here, now),
    there: new KyselyUpstreamBudgets(there, now),
    close: async () => {
      await Promise.all([here.destroy(), there.destroy()]);
      await rm(folder, { recursive: true });
    },
  };
});

test('a request that is counted does not wait for the disk', async () => {
  const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
  const sync = vi.spyOn(await fileHandlePrototype(), 'datasync');
  const budgets = new KyselyUpstreamBudgets(db);
  await budgets.take('docker.io', 1, { requests: 100, windowMs: 1000 });
  await budgets.record('docker.io', { remaining: 99 });
  expect(sync).not.toHaveBeenCalled();
  vi.restoreAllMocks();
  await db.destroy();
});

test('a registry that nobody asks any more is forgotten, unless it is configured', async () => {
  const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
  const clock = { now: new Date('2026-01-01T00:00:00Z') };
  const budgets = new KyselyUpstreamBudgets(db, () => clock.now);
  const unlimited = { requests: undefined, windowMs: 1000 };
  for (const registry of ['a1.example', 'docker.io', 'slow.example']) await budgets.take(registry, 1, unlimited);
  await budgets.record('slow.example', { blockedUntil: new Date('2026-01-20T00:00:00Z') });
  clock.now = new Date('2026-01-10T00:00:00Z');
  await budgets.take('b1.example', 1, unlimited);
  await budgets.forgetUnused(new Date('2026-01-03T00:00:00Z'), ['docker.io']);
  const names = (await budgets.list(undefined, 10)).map(({ registry }) => registry);
  expect(names).toEqual(['b1.example', 'docker.io', 'slow.example']);
  await db.destroy();
});
