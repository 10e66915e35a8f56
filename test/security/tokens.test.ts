import { createHmac, createPublicKey, generateKeyPairSync, KeyObject, sign, type JsonWebKey } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SigningPurpose } from '../../src/auth/signing-keys.js';
import { currentKeyOf } from '../support/identities.js';
import { pushImage } from '../support/images.js';
import { admin, type Identity, type TestRegistry } from '../support/registry.js';
import { ann, ask, must, serviceAccountToken, startTenants, startTimeout } from './tenants.js';

let registry: TestRegistry;
/** Somewhere a header may point to; nobody must ever look. */
let elsewhere: Server;
let visits = 0;
/** Our keys: those of registry tokens, and those of service accounts. */
let ofRegistry: KeyObject;
let ofAccounts: KeyObject;
/** Good tokens, and where they open something. */
let registryToken: string;
let accountToken: string;

beforeAll(async () => {
  registry = await startTenants();
  await pushImage(registry, 'red/app', 'v1');
  await registry.bind({ kind: 'ServiceAccount', namespace: 'red', name: 'default' }, 'view', 'red');
  registryToken = await registry.token(['repository:red/app:pull,push,delete']);
  accountToken = await serviceAccountToken(registry, 'red', 'default');
  ofRegistry = await currentKey('registry-tokens');
  ofAccounts = await currentKey('service-account-tokens');
  elsewhere = createServer((_request, response) => {
    visits += 1;
    response.end(JSON.stringify({ keys: [attackerJwk] }));
  }).listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
}, startTimeout);
afterAll(async () => {
  elsewhere.close();
  await registry.stop();
});

async function currentKey(purpose: SigningPurpose): Promise<KeyObject> {
  const { key } = await currentKeyOf(registry, purpose);
  return KeyObject.from(key);
}

const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const attackerRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const attackerJwk = attacker.publicKey.export({ format: 'jwk' });

type Header = Readonly<Record<string, unknown>>;

/** A JSON Web Signature (RFC 7515) whatever its header says. */
function jws(header: Header, claims: JWTPayload, signed: (input: string) => Buffer | string): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${encode(header)}.${encode(claims)}`;
  const signature = signed(input);
  return `${input}.${typeof signature === 'string' ? signature : signature.toString('base64url')}`;
}

function es256(key: KeyObject): (input: string) => Buffer {
  return (input) => sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
}

const byAttacker = es256(attacker.privateKey);
const hs256 = (secret: string | Buffer) => (input: string) => createHmac('sha256', secret).update(input).digest();

/** The key that a token was signed with, and the one that we sign other tokens with. */
interface OwnKeys {
  readonly right: KeyObject;
  readonly other: KeyObject;
}

/** A forgery of a token: from what the good one says, which is all that its forger may change. */
type Forge = (header: Header, claims: JWTPayload, own: OwnKeys) => string;

const forgeries: Readonly<Record<string, Forge>> = {
  'another key under our kid': (header, claims) => jws(header, claims, byAttacker),
  'our key for other tokens': (header, claims, own) => jws(header, claims, es256(own.other)),
  'our key for other tokens, under no kid': ({ kid: _kid, ...header }, claims, own) =>
    jws(header, claims, es256(own.other)),
  'its key in jwk, under our kid': (header, claims) => jws({ ...header, jwk: attackerJwk }, claims, byAttacker),
  'its key in jwk, under a kid of its own': (header, claims) =>
    jws({ ...header, kid: 'mine', jwk: { ...attackerJwk, kid: 'mine' } }, claims, byAttacker),
  'its key in jwk, and no kid': ({ kid: _kid, ...header }, claims) =>
    jws({ ...header, jwk: attackerJwk }, claims, byAttacker),
  'its key at jku': (header, claims) => jws({ ...header, jku: placeOf(elsewhere) }, claims, byAttacker),
  'its certificate at x5u': (header, claims) => jws({ ...header, x5u: placeOf(elsewhere) }, claims, byAttacker),
  'its certificate in x5c': (header, claims) =>
    jws(
      { ...header, x5c: [attacker.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')] },
      claims,
      byAttacker,
    ),
  'a kid that is a path': (header, claims, own) =>
    jws({ ...header, kid: `../keys/${String(header['kid'])}` }, claims, es256(own.right)),
  'a kid that is a file name': (header, claims, own) =>
    jws({ ...header, kid: `${String(header['kid'])}.json` }, claims, es256(own.right)),
  'a kid that is no text': (header, claims, own) => jws({ ...header, kid: [header['kid']] }, claims, es256(own.right)),
  'no kid': ({ kid: _kid, ...header }, claims, own) => jws(header, claims, es256(own.right)),
  'alg none and no signature': (header, claims) => jws({ ...header, alg: 'none' }, claims, () => ''),
  'alg None and no signature': (header, claims) => jws({ ...header, alg: 'None' }, claims, () => ''),
  'alg none and our signature': (header, claims, own) => jws({ ...header, alg: 'none' }, claims, es256(own.right)),
  'no alg': ({ alg: _alg, ...header }, claims, own) => jws(header, claims, es256(own.right)),
  'no signature': (header, claims) => jws(header, claims, () => ''),
  'a signature of zeros (CVE-2022-21449)': (header, claims) => jws(header, claims, () => Buffer.alloc(64)),
  'our signature in DER': (header, claims, own) =>
    jws(header, claims, (input) => sign('sha256', Buffer.from(input), own.right)),
  'HS256 with our public key in JSON for a secret': (header, claims, own) =>
    jws({ ...header, alg: 'HS256' }, claims, hs256(JSON.stringify(jwkOf(own.right)))),
  'HS256 with our public key in PEM for a secret': (header, claims, own) =>
    jws({ ...header, alg: 'HS256' }, claims, hs256(pemOf(own.right))),
  'HS256 with the x of our public key for a secret': (header, claims, own) =>
    jws({ ...header, alg: 'HS256' }, claims, hs256(Buffer.from(jwkOf(own.right).x!, 'base64url'))),
  'HS256 with nothing for a secret': (header, claims) => jws({ ...header, alg: 'HS256' }, claims, hs256('')),
  'RS256 with a key of its own': (header, claims) =>
    jws({ ...header, alg: 'RS256' }, claims, (input) => sign('sha256', Buffer.from(input), attackerRsa.privateKey)),
  'a crit that nobody knows': (header, claims, own) =>
    jws({ ...header, crit: ['weir'], weir: true }, claims, es256(own.right)),
  'a crit for a header that is not there': (header, claims, own) =>
    jws({ ...header, crit: ['b64'] }, claims, es256(own.right)),
  'a payload that is not encoded (RFC 7797)': (header, claims, own) =>
    jws({ ...header, b64: false, crit: ['b64'] }, claims, es256(own.right)),
  'an empty crit': (header, claims, own) => jws({ ...header, crit: [] }, claims, es256(own.right)),
  'another typ': (header, claims, own) => jws({ ...header, typ: 'at+jwt' }, claims, es256(own.right)),
  'no typ': ({ typ: _typ, ...header }, claims, own) => jws(header, claims, es256(own.right)),
  'another audience': (header, claims, own) => jws(header, { ...claims, aud: 'weir-elsewhere' }, es256(own.right)),
  'another issuer': (header, claims, own) => jws(header, { ...claims, iss: 'https://weir.example' }, es256(own.right)),
  'no audience': (header, { aud: _aud, ...claims }, own) => jws(header, claims, es256(own.right)),
  'no expiry': (header, { exp: _exp, ...claims }, own) => jws(header, claims, es256(own.right)),
  'an expiry in the past': (header, claims, own) => jws(header, { ...claims, exp: 1_700_000_000 }, es256(own.right)),
  'an expiry that is a text': (header, claims, own) =>
    jws(header, { ...claims, exp: '4000000000' as unknown as number }, es256(own.right)),
  'a beginning in the future': (header, claims, own) =>
    jws(header, { ...claims, nbf: 4_000_000_000 }, es256(own.right)),
};

function pemOf(key: KeyObject): string {
  return createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
}

function jwkOf(key: KeyObject): JsonWebKey {
  return createPublicKey(key).export({ format: 'jwk' });
}

function placeOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys.json`;
}

describe('CVE-2025-24976 distribution: keys in a token are never looked at', () => {
  const account = { good: () => accountToken, own: () => ({ right: ofAccounts, other: ofRegistry }) };
  const opens = {
    'a registry token': {
      good: () => registryToken,
      own: () => ({ right: ofRegistry, other: ofAccounts }),
      path: '/v2/red/app/manifests/v1',
    },
    'a service account token at the API': { ...account, path: '/api/v1/namespaces/red/configmaps' },
    'a service account token at the registry': { ...account, path: '/v2/red/app/manifests/v1' },
  };
  for (const [kind, { good, own, path }] of Object.entries(opens)) {
    test(`CVE-2025-24976 distribution: ${kind} that is made again with our key is good, so that forgeries fail by what is wrong with them`, async () => {
      const token = jws(decodeProtectedHeader(good()), decodeJwt(good()), es256(own().right));
      expect((await registry.fetch(path, { as: { token } })).status).toBe(200);
    });

    test.each(Object.keys(forgeries))(`CVE-2025-24976 distribution: ${kind} with %s is refused`, async (name) => {
      const token = forgeries[name]!(decodeProtectedHeader(good()), decodeJwt(good()), own());
      expect((await registry.fetch(path, { as: { token } })).status).toBe(401);
      const asPassword: Identity = { name: 'anybody', password: token };
      const traded = await registry.fetch('/auth/token?scope=repository:red/app:pull', { as: asPassword });
      expect(traded.status).toBe(401);
      expect(visits).toBe(0);
    });
  }
});

describe('CVE-2026-123710 Quay: a token is for one endpoint, and its bearer does not choose which', () => {
  const apiPaths = [
    '/apis',
    '/api/v1/namespaces',
    '/api/v1/namespaces/red/secrets',
    '/apis/user.openshift.io/v1/users/~',
    '/apis/weir.dev/v1/auditrecords',
  ];

  test.each(apiPaths)('CVE-2026-123710 Quay: a registry token of the admin is worth nothing at %s', async (path) => {
    const { status, text } = await ask(registry, path, { as: { token: registryToken } });
    expect(status).toBe(401);
    expect(JSON.parse(text)).toMatchObject({ kind: 'Status', reason: 'Unauthorized' });
  });

  test('CVE-2026-123710 Quay: a registry token is nobody to a TokenReview', async () => {
    const review = await must(registry, '/apis/authentication.k8s.io/v1/tokenreviews', {
      method: 'POST',
      body: { spec: { token: registryToken, audiences: ['weir-registry'] } },
    });
    expect(review['status']).not.toMatchObject({ authenticated: true });
    expect(JSON.stringify(review['status'])).not.toContain('admin');
  });

  test('CVE-2026-123710 Quay: a registry token buys no other token', async () => {
    const bearer = await registry.fetch('/auth/token?scope=repository:red/app:pull', { as: { token: registryToken } });
    expect(bearer.status).toBe(401);
    const basic = await registry.fetch('/auth/token?scope=repository:red/app:pull', {
      as: { name: 'admin', password: registryToken },
    });
    expect(basic.status).toBe(401);
  });

  test.each([
    'service=weir-api',
    'service=weir-api&audience=weir-api',
    'aud=weir-api&audience=weir-api&resource=weir-api',
    'service=weir-registry&account=admin&sub=admin',
    'scope=registry:catalog:*&scope=repository:red/app:*&scope=repository(plugin):red/app:pull',
  ])('CVE-2026-123710 Quay: nobody in particular, asking with %s, gets a token that says no more', async (query) => {
    const response = await registry.fetch(`/auth/token?${query}`, { as: 'nobody' });
    const { token } = (await response.json()) as { token: string };
    expect(decodeJwt(token)).toMatchObject({ aud: 'weir-registry', sub: 'system:anonymous', access: [] });
    for (const path of [...apiPaths, '/v2/', '/v2/_catalog', '/v2/red/app/manifests/v1', '/metrics']) {
      const { status } = await registry.fetch(path, { as: { token } });
      expect({ path, status }).toEqual({ path, status: 401 });
    }
  });

  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])(
    'CVE-2026-123710 Quay: %s of the signing keys is nothing anybody can do',
    async (method) => {
      const before = await (await registry.fetch('/auth/keys')).text();
      for (const as of [{ token: registryToken }, 'nobody', admin] as const) {
        expect((await registry.fetch('/auth/keys', { method, as })).status).toBeGreaterThanOrEqual(400);
      }
      const after = await (await registry.fetch('/auth/keys')).text();
      expect(after).toBe(before);
      expect(after).not.toContain('"d"');
    },
  );

  test.each([['weir-registry'], ['https://sts.example'], ['weir-api2', 'WEIR-API'], ['']])(
    'CVE-2026-123710 Quay: a service account token for %j is worth nothing here',
    async (...audiences) => {
      const token = await serviceAccountToken(registry, 'red', 'default', audiences);
      expect([decodeJwt(token).aud].flat()).toEqual(audiences);
      expect((await ask(registry, '/api/v1/namespaces/red/configmaps', { as: { token } })).status).toBe(401);
      expect((await registry.fetch('/v2/red/app/manifests/v1', { as: { token } })).status).toBe(401);
      const traded = await registry.fetch('/auth/token', { as: { name: 'anybody', password: token } });
      expect(traded.status).toBe(401);
    },
  );

  test('CVE-2026-123710 Quay: a refresh token logs nobody in', async () => {
    const response = await registry.fetch('/auth/token?offline_token=true', { as: ann });
    const { refresh_token: token } = (await response.json()) as { refresh_token: string };
    for (const path of ['/v2/red/app/manifests/v1', '/apis/user.openshift.io/v1/users/~']) {
      expect((await registry.fetch(path, { as: { token } })).status).toBe(401);
    }
    expect((await registry.fetch('/v2/red/app/manifests/v1', { as: { ...ann, password: token } })).status).toBe(401);
  });
});
