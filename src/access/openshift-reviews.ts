import { z } from 'zod';
import type { AccessPolicy, Subjects } from '../auth/policy.js';
import { compactRules, type AccessRequest, type PolicyRule } from '../auth/rules.js';
import { forbidden, invalid } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';
import type { Call, Resource } from '../kube/resource.js';
import { callerMay, rulesOfCaller } from './caller.js';
import { groupsMeant } from './legacy-groups.js';
import { reviewResource } from './review-resource.js';

const group = 'authorization.openshift.io';
const apiVersion = `${group}/v1`;

const action = {
  namespace: z.string().optional().describe('Empty: in every namespace, or of what is in none.'),
  verb: z.string().optional(),
  resourceAPIGroup: z.string().optional().describe('Empty: the core group, and that of OpenShift the resource is in.'),
  resourceAPIVersion: z.string().optional().describe('Not looked at: rules are for all versions.'),
  resource: z.string().optional().describe('With its subresource after a slash.'),
  resourceName: z.string().optional(),
  path: z.string().optional().describe('Of what is no resource.'),
  isNonResourceURL: z.boolean().optional().describe('Whether the path is asked about, and no resource.'),
  content: z.unknown().optional().describe('Not looked at.'),
};
const subject = {
  user: z.string().optional().describe('Who is asked about; the caller, when there are no groups either.'),
  groups: z.array(z.string()).optional().describe('All groups the user is in: none is assumed.'),
  scopes: z.array(z.string()).optional().describe('Of a token: only user:full allows anything.'),
};

const resourceAccessReviewSchema = z.object(action);
const subjectAccessReviewSchema = z.object({ ...action, ...subject });
const rulesStatusSchema = z
  .object({
    rules: z
      .array(
        z.object({
          verbs: z.array(z.string()),
          apiGroups: z.array(z.string()).optional(),
          resources: z.array(z.string()).optional(),
          resourceNames: z.array(z.string()).optional(),
          nonResourceURLs: z.array(z.string()).optional(),
        }),
      )
      .optional(),
    evaluationError: z.string().optional(),
  })
  .optional()
  .describe('Filled in by the server.');
const selfSubjectRulesReviewSchema = z.object({
  spec: z.object({ scopes: subject.scopes }).optional(),
  status: rulesStatusSchema,
});
const subjectRulesReviewSchema = z.object({ spec: z.object(subject).optional(), status: rulesStatusSchema });

type Action = z.output<typeof resourceAccessReviewSchema>;
type AccessQuestion = z.output<typeof subjectAccessReviewSchema>;

/**
 * OpenShift's own questions about rights, `authorization.openshift.io/v1`. Answers are of kinds of their own, and the
 * misspelt `evalutionError` is the API's.
 */
export function openshiftReviews(policy: AccessPolicy): readonly Resource[] {
  const whoCan = async (question: Action, namespace: string) => {
    const users = new Set<string>();
    const groups = new Set<string>();
    for (const request of requestsOf(question, namespace)) {
      const found = await policy.whoCan(request);
      for (const user of found.users) users.add(user);
      for (const member of found.groups) groups.add(member);
    }
    return {
      kind: 'ResourceAccessReviewResponse',
      apiVersion,
      namespace,
      users: [...users].sort(),
      groups: [...groups].sort(),
      evalutionError: '',
    };
  };

  const whetherMay = async (call: Call, question: AccessQuestion, namespace: string) => {
    const scopeError = errorOfScopes(question.scopes);
    const who = subjectOf(question);
    let allowed = false;
    for (const request of requestsOf(question, namespace)) {
      allowed ||= who === undefined ? await callerMay(policy, call, request) : await policy.allows(who, request);
    }
    return {
      kind: 'SubjectAccessReviewResponse',
      apiVersion,
      namespace,
      allowed: allowed && scopeError === undefined,
      reason: '',
      ...(scopeError !== undefined && { evaluationError: scopeError }),
    };
  };

  const rulesOf = async (call: Call, spec: z.output<typeof subjectRulesReviewSchema>['spec'] = {}) => {
    const who = subjectOf(spec);
    const scopeError = errorOfScopes(spec.scopes);
    if (scopeError !== undefined) return { spec, status: { rules: [], evaluationError: scopeError } };
    const rules =
      who === undefined
        ? await rulesOfCaller(policy, call, call.namespace)
        : await policy.rulesFor(who, call.namespace);
    return { spec, status: { rules: compactRules(rules).map(openshiftRule) } };
  };

  return [
    reviewResource(
      {
        group,
        kind: 'LocalResourceAccessReview',
        plural: 'localresourceaccessreviews',
        singular: 'localresourceaccessreview',
        isNamespaced: true,
        description: 'LocalResourceAccessReview tells who may do something in a namespace.',
      },
      resourceAccessReviewSchema,
      (call, question) => {
        requireSameNamespace(call, question, 'LocalResourceAccessReview');
        return whoCan(question, call.namespace);
      },
    ),
    reviewResource(
      {
        group,
        kind: 'LocalSubjectAccessReview',
        plural: 'localsubjectaccessreviews',
        singular: 'localsubjectaccessreview',
        isNamespaced: true,
        description: 'LocalSubjectAccessReview tells whether somebody may do something in a namespace.',
      },
      subjectAccessReviewSchema,
      (call, question) => {
        requireSameNamespace(call, question, 'LocalSubjectAccessReview');
        return whetherMay(call, question, call.namespace);
      },
    ),
    reviewResource(
      {
        group,
        kind: 'ResourceAccessReview',
        plural: 'resourceaccessreviews',
        singular: 'resourceaccessreview',
        isNamespaced: false,
        description: 'ResourceAccessReview tells who may do something.',
      },
      resourceAccessReviewSchema,
      (_call, question) => whoCan(question, question.namespace ?? ''),
    ),
    reviewResource(
      {
        group,
        kind: 'SelfSubjectRulesReview',
        plural: 'selfsubjectrulesreviews',
        singular: 'selfsubjectrulesreview',
        isNamespaced: true,
        description: 'SelfSubjectRulesReview lists what the caller may do in a namespace.',
      },
      selfSubjectRulesReviewSchema,
      (call, { spec }) => rulesOf(call, spec),
    ),
    reviewResource(
      {
        group,
        kind: 'SubjectAccessReview',
        plural: 'subjectaccessreviews',
        singular: 'subjectaccessreview',
        isNamespaced: false,
        description: 'SubjectAccessReview tells whether somebody may do something; by default the caller.',
        // Everybody may ask about themselves: logging in ends with it.
        selfFiltered: ['create'],
      },
      subjectAccessReviewSchema,
      async (call, question) => {
        const namespace = question.namespace ?? '';
        if (subjectOf(question) !== undefined) await requireMayAsk(call, namespace);
        return whetherMay(call, question, namespace);
      },
    ),
    reviewResource(
      {
        group,
        kind: 'SubjectRulesReview',
        plural: 'subjectrulesreviews',
        singular: 'subjectrulesreview',
        isNamespaced: true,
        description: 'SubjectRulesReview lists what somebody may do in a namespace.',
      },
      subjectRulesReviewSchema,
      (call, { spec }) => rulesOf(call, spec),
    ),
  ];
}

/** @returns undefined when the caller is meant */
function subjectOf({ user = '', groups = [] }: Pick<AccessQuestion, 'user' | 'groups'>): Subjects | undefined {
  return user === '' && groups.length === 0 ? undefined : { name: user, groups };
}

/** Tokens here have one scope that means anything in this API; with others the answer must not be yes. */
function errorOfScopes(scopes: readonly string[] = []): string | undefined {
  return scopes.length === 0 || scopes.includes('user:full')
    ? undefined
    : `scopes ${scopes.map((scope) => JSON.stringify(scope)).join(', ')} allow nothing here`;
}

/** What is asked: more than one thing, when the group is left to guess. */
function requestsOf(question: Action, namespace: string): readonly AccessRequest[] {
  const { verb = '', resourceAPIGroup = '', resource = '', resourceName = '', path = '' } = question;
  if (question.isNonResourceURL === true) return [{ kind: 'path', verb, path }];
  return groupsMeant(resourceAPIGroup, resource).map((meant) => ({
    kind: 'resource',
    verb,
    group: meant,
    resource,
    ...(namespace !== '' && { namespace }),
    ...(resourceName !== '' && { name: resourceName }),
  }));
}

/** @throws {StatusError} Invalid */
function requireSameNamespace(call: Call, { namespace = '' }: Action, kind: string): void {
  if (namespace === '' || namespace === call.namespace) return;
  throw invalid({ group, kind }, '', [invalidValue('namespace', namespace, `namespace must be: ${call.namespace}`)]);
}

/** @throws {StatusError} Forbidden */
async function requireMayAsk(call: Call, namespace: string): Promise<void> {
  const plural = 'subjectaccessreviews';
  if (await call.may({ verb: 'create', group, resource: plural, namespace })) return;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  throw forbidden(
    { group, plural },
    '',
    `User "${call.principal.name}" cannot create resource "${plural}" in API group "${group}" ${where}`,
  );
}

/** In this API both lists are always there. */
function openshiftRule({ verbs, apiGroups = [], resources = [], ...rest }: PolicyRule) {
  return { verbs, apiGroups, resources, ...rest };
}
