import type { AccessPolicy } from '../auth/policy.js';
import { allVerbs, type Column, type Resource, type ResourceStorage } from '../kube/resource.js';
import { StoredResource } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import { requireBindingRights, requireRoleRights } from './escalation.js';
import {
  bindingSchema,
  bindingTraits,
  clusterRoleSchema,
  rbacGroup,
  roleSchema,
  toStoredBinding,
  toStoredRole,
} from './rbac-objects.js';
import { bindingCauses, roleCauses } from './rbac-validation.js';

const common = { group: rbacGroup, version: 'v1', verbs: allVerbs } as const;

/**
 * Roles and bindings, `rbac.authorization.k8s.io/v1`. Whoever writes them gives no more than they have.
 *
 * @param policy over the same store
 */
export function rbacResources(store: ObjectStore, policy: AccessPolicy): readonly Resource[] {
  return [
    {
      ...common,
      ...clusterRoles,
      singular: 'clusterrole',
      description: 'ClusterRole is a set of rules that bindings give to subjects, in one namespace or everywhere.',
      schema: clusterRoleSchema,
      storage: withGatheredRules(roleStorage(store, policy, clusterRoles), policy),
    },
    {
      ...common,
      ...clusterRoleBindings,
      singular: 'clusterrolebinding',
      description: 'ClusterRoleBinding gives the rules of a ClusterRole to subjects, everywhere.',
      schema: bindingSchema,
      columns: bindingColumns,
      storage: bindingStorage(store, policy, clusterRoleBindings),
    },
    {
      ...common,
      ...roles,
      singular: 'role',
      description: 'Role is a set of rules that bindings of its namespace give to subjects.',
      schema: roleSchema,
      storage: roleStorage(store, policy, roles),
    },
    {
      ...common,
      ...roleBindings,
      singular: 'rolebinding',
      description: 'RoleBinding gives the rules of a Role or a ClusterRole to subjects, in its namespace.',
      schema: bindingSchema,
      columns: bindingColumns,
      storage: bindingStorage(store, policy, roleBindings),
    },
  ];
}

const clusterRoles = { group: rbacGroup, plural: 'clusterroles', kind: 'ClusterRole', isNamespaced: false };
const clusterRoleBindings = {
  group: rbacGroup,
  plural: 'clusterrolebindings',
  kind: 'ClusterRoleBinding',
  isNamespaced: false,
};
const roles = { group: rbacGroup, plural: 'roles', kind: 'Role', isNamespaced: true };
const roleBindings = { group: rbacGroup, plural: 'rolebindings', kind: 'RoleBinding', isNamespaced: true };

function roleStorage(store: ObjectStore, policy: AccessPolicy, names: typeof roles): StoredResource {
  const schema = names.isNamespaced ? roleSchema : clusterRoleSchema;
  const prepare = (object: ApiObject): ApiObject => ({
    metadata: object.metadata,
    ...toStoredRole(schema.parse(object)),
  });
  return new StoredResource(store, names, {
    nameRule: 'path-segment',
    prepareCreate: (_call, object) => prepare(object),
    prepareUpdate: (_call, object) => prepare(object),
    validate: (object) => roleCauses(schema.parse(object), names.isNamespaced ? 'namespace' : 'cluster'),
    mayWrite: (call, object, old) => requireRoleRights({ policy }, call, names, object, old),
  });
}

function bindingStorage(store: ObjectStore, policy: AccessPolicy, names: typeof roles): StoredResource {
  const prepare = (object: ApiObject): ApiObject => ({
    metadata: object.metadata,
    ...toStoredBinding(bindingSchema.parse(object)),
  });
  return new StoredResource(store, names, {
    nameRule: 'path-segment',
    prepareCreate: (_call, object) => prepare(object),
    prepareUpdate: (_call, object) => prepare(object),
    validate: (object, old) =>
      bindingCauses(
        bindingSchema.parse(object),
        old && bindingSchema.parse(old),
        names.isNamespaced ? 'namespace' : 'cluster',
      ),
    mayWrite: (call, object, old) => requireBindingRights({ store, policy }, call, names, object, old),
    traits: (object) => bindingTraits(bindingSchema.parse(object), object.metadata.namespace ?? ''),
  });
}

/**
 * Shows roles that gather the rules of others with those rules, as in Kubernetes, where a controller writes them down.
 * In a watch they are as stored: a change of another role is no change of theirs.
 */
function withGatheredRules(stored: StoredResource, policy: AccessPolicy): ResourceStorage {
  const shown = async (object: ApiObject): Promise<ApiObject> =>
    object['aggregationRule'] === undefined
      ? object
      : { ...object, rules: await policy.rulesOfClusterRole(object.metadata.name) };
  return {
    get: async (call, name) => shown(await stored.get(call, name)),
    list: async (call, query) => {
      const list = await stored.list(call, query);
      return { ...list, items: await Promise.all(list.items.map(shown)) };
    },
    create: async (call, object, options) => shown(await stored.create(call, object, options)),
    update: async (call, name, change, options) => {
      const { object, isNew } = await stored.update(call, name, change, options);
      return { object: await shown(object), isNew };
    },
    remove: stored.remove,
    watch: stored.watch,
  };
}

function subjectsColumn(name: string, kind: 'User' | 'Group' | 'ServiceAccount'): Column {
  return {
    name,
    type: 'string',
    description: `${name} in the role binding.`,
    priority: 1,
    cell: (object) =>
      (bindingSchema.parse(object).subjects ?? [])
        .filter((subject) => subject.kind === kind)
        .map((subject) => (kind === 'ServiceAccount' ? `${subject.namespace ?? ''}/${subject.name}` : subject.name))
        .join(', '),
  };
}

const bindingColumns: readonly Column[] = [
  {
    name: 'Role',
    type: 'string',
    description: 'The role that is given.',
    cell: (object) => {
      const { roleRef } = bindingSchema.parse(object);
      return `${roleRef.kind}/${roleRef.name}`;
    },
  },
  ageColumn,
  subjectsColumn('Users', 'User'),
  subjectsColumn('Groups', 'Group'),
  subjectsColumn('ServiceAccounts', 'ServiceAccount'),
];
