import type { Principal } from './principal.js';

/** rbac.authorization.k8s.io Subject: who a binding gives a role to. */
export type Subject =
  | { readonly kind: 'User'; readonly apiGroup?: string; readonly name: string }
  | { readonly kind: 'Group'; readonly apiGroup?: string; readonly name: string }
  | {
      readonly kind: 'ServiceAccount';
      readonly apiGroup?: string;
      /** The binding's own when left out. */
      readonly namespace?: string;
      readonly name: string;
    };

/** A service account by its two names. */
export interface ServiceAccountReference {
  readonly namespace: string;
  readonly name: string;
}

const serviceAccountPrefix = 'system:serviceaccount:';

/**
 * Whether a subject of a binding is this principal. Names are compared exactly, and no name is a pattern.
 *
 * @param bindingNamespace of a RoleBinding; undefined for a ClusterRoleBinding, where a service account without a
 *   namespace is nobody
 */
export function subjectMatches(
  subject: Subject,
  principal: Pick<Principal, 'name' | 'groups'>,
  bindingNamespace: string | undefined,
): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === principal.name;
    case 'Group':
      return principal.groups.includes(subject.name);
    case 'ServiceAccount': {
      // Protobuf cannot tell an empty namespace from none.
      const namespace = subject.namespace === '' ? bindingNamespace : (subject.namespace ?? bindingNamespace);
      return namespace !== undefined && principal.name === serviceAccountName(namespace, subject.name);
    }
  }
}

/** The user name of a service account, `system:serviceaccount:<namespace>:<name>`. */
export function serviceAccountName(namespace: string, name: string): string {
  return `${serviceAccountPrefix}${namespace}:${name}`;
}

/** @returns which service account a user name belongs to; undefined when it is not one of a service account */
export function parseServiceAccountName(userName: string): ServiceAccountReference | undefined {
  if (!userName.startsWith(serviceAccountPrefix)) return undefined;
  const [namespace = '', name = '', ...more] = userName.slice(serviceAccountPrefix.length).split(':');
  // A namespace is a DNS label and the name a DNS subdomain (RFC 1123).
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) return undefined;
  if (name.length > 253 || !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)) {
    return undefined;
  }
  return more.length === 0 ? { namespace, name } : undefined;
}

/** The groups every service account of a namespace is in. */
export function groupsOfServiceAccount(namespace: string): readonly string[] {
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
}
