import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.js';
import { startRegistry, type RunningRegistry } from '../../src/serve.js';
import { OidcIssuer } from '../support/oidc-issuer.js';
import { authorizationOf, type Identity } from '../support/registry.js';
import { startTimeout } from './tenants.js';

const id = 'CVE-2025-48374 zot';

/** Chosen by us; what the registry makes up is added as it comes. */
const secrets = new Map<string, string>([
  ['password', 'Passw0rd-of-admin'],
  ['wrong password', 'Wr0ng-passw0rd'],
  ['access token of the identity provider', 'at-of-the-provider'],
  ['wrong code of the identity provider', 'Wr0ng-c0de-of-the-provider'],
  ['key of secrets', Buffer.alloc(32, 'k3y').toString('base64')],
  ['text of a secret', 'T3xt-of-a-secret'],
  ['data of a secret', Buffer.from('D4ta-of-a-secret').toString('base64')],
  ['decoded data of a secret', 'D4ta-of-a-secret'],
  ['secret of a client', 'S3cret-of-a-client-of-ours'],
  ['short secret of a client', 'sh0rt-s3cret'],
  ['wrong secret of a client', 'Wr0ng-s3cret-of-a-client'],
  ['code verifier', 'V3rifier-that-is-long-enough-for-the-specification-to-take'],
  ['wrong authorization code', 'Wr0ng-authorizati0n-c0de-of-43-characters-xx'.slice(0, 43)],
  ['mistyped API token', 'sha256~M1styped-API-t0ken-of-somebody'],
  ['mistyped refresh token', 'weir_rt_M1styped-refresh-t0ken'],
  ['mistyped JWT', 'eyJM1styped.eyJM1styped.M1styped-s1gnature'],
  ['cookie', 'C00kie-of-a-client'],
]);
const secretOf = (name: string) => secrets.get(name)!;

/** Values that nobody but their owner may read, and how the base64 of Basic has them. */
function forms(secret: string): readonly string[] {
  return [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64').slice(0, -4)];
}

describe('secrets', () => {
  let folder: string;
  let registry: RunningRegistry;
  let issuer: OidcIssuer;
  const lines: string[] = [];
  const errors: string[] = [];
  let audit: string;
  let records: string;
  let metrics: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    issuer = await OidcIssuer.start();
    secrets.set('secret of the identity provider', issuer.client.secret);
    const config = loadConfig(
      { path: join(folder, 'weir.yaml'), required: false },
      {
        WEIR_LISTEN: '127.0.0.1:0',
        WEIR_DATA_DIR: folder,
        WEIR_TLS_MODE: 'off',
        WEIR_ADMIN_PASSWORD: secretOf('password'),
        WEIR_OIDC_ISSUER: issuer.url,
        WEIR_OIDC_CLIENT_ID: issuer.client.id,
        WEIR_OIDC_CLIENT_SECRET: issuer.client.secret,
        WEIR_SECRETS_KEYS: secretOf('key of secrets'),
        WEIR_AUDIT_FILE: join(folder, 'audit.jsonl'),
        WEIR_LOG_LEVEL: 'trace',
        WEIR_SHUTDOWN_GRACE_SECONDS: '1',
      },
    );
    const log = pino({ level: config.logLevel }, { write: (line: string) => lines.push(line) });
    registry = await startRegistry(config, log);
    await talk();
    records = await (await send('GET', '/apis/weir.dev/v1/auditrecords', { token: secretOf('API token') })).text();
    metrics = await (await send('GET', '/metrics', { name: 'admin', password: secretOf('password') })).text();
    await registry.stop();
    audit = await readFile(join(folder, 'audit.jsonl'), 'utf8');
  }, startTimeout);
  afterAll(async () => {
    await issuer.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Sends a request; a body that is an object is sent as JSON. What an error says is kept. */
  async function send(
    method: string,
    path: string,
    as: Identity,
    body?: object | string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const authorization = authorizationOf(as);
    const isForm = body instanceof URLSearchParams;
    const response = await fetch(new URL(path, registry.url), {
      method,
      redirect: 'manual',
      headers: {
        ...(authorization !== undefined && { Authorization: authorization }),
        ...(body !== undefined && !isForm && { 'Content-Type': 'application/json' }),
        Cookie: `session=${secretOf('cookie')}`,
        ...headers,
      },
      ...(body !== undefined && { body: isForm ? body : typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    if (response.status >= 400) errors.push(await response.clone().text(), JSON.stringify([...response.headers]));
    return response;
  }

  /** Signs in with the identity provider: first as it should be, then with what it never said. */
  async function signIn(): Promise<void> {
    issuer.claims = { sub: 'subject-1', preferred_username: 'ada' };
    for (const isRight of [true, false]) {
      const page = await send('GET', '/oauth/token/request', 'nobody');
      const cookies = page.headers.getSetCookie().map((line) => line.split(';')[0]!);
      const csrf = cookies[0]!.slice(cookies[0]!.indexOf('=') + 1);
      const begin = await send('POST', '/oauth/login/oidc', 'nobody', new URLSearchParams({ csrf, request: '' }), {
        Cookie: cookies.join('; '),
      });
      cookies.push(...begin.headers.getSetCookie().map((line) => line.split(';')[0]!));
      const [, url = ''] = /<a href="([^"]+)"/.exec(await begin.text()) ?? [];
      const away = await fetch(url.replaceAll('&amp;', '&'), { redirect: 'manual' });
      const back = new URL(away.headers.get('Location')!);
      const code = isRight ? back.searchParams.get('code')! : secretOf('wrong code of the identity provider');
      back.searchParams.set('code', code);
      if (isRight) secrets.set('code of the identity provider', code);
      const end = await send('GET', back.pathname + back.search, 'nobody', undefined, { Cookie: cookies.join('; ') });
      const [, token] = /--token=(\S+)/.exec(await end.text()) ?? [];
      expect({ isRight, hasToken: token !== undefined }).toEqual({ isRight, hasToken: isRight });
      if (token !== undefined) secrets.set('API token of a sign-in', token);
    }
  }

  /** Every secret, in every place where somebody may put it. */
  async function talk(): Promise<void> {
    const admin = { name: 'admin', password: secretOf('password') };
    const wrong = { name: 'admin', password: secretOf('wrong password') };

    // Logging in: by challenge, by code, by the page; right and wrong.
    const challenge = createHash('sha256').update(secretOf('code verifier')).digest('base64url');
    const implicit = '/oauth/authorize?client_id=openshift-challenging-client&response_type=token';
    const answer = await send('GET', implicit, admin, undefined, { 'X-CSRF-Token': '1' });
    secrets.set('API token', new URLSearchParams(answer.headers.get('Location')!.split('#')[1]).get('access_token')!);
    const api: Identity = { token: secretOf('API token') };
    await send('GET', implicit, wrong, undefined, { 'X-CSRF-Token': '1' });

    const clients = '/apis/oauth.openshift.io/v1/oauthclients';
    const client = { metadata: { name: 'app' }, redirectURIs: ['https://app.example/callback'] };
    await send('POST', clients, api, { ...client, secret: secretOf('short secret of a client') });
    await send('POST', clients, api, { ...client, secret: secretOf('secret of a client') });
    await send('POST', clients, api, { ...client, secret: secretOf('secret of a client') });
    await send('POST', `${clients}?fieldValidation=Strict`, api, {
      ...client,
      secretText: secretOf('secret of a client'),
    });
    await send('POST', clients, api, { ...client, secret: [secretOf('secret of a client')] });

    const form = await send('GET', '/oauth/token/request', 'nobody');
    const cookie = form.headers.get('Set-Cookie')!.split(';')[0]!;
    const csrf = cookie.slice(cookie.indexOf('=') + 1);
    secrets.set('token of a form', csrf);
    const request = `client_id=app&response_type=code&redirect_uri=https://app.example/callback&code_challenge_method=S256&code_challenge=${challenge}`;
    const logIn = (password: string, more: Readonly<Record<string, string>> = {}) =>
      send(
        'POST',
        '/oauth/login',
        'nobody',
        new URLSearchParams({ csrf, username: 'admin', password, request, ...more }),
        {
          Cookie: cookie,
        },
      );
    await logIn(secretOf('wrong password'));
    await logIn(secretOf('password'), { csrf: 'x' });
    await logIn(secretOf('password'), { request: 'client_id=nobody' });
    const code = new URL((await logIn(secretOf('password'))).headers.get('Location')!).searchParams.get('code')!;
    secrets.set('authorization code', code);

    const redeem = (fields: Readonly<Record<string, string>>) =>
      send(
        'POST',
        '/oauth/token',
        'nobody',
        new URLSearchParams({
          grant_type: 'authorization_code',
          client_id: 'app',
          client_secret: secretOf('secret of a client'),
          redirect_uri: 'https://app.example/callback',
          code,
          code_verifier: secretOf('code verifier'),
          ...fields,
        }),
      );
    await redeem({ client_secret: secretOf('wrong secret of a client') });
    await redeem({ code: secretOf('wrong authorization code') });
    await redeem({ code_verifier: secretOf('code verifier').replace('V3rifier', 'other') });
    await redeem({ grant_type: secretOf('password') });
    const redeemed = (await (await redeem({})).json()) as { access_token: string };
    secrets.set('API token for a code', redeemed.access_token);
    await redeem({});

    await signIn();

    // The registry's tokens.
    const offline = await send('GET', '/auth/token?offline_token=true&scope=repository:team/app:pull,push', admin);
    const login = (await offline.json()) as { token: string; refresh_token: string };
    secrets.set('registry token', login.token).set('refresh token', login.refresh_token);
    secrets.set('signature of a registry token', login.token.split('.')[2]!);
    for (const token of [login.refresh_token, secretOf('mistyped refresh token'), login.token]) {
      const fields = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token });
      await send('POST', '/auth/token', 'nobody', fields);
    }
    for (const password of [secretOf('password'), secretOf('wrong password')]) {
      await send(
        'POST',
        '/auth/token',
        'nobody',
        new URLSearchParams({ grant_type: 'password', username: 'admin', password }),
      );
      // Where a password does not belong.
      await send('POST', '/auth/token', 'nobody', new URLSearchParams({ grant_type: password }));
    }
    await send(
      'POST',
      '/auth/token',
      'nobody',
      new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        subject_token: secretOf('mistyped JWT'),
      }),
    );

    // Secrets and service accounts.
    const red = '/api/v1/namespaces/library';
    const account = (await (await send('POST', `${red}/serviceaccounts/default/token`, api, { spec: {} })).json()) as {
      status: { token: string };
    };
    secrets.set('service account token', account.status.token);
    secrets.set('signature of a service account token', account.status.token.split('.')[2]!);
    const data = { value: secretOf('data of a secret') };
    const stringData = { value: secretOf('text of a secret') };
    const plain = { metadata: { name: 'plain' }, data, stringData };
    await send('POST', `${red}/secrets`, api, plain);
    await send('POST', `${red}/secrets`, api, plain);
    await send('PUT', `${red}/secrets/plain`, api, { ...plain, metadata: { name: 'plain', resourceVersion: '1' } });
    await send('POST', `${red}/secrets`, { token: account.status.token }, plain);
    for (const wrongType of ['kubernetes.io/dockerconfigjson', 'kubernetes.io/tls', 'kubernetes.io/dockercfg']) {
      const value = { '.dockerconfigjson': secretOf('data of a secret'), '.dockercfg': secretOf('data of a secret') };
      await send('POST', `${red}/secrets`, api, { metadata: { name: 'wrong' }, type: wrongType, data: value });
    }
    await send('POST', `${red}/secrets`, api, {
      metadata: { name: 'wrong' },
      data: { value: `${secretOf('text of a secret')} is no base64` },
    });
    await send('POST', `${red}/secrets`, api, {
      metadata: { name: 'wrong' },
      data: { value: [secretOf('text of a secret')] },
    });
    await send(
      'PATCH',
      `${red}/secrets/plain`,
      api,
      { data: { value: `${secretOf('text of a secret')} is no base64` } },
      {
        'Content-Type': 'application/merge-patch+json',
      },
    );
    await send(
      'PATCH',
      `${red}/secrets/plain`,
      api,
      [{ op: 'test', path: '/data/value', value: secretOf('text of a secret') }],
      {
        'Content-Type': 'application/json-patch+json',
      },
    );
    const bound = (await (
      await send('POST', `${red}/secrets`, api, {
        metadata: { name: 'bound', annotations: { 'kubernetes.io/service-account.name': 'default' } },
        type: 'kubernetes.io/service-account-token',
      })
    ).json()) as { data: { token: string } };
    secrets.set('token in a secret', bound.data.token);
    secrets.set('decoded token in a secret', Buffer.from(bound.data.token, 'base64').toString());

    // Every token in every place, good and mistyped.
    const tokens = ['API token', 'API token for a code', 'registry token', 'refresh token', 'service account token'];
    const mistyped = ['mistyped API token', 'mistyped refresh token', 'mistyped JWT', 'wrong password'];
    for (const token of [...tokens, ...mistyped].map(secretOf)) {
      for (const path of [
        '/v2/',
        '/v2/team/app/tags/list',
        '/auth/token',
        '/apis',
        `${red}/secrets/nothing`,
        '/metrics',
        '/nowhere',
      ]) {
        await send('GET', path, { token });
      }
      await send('GET', '/v2/team/app/manifests/v1', { name: token.slice(0, 4), password: token });
      await send('GET', `/v2/_catalog?token=${token}`, { token });
      await send('GET', `/apis?access_token=${token}`, 'nobody');
      await send('POST', '/apis/authentication.k8s.io/v1/tokenreviews', api, { spec: { token } });
      await send(
        'POST',
        '/apis/authentication.k8s.io/v1/tokenreviews',
        { token: secretOf('mistyped API token') },
        { spec: { token } },
      );
      await send('GET', '/apis', 'nobody', undefined, { Authorization: `Token ${token}` });
      await send('GET', '/v2/', 'nobody', undefined, { Authorization: token });
    }
    // Something that nobody expects: what is logged of it is a stack.
    await rm(join(folder, 'uploads'), { recursive: true });
    const broken = await send(
      'POST',
      `/v2/library/app/blobs/uploads/?digest=sha256:${'0'.repeat(64)}&token=${secretOf('API token')}`,
      admin,
      secretOf('text of a secret'),
    );
    expect(broken.status).toBe(500);
    // Whoever deletes a token by itself, and not by the name of its object, has put it in the path.
    for (const token of ['API token for a code', 'mistyped API token'].map(secretOf)) {
      const path = `/apis/oauth.openshift.io/v1/oauthaccesstokens/${token}`;
      await fetch(new URL(path, registry.url), { method: 'DELETE', headers: { Authorization: authorizationOf(api)! } });
    }
    // The log is written when an answer has gone out, which the client may learn first.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }

  test(`${id}: the talk went everywhere it was to go`, () => {
    expect(secrets.size).toBe(31);
    for (const secret of secrets.values()) expect(secret.length).toBeGreaterThan(10);
    expect(lines.length).toBeGreaterThan(100);
    expect(errors.length).toBeGreaterThan(100);
    expect(lines.some((line) => line.includes('unexpected error'))).toBe(true);
    expect(audit.trim().split('\n').length).toBeGreaterThan(20);
    expect(JSON.parse(records)).toMatchObject({ kind: 'AuditRecordList' });
    expect(metrics).toContain('# HELP');
  });

  test.each([
    ['the log, at its most talkative', () => lines],
    ['the audit file', () => audit.split('\n')],
    ['the audit records', () => [records]],
    ['an answer that tells of an error', () => errors],
    ['the metrics', () => [metrics]],
  ])(`${id}: %s has none of the secrets in it`, (where, texts) => {
    for (const [name, secret] of secrets) {
      // The form that is shown again carries it, for the browser that has its cookie.
      if (name === 'token of a form' && where === 'an answer that tells of an error') continue;
      const found = texts().filter((text) => forms(secret).some((form) => text.includes(form)));
      expect({ name, found }).toEqual({ name, found: [] });
    }
  });

  test(`${id}: nothing is written of queries and headers`, () => {
    const written = [...lines, audit, records].join('\n');
    expect(written).not.toMatch(/[?&](token|access_token|code|client_secret|digest)=/);
    expect(written).not.toMatch(/"(authorization|cookie|set-cookie)"/i);
    expect(written).not.toMatch(/Bearer [\w~.-]{10,}|Basic [\w+/=]{8,}/);
  });
});
