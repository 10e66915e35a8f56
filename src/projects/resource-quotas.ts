import { z } from 'zod';
import { allVerbs, type Resource } from '../kube/resource.js';
import { StoredResource, type StoredNames } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import { quantitiesSchema, quantityCauses } from './quantity.js';

type Quantities = Readonly<Record<string, string>>;

/** core/v1 ResourceQuota. */
export interface ResourceQuota extends ApiObject {
  readonly spec?: { readonly hard?: Quantities };
  readonly status?: { readonly hard?: Quantities; readonly used?: Quantities };
}

const names: StoredNames = { group: '', plural: 'resourcequotas', kind: 'ResourceQuota', isNamespaced: true };

const schema = z.object({
  spec: z
    .object({
      hard: quantitiesSchema.optional(),
      scopes: z.array(z.string()).optional(),
      scopeSelector: z
        .object({
          matchExpressions: z
            .array(z.object({ scopeName: z.string(), operator: z.string(), values: z.array(z.string()).optional() }))
            .optional(),
        })
        .optional(),
    })
    .optional(),
  status: z.object({ hard: quantitiesSchema.optional(), used: quantitiesSchema.optional() }).optional(),
});

/** core/v1 ResourceQuota. What is used, in its status, is said by whoever counts it and not by clients. */
export function resourceQuotaResource(store: ObjectStore): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'resourcequota',
    shortNames: ['quota'],
    verbs: allVerbs,
    description: 'ResourceQuota limits how much there may be in a project.',
    schema,
    columns: [
      {
        name: 'Request',
        type: 'string',
        description: 'How much is used of what there may be.',
        cell: (object) => usageOf(object, (name) => !name.startsWith('limits.')),
      },
      {
        name: 'Limit',
        type: 'string',
        description: 'How much is used of what the limits may add up to.',
        cell: (object) => usageOf(object, (name) => name.startsWith('limits.')),
      },
      ageColumn,
    ],
    storage: new StoredResource(store, names, {
      prepareCreate: (_call, object) => withStatus(object, undefined),
      prepareUpdate: (_call, object, old) => withStatus(object, old),
      validate: (object) => quantityCauses((object as ResourceQuota).spec?.hard, 'spec.hard'),
    }),
  };
}

function withStatus({ metadata, spec = {} }: ResourceQuota, old: ResourceQuota | undefined): ResourceQuota {
  return { metadata, spec, status: { ...old?.status, ...(spec.hard !== undefined && { hard: spec.hard }) } };
}

/** `pods: 1/10, services: 0/5` */
function usageOf({ status = {} }: ResourceQuota, isShown: (name: string) => boolean): string {
  return Object.entries(status.hard ?? {})
    .filter(([name]) => isShown(name))
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, hard]) => `${name}: ${status.used?.[name] ?? '0'}/${hard}`)
    .join(', ');
}
