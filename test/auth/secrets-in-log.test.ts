import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.js';
import { startRegistry, type RunningRegistry } from '../../src/serve.js';

/** Each stands in one place of a request; none may stand in the log. */
const secrets = {
  password: 'Passw0rd-of-admin',
  wrongPassword: 'Wr0ng-passw0rd',
  queryToken: 'T0ken-in-a-query',
  scope: 's3cret-scope',
  cookie: 'C00kie-of-a-client',
  header: 'X-secret-of-a-client',
  mistypedToken: 'M1styped-t0ken',
  user: 'u53r-info-in-the-url',
};

describe('the log, at its most talkative,', () => {
  let folder: string;
  let registry: RunningRegistry;
  const lines: string[] = [];
  const tokens: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    const config = loadConfig(
      { path: join(folder, 'weir.yaml'), required: false },
      {
        WEIR_LISTEN: '127.0.0.1:0',
        WEIR_DATA_DIR: folder,
        WEIR_TLS_MODE: 'off',
        WEIR_ADMIN_PASSWORD: secrets.password,
        WEIR_LOG_LEVEL: 'trace',
      },
    );
    const log = pino({ level: config.logLevel }, { write: (line: string) => lines.push(line) });
    registry = await startRegistry(config, log);
    await talk();
    await registry.stop();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const send = (path: string, init: RequestInit = {}, authorization?: string) =>
    fetch(new URL(path, registry.url), {
      ...init,
      headers: { ...(init.headers as Record<string, string>), ...(authorization && { Authorization: authorization }) },
    });

  async function talk(): Promise<void> {
    const right = basic('admin', secrets.password);
    const wrong = basic('admin', secrets.wrongPassword);

    const login = await send('/auth/token?offline_token=true&scope=repository:team/app:pull,push', {}, right);
    const { token, refresh_token: refreshToken } = (await login.json()) as { token: string; refresh_token: string };
    tokens.push(token, refreshToken, token.split('.')[2]!);
    const form = { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } };
    const grants = [
      `grant_type=password&username=admin&password=${secrets.password}`,
      `grant_type=password&username=admin&password=${secrets.wrongPassword}`,
      `grant_type=refresh_token&refresh_token=${refreshToken}`,
      `grant_type=refresh_token&refresh_token=${secrets.mistypedToken}`,
      `password=${secrets.password}`,
    ];
    for (const body of grants) await send('/auth/token', { ...form, body });

    const noisy = { headers: { Cookie: `session=${secrets.cookie}`, 'X-Api-Key': secrets.header } };
    const query = `?token=${secrets.queryToken}&access_token=${token}&scope=${secrets.scope}`;
    const content = Buffer.from('bytes');
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    for (const authorization of [right, wrong, `Bearer ${token}`, `Bearer ${secrets.mistypedToken}`, 'Basic', '']) {
      await send(`/v2/${query}`, noisy, authorization);
      await send(`/auth/token${query}`, noisy, authorization);
      await send(`/metrics${query}`, noisy, authorization);
      await send(`/nowhere${query}`, noisy, authorization);
      await send(`/v2/team/app/manifests/v1${query}`, noisy, authorization);
      await send(`/v2/team/app/manifests/v1${query}`, { ...noisy, method: 'PUT', body: 'no json' }, authorization);
      await send(`/v2/team/app/blobs/uploads/?digest=${digest}&token=${secrets.queryToken}`, {
        method: 'POST',
        body: content,
        headers: { ...noisy.headers, Authorization: authorization },
      });
    }
    // A body that breaks off, and a URL with credentials in it.
    await abort(`/v2/team/app/blobs/uploads/?digest=${digest}&token=${secrets.queryToken}`, right);
    await abort(`http://admin:${secrets.user}@localhost/v2/team/app/blobs/uploads/${query}`, right);
    // Something that nobody expects.
    await rm(join(folder, 'uploads'), { recursive: true });
    const broken = await send(`/v2/team/app/blobs/uploads/?digest=${digest}&token=${secrets.queryToken}`, {
      method: 'POST',
      body: content,
      headers: { ...noisy.headers, Authorization: right },
    });
    expect(broken.status).toBe(500);
    // The log is written when an answer has gone out, which the client may learn first.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** Sends the half of a body and hangs up. */
  function abort(path: string, authorization: string): Promise<void> {
    return new Promise((resolve) => {
      const { hostname, port } = new URL(registry.url);
      const headers = { Authorization: authorization, 'Content-Length': 1000 };
      const sending = request({ hostname, port, path, method: 'POST', headers }, (response) => {
        response.resume().on('close', resolve);
      });
      sending.on('error', () => {
        resolve();
      });
      sending.write('half', () => {
        setTimeout(() => sending.destroy(), 10);
      });
    });
  }

  test('tells of each request who asked for what, and what came of it', () => {
    const requests = lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => 'route' in line);
    expect(requests.length).toBeGreaterThan(45);
    expect(requests).toContainEqual(
      expect.objectContaining({
        method: 'POST',
        route: '/v2/*name/blobs/uploads',
        repository: 'team/app',
        principal: 'admin',
        code: 201,
        id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        ms: expect.any(Number) as number,
        received: expect.any(Number) as number,
        sent: expect.any(Number) as number,
      }),
    );
    expect(requests).toContainEqual(expect.objectContaining({ aborted: true }));
  });

  test('tells what went wrong on our side, with the id of the request', () => {
    const errors = lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => 'err' in line);
    expect(errors).toContainEqual(
      expect.objectContaining({ msg: 'unexpected error', id: expect.any(String) as string, level: 50 }),
    );
  });

  test.each(Object.entries(secrets))('never has the secret %s in it', (_name, secret) => {
    const found = lines.filter((line) => line.includes(secret) || line.includes(encodeURIComponent(secret)));
    expect(found).toEqual([]);
  });

  test('never has the credentials of a header in it', () => {
    const encoded = [basic('admin', secrets.password), basic('admin', secrets.wrongPassword)].map((text) =>
      text.slice(6),
    );
    expect(lines.filter((line) => encoded.some((secret) => line.includes(secret)))).toEqual([]);
  });

  test('never has a token or a refresh token in it, nor the signature of one', () => {
    expect(tokens).toHaveLength(3);
    expect(lines.filter((line) => tokens.some((token) => line.includes(token)))).toEqual([]);
  });

  test('never has a query in it', () => {
    expect(lines.filter((line) => /[?&](token|scope|digest|access_token)=/.test(line))).toEqual([]);
  });
});

function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}
