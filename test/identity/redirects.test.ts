import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mayRedirect, wrongRedirectUri, type OAuthClientObject } from '../../src/identity/oauth-clients.js';
import { IdentityServer } from './identity-server.js';

const metadata = { name: 'app', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' };
const app: OAuthClientObject = {
  metadata,
  redirectURIs: ['https://app.example/callback', '/oauth/token/implicit', 'com.example.app:/cb'],
};
const cli: OAuthClientObject = {
  metadata: { ...metadata, name: 'openshift-cli-client' },
  redirectURIs: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'],
};
const origin = 'https://weir.example';

/** What an attacker tries in the place of `https://app.example/callback`. */
const tricks = [
  '',
  'https://evil.example/callback',
  'https://app.example',
  'https://app.example/',
  'https://app.example/callback/',
  'https://app.example/callback?x=1',
  'https://app.example/callback#',
  'https://app.example/callback#x',
  'https://app.example/callback/../evil',
  'https://app.example/callback%2f..%2fevil',
  'https://app.example//callback',
  'https://app.example/Callback',
  'HTTPS://app.example/callback',
  'https://app.example:443/callback',
  'https://app.example.evil.example/callback',
  'https://evil.app.example/callback',
  'https://evilapp.example/callback',
  'https://app.example@evil.example/callback',
  'https://app.example%40evil.example/callback',
  'https://app.example\\@evil.example/callback',
  'https://evil.example\\.app.example/callback',
  'https:\\\\app.example\\callback',
  'https:/app.example/callback',
  'https:app.example/callback',
  '//app.example/callback',
  '///evil.example',
  '/\\evil.example',
  '\\/evil.example',
  '/oauth/token/implicit',
  '//weir.example/oauth/token/implicit',
  'http://weir.example/oauth/token/implicit',
  'https://weir.example.evil.example/oauth/token/implicit',
  'https://weir.example/oauth/token/implicit/../../../evil',
  'https://weir.example/oauth/token/implicit?next=//evil.example',
  ' https://app.example/callback',
  'https://app.example/callback ',
  'https://app.example/callback\n',
  'https://app.example/callback\0',
  'https://app.example/call\tback',
  'https://аpp.example/callback',
  'javascript:alert(1)',
  'data:text/html,x',
  'com.example.app:/cb/evil',
  'null',
];

describe('a client is sent', () => {
  test.each(['https://app.example/callback', 'https://weir.example/oauth/token/implicit', 'com.example.app:/cb'])(
    'to %s, as it is written',
    (uri) => {
      expect(mayRedirect(app, uri, origin)).toBe(true);
    },
  );

  test.each(tricks)('not to %j', (uri) => {
    expect(mayRedirect(app, uri, origin)).toBe(false);
  });
});

describe('the command line client is sent', () => {
  test.each([
    'http://127.0.0.1:41234/callback',
    'http://127.0.0.1:1/callback',
    'http://127.0.0.1:65535/callback',
    'http://[::1]:41234/callback',
    'http://localhost:41234/callback',
    'http://127.0.0.1/callback',
  ])('to %s', (uri) => {
    expect(mayRedirect(cli, uri, origin)).toBe(true);
  });

  test.each([
    'https://127.0.0.1:41234/callback',
    'http://127.0.0.1:41234/',
    'http://127.0.0.1:41234/callback/x',
    'http://127.0.0.1:41234/callback?x',
    'http://127.0.0.1:41234/callback#x',
    'http://127.0.0.1:0/callback',
    'http://127.0.0.1:65536/callback',
    'http://127.0.0.1:/callback',
    'http://127.0.0.1:80@evil.example/callback',
    'http://127.0.0.1:80\\@evil.example/callback',
    'http://127.0.0.1.evil.example:80/callback',
    'http://localhost.evil.example:80/callback',
    'http://evil.example:80/callback',
    'http://127.0.0.2:80/callback',
    'http://2130706433:80/callback',
    'http://0x7f.1:80/callback',
    'http://127.1:80/callback',
    'http://[::ffff:127.0.0.1]:80/callback',
    'http://127.0.0.1:80/callback\n',
    ...tricks,
  ])('not to %j', (uri) => {
    expect(mayRedirect(cli, uri, origin)).toBe(false);
  });
});

describe('an address that a client wants to be sent to', () => {
  test.each([
    'https://app.example/callback',
    'https://app.example/callback?tenant=1',
    'https://app.example',
    'http://app.example:8080/x',
    'com.example.app:/cb',
    '/console/callback',
  ])('can be %s', (uri) => {
    expect(wrongRedirectUri(uri)).toBeUndefined();
  });

  test.each([
    '',
    '/',
    'callback',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '/a/../b',
    '/a/..',
    '/./a',
    '/a?b',
    '/a//b',
    'https://a.example/#x',
    'https://bob@a.example/',
    'https://bob:x@a.example/',
    'https://@a.example/',
    'https:a.example',
    'https:/a.example',
    'https:///a.example',
    'https:\\\\a.example',
    'https://a.example/\\x',
    'https://a.example/ x',
    'https://a.example/\n',
    'https://ä.example/',
    'javascript:alert(1)',
    'JavaScript:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://a.example/1',
    'about:blank',
  ])('cannot be %j', (uri) => {
    expect(wrongRedirectUri(uri)).toBeDefined();
  });
});

describe('a request for authorization', () => {
  let server: IdentityServer;
  beforeAll(async () => {
    server = await IdentityServer.start();
    const root = await server.login('root');
    await server.api('POST', '/apis/oauth.openshift.io/v1/oauthclients', {
      token: root,
      body: { metadata: { name: 'app' }, redirectURIs: app.redirectURIs, secret: 'sixteen-characters' },
    });
  });
  afterAll(() => server.stop());

  test.each(tricks.filter((uri) => uri !== ''))('is not answered with a redirection to %j', async (uri) => {
    for (const headers of [{}, { 'X-CSRF-Token': '1' }]) {
      for (const client of ['app', 'openshift-cli-client', 'openshift-challenging-client', 'nobody']) {
        const query = new URLSearchParams({ client_id: client, redirect_uri: uri, response_type: 'code', state: uri });
        const response = await server.fetch(`/oauth/authorize?${query.toString()}`, { headers });
        expect(response.status).toBe(400);
        expect(response.headers.get('Location')).toBeNull();
        expect(await response.text()).not.toContain('evil');
      }
    }
  });

  test('names no parameter twice', async () => {
    const query = 'client_id=app&redirect_uri=https://app.example/callback&redirect_uri=https://evil.example';
    expect((await server.fetch(`/oauth/authorize?${query}&response_type=code`)).status).toBe(400);
  });

  test.each([
    { name: 'no response type', extra: {}, error: 'invalid_request' },
    { name: 'another response type', extra: { response_type: 'id_token' }, error: 'unsupported_response_type' },
    { name: 'another scope', extra: { response_type: 'code', scope: 'user:info' }, error: 'invalid_scope' },
    { name: 'a short challenge', extra: { response_type: 'code', code_challenge: 'x' }, error: 'invalid_request' },
    {
      name: 'another challenge method',
      extra: { response_type: 'code', code_challenge: 'x'.repeat(43), code_challenge_method: 'S512' },
      error: 'invalid_request',
    },
  ])('with $name sends the client $error', async ({ extra, error }) => {
    const query = new URLSearchParams({
      client_id: 'app',
      redirect_uri: 'https://app.example/callback',
      state: 's&x',
      ...(extra as Record<string, string>),
    });
    const response = await server.fetch(`/oauth/authorize?${query.toString()}`);
    expect(response.status).toBe(302);
    const location = new URL(response.headers.get('Location')!);
    expect(location.origin + location.pathname).toBe('https://app.example/callback');
    expect(location.searchParams.get('error')).toBe(error);
    expect(location.searchParams.get('state')).toBe('s&x');
  });

  test('of a client without a secret needs PKCE, and gets no token in an address', async () => {
    const base = { client_id: 'openshift-cli-client', redirect_uri: 'http://127.0.0.1:5555/callback' };
    const code = new URLSearchParams({ ...base, response_type: 'code' });
    const refused = await server.fetch(`/oauth/authorize?${code.toString()}`);
    expect(new URL(refused.headers.get('Location')!).searchParams.get('error')).toBe('invalid_request');
    const token = new URLSearchParams({ ...base, response_type: 'token' });
    const other = await server.fetch(`/oauth/authorize?${token.toString()}`);
    const { hash, search } = new URL(other.headers.get('Location')!);
    expect(search).toBe('');
    expect(new URLSearchParams(hash.slice(1)).get('error')).toBe('unauthorized_client');
  });
});
