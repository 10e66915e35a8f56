import type { Duplex } from 'node:stream';
import type { Context, Next } from 'koa';
import { OciError } from './oci/errors.js';

/** Answers what is no HTTP request at all, and so never reaches a route, in the same form as every other refusal. */
export function answerMalformed(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, detail] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'the head of the request is longer than 32 KiB']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'the head of the request did not come in time']
        : ['400 Bad Request', 'the request is not well-formed HTTP/1.1'];
  const { code, message } = new OciError('UNSUPPORTED');
  const body = JSON.stringify({ errors: [{ code, message, detail }] });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** RFC 9112, section 3.2: a request of HTTP/1.1 names its host. Links and challenges are made of it. */
export function requireHost(ctx: Context, next: Next): Promise<void> {
  if (ctx.req.headers.host === undefined && ctx.req.httpVersion !== '1.0') {
    throw new OciError('UNSUPPORTED', 'the request has no Host header', { status: 400 });
  }
  return next();
}
