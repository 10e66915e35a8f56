import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { admin, startRegistry, user, type Credentials, type Identity, type TestRegistry } from '../support/registry.js';

interface TokenAnswer {
  readonly token?: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  readonly refresh_token?: string;
  readonly scope?: string;
  readonly token_type?: string;
}

const manyScopes = Array.from({ length: 1000 }, (_, index) => `repository:team/app-${index}:pull`).join('+');

describe('the token endpoint', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry.stop());

  function get(query: string, as: Identity = user): Promise<Response> {
    return registry.fetch(`/auth/token?${query}`, { as });
  }

  async function getToken(query: string, as: Identity = user): Promise<TokenAnswer> {
    const response = await get(query, as);
    expect(response.status).toBe(200);
    return (await response.json()) as TokenAnswer;
  }

  function post(fields: Readonly<Record<string, string>>): Promise<Response> {
    return registry.fetch('/auth/token', { as: 'nobody', method: 'POST', body: new URLSearchParams(fields) });
  }

  async function postToken(fields: Readonly<Record<string, string>>): Promise<TokenAnswer> {
    const response = await post(fields);
    expect(response.status).toBe(200);
    return (await response.json()) as TokenAnswer;
  }

  async function putUser({ name, password }: Credentials): Promise<void> {
    await registry.addUser({ name, password, role: 'user' });
  }

  describe('asked with GET', () => {
    test('answers a token in both spellings, with its end', async () => {
      const response = await get('service=weir-registry&scope=repository:team/app:pull');
      expect(response.headers.get('Cache-Control')).toBe('no-store');
      const answer = (await response.json()) as TokenAnswer;
      expect(answer.token).toBe(answer.access_token);
      expect(answer.expires_in).toBe(300);
      expect(Math.abs(Date.parse(answer.issued_at) - Date.now())).toBeLessThan(60_000);
      expect(answer.refresh_token).toBeUndefined();
    });

    test('answers a token that opens what it was asked for, and nothing else', async () => {
      const { token } = await getToken('scope=repository:team/app:pull');
      const as = { token: token! };
      expect((await registry.fetch('/v2/', { as })).status).toBe(200);
      expect((await registry.fetch('/v2/team/app/tags/list', { as })).status).toBe(404);
      expect((await registry.fetch('/v2/team/other/tags/list', { as })).status).toBe(401);
      expect((await registry.fetch('/v2/team/app/blobs/uploads/', { as, method: 'POST' })).status).toBe(401);
    });

    test.each<{ readonly name: string; readonly query: string; readonly access: readonly object[] }>([
      { name: 'no scope', query: '', access: [] },
      { name: 'an empty scope', query: 'scope=', access: [] },
      {
        name: 'scopes that are repeated',
        query: 'scope=repository:a/b:pull&scope=repository:c/d:push',
        access: [repository('a/b', 'pull'), repository('c/d', 'push')],
      },
      {
        name: 'scopes in one text, with spaces',
        query: 'scope=repository:a/b:pull%20repository:c/d:pull,push',
        access: [repository('a/b', 'pull'), repository('c/d', 'pull', 'push')],
      },
      {
        name: 'both at once',
        query: 'scope=repository:a/b:pull+repository:c/d:pull&scope=repository:a/b:push',
        access: [repository('a/b', 'pull', 'push'), repository('c/d', 'pull')],
      },
      {
        name: 'a name in another spelling',
        query: 'scope=repository:app:pull',
        access: [repository('library/app', 'pull')],
      },
      {
        name: 'a deletion, which users may not',
        query: 'scope=repository:a/b:delete,pull',
        access: [repository('a/b', 'pull')],
      },
      {
        name: 'everything, of which users get their part',
        query: 'scope=repository:a/b:*',
        access: [repository('a/b', 'pull', 'push')],
      },
      {
        name: 'the catalog',
        query: 'scope=registry:catalog:*',
        access: [{ type: 'registry', name: 'catalog', actions: ['*'] }],
      },
      { name: 'scopes it does not know', query: 'scope=job:x:run&scope=repository:Not/Possible:pull', access: [] },
    ])('grants $name', async ({ query, access }) => {
      const { token } = await getToken(query);
      expect(claimsOf(token!)).toMatchObject({ sub: 'user', access });
    });

    test('grants a deletion to an admin', async () => {
      const { token } = await getToken('scope=repository:a/b:pull,delete', admin);
      expect(claimsOf(token!)['access']).toEqual([repository('a/b', 'pull', 'delete')]);
    });

    test('does not let the caller choose what the token is good for', async () => {
      const { token } = await getToken('service=another-service&audience=x&client_id=y');
      expect(claimsOf(token!)['aud']).toBe('weir-registry');
    });

    test('gives nobody a token that opens nothing', async () => {
      const { token, refresh_token: refreshToken } = await getToken(
        'offline_token=true&scope=repository:a/b:pull,push,delete&scope=registry:catalog:*',
        'nobody',
      );
      expect(claimsOf(token!)).toMatchObject({
        sub: 'system:anonymous',
        access: [],
        basis: { kind: 'nobody' },
      });
      expect(refreshToken).toBeUndefined();
      expect((await registry.fetch('/v2/', { as: { token: token! } })).status).toBe(401);
      expect((await registry.fetch('/v2/a/b/tags/list', { as: { token: token! } })).status).toBe(401);
    });

    test.each<{ readonly name: string; readonly authorization: string }>([
      { name: 'a wrong password', authorization: basic('user', 'wrong') },
      { name: 'an unknown user', authorization: basic('nobody', 'user-secret') },
      { name: 'no password', authorization: basic('user', '') },
      { name: 'no colon', authorization: `Basic ${Buffer.from('user').toString('base64')}` },
      { name: 'no base64', authorization: 'Basic !!!' },
      { name: 'no credentials', authorization: 'Basic' },
      { name: 'another scheme', authorization: 'Digest username="user"' },
      { name: 'a token that is none', authorization: 'Bearer abc' },
      { name: 'a user name with a zero byte', authorization: basic('user\0', 'user-secret') },
      { name: 'a password of a megabyte, nearly', authorization: basic('user', 'x'.repeat(15_000)) },
    ])('refuses $name with 401 and a challenge', async ({ authorization }) => {
      const response = await registry.fetch('/auth/token', { as: 'nobody', headers: { Authorization: authorization } });
      expect(response.status).toBe(401);
      expect(response.headers.get('WWW-Authenticate')).toMatch(/^Basic realm=/);
      expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
    });

    test('gives no token for a token, which could otherwise be renewed for ever', async () => {
      const { token } = await getToken('scope=repository:a/b:pull');
      expect((await get('scope=repository:a/b:pull', { token: token! })).status).toBe(401);
    });

    test('says clearly that scopes are too many for one token', async () => {
      const scopes = Array.from({ length: 500 }, (_, index) => `scope=repository:team/application-${index}:pull`);
      const response = await get(scopes.join('&'));
      expect(response.status).toBe(400);
      expect(await response.text()).toContain('so many scopes do not fit into one token');
    });

    test.each([
      { name: 'an admin', as: admin },
      { name: 'a user', as: user },
    ])('gives $name no token that does not fit into the header of a request', async ({ as }) => {
      // Names as short as these make a token that is many times longer than what was asked for.
      const scopes = Array.from({ length: 1000 }, (_, index) => `repository:${index.toString(36)}:*`);
      for (const count of [100, 200, 300, 500, 1000]) {
        const response = await get(new URLSearchParams({ scope: scopes.slice(0, count).join(' ') }).toString(), as);
        expect([200, 400]).toContain(response.status);
        if (response.status !== 200) continue;
        const { token } = (await response.json()) as TokenAnswer;
        const used = await registry.fetch('/v2/', { as: { token: token! } });
        expect(used.status, `a token for ${count} scopes, of ${token!.length} characters`).toBe(200);
      }
    });
  });

  describe('asked with POST for the grant of a password', () => {
    const login = { grant_type: 'password', username: user.name, password: user.password, client_id: 'test' };

    test('answers a token, its type, its scope and its end', async () => {
      const answer = await postToken({ ...login, scope: 'repository:team/app:pull,delete registry:catalog:*' });
      expect(answer).toMatchObject({
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'repository:team/app:pull registry:catalog:*',
      });
      expect(answer.refresh_token).toBeUndefined();
      expect((await registry.fetch('/v2/', { as: { token: answer.access_token } })).status).toBe(200);
    });

    test.each<{
      readonly name: string;
      readonly change: Record<string, string>;
      readonly status: number;
      readonly error: string;
    }>([
      { name: 'a wrong password', change: { password: 'wrong' }, status: 401, error: 'invalid_grant' },
      { name: 'an unknown user', change: { username: 'nobody' }, status: 401, error: 'invalid_grant' },
      {
        name: 'a password too long for anyone',
        change: { password: 'x'.repeat(5000) },
        status: 401,
        error: 'invalid_grant',
      },
      {
        name: 'another grant',
        change: { grant_type: 'client_credentials' },
        status: 400,
        error: 'unsupported_grant_type',
      },
      {
        name: 'a client id that is too long',
        change: { client_id: 'x'.repeat(256) },
        status: 400,
        error: 'invalid_request',
      },
    ])('answers $name with $status $error', async ({ change, status, error }) => {
      const response = await post({ ...login, ...change });
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({ error });
    });

    test.each<{ readonly name: string; readonly body: string; readonly type?: string; readonly status: number }>([
      { name: 'no body', body: '', status: 400 },
      { name: 'no grant type', body: 'username=user&password=user-secret', status: 400 },
      { name: 'no user name', body: 'grant_type=password&password=user-secret', status: 401 },
      { name: 'no password', body: 'grant_type=password&username=user', status: 401 },
      { name: 'another content type', body: JSON.stringify(login), type: 'application/json', status: 400 },
      { name: 'a body that is too large', body: `grant_type=password&x=${'y'.repeat(70_000)}`, status: 400 },
      { name: 'percent signs that encode nothing', body: 'grant_type=password&username=%zz&password=%', status: 401 },
      { name: 'bytes that are no text', body: 'grant_type=password&username=%ff%fe&password=%00', status: 401 },
      {
        name: 'scopes too many for one token',
        body: `${new URLSearchParams(login).toString()}&scope=${manyScopes}`,
        status: 400,
      },
    ])('answers $name with $status', async ({ body, type = 'application/x-www-form-urlencoded', status }) => {
      const headers = { 'Content-Type': type };
      const response = await registry.fetch('/auth/token', { as: 'nobody', method: 'POST', headers, body });
      expect(response.status).toBe(status);
    });

    test.each(['PUT', 'DELETE', 'PATCH'])('does not know %s', async (method) => {
      const response = await registry.fetch('/auth/token', { method });
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.status).toBeLessThan(500);
    });
  });

  describe('gives a refresh token that', () => {
    const ada: Credentials = { name: 'ada', password: 'ada-secret' };

    const refresh = (refreshToken: string, scope = '') =>
      post({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'test', service: 'x', scope });

    async function newRefreshToken(as: Credentials): Promise<string> {
      const { refresh_token: refreshToken } = await getToken('offline_token=true&client_id=test', as);
      return refreshToken!;
    }

    test('is asked for with offline_token or access_type, and is no JWT', async () => {
      await putUser(ada);
      expect(await newRefreshToken(ada)).toMatch(/^weir_rt_/);
      const { refresh_token: refreshToken } = await postToken({
        grant_type: 'password',
        username: ada.name,
        password: ada.password,
        access_type: 'offline',
      });
      expect(refreshToken).toMatch(/^weir_rt_/);
    });

    test('buys tokens again and again, for any scope that its user has', async () => {
      await putUser(ada);
      await registry.bind(ada.name, 'system:image-pusher');
      const refreshToken = await newRefreshToken(ada);
      for (const scope of ['repository:a/b:pull', 'repository:c/d:push,delete']) {
        const response = await refresh(refreshToken, scope);
        expect(response.status).toBe(200);
        const answer = (await response.json()) as TokenAnswer;
        expect(answer.refresh_token).toBe(refreshToken);
        expect(claimsOf(answer.access_token)).toMatchObject({ sub: 'ada', aud: 'weir-registry' });
        expect(answer.scope).toBe(scope.replace(',delete', ''));
      }
    });

    test('dies when the password is changed', async () => {
      await putUser(ada);
      const refreshToken = await newRefreshToken(ada);
      await putUser({ ...ada, password: 'another-secret' });
      const response = await refresh(refreshToken);
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ error: 'invalid_grant' });
    });

    test('dies with its user, also when one of that name comes again', async () => {
      await putUser(ada);
      const refreshToken = await newRefreshToken(ada);
      const users = new KyselyUserRecords(await registry.openDatabase());
      await users.removeUser(ada.name);
      expect((await refresh(refreshToken)).status).toBe(401);
      await putUser(ada);
      expect((await refresh(refreshToken)).status).toBe(401);
    });

    test('is worth nothing as a password or as a token', async () => {
      await putUser(ada);
      const refreshToken = await newRefreshToken(ada);
      expect((await registry.fetch('/v2/', { as: { token: refreshToken } })).status).toBe(401);
      expect((await registry.fetch('/v2/', { as: { name: ada.name, password: refreshToken } })).status).toBe(401);
    });

    test('is not kept in clear', async () => {
      await putUser(ada);
      const refreshToken = await newRefreshToken(ada);
      const db = await registry.openDatabase();
      expect(JSON.stringify(await db.selectFrom('refresh_token').selectAll().execute())).not.toContain(refreshToken);
    });

    test.each([{ token: '' }, { token: 'weir_rt_x' }, { token: 'x'.repeat(20_000) }])(
      'is refused when it was never given: $token',
      async ({ token }) => {
        expect((await refresh(token)).status).toBe(401);
      },
    );
  });

  describe('publishes', () => {
    test('its keys to anyone, without their private part', async () => {
      const response = await registry.fetch('/auth/keys', { as: 'nobody' });
      expect(response.status).toBe(200);
      const { keys } = (await response.json()) as { keys: Record<string, string>[] };
      expect(keys).toHaveLength(1);
      expect(keys[0]).not.toHaveProperty('d');
      const { token } = await getToken('');
      expect(headerOf(token!)).toEqual({ alg: 'ES256', kid: keys[0]!['kid'], typ: 'JWT' });
    });

    test('itself in the challenge, with the scope that is needed', async () => {
      const response = await registry.fetch('/v2/team/app/blobs/uploads/', { as: 'nobody', method: 'POST' });
      expect(response.status).toBe(401);
      expect(response.headers.get('WWW-Authenticate')).toBe(
        `Bearer realm="${registry.url}/auth/token",service="weir-registry",scope="repository:team/app:pull,push"`,
      );
    });

    test('what is wrong with a token in the challenge', async () => {
      const bad = await registry.fetch('/v2/', { as: { token: 'abc' } });
      expect(bad.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
      const { token } = await getToken('scope=repository:a/b:pull');
      const narrow = await registry.fetch('/v2/c/d/tags/list', { as: { token: token! } });
      expect(narrow.headers.get('WWW-Authenticate')).toContain('error="insufficient_scope"');
    });

    test('403 and no challenge when no login would help', async () => {
      const response = await registry.fetch('/v2/team/app/manifests/v1', { as: user, method: 'DELETE' });
      expect(response.status).toBe(403);
      expect(response.headers.get('WWW-Authenticate')).toBeNull();
      expect(await response.json()).toMatchObject({ errors: [{ code: 'DENIED' }] });
    });
  });
});

function repository(name: string, ...actions: string[]) {
  return { type: 'repository', name, actions };
}

function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

function headerOf(token: string): unknown {
  return JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString());
}

function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
}
