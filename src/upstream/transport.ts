import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { Agent, buildConnector, ProxyAgent, type Dispatcher } from 'undici';
import { ForbiddenAddressError, type AddressGuard } from './addresses.js';
import type { HttpAnswer } from './http-answer.js';
import { portOf, Proxies, type Environment } from './proxies.js';

const connectTimeoutMs = 10_000;
const maxHeaderBytes = 16 * 1024;
/** Connections to one registry. */
const maxConnections = 32;

/** Whose certificates are taken. */
export interface Trust {
  /** PEM certificates beside the usual ones. */
  readonly ca: string | undefined;
  /** False: any certificate will do. */
  readonly isVerified: boolean;
}

/** One request; `headers` are ours alone. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly trust: Trust;
  readonly signal: AbortSignal;
}

/** Connections to other machines, none of which goes to an address that may not be spoken to. */
export class Transport {
  readonly #guard: AddressGuard;
  readonly #proxies: Proxies;
  readonly #timeoutMs: number;
  readonly #dispatchers = new Map<string, Dispatcher>();

  /** @param options.timeoutMs without a byte */
  constructor(options: {
    readonly guard: AddressGuard;
    readonly timeoutMs: number;
    readonly environment?: Environment | undefined;
  }) {
    this.#guard = options.guard;
    this.#proxies = new Proxies(options.environment);
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * Sends one request and follows nothing.
   *
   * @throws {ForbiddenAddressError} and the errors of sockets, TLS and undici
   */
  async send({ method, url, headers, body, trust, signal }: HttpRequest): Promise<HttpAnswer> {
    const answer = await (
      await this.dispatcherFor(url, trust)
    ).request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers: { ...headers, 'Accept-Encoding': 'identity' },
      body: body ?? null,
      signal,
    });
    // It may break while nobody reads it yet; who reads it is told all the same.
    answer.body.on('error', () => undefined);
    return { status: answer.statusCode, url, headers: answer.headers, body: answer.body };
  }

  /**
   * Whether a host out there names one whose addresses may be private: those are for who asks for them, and not for
   * whom anybody sends there.
   */
  leadsInside(from: URL, to: URL): boolean {
    const isPrivate = (url: URL) => this.#guard.allowsPrivate(url.hostname, portOf(url));
    return to.host !== from.host && isPrivate(to) && !isPrivate(from);
  }

  /** What speaks to the host of a URL; behind a proxy the host's addresses have been checked. */
  async dispatcherFor(url: URL, trust: Trust): Promise<Dispatcher> {
    const proxy = this.#proxies.proxyFor(url);
    if (proxy !== undefined) await this.#checkBehindProxy(url);
    const ca = trust.ca === undefined ? '' : createHash('sha256').update(trust.ca).digest('hex');
    const key = [proxy ?? '', String(trust.isVerified), ca].join(' ');
    const known = this.#dispatchers.get(key);
    if (known !== undefined) return known;
    const made = this.#makeDispatcher(proxy, trust);
    this.#dispatchers.set(key, made);
    return made;
  }

  /** The proxy looks the name up for itself, so what cannot be checked here is not sent. */
  async #checkBehindProxy(url: URL): Promise<void> {
    if (this.#guard.allowsPrivate(url.hostname, portOf(url))) return;
    try {
      await this.#guard.addressesOf(url.hostname, portOf(url));
    } catch (error) {
      if (error instanceof ForbiddenAddressError) throw error;
      throw new ForbiddenAddressError(
        `the addresses of ${url.hostname} cannot be looked up here and so not be checked before the proxy is asked; ` +
          'upstreams.allowPrivate can allow it',
        { cause: error },
      );
    }
  }

  #makeDispatcher(proxy: string | undefined, trust: Trust): Dispatcher {
    const tls = {
      ...(trust.ca !== undefined && { ca: [...rootCertificates, trust.ca] }),
      rejectUnauthorized: trust.isVerified,
    };
    const options = {
      connections: maxConnections,
      headersTimeout: this.#timeoutMs,
      bodyTimeout: this.#timeoutMs,
      maxHeaderSize: maxHeaderBytes,
    };
    if (proxy !== undefined) {
      // Through a tunnel only what is secret: proxies refuse tunnels to other ports than that of https.
      return new ProxyAgent({
        ...options,
        uri: proxy,
        proxyTunnel: false,
        requestTls: { ...tls, timeout: connectTimeoutMs },
      });
    }
    return new Agent({ ...options, connect: guardedConnector(this.#guard, tls) });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#dispatchers.values()].map((dispatcher) => dispatcher.destroy()));
    this.#dispatchers.clear();
  }
}

function guardedConnector(
  guard: AddressGuard,
  tls: { readonly ca?: string[]; readonly rejectUnauthorized: boolean },
): buildConnector.connector {
  return (options, callback) => {
    const port = Number(options.port === '' ? (options.protocol === 'https:' ? 443 : 80) : options.port);
    const connect = buildConnector({ ...tls, timeout: connectTimeoutMs, lookup: guard.lookupFor(port) });
    if (isIP(options.hostname) === 0) {
      connect(options, callback);
      return;
    }
    // A socket looks up no address for what is one already.
    guard.addressesOf(options.hostname, port).then(
      () => {
        connect(options, callback);
      },
      (error: unknown) => {
        callback(error as Error, null);
      },
    );
  };
}
