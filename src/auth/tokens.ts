import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Basis, TokenAccess } from './principal.js';
import { issuer, notBeforeLeewaySeconds, verifyOwnToken } from './own-tokens.js';
import { signingAlgorithm, type SigningKeys } from './signing-keys.js';

/** What registry tokens are for; also the `service` of the challenge. */
export const registryAudience = 'weir-registry';

const basis = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('nobody') }),
  z.object({ kind: z.literal('password'), user: z.string(), stamp: z.string() }),
  z.object({ kind: z.literal('access-token'), name: z.string() }),
  z.object({
    kind: z.literal('service-account'),
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    secret: z.object({ name: z.string(), uid: z.string() }).optional(),
  }),
]);

const claims = z.object({
  sub: z.string(),
  exp: z.number(),
  basis,
  access: z.array(
    z.object({ type: z.enum(['repository', 'registry']), name: z.string(), actions: z.array(z.string()) }),
  ),
});

/** What a registry token says. */
export interface RegistryToken {
  readonly basis: Basis;
  readonly access: readonly TokenAccess[];
}

/** A token and how long it is good for. */
export interface IssuedToken {
  readonly token: string;
  readonly issuedAt: Date;
  readonly lifetimeSeconds: number;
}

/**
 * Registry tokens: short-lived JWT (RFC 7519) that name what they were given for, and what they are narrowed to. Who that
 * is now, and what they may, is found out at each use.
 *
 * Verifying a signature costs more than the rest of a small request, so what was verified is remembered until it
 * expires.
 */
export class RegistryTokens {
  readonly #keys: SigningKeys;
  readonly #lifetimeSeconds: number;
  readonly #now: () => Date;
  readonly #verified = new LRUCache<string, { readonly said: RegistryToken; readonly expiresAtMs: number }>({
    max: 10_000,
  });

  constructor(keys: SigningKeys, lifetimeSeconds: number, now: () => Date = () => new Date()) {
    this.#keys = keys;
    this.#lifetimeSeconds = lifetimeSeconds;
    this.#now = now;
  }

  async issue(
    { name, basis: standsOn }: { readonly name: string; readonly basis: Basis },
    access: readonly TokenAccess[],
    lifetimeSeconds = this.#lifetimeSeconds,
  ): Promise<IssuedToken> {
    const { id, key } = await this.#keys.current();
    const issuedAt = this.#now();
    const now = Math.floor(issuedAt.getTime() / 1000);
    const token = await new SignJWT({ access, basis: standsOn })
      .setProtectedHeader({ alg: signingAlgorithm, kid: id, typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(registryAudience)
      .setSubject(name)
      .setIssuedAt(now)
      .setNotBefore(now - notBeforeLeewaySeconds)
      .setExpirationTime(now + lifetimeSeconds)
      .setJti(randomUUID())
      .sign(key);
    return { token, issuedAt, lifetimeSeconds };
  }

  /** @returns undefined when the token is not ours, not intact, or expired */
  async verify(token: string): Promise<RegistryToken | undefined> {
    const now = this.#now();
    const known = this.#verified.get(token);
    if (known !== undefined && known.expiresAtMs > now.getTime()) return known.said;
    const payload = await verifyOwnToken(token, { keys: this.#keys, audience: registryAudience, claims, now });
    if (payload === undefined) return undefined;
    const said: RegistryToken = { basis: payload.basis as Basis, access: payload.access };
    this.#verified.set(token, { said, expiresAtMs: payload.exp * 1000 });
    return said;
  }
}

/** A new refresh token: a secret for the client, and its hash for the database. */
export function generateRefreshToken(): { readonly secret: string; readonly hash: string } {
  const secret = `weir_rt_${randomBytes(32).toString('base64url')}`;
  return { secret, hash: hashRefreshToken(secret) };
}

/** The secret has 256 random bits, so one fast hash is enough. */
export function hashRefreshToken(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
