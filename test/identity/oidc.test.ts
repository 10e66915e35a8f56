import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { OidcSignIn, type OidcProvider } from '../../src/identity/oidc.js';
import { OidcIssuer } from '../support/oidc-issuer.js';
import { IdentityServer, USR } from './identity-server.js';

let issuer: OidcIssuer;
let server: IdentityServer;
let provider: OidcProvider;
beforeAll(async () => {
  issuer = await OidcIssuer.start();
  provider = {
    name: 'sso',
    issuer: issuer.url,
    clientId: issuer.client.id,
    clientSecret: issuer.client.secret,
    scopes: ['openid', 'profile', 'groups'],
    usernameClaim: 'preferred_username',
    groupsClaim: 'groups',
    groupsPrefix: 'sso-',
  };
  server = await IdentityServer.start({ oidc: provider });
});
afterAll(async () => {
  await server.stop();
  await issuer.stop();
});
beforeEach(() => {
  issuer.isDown = false;
  issuer.userInfo = undefined;
});

const ada = { sub: 'a-1', preferred_username: 'ada', name: 'Ada L.' };

/** Cookies as a browser keeps them. */
class Browser {
  readonly #cookies = new Map<string, string>();

  async open(path: string, init: RequestInit = {}): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await server.fetch(path, { ...init, headers: { Cookie: cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!;
      if (line.includes('Max-Age=0')) this.#cookies.delete(name!);
      else this.#cookies.set(name!, value!);
    }
    return response;
  }

  get cookies(): readonly string[] {
    return [...this.#cookies.keys()];
  }

  /** From the login page to the provider. @returns where the provider sends the browser back to */
  async leave(path = '/oauth/token/request'): Promise<string> {
    const page = await (await this.open(path)).text();
    const response = await this.open('/oauth/login/sso', { method: 'POST', body: fieldsOf(page) });
    const [, url = ''] = /<a href="([^"]+)"/.exec(await response.text()) ?? [];
    const away = await fetch(url.replaceAll('&amp;', '&'), { redirect: 'manual' });
    return away.headers.get('Location')!.slice(server.url.length);
  }
}

function fieldsOf(page: string): URLSearchParams {
  const form = /<form method="post" action="\/oauth\/login\/sso">([^]*?)<\/form>/.exec(page)![1]!;
  const fields = new URLSearchParams();
  for (const [, name, value] of form.matchAll(/name="(\w+)" value="([^"]*)"/g)) {
    fields.set(name!, value!.replaceAll('&amp;', '&'));
  }
  return fields;
}

/** Signs in and reads the token from the page. */
async function signIn(claims: Readonly<Record<string, unknown>>): Promise<string> {
  issuer.claims = claims;
  const browser = new Browser();
  const page = await (await browser.open(await browser.leave())).text();
  return /--token=(\S+)/.exec(page)?.[1] ?? page;
}

async function groupsOf(token: string): Promise<unknown> {
  return (await server.api('GET', `${USR}/users/~`, { token })).body['groups'];
}

describe('signing in with a provider', () => {
  test('is offered, and leads there without a redirection of the form', async () => {
    const browser = new Browser();
    const page = await (await browser.open('/oauth/token/request')).text();
    expect(page).toContain('Sign in with sso');
    const response = await browser.open('/oauth/login/sso', { method: 'POST', body: fieldsOf(page) });
    expect(response.status).toBe(200);
    const cookie = response.headers.getSetCookie().find((line) => line.startsWith('weir-sign-in='));
    expect(cookie).toMatch(/; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/);
    const text = await response.text();
    expect(text).toContain('http-equiv="refresh"');
    const url = new URL(/<a href="([^"]+)"/.exec(text)![1]!.replaceAll('&amp;', '&'));
    expect(url.origin + url.pathname).toBe(`${issuer.url}/authorize`);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: 'weir',
      response_type: 'code',
      redirect_uri: `${server.url}/oauth/callback/sso`,
      scope: 'openid profile groups',
      state: expect.stringMatching(/^[\w-]{43}$/) as string,
      nonce: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge_method: 'S256',
    });
  });

  test('makes the user, whose groups are those of this login alone', async () => {
    const first = await signIn({ ...ada, groups: ['devs', 'admins', 'system:masters'] });
    expect((await server.api('GET', `${USR}/users/~`, { token: first })).body).toMatchObject({
      metadata: { name: 'ada' },
      fullName: 'Ada L.',
      identities: ['sso:a-1'],
      groups: ['sso-admins', 'sso-devs', 'system:authenticated', 'system:authenticated:oauth'],
    });
    const second = await signIn({ ...ada, groups: ['devs'] });
    const left = ['sso-devs', 'system:authenticated', 'system:authenticated:oauth'];
    expect(await groupsOf(second)).toEqual(left);
    // Tokens from before have no more groups than that either.
    expect(await groupsOf(first)).toEqual(left);
    await signIn(ada);
    expect(await groupsOf(first)).toEqual(['system:authenticated', 'system:authenticated:oauth']);
  });

  test.each([
    { name: 'one group', groups: 'devs', are: ['sso-devs'] },
    { name: 'no list', groups: { devs: true }, are: [] },
    { name: 'no texts', groups: [1, null, 'a'], are: ['sso-a'] },
  ])('takes $name for what it is', async ({ groups, are }) => {
    const token = await signIn({ ...ada, groups });
    expect(await groupsOf(token)).toEqual([...are, 'system:authenticated', 'system:authenticated:oauth']);
  });

  test('goes on with what it was for', async () => {
    issuer.claims = ada;
    const browser = new Browser();
    const query = new URLSearchParams({
      client_id: 'openshift-cli-client',
      redirect_uri: 'http://127.0.0.1:4000/callback',
      response_type: 'code',
      code_challenge: 'x'.repeat(43),
      code_challenge_method: 'S256',
      state: 'mine',
    });
    const response = await browser.open(await browser.leave(`/oauth/authorize?${query.toString()}`));
    expect(response.status).toBe(303);
    const location = response.headers.get('Location')!;
    expect(location).toMatch(/^http:\/\/127\.0\.0\.1:4000\/callback\?code=[\w-]{43}&state=mine$/);
    expect(browser.cookies).toEqual([]);
  });

  test('asks for the rest where it is', async () => {
    const other = new OidcSignIn({ ...provider, groupsPrefix: '' });
    issuer.userInfo = { preferred_username: 'from-userinfo', groups: ['g'], sub: 'a-2' };
    issuer.claims = { sub: 'a-2' };
    const { url, attempt } = await other.begin(`${server.url}/oauth/callback/sso`);
    const back = (await fetch(url, { redirect: 'manual' })).headers.get('Location')!;
    expect(await other.finish(new URL(back), attempt)).toEqual({
      provider: 'sso',
      subject: 'a-2',
      preferredName: 'from-userinfo',
      groups: ['g'],
    });
  });

  test('is ended by the browser that began it, once', async () => {
    issuer.claims = ada;
    const browser = new Browser();
    const back = await browser.leave();
    const stranger = await new Browser().open(back);
    expect(stranger.status).toBe(403);
    const other = new Browser();
    await other.leave();
    expect((await other.open(back)).status).toBe(403);
    expect((await browser.open(back)).status).toBe(200);
    expect((await browser.open(back)).status).toBe(403);
  });

  test.each([
    {
      name: 'another state',
      change: (url: URL) => {
        url.searchParams.set('state', 'x');
      },
    },
    {
      name: 'no state',
      change: (url: URL) => {
        url.searchParams.delete('state');
      },
    },
    {
      name: 'another code',
      change: (url: URL) => {
        url.searchParams.set('code', 'x');
      },
    },
    {
      name: 'an error',
      change: (url: URL) => {
        url.searchParams.set('error', 'access_denied');
      },
    },
  ])('does not end with $name', async ({ change }) => {
    const browser = new Browser();
    const url = new URL(await browser.leave(), server.url);
    change(url);
    const response = await browser.open(url.pathname + url.search);
    expect(response.status).toBe(403);
    expect(await response.text()).not.toContain('--token');
  });

  test.each([
    { name: 'another nonce', claims: { ...ada, nonce: 'x' } },
    { name: 'another audience', claims: { ...ada, aud: 'other' } },
    { name: 'another issuer', claims: { ...ada, iss: 'https://evil.example' } },
    { name: 'a time that is over', claims: { ...ada, exp: 1 } },
    { name: 'no name', claims: { sub: 'a-9' } },
    { name: 'a name of the system', claims: { sub: 'a-9', preferred_username: 'system:admin' } },
    { name: 'a name of a local user', claims: { sub: 'a-9', preferred_username: 'dev' } },
    { name: 'a name of somebody else', claims: { sub: 'a-9', preferred_username: 'ada' } },
  ])('does not let $name in', async ({ claims }) => {
    await signIn(ada);
    const answer = await signIn(claims);
    expect(answer).toContain('role="alert"');
    expect(answer).not.toContain('--token');
  });

  test('is begun by the login page only', async () => {
    const response = await server.fetch('/oauth/login/sso', {
      method: 'POST',
      body: new URLSearchParams({ request: '', csrf: 'x'.repeat(43) }),
    });
    expect(response.status).toBe(403);
    expect((await server.fetch('/oauth/login/sso')).status).toBe(404);
    const other = await server.fetch('/oauth/login/other', { method: 'POST', body: new URLSearchParams() });
    expect(other.status).toBe(404);
  });

  test('says so when the provider is away, and works when it is back', async () => {
    const away = await OidcIssuer.start();
    away.isDown = true;
    const other = await IdentityServer.start({ oidc: { ...provider, issuer: away.url } });
    const page = await other.fetch('/oauth/token/request');
    const cookie = page.headers.get('Set-Cookie')!.split(';')[0]!;
    const post = { method: 'POST', headers: { Cookie: cookie }, body: fieldsOf(await page.text()) };
    const response = await other.fetch('/oauth/login/sso', post);
    expect(response.status).toBe(503);
    expect(await response.text()).toContain('sso cannot be reached at present.');
    await other.stop();
    await away.stop();
  });

  test.each(['http://sso.example', 'https://bob@sso.example', 'ftp://sso.example', 'sso'])('is not with %s', (url) => {
    expect(() => new OidcSignIn({ ...provider, issuer: url })).toThrow(RangeError);
  });

  test('is not with a provider of another name', async () => {
    const signIn = new OidcSignIn({ ...provider, issuer: `${issuer.url}/` });
    await expect(signIn.begin('http://127.0.0.1/x')).rejects.toThrow('cannot be reached');
  });
});
