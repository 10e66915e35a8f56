import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

/** How an ID token is to be other than usual. */
export interface IdTokenOptions {
  readonly algorithm?: string;
  /** Signed with this, and not with the issuer's own key. */
  readonly key?: CryptoKey | Uint8Array;
  readonly keyId?: string;
  /** Seconds from now on. */
  readonly expiresIn?: number;
  readonly header?: Readonly<Record<string, unknown>>;
}

/** What an authorization code of the issuer is for. */
interface IssuedCode {
  readonly redirectUri: string;
  readonly challenge: string;
  readonly nonce: string;
}

const client = { id: 'weir', secret: 'client-secret' };

/**
 * An OpenID Connect provider on this machine: discovery, keys, and a login that asks nobody anything. Tokens say what
 * `claims` says at the time.
 */
export class OidcIssuer {
  readonly #server: Server;
  readonly #codes = new Map<string, IssuedCode>();
  #keys: { readonly id: string; readonly privateKey: CryptoKey; readonly publicJwk: JWK }[] = [];
  /** Of whoever logs in next. */
  claims: Readonly<Record<string, unknown>> = { sub: 'subject-1' };
  /** What the userinfo endpoint adds; there is no such endpoint while it is undefined. */
  userInfo: Readonly<Record<string, unknown>> | undefined;
  /** Fields of the discovery document that are to be different. */
  discovery: Readonly<Record<string, unknown>> = {};
  /** Answers everything with 503. */
  isDown = false;
  /** Paths that were asked for. */
  readonly requests: string[] = [];
  readonly client = client;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<OidcIssuer> {
    const server = createServer();
    const issuer = new OidcIssuer(server);
    await issuer.rotateKeys();
    server.on('request', (request, response) => {
      void issuer.#answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return issuer;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The issuer identifier. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A new key signs from now on; the old ones are gone. */
  async rotateKeys(): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
    const id = randomUUID();
    const jwk = await exportJWK(publicKey);
    this.#keys = [{ id, privateKey, publicJwk: { ...jwk, kid: id, alg: 'RS256', use: 'sig' } }];
  }

  /** A signed token, for `aud` "weir" unless the claims say otherwise. A claim that is undefined is left out. */
  issueIdToken(claims: Readonly<Record<string, unknown>>, options: IdTokenOptions = {}): Promise<string> {
    const { algorithm = 'RS256', key = this.#keys[0]!.privateKey, keyId = this.#keys[0]!.id } = options;
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: this.url, aud: client.id, iat: now, exp: now + (options.expiresIn ?? 300), ...claims };
    const written = JSON.parse(JSON.stringify(all)) as Record<string, unknown>;
    return new SignJWT(written).setProtectedHeader({ alg: algorithm, kid: keyId, ...options.header }).sign(key);
  }

  /** The public key, as somebody would use it who takes it for a shared secret. */
  get publicKeyBytes(): Uint8Array {
    return Buffer.from(JSON.stringify(this.#keys[0]!.publicJwk));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    this.requests.push(url.pathname);
    if (this.isDown) {
      sendJson(response, 503, {});
      return;
    }
    switch (url.pathname) {
      case '/.well-known/openid-configuration': {
        sendJson(response, 200, {
          issuer: this.url,
          authorization_endpoint: `${this.url}/authorize`,
          token_endpoint: `${this.url}/token`,
          jwks_uri: `${this.url}/keys`,
          ...(this.userInfo !== undefined && { userinfo_endpoint: `${this.url}/userinfo` }),
          response_types_supported: ['code'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['RS256'],
          ...this.discovery,
        });
        return;
      }
      case '/keys': {
        sendJson(response, 200, { keys: this.#keys.map(({ publicJwk }) => publicJwk) });
        return;
      }
      case '/authorize':
        this.#authorize(url, response);
        return;
      case '/token':
        return this.#token(request, response);
      case '/userinfo': {
        sendJson(response, 200, { sub: this.claims['sub'], ...this.userInfo });
        return;
      }
      default: {
        sendJson(response, 404, {});
        return;
      }
    }
  }

  #authorize({ searchParams }: URL, response: ServerResponse): void {
    const redirect = new URL(searchParams.get('redirect_uri')!);
    const isRight =
      searchParams.get('client_id') === client.id &&
      searchParams.get('code_challenge_method') === 'S256' &&
      searchParams.get('scope')!.split(' ').includes('openid');
    if (isRight) {
      const code = randomBytes(16).toString('hex');
      this.#codes.set(code, {
        redirectUri: redirect.href,
        challenge: searchParams.get('code_challenge')!,
        nonce: searchParams.get('nonce')!,
      });
      redirect.searchParams.set('code', code);
    } else redirect.searchParams.set('error', 'invalid_request');
    redirect.searchParams.set('state', searchParams.get('state')!);
    response.writeHead(302, { Location: redirect.href }).end();
  }

  async #token(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    const code = form.get('code') ?? '';
    const issued = this.#codes.get(code);
    this.#codes.delete(code);
    const authorization = `Basic ${Buffer.from(`${client.id}:${encodeURIComponent(client.secret)}`).toString('base64')}`;
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const isClient =
      decodeURIComponent(Buffer.from((request.headers.authorization ?? '').slice(6), 'base64').toString()) ===
      decodeURIComponent(Buffer.from(authorization.slice(6), 'base64').toString());
    if (!isClient) {
      sendJson(response, 401, { error: 'invalid_client' });
      return;
    }
    if (issued?.redirectUri !== form.get('redirect_uri') || issued.challenge !== challenge) {
      sendJson(response, 400, { error: 'invalid_grant' });
      return;
    }
    sendJson(response, 200, {
      access_token: 'at-of-the-provider',
      token_type: 'Bearer',
      expires_in: 60,
      id_token: await this.issueIdToken({ nonce: issued.nonce, ...this.claims }),
    });
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}
