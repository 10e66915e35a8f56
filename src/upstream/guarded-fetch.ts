import { fetch as undiciFetch, type RequestInit as UndiciRequestInit } from 'undici';
import { AddressGuard, type Resolve } from './addresses.js';
import type { Environment } from './proxies.js';
import { RedirectError, redirectTarget, isRedirect, maxRedirects } from './redirects.js';
import { Transport } from './transport.js';

/** What a guarded `fetch` may do. */
export interface GuardedFetchOptions {
  /** `host` or `host:port`, with `*` and `?`, whose addresses may be private. */
  readonly allowPrivate: readonly string[];
  /** PEM certificates of authorities that are trusted beside the usual ones. */
  readonly ca?: string | undefined;
  /** Without a byte. */
  readonly timeoutMs: number;
  readonly environment?: Environment | undefined;
  readonly resolve?: Resolve | undefined;
}

/**
 * A `fetch` that connects to no address that only we can reach: it rejects with a `ForbiddenAddressError`, or with a
 * `TypeError` whose `cause` is one. It follows redirects of GET and HEAD, at most five, never from https to http, and
 * without the `Authorization` header to another origin.
 */
export function guardedFetch(options: GuardedFetchOptions): typeof fetch {
  const transport = new Transport({
    guard: new AddressGuard(options.allowPrivate, options.resolve),
    timeoutMs: options.timeoutMs,
    environment: options.environment,
  });
  const send = async (url: URL, init: RequestInit): Promise<Response> => {
    const dispatcher = await transport.dispatcherFor(url, { ca: options.ca, isVerified: true });
    return undiciFetch(url, { ...init, redirect: 'manual', dispatcher } as UndiciRequestInit);
  };
  return async (input, init = {}) => {
    if (input instanceof Request) throw new TypeError('a guarded fetch takes an address, and no Request');
    const first = new URL(input);
    let url = first;
    const { redirect = 'follow', method = 'GET' } = init;
    for (let redirects = 0; ; redirects++) {
      const headers = new Headers(init.headers);
      if (url.origin !== first.origin) headers.delete('Authorization');
      const response = await send(url, { ...init, headers });
      if (redirect === 'manual' || !isRedirect(response.status)) return response;
      await response.body?.cancel();
      const isFollowed = redirect === 'follow' && ['GET', 'HEAD'].includes(method.toUpperCase());
      if (!isFollowed || redirects === maxRedirects) throw new RedirectError(`${url.host} redirects`);
      url = redirectTarget(url, response.headers.get('location') ?? undefined);
    }
  };
}
