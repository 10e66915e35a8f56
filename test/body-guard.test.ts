import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { BodyGuard, type BodyLimits } from '../src/body-guard.js';

const idleTimeoutMs = 60;

/** How a request ended, as the server and as the client saw it. */
interface Outcome {
  readonly bodyEnded: boolean;
  readonly answer: string;
}

describe('a request body', () => {
  let server: Server;
  let guard: BodyGuard;
  let socket: Socket;
  let bodyEnded: boolean;
  let received: string;
  let closed: Promise<void>;

  afterEach(async () => {
    guard.close();
    socket.destroy();
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  });

  async function begin(limits: Partial<BodyLimits> = {}, { reading = true } = {}): Promise<void> {
    guard = new BodyGuard({ idleTimeoutMs, minimumBytesPerSecond: 0, ...limits });
    bodyEnded = false;
    received = '';
    server = createServer((request, response) => {
      guard.watch(request);
      if (!reading) return;
      request.resume();
      request.on('error', () => undefined);
      request.on('end', () => {
        bodyEnded = true;
        response.end('ok');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.on('data', (data) => (received += data.toString()));
    closed = new Promise((resolve) =>
      socket.once('close', () => {
        resolve();
      }),
    );
    await new Promise((resolve) => socket.once('connect', resolve));
  }

  function head(...lines: readonly string[]): void {
    socket.write(['POST / HTTP/1.1', 'Host: localhost', ...lines, '', ''].join('\r\n'));
  }

  /** Waits until the connection is closed, or for as long as `ms`. */
  async function outcome(ms: number): Promise<Outcome | 'open'> {
    const ended = closed.then(() => ({ bodyEnded, answer: received }));
    const open = new Promise<'open'>((resolve) =>
      setTimeout(() => {
        resolve('open');
      }, ms),
    );
    return Promise.race([ended, open]);
  }

  test.each([
    { name: 'of a known length', lines: ['Content-Length: 1000'], first: 'x'.repeat(10) },
    { name: 'of a known length, of which nothing came', lines: ['Content-Length: 1000'], first: '' },
    { name: 'in chunks', lines: ['Transfer-Encoding: chunked'], first: '3\r\nabc\r\n' },
    { name: 'in chunks, of which nothing came', lines: ['Transfer-Encoding: chunked'], first: '' },
  ])('$name that stops coming is cut off', async ({ lines, first }) => {
    await begin();
    head(...lines);
    if (first !== '') socket.write(first);
    expect(await outcome(2000)).toMatchObject({ bodyEnded: false });
  });

  test('that nobody reads is cut off too', async () => {
    await begin({}, { reading: false });
    head('Content-Length: 1000');
    socket.write('x');
    expect(await outcome(2000)).not.toBe('open');
  });

  test('is not cut off before the idle time is over', async () => {
    await begin({ idleTimeoutMs: 10_000 });
    head('Content-Length: 1000');
    expect(await outcome(50)).toBe('open');
  });

  test('that flows is not cut off, however long it takes', async () => {
    await begin({ minimumBytesPerSecond: 1000 });
    head('Content-Length: 30000');
    for (let part = 0; part < 30; part += 1) {
      socket.write('x'.repeat(1000));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await outcome(50);
    expect(bodyEnded).toBe(true);
    expect(received).toMatch(/^HTTP\/1\.1 200/);
  });

  test('that trickles is cut off when there is a minimum', async () => {
    await begin({ minimumBytesPerSecond: 10_000 });
    head('Content-Length: 1000');
    const trickle = setInterval(() => socket.write('x'), 10);
    expect(await outcome(2000)).toMatchObject({ bodyEnded: false });
    clearInterval(trickle);
  });

  test('that trickles is left alone when there is no minimum', async () => {
    await begin({ minimumBytesPerSecond: 0 });
    head('Content-Length: 25');
    for (let part = 0; part < 25; part += 1) {
      socket.write('x');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await outcome(50);
    expect(bodyEnded).toBe(true);
  });

  test('that was fast once is cut off all the same when it stops', async () => {
    await begin({ minimumBytesPerSecond: 1000 });
    head('Content-Length: 10000000');
    socket.write('x'.repeat(1_000_000));
    expect(await outcome(3000)).toMatchObject({ bodyEnded: false });
  });

  test.each([
    { name: 'no body', lines: [] },
    { name: 'an empty body', lines: ['Content-Length: 0'] },
  ])('that is $name is not waited for: the connection stays for the next request', async ({ lines }) => {
    await begin();
    head(...lines);
    expect(await outcome(4 * idleTimeoutMs)).toBe('open');
    expect(received).toMatch(/^HTTP\/1\.1 200/);
  });

  test('that came to its end is forgotten: what the answer takes does not count', async () => {
    guard = new BodyGuard({ idleTimeoutMs, minimumBytesPerSecond: 1000 });
    server = createServer((request, response) => {
      guard.watch(request);
      request.resume().on('end', () => {
        setTimeout(() => response.end('slow answer'), 4 * idleTimeoutMs);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
      method: 'POST',
      body: 'a body',
    });
    expect(await response.text()).toBe('slow answer');
  });
});
