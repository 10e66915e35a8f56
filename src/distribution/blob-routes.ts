import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type Router from '@koa/router';
import type { Context } from 'koa';
import type { ByteRange } from '../blobstore/blob-store.js';
import { sendEmpty } from '../http.js';
import type { BlobRecord } from '../metadata/blob-records.js';
import { parseDigest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { BlobService } from './blobs.js';
import { parseRange, type RangeRequest } from './byte-ranges.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** Blob pull and delete, OCI Distribution Spec end-2 and end-10. Pulling takes the right to pull, deleting to delete. */
export function blobRoutes(router: Router, { access, parseName }: RegistryEntrance, blobs: BlobService): void {
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
    const request = ctx.method === 'HEAD' ? whole : requestedRange(ctx, blob, etag);
    const body = ctx.method === 'HEAD' ? undefined : await openBody(blobs, repository, blob, request);
    ctx.set({ 'Docker-Content-Digest': digest, ETag: etag, 'Accept-Ranges': 'bytes' });
    ctx.type = 'application/octet-stream';
    ctx.status = request.kind === 'ranges' ? 206 : 200;
    if (body === undefined) {
      ctx.length = blob.size;
      return;
    }
    ctx.set(body.headers);
    ctx.body = body.stream;
    ctx.length = body.length;
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

const whole: RangeRequest = { kind: 'whole' };

/** RFC 9110, sections 13.1.5 and 14.2: with an `If-Range` of another representation the range does not count. */
function requestedRange(ctx: Context, blob: BlobRecord, etag: string): RangeRequest {
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

interface BlobBody {
  readonly stream: Readable;
  readonly length: number;
  readonly headers: Readonly<Record<string, string>>;
}

async function openBody(
  blobs: BlobService,
  repository: RepositoryName,
  blob: BlobRecord,
  request: RangeRequest,
): Promise<BlobBody> {
  if (request.kind !== 'ranges') {
    return { stream: await blobs.open(repository, blob), length: blob.size, headers: {} };
  }
  const [range, ...others] = request.ranges;
  if (others.length === 0) {
    const headers = { 'Content-Range': contentRange(range, blob.size) };
    return { stream: await blobs.open(repository, blob, range), length: range.end - range.start + 1, headers };
  }
  return multipartBody(blobs, repository, blob, request.ranges);
}

/** RFC 9110, section 14.6: multipart/byteranges, one part a range, opened one after the other. */
function multipartBody(
  blobs: BlobService,
  repository: RepositoryName,
  blob: BlobRecord,
  ranges: readonly ByteRange[],
): BlobBody {
  const boundary = randomBytes(16).toString('hex');
  const parts = ranges.map((range) => ({
    range,
    head: `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: ${contentRange(range, blob.size)}\r\n\r\n`,
  }));
  const tail = `\r\n--${boundary}--\r\n`;
  async function* generate() {
    for (const { range, head } of parts) {
      yield Buffer.from(head);
      yield* (await blobs.open(repository, blob, range)) as AsyncIterable<Buffer>;
    }
    yield Buffer.from(tail);
  }
  const length = parts.reduce((sum, { range, head }) => sum + head.length + range.end - range.start + 1, tail.length);
  return {
    stream: Readable.from(generate(), { objectMode: false }),
    length,
    headers: { 'Content-Type': `multipart/byteranges; boundary=${boundary}` },
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
