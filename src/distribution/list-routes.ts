import type Router from '@koa/router';
import type { Context } from 'koa';
import type { RegistryAccess } from '../auth/registry-access.js';
import { setNextLink, singleQuery } from '../http.js';
import { parseDigest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { mediaTypes } from '../oci/media-types.js';
import { parseRepositoryName } from '../oci/repository-name.js';
import { maxPageSize, type ListPage, type ListService, type PageRequest } from './lists.js';

/**
 * Tags, referrers and the catalog: OCI Distribution Spec end-8 and end-12, and `_catalog` of distribution's API.
 * The first two take the right to pull, the catalog to list repositories.
 */
export function listRoutes(router: Router, access: RegistryAccess, lists: ListService): void {
  router.get('/v2/_catalog', async (ctx) => {
    const request = pageRequest(ctx);
    await access.requireCatalog(ctx);
    const page = await lists.repositories(request);
    linkNext(ctx, request, page, page.entries.at(-1));
    ctx.body = { repositories: page.entries };
  });

  router.get('/v2/*name/tags/list', async (ctx) => {
    const name = ctx.params['name']!;
    const repository = parseRepositoryName(name);
    const request = pageRequest(ctx);
    await access.requireRepository(ctx, repository, 'pull');
    const page = await lists.tags(repository, request);
    linkNext(ctx, request, page, page.entries.at(-1));
    ctx.body = { name, tags: page.entries };
  });

  router.get('/v2/*name/referrers/:digest', async (ctx) => {
    const repository = parseRepositoryName(ctx.params['name']!);
    const subject = parseDigest(ctx.params['digest']!);
    const request = pageRequest(ctx);
    const artifactType = singleQuery(ctx, 'artifactType');
    await access.requireRepository(ctx, repository, 'pull');
    const page = await lists.referrers(repository, subject, artifactType, request);
    linkNext(ctx, request, page, page.entries.at(-1)?.digest, { artifactType });
    if (artifactType !== undefined) ctx.set('OCI-Filters-Applied', 'artifactType');
    ctx.body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: page.entries });
    ctx.set('Content-Type', mediaTypes.ociIndex);
  });
}

/** @throws {OciError} UNSUPPORTED, status 400, when `n` is no natural number */
function pageRequest(ctx: Context): PageRequest {
  const n = singleQuery(ctx, 'n');
  if (n !== undefined && !/^\d{1,16}$/.test(n)) {
    throw new OciError(
      'UNSUPPORTED',
      { n: n.slice(0, 50), expected: `a number from 0 to ${maxPageSize}` },
      { status: 400 },
    );
  }
  return { n: n === undefined ? undefined : Number(n), last: singleQuery(ctx, 'last') };
}

function linkNext(
  ctx: Context,
  request: PageRequest,
  page: ListPage<unknown>,
  last: string | undefined,
  query: Readonly<Record<string, string | undefined>> = {},
): void {
  if (page.more) setNextLink(ctx, { ...query, n: request.n === undefined ? undefined : String(request.n), last });
}
