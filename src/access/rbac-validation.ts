import type { PolicyRule } from '../auth/rules.js';
import type { StatusCause } from '../kube/errors.js';
import { deepEqual } from '../kube/json.js';
import { invalidValue, nameCauses, requiredValue } from '../kube/object-meta.js';
import { rbacGroup, type BindingFields, type RoleFields } from './rbac-objects.js';

/** Whether an object is in a namespace or for the whole cluster. */
export type Scope = 'namespace' | 'cluster';

/** What is wrong with a Role or a ClusterRole (Kubernetes, pkg/apis/rbac/validation). */
export function roleCauses({ rules = [], aggregationRule }: RoleFields, scope: Scope): readonly StatusCause[] {
  const causes = rules.flatMap((rule, index) => ruleCauses(rule, scope, `rules[${index}]`));
  return aggregationRule === undefined ? causes : [...causes, ...aggregationCauses(aggregationRule)];
}

function ruleCauses(rule: PolicyRule, scope: Scope, field: string): readonly StatusCause[] {
  const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const causes: StatusCause[] = [];
  if (verbs.length === 0) causes.push(requiredValue(`${field}.verbs`, 'verbs must contain at least one value'));
  if (nonResourceURLs.length > 0) {
    const refuse = (why: string) => causes.push(invalidValue(`${field}.nonResourceURLs`, nonResourceURLs, why));
    if (scope === 'namespace') refuse('namespaced rules cannot apply to non-resource URLs');
    if (apiGroups.length > 0 || resources.length > 0 || resourceNames.length > 0) {
      refuse('rules cannot apply to both regular resources and non-resource URLs');
    }
    return causes;
  }
  if (apiGroups.length === 0) {
    causes.push(requiredValue(`${field}.apiGroups`, 'resource rules must supply at least one api group'));
  }
  if (resources.length === 0) {
    causes.push(requiredValue(`${field}.resources`, 'resource rules must supply at least one resource'));
  }
  return causes;
}

function aggregationCauses({
  clusterRoleSelectors = [],
}: NonNullable<RoleFields['aggregationRule']>): readonly StatusCause[] {
  const field = 'aggregationRule.clusterRoleSelectors';
  if (clusterRoleSelectors.length === 0) {
    return [requiredValue(field, 'at least one clusterRoleSelector required if aggregationRule is non-nil')];
  }
  return clusterRoleSelectors.flatMap(({ matchExpressions = [] }, selector) =>
    matchExpressions.flatMap(({ operator, values = [] }, expression) => {
      const valuesField = `${field}[${selector}].matchExpressions[${expression}].values`;
      const needsValues = operator === 'In' || operator === 'NotIn';
      if (needsValues && values.length === 0) {
        return [requiredValue(valuesField, "must be specified when `operator` is 'In' or 'NotIn'")];
      }
      if (!needsValues && values.length > 0) {
        const message = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        return [{ reason: 'FieldValueForbidden' as const, field: valuesField, message }];
      }
      return [];
    }),
  );
}

/**
 * What is wrong with a RoleBinding or a ClusterRoleBinding (Kubernetes, pkg/apis/rbac/validation).
 *
 * @param old the binding it replaces
 */
export function bindingCauses(
  { roleRef, subjects = [] }: BindingFields,
  old: BindingFields | undefined,
  scope: Scope,
): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  if (roleRef.apiGroup !== rbacGroup) {
    causes.push(unsupportedValue('roleRef.apiGroup', roleRef.apiGroup ?? '', [rbacGroup]));
  }
  if (scope === 'cluster' && roleRef.kind !== 'ClusterRole') {
    causes.push(unsupportedValue('roleRef.kind', roleRef.kind, ['ClusterRole']));
  }
  if (roleRef.name === '') causes.push(requiredValue('roleRef.name'));
  else causes.push(...nameCauses(roleRef.name, 'path-segment', 'roleRef.name'));
  causes.push(...subjects.flatMap((subject, index) => subjectCauses(subject, `subjects[${index}]`)));
  if (old !== undefined && !deepEqual(old.roleRef, roleRef)) {
    causes.push(invalidValue('roleRef', roleRef, 'cannot change roleRef'));
  }
  return causes;
}

function subjectCauses(
  { kind, apiGroup = '', name, namespace = '' }: NonNullable<BindingFields['subjects']>[number],
  field: string,
): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  if (name === '') causes.push(requiredValue(`${field}.name`));
  switch (kind) {
    case 'User':
    case 'Group':
      if (apiGroup !== rbacGroup) causes.push(unsupportedValue(`${field}.apiGroup`, apiGroup, [rbacGroup]));
      break;
    case 'ServiceAccount':
      if (name !== '') causes.push(...nameCauses(name, 'subdomain', `${field}.name`));
      if (apiGroup !== '') causes.push(unsupportedValue(`${field}.apiGroup`, apiGroup, ['']));
      if (namespace === '') causes.push(requiredValue(`${field}.namespace`));
      break;
  }
  return causes;
}

function unsupportedValue(field: string, value: string, supported: readonly string[]): StatusCause {
  const list = supported.map((word) => JSON.stringify(word)).join(', ');
  return {
    reason: 'FieldValueNotSupported',
    field,
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`,
  };
}
