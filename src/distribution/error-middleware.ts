import type { Context, Next } from 'koa';
import { BodyTooLargeError, stopReading } from '../http.js';
import { StoreUnavailableError } from '../blobstore/blob-store.js';
import { isDatabaseOutage } from '../metadata/postgres-errors.js';
import { ProjectUnavailableError } from '../metadata/repository-rows.js';
import { StreamLimitError, TagProtectedError } from '../metadata/tag-history.js';
import { OciError } from '../oci/errors.js';

/** Answers every OciError in the spec's error form; what is no OciError is somebody else's to answer. */
export async function ociErrors(ctx: Context, next: Next): Promise<void> {
  try {
    await next();
  } catch (error) {
    const known = toOciError(error);
    if (known === undefined) throw error;
    // No fault of the request: whoever runs the registry is to know why.
    if (known.code === 'UNAVAILABLE') ctx.app.emit('error', error, ctx);
    ctx.set(known.headers);
    if (!ctx.req.complete) stopReading(ctx.req);
    ctx.status = known.status;
    const { code, message, detail } = known;
    ctx.body = { errors: [{ code, message, ...(detail !== undefined && { detail }) }] };
  }
}

/** Of the file system, and of SQLite. */
const noSpaceCodes = new Set<unknown>(['ENOSPC', 'EDQUOT', 'SQLITE_FULL']);

function toOciError(error: unknown): OciError | undefined {
  if (error instanceof OciError) return error;
  if (error instanceof ProjectUnavailableError) {
    // It went between the check and the push.
    return new OciError('NAME_UNKNOWN', { project: error.project, state: error.state }, { cause: error });
  }
  if (error instanceof TagProtectedError) {
    const { repository, tag, rule } = error;
    return new OciError('DENIED', { repository, tag, rule, reason: error.message }, { cause: error });
  }
  if (error instanceof StreamLimitError) return new OciError('DENIED', error.message, { cause: error });
  if (error instanceof BodyTooLargeError) {
    return new OciError('SIZE_INVALID', 'the body is larger than the registry takes', { status: 413 });
  }
  if (isDatabaseOutage(error)) return unavailable('the database does not answer', error);
  if (error instanceof StoreUnavailableError) return unavailable('the blob store does not answer', error);
  if (error instanceof Error && 'code' in error && noSpaceCodes.has(error.code)) {
    return new OciError('DENIED', 'the registry has no space left; nothing was stored', { status: 507, cause: error });
  }
  return undefined;
}

function unavailable(reason: string, cause: unknown): OciError {
  return new OciError('UNAVAILABLE', `${reason}; try again`, { headers: { 'Retry-After': '5' }, cause });
}
