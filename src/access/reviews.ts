import type { AccessPolicy } from '../auth/policy.js';
import type { Principal } from '../auth/principal.js';
import type { Resource } from '../kube/resource.js';
import { authenticationReviews } from './authentication-reviews.js';
import { authorizationReviews } from './authorization-reviews.js';
import { openshiftReviews } from './openshift-reviews.js';

/**
 * All questions about identity and rights, as Kubernetes and OpenShift have them asked: by creating an object that is
 * the question and becomes the answer.
 *
 * @param authenticateToken whose bearer token it is; undefined when it is worth nothing
 */
export function reviewResources(
  policy: AccessPolicy,
  authenticateToken: (token: string) => Promise<Principal | undefined>,
): readonly Resource[] {
  return [...authenticationReviews(authenticateToken), ...authorizationReviews(policy), ...openshiftReviews(policy)];
}
