import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request, type Dispatcher } from 'undici';
import { digestAlgorithm, digestOf, isDigest, type Digest } from '../../oci/digest.js';
import { maxManifestSize } from '../../oci/manifest.js';
import { manifestMediaTypes } from '../../oci/media-types.js';
import { reasonHeader } from '../../oci/reason.js';
import { checkMaySendCredentials } from './api-client.js';
import { ClientError } from './client-error.js';
import type { Trust } from './json-request.js';
import { refusalOf, StopError, type PushAnswer } from './registry-push-answer.js';

/** Looks for the token to be shown; called again when one is not taken any more. */
export type TokenSource = () => Promise<string | undefined>;

/** Whom a pusher speaks to. */
export interface PushTarget {
  readonly server: URL;
  readonly trust: Trust;
  readonly tokens: TokenSource;
  /** Why it is done; it is kept with each tag. */
  readonly reason?: string | undefined;
  /** Requests under way at once. */
  readonly connections: number;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** What the server says of a manifest. */
export interface PushedManifestHead {
  readonly digest: Digest;
  readonly mediaType: string;
}

/** The bytes of a manifest and what they are. */
export interface ManifestContent {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** A blob as it comes from elsewhere. */
export interface BlobContent {
  /** Bytes. */
  readonly size: number;
  readonly body: AsyncIterable<Buffer>;
  readonly cancel: () => void;
}

/** How a blob is pushed. */
export interface BlobPush {
  /** A repository of the server that has the blob; when left out, the server looks for one. */
  readonly from?: string | undefined;
  /** Called again for each attempt. */
  readonly open: () => Promise<BlobContent>;
  /** Is told of bytes as they are sent, and of those that were sent in vain as less than none. */
  readonly onBytes?: (count: number) => void;
}

/** How often the server is asked to forget an upload that broke off. */
const cancelAttempts = 5;
const cancelPauseMs = 100;
const maxAttempts = 5;
const firstPauseMs = 250;
const longestPauseMs = 30_000;
const silenceMs = 60_000;
/** Of a blob that comes faster than it goes. */
const readAheadBytes = 256 * 1024;
/** A large blob is written to disk before it is answered. */
const answerMs = 300_000;

interface PushRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** Below the server, or whole as in a Location. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/**
 * Pushes to one Weir. The server checks every digest itself. What may pass by (a lost connection, 429, 5xx) is tried
 * again; every method throws a `ClientError` when the server refuses, and a `StopError` when it would refuse whatever
 * else is sent.
 */
export class RegistryPush {
  readonly #target: PushTarget;
  readonly #agent: Agent;
  #token: Promise<string | undefined> | undefined;

  /** @throws {ClientError} when a token would be sent where others can read it */
  constructor(target: PushTarget) {
    checkMaySendCredentials(target.server);
    this.#target = target;
    const { ca, isInsecure } = target.trust;
    this.#agent = new Agent({
      connections: target.connections,
      headersTimeout: answerMs,
      bodyTimeout: silenceMs,
      connect: { timeout: 10_000, ...(ca !== undefined && { ca }), ...(isInsecure && { rejectUnauthorized: false }) },
    });
  }

  get host(): string {
    return this.#target.server.host;
  }

  /** @param reference tag or digest @returns undefined when it is not there */
  async headManifest(repository: string, reference: string): Promise<PushedManifestHead | undefined> {
    const path = `/v2/${repository}/manifests/${reference}`;
    const answer = await this.#send({ method: 'HEAD', path, headers: { Accept: manifestMediaTypes.join(', ') } });
    if (answer.status === 404) return undefined;
    this.#expect(answer, 200);
    const digest = answer.headers['docker-content-digest'];
    if (typeof digest !== 'string' || !isDigest(digest)) {
      throw new StopError(`${this.host} does not say which manifest it has; is this the address of a Weir server?`);
    }
    return { digest, mediaType: String(answer.headers['content-type']) };
  }

  async readManifest(repository: string, digest: Digest): Promise<ManifestContent> {
    const path = `/v2/${repository}/manifests/${digest}`;
    const answer = await this.#send({ method: 'GET', path, headers: { Accept: manifestMediaTypes.join(', ') } });
    this.#expect(answer, 200);
    if (digestOf(answer.body, digestAlgorithm(digest)) !== digest) {
      throw new ClientError(`${this.host} sends something else than ${digest} of ${repository}`);
    }
    return { mediaType: String(answer.headers['content-type']), bytes: answer.body };
  }

  /** @param reference tag or digest */
  async putManifest(repository: string, reference: string, { mediaType, bytes }: ManifestContent): Promise<void> {
    const { reason } = this.#target;
    const answer = await this.#send({
      method: 'PUT',
      path: `/v2/${repository}/manifests/${reference}`,
      headers: {
        'Content-Type': mediaType,
        ...(reason !== undefined && { [reasonHeader]: encodeURIComponent(reason) }),
      },
      body: bytes,
    });
    this.#expect(answer, 201);
  }

  /** Whether the caller may push into a repository: an upload is begun, and let go of. @throws {ClientError} saying why not */
  async checkMayPush(repository: string): Promise<void> {
    const answer = await this.#send({ method: 'POST', path: `/v2/${repository}/blobs/uploads/` });
    await this.#cancel(this.#sessionOf(answer));
  }

  async hasBlob(repository: string, digest: Digest): Promise<boolean> {
    const answer = await this.#send({ method: 'HEAD', path: `/v2/${repository}/blobs/${digest}` });
    if (answer.status === 404) return false;
    this.#expect(answer, 200);
    return true;
  }

  /**
   * Puts a blob into a repository: linked when the server has it elsewhere, else streamed, no faster than the server
   * takes it. An upload that fails leaves nothing behind.
   *
   * @returns how it came there
   * @throws whatever `open` and the body throw
   */
  async pushBlob(repository: string, digest: Digest, push: BlobPush): Promise<'linked' | 'sent'> {
    for (let attempt = 1; ; attempt += 1) {
      const session = await this.#startUpload(repository, digest, push.from);
      if (session === undefined) return 'linked';
      const content = new CountedContent(await this.#openFor(session, push), push.onBytes);
      try {
        const answer = await this.#upload(session, digest, content);
        if (answer.status === 201) return 'sent';
        if (answer.status === 401 && attempt === 1) this.#renewToken();
        else if (!mayPass(answer.status)) this.#expect(answer, 201);
        throw new ClientError(`${this.host} answers ${answer.status}`);
      } catch (error) {
        push.onBytes?.(-content.sent);
        await this.#cancel(session);
        // What the source did is not the server's fault, and another attempt is whoever opens it to decide.
        if (content.failure !== undefined) throw content.failure;
        if (!(error instanceof ClientError) || error.status !== undefined || attempt === maxAttempts) throw error;
        await this.#pause(attempt);
      } finally {
        content.cancel();
      }
    }
  }

  /** Lets go of the connections. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }

  /** @returns path of the session; undefined when the blob was linked instead */
  async #startUpload(repository: string, digest: Digest, from: string | undefined): Promise<string | undefined> {
    const query = new URLSearchParams({ mount: digest, ...(from !== undefined && { from }) });
    if (digestAlgorithm(digest) !== 'sha256') query.set('digest-algorithm', digestAlgorithm(digest));
    const path = `/v2/${repository}/blobs/uploads/?${query.toString()}`;
    const answer = await this.#send({ method: 'POST', path });
    return answer.status === 201 ? undefined : this.#sessionOf(answer);
  }

  #sessionOf(answer: PushAnswer): string {
    this.#expect(answer, 202);
    const location = answer.headers['location'];
    const { server } = this.#target;
    const session =
      typeof location === 'string' && URL.canParse(location, server.href) ? new URL(location, server) : server;
    // The token goes nowhere else.
    if (session.host === server.host && session.pathname !== '/') return session.pathname + session.search;
    throw new StopError(`${this.host} wants blobs to be sent to another server, which Weir does not`);
  }

  async #openFor(session: string, { open }: BlobPush): Promise<BlobContent> {
    try {
      return await open();
    } catch (error) {
      await this.#cancel(session);
      throw error;
    }
  }

  async #upload(session: string, digest: Digest, content: CountedContent): Promise<PushAnswer> {
    const url = new URL(session, this.#target.server);
    url.searchParams.set('digest', digest);
    const headers = {
      ...(await this.#headers()),
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(content.size),
    };
    // An empty blob has no body to read, but its end has to be reached all the same.
    const body =
      content.size === 0
        ? await drained(content)
        : Readable.from(content, { objectMode: false, highWaterMark: readAheadBytes });
    return this.#exchange(url, { method: 'PUT', headers, body });
  }

  /** Best done, but nothing depends on it: the server forgets sessions in time. */
  async #cancel(session: string): Promise<void> {
    const headers = await this.#headers();
    const url = new URL(session, this.#target.server);
    for (let attempt = 1; attempt <= cancelAttempts; attempt += 1) {
      const signal = AbortSignal.timeout(5000);
      const status = await request(url, { method: 'DELETE', headers, dispatcher: this.#agent, signal })
        .then(async ({ body, statusCode }) => {
          await body.dump();
          return statusCode;
        })
        .catch(() => undefined);
      // It may still be reading what broke off; or the connection was the very one that broke.
      if (status !== undefined && status !== 409) return;
      await delay(cancelPauseMs);
    }
  }

  async #send({ method, path, headers, body }: PushRequest): Promise<PushAnswer> {
    let isRenewed = false;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.#exchange(new URL(path, this.#target.server), {
          method,
          headers: { ...(await this.#headers()), ...headers },
          body: body ?? null,
        });
        if (answer.status === 401 && !isRenewed) {
          isRenewed = true;
          this.#renewToken();
        } else if (!mayPass(answer.status) || attempt >= maxAttempts) return answer;
        else await this.#pause(attempt, answer);
      } catch (error) {
        if (this.#target.signal.aborted || !(error instanceof ClientError)) throw error;
        if (attempt >= maxAttempts) throw new StopError(error.message, { cause: error });
        await this.#pause(attempt);
      }
    }
  }

  async #exchange(url: URL, options: SentRequest): Promise<PushAnswer> {
    const { signal } = this.#target;
    try {
      const { statusCode, headers, body } = await request(url, { ...options, dispatcher: this.#agent, signal });
      return { status: statusCode, headers, body: await readAll(body) };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ClientError) throw error;
      throw new ClientError(`no answer from ${this.host}: ${(error as Error).message}`, { cause: error });
    }
  }

  #renewToken(): void {
    this.#token = this.#target.tokens();
  }

  async #headers(): Promise<Record<string, string>> {
    this.#token ??= this.#target.tokens();
    const token = await this.#token;
    return { 'User-Agent': 'weir', ...(token !== undefined && { Authorization: `Bearer ${token}` }) };
  }

  #expect(answer: PushAnswer, status: number): void {
    if (answer.status !== status) throw refusalOf(answer, this.host);
  }

  async #pause(attempt: number, answer?: PushAnswer): Promise<void> {
    const told = Number(answer?.headers['retry-after'] ?? 0) * 1000;
    const own = firstPauseMs * 2 ** (attempt - 1) * (0.5 + Math.random());
    const pause = Math.min(longestPauseMs, Number.isFinite(told) && told > 0 ? told : own);
    await delay(pause, undefined, { signal: this.#target.signal });
  }
}

interface SentRequest {
  readonly method: Dispatcher.HttpMethod;
  readonly headers: Record<string, string>;
  readonly body: Buffer | Readable | null;
}

/** Bytes on their way through, which remember how many they were and what ended them. */
class CountedContent implements AsyncIterable<Buffer> {
  readonly size: number;
  readonly cancel: () => void;
  readonly #body: AsyncIterable<Buffer>;
  readonly #onBytes: ((count: number) => void) | undefined;
  /** Bytes. */
  sent = 0;
  /** What the source threw. */
  failure: Error | undefined;

  constructor({ size, body, cancel }: BlobContent, onBytes: ((count: number) => void) | undefined) {
    this.size = size;
    this.cancel = cancel;
    this.#body = body;
    this.#onBytes = onBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    try {
      for await (const chunk of this.#body) {
        yield chunk;
        this.sent += chunk.length;
        this.#onBytes?.(chunk.length);
      }
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }
}

async function drained(content: AsyncIterable<Buffer>): Promise<null> {
  for await (const chunk of content) if (chunk.length > 0) throw new ClientError('an empty blob has bytes');
  return null;
}

async function readAll(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxManifestSize) throw new ClientError('the server answers with more than any manifest has');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function mayPass(status: number): boolean {
  return status === 429 || status === 502 || status === 503 || status === 504;
}
