import { randomBytes, timingSafeEqual } from 'node:crypto';
import type Router from '@koa/router';
import type { Context } from 'koa';
import type { Principal } from '../auth/principal.js';
import { localProvider } from '../auth/identities.js';
import { addressOf } from '../auth/registry-access.js';
import { BodyTooLargeError, readBody, requestOrigin, sendEmpty, stopReading } from '../http.js';
import type { UserRecord } from '../metadata/user-records.js';
import { OciError } from '../oci/errors.js';
import { loginPage, pageSecurityPolicy, problemPage, tokenPage } from './login-pages.js';
import { LoginRefusedError, type Logins, type UserReference } from './logins.js';
import { isBuiltIn } from './oauth-clients.js';
import { OAuthError } from './oauth-errors.js';
import type { OAuthServer } from './oauth-server.js';

/** Who knows passwords. */
export interface PasswordLogins {
  /**
   * @param address of the client, by which failures are counted
   * @throws {OciError} TOOMANYREQUESTS
   */
  check(name: string, password: string, address: string): Promise<UserRecord | undefined>;
}

/** What logging in works with. */
export interface LoginOptions {
  readonly server: OAuthServer;
  readonly logins: Logins;
  readonly passwords: PasswordLogins;
  /** By which clients call this server; from the request when undefined. */
  readonly publicUrl: string | undefined;
  /** Names of identity providers to offer. */
  readonly providers: readonly string[];
}

/** What becomes of a login: an authorization by its query, or, when that is empty, a token on a page. */
export type LoginGoal = string;

const maxFormSize = 16 * 1024;

/** Logging in with a form, for one purpose at a time: no session is left behind. */
export function loginRoutes(router: Router, options: LoginOptions): void {
  router.get('/oauth/token/request', async (ctx) => {
    await sendLoginForm(ctx, options, { goal: '' });
  });

  router.post('/oauth/login', (ctx) =>
    answeringProblems(ctx, async () => {
      const form = await readForm(ctx);
      const userName = form.get('username') ?? '';
      const goal = form.get('request') ?? '';
      const again = (status: number, problem: string) =>
        sendLoginForm(ctx, options, { goal, status, problem, userName });
      if (!hasCsrfToken(ctx, options, form)) {
        return again(403, 'This page was open for too long, or your browser keeps no cookies. Please try again.');
      }
      let user: UserReference | undefined;
      try {
        user = await logInWithPassword(ctx, options, userName, form.get('password') ?? '');
      } catch (error) {
        if (isTooMany(error)) {
          ctx.set(error.headers);
          return again(429, 'There were too many attempts. Please wait a little before the next one.');
        }
        if (error instanceof LoginRefusedError) return again(403, sentence(error.message));
        throw error;
      }
      if (user === undefined) return again(403, 'The user name or the password is wrong.');
      await finishLogin(ctx, options, goal, user);
    }),
  );
}

/**
 * Whoever has this name and this password.
 *
 * @returns undefined when there is nobody
 * @throws {LoginRefusedError}
 * @throws {OciError} TOOMANYREQUESTS
 */
export async function logInWithPassword(
  ctx: Context,
  { passwords, logins }: LoginOptions,
  name: string,
  password: string,
): Promise<UserReference | undefined> {
  const record = await passwords.check(name, password, addressOf(ctx));
  if (record === undefined) return undefined;
  const user = await logins.completeLogin({
    provider: localProvider,
    subject: record.name,
    preferredName: record.name,
  });
  keepPrincipal(ctx, user);
  return user;
}

/** For the logs: whose request this turned out to be. */
export function keepPrincipal(ctx: Context, { name, uid }: UserReference): void {
  const principal: Principal = { kind: 'user', name, uid, groups: [], basis: { kind: 'nobody' } };
  ctx.state['principal'] = principal;
}

/** Goes on with what somebody has logged in for. @throws {OAuthError} */
export async function finishLogin(
  ctx: Context,
  { server, publicUrl }: LoginOptions,
  goal: LoginGoal,
  user: UserReference,
): Promise<void> {
  const origin = requestOrigin(ctx, publicUrl);
  if (goal === '') {
    const page = tokenPage({ ...(await server.issueForPage(user)), origin });
    clearCookie(ctx, csrfCookie(origin));
    sendPage(ctx, 200, page);
    return;
  }
  const location = await server.grant(await server.parse(goal, origin), user);
  clearCookie(ctx, csrfCookie(origin));
  sendTo(ctx, 303, location);
}

/** The form as it is to be shown. */
export interface LoginFormState {
  readonly goal: LoginGoal;
  /** 200 when left out. */
  readonly status?: number;
  readonly problem?: string;
  readonly userName?: string;
}

/** Shows the form to log in. @throws {OAuthError} when the goal is not one */
export async function sendLoginForm(
  ctx: Context,
  { server, publicUrl, providers }: LoginOptions,
  { goal, status = 200, problem, userName }: LoginFormState,
): Promise<void> {
  const origin = requestOrigin(ctx, publicUrl);
  const request = goal === '' ? undefined : await server.parse(goal, origin);
  const cookie = csrfCookie(origin);
  const present = ctx.cookies.get(cookie.name) ?? '';
  // Forms in several windows share it.
  const csrfToken = isCsrfToken(present) ? present : randomBytes(32).toString('base64url');
  const isAnnounced = request !== undefined && !isBuiltIn(request.client);
  const page = loginPage({
    csrfToken,
    request: goal,
    client: isAnnounced ? { name: request.client.metadata.name, destination: siteOf(request.redirectUri) } : undefined,
    problem,
    userName,
    providers,
  });
  setCookie(ctx, cookie, csrfToken);
  sendPage(ctx, status, page);
}

function siteOf(uri: string): string {
  const { protocol, host } = new URL(uri);
  return host === '' ? protocol : host;
}

/** Reads a form of which no field is given twice. @throws {OAuthError} invalid_request */
export async function readForm(ctx: Context): Promise<URLSearchParams> {
  if (ctx.is('application/x-www-form-urlencoded') === false || ctx.get('Content-Type') === '') {
    throw new OAuthError('invalid_request', 'expected a body of type application/x-www-form-urlencoded');
  }
  let text: string;
  try {
    text = (await readBody(ctx.req, maxFormSize)).toString('utf8');
  } catch (error) {
    if (!(error instanceof BodyTooLargeError)) throw error;
    stopReading(ctx.req);
    throw new OAuthError('invalid_request', 'the body is too large', { cause: error });
  }
  const form = new URLSearchParams(text);
  const names = [...form.keys()];
  if (new Set(names).size !== names.length) throw new OAuthError('invalid_request', 'a parameter is given twice');
  return form;
}

/** Whether a form is one that this server gave to this browser. */
export function hasCsrfToken(ctx: Context, { publicUrl }: LoginOptions, form: URLSearchParams): boolean {
  const kept = ctx.cookies.get(csrfCookie(requestOrigin(ctx, publicUrl)).name) ?? '';
  const sent = form.get('csrf') ?? '';
  return isCsrfToken(kept) && isCsrfToken(sent) && timingSafeEqual(Buffer.from(kept), Buffer.from(sent));
}

function isCsrfToken(text: string): boolean {
  return /^[\w-]{43}$/.test(text);
}

/** A cookie of this host alone. */
export interface HostCookie {
  readonly name: string;
  readonly isSecure: boolean;
  readonly maxAgeSeconds: number;
}

/** A cookie for a login that is under way. @param origin by which this server was called */
export function hostCookie(name: string, origin: string, maxAgeSeconds: number): HostCookie {
  const isSecure = origin.startsWith('https:');
  // The prefix keeps sites beside this one from setting it (RFC 6265bis, section 4.1.3.2).
  return { name: isSecure ? `__Host-${name}` : name, isSecure, maxAgeSeconds };
}

function csrfCookie(origin: string): HostCookie {
  return hostCookie('weir-login', origin, 3600);
}

/** Koa's own cookies look at the connection, which is not https behind a proxy. */
export function setCookie(ctx: Context, { name, isSecure, maxAgeSeconds }: HostCookie, value: string): void {
  const secure = isSecure ? '; Secure' : '';
  ctx.append('Set-Cookie', `${name}=${value}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Lax${secure}`);
}

/** Takes a cookie away. */
export function clearCookie(ctx: Context, cookie: HostCookie): void {
  setCookie(ctx, { ...cookie, maxAgeSeconds: 0 }, '');
}

/** Shows what went wrong, or tells the client of it, when that is who has to know. */
export async function answeringProblems(ctx: Context, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof OAuthError) {
      if (error.location === undefined) sendPage(ctx, error.status, problemPage(sentence(error.message)));
      else sendTo(ctx, 303, error.location);
    } else if (error instanceof LoginRefusedError) {
      sendPage(ctx, 403, problemPage(sentence(error.message)));
    } else throw error;
  }
}

/** Whether somebody has tried too often. */
export function isTooMany(error: unknown): error is OciError {
  return error instanceof OciError && error.code === 'TOOMANYREQUESTS';
}

/** @param status 302, or 303 after a form */
export function sendTo(ctx: Context, status: 302 | 303, location: string): void {
  sendEmpty(ctx, status);
  ctx.set('Location', location);
  setPageHeaders(ctx);
}

/** Answers with a page that nobody keeps, frames or hears of. */
export function sendPage(ctx: Context, status: number, page: string): void {
  ctx.status = status;
  ctx.type = 'text/html; charset=utf-8';
  ctx.body = page;
  ctx.set('Content-Security-Policy', pageSecurityPolicy);
  ctx.set('X-Frame-Options', 'DENY');
  setPageHeaders(ctx);
}

function setPageHeaders(ctx: Context): void {
  ctx.set('Cache-Control', 'no-store');
  ctx.set('Referrer-Policy', 'no-referrer');
  ctx.set('X-Content-Type-Options', 'nosniff');
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}
