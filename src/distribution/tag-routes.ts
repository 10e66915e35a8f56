import type Router from '@koa/router';
import { linkNextPage, parsePageRequest } from './page-query.js';
import type { TagService } from './tags.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** Tags, OCI Distribution Spec end-8. Listing them takes the right to pull. */
export function tagRoutes(router: Router, { access, parseName }: RegistryEntrance, tags: TagService): void {
  router.get('/v2/*name/tags/list', async (ctx) => {
    const name = ctx.params['name']!;
    const repository = parseName(name);
    const request = parsePageRequest(ctx);
    await access.requireRepository(ctx, repository, 'pull');
    const page = await tags.list(repository, request);
    linkNextPage(ctx, request, page, page.entries.at(-1));
    ctx.body = { name, tags: page.entries };
  });
}
