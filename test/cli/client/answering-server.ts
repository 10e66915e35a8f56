import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

/** A request as it arrived. */
export interface ReceivedRequest {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  /** Of JSON; undefined when there was none. */
  readonly body: unknown;
}

/** What is answered to a method and a path, in turn when there are several; an object is 200 in JSON. */
export type Answers = Readonly<Record<string, object | readonly Answer[]>>;

/** An answer that is more than an object. */
export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object | string;
}

/** A foreign server that says what it was told to, and remembers what it was asked. */
export interface AnsweringServer {
  /** Without a slash at its end. */
  readonly url: string;
  readonly host: string;
  readonly requests: readonly ReceivedRequest[];
}

/** Starts one that lives as long as the test; what it has no answer for is 404 as a registry says it. */
export async function startAnswering(answers: Answers): Promise<AnsweringServer> {
  const requests: ReceivedRequest[] = [];
  const left = new Map(
    Object.entries(answers).map(([key, value]) => [key, Array.isArray(value) ? [...(value as Answer[])] : value]),
  );
  const url = await listen((received, response) => {
    void text(received).then((body) => {
      const { pathname, searchParams } = new URL(received.url!, 'http://server');
      const method = received.method!;
      requests.push({
        method,
        path: pathname,
        query: Object.fromEntries(searchParams),
        headers: received.headers,
        body: body === '' ? undefined : JSON.parse(body),
      });
      const found = left.get(`${method} ${pathname}`);
      if (found === undefined) send(response, unknown(pathname));
      else if (Array.isArray(found)) send(response, (found as Answer[]).shift() ?? unknown(pathname));
      else send(response, { body: found });
    });
  });
  return { url, host: new URL(url).host, requests };
}

/** Any server, on a free port of this machine. @returns its address */
export async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A metav1.Status that tells of a failure. */
export function failure(status: number, reason: string, message: string, details?: object): Answer {
  return {
    status,
    body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, details, code: status },
  };
}

function unknown(path: string): Answer {
  return failure(404, 'NotFound', `"${path}" not found`, { name: path });
}

function send(response: ServerResponse, { status = 200, headers = {}, body = {} }: Answer): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}
