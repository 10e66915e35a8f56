import Router from '@koa/router';
import type { Context, Middleware, Next } from 'koa';
import { OciError } from '../oci/errors.js';
import { adminRoutes } from './admin-routes.js';
import { ArchiveImport } from './archive-import.js';
import { archiveRoutes } from './archive-routes.js';
import { blobRoutes } from './blob-routes.js';
import type { BlobRedirects } from './blob-redirects.js';
import type { BlobService } from './blobs.js';
import { catalogRoutes } from './catalog-routes.js';
import type { CatalogService } from './catalog.js';
import { manifestRoutes } from './manifest-routes.js';
import type { ManifestService } from './manifests.js';
import type { RegistryEntrance } from './registry-entrance.js';
import { referrerRoutes } from './referrer-routes.js';
import type { ReferrerService } from './referrers.js';
import { signatureRoutes, signaturesHeader } from './signature-routes.js';
import type { RemoteManifests } from './remote-manifests.js';
import type { SignatureService } from './signatures.js';
import { tagRoutes } from './tag-routes.js';
import type { TagService } from './tags.js';
import { uploadRoutes } from './upload-routes.js';
import type { UploadService } from './uploads.js';

/** The services behind `/v2/`, and what OpenShift's registry has beside it. */
export interface DistributionServices {
  readonly blobs: BlobService;
  /** Whether and where clients are sent for the bytes of a blob; undefined: nowhere. */
  readonly redirects?: BlobRedirects | undefined;
  readonly uploads: UploadService;
  readonly manifests: ManifestService;
  /** Where manifests come from that are not here; undefined: from nowhere. */
  readonly remoteManifests?: RemoteManifests | undefined;
  readonly tags: TagService;
  readonly referrers: ReferrerService;
  readonly catalog: CatalogService;
  readonly signatures: SignatureService;
}

/** Everything under `/v2/`, the OCI Distribution Spec, and the extensions of OpenShift's registry. */
export function distributionRoutes(entrance: RegistryEntrance, services: DistributionServices): Router {
  const router = new Router({ sensitive: true });

  router.get('/v2', async (ctx) => {
    // Clients look at it also when they are asked to log in.
    ctx.set(signaturesHeader);
    await entrance.access.requireEntrance(ctx);
    ctx.set('Docker-Distribution-API-Version', 'registry/2.0');
    ctx.body = {};
  });

  catalogRoutes(router, entrance, services.catalog);
  tagRoutes(router, entrance, services.tags);
  referrerRoutes(router, entrance, services.referrers);
  // Before the blobs, whose pattern matches the path of an upload as well.
  uploadRoutes(router, entrance, services.uploads, services.blobs);
  blobRoutes(router, entrance, services.blobs, services.redirects);
  manifestRoutes(router, entrance, services.manifests, services.remoteManifests);
  signatureRoutes(router, entrance, services.signatures);
  archiveRoutes(router, entrance, new ArchiveImport(services));
  adminRoutes(router, entrance, services.blobs);
  return router;
}

/** Refuses paths that two readers might read differently; before any route looks at them. */
export function plainPaths(ctx: Context, next: Next): Promise<void> {
  if (/[%\\]|\/\/|\/\./.test(ctx.path)) checkPath(ctx.path);
  return next();
}

function checkPath(path: string): void {
  if (/%2f|%5c|%2e|%00|\\|\/\/|\/\.{1,2}(\/|$)/i.test(path)) {
    throw new OciError('NAME_INVALID', 'the path holds empty or relative parts, or encoded slashes or dots');
  }
  try {
    decodeURIComponent(path);
  } catch (error) {
    throw new OciError('NAME_INVALID', 'the path is not percent-encoded UTF-8', { cause: error });
  }
}

/** While the registry is being worked on: what is there can be pulled, and nothing comes or goes. */
export function readOnly(ctx: Context, next: Next): Promise<void> {
  if (ctx.method === 'GET' || ctx.method === 'HEAD' || !/^\/(v2|admin|extensions)(\/|$)/.test(ctx.path)) return next();
  throw new OciError(
    'UNSUPPORTED',
    { method: ctx.method, reason: 'the registry is read-only for maintenance; try again later' },
    { headers: { Allow: 'GET, HEAD' } },
  );
}

/** What no route answered: a known path with another method, or no path of the registry at all. */
export function unsupported(router: Router): Middleware {
  return (ctx) => {
    if (!/^\/v2(\/|$)/.test(ctx.path)) return;
    const allowed = new Set(router.match(ctx.path, ctx.method).path.flatMap((layer) => layer.methods));
    if (allowed.size === 0)
      throw new OciError('UNSUPPORTED', 'no such path in the OCI Distribution Spec', { status: 404 });
    const methods = [...allowed];
    throw new OciError(
      'UNSUPPORTED',
      { method: ctx.method, allowed: methods },
      { headers: { Allow: methods.join(', ') } },
    );
  };
}
