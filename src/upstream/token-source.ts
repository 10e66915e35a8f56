import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Challenge } from './challenges.js';
import { discard, headerOf, readBody, readErrorText, type HttpAnswer } from './http-answer.js';
import { sendFollowing } from './redirects.js';
import type { HttpRequest, Transport, Trust } from './transport.js';
import type { Credential, UpstreamProblem } from './upstream.js';
import { parseRetryAfter } from './waiting.js';

const maxTokens = 1000;
const maxAnswerBytes = 256 * 1024;
const maxTokenLength = 64 * 1024;
/** What a token lives when its endpoint does not say (distribution, "Token Authentication Specification"). */
const defaultLifetimeSeconds = 60;
const maxLifetimeSeconds = 3600;
const maxFieldLength = 1024;

/** Why there is no token. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
  readonly problem: UpstreamProblem;
  readonly status: number | undefined;
  readonly answer: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    problem: UpstreamProblem,
    message: string,
    of: {
      readonly status?: number | undefined;
      readonly answer?: string | undefined;
      readonly retryAfterMs?: number | undefined;
    } = {},
  ) {
    super(message);
    this.problem = problem;
    this.status = of.status;
    this.answer = of.answer;
    this.retryAfterMs = of.retryAfterMs;
  }
}

/** For what a token is. */
export interface TokenRequest {
  /** The registry that wants it. */
  readonly registry: URL;
  readonly challenge: Challenge;
  /** Asked for when the challenge names none. */
  readonly scope: string;
  readonly credential: Credential | undefined;
  /** Hosts of realms that may see the credential, beside the registry's own. */
  readonly tokenHosts: readonly string[];
  /** How the registry's own host is trusted. */
  readonly trust: Trust;
  /** How another host is. */
  readonly trustOf: (host: string) => Trust;
}

/** A token, and whether it was got just now. */
export interface IssuedToken {
  readonly token: string;
  readonly isFresh: boolean;
}

interface Remembered {
  readonly token: string;
  readonly expiresAt: number;
}

/** Well-known registries whose tokens another host issues. */
const knownTokenHosts: Readonly<Record<string, readonly string[]>> = {
  'registry-1.docker.io': ['auth.docker.io'],
  'registry.gitlab.com': ['gitlab.com'],
};

/** Gets bearer tokens (distribution, "Token Authentication Specification"), and keeps them while they are good. */
export class TokenSource {
  readonly #transport: Transport;
  readonly #userAgent: string;
  readonly #timeoutMs: number;
  readonly #now: () => Date;
  readonly #tokens = new LRUCache<string, Remembered>({ max: maxTokens });
  readonly #pending = new Map<string, Promise<Remembered>>();

  constructor(options: {
    readonly transport: Transport;
    readonly userAgent: string;
    readonly timeoutMs: number;
    readonly now: () => Date;
  }) {
    this.#transport = options.transport;
    this.#userAgent = options.userAgent;
    this.#timeoutMs = options.timeoutMs;
    this.#now = options.now;
  }

  /**
   * @param rejected a token that the registry does not take any more
   * @throws {TokenError} and the errors of connections
   */
  async get(request: TokenRequest, rejected: string | undefined): Promise<IssuedToken> {
    const realm = realmOf(request);
    const isNamed = request.tokenHosts.some((host) => host.toLowerCase() === realm.hostname);
    if (!isNamed && this.#transport.leadsInside(request.registry, realm)) {
      throw new TokenError(
        'unauthorized',
        `${request.registry.host} wants a token from ${realm.host}, which is private`,
      );
    }
    const fields = fieldsOf(request);
    const key = keyOf(request, realm, fields);
    const known = this.#tokens.get(key);
    if (known !== undefined && known.token !== rejected && known.expiresAt > this.#now().getTime()) {
      return { token: known.token, isFresh: false };
    }
    const issued = await this.#fetchOnce(key, request, realm, fields);
    return { token: issued.token, isFresh: true };
  }

  /** Whoever wants the same at the same time waits for the same answer, which no single one of them can end. */
  #fetchOnce(key: string, request: TokenRequest, realm: URL, fields: TokenFields): Promise<Remembered> {
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const fetching = this.#fetch(request, realm, fields)
      .then((remembered) => {
        this.#tokens.set(key, remembered);
        return remembered;
      })
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, fetching);
    return fetching;
  }

  async #fetch(request: TokenRequest, realm: URL, fields: TokenFields): Promise<Remembered> {
    const signal = AbortSignal.timeout(2 * this.#timeoutMs);
    const trust = realm.hostname === request.registry.hostname ? request.trust : request.trustOf(realm.hostname);
    const headers = { 'User-Agent': this.#userAgent, Accept: 'application/json' };
    const { credential } = request;
    const post: HttpRequest = {
      method: 'POST',
      url: realm,
      headers: { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' },
      body: form(fields, credential),
      trust,
      signal,
    };
    if (credential?.identityToken !== undefined) return this.#read(await sendFollowing(this.#transport, post), request);
    const get: HttpRequest = {
      method: 'GET',
      url: withQuery(realm, fields, credential),
      headers: { ...headers, ...(credential !== undefined && { Authorization: basicOf(credential) }) },
      trust,
      signal,
    };
    const answer = await sendFollowing(this.#transport, get);
    if (credential === undefined || ![404, 405].includes(answer.status)) return this.#read(answer, request);
    discard(answer);
    return this.#read(await sendFollowing(this.#transport, post), request);
  }

  async #read(answer: HttpAnswer, { credential }: TokenRequest): Promise<Remembered> {
    const { status, url } = answer;
    if (status !== 200) throw await this.#refusal(answer, credential);
    let json: unknown;
    try {
      json = JSON.parse((await readBody(answer, maxAnswerBytes)).toString('utf8'));
    } catch (error) {
      if (error instanceof SyntaxError)
        throw new TokenError('invalid-answer', `${url.host} sends a token that is no JSON`);
      throw error;
    }
    const { token, access_token: accessToken, expires_in: expiresIn } = (json ?? {}) as Record<string, unknown>;
    const value = [token, accessToken].find((text) => typeof text === 'string' && text !== '');
    if (typeof value !== 'string' || value.length > maxTokenLength || !/^[\x21-\x7e]+$/.test(value)) {
      throw new TokenError('invalid-answer', `${url.host} sends no token`);
    }
    const told = typeof expiresIn === 'number' && expiresIn > 0 ? expiresIn : defaultLifetimeSeconds;
    const lifetimeSeconds = Math.min(told, maxLifetimeSeconds);
    // Not used to its very end: the request still has to get there.
    const usableMs = 1000 * (lifetimeSeconds - Math.min(10, lifetimeSeconds / 5));
    return { token: value, expiresAt: this.#now().getTime() + usableMs };
  }

  async #refusal(answer: HttpAnswer, credential: Credential | undefined): Promise<TokenError> {
    const { status, url } = answer;
    const retryAfterMs = parseRetryAfter(headerOf(answer, 'retry-after'), this.#now());
    const told = await readErrorText(answer);
    const of = { status, answer: told, retryAfterMs };
    if (status === 429) return new TokenError('rate-limited', `${url.host} gives no more tokens for now`, of);
    if (status >= 500) return new TokenError('unavailable', `${url.host} answers ${status} when asked for a token`, of);
    if (status === 400 || status === 401 || status === 403) {
      const why =
        credential === undefined
          ? `${url.host} gives no token without a credential`
          : `${url.host} does not take the username or password of ${credential.origin}`;
      return new TokenError('unauthorized', why, of);
    }
    return new TokenError('invalid-answer', `${url.host} answers ${status} when asked for a token`, of);
  }
}

/** The `Authorization` header of a credential. */
export function basicOf({ username, password }: Credential): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

/** Where tokens come from, when the credential may go there. */
function realmOf({ registry, challenge, credential, tokenHosts }: TokenRequest): URL {
  const text = challenge.parameters.get('realm') ?? '';
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm === undefined || !/^https?:$/.test(realm.protocol) || realm.username !== '' || realm.password !== '') {
    throw new TokenError('invalid-answer', `${registry.host} names no place to get a token from`);
  }
  if (registry.protocol === 'https:' && realm.protocol === 'http:') {
    throw new TokenError(
      'unauthorized',
      `${registry.host} wants a token from ${realm.host} over plain HTTP, which is not asked`,
    );
  }
  const hosts = [registry.hostname, ...(knownTokenHosts[registry.hostname] ?? []), ...tokenHosts];
  const isKnown = hosts.some((host) => host.toLowerCase() === realm.hostname);
  if (credential !== undefined && !isKnown) {
    throw new TokenError(
      'unauthorized',
      `${registry.host} wants the credential to be shown to ${realm.hostname}, which is not configured for it: ` +
        `tokenHosts of the registry in upstreams.registries can allow it`,
    );
  }
  realm.hash = '';
  return realm;
}

interface TokenFields {
  readonly service: string | undefined;
  readonly scope: string;
}

function fieldsOf({ challenge, scope }: TokenRequest): TokenFields {
  const told = (name: string) => {
    const value = challenge.parameters.get(name) ?? '';
    return value.length <= maxFieldLength && /^[\x20-\x7e]+$/.test(value) ? value : undefined;
  };
  return { service: told('service'), scope: told('scope') ?? scope };
}

function withQuery(realm: URL, { service, scope }: TokenFields, credential: Credential | undefined): URL {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.set('scope', scope);
  if (credential !== undefined) url.searchParams.set('account', credential.username);
  return url;
}

function form({ service, scope }: TokenFields, credential: Credential | undefined): string {
  const fields = new URLSearchParams({ client_id: 'weir', scope });
  if (service !== undefined) fields.set('service', service);
  if (credential?.identityToken !== undefined) {
    fields.set('grant_type', 'refresh_token');
    fields.set('refresh_token', credential.identityToken);
  } else {
    fields.set('grant_type', 'password');
    fields.set('username', credential?.username ?? '');
    fields.set('password', credential?.password ?? '');
  }
  return fields.toString();
}

/** Tells tokens of one registry, realm, scope and credential from all others, and holds none of the credential. */
function keyOf({ registry, credential, trust }: TokenRequest, realm: URL, { service, scope }: TokenFields): string {
  const shownThere = credential && [credential.username, credential.password, credential.identityToken ?? ''];
  const text = JSON.stringify([registry.origin, trust.isVerified, realm.href, service ?? '', scope, shownThere ?? []]);
  return createHash('sha256').update(text).digest('base64');
}
