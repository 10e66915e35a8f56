import { compactRules, type PolicyRule } from './rules.js';

/** metav1.LabelSelectorRequirement. */
export interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values?: readonly string[];
}

/** metav1.LabelSelector. All of it must hold; an empty one selects everything. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly LabelSelectorRequirement[];
}

/** rbac.authorization.k8s.io AggregationRule. */
export interface AggregationRule {
  /** What any of these selects; none selects nothing. */
  readonly clusterRoleSelectors?: readonly LabelSelector[];
}

/** What aggregation needs to know of a rbac.authorization.k8s.io ClusterRole. */
export interface AggregableRole {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly rules?: readonly PolicyRule[];
  readonly aggregationRule?: AggregationRule;
}

/**
 * The rules a ClusterRole stands for: its own, or, when it has an `aggregationRule`, those of the ClusterRoles its
 * selectors find, and of what those aggregate in their turn. Whatever such a role has in `rules` does not count, as in
 * Kubernetes, where a controller overwrites it. Roles that aggregate each other are each counted once.
 *
 * Because labels put on any role later widen it, Kubernetes lets only those who hold every right write an
 * `aggregationRule`; so should the caller.
 */
export function aggregateRules(
  role: AggregableRole,
  allClusterRoles: readonly AggregableRole[],
): readonly PolicyRule[] {
  if (role.aggregationRule === undefined) return role.rules ?? [];
  const found = new Map([[role.metadata.name, role]]);
  // A Map hands out what is added to it while it is walked, so this ends when nothing new is selected.
  for (const { aggregationRule } of found.values()) {
    for (const selector of aggregationRule?.clusterRoleSelectors ?? []) {
      for (const candidate of allClusterRoles) {
        const { name, labels } = candidate.metadata;
        if (!found.has(name) && selectorMatches(selector, labels)) found.set(name, candidate);
      }
    }
  }
  return compactRules(
    [...found.values()]
      .filter(({ aggregationRule }) => aggregationRule === undefined)
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .flatMap(({ rules }) => rules ?? []),
  );
}

/** Whether a selector selects an object with these labels. */
export function selectorMatches(selector: LabelSelector, labels: Readonly<Record<string, string>> = {}): boolean {
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => valueOf(labels, key) === value) &&
    (selector.matchExpressions ?? []).every((requirement) => requirementHolds(requirement, labels))
  );
}

function requirementHolds(
  { key, operator, values = [] }: LabelSelectorRequirement,
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = valueOf(labels, key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/** Labels are somebody's words: `constructor` must not find what every object has. */
function valueOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
