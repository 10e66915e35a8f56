import { createHash } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Blob, blobOf } from './blobs.js';
import { Connection, type ExpectedAnswer } from './connection.js';

/** A user name and password. */
export interface Credentials {
  readonly name: string;
  readonly password: string;
}

/** A request that a {@link Connection} can repeat, and what its answer must be. */
export interface CheckedRequest {
  readonly head: string;
  readonly expected: ExpectedAnswer;
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers?: Record<string, string>;
  readonly body?: Blob;
}

/** Media type of an OCI image manifest. */
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** Pushes to and pulls from one repository of a registry, and checks every answer. */
export class RegistryClient {
  /** Those of its replicas: each request goes to the next of them. */
  readonly #urls: readonly URL[];
  #turn = 0;
  readonly #repository: string;
  readonly #credentials: Credentials | undefined;
  readonly #agent: http.Agent;
  #authorization: string | undefined;

  private constructor(urls: readonly URL[], repository: string, credentials: Credentials | undefined) {
    this.#urls = urls;
    this.#repository = repository;
    this.#credentials = credentials;
    this.#agent =
      urls[0]?.protocol === 'https:' ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
  }

  /** Asks the registry how it wants to be spoken to, and fetches a token when it wants one. */
  static async signIn(
    urls: URL | readonly URL[],
    repository: string,
    credentials?: Credentials,
  ): Promise<RegistryClient> {
    const client = new RegistryClient(urls instanceof URL ? [urls] : urls, repository, credentials);
    const answer = await client.#send({ method: 'GET', url: new URL('/v2/', client.#next()).href });
    if (answer.status === 401) await client.#authorize(answer, `repository:${repository}:pull,push`);
    else expectStatus(answer, 200, 'GET /v2/');
    return client;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Pushes as docker and podman do: POST, one PATCH of unannounced length, empty PUT. */
  async pushStreamed(blob: Blob): Promise<void> {
    const started = await this.#request(202, { method: 'POST', url: this.#path('blobs/uploads/') });
    const headers = { 'Content-Type': 'application/octet-stream' };
    const patch = { method: 'PATCH', url: this.#location(started), headers, body: blob };
    const patched = await this.#request(202, patch);
    const range = patched.headers.range;
    if (range !== `0-${blob.size - 1}`)
      throw new Error(`PATCH of ${blob.size} bytes answered Range ${range ?? 'none'}`);
    const finish = { method: 'PUT', url: withDigest(this.#location(patched), blob.digest) };
    expectDigest(await this.#request(201, { ...finish, headers: { 'Content-Length': '0' } }), blob.digest);
  }

  /** Pushes with POST and one PUT of announced length. */
  async pushMonolithic(blob: Blob): Promise<void> {
    const started = await this.#request(202, { method: 'POST', url: this.#path('blobs/uploads/') });
    const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': String(blob.size) };
    const put = { method: 'PUT', url: withDigest(this.#location(started), blob.digest), headers, body: blob };
    expectDigest(await this.#request(201, put), blob.digest);
  }

  /** Pushes an image of one small layer and returns the request that pulls its manifest by tag. */
  async pushImage(tag: string, layer: Blob): Promise<CheckedRequest> {
    const config = blobOf(Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', created: layer.digest })));
    await this.pushMonolithic(config);
    await this.pushMonolithic(layer);
    const configType = 'application/vnd.oci.image.config.v1+json';
    const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
    const manifest = blobOf(
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: manifestType,
          config: { mediaType: configType, digest: config.digest, size: config.size },
          layers: [{ mediaType: layerType, digest: layer.digest, size: layer.size }],
        }),
      ),
    );
    const headers = { 'Content-Type': manifestType, 'Content-Length': String(manifest.size) };
    const put = { method: 'PUT', url: this.#path(`manifests/${tag}`), headers, body: manifest };
    expectDigest(await this.#request(201, put), manifest.digest);
    return this.#checked('GET', `manifests/${tag}`, manifest);
  }

  /** The request that pulls a blob. */
  blobRequest(blob: Blob): CheckedRequest {
    return this.#checked('GET', `blobs/${blob.digest}`, blob);
  }

  /** The request that asks whether a blob is there. */
  blobHeadRequest(blob: Blob): CheckedRequest {
    return this.#checked('HEAD', `blobs/${blob.digest}`, blob);
  }

  openConnection(): Promise<Connection> {
    return Connection.open(this.#next());
  }

  /** Pulls once and hashes what comes: the timed pulls only count bytes. */
  async verify(request: CheckedRequest): Promise<void> {
    const hash = createHash('sha256');
    const connection = await this.openConnection();
    await connection.exchange(request.head, request.expected, (chunk) => hash.update(chunk));
    connection.close();
    const digest = `sha256:${hash.digest('hex')}`;
    if (digest !== request.expected.digest) throw new Error(`pulled ${digest} instead of ${request.expected.digest}`);
  }

  #checked(method: 'GET' | 'HEAD', path: string, content: Blob): CheckedRequest {
    const { pathname, host } = new URL(this.#path(path));
    const lines = [`${method} ${pathname} HTTP/1.1`, `Host: ${host}`, `Accept: ${manifestType}, */*`];
    if (this.#authorization !== undefined) lines.push(`Authorization: ${this.#authorization}`);
    const expected = { status: 200, digest: content.digest, length: content.size, hasBody: method === 'GET' };
    return { head: `${lines.join('\r\n')}\r\n\r\n`, expected };
  }

  #path(rest: string): string {
    return new URL(`/v2/${this.#repository}/${rest}`, this.#next()).href;
  }

  /** An upload's next address, query included: some registries keep the upload's state there. */
  #location(answer: Answer): string {
    const location = answer.headers.location;
    if (location === undefined) throw new Error(`status ${answer.status} without Location`);
    const next = this.#next();
    const { href, pathname, search } = new URL(location, next);
    return this.#urls.length === 1 ? href : new URL(pathname + search, next).href;
  }

  #next(): URL {
    const url = this.#urls[this.#turn % this.#urls.length]!;
    this.#turn += 1;
    return url;
  }

  async #request(status: number, sent: Sent): Promise<Answer> {
    let answer = await this.#send(sent);
    if (answer.status === 401) {
      await this.#authorize(answer, `repository:${this.#repository}:pull,push`);
      answer = await this.#send(sent);
    }
    expectStatus(answer, status, `${sent.method} ${sent.url}`);
    return answer;
  }

  async #authorize(answer: Answer, scope: string): Promise<void> {
    const challenge = answer.headers['www-authenticate'] ?? '';
    const basic = this.#credentials && `Basic ${toBase64(`${this.#credentials.name}:${this.#credentials.password}`)}`;
    if (/^basic\b/i.test(challenge) && basic !== undefined) {
      this.#authorization = basic;
      return;
    }
    const realm = parameter(challenge, 'realm');
    if (!/^bearer\b/i.test(challenge) || realm === undefined) {
      throw new Error(`the registry wants authentication, but not in a way known here: ${challenge || 'no challenge'}`);
    }
    const url = new URL(realm);
    url.searchParams.set('service', parameter(challenge, 'service') ?? '');
    url.searchParams.set('scope', scope);
    this.#authorization = basic;
    const granted = await this.#send({ method: 'GET', url: url.href });
    expectStatus(granted, 200, `GET ${url.href}`);
    const body = JSON.parse(granted.text) as { token?: string; access_token?: string };
    this.#authorization = `Bearer ${body.token ?? body.access_token ?? ''}`;
  }

  async #send(sent: Sent): Promise<Answer> {
    const headers = { ...sent.headers, ...(this.#authorization && { Authorization: this.#authorization }) };
    const transport = sent.url.startsWith('https:') ? https : http;
    const request = transport.request(sent.url, { agent: this.#agent, method: sent.method, headers });
    const answered = new Promise<Answer>((resolve, reject) => {
      request.on('error', reject);
      request.on('response', (response) => {
        collect(response).then(resolve, reject);
      });
    });
    if (sent.body === undefined) request.end();
    else {
      // An early refusal breaks the body off; then the answer says why, and says it better than the broken pipe.
      pipeline(Readable.from(sent.body.chunks(), { highWaterMark: 2 }), request).catch(() => undefined);
    }
    return answered;
  }
}

async function collect(response: http.IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() };
}

function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
}

function expectStatus(answer: Answer, status: number, what: string): void {
  if (answer.status === status) return;
  throw new Error(`${what}: expected status ${status}, got ${answer.status}: ${answer.text.slice(0, 500)}`);
}

function expectDigest(answer: Answer, digest: string): void {
  const got = answer.headers['docker-content-digest'];
  if (got !== digest) throw new Error(`expected Docker-Content-Digest ${digest}, got ${String(got ?? 'none')}`);
}

function parameter(challenge: string, name: string): string | undefined {
  return new RegExp(`\\b${name}="([^"]*)"`, 'i').exec(challenge)?.[1];
}

function toBase64(text: string): string {
  return Buffer.from(text).toString('base64');
}
