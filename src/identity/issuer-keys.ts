import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';

const timeoutMs = 5_000;
const maxDocumentBytes = 512 * 1024;
const maxIssuers = 100;
/** Where an issuer has its keys is asked again after so long; the keys themselves when a new one is used. */
const rememberedMs = 10 * 60_000;
/** An issuer that did not answer is left alone for so long. */
const leftAloneMs = 15_000;

const discoveryDocument = z.object({ issuer: z.string(), jwks_uri: z.string() });

/** An issuer whose keys cannot be had. */
export class IssuerError extends Error {
  override readonly name = 'IssuerError';
}

/** What is wrong with the URL of an issuer; undefined when nothing is. */
export function wrongIssuer(issuer: string): string | undefined {
  if (issuer.length > 1024 || !URL.canParse(issuer)) return 'must be a URL';
  const { protocol, hostname, search, hash, username, password } = new URL(issuer);
  if (search !== '' || hash !== '' || username !== '' || password !== '' || /[?#@\\\s]/.test(issuer)) {
    return 'may have no user name, no query and no fragment (OpenID Connect Discovery 1.0, section 3)';
  }
  if (protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))) return undefined;
  return 'must begin with https://';
}

/** Whether a host is this machine: there, and nowhere else, plain http will do. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** How keys are looked for. */
export interface IssuerKeysOptions {
  /** Makes the requests; the one of Node when left out. */
  readonly fetch?: typeof fetch;
  /** How long after the last time keys that are not known are not asked for; 10 seconds when left out. */
  readonly cooldownMs?: number;
}

/**
 * The keys of issuers of tokens, found as OpenID Connect Discovery 1.0 has it. Whom to trust is the caller's question:
 * every issuer that is asked for is contacted.
 */
export class IssuerKeys {
  readonly #fetch: typeof fetch;
  readonly #cooldownMs: number;
  readonly #keys = new LRUCache<string, Promise<JWTVerifyGetKey>>({ max: maxIssuers, ttl: rememberedMs });

  constructor(options: IssuerKeysOptions = {}) {
    this.#fetch = options.fetch ?? fetch;
    this.#cooldownMs = options.cooldownMs ?? 10_000;
  }

  /** @throws {IssuerError} */
  async keysOf(issuer: string): Promise<JWTVerifyGetKey> {
    const known = this.#keys.get(issuer);
    if (known !== undefined) return known;
    const finding = this.#discover(issuer);
    this.#keys.set(issuer, finding);
    finding.catch(() => {
      if (this.#keys.peek(issuer) === finding) this.#keys.set(issuer, finding, { ttl: leftAloneMs });
    });
    return finding;
  }

  async #discover(issuer: string): Promise<JWTVerifyGetKey> {
    const wrong = wrongIssuer(issuer);
    if (wrong !== undefined) throw new IssuerError(`the issuer ${wrong}`);
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const response = await this.#get(url, AbortSignal.timeout(timeoutMs));
    const document = discoveryDocument.safeParse(await response.json().catch(() => undefined));
    if (!document.success) throw new IssuerError(`${url} is no discovery document`);
    // Otherwise one issuer could hand out keys for another (section 4.3).
    if (document.data.issuer !== issuer) throw new IssuerError(`${url} is that of another issuer`);
    const { jwks_uri: keysUrl } = document.data;
    const isOk = URL.canParse(keysUrl) && isAllowed(new URL(keysUrl), new URL(issuer));
    if (!isOk) throw new IssuerError(`${url} has keys in a place where they are not looked for`);
    return createRemoteJWKSet(new URL(keysUrl), {
      timeoutDuration: timeoutMs,
      cacheMaxAge: rememberedMs,
      cooldownDuration: this.#cooldownMs,
      [customFetch]: (keys, { signal }) => this.#get(keys, signal),
    });
  }

  /** Reads a small document; it is not looked for elsewhere. @throws {IssuerError} */
  async #get(url: string, signal: AbortSignal): Promise<Response> {
    try {
      const response = await this.#fetch(url, { redirect: 'error', signal, headers: { Accept: 'application/json' } });
      if (response.status !== 200) throw new IssuerError(`${url} answers ${response.status}`);
      return new Response(await readSmall(response), { status: 200 });
    } catch (error) {
      if (error instanceof IssuerError) throw error;
      throw new IssuerError(`${url} cannot be read`, { cause: error });
    }
  }
}

/** Plain http leads on to plain http of this machine only. */
function isAllowed(keys: URL, issuer: URL): boolean {
  if (keys.protocol === 'https:') return true;
  return keys.protocol === 'http:' && issuer.protocol === 'http:' && isLoopback(keys.hostname);
}

async function readSmall(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > maxDocumentBytes) throw new IssuerError('a document of the issuer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
