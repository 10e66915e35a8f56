import { randomUUID } from 'node:crypto';
import { nameCauses, timestamp } from '../kube/object-meta.js';
import {
  namespacesResource,
  type ApiObject,
  type ObjectKey,
  type ObjectMeta,
  type ObjectTraits,
} from '../metadata/object-store.js';

/** The API group of OpenShift's view of namespaces. */
export const projectGroup = 'project.openshift.io';

/** What OpenShift keeps about a project in the annotations of its namespace. */
export const projectAnnotations = {
  displayName: 'openshift.io/display-name',
  description: 'openshift.io/description',
  requester: 'openshift.io/requester',
} as const;

/** The label by which Kubernetes lets selectors name a namespace. */
const nameLabel = 'kubernetes.io/metadata.name';

/** By which namespaces that are going away are found among all. */
export const terminatingLookup = 'terminating';

/** Namespaces that an earlier version made, without what is in one from the start. */
export const bareLookup = 'bare';

/** Where the object of a namespace is. */
export function namespaceKey(name: string): ObjectKey {
  return { resource: namespacesResource, namespace: '', name };
}

/** A namespace as it begins (core/v1 Namespace), which is a project as well. */
export function newNamespace(
  name: string,
  { annotations, now }: { readonly annotations?: Readonly<Record<string, string>>; readonly now: Date },
): ApiObject {
  return activeNamespace({
    name,
    uid: randomUUID(),
    creationTimestamp: timestamp(now),
    ...(annotations !== undefined && { annotations }),
  });
}

/** A new namespace with this metadata; the rest is not for clients to say. */
export function activeNamespace(metadata: ObjectMeta): ApiObject {
  return {
    metadata: namespaceMeta(metadata),
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  };
}

/** With its label; and without finalizers, for which nothing here would wait. */
export function namespaceMeta({ finalizers: _finalizers, ...metadata }: ObjectMeta): ObjectMeta {
  const { name, labels } = metadata;
  // What is no name, and is refused for that, is no value of a label either.
  if (nameCauses(name, 'label').length > 0) return metadata;
  return { ...metadata, labels: { ...labels, [nameLabel]: name } };
}

/** A namespace from the moment it was deleted until the last thing in it is gone. */
export function terminatingNamespace(namespace: ApiObject, now: Date): ApiObject {
  return {
    ...namespace,
    metadata: { ...namespace.metadata, deletionTimestamp: timestamp(now) },
    status: { phase: 'Terminating' },
  };
}

/** What is kept beside a namespace. */
export function namespaceTraits({ metadata }: ApiObject): ObjectTraits {
  return metadata.deletionTimestamp === undefined ? {} : { lookups: [terminatingLookup] };
}
