import { z } from 'zod';
import { forbidden, StatusError, success } from '../kube/errors.js';
import type { Call, Resource } from '../kube/resource.js';
import { apiVersionOf } from '../kube/resource.js';
import { StoredResource } from '../kube/stored-resource.js';
import { namespacesResource, type ObjectStore } from '../metadata/object-store.js';
import { projectAnnotations, projectGroup } from './namespace-object.js';
import { namespaceStrategy, projectCauses } from './namespaces.js';
import type { ProjectContents } from './project-contents.js';

/** How users get projects of their own. */
export interface ProjectRequestOptions {
  readonly store: ObjectStore;
  readonly contents: ProjectContents;
  /** False: nobody but who may create projects anyway can request one. */
  readonly selfProvisioning: boolean;
  /** What those are told who may not; a sentence of OpenShift's when empty. */
  readonly message: string;
}

const usualMessage = 'You may not request a new project via this API.';

/** As OpenShift names what could not be requested. */
const requested = { group: projectGroup, plural: 'project' };

/**
 * project.openshift.io/v1 ProjectRequest: a project with its requester as administrator. Listing tells whether the caller
 * may request one, and asking for one answers with the Project.
 */
export function projectRequestResource({
  store,
  contents,
  selfProvisioning,
  message,
}: ProjectRequestOptions): Resource {
  const names = { ...requested, kind: 'Project', isNamespaced: false, storedAs: namespacesResource };
  const projects = new StoredResource(store, names, {
    ...namespaceStrategy,
    validate: projectCauses,
    alongside: ({ principal, now }, { metadata }) => contents.writes(metadata.name, { admin: principal.name, now }),
  });
  const refused = () =>
    new StatusError('Forbidden', message === '' ? usualMessage : message, {
      group: projectGroup,
      kind: 'projectrequests',
    });
  const mayRequest = async (call: Call) => {
    const { plural } = projectRequests;
    if (selfProvisioning) return call.may({ verb: 'create', group: projectGroup, resource: plural });
    return call.may({ verb: 'create', group: projectGroup, resource: 'projects' });
  };
  const projectRequests: Resource = {
    group: projectGroup,
    version: 'v1',
    kind: 'ProjectRequest',
    plural: 'projectrequests',
    singular: 'projectrequest',
    isNamespaced: false,
    verbs: ['create', 'list'],
    description: 'A request for a new project, whose administrator the requester becomes.',
    schema: z.object({ displayName: z.string().optional(), description: z.string().optional() }),
    storage: {
      list: async (call) => {
        if (!(await mayRequest(call))) throw refused();
        return success();
      },
      create: async (call, { metadata, ...fields }, options) => {
        if (!(await mayRequest(call))) throw refused();
        const { name = '' } = metadata as { readonly name?: string };
        const reserved = reservedName(name);
        if (reserved !== undefined) throw forbidden(requested, name, reserved);
        const { displayName = '', description = '' } = fields as { displayName?: string; description?: string };
        const annotations = {
          [projectAnnotations.displayName]: displayName,
          [projectAnnotations.description]: description,
          [projectAnnotations.requester]: call.principal.name,
        };
        // Labels and the rest are not for the requester to say, for policy may read them; nor is the beginning of a
        // generated name, which could be a reserved one.
        const { uid, creationTimestamp } = metadata;
        const project = await projects.create(
          call,
          { metadata: { name, uid, creationTimestamp, annotations } },
          options,
        );
        return { ...project, kind: 'Project', apiVersion: apiVersionOf({ group: projectGroup, version: 'v1' }) };
      },
    },
  };
  return projectRequests;
}

/** Why nobody gets a project of this name for the asking; undefined when it is free to be asked for. */
export function reservedName(name: string): string | undefined {
  if (/^(openshift|kubernetes|kube)$/.test(name))
    return `cannot request a project with the name ${JSON.stringify(name)}`;
  const [prefix] = /^(openshift|kubernetes|kube)-/.exec(name) ?? [];
  return prefix === undefined ? undefined : `cannot request a project starting with ${JSON.stringify(prefix)}`;
}
