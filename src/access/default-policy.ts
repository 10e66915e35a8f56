import {
  defaultClusterRoleBindings,
  defaultClusterRoles,
  openshiftNamespaceRole,
  openshiftNamespaceRoleBinding,
  projectAdminBinding,
  projectRoleBindings,
  type DefaultClusterRole,
  type DefaultClusterRoleBinding,
  type DefaultMetadata,
  type DefaultRoleBinding,
} from '../auth/default-roles.js';
import { policyResources } from '../auth/policy.js';
import { uncoveredRules, type PolicyRule } from '../auth/rules.js';
import type { Subject } from '../auth/subjects.js';
import { deepEqual, type JsonValue } from '../kube/json.js';
import { newMeta } from '../kube/object-meta.js';
import type { ApiObject, ObjectMeta, ObjectStore, ObjectWrite } from '../metadata/object-store.js';
import { autoupdateAnnotation, bindingSchema, bindingTraits, clusterRoleSchema } from './rbac-objects.js';

/** Of several processes that start at once, each but one finds the work done when it looks again. */
const attempts = 10;

/**
 * Brings the default ClusterRoles and ClusterRoleBindings up to date, at every start: what is missing is created, and to
 * what is there and annotated `rbac.authorization.kubernetes.io/autoupdate: "true"` the rules, selectors and subjects
 * that it lacks are added. Nothing is ever taken away, and labels stay as they are, so that a role that was taken out of
 * an aggregated one stays out.
 *
 * @throws {Error} when others change the same objects faster than this can
 */
export async function ensureDefaultPolicy(store: ObjectStore, now: () => Date): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const writes = await findMissing(store, now());
    if (writes.length === 0) return;
    const result = await store.commit(writes);
    if (result.kind === 'committed') return;
    if (attempt >= attempts) throw new Error(`the default roles could not be stored: ${result.reason}`);
  }
}

async function findMissing(store: ObjectStore, now: Date): Promise<readonly ObjectWrite[]> {
  const writes: (ObjectWrite | undefined)[] = [];
  const find = (resource: string, { metadata: { name } }: { readonly metadata: DefaultMetadata }) =>
    store.find({ resource, namespace: '', name });
  for (const role of defaultClusterRoles) {
    const present = await find(policyResources.clusterRoles, role);
    writes.push(present === undefined ? createRole(role, now) : addToRole(present, role));
  }
  for (const binding of defaultClusterRoleBindings) {
    const present = await find(policyResources.clusterRoleBindings, binding);
    writes.push(
      present === undefined
        ? createBinding(policyResources.clusterRoleBindings, binding, now)
        : addToBinding(present, binding),
    );
  }
  return writes.filter((write) => write !== undefined);
}

function createRole({ metadata, ...fields }: DefaultClusterRole, now: Date): ObjectWrite {
  return {
    kind: 'create',
    resource: policyResources.clusterRoles,
    object: { metadata: metadataOf(metadata, now), ...fields },
  };
}

function createBinding(
  resource: string,
  { metadata, subjects, roleRef }: DefaultClusterRoleBinding | DefaultRoleBinding,
  now: Date,
): ObjectWrite {
  return {
    kind: 'create',
    resource,
    object: { metadata: metadataOf(metadata, now), subjects, roleRef },
    ...bindingTraits({ subjects }, metadata.namespace ?? ''),
  };
}

function metadataOf({ name, namespace = '', labels, annotations }: DefaultMetadata, now: Date): ObjectMeta {
  return newMeta({ labels, annotations }, { name, namespace, now });
}

/** @returns undefined when nothing is missing */
function addToRole(present: ApiObject, { rules, aggregationRule }: DefaultClusterRole): ObjectWrite | undefined {
  if (!isUpdated(present)) return undefined;
  const current = clusterRoleSchema.parse(present);
  if (aggregationRule === undefined) {
    // Somebody made an aggregated role of it, in which rules of its own do not count.
    if (current.aggregationRule !== undefined) return undefined;
    const missing = missingRules(current.rules ?? [], rules ?? []);
    if (missing.length === 0) return undefined;
    return replaceRole({ ...present, rules: [...(current.rules ?? []), ...missing] });
  }
  const selectors = current.aggregationRule?.clusterRoleSelectors ?? [];
  const missing = without(aggregationRule.clusterRoleSelectors ?? [], selectors);
  if (missing.length === 0) return undefined;
  return replaceRole({
    metadata: present.metadata,
    aggregationRule: { clusterRoleSelectors: [...selectors, ...missing] },
  });
}

function replaceRole(object: ApiObject): ObjectWrite {
  return { kind: 'replace', resource: policyResources.clusterRoles, object };
}

/** Rules that let do something the present ones do not. */
function missingRules(present: readonly PolicyRule[], wanted: readonly PolicyRule[]): readonly PolicyRule[] {
  const uncovered = wanted.filter((rule) => uncoveredRules(present, [rule]).length > 0);
  // More rules than can be compared cover nothing: what stands there word for word is not added again.
  return without(uncovered, present);
}

/** @returns undefined when nothing is missing */
function addToBinding(present: ApiObject, { subjects, roleRef }: DefaultClusterRoleBinding): ObjectWrite | undefined {
  if (!isUpdated(present)) return undefined;
  const current = bindingSchema.parse(present);
  // What gives another role by now is somebody's own: nobody is to be given that.
  if (current.roleRef.kind !== roleRef.kind || current.roleRef.name !== roleRef.name) return undefined;
  const isPresent = (wanted: Subject) =>
    (current.subjects ?? []).some(({ kind, name }) => kind === wanted.kind && name === wanted.name);
  const missing = subjects.filter((subject) => !isPresent(subject));
  if (missing.length === 0) return undefined;
  const all = [...(current.subjects ?? []), ...missing];
  return {
    kind: 'replace',
    resource: policyResources.clusterRoleBindings,
    object: { ...present, subjects: all },
    ...bindingTraits({ subjects: all }, ''),
  };
}

function isUpdated({ metadata }: ApiObject): boolean {
  return metadata.annotations?.[autoupdateAnnotation] === 'true';
}

function without<T>(list: readonly T[], others: readonly T[]): readonly T[] {
  return list.filter((item) => !others.some((other) => deepEqual(item as JsonValue, other as JsonValue)));
}

/**
 * What a project starts with, to be committed together with its namespace: the default RoleBindings, and the one that
 * makes somebody its admin.
 *
 * @param admin name of the user who asked for the project; left out, it has no admin
 */
export function projectDefaults(namespace: string, now: Date, admin?: string): readonly ObjectWrite[] {
  const bindings = [
    ...projectRoleBindings(namespace),
    ...(admin === undefined ? [] : [projectAdminBinding(namespace, admin)]),
  ];
  return bindings.map((binding) => createBinding(policyResources.roleBindings, binding, now));
}

/**
 * What makes the image streams of namespace `openshift` everybody's to pull, to be committed together with it, beside
 * its `projectDefaults`.
 */
export function openshiftDefaults(now: Date): readonly ObjectWrite[] {
  const { metadata, rules } = openshiftNamespaceRole;
  return [
    { kind: 'create', resource: policyResources.roles, object: { metadata: metadataOf(metadata, now), rules } },
    createBinding(policyResources.roleBindings, openshiftNamespaceRoleBinding, now),
  ];
}
