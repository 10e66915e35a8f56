import type { Context } from 'koa';
import { readBody } from '../http.js';
import type { ApiObject } from '../metadata/object-store.js';
import { decodeObject, parseJson, type ExpectedKind, type FieldValidation } from './decode.js';
import { badRequest, StatusError } from './errors.js';
import { isJsonObject, type JsonObject, type JsonValue } from './json.js';
import { patchTypeOf, type PatchType } from './patch.js';
import { decodeProtobuf, isProtobuf } from './protobuf.js';
import type { ListQuery, RemoveOptions, Resource } from './resource.js';
import { matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector, requiredName } from './selectors.js';

/** As etcd has it in Kubernetes, and room for base64. */
const maxBodyBytes = 3 * 1024 * 1024;

/** Of a parameter of the query that is given at most once. @throws {StatusError} BadRequest */
export function queryOf(ctx: Context, name: string): string | undefined {
  const value = ctx.query[name];
  if (Array.isArray(value)) throw badRequest(`the parameter ${name} is given ${value.length} times`);
  return value === '' ? undefined : value;
}

/** @throws {StatusError} BadRequest */
export function flagOf(ctx: Context, name: string): boolean {
  const value = queryOf(ctx, name);
  if (value === undefined || value === 'false' || value === '0') return false;
  if (value === 'true' || value === '1') return true;
  throw badRequest(`the parameter ${name} is ${JSON.stringify(value)}: expected true or false`);
}

/** @throws {StatusError} BadRequest */
export function numberOf(ctx: Context, name: string): number | undefined {
  const value = queryOf(ctx, name);
  if (value === undefined) return undefined;
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw badRequest(`the parameter ${name} is ${JSON.stringify(value)}: expected a number of at least 0`);
}

/** Whether nothing is to be stored. @throws {StatusError} BadRequest */
export function dryRunOf(values: readonly unknown[]): boolean {
  for (const value of values) {
    if (value !== 'All') throw badRequest(`dryRun ${JSON.stringify(value)} is not supported: expected All`);
  }
  return values.length > 0;
}

export function dryRunOfQuery(ctx: Context): boolean {
  return dryRunOf([ctx.query['dryRun'] ?? []].flat().filter((value) => value !== ''));
}

/** @throws {StatusError} BadRequest */
function fieldValidationOf(ctx: Context): FieldValidation {
  const value = queryOf(ctx, 'fieldValidation') ?? 'Warn';
  if (value === 'Ignore' || value === 'Warn' || value === 'Strict') return value;
  throw badRequest(`fieldValidation ${JSON.stringify(value)} is not supported: expected Ignore, Warn or Strict`);
}

/** The object in the body. @throws {StatusError} */
export async function readObject(
  ctx: Context,
  expected: ExpectedKind,
  warn: (text: string) => void,
): Promise<ApiObject> {
  const fieldValidation = fieldValidationOf(ctx);
  const body = await readBody(ctx.req, maxBodyBytes);
  if (isProtobuf(ctx.get('Content-Type'))) {
    return decodeObject(decodeProtobuf(body) as JsonValue, expected, { fieldValidation: 'Ignore', warn });
  }
  requireJson(ctx);
  const text = body.toString('utf8');
  return decodeObject(parseJson(text), expected, { fieldValidation, text, warn });
}

/** A patch as it was sent. */
export interface SentPatch {
  readonly type: PatchType;
  readonly patch: JsonValue;
  readonly fieldValidation: FieldValidation;
}

/** @throws {StatusError} UnsupportedMediaType for server-side apply and everything else that is no patch */
export async function readPatch(ctx: Context): Promise<SentPatch> {
  const type = patchTypeOf(ctx.get('Content-Type'));
  if (type === undefined) {
    throw new StatusError(
      'UnsupportedMediaType',
      `the body of a PATCH was ${JSON.stringify(ctx.get('Content-Type'))}: expected application/json-patch+json, application/merge-patch+json or application/strategic-merge-patch+json`,
    );
  }
  const fieldValidation = fieldValidationOf(ctx);
  return { type, patch: parseJson((await readBody(ctx.req, maxBodyBytes)).toString('utf8')), fieldValidation };
}

/** metav1.DeleteOptions from the body, which may be empty, and from the query. @throws {StatusError} BadRequest */
export async function readRemoveOptions(ctx: Context): Promise<RemoveOptions> {
  const body = await readBody(ctx.req, maxBodyBytes);
  let sent: JsonValue = {};
  if (body.length > 0) {
    if (isProtobuf(ctx.get('Content-Type'))) sent = decodeProtobuf(body) as JsonValue;
    else {
      requireJson(ctx);
      sent = parseJson(body.toString('utf8'));
    }
  }
  if (!isJsonObject(sent)) throw badRequest('expected DeleteOptions in the body');
  const propagation = sent['propagationPolicy'] ?? queryOf(ctx, 'propagationPolicy') ?? 'Background';
  if (!['Background', 'Foreground', 'Orphan'].includes(propagation as string)) {
    throw badRequest(
      `propagationPolicy ${JSON.stringify(propagation)} is not supported: expected Background, Foreground or Orphan`,
    );
  }
  const preconditions = sent['preconditions'] ?? {};
  if (!isJsonObject(preconditions)) throw badRequest('preconditions: expected an object');
  const dryRun = sent['dryRun'] ?? [];
  if (!Array.isArray(dryRun)) throw badRequest('dryRun: expected a list');
  return {
    dryRun: dryRunOf(dryRun) || dryRunOfQuery(ctx),
    uid: textOf(preconditions, 'uid'),
    resourceVersion: textOf(preconditions, 'resourceVersion'),
  };
}

function textOf(object: JsonObject, name: string): string | undefined {
  const value = object[name];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw badRequest(`preconditions.${name}: expected text`);
}

function requireJson(ctx: Context): void {
  const type = ctx.get('Content-Type');
  // Without a type it can only be JSON; curl's default for a body is a form.
  if (type === '' || ctx.is('application/json') !== false) return;
  throw new StatusError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: application/json, application/vnd.kubernetes.protobuf (it was ${JSON.stringify(type)})`,
  );
}

/** The selection of a list or a watch. @throws {SelectorError} @throws {StatusError} BadRequest */
export function listQueryOf(ctx: Context, resource: Resource, name?: string): ListQuery {
  const labels = parseLabelSelector(queryOf(ctx, 'labelSelector') ?? '');
  const fields = parseFieldSelector(queryOf(ctx, 'fieldSelector') ?? '', [
    'metadata.name',
    ...(resource.isNamespaced ? ['metadata.namespace'] : []),
    ...(resource.fieldSelectors ?? []),
  ]);
  const limit = numberOf(ctx, 'limit');
  return {
    limit: limit === 0 ? undefined : limit,
    continue: queryOf(ctx, 'continue'),
    matches: (object) =>
      (name === undefined || object.metadata.name === name) &&
      matchesLabels(labels, object.metadata.labels) &&
      matchesFields(fields, object),
    name: name ?? requiredName(fields),
    fields: Object.fromEntries(
      fields.filter(({ operator }) => operator === '=').map(({ field, value }) => [field, value]),
    ),
  };
}
