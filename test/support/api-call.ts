import type { AccessPolicy } from '../../src/auth/policy.js';
import { anonymous, type Principal } from '../../src/auth/principal.js';
import type { Call } from '../../src/kube/resource.js';

/** What a call is made of; what is left out does not matter to the test. */
export interface CallOptions {
  /** Nobody, when left out. */
  readonly principal?: Principal;
  readonly namespace?: string;
  /** Decides what the principal may do; without it, nothing. */
  readonly policy?: AccessPolicy;
  readonly now?: Date;
  /** Takes what is shown to the user. */
  readonly warnings?: string[];
}

/** A call as the API kernel makes it for the storage of a resource, after authentication and authorization. */
export function apiCall({
  principal = anonymous,
  namespace: ofCall = '',
  policy,
  now = new Date('2024-05-01T12:00:00Z'),
  warnings = [],
}: CallOptions = {}): Call {
  return {
    principal,
    namespace: ofCall,
    now,
    origin: 'https://weir.example',
    may: ({ namespace = ofCall, ...wanted }) =>
      policy === undefined || principal.access !== undefined
        ? Promise.resolve(false)
        : policy.allows(principal, { kind: 'resource', ...wanted, ...(namespace !== '' && { namespace }) }),
    warn: (text) => {
      warnings.push(text);
    },
    query: () => undefined,
    header: () => '',
  };
}

/** Somebody who is logged in: a person, or a service account when the name is one of those. */
export function loggedIn(name: string, ...groups: readonly string[]): Principal {
  return {
    kind: name.startsWith('system:serviceaccount:') ? 'service-account' : 'user',
    name,
    groups: [...groups, 'system:authenticated'],
    basis: { kind: 'nobody' },
  };
}

/** May do everything. */
export const master = loggedIn('root', 'system:masters');
