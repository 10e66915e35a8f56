import { z } from 'zod';
import type { AccessPolicy } from '../auth/policy.js';
import type { AccessRequest } from '../auth/rules.js';
import { conflict, forbidden, notFound, type StatusCause } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';
import type { Call, ListQuery, ObjectList, RemoveOptions, Resource, Verb } from '../kube/resource.js';
import {
  checkPreconditions,
  listPaged,
  StoredResource,
  type StoredNames,
  type StoredStrategy,
} from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import { namespacesResource, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import {
  activeNamespace,
  namespaceKey,
  namespaceMeta,
  namespaceTraits,
  projectAnnotations,
  projectGroup,
  terminatingNamespace,
} from './namespace-object.js';
import type { ProjectContents } from './project-contents.js';
import type { ProjectRemoval } from './project-removal.js';

/** What namespaces and projects are made of. */
export interface NamespaceOptions {
  readonly store: ObjectStore;
  readonly policy: AccessPolicy;
  readonly contents: ProjectContents;
  readonly removal: ProjectRemoval;
  /** Where images without a project are; it cannot be deleted. */
  readonly defaultProject: string;
}

const verbs: readonly Verb[] = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
const retries = 5;

/** What the server itself cannot do without (Kubernetes, NamespaceLifecycle admission). */
const immortal: readonly string[] = ['default', 'kube-public', 'kube-system', 'openshift'];

const namespaceNames: StoredNames = { group: '', plural: 'namespaces', kind: 'Namespace', isNamespaced: false };
const projectNames: StoredNames = {
  group: projectGroup,
  plural: 'projects',
  kind: 'Project',
  isNamespaced: false,
  storedAs: namespacesResource,
};

const schema = z.object({
  spec: z.object({ finalizers: z.array(z.string()).optional() }).optional(),
  status: z.object({ phase: z.string().optional(), conditions: z.array(z.unknown()).optional() }).optional(),
});

/** The rules that namespaces have by whichever name they are spoken of. */
export const namespaceStrategy = {
  nameRule: 'label',
  prepareCreate: (_call, { metadata }) => activeNamespace(metadata),
  prepareUpdate: (_call, { metadata }, { spec, status }) => ({ metadata: namespaceMeta(metadata), spec, status }),
  traits: namespaceTraits,
} as const satisfies StoredStrategy;

/** core/v1 Namespace and project.openshift.io/v1 Project: two views of one stored object. */
export function namespaceResources(options: NamespaceOptions): readonly Resource[] {
  const { store, contents } = options;
  const alongside: StoredStrategy['alongside'] = ({ now }, { metadata }) => contents.writes(metadata.name, { now });
  const namespaces = new StoredResource(store, namespaceNames, { ...namespaceStrategy, alongside });
  const projects = new StoredResource(store, projectNames, {
    ...namespaceStrategy,
    alongside,
    validate: projectCauses,
  });
  const listed = new VisibleProjects(store, options.policy, projects);
  return [
    {
      ...namespaceNames,
      version: 'v1',
      singular: 'namespace',
      shortNames: ['ns'],
      verbs,
      description: 'Namespace provides a scope for names. Every project is a namespace.',
      schema,
      columns: [statusColumn, ageColumn],
      storage: {
        get: namespaces.get,
        list: namespaces.list,
        create: namespaces.create,
        update: namespaces.update,
        watch: namespaces.watch,
        remove: (call, name, wanted) => removeNamespace(options, namespaceNames, call, name, wanted),
      },
    },
    {
      group: projectGroup,
      version: 'v1',
      kind: 'Project',
      plural: 'projects',
      singular: 'project',
      isNamespaced: false,
      verbs,
      description: 'A project is a namespace with a display name, a description and somebody who asked for it.',
      schema,
      mergeStrategies: { 'status.conditions': { kind: 'merge', key: 'type' } },
      columns: [displayNameColumn, statusColumn],
      selfFiltered: ['list', 'watch'],
      storage: {
        get: projects.get,
        list: listed.list,
        create: projects.create,
        update: projects.update,
        watch: { ...projects.watch, visible: listed.visible },
        remove: (call, name, wanted) => removeNamespace(options, projectNames, call, name, wanted),
      },
    },
  ];
}

const statusColumn = {
  name: 'Status',
  type: 'string',
  description: 'Whether the namespace is in use or going away.',
  cell: (namespace: ApiObject) => phaseOf(namespace),
} as const;

const displayNameColumn = {
  name: 'Display Name',
  type: 'string',
  description: 'The name for people to read.',
  cell: ({ metadata }: ApiObject) => metadata.annotations?.[projectAnnotations.displayName] ?? '',
} as const;

function phaseOf(namespace: ApiObject): string {
  return (namespace as ApiObject & { readonly status?: { readonly phase?: string } }).status?.phase ?? '';
}

/** Says that it is going away; what is in it goes afterwards. */
async function removeNamespace(
  { store, removal, defaultProject }: NamespaceOptions,
  names: StoredNames,
  call: Call,
  name: string,
  options: RemoveOptions,
): Promise<ApiObject> {
  for (let attempt = 1; ; attempt += 1) {
    const namespace = await store.find(namespaceKey(name));
    if (namespace === undefined) throw notFound(names, name);
    if (immortal.includes(name) || name === defaultProject) {
      throw forbidden(names, name, 'this namespace may not be deleted');
    }
    checkPreconditions(names, namespace, options);
    if (options.dryRun) return namespace;
    if (namespace.metadata.deletionTimestamp !== undefined) {
      removal.start();
      return namespace;
    }
    const going = terminatingNamespace(namespace, call.now);
    const result = await store.commit([
      { kind: 'replace', resource: namespacesResource, object: going, ...namespaceTraits(going) },
    ]);
    if (result.kind === 'committed') {
      removal.start();
      return result.objects[0]!;
    }
    if (attempt >= retries) throw conflict(names, name);
  }
}

/** What those who see a project may do to be among them. */
function getProject(name: string): AccessRequest {
  return { kind: 'resource', verb: 'get', group: projectGroup, resource: 'projects', namespace: name, name };
}

/** The projects that a caller may see, found by what binds the caller and not by looking at all of them. */
class VisibleProjects {
  readonly #store: ObjectStore;
  readonly #policy: AccessPolicy;
  readonly #all: StoredResource;

  constructor(store: ObjectStore, policy: AccessPolicy, all: StoredResource) {
    this.#store = store;
    this.#policy = policy;
    this.#all = all;
  }

  readonly list = async (call: Call, query: ListQuery): Promise<ObjectList> => {
    if (query.name !== undefined) {
      return (await this.#mayGet(call, query.name)) ? this.#all.list(call, query) : this.#listNamed([], query);
    }
    const names = await this.#namesFor(call);
    return names === undefined ? this.#all.list(call, query) : this.#listNamed(names, query);
  };

  /**
   * For one watch. A project goes together with the bindings that let its members see it, so whoever saw it before it
   * began to go is also told that it is gone.
   */
  readonly visible = (call: Call): ((project: ApiObject) => Promise<boolean>) => {
    const starting = this.#namesFor(call).then((names) => new Set(names));
    // Whoever asks for the first change is told of the failure.
    starting.catch(() => undefined);
    return async ({ metadata: { name, deletionTimestamp } }) => {
      const seen = await starting;
      if (await this.#mayGet(call, name)) {
        seen.add(name);
        return true;
      }
      if (deletionTimestamp !== undefined) return seen.has(name);
      seen.delete(name);
      return false;
    };
  };

  /** Sorted; undefined when it is all of them. */
  async #namesFor(call: Call): Promise<readonly string[] | undefined> {
    const names = await this.#policy.namespacesWhere(call.principal, getProject);
    // What the caller showed may be narrower than the rights behind it.
    if (names === undefined) return (await this.#mayGet(call, '')) ? undefined : [];
    const visible: string[] = [];
    for (const name of names) if (await this.#mayGet(call, name)) visible.push(name);
    return visible;
  }

  #mayGet(call: Call, name: string): Promise<boolean> {
    return call.may({
      verb: 'get',
      group: projectGroup,
      resource: 'projects',
      namespace: name,
      ...(name !== '' && { name }),
    });
  }

  #listNamed(names: readonly string[], query: ListQuery): Promise<ObjectList> {
    return listPaged(query, async (after, limit) => {
      const version = await this.#store.currentVersion();
      const rest = names.filter((name) => after === undefined || name > after.name);
      const objects: ApiObject[] = [];
      let read = 0;
      for (const name of rest) {
        if (objects.length === limit) break;
        read += 1;
        const namespace = await this.#store.find(namespaceKey(name));
        if (namespace !== undefined) objects.push(namespace);
      }
      return { objects, version, isLast: read === rest.length };
    });
  }
}

/** Rules beyond those of the namespace (openshift-apiserver, ValidateProject and ValidateProjectUpdate). */
export function projectCauses({ metadata }: ApiObject, old: ApiObject | undefined): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  const displayName = metadata.annotations?.[projectAnnotations.displayName] ?? '';
  if (/[\n\t]/.test(displayName)) {
    const field = `metadata.annotations[${projectAnnotations.displayName}]`;
    causes.push(invalidValue(field, displayName, 'may not contain a new line or tab'));
  }
  if (old === undefined) return causes;
  // Whoever administrates a project is not thereby allowed to change what policy reads off its namespace.
  const open: readonly string[] = [projectAnnotations.displayName, projectAnnotations.description];
  const changed = (field: string, now: Readonly<Record<string, string>> = {}, before: typeof now = {}) => {
    for (const key of new Set([...Object.keys(now), ...Object.keys(before)])) {
      if (open.includes(key) || now[key] === before[key]) continue;
      causes.push(invalidValue(`${field}[${key}]`, now[key] ?? '', 'field is immutable, try updating the namespace'));
    }
  };
  changed('metadata.annotations', metadata.annotations, old.metadata.annotations);
  changed('metadata.labels', metadata.labels, old.metadata.labels);
  return causes;
}
