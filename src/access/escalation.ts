import { policyResources, type AccessPolicy } from '../auth/policy.js';
import { compactRules, describeRule, uncoveredRules, type PolicyRule } from '../auth/rules.js';
import { forbidden, notFound, type GroupResource } from '../kube/errors.js';
import { deepEqual, type JsonObject, type JsonValue } from '../kube/json.js';
import type { Call } from '../kube/resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import { rulesOfCaller } from './caller.js';
import {
  autoupdateAnnotation,
  bindingSchema,
  clusterRoleSchema,
  fullAuthority,
  rbacGroup,
  type BindingFields,
} from './rbac-objects.js';

/** An answer names no more of the rights that are missing. */
const maxDescribed = 100;

/** Where rights are looked up. */
export interface RightsSource {
  readonly store: ObjectStore;
  readonly policy: AccessPolicy;
}

/**
 * Nobody gives more than they have: what a role lets do must be covered by what its writer may do where the role counts,
 * unless they may `escalate` it. An `aggregationRule` takes every right there is, since labels of other roles widen it
 * later (Kubernetes RBAC, "Restrictions on role creation or update").
 *
 * Labels of a ClusterRole count as rights: they decide which roles gather its rules.
 *
 * @param old what it replaces
 * @throws {StatusError} Forbidden
 */
export async function requireRoleRights(
  { policy }: Pick<RightsSource, 'policy'>,
  call: Call,
  resource: GroupResource,
  object: ApiObject,
  old: ApiObject | undefined,
): Promise<void> {
  const { name } = object.metadata;
  if (old !== undefined && deepEqual(grantsOfRole(object), grantsOfRole(old))) return;
  // The name of a role that is yet to be is no name of a request, and so no `resourceNames` of a rule has it.
  if (await mayOnRole(call, 'escalate', resource.plural, old === undefined ? undefined : name)) return;
  const { rules = [] } = clusterRoleSchema.parse(object);
  await requireCovered(policy, call, rules, resource, name);
  if (object['aggregationRule'] === undefined && old?.['aggregationRule'] === undefined) return;
  if (uncoveredRules(await rulesOfCaller(policy, call, ''), fullAuthority).length > 0) {
    throw forbidden(resource, name, 'must have cluster-admin privileges to use the aggregationRule');
  }
}

/**
 * Nobody gives more than they have: the rules of the role that is bound must be covered by what the writer of the
 * binding may do where it counts, unless they may `bind` that role (Kubernetes RBAC, "Restrictions on role binding
 * creation or update").
 *
 * @param old what it replaces
 * @throws {StatusError} Forbidden; NotFound when the role is not there and the caller may not bind it all the same
 */
export async function requireBindingRights(
  { store, policy }: RightsSource,
  call: Call,
  resource: GroupResource,
  object: ApiObject,
  old: ApiObject | undefined,
): Promise<void> {
  if (old !== undefined && deepEqual(grantsOfBinding(object), grantsOfBinding(old))) return;
  const { roleRef } = bindingSchema.parse(object);
  const roles = rolesOf(roleRef);
  if (await mayOnRole(call, 'bind', roles.plural, roleRef.name)) return;
  const role = await store.find({
    resource: roles.storedAs,
    namespace: roleRef.kind === 'Role' ? call.namespace : '',
    name: roleRef.name,
  });
  if (role === undefined) throw notFound({ group: rbacGroup, plural: roles.plural }, roleRef.name);
  const rules = await policy.rulesOfBinding({ metadata: object.metadata, roleRef });
  await requireCovered(policy, call, rules, resource, object.metadata.name);
}

function rolesOf({ kind }: BindingFields['roleRef']): { readonly plural: string; readonly storedAs: string } {
  return kind === 'Role'
    ? { plural: 'roles', storedAs: policyResources.roles }
    : { plural: 'clusterroles', storedAs: policyResources.clusterRoles };
}

function mayOnRole(call: Call, verb: 'bind' | 'escalate', plural: string, name: string | undefined): Promise<boolean> {
  return call.may({
    verb,
    group: rbacGroup,
    resource: plural,
    namespace: call.namespace,
    ...(name !== undefined && { name }),
  });
}

/** All of a role that decides what it gives, now and after the next start. */
function grantsOfRole({ metadata, rules, aggregationRule }: ApiObject): JsonValue {
  return grants(metadata, { rules, aggregationRule, labels: metadata.namespace === undefined && metadata.labels });
}

/** All of a binding that decides what it gives, now and after the next start. */
function grantsOfBinding({ metadata, roleRef, subjects }: ApiObject): JsonValue {
  return grants(metadata, { roleRef, subjects });
}

function grants({ annotations }: ApiObject['metadata'], fields: Readonly<Record<string, unknown>>): JsonValue {
  const all = { ...fields, autoupdate: annotations?.[autoupdateAnnotation] };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as JsonObject;
}

async function requireCovered(
  policy: AccessPolicy,
  call: Call,
  wanted: readonly PolicyRule[],
  resource: GroupResource,
  name: string,
): Promise<void> {
  const missing = compactRules(uncoveredRules(await rulesOfCaller(policy, call, call.namespace), wanted));
  if (missing.length === 0) return;
  const { principal } = call;
  const groups = principal.groups.map((group) => JSON.stringify(group)).join(' ');
  const described = missing.slice(0, maxDescribed).map(describeRule).sort();
  if (missing.length > maxDescribed) described.push(`and ${missing.length - maxDescribed} more`);
  throw forbidden(
    resource,
    name,
    `user ${JSON.stringify(principal.name)} (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${described.join('\n')}`,
  );
}
