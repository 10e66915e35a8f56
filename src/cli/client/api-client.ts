import type { z } from 'zod';
import { reasonHeader } from '../../oci/reason.js';
import { failureOf } from './api-failure.js';
import { ClientError } from './client-error.js';
import { isLoopback, sendRequest, type PlainAnswer, type StreamedBody, type Trust } from './json-request.js';
import { plainText } from './plain-text.js';

/** Whom to speak to, and as whom. */
export interface Connection {
  readonly server: URL;
  /** Undefined for nobody. */
  readonly token: string | undefined;
  readonly trust: Trust;
}

/** What goes with a write. */
export interface WriteOptions {
  /** Why it is done; it is kept with what happens. */
  readonly reason?: string | undefined;
  /** Whether only to say what would happen. */
  readonly isDryRun?: boolean | undefined;
}

/** What goes with bytes that are sent. */
export interface UploadOptions {
  readonly contentType: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly reason: string | undefined;
}

/** An answer with how it was sent, and as it has to be read. */
export interface Answer<T> {
  /** Just as the server wrote it. */
  readonly raw: unknown;
  readonly value: T;
}

/** Speaks the HTTP API of a Weir server. Every method throws a `ClientError` when the server refuses. */
export class ApiClient {
  readonly #connection: Connection;
  readonly #note: (text: string) => void;

  /**
   * @param note is told of the warnings of the server (RFC 9111 section 5.5, code 299)
   * @throws {ClientError} when a token would be sent where others can read it
   */
  constructor(connection: Connection, note: (text: string) => void) {
    if (connection.token !== undefined) checkMaySendCredentials(connection.server);
    if (connection.token !== undefined && !/^[\x21-\x7e]+$/.test(connection.token)) {
      throw new ClientError('the token is none: it has characters that no token has');
    }
    this.#connection = connection;
    this.#note = note;
  }

  get host(): string {
    return this.#connection.server.host;
  }

  /** @param path below the server, as `apiPath` writes it */
  get<T>(
    path: string,
    schema: z.ZodType<T>,
    query: Readonly<Record<string, string | undefined>> = {},
  ): Promise<Answer<T>> {
    return this.#send('GET', path, schema, { query });
  }

  post<T>(path: string, schema: z.ZodType<T>, body: object, options?: WriteOptions): Promise<Answer<T>> {
    return this.#send('POST', path, schema, { body, ...options });
  }

  /** @param contentType of the body, which is sent as it comes */
  upload<T>(
    path: string,
    schema: z.ZodType<T>,
    { contentType, query, reason, ...stream }: StreamedBody & UploadOptions,
  ): Promise<Answer<T>> {
    return this.#send('POST', path, schema, { stream, contentType, query, reason });
  }

  put<T>(path: string, schema: z.ZodType<T>, body: object, options?: WriteOptions): Promise<Answer<T>> {
    return this.#send('PUT', path, schema, { body, ...options });
  }

  delete<T>(path: string, schema: z.ZodType<T>, options?: WriteOptions): Promise<Answer<T>> {
    return this.#send('DELETE', path, schema, { ...options });
  }

  async #send<T>(
    method: string,
    path: string,
    schema: z.ZodType<T>,
    {
      query = {},
      body,
      stream,
      contentType = 'application/json',
      reason,
      isDryRun,
    }: {
      readonly query?: Readonly<Record<string, string | undefined>>;
      readonly body?: object;
      readonly stream?: StreamedBody;
      readonly contentType?: string;
    } & WriteOptions,
  ): Promise<Answer<T>> {
    const { server, token, trust } = this.#connection;
    const url = new URL(path, server);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    if (isDryRun === true) url.searchParams.set('dryRun', 'All');
    const answer = await sendRequest({
      method,
      url,
      trust,
      headers: {
        Accept: 'application/json',
        'User-Agent': 'weir',
        ...((body ?? stream) !== undefined && { 'Content-Type': contentType }),
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        // A header has no letters but those of English.
        ...(reason !== undefined && { [reasonHeader]: encodeURIComponent(reason) }),
      },
      body: body === undefined ? stream : JSON.stringify(body),
    });
    for (const warning of warningsOf(answer)) this.#note(`warning: ${warning}\n`);
    if (answer.status < 200 || answer.status > 299) throw failureOf(answer, { host: server.host, token });
    return parseAnswer(answer, schema, server.host);
  }
}

/** @throws {ClientError} when whoever is between here and the server could read what is sent */
export function checkMaySendCredentials(server: URL): void {
  if (server.protocol === 'https:' || isLoopback(server.hostname)) return;
  throw new ClientError(
    `${server.host} is to be spoken to without TLS, and everybody on the way could read the password or the token; ` +
      `use https://${server.host}`,
  );
}

/** A path of the API; each part is written as one, whatever is in it. */
export function apiPath(
  group: 'image.openshift.io' | 'project.openshift.io' | 'user.openshift.io' | 'weir.dev' | 'authentication.k8s.io',
  ...parts: readonly string[]
): string {
  // Legal in a path, and what the names of tags and images have in them.
  const encode = (part: string): string => encodeURIComponent(part).replaceAll('%3A', ':').replaceAll('%40', '@');
  return ['', 'apis', group, 'v1', ...parts.map(encode)].join('/');
}

function parseAnswer<T>(answer: PlainAnswer, schema: z.ZodType<T>, host: string): Answer<T> {
  let raw: unknown;
  try {
    raw = JSON.parse(answer.text);
  } catch (error) {
    throw new ClientError(`${host} answers with something else than JSON; is this the address of a Weir server?`, {
      cause: error,
    });
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return { raw, value: parsed.data };
  const { path, message } = parsed.error.issues[0]!;
  throw new ClientError(`${host} answers with what this client does not understand: ${path.join('.')}: ${message}`, {
    cause: parsed.error,
  });
}

function warningsOf({ headers }: PlainAnswer): readonly string[] {
  const header = headers['warning'];
  if (header === undefined) return [];
  return [...header.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)].map(([, text]) =>
    plainText(text!.replace(/\\(.)/g, '$1')),
  );
}
