import { anonymous, userPrincipal, type Principal } from './principal.js';
import type { PasswordChecker } from './passwords.js';
import type { RegistryTokens } from './tokens.js';

/** Who sent a request, or why what it showed is worth nothing. */
export type Authentication =
  | { readonly kind: 'known'; readonly principal: Principal }
  | { readonly kind: 'refused'; readonly scheme: 'basic' | 'bearer' | 'unknown' };

/** Tells from the `Authorization` header who sent a request. */
export class Authenticator {
  readonly #passwords: PasswordChecker;
  readonly #tokens: RegistryTokens;

  constructor(passwords: PasswordChecker, tokens: RegistryTokens) {
    this.#passwords = passwords;
    this.#tokens = tokens;
  }

  /** @param authorization the header (RFC 9110, section 11.6.2); empty when there is none */
  async authenticate(authorization: string): Promise<Authentication> {
    if (authorization === '') return { kind: 'known', principal: anonymous };
    const [, scheme = '', credentials = ''] = /^(\S+) +(\S+)$/.exec(authorization.trim()) ?? [];
    switch (scheme.toLowerCase()) {
      case 'bearer': {
        const principal = await this.#tokens.verify(credentials);
        return principal === undefined ? { kind: 'refused', scheme: 'bearer' } : { kind: 'known', principal };
      }
      case 'basic': {
        const { name, password } = parseBasic(credentials);
        const user = await this.#passwords.check(name, password);
        if (user === undefined) return { kind: 'refused', scheme: 'basic' };
        return { kind: 'known', principal: userPrincipal(user.name, user.role) };
      }
      default:
        return { kind: 'refused', scheme: 'unknown' };
    }
  }
}

/** RFC 7617: the name ends at the first colon. */
function parseBasic(credentials: string): { readonly name: string; readonly password: string } {
  const text = Buffer.from(credentials, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? { name: text, password: '' } : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}
