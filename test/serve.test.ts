import { createHash } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readFile, rm, stat } from 'node:fs/promises';
import { request as httpRequest, type ClientRequest, type IncomingMessage, type Server } from 'node:http';
import { get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import bcrypt from 'bcrypt';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createApp } from '../src/app.js';
import { loadConfig, type Config } from '../src/config.js';
import { KyselyUserRecords } from '../src/metadata/kysely-user-records.js';
import { Metrics } from '../src/metrics.js';
import { openBlobStore, openDatabase } from '../src/registry-files.js';
import { startRegistry, type RunningRegistry } from '../src/serve.js';
import { CertificateAuthority } from '../src/tls/certificate-authority.js';
import { temporaryFolder } from './support/temporary-folder.js';

const silent = pino({ level: 'silent' });
const adminPassword = 'admin-secret';
const authorization = `Basic ${Buffer.from(`admin:${adminPassword}`).toString('base64')}`;

async function configure(environment: Readonly<Record<string, string>> = {}): Promise<Config> {
  return loadConfig(
    { path: 'weir.yaml', required: false },
    {
      WEIR_LISTEN: '127.0.0.1:0',
      WEIR_DATA_DIR: join(await temporaryFolder(), 'data'),
      WEIR_TLS_MODE: 'off',
      WEIR_ADMIN_PASSWORD: adminPassword,
      WEIR_SHUTDOWN_GRACE_SECONDS: '1',
      ...environment,
    },
  );
}

/** Stops with the test, unless the test has done so. */
async function start(config: Config): Promise<RunningRegistry> {
  const registry = await startRegistry(config, silent);
  let stopping: Promise<boolean> | undefined;
  const stop = () => (stopping ??= registry.stop());
  onTestFinished(async () => {
    await stop();
  });
  return { ...registry, stop };
}

/** An upload of which the half is sent, and the rest when `finish` is called. */
interface RunningUpload {
  readonly request: ClientRequest;
  readonly answer: Promise<IncomingMessage>;
  readonly finish: () => void;
}

async function beginUpload(registry: RunningRegistry): Promise<RunningUpload> {
  const bytes = Buffer.alloc(2000, 'x');
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const began = await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, {
    method: 'POST',
    headers: { Authorization: authorization },
  });
  expect(began.status).toBe(202);
  const request = httpRequest(`${registry.url}${began.headers.get('Location')!}?digest=${digest}`, {
    method: 'PUT',
    headers: { Authorization: authorization, 'Content-Length': bytes.length },
  });
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve).once('error', reject);
  });
  answer.catch(() => undefined);
  await new Promise<void>((resolve) => {
    request.write(bytes.subarray(0, 1000), () => {
      resolve();
    });
  });
  // Sent is not received: the server begins with it a moment later.
  await new Promise((resolve) => setTimeout(resolve, 20));
  return { request, answer, finish: () => request.end(bytes.subarray(1000)) };
}

/** Whether somebody accepts a new connection. */
function accepts(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

describe('a first start', () => {
  test('makes user admin with a password that is found in a file of its owner, and only there', async () => {
    const config = loadConfig(
      { path: 'weir.yaml', required: false },
      { WEIR_LISTEN: '127.0.0.1:0', WEIR_DATA_DIR: join(await temporaryFolder(), 'data'), WEIR_TLS_MODE: 'off' },
    );
    const registry = await start(config);
    const path = join(config.dataDir, 'admin-password');
    expect(registry.passwordPath).toBe(path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const password = (await readFile(path, 'utf8')).trim();
    const basic = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
    const response = await fetch(`${registry.url}/v2/`, { headers: { Authorization: basic } });
    expect(response.status).toBe(200);
    await registry.stop();
    for (const file of ['weir.sqlite', 'weir.sqlite-wal']) {
      const bytes = await readFile(join(config.dataDir, file)).catch(() => Buffer.alloc(0));
      expect(bytes.includes(password)).toBe(false);
    }
  });

  test('leaves no file when the password was given, and keeps only its bcrypt hash', async () => {
    const config = await configure();
    const registry = await start(config);
    expect(registry.passwordPath).toBeUndefined();
    await expect(stat(join(config.dataDir, 'admin-password'))).rejects.toMatchObject({ code: 'ENOENT' });
    const { db } = await openDatabase(config);
    const { passwordHash, role } = (await new KyselyUserRecords(db).findUser('admin'))!;
    await db.destroy();
    expect(role).toBe('admin');
    expect(passwordHash).toMatch(/^\$2b\$\d\d\$/);
    expect(await bcrypt.compare(adminPassword, passwordHash)).toBe(true);
  });

  test('is followed by starts that keep everything', async () => {
    const config = await configure();
    const first = await start(config);
    const keys = await (await fetch(`${first.url}/auth/keys`)).json();
    await first.stop();
    const second = await start({ ...config, admin: { password: 'another' } });
    expect(await (await fetch(`${second.url}/auth/keys`)).json()).toEqual(keys);
    const response = await fetch(`${second.url}/v2/`, { headers: { Authorization: authorization } });
    expect(response.status).toBe(200);
  });
});

describe('a registry that is stopped', () => {
  test('lets an upload finish, takes no new connections meanwhile, and ends cleanly', async () => {
    const registry = await start(await configure({ WEIR_SHUTDOWN_GRACE_SECONDS: '10' }));
    const upload = await beginUpload(registry);
    let stopped = false;
    const stopping = registry.stop().finally(() => (stopped = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(stopped).toBe(false);
    expect(await accepts(registry.url)).toBe(false);
    upload.finish();
    const answer = await upload.answer;
    answer.resume();
    expect(answer.statusCode).toBe(201);
    expect(await stopping).toBe(true);
  });

  test('has kept what was uploaded while it stopped', async () => {
    const config = await configure({ WEIR_SHUTDOWN_GRACE_SECONDS: '10' });
    const first = await start(config);
    const upload = await beginUpload(first);
    const stopping = first.stop();
    upload.finish();
    const answer = await upload.answer;
    answer.resume();
    await stopping;
    const second = await start(config);
    const blob = await fetch(`${second.url}${answer.headers.location!}`, { headers: { Authorization: authorization } });
    expect(await blob.text()).toBe('x'.repeat(2000));
  });

  test('cuts off what is still running after the grace time, and says so', async () => {
    const registry = await start(await configure({ WEIR_SHUTDOWN_GRACE_SECONDS: '1' }));
    const upload = await beginUpload(registry);
    const began = performance.now();
    expect(await registry.stop()).toBe(false);
    expect(performance.now() - began).toBeGreaterThan(900);
    await expect(upload.answer).rejects.toThrow();
  });

  test('does not wait for connections that are only kept open', async () => {
    const registry = await start(await configure({ WEIR_SHUTDOWN_GRACE_SECONDS: '10' }));
    await (await fetch(`${registry.url}/healthz`)).text();
    const began = performance.now();
    expect(await registry.stop()).toBe(true);
    expect(performance.now() - began).toBeLessThan(5000);
  });

  test('nor for those on which nothing was ever asked', async () => {
    const registry = await start(await configure({ WEIR_SHUTDOWN_GRACE_SECONDS: '10' }));
    const { hostname, port } = new URL(registry.url);
    const socket = connect({ host: hostname, port: Number(port) });
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    const began = performance.now();
    expect(await registry.stop()).toBe(true);
    expect(performance.now() - began).toBeLessThan(5000);
    await closed;
  });

  test('leaves its data folder to the next one, which may start at once', async () => {
    const config = await configure();
    for (let round = 0; round < 3; round += 1) {
      const registry = await start(config);
      expect((await fetch(`${registry.url}/readyz`)).status).toBe(200);
      expect(await registry.stop()).toBe(true);
    }
  });
});

describe('a listener', () => {
  /** The server behind the URL, as Node itself tells it. */
  async function serverOf(registry: RunningRegistry): Promise<Server> {
    let server: Server | undefined;
    const onRequest = (message: unknown) => {
      server = (message as { server: Server }).server;
    };
    subscribe('http.server.request.start', onRequest);
    await (await fetch(`${registry.url}/healthz`)).text();
    unsubscribe('http.server.request.start', onRequest);
    return server!;
  }

  test('waits for a head only so long, for a body as long as it flows, and for the next request longer than proxies', async () => {
    const server = await serverOf(await start(await configure()));
    expect(server.headersTimeout).toBe(60_000);
    expect(server.requestTimeout).toBe(0);
    expect(server.timeout).toBe(0);
    expect(server.keepAliveTimeout).toBeGreaterThan(60_000);
  });

  test('takes heads with a long token, and refuses ones that are longer still with 431', async () => {
    const registry = await start(await configure());
    const status = async (length: number) => {
      const headers = { Authorization: `Bearer ${'x'.repeat(length)}` };
      return (await fetch(`${registry.url}/v2/`, { headers })).status;
    };
    expect(await status(24_000)).toBe(401);
    expect(await status(40_000)).toBe(431);
  });

  test('cuts off a body that stopped coming', async () => {
    const registry = await start(await configure({ WEIR_UPLOADS_IDLE_TIMEOUT_SECONDS: '1' }));
    const upload = await beginUpload(registry);
    const began = performance.now();
    await expect(upload.answer).rejects.toThrow();
    expect(performance.now() - began).toBeLessThan(5000);
  });

  test('says which address is in use', async () => {
    const registry = await start(await configure());
    const config = await configure({ WEIR_LISTEN: new URL(registry.url).host });
    await expect(startRegistry(config, silent)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test.each([
    { listen: '0.0.0.0:0', url: /^http:\/\/localhost:\d+$/ },
    { listen: '[::1]:0', url: /^http:\/\/\[::1\]:\d+$/ },
  ])('at $listen is called $url', async ({ listen, url }) => {
    const registry = await start(await configure({ WEIR_LISTEN: listen }));
    expect(registry.url).toMatch(url);
    expect(await (await fetch(`${registry.url}/healthz`)).text()).toBe('ok\n');
  });

  test('with TLS of its own is taken by a client that trusts its CA', async () => {
    const registry = await start(await configure({ WEIR_TLS_MODE: 'auto' }));
    expect(registry.url).toMatch(/^https:/);
    const ca = await readFile(registry.caCertificatePath!);
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      httpsGet(`${registry.url}/healthz`, { ca, agent: false }, resolve).once('error', reject);
    });
    expect(answer.statusCode).toBe(200);
    expect(await text(answer)).toBe('ok\n');
  });

  test('with TLS from files shows the certificate of the files, and no CA of ours', async () => {
    const folder = await temporaryFolder();
    const authority = new CertificateAuthority(join(folder, 'foreign'));
    await authority.serverCertificate(['127.0.0.1']);
    const registry = await start(
      await configure({
        WEIR_TLS_MODE: 'files',
        WEIR_TLS_CERT: join(folder, 'foreign/private/server.crt'),
        WEIR_TLS_KEY: join(folder, 'foreign/private/server.key'),
      }),
    );
    expect(registry.caCertificatePath).toBeUndefined();
    const ca = await readFile(authority.certificatePath);
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      httpsGet(`${registry.url}/healthz`, { ca, agent: false }, resolve).once('error', reject);
    });
    expect(answer.resume().statusCode).toBe(200);
  });

  test('with TLS from files that are not there does not start', async () => {
    const config = await configure({
      WEIR_TLS_MODE: 'files',
      WEIR_TLS_CERT: '/nowhere/crt',
      WEIR_TLS_KEY: '/nowhere/key',
    });
    await expect(startRegistry(config, silent)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('health', () => {
  test('is told to anyone', async () => {
    const registry = await start(await configure());
    for (const path of ['/healthz', '/readyz']) {
      const response = await fetch(`${registry.url}${path}`);
      expect(response.status).toBe(200);
      expect(await response.text()).toBe('ok\n');
    }
  });

  /** An application without a listener around it: what a client would see while something is wrong. */
  async function readiness(
    spoil: (parts: { readonly config: Config; readonly closeDatabase: () => Promise<void> }) => Promise<void>,
    { draining = false } = {},
  ): Promise<{ readonly status: number; readonly body: string; readonly alive: number }> {
    const config = await configure();
    const database = await openDatabase(config);
    const { db } = database;
    const store = await openBlobStore(config);
    const metrics = new Metrics({ processMetrics: false });
    const stopping = new AbortController();
    const app = await createApp({
      config,
      version: '1',
      database,
      store,
      log: silent,
      metrics,
      stopping: stopping.signal,
    });
    if (draining) stopping.abort();
    const server = app.koa.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address() as { port: number };
    await spoil({ config, closeDatabase: () => db.destroy() });
    const response = await fetch(`http://127.0.0.1:${address.port}/readyz`);
    const body = await response.text();
    const alive = (await fetch(`http://127.0.0.1:${address.port}/healthz`)).status;
    server.close();
    server.closeAllConnections();
    await db.destroy();
    return { status: response.status, body, alive };
  }

  test('is not ready, though alive, while it is shutting down', async () => {
    const result = await readiness(() => Promise.resolve(), { draining: true });
    expect(result).toEqual({ status: 503, body: 'shutting down\n', alive: 200 });
  });

  test('is not ready, though alive, when the blob store takes no bytes', async () => {
    const result = await readiness(({ config }) => rm(join(config.dataDir, 'uploads'), { recursive: true }));
    expect(result).toEqual({ status: 503, body: 'the blob store does not take bytes\n', alive: 200 });
  });

  test('is not ready, though alive, when the database does not answer', async () => {
    const result = await readiness(({ closeDatabase }) => closeDatabase());
    expect(result).toEqual({ status: 503, body: 'the database does not answer\n', alive: 200 });
  });
});
