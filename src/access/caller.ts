import type { AccessPolicy } from '../auth/policy.js';
import type { AccessRequest, PolicyRule } from '../auth/rules.js';
import type { Call } from '../kube/resource.js';

/** Whether the caller may do something, with what they have shown. */
export async function callerMay(policy: AccessPolicy, call: Call, request: AccessRequest): Promise<boolean> {
  switch (request.kind) {
    case 'resource': {
      // Left out, it would be the namespace of the call.
      return call.may({ ...request, namespace: request.namespace ?? '' });
    }
    case 'path':
      return !isNarrowed(call) && (await policy.allows(call.principal, request));
  }
}

/**
 * The rules that the caller holds in a namespace, or everywhere when it is empty. A token that is narrowed to
 * repositories holds none: what it allows cannot be said in rules.
 */
export async function rulesOfCaller(
  policy: AccessPolicy,
  call: Call,
  namespace: string,
): Promise<readonly PolicyRule[]> {
  return isNarrowed(call) ? [] : policy.rulesFor(call.principal, namespace);
}

function isNarrowed({ principal }: Call): boolean {
  return principal.access !== undefined;
}
