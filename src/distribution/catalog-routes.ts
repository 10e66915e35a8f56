import type Router from '@koa/router';
import type { CatalogService } from './catalog.js';
import type { RegistryEntrance } from './registry-entrance.js';
import { linkNextPage, parsePageRequest } from './page-query.js';

/** `_catalog` of distribution's API: the repositories of the projects in which the caller may list them. */
export function catalogRoutes(router: Router, { access }: RegistryEntrance, catalog: CatalogService): void {
  router.get('/v2/_catalog', async (ctx) => {
    const request = parsePageRequest(ctx);
    const projects = await access.requireCatalog(ctx);
    const page = await catalog.list(request, projects);
    linkNextPage(ctx, request, page, page.entries.at(-1));
    ctx.body = { repositories: page.entries };
  });
}
