import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { ObjectList, Resource } from '../../src/kube/resource.js';
import { toTable } from '../../src/kube/table.js';
import { KyselyUpstreamBudgets } from '../../src/metadata/kysely-upstream-budgets.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { upstreamResource } from '../../src/pullthrough/upstreams.js';
import { apiCall, master } from '../support/api-call.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const begin = new Date('2026-01-01T00:00:00Z');
const later = (seconds: number) => new Date(begin.getTime() + seconds * 1000);

let now: Date;
let budgets: KyselyUpstreamBudgets;
let resource: Resource;
beforeEach(async () => {
  now = begin;
  const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
  onTestFinished(() => db.destroy());
  budgets = new KyselyUpstreamBudgets(db, () => now);
  resource = upstreamResource(budgets, (registry) =>
    registry === 'docker.io' ? { requests: 100, windowMs: 3600_000 } : undefined,
  );
  await budgets.take('docker.io', 30, { requests: 100, windowMs: 3600_000 });
  await budgets.take('registry.example:5000', 2, { requests: undefined, windowMs: 3600_000 });
});

const call = () => apiCall({ principal: master, now });
const get = (name: string) => resource.storage.get!(call(), name);
const list = async (query: { readonly limit?: number; readonly continue?: string } = {}) =>
  (await resource.storage.list!(call(), {
    limit: query.limit,
    continue: query.continue,
    matches: () => true,
    name: undefined,
    fields: {},
  })) as ObjectList;

test('an upstream says what is left of its requests', async () => {
  await budgets.record('docker.io', { limit: 200, remaining: 170, blockedUntil: later(60), error: 'slow down' });
  expect(await get('docker.io')).toMatchObject({
    metadata: { name: 'docker.io' },
    status: {
      registry: 'docker.io',
      used: 30,
      limit: 100,
      remaining: 70,
      windowStart: '2026-01-01T00:00:00Z',
      windowSeconds: 3600,
      toldLimit: 200,
      toldRemaining: 170,
      blockedUntil: '2026-01-01T00:01:00Z',
      lastUsedAt: '2026-01-01T00:00:00Z',
      lastError: 'slow down',
    },
  });
});

test('when the window is over all requests are left, and a block that is over is none', async () => {
  await budgets.record('docker.io', { blockedUntil: later(60) });
  now = later(3600);
  const { status } = await get('docker.io');
  expect(status).toEqual({
    registry: 'docker.io',
    used: 0,
    windowSeconds: 3600,
    limit: 100,
    remaining: 100,
    lastUsedAt: '2026-01-01T00:00:00Z',
  });
});

test('one with a port is called with an underscore', async () => {
  expect(await get('registry.example_5000')).toMatchObject({
    metadata: { name: 'registry.example_5000' },
    status: { registry: 'registry.example:5000', used: 2 },
  });
});

test('one that was never spoken to is not found', async () => {
  await expect(get('quay.io')).rejects.toMatchObject({
    reason: 'NotFound',
    message: 'upstreams.weir.dev "quay.io" not found',
  });
});

test('they are listed page by page', async () => {
  await budgets.take('quay.io', 1, { requests: undefined, windowMs: 1000 });
  const names = ({ items }: ObjectList) => items.map(({ metadata }) => metadata.name);
  expect(names(await list())).toEqual(['docker.io', 'quay.io', 'registry.example_5000']);
  const first = await list({ limit: 2 });
  expect(names(first)).toEqual(['docker.io', 'quay.io']);
  const second = await list({ limit: 2, continue: first.continue! });
  expect(names(second)).toEqual(['registry.example_5000']);
  expect(second.continue).toBeUndefined();
  await expect(list({ continue: 'no such place' })).rejects.toMatchObject({ reason: 'BadRequest' });
});

test('the table of upstreams shows the budget', async () => {
  now = later(90);
  const { items } = await list();
  const table = toTable({ resource, items, resourceVersion: '1', includeObject: 'None', now });
  expect(table.columnDefinitions.map(({ name }) => name)).toEqual([
    'Name',
    'Used',
    'Limit',
    'Remaining',
    'Blocked until',
    'Last used',
    'Error',
  ]);
  expect(table.rows.map(({ cells }) => cells)).toEqual([
    ['docker.io', 30, 100, 70, null, '90s', null],
    ['registry.example_5000', 2, null, null, null, '90s', null],
  ]);
});
