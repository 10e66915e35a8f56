import { randomBytes, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { ObjectMeta } from '../metadata/object-store.js';
import type { StatusCause } from './errors.js';

const text = z.string();
const textMap = z.record(z.string(), z.string());

/** metav1.ObjectMeta as a client may send it. */
export const objectMetaSchema = z.object({
  name: text.optional(),
  generateName: text.optional(),
  namespace: text.optional(),
  uid: text.optional(),
  resourceVersion: text.optional(),
  generation: z.number().optional(),
  creationTimestamp: text.optional(),
  deletionTimestamp: text.optional(),
  deletionGracePeriodSeconds: z.number().optional(),
  selfLink: text.optional(),
  labels: textMap.optional(),
  annotations: textMap.optional(),
  finalizers: z.array(text).optional(),
  ownerReferences: z
    .array(
      z.object({
        apiVersion: text,
        kind: text,
        name: text,
        uid: text,
        controller: z.boolean().optional(),
        blockOwnerDeletion: z.boolean().optional(),
      }),
    )
    .optional(),
  managedFields: z.array(z.unknown()).optional(),
});

/** metav1.ObjectMeta of a request. */
export type RequestMeta = z.output<typeof objectMetaSchema>;

/** RFC 3339 to the second, as metav1.Time is written. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Metadata of a new object: what a client may say is taken, the rest is the server's. */
export function newMeta(
  { labels, annotations, finalizers, ownerReferences, ...meta }: RequestMeta,
  { name, namespace, now }: { readonly name: string; readonly namespace: string; readonly now: Date },
): ObjectMeta {
  return {
    name,
    ...(meta.generateName !== undefined && meta.generateName !== '' && { generateName: meta.generateName }),
    ...(namespace !== '' && { namespace }),
    uid: randomUUID(),
    creationTimestamp: timestamp(now),
    ...clientMeta({ labels, annotations, finalizers, ownerReferences }),
  };
}

/** Metadata of an object that is there, as a client wants to have it. */
export function changedMeta(current: ObjectMeta, wanted: RequestMeta): ObjectMeta {
  const { labels: _l, annotations: _a, finalizers: _f, ownerReferences: _o, ...fixed } = current;
  return { ...fixed, ...clientMeta(wanted) };
}

/** The members of metadata that are the client's, without those that are empty. */
function clientMeta(
  meta: Pick<RequestMeta, 'labels' | 'annotations' | 'finalizers' | 'ownerReferences'>,
): Partial<ObjectMeta> {
  return {
    ...(isFilled(meta.labels) && { labels: meta.labels }),
    ...(isFilled(meta.annotations) && { annotations: meta.annotations }),
    ...(isFilled(meta.finalizers) && { finalizers: meta.finalizers }),
    ...(isFilled(meta.ownerReferences) && { ownerReferences: meta.ownerReferences }),
  };
}

function isFilled<T extends object>(value: T | undefined): value is T {
  return value !== undefined && Object.keys(value).length > 0;
}

const suffixLetters = 'bcdfghjklmnpqrstvwxz2456789';

/** A name that begins as asked and ends with five random letters. */
export function generatedName(prefix: string): string {
  const suffix = Array.from(randomBytes(5), (byte) => suffixLetters[byte % suffixLetters.length]).join('');
  return prefix.slice(0, 58) + suffix;
}

/** How names of a resource are written. */
export type NameRule = 'label' | 'subdomain' | 'path-segment';

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const qualifiedNamePart = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const maxAnnotationBytes = 256 * 1024;

/** What is wrong with a name (Kubernetes, "Object Names and IDs"). */
export function nameCauses(name: string, rule: NameRule, field = 'metadata.name'): StatusCause[] {
  const message = wrongName(name, rule);
  return message === undefined
    ? []
    : [{ reason: 'FieldValueInvalid', field, message: `Invalid value: ${JSON.stringify(name)}: ${message}` }];
}

function wrongName(name: string, rule: NameRule): string | undefined {
  switch (rule) {
    case 'label':
      if (name.length <= 63 && label.test(name)) return undefined;
      return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', must start and end with an alphanumeric character, and has at most 63 of them";
    case 'subdomain':
      if (name.length <= 253 && subdomain.test(name)) return undefined;
      return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', must start and end with an alphanumeric character, and has at most 253 of them";
    case 'path-segment':
      if (/^[^/%\p{Cc}]{1,253}$/u.test(name) && name !== '.' && name !== '..') return undefined;
      return "may not be '.' or '..', may not contain '/' or '%', and has 1 to 253 characters";
  }
}

/** What is wrong with labels and annotations. */
export function metaCauses(meta: ObjectMeta): StatusCause[] {
  const causes: StatusCause[] = [];
  for (const [key, value] of Object.entries(meta.labels ?? {})) {
    causes.push(...keyCauses(key, 'metadata.labels'));
    if (value !== '' && (value.length > 63 || !qualifiedNamePart.test(value))) {
      causes.push(
        invalidValue(
          'metadata.labels',
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', must start and end with an alphanumeric character, and has at most 63 of them",
        ),
      );
    }
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(meta.annotations ?? {})) {
    // Annotations of OpenShift's tools are in lower case; Kubernetes looks at them so.
    causes.push(...keyCauses(key.toLowerCase(), 'metadata.annotations'));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > maxAnnotationBytes) {
    causes.push({
      reason: 'FieldValueTooLong',
      field: 'metadata.annotations',
      message: `Too long: may not be more than ${maxAnnotationBytes} bytes`,
    });
  }
  for (const finalizer of meta.finalizers ?? []) causes.push(...keyCauses(finalizer, 'metadata.finalizers'));
  return causes;
}

function keyCauses(key: string, field: string): StatusCause[] {
  const slash = key.indexOf('/');
  const prefix = slash === -1 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  const isRight =
    name.length <= 63 &&
    qualifiedNamePart.test(name) &&
    (prefix === undefined || (prefix.length <= 253 && subdomain.test(prefix)));
  return isRight
    ? []
    : [
        invalidValue(
          field,
          key,
          "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/'",
        ),
      ];
}

/** A cause for a value that breaks a rule. */
export function invalidValue(field: string, value: unknown, rule: string): StatusCause {
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: ${JSON.stringify(value)}: ${rule}` };
}

/** A cause for a text that is longer than it may be. */
export function tooLong(field: string, max: number): StatusCause {
  return { reason: 'FieldValueTooLong', field, message: `Too long: may not be more than ${max} characters` };
}

/** A cause for something that is missing. */
export function requiredValue(field: string, why = ''): StatusCause {
  return { reason: 'FieldValueRequired', field, message: `Required value${why === '' ? '' : `: ${why}`}` };
}
