import { errors, jwtVerify } from 'jose';
import { z } from 'zod';
import { signingAlgorithm, type SigningKeys } from './signing-keys.js';

/** Who issues the tokens of this program. */
export const issuer = 'weir';

/** A token counts from a little before it was made: clocks of processes agree to within milliseconds, and so not quite. */
export const notBeforeLeewaySeconds = 5;

/**
 * Reads a JWT of our own (RFC 7519).
 *
 * Only our own keys count, found by `kid`; keys or their addresses inside the token (`jwk`, `jku`, `x5u`, `x5c`) are
 * never looked at, and no other algorithm is taken.
 *
 * @param claims what it has to say
 * @returns undefined when the token is not ours, not intact, expired or for another audience
 */
export async function verifyOwnToken<Claims>(
  token: string,
  {
    keys,
    audience,
    claims,
    now,
  }: {
    readonly keys: SigningKeys;
    readonly audience: string;
    readonly claims: z.ZodType<Claims>;
    readonly now: Date;
  },
): Promise<Claims | undefined> {
  try {
    const { payload } = await jwtVerify(
      token,
      async ({ kid }) => {
        const key = await keys.findPublicKey(kid);
        if (key === undefined) throw new errors.JWKSNoMatchingKey();
        return key;
      },
      {
        issuer,
        audience,
        algorithms: [signingAlgorithm],
        typ: 'JWT',
        requiredClaims: ['exp', 'sub'],
        currentDate: now,
      },
    );
    return claims.parse(payload);
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}
