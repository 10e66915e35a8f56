import type { Context, Middleware, Next } from 'koa';
import { singleQuery } from '../http.js';
import { OciError } from '../oci/errors.js';

/** What the middleware asks. */
export interface MirrorOptions {
  /** The name here of a repository of another registry; undefined when it is not found here. */
  readonly findRepository: (registry: string, path: string) => Promise<string | undefined>;
  /** Under which Weir is configured to be called, as in `weir.example:5000`. */
  readonly ownHost: string | undefined;
}

/** `<name>` and the rest of the paths that are about a repository. */
const repositoryPath = /^\/v2\/(.+)\/((?:manifests|blobs|tags|referrers)\/[^/]+(?:\/[^/]*)?)$/;
const hostPattern = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;
const maxHostLength = 261;

/**
 * A client that uses this registry as a mirror says in `?ns=` which registry it means by the path (containerd, "Registry
 * Configuration"). The path becomes that of the repository here, for the routes and for the scope that clients are told to
 * ask for. What is not mirrored here is an unknown name, so that clients go on to the next mirror.
 */
export function mirrorParameter({ findRepository, ownHost }: MirrorOptions): Middleware {
  return async (ctx: Context, next: Next): Promise<void> => {
    const path = await mirroredPath(ctx, { findRepository, ownHost });
    if (path !== undefined) ctx.path = path;
    await next();
  };
}

/** @returns undefined when the path means this registry */
async function mirroredPath(ctx: Context, { findRepository, ownHost }: MirrorOptions): Promise<string | undefined> {
  if (!ctx.search.includes('ns=') || !ctx.path.startsWith('/v2/')) return undefined;
  const match = repositoryPath.exec(ctx.path);
  if (match === null) return undefined;
  const registry = mirroredRegistry(ctx);
  if (registry === undefined || isOwn(registry, ctx, ownHost)) return undefined;
  const [, name = '', rest = ''] = match;
  const repository = await findRepository(registry, name);
  if (repository !== undefined) return `/v2/${repository}/${rest}`;
  throw new OciError('NAME_UNKNOWN', { name: name.slice(0, 300), ns: registry, reason: 'not mirrored here' });
}

/** @returns undefined when there is none @throws {OciError} with status 400 */
function mirroredRegistry(ctx: Context): string | undefined {
  const text = singleQuery(ctx, 'ns');
  if (text === undefined || text === '') return undefined;
  const registry = text.toLowerCase();
  if (registry.length <= maxHostLength && hostPattern.test(registry)) return registry;
  throw new OciError('NAME_INVALID', { ns: text.slice(0, 300), expected: 'host or host:port of a registry' });
}

function isOwn(registry: string, ctx: Context, ownHost: string | undefined): boolean {
  return registry === ownHost?.toLowerCase() || registry === ctx.get('Host').toLowerCase();
}
