import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exchange, rawBytes } from '../support/raw-http.js';
import { admin, type TestRegistry } from '../support/registry.js';
import { ask, eve, must, startTenants, startTimeout } from './tenants.js';

const id = 'GO-2024-2915 Harbor, zot #3844 and #4238';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startTenants();
  await must(registry, '/apis/oauth.openshift.io/v1/oauthclients', {
    method: 'POST',
    body: { metadata: { name: 'app' }, secret: 'secret-of-the-client', redirectURIs: ['https://app.example/callback'] },
  });
}, startTimeout);
afterAll(() => registry.stop());

const challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';

/** Where somebody who wants the token of another one would have it sent. */
function tricks(origin: string): readonly string[] {
  const { host, hostname } = new URL(origin);
  return [
    'https://evil.example',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    'https:\\\\evil.example',
    'https:evil.example',
    '/oauth/token/implicit',
    'oauth/token/implicit',
    `${origin}@evil.example/oauth/token/implicit`,
    `http://${host}@evil.example/oauth/token/implicit`,
    `http://${host}%40evil.example/oauth/token/implicit`,
    `http://evil.example\\@${host}/oauth/token/implicit`,
    `http://${host}.evil.example/oauth/token/implicit`,
    `http://${hostname}.evil.example/oauth/token/implicit`,
    `http://evil.example/${host}/oauth/token/implicit`,
    `http://evil.example#${origin}/oauth/token/implicit`,
    `http://evil.example?${origin}/oauth/token/implicit`,
    `http://user@${host}/oauth/token/implicit`,
    `http://user:password@${host}/oauth/token/implicit`,
    `${origin}/oauth/token/implicit/`,
    `${origin}/oauth/token/implicit/../../evil`,
    `${origin}/oauth/token/%69mplicit`,
    `${origin}/oauth/token/implicit?next=https://evil.example`,
    `${origin}/oauth/token/implicit#x`,
    `${origin}//evil.example/oauth/token/implicit`,
    `${origin}/OAUTH/token/implicit`,
    `${origin.toUpperCase()}/oauth/token/implicit`,
    `${origin} /oauth/token/implicit`,
    `${origin}/oauth/token/implicit\r\nLocation: https://evil.example`,
    `${origin}/oauth/token/implicit\u0000`,
    `https://${host}/oauth/token/implicit`,
    'javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'https://app.example/callback/',
    'https://app.example/callback?x=y',
    'https://app.example/callback#x',
    'https://app.example:443/callback',
    'https://APP.example/callback',
    'https://app.example.evil.example/callback',
    'https://app.example@evil.example/callback',
    'https://evil.app.example/callback',
    'https://app.example\\.evil.example/callback',
    'https://app.example/callback/../steal',
    'http://app.example/callback',
    'https://app.example./callback',
    'http://127.0.0.1:8080@evil.example/callback',
    'http://127.0.0.1.evil.example:8080/callback',
    'http://localhost.evil.example/callback',
    'http://localhost:8080.evil.example/callback',
    'http://localhost:8080\\@evil.example/callback',
    'http://[::1].evil.example/callback',
    'http://[::1%25evil]:8080/callback',
    'http://127.0.0.1:99999/callback',
    'http://127.0.0.1:0/callback',
    'http://127.0.0.1:8080/callback/..',
    'http://127.0.0.1:8080/callback?x=y',
    'http://127.0.0.1:8080/other',
    'http://127.1:8080/callback',
    'http://127.0.0.2:8080/callback',
    'http://0.0.0.0:8080/callback',
    'http://2130706433:8080/callback',
    'https://127.0.0.1:8080/callback',
    'http://localhost:8080//evil.example/callback',
  ];
}

const clients = ['openshift-challenging-client', 'openshift-browser-client', 'openshift-cli-client', 'app'] as const;

function authorizePath(client: string, redirectUri: string): string {
  const query = new URLSearchParams({
    client_id: client,
    response_type: client.endsWith('cli-client') || client === 'app' ? 'code' : 'token',
    redirect_uri: redirectUri,
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
  return `/oauth/authorize?${query.toString()}`;
}

/** The cookie and the token of a form, for sending it. */
async function openForm(): Promise<{ readonly cookie: string; readonly csrf: string }> {
  const form = await registry.fetch('/oauth/token/request', { as: 'nobody' });
  const cookie = form.headers.get('Set-Cookie')!.split(';')[0]!;
  return { cookie, csrf: cookie.slice(cookie.indexOf('=') + 1) };
}

async function submit(goal: string): Promise<Response> {
  const { cookie, csrf } = await openForm();
  return registry.fetch('/oauth/login', {
    method: 'POST',
    as: 'nobody',
    redirect: 'manual',
    headers: { Cookie: cookie },
    body: new URLSearchParams({ csrf, username: eve.name, password: eve.password, request: goal }),
  });
}

describe('open redirects: nobody is sent but to where a client is known to be', () => {
  test.each(clients)(`${id}: client %s is sent to no address that is not exactly one of its own`, async (client) => {
    for (const redirectUri of tricks(registry.url)) {
      const path = authorizePath(client, redirectUri);
      // Somebody who logs in, by the challenge of `oc login`, and somebody with a browser.
      const program = { as: eve, headers: { 'X-CSRF-Token': '1' } };
      for (const request of client === 'openshift-challenging-client' ? [program] : [{ as: 'nobody' as const }]) {
        const response = await registry.fetch(path, { ...request, redirect: 'manual' });
        const location = response.headers.get('Location');
        expect({ redirectUri, status: response.status, location }).toEqual({
          redirectUri,
          status: 400,
          location: null,
        });
        expect(await response.text()).not.toMatch(/http-equiv="refresh"|href="[^"]*evil/);
      }
    }
  });

  test(`${id}: an error is told to no such address either`, async () => {
    for (const redirectUri of tricks(registry.url)) {
      for (const more of ['&response_type=nonsense', '']) {
        const query = `client_id=app&redirect_uri=${encodeURIComponent(redirectUri)}${more}`;
        const response = await registry.fetch(`/oauth/authorize?${query}`, { as: 'nobody', redirect: 'manual' });
        expect({ redirectUri, more, status: response.status }).toEqual({ redirectUri, more, status: 400 });
        expect(response.headers.get('Location')).toBeNull();
      }
    }
  });

  test(`${id}: two addresses are none`, async () => {
    const good = encodeURIComponent('https://app.example/callback');
    const path = `/oauth/authorize?client_id=app&response_type=code&redirect_uri=${good}&redirect_uri=https://evil.example`;
    const response = await registry.fetch(path, { as: 'nobody', redirect: 'manual' });
    expect(response.status).toBe(400);
    expect(response.headers.get('Location')).toBeNull();
  });

  test(`${id}: the form goes on with nothing but a request that is good`, async () => {
    const goals = [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '/oauth/authorize?client_id=app',
      'then=https://evil.example',
      'client_id=app&response_type=code&redirect_uri=https://evil.example/callback',
      'client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%5C.evil.example%2Fcallback',
    ];
    for (const goal of goals) {
      const response = await submit(goal);
      expect({ goal, status: response.status }).toEqual({ goal, status: 400 });
      expect(response.headers.get('Location')).toBeNull();
    }
  });

  test(`${id}: with a good one, it leads to the client and to nobody else`, async () => {
    const response = await submit(
      authorizePath('app', 'https://app.example/callback').slice('/oauth/authorize?'.length),
    );
    expect(response.status).toBe(303);
    const location = new URL(response.headers.get('Location')!);
    expect(location.origin + location.pathname).toBe('https://app.example/callback');
    expect([...location.searchParams.keys()]).toEqual(['code']);
  });

  test(`${id}: what a state holds cannot get out of its parameter`, async () => {
    const state = '&redirect_uri=https://evil.example#\r\nLocation: https://evil.example';
    const path = `${authorizePath('app', 'https://app.example/callback')}&state=${encodeURIComponent(state)}`;
    const response = await submit(path.slice('/oauth/authorize?'.length));
    const location = new URL(response.headers.get('Location')!);
    expect(location.host).toBe('app.example');
    expect(location.hash).toBe('');
    expect(location.searchParams.get('state')).toBe(state);
  });

  test.each([
    'javascript:alert(1)',
    'data:text/html,x',
    '//evil.example/callback',
    '/\\evil.example',
    'https://app.example/callback#fragment',
    'https://user@app.example/callback',
    'https://app.example\\callback',
    'https:app.example',
    'https://*.app.example/callback\n',
    '',
    'ftp://app.example/callback',
  ])(`${id}: no client can be given the address %j`, async (uri) => {
    const { status } = await ask(registry, '/apis/oauth.openshift.io/v1/oauthclients', {
      method: 'POST',
      body: { metadata: { generateName: 'wrong-' }, redirectURIs: [uri] },
    });
    expect(status).toBe(422);
  });

  test.each([
    '//evil.example/',
    '//evil.example/v2/',
    '/\\evil.example/',
    '/%2f/evil.example',
    '/%5cevil.example',
    '/v2//evil.example/',
    '/v2/../..//evil.example',
    '/oauth/token/request/..//evil.example',
    '/oauth//evil.example',
    '/api//evil.example',
    '/.//evil.example',
    '/oauth/login?then=//evil.example',
    '/oauth/token/request?then=https://evil.example',
    '/oauth/logout?then=https://evil.example',
    '/auth/token?redirect_uri=https://evil.example',
    'http://evil.example/v2/',
    'http://evil.example/oauth/token/request',
  ])(`${id}: GET %s redirects to nowhere`, async (target) => {
    const request = {
      method: 'GET',
      target,
      headers: [
        ['Host', new URL(registry.url).host],
        ['Connection', 'close'],
      ] as const,
    };
    const { status, headers } = await exchange(registry.url, rawBytes(request));
    expect(status < 300 || status >= 400).toBe(true);
    expect(headers['location']).toBeUndefined();
  });
});

describe('zot #3980: no other site reads an answer', () => {
  const origins = ['https://evil.example', 'null', 'http://localhost:3000'];
  const paths = [
    '/',
    '/v2/',
    '/v2/_catalog',
    '/v2/red/app/tags/list',
    '/auth/token',
    '/auth/keys',
    '/oauth/token/request',
    '/oauth/authorize?client_id=openshift-browser-client&response_type=token',
    '/oauth/token',
    '/.well-known/oauth-authorization-server',
    '/api',
    '/apis',
    '/api/v1/namespaces',
    '/apis/user.openshift.io/v1/users/~',
    '/openapi/v3',
    '/version',
    '/healthz',
    '/readyz',
    '/metrics',
    '/nowhere',
  ];

  test.each(origins)(
    'zot #3980: asked from %s, no route says that it may be read or sent to with credentials',
    async (origin) => {
      const token = await registry.apiToken(admin);
      for (const path of [...paths, new URL(registry.url).pathname]) {
        for (const method of ['GET', 'POST', 'OPTIONS']) {
          for (const as of method === 'GET' ? (['nobody', { token }] as const) : (['nobody'] as const)) {
            const response = await registry.fetch(path, {
              method,
              as,
              redirect: 'manual',
              headers: {
                Origin: origin,
                ...(method === 'OPTIONS' && {
                  'Access-Control-Request-Method': 'DELETE',
                  'Access-Control-Request-Headers': 'authorization,content-type',
                }),
              },
            });
            await response.arrayBuffer();
            const said = [...response.headers.keys()].filter((name) => /^access-control-|^timing-allow/.test(name));
            expect({ path, method, said }).toEqual({ path, method, said: [] });
          }
        }
      }
    },
  );

  test('zot #3980: a login that another site sends is not taken, whoever is logged in', async () => {
    const response = await registry.fetch('/oauth/login', {
      method: 'POST',
      as: 'nobody',
      redirect: 'manual',
      headers: { Origin: 'https://evil.example', Cookie: `weir-login=${'x'.repeat(43)}` },
      body: new URLSearchParams({ csrf: 'y'.repeat(43), username: eve.name, password: eve.password, request: '' }),
    });
    expect(response.status).toBe(403);
    expect(await response.text()).not.toContain('sha256~');
  });

  test('zot #3980: cookies are out of reach of scripts and of other sites', async () => {
    const form = await registry.fetch('/oauth/token/request', { as: 'nobody' });
    const cookies = form.headers.getSetCookie();
    expect(cookies.length).toBeGreaterThan(0);
    for (const cookie of cookies) {
      expect(cookie).toMatch(/; HttpOnly/);
      expect(cookie).toMatch(/; SameSite=(Lax|Strict)/);
    }
  });
});
