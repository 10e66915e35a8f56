import type { Context } from 'koa';
import { requestOrigin } from '../http.js';
import { OciError } from '../oci/errors.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import type { Authenticator } from './authenticate.js';
import {
  catalogRequest,
  repositoryRequests,
  tokenCovers,
  tokenCoversCatalog,
  type RepositoryAction,
} from './authorize.js';
import type { AccessPolicy } from './policy.js';
import type { Principal } from './principal.js';
import type { RepositoryRights } from './repository-rights.js';
import type { AccessRequest } from './rules.js';
import { registryAudience } from './tokens.js';

/** Where the token endpoint is. */
export const tokenPath = '/auth/token';

/** What RegistryAccess asks. */
export interface RegistryAccessParts {
  readonly authenticator: Authenticator;
  readonly policy: AccessPolicy;
  readonly rights: RepositoryRights;
  /** Whether nobody in particular may pull what projects make public. */
  readonly anonymousPull: boolean;
  readonly publicUrl: string | undefined;
  /** Why nothing can be pushed to a repository, whoever pushes; undefined when it can. */
  readonly refusePush: (repository: RepositoryName) => Promise<OciError | undefined>;
}

/** What a check comes to. */
interface Verdict {
  readonly allowed: boolean;
  /** Whether the token that was shown covers it. */
  readonly covered: boolean;
  /** The scope a client should ask for. */
  readonly scope: string | undefined;
}

/**
 * What every route under `/v2/` asks before it does anything: who is it, and may they. Refusals are in the terms of
 * the OCI Distribution Spec, with the Bearer challenge (RFC 6750) that leads clients to the token endpoint. What is not
 * there and what one may not see are refused alike.
 */
export class RegistryAccess {
  readonly #parts: RegistryAccessParts;

  constructor(parts: RegistryAccessParts) {
    this.#parts = parts;
  }

  /**
   * For a push, a repository that is not there yet takes the right to make it; its project is made on the way when the
   * configuration lets the pusher.
   *
   * @throws {OciError} UNAUTHORIZED when a login or a wider token may help, DENIED when it cannot, NAME_UNKNOWN when the
   *   project is not there and the caller may know that, UNSUPPORTED when nothing is ever pushed there
   */
  async requireRepository(ctx: Context, repository: RepositoryName, action: RepositoryAction): Promise<Principal> {
    const scope = scopeOf(repository, action);
    const principal = await this.#identify(ctx, scope);
    ctx.state['accessRequest'] = repositoryRequests(action, repository).at(-1);
    const covered = tokenCovers(principal, action, repository);
    // A token that does not cover the push must not make a project.
    if (action === 'push' && covered && principal.kind !== 'anonymous') {
      const verdict = await this.#parts.rights.admitPush(principal, repository);
      if (verdict === 'project-unknown') {
        throw new OciError('NAME_UNKNOWN', { project: projectOf(repository), expected: 'a project that exists' });
      }
      if (typeof verdict === 'object') throw new OciError('DENIED', verdict.refused);
      this.#check(ctx, principal, { allowed: verdict === 'allowed', covered, scope });
    } else {
      this.#check(ctx, principal, {
        allowed: await this.#parts.rights.may(principal, action, repository),
        covered,
        scope,
      });
    }
    const refusal = action === 'push' ? await this.#parts.refusePush(repository) : undefined;
    if (refusal !== undefined) throw refusal;
    return principal;
  }

  /** Whether somebody may pull from a repository, with the token they showed or with a wider one. */
  mayPull(principal: Principal, repository: RepositoryName): Promise<boolean> {
    return this.#parts.rights.may(principal, 'pull', repository);
  }

  /**
   * For a mount: that the token which lets somebody push also lets them pull from the source, which they may.
   *
   * @throws {OciError} UNAUTHORIZED with a challenge for both, when a wider token would
   */
  requireMountSource(ctx: Context, principal: Principal, target: RepositoryName, source: RepositoryName): void {
    this.#check(ctx, principal, {
      allowed: true,
      covered: tokenCovers(principal, 'pull', source),
      scope: `${scopeOf(target, 'push')} ${scopeOf(source, 'pull')}`,
    });
  }

  /** As `requireRepository`, for listing repositories. @returns the projects to list; undefined: all */
  async requireCatalog(ctx: Context): Promise<readonly string[] | undefined> {
    const scope = 'registry:catalog:*';
    const principal = await this.#identify(ctx, scope);
    ctx.state['accessRequest'] = catalogRequest('');
    const projects = await this.#parts.rights.catalogProjects(principal);
    this.#check(ctx, principal, {
      // Anyone who is logged in gets a list, though it may be empty.
      allowed: principal.kind !== 'anonymous' || projects === undefined || projects.length > 0,
      covered: tokenCoversCatalog(principal),
      scope,
    });
    return projects;
  }

  /** As `requireRepository`, for a path that is no resource, which no token covers that is narrowed. */
  async requirePath(ctx: Context, path: string): Promise<Principal> {
    const principal = await this.#identify(ctx, undefined);
    const request: AccessRequest = { kind: 'path', verb: 'get', path };
    ctx.state['accessRequest'] = request;
    this.#check(ctx, principal, {
      allowed: await this.#parts.policy.allows(principal, request),
      covered: principal.access === undefined,
      scope: undefined,
    });
    return principal;
  }

  /**
   * As `requireRepository`, for what takes a role of its own, which nobody in particular can have.
   *
   * @param repository what a token that is narrowed must let its bearer push to; left out, no such token covers it
   */
  async requireRole(ctx: Context, request: AccessRequest, repository?: RepositoryName): Promise<Principal> {
    const scope = repository && scopeOf(repository, 'push');
    const principal = await this.#identify(ctx, scope);
    ctx.state['accessRequest'] = request;
    this.#check(ctx, principal, {
      allowed: principal.kind !== 'anonymous' && (await this.#parts.policy.allows(principal, request)),
      covered: repository === undefined ? principal.access === undefined : tokenCovers(principal, 'push', repository),
      scope,
    });
    return principal;
  }

  /** The entrance of the registry: for everyone who is logged in, and for those whom a token lets in as nobody. */
  async requireEntrance(ctx: Context): Promise<void> {
    const principal = await this.#identify(ctx, undefined);
    const isLetIn = this.#parts.anonymousPull && ctx.get('Authorization') !== '';
    this.#check(ctx, principal, {
      allowed: principal.kind !== 'anonymous' || isLetIn,
      covered: true,
      scope: undefined,
    });
  }

  async #identify(ctx: Context, scope: string | undefined): Promise<Principal> {
    const authentication = await this.#parts.authenticator.authenticate(ctx.get('Authorization'), addressOf(ctx));
    if (authentication.kind === 'refused') {
      throw new OciError('UNAUTHORIZED', refusals[authentication.scheme], {
        headers: this.#challenge(ctx, scope, authentication.scheme === 'bearer' ? 'invalid_token' : undefined),
      });
    }
    ctx.state['principal'] = authentication.principal;
    return authentication.principal;
  }

  #check(ctx: Context, principal: Principal, { allowed, covered, scope }: Verdict): void {
    if (allowed && covered) return;
    if (!allowed && principal.kind !== 'anonymous') {
      throw new OciError('DENIED', { user: principal.name, needs: scope ?? 'a role that allows it' });
    }
    const error = principal.access === undefined ? undefined : 'insufficient_scope';
    throw new OciError('UNAUTHORIZED', { needs: scope ?? 'a login' }, { headers: this.#challenge(ctx, scope, error) });
  }

  #challenge(ctx: Context, scope: string | undefined, error: string | undefined): Record<string, string> {
    const parts = [
      `realm="${requestOrigin(ctx, this.#parts.publicUrl)}${tokenPath}"`,
      `service="${registryAudience}"`,
      ...(scope === undefined ? [] : [`scope="${scope}"`]),
      ...(error === undefined ? [] : [`error="${error}"`]),
    ];
    return { 'WWW-Authenticate': `Bearer ${parts.join(',')}` };
  }
}

/** The client's address, by which failed logins are counted. */
export function addressOf(ctx: Context): string {
  return ctx.req.socket.remoteAddress ?? '';
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
