import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { accessTokenName, AccessTokens, accessTokensResource } from '../../src/auth/access-tokens.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { openTwice, type OpenDatabase } from '../support/stored-access.js';

const wish = {
  user: { name: 'ann', uid: 'uid of ann' },
  clientName: 'openshift-challenging-client',
  scopes: ['user:full'],
  lifetimeSeconds: 3600,
};

describe('the name of an API token', () => {
  const secret = 'x'.repeat(43);

  test('is the hash of its secret part, as oc computes it', () => {
    const hash = createHash('sha256').update(secret).digest('base64url');
    expect(accessTokenName(`sha256~${secret}`)).toBe(`sha256~${hash}`);
    // What oc logout deletes for a token of this text.
    expect(accessTokenName('sha256~bbbbbbbbbbbbbbbbbbbb')).toBe('sha256~775CYg_5n1kppjFt52dAo6VapkH25pU4yDmVFWkz19A');
  });

  test.each([
    { name: 'nothing', token: '' },
    { name: 'the prefix alone', token: 'sha256~' },
    { name: 'a short one', token: `sha256~${'x'.repeat(19)}` },
    { name: 'a long one', token: `sha256~${'x'.repeat(101)}` },
    { name: 'one with another prefix', token: `sha512~${secret}` },
    { name: 'one with something before', token: ` sha256~${secret}` },
    { name: 'one with a line end behind', token: `sha256~${secret}\n` },
    { name: 'one with other characters', token: `sha256~${'x'.repeat(30)}/${'x'.repeat(10)}` },
    { name: 'a JWT', token: 'eyJhbGciOiJub25lIn0.e30.x' },
  ])('is none for $name', ({ token }) => {
    expect(accessTokenName(token)).toBeUndefined();
  });
});

describe('API tokens', () => {
  let here: OpenDatabase;
  let there: OpenDatabase;
  let now: Date;
  let tokens: AccessTokens;
  beforeEach(async () => {
    ({ here, there } = await openTwice([]));
    now = new Date('2026-01-01T00:00:00.900Z');
    tokens = new AccessTokens(new KyselyObjectStore(here.db, () => now), () => now);
  });

  test('are secrets of 256 random bits, of which the store has the hash only', async () => {
    const { token, name } = await tokens.issue(wish);
    expect(token).toMatch(/^sha256~[\w-]{43}$/);
    expect(name).toBe(accessTokenName(token));
    expect((await tokens.issue(wish)).token).not.toBe(token);
    const rows = await here.db.selectFrom('object').selectAll().execute();
    const changes = await here.db.selectFrom('change').selectAll().execute();
    expect(rows).toHaveLength(2);
    expect(JSON.stringify([rows, changes])).not.toContain(token.slice('sha256~'.length));
  });

  test('say whom they are for and what', async () => {
    const { name, expiresAt } = await tokens.issue({ ...wish, redirectURI: 'https://weir.example/done' });
    expect(expiresAt).toEqual(new Date('2026-01-01T01:00:00.900Z'));
    expect(await tokens.find(name)).toEqual({
      metadata: {
        name,
        uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        creationTimestamp: '2026-01-01T00:00:00Z',
        resourceVersion: '1',
      },
      clientName: 'openshift-challenging-client',
      expiresIn: 3600,
      redirectURI: 'https://weir.example/done',
      scopes: ['user:full'],
      userName: 'ann',
      userUID: 'uid of ann',
    });
  });

  test('are good until they expire and not a moment longer', async () => {
    const { name } = await tokens.issue(wish);
    now = new Date('2026-01-01T01:00:00.899Z');
    expect(await tokens.find(name)).toBeDefined();
    now = new Date('2026-01-01T01:00:00.900Z');
    expect(await tokens.find(name)).toBeUndefined();
  });

  test('are listed by their user', async () => {
    const { name } = await tokens.issue(wish);
    await tokens.issue({ ...wish, user: { name: 'bob', uid: 'uid of bob' } });
    const listed = await new KyselyObjectStore(here.db, () => now).list({
      resource: accessTokensResource,
      lookup: 'ann',
      limit: 10,
    });
    expect(listed.objects.map(({ metadata }) => metadata.name)).toEqual([name]);
  });

  test('are gone at once when they are revoked, here or by another process', async () => {
    const others = new AccessTokens(new KyselyObjectStore(there.db, () => now), () => now);
    for (const revoker of [tokens, others]) {
      const { name } = await tokens.issue(wish);
      expect(await tokens.find(name)).toBeDefined();
      expect(await revoker.revoke(name)).toBe(true);
      expect(await tokens.find(name)).toBeUndefined();
      expect(await revoker.revoke(name)).toBe(false);
    }
  });

  test('of another process are known', async () => {
    const others = new AccessTokens(new KyselyObjectStore(there.db, () => now), () => now);
    expect(await tokens.find((await others.issue(wish)).name)).toMatchObject({ userName: 'ann' });
  });
});
