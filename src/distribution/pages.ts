/** The most entries one answer holds, whatever is asked for. */
export const maxPageSize = 1000;

/** Which part of a list is wanted. */
export interface PageRequest {
  /** At most so many; what the registry thinks right when undefined. */
  readonly n: number | undefined;
  /** Begin after this entry. */
  readonly last: string | undefined;
}

/** A part of a list, and whether there is more after it. */
export interface ListPage<T> {
  readonly entries: readonly T[];
  readonly more: boolean;
}

/** How many entries a page may have at most. */
export function pageSize({ n }: PageRequest): number {
  return Math.min(n ?? maxPageSize, maxPageSize);
}

/** Reads one entry more than asked for, to know whether a next page exists. */
export async function readPage<T>(
  request: PageRequest,
  read: (limit: number) => Promise<readonly T[]>,
): Promise<ListPage<T>> {
  const size = pageSize(request);
  if (size === 0) return { entries: [], more: false };
  const entries = await read(size + 1);
  return { entries: entries.slice(0, size), more: entries.length > size };
}
