import type { Context, Middleware } from 'koa';
import type { AccessRequest } from '../auth/rules.js';
import { requestOrigin } from '../http.js';
import type { ApiObject } from '../metadata/object-store.js';
import { authenticate, impersonate, impersonationOf, requireAccess, type ApiAccess } from './access.js';
import { parseApiPath, type ResourcePath } from './api-path.js';
import { decodeObject } from './decode.js';
import { aggregatedContentType, Discovery, versionInfo, wantsAggregated } from './discovery.js';
import { qualifiedName, StatusError, success, type Status } from './errors.js';
import { statusErrors } from './error-middleware.js';
import type { JsonObject } from './json.js';
import { OpenApi } from './openapi.js';
import { applyPatch } from './patch.js';
import {
  dryRunOfQuery,
  flagOf,
  listQueryOf,
  queryOf,
  readObject,
  readPatch,
  readRemoveOptions,
} from './api-request.js';
import { apiVersionOf, type Call, type ObjectChange, type Resource, type Subresource, type Verb } from './resource.js';
import { representationOf, type Representation } from './representation.js';
import type { ChangeFeed } from './watch.js';
import { sendWatch } from './watch-response.js';

/** What the API is made of. */
export interface ApiOptions {
  readonly resources: readonly Resource[];
  readonly access: ApiAccess;
  readonly feed: ChangeFeed;
  readonly publicUrl: string | undefined;
  /** Of this program, as in `0.1.0`. */
  readonly version: string;
  /** Fires when the process is going away: watches end. */
  readonly stopping: AbortSignal;
  readonly now?: () => Date;
}

/** A request to a resource, with all that was found out about it. */
interface ResourceRequest {
  readonly ctx: Context;
  readonly path: ResourcePath;
  readonly resource: Resource;
  readonly call: Call;
  readonly representation: Representation;
}

/** Everything under `/api`, `/apis`, `/openapi` and `/version`: the declared resources, and what tells of them. */
export function apiRoutes(options: ApiOptions): Middleware {
  const discovery = new Discovery(options.resources);
  const openApi = new OpenApi(options.resources);
  const byPath = new Map(
    options.resources.map((resource) => [`${apiVersionOf(resource)}/${resource.plural}`, resource]),
  );

  const answer = async (ctx: Context): Promise<void> => {
    if (/^\/(version|openapi)(\/|$)/.test(ctx.path)) {
      sendDocument(ctx);
      return;
    }
    const path = parseApiPath(ctx.path);
    if (path === undefined) throw unknownPath();
    if (path.kind !== 'resource') {
      // Who shows credentials learns at once when they are worth nothing.
      ctx.state['principal'] = await authenticate(options.access, ctx.get('Authorization'));
      onlyGet(ctx);
      sendDiscovery(ctx, discovery, path);
      return;
    }
    const resource = byPath.get(`${apiVersionOf(path)}/${path.plural}`);
    if (resource === undefined) throw unknownPath();
    await answerResource(ctx, path, resource, options);
  };

  const sendDocument = (ctx: Context): void => {
    onlyGet(ctx);
    if (/^\/version\/?$/.test(ctx.path)) sendJson(ctx, 200, versionInfo(options.version));
    else if (ctx.path === '/openapi/v3') sendJson(ctx, 200, openApi.index());
    else {
      const [, version] = /^\/openapi\/v3(\/.*)$/.exec(ctx.path) ?? [];
      const path = version === undefined ? undefined : parseApiPath(version);
      const document = path?.kind === 'version' ? openApi.document(path.group, path.version) : undefined;
      if (document === undefined) throw unknownPath();
      ctx.set({ ETag: `"${document.hash}"`, 'Content-Type': 'application/json' });
      ctx.body = document.text;
    }
  };

  return async (ctx, next) => {
    if (/^\/(api|apis|openapi|version)(\/|$)/.test(ctx.path)) await statusErrors(ctx, () => answer(ctx));
    else await next();
  };
}

function onlyGet(ctx: Context): void {
  if (ctx.method === 'GET' || ctx.method === 'HEAD') return;
  throw new StatusError(
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
    {
      headers: { Allow: 'GET, HEAD' },
    },
  );
}

function unknownPath(): StatusError {
  return new StatusError('NotFound', 'the server could not find the requested resource', {});
}

function sendDiscovery(
  ctx: Context,
  discovery: Discovery,
  path: Exclude<ReturnType<typeof parseApiPath>, ResourcePath | undefined>,
): void {
  if (path.kind === 'groups') {
    const aggregated = wantsAggregated(ctx.get('Accept'));
    ctx.vary('Accept');
    if (aggregated === undefined) {
      sendJson(ctx, 200, path.root === 'api' ? discovery.apiVersions() : discovery.groupList());
      return;
    }
    sendJson(ctx, 200, discovery.aggregated(path.root, aggregated), aggregatedContentType(aggregated));
    return;
  }
  const document =
    path.kind === 'group' ? discovery.group(path.group) : discovery.resourceList(path.group, path.version);
  if (document === undefined) throw unknownPath();
  sendJson(ctx, 200, document);
}

/** What the method asks for, in the words of Kubernetes. */
function verbOf(ctx: Context, { name }: ResourcePath): Verb {
  const isOne = name !== undefined;
  switch (ctx.method) {
    case 'GET':
    case 'HEAD':
      if (flagOf(ctx, 'watch')) return 'watch';
      return isOne ? 'get' : 'list';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return isOne ? 'delete' : 'deletecollection';
    default:
      throw new StatusError('MethodNotAllowed', `the method ${ctx.method} means nothing here`, {});
  }
}

async function answerResource(
  ctx: Context,
  path: ResourcePath,
  resource: Resource,
  options: ApiOptions,
): Promise<void> {
  const { access } = options;
  const caller = await authenticate(access, ctx.get('Authorization'));
  ctx.state['principal'] = caller;
  const impersonation = impersonationOf(ctx.req.headers, (name) => ctx.req.headersDistinct[name] ?? []);
  const principal = impersonation === undefined ? caller : await impersonate(access, caller, impersonation);
  ctx.state['principal'] = principal;
  if (impersonation !== undefined) ctx.state['impersonator'] = caller.name;

  const verb = verbOf(ctx, path);
  const request = accessRequestOf(path, verb);
  ctx.state['accessRequest'] = request;
  const isSelfFiltered = (resource.selfFiltered ?? []).includes(verb) && principal.kind !== 'anonymous';
  const mayAnyway = () => (isSelfFiltered ? Promise.resolve() : requireAccess(access, principal, request));
  await mayAnyway();
  if (resource.isNamespaced ? path.namespace === '' && path.name !== undefined : path.namespace !== '') {
    throw unknownPath();
  }
  // Something is made, or a whole collection removed, in one namespace.
  if (resource.isNamespaced && path.namespace === '' && (verb === 'create' || verb === 'deletecollection')) {
    throw notAllowed(verb, resource);
  }
  const now = options.now?.() ?? new Date();
  const call: Call = {
    principal,
    namespace: path.namespace,
    now,
    origin: requestOrigin(ctx, options.publicUrl),
    may: ({ namespace = path.namespace, ...wanted }) =>
      access.allows(principal, { kind: 'resource', ...wanted, ...(namespace !== '' && { namespace }) }),
    warn: (text) => {
      ctx.append('Warning', `299 - "${text.replaceAll(/["\\]/g, '\\$&').replaceAll(/[\p{Cc}]/gu, ' ')}"`);
    },
    query: (name) => queryOf(ctx, name),
    header: (name) => ctx.get(name),
  };
  const representation = representationOf(ctx.get('Accept'), queryOf(ctx, 'includeObject'));
  const found: ResourceRequest = { ctx, path, resource, call, representation };
  if (path.subresource !== undefined) {
    await answerSubresource(found, path.subresource, verb);
    return;
  }
  // Of what is not there yet, a single object is simply not found.
  if (verb !== 'get' && !resource.verbs.includes(verb)) throw notAllowed(verb, resource);
  if (verb === 'watch') {
    sendWatch(found, options, async () => {
      const again = await access.authenticate(ctx.get('Authorization'));
      if (again?.name !== caller.name) return false;
      return isSelfFiltered || access.allows(impersonation === undefined ? again : principal, request);
    });
    return;
  }
  await answerVerb(found, verb);
}

function accessRequestOf(path: ResourcePath, verb: Verb): AccessRequest {
  return {
    kind: 'resource',
    verb,
    group: path.group,
    resource: path.subresource === undefined ? path.plural : `${path.plural}/${path.subresource}`,
    ...(path.namespace !== '' && { namespace: path.namespace }),
    // A namespace and a project are inside of themselves: roles in it may speak of it.
    ...(path.namespace === '' && isNamespaceItself(path) && { namespace: path.name! }),
    ...(path.name !== undefined && { name: path.name }),
  };
}

function isNamespaceItself({ group, plural, name }: ResourcePath): boolean {
  if (name === undefined) return false;
  return (group === '' && plural === 'namespaces') || (group === 'project.openshift.io' && plural === 'projects');
}

async function answerVerb({ ctx, path, resource, call, representation }: ResourceRequest, verb: Verb): Promise<void> {
  const { storage } = resource;
  const name = path.name ?? '';
  const show = (object: ApiObject | Status, status = 200) => {
    sendJson(ctx, status, isStatus(object) ? object : representation.one(object, resource, call.now));
  };
  switch (verb) {
    case 'get':
      if (storage.get === undefined) break;
      show(await storage.get(call, name));
      return;
    case 'list': {
      if (storage.list === undefined) break;
      checkListVersion(ctx);
      const list = await storage.list(call, listQueryOf(ctx, resource));
      sendJson(ctx, 200, 'items' in list ? representation.list(list, resource, call.now) : list);
      return;
    }
    case 'create': {
      if (storage.create === undefined || path.name !== undefined) break;
      const object = await readObject(ctx, resource, call.warn);
      checkNamespace(object, path);
      show(await storage.create(call, object, { dryRun: dryRunOfQuery(ctx) }), 201);
      return;
    }
    case 'update': {
      if (storage.update === undefined || path.name === undefined) break;
      const object = await readObject(ctx, resource, call.warn);
      checkNamespace(object, path);
      checkName(object, name);
      const { object: updated, isNew } = await storage.update(call, name, () => object, { dryRun: dryRunOfQuery(ctx) });
      show(updated, isNew ? 201 : 200);
      return;
    }
    case 'patch': {
      if (storage.update === undefined || path.name === undefined) break;
      const { object, isNew } = await storage.update(call, name, await patchOf(ctx, resource, path, call), {
        dryRun: dryRunOfQuery(ctx),
      });
      show(object, isNew ? 201 : 200);
      return;
    }
    case 'delete': {
      if (storage.remove === undefined) break;
      const options = await readRemoveOptions(ctx);
      ctx.state['dryRun'] = options.dryRun;
      const object = await storage.remove(call, name, options);
      show(
        object.metadata.deletionTimestamp === undefined
          ? success({
              name: object.metadata.name,
              ...(resource.group !== '' && { group: resource.group }),
              kind: resource.plural,
              uid: object.metadata.uid,
            })
          : object,
      );
      return;
    }
    case 'deletecollection': {
      if (storage.remove === undefined || storage.list === undefined) break;
      const options = await readRemoveOptions(ctx);
      ctx.state['dryRun'] = options.dryRun;
      const query = listQueryOf(ctx, resource);
      const list = await storage.list(call, query);
      if (!('items' in list)) break;
      const removed: ApiObject[] = [];
      for (const { metadata } of list.items) {
        // In a list of all namespaces each object is in its own.
        const inNamespace = { ...call, namespace: metadata.namespace ?? call.namespace };
        try {
          removed.push(await storage.remove(inNamespace, metadata.name, { ...options, uid: metadata.uid }));
        } catch (error) {
          if (!(error instanceof StatusError && error.reason === 'NotFound')) throw error;
        }
      }
      sendJson(ctx, 200, representation.list({ ...list, items: removed }, resource, call.now));
      return;
    }
    case 'watch':
      break;
  }
  throw notAllowed(verb, resource);
}

async function answerSubresource(
  { ctx, path, resource, call, representation }: ResourceRequest,
  name: string,
  verb: Verb,
): Promise<void> {
  const subresource = resource.subresources?.find((each) => each.name === name);
  if (subresource === undefined || path.name === undefined) throw unknownPath();
  const shown = asResource(resource, subresource);
  const options = { dryRun: dryRunOfQuery(ctx) };
  if (verb === 'get' && subresource.list !== undefined) {
    checkListVersion(ctx);
    const list = await subresource.list(call, path.name, listQueryOf(ctx, shown));
    sendJson(ctx, 200, representation.list(list, shown, call.now));
    return;
  }
  if (verb === 'get' && subresource.get !== undefined) {
    sendJson(ctx, 200, representation.one(await subresource.get(call, path.name), shown, call.now));
    return;
  }
  if (verb === 'create' && subresource.create !== undefined) {
    const object = await readObject(ctx, shown, call.warn);
    sendJson(ctx, 201, representation.one(await subresource.create(call, path.name, object, options), shown, call.now));
    return;
  }
  if ((verb === 'update' || verb === 'patch') && subresource.update !== undefined) {
    let change: ObjectChange;
    if (verb === 'patch') change = await patchOf(ctx, shown, path, call);
    else {
      const object = await readObject(ctx, shown, call.warn);
      checkName(object, path.name);
      change = () => object;
    }
    const { object } = await subresource.update(call, path.name, change, options);
    sendJson(ctx, 200, representation.one(object, shown, call.now));
    return;
  }
  throw notAllowed(verb, { group: resource.group, plural: `${resource.plural}/${name}` });
}

/** A subresource's own kind, in the place of its parent's. */
function asResource(resource: Resource, subresource: Subresource): Resource {
  return {
    ...resource,
    group: subresource.group ?? resource.group,
    version: subresource.version ?? resource.version,
    kind: subresource.kind,
    schema: subresource.schema,
    ...(subresource.columns !== undefined && { columns: subresource.columns }),
  };
}

/** Reads the patch; what it makes of an object is checked as a whole body would be. */
async function patchOf(ctx: Context, resource: Resource, path: ResourcePath, call: Call): Promise<ObjectChange> {
  const { type, patch, fieldValidation } = await readPatch(ctx);
  return (current) => {
    if (current === undefined)
      throw new StatusError('NotFound', `${qualifiedName(resource)} "${path.name}" not found`, {
        name: path.name!,
        ...(resource.group !== '' && { group: resource.group }),
        kind: resource.plural,
      });
    const shown = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...current };
    const patched = applyPatch(type, shown as unknown as JsonObject, patch, resource.mergeStrategies ?? {});
    const object = decodeObject(patched, resource, { fieldValidation, warn: call.warn });
    checkNamespace(object, path);
    checkName(object, path.name!);
    return object;
  };
}

/** @throws {StatusError} BadRequest when the body is for another namespace than the path */
function checkNamespace({ metadata }: ApiObject, { namespace }: ResourcePath): void {
  const given = metadata.namespace ?? '';
  if (given === '' || given === namespace) return;
  throw new StatusError(
    'BadRequest',
    `the namespace of the provided object does not match the namespace sent on the request (${JSON.stringify(given)}, ${JSON.stringify(namespace)})`,
  );
}

function checkName({ metadata }: ApiObject, name: string): void {
  const { name: given = '' } = metadata as Partial<ApiObject['metadata']>;
  if (given === name) return;
  throw new StatusError(
    'BadRequest',
    `the name of the object (${JSON.stringify(given)}) does not match the name on the URL (${JSON.stringify(name)})`,
  );
}

/** Only the present can be listed. */
function checkListVersion(ctx: Context): void {
  if (queryOf(ctx, 'resourceVersionMatch') === 'Exact' && queryOf(ctx, 'continue') === undefined) {
    throw new StatusError('Expired', 'only the present state can be listed; leave out resourceVersionMatch=Exact');
  }
}

function notAllowed(verb: Verb, resource: { readonly group: string; readonly plural: string }): StatusError {
  return new StatusError(
    'MethodNotAllowed',
    `${verb} is not supported on resources of kind "${qualifiedName(resource)}"`,
    {
      ...(resource.group !== '' && { group: resource.group }),
      kind: resource.plural,
    },
  );
}

function isStatus(object: ApiObject | Status): object is Status {
  return object.kind === 'Status';
}

function sendJson(ctx: Context, status: number, body: object, contentType = 'application/json'): void {
  ctx.status = status;
  ctx.set('Cache-Control', 'no-cache, private');
  ctx.set('Content-Type', contentType);
  ctx.body = body;
}
