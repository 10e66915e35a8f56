import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CertificateAuthority } from '../../src/tls/certificate-authority.js';
import { content, imageManifest, types, type Content, type Manifest } from './images.js';

/** Which requests a fault is for. */
interface FaultOf {
  /** Of the path with its query; all when left out. */
  readonly path?: RegExp;
  readonly method?: string;
  /** So many requests, and then no more; without end when left out. */
  readonly times?: number;
}

/** Something that a registry does other than it should. */
export type Fault = FaultOf &
  (
    | { readonly kind: 'answer'; readonly status: number; readonly headers?: Headers; readonly body?: string | Buffer }
    /** The connection is cut before the answer. */
    | { readonly kind: 'reset' }
    /** Nothing is ever answered. */
    | { readonly kind: 'stall' }
    /** The body stops after so many bytes, and the connection stays. */
    | { readonly kind: 'stall-body'; readonly after: number }
    /** The body stops after so many bytes, and the connection is cut. */
    | { readonly kind: 'truncate'; readonly after: number }
    /** Headers of the right answer are others; null takes one away. */
    | { readonly kind: 'headers'; readonly headers: Headers }
    /** The body of the right answer is another, under the headers of the right one but its length. */
    | { readonly kind: 'body'; readonly body: string | Buffer; readonly isChunked?: boolean }
    | { readonly kind: 'redirect'; readonly to: string; readonly status?: number }
    /** Each page of a list names another one; the tags are right. */
    | { readonly kind: 'endless-pages' }
    /** Bytes without an end, in chunks. */
    | { readonly kind: 'endless'; readonly headers?: Headers }
  );

type Headers = Readonly<Record<string, string | number | readonly string[] | null>>;

/** Who may read. */
export type FaultyAuth =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | {
      readonly kind: 'bearer';
      /** Everyone gets a token that reads when there is none. */
      readonly username?: string;
      readonly password?: string;
      readonly identityToken?: string;
      /** The address of the token endpoint; that of this registry when left out. */
      readonly realm?: string;
      readonly scope?: string;
      readonly expiresIn?: number;
      /** The token endpoint answers 405 to GET. */
      readonly isPostOnly?: boolean;
    };

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** An image of a faulty registry. */
export interface FaultyImage extends Manifest {
  readonly config: Content;
  readonly layer: Content;
}

/** What a registry holds and does wrong. */
export interface FaultyRegistryOptions {
  /** With a certificate for both names of this machine; its authority is `ca`. */
  readonly tls?: boolean;
  /** As which the registry is known: `127.0.0.1`, or `localhost` to be another host. */
  readonly host?: '127.0.0.1' | 'localhost';
  /** As in `team/app:v1`. */
  readonly images?: readonly string[];
  readonly faults?: readonly Fault[];
  readonly auth?: FaultyAuth;
  readonly hasReferrersApi?: boolean;
  readonly hasRanges?: boolean;
  /** Of the same address as an earlier one. */
  readonly port?: number;
}

interface Answer {
  status: number;
  headers: Record<string, string | number | readonly string[] | null>;
  body: string | Buffer;
}

/** Starts a small registry on this machine that does what it is told to do wrong, and remembers whatever it is asked. */
export async function startFaultyRegistry(options: FaultyRegistryOptions = {}): Promise<FaultyRegistry> {
  const tls = options.tls === true ? await certificate() : undefined;
  const registry = new FaultyRegistry(options, tls);
  await registry.listen();
  for (const image of options.images ?? []) {
    const colon = image.lastIndexOf(':');
    registry.addImage(image.slice(0, colon), image.slice(colon + 1));
  }
  return registry;
}

/** What `startFaultyRegistry` started. */
export class FaultyRegistry {
  readonly #options: FaultyRegistryOptions;
  readonly #server: Server;
  readonly #manifests = new Map<string, Manifest>();
  readonly #blobs = new Map<string, Buffer>();
  readonly #tags = new Map<string, Map<string, string>>();
  readonly #referrers = new Map<string, Manifest>();
  #faults: { readonly fault: Fault; left: number }[] = [];
  #tokens = 0;
  readonly #goodTokens = new Set<string>();
  /** PEM of the authority to trust; empty without TLS. */
  readonly ca: string;
  /** All of them, in their order. */
  readonly requests: SeenRequest[] = [];

  constructor(options: FaultyRegistryOptions, tls: TestCertificate | undefined) {
    this.#options = options;
    this.ca = tls?.ca ?? '';
    this.#server = tls === undefined ? createHttpServer() : createHttpsServer({ cert: tls.cert, key: tls.key });
    this.#server.on('request', (request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        response.destroy(error as Error);
      });
    });
    for (const fault of options.faults ?? []) this.addFault(fault);
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#options.port ?? 0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Host and port, as in the name of an image. */
  get host(): string {
    return `${this.#options.host ?? '127.0.0.1'}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Without a slash at its end. */
  get url(): string {
    return `${this.#options.tls === true ? 'https' : 'http'}://${this.host}`;
  }

  /** Paths of the requests, with the method: `GET /v2/`. */
  get seen(): readonly string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`);
  }

  /** What was shown to it, each once. */
  get shown(): readonly string[] {
    return [...new Set(this.requests.flatMap(({ headers }) => headers.authorization ?? []))];
  }

  addFault(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? Infinity });
  }

  clearFaults(): void {
    this.#faults = [];
  }

  /** An image of one layer. @param name tells images apart */
  addImage(repository: string, tag: string, name = `${repository}:${tag}`): FaultyImage {
    const config = content(
      JSON.stringify({ architecture: 'amd64', os: 'linux', name, rootfs: { type: 'layers', diff_ids: [] } }),
    );
    const layer = content(`layer of ${name}`.padEnd(100_000, '.'));
    for (const blob of [config, layer]) this.addBlob(repository, blob);
    const manifest = imageManifest(config, [layer]);
    this.addManifest(repository, manifest, tag);
    return { ...manifest, config, layer };
  }

  addBlob(repository: string, { bytes, digest }: Content): void {
    this.#blobs.set(`${repository}@${digest}`, bytes);
  }

  /** @param tag none when left out */
  addManifest(repository: string, manifest: Manifest, tag?: string): void {
    this.#manifests.set(`${repository}@${manifest.digest}`, manifest);
    if (tag !== undefined) this.setTag(repository, tag, manifest.digest);
  }

  /** @param digest of a manifest, whether it is there or not */
  setTag(repository: string, tag: string, digest: string): void {
    const tags = this.#tags.get(repository) ?? new Map<string, string>();
    this.#tags.set(repository, tags.set(tag, digest));
  }

  removeTag(repository: string, tag: string): void {
    this.#tags.get(repository)?.delete(tag);
  }

  /** The index that the referrers API answers for a subject. */
  setReferrers(repository: string, subject: string, index: Manifest): void {
    this.#referrers.set(`${repository}@${subject}`, index);
  }

  /** No token that was issued is taken any more. */
  revokeTokens(): void {
    this.#goodTokens.clear();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = '', url: path = '', headers } = request;
    const seen = { method, path, headers, body: Buffer.concat(chunks).toString() };
    this.requests.push(seen);
    const fault = this.#faultFor(seen);
    const answer =
      fault?.kind === 'answer' ? answerOf(fault.status, fault.body ?? '', fault.headers) : this.#answer(seen);
    send(request, response, answer, fault);
  }

  /** Who may not read gets no right answer, and so none that is spoilt. */
  #faultFor(request: SeenRequest): Fault | undefined {
    const { method, path } = request;
    const isRefused = !path.startsWith('/token') && this.#refusal(request) !== undefined;
    const found = this.#faults.find(({ fault, left }) => {
      if (left <= 0 || fault.path?.test(path) === false || (fault.method ?? method) !== method) return false;
      return !isRefused || ['answer', 'reset', 'stall'].includes(fault.kind);
    });
    if (found !== undefined) found.left--;
    return found?.fault;
  }

  #answer(request: SeenRequest): Answer {
    const url = new URL(request.path, this.url);
    if (url.pathname === '/token') return this.#token(request, url);
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return refusal;
    if (url.pathname === '/v2/') return answerOf(200, '{}', { 'Content-Type': 'application/json' });
    if (url.pathname === '/v2/_catalog') return this.#page(url, 'repositories', [...this.#tags.keys()].sort());
    const [, repository = '', kind = '', reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(url.pathname) ?? [];
    const tags = this.#tags.get(repository);
    if (kind === 'tags') return tags === undefined ? unknown('NAME') : this.#page(url, 'tags', [...tags.keys()]);
    if (kind === 'manifests') return this.#manifest(repository, reference);
    if (kind === 'blobs') return this.#blob(repository, reference, request);
    if (kind === 'referrers' && this.#options.hasReferrersApi === true) {
      const index = this.#referrers.get(`${repository}@${reference}`);
      const none = JSON.stringify({ schemaVersion: 2, mediaType: types.index, manifests: [] });
      return answerOf(200, index?.bytes ?? none, { 'Content-Type': types.index });
    }
    return answerOf(404, '404 page not found', { 'Content-Type': 'text/plain' });
  }

  #manifest(repository: string, reference: string): Answer {
    const digest = this.#tags.get(repository)?.get(reference) ?? reference;
    const manifest = this.#manifests.get(`${repository}@${digest}`);
    if (manifest === undefined) return unknown('MANIFEST');
    return answerOf(200, manifest.bytes, {
      'Content-Type': manifest.mediaType,
      'Docker-Content-Digest': manifest.digest,
    });
  }

  #blob(repository: string, digest: string, { headers }: SeenRequest): Answer {
    const bytes = this.#blobs.get(`${repository}@${digest}`);
    if (bytes === undefined) return unknown('BLOB');
    const all = { 'Content-Type': 'application/octet-stream', 'Docker-Content-Digest': digest };
    const [, start] = /^bytes=(\d+)-$/.exec(headers.range ?? '') ?? [];
    if (start === undefined || this.#options.hasRanges === false) return answerOf(200, bytes, all);
    const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
    return answerOf(206, bytes.subarray(Number(start)), { ...all, 'Content-Range': range });
  }

  #page(url: URL, name: string, all: readonly string[]): Answer {
    const size = Number(url.searchParams.get('n') ?? all.length);
    const last = url.searchParams.get('last');
    const start = last === null ? 0 : all.indexOf(last) + 1;
    const page = all.slice(start, start + size);
    const next = new URLSearchParams({ n: String(size), last: page.at(-1) ?? '' }).toString();
    return answerOf(200, JSON.stringify({ [name]: page }), {
      'Content-Type': 'application/json',
      ...(start + size < all.length && { Link: `<${url.pathname}?${next}>; rel="next"` }),
    });
  }

  #refusal({ headers: { authorization } }: SeenRequest): Answer | undefined {
    const { auth } = this.#options;
    if (auth === undefined) return undefined;
    if (auth.kind === 'basic') {
      const isRight = authorization === basic(auth);
      return isRight ? undefined : unauthorized('Basic realm="faulty"');
    }
    if (this.#goodTokens.has((authorization ?? '').replace(/^Bearer /, ''))) return undefined;
    const scope = auth.scope === undefined ? '' : `,scope="${auth.scope}"`;
    return unauthorized(`Bearer realm="${auth.realm ?? `${this.url}/token`}",service="faulty"${scope}`);
  }

  #token({ method, headers, body }: SeenRequest, url: URL): Answer {
    const auth = this.#options.auth?.kind === 'bearer' ? this.#options.auth : { kind: 'bearer' as const };
    if (method === 'GET' && auth.isPostOnly === true) return answerOf(405, '');
    const form = new URLSearchParams(method === 'POST' ? body : url.search);
    const isNamed =
      method === 'POST'
        ? form.get('grant_type') === 'refresh_token'
          ? form.get('refresh_token') === auth.identityToken
          : form.get('username') === auth.username && form.get('password') === auth.password
        : headers.authorization === basic({ username: auth.username ?? '', password: auth.password ?? '' });
    if (auth.username !== undefined && !isNamed) {
      return answerOf(401, JSON.stringify({ details: 'incorrect username or password' }));
    }
    const token = `token-${++this.#tokens}-of-${this.host}`;
    this.#goodTokens.add(token);
    return answerOf(200, JSON.stringify({ token, expires_in: auth.expiresIn ?? 300 }), {
      'Content-Type': 'application/json',
    });
  }

  /** Takes tokens that another registry issues. */
  trustTokensOf(other: FaultyRegistry): void {
    other.#onToken(this.#goodTokens);
  }

  #onToken(tokens: Set<string>): void {
    const add = this.#goodTokens.add.bind(this.#goodTokens);
    this.#goodTokens.add = (token) => {
      tokens.add(token);
      return add(token);
    };
  }
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer, fault: Fault | undefined): void {
  const body = Buffer.from(fault?.kind === 'body' ? fault.body : answer.body);
  const isHead = request.method === 'HEAD';
  const isWhole = fault?.kind !== 'body' || fault.isChunked !== true;
  const headers = { ...(isWhole && { 'Content-Length': body.length }), ...answer.headers };
  const write = (status: number, all: Headers) => {
    const given = Object.entries(all).filter((entry) => entry[1] !== null);
    response.writeHead(status, Object.fromEntries(given) as Record<string, string>);
  };
  switch (fault?.kind) {
    case 'reset':
      request.socket.resetAndDestroy();
      return;
    case 'stall':
      return;
    case 'stall-body':
    case 'truncate':
      write(answer.status, headers);
      response.write(body.subarray(0, fault.after), () => {
        if (fault.kind === 'truncate') setTimeout(() => request.socket.destroy(), 20);
      });
      return;
    case 'redirect':
      write(fault.status ?? 307, { Location: fault.to });
      response.end();
      return;
    case 'endless': {
      write(200, { 'Content-Type': 'application/json', ...fault.headers });
      const chunk = Buffer.alloc(64 * 1024, ' ');
      const more = () => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', more);
      more();
      return;
    }
    case 'endless-pages': {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://host');
      const page = Number(searchParams.get('page') ?? 0) + 1;
      write(answer.status, { ...headers, Link: `<${pathname}?page=${page}>; rel="next"` });
      response.end(body);
      return;
    }
    case 'headers':
      write(answer.status, { ...headers, ...fault.headers });
      response.end(isHead ? undefined : body);
      return;
    case 'answer':
    case 'body':
    case undefined:
      write(answer.status, headers);
      response.end(isHead ? undefined : body);
  }
}

function answerOf(status: number, body: string | Buffer, headers: Headers = {}): Answer {
  return { status, headers: { ...headers }, body };
}

function errorBody(code: string, message: string): string {
  return JSON.stringify({ errors: [{ code, message }] });
}

function unknown(what: string): Answer {
  const body = errorBody(`${what}_UNKNOWN`, `${what.toLowerCase()} unknown`);
  return answerOf(404, body, { 'Content-Type': 'application/json' });
}

function unauthorized(challenge: string): Answer {
  const body = errorBody('UNAUTHORIZED', 'authentication required');
  return answerOf(401, body, { 'Content-Type': 'application/json', 'WWW-Authenticate': challenge });
}

/** The header of a user name and a password. */
export function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

interface TestCertificate {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

let made: Promise<TestCertificate> | undefined;

/** One for all registries of a process. */
function certificate(): Promise<TestCertificate> {
  made ??= makeCertificate();
  return made;
}

async function makeCertificate(): Promise<TestCertificate> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-faulty-'));
  const authority = new CertificateAuthority(folder);
  const { cert, key } = await authority.serverCertificate(['localhost', '127.0.0.1']);
  const ca = await readFile(authority.certificatePath, 'utf8');
  await rm(folder, { recursive: true });
  return { cert, key, ca };
}
