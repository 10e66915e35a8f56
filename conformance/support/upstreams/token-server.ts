import { createPrivateKey, randomUUID, X509Certificate, type KeyObject } from 'node:crypto';
import { createServer as createPlainServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { SignJWT } from 'jose';
import type { Login } from '../api-token.js';
import { makeCertificate, type Certificate } from './certificate.js';

/** Somebody the token server knows. Repositories are named in full, or by how they begin: `team/*`, and `*` for all. */
export interface TokenUser extends Login {
  readonly pull?: readonly string[];
  /** Whoever may push may pull, and delete. */
  readonly push?: readonly string[];
  /** Whether they may list all repositories; not unless said. */
  readonly catalog?: boolean;
}

/** What is asked for or granted, as in a scope `repository:team/app:pull,push`. */
export interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** How a token was asked for. */
export interface TokenRequest {
  readonly method: 'GET' | 'POST';
  /** Who asks as they say: by Basic, or by a form (a password, a refresh token). Undefined for the anonymous. */
  readonly shown: { readonly by: 'basic' | 'password' | 'refresh_token'; readonly username: string } | undefined;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  /** Empty when the request was refused, or nothing of it was granted. */
  readonly granted: readonly Access[];
  readonly status: number;
}

export interface TokenServerOptions {
  /** Where its keys go; made where there is none. */
  readonly folder: string;
  /** With it the server speaks HTTPS, else plain HTTP. */
  readonly tls?: Certificate;
  readonly users?: readonly TokenUser[];
  /** Repositories that anybody may pull, named as those of a user. */
  readonly publicRepositories?: readonly string[];
  /** Which it knows: the GET of Docker, the POST of OAuth 2, which many do not know. To another it answers 405. Default both. */
  readonly methods?: readonly ('GET' | 'POST')[];
  /** Of its tokens; default 300. */
  readonly lifetimeSeconds?: number;
}

/** Answers with what is sent to a client; only its status and body matter here. */
interface Answer {
  readonly status: number;
  readonly body: object;
  readonly granted?: readonly Access[];
}

interface Identified {
  readonly shown: TokenRequest['shown'];
  /** Undefined for the anonymous. */
  readonly user: TokenUser | undefined;
  /** What was shown is wrong. */
  readonly isRefused: boolean;
}

/**
 * A token server as a registry refers its clients to (distribution/distribution, "Token Authentication Specification" and
 * "Oauth2 Token Authentication"), for one registry, on loopback. It grants what may be granted of what is asked.
 */
export class TokenServer {
  /** The claim `iss` of its tokens. */
  readonly issuer = 'tokens.example.test';
  /** The registry its tokens are for. */
  readonly service = 'registry.example.test';
  /** All of them since it started, the oldest first; may be emptied. */
  readonly requests: TokenRequest[] = [];
  readonly #server: Server;
  readonly #options: TokenServerOptions;
  readonly #signer: { readonly certificate: Certificate; readonly key: KeyObject };
  readonly #refreshTokens = new Map<string, TokenUser>();

  private constructor(server: Server, options: TokenServerOptions, certificate: Certificate) {
    this.#server = server;
    this.#options = options;
    this.#signer = { certificate, key: createPrivateKey(certificate.key) };
  }

  /** Starts on a free port of loopback. */
  static async start(options: TokenServerOptions): Promise<TokenServer> {
    const signer = await makeCertificate(path.join(options.folder, 'signer'), ['tokens.example.test']);
    const { tls } = options;
    const server = tls ? createTlsServer({ cert: tls.certificate, key: tls.key }) : createPlainServer();
    const tokens = new TokenServer(server, options, signer);
    server.on('request', (request, response) => {
      tokens.#serve(request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return tokens;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Host and port. By name, because crane (0.22) refuses realms at an address that is not public. */
  get host(): string {
    return `localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Where tokens are asked for. */
  get realm(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.host}/token`;
  }

  /** The authority that whoever takes the tokens must trust, PEM. */
  get rootCertificateFile(): string {
    return this.#signer.certificate.caFile;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.realm);
    const body = await readText(request);
    const answer = url.pathname === '/token' ? await this.#answer(request, url, body) : notFound;
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer.body));
  }

  async #answer(request: IncomingMessage, url: URL, body: string): Promise<Answer> {
    const { method } = request;
    if (method !== 'GET' && method !== 'POST') return notAllowed;
    const isPost = method === 'POST';
    const parameters = isPost ? new URLSearchParams(body) : url.searchParams;
    const scopes = parameters.getAll('scope').flatMap((scope) => scope.split(' ').filter(Boolean));
    const service = parameters.get('service') ?? undefined;
    const identified = isPost ? this.#identifyByForm(parameters) : this.#identifyByHeader(request);
    const isKnown = (this.#options.methods ?? ['GET', 'POST']).includes(method);
    const answer = isKnown ? await this.#issue(identified, { parameters, scopes, service, isPost }) : notAllowed;
    const { status, granted = [] } = answer;
    this.requests.push({ method, shown: identified.shown, service, scopes, granted, status });
    return answer;
  }

  async #issue(
    { user, isRefused }: Identified,
    asked: {
      readonly parameters: URLSearchParams;
      readonly scopes: readonly string[];
      readonly service: string | undefined;
      readonly isPost: boolean;
    },
  ): Promise<Answer> {
    if (isRefused) return unauthorized;
    if (asked.service !== this.service) return badRequest('not a service of this server');
    const granted = asked.scopes.map(parseScope).flatMap((access) => this.#grant(user, access));
    const issuedAt = new Date();
    const token = await this.#sign(user, granted, issuedAt);
    const wantsRefresh =
      asked.parameters.get('offline_token') === 'true' || asked.parameters.get('access_type') === 'offline';
    return {
      status: 200,
      granted,
      body: {
        // The form's answer has no `token`, and no client may count on one.
        ...(asked.isPost ? { scope: asked.scopes.join(' ') } : { token }),
        access_token: token,
        expires_in: this.#lifetimeSeconds,
        issued_at: issuedAt.toISOString(),
        ...(wantsRefresh && user !== undefined ? { refresh_token: this.#refreshToken(user) } : {}),
      },
    };
  }

  #sign(user: TokenUser | undefined, access: readonly Access[], issuedAt: Date): Promise<string> {
    const { certificate, key } = this.#signer;
    const seconds = Math.floor(issuedAt.getTime() / 1000);
    const chain = [new X509Certificate(certificate.certificate).raw.toString('base64')];
    return new SignJWT({ access })
      .setProtectedHeader({ typ: 'JWT', alg: 'ES256', x5c: chain })
      .setIssuer(this.issuer)
      .setAudience(this.service)
      .setSubject(user?.username ?? '')
      .setIssuedAt(seconds)
      .setNotBefore(seconds)
      .setExpirationTime(seconds + this.#lifetimeSeconds)
      .setJti(randomUUID())
      .sign(key);
  }

  get #lifetimeSeconds(): number {
    return this.#options.lifetimeSeconds ?? 300;
  }

  #refreshToken(user: TokenUser): string {
    const token = randomUUID();
    this.#refreshTokens.set(token, user);
    return token;
  }

  #identifyByHeader(request: IncomingMessage): Identified {
    const header = request.headers.authorization;
    if (header === undefined) return { shown: undefined, user: undefined, isRefused: false };
    const text = Buffer.from(/^basic (.*)$/i.exec(header)?.[1] ?? '', 'base64').toString('utf8');
    const username = text.split(':', 1)[0]!;
    const user = this.#findUser(username, text.slice(username.length + 1));
    return { shown: { by: 'basic', username }, user, isRefused: user === undefined };
  }

  #identifyByForm(form: URLSearchParams): Identified {
    const grantType = form.get('grant_type');
    if (grantType === 'password') {
      const username = form.get('username') ?? '';
      const user = this.#findUser(username, form.get('password') ?? '');
      return { shown: { by: 'password', username }, user, isRefused: user === undefined };
    }
    const user = grantType === 'refresh_token' ? this.#refreshTokens.get(form.get('refresh_token') ?? '') : undefined;
    return {
      shown: user && { by: 'refresh_token', username: user.username },
      user,
      isRefused: user === undefined,
    };
  }

  #findUser(username: string, password: string): TokenUser | undefined {
    return this.#options.users?.find((user) => user.username === username && user.password === password);
  }

  #grant(user: TokenUser | undefined, { type, name, actions }: Access): Access[] {
    const granted = actions.filter((action) => this.#isGranted(user, type, name, action));
    return granted.length === 0 ? [] : [{ type, name, actions: granted }];
  }

  #isGranted(user: TokenUser | undefined, type: string, name: string, action: string): boolean {
    if (type === 'registry') return name === 'catalog' && user?.catalog === true;
    if (type !== 'repository') return false;
    if (user?.push?.some((pattern) => covers(pattern, name)) === true) return true;
    const pulled = [...(this.#options.publicRepositories ?? []), ...(user?.pull ?? [])];
    return action === 'pull' && pulled.some((pattern) => covers(pattern, name));
  }
}

const unauthorized: Answer = {
  status: 401,
  body: { errors: [{ code: 'UNAUTHORIZED', message: 'incorrect username or password' }] },
};

const notAllowed: Answer = { status: 405, body: { errors: [{ code: 'UNSUPPORTED', message: 'method not allowed' }] } };

const notFound: Answer = { status: 404, body: { errors: [{ code: 'NOT_FOUND', message: 'page not found' }] } };

function badRequest(message: string): Answer {
  return { status: 400, body: { errors: [{ code: 'BAD_REQUEST', message }] } };
}

/** A name may hold colons, as with a host's port: the type ends at the first one, and the actions begin at the last. */
function parseScope(scope: string): Access {
  const [, type = '', name = '', actions = ''] = /^([^:]*):(.*):([^:]*)$/.exec(scope) ?? [];
  return { type, name, actions: actions.split(',') };
}

function covers(pattern: string, repository: string): boolean {
  return pattern.endsWith('*') ? repository.startsWith(pattern.slice(0, -1)) : pattern === repository;
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
