import { z } from 'zod';
import { subjectLookup } from '../auth/policy.js';
import type { PolicyRule } from '../auth/rules.js';
import type { Subject } from '../auth/subjects.js';
import type { ObjectTraits } from '../metadata/object-store.js';

/** The group of roles and bindings, and of what they refer to. */
export const rbacGroup = 'rbac.authorization.k8s.io';

/** On a default object: whether a start adds to it what it lacks of its default, `true` or `false`. */
export const autoupdateAnnotation = 'rbac.authorization.kubernetes.io/autoupdate';

function words(description: string) {
  return z.array(z.string()).exactOptional().describe(description);
}

const ruleSchema = z.object({
  verbs: z.array(z.string()).describe('What may be done, such as get or create; * is everything.'),
  apiGroups: words('The API groups of the resources; the empty one is the core group, * are all.'),
  resources: words(
    'The resources the rule is for, with a subresource after a slash, as in imagestreams/layers; * are all.',
  ),
  resourceNames: words('Only objects of these names. Empty: all of them.'),
  nonResourceURLs: words(
    'Paths that are no resources, with a * at the end for all that begin so. In ClusterRoles only, and without resources.',
  ),
});

const selectorSchema = z.object({
  matchLabels: z.record(z.string(), z.string()).exactOptional().describe('Labels with these values.'),
  matchExpressions: z
    .array(
      z.object({
        key: z.string().describe('Name of a label.'),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: words('What In and NotIn compare with; empty for the others.'),
      }),
    )
    .exactOptional()
    .describe('Requirements that all must hold.'),
});

/** rbac.authorization.k8s.io Role. */
export const roleSchema = z.object({
  rules: z.array(ruleSchema).exactOptional().describe('What the role allows in its namespace.'),
});

/** rbac.authorization.k8s.io ClusterRole. */
export const clusterRoleSchema = z.object({
  rules: z
    .array(ruleSchema)
    .exactOptional()
    .describe(
      'What the role allows. With an aggregationRule the rules that were gathered; what is written is ignored.',
    ),
  aggregationRule: z
    .object({
      clusterRoleSelectors: z
        .array(selectorSchema)
        .exactOptional()
        .describe('ClusterRoles that any of these selects are taken in.'),
    })
    .exactOptional()
    .describe('Which other ClusterRoles the rules are gathered from.'),
});

/** rbac.authorization.k8s.io RoleBinding and ClusterRoleBinding. */
export const bindingSchema = z.object({
  subjects: z
    .array(
      z.object({
        kind: z.enum(['User', 'Group', 'ServiceAccount']),
        apiGroup: z
          .string()
          .exactOptional()
          .describe('Of the subject: empty for a ServiceAccount, rbac.authorization.k8s.io for a User or a Group.'),
        name: z.string().describe('Name of the user, the group or the service account; no name is a pattern.'),
        namespace: z.string().exactOptional().describe('Of a ServiceAccount, where it is required.'),
      }),
    )
    .exactOptional()
    .describe('Who is given the role.'),
  roleRef: z
    .object({
      apiGroup: z.string().exactOptional().describe('rbac.authorization.k8s.io, also when left out.'),
      kind: z.enum(['ClusterRole', 'Role']).describe('A Role is one of the same namespace.'),
      name: z.string(),
    })
    .describe('The role that is given. It cannot be changed.'),
});

/** The fields of a Role or ClusterRole beside its metadata. */
export type RoleFields = z.output<typeof clusterRoleSchema>;
/** The fields of a RoleBinding or ClusterRoleBinding beside its metadata. */
export type BindingFields = z.output<typeof bindingSchema>;

/** A role as it is kept: lists that are empty left out, and so are rules that are gathered from elsewhere. */
export function toStoredRole({ rules = [], aggregationRule }: RoleFields): RoleFields {
  return aggregationRule === undefined ? { rules: rules.map(withoutEmptyLists) } : { aggregationRule };
}

function withoutEmptyLists({ verbs, ...lists }: z.output<typeof ruleSchema>): z.output<typeof ruleSchema> {
  return { verbs, ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)) };
}

/** A binding as it is kept: with the groups that Kubernetes takes for granted. */
export function toStoredBinding({ subjects = [], roleRef }: BindingFields): BindingFields {
  const { apiGroup: roleGroup = '', kind: roleKind, name: roleName } = roleRef;
  return {
    ...(subjects.length > 0 && {
      subjects: subjects.map(({ kind, apiGroup = '', name, namespace = '' }) => ({
        kind,
        ...(kind === 'ServiceAccount' ? apiGroup !== '' && { apiGroup } : { apiGroup: apiGroup || rbacGroup }),
        name,
        ...(namespace !== '' && { namespace }),
      })),
    }),
    roleRef: { apiGroup: roleGroup || rbacGroup, kind: roleKind, name: roleName },
  };
}

/** By which a binding is found when somebody's rights are asked for. */
export function bindingTraits(
  { subjects = [] }: { readonly subjects?: readonly Subject[] },
  namespace: string,
): ObjectTraits {
  return { lookups: subjects.map((subject) => subjectLookup(subject, namespace)) };
}

/** Every right there is. */
export const fullAuthority: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];
