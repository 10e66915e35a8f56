import { createServer, request as sendRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable, Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** As S3 calls it: `UploadPart`. */
export type S3Operation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CreateMultipartUpload'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'GetObject'
  | 'HeadObject'
  | 'ListMultipartUploads'
  | 'ListObjectsV2'
  | 'ListParts'
  | 'PutObject'
  | 'UploadPart'
  | 'UploadPartCopy'
  | 'other';

/** Which requests a fault is for. */
interface FaultOf {
  /** All when left out. */
  readonly operation?: S3Operation;
  /** So many requests that match are spared first. */
  readonly skip?: number;
  /** So many, and then no more; without end when left out. */
  readonly times?: number;
}

/** Something that happens to a request between its sender and the store. */
export type Fault = FaultOf &
  (
    | { readonly kind: 'slow-down' }
    /** Answered before the body was read, on a connection that stays. */
    | { readonly kind: 'slow-down-early' }
    | { readonly kind: 'answer'; readonly status: number; readonly body: string }
    /** The connection is cut after so many bytes of the request's body. */
    | { readonly kind: 'reset'; readonly after: number }
    /** The store does what it is asked, and the connection is cut instead of the answer. */
    | { readonly kind: 'lose-answer' }
    /** After so many bytes of the request's body nothing goes on. */
    | { readonly kind: 'stall'; readonly after: number }
    /** The body of the answer comes at this rate. */
    | { readonly kind: 'slow-answer'; readonly bytesPerSecond: number }
    /** The body of the answer ends after so many bytes, and the connection is cut. */
    | { readonly kind: 'cut-answer'; readonly after: number }
    /** One bit of the request's body is another. */
    | { readonly kind: 'damage' }
  );

/** A request as it came. */
export interface SeenRequest {
  readonly operation: S3Operation;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** Of the answer; undefined when there was none. */
  status: number | undefined;
}

/** A proxy in front of an S3 server that does what networks and busy stores do. */
export interface FaultProxy {
  readonly endpoint: string;
  readonly requests: readonly SeenRequest[];
  /** How many requests of each kind came since the proxy was started or forgot. */
  counts(): Partial<Record<S3Operation, number>>;
  /** Forgets requests, and has no faults. */
  reset(): void;
  add(fault: Fault): void;
  /** While it lasts every connection is cut. */
  setOutage(isOut: boolean): void;
  stop(): Promise<void>;
}

/**
 * @param target URL of a server without TLS. What is signed is the name of the host, which is handed on as it came.
 */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let requests: SeenRequest[] = [];
  let faults: { fault: Fault; skip: number; left: number }[] = [];
  let isOut = false;

  function faultOf(operation: S3Operation): Fault | undefined {
    for (const entry of faults) {
      if (entry.left === 0 || (entry.fault.operation !== undefined && entry.fault.operation !== operation)) continue;
      if (entry.skip > 0) {
        entry.skip -= 1;
        continue;
      }
      entry.left -= 1;
      return entry.fault;
    }
    return undefined;
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, answer) => {
    const seen = {
      operation: operationOf(incoming),
      method: incoming.method!,
      path: incoming.url!,
      headers: incoming.headers,
      status: undefined,
    };
    requests.push(seen);
    incoming.on('error', () => undefined);
    answer.on('error', () => undefined);
    handle(incoming, answer, seen, faultOf(seen.operation)).catch(() => incoming.destroy());
  });
  server.on('connection', (socket) => {
    if (isOut) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });

  async function handle(
    incoming: IncomingMessage,
    answer: ServerResponse,
    seen: SeenRequest,
    fault: Fault | undefined,
  ): Promise<void> {
    switch (fault?.kind) {
      case 'slow-down':
        incoming.resume();
        await new Promise((resolve) => incoming.once('end', resolve));
        sendError(answer, seen, 503, 'SlowDown');
        return;
      case 'slow-down-early':
        sendError(answer, seen, 503, 'SlowDown');
        incoming.resume();
        return;
      case 'answer':
        incoming.resume();
        await new Promise((resolve) => incoming.once('end', resolve));
        seen.status = fault.status;
        answer.writeHead(fault.status, { 'Content-Type': 'application/xml' }).end(fault.body);
        return;
      case 'reset':
        await readBytes(incoming, fault.after);
        incoming.socket.resetAndDestroy();
        return;
      case 'stall':
        await readBytes(incoming, fault.after);
        incoming.pause();
        return;
      case 'damage':
      case 'lose-answer':
      case 'slow-answer':
      case 'cut-answer':
      case undefined:
        await forward(incoming, answer, seen, fault);
    }
  }

  async function forward(
    incoming: IncomingMessage,
    answer: ServerResponse,
    seen: SeenRequest,
    fault: Fault | undefined,
  ): Promise<void> {
    const outgoing = sendRequest({
      hostname,
      port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.rawHeaders,
      setHost: false,
      agent: false,
    });
    // Without an agent a connection ends with its request.
    outgoing.on('error', () => incoming.socket.destroy());
    incoming.once('close', () => {
      if (!incoming.complete) outgoing.destroy();
    });
    (fault?.kind === 'damage' ? incoming.pipe(damage()) : incoming).pipe(outgoing);
    const answered = await new Promise<IncomingMessage>((resolve) => outgoing.once('response', resolve));
    answered.on('error', () => incoming.socket.destroy());
    if (fault?.kind === 'lose-answer') {
      answered.resume();
      await new Promise((resolve) => answered.once('end', resolve));
      incoming.socket.resetAndDestroy();
      return;
    }
    seen.status = answered.statusCode;
    const headers = answered.rawHeaders.filter((_, index, all) => !/^connection$/i.test(all[index - (index % 2)]!));
    answer.writeHead(answered.statusCode!, headers);
    answer.once('close', () => answered.destroy());
    if (fault?.kind === 'slow-answer') slowly(answered, fault.bytesPerSecond).pipe(answer);
    else if (fault?.kind === 'cut-answer') await sendCut(answered, answer, fault.after);
    else answered.pipe(answer);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get requests() {
      return requests;
    },
    counts() {
      const counts: Partial<Record<S3Operation, number>> = {};
      for (const { operation } of requests) counts[operation] = (counts[operation] ?? 0) + 1;
      return counts;
    },
    reset() {
      requests = [];
      faults = [];
    },
    add(fault) {
      faults.push({ fault, skip: fault.skip ?? 0, left: fault.times ?? Infinity });
    },
    setOutage(out) {
      isOut = out;
      if (out) for (const socket of sockets) socket.resetAndDestroy();
    },
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** What a request asks of S3. */
export function operationOf({ method, url, headers }: IncomingMessage): S3Operation {
  const { pathname, searchParams: query } = new URL(url!, 'http://s3');
  const isObject = pathname.split('/').filter(Boolean).length > 1;
  switch (method!) {
    case 'PUT':
      if (!query.has('partNumber')) return isObject ? 'PutObject' : 'other';
      return 'x-amz-copy-source' in headers ? 'UploadPartCopy' : 'UploadPart';
    case 'POST':
      if (query.has('uploads')) return 'CreateMultipartUpload';
      if (query.has('delete')) return 'DeleteObjects';
      return query.has('uploadId') ? 'CompleteMultipartUpload' : 'other';
    case 'GET':
      if (query.has('uploads')) return 'ListMultipartUploads';
      if (query.has('uploadId')) return 'ListParts';
      if (query.has('list-type')) return 'ListObjectsV2';
      return isObject ? 'GetObject' : 'other';
    case 'HEAD':
      return isObject ? 'HeadObject' : 'other';
    case 'DELETE':
      if (query.has('uploadId')) return 'AbortMultipartUpload';
      return isObject ? 'DeleteObject' : 'other';
    default:
      return 'other';
  }
}

function sendError(answer: ServerResponse, seen: SeenRequest, status: number, code: string): void {
  seen.status = status;
  answer.writeHead(status, { 'Content-Type': 'application/xml' });
  answer.end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
}

async function readBytes(incoming: IncomingMessage, bytes: number): Promise<void> {
  let read = 0;
  await new Promise<void>((resolve) => {
    incoming.on('data', (chunk: Buffer) => {
      read += chunk.length;
      if (read >= bytes) resolve();
    });
    incoming.once('end', resolve);
    if (bytes === 0) resolve();
  });
}

function damage(): Transform {
  let isDone = false;
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      const damaged = Buffer.from(chunk);
      if (!isDone) damaged[0] = damaged[0]! ^ 1;
      isDone = true;
      callback(null, damaged);
    },
  });
}

function slowly(source: Readable, bytesPerSecond: number): Readable {
  const atOnce = Math.max(1, Math.ceil(bytesPerSecond / 20));
  async function* generate() {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      for (let start = 0; start < chunk.length; start += atOnce) {
        yield chunk.subarray(start, start + atOnce);
        await sleep(50);
      }
    }
  }
  return Readable.from(generate());
}

async function sendCut(source: Readable, answer: ServerResponse, after: number): Promise<void> {
  let sent = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    const rest = chunk.subarray(0, after - sent);
    sent += rest.length;
    await new Promise((resolve) => answer.write(rest, resolve));
    if (sent >= after) break;
  }
  answer.socket?.resetAndDestroy();
}
