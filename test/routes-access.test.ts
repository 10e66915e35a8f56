import { generateKeyPair, SignJWT } from 'jose';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { userPrincipal } from '../src/auth/principal.js';
import { SigningKeys } from '../src/auth/signing-keys.js';
import { RegistryTokens } from '../src/auth/tokens.js';
import { content, imageManifest, pushBlob, pushImage, startUpload, types, type PushedImage } from './support/images.js';
import { admin, startRegistry, user, type Identity, type TestRegistry, type TestRequest } from './support/registry.js';

/** Who comes to the door. */
const identities = [
  'nobody',
  'an anonymous token',
  'a user',
  'a user with a token for another repository',
  'the admin',
  'the admin with a token for another repository',
  'a wrong password',
  'an expired token',
  'a forged token',
] as const;
type IdentityName = (typeof identities)[number];

/** What a route asks for, and who has it; everyone else is told 401. */
const needs = {
  'to be anyone': { allowed: [...identities], denied: [] },
  'to be logged in': {
    allowed: [
      'a user',
      'a user with a token for another repository',
      'the admin',
      'the admin with a token for another repository',
    ],
    denied: [],
  },
  'to pull': { allowed: ['a user', 'the admin'], denied: [] },
  'to push': { allowed: ['a user', 'the admin'], denied: [] },
  'to list repositories': { allowed: ['a user', 'the admin'], denied: [] },
  // A wider token would not help a user here, so they are told 403 and not 401.
  'to delete': { allowed: ['the admin'], denied: ['a user', 'a user with a token for another repository'] },
  'no credentials or right ones, and no token': { allowed: ['nobody', 'a user', 'the admin'], denied: [] },
} as const satisfies Record<
  string,
  { readonly allowed: readonly IdentityName[]; readonly denied: readonly IdentityName[] }
>;

interface Expectation {
  readonly needs: keyof typeof needs;
  /** Of the answer to who may. */
  readonly status: number;
  /** A request that succeeds for who may; `as` is who will send it, when they may. */
  readonly request: (as: Identity) => Target | Promise<Target>;
}

type Target = TestRequest & { readonly path: string };

let registry: TestRegistry;
let image: PushedImage;
let credentials: Readonly<Record<IdentityName, Identity>>;

beforeAll(async () => {
  registry = await startRegistry();
  image = await pushImage(registry, 'app', 'v1');
  const other = ['repository:other:pull,push,delete'];
  credentials = {
    nobody: 'nobody',
    'an anonymous token': { token: await registry.token(['repository:app:pull,push'], 'nobody') },
    'a user': user,
    'a user with a token for another repository': { token: await registry.token(other, user) },
    'the admin': admin,
    'the admin with a token for another repository': { token: await registry.token(other, admin) },
    'a wrong password': { name: admin.name, password: 'wrong' },
    'an expired token': { token: await expiredToken() },
    'a forged token': { token: await forgedToken() },
  };
});
afterAll(() => registry.stop());

const wideAccess = [
  { type: 'repository' as const, name: 'library/app', actions: ['pull', 'push', 'delete'] },
  { type: 'registry' as const, name: 'catalog', actions: ['*'] },
];

/** Signed by the registry's own key, a minute too old. */
async function expiredToken(): Promise<string> {
  const keys = await SigningKeys.open(join(registry.dataDir, 'keys'));
  return (await new RegistryTokens(keys, -60).issue(userPrincipal('admin', 'admin'), wideAccess)).token;
}

/** All that a token of the admin says, under the name of the registry's key, signed by another. */
async function forgedToken(): Promise<string> {
  const { id } = await (await SigningKeys.open(join(registry.dataDir, 'keys'))).current();
  const { privateKey } = await generateKeyPair('ES256');
  return new SignJWT({ access: wideAccess, groups: ['system:masters', 'system:authenticated'] })
    .setProtectedHeader({ alg: 'ES256', kid: id, typ: 'JWT' })
    .setIssuer('weir')
    .setAudience('weir-registry')
    .setSubject('admin')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(privateKey);
}

let count = 0;
function freshText(): string {
  count += 1;
  return `bytes ${count}`;
}

async function session(as: Identity): Promise<string> {
  return startUpload(registry, 'app', { as });
}

const put = { headers: { 'Content-Type': types.manifest } };

/** Nobody learns anything from it. */
const onlyPost: Expectation = {
  needs: 'to be anyone',
  status: 405,
  request: () => ({ path: '/v2/app/blobs/uploads/' }),
};

/** Every route there is. A new one fails the first test below until it is entered here. */
const expectations: Readonly<Record<string, Expectation>> = {
  'GET /healthz': { needs: 'to be anyone', status: 200, request: () => ({ path: '/healthz' }) },
  'GET /readyz': { needs: 'to be anyone', status: 200, request: () => ({ path: '/readyz' }) },
  'GET /metrics': { needs: 'to be logged in', status: 200, request: () => ({ path: '/metrics' }) },
  'GET /auth/token': {
    needs: 'no credentials or right ones, and no token',
    status: 200,
    request: () => ({ path: '/auth/token?service=weir-registry' }),
  },
  'POST /auth/token': {
    // The credentials are in the form.
    needs: 'to be anyone',
    status: 200,
    request: () => ({
      path: '/auth/token',
      body: new URLSearchParams({ grant_type: 'password', username: user.name, password: user.password }),
    }),
  },
  'GET /auth/keys': { needs: 'to be anyone', status: 200, request: () => ({ path: '/auth/keys' }) },
  'GET /v2': { needs: 'to be logged in', status: 200, request: () => ({ path: '/v2/' }) },
  'GET /v2/_catalog': { needs: 'to list repositories', status: 200, request: () => ({ path: '/v2/_catalog' }) },
  'GET /v2/*name/tags/list': { needs: 'to pull', status: 200, request: () => ({ path: '/v2/app/tags/list' }) },
  'GET /v2/*name/referrers/:digest': {
    needs: 'to pull',
    status: 200,
    request: () => ({ path: `/v2/app/referrers/${image.digest}` }),
  },
  'GET /v2/*name/manifests/:reference': {
    needs: 'to pull',
    status: 200,
    request: () => ({ path: '/v2/app/manifests/v1' }),
  },
  'PUT /v2/*name/manifests/:reference': {
    needs: 'to push',
    status: 201,
    request: () => ({ ...put, path: '/v2/app/manifests/pushed', body: image.bytes }),
  },
  'DELETE /v2/*name/manifests/:reference': {
    needs: 'to delete',
    status: 202,
    request: async () => {
      const { bytes } = imageManifest(image.config, [image.layer], { annotations: { text: freshText() } });
      await registry.fetch('/v2/app/manifests/deleted', { ...put, method: 'PUT', body: bytes });
      return { path: '/v2/app/manifests/deleted' };
    },
  },
  'GET /v2/*name/blobs/:digest': {
    needs: 'to pull',
    status: 200,
    request: () => ({ path: `/v2/app/blobs/${image.layer.digest}` }),
  },
  'DELETE /v2/*name/blobs/:digest': {
    needs: 'to delete',
    status: 202,
    request: async () => ({ path: `/v2/app/blobs/${(await pushBlob(registry, 'app', freshText())).digest}` }),
  },
  'POST /v2/*name/blobs/uploads': {
    needs: 'to push',
    status: 202,
    request: () => ({ path: '/v2/app/blobs/uploads/' }),
  },
  'GET /v2/*name/blobs/uploads': onlyPost,
  'PUT /v2/*name/blobs/uploads': onlyPost,
  'PATCH /v2/*name/blobs/uploads': onlyPost,
  'DELETE /v2/*name/blobs/uploads': onlyPost,
  'GET /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 204,
    request: async (as) => ({ path: await session(as) }),
  },
  'PATCH /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 202,
    request: async (as) => ({ path: await session(as), body: freshText() }),
  },
  'PUT /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 201,
    request: async (as) => {
      const { bytes, digest } = content(freshText());
      return { path: `${await session(as)}?digest=${digest}`, body: bytes };
    },
  },
  'DELETE /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 204,
    request: async (as) => ({ path: await session(as) }),
  },
};

function routes(): string[] {
  return registry.running.app.routers
    .flatMap((router) => router.stack)
    .flatMap((layer) => layer.methods.map((method) => `${method} ${String(layer.path)}`))
    .filter((route) => !route.startsWith('HEAD '));
}

test('every route has an entry in the table, and every entry a route', () => {
  expect(routes().sort()).toEqual(Object.keys(expectations).sort());
});

describe.each(Object.entries(expectations))('%s', (route, { needs: need, status, request }) => {
  const { allowed, denied }: { readonly allowed: readonly string[]; readonly denied: readonly string[] } = needs[need];
  const method = route.slice(0, route.indexOf(' '));

  test.each(identities.map((identity) => ({ identity, answer: expectedStatus(identity) })))(
    `takes ${need}: $identity gets $answer`,
    async ({ identity, answer }) => {
      const as = credentials[identity];
      const { path, ...rest } = await request(allowed.includes(identity) ? as : admin);
      const response = await registry.fetch(path, { method, ...rest, as });
      expect(response.status).toBe(answer);
      if (answer === 401) {
        expect(response.headers.get('WWW-Authenticate')).toMatch(/^(Bearer|Basic) realm="/);
        expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
      }
      if (answer === 403) expect(await response.json()).toMatchObject({ errors: [{ code: 'DENIED' }] });
      if (method === 'GET') {
        const head = await registry.fetch(path, { method: 'HEAD', as });
        expect(head.status).toBe(answer);
      }
    },
  );

  function expectedStatus(identity: IdentityName): number {
    if (allowed.includes(identity)) return status;
    return denied.includes(identity) ? 403 : 401;
  }
});
