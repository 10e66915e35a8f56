import type { z } from 'zod';
import { badRequest } from '../kube/errors.js';
import type { Call, Resource, Verb } from '../kube/resource.js';

/** What a review is called. */
export interface ReviewNames {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly isNamespaced: boolean;
  readonly description: string;
  /** As in {@link Resource}: whoever is logged in may ask, and the answer decides what they may know. */
  readonly selfFiltered?: readonly Verb[];
}

/**
 * A question put as an object that is created and kept nowhere: what comes back is the answer.
 *
 * @param answer the fields of the answer; it may be of another kind
 */
export function reviewResource<Schema extends z.ZodType>(
  names: ReviewNames,
  schema: Schema,
  answer: (call: Call, question: z.output<Schema>) => Promise<Readonly<Record<string, unknown>>>,
): Resource {
  return {
    ...names,
    version: 'v1',
    verbs: ['create'],
    schema,
    storage: {
      create: async (call, sent) => {
        if (names.isNamespaced && call.namespace === '') {
          throw badRequest(`namespace is required on this type: ${names.kind}`);
        }
        return { metadata: sent.metadata, ...(await answer(call, schema.parse(sent))) };
      },
    },
  };
}
