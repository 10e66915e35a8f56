import type { Context } from 'koa';
import { requestOrigin } from '../http.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { Authenticator } from './authenticate.js';
import {
  authorize,
  catalogRequest,
  repositoryRequest,
  tokenCovers,
  tokenCoversCatalog,
  type AccessRequest,
  type RepositoryAction,
} from './authorize.js';
import type { Principal } from './principal.js';
import { registryAudience } from './tokens.js';

/** Where the token endpoint is. */
export const tokenPath = '/auth/token';

/** What a check comes to. */
interface Verdict {
  readonly request: AccessRequest;
  readonly covered: boolean;
  /** The scope a client should ask for. */
  readonly scope: string | undefined;
}

/**
 * What every route under `/v2/` asks before it does anything: who is it, and may they. Refusals are in the terms of
 * the OCI Distribution Spec, with the Bearer challenge (RFC 6750) that leads clients to the token endpoint.
 */
export class RegistryAccess {
  readonly #authenticator: Authenticator;
  readonly #publicUrl: string | undefined;

  constructor(authenticator: Authenticator, publicUrl: string | undefined) {
    this.#authenticator = authenticator;
    this.#publicUrl = publicUrl;
  }

  /**
   * @throws {OciError} UNAUTHORIZED when a login or a wider token may help, DENIED when it cannot
   */
  async requireRepository(ctx: Context, repository: RepositoryName, action: RepositoryAction): Promise<Principal> {
    const scope = scopeOf(repository, action);
    const principal = await this.#identify(ctx, scope);
    this.#check(ctx, principal, {
      request: repositoryRequest(action, repository),
      covered: tokenCovers(principal, action, repository),
      scope,
    });
    return principal;
  }

  /** Whether somebody may pull from a repository, with the token they showed or with a wider one. */
  mayPull(principal: Principal, repository: RepositoryName): boolean {
    return authorize(principal, repositoryRequest('pull', repository));
  }

  /**
   * For a mount: that the token which lets somebody push also lets them pull from the source.
   *
   * @throws {OciError} UNAUTHORIZED with a challenge for both, when a wider token would
   */
  requireMountSource(ctx: Context, principal: Principal, target: RepositoryName, source: RepositoryName): void {
    this.#check(ctx, principal, {
      request: repositoryRequest('pull', source),
      covered: tokenCovers(principal, 'pull', source),
      scope: `${scopeOf(target, 'push')} ${scopeOf(source, 'pull')}`,
    });
  }

  /** As `requireRepository`, for listing the names of all repositories. */
  async requireCatalog(ctx: Context): Promise<Principal> {
    const scope = 'registry:catalog:*';
    const principal = await this.#identify(ctx, scope);
    this.#check(ctx, principal, { request: catalogRequest, covered: tokenCoversCatalog(principal), scope });
    return principal;
  }

  /** As `requireRepository`, for a path that is no resource. */
  async requirePath(ctx: Context, path: string): Promise<Principal> {
    const principal = await this.#identify(ctx, undefined);
    this.#check(ctx, principal, { request: { kind: 'path', verb: 'get', path }, covered: true, scope: undefined });
    return principal;
  }

  async #identify(ctx: Context, scope: string | undefined): Promise<Principal> {
    const authentication = await this.#authenticator.authenticate(ctx.get('Authorization'));
    if (authentication.kind === 'refused') {
      throw new OciError('UNAUTHORIZED', refusals[authentication.scheme], {
        headers: this.#challenge(ctx, scope, authentication.scheme === 'bearer' ? 'invalid_token' : undefined),
      });
    }
    ctx.state['principal'] = authentication.principal;
    return authentication.principal;
  }

  #check(ctx: Context, principal: Principal, { request, covered, scope }: Verdict): void {
    const allowed = authorize(principal, request);
    if (allowed && covered) return;
    if (!allowed && principal.kind === 'user') throw new OciError('DENIED', { user: principal.name, needs: scope });
    const error = principal.access === undefined ? undefined : 'insufficient_scope';
    throw new OciError('UNAUTHORIZED', { needs: scope ?? 'a login' }, { headers: this.#challenge(ctx, scope, error) });
  }

  #challenge(ctx: Context, scope: string | undefined, error: string | undefined): Record<string, string> {
    const parts = [
      `realm="${requestOrigin(ctx, this.#publicUrl)}${tokenPath}"`,
      `service="${registryAudience}"`,
      ...(scope === undefined ? [] : [`scope="${scope}"`]),
      ...(error === undefined ? [] : [`error="${error}"`]),
    ];
    return { 'WWW-Authenticate': `Bearer ${parts.join(',')}` };
  }
}

/** Who pushes will want to look at what is there, so clients are sent for both at once. */
function scopeOf(repository: RepositoryName, action: RepositoryAction): string {
  return `repository:${repository}:${action === 'push' ? 'pull,push' : action}`;
}

const refusals = {
  basic: 'the user name or the password is wrong',
  bearer: 'the token is not valid or has expired; get a new one',
  unknown: 'expected Authorization: Bearer <token> or Basic <credentials>',
} as const;
