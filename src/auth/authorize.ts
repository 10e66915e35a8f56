import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import type { Principal } from './principal.js';

/** What somebody wants to do, in the terms of Kubernetes (authorization.k8s.io SubjectAccessReview). */
export type AccessRequest =
  | {
      readonly kind: 'resource';
      readonly verb: string;
      readonly group: string;
      /** With its subresource after a slash, as in `imagestreams/layers`. */
      readonly resource: string;
      /** Undefined: in every namespace. */
      readonly namespace?: string;
      readonly name?: string;
    }
  | { readonly kind: 'path'; readonly verb: string; readonly path: string };

/** rbac.authorization.k8s.io PolicyRule. */
interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

const rulesOfGroups: ReadonlyMap<string, readonly PolicyRule[]> = new Map([
  [
    'system:masters',
    [
      { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
      { verbs: ['*'], nonResourceURLs: ['*'] },
    ],
  ],
  [
    'system:authenticated',
    [
      { verbs: ['get', 'update'], apiGroups: ['image.openshift.io'], resources: ['imagestreams/layers'] },
      { verbs: ['list'], apiGroups: ['image.openshift.io'], resources: ['imagestreams'] },
      { verbs: ['get'], nonResourceURLs: ['/v2/', '/metrics'] },
    ],
  ],
]);

/** What may be done to the content of a repository, in the words of registry tokens. */
export type RepositoryAction = 'pull' | 'push' | 'delete';

const verbs: Readonly<Record<RepositoryAction, string>> = { pull: 'get', push: 'update', delete: 'delete' };

/** An action on a repository as a check on its image stream. */
export function repositoryRequest(action: RepositoryAction, repository: RepositoryName): AccessRequest {
  return {
    kind: 'resource',
    verb: verbs[action],
    group: 'image.openshift.io',
    resource: 'imagestreams/layers',
    namespace: projectOf(repository),
    name: streamNameOf(repository),
  };
}

/** Listing the names of repositories. */
export const catalogRequest: AccessRequest = {
  kind: 'resource',
  verb: 'list',
  group: 'image.openshift.io',
  resource: 'imagestreams',
};

/** The one decision: whether rules granted to the principal allow the request. Narrowing by a token comes on top. */
export function authorize(principal: Principal, request: AccessRequest): boolean {
  return principal.groups.some((group) => rulesOfGroups.get(group)?.some((rule) => allows(rule, request)) ?? false);
}

/** Whether the token that was shown, if any, covers an action on a repository: a token narrows and never widens. */
export function tokenCovers(principal: Principal, action: RepositoryAction, repository: RepositoryName): boolean {
  if (principal.access === undefined) return true;
  return principal.access.some(
    ({ type, name, actions }) => type === 'repository' && name === repository && actions.includes(action),
  );
}

/** Whether the token that was shown, if any, covers listing the catalog. */
export function tokenCoversCatalog(principal: Principal): boolean {
  if (principal.access === undefined) return true;
  return principal.access.some(
    ({ type, name, actions }) => type === 'registry' && name === 'catalog' && actions.includes('*'),
  );
}

function allows(rule: PolicyRule, request: AccessRequest): boolean {
  if (!matches(rule.verbs, request.verb)) return false;
  switch (request.kind) {
    case 'resource':
      return matches(rule.apiGroups, request.group) && matches(rule.resources, request.resource);
    case 'path':
      return matches(rule.nonResourceURLs, request.path);
  }
}

function matches(allowed: readonly string[] | undefined, wanted: string): boolean {
  return allowed?.some((entry) => entry === '*' || entry === wanted) ?? false;
}
