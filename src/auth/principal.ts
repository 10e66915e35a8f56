/** Something a token lets its bearer do to one repository or to the registry as a whole. */
export interface TokenAccess {
  readonly type: 'repository' | 'registry';
  /** A repository name in its one spelling, or `catalog`. */
  readonly name: string;
  readonly actions: readonly string[];
}

/** Who a request comes from. */
export interface Principal {
  readonly kind: 'anonymous' | 'user';
  readonly name: string;
  /** Kubernetes groups; rules are granted to these. */
  readonly groups: readonly string[];
  /** What the token that was shown is narrowed to; undefined when the whole of the user's rights was shown. */
  readonly access?: readonly TokenAccess[];
}

export const anonymous: Principal = { kind: 'anonymous', name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** A logged-in user. */
export function userPrincipal(name: string, role: 'admin' | 'user'): Principal {
  return { kind: 'user', name, groups: [...(role === 'admin' ? ['system:masters'] : []), 'system:authenticated'] };
}
