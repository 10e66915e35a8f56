import { z } from 'zod';
import type { AccessPolicy } from '../auth/policy.js';
import { compactRules, type AccessRequest, type PolicyRule } from '../auth/rules.js';
import { badRequest, invalid, type StatusCause } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';
import type { Resource } from '../kube/resource.js';
import { callerMay, rulesOfCaller } from './caller.js';
import { reviewResource } from './review-resource.js';

const group = 'authorization.k8s.io';

const selectorSchema = z
  .object({
    rawSelector: z.string().optional(),
    requirements: z
      .array(
        z.object({
          key: z.string().optional(),
          operator: z.string().optional(),
          values: z.array(z.string()).optional(),
        }),
      )
      .optional(),
  })
  .optional()
  .describe('Not looked at: rules know no selectors.');

const attributes = {
  resourceAttributes: z
    .object({
      namespace: z.string().optional().describe('Empty: in every namespace, or of what is in none.'),
      verb: z.string().optional(),
      group: z.string().optional().describe('Empty: the core group.'),
      version: z.string().optional().describe('Not looked at: rules are for all versions.'),
      resource: z.string().optional(),
      subresource: z.string().optional(),
      name: z.string().optional(),
      fieldSelector: selectorSchema,
      labelSelector: selectorSchema,
    })
    .optional()
    .describe('What is to be done, with a resource.'),
  nonResourceAttributes: z
    .object({ path: z.string().optional(), verb: z.string().optional() })
    .optional()
    .describe('What is to be done, with a path that is no resource.'),
};

const accessStatus = z
  .object({
    allowed: z.boolean().optional(),
    denied: z.boolean().optional(),
    reason: z.string().optional(),
    evaluationError: z.string().optional(),
  })
  .optional()
  .describe('Filled in by the server.');

const selfSubjectAccessReviewSchema = z.object({ spec: z.object(attributes), status: accessStatus });

const subjectAccessReviewSchema = z.object({
  spec: z.object({
    ...attributes,
    user: z.string().optional().describe('Who is asked about.'),
    groups: z.array(z.string()).optional().describe('All groups the user is in: none is assumed.'),
    uid: z.string().optional(),
    extra: z.record(z.string(), z.array(z.string())).optional(),
  }),
  status: accessStatus,
});

const selfSubjectRulesReviewSchema = z.object({
  spec: z.object({ namespace: z.string().optional().describe('Where; required.') }).optional(),
  status: z
    .object({
      resourceRules: z
        .array(
          z.object({
            verbs: z.array(z.string()),
            apiGroups: z.array(z.string()).optional(),
            resources: z.array(z.string()).optional(),
            resourceNames: z.array(z.string()).optional(),
          }),
        )
        .optional(),
      nonResourceRules: z
        .array(z.object({ verbs: z.array(z.string()), nonResourceURLs: z.array(z.string()).optional() }))
        .optional(),
      incomplete: z.boolean().optional(),
      evaluationError: z.string().optional(),
    })
    .optional()
    .describe('Filled in by the server.'),
});

type SubjectSpec = z.output<typeof subjectAccessReviewSchema>['spec'];
type AccessSpec = z.output<typeof selfSubjectAccessReviewSchema>['spec'];

const subjectAccessReview = { group, kind: 'SubjectAccessReview' };
const localSubjectAccessReview = { group, kind: 'LocalSubjectAccessReview' };
const selfSubjectAccessReview = { group, kind: 'SelfSubjectAccessReview' };

/** Questions about what somebody may do, `authorization.k8s.io/v1`. Who may ask is for the rules to say. */
export function authorizationReviews(policy: AccessPolicy): readonly Resource[] {
  const allowsSubject = async ({ user = '', groups = [] }: SubjectSpec, request: AccessRequest) => ({
    allowed: await policy.allows({ name: user, groups }, request),
  });
  return [
    reviewResource(
      {
        ...localSubjectAccessReview,
        plural: 'localsubjectaccessreviews',
        singular: 'localsubjectaccessreview',
        isNamespaced: true,
        description: 'LocalSubjectAccessReview tells whether somebody may do something in a namespace.',
      },
      subjectAccessReviewSchema,
      async (call, { spec }) => {
        refuse(localSubjectAccessReview, [...localCauses(spec, call.namespace), ...subjectCauses(spec)]);
        return { spec, status: await allowsSubject(spec, requestOf(spec)) };
      },
    ),
    reviewResource(
      {
        ...selfSubjectAccessReview,
        plural: 'selfsubjectaccessreviews',
        singular: 'selfsubjectaccessreview',
        isNamespaced: false,
        description: 'SelfSubjectAccessReview tells whether the caller may do something.',
      },
      selfSubjectAccessReviewSchema,
      async (call, { spec }) => {
        refuse(selfSubjectAccessReview, attributeCauses(spec));
        return { spec, status: { allowed: await callerMay(policy, call, requestOf(spec)) } };
      },
    ),
    reviewResource(
      {
        group,
        kind: 'SelfSubjectRulesReview',
        plural: 'selfsubjectrulesreviews',
        singular: 'selfsubjectrulesreview',
        isNamespaced: false,
        description: 'SelfSubjectRulesReview lists what the caller may do in a namespace.',
      },
      selfSubjectRulesReviewSchema,
      async (call, { spec = {} }) => {
        const { namespace = '' } = spec;
        if (namespace === '') throw badRequest('no namespace on request');
        return { spec, status: rulesStatus(await rulesOfCaller(policy, call, namespace)) };
      },
    ),
    reviewResource(
      {
        ...subjectAccessReview,
        plural: 'subjectaccessreviews',
        singular: 'subjectaccessreview',
        isNamespaced: false,
        description: 'SubjectAccessReview tells whether somebody may do something.',
      },
      subjectAccessReviewSchema,
      async (_call, { spec }) => {
        refuse(subjectAccessReview, [...attributeCauses(spec), ...subjectCauses(spec)]);
        return { spec, status: await allowsSubject(spec, requestOf(spec)) };
      },
    ),
  ];
}

function refuse(kind: typeof subjectAccessReview, causes: readonly StatusCause[]): void {
  if (causes.length > 0) throw invalid(kind, '', causes);
}

function attributeCauses({ resourceAttributes, nonResourceAttributes }: AccessSpec): readonly StatusCause[] {
  if (resourceAttributes !== undefined && nonResourceAttributes !== undefined) {
    return [
      invalidValue(
        'spec.nonResourceAttributes',
        nonResourceAttributes,
        'cannot be specified in combination with resourceAttributes',
      ),
    ];
  }
  if (resourceAttributes !== undefined || nonResourceAttributes !== undefined) return [];
  return [
    invalidValue(
      'spec.resourceAttributes',
      null,
      'exactly one of nonResourceAttributes or resourceAttributes must be specified',
    ),
  ];
}

function localCauses(spec: AccessSpec, namespace: string): readonly StatusCause[] {
  const { resourceAttributes, nonResourceAttributes } = spec;
  const causes = [...attributeCauses(spec)];
  if (resourceAttributes !== undefined && (resourceAttributes.namespace ?? '') !== namespace) {
    causes.push(
      invalidValue(
        'spec.resourceAttributes.namespace',
        resourceAttributes.namespace ?? '',
        'must match metadata.namespace',
      ),
    );
  }
  if (nonResourceAttributes !== undefined) {
    causes.push(
      invalidValue('spec.nonResourceAttributes', nonResourceAttributes, 'disallowed on this kind of request'),
    );
  }
  return causes;
}

function subjectCauses({ user = '', groups = [] }: SubjectSpec): readonly StatusCause[] {
  return user === '' && groups.length === 0
    ? [invalidValue('spec.user', user, 'at least one of user or group must be specified')]
    : [];
}

function requestOf({ resourceAttributes, nonResourceAttributes }: AccessSpec): AccessRequest {
  if (resourceAttributes === undefined) {
    const { verb = '', path = '' } = nonResourceAttributes ?? {};
    return { kind: 'path', verb, path };
  }
  const { namespace = '', verb = '', group = '', resource = '', subresource = '', name = '' } = resourceAttributes;
  return {
    kind: 'resource',
    verb,
    group,
    resource: subresource === '' ? resource : `${resource}/${subresource}`,
    ...(namespace !== '' && { namespace }),
    ...(name !== '' && { name }),
  };
}

function rulesStatus(held: readonly PolicyRule[]) {
  const rules = compactRules(held);
  return {
    resourceRules: rules
      .filter(({ resources }) => resources !== undefined)
      .map(({ nonResourceURLs: _urls, ...rule }) => rule),
    nonResourceRules: rules.flatMap(({ verbs, nonResourceURLs }) =>
      nonResourceURLs === undefined ? [] : [{ verbs, nonResourceURLs }],
    ),
    incomplete: false,
  };
}
