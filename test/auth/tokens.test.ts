import { createHash, createHmac, createSign, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import fc from 'fast-check';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Basis, TokenAccess } from '../../src/auth/principal.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { generateRefreshToken, hashRefreshToken, RegistryTokens } from '../../src/auth/tokens.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';

const lifetimeSeconds = 300;
const basis: Basis = { kind: 'password', user: 'ada', stamp: 'of-her-password' };
const user = { name: 'ada', basis };
const access: readonly TokenAccess[] = [{ type: 'repository', name: 'team/app', actions: ['pull', 'push'] }];

/** The attacker of these tests knows everything that is public, and has keys of their own. */
interface Attack {
  readonly keyId: string;
  readonly publicKey: CryptoKey;
  readonly own: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };
  /** What an honest token says. */
  readonly claims: Record<string, unknown>;
}

describe('registry tokens', () => {
  let keys: SigningKeys;
  let tokens: RegistryTokens;
  let attack: Attack;
  beforeAll(async () => {
    keys = await SigningKeys.open(new MemoryKeyRecords(), 'registry-tokens');
    tokens = new RegistryTokens(keys, lifetimeSeconds);
    const { id } = await keys.current();
    const { token } = await tokens.issue(user, access);
    attack = {
      keyId: id,
      publicKey: (await keys.findPublicKey(id))!,
      own: await generateKeyPair('ES256', { extractable: true }),
      claims: decode(token.split('.')[1]!),
    };
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Signed by the registry itself: what is wrong with such a token is not its signature. */
  async function signed(claims: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> {
    const { id, key } = await keys.current();
    return new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: id, typ: 'JWT', ...header }).sign(key);
  }

  describe('that were issued', () => {
    test('tell who and what for', async () => {
      const { token } = await tokens.issue(user, access);
      expect(await tokens.verify(token)).toEqual({ basis, access });
    });

    test('tell it again when they were verified before', async () => {
      const { token } = await tokens.issue(user, []);
      const first = await tokens.verify(token);
      expect(await tokens.verify(token)).toEqual(first);
      expect(first).toEqual({ basis, access: [] });
    });

    test.each<{ readonly name: string; readonly basis: Basis }>([
      { name: 'nobody', basis: { kind: 'nobody' } },
      { name: 'an API token', basis: { kind: 'access-token', name: 'sha256~x' } },
      { name: 'a service account', basis: { kind: 'service-account', namespace: 'team', name: 'robot', uid: 'u' } },
      {
        name: 'a secret of a service account',
        basis: {
          kind: 'service-account',
          namespace: 'team',
          name: 'robot',
          uid: 'u',
          secret: { name: 's', uid: 'v' },
        },
      },
    ])('for $name stand on that', async ({ basis }) => {
      const { token } = await tokens.issue({ name: 'x', basis }, []);
      expect(await tokens.verify(token)).toEqual({ basis, access: [] });
    });

    test('are ES256 with a key id, and name issuer, audience, times and an id of their own', async () => {
      const { token, issuedAt } = await tokens.issue(user, access);
      const [header, payload] = token.split('.').slice(0, 2).map(decode);
      expect(header).toEqual({ alg: 'ES256', kid: attack.keyId, typ: 'JWT' });
      const iat = Math.floor(issuedAt.getTime() / 1000);
      expect(payload).toEqual({
        iss: 'weir',
        aud: 'weir-registry',
        sub: 'ada',
        iat,
        nbf: iat - 5,
        exp: iat + lifetimeSeconds,
        jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        basis,
        access,
      });
      const again = await tokens.issue(user, access);
      expect(decode(again.token.split('.')[1]!)['jti']).not.toBe(payload!['jti']);
    });

    test('are good until they expire and not a moment longer', async () => {
      vi.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z'), toFake: ['Date'] });
      const { token } = await tokens.issue(user, access);
      vi.setSystemTime(new Date('2026-01-01T00:04:59.999Z'));
      expect(await new RegistryTokens(keys, lifetimeSeconds).verify(token)).toMatchObject({ basis });
      vi.setSystemTime(new Date('2026-01-01T00:05:00Z'));
      expect(await new RegistryTokens(keys, lifetimeSeconds).verify(token)).toBeUndefined();
    });

    test('go by the clock that all processes share, whatever this machine has', async () => {
      const shared = { now: new Date(Date.now() - 3_600_000) };
      const now = () => shared.now;
      const [here, there] = [
        new RegistryTokens(keys, lifetimeSeconds, now),
        new RegistryTokens(keys, lifetimeSeconds, now),
      ];
      const { token, issuedAt } = await here.issue(user, access);
      expect(issuedAt).toEqual(shared.now);
      expect(await there.verify(token)).toMatchObject({ basis });
      expect(await tokens.verify(token)).toBeUndefined();
      shared.now = new Date(shared.now.getTime() + lifetimeSeconds * 1000);
      expect(await there.verify(token)).toBeUndefined();
      expect(await here.verify(token)).toBeUndefined();
    });

    test('are taken by a process whose clock is a moment behind', async () => {
      const at = new Date();
      const here = new RegistryTokens(keys, lifetimeSeconds, () => at);
      const behind = new RegistryTokens(keys, lifetimeSeconds, () => new Date(at.getTime() - 2000));
      expect(await behind.verify((await here.issue(user, access)).token)).toMatchObject({ basis });
    });

    test('are not remembered for longer than that', async () => {
      vi.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z'), toFake: ['Date'] });
      const { token } = await tokens.issue(user, access);
      vi.setSystemTime(new Date('2026-01-01T00:04:59.985Z'));
      expect(await tokens.verify(token)).toMatchObject({ basis });
      // The cache goes by a clock that cannot be set.
      await new Promise((resolve) => setTimeout(resolve, 25));
      vi.setSystemTime(new Date('2026-01-01T00:05:00.010Z'));
      expect(await tokens.verify(token)).toBeUndefined();
    });

    test('by other keys are refused', async () => {
      const foreign = new RegistryTokens(
        await SigningKeys.open(new MemoryKeyRecords(), 'registry-tokens'),
        lifetimeSeconds,
      );
      expect(await tokens.verify((await foreign.issue(user, access)).token)).toBeUndefined();
    });
  });

  describe('of our own signature are refused', () => {
    const now = Math.floor(Date.now() / 1000);
    test.each<{ readonly name: string; readonly change: Record<string, unknown> }>([
      { name: 'for another audience', change: { aud: 'another-service' } },
      { name: 'for no audience', change: { aud: undefined } },
      { name: 'of another issuer', change: { iss: 'somebody' } },
      { name: 'of no issuer', change: { iss: undefined } },
      { name: 'without an end', change: { exp: undefined } },
      { name: 'after their end', change: { exp: now - 60 } },
      { name: 'with an end that is no number', change: { exp: 'never' } },
      { name: 'before their time', change: { nbf: now + 3600 } },
      { name: 'without a subject', change: { sub: undefined } },
      { name: 'with a subject that is no text', change: { sub: 7 } },
      { name: 'without access', change: { access: undefined } },
      { name: 'with access in another form', change: { access: 'repository:team/app:*' } },
      { name: 'with access of an unknown type', change: { access: [{ type: 'x', name: 'a/b', actions: ['pull'] }] } },
      { name: 'that stand on nothing', change: { basis: undefined } },
      { name: 'that stand on something unknown', change: { basis: { kind: 'groups', groups: ['system:masters'] } } },
      { name: 'that stand on a user without a password', change: { basis: { kind: 'password', user: 'ada' } } },
      {
        name: 'that stand on a service account without a uid',
        change: { basis: { kind: 'service-account', namespace: 'team', name: 'robot' } },
      },
    ])('$name', async ({ change }) => {
      const claims = Object.fromEntries(
        Object.entries({ ...attack.claims, ...change }).filter(([, value]) => value !== undefined),
      );
      expect(await tokens.verify(await signed(claims))).toBeUndefined();
    });

    test('when their type is another, so that no other JWT of ours passes for one', async () => {
      expect(await tokens.verify(await signed(attack.claims, { typ: 'at+jwt' }))).toBeUndefined();
      expect(await tokens.verify(await signed(attack.claims, { typ: undefined }))).toBeUndefined();
      expect(await tokens.verify(await signed(attack.claims))).toMatchObject({ basis });
    });

    test('when they must be understood in a way that we do not know', async () => {
      const { key } = await keys.current();
      const header = {
        alg: 'ES256',
        kid: attack.keyId,
        typ: 'JWT',
        crit: ['http://example.org/x'],
        'http://example.org/x': 1,
      };
      const input = `${encode(header)}.${encode(attack.claims)}`;
      const signature = sign('sha256', Buffer.from(input), { key: KeyObject.from(key), dsaEncoding: 'ieee-p1363' });
      const token = `${input}.${signature.toString('base64url')}`;
      expect(await tokens.verify(token)).toBeUndefined();
    });
  });

  describe('of an attacker are refused', () => {
    test.each<{ readonly name: string; readonly forge: (attack: Attack) => Promise<string> | string }>([
      {
        name: 'alg none, without a signature',
        forge: ({ claims }) => `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`,
      },
      {
        name: 'alg none, with our key id',
        forge: ({ claims, keyId }) => `${encode({ alg: 'none', typ: 'JWT', kid: keyId })}.${encode(claims)}.`,
      },
      {
        name: 'alg None in other letters',
        forge: ({ claims, keyId }) => `${encode({ alg: 'NoNe', typ: 'JWT', kid: keyId })}.${encode(claims)}.`,
      },
      {
        name: 'HS256 with our public key in PEM as the secret',
        forge: async (attack) => hs256(attack, await exportSPKI(attack.publicKey)),
      },
      {
        name: 'HS256 with our public key as JWK as the secret',
        forge: async (attack) => hs256(attack, JSON.stringify(await exportJWK(attack.publicKey))),
      },
      { name: 'HS256 with an empty secret', forge: (attack) => hs256(attack, '') },
      { name: 'RS256 with our key id', forge: rs256 },
      { name: 'ES256 of another key with our key id', forge: (attack) => es256(attack, {}) },
      { name: 'ES256 of another key with a key id of theirs', forge: (attack) => es256(attack, { kid: 'mine' }) },
      { name: 'ES256 of another key without a key id', forge: (attack) => es256(attack, { kid: undefined }) },
      {
        name: 'ES256 of another key with a path as key id',
        forge: (attack) => es256(attack, { kid: '../../etc/passwd' }),
      },
      { name: 'ES256 of another key with a key id that is no text', forge: (attack) => es256(attack, { kid: 7 }) },
      {
        name: 'their own key in the header (jwk)',
        forge: async (attack) => es256(attack, { jwk: await exportJWK(attack.own.publicKey) }),
      },
      {
        name: 'their own key in the header (jwk), without a key id',
        forge: async (attack) => es256(attack, { kid: undefined, jwk: await exportJWK(attack.own.publicKey) }),
      },
      { name: 'an address of their keys (jku)', forge: (attack) => es256(attack, { jku: 'https://example.org/keys' }) },
      {
        name: 'an address of their certificate (x5u)',
        forge: (attack) => es256(attack, { x5u: 'https://example.org/c' }),
      },
      {
        name: 'their certificate (x5c)',
        forge: async (attack) => {
          const pem = await exportSPKI(attack.own.publicKey);
          return es256(attack, { x5c: [pem.split('\n').slice(1, -1).join('')] });
        },
      },
      { name: 'ES384', forge: es384 },
      { name: 'a signature of nothing but zeros', forge: (attack) => es256Zero(attack) },
    ])('$name', async ({ forge }) => {
      expect(await tokens.verify(await forge(attack))).toBeUndefined();
    });

    test('that carry an address do not make us call it', async () => {
      const fetched = vi.spyOn(globalThis, 'fetch');
      await tokens.verify(await es256(attack, { jku: 'https://example.org/keys', x5u: 'https://example.org/c' }));
      expect(fetched).not.toHaveBeenCalled();
      fetched.mockRestore();
    });

    test('an honest token with other claims', async () => {
      const { token } = await tokens.issue(user, access);
      const [header, payload, signature] = token.split('.') as [string, string, string];
      const richer = encode({ ...decode(payload), basis: { ...basis, user: 'root' } });
      expect(await tokens.verify(`${header}.${richer}.${signature}`)).toBeUndefined();
    });

    test('an honest token with another header', async () => {
      const { token } = await tokens.issue(user, access);
      const [header, payload, signature] = token.split('.') as [string, string, string];
      const other = encode({ ...decode(header), note: 'x' });
      expect(await tokens.verify(`${other}.${payload}.${signature}`)).toBeUndefined();
    });

    test('an honest token of which any character is another one, or its end is missing', async () => {
      const { token } = await tokens.issue(user, access);
      await fc.assert(
        fc.asyncProperty(
          fc.nat(token.length - 1),
          fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '-', '_', '.'),
          async (index, character) => {
            fc.pre(token[index] !== character);
            const changed = token.slice(0, index) + character + token.slice(index + 1);
            // The last character of base64url holds bits that mean nothing: the same bytes are the same token.
            fc.pre(!sameBytes(changed, token));
            expect(await tokens.verify(changed)).toBeUndefined();
            expect(await tokens.verify(token.slice(0, index))).toBeUndefined();
          },
        ),
        { numRuns: 150 },
      );
    });

    test('anything that is no token at all', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(
            fc.string(),
            fc.string().map((text) => `${text}.${text}.${text}`),
          ),
          async (text) => {
            expect(await tokens.verify(text)).toBeUndefined();
          },
        ),
      );
    });

    test('any header and payload with a signature of any bytes', async () => {
      const names = fc.constantFrom(
        'alg',
        'kid',
        'typ',
        'crit',
        'b64',
        'jwk',
        'zip',
        'enc',
        'iss',
        'aud',
        'exp',
        'sub',
      );
      const values = fc.oneof(fc.jsonValue(), fc.constantFrom('ES256', 'JWT', 'weir', 'weir-registry', attack.keyId));
      const objects = fc.dictionary(names, values);
      await fc.assert(
        fc.asyncProperty(objects, objects, fc.uint8Array({ maxLength: 70 }), async (header, payload, bytes) => {
          const honest = { alg: 'ES256', kid: attack.keyId, ...header };
          const signature = Buffer.from(bytes).toString('base64url');
          expect(await tokens.verify(`${encode(honest)}.${encode(payload)}.${signature}`)).toBeUndefined();
        }),
        { numRuns: 200 },
      );
    });
  });
});

describe('refresh tokens', () => {
  test('are long, random and easy to recognize, and kept as a hash', () => {
    const { secret, hash } = generateRefreshToken();
    expect(secret).toMatch(/^weir_rt_[\w-]{43}$/);
    expect(hash).toBe(createHash('sha256').update(secret).digest('hex'));
    expect(hashRefreshToken(secret)).toBe(hash);
    expect(generateRefreshToken().secret).not.toBe(secret);
  });
});

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
}

function sameBytes(a: string, b: string): boolean {
  const bytes = (token: string) => token.split('.').map((part) => Buffer.from(part, 'base64url').toString('hex'));
  return /^[\w.-]+$/.test(a) && bytes(a).join('.') === bytes(b).join('.');
}

function es256({ own, claims, keyId }: Attack, header: Record<string, unknown>): Promise<string> {
  const key = KeyObject.from(own.privateKey);
  // JSON leaves out what is undefined.
  const input = `${encode({ alg: 'ES256', typ: 'JWT', kid: keyId, ...header })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return Promise.resolve(`${input}.${signature.toString('base64url')}`);
}

function es256Zero({ claims, keyId }: Attack): string {
  const input = `${encode({ alg: 'ES256', typ: 'JWT', kid: keyId })}.${encode(claims)}`;
  return `${input}.${Buffer.alloc(64).toString('base64url')}`;
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

function rs256({ claims, keyId }: Attack): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const input = `${encode({ alg: 'RS256', typ: 'JWT', kid: keyId })}.${encode(claims)}`;
  return `${input}.${createSign('sha256').update(input).sign(privateKey, 'base64url')}`;
}
