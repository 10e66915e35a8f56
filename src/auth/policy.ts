import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import { aggregateRules } from './aggregation.js';
import { mastersGroup, type Principal } from './principal.js';
import { RememberedAnswers } from './remembered-answers.js';
import { ruleAllows, rulesAllow, type AccessRequest, type PolicyRule } from './rules.js';
import { serviceAccountName, subjectMatches, type Subject } from './subjects.js';

const group = 'rbac.authorization.k8s.io';

/** The resources that rules are made of, as the object store names them. */
export const policyResources = {
  roles: `roles.${group}`,
  roleBindings: `rolebindings.${group}`,
  clusterRoles: `clusterroles.${group}`,
  clusterRoleBindings: `clusterrolebindings.${group}`,
} as const;

const policyResourceNames = Object.values(policyResources);

const everything: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

/** A subject as bindings are looked up by. */
export function subjectLookup(subject: Subject, bindingNamespace: string): string {
  switch (subject.kind) {
    case 'User':
      return `User:${subject.name}`;
    case 'Group':
      return `Group:${subject.name}`;
    case 'ServiceAccount':
      return `User:${serviceAccountName(homeOf(subject, bindingNamespace), subject.name)}`;
  }
}

/** The namespace of a service account: that of the binding when it names none. */
function homeOf({ namespace = '' }: Extract<Subject, { kind: 'ServiceAccount' }>, bindingNamespace: string): string {
  return namespace === '' ? bindingNamespace : namespace;
}

/** The lookups under which the bindings of a principal are. */
function lookupsOf({ name, groups }: Pick<Principal, 'name' | 'groups'>): readonly string[] {
  return [`User:${name}`, ...groups.map((member) => `Group:${member}`)];
}

interface Binding extends ApiObject {
  readonly subjects?: readonly Subject[];
  readonly roleRef: { readonly kind: string; readonly name: string };
}

interface Role extends ApiObject {
  readonly rules?: readonly PolicyRule[];
}

/** Who is known to the decision: by name and groups. */
export type Subjects = Pick<Principal, 'name' | 'groups'>;

/**
 * What the stored roles and bindings allow (Kubernetes RBAC). Everything is read through the version of the last change
 * of any of them, so a change counts from the moment it is committed, by whichever process.
 */
export class AccessPolicy {
  readonly #store: ObjectStore;
  readonly #rules: RememberedAnswers<readonly PolicyRule[]>;
  readonly #decisions: RememberedAnswers<boolean>;

  constructor(store: ObjectStore) {
    this.#store = store;
    const readVersion = () => this.version();
    this.#rules = new RememberedAnswers(readVersion);
    this.#decisions = new RememberedAnswers(readVersion);
  }

  /** Whether the rules granted to the principal allow the request. Narrowing by a token comes on top. */
  allows(who: Subjects, request: AccessRequest): Promise<boolean> {
    return this.#decisions.get(keyOf(who.name, who.groups, ...wordsOf(request)), () => this.#decide(who, request));
  }

  async #decide(who: Subjects, request: AccessRequest): Promise<boolean> {
    const namespace = request.kind === 'resource' ? (request.namespace ?? '') : '';
    if (rulesAllow(await this.rulesFor(who, ''), request)) return true;
    return namespace !== '' && rulesAllow(await this.#namespaceRules(who, namespace), request);
  }

  /** All that the principal may do in a namespace, or everywhere when it is empty. */
  async rulesFor(who: Subjects, namespace: string): Promise<readonly PolicyRule[]> {
    const cluster = await this.#rules.get(keyOf('cluster', who.name, who.groups), () => this.#clusterRules(who));
    return namespace === '' ? cluster : [...cluster, ...(await this.#namespaceRules(who, namespace))];
  }

  /**
   * The namespaces in which a principal may do something: those that bind them, so that it costs as much as they have.
   *
   * @param verb and the rest: what is asked in each namespace
   * @returns undefined when it is all namespaces
   */
  async namespacesWhere(
    who: Subjects,
    request: (namespace: string) => AccessRequest,
  ): Promise<readonly string[] | undefined> {
    const anywhere = request('');
    if (rulesAllow(await this.rulesFor(who, ''), anywhere)) return undefined;
    const candidates = new Set<string>();
    for (const lookup of lookupsOf(who)) {
      for await (const { metadata } of this.#bindings({ resource: policyResources.roleBindings, lookup })) {
        candidates.add(metadata.namespace!);
      }
    }
    const found: string[] = [];
    for (const namespace of [...candidates].sort()) {
      if (rulesAllow(await this.#namespaceRules(who, namespace), request(namespace))) found.push(namespace);
    }
    return found;
  }

  /** Everyone whom a binding lets do something, as `oc policy who-can` lists them. */
  async whoCan(request: AccessRequest): Promise<{ readonly users: string[]; readonly groups: string[] }> {
    const users = new Set<string>();
    const groups = new Set<string>([mastersGroup]);
    const namespace = request.kind === 'resource' ? (request.namespace ?? '') : '';
    const add = async (binding: Binding) => {
      const rules = await this.rulesOfBinding(binding);
      if (!rules.some((rule) => ruleAllows(rule, request))) return;
      for (const subject of binding.subjects ?? []) {
        if (subject.kind === 'Group') groups.add(subject.name);
        else if (subject.kind === 'User') users.add(subject.name);
        else {
          const home = homeOf(subject, binding.metadata.namespace ?? '');
          // In a binding of the cluster, a service account without a namespace is nobody.
          if (home !== '') users.add(serviceAccountName(home, subject.name));
        }
      }
    };
    for await (const binding of this.#bindings({ resource: policyResources.clusterRoleBindings })) await add(binding);
    if (namespace !== '') {
      for await (const binding of this.#bindings({ resource: policyResources.roleBindings, namespace })) {
        await add(binding);
      }
    }
    return { users: [...users].sort(), groups: [...groups].sort() };
  }

  /** The rules that a binding gives to its subjects; none when its role is not there. */
  rulesOfBinding({ metadata, roleRef }: Binding): Promise<readonly PolicyRule[]> {
    return roleRef.kind === 'ClusterRole'
      ? this.rulesOfClusterRole(roleRef.name)
      : this.#rulesOfRole(metadata.namespace ?? '', roleRef.name);
  }

  /** The rules of a ClusterRole, those of the roles it gathers included. */
  rulesOfClusterRole(name: string): Promise<readonly PolicyRule[]> {
    return this.#rules.get(keyOf('role', name), async () => {
      const role = (await this.#store.find({ resource: policyResources.clusterRoles, namespace: '', name })) as
        Role | undefined;
      if (role === undefined) return [];
      if (role['aggregationRule'] === undefined) return role.rules ?? [];
      const all: Role[] = [];
      for await (const other of allObjects(this.#store, { resource: policyResources.clusterRoles })) all.push(other);
      return aggregateRules(role, all);
    });
  }

  /** Changes with every change of a role or a binding. */
  version(): Promise<number> {
    return this.#store.lastChangeOf(policyResourceNames);
  }

  async #rulesOfRole(namespace: string, name: string): Promise<readonly PolicyRule[]> {
    const role = await this.#store.find({ resource: policyResources.roles, namespace, name });
    return (role as Role | undefined)?.rules ?? [];
  }

  async #clusterRules(who: Subjects): Promise<readonly PolicyRule[]> {
    if (who.groups.includes(mastersGroup)) return everything;
    const names = new Set<string>();
    for (const lookup of lookupsOf(who)) {
      for await (const { roleRef } of this.#bindings({ resource: policyResources.clusterRoleBindings, lookup })) {
        names.add(roleRef.name);
      }
    }
    return (await Promise.all([...names].map((name) => this.rulesOfClusterRole(name)))).flat();
  }

  #namespaceRules(who: Subjects, namespace: string): Promise<readonly PolicyRule[]> {
    return this.#rules.get(keyOf('namespace', namespace, who.name, who.groups), async () => {
      const found: PolicyRule[] = [];
      for await (const binding of this.#bindings({ resource: policyResources.roleBindings, namespace })) {
        if ((binding.subjects ?? []).some((subject) => subjectMatches(subject, who, namespace))) {
          found.push(...(await this.rulesOfBinding(binding)));
        }
      }
      return found;
    });
  }

  #bindings(query: { readonly resource: string; readonly namespace?: string; readonly lookup?: string }) {
    return allObjects(this.#store, query) as AsyncIterable<Binding>;
  }
}

/** All that a rule looks at, and where it has to hold. */
function wordsOf(request: AccessRequest): readonly string[] {
  if (request.kind === 'path') return [request.verb, request.path];
  const { verb, group: apiGroup, resource, namespace = '', name = '' } = request;
  return [verb, apiGroup, resource, namespace, name];
}

/** A name may hold any character when it comes from a review, so no separator would do. */
function keyOf(...parts: readonly (string | readonly string[])[]): string {
  return JSON.stringify(parts);
}
