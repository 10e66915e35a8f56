import { readFile } from 'node:fs/promises';
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  AuthorizationResponseError,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientSecretBasic,
  ClientSecretPost,
  clockSkew,
  Configuration,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  type CustomFetch,
  type ServerMetadata,
} from 'openid-client';
import { localProvider } from '../auth/identities.js';
import { fetchTrusting } from './ca-fetch.js';
import { wrongIssuer } from './issuer-keys.js';
import type { LoginClaim } from './logins.js';
import { isProvidedGroupName, isProviderName } from './names.js';

/** An OpenID Connect provider, as it is configured. */
export interface OidcProvider {
  /** In identities, in the address of the callback, and on the button. */
  readonly name: string;
  readonly issuer: string;
  readonly clientId: string;
  /** Undefined for a public client. */
  readonly clientSecret?: string | undefined;
  readonly scopes: readonly string[];
  readonly usernameClaim: string;
  readonly groupsClaim: string;
  readonly groupsPrefix: string;
  /** PEM certificates of authorities that are trusted beside the usual ones. */
  readonly caFile?: string | undefined;
}

/** What a browser keeps between leaving for the provider and coming back. */
export interface SignInAttempt {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** A sign-in that came to nothing; the message is for the person, the cause for the log. */
export class OidcError extends Error {
  override readonly name = 'OidcError';
}

const timeoutSeconds = 10;
/** What the provider says about itself is asked again after so long; after a failure sooner. */
const rememberedMs = 3_600_000;
const leftAloneMs = 5_000;

/** Signing in with an OpenID Connect provider: code, PKCE, state and nonce (OpenID Connect Core 1.0, section 3.1). */
export class OidcSignIn {
  readonly #provider: OidcProvider;
  readonly #now: () => Date;
  #configuration: Promise<Configuration> | undefined;
  #askAgainAtMs = 0;

  /** @throws {RangeError} when the provider cannot be one */
  constructor(provider: OidcProvider, now: () => Date = () => new Date()) {
    const wrong = wrongIssuer(provider.issuer);
    if (wrong !== undefined) throw new RangeError(`oidc.issuer ${wrong}`);
    if (!isProviderName(provider.name) || provider.name === localProvider) {
      throw new RangeError(`oidc.name must be a DNS label, and not "${localProvider}"`);
    }
    this.#provider = provider;
    this.#now = now;
  }

  get name(): string {
    return this.#provider.name;
  }

  /**
   * Begins.
   *
   * @param callbackUrl where the provider sends people back to
   * @returns where to send them
   * @throws {OidcError} when the provider cannot be reached
   */
  async begin(callbackUrl: string): Promise<{ readonly url: string; readonly attempt: SignInAttempt }> {
    const configuration = await this.#configure();
    const attempt = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() };
    const scopes = new Set(['openid', ...this.#provider.scopes]);
    const url = buildAuthorizationUrl(configuration, {
      redirect_uri: callbackUrl,
      scope: [...scopes].join(' '),
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await calculatePKCECodeChallenge(attempt.verifier),
      code_challenge_method: 'S256',
    });
    return { url: url.href, attempt };
  }

  /**
   * Finds out who came back.
   *
   * @param url with what the provider has added
   * @throws {OidcError}
   */
  async finish(url: URL, attempt: SignInAttempt): Promise<LoginClaim> {
    const configuration = await this.#configure();
    try {
      return this.#claimOf(await this.#claims(configuration, url, attempt));
    } catch (error) {
      if (error instanceof OidcError) throw error;
      const isRefused = error instanceof AuthorizationResponseError && error.error === 'access_denied';
      throw new OidcError(
        isRefused ? `${this.name} did not let you in` : `the sign-in with ${this.name} failed; try again`,
        { cause: error },
      );
    }
  }

  async #claims(
    configuration: Configuration,
    url: URL,
    { state, nonce, verifier }: SignInAttempt,
  ): Promise<Readonly<Record<string, unknown>>> {
    const tokens = await authorizationCodeGrant(configuration, url, {
      expectedState: state,
      expectedNonce: nonce,
      pkceCodeVerifier: verifier,
      idTokenExpected: true,
    });
    const claims = tokens.claims();
    if (claims === undefined) throw new OidcError(`${this.name} does not say who you are`);
    const { usernameClaim, groupsClaim } = this.#provider;
    const isAll = Object.hasOwn(claims, usernameClaim) && Object.hasOwn(claims, groupsClaim);
    if (isAll || configuration.serverMetadata().userinfo_endpoint === undefined) return claims;
    // Some say the rest there only.
    return { ...(await fetchUserInfo(configuration, tokens.access_token, claims.sub)), ...claims };
  }

  #claimOf(claims: Readonly<Record<string, unknown>>): LoginClaim {
    const { name, usernameClaim, groupsClaim, groupsPrefix } = this.#provider;
    const preferredName = ownText(claims, usernameClaim);
    if (preferredName === undefined) throw new OidcError(`${name} does not say what you are called (${usernameClaim})`);
    // An address that is not verified may be anybody's.
    if (usernameClaim === 'email' && (claims['email_verified'] ?? true) !== true) {
      throw new OidcError(`${name} has not verified your address`);
    }
    const fullName = ownText(claims, 'name')?.slice(0, 256);
    return {
      provider: name,
      subject: ownText(claims, 'sub') ?? '',
      preferredName,
      ...(fullName !== undefined && { fullName }),
      groups: groupsOf(claims, groupsClaim)
        .filter(isProvidedGroupName)
        .map((group) => groupsPrefix + group),
    };
  }

  async #configure(): Promise<Configuration> {
    if (this.#configuration === undefined || performance.now() >= this.#askAgainAtMs) {
      this.#askAgainAtMs = performance.now() + rememberedMs;
      const configuration = this.#discover();
      this.#configuration = configuration;
      configuration.catch(() => {
        this.#askAgainAtMs = performance.now() + leftAloneMs;
      });
    }
    try {
      return await this.#configuration;
    } catch (error) {
      throw new OidcError(`${this.name} cannot be reached at present`, { cause: error });
    }
  }

  async #discover(): Promise<Configuration> {
    const { issuer, clientId, clientSecret, caFile } = this.#provider;
    // To this machine only, as the constructor has seen to.
    const isPlain = issuer.startsWith('http:');
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- it is marked so only to be noticed
    const execute = isPlain ? [allowInsecureRequests] : [];
    const request: CustomFetch | undefined =
      caFile === undefined ? undefined : fetchTrusting(await readFile(caFile, 'utf8'));
    const options = { execute, timeout: timeoutSeconds, ...(request !== undefined && { [customFetch]: request }) };
    const found = await discovery(new URL(issuer), clientId, undefined, None(), options);
    const server = found.serverMetadata();
    if (server.issuer !== issuer) throw new Error(`${issuer} says it is ${server.issuer}`);
    // Tokens are judged by the clock that all processes share.
    const metadata = { [clockSkew]: (this.#now().getTime() - Date.now()) / 1000 };
    const configuration = new Configuration(server, clientId, metadata, authenticationOf(server, clientSecret));
    configuration.timeout = timeoutSeconds;
    if (request !== undefined) configuration[customFetch] = request;
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- as above
    if (isPlain) allowInsecureRequests(configuration);
    // A token that came straight from the provider need not be verified; it costs nothing to do it.
    enableNonRepudiationChecks(configuration);
    return configuration;
  }
}

/** As the provider wants it; Basic when it does not say (OpenID Connect Discovery 1.0, section 3). */
function authenticationOf(server: ServerMetadata, secret: string | undefined) {
  if (secret === undefined) return None();
  const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
  return methods.includes('client_secret_basic') ? ClientSecretBasic(secret) : ClientSecretPost(secret);
}

function ownText(claims: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A list, or one; whatever else it is, there are none. */
function groupsOf(claims: Readonly<Record<string, unknown>>, name: string): readonly string[] {
  const value: unknown = Object.hasOwn(claims, name) ? claims[name] : undefined;
  return [value].flat().filter((group): group is string => typeof group === 'string' && group !== '');
}
