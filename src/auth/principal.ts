import type { Actor } from '../metadata/tag-history.js';

/** Something a token lets its bearer do to one repository or to the registry as a whole. */
export interface TokenAccess {
  readonly type: 'repository' | 'registry';
  /** A repository name in its one spelling, or `catalog`. */
  readonly name: string;
  readonly actions: readonly string[];
}

/** What somebody showed, and what tokens given for it stand on: they are worth nothing once it is gone. */
export type Basis =
  | { readonly kind: 'nobody' }
  /** A local user; the stamp changes with the password. */
  | { readonly kind: 'password'; readonly user: string; readonly stamp: string }
  /** An OAuth access token, by the name of its object. */
  | { readonly kind: 'access-token'; readonly name: string }
  | {
      readonly kind: 'service-account';
      readonly namespace: string;
      readonly name: string;
      readonly uid: string;
      /** The secret the token is bound to. */
      readonly secret?: { readonly name: string; readonly uid: string };
    };

/** Who a request comes from. */
export interface Principal {
  readonly kind: 'anonymous' | 'user' | 'service-account';
  /** `bob`, `system:serviceaccount:<namespace>:<name>`, `system:anonymous`. */
  readonly name: string;
  /** Of the User or ServiceAccount object, when there is one. */
  readonly uid?: string;
  /** Kubernetes groups; rules are granted to these and to the name. */
  readonly groups: readonly string[];
  readonly basis: Basis;
  /** What the token that was shown is narrowed to; undefined when the whole of the rights was shown. */
  readonly access?: readonly TokenAccess[];
}

/** As the history of a tag names somebody. */
export function actorOf({ kind, name }: Pick<Principal, 'kind' | 'name'>): Actor {
  return { kind, name };
}

/** Members of this group may do everything. */
export const mastersGroup = 'system:masters';
export const authenticatedGroup = 'system:authenticated';
export const unauthenticatedGroup = 'system:unauthenticated';

export const anonymous: Principal = {
  kind: 'anonymous',
  name: 'system:anonymous',
  groups: [unauthenticatedGroup],
  basis: { kind: 'nobody' },
};
