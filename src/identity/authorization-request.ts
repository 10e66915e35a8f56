import type { CodeChallenge } from './authorization-codes.js';
import {
  challengingClient,
  cliClient,
  fullScope,
  mayRedirect,
  redirectUrisOf,
  type OAuthClientObject,
} from './oauth-clients.js';
import { OAuthError, type OAuthErrorCode } from './oauth-errors.js';

/** What a client asks for at `/oauth/authorize`, found to be right. */
export interface AuthorizationRequest {
  readonly client: OAuthClientObject;
  readonly responseType: 'code' | 'token';
  readonly redirectUri: string;
  /** Whether the client said where to, or has only one place. */
  readonly isRedirectNamed: boolean;
  readonly state: string | undefined;
  readonly challenge: CodeChallenge | undefined;
}

const parameters = [
  'client_id',
  'redirect_uri',
  'response_type',
  'scope',
  'state',
  'code_challenge',
  'code_challenge_method',
] as const;

/** So much fits into a cookie with what else has to be in it. */
const maxQueryLength = 2048;

/**
 * Reads a request for authorization (RFC 6749, section 4.1.1).
 *
 * @param query without its question mark
 * @param findClient by its name
 * @param origin by which this server was called
 * @throws {OAuthError} with a location when the client may be told
 */
export async function parseAuthorizationRequest(
  query: string,
  findClient: (name: string) => Promise<OAuthClientObject | undefined>,
  origin: string,
): Promise<AuthorizationRequest> {
  if (query.length > maxQueryLength) {
    throw new OAuthError('invalid_request', `the request is longer than ${maxQueryLength} characters`);
  }
  const values = new URLSearchParams(query);
  for (const name of parameters) {
    if (values.getAll(name).length > 1) throw new OAuthError('invalid_request', `${name} is given more than once`);
  }
  const valueOf = (name: (typeof parameters)[number]) => parameterOf(values, name);

  const client = await findClient(valueOf('client_id') ?? '');
  if (client === undefined) throw new OAuthError('unauthorized_client', 'there is no OAuth client of this client_id');
  const named = valueOf('redirect_uri');
  const own = redirectUrisOf(client, origin);
  const redirectUri = named ?? (own.length === 1 && client.metadata.name !== cliClient ? own[0] : undefined);
  if (redirectUri === undefined) throw new OAuthError('invalid_request', 'redirect_uri is missing');
  if (!mayRedirect(client, redirectUri, origin)) {
    throw new OAuthError('invalid_request', 'redirect_uri is none of this client');
  }

  // From here on the client itself can be told.
  const responseType = valueOf('response_type');
  const state = valueOf('state');
  const isFragment = responseType === 'token';
  const refuse = (error: OAuthErrorCode, description: string): OAuthError =>
    new OAuthError(error, description, {
      location: locationOf({ redirectUri, isFragment }, { error, error_description: description, state }),
    });
  if (responseType === undefined) throw refuse('invalid_request', 'response_type is missing');
  if (responseType !== 'code' && responseType !== 'token') {
    throw refuse('unsupported_response_type', 'response_type must be code or token');
  }
  const scopes = (valueOf('scope') ?? fullScope).split(' ').filter((scope) => scope !== '');
  if (scopes.some((scope) => scope !== fullScope) || !mayHaveFullScope(client)) {
    throw refuse('invalid_scope', `this client cannot have any scope but ${fullScope}`);
  }
  const challenge = challengeOf(valueOf('code_challenge'), valueOf('code_challenge_method'));
  if (challenge === 'wrong') {
    throw refuse(
      'invalid_request',
      'code_challenge must have 43 to 128 characters, code_challenge_method must be S256 or plain',
    );
  }
  const { name } = client.metadata;
  if (responseType === 'token' && name === cliClient) {
    throw refuse('unauthorized_client', 'this client gets codes only');
  }
  // A client that can keep no secret proves with PKCE that a code is its own (RFC 9700, section 2.1.1). Old versions of
  // oc do not; they take the code out of an answer to themselves, and nothing passes by anybody else.
  const isPublic = client.secretHash === undefined && name !== challengingClient;
  if (responseType === 'code' && isPublic && challenge === undefined) {
    throw refuse('invalid_request', 'code_challenge is missing: this client has no secret');
  }
  return { client, responseType, redirectUri, isRedirectNamed: named !== undefined, state, challenge };
}

/** A parameter; one without a value counts as left out (RFC 6749, section 3.1). */
export function parameterOf(values: URLSearchParams, name: string): string | undefined {
  const value = values.get(name) ?? '';
  return value === '' ? undefined : value;
}

function mayHaveFullScope({ scopeRestrictions = [] }: OAuthClientObject): boolean {
  return scopeRestrictions.length === 0 || scopeRestrictions.some(({ literals = [] }) => literals.includes(fullScope));
}

function challengeOf(value: string | undefined, method: string | undefined): CodeChallenge | undefined | 'wrong' {
  if (value === undefined) return method === undefined ? undefined : 'wrong';
  // RFC 7636, section 4.2; without a method it is `plain`.
  if (!/^[\w.~-]{43,128}$/.test(value)) return 'wrong';
  if (method === undefined || method === 'plain') return { value, method: 'plain' };
  return method === 'S256' ? { value, method } : 'wrong';
}

/**
 * Where a client is sent with what it is told: in the query, or in the fragment, which browsers send to nobody.
 *
 * @param told what is undefined is left out
 */
export function locationOf(
  { redirectUri, isFragment }: { readonly redirectUri: string; readonly isFragment: boolean },
  told: Readonly<Record<string, string | undefined>>,
): string {
  const values = new URLSearchParams();
  for (const [name, value] of Object.entries(told)) if (value !== undefined) values.set(name, value);
  const separator = isFragment ? '#' : redirectUri.includes('?') ? '&' : '?';
  return `${redirectUri}${separator}${values.toString()}`;
}
