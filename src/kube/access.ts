import type { Principal } from '../auth/principal.js';
import { authenticatedGroup, unauthenticatedGroup, anonymous } from '../auth/principal.js';
import type { AccessRequest } from '../auth/rules.js';
import { groupsOfServiceAccount, parseServiceAccountName } from '../auth/subjects.js';
import { badRequest, forbidden, StatusError } from './errors.js';

/** What the kernel asks before it does anything. */
export interface ApiAccess {
  /**
   * @param authorization the header; empty when there is none
   * @returns undefined when what was shown is worth nothing
   */
  readonly authenticate: (authorization: string) => Promise<Principal | undefined>;
  readonly allows: (principal: Principal, request: AccessRequest) => Promise<boolean>;
}

/** Names given in impersonation headers (Kubernetes, "User impersonation"). */
export interface Impersonation {
  readonly user: string;
  readonly groups: readonly string[];
  readonly uid: string | undefined;
}

/** @throws {StatusError} Unauthorized */
export async function authenticate(access: ApiAccess, authorization: string): Promise<Principal> {
  const principal = await access.authenticate(authorization);
  if (principal !== undefined) return principal;
  throw new StatusError('Unauthorized', 'Unauthorized', undefined, {
    headers: { 'WWW-Authenticate': 'Bearer realm="weir"' },
  });
}

/** @throws {StatusError} Forbidden, in the words of Kubernetes */
export async function requireAccess(access: ApiAccess, principal: Principal, request: AccessRequest): Promise<void> {
  if (await access.allows(principal, request)) return;
  if (request.kind === 'path') {
    throw new StatusError(
      'Forbidden',
      `forbidden: User "${principal.name}" cannot ${request.verb} path "${request.path}"`,
      {},
    );
  }
  const { verb, group, resource, namespace, name = '' } = request;
  const [plural = ''] = resource.split('/');
  const where =
    namespace === undefined || namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  throw forbidden(
    { group, plural },
    name,
    `User "${principal.name}" cannot ${verb} resource "${resource}" in API group "${group}" ${where}`,
  );
}

/**
 * Reads the impersonation headers.
 *
 * @param header the values of one, by its name
 * @returns undefined when there are none
 * @throws {StatusError} BadRequest, or Forbidden for attributes that are not supported
 */
export function impersonationOf(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  distinct: (name: string) => readonly string[],
): Impersonation | undefined {
  const names = Object.keys(headers).filter((name) => name.startsWith('impersonate-'));
  if (names.length === 0) return undefined;
  if (names.some((name) => !['impersonate-user', 'impersonate-group', 'impersonate-uid'].includes(name))) {
    throw new StatusError('Forbidden', 'impersonation of anything but a user, groups and a uid is not supported', {});
  }
  const [user = '', ...more] = distinct('impersonate-user');
  if (user === '' || more.length > 0) throw badRequest('impersonation needs exactly one Impersonate-User');
  return { user, groups: distinct('impersonate-group'), uid: distinct('impersonate-uid')[0] };
}

/**
 * The principal that is impersonated, when the caller may do that.
 *
 * @throws {StatusError} Forbidden
 */
export async function impersonate(
  access: ApiAccess,
  caller: Principal,
  { user, groups, uid }: Impersonation,
): Promise<Principal> {
  const account = parseServiceAccountName(user);
  const base = { kind: 'resource', verb: 'impersonate', group: '' } as const;
  await requireAccess(
    access,
    caller,
    account === undefined
      ? { ...base, resource: 'users', name: user }
      : { ...base, resource: 'serviceaccounts', namespace: account.namespace, name: account.name },
  );
  for (const name of groups) await requireAccess(access, caller, { ...base, resource: 'groups', name });
  if (uid !== undefined) {
    await requireAccess(access, caller, { ...base, group: 'authentication.k8s.io', resource: 'uids', name: uid });
  }
  const given = groups.length === 0 && account !== undefined ? groupsOfServiceAccount(account.namespace) : groups;
  const implied = user === anonymous.name ? unauthenticatedGroup : authenticatedGroup;
  return {
    kind: user === anonymous.name ? 'anonymous' : account === undefined ? 'user' : 'service-account',
    name: user,
    ...(uid !== undefined && { uid }),
    groups: [...new Set([...given, implied])],
    basis: { kind: 'nobody' },
  };
}
