import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, IdentityServer, OAU, USR } from './identity-server.js';

let server: IdentityServer;
beforeAll(async () => {
  server = await IdentityServer.start();
});
afterAll(() => server.stop());

const verifier = 'v'.repeat(128);
const challenge = createHash('sha256').update(verifier).digest('base64url');
const csrf = { 'X-CSRF-Token': '1' };

function authorizePath(extra: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({
    client_id: 'openshift-challenging-client',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    redirect_uri: `${server.url}/oauth/token/implicit`,
    response_type: 'code',
    ...extra,
  });
  return `/oauth/authorize?${query.toString()}`;
}

async function codeFor(name = 'dev', extra: Readonly<Record<string, string>> = {}): Promise<string> {
  const response = await server.fetch(authorizePath(extra), {
    headers: { ...csrf, Authorization: basic(name, 'secret') },
  });
  expect(response.status).toBe(302);
  return new URL(response.headers.get('Location')!).searchParams.get('code')!;
}

function redeem(fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}) {
  return server.fetch('/oauth/token', {
    method: 'POST',
    headers: { Authorization: basic('openshift-challenging-client', ''), Accept: 'application/json', ...headers },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      redirect_uri: `${server.url}/oauth/token/implicit`,
      code_verifier: verifier,
      ...fields,
    }),
  });
}

describe('oc login -u -p', () => {
  test('finds out where to log in', async () => {
    const response = await server.fetch('/.well-known/oauth-authorization-server', { headers: csrf });
    expect(response.status).toBe(200);
    expect(response.headers.get('Content-Type')).toMatch(/^application\/json/);
    expect(response.headers.get('Access-Control-Allow-Origin')).toBeNull();
    expect(await response.json()).toEqual({
      issuer: server.url,
      authorization_endpoint: `${server.url}/oauth/authorize`,
      token_endpoint: `${server.url}/oauth/token`,
      scopes_supported: ['user:full'],
      response_types_supported: ['code', 'token'],
      grant_types_supported: ['authorization_code', 'implicit'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      code_challenge_methods_supported: ['plain', 'S256'],
    });
  });

  test('is asked for a password', async () => {
    const response = await server.fetch(authorizePath(), { headers: csrf });
    expect(response.status).toBe(401);
    expect(response.headers.get('WWW-Authenticate')).toBe('Basic realm="openshift"');
  });

  test('is not asked so when a browser may be made to answer', async () => {
    const response = await server.fetch(authorizePath(), { headers: { Authorization: basic('dev', 'secret') } });
    expect(response.status).toBe(200);
    expect(response.headers.get('WWW-Authenticate')).toBeNull();
    expect(response.headers.get('Location')).toBeNull();
    expect(await response.text()).toContain('<form method="post" action="/oauth/login">');
  });

  test('is asked again after a wrong password', async () => {
    for (const authorization of [basic('dev', 'wrong'), basic('nobody', 'secret'), 'Basic !', 'Bearer x']) {
      const response = await server.fetch(authorizePath(), { headers: { ...csrf, Authorization: authorization } });
      expect(response.status, authorization).toBe(401);
      expect(response.headers.get('WWW-Authenticate')).toBe('Basic realm="openshift"');
    }
  });

  test('is sent on with 302, a code, and nothing else', async () => {
    const response = await server.fetch(authorizePath(), {
      headers: { ...csrf, Authorization: basic('dev', 'secret') },
    });
    expect(response.status).toBe(302);
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    expect(response.headers.get('Location')).toMatch(
      new RegExp(`^${server.url}/oauth/token/implicit\\?code=[\\w-]{43}$`),
    );
  });

  test('gets back the state it gave, whatever is in it', async () => {
    const state = 'a&b=c#d é"<\r\nX: y';
    const response = await server.fetch(authorizePath({ state }), {
      headers: { ...csrf, Authorization: basic('dev', 'secret') },
    });
    expect(new URL(response.headers.get('Location')!).searchParams.get('state')).toBe(state);
    expect(response.headers.get('X')).toBeNull();
  });

  test('gets a token for the code, with which it is who it says', async () => {
    const response = await redeem({ code: await codeFor() });
    expect(response.status).toBe(200);
    expect(response.headers.get('Content-Type')).toMatch(/^application\/json/);
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    expect(response.headers.get('Access-Control-Allow-Origin')).toBeNull();
    const answer = (await response.json()) as { access_token: string };
    expect(answer).toEqual({
      access_token: expect.stringMatching(/^sha256~[\w-]{43}$/) as string,
      token_type: 'Bearer',
      expires_in: 86_400,
      scope: 'user:full',
    });
    const { status, body } = await server.api('GET', `${USR}/users/~`, { token: answer.access_token });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      kind: 'User',
      apiVersion: 'user.openshift.io/v1',
      metadata: { name: 'dev', uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string },
      identities: ['local:dev'],
      groups: ['system:authenticated', 'system:authenticated:oauth'],
    });
  });

  test('stores neither the code nor the token', async () => {
    const code = await codeFor();
    const { access_token: token } = (await (await redeem({ code })).json()) as { access_token: string };
    const changes = await server.store.readChanges(0, { limit: 100_000 });
    const text = JSON.stringify(changes);
    expect(text).toContain('openshift-challenging-client');
    expect(text).not.toContain(code);
    expect(text).not.toContain(token.slice('sha256~'.length));
  });

  test('of old gets the token in the fragment', async () => {
    const response = await server.fetch(
      '/oauth/authorize?client_id=openshift-challenging-client&response_type=token&state=s1',
      { headers: { ...csrf, Authorization: basic('dev', 'secret') } },
    );
    expect(response.status).toBe(302);
    const location = new URL(response.headers.get('Location')!);
    expect(location.origin + location.pathname).toBe(`${server.url}/oauth/token/implicit`);
    expect(location.search).toBe('');
    expect(Object.fromEntries(new URLSearchParams(location.hash.slice(1)))).toEqual({
      access_token: expect.stringMatching(/^sha256~[\w-]{43}$/) as string,
      expires_in: '86400',
      scope: 'user:full',
      token_type: 'Bearer',
      state: 's1',
    });
  });

  test('of old, without PKCE, gets a code as well', async () => {
    const plain = await server.fetch('/oauth/authorize?client_id=openshift-challenging-client&response_type=code', {
      headers: { ...csrf, Authorization: basic('dev', 'secret') },
    });
    const code = new URL(plain.headers.get('Location')!).searchParams.get('code')!;
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      client_id: 'openshift-challenging-client',
    });
    expect((await server.fetch('/oauth/token', { method: 'POST', body })).status).toBe(200);
  });

  test('learns why when the name is somebody else’s', async () => {
    await server.addUser('taken', 'user');
    await server.store.commit([
      {
        kind: 'create',
        resource: 'users.user.openshift.io',
        object: { metadata: { name: 'taken', uid: 'u1', creationTimestamp: 'x' }, identities: ['sso:1'], groups: [] },
      },
    ]);
    const response = await server.fetch(authorizePath(), {
      headers: { ...csrf, Authorization: basic('taken', 'secret') },
    });
    expect(response.status).toBe(302);
    const { searchParams } = new URL(response.headers.get('Location')!);
    expect(searchParams.get('error')).toBe('access_denied');
    expect(searchParams.get('error_description')).toMatch(/user name "taken" is somebody else's/);
  });

  test('waits after too many failures', async () => {
    await server.addUser('guessed', 'user');
    let response = await server.fetch(authorizePath());
    for (let attempt = 0; attempt < 40 && response.status !== 429; attempt += 1) {
      const headers = { ...csrf, Authorization: basic('guessed', `wrong ${attempt}`) };
      response = await server.fetch(authorizePath(), { headers });
    }
    expect(response.status).toBe(429);
    expect(Number(response.headers.get('Retry-After'))).toBeGreaterThan(0);
  });
});

describe('oc logout', () => {
  test('deletes the token by its name, and the token is worth nothing at once', async () => {
    const token = await server.login('dev');
    const name = `sha256~${createHash('sha256').update(token.slice('sha256~'.length)).digest('base64url')}`;
    const body = { kind: 'DeleteOptions', apiVersion: 'oauth.openshift.io/v1' };
    expect(await server.api('DELETE', `${OAU}/oauthaccesstokens/${name}`, { token, body })).toMatchObject({
      status: 200,
      body: { kind: 'Status', status: 'Success', details: { name, kind: 'oauthaccesstokens' } },
    });
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
  });
});

describe('a code', () => {
  test('is good once; when it comes again, the token made from it is taken back', async () => {
    const code = await codeFor();
    const { access_token: token } = (await (await redeem({ code })).json()) as { access_token: string };
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(200);
    const again = await redeem({ code });
    expect(again.status).toBe(400);
    expect(await again.json()).toMatchObject({ error: 'invalid_grant' });
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
  });

  test('that comes several times at once is worth no token that works', async () => {
    const code = await codeFor();
    const answers = await Promise.all(Array.from({ length: 6 }, () => redeem({ code })));
    for (const answer of answers.filter(({ status }) => status === 200)) {
      const { access_token: token } = (await answer.json()) as { access_token: string };
      expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
    }
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
  });

  test('that is shown again by somebody without the verifier takes nothing back', async () => {
    const code = await codeFor();
    const { access_token: token } = (await (await redeem({ code })).json()) as { access_token: string };
    expect((await redeem({ code, code_verifier: 'w'.repeat(43) })).status).toBe(400);
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(200);
  });

  test('is good for a minute', async () => {
    const [early, late] = [await codeFor(), await codeFor()];
    server.clock.advance(59);
    expect((await redeem({ code: early })).status).toBe(200);
    server.clock.advance(2);
    expect((await redeem({ code: late })).status).toBe(400);
  });

  test('is worth nothing once its user is deleted', async () => {
    await server.addUser('leaver', 'user');
    const code = await codeFor('leaver');
    const token = await server.login('root');
    expect((await server.api('DELETE', `${USR}/users/leaver`, { token })).status).toBe(200);
    expect((await redeem({ code })).status).toBe(400);
  });

  test.each([
    { name: 'no verifier', fields: { code_verifier: '' } },
    { name: 'another verifier', fields: { code_verifier: `${'v'.repeat(127)}w` } },
    { name: 'the challenge as the verifier', fields: { code_verifier: challenge } },
    { name: 'another redirect_uri', fields: { redirect_uri: 'https://evil.example/' } },
    { name: 'no redirect_uri', fields: { redirect_uri: '' } },
    { name: 'another code', fields: { code: 'x'.repeat(43) } },
    { name: 'no code that could be one', fields: { code: '../..' } },
  ])('with $name is worth nothing', async ({ fields }) => {
    const response = await redeem({ code: await codeFor(), ...fields });
    expect(response.status).toBe(400);
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    expect(await response.json()).toEqual({ error: 'invalid_grant', error_description: expect.any(String) as string });
  });

  test('of one client is worth nothing to another', async () => {
    const response = await redeem({ code: await codeFor() }, { Authorization: basic('openshift-browser-client', '') });
    expect(await response.json()).toMatchObject({ error: 'invalid_grant' });
  });

  test('with a plain challenge takes the verifier itself', async () => {
    const plain = { code_challenge: verifier, code_challenge_method: 'plain' };
    expect((await redeem({ code: await codeFor('dev', plain), code_verifier: challenge })).status).toBe(400);
    expect((await redeem({ code: await codeFor('dev', plain) })).status).toBe(200);
  });

  test('without a challenge does not take a verifier', async () => {
    const response = await server.fetch('/oauth/authorize?client_id=openshift-challenging-client&response_type=code', {
      headers: { ...csrf, Authorization: basic('dev', 'secret') },
    });
    const code = new URL(response.headers.get('Location')!).searchParams.get('code')!;
    expect((await redeem({ code, redirect_uri: '' })).status).toBe(400);
  });
});

describe('the token endpoint', () => {
  test.each([
    { name: 'no grant type', fields: { grant_type: '' }, status: 400, error: 'invalid_request' },
    { name: 'another grant type', fields: { grant_type: 'password' }, status: 400, error: 'unsupported_grant_type' },
    { name: 'no code', fields: { code: '' }, status: 400, error: 'invalid_request' },
    { name: 'two names', fields: { client_id: 'openshift-cli-client' }, status: 400, error: 'invalid_request' },
  ])('answers $error to $name', async ({ fields, status, error }) => {
    const response = await redeem({ code: 'x', ...fields });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error });
  });

  test.each([
    { name: 'an unknown client', authorization: basic('nobody', '') },
    { name: 'a secret of a client that has none', authorization: basic('openshift-challenging-client', 'x') },
    { name: 'another scheme', authorization: 'Bearer x' },
    { name: 'a name that is not encoded', authorization: basic('%zz', '') },
  ])('answers invalid_client to $name', async ({ authorization }) => {
    const response = await redeem({ code: 'x' }, { Authorization: authorization });
    expect(response.status).toBe(401);
    expect(response.headers.get('WWW-Authenticate')).toBe('Basic realm="openshift"');
    expect(await response.json()).toMatchObject({ error: 'invalid_client' });
  });

  test.each([
    { name: 'JSON', type: 'application/json', body: '{}' },
    { name: 'a parameter twice', type: 'application/x-www-form-urlencoded', body: 'code=a&code=b' },
    { name: 'a body without end', type: 'application/x-www-form-urlencoded', body: `a=${'x'.repeat(100_000)}` },
  ])('answers invalid_request to $name', async ({ type, body }) => {
    const response = await server.fetch('/oauth/token', { method: 'POST', headers: { 'Content-Type': type }, body });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: 'invalid_request' });
  });

  test('is for no page of another site', async () => {
    const preflight = { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' };
    const response = await server.fetch('/oauth/token', { method: 'OPTIONS', headers: preflight });
    expect(response.headers.get('Access-Control-Allow-Origin')).toBeNull();
    expect(response.status).toBe(404);
  });
});
