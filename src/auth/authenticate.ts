import { accessTokenName } from './access-tokens.js';
import type { Identities } from './identities.js';
import type { PasswordChecker } from './passwords.js';
import { anonymous, type Principal } from './principal.js';
import type { ServiceAccountTokens } from './service-account-tokens.js';
import type { RegistryTokens } from './tokens.js';

/** Who sent a request, or why what it showed is worth nothing. */
export type Authentication =
  | { readonly kind: 'known'; readonly principal: Principal }
  | { readonly kind: 'refused'; readonly scheme: 'basic' | 'bearer' | 'unknown' };

/** What the Authenticator asks. */
export interface AuthenticatorParts {
  readonly passwords: PasswordChecker;
  readonly registryTokens: RegistryTokens;
  readonly serviceAccountTokens: ServiceAccountTokens;
  readonly identities: Identities;
}

/** Tells from the `Authorization` header who sent a request. */
export class Authenticator {
  readonly #parts: AuthenticatorParts;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  /**
   * For the registry: a registry token, an API token or that of a service account as Bearer; a password, or one of the
   * latter two with any user name, as Basic. `Bearer anonymous` is nobody, as OpenShift's registry has it.
   *
   * @param authorization the header (RFC 9110, section 11.6.2); empty when there is none
   * @param address of the client, by which failed logins are counted
   */
  async authenticate(authorization: string, address: string): Promise<Authentication> {
    if (authorization === '') return { kind: 'known', principal: anonymous };
    const [, scheme = '', credentials = ''] = /^(\S+) +(\S+)$/.exec(authorization.trim()) ?? [];
    switch (scheme.toLowerCase()) {
      case 'bearer': {
        if (credentials === 'anonymous') return { kind: 'known', principal: anonymous };
        const principal = await this.#bearer(credentials);
        return principal === undefined ? { kind: 'refused', scheme: 'bearer' } : { kind: 'known', principal };
      }
      case 'basic': {
        const { name, password } = parseBasic(credentials);
        const principal = isToken(password)
          ? await this.#token(password)
          : await this.password(name, password, address);
        return principal === undefined ? { kind: 'refused', scheme: 'basic' } : { kind: 'known', principal };
      }
      default:
        return { kind: 'refused', scheme: 'unknown' };
    }
  }

  /**
   * For the API: a token of a person or of a service account. Registry tokens are for the registry, and passwords for
   * logging in.
   *
   * @returns undefined when what was shown is worth nothing
   */
  async authenticateApi(authorization: string): Promise<Principal | undefined> {
    if (authorization === '') return anonymous;
    const [, token] = /^bearer +(\S+)$/i.exec(authorization.trim()) ?? [];
    return token === undefined ? undefined : this.#token(token);
  }

  /** A local user by name and password. @throws {OciError} TOOMANYREQUESTS */
  async password(name: string, password: string, address: string): Promise<Principal | undefined> {
    const user = await this.#parts.passwords.check(name, password, address);
    return user === undefined ? undefined : this.#parts.identities.ofLocalUser(user);
  }

  /** Verifying a token as one that it is not costs more than the rest of a small request. */
  async #bearer(text: string): Promise<Principal | undefined> {
    const isOther = accessTokenName(text) !== undefined || this.#parts.serviceAccountTokens.isVerified(text);
    const principal = isOther ? undefined : await this.#registryToken(text);
    return principal ?? this.#token(text);
  }

  async #registryToken(text: string): Promise<Principal | undefined> {
    const token = await this.#parts.registryTokens.verify(text);
    if (token === undefined) return undefined;
    const principal = await this.#parts.identities.resolve(token.basis);
    return principal && { ...principal, access: token.access };
  }

  async #token(text: string): Promise<Principal | undefined> {
    const name = accessTokenName(text);
    if (name !== undefined) return this.#parts.identities.resolve({ kind: 'access-token', name });
    const basis = await this.#parts.serviceAccountTokens.verify(text);
    return basis && this.#parts.identities.resolve(basis);
  }
}

/** Whether a password is none but a token: no password has one of these forms by chance. */
function isToken(password: string): boolean {
  return accessTokenName(password) !== undefined || /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(password);
}

/** RFC 7617: the name ends at the first colon. */
export function parseBasic(credentials: string): { readonly name: string; readonly password: string } {
  const text = Buffer.from(credentials, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? { name: text, password: '' } : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}
