import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { requiredValue } from '../kube/object-meta.js';
import { allVerbs, type Resource } from '../kube/resource.js';
import { StoredResource, type StoredNames } from '../kube/stored-resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import { quantitiesSchema, quantityCauses } from './quantity.js';

const quantityFields = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const;

type Quantities = Readonly<Record<string, string>>;

/** core/v1 LimitRangeItem: limits for one type of things. */
export interface LimitRangeItem {
  readonly type?: string;
  readonly max?: Quantities;
  readonly min?: Quantities;
  readonly default?: Quantities;
  readonly defaultRequest?: Quantities;
  readonly maxLimitRequestRatio?: Quantities;
}

/** core/v1 LimitRange. */
export interface LimitRange extends ApiObject {
  readonly spec?: { readonly limits?: readonly LimitRangeItem[] };
}

const names: StoredNames = { group: '', plural: 'limitranges', kind: 'LimitRange', isNamespaced: true };

const quantities = quantitiesSchema.optional();

/** core/v1 LimitRange. */
export function limitRangeResource(store: ObjectStore): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'limitrange',
    shortNames: ['limits'],
    verbs: allVerbs,
    description: 'LimitRange limits the size of single things in a project.',
    schema: z.object({
      spec: z
        .object({
          limits: z
            .array(
              z.object({
                type: z.string().optional(),
                max: quantities,
                min: quantities,
                default: quantities,
                defaultRequest: quantities,
                maxLimitRequestRatio: quantities,
              }),
            )
            .optional(),
        })
        .optional(),
    }),
    storage: new StoredResource(store, names, { validate: limitRangeCauses }),
  };
}

/** What is wrong with a limit range. */
export function limitRangeCauses(object: ApiObject): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  for (const [index, limit] of ((object as LimitRange).spec?.limits ?? []).entries()) {
    const path = `spec.limits[${index}]`;
    if ((limit.type ?? '') === '') causes.push(requiredValue(`${path}.type`));
    for (const field of quantityFields) causes.push(...quantityCauses(limit[field], `${path}.${field}`));
  }
  return causes;
}
