import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';

/** OAuth access tokens as the object store names them. */
export const accessTokensResource = 'oauthaccesstokens.oauth.openshift.io';

const prefix = 'sha256~';

/** oauth.openshift.io OAuthAccessToken: all but the secret, which nobody has but its owner. */
export interface AccessTokenObject extends ApiObject {
  readonly clientName: string;
  /** Seconds from its creation. */
  readonly expiresIn: number;
  readonly redirectURI?: string;
  readonly scopes: readonly string[];
  readonly userName: string;
  readonly userUID: string;
}

/** What a new token is for. */
export interface AccessTokenWish {
  readonly user: { readonly name: string; readonly uid: string };
  readonly clientName: string;
  readonly scopes: readonly string[];
  readonly lifetimeSeconds: number;
  readonly redirectURI?: string;
}

/**
 * The name of the object of a token: the hash of its secret part, as `oc logout` computes it. A token of another form
 * has none.
 */
export function accessTokenName(token: string): string | undefined {
  if (!/^sha256~[\w-]{20,100}$/.test(token)) return undefined;
  return prefix + createHash('sha256').update(token.slice(prefix.length)).digest('base64url');
}

/** API tokens: opaque secrets of 256 random bits. The store has their hashes only. */
export class AccessTokens {
  readonly #store: ObjectStore;
  readonly #now: () => Date;

  constructor(store: ObjectStore, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#now = now;
  }

  async issue(
    wish: AccessTokenWish,
  ): Promise<{ readonly token: string; readonly name: string; readonly expiresAt: Date }> {
    const token = prefix + randomBytes(32).toString('base64url');
    const name = accessTokenName(token)!;
    const now = this.#now();
    const expiresAt = new Date(now.getTime() + wish.lifetimeSeconds * 1000);
    const object: AccessTokenObject = {
      metadata: { name, uid: randomUUID(), creationTimestamp: now.toISOString().replace(/\.\d+Z$/, 'Z') },
      clientName: wish.clientName,
      expiresIn: wish.lifetimeSeconds,
      ...(wish.redirectURI !== undefined && { redirectURI: wish.redirectURI }),
      scopes: wish.scopes,
      userName: wish.user.name,
      userUID: wish.user.uid,
    };
    const write = {
      kind: 'create',
      resource: accessTokensResource,
      object,
      lookups: [wish.user.name],
      expiresAt,
    } as const;
    const result = await this.#store.commit([write]);
    if (result.kind === 'refused') throw new Error(`an access token could not be stored: ${result.reason}`);
    return { token, name, expiresAt };
  }

  /** The object of a token by its name; undefined when it was revoked or has expired. */
  async find(name: string): Promise<AccessTokenObject | undefined> {
    return (await this.#store.find({ resource: accessTokensResource, namespace: '', name })) as
      AccessTokenObject | undefined;
  }

  /** @returns false when there is no such token */
  async revoke(name: string): Promise<boolean> {
    const result = await this.#store.commit([{ kind: 'remove', resource: accessTokensResource, namespace: '', name }]);
    return result.kind === 'committed';
  }
}
