import type Router from '@koa/router';
import { singleQuery } from '../http.js';
import { parseDigest } from '../oci/digest.js';
import { mediaTypes } from '../oci/media-types.js';
import { linkNextPage, parsePageRequest } from './page-query.js';
import type { ReferrerService } from './referrers.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** Referrers, OCI Distribution Spec end-12. Listing them takes the right to pull. */
export function referrerRoutes(
  router: Router,
  { access, parseName }: RegistryEntrance,
  referrers: ReferrerService,
): void {
  router.get('/v2/*name/referrers/:digest', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const subject = parseDigest(ctx.params['digest']!);
    const request = parsePageRequest(ctx);
    const artifactType = singleQuery(ctx, 'artifactType');
    await access.requireRepository(ctx, repository, 'pull');
    const page = await referrers.list(repository, subject, artifactType, request);
    linkNextPage(ctx, request, page, page.entries.at(-1)?.digest, { artifactType });
    if (artifactType !== undefined) ctx.set('OCI-Filters-Applied', 'artifactType');
    ctx.body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: page.entries });
    ctx.set('Content-Type', mediaTypes.ociIndex);
  });
}
