import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';
import { OciError, type OciErrorCode } from './oci/errors.js';

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

/**
 * A parameter of the query that may be given once, since of two values two readers might choose differently.
 *
 * @param code of the error when it is given twice
 * @throws {OciError} with status 400
 */
export function singleQuery(ctx: Context, name: string, code: OciErrorCode = 'UNSUPPORTED'): string | undefined {
  const value = ctx.query[name];
  if (!Array.isArray(value)) return value;
  throw new OciError(code, `the parameter ${name} is given ${value.length} times`, { status: 400 });
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

/** What a client may still send after a refusal, before it is cut off. */
const lingerBytes = 16 * 1024 * 1024;
const lingerMs = 10_000;

/**
 * For a request that is refused before its body has come to an end: lets the client send on a little, so that it gets
 * to read the answer and does not find a broken connection instead, and cuts it off when it goes on regardless.
 */
export function stopReading(request: IncomingMessage): void {
  const { socket } = request;
  const readBefore = socket.bytesRead;
  const began = performance.now();
  const timer = setInterval(() => {
    if (socket.bytesRead - readBefore > lingerBytes || performance.now() - began > lingerMs) socket.destroy();
  }, 50).unref();
  const stop = () => {
    clearInterval(timer);
    // A connection outlives many requests.
    socket.removeListener('close', stop);
  };
  request.once('end', stop).once('close', stop);
  socket.once('close', stop);
}
