import type { Context, Next } from 'koa';
import { BodyTooLargeError, stopReading } from '../http.js';
import { OciError } from '../oci/errors.js';
import { isDatabaseOutage } from '../metadata/postgres-errors.js';
import { StatusError } from './errors.js';
import { PatchError } from './patch.js';
import { ProtobufError } from './protobuf.js';
import { SelectorError } from './selectors.js';

/** Answers every error as a Kubernetes Status. One that nobody expected is logged, and told as such. */
export async function statusErrors(ctx: Context, next: Next): Promise<void> {
  try {
    await next();
  } catch (error) {
    if (ctx.headerSent) throw error;
    const known = toStatusError(error);
    if (known.reason === 'InternalError' || isDatabaseOutage(error)) ctx.app.emit('error', error, ctx);
    if (!ctx.req.complete) stopReading(ctx.req);
    ctx.set(known.headers);
    ctx.status = known.code;
    // Without the charset that Koa would add: the Python clients compare the whole header before they read a message.
    ctx.set('Content-Type', 'application/json');
    ctx.body = known.toStatus();
  }
}

/** Of the file system, and of SQLite. */
const noSpaceCodes = new Set<unknown>(['ENOSPC', 'EDQUOT', 'SQLITE_FULL']);

/** An error as the client is told of it. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof SelectorError || error instanceof ProtobufError) {
    return new StatusError('BadRequest', error.message, undefined, { cause: error });
  }
  if (error instanceof PatchError) {
    return new StatusError(error.kind === 'malformed' ? 'BadRequest' : 'Invalid', error.message, undefined, {
      cause: error,
    });
  }
  if (error instanceof BodyTooLargeError) {
    return new StatusError('RequestEntityTooLarge', 'the body is larger than the API takes', undefined, {
      cause: error,
    });
  }
  if (error instanceof OciError && error.code === 'TOOMANYREQUESTS') {
    return new StatusError(
      'TooManyRequests',
      String(error.detail),
      { retryAfterSeconds: 5 },
      {
        headers: error.headers,
        cause: error,
      },
    );
  }
  if (isDatabaseOutage(error)) {
    return new StatusError(
      'ServiceUnavailable',
      'the database does not answer; try again',
      { retryAfterSeconds: 5 },
      { headers: { 'Retry-After': '5' }, cause: error },
    );
  }
  if (error instanceof Error && 'code' in error && noSpaceCodes.has(error.code)) {
    return new StatusError('ServiceUnavailable', 'there is no space left; nothing was stored', undefined, {
      cause: error,
    });
  }
  return new StatusError('InternalError', 'an error that should not happen; the log of the server has it', undefined, {
    cause: error,
  });
}
