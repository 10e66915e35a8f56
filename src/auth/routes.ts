import type Router from '@koa/router';
import type { Context } from 'koa';
import { z } from 'zod';
import { BodyTooLargeError, readBody } from '../http.js';
import type { UserRecords } from '../metadata/user-records.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { Authenticator } from './authenticate.js';
import type { Identities } from './identities.js';
import type { Principal, TokenAccess } from './principal.js';
import { addressOf, tokenPath } from './registry-access.js';
import type { RepositoryRights } from './repository-rights.js';
import type { ServiceAccountTokens } from './service-account-tokens.js';
import type { SigningKeys } from './signing-keys.js';
import { grantedAccess, parseScopes } from './token-scope.js';
import { generateRefreshToken, hashRefreshToken, type RegistryTokens } from './tokens.js';

/** Whose token of a CI system is as good as which service account. */
export interface KeylessTrust {
  /** @returns undefined when no rule trusts the token, or several do and none was named */
  readonly exchange: (
    idToken: string,
    wanted: { readonly namespace?: string; readonly serviceAccount?: string },
  ) => Promise<{ readonly namespace: string; readonly name: string; readonly uid: string } | undefined>;
}

/** What the token endpoint works with. */
export interface TokenRoutesOptions {
  readonly authenticator: Authenticator;
  readonly identities: Identities;
  readonly rights: RepositoryRights;
  readonly keyless: KeylessTrust;
  readonly serviceAccountTokens: ServiceAccountTokens;
  readonly users: UserRecords;
  readonly tokens: RegistryTokens;
  readonly keys: SigningKeys;
  /** @throws {OciError} NAME_INVALID */
  readonly parseName: (text: string) => RepositoryName;
  readonly refreshLifetimeSeconds: number;
  /** The clock that all processes share; the one of this machine when left out. */
  readonly now?: () => Date;
}

/** A token must fit into a request header, which has 32 KiB; base64 makes this a third longer. */
const maxAccessLength = 16 * 1024;
const maxFormSize = 64 * 1024;

/** RFC 8693, section 2.1. */
const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const subjectTokenTypes = ['urn:ietf:params:oauth:token-type:id_token', 'urn:ietf:params:oauth:token-type:jwt'];
/** Of what a CI system gets for its token. */
const keylessSeconds = 900;

const form = z.object({
  grant_type: z.enum(['password', 'refresh_token', tokenExchange]),
  client_id: z.string().max(255).default(''),
  access_type: z.string().optional(),
  scope: z.string().default(''),
  username: z.string().optional(),
  password: z.string().optional(),
  refresh_token: z.string().optional(),
  subject_token: z.string().optional(),
  subject_token_type: z.string().optional(),
  service_account: z
    .string()
    .regex(/^[^/]+\/[^/]+$/)
    .optional(),
});

/** An error of the OAuth 2.0 token endpoint (RFC 6749, section 5.2). */
class GrantError extends Error {
  override readonly name = 'GrantError';
  readonly error: 'invalid_request' | 'invalid_grant' | 'unsupported_grant_type';
  constructor(error: GrantError['error'], description: string) {
    super(description);
    this.error = error;
  }
}

/**
 * The token endpoint (distribution's "Token Authentication Specification" for GET and "OAuth 2.0" for POST) and the
 * public keys. All of it may be called by anyone: the credentials are in the request, and a token for nobody opens
 * nothing that is closed to nobody.
 */
export function tokenRoutes(router: Router, options: TokenRoutesOptions): void {
  const { authenticator, tokens, keys } = options;

  // The second path is where OpenShift's registry has it.
  router.get([tokenPath, '/openshift/token'], async (ctx) => {
    // Nothing narrower than a password buys a token: a token could otherwise be renewed for ever.
    const header = ctx.get('Authorization');
    const authentication = /^bearer /i.test(header)
      ? undefined
      : await authenticator.authenticate(header, addressOf(ctx));
    if (authentication?.kind !== 'known') {
      throw new OciError('UNAUTHORIZED', 'the user name or the password is wrong', {
        headers: { 'WWW-Authenticate': 'Basic realm="weir"' },
      });
    }
    const { principal } = authentication;
    ctx.state['principal'] = principal;
    const issued = await tokens.issue(principal, await accessOf(principal, [ctx.query['scope'] ?? []].flat(), options));
    // A refresh token is a new way to log in, so only a password buys one.
    const offline = ctx.query['offline_token'] === 'true' && principal.basis.kind === 'password';
    const client = typeof ctx.query['client_id'] === 'string' ? ctx.query['client_id'] : '';
    sendToken(ctx, {
      // Docker reads `token`; the OAuth spelling is there for everyone else.
      token: issued.token,
      access_token: issued.token,
      expires_in: issued.lifetimeSeconds,
      issued_at: issued.issuedAt.toISOString(),
      ...(offline && { refresh_token: await giveRefreshToken(options, principal, client) }),
    });
  });

  router.post(tokenPath, async (ctx) => {
    try {
      const fields = await readForm(ctx);
      if (fields.grant_type === tokenExchange) {
        sendToken(ctx, await exchangeToken(ctx, options, fields));
        return;
      }
      const principal = await redeem(options, fields, addressOf(ctx));
      ctx.state['principal'] = principal;
      const access = await accessOf(principal, [fields.scope], options);
      const issued = await tokens.issue(principal, access);
      const offline =
        fields.access_type === 'offline' && principal.basis.kind === 'password' && fields.grant_type === 'password';
      sendToken(ctx, {
        access_token: issued.token,
        token_type: 'Bearer',
        expires_in: issued.lifetimeSeconds,
        issued_at: issued.issuedAt.toISOString(),
        scope: scopeText(access),
        ...(fields.refresh_token !== undefined && { refresh_token: fields.refresh_token }),
        ...(offline && { refresh_token: await giveRefreshToken(options, principal, fields.client_id) }),
      });
    } catch (error) {
      if (!(error instanceof GrantError)) throw error;
      ctx.status = error.error === 'invalid_grant' ? 401 : 400;
      ctx.body = { error: error.error, error_description: error.message };
    }
  });

  router.get('/auth/keys', async (ctx) => {
    ctx.set('Cache-Control', 'public, max-age=60');
    ctx.body = await keys.publicKeySet();
  });
}

/** @throws {OciError} UNSUPPORTED, status 400, when all that is asked for does not fit into one token */
async function accessOf(
  principal: Principal,
  scopes: readonly string[],
  options: TokenRoutesOptions,
): Promise<readonly TokenAccess[]> {
  const access = await grantedAccess(options.rights.of(principal), parseScopes(scopes, options.parseName));
  if (JSON.stringify(access).length <= maxAccessLength) return access;
  throw new OciError('UNSUPPORTED', 'so many scopes do not fit into one token; ask for fewer at a time', {
    status: 400,
  });
}

function sendToken(ctx: Context, body: object): void {
  ctx.set('Cache-Control', 'no-store');
  ctx.body = body;
}

async function readForm(ctx: Context): Promise<z.infer<typeof form>> {
  if (!ctx.is('application/x-www-form-urlencoded')) {
    throw new GrantError('invalid_request', 'expected a body of type application/x-www-form-urlencoded');
  }
  let body: Buffer;
  try {
    body = await readBody(ctx.req, maxFormSize);
  } catch (error) {
    if (error instanceof BodyTooLargeError) throw new GrantError('invalid_request', 'the body is too large');
    throw error;
  }
  const fields = form.safeParse(Object.fromEntries(new URLSearchParams(body.toString('utf8'))));
  if (fields.success) return fields.data;
  const wrong = fields.error.issues[0]!.path.join('.');
  if (wrong === 'grant_type')
    throw new GrantError('unsupported_grant_type', `expected password, refresh_token or ${tokenExchange}`);
  throw new GrantError('invalid_request', `${wrong} is not valid`);
}

/**
 * RFC 8693: a token of a CI system for one of a service account. With a scope it is a registry token narrowed to that;
 * without one it is an API token, which docker, podman and kubectl take as a password or as it is.
 */
async function exchangeToken(ctx: Context, options: TokenRoutesOptions, fields: z.infer<typeof form>): Promise<object> {
  const { subject_token: idToken = '', subject_token_type: type, service_account: wanted } = fields;
  if (!subjectTokenTypes.includes(type ?? '')) {
    throw new GrantError('invalid_request', `subject_token_type: expected ${subjectTokenTypes.join(' or ')}`);
  }
  const [namespace, serviceAccount] = wanted?.split('/') ?? [];
  const account = await options.keyless.exchange(idToken, {
    ...(namespace !== undefined && { namespace }),
    ...(serviceAccount !== undefined && { serviceAccount }),
  });
  const principal = account && (await options.identities.resolve({ kind: 'service-account', ...account }));
  if (account === undefined || principal === undefined) {
    throw new GrantError(
      'invalid_grant',
      'no trust rule of a project takes this token, or several do and service_account does not say which is meant',
    );
  }
  ctx.state['principal'] = principal;
  const common = { issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer' };
  if (fields.scope === '') {
    const { token } = await options.serviceAccountTokens.issue({ ...account, lifetimeSeconds: keylessSeconds });
    return { access_token: token, ...common, expires_in: keylessSeconds };
  }
  const access = await accessOf(principal, [fields.scope], options);
  const issued = await options.tokens.issue(principal, access, keylessSeconds);
  return { access_token: issued.token, ...common, expires_in: issued.lifetimeSeconds, scope: scopeText(access) };
}

/** A list of accesses as one text (RFC 6749, section 3.3). */
function scopeText(access: readonly TokenAccess[]): string {
  return access.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ');
}

async function redeem(options: TokenRoutesOptions, fields: z.infer<typeof form>, address: string): Promise<Principal> {
  if (fields.grant_type === 'password') {
    const { username = '', password = '' } = fields;
    const credentials = Buffer.from(`${username}:${password}`).toString('base64');
    const authentication = await options.authenticator.authenticate(`Basic ${credentials}`, address);
    if (authentication.kind !== 'known') {
      throw new GrantError('invalid_grant', 'the user name or the password is wrong');
    }
    return authentication.principal;
  }
  const { now = () => new Date() } = options;
  const token = await options.users.findRefreshToken(hashRefreshToken(fields.refresh_token ?? ''), now());
  const user = token && (await options.users.findUser(token.user));
  if (user === undefined)
    throw new GrantError('invalid_grant', 'the refresh token is not valid any more; log in again');
  return options.identities.ofLocalUser(user);
}

async function giveRefreshToken(options: TokenRoutesOptions, principal: Principal, client: string): Promise<string> {
  const { secret, hash } = generateRefreshToken();
  const { now = () => new Date() } = options;
  const expiresAt = new Date(now().getTime() + options.refreshLifetimeSeconds * 1000);
  await options.users.addRefreshToken({ hash, user: principal.name, client: client.slice(0, 255), expiresAt });
  return secret;
}
