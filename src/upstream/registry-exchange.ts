import { connectionFailure } from './connection-failures.js';
import { discard, headerOf, mediaTypeOf, readErrorText, type HttpAnswer } from './http-answer.js';
import { parseLimitHeader, type Asker, type RateBudget } from './rate-budget.js';
import { RegistryConnection, type ConnectionParts, type ConnectionRequest } from './registry-connection.js';
import { TokenError } from './token-source.js';
import { UpstreamError, type UpstreamAccess, type UpstreamProblem, type UpstreamRepository } from './upstream.js';
import { maxTries, parseRetryAfter, waitBeforeNext, type Sleep } from './waiting.js';

/** What is said of rate limits without a time. */
const defaultBlockMs = 60_000;
/** Nobody blocks itself for longer, whatever it says. */
const maxBlockMs = 86_400_000;
const registryPattern = /^(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;
const pathPattern = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const maxHostLength = 300;
const maxPathLength = 512;
const apiVersionHeader = 'docker-distribution-api-version';

/** What all exchanges of a client share. */
export interface ExchangeParts extends ConnectionParts {
  readonly budget: RateBudget;
  readonly timeoutMs: number;
  readonly now: () => Date;
  readonly random: () => number;
  readonly sleep: Sleep;
}

/** A request to a registry, and what is made of its answer. */
export interface RegistryRequest extends ConnectionRequest {
  /** Statuses that the caller reads; any other is an error. */
  readonly accepts: readonly number[];
  /** Whether the body is read later. */
  readonly isStream?: boolean;
  /** Ends the request, beside the signal of the access. */
  readonly signal?: AbortSignal;
}

/** Requests in one matter to one registry: who asks is shown, failures are tried again, and what fails is told. */
export class RegistryExchange {
  readonly #parts: ExchangeParts;
  readonly #repository: UpstreamRepository;
  readonly #reference: string;
  readonly #signal: AbortSignal | undefined;
  readonly #connection: RegistryConnection;

  /**
   * @param of.repository by its canonical name, with the path `''` for the registry itself
   * @param of.reference what people asked for
   */
  constructor(
    parts: ExchangeParts,
    of: { readonly repository: UpstreamRepository; readonly reference: string; readonly access: UpstreamAccess },
  ) {
    this.#parts = parts;
    this.#repository = of.repository;
    this.#reference = of.reference;
    this.#signal = of.access.signal;
    this.#connection = new RegistryConnection(parts, of.repository, of.access);
  }

  /**
   * Sends a request, again when it is worth while.
   *
   * @param read is called with each answer that has an accepted status; what it throws counts like a failed connection
   * @throws {UpstreamError}
   */
  async send<T>(request: RegistryRequest, read: (answer: HttpAnswer) => Promise<T>): Promise<T> {
    this.#check();
    const startedAt = this.#parts.now().getTime();
    for (let tries = 1; ; tries++) {
      await this.#admit();
      try {
        const result = await this.#try(request, read);
        this.#parts.budget.tell(this.registry, { error: null });
        return result;
      } catch (error) {
        const failure = this.#failureOf(error, request);
        const isLate = this.#parts.now().getTime() - startedAt > maxTries * this.#parts.timeoutMs;
        const waitMs =
          failure.isTransient && !isLate
            ? waitBeforeNext(tries, { retryAfterMs: failure.error.retryAfterMs, random: this.#parts.random })
            : undefined;
        if (waitMs === undefined) {
          this.#tellFailure(failure.error);
          throw failure.error;
        }
        await this.#wait(waitMs, failure.error);
      }
    }
  }

  /** An error in this matter. */
  error(
    problem: UpstreamProblem,
    message: string,
    of: {
      readonly status?: number | undefined;
      readonly answer?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    } = {},
  ): UpstreamError {
    return new UpstreamError(problem, message, {
      ...of,
      reference: this.#reference,
      credential: this.#connection.shown,
    });
  }

  /** As in `quay.io`. */
  get registry(): string {
    return this.#repository.registry;
  }

  get #asker(): Asker {
    const { credential } = this.#connection;
    if (credential !== undefined) return credential;
    return this.#parts.settings.get(this.#repository, 'username') === undefined ? undefined : 'nobody';
  }

  /** How long nothing may come. */
  get timeoutMs(): number {
    return this.#parts.timeoutMs;
  }

  /** Whatever is not written like a registry and a repository is not put into a URL. */
  #check(): void {
    const { registry, path } = this.#repository;
    if (registry.length > maxHostLength || !registryPattern.test(registry) || !URL.canParse(`https://${registry}/`)) {
      throw this.error('forbidden-address', `${JSON.stringify(registry.slice(0, maxHostLength))} is no host name`);
    }
    if (path !== '' && (path.length > maxPathLength || !pathPattern.test(path))) {
      throw this.error('not-found', 'no registry has a repository of this name');
    }
    if (this.#parts.settings.get(this.#repository, 'blocked') === true) {
      throw this.error('blocked', `registry ${registry} blocked`);
    }
  }

  async #admit(): Promise<void> {
    const { registry } = this.#repository;
    const limit = this.#parts.settings.find(this.#repository, ({ requests }) => requests !== undefined);
    const { requests, windowSeconds } = limit ?? {};
    const refusal = await this.#parts.budget.admit(registry, this.#asker, { requests, windowSeconds });
    if (refusal === undefined) return;
    const { problem, retryAfterMs } = refusal;
    const message =
      problem === 'budget'
        ? `the budget of requests to ${registry} is used up`
        : `${registry} wants no requests for now`;
    throw this.error(problem, message, { retryAfterMs });
  }

  async #try<T>(request: RegistryRequest, read: (answer: HttpAnswer) => Promise<T>): Promise<T> {
    const { timeoutMs } = this.#parts;
    // Sockets time out when nothing comes; this one is for who sends a byte now and then.
    const deadline = new AbortController();
    const timer = setTimeout(
      () => {
        deadline.abort(new Error('the answer takes too long'));
      },
      (request.isStream === true ? 2 : 4) * timeoutMs,
    );
    const signals = [deadline.signal, this.#signal, request.signal].filter((signal) => signal !== undefined);
    try {
      const signal = AbortSignal.any(signals);
      const answer = await this.#connection.send(request, signal);
      this.#tellLimit(answer);
      if (!request.accepts.includes(answer.status)) throw await this.#refusal(answer, request, signal);
      return await read(answer);
    } finally {
      clearTimeout(timer);
    }
  }

  async #refusal(answer: HttpAnswer, request: RegistryRequest, signal: AbortSignal): Promise<UpstreamError> {
    const { status } = answer;
    const { host } = answer.url;
    const { shown, credential } = this.#connection;
    const retryAfterMs = parseRetryAfter(headerOf(answer, 'retry-after'), this.#parts.now());
    const lacksScope = /\berror="?insufficient_scope\b/.test(headerOf(answer, 'www-authenticate') ?? '');
    const told = await readErrorText(answer);
    const of = { status, answer: told, retryAfterMs };
    if (status === 401) {
      // The token endpoint took the credential, and gave a token that is good for less (RFC 6750, section 3.1).
      if (lacksScope && shown !== 'none') {
        return this.error('denied', `${host} does not let ${shown} read it, or does not know it`, of);
      }
      if (shown !== 'none') {
        return this.error('unauthorized', `${host} does not take the username or password of ${shown}`, of);
      }
      const what = credential === undefined ? 'there is none for it' : `that of ${credential.origin} is not for it`;
      return this.error('unauthorized', `${host} wants a credential, and ${what}`, of);
    }
    if (status === 403) return this.error('denied', `${host} refuses`, of);
    if (status === 429) return this.error('rate-limited', `${host} wants no more requests for now`, of);
    if (status >= 500) return this.error('unavailable', `${host} answers ${status}`, of);
    if (status !== 404) return this.error('invalid-answer', `${host} answers ${status}`, of);
    // Whoever answers in the words of a registry is one.
    const isSure = request.method === 'HEAD' || told !== undefined || headerOf(answer, apiVersionHeader) !== undefined;
    if (isSure || (await this.#isRegistry(signal))) return this.error('not-found', `${host} does not know it`, of);
    return this.error('not-v2', `registry ${JSON.stringify(host)} does not support the v2 Registry API`, of);
  }

  /** OCI Distribution Spec, end-1. */
  async #isRegistry(signal: AbortSignal): Promise<boolean> {
    const answer = await this.#connection.sendBare({ method: 'GET', path: '/v2/' }, signal);
    discard(answer);
    if (answer.status === 401 || headerOf(answer, apiVersionHeader) !== undefined) return true;
    return answer.status === 200 && mediaTypeOf(answer) !== 'text/html';
  }

  #failureOf(
    error: unknown,
    request: RegistryRequest,
  ): { readonly error: UpstreamError; readonly isTransient: boolean } {
    if (error instanceof UpstreamError) return { error, isTransient: isTransient(error.problem) };
    if (error instanceof TokenError) {
      const of = { status: error.status, answer: error.answer, retryAfterMs: error.retryAfterMs };
      return {
        error: this.error(error.problem, error.message, { ...of, cause: error }),
        isTransient: isTransient(error.problem),
      };
    }
    if (this.#signal?.aborted === true || request.signal?.aborted === true) {
      return { error: this.error('unavailable', 'ended by who asked for it', { cause: error }), isTransient: false };
    }
    const { problem, message, isTransient: isPassing } = connectionFailure(error, this.registry);
    return { error: this.error(problem, message, { cause: error }), isTransient: isPassing };
  }

  async #wait(ms: number, failure: UpstreamError): Promise<void> {
    try {
      await this.#parts.sleep(ms, this.#signal);
    } catch (error) {
      if (this.#signal?.aborted === true) throw failure;
      throw error;
    }
  }

  #tellLimit(answer: HttpAnswer): void {
    const limit = parseLimitHeader(headerOf(answer, 'ratelimit-limit'));
    const remaining = parseLimitHeader(headerOf(answer, 'ratelimit-remaining'));
    if (limit !== undefined || remaining !== undefined) this.#parts.budget.tell(this.registry, { limit, remaining });
  }

  #tellFailure(error: UpstreamError): void {
    const { problem, message, retryAfterMs } = error;
    if (problem === 'rate-limited') {
      const forMs = Math.min(retryAfterMs ?? defaultBlockMs, maxBlockMs);
      this.#parts.budget.block(this.registry, this.#asker, { forMs, error: message });
    } else if (problem === 'unavailable' || problem === 'certificate') {
      this.#parts.budget.tell(this.registry, { error: message });
    }
  }
}

function isTransient(problem: UpstreamProblem): boolean {
  return problem === 'unavailable' || problem === 'rate-limited';
}
