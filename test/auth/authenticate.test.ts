import bcrypt from 'bcrypt';
import { beforeEach, describe, expect, test } from 'vitest';
import { AccessTokens } from '../../src/auth/access-tokens.js';
import { Authenticator, parseBasic } from '../../src/auth/authenticate.js';
import { Identities, passwordStamp } from '../../src/auth/identities.js';
import { PasswordChecker } from '../../src/auth/passwords.js';
import { anonymous, type Basis, type TokenAccess } from '../../src/auth/principal.js';
import { ServiceAccountTokens } from '../../src/auth/service-account-tokens.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { RegistryTokens } from '../../src/auth/tokens.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';
import { openTwice, put, putUser, remove, type OpenDatabase } from '../support/stored-access.js';

const address = '192.0.2.1';
const access: readonly TokenAccess[] = [{ type: 'repository', name: 'team/app', actions: ['pull'] }];
const places = ['here', 'by another process'] as const;

describe('an authenticator', () => {
  let here: OpenDatabase;
  let there: OpenDatabase;
  let accessTokens: AccessTokens;
  let registryTokens: RegistryTokens;
  let serviceAccountTokens: ServiceAccountTokens;
  let authenticator: Authenticator;
  beforeEach(async () => {
    ({ here, there } = await openTwice(['team']));
    const keys = await SigningKeys.open(new MemoryKeyRecords(), 'registry-tokens');
    accessTokens = new AccessTokens(here.objects);
    registryTokens = new RegistryTokens(keys, 300);
    serviceAccountTokens = new ServiceAccountTokens(keys);
    authenticator = new Authenticator({
      passwords: new PasswordChecker(here.users),
      registryTokens,
      serviceAccountTokens,
      identities: new Identities(here.objects, here.users, accessTokens),
    });
    await here.users.putUser({ name: 'bob', passwordHash: await bcrypt.hash('secret', 4), role: 'user' });
  });
  const at = (where: (typeof places)[number]) => (where === 'here' ? here : there);

  const basic = (name: string, password: string) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
  const authenticate = (header: string) => authenticator.authenticate(header, address);
  async function nameOf(header: string): Promise<string> {
    const result = await authenticate(header);
    return result.kind === 'known' ? result.principal.name : `refused ${result.scheme}`;
  }

  async function passwordBasis(): Promise<Basis> {
    return { kind: 'password', user: 'bob', stamp: passwordStamp((await here.users.findUser('bob'))!) };
  }

  async function registryToken(basis?: Basis): Promise<string> {
    return (await registryTokens.issue({ name: 'bob', basis: basis ?? (await passwordBasis()) }, access)).token;
  }

  async function apiToken(): Promise<{ readonly token: string; readonly name: string }> {
    const { metadata } = await putUser(here.objects, 'ann', [{ provider: 'idp' }]);
    const user = { name: 'ann', uid: metadata.uid };
    return accessTokens.issue({ user, clientName: 'x', scopes: ['user:full'], lifetimeSeconds: 600 });
  }

  async function accountToken(secret?: { readonly name: string; readonly uid: string }): Promise<string> {
    const account = { namespace: 'team', name: 'robot' };
    const { metadata } = await put(here.objects, 'serviceaccounts', account, {});
    const wish = { ...account, uid: metadata.uid, lifetimeSeconds: 600, ...(secret !== undefined && { secret }) };
    return (await serviceAccountTokens.issue(wish)).token;
  }

  describe('at the registry', () => {
    test('takes who shows nothing for nobody', async () => {
      expect(await authenticate('')).toEqual({ kind: 'known', principal: anonymous });
      expect(await authenticate('Bearer anonymous')).toEqual({ kind: 'known', principal: anonymous });
    });

    test('knows a local user by password', async () => {
      expect(await authenticate(basic('bob', 'secret'))).toEqual({
        kind: 'known',
        principal: { kind: 'user', name: 'bob', groups: ['system:authenticated'], basis: await passwordBasis() },
      });
    });

    test('knows a registry token, narrowed to what it was given for', async () => {
      const result = await authenticate(`Bearer ${await registryToken()}`);
      expect(result).toMatchObject({ kind: 'known', principal: { kind: 'user', name: 'bob', access } });
    });

    test('knows a registry token of nobody', async () => {
      const result = await authenticate(`Bearer ${await registryToken({ kind: 'nobody' })}`);
      expect(result).toEqual({ kind: 'known', principal: { ...anonymous, access } });
    });

    test('knows an API token and that of a service account, as Bearer or in the place of a password', async () => {
      const { token } = await apiToken();
      const robot = await accountToken();
      expect(await nameOf(`Bearer ${token}`)).toBe('ann');
      expect(await nameOf(`Bearer ${robot}`)).toBe('system:serviceaccount:team:robot');
      for (const name of ['ann', 'unused', 'bob', '']) {
        expect(await nameOf(basic(name, token))).toBe('ann');
        expect(await nameOf(basic(name, robot))).toBe('system:serviceaccount:team:robot');
      }
    });

    test.each(places)('knows tokens again and again, until what they stand on is gone %s', async (where) => {
      const { objects, users } = at(where);
      const api = await apiToken();
      const tokens = {
        bob: await registryToken(),
        ann: api.token,
        'system:serviceaccount:team:robot': await accountToken(),
      };
      for (let round = 0; round < 3; round += 1) {
        for (const [name, token] of Object.entries(tokens)) expect(await nameOf(`Bearer ${token}`)).toBe(name);
      }
      await users.removeUser('bob');
      await new AccessTokens(objects).revoke(api.name);
      await remove(objects, 'serviceaccounts', { namespace: 'team', name: 'robot' });
      for (const token of Object.values(tokens)) expect(await nameOf(`Bearer ${token}`)).toBe('refused bearer');
    });

    test.each([
      { name: 'a wrong password', header: basic('bob', 'wrong'), scheme: 'basic' },
      { name: 'an unknown user', header: basic('eve', 'secret'), scheme: 'basic' },
      { name: 'Basic that is no base64', header: 'Basic ****', scheme: 'basic' },
      { name: 'a name without a password', header: `Basic ${Buffer.from('bob').toString('base64')}`, scheme: 'basic' },
      { name: 'an unknown token', header: 'Bearer abc', scheme: 'bearer' },
      { name: 'an API token that was never given', header: `Bearer sha256~${'x'.repeat(43)}`, scheme: 'bearer' },
      { name: 'such a one as password', header: basic('bob', `sha256~${'x'.repeat(43)}`), scheme: 'basic' },
      { name: 'a password as token', header: 'Bearer secret', scheme: 'bearer' },
      { name: 'nobody in other letters', header: 'Bearer Anonymous', scheme: 'bearer' },
      { name: 'another scheme', header: 'Digest username="bob"', scheme: 'unknown' },
      { name: 'a scheme alone', header: 'Bearer', scheme: 'unknown' },
      { name: 'two tokens', header: 'Bearer a b', scheme: 'unknown' },
    ])('refuses $name', async ({ header, scheme }) => {
      expect(await authenticate(header)).toEqual({ kind: 'refused', scheme });
    });

    test('takes the scheme in any case, and spaces around', async () => {
      expect(await nameOf(basic('bob', 'secret').replace('Basic', 'BASIC'))).toBe('bob');
      expect(await nameOf(`bearer   ${(await apiToken()).token}  `)).toBe('ann');
    });

    test('does not take a registry token in the place of a password: it would lose its narrowing', async () => {
      expect(await nameOf(basic('bob', await registryToken()))).toBe('refused basic');
    });

    test('does not take a token of a service account for another audience', async () => {
      const { metadata } = await put(here.objects, 'serviceaccounts', { namespace: 'team', name: 'robot' }, {});
      const account = { namespace: 'team', name: 'robot', uid: metadata.uid, lifetimeSeconds: 600 };
      for (const audience of ['vault', 'weir-registry']) {
        const { token } = await serviceAccountTokens.issue({ ...account, audiences: [audience] });
        expect(await nameOf(`Bearer ${token}`)).toBe('refused bearer');
        expect(await nameOf(basic('x', token))).toBe('refused basic');
        expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeUndefined();
      }
    });

    test('counts failed logins by the address', async () => {
      for (let time = 0; time < 10; time += 1) await authenticate(basic('bob', 'wrong'));
      await expect(authenticate(basic('bob', 'wrong'))).rejects.toMatchObject({ code: 'TOOMANYREQUESTS' });
      expect(await authenticator.authenticate(basic('bob', 'secret'), '192.0.2.2')).toMatchObject({ kind: 'known' });
      // A token is not guessed, so it is not counted.
      expect(await nameOf(basic('bob', (await apiToken()).token))).toBe('ann');
    });
  });

  describe('at the API', () => {
    const api = async (header: string) => (await authenticator.authenticateApi(header))?.name;

    test('takes who shows nothing for nobody', async () => {
      expect(await authenticator.authenticateApi('')).toBe(anonymous);
    });

    test('knows an API token and that of a service account', async () => {
      expect(await api(`Bearer ${(await apiToken()).token}`)).toBe('ann');
      expect(await api(`BEARER ${await accountToken()}`)).toBe('system:serviceaccount:team:robot');
    });

    test('refuses registry tokens, passwords and everything else', async () => {
      expect(await api(`Bearer ${await registryToken()}`)).toBeUndefined();
      expect(await api(`Bearer ${await registryToken({ kind: 'nobody' })}`)).toBeUndefined();
      expect(await api(basic('bob', 'secret'))).toBeUndefined();
      expect(await api(basic('ann', (await apiToken()).token))).toBeUndefined();
      for (const header of ['Bearer anonymous', 'Bearer', 'Bearer a b', 'x', `Bearer sha256~${'x'.repeat(43)}`]) {
        expect(await api(header)).toBeUndefined();
      }
    });
  });

  describe.each(places)('refuses at the next call, when it was done %s,', (where) => {
    test('the password and the registry tokens of a user who was removed', async () => {
      const token = await registryToken();
      expect([await nameOf(basic('bob', 'secret')), await nameOf(`Bearer ${token}`)]).toEqual(['bob', 'bob']);
      await at(where).users.removeUser('bob');
      expect([await nameOf(basic('bob', 'secret')), await nameOf(`Bearer ${token}`)]).toEqual([
        'refused basic',
        'refused bearer',
      ]);
    });

    test('the old password and the registry tokens given for it, when it was changed', async () => {
      const token = await registryToken();
      expect([await nameOf(basic('bob', 'secret')), await nameOf(`Bearer ${token}`)]).toEqual(['bob', 'bob']);
      await at(where).users.putUser({ name: 'bob', passwordHash: await bcrypt.hash('new', 4), role: 'user' });
      expect([await nameOf(basic('bob', 'secret')), await nameOf(`Bearer ${token}`)]).toEqual([
        'refused basic',
        'refused bearer',
      ]);
      expect(await nameOf(basic('bob', 'new'))).toBe('bob');
    });

    test('an API token that was revoked, and the registry tokens given for it', async () => {
      const { token, name } = await apiToken();
      const given = await registryToken({ kind: 'access-token', name });
      expect([await nameOf(`Bearer ${token}`), await nameOf(`Bearer ${given}`)]).toEqual(['ann', 'ann']);
      await new AccessTokens(at(where).objects).revoke(name);
      expect([await nameOf(`Bearer ${token}`), await nameOf(`Bearer ${given}`)]).toEqual([
        'refused bearer',
        'refused bearer',
      ]);
      expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeUndefined();
    });

    test('the token of a service account that was removed and made again', async () => {
      const token = await accountToken();
      expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeDefined();
      await remove(at(where).objects, 'serviceaccounts', { namespace: 'team', name: 'robot' });
      expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeUndefined();
      await put(at(where).objects, 'serviceaccounts', { namespace: 'team', name: 'robot' }, {});
      expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeUndefined();
      expect(await nameOf(`Bearer ${token}`)).toBe('refused bearer');
    });

    test('the token of a service account whose secret was removed', async () => {
      const place = { namespace: 'team', name: 'robot-token' };
      const { metadata } = await put(here.objects, 'secrets', place, {});
      const token = await accountToken({ name: place.name, uid: metadata.uid });
      expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeDefined();
      await remove(at(where).objects, 'secrets', place);
      expect(await authenticator.authenticateApi(`Bearer ${token}`)).toBeUndefined();
    });
  });
});

describe('Basic credentials', () => {
  const encode = (text: string) => Buffer.from(text).toString('base64');
  test.each([
    { text: 'bob:secret', name: 'bob', password: 'secret' },
    { text: 'bob:se:cr:et', name: 'bob', password: 'se:cr:et' },
    { text: ':secret', name: '', password: 'secret' },
    { text: 'bob:', name: 'bob', password: '' },
    { text: 'bob', name: 'bob', password: '' },
    { text: 'ünï:çödé', name: 'ünï', password: 'çödé' },
  ])('of $text are split at the first colon', ({ text, name, password }) => {
    expect(parseBasic(encode(text))).toEqual({ name, password });
  });
});
