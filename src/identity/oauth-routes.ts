import type Router from '@koa/router';
import type { Context } from 'koa';
import type { AccessTokens } from '../auth/access-tokens.js';
import { parseBasic } from '../auth/authenticate.js';
import { requestOrigin } from '../http.js';
import type { ObjectStore } from '../metadata/object-store.js';
import type { UserRecords } from '../metadata/user-records.js';
import { locationOf, parameterOf, type AuthorizationRequest } from './authorization-request.js';
import { implicitPage, problemPage } from './login-pages.js';
import {
  isTooMany,
  loginRoutes,
  logInWithPassword,
  readForm,
  sendLoginForm,
  sendPage,
  sendTo,
  type LoginOptions,
  type PasswordLogins,
} from './login-routes.js';
import { LoginRefusedError, Logins } from './logins.js';
import { implicitPath } from './oauth-clients.js';
import { OAuthError } from './oauth-errors.js';
import { OidcSignIn, type OidcProvider } from './oidc.js';
import { oidcRoutes } from './oidc-routes.js';
import { authorizationServerMetadata, OAuthServer, type TokenRequest } from './oauth-server.js';

/** What logging in stands on. */
export interface IdentityRoutesOptions {
  readonly store: ObjectStore;
  readonly records: UserRecords;
  readonly passwords: PasswordLogins;
  readonly accessTokens: AccessTokens;
  /** By which clients call this server; from the request when undefined. */
  readonly publicUrl: string | undefined;
  /** Of tokens of clients that say nothing else. */
  readonly accessTokenSeconds: number;
  /** An identity provider that the login page offers. */
  readonly oidc?: OidcProvider | undefined;
  readonly now?: () => Date;
}

/** Everything under `/oauth`, and where clients are told of it: logging in, and what programs get from it. */
export function identityRoutes(router: Router, options: IdentityRoutesOptions): void {
  const { store, records, passwords, accessTokens: tokens, publicUrl, accessTokenSeconds, now } = options;
  const signIn = options.oidc && new OidcSignIn(options.oidc, now);
  const login: LoginOptions = {
    server: new OAuthServer({ store, tokens, accessTokenSeconds, ...(now !== undefined && { now }) }),
    logins: new Logins(store, records, now),
    passwords,
    publicUrl,
    providers: signIn === undefined ? [] : [signIn.name],
  };
  oauthRoutes(router, login);
  loginRoutes(router, login);
  if (signIn !== undefined) oidcRoutes(router, login, signIn);
}

/** The OAuth server that `oc login` asks for (RFC 6749, 7636, 8414), as OpenShift has it. */
function oauthRoutes(router: Router, options: LoginOptions): void {
  const { server, publicUrl } = options;

  router.get('/.well-known/oauth-authorization-server', (ctx) => {
    ctx.body = authorizationServerMetadata(requestOrigin(ctx, publicUrl));
  });

  router.get('/oauth/authorize', async (ctx) => {
    // Browsers send this header to no other site; only who sends it may be asked for a password with a challenge.
    const isProgram = ctx.get('X-CSRF-Token') !== '';
    try {
      const request = await server.parse(ctx.querystring, requestOrigin(ctx, publicUrl));
      if (isProgram && request.client.respondWithChallenges === true) await answerChallenge(ctx, options, request);
      else await sendLoginForm(ctx, options, { goal: ctx.querystring });
    } catch (error) {
      if (!(error instanceof OAuthError)) throw error;
      if (error.location !== undefined) sendTo(ctx, 302, error.location);
      else if (isProgram) sendOAuthError(ctx, error);
      else sendPage(ctx, error.status, problemPage(`${error.message}.`));
    }
  });

  router.post('/oauth/token', async (ctx) => {
    try {
      const answer = await server.redeem(tokenRequestOf(ctx, await readForm(ctx)));
      sendUnkept(ctx, 200, answer);
    } catch (error) {
      if (!(error instanceof OAuthError)) throw error;
      sendOAuthError(ctx, error);
    }
  });

  router.get(implicitPath, (ctx) => {
    sendPage(ctx, 200, implicitPage());
  });
}

/** The login of `oc login -u`: 401 until the password is right, then 302 and nothing else. */
async function answerChallenge(ctx: Context, options: LoginOptions, request: AuthorizationRequest): Promise<void> {
  const [, credentials] = /^basic +(\S+)$/i.exec(ctx.get('Authorization').trim()) ?? [];
  if (credentials === undefined) {
    sendChallenge(ctx, 'log in with a user name and a password');
    return;
  }
  const { name, password } = parseBasic(credentials);
  try {
    const user = await logInWithPassword(ctx, options, name, password);
    if (user === undefined) sendChallenge(ctx, 'the user name or the password is wrong');
    else sendTo(ctx, 302, await options.server.grant(request, user));
  } catch (error) {
    if (isTooMany(error)) {
      ctx.set(error.headers);
      sendOAuthError(ctx, new OAuthError('temporarily_unavailable', 'too many attempts to log in; try again later'));
      return;
    }
    if (!(error instanceof LoginRefusedError)) throw error;
    const { redirectUri, state } = request;
    const told = { error: 'access_denied', error_description: error.message, state };
    throw new OAuthError('access_denied', error.message, {
      location: locationOf({ redirectUri, isFragment: request.responseType === 'token' }, told),
      cause: error,
    });
  }
}

function sendChallenge(ctx: Context, description: string): void {
  ctx.set('WWW-Authenticate', 'Basic realm="openshift"');
  sendUnkept(ctx, 401, { error: 'access_denied', error_description: description });
}

function sendOAuthError(ctx: Context, error: OAuthError): void {
  // Whoever tried Basic hears that it is the way (RFC 6749, section 5.2).
  if (error.code === 'invalid_client') ctx.set('WWW-Authenticate', 'Basic realm="openshift"');
  sendUnkept(ctx, error.status, error.toBody());
}

function sendUnkept(ctx: Context, status: number, body: object): void {
  ctx.status = status;
  ctx.body = body;
  ctx.set('Cache-Control', 'no-store');
  ctx.set('Pragma', 'no-cache');
}

/** @throws {OAuthError} invalid_request when the client says twice who it is, invalid_client when it cannot be read */
function tokenRequestOf(ctx: Context, form: URLSearchParams): TokenRequest {
  const valueOf = (name: string) => parameterOf(form, name);
  const authorization = ctx.get('Authorization').trim();
  const request = {
    grantType: valueOf('grant_type'),
    code: valueOf('code'),
    redirectUri: valueOf('redirect_uri'),
    codeVerifier: valueOf('code_verifier'),
  };
  if (authorization === '') {
    return { ...request, clientId: valueOf('client_id'), clientSecret: form.get('client_secret') ?? '' };
  }
  const [, credentials] = /^basic +(\S+)$/i.exec(authorization) ?? [];
  if (credentials === undefined) throw new OAuthError('invalid_client', 'a client says who it is with Basic');
  const { name, password } = parseBasic(credentials);
  const client = { clientId: fromForm(name), clientSecret: fromForm(password) };
  const isOther = (valueOf('client_id') ?? client.clientId) !== client.clientId;
  if (isOther || valueOf('client_secret') !== undefined) {
    throw new OAuthError('invalid_request', 'the client says in two ways who it is');
  }
  return { ...request, ...client };
}

/** Names and secrets are written as in a form before they are put into Basic (RFC 6749, section 2.3.1). */
function fromForm(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (error) {
    throw new OAuthError('invalid_client', 'the name or the secret of the client is not written as in a form', {
      cause: error,
    });
  }
}
