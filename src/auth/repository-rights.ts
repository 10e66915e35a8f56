import type { RepositoryName } from '../oci/repository-name.js';
import { projectOf } from '../oci/repository-name.js';
import { catalogRequest, createRequest, pruneRequest, repositoryRequests, type RepositoryAction } from './authorize.js';
import type { AccessPolicy } from './policy.js';
import type { Principal } from './principal.js';
import type { AccessRequest } from './rules.js';
import type { Rights } from './token-scope.js';

/** What the rights of a pusher depend on, beside roles. */
export interface PushTargets {
  readonly repositoryExists: (repository: RepositoryName) => Promise<boolean>;
  readonly projectExists: (project: string) => Promise<boolean>;
  /** Whether somebody's push into a project that does not exist would make it. */
  readonly mayCreateProject: (principal: Principal, project: string) => Promise<boolean>;
  /** Makes the project, if they may and it is still not there. */
  readonly createProject: (principal: Principal, project: string) => Promise<void>;
  /** Why a project takes no further repository; undefined when it does. */
  readonly refuseRepository: (project: string) => Promise<string | undefined>;
}

/** What stands between somebody and an action: nothing, a missing right, or a missing project. */
export type PushVerdict = 'allowed' | 'denied' | 'project-unknown' | { readonly refused: string };

/** What roles let people do in repositories. Narrowing by a token comes on top. */
export class RepositoryRights {
  readonly #policy: AccessPolicy;
  readonly #targets: PushTargets;
  readonly #anonymousPull: boolean;

  /** @param anonymousPull whether bindings of `system:unauthenticated` count */
  constructor(policy: AccessPolicy, targets: PushTargets, { anonymousPull }: { readonly anonymousPull: boolean }) {
    this.#policy = policy;
    this.#targets = targets;
    this.#anonymousPull = anonymousPull;
  }

  /** Of a principal, as the token endpoint asks for them. */
  of(principal: Principal): Rights {
    return {
      mayInRepository: async (action, repository) =>
        (await this.may(principal, action, repository)) ||
        (action !== 'delete' && (await this.#mayMakeProject(principal, repository))),
      mayListCatalog: async () => principal.kind !== 'anonymous' || (await this.#isAnyListed(principal)),
    };
  }

  async may(principal: Principal, action: RepositoryAction, repository: RepositoryName): Promise<boolean> {
    if (principal.kind === 'anonymous' && !(this.#anonymousPull && action === 'pull')) return false;
    if (await this.#allowsAll(principal, repositoryRequests(action, repository))) return true;
    return action === 'delete' && this.#policy.allows(principal, pruneRequest);
  }

  /**
   * Whether somebody may push, now: into a repository that is there, or one that they may make. The project is made on
   * the way when it is not there and the configuration lets them.
   */
  async admitPush(principal: Principal, repository: RepositoryName): Promise<PushVerdict> {
    if (await this.#targets.repositoryExists(repository)) {
      return (await this.may(principal, 'push', repository)) ? 'allowed' : 'denied';
    }
    const project = projectOf(repository);
    if (!(await this.#targets.projectExists(project))) {
      if (!(await this.#targets.mayCreateProject(principal, project))) {
        const mayKnow = await this.#policy.allows(principal, {
          kind: 'resource',
          verb: 'get',
          group: 'project.openshift.io',
          resource: 'projects',
        });
        return mayKnow ? 'project-unknown' : 'denied';
      }
      await this.#targets.createProject(principal, project);
    }
    const mayPush = await this.may(principal, 'push', repository);
    if (!mayPush || !(await this.#policy.allows(principal, createRequest(repository)))) return 'denied';
    const refused = await this.#targets.refuseRepository(project);
    return refused === undefined ? 'allowed' : { refused };
  }

  /** The projects whose repositories somebody may list; undefined when it is all of them. */
  async catalogProjects(principal: Principal): Promise<readonly string[] | undefined> {
    if (principal.kind === 'anonymous' && !this.#anonymousPull) return [];
    return this.#policy.namespacesWhere(principal, catalogRequest);
  }

  async #isAnyListed(principal: Principal): Promise<boolean> {
    const projects = await this.catalogProjects(principal);
    return projects === undefined || projects.length > 0;
  }

  async #mayMakeProject(principal: Principal, repository: RepositoryName): Promise<boolean> {
    if (principal.kind === 'anonymous') return false;
    const project = projectOf(repository);
    if (await this.#targets.projectExists(project)) return false;
    return this.#targets.mayCreateProject(principal, project);
  }

  async #allowsAll(principal: Principal, requests: readonly AccessRequest[]): Promise<boolean> {
    for (const request of requests) if (!(await this.#policy.allows(principal, request))) return false;
    return true;
  }
}
