import type { Context, Middleware } from 'koa';
import type { Principal } from '../auth/principal.js';
import type { AccessRequest } from '../auth/rules.js';
import type { AuditOutcome, NewAuditRecord } from '../metadata/audit-records.js';
import type { AuditLog } from './audit-log.js';
import { isApiPath, outcomeOf } from './outcomes.js';

/** What the audit trail has to know of the routes. */
export interface AuditTrailOptions {
  /** Where credentials are sent in the body of a POST. */
  readonly loginPaths: readonly string[];
  readonly now?: () => Date;
}

const maxUserAgent = 256;
const maxText = 1024;

/**
 * Records every change and every denied request before its answer goes out. It stands around the middlewares that turn
 * errors into answers, and reads from `ctx.state` what the others found out: `requestId`, `principal`, `impersonator`,
 * `accessRequest`, which is what the request as a whole asked to do, and `dryRun`, true when a body said so.
 *
 * Neither the query, nor a header but User-Agent, nor anything of a body but one word of an error and the name of a new
 * object is written down: there could be secrets in it.
 */
export function auditTrail(log: AuditLog, { loginPaths, now = () => new Date() }: AuditTrailOptions): Middleware {
  const logins = new Set(loginPaths);
  return async (ctx, next) => {
    // Unknown once the client has hung up.
    const address = plainAddress(ctx.req.socket.remoteAddress ?? '');
    const recordAnswer = async (code: number) => {
      // Most of all requests, and never on record.
      if (code < 400 && (ctx.method === 'GET' || ctx.method === 'HEAD')) return;
      const outcome = outcomeAt(ctx, code, logins);
      if (outcome !== undefined) await log.record({ ...describe(ctx), at: now(), address, outcome, code });
    };
    try {
      await next();
    } catch (error) {
      await recordAnswer(statusOf(error));
      throw error;
    }
    await recordAnswer(ctx.status);
  };
}

function outcomeAt(ctx: Context, status: number, logins: ReadonlySet<string>): AuditOutcome | undefined {
  const principal = ctx.state['principal'] as Principal | undefined;
  return outcomeOf({
    method: ctx.method,
    path: ctx.path,
    status,
    isDryRun: ctx.state['dryRun'] === true || [ctx.query['dryRun']].flat().includes('All'),
    namesBlob: hasQuery(ctx, 'digest') || hasQuery(ctx, 'mount'),
    showsCredentials: ctx.get('Authorization') !== '',
    isLogin: logins.has(ctx.path),
    isFromUser: principal !== undefined && principal.kind !== 'anonymous',
  });
}

function hasQuery(ctx: Context, name: string): boolean {
  return (ctx.query[name] ?? '') !== '';
}

function describe(ctx: Context): Omit<NewAuditRecord, 'at' | 'address' | 'outcome' | 'code'> {
  const request = ctx.state['accessRequest'] as AccessRequest | undefined;
  const resource = request?.kind === 'resource' ? request : undefined;
  const name = resource?.name ?? '';
  return {
    requestId: (ctx.state['requestId'] as string | undefined) ?? '',
    principal: (ctx.state['principal'] as Principal | undefined)?.name ?? '',
    impersonator: ctx.state['impersonator'] as string | undefined,
    userAgent: ctx.get('User-Agent').slice(0, maxUserAgent),
    verb: (isApiPath(ctx.path) ? resource?.verb : undefined) ?? verbOf(ctx.method),
    apiGroup: resource?.group ?? '',
    resource: resource?.resource ?? '',
    namespace: resource?.namespace ?? '',
    name: withoutTokens(name === '' && resource !== undefined ? nameOfCreated(ctx) : name).slice(0, maxText),
    method: ctx.method,
    path: withoutTokens(ctx.path).slice(0, maxText),
    reason: reasonOf(ctx),
  };
}

const verbs: Readonly<Record<string, string>> = { POST: 'create', HEAD: 'get', PUT: 'update' };

function verbOf(method: string): string {
  return verbs[method] ?? method.toLowerCase();
}

/** The name that the server made up or read in the body. */
function nameOfCreated(ctx: Context): string {
  const name = ctx.status === 201 ? memberOf(memberOf(ctx.body, 'metadata'), 'name') : undefined;
  return typeof name === 'string' ? name : '';
}

/**
 * The error in one word: the code of an OciError, the reason of a metav1.Status, or the error of OAuth 2.0 (RFC 6749,
 * section 5.2). Messages may quote what was sent.
 */
function reasonOf(ctx: Context): string | undefined {
  if (ctx.res.destroyed) return 'ClientGone';
  if (ctx.status < 400) return undefined;
  const { body } = ctx;
  const errors = memberOf(body, 'errors');
  const words = [
    memberOf(Array.isArray(errors) ? errors[0] : undefined, 'code'),
    memberOf(body, 'reason'),
    memberOf(body, 'error'),
  ];
  return words.find((word): word is string => typeof word === 'string' && /^[A-Za-z_]{1,64}$/.test(word));
}

/** Also what is inherited: the status of an HttpError is in its class. */
function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

/** As Koa will answer an error that nobody turned into an answer. */
function statusOf(error: unknown): number {
  const status = memberOf(error, 'status') ?? memberOf(error, 'statusCode');
  return typeof status === 'number' && status >= 400 && status <= 599 ? status : 500;
}

/** An IPv4 client of a listener for both is seen with an IPv6 address (RFC 4291, section 2.5.5.2). */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

/**
 * Who deletes an access token by the token and not by the name of its object has put a secret in the path. The name is
 * a hash that looks the same; its beginning is enough to tell which one it was.
 */
function withoutTokens(text: string): string {
  return text.replace(/((?:sha256(?:~|%7e)|weir_[a-z]+_|eyJ)[\w-]{6})[\w.-]{14,}/gi, '$1...');
}
