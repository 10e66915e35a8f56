import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ageOf } from '../kube/ages.js';
import { badRequest, notFound } from '../kube/errors.js';
import { timestamp } from '../kube/object-meta.js';
import type { Column, ListQuery, ObjectList, Resource } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { UpstreamBudget, UpstreamBudgets } from '../metadata/upstream-budgets.js';

const names = { group: 'weir.dev', plural: 'upstreams' };

/** A list is never longer: whoever wants more goes on from where it ends. */
const maxPage = 500;

const statusSchema = z.object({
  registry: z.string().describe('Host and perhaps port.'),
  used: z.int().describe('Requests since windowStart.'),
  windowStart: z.string().optional().describe('When the present window began; absent when no window is open.'),
  windowSeconds: z.int().optional().describe('How long a window is, when requests are limited.'),
  limit: z.int().optional().describe('So many requests may be sent in a window; absent when they are only counted.'),
  remaining: z.int().optional().describe('How many of them are left.'),
  toldLimit: z.int().optional().describe('What the registry last said of its own limit.'),
  toldRemaining: z.int().optional().describe('What the registry last said is left of it.'),
  blockedUntil: z.string().optional().describe('Nothing is asked of it before this.'),
  lastUsedAt: z.string().describe('When it was last asked for something.'),
  lastError: z.string().optional().describe('The last failure; absent since the last success.'),
});

type UpstreamStatus = z.output<typeof statusSchema>;

/** What the administrator allows of requests to a registry; undefined: they are only counted. */
export type FindRequestLimit = (
  registry: string,
) => { readonly requests: number; readonly windowMs: number } | undefined;

/**
 * The registries that Weir has spoken to, with what is left of the requests to each: `upstreams.weir.dev`, which can be
 * read and not written. Each is called as its registry, with `_` in place of the colon before a port.
 */
export function upstreamResource(
  budgets: Pick<UpstreamBudgets, 'find' | 'list'>,
  findLimit: FindRequestLimit,
): Resource {
  return {
    ...names,
    version: 'v1',
    kind: 'Upstream',
    singular: 'upstream',
    isNamespaced: false,
    verbs: ['get', 'list'],
    description: 'Upstream tells of a registry that images come from: how often it was asked, and what is left.',
    schema: z.object({ status: statusSchema }),
    columns,
    storage: {
      get: async (call, name) => {
        const budget = await budgets.find(registryOf(name));
        if (budget === undefined) throw notFound(names, name);
        return toObject(budget, findLimit, call.now);
      },
      list: (call, query) => listUpstreams(budgets, query, (budget) => toObject(budget, findLimit, call.now)),
    },
  };
}

async function listUpstreams(
  budgets: Pick<UpstreamBudgets, 'find' | 'list'>,
  query: ListQuery,
  show: (budget: UpstreamBudget) => ApiObject,
): Promise<ObjectList> {
  // There is no history to be watched from: a list has a number of its own.
  const resourceVersion = '1';
  if (query.name !== undefined) {
    const budget = await budgets.find(registryOf(query.name));
    return { items: budget === undefined ? [] : [show(budget)].filter(query.matches), resourceVersion };
  }
  const wanted = Math.min(query.limit ?? maxPage, maxPage);
  const items: ApiObject[] = [];
  let after = query.continue === undefined ? undefined : parsePosition(query.continue);
  for (;;) {
    const page = await budgets.list(after, maxPage);
    for (const budget of page) {
      // One more than is wanted tells that there are more.
      if (items.length === wanted) return { items, resourceVersion, continue: positionOf(after ?? '') };
      const object = show(budget);
      if (query.matches(object)) items.push(object);
      after = budget.registry;
    }
    if (page.length < maxPage) return { items, resourceVersion };
  }
}

function positionOf(registry: string): string {
  return Buffer.from(registry).toString('base64url');
}

function parsePosition(text: string): string {
  const registry = Buffer.from(text, 'base64url').toString();
  if (registry !== '' && positionOf(registry) === text) return registry;
  throw badRequest('continue key is not valid: expected the value of metadata.continue of the page before');
}

/** A name may not look like two, and no host has `_`. */
function nameOf(registry: string): string {
  return registry.replace(/:(\d+)$/, '_$1');
}

function registryOf(name: string): string {
  return name.replace(/_(\d+)$/, ':$1');
}

function toObject(budget: UpstreamBudget, findLimit: FindRequestLimit, now: Date): ApiObject {
  const { registry, lastUsedAt } = budget;
  return {
    metadata: {
      name: nameOf(registry),
      uid: uidOf(registry),
      resourceVersion: String(lastUsedAt.getTime()),
      creationTimestamp: timestamp(budget.windowStart),
    },
    status: statusOf(budget, findLimit(registry), now),
  };
}

function statusOf(budget: UpstreamBudget, limit: ReturnType<FindRequestLimit>, now: Date): UpstreamStatus {
  const { registry, windowStart, blockedUntil, toldLimit, toldRemaining, lastUsedAt, lastError } = budget;
  const isOver = limit !== undefined && windowStart.getTime() + limit.windowMs <= now.getTime();
  const used = isOver ? 0 : budget.used;
  return {
    registry,
    used,
    ...(!isOver && { windowStart: timestamp(windowStart) }),
    ...(limit !== undefined && {
      windowSeconds: Math.round(limit.windowMs / 1000),
      limit: limit.requests,
      remaining: Math.max(limit.requests - used, 0),
    }),
    ...(toldLimit !== undefined && { toldLimit }),
    ...(toldRemaining !== undefined && { toldRemaining }),
    ...(blockedUntil !== undefined && blockedUntil > now && { blockedUntil: timestamp(blockedUntil) }),
    lastUsedAt: timestamp(lastUsedAt),
    ...(lastError !== undefined && { lastError }),
  };
}

/** A UUID of version 8 (RFC 9562, section 5.8): the same whenever the registry is read, and kept nowhere. */
function uidOf(registry: string): string {
  const hex = createHash('sha256').update(`upstream ${registry}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function statusColumn(name: string, field: keyof UpstreamStatus, priority = 0): Column {
  return {
    name,
    type: ['used', 'limit', 'remaining'].includes(field) ? 'integer' : 'string',
    description: statusSchema.shape[field].description ?? name,
    priority,
    cell: ({ status }) => (status as UpstreamStatus)[field] ?? null,
  };
}

const columns: readonly Column[] = [
  statusColumn('Used', 'used'),
  statusColumn('Limit', 'limit'),
  statusColumn('Remaining', 'remaining'),
  statusColumn('Blocked until', 'blockedUntil'),
  {
    name: 'Last used',
    type: 'string',
    description: 'How long ago it was last asked for something.',
    cell: ({ status }, now) => ageOf((status as UpstreamStatus).lastUsedAt, now),
  },
  statusColumn('Error', 'lastError', 1),
];
