import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import type { Principal } from './principal.js';
import type { AccessRequest } from './rules.js';

/** The group of everything about images. */
export const imageGroup = 'image.openshift.io';

/** What may be done to the content of a repository, in the words of registry tokens. */
export type RepositoryAction = 'pull' | 'push' | 'delete';

/**
 * An action on a repository as checks on its image stream, all of which must pass (OpenShift's registry, and for deleting
 * the right to delete the tag through the API).
 */
export function repositoryRequests(action: RepositoryAction, repository: RepositoryName): readonly AccessRequest[] {
  const on = (verb: string, resource: string): AccessRequest => ({
    kind: 'resource',
    verb,
    group: imageGroup,
    resource,
    namespace: projectOf(repository),
    name: streamNameOf(repository),
  });
  switch (action) {
    case 'pull':
      return [on('get', 'imagestreams/layers')];
    case 'push':
      return [on('get', 'imagestreams/layers'), on('update', 'imagestreams/layers')];
    case 'delete':
      return [on('delete', 'imagestreamtags')];
  }
}

/** Who prunes may delete in every repository. */
export const pruneRequest: AccessRequest = { kind: 'resource', verb: 'delete', group: imageGroup, resource: 'images' };

/** The first push to a repository makes its stream. */
export function createRequest(repository: RepositoryName): AccessRequest {
  return {
    kind: 'resource',
    verb: 'create',
    group: imageGroup,
    resource: 'imagestreams',
    namespace: projectOf(repository),
  };
}

/** Adding a signature to an image of a repository. */
export function signRequest(repository: RepositoryName): AccessRequest {
  return {
    kind: 'resource',
    verb: 'create',
    group: imageGroup,
    resource: 'imagesignatures',
    namespace: projectOf(repository),
    name: streamNameOf(repository),
  };
}

/** Listing the names of the repositories of a project; of all when it is empty. */
export function catalogRequest(project: string): AccessRequest {
  return {
    kind: 'resource',
    verb: 'list',
    group: imageGroup,
    resource: 'imagestreams',
    ...(project !== '' && { namespace: project }),
  };
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
