import type { z } from 'zod';
import type { ApiClient } from './api-client.js';
import { listOf } from './wire.js';

/** The most that a server is asked for at once. */
const pageSize = 500;

/** As much of a list as was asked for. */
export interface Listed<T> {
  readonly items: readonly T[];
  /** The list as the server writes it, with the items of every page that was read. */
  readonly whole: object;
  /** Whether there are more. */
  readonly hasMore: boolean;
  /** How many there are, where the server says. */
  readonly total: number | undefined;
}

/**
 * Reads a list page by page.
 *
 * @param limit of items; 0 for all
 */
export async function readPages<T>(
  api: ApiClient,
  path: string,
  item: z.ZodType<T>,
  { limit, ...query }: { readonly limit: number; readonly [parameter: string]: string | number | undefined },
): Promise<Listed<T>> {
  const items: T[] = [];
  const raw: unknown[] = [];
  const schema = listOf(item);
  for (let next: string | undefined; ;) {
    const wanted = limit === 0 ? pageSize : Math.min(pageSize, limit - items.length);
    const page = await api.get(path, schema, { ...textsOf(query), limit: String(wanted), continue: next });
    const { kind, apiVersion, metadata, total } = page.value;
    items.push(...page.value.items);
    raw.push(...((page.raw as { readonly items?: readonly unknown[] | null }).items ?? []));
    next = metadata?.continue ?? undefined;
    const hasMore = next !== undefined && next !== '';
    if (hasMore && page.value.items.length > 0 && (limit === 0 || items.length < limit)) continue;
    return {
      items,
      whole: { kind, apiVersion, metadata: metadata ?? {}, ...(total !== undefined && { total }), items: raw },
      hasMore,
      total: total ?? undefined,
    };
  }
}

function textsOf(query: Readonly<Record<string, string | number | undefined>>): Record<string, string> {
  const entries = Object.entries(query).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}
