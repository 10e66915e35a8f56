import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';

/** Koa answers a bodiless 201 or 202 with its reason phrase; body null, set before status, keeps it empty. */
export function sendEmpty(ctx: Context, status: number): void {
  ctx.body = null;
  ctx.status = status;
  // A 204 must not carry a length (RFC 9110, section 8.6); the others say that nothing follows.
  if (status !== 204) ctx.set('Content-Length', '0');
}

/**
 * The scheme, host and port by which the client called, without a path: the configured public URL, or what the
 * request says. Headers a proxy may or may not have set are not looked at: who has a proxy configures the URL.
 */
export function requestOrigin(ctx: Context, publicUrl: string | undefined): string {
  if (publicUrl !== undefined) return publicUrl;
  const secure = 'encrypted' in ctx.req.socket;
  const host = /^[\w.:[\]-]+$/.test(ctx.get('Host')) ? ctx.get('Host') : 'localhost';
  return `${secure ? 'https' : 'http'}://${host}`;
}

/**
 * Announces the next page of a list (RFC 8288).
 *
 * @param query of the next page, on the path of this one
 */
export function setNextLink(ctx: Context, query: Readonly<Record<string, string | undefined>>): void {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, value);
  ctx.set('Link', `<${ctx.path}?${parameters.toString()}>; rel="next"`);
}

/** A parameter of the query that must not be given twice, since two readers might choose differently. */
export function singleQuery(ctx: Context, name: string): string | undefined {
  const value = ctx.query[name];
  return Array.isArray(value) ? value.at(-1) : value;
}

/** Raised by `readBody`. */
export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError';
}

/**
 * The whole body, which must be small.
 *
 * @throws {BodyTooLargeError} as soon as it is clear that there are more than `maxBytes`; the rest is not read
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw new BodyTooLargeError();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new BodyTooLargeError();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
