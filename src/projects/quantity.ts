import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';

/** resource.Quantity as JSON has it, where a number will do as well. */
export const quantitySchema = z.union([z.string(), z.number()]).transform(String);

/** Quantities by the name of what they count. */
export const quantitiesSchema = z.record(z.string(), quantitySchema);

const pattern = /^[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/;

/** What is wrong with quantities (`k8s.io/apimachinery/pkg/api/resource`, ParseQuantity). */
export function quantityCauses(
  quantities: Readonly<Record<string, string>> | undefined,
  field: string,
): readonly StatusCause[] {
  return Object.entries(quantities ?? {})
    .filter(([, quantity]) => quantity.length > 100 || !pattern.test(quantity) || quantity.startsWith('-'))
    .map(([name, quantity]) =>
      invalidValue(
        `${field}[${name}]`,
        quantity.slice(0, 100),
        'must be a quantity of at least 0, such as 10, 500m or 2Gi',
      ),
    );
}
