import { z } from 'zod';
import { isJsonObject, memberOf, type JsonObject, type MutableJsonObject, type MutableJsonValue } from './json.js';
import { objectMetaSchema, type RequestMeta } from './object-meta.js';
import type { MergeStrategies, MergeStrategy } from './patch.js';
import type { Resource, Subresource } from './resource.js';

/** A kind by group and version, which all of OpenAPI is about. */
export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** A kind and what its objects consist of. */
export interface DescribedKind extends GroupVersionKind {
  readonly description: string;
  /** Of the fields beside apiVersion, kind and metadata. */
  readonly schema: z.ZodType;
  readonly mergeStrategies?: MergeStrategies;
}

/** The kind of a subresource: another view of its object, or a kind of its own, even of another group. */
export function subresourceKind<T extends Subresource>(resource: Resource, subresource: T): T & DescribedKind {
  const { group, version, plural, kind, mergeStrategies } = resource;
  const described = { group, version, description: `The ${subresource.name} of one of the ${plural}.`, ...subresource };
  return kind === subresource.kind && mergeStrategies !== undefined ? { ...described, mergeStrategies } : described;
}

const metaGroup = 'io.k8s.apimachinery.pkg.apis.meta.v1';

/** What `kubectl explain` says of metav1.ObjectMeta. */
const objectMetaDescriptions: Readonly<Record<keyof RequestMeta, string>> = {
  name: 'Unique among the objects of the resource in the same namespace. It cannot be changed.',
  generateName: 'When there is no name, the server makes one up that begins like this.',
  namespace: 'The namespace the object is in; empty for what is in none. It cannot be changed.',
  uid: 'Unique in time and space, given by the server: another object of the same name has another one.',
  resourceVersion:
    'Changes whenever the object does, and is opaque to clients. An update that carries one is refused when the object has changed since.',
  generation: 'Counts the changes of what is wanted of the object. Set by the server.',
  creationTimestamp: 'When the object was created, in RFC 3339 form and in UTC. Set by the server.',
  deletionTimestamp: 'When deletion was asked for, while finalizers still hold it up. Set by the server.',
  deletionGracePeriodSeconds: 'Seconds between deletionTimestamp and the removal of the object. Set by the server.',
  selfLink: 'No longer in use.',
  labels: 'Names and values to organise and select objects by.',
  annotations: 'Names and values that clients and people keep with the object; nothing is selected by them.',
  finalizers: 'Who has to take their name off this list before the object is removed for good.',
  ownerReferences: 'The objects this one depends on; when all of them are gone, it can go as well.',
  managedFields: 'Not kept by this server.',
};

/** What is known of every kind, which only differ in their own fields. */
const objectDescriptions = {
  apiVersion: 'Group and version of the kind, such as v1 or image.openshift.io/v1.',
  kind: 'What the object is, in CamelCase. It cannot be changed.',
  metadata: 'Name, labels and what else every object has.',
};

/**
 * `components.schemas`: every kind of the resources and their subresources, lists, and what these refer to.
 *
 * @param resources of one version of a group
 */
export function componentsOf(resources: readonly Resource[]): JsonObject {
  const components = new Map<string, JsonObject>();
  // A kind may be that of two resources; where they differ, the one that can be patched is the kind proper.
  const isPatched = ({ verbs }: Resource) => verbs.includes('patch');
  for (const resource of [...resources.filter(isPatched), ...resources.filter((other) => !isPatched(other))]) {
    addKind(components, resource);
    if (resource.verbs.includes('list')) addList(components, resource);
  }
  for (const resource of resources) {
    for (const subresource of resource.subresources ?? []) addKind(components, subresourceKind(resource, subresource));
  }
  components.set(`${metaGroup}.ObjectMeta`, objectMetaComponent());
  components.set(`${metaGroup}.ListMeta`, listMetaComponent);
  return Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function addKind(components: Map<string, JsonObject>, described: DescribedKind): void {
  const name = componentName(described);
  if (components.has(name)) return;
  const { schema, components: inner } = toOpenApiSchema(described.schema, name);
  const { group, version, kind, description, mergeStrategies = {} } = described;
  const properties = memberOf(schema, 'properties');
  const component: MutableJsonObject = {
    ...schema,
    type: 'object',
    description,
    properties: {
      apiVersion: { type: 'string', description: objectDescriptions.apiVersion },
      kind: { type: 'string', description: objectDescriptions.kind },
      metadata: { description: objectDescriptions.metadata, allOf: [referenceTo(`${metaGroup}.ObjectMeta`)] },
      ...(isJsonObject(properties) && properties),
    },
    'x-kubernetes-group-version-kind': [{ group, version, kind }],
  };
  components.set(name, component);
  for (const [innerName, body] of inner) components.set(innerName, body);
  for (const [path, strategy] of Object.entries(mergeStrategies)) {
    Object.assign(findProperty(component, path, inner) ?? {}, patchExtensions(strategy));
  }
}

function addList(components: Map<string, JsonObject>, resource: Resource): void {
  const { group, version, kind } = resource;
  const name = componentName(resource);
  if (components.has(`${name}List`)) return;
  components.set(`${name}List`, {
    type: 'object',
    description: `A list of objects of kind ${kind}.`,
    required: ['items'],
    properties: {
      apiVersion: { type: 'string', description: objectDescriptions.apiVersion },
      kind: { type: 'string', description: objectDescriptions.kind },
      metadata: { description: 'Where the list stands.', allOf: [referenceTo(`${metaGroup}.ListMeta`)] },
      items: { type: 'array', description: 'The objects.', items: referenceTo(name) },
    },
    'x-kubernetes-group-version-kind': [{ group, version, kind: `${kind}List` }],
  });
}

/** `io.weir.io.openshift.image.v1.ImageStream`; kubectl shows what follows the last dot. */
export function componentName({ group, version, kind }: GroupVersionKind): string {
  const reversed = group === '' ? 'core' : group.split('.').reverse().join('.');
  return `io.weir.${reversed}.${version}.${kind}`;
}

/** To a component by its name. */
export function referenceTo(component: string): MutableJsonObject {
  return { $ref: `#/components/schemas/${component}` };
}

function objectMetaComponent(): JsonObject {
  const { schema } = toOpenApiSchema(objectMetaSchema, `${metaGroup}.ObjectMeta`);
  for (const [field, description] of Object.entries(objectMetaDescriptions)) {
    Object.assign(findProperty(schema, field, new Map()) ?? {}, { description });
  }
  // As patches are applied to every kind, whatever its own strategies.
  const extensions = {
    creationTimestamp: { format: 'date-time' },
    deletionTimestamp: { format: 'date-time' },
    generation: { type: 'integer' },
    deletionGracePeriodSeconds: { type: 'integer' },
    finalizers: patchExtensions({ kind: 'set' }),
    ownerReferences: patchExtensions({ kind: 'merge', key: 'uid' }),
  };
  for (const [field, extension] of Object.entries(extensions)) {
    Object.assign(findProperty(schema, field, new Map()) ?? {}, extension);
  }
  return { description: 'What every object has beside the fields of its kind.', ...schema };
}

const listMetaComponent: JsonObject = {
  type: 'object',
  description: 'What every list has beside its items.',
  properties: {
    resourceVersion: { type: 'string', description: 'From where a watch can take over. Opaque to clients.' },
    continue: { type: 'string', description: 'What to ask for the next page with; absent on the last one.' },
    remainingItemCount: { type: 'integer', description: 'How many objects the pages to come have, if that is known.' },
  },
};

function patchExtensions(strategy: MergeStrategy): JsonObject {
  switch (strategy.kind) {
    case 'merge':
      return { 'x-kubernetes-patch-strategy': 'merge', 'x-kubernetes-patch-merge-key': strategy.key };
    case 'set':
      return { 'x-kubernetes-patch-strategy': 'merge' };
    case 'replace':
      return { 'x-kubernetes-patch-strategy': 'replace' };
  }
}

/** The schema at a path such as `spec.tags`, elements of lists adding nothing. */
function findProperty(
  root: MutableJsonObject,
  path: string,
  components: ReadonlyMap<string, MutableJsonObject>,
): MutableJsonObject | undefined {
  let found: MutableJsonValue | undefined = root;
  for (const name of path.split('.')) {
    const properties: MutableJsonValue | undefined = memberOf(objectSchema(found, components), 'properties');
    found = isJsonObject(properties) ? memberOf(properties, name) : undefined;
    if (!isJsonObject(found)) return undefined;
  }
  return found;
}

/** The schema of the object itself, or of the elements of a list of them. */
function objectSchema(
  schema: MutableJsonObject,
  components: ReadonlyMap<string, MutableJsonObject>,
): MutableJsonObject {
  const reference = memberOf(schema, '$ref');
  const items = memberOf(schema, 'items');
  const all = memberOf(schema, 'allOf');
  if (typeof reference === 'string') return components.get(reference.slice(reference.lastIndexOf('/') + 1)) ?? {};
  if (isJsonObject(items)) return objectSchema(items, components);
  const only = Array.isArray(all) && all.length === 1 ? all[0] : undefined;
  return isJsonObject(only) ? objectSchema(only, components) : schema;
}

/** @param name of the component that the schema becomes; definitions within it become components named after it */
function toOpenApiSchema(
  type: z.ZodType,
  name: string,
): { readonly schema: MutableJsonObject; readonly components: ReadonlyMap<string, MutableJsonObject> } {
  const generated = z.toJSONSchema(type, {
    io: 'input',
    unrepresentable: 'any',
    target: 'openapi-3.0',
    override: ({ jsonSchema }) => {
      markUnknown(jsonSchema);
    },
  });
  const { definitions = {}, ...schema } = JSON.parse(JSON.stringify(generated), (key, value: unknown) =>
    key === '$ref' && typeof value === 'string' ? referenceWithin(name, value) : value,
  ) as MutableJsonObject & { definitions?: Record<string, MutableJsonObject> };
  const components = new Map(Object.entries(definitions).map(([id, body]) => [`${name}.${id}`, body]));
  return { schema: typeof schema['$ref'] === 'string' ? objectSchema(schema, components) : schema, components };
}

/** What may be anything is marked as Kubernetes does; an empty schema is one that `kubectl explain` cannot take. */
function markUnknown(schema: z.core.JSONSchema.BaseSchema): void {
  if (schema.properties !== undefined && typeof schema.additionalProperties === 'object') {
    delete schema.additionalProperties;
    schema['x-kubernetes-preserve-unknown-fields'] = true;
  }
  if (!Object.keys(schema).some((keyword) => keyword !== 'description' && keyword !== 'default')) {
    schema['x-kubernetes-preserve-unknown-fields'] = true;
  }
  // That integers are no larger than JavaScript's goes without saying.
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}

function referenceWithin(name: string, reference: string): string {
  return reference.replace(/^#(\/definitions\/)?/, (_, inside?: string) =>
    inside === undefined ? `#/components/schemas/${name}` : `#/components/schemas/${name}.`,
  );
}
