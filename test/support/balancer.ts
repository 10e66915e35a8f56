import { once } from 'node:events';
import {
  Agent,
  createServer as createHttpServer,
  request,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { pipeline } from 'node:stream';

/** How a balancer listens. */
export interface BalancerOptions {
  /** PEM. It then speaks TLS, and plain HTTP/1.1 to what is behind it. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** What is between the connections of one hop and is no business of the next one (RFC 9110 section 7.6.1). */
const hopByHop = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'expect']);

interface Target {
  readonly url: URL;
  /** Connections that one request leaves are taken by the next one, whoever's it is. */
  readonly agent: Agent;
}

/**
 * A proxy that gives every request, and not every connection, to the next of its targets. One that cannot be connected to is
 * passed over, as nothing was sent yet; whatever breaks later breaks for the client too.
 */
export class Balancer {
  readonly #server;
  readonly #scheme: 'http' | 'https';
  readonly #sockets = new Set<Socket>();
  #targets: (Target | undefined)[] = [];
  #next = 0;
  /** How many requests each target was given, by its position. */
  readonly counts: number[] = [];

  private constructor({ tls }: BalancerOptions) {
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#server = tls === undefined ? createHttpServer() : createHttpsServer(tls);
    // A push may take as long as it likes, and a watch hours.
    Object.assign(this.#server, { requestTimeout: 0, timeout: 0 });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('request', (incoming, response) => {
      incoming.on('error', () => undefined);
      this.#forward(incoming, response, this.#targets.length);
    });
  }

  /** Listens on a free port of loopback, with no targets yet. */
  static async start(options: BalancerOptions = {}): Promise<Balancer> {
    const balancer = new Balancer(options);
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.#scheme}://localhost:${this.port}`;
  }

  /** @param url of plain http; undefined: there is nobody at this position until further notice */
  setTarget(position: number, url: string | undefined): void {
    this.#targets[position]?.agent.destroy();
    this.#targets[position] =
      url === undefined ? undefined : { url: new URL(url), agent: new Agent({ keepAlive: true, maxFreeSockets: 100 }) };
    this.counts[position] ??= 0;
  }

  /** The next request goes to this position, and the ones after it to those that follow. */
  rewind(position = 0): void {
    this.#next = position;
  }

  async stop(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    for (const target of this.#targets) target?.agent.destroy();
    await once(this.#server, 'close');
  }

  /** @param attempts how many targets may be tried */
  #forward(incoming: IncomingMessage, response: ServerResponse, attempts: number): void {
    if (incoming.socket.destroyed) return;
    const position = this.#next % Math.max(this.#targets.length, 1);
    this.#next = position + 1;
    const target = this.#targets[position];
    if (attempts === 0) {
      answerBadGateway(response, 'no replica answers');
      return;
    }
    if (target === undefined) {
      this.#forward(incoming, response, attempts - 1);
      return;
    }
    const outgoing = request({
      agent: target.agent,
      host: target.url.hostname,
      port: target.url.port,
      method: incoming.method!,
      path: incoming.url!,
      headers: this.#headersFor(incoming),
      setHost: false,
    });
    let isConnected = false;
    whenConnected(outgoing, () => {
      isConnected = true;
      this.counts[position]! += 1;
      // An answer may come before the whole body was taken, as a refusal does; what is left is not waited for.
      pipeline(incoming, outgoing, () => undefined);
    });
    outgoing.on('error', () => {
      if (!isConnected) this.#forward(incoming, response, attempts - 1);
      else if (response.headersSent) response.destroy();
      else answerBadGateway(response, 'the replica broke off');
    });
    outgoing.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.statusMessage, withoutHops(answer.rawHeaders));
      // The head of a watch goes out before there is anything to tell.
      response.flushHeaders();
      pipeline(answer, response, (error) => {
        if (error) response.destroy();
      });
    });
    response.on('close', () => {
      if (isConnected && !response.writableFinished) outgoing.destroy();
    });
  }

  #headersFor(incoming: IncomingMessage): string[] {
    return [
      ...withoutHops(incoming.rawHeaders),
      ...['X-Forwarded-Proto', this.#scheme],
      ...['X-Forwarded-For', incoming.socket.remoteAddress ?? ''],
    ];
  }
}

function whenConnected(outgoing: ClientRequest, then: () => void): void {
  outgoing.once('socket', (socket) => {
    if (socket.connecting) socket.once('connect', then);
    else then();
  });
}

function answerBadGateway(response: ServerResponse, reason: string): void {
  response.writeHead(502, { 'content-type': 'text/plain', connection: 'close' }).end(`${reason}\n`);
}

/** @param raw names and values by turns */
function withoutHops(raw: readonly string[]): string[] {
  return raw.filter((_, index) => !hopByHop.has(raw[index - (index % 2)]!.toLowerCase()));
}
