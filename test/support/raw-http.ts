import { connect, type Socket } from 'node:net';

/** An answer, read from the socket as it came. */
export interface RawResponse {
  readonly status: number;
  /** By lower-case name; several of one name are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A request that is written as it stands: nothing is normalized, escaped, added or checked. */
export interface RawRequest {
  readonly method: string;
  /** In latin1: `\xff` is that byte. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: string | Buffer;
}

export function rawBytes({ method, target, headers, body = '' }: RawRequest): Buffer {
  const lines = [`${method} ${target} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`), '', ''];
  return Buffer.concat([Buffer.from(lines.join('\r\n'), 'latin1'), Buffer.from(body)]);
}

/** A body in the chunked transfer coding, in pieces. */
export function chunkedBody(...pieces: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat([
    ...pieces.flatMap((piece) => {
      const bytes = Buffer.from(piece);
      return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')];
    }),
    Buffer.from('0\r\n\r\n'),
  ]);
}

/** Opens a connection to a registry. */
export function openSocket(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** Writes bytes on a connection of their own and returns the first answer, informational ones aside. */
export async function exchange(url: string, bytes: Buffer): Promise<RawResponse> {
  const socket = await openSocket(url);
  try {
    socket.write(bytes);
    return await readResponse(socket);
  } finally {
    socket.destroy();
  }
}

/** Reads one answer; it may end with the connection. */
export function readResponse(socket: Socket): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const settle = (ended: boolean) => {
      const response = parseResponse(received, ended);
      if (response === undefined && !ended) return;
      socket.off('data', onData).off('close', onClose);
      if (response === undefined) reject(new Error(`connection closed after ${received.length} bytes of an answer`));
      else resolve(response);
    };
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      settle(false);
    };
    const onClose = () => {
      settle(true);
    };
    // A reset after the answer is no failure of the exchange; one before it ends in `close` without an answer.
    socket.on('error', () => undefined);
    socket.on('data', onData).on('close', onClose);
  });
}

function parseResponse(received: Buffer, ended: boolean): RawResponse | undefined {
  const end = received.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const rest = received.subarray(end + 4);
  if (status < 200) return parseResponse(rest, ended);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase();
    const value = line.slice(line.indexOf(':') + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  if (headers['transfer-encoding'] === 'chunked') {
    return rest.includes('0\r\n\r\n') || ended ? { status, headers, body: unchunked(rest) } : undefined;
  }
  if (headers['content-length'] === undefined) {
    return ended || status === 204 || status === 304 ? { status, headers, body: rest } : undefined;
  }
  const length = Number(headers['content-length']);
  return rest.length >= length ? { status, headers, body: rest.subarray(0, length) } : undefined;
}

function unchunked(bytes: Buffer): Buffer {
  const lineEnd = bytes.indexOf('\r\n');
  const size = Number.parseInt(bytes.subarray(0, Math.max(lineEnd, 0)).toString('latin1') || '0', 16);
  if (size === 0) return Buffer.alloc(0);
  const start = lineEnd + 2;
  return Buffer.concat([bytes.subarray(start, start + size), unchunked(bytes.subarray(start + size + 2))]);
}
