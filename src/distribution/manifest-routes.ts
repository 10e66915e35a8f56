import type Router from '@koa/router';
import type { Context } from 'koa';
import type { Principal } from '../auth/principal.js';
import { readBody, sendEmpty } from '../http.js';
import { OciError } from '../oci/errors.js';
import { maxManifestSize } from '../oci/manifest.js';
import { decodeReason, ReasonError, reasonHeader } from '../oci/reason.js';
import { parseReference, parseTag, type Reference, type Tag } from '../oci/reference.js';
import { matchesEtag } from './blob-routes.js';
import type { Changer, ManifestService } from './manifests.js';
import type { RegistryEntrance } from './registry-entrance.js';
import type { RemoteManifests } from './remote-manifests.js';

/** The spec asks for ten; the answer repeats each in a header. */
const maxTagParameters = 100;

/** Manifests, OCI Distribution Spec end-3, end-7 and end-9. GET takes the right to pull, PUT to push, DELETE to delete. */
export function manifestRoutes(
  router: Router,
  { access, parseName }: RegistryEntrance,
  manifests: ManifestService,
  remote: RemoteManifests | undefined,
): void {
  router.get('/v2/*name/manifests/:reference', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const reference = parseReference(ctx.params['reference']!);
    await access.requireRepository(ctx, repository, 'pull');
    const prepared = await remote?.prepare(repository, reference);
    const head = ctx.method === 'HEAD';
    const manifest = head ? await manifests.stat(repository, reference) : await manifests.read(repository, reference);
    prepared?.served(manifest.digest);
    if (prepared?.warning !== undefined) ctx.set('Warning', prepared.warning);
    const etag = `"${manifest.digest}"`;
    ctx.set({ 'Docker-Content-Digest': manifest.digest, ETag: etag });
    if (matchesEtag(ctx.get('If-None-Match'), etag)) {
      sendEmpty(ctx, 304);
      return;
    }
    ctx.status = 200;
    // Set as a header: Koa's `type` would add a charset, and the spec wants no parameters.
    if ('bytes' in manifest) ctx.body = manifest.bytes;
    ctx.set('Content-Type', manifest.mediaType);
    ctx.length = manifest.size;
  });

  router.put('/v2/*name/manifests/:reference', async (ctx) => {
    const name = ctx.params['name']!;
    const repository = parseName(name);
    const reference = parseReference(ctx.params['reference']!);
    const tags = tagParameters(ctx, reference);
    const principal = await access.requireRepository(ctx, repository, 'push');
    const { digest, subject } = await manifests.put({
      repository,
      reference,
      tags,
      bytes: await readBody(ctx.req, maxManifestSize),
      contentType: mediaTypeOf(ctx.get('Content-Type')),
      by: changer(ctx, principal),
    });
    ctx.set('Location', `/v2/${name}/manifests/${digest}`);
    ctx.set('Docker-Content-Digest', digest);
    if (subject !== undefined) ctx.set('OCI-Subject', subject);
    if (tags.length > 0) ctx.set('OCI-Tag', [...tags]);
    sendEmpty(ctx, 201);
  });

  router.delete('/v2/*name/manifests/:reference', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const reference = parseReference(ctx.params['reference']!);
    const principal = await access.requireRepository(ctx, repository, 'delete');
    await manifests.delete(repository, reference, changer(ctx, principal));
    sendEmpty(ctx, 202);
  });
}

/** @throws {OciError} with status 400 when the reason is none */
function changer(ctx: Context, principal: Principal): Changer {
  try {
    return { principal, reason: decodeReason(ctx.get(reasonHeader)) };
  } catch (error) {
    if (!(error instanceof ReasonError)) throw error;
    throw new OciError('UNSUPPORTED', error.message, { status: 400 });
  }
}

/** OCI Distribution Spec, "Pushing Manifests": `?tag=` goes with a push by digest. */
function tagParameters(ctx: Context, reference: Reference): readonly Tag[] {
  const texts = [ctx.query['tag'] ?? []].flat();
  if (texts.length > 0 && reference.kind === 'tag') {
    throw new OciError('UNSUPPORTED', '?tag= goes with a push by digest', { status: 400 });
  }
  if (texts.length > maxTagParameters) {
    throw new OciError('UNSUPPORTED', `at most ${maxTagParameters} tags in one push`, { status: 414 });
  }
  return [...new Set(texts.map(parseTag))];
}

function mediaTypeOf(contentType: string): string | undefined {
  const mediaType = contentType.split(';', 1)[0]!.trim().toLowerCase();
  return mediaType === '' ? undefined : mediaType;
}
