import type { StatusCause } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';

/** What is wrong with a key in the data of a Secret or ConfigMap (Kubernetes, IsConfigMapKey). */
export function dataKeyCauses(key: string, field: string): StatusCause[] {
  const isRight = /^[-._a-zA-Z0-9]{1,253}$/.test(key) && key !== '.' && !key.startsWith('..');
  return isRight
    ? []
    : [
        invalidValue(
          `${field}[${key.slice(0, 300)}]`,
          key.slice(0, 300),
          "a valid config key must consist of alphanumeric characters, '-', '_' or '.', may not be '.' or begin with '..', and has at most 253 characters",
        ),
      ];
}

/** RFC 4648 section 4, with padding and without line breaks. */
export function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

/** A cause for too much data. */
export function tooLarge(field: string, maxBytes: number): StatusCause {
  return { reason: 'FieldValueTooLong', field, message: `Too long: may not be more than ${maxBytes} bytes` };
}
