import { createHmac, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ServiceAccountTokens, type ServiceAccountTokenWish } from '../../src/auth/service-account-tokens.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { RegistryTokens } from '../../src/auth/tokens.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';

const wish: ServiceAccountTokenWish = { namespace: 'team', name: 'robot', uid: 'uid of robot', lifetimeSeconds: 600 };
const basis = { kind: 'service-account', namespace: 'team', name: 'robot', uid: 'uid of robot' };

/** The attacker of these tests knows everything that is public, and has keys of their own. */
interface Attack {
  readonly keyId: string;
  readonly publicKey: CryptoKey;
  readonly own: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };
  /** What an honest token says. */
  readonly claims: Record<string, unknown>;
}

describe('tokens of service accounts', () => {
  let keys: SigningKeys;
  let tokens: ServiceAccountTokens;
  beforeEach(async () => {
    keys = await SigningKeys.open(new MemoryKeyRecords(), 'service-account-tokens');
    tokens = new ServiceAccountTokens(keys);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Signed by the registry itself: what is wrong with such a token is not its signature. */
  async function signed(claims: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> {
    const { id, key } = await keys.current();
    return new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: id, typ: 'JWT', ...header }).sign(key);
  }

  async function honestClaims(): Promise<Record<string, unknown>> {
    return decode((await tokens.issue(wish)).token.split('.')[1]!);
  }

  test('tell whose they are, first and again', async () => {
    const { token } = await tokens.issue(wish);
    for (let time = 0; time < 2; time += 1) expect(await tokens.verify(token)).toEqual(basis);
    expect(await new ServiceAccountTokens(keys).verify(token)).toEqual(basis);
  });

  test('tell the secret they are bound to', async () => {
    const secret = { name: 'robot-token', uid: 'uid of the secret' };
    const { token } = await tokens.issue({ ...wish, secret });
    expect(await tokens.verify(token)).toEqual({ ...basis, secret });
  });

  test('have the claims that clients of Kubernetes look at', async () => {
    const { token, expiresAt } = await tokens.issue(wish);
    const [header, payload] = token.split('.').slice(0, 2).map(decode);
    expect(header).toEqual({ alg: 'ES256', kid: (await keys.current()).id, typ: 'JWT' });
    const exp = expiresAt.getTime() / 1000;
    expect(payload).toEqual({
      iss: 'weir',
      aud: ['weir-api'],
      sub: 'system:serviceaccount:team:robot',
      iat: exp - 600,
      nbf: exp - 605,
      exp,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      'kubernetes.io': { namespace: 'team', serviceaccount: { name: 'robot', uid: 'uid of robot' } },
    });
  });

  test('go by the clock that all processes share, whatever this machine has', async () => {
    const shared = { now: new Date(Date.now() - 3_600_000) };
    const [here, there] = [
      new ServiceAccountTokens(keys, () => shared.now),
      new ServiceAccountTokens(keys, () => shared.now),
    ];
    const { token, expiresAt } = await here.issue(wish);
    expect(Math.abs(expiresAt.getTime() - shared.now.getTime() - 600_000)).toBeLessThan(1000);
    expect(await there.verify(token)).toEqual(basis);
    expect(there.isVerified(token)).toBe(true);
    expect(await tokens.verify(token)).toBeUndefined();
    shared.now = new Date(shared.now.getTime() + 600_000);
    expect(there.isVerified(token)).toBe(false);
    expect(await there.verify(token)).toBeUndefined();
  });

  test.each<{ readonly audiences: readonly string[] | undefined; readonly isTaken: boolean }>([
    { audiences: undefined, isTaken: true },
    { audiences: [], isTaken: true },
    { audiences: ['weir-api'], isTaken: true },
    { audiences: ['vault', 'weir-api'], isTaken: true },
    { audiences: ['vault'], isTaken: false },
    { audiences: ['weir-registry'], isTaken: false },
    { audiences: ['weir-api/'], isTaken: false },
  ])('for $audiences are taken: $isTaken', async ({ audiences, isTaken }) => {
    const { token } = await tokens.issue({ ...wish, ...(audiences && { audiences }) });
    expect((await tokens.verify(token)) !== undefined).toBe(isTaken);
  });

  test('are no registry tokens, whatever audience they name, and registry tokens are none of these', async () => {
    const registryTokens = new RegistryTokens(keys, 300);
    for (const audiences of [['weir-registry'], ['weir-api', 'weir-registry']]) {
      expect(await registryTokens.verify((await tokens.issue({ ...wish, audiences })).token)).toBeUndefined();
    }
    const issued = await registryTokens.issue({ name: 'bob', basis: { kind: 'nobody' } }, []);
    expect(await tokens.verify(issued.token)).toBeUndefined();
  });

  test('are good until they expire and not a moment longer', async () => {
    vi.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z'), toFake: ['Date'] });
    const { token, expiresAt } = await tokens.issue(wish);
    expect(expiresAt).toEqual(new Date('2026-01-01T00:10:00Z'));
    vi.setSystemTime(new Date('2026-01-01T00:09:59.999Z'));
    expect(tokens.isVerified(token)).toBe(false);
    expect(await tokens.verify(token)).toEqual(basis);
    expect(tokens.isVerified(token)).toBe(true);
    vi.setSystemTime(new Date('2026-01-01T00:10:00Z'));
    expect(tokens.isVerified(token)).toBe(false);
    expect(await tokens.verify(token)).toBeUndefined();
    expect(await new ServiceAccountTokens(keys).verify(token)).toBeUndefined();
  });

  describe('of our own signature are refused', () => {
    const account = { namespace: 'team', serviceaccount: { name: 'robot', uid: 'u' } };
    test.each<{ readonly name: string; readonly change: Record<string, unknown> }>([
      { name: 'of another issuer', change: { iss: 'somebody' } },
      { name: 'without an end', change: { exp: undefined } },
      { name: 'before their time', change: { nbf: Math.floor(Date.now() / 1000) + 3600 } },
      { name: 'for no audience', change: { aud: undefined } },
      { name: 'without a subject', change: { sub: undefined } },
      { name: 'without an account', change: { 'kubernetes.io': undefined } },
      { name: 'without a uid', change: { 'kubernetes.io': { ...account, serviceaccount: { name: 'robot' } } } },
      { name: 'with a secret in another form', change: { 'kubernetes.io': { ...account, secret: 'x' } } },
    ])('$name', async ({ change }) => {
      const claims = Object.entries({ ...(await honestClaims()), ...change }).filter(
        ([, value]) => value !== undefined,
      );
      expect(await tokens.verify(await signed(Object.fromEntries(claims)))).toBeUndefined();
    });

    test('when their type is another', async () => {
      expect(await tokens.verify(await signed(await honestClaims(), { typ: 'at+jwt' }))).toBeUndefined();
      expect(await tokens.verify(await signed(await honestClaims()))).toMatchObject({ name: 'robot' });
    });
  });

  describe('of an attacker are refused', () => {
    test.each<{ readonly name: string; readonly forge: (attack: Attack) => Promise<string> | string }>([
      {
        name: 'alg none, with our key id',
        forge: ({ claims, keyId }) => `${encode({ alg: 'none', typ: 'JWT', kid: keyId })}.${encode(claims)}.`,
      },
      { name: 'alg none, without one', forge: ({ claims }) => `${encode({ alg: 'none' })}.${encode(claims)}.` },
      {
        name: 'HS256 with our public key in PEM as the secret',
        forge: async (attack) => hs256(attack, await exportSPKI(attack.publicKey)),
      },
      {
        name: 'HS256 with our public key as JWK as the secret',
        forge: async (attack) => hs256(attack, JSON.stringify(await exportJWK(attack.publicKey))),
      },
      { name: 'HS256 with an empty secret', forge: (attack) => hs256(attack, '') },
      { name: 'ES384 with our key id', forge: es384 },
      { name: 'ES256 of another key with our key id', forge: (attack) => es256(attack, {}) },
      { name: 'ES256 of another key with a key id of theirs', forge: (attack) => es256(attack, { kid: 'mine' }) },
      { name: 'ES256 of another key without a key id', forge: (attack) => es256(attack, { kid: undefined }) },
      {
        name: 'their own key in the header (jwk)',
        forge: async (attack) => es256(attack, { jwk: await exportJWK(attack.own.publicKey) }),
      },
      {
        name: 'their own key in the header (jwk), without a key id',
        forge: async (attack) => es256(attack, { kid: undefined, jwk: await exportJWK(attack.own.publicKey) }),
      },
      { name: 'an address of their keys (jku)', forge: (attack) => es256(attack, { jku: 'https://example.org/k' }) },
    ])('$name', async ({ forge }) => {
      const { id } = await keys.current();
      const attack: Attack = {
        keyId: id,
        publicKey: (await keys.findPublicKey(id))!,
        own: await generateKeyPair('ES256', { extractable: true }),
        claims: await honestClaims(),
      };
      expect(await tokens.verify(await forge(attack))).toBeUndefined();
    });

    test('of keys of another registry', async () => {
      const foreign = new ServiceAccountTokens(
        await SigningKeys.open(new MemoryKeyRecords(), 'service-account-tokens'),
      );
      expect(await tokens.verify((await foreign.issue(wish)).token)).toBeUndefined();
    });

    test('an honest token of another account', async () => {
      const { token } = await tokens.issue(wish);
      const [header, payload, signature] = token.split('.') as [string, string, string];
      const other = { namespace: 'kube-system', serviceaccount: { name: 'robot', uid: 'uid of robot' } };
      const changed = encode({ ...decode(payload), 'kubernetes.io': other });
      expect(await tokens.verify(`${header}.${changed}.${signature}`)).toBeUndefined();
    });

    test.each(['', '.', '..', 'x.y.z', 'eyJ.eyJ.eyJ'])('what is no token: "%s"', async (text) => {
      expect(await tokens.verify(text)).toBeUndefined();
    });
  });
});

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
}

function es256({ own, claims, keyId }: Attack, header: Record<string, unknown>): string {
  const key = KeyObject.from(own.privateKey);
  // JSON leaves out what is undefined.
  const input = `${encode({ alg: 'ES256', typ: 'JWT', kid: keyId, ...header })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

function es384({ claims, keyId }: Attack): string {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const input = `${encode({ alg: 'ES384', typ: 'JWT', kid: keyId })}.${encode(claims)}`;
  const signature = sign('sha384', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

function hs256({ claims, keyId }: Attack, secret: string): string {
  const input = `${encode({ alg: 'HS256', typ: 'JWT', kid: keyId })}.${encode(claims)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}
