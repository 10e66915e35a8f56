import { createHash } from 'node:crypto';
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';
import { password } from './registry-process.js';

/** Without a byte from the registry. */
const answerTimeoutMs = 20_000;

/** The connection broke before an answer came: what was asked for may have been done or not. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface Call {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is, with its length; in pieces of unknown number when it is a list. */
  readonly body?: Buffer | readonly Buffer[];
}

/** The ways in which the spec lets the bytes of a blob be sent. */
export const uploadWays = ['POST then PUT', 'POST with the digest', 'streamed PATCH', 'chunked PATCHes'] as const;
export type UploadWay = (typeof uploadWays)[number];

/** A blob to be pushed. */
export interface BlobPush {
  readonly repository: string;
  readonly bytes: Buffer;
  readonly digest: string;
  readonly way: UploadWay;
  /** Another repository to mount it from, if possible. */
  readonly from?: string;
  /** Of each PATCH but the last, with `chunked PATCHes`; an odd chunk count leaves the last one to the PUT. */
  readonly chunkSize?: number;
}

/** Is told of an upload session as it goes on. */
export interface SessionObserver {
  /** A session was acknowledged; `location` is its path. */
  opened(location: string): void;
  /** The registry said that it has so many bytes. */
  received(size: number): void;
  /** The request that ends the session is about to be sent. */
  finishing(): void;
}

/** Speaks the distribution API over plain http, as user admin. */
export class RegistryClient {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(url: string) {
    this.#url = url;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** @throws {NoAnswerError} */
  async send(method: string, target: string, { headers = {}, body }: Call = {}): Promise<Answer> {
    const outgoing = this.start(method, target, {
      ...headers,
      ...(isPieces(body) ? {} : { 'content-length': String(body?.length ?? 0) }),
    });
    if (isPieces(body)) for (const piece of body) outgoing.write(piece);
    outgoing.end(isPieces(body) ? undefined : body);
    return answerOf(outgoing);
  }

  /** A request whose body is for the caller to write; {@link answerOf} waits for what comes of it. */
  start(method: string, target: string, headers: Readonly<Record<string, string>> = {}): ClientRequest {
    return request(this.#url + target, { method, agent: this.#agent, auth: `admin:${password}`, headers });
  }

  /** Like `send`, for requests that must succeed. @throws {UnexpectedAnswerError} when the status is another one */
  async expect(expected: number | readonly number[], method: string, target: string, call?: Call): Promise<Answer> {
    const answer = await this.send(method, target, call);
    if ([expected].flat().includes(answer.status)) return answer;
    throw new UnexpectedAnswerError(method, target, answer);
  }

  /** Pushes a blob. @throws {UnexpectedAnswerError | NoAnswerError} when it was not acknowledged with 201 */
  async pushBlob(push: BlobPush, observer: SessionObserver = silent): Promise<void> {
    const { repository, bytes, digest } = push;
    const uploads = `/v2/${repository}/blobs/uploads/`;
    if (push.from === undefined && push.way === 'POST with the digest' && bytes.length > 0) {
      await this.expect(201, 'POST', `${uploads}?digest=${digest}`, { body: bytes });
      return;
    }
    const mount = push.from === undefined ? '' : `?mount=${digest}&from=${push.from}`;
    const opened = await this.expect(push.from === undefined ? 202 : [201, 202], 'POST', uploads + mount);
    if (opened.status === 201) return;
    const location = opened.headers.location!;
    observer.opened(location);
    const rest = await this.#patch(location, push, observer);
    observer.finishing();
    await this.expect(201, 'PUT', `${location}?digest=${digest}`, { body: rest });
  }

  /** @returns what is left for the PUT */
  async #patch(location: string, { bytes, way, chunkSize }: BlobPush, observer: SessionObserver): Promise<Buffer> {
    switch (way) {
      case 'POST then PUT':
      case 'POST with the digest':
        return bytes;
      case 'streamed PATCH': {
        const pieces = cut(bytes, 100_000);
        observer.received(receivedBytes(await this.expect(202, 'PATCH', location, { body: pieces })));
        return Buffer.alloc(0);
      }
      case 'chunked PATCHes': {
        const chunks = cut(bytes, chunkSize ?? 300_000);
        const rest = chunks.length % 2 === 1 ? chunks.pop() : undefined;
        let offset = 0;
        for (const chunk of chunks) {
          const headers = { 'content-range': `${offset}-${offset + chunk.length - 1}` };
          observer.received(
            receivedBytes(await this.expect(202, 'PATCH', location, { headers, body: Buffer.from(chunk) })),
          );
          offset += chunk.length;
        }
        return rest ?? Buffer.alloc(0);
      }
    }
  }
}

/** An answer that means failure here. */
export class UnexpectedAnswerError extends Error {
  override readonly name = 'UnexpectedAnswerError';
  readonly status: number;
  constructor(method: string, target: string, { status, body }: Answer) {
    super(`${method} ${target}: ${status} ${body.toString('utf8').slice(0, 500)}`);
    this.status = status;
  }
}

/** @throws {NoAnswerError} */
export function answerOf(outgoing: ClientRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(new NoAnswerError(`${outgoing.method} ${outgoing.path}: ${error.message}`, { cause: error }));
    };
    outgoing.on('error', fail);
    outgoing.setTimeout(answerTimeoutMs, () => {
      outgoing.destroy(new Error('nothing came for too long'));
    });
    outgoing.on('response', (response) => {
      const { statusCode: status = 0, headers } = response;
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', fail);
      response.on('close', () => {
        // A head that has no body to come is a whole answer, whatever becomes of the connection.
        if (response.complete || headers['content-length'] === '0') {
          resolve({ status, headers, body: Buffer.concat(chunks) });
        } else fail(new Error('the answer broke off'));
      });
    });
  });
}

/** How much of an upload the registry says it has. `0-0` is taken for nothing: no test sends a single byte. */
export function receivedBytes({ headers }: Answer): number {
  const end = Number(/^0-(\d+)$/.exec(String(headers['range']))?.[1]);
  if (Number.isNaN(end)) throw new Error(`not a range: ${String(headers['range'])}`);
  return end === 0 ? 0 : end + 1;
}

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function sha512(bytes: Buffer): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

const silent: SessionObserver = {
  opened: () => undefined,
  received: () => undefined,
  finishing: () => undefined,
};

function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

function isPieces(body: Call['body']): body is readonly Buffer[] {
  return Array.isArray(body);
}
