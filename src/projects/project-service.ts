import type { AccessPolicy } from '../auth/policy.js';
import type { Principal } from '../auth/principal.js';
import { namespacesResource, type ObjectStore, type ObjectWrite } from '../metadata/object-store.js';
import { namespaceKey, newNamespace, projectAnnotations, projectGroup } from './namespace-object.js';
import type { ProjectContents } from './project-contents.js';
import { reservedName } from './project-requests.js';

/** For whom a push into a project that is not there makes it. */
export type CreateOnPush =
  /** those who may create projects; */
  | 'admins'
  /** those, and those who may request one, whose project it then is; */
  | 'self-provisioners'
  /** nobody. */
  | 'never';

/** What projects are made from. */
export interface ProjectServiceOptions {
  readonly store: ObjectStore;
  readonly policy: AccessPolicy;
  readonly contents: ProjectContents;
  readonly createOnPush: CreateOnPush;
  /** As for project requests. */
  readonly selfProvisioning: boolean;
  readonly now?: () => Date;
}

/** Makes projects for the registry. */
export class ProjectService {
  readonly #options: ProjectServiceOptions;
  readonly #now: () => Date;

  constructor(options: ProjectServiceOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
  }

  /** Whether the project is there, be it that it is going away. */
  async exists(project: string): Promise<boolean> {
    return (await this.#options.store.find(namespaceKey(project))) !== undefined;
  }

  /** Whether a push of somebody's would make the project, if it is not there. */
  async mayCreateForPush(principal: Principal, project: string): Promise<boolean> {
    return (await this.#projectFor(principal, project)) !== undefined;
  }

  /**
   * Makes the project that somebody pushes into, when it is not there and they may. To be asked before their right to
   * push is: they may be its administrator only afterwards.
   *
   * @param project a DNS label, as the first component of a repository name is
   * @returns `exists` also when it is going away, which the push then finds out
   */
  async createForPush(principal: Principal, project: string): Promise<'created' | 'exists' | 'refused'> {
    const { store, contents } = this.#options;
    if ((await store.find(namespaceKey(project))) !== undefined) return 'exists';
    const wanted = await this.#projectFor(principal, project);
    if (wanted === undefined) return 'refused';
    const annotations = { [projectAnnotations.requester]: principal.name };
    return createProject(store, contents, project, { ...wanted, annotations, now: this.#now() });
  }

  /** @returns undefined when they may not have it */
  async #projectFor(principal: Principal, project: string): Promise<{ readonly admin?: string } | undefined> {
    const { createOnPush, selfProvisioning, policy } = this.#options;
    if (createOnPush === 'never' || principal.kind === 'anonymous') return undefined;
    const mayCreate = (resource: string) =>
      policy.allows(principal, { kind: 'resource', verb: 'create', group: projectGroup, resource });
    if (await mayCreate('projects')) return {};
    if (createOnPush !== 'self-provisioners' || !selfProvisioning || reservedName(project) !== undefined) {
      return undefined;
    }
    return (await mayCreate('projectrequests')) ? { admin: principal.name } : undefined;
  }
}

/** Makes a project with all that is in one from the start, in one commit. */
export async function createProject(
  store: ObjectStore,
  contents: ProjectContents,
  name: string,
  {
    admin,
    annotations,
    more = [],
    now,
  }: {
    readonly admin?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly more?: readonly ObjectWrite[];
    readonly now: Date;
  },
): Promise<'created' | 'exists'> {
  const object = newNamespace(name, { ...(annotations !== undefined && { annotations }), now });
  const result = await store.commit([
    { kind: 'create', resource: namespacesResource, object },
    ...(await contents.writes(name, { admin, now })),
    ...more,
  ]);
  if (result.kind === 'committed') return 'created';
  if (result.reason === 'exists' && result.index === 0) return 'exists';
  throw new Error(`project ${name} could not be made: ${result.reason} at write ${result.index}`);
}
