import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';
import type Router from '@koa/router';
import type { Context } from 'koa';
import type { ByteRange, StoredBytes } from '../blobstore/blob-store.js';
import { sendEmpty } from '../http.js';
import { parseDigest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { BlobRedirects } from './blob-redirects.js';
import type { BlobService, ReadableBlob } from './blobs.js';
import { parseRange, type RangeRequest } from './byte-ranges.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** Blob pull and delete, OCI Distribution Spec end-2 and end-10. Pulling takes the right to pull, deleting to delete. */
export function blobRoutes(
  router: Router,
  { access, parseName }: RegistryEntrance,
  blobs: BlobService,
  redirects?: BlobRedirects,
): void {
  router.get('/v2/*name/blobs/:digest', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const digest = parseDigest(ctx.params['digest']!);
    await access.requireRepository(ctx, repository, 'pull');
    const blob = await blobs.get(repository, digest);
    const etag = `"${digest}"`;
    if (matchesEtag(ctx.get('If-None-Match'), etag)) {
      ctx.set('ETag', etag);
      sendEmpty(ctx, 304);
      return;
    }
    const url = ctx.method === 'HEAD' ? undefined : await redirects?.urlOf(blob, clientAddresses(ctx));
    if (url !== undefined) {
      ctx.set({ 'Docker-Content-Digest': digest, 'Cache-Control': 'no-store', Location: url });
      sendEmpty(ctx, 307);
      return;
    }
    const request = ctx.method === 'HEAD' ? whole : requestedRange(ctx, blob, etag);
    // Opened before anything is said: a blob whose bytes are gone is an error, not half an answer.
    const body = ctx.method === 'HEAD' ? undefined : await openBody(blobs, repository, blob, request);
    ctx.set({ 'Docker-Content-Digest': digest, ETag: etag, 'Accept-Ranges': 'bytes' });
    ctx.set('Content-Type', 'application/octet-stream');
    ctx.status = request.kind === 'ranges' ? 206 : 200;
    ctx.length = blob.size;
    if (body !== undefined) await sendBody(ctx, body);
  });

  router.delete('/v2/*name/blobs/:digest', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const digest = parseDigest(ctx.params['digest']!);
    await access.requireRepository(ctx, repository, 'delete');
    await blobs.delete(repository, digest);
    ctx.set('Docker-Content-Digest', digest);
    sendEmpty(ctx, 202);
  });
}

/** Of the client, as proxies in front say; without one, of whoever has connected. */
function clientAddresses(ctx: Context): readonly string[] {
  const forwarded = ctx.get('X-Forwarded-For');
  if (forwarded === '') return [ctx.req.socket.remoteAddress ?? ''];
  return forwarded.split(',').map((address) => address.trim());
}

const whole: RangeRequest = { kind: 'whole' };

/** RFC 9110, sections 13.1.5 and 14.2: with an `If-Range` of another representation the range does not count. */
function requestedRange(ctx: Context, blob: ReadableBlob, etag: string): RangeRequest {
  const ifRange = ctx.get('If-Range');
  const header = ctx.get('Range');
  if (header === '' || (ifRange !== '' && ifRange !== etag)) return whole;
  const request = parseRange(header, blob.size);
  if (request.kind !== 'unsatisfiable') return request;
  throw new OciError(
    'SIZE_INVALID',
    { range: header.slice(0, 200), size: blob.size },
    { status: 416, headers: { 'Content-Range': `bytes */${blob.size}`, 'Accept-Ranges': 'bytes' } },
  );
}

/** What follows the head of an answer. */
interface BlobBody {
  readonly headers: Readonly<Record<string, string>>;
  readonly writeTo: (sink: Writable) => Promise<void>;
}

/** Past Koa: its way of piping a stream into an answer costs a third of the speed of a large pull. */
async function sendBody(ctx: Context, { headers, writeTo }: BlobBody): Promise<void> {
  ctx.set(headers);
  ctx.respond = false;
  try {
    await writeTo(ctx.res);
    ctx.res.end();
  } catch (error) {
    // The head is out already: an answer cut short is all that can still tell the client.
    ctx.app.emit('error', error, ctx);
    ctx.res.destroy();
  }
}

async function openBody(
  blobs: BlobService,
  repository: RepositoryName,
  blob: ReadableBlob,
  request: RangeRequest,
): Promise<BlobBody> {
  if (request.kind !== 'ranges') {
    const bytes = await blobs.open(repository, blob);
    return { headers: {}, writeTo: (sink) => bytes.copyTo(sink) };
  }
  const [range, ...others] = request.ranges;
  const bytes = await blobs.open(repository, blob, range);
  if (others.length > 0) return multipartBody(blobs, repository, blob, request.ranges, bytes);
  const headers = {
    'Content-Range': contentRange(range, blob.size),
    'Content-Length': String(range.end - range.start + 1),
  };
  return { headers, writeTo: (sink) => bytes.copyTo(sink) };
}

/**
 * RFC 9110, section 14.6: multipart/byteranges, one part a range, opened one after the other.
 *
 * @param first bytes of the first range, open already
 */
function multipartBody(
  blobs: BlobService,
  repository: RepositoryName,
  blob: ReadableBlob,
  ranges: readonly ByteRange[],
  first: StoredBytes,
): BlobBody {
  const boundary = randomBytes(16).toString('hex');
  const parts = ranges.map((range) => ({
    range,
    head: `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: ${contentRange(range, blob.size)}\r\n\r\n`,
  }));
  const tail = `\r\n--${boundary}--\r\n`;
  const length = parts.reduce((sum, { range, head }) => sum + head.length + range.end - range.start + 1, tail.length);
  return {
    headers: {
      'Content-Type': `multipart/byteranges; boundary=${boundary}`,
      'Content-Length': String(length),
    },
    writeTo: async (sink) => {
      for (const [index, { range, head }] of parts.entries()) {
        const bytes = index === 0 ? first : await blobs.open(repository, blob, range);
        sink.write(head);
        await bytes.copyTo(sink);
      }
      sink.write(tail);
    },
  };
}

function contentRange({ start, end }: ByteRange, size: number): string {
  return `bytes ${start}-${end}/${size}`;
}

/** RFC 9110, section 13.1.2; weak and strong are the same for bytes that never change. */
export function matchesEtag(header: string, etag: string): boolean {
  return header.split(',').some((entry) => {
    const candidate = entry.trim().replace(/^W\//, '');
    return candidate === '*' || candidate === etag;
  });
}
