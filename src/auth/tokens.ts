import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { anonymous, type Principal, type TokenAccess } from './principal.js';
import { signingAlgorithm, type SigningKeys } from './signing-keys.js';

/** Who issues registry tokens. */
const issuer = 'weir';
/** What registry tokens are for; also the `service` of the challenge. */
export const registryAudience = 'weir-registry';

const claims = z.object({
  sub: z.string(),
  exp: z.number(),
  groups: z.array(z.string()),
  access: z.array(
    z.object({ type: z.enum(['repository', 'registry']), name: z.string(), actions: z.array(z.string()) }),
  ),
});

/** A token and how long it is good for. */
export interface IssuedToken {
  readonly token: string;
  readonly issuedAt: Date;
  readonly lifetimeSeconds: number;
}

/**
 * Registry tokens: short-lived JWT (RFC 7519) that name who, and what they are narrowed to.
 *
 * Verifying a signature costs more than the rest of a small request, so what was verified is remembered until it
 * expires.
 */
export class RegistryTokens {
  readonly #keys: SigningKeys;
  readonly #lifetimeSeconds: number;
  readonly #verified = new LRUCache<string, { readonly principal: Principal; readonly expiresAtMs: number }>({
    max: 10_000,
  });

  constructor(keys: SigningKeys, lifetimeSeconds: number) {
    this.#keys = keys;
    this.#lifetimeSeconds = lifetimeSeconds;
  }

  async issue(principal: Principal, access: readonly TokenAccess[]): Promise<IssuedToken> {
    const { id, key } = await this.#keys.current();
    const issuedAt = new Date();
    const now = Math.floor(issuedAt.getTime() / 1000);
    const token = await new SignJWT({ access, groups: principal.groups })
      .setProtectedHeader({ alg: signingAlgorithm, kid: id, typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(registryAudience)
      .setSubject(principal.name)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + this.#lifetimeSeconds)
      .setJti(randomUUID())
      .sign(key);
    return { token, issuedAt, lifetimeSeconds: this.#lifetimeSeconds };
  }

  /**
   * Only our own keys count, found by `kid`; keys or their addresses inside the token (`jwk`, `jku`, `x5u`, `x5c`) are
   * never looked at, and no other algorithm is taken.
   *
   * @returns undefined when the token is not ours, not intact, or expired
   */
  async verify(token: string): Promise<Principal | undefined> {
    const known = this.#verified.get(token);
    if (known !== undefined && known.expiresAtMs > Date.now()) return known.principal;
    try {
      const { payload } = await jwtVerify(token, async ({ kid }) => this.#publicKey(kid), {
        issuer,
        audience: registryAudience,
        algorithms: [signingAlgorithm],
        typ: 'JWT',
        requiredClaims: ['exp', 'sub'],
      });
      const { sub, exp, groups, access } = claims.parse(payload);
      const principal: Principal = { kind: sub === anonymous.name ? 'anonymous' : 'user', name: sub, groups, access };
      this.#verified.set(token, { principal, expiresAtMs: exp * 1000 });
      return principal;
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof z.ZodError) return undefined;
      throw error;
    }
  }

  async #publicKey(kid: string | undefined) {
    const key = await this.#keys.findPublicKey(kid);
    if (key === undefined) throw new errors.JWKSNoMatchingKey();
    return key;
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
