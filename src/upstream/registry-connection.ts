import { LRUCache } from 'lru-cache';
import { usableChallenge, type Challenge } from './challenges.js';
import { connectionFailure } from './connection-failures.js';
import { discard, headerOf, type HttpAnswer } from './http-answer.js';
import { sendFollowing } from './redirects.js';
import { basicOf, TokenError, type TokenSource } from './token-source.js';
import type { Transport, Trust } from './transport.js';
import type { UpstreamSettings } from './upstream-settings.js';
import type { Credential, UpstreamAccess, UpstreamRepository } from './upstream.js';

const maxRemembered = 1000;
const protocolLifetimeMs = 600_000;
/** Docker Hub answers under another name than people write. */
const servers: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };

type Protocol = 'https:' | 'http:';

/** What is remembered of registries, so that they need not be asked again. */
export class ConnectionMemory {
  /** The challenge of an origin for a scope. */
  readonly challenges = new LRUCache<string, Challenge>({ max: maxRemembered });
  /** What an insecure registry speaks. */
  readonly protocols = new LRUCache<string, Protocol>({ max: maxRemembered, ttl: protocolLifetimeMs });
}

/** What all connections of a client share. */
export interface ConnectionParts {
  readonly transport: Transport;
  readonly tokens: TokenSource;
  readonly settings: UpstreamSettings;
  readonly memory: ConnectionMemory;
  readonly userAgent: string;
}

/** One request to a registry. */
export interface ConnectionRequest {
  readonly method: 'GET' | 'HEAD';
  /** Below `/v2/`, with the query; or a whole path. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is shown in an `Authorization` header. */
interface Proof {
  readonly header: string;
  readonly token?: string;
  /** Whether the registry would not take another one either. */
  readonly isFinal: boolean;
}

/** Speaks to a registry in one matter: by the protocol that it speaks, and with what it wants to be shown. */
export class RegistryConnection {
  readonly #parts: ConnectionParts;
  readonly #repository: UpstreamRepository;
  readonly #scope: string;
  readonly #isInsecure: boolean;
  readonly #trust: Trust;
  #shown = 'none';
  /** What may be shown; undefined when there is nothing. */
  readonly credential: Credential | undefined;

  /** @param repository by its canonical name, with the path `''` for the registry itself */
  constructor(parts: ConnectionParts, repository: UpstreamRepository, access: UpstreamAccess) {
    this.#parts = parts;
    this.#repository = repository;
    this.#scope = repository.path === '' ? 'registry:catalog:*' : `repository:${repository.path}:pull`;
    this.credential = access.credentials(repository);
    // Whoever may say that a registry is insecure may not say it of the administrator's credential.
    const isAllowed = access.isInsecure && this.credential?.isConfigured !== true;
    this.#isInsecure = isAllowed || parts.settings.get(repository, 'insecure') === true;
    this.#trust = { ca: parts.settings.get(repository, 'ca'), isVerified: !this.#isInsecure };
  }

  /** The origin of the credential that was shown, or `none`. */
  get shown(): string {
    return this.#shown;
  }

  /**
   * Sends a request, after redirects and challenges.
   *
   * @throws {TokenError} and what `sendFollowing` throws
   */
  async send(request: ConnectionRequest, signal: AbortSignal): Promise<HttpAnswer> {
    if (!this.#isInsecure) return this.#sendBy('https:', request, signal);
    const { protocols } = this.#parts.memory;
    const { registry } = this.#repository;
    const known = protocols.get(registry);
    try {
      return await this.#sendBy(known ?? 'https:', request, signal);
    } catch (error) {
      // What went wrong after somebody had answered would go wrong again.
      const isSilent = known === undefined && !protocols.has(registry) && !(error instanceof TokenError);
      const { problem } = isSilent ? connectionFailure(error, registry) : { problem: undefined };
      if (signal.aborted || (problem !== 'unavailable' && problem !== 'http-only')) {
        // The next one tries both again.
        protocols.delete(registry);
        throw error;
      }
    }
    return this.#sendBy('http:', request, signal);
  }

  /** Sends a request as nobody. */
  sendBare(request: ConnectionRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const protocol = this.#isInsecure
      ? (this.#parts.memory.protocols.get(this.#repository.registry) ?? 'https:')
      : 'https:';
    return this.#sendOnce(this.#base(protocol), request, undefined, signal);
  }

  #base(protocol: Protocol): URL {
    const { registry } = this.#repository;
    return new URL(`${protocol}//${servers[registry] ?? registry}/v2/`);
  }

  /** Answers challenges, at most twice: a token that was good may have been taken back. */
  async #sendBy(protocol: Protocol, request: ConnectionRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const base = this.#base(protocol);
    const { challenges } = this.#parts.memory;
    const key = `${base.origin} ${this.#scope}`;
    let challenge = challenges.get(key);
    let proof: Proof | undefined;
    for (let round = 0; ; round++) {
      proof = challenge && (await this.#proofFor(base, challenge, { rejected: proof?.token, signal }));
      const answer = await this.#sendOnce(base, request, proof, signal);
      if (answer.status !== 401 || answer.url.origin !== base.origin) return answer;
      const wanted = usableChallenge(headerOf(answer, 'www-authenticate'));
      const hasNothing = wanted?.scheme === 'basic' && this.credential === undefined;
      if (wanted === undefined || hasNothing || proof?.isFinal === true || round === 2) return answer;
      discard(answer);
      challenges.set(key, wanted);
      challenge = wanted;
    }
  }

  #sendOnce(
    base: URL,
    { method, path, headers }: ConnectionRequest,
    proof: Proof | undefined,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const request = {
      method,
      url: new URL(path, base),
      headers: {
        'User-Agent': this.#parts.userAgent,
        ...headers,
        ...(proof !== undefined && { Authorization: proof.header }),
      },
      trust: this.#trust,
      signal,
    };
    return sendFollowing(this.#parts.transport, request, () => {
      if (!this.#isInsecure) return;
      this.#parts.memory.protocols.set(this.#repository.registry, base.protocol === 'https:' ? 'https:' : 'http:');
    });
  }

  async #proofFor(
    registry: URL,
    challenge: Challenge,
    { rejected, signal }: { readonly rejected: string | undefined; readonly signal: AbortSignal },
  ): Promise<Proof | undefined> {
    const { credential } = this;
    if (challenge.scheme === 'basic') {
      if (credential === undefined) return undefined;
      this.#shown = credential.origin;
      return { header: basicOf(credential), isFinal: true };
    }
    try {
      const request = {
        registry,
        challenge,
        scope: this.#scope,
        credential,
        tokenHosts: this.#parts.settings.get(this.#repository, 'tokenHosts') ?? [],
        trust: this.#trust,
        trustOf: (host: string) => this.#trustOf(host),
      };
      const { token, isFresh } = await orAborted(this.#parts.tokens.get(request, rejected), signal);
      if (credential !== undefined) this.#shown = credential.origin;
      return { header: `Bearer ${token}`, token, isFinal: isFresh };
    } catch (error) {
      // With a status somebody has seen it; a realm that may not has not.
      if (credential !== undefined && error instanceof TokenError && error.status !== undefined) {
        this.#shown = credential.origin;
      }
      if (signal.aborted || error instanceof TokenError) throw error;
      const { problem, message } = connectionFailure(error, hostOf(challenge.parameters.get('realm')));
      throw new TokenError(problem, `no token: ${message}`);
    }
  }

  /** How a host beside the registry is trusted: what is insecure is only the registry itself. */
  #trustOf(host: string): Trust {
    const { settings } = this.#parts;
    const of = { registry: host, path: '' };
    return { ca: settings.get(of, 'ca') ?? this.#trust.ca, isVerified: settings.get(of, 'insecure') !== true };
  }
}

function hostOf(url = ''): string {
  return URL.canParse(url) ? new URL(url).host : 'its token realm';
}

/** What was promised, unless the signal comes first. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort);
    });
  });
}
