/** rbac.authorization.k8s.io PolicyRule. An absent list and an empty one are the same. */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  /** With a subresource after a slash. `*` is everything; `*` before the slash, that subresource of every resource. */
  readonly resources?: readonly string[];
  /** Only objects of these names; empty: all of them. */
  readonly resourceNames?: readonly string[];
  /** Whole paths, or beginnings of paths with a `*` at the end. */
  readonly nonResourceURLs?: readonly string[];
}

/** What somebody wants to do, in the terms of Kubernetes (authorization.k8s.io SubjectAccessReview). */
export type AccessRequest =
  | {
      readonly kind: 'resource';
      readonly verb: string;
      readonly group: string;
      /** With its subresource after a slash, as in `imagestreams/layers`. */
      readonly resource: string;
      /** Undefined: in every namespace. */
      readonly namespace?: string;
      readonly name?: string;
    }
  | { readonly kind: 'path'; readonly verb: string; readonly path: string };

/**
 * Whether one rule allows a request. Where the rule holds is not looked at: a rule of a RoleBinding must be asked only
 * about requests in its namespace.
 *
 * As in Kubernetes, `*` in a request is a word like any other, which only `*` in a rule allows; `pods/*` is no pattern;
 * and a rule for some names never allows what has no name, as `list` and `create` do.
 */
export function ruleAllows(rule: PolicyRule, request: AccessRequest): boolean {
  if (!hasWord(rule.verbs, request.verb)) return false;
  switch (request.kind) {
    case 'resource':
      return (
        hasWord(rule.apiGroups, request.group) &&
        (rule.resources?.some((resource) => resourceMatches(resource, request.resource)) ?? false) &&
        nameMatches(rule.resourceNames, request.name)
      );
    case 'path':
      return rule.nonResourceURLs?.some((url) => urlCovers(url, request.path)) ?? false;
  }
}

/** Whether any of the rules allows a request, with the caveat of `ruleAllows` about namespaces. */
export function rulesAllow(rules: readonly PolicyRule[], request: AccessRequest): boolean {
  return rules.some((rule) => ruleAllows(rule, request));
}

function hasWord(allowed: readonly string[] | undefined, wanted: string): boolean {
  return allowed?.some((word) => word === '*' || word === wanted) ?? false;
}

function resourceMatches(allowed: string, wanted: string): boolean {
  return allowed === '*' || allowed === wanted || allowed === everyResourceWith(wanted);
}

/** How a rule writes the subresource of a resource for every resource; undefined when there is no subresource. */
function everyResourceWith(resource: string): string | undefined {
  const slash = resource.indexOf('/');
  return slash === -1 || slash === resource.length - 1 ? undefined : `*${resource.slice(slash)}`;
}

function nameMatches(allowed: readonly string[] | undefined, wanted: string | undefined): boolean {
  if (allowed === undefined || allowed.length === 0) return true;
  return wanted !== undefined && wanted !== '' && allowed.includes(wanted);
}

/** Also for a `path` that is itself a beginning: `/apis/*` covers `/apis/apps/*`. */
function urlCovers(allowed: string, path: string): boolean {
  if (allowed === path) return true;
  return allowed.endsWith('*') && path.startsWith(allowed.replace(/\*+$/, ''));
}

/**
 * How many single things are looked at for one question about escalation. Rules multiply out (a thousand verbs for a
 * thousand resources), and whoever writes a role must not be able to hold the process with it. The rules of all default
 * roles together come to less than a tenth of what may be wanted.
 */
const maxWantedSteps = 20_000;
const maxHeldSteps = 100_000;

/**
 * What somebody who holds some rules would gain by being given others, as Kubernetes tells it (its check against
 * privilege escalation): every verb, group, resource and name of the wanted rules, taken singly, must be covered by one
 * held rule, and a wildcard only by a wildcard. Who may `escalate` or `bind` need not be asked.
 *
 * A wanted rule too large to take apart is given back whole, and a held one too large to take apart covers nothing: the
 * answer errs on the side of refusing.
 *
 * @returns empty when everything is covered, and otherwise one rule for each single thing that is not;
 *   `compactRules` makes them readable
 */
export function uncoveredRules(held: readonly PolicyRule[], wanted: readonly PolicyRule[]): readonly PolicyRule[] {
  const grants = new Grants(held);
  const uncovered: PolicyRule[] = [];
  let stepsLeft = maxWantedSteps;
  for (const rule of compactRules(wanted)) {
    const urls = rule.nonResourceURLs?.length ?? 0;
    const steps = resourceSteps(rule) + urls * (rule.verbs.length + grants.urlCount);
    if (steps > stepsLeft) {
      uncovered.push(rule);
      continue;
    }
    stepsLeft -= steps;
    uncovered.push(...uncoveredResources(grants, rule), ...uncoveredUrls(grants, rule));
  }
  return withoutRepetitions(uncovered);
}

function* uncoveredResources(grants: Grants, rule: PolicyRule): Iterable<PolicyRule> {
  for (const group of rule.apiGroups ?? []) {
    for (const resource of rule.resources ?? []) {
      for (const name of namesOf(rule)) {
        const verbs = grants.verbsForResource(group, resource, name);
        for (const verb of rule.verbs) {
          if (isGranted(verbs, verb)) continue;
          const single = { verbs: [verb], apiGroups: [group], resources: [resource] };
          yield name === undefined ? single : { ...single, resourceNames: [name] };
        }
      }
    }
  }
}

function* uncoveredUrls(grants: Grants, rule: PolicyRule): Iterable<PolicyRule> {
  for (const url of rule.nonResourceURLs ?? []) {
    const verbs = grants.verbsForUrl(url);
    for (const verb of rule.verbs) {
      if (!isGranted(verbs, verb)) yield { verbs: [verb], nonResourceURLs: [url] };
    }
  }
}

function isGranted(grants: readonly ReadonlySet<string>[], verb: string): boolean {
  return grants.some((verbs) => verbs.has(verb) || verbs.has('*'));
}

/** The names a rule is for; undefined stands for all of them. */
function namesOf(rule: PolicyRule): readonly (string | undefined)[] {
  return rule.resourceNames === undefined || rule.resourceNames.length === 0 ? [undefined] : rule.resourceNames;
}

function resourceSteps(rule: PolicyRule): number {
  return (
    rule.verbs.length *
    (rule.apiGroups?.length ?? 0) *
    (rule.resources?.length ?? 0) *
    Math.max(namesOf(rule).length, 1)
  );
}

/** Held rules taken apart, so that a question costs the same however many rules are held. */
class Grants {
  /** Group, resource, name (undefined: all) -> verbs. */
  readonly #resources = new Map<string, Map<string, Map<string | undefined, Set<string>>>>();
  readonly #urls = new Map<string, Set<string>>();

  constructor(held: readonly PolicyRule[]) {
    let stepsLeft = maxHeldSteps;
    for (const rule of compactRules(held)) {
      const steps = resourceSteps(rule) + rule.verbs.length * (rule.nonResourceURLs?.length ?? 0);
      if (steps > stepsLeft) continue;
      stepsLeft -= steps;
      this.#add(rule);
    }
  }

  #add(rule: PolicyRule): void {
    for (const group of rule.apiGroups ?? []) {
      const resources = entry(this.#resources, group, () => new Map<string, Map<string | undefined, Set<string>>>());
      for (const resource of rule.resources ?? []) {
        const names = entry(resources, resource, () => new Map<string | undefined, Set<string>>());
        for (const name of namesOf(rule)) addAll(entry(names, name, newSet), rule.verbs);
      }
    }
    for (const url of rule.nonResourceURLs ?? []) addAll(entry(this.#urls, url, newSet), rule.verbs);
  }

  /** How many paths a question about one path is compared with. */
  get urlCount(): number {
    return this.#urls.size;
  }

  /** @param name undefined asks for what is granted for all names */
  verbsForResource(group: string, resource: string, name: string | undefined): readonly ReadonlySet<string>[] {
    const grants: ReadonlySet<string>[] = [];
    for (const heldGroup of new Set([group, '*'])) {
      for (const heldResource of new Set([resource, '*', everyResourceWith(resource)])) {
        if (heldResource === undefined) continue;
        const names = this.#resources.get(heldGroup)?.get(heldResource);
        for (const heldName of new Set([undefined, name])) {
          const verbs = names?.get(heldName);
          if (verbs !== undefined) grants.push(verbs);
        }
      }
    }
    return grants;
  }

  verbsForUrl(url: string): readonly ReadonlySet<string>[] {
    return [...this.#urls].filter(([held]) => urlCovers(held, url)).map(([, verbs]) => verbs);
  }
}

function entry<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  const present = map.get(key);
  if (present !== undefined) return present;
  const created = create();
  map.set(key, created);
  return created;
}

function newSet(): Set<string> {
  return new Set();
}

function addAll(set: Set<string>, words: readonly string[]): void {
  for (const word of words) set.add(word);
}

/**
 * The same rights in fewer rules: rules for exactly the same things become one with the verbs of all, nothing is said
 * twice, and a rule without verbs is dropped. Rules and words keep the order in which they first appear.
 */
export function compactRules(rules: readonly PolicyRule[]): readonly PolicyRule[] {
  const compacted = new Map<string, { readonly first: PolicyRule; readonly verbs: Set<string> }>();
  for (const rule of rules) {
    const { verbs } = entry(compacted, thingsOf(rule), () => ({ first: rule, verbs: newSet() }));
    addAll(verbs, rule.verbs);
  }
  return [...compacted.values()]
    .filter(({ verbs }) => verbs.size > 0)
    .map(({ first, verbs }) => ({
      verbs: verbs.has('*') ? ['*'] : [...verbs],
      ...list('apiGroups', first.apiGroups),
      ...list('resources', first.resources),
      ...list('resourceNames', first.resourceNames),
      ...list('nonResourceURLs', first.nonResourceURLs),
    }));
}

function list(key: keyof PolicyRule, words: readonly string[] | undefined): Partial<PolicyRule> {
  return words === undefined || words.length === 0 ? {} : { [key]: [...new Set(words)] };
}

/** Equal for two rules that differ in their verbs at most. */
function thingsOf(rule: PolicyRule): string {
  return JSON.stringify(
    [rule.apiGroups, rule.resources, rule.resourceNames, rule.nonResourceURLs].map((words) =>
      [...new Set(words)].sort(),
    ),
  );
}

function withoutRepetitions(rules: readonly PolicyRule[]): readonly PolicyRule[] {
  return [...new Map(rules.map((rule) => [describeRule(rule), rule])).values()];
}

/**
 * A rule on one line, as Kubernetes lists it after `attempting to grant RBAC permissions not currently held:`
 * (`CompactString` of a PolicyRule).
 */
export function describeRule(rule: PolicyRule): string {
  const parts: readonly (readonly [string, readonly string[] | undefined])[] = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ];
  return `{${parts
    .filter(([, words]) => words !== undefined && words.length > 0)
    .map(([name, words = []]) => `${name}:[${words.map((word) => JSON.stringify(word)).join(' ')}]`)
    .join(', ')}}`;
}
