import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Basis } from './principal.js';
import { issuer, notBeforeLeewaySeconds, verifyOwnToken } from './own-tokens.js';
import { signingAlgorithm, type SigningKeys } from './signing-keys.js';
import { serviceAccountName } from './subjects.js';

/** What a token is for when nobody asks for anything else: this API, and the registry's token endpoint. */
export const apiAudience = 'weir-api';

const claims = z.object({
  exp: z.number(),
  aud: z.union([z.string(), z.array(z.string())]),
  'kubernetes.io': z.object({
    namespace: z.string(),
    serviceaccount: z.object({ name: z.string(), uid: z.string() }),
    secret: z.object({ name: z.string(), uid: z.string() }).optional(),
  }),
});

/** What a service account token is asked for. */
export interface ServiceAccountTokenWish {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** `weir-api` when left out or empty; a token for another audience is worth nothing here. */
  readonly audiences?: readonly string[];
  readonly lifetimeSeconds: number;
  /** The token is worth nothing once this secret is gone. */
  readonly secret?: { readonly name: string; readonly uid: string };
}

/** Tokens of service accounts: JWT (RFC 7519) that are worth nothing once the account is gone. */
export class ServiceAccountTokens {
  readonly #keys: SigningKeys;
  readonly #now: () => Date;
  readonly #verified = new LRUCache<string, { readonly basis: ServiceAccountBasis; readonly expiresAtMs: number }>({
    max: 10_000,
  });

  constructor(keys: SigningKeys, now: () => Date = () => new Date()) {
    this.#keys = keys;
    this.#now = now;
  }

  async issue({
    namespace,
    name,
    uid,
    audiences = [],
    lifetimeSeconds,
    secret,
  }: ServiceAccountTokenWish): Promise<{ readonly token: string; readonly expiresAt: Date }> {
    const { id, key } = await this.#keys.current();
    const now = Math.floor(this.#now().getTime() / 1000);
    const token = await new SignJWT({
      'kubernetes.io': { namespace, serviceaccount: { name, uid }, ...(secret !== undefined && { secret }) },
    })
      .setProtectedHeader({ alg: signingAlgorithm, kid: id, typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(audiences.length === 0 ? [apiAudience] : [...audiences])
      .setSubject(serviceAccountName(namespace, name))
      .setIssuedAt(now)
      .setNotBefore(now - notBeforeLeewaySeconds)
      .setExpirationTime(now + lifetimeSeconds)
      .setJti(randomUUID())
      .sign(key);
    return { token, expiresAt: new Date((now + lifetimeSeconds) * 1000) };
  }

  /** Whether the token was verified before, and has not expired since. */
  isVerified(token: string): boolean {
    return this.#recall(token) !== undefined;
  }

  #recall(token: string): ServiceAccountBasis | undefined {
    const known = this.#verified.get(token);
    return known !== undefined && known.expiresAtMs > this.#now().getTime() ? known.basis : undefined;
  }

  /** @returns undefined when the token is not ours, not intact, expired or for another audience */
  async verify(token: string): Promise<ServiceAccountBasis | undefined> {
    const known = this.#recall(token);
    if (known !== undefined) return known;
    const said = await verifyOwnToken(token, { keys: this.#keys, audience: apiAudience, claims, now: this.#now() });
    if (said === undefined) return undefined;
    const { namespace, serviceaccount, secret } = said['kubernetes.io'];
    const basis: ServiceAccountBasis = {
      kind: 'service-account',
      namespace,
      ...serviceaccount,
      ...(secret !== undefined && { secret }),
    };
    this.#verified.set(token, { basis, expiresAtMs: said.exp * 1000 });
    return basis;
  }
}

/** A service account as a basis. */
export type ServiceAccountBasis = Extract<Basis, { kind: 'service-account' }>;
