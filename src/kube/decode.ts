import type { z } from 'zod';
import type { ApiObject } from '../metadata/object-store.js';
import { badRequest, invalid, StatusError, type StatusCause } from './errors.js';
import { duplicateFields, unknownFields } from './field-validation.js';
import { countElements, isDeeperThan, isJsonObject, type JsonObject, type JsonValue } from './json.js';
import { objectMetaSchema } from './object-meta.js';
import { apiVersionOf } from './resource.js';

/** What to do with fields that a kind does not have (Kubernetes API, `fieldValidation`). */
export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/** What a body is to be. */
export interface ExpectedKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Of the fields beside apiVersion, kind and metadata. */
  readonly schema: z.ZodType;
}

/** How a body is looked at. */
export interface DecodeOptions {
  readonly fieldValidation: FieldValidation;
  /** The body as text, when it was JSON: duplicate fields can be seen only there. */
  readonly text?: string;
  readonly warn: (text: string) => void;
}

/** No kind comes near it, and what is deeper would exhaust the stack. */
const maxDepth = 500;
/** Of all lists together: a wrong list costs something for each of its elements. */
const maxElements = 100_000;
/** Whoever sent so much that is wrong has enough to mend. */
const maxIssues = 20;

/** @throws {StatusError} BadRequest */
export function parseJson(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`, error);
  }
}

/**
 * Reads an object of a kind: without nulls, which mean absent, and without fields that the kind does not have.
 *
 * @throws {StatusError} BadRequest when it is of another kind or a field has another type, Invalid when a value breaks
 *   a rule of the schema
 */
export function decodeObject(body: JsonValue, expected: ExpectedKind, options: DecodeOptions): ApiObject {
  if (!isJsonObject(body)) throw badRequest(`expected a JSON object of kind ${expected.kind}`);
  if (isDeeperThan(maxDepth, body)) throw badRequest(`the body is nested more than ${maxDepth} levels deep`);
  if (countElements(body) > maxElements)
    throw badRequest(`the lists in the body have more than ${maxElements} elements`);
  checkType(body, expected);
  const { apiVersion: _apiVersion, kind: _kind, metadata = {}, ...fields } = withoutNulls(body) as JsonObject;
  const meta = objectMetaSchema.safeParse(metadata);
  const rest = expected.schema.safeParse(fields);
  const issues = [
    ...(meta.error?.issues ?? []).map((issue) => ({ ...issue, path: ['metadata', ...issue.path] })),
    ...(rest.error?.issues ?? []),
  ].slice(0, maxIssues);
  if (!meta.success || !rest.success) throw refused(issues, expected, metadata);
  reportFields(
    [
      ...unknownFields(metadata, meta.data as JsonValue).map((field) => `metadata.${field}`),
      ...unknownFields(fields, rest.data as JsonValue),
    ].map((field) => `unknown field "${field}"`),
    options,
  );
  return { metadata: meta.data as ApiObject['metadata'], ...(rest.data as object) };
}

function checkType({ apiVersion, kind }: JsonObject, expected: ExpectedKind): void {
  const wanted = apiVersionOf(expected);
  if (kind !== undefined && kind !== null && kind !== '' && kind !== expected.kind) {
    throw badRequest(`${JSON.stringify(kind)} in the body does not match the expected kind ${expected.kind}`);
  }
  if (apiVersion !== undefined && apiVersion !== null && apiVersion !== '' && apiVersion !== wanted) {
    throw badRequest(
      `the API version in the data (${JSON.stringify(apiVersion)}) does not match the expected API version (${wanted})`,
    );
  }
}

function refused(issues: readonly z.core.$ZodIssue[], expected: ExpectedKind, metadata: JsonValue): StatusError {
  const ofType = issues.filter((issue) => issue.code === 'invalid_type' && issue.input !== undefined);
  const isWrongType = issues.filter((issue) => issue.code === 'invalid_type' || issue.code === 'invalid_union');
  const shown = isWrongType.filter((issue) => !issue.message.includes('received undefined'));
  if (shown.length > 0 || ofType.length > 0) {
    const list = shown.map((issue) => `${fieldOf(issue.path)}: ${issue.message}`).join('; ');
    return badRequest(`${expected.kind} in version "${expected.version}" cannot be handled: ${list}`);
  }
  const name = isJsonObject(metadata) && typeof metadata['name'] === 'string' ? metadata['name'] : '';
  const causes = issues.map((issue): StatusCause => {
    const isMissing = issue.message.includes('received undefined');
    if (!isMissing && issue.code === 'invalid_value') {
      return {
        reason: 'FieldValueNotSupported',
        field: fieldOf(issue.path),
        message: `Unsupported value: supported values: ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`,
      };
    }
    return {
      reason: isMissing ? 'FieldValueRequired' : 'FieldValueInvalid',
      field: fieldOf(issue.path),
      message: isMissing ? 'Required value' : `Invalid value: ${issue.message}`,
    };
  });
  return invalid(expected, name, causes);
}

/** `spec.tags[0].from.name` */
export function fieldOf(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part)}`))
    .join('');
}

function reportFields(problems: readonly string[], { fieldValidation, text, warn }: DecodeOptions): void {
  if (fieldValidation === 'Ignore') return;
  const all = [
    ...(text === undefined ? [] : duplicateFields(text).map((field) => `duplicate field "${field}"`)),
    ...problems,
  ];
  if (all.length === 0) return;
  if (fieldValidation === 'Strict') throw badRequest(`strict decoding error: ${all.join(', ')}`);
  for (const problem of all) warn(problem);
}

/** The Kubernetes API takes a null for a field that is not there. */
function withoutNulls(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return (value as readonly JsonValue[]).filter((item) => item !== null).map(withoutNulls);
  if (!isJsonObject(value)) return value;
  const kept: [string, JsonValue][] = [];
  for (const [name, member] of Object.entries(value)) if (member !== null) kept.push([name, withoutNulls(member)]);
  return Object.fromEntries(kept);
}
