import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fetchTrusting } from '../../src/identity/ca-fetch.js';
import { CertificateAuthority } from '../../src/tls/certificate-authority.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const request = { method: 'POST', headers: {}, redirect: 'manual', body: new URLSearchParams({ a: 'b c' }) } as const;

/** A server that says what it was sent. @returns its address, and the certificate of its authority */
async function startEcho(size?: number): Promise<{ readonly url: string; readonly ca: string }> {
  const folder = join(await temporaryFolder(), 'tls');
  const authority = new CertificateAuthority(folder);
  const server = createServer(await authority.serverCertificate(['127.0.0.1']), (received, response) => {
    response.writeHead(201, { 'Content-Type': 'text/plain' });
    if (size === undefined) received.pipe(response);
    else response.end(Buffer.alloc(size));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `https://127.0.0.1:${port}/`, ca: await readFile(join(folder, 'ca.crt'), 'utf8') };
}

describe('a fetch that trusts an authority', () => {
  test('speaks with those it vouches for', async () => {
    const { url, ca } = await startEcho();
    const response = await fetchTrusting(ca)(url, request);
    expect(response.status).toBe(201);
    expect(response.headers.get('Content-Type')).toBe('text/plain');
    expect(await response.text()).toBe('a=b+c');
  });

  test('speaks with nobody else', async () => {
    const [mine, other] = [await startEcho(), await startEcho()];
    await expect(fetchTrusting(other.ca)(mine.url, request)).rejects.toThrow(/certificate/);
    await expect(fetch(mine.url)).rejects.toThrow();
  });

  test('reads no more than makes sense', async () => {
    const { url, ca } = await startEcho(3 * 1024 * 1024);
    await expect(fetchTrusting(ca)(url, request)).rejects.toThrow(/more than 1048576 bytes/);
  });

  test('stops when it is told to', async () => {
    const { url, ca } = await startEcho();
    await expect(fetchTrusting(ca)(url, { ...request, signal: AbortSignal.abort() })).rejects.toThrow(/abort/);
  });
});
