import { createHash, timingSafeEqual } from 'node:crypto';
import type { AccessTokens } from '../auth/access-tokens.js';
import type { ObjectStore } from '../metadata/object-store.js';
import { AuthorizationCodes, type CodeChallenge, type CodeGrant } from './authorization-codes.js';
import { locationOf, parseAuthorizationRequest, type AuthorizationRequest } from './authorization-request.js';
import type { UserReference } from './logins.js';
import {
  browserClient,
  fullScope,
  isClientSecret,
  oauthClientsResource,
  type OAuthClientObject,
} from './oauth-clients.js';
import { OAuthError } from './oauth-errors.js';

/** What the OAuth server stands on. */
export interface OAuthServerOptions {
  readonly store: ObjectStore;
  readonly tokens: AccessTokens;
  /** Of tokens of clients that say nothing else. */
  readonly accessTokenSeconds: number;
  readonly now?: () => Date;
}

/** A token for whoever reads it on a page. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/** RFC 6749, section 5.1. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly expires_in: number;
  readonly scope: string;
}

/** Parameters of a request to the token endpoint; what is not there is undefined. */
export interface TokenRequest {
  readonly grantType: string | undefined;
  readonly code: string | undefined;
  readonly redirectUri: string | undefined;
  readonly codeVerifier: string | undefined;
  readonly clientId: string | undefined;
  /** Empty when there is none. */
  readonly clientSecret: string;
}

/** RFC 8414: where to log in, as `oc login` asks for it. */
export function authorizationServerMetadata(origin: string): object {
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/oauth/authorize`,
    token_endpoint: `${origin}/oauth/token`,
    scopes_supported: [fullScope],
    response_types_supported: ['code', 'token'],
    grant_types_supported: ['authorization_code', 'implicit'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    code_challenge_methods_supported: ['plain', 'S256'],
  };
}

/** Gives programs tokens of people who have logged in (RFC 6749), as OpenShift's OAuth server does. */
export class OAuthServer {
  readonly #options: OAuthServerOptions;
  readonly #codes: AuthorizationCodes;

  constructor(options: OAuthServerOptions) {
    this.#options = options;
    this.#codes = new AuthorizationCodes(options.store, options.now);
  }

  /** @param query of the request, without its question mark @throws {OAuthError} */
  parse(query: string, origin: string): Promise<AuthorizationRequest> {
    return parseAuthorizationRequest(query, (name) => this.#findClient(name), origin);
  }

  /** Grants a request. @returns where the client is sent */
  async grant(request: AuthorizationRequest, user: UserReference): Promise<string> {
    const { client, redirectUri, state, responseType } = request;
    if (responseType === 'token') {
      const { token, seconds } = await this.#issueToken(client, user, redirectUri);
      const told = { access_token: token, expires_in: String(seconds), scope: fullScope, token_type: 'Bearer', state };
      return locationOf({ redirectUri, isFragment: true }, told);
    }
    const code = await this.#codes.issue({
      user,
      clientName: client.metadata.name,
      redirectUri,
      isRedirectNamed: request.isRedirectNamed,
      scopes: [fullScope],
      ...(request.challenge !== undefined && { challenge: request.challenge }),
    });
    return locationOf({ redirectUri, isFragment: false }, { code, state });
  }

  /** A token for somebody who will copy it from a page. */
  async issueForPage(user: UserReference): Promise<IssuedToken> {
    const client = (await this.#findClient(browserClient)) ?? {
      metadata: { name: browserClient, uid: '', creationTimestamp: '' },
    };
    return this.#issueToken(client, user, undefined);
  }

  /**
   * Gives a token for a code, once (RFC 6749, section 4.1.3). When a code comes again, somebody else has seen it: the
   * token that was given for it is taken back.
   *
   * @throws {OAuthError}
   */
  async redeem(request: TokenRequest): Promise<TokenAnswer> {
    if (request.grantType === undefined) throw new OAuthError('invalid_request', 'grant_type is missing');
    if (request.grantType !== 'authorization_code') {
      throw new OAuthError('unsupported_grant_type', 'grant_type must be authorization_code');
    }
    const client = await this.#findClient(request.clientId ?? '');
    if (client === undefined || !isClientSecret(client, request.clientSecret)) {
      throw new OAuthError('invalid_client', 'there is no such OAuth client, or its secret is another one');
    }
    if (request.code === undefined) throw new OAuthError('invalid_request', 'code is missing');
    const found = await this.#codes.find(request.code);
    if (found?.grant.clientName !== client.metadata.name) throw invalidCode();
    const { name, grant } = found;
    checkBindings(grant, request);

    const taken = await this.#codes.take(name);
    if (taken.kind === 'used' && taken.tokenName !== undefined) await this.#options.tokens.revoke(taken.tokenName);
    if (taken.kind !== 'taken') throw invalidCode();
    const issued = await this.#issueToken(client, grant.user, grant.redirectUri);
    if (!(await this.#codes.keepToken(name, issued.name))) {
      await this.#options.tokens.revoke(issued.name);
      throw invalidCode();
    }
    return {
      access_token: issued.token,
      token_type: 'Bearer',
      expires_in: issued.seconds,
      scope: grant.scopes.join(' '),
    };
  }

  async #issueToken(client: OAuthClientObject, user: UserReference, redirectUri: string | undefined) {
    const seconds = client.accessTokenMaxAgeSeconds ?? this.#options.accessTokenSeconds;
    const issued = await this.#options.tokens.issue({
      user,
      clientName: client.metadata.name,
      scopes: [fullScope],
      lifetimeSeconds: seconds,
      ...(redirectUri !== undefined && { redirectURI: redirectUri }),
    });
    return { ...issued, seconds };
  }

  async #findClient(name: string): Promise<OAuthClientObject | undefined> {
    const key = { resource: oauthClientsResource, namespace: '', name };
    const client = (await this.#options.store.find(key)) as OAuthClientObject | undefined;
    return client?.metadata.deletionTimestamp === undefined ? client : undefined;
  }
}

function invalidCode(): OAuthError {
  return new OAuthError('invalid_grant', 'the code is not one of this client, or has been used, or has expired');
}

/** That a code is shown by the one it was given to, for the place it was sent to. @throws {OAuthError} invalid_grant */
function checkBindings({ redirectUri, isRedirectNamed, challenge }: CodeGrant, request: TokenRequest): void {
  const isSamePlace = request.redirectUri === redirectUri || (!isRedirectNamed && request.redirectUri === undefined);
  if (!isSamePlace) throw new OAuthError('invalid_grant', 'redirect_uri is not the one the code was sent to');
  if (challenge === undefined) {
    // Otherwise somebody could take the challenge out of a request, and the client would not notice (RFC 9700, 4.8.2).
    if (request.codeVerifier === undefined) return;
    throw new OAuthError('invalid_grant', 'the code was asked for without a code_challenge');
  }
  if (request.codeVerifier === undefined || !isVerified(challenge, request.codeVerifier)) {
    throw new OAuthError('invalid_grant', 'code_verifier is not the one of the code_challenge');
  }
}

/** RFC 7636, section 4.6. */
function isVerified({ value, method }: CodeChallenge, verifier: string): boolean {
  if (!/^[\w.~-]{43,128}$/.test(verifier)) return false;
  const given = method === 'plain' ? verifier : createHash('sha256').update(verifier).digest('base64url');
  return given.length === value.length && timingSafeEqual(Buffer.from(given), Buffer.from(value));
}
