import { createHash } from 'node:crypto';
import type { JsonObject } from './json.js';
import { componentName, componentsOf, referenceTo, subresourceKind, type GroupVersionKind } from './openapi-schemas.js';
import type { MergeStrategies } from './patch.js';
import { apiVersionOf, type Resource, type Verb } from './resource.js';

/** The OpenAPI document of one version of a group, as it is sent. */
export interface OpenApiDocument {
  /** JSON. */
  readonly text: string;
  /** Another one whenever the text is another: in the URL for the caches of clients, and good as an entity tag. */
  readonly hash: string;
}

/** `/openapi/v3`. */
export interface OpenApiIndex {
  /** By path below `/openapi/v3/`, as in `apis/image.openshift.io/v1`. */
  readonly paths: Readonly<Record<string, { readonly serverRelativeURL: string }>>;
}

/**
 * Describes resources in OpenAPI 3.0, one document for each version of a group (Kubernetes API concepts, "OpenAPI V3").
 * kubectl reads there what it explains to people, whether the server validates fields, and how lists are merged.
 */
export class OpenApi {
  /** By path below `/openapi/v3/`, as the documents are. */
  readonly #resources = new Map<string, readonly Resource[]>();
  /** Made when they are first asked for. */
  readonly #documents = new Map<string, OpenApiDocument>();

  /** @param resources all that are served; hidden ones are left out, and groups that have no others */
  constructor(resources: readonly Resource[]) {
    for (const resource of resources.filter(({ isHidden }) => isHidden !== true)) {
      const path = documentPath(resource);
      this.#resources.set(path, [...(this.#resources.get(path) ?? []), resource]);
    }
  }

  /** `/openapi/v3` */
  index(): OpenApiIndex {
    const paths = [...this.#resources.keys()].map(
      (path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${this.#find(path)!.hash}` }] as const,
    );
    return { paths: Object.fromEntries(paths) };
  }

  /**
   * `/openapi/v3/api/v1` or `/openapi/v3/apis/{group}/{version}`
   *
   * @returns undefined when there is no such version
   */
  document(group: string, version: string): OpenApiDocument | undefined {
    return this.#find(documentPath({ group, version }));
  }

  #find(path: string): OpenApiDocument | undefined {
    const known = this.#documents.get(path);
    const resources = this.#resources.get(path);
    if (known !== undefined || resources === undefined) return known;
    const text = JSON.stringify(describe(path, resources));
    const document = { text, hash: createHash('sha256').update(text).digest('hex').toUpperCase() };
    this.#documents.set(path, document);
    return document;
  }
}

/** `api/v1`, or `apis/image.openshift.io/v1`. */
function documentPath(resource: { readonly group: string; readonly version: string }): string {
  return `${resource.group === '' ? 'api' : 'apis'}/${apiVersionOf(resource)}`;
}

function describe(path: string, resources: readonly Resource[]): JsonObject {
  return {
    openapi: '3.0.0',
    info: { title: 'Weir', version: path.slice(path.lastIndexOf('/') + 1) },
    paths: Object.fromEntries(resources.flatMap((resource) => pathsOf(`/${path}`, resource, resources))),
    components: { schemas: componentsOf(resources) },
  };
}

/** What clients of the API call an operation (`x-kubernetes-action`), and its method in a path of OpenAPI. */
const operations = {
  get: { action: 'get', method: 'get' },
  list: { action: 'list', method: 'get' },
  create: { action: 'post', method: 'post' },
  update: { action: 'put', method: 'put' },
  patch: { action: 'patch', method: 'patch' },
  delete: { action: 'delete', method: 'delete' },
  deletecollection: { action: 'deletecollection', method: 'delete' },
} as const;

type Operation = keyof typeof operations;

const parameters = {
  namespace: { description: 'Name of the namespace.', type: 'string' },
  name: { description: 'Name of the object.', type: 'string' },
  dryRun: { description: 'With All, everything is done but to store the result.', type: 'string' },
  fieldManager: { description: 'Name of who makes the change; it has no effect.', type: 'string' },
  fieldValidation: {
    description: 'What is done about unknown and duplicate fields: Ignore, Warn or Strict.',
    type: 'string',
  },
  labelSelector: { description: 'Only objects whose labels match.', type: 'string' },
  fieldSelector: { description: 'Only objects whose fields match.', type: 'string' },
  limit: { description: 'How many objects to return at most.', type: 'integer' },
  continue: { description: 'Where to go on, from the metadata of the page before.', type: 'string' },
  watch: { description: 'Whether to stream changes instead of a list.', type: 'boolean' },
  allowWatchBookmarks: { description: 'Whether a watch may send bookmarks.', type: 'boolean' },
  resourceVersion: { description: 'The version after which a watch begins.', type: 'string' },
  timeoutSeconds: { description: 'After how many seconds a watch ends.', type: 'integer' },
} as const satisfies Record<string, { description: string; type: string }>;

type Parameter = keyof typeof parameters;

const listParameters: readonly Parameter[] = ['labelSelector', 'fieldSelector', 'limit', 'continue'];
const watchParameters: readonly Parameter[] = ['watch', 'allowWatchBookmarks', 'resourceVersion', 'timeoutSeconds'];
const writeParameters: readonly Parameter[] = ['dryRun', 'fieldManager', 'fieldValidation'];

function pathsOf(root: string, resource: Resource, siblings: readonly Resource[]): [string, JsonObject][] {
  const { plural, isNamespaced, verbs } = resource;
  const inside = isNamespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const scope: readonly Parameter[] = isNamespaced ? ['namespace'] : [];
  const object = pathItem(resource, ['get', 'update', 'patch', 'delete'], [...scope, 'name']);
  const isOnlyCreated = verbs.includes('create') && !siblings.some((sibling) => isPatchOf(sibling, resource));
  const paths: [string, JsonObject][] = [
    [inside, pathItem(resource, ['list', 'create', 'deletecollection'], scope)],
    [`${inside}/{name}`, isOnlyCreated ? { ...object, patch: refusedPatch(resource) } : object],
    ...(resource.subresources ?? []).map((subresource): [string, JsonObject] => [
      `${inside}/{name}/${subresource.name}`,
      pathItem(subresourceKind(resource, subresource), ['get', 'create', 'update', 'patch'], [...scope, 'name']),
    ]),
  ];
  if (isNamespaced) paths.push([`${root}/${plural}`, pathItem(resource, ['list'], [])]);
  return paths.filter(([, item]) => Object.keys(item).length > 1);
}

/** Whether objects of the kind of a resource are patched by another resource of the same kind, or by itself. */
function isPatchOf({ verbs, kind }: Resource, resource: Resource): boolean {
  return verbs.includes('patch') && kind === resource.kind;
}

/** What a path offers. */
interface Offer extends GroupVersionKind {
  readonly verbs: readonly Verb[];
  readonly mergeStrategies?: MergeStrategies;
}

function pathItem(offer: Offer, possible: readonly Operation[], path: readonly Parameter[]): JsonObject {
  const offered = possible.filter((operation) => offer.verbs.includes(operation));
  return {
    parameters: path.map((name) => ({ ...parameterOf(name), in: 'path', required: true })),
    ...Object.fromEntries(
      offered.map((operation) => [operations[operation].method, describeOperation(offer, operation)]),
    ),
  };
}

function describeOperation(offer: Offer, operation: Operation): JsonObject {
  const query = queryOf(offer, operation);
  const { group, version, kind } = offer;
  const answer = operation === 'list' ? `${componentName(offer)}List` : componentName(offer);
  const hasObject = operation !== 'delete' && operation !== 'deletecollection';
  return {
    'x-kubernetes-action': operations[operation].action,
    'x-kubernetes-group-version-kind': { group, version, kind },
    ...(query.length > 0 && { parameters: query.map((name) => ({ ...parameterOf(name), in: 'query' })) }),
    ...requestBodyOf(offer, operation),
    responses: {
      [operation === 'create' ? '201' : '200']: {
        description: 'OK',
        ...(hasObject && { content: { 'application/json': { schema: referenceTo(answer) } } }),
      },
    },
  };
}

function queryOf({ verbs }: Offer, operation: Operation): readonly Parameter[] {
  switch (operation) {
    case 'get':
      return [];
    case 'list':
      return verbs.includes('watch') ? [...listParameters, ...watchParameters] : listParameters;
    case 'create':
    case 'update':
    case 'patch':
      return writeParameters;
    case 'delete':
      return ['dryRun'];
    case 'deletecollection':
      return ['dryRun', ...listParameters];
  }
}

function requestBodyOf(offer: Offer, operation: Operation): JsonObject {
  switch (operation) {
    case 'create':
    case 'update':
      return {
        requestBody: { required: true, content: { 'application/json': { schema: referenceTo(componentName(offer)) } } },
      };
    case 'patch': {
      // Where strategic merge patches are listed kubectl makes them, for which it needs a full schema; elsewhere, and
      // where nothing would be merged anyhow, it makes merge patches.
      const types = ['application/merge-patch+json', 'application/json-patch+json'];
      if (offer.mergeStrategies !== undefined) types.unshift('application/strategic-merge-patch+json');
      return { requestBody: { required: true, content: Object.fromEntries(types.map((type) => [type, {}])) } };
    }
    case 'get':
    case 'list':
    case 'delete':
    case 'deletecollection':
      return {};
  }
}

function parameterOf(name: Parameter): JsonObject {
  const { description, type } = parameters[name];
  return { name, description, schema: { type } };
}

/** Of what is only created `kubectl create` looks for a patch too, and without one it sends nothing. */
function refusedPatch({ group, version, kind }: Offer): JsonObject {
  return {
    description:
      'Not allowed. It is here since kubectl looks nowhere else for parameters, also those of other operations.',
    'x-kubernetes-action': 'patch',
    'x-kubernetes-group-version-kind': { group, version, kind },
    parameters: writeParameters.map((name) => ({ ...parameterOf(name), in: 'query' })),
    responses: { '405': { description: 'Method Not Allowed' } },
  };
}
