import type Router from '@koa/router';
import type { Context } from 'koa';
import { sendEmpty, singleQuery } from '../http.js';
import type { UploadRecord } from '../metadata/upload-records.js';
import { digestAlgorithm, parseDigest, parseDigestAlgorithm, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { BlobService } from './blobs.js';
import { parseContentRange } from './byte-ranges.js';
import type { UploadBody, UploadKey, UploadService } from './uploads.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** Blob push, OCI Distribution Spec end-4, end-5, end-6, end-11, end-13 and end-14. All of it takes the right to push. */
export function uploadRoutes(
  router: Router,
  entrance: RegistryEntrance,
  uploads: UploadService,
  blobs: BlobService,
): void {
  const { access, parseName } = entrance;

  router.post('/v2/*name/blobs/uploads', async (ctx) => {
    const name = ctx.params['name']!;
    const repository = parseName(name);
    const mount = optionalQuery(ctx, 'mount', parseDigest);
    const from = optionalQuery(ctx, 'from', parseName);
    const digest = optionalQuery(ctx, 'digest', parseDigest);
    const algorithm = parseDigestAlgorithm(
      singleQuery(ctx, 'digest-algorithm') ?? (digest ? digestAlgorithm(digest) : 'sha256'),
    );
    const principal = await access.requireRepository(ctx, repository, 'push');

    if (mount !== undefined) {
      const source = await blobs.findMountSource(mount, from, (candidate) => access.mayPull(principal, candidate));
      if (source !== undefined) {
        access.requireMountSource(ctx, principal, repository, source);
        if (await blobs.mount(repository, mount)) {
          sendBlobCreated(ctx, name, mount);
          return;
        }
      }
    }

    if (digest !== undefined && hasBody(ctx)) {
      await uploads.receive(repository, principal.name, digest, requestBody(ctx));
      sendBlobCreated(ctx, name, digest);
      return;
    }
    const upload = await uploads.start(repository, principal.name, algorithm);
    sendSession(ctx, 202, name, upload);
  });

  router.register('/v2/*name/blobs/uploads', ['GET', 'PUT', 'PATCH', 'DELETE'], (ctx) => {
    throw new OciError('UNSUPPORTED', { method: ctx.method, allowed: ['POST'] }, { headers: { Allow: 'POST' } });
  });

  router.patch('/v2/*name/blobs/uploads/:session', async (ctx) => {
    const { name, key } = await sessionKey(ctx, entrance);
    await withCurrentRange(ctx, uploads, name, key, async () => {
      sendSession(ctx, 202, name, await uploads.append(key, requestBody(ctx)));
    });
  });

  router.put('/v2/*name/blobs/uploads/:session', async (ctx) => {
    const { name, key } = await sessionKey(ctx, entrance);
    const text = singleQuery(ctx, 'digest', 'DIGEST_INVALID');
    if (text === undefined) throw new OciError('DIGEST_INVALID', 'the digest of the whole blob is missing: ?digest=');
    const digest = parseDigest(text);
    await withCurrentRange(ctx, uploads, name, key, async () => {
      await uploads.finish(key, digest, hasBody(ctx) ? requestBody(ctx) : undefined);
      sendBlobCreated(ctx, name, digest);
    });
  });

  router.get('/v2/*name/blobs/uploads/:session', async (ctx) => {
    const { name, key } = await sessionKey(ctx, entrance);
    sendSession(ctx, 204, name, await uploads.status(key));
  });

  router.delete('/v2/*name/blobs/uploads/:session', async (ctx) => {
    const { key } = await sessionKey(ctx, entrance);
    await uploads.cancel(key);
    sendEmpty(ctx, 204);
  });
}

function optionalQuery<T>(ctx: Context, name: string, parse: (text: string) => T): T | undefined {
  const text = singleQuery(ctx, name);
  return text === undefined || text === '' ? undefined : parse(text);
}

async function sessionKey(
  ctx: Context & { params: Record<string, string> },
  { access, parseName }: RegistryEntrance,
): Promise<{ readonly name: string; readonly key: UploadKey }> {
  const name = ctx.params['name']!;
  const repository: RepositoryName = parseName(name);
  const principal = await access.requireRepository(ctx, repository, 'push');
  return { name, key: { repository, id: ctx.params['session']!, principal: principal.name } };
}

/** A chunk out of order is answered with where the session stands, so that the client can go on without asking. */
async function withCurrentRange(
  ctx: Context,
  uploads: UploadService,
  name: string,
  key: UploadKey,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof OciError) || error.status !== 416) throw error;
    setSessionHeaders(ctx, name, await uploads.status(key));
    throw error;
  }
}

function hasBody(ctx: Context): boolean {
  return ctx.get('Transfer-Encoding') !== '' || Number(ctx.get('Content-Length')) > 0;
}

function requestBody(ctx: Context): UploadBody {
  const range = ctx.get('Content-Range');
  const length = ctx.get('Content-Length');
  try {
    return {
      source: ctx.req,
      range: range === '' ? undefined : parseContentRange(range),
      length: length === '' ? undefined : Number(length),
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OciError(
      'BLOB_UPLOAD_INVALID',
      { contentRange: range.slice(0, 100), expected: error.message },
      { status: 416 },
    );
  }
}

function sendSession(ctx: Context, status: number, name: string, upload: UploadRecord): void {
  setSessionHeaders(ctx, name, upload);
  sendEmpty(ctx, status);
}

function setSessionHeaders(ctx: Context, name: string, upload: UploadRecord): void {
  ctx.set('Location', `/v2/${name}/blobs/uploads/${upload.id}`);
  // Both ends of Range are inclusive, so an empty session also reads "0-0".
  ctx.set('Range', `0-${Math.max(upload.size - 1, 0)}`);
  ctx.set('Docker-Upload-UUID', upload.id);
}

function sendBlobCreated(ctx: Context, name: string, digest: Digest): void {
  ctx.set('Location', `/v2/${name}/blobs/${digest}`);
  ctx.set('Docker-Content-Digest', digest);
  sendEmpty(ctx, 201);
}
