import { discard, headerOf, type HttpAnswer } from './http-answer.js';
import type { HttpRequest, Transport } from './transport.js';

/** So many are followed. */
export const maxRedirects = 5;

/** Whether a status sends elsewhere. */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** A redirect that is not followed. */
export class RedirectError extends Error {
  override readonly name = 'RedirectError';
}

/**
 * Sends a request and follows redirects, at most five, never from https to http. Only the first origin sees the
 * `Authorization` header.
 *
 * @param onAnswer is called as soon as the first host has answered
 * @throws {RedirectError} and what `Transport.send` throws
 */
export async function sendFollowing(
  transport: Transport,
  request: HttpRequest,
  onAnswer: () => void = () => undefined,
): Promise<HttpAnswer> {
  let url = request.url;
  for (let redirects = 0; ; redirects++) {
    const answer = await transport.send({ ...request, url, headers: headersFor(url, request) });
    if (redirects === 0) onAnswer();
    if (request.method === 'POST' || !isRedirect(answer.status)) return answer;
    discard(answer);
    if (redirects === maxRedirects) throw new RedirectError(`redirects more than ${maxRedirects} times`);
    const target = redirectTarget(url, headerOf(answer, 'location'));
    if (transport.leadsInside(url, target)) throw new RedirectError(`redirects to ${target.host}, which is private`);
    url = target;
  }
}

function headersFor(url: URL, { url: first, headers }: HttpRequest): Readonly<Record<string, string>> {
  if (url.origin === first.origin) return headers;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'));
}

/** Where a redirect goes. @throws {RedirectError} when it is not followed */
export function redirectTarget(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href)) throw new RedirectError('redirects to no address');
  const target = new URL(location, from);
  if (!/^https?:$/.test(target.protocol)) throw new RedirectError('redirects to what is neither http nor https');
  if (from.protocol === 'https:' && target.protocol === 'http:') {
    throw new RedirectError(`redirects from https to http, at ${target.host}`);
  }
  if (target.username !== '' || target.password !== '')
    throw new RedirectError('redirects to an address with a password');
  target.hash = '';
  return target;
}
