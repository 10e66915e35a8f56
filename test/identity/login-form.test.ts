import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, IdentityServer, OAU, USR } from './identity-server.js';

let server: IdentityServer;
beforeAll(async () => {
  server = await IdentityServer.start();
  const token = await server.login('root');
  await server.api('POST', `${OAU}/oauthclients`, {
    token,
    body: {
      metadata: { name: 'grafana' },
      redirectURIs: ['https://grafana.example/login'],
      secret: 'sixteen-characters',
      accessTokenMaxAgeSeconds: 600,
    },
  });
});
afterAll(() => server.stop());

const verifier = 'v'.repeat(64);
const cliQuery = new URLSearchParams({
  client_id: 'openshift-cli-client',
  redirect_uri: 'http://127.0.0.1:40123/callback',
  response_type: 'code',
  code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  code_challenge_method: 'S256',
  state: 'st"><script>',
}).toString();

/** A form as a browser has it: its hidden fields, and the cookie that came with it. */
async function openForm(path: string) {
  const response = await server.fetch(path);
  const page = await response.text();
  const cookie = (response.headers.get('Set-Cookie') ?? '').split(';')[0]!;
  return { response, page, cookie, hidden: hiddenFields(page) };
}

function hiddenFields(page: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [, name, value] of page.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g)) {
    fields[name!] = value!
      .replaceAll('&amp;', '&')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&quot;', '"');
  }
  return fields;
}

function post(cookie: string, fields: Readonly<Record<string, string>>, path = '/oauth/login') {
  return server.fetch(path, { method: 'POST', headers: { Cookie: cookie }, body: new URLSearchParams(fields) });
}

describe('the page to log in', () => {
  test('needs nothing from elsewhere, and is in nobody’s frame', async () => {
    const { response, page } = await openForm(`/oauth/authorize?${cliQuery}`);
    expect(response.status).toBe(200);
    expect(response.headers.get('Content-Type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    expect(response.headers.get('X-Frame-Options')).toBe('DENY');
    expect(response.headers.get('Referrer-Policy')).toBe('no-referrer');
    const policy = response.headers.get('Content-Security-Policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    const style = /<style>([^]*)<\/style>/.exec(page)![1]!;
    expect(policy).toContain(`'sha256-${createHash('sha256').update(style).digest('base64')}'`);
    expect(page).not.toMatch(/<script|<link|<img|src=|https?:\/\/(?!127)/);
    expect(page).toContain('<label for="username">');
    expect(page).toContain('autocomplete="current-password"');
  });

  test('has a cookie that scripts and other sites do not get', async () => {
    const { response } = await openForm('/oauth/token/request');
    expect(response.headers.get('Set-Cookie')).toMatch(
      /^weir-login=[\w-]{43}; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/,
    );
  });

  test('has a cookie of this host and of https alone, where it is reached so', async () => {
    const secure = await IdentityServer.start({ publicUrl: 'https://weir.example' });
    const response = await secure.fetch('/oauth/token/request');
    await secure.stop();
    expect(response.headers.get('Set-Cookie')).toMatch(
      /^__Host-weir-login=[\w-]{43}; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure$/,
    );
  });

  test('says which program will act for whoever logs in', async () => {
    const query = 'client_id=grafana&response_type=code&scope=user%3Afull';
    const { page } = await openForm(`/oauth/authorize?${query}`);
    expect(page).toContain('<strong>grafana</strong>');
    expect(page).toContain('<strong>grafana.example</strong>');
  });

  test('repeats nothing as it was sent', async () => {
    const { page, cookie, hidden } = await openForm(`/oauth/authorize?${cliQuery}`);
    expect(page).not.toContain('<script>');
    const name = '"><script>alert(1)</script>';
    const answer = await (await post(cookie, { ...hidden, username: name, password: 'x' })).text();
    expect(answer).not.toContain('<script>');
    expect(answer).toContain('value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"');
  });
});

describe('the form', () => {
  test('sends who logged in back to the program, and leaves nothing behind', async () => {
    const { cookie, hidden } = await openForm(`/oauth/authorize?${cliQuery}`);
    const response = await post(cookie, { ...hidden, username: 'dev', password: 'secret' });
    expect(response.status).toBe(303);
    expect(response.headers.get('Set-Cookie')).toMatch(/^weir-login=; Path=\/; Max-Age=0;/);
    const location = new URL(response.headers.get('Location')!);
    expect(location.origin + location.pathname).toBe('http://127.0.0.1:40123/callback');
    expect(location.searchParams.get('state')).toBe('st"><script>');
    const redeemed = await server.fetch('/oauth/token', {
      method: 'POST',
      headers: { Authorization: basic('openshift-cli-client', '') },
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code: location.searchParams.get('code')!,
        redirect_uri: 'http://127.0.0.1:40123/callback',
        code_verifier: verifier,
      }),
    });
    expect(redeemed.status).toBe(200);
    const again = await openForm(`/oauth/authorize?${cliQuery}`);
    expect(again.page).toContain('type="password"');
  });

  test('of a client with a secret gives a code for the secret alone, and tokens that live as long as it says', async () => {
    const { cookie, hidden } = await openForm('/oauth/authorize?client_id=grafana&response_type=code');
    const response = await post(cookie, { ...hidden, username: 'dev', password: 'secret' });
    const code = new URL(response.headers.get('Location')!).searchParams.get('code')!;
    const redeem = (secret: string) =>
      server.fetch('/oauth/token', {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          code,
          client_id: 'grafana',
          client_secret: secret,
        }),
      });
    for (const wrong of ['', 'sixteen-character', 'sixteen-charactersx']) {
      expect((await redeem(wrong)).status).toBe(401);
    }
    expect(await (await redeem('sixteen-characters')).json()).toMatchObject({ expires_in: 600 });
  });

  test.each([
    { name: 'a wrong password', fields: { username: 'dev', password: 'wrong' } },
    { name: 'a name that is not there', fields: { username: 'nobody', password: 'secret' } },
    { name: 'nothing', fields: {} },
  ])('says the same to $name, and keeps what it is for', async ({ fields }) => {
    const { cookie, hidden } = await openForm(`/oauth/authorize?${cliQuery}`);
    const response = await post(cookie, { ...hidden, ...(fields as Record<string, string>) });
    expect(response.status).toBe(403);
    const page = await response.text();
    expect(page).toContain('<p role="alert" id="problem">The user name or the password is wrong.</p>');
    expect(hiddenFields(page)['request']).toBe(cliQuery);
    expect(page).not.toContain('wrong"');
  });

  test.each([
    { name: 'no cookie', cookie: () => '', csrf: (sent: string) => sent },
    { name: 'another cookie', cookie: () => `weir-login=${'x'.repeat(43)}`, csrf: (sent: string) => sent },
    { name: 'no token', cookie: (given: string) => given, csrf: () => '' },
    { name: 'both empty', cookie: () => 'weir-login=', csrf: () => '' },
  ])('of another site, with $name, logs nobody in', async ({ cookie, csrf }) => {
    const form = await openForm(`/oauth/authorize?${cliQuery}`);
    const response = await post(cookie(form.cookie), {
      ...form.hidden,
      csrf: csrf(form.hidden['csrf']!),
      username: 'dev',
      password: 'secret',
    });
    expect(response.status).toBe(403);
    expect(response.headers.get('Location')).toBeNull();
  });

  test('goes on with nothing that would not have been begun', async () => {
    const { cookie, hidden } = await openForm(`/oauth/authorize?${cliQuery}`);
    const request = 'client_id=openshift-cli-client&redirect_uri=https://evil.example/callback&response_type=code';
    const response = await post(cookie, { ...hidden, request, username: 'dev', password: 'secret' });
    expect(response.status).toBe(400);
    expect(response.headers.get('Location')).toBeNull();
  });

  test('says so after too many failures', async () => {
    await server.addUser('guessed', 'user');
    const { cookie, hidden } = await openForm(`/oauth/authorize?${cliQuery}`);
    let response = await post(cookie, hidden);
    for (let attempt = 0; attempt < 40 && response.status !== 429; attempt += 1) {
      response = await post(cookie, { ...hidden, username: 'guessed', password: `wrong ${attempt}` });
    }
    expect(response.status).toBe(429);
    expect(response.headers.get('Retry-After')).toMatch(/^\d+$/);
    expect(await response.text()).toContain('role="alert"');
  });
});

describe('the page of a token', () => {
  test('shows it once, to whoever logs in', async () => {
    const { cookie, hidden } = await openForm('/oauth/token/request');
    const response = await post(cookie, { ...hidden, username: 'dev', password: 'secret' });
    expect(response.status).toBe(200);
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    const page = await response.text();
    const [, token] = /oc login --token=(sha256~[\w-]{43}) --server=(\S+)<\/pre>/.exec(page)!;
    expect(page).toContain(`--server=${server.url}<`);
    const { body } = await server.api('GET', `${USR}/users/~`, { token: token! });
    expect(body.metadata.name).toBe('dev');
  });

  test('for programs tells people what it is', async () => {
    const response = await server.fetch('/oauth/token/implicit?code=<b>x');
    expect(response.status).toBe(200);
    expect(await response.text()).not.toContain('<b>');
  });
});
