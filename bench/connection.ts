import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';

/** What an answer has to be; anything else fails the run. */
export interface ExpectedAnswer {
  readonly status: number;
  readonly digest: string;
  /** Value of Content-Length. */
  readonly length: number;
  /** HEAD announces a length and sends nothing. */
  readonly hasBody: boolean;
}

interface Exchange {
  readonly expected: ExpectedAnswer;
  readonly receive: ((chunk: Buffer) => void) | undefined;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const headEnd = Buffer.from('\r\n\r\n');

/**
 * One keep-alive HTTP/1.1 connection that sends a request, checks the answer, and only then sends the next.
 *
 * `node:http` reads about 1 GB/s and answers about 12,000 requests a second here, which is less than a registry can do:
 * it would be the client that is measured. This reads into one buffer and parses no more than it checks.
 */
export class Connection {
  readonly #socket: net.Socket;
  #exchange: Exchange | undefined;
  #head: Buffer = Buffer.alloc(0);
  #bodyLeft = 0;

  private constructor(connect: (onData: (chunk: Buffer) => void) => net.Socket) {
    this.#socket = connect((chunk) => {
      this.#read(chunk);
    });
    this.#socket.setNoDelay(true);
    this.#socket.on('error', (error) => {
      this.#fail(error);
    });
    this.#socket.on('close', () => {
      this.#fail(new Error('the registry closed the connection before the answer was complete'));
    });
  }

  static async open(url: URL): Promise<Connection> {
    const secure = url.protocol === 'https:';
    const address = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (secure ? 443 : 80)) };
    const connection = new Connection((onData) => {
      if (secure) return tls.connect({ ...address, servername: url.hostname }).on('data', onData);
      const read = (length: number, buffer: Uint8Array): boolean => {
        onData((buffer as Buffer).subarray(0, length));
        return true;
      };
      return net.connect({ ...address, onread: { buffer: Buffer.alloc(1024 * 1024), callback: read } });
    });
    await once(connection.#socket, secure ? 'secureConnect' : 'connect');
    return connection;
  }

  /**
   * Sends a request and waits for its whole answer.
   *
   * @param head request line and headers, with the empty line that ends them
   * @param receive gets the body in pieces, each valid only during the call
   * @throws when status, Docker-Content-Digest, Content-Length or the number of bytes is not as expected
   */
  exchange(head: string, expected: ExpectedAnswer, receive?: (chunk: Buffer) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#exchange = { expected, receive, resolve, reject };
      this.#socket.write(head, 'latin1');
    });
  }

  close(): void {
    this.#exchange = undefined;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.#socket.destroy();
      return;
    }
    if (this.#bodyLeft > 0) {
      this.#readBody(exchange, chunk);
      return;
    }
    // The buffer behind `chunk` is reused by the next read, hence the copy when a head comes in two pieces.
    const bytes = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    const end = bytes.indexOf(headEnd);
    if (end === -1) {
      this.#head = Buffer.from(bytes);
      return;
    }
    this.#head = Buffer.alloc(0);
    const head = bytes.toString('latin1', 0, end + 2);
    const mismatch = findMismatch(head, exchange.expected);
    if (mismatch !== undefined) {
      this.#fail(new Error(`${mismatch}\n${bytes.toString('latin1', 0, 1000)}`));
      return;
    }
    this.#bodyLeft = exchange.expected.hasBody ? exchange.expected.length : 0;
    this.#readBody(exchange, bytes.subarray(end + headEnd.length));
  }

  #readBody(exchange: Exchange, chunk: Buffer): void {
    this.#bodyLeft -= chunk.length;
    if (this.#bodyLeft < 0) {
      this.#fail(new Error(`the answer is ${-this.#bodyLeft} bytes longer than its Content-Length`));
      return;
    }
    exchange.receive?.(chunk);
    if (this.#bodyLeft > 0) return;
    this.#exchange = undefined;
    exchange.resolve();
  }

  #fail(error: Error): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.reject(error);
    this.#socket.destroy();
  }
}

function findMismatch(head: string, expected: ExpectedAnswer): string | undefined {
  const status = Number(head.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length));
  if (status !== expected.status) return `expected status ${expected.status}, got ${status}`;
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
  if (length === undefined || Number(length) !== expected.length) {
    return `expected Content-Length ${expected.length}, got ${length ?? 'none'}`;
  }
  const digest = /\r\ndocker-content-digest: *(\S+)\r\n/i.exec(head)?.[1];
  if (digest !== expected.digest) return `expected Docker-Content-Digest ${expected.digest}, got ${digest ?? 'none'}`;
  return undefined;
}
