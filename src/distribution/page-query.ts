import type { Context } from 'koa';
import { setNextLink, singleQuery } from '../http.js';
import { OciError } from '../oci/errors.js';
import { maxPageSize, type ListPage, type PageRequest } from './pages.js';

/**
 * Which page a request asks for: `?n=` and `?last=`.
 *
 * @throws {OciError} UNSUPPORTED, status 400, when `n` is no natural number
 */
export function parsePageRequest(ctx: Context): PageRequest {
  const n = singleQuery(ctx, 'n');
  if (n !== undefined && !/^\d{1,16}$/.test(n)) {
    const detail = { n: n.slice(0, 50), expected: `a number from 0 to ${maxPageSize}` };
    throw new OciError('UNSUPPORTED', detail, { status: 400 });
  }
  return { n: n === undefined ? undefined : Number(n), last: withoutZero(singleQuery(ctx, 'last')) };
}

/** No name has a zero character, which not every database can be asked for: what comes after it changes nothing. */
function withoutZero(text: string | undefined): string | undefined {
  return text?.split('\0', 1)[0];
}

/**
 * Announces the page after this one, when there is one.
 *
 * @param last the last entry of this page
 * @param query what else the next request must repeat
 */
export function linkNextPage(
  ctx: Context,
  { n }: PageRequest,
  page: ListPage<unknown>,
  last: string | undefined,
  query: Readonly<Record<string, string | undefined>> = {},
): void {
  if (page.more) setNextLink(ctx, { ...query, n: n === undefined ? undefined : String(n), last });
}
