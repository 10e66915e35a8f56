import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { badRequest } from '../kube/errors.js';
import type { Resource } from '../kube/resource.js';
import { reviewResource } from './review-resource.js';

const group = 'authentication.k8s.io';

const userSchema = z.object({
  username: z.string().optional(),
  uid: z.string().optional(),
  groups: z.array(z.string()).optional(),
  extra: z.record(z.string(), z.array(z.string())).optional(),
});

const selfSubjectReviewSchema = z.object({
  status: z
    .object({ userInfo: userSchema.optional().describe('Name, uid and groups of the caller.') })
    .optional()
    .describe('Filled in by the server.'),
});

const tokenReviewSchema = z.object({
  spec: z.object({
    token: z.string().optional().describe('What somebody showed as a bearer token.'),
    audiences: z
      .array(z.string())
      .optional()
      .describe('For whom the token should be. Not looked at: the answer names no audience, and so means this API.'),
  }),
  status: z
    .object({
      authenticated: z.boolean().optional().describe('Whether the token is worth something.'),
      user: userSchema.optional().describe('Whose token it is.'),
      audiences: z.array(z.string()).optional(),
      error: z.string().optional().describe('Why it is worth nothing.'),
    })
    .optional()
    .describe('Filled in by the server.'),
});

/**
 * Questions about who somebody is, `authentication.k8s.io/v1`.
 *
 * @param authenticateToken whose token it is; undefined when it is worth nothing
 */
export function authenticationReviews(
  authenticateToken: (token: string) => Promise<Principal | undefined>,
): readonly Resource[] {
  return [
    reviewResource(
      {
        group,
        kind: 'SelfSubjectReview',
        plural: 'selfsubjectreviews',
        singular: 'selfsubjectreview',
        isNamespaced: false,
        description: 'SelfSubjectReview tells who the caller is.',
      },
      selfSubjectReviewSchema,
      ({ principal }) => Promise.resolve({ status: { userInfo: userInfo(principal) } }),
    ),
    reviewResource(
      {
        group,
        kind: 'TokenReview',
        plural: 'tokenreviews',
        singular: 'tokenreview',
        isNamespaced: false,
        description: 'TokenReview tells whose token it is.',
      },
      tokenReviewSchema,
      async (_call, { spec: { token = '', ...spec } }) => {
        if (token === '') throw badRequest('token is required for TokenReview in authentication');
        const principal = await authenticateToken(token);
        const isKnown = principal !== undefined && principal.kind !== 'anonymous';
        return {
          // With the token, which the Python client misses otherwise: it takes no answer of which a string is absent.
          spec: { token, ...spec },
          status: isKnown
            ? { authenticated: true, user: userInfo(principal) }
            : { authenticated: false, user: {}, error: 'invalid bearer token' },
        };
      },
    ),
  ];
}

function userInfo({ name, uid, groups }: Principal): z.output<typeof userSchema> {
  return { username: name, ...(uid !== undefined && { uid }), groups: [...groups] };
}
