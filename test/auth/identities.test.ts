import { beforeEach, describe, expect, test } from 'vitest';
import { AccessTokens } from '../../src/auth/access-tokens.js';
import {
  groupsResource,
  Identities,
  identityGroupsKey,
  passwordStamp,
  usersResource,
} from '../../src/auth/identities.js';
import { anonymous, type Basis } from '../../src/auth/principal.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { openTwice, put, putGroup, putUser, remove, type OpenDatabase } from '../support/stored-access.js';

const hash = '$2b$04$of.the.first.password';
const places = ['here', 'by another process'] as const;

describe('an identity', () => {
  let here: OpenDatabase;
  let there: OpenDatabase;
  let store: KyselyObjectStore;
  let users: KyselyUserRecords;
  let tokens: AccessTokens;
  let identities: Identities;
  beforeEach(async () => {
    ({ here, there } = await openTwice(['team', 'other']));
    store = here.objects;
    users = here.users;
    tokens = new AccessTokens(store);
    identities = new Identities(store, users, tokens);
  });
  const at = (where: (typeof places)[number]) => (where === 'here' ? here : there);

  test('of nobody is nobody', async () => {
    expect(await identities.resolve({ kind: 'nobody' })).toBe(anonymous);
  });

  describe('that stands on a password', () => {
    const basis: Basis = { kind: 'password', user: 'bob', stamp: passwordStamp({ passwordHash: hash }) };
    beforeEach(() => users.putUser({ name: 'bob', passwordHash: hash, role: 'user' }));

    test('is the local user', async () => {
      expect(await identities.resolve(basis)).toEqual({
        kind: 'user',
        name: 'bob',
        groups: ['system:authenticated'],
        basis,
      });
    });

    test('has a stamp that tells nothing of the hash', () => {
      expect(basis.stamp).toMatch(/^[\w-]{16}$/);
      expect(passwordStamp({ passwordHash: `${hash}x` })).not.toBe(basis.stamp);
    });

    test.each(places)('is gone when the user was removed %s', async (where) => {
      expect(await identities.resolve(basis)).toBeDefined();
      await at(where).users.removeUser('bob');
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test.each(places)('is gone when the password was changed %s', async (where) => {
      expect(await identities.resolve(basis)).toBeDefined();
      await at(where).users.putUser({ name: 'bob', passwordHash: '$2b$04$of.another', role: 'user' });
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test.each(places)('has the role as it is now, when it was changed %s', async (where) => {
      expect((await identities.resolve(basis))!.groups).not.toContain('system:masters');
      await at(where).users.putUser({ name: 'bob', passwordHash: hash, role: 'admin' });
      expect((await identities.resolve(basis))!.groups).toEqual(['system:masters', 'system:authenticated']);
      await at(where).users.putUser({ name: 'bob', passwordHash: hash, role: 'user' });
      expect((await identities.resolve(basis))!.groups).toEqual(['system:authenticated']);
    });

    test.each(places)('has the groups that name the user, as they were last changed %s', async (where) => {
      const groups = async () => (await identities.resolve(basis))!.groups;
      expect(await groups()).toEqual(['system:authenticated']);
      await putGroup(at(where).objects, 'ops', ['ann', 'bob']);
      await putGroup(at(where).objects, 'dev', ['bob']);
      expect(await groups()).toEqual(['dev', 'ops', 'system:authenticated']);
      await putGroup(at(where).objects, 'ops', ['ann']);
      expect(await groups()).toEqual(['dev', 'system:authenticated']);
      await remove(at(where).objects, groupsResource, { name: 'dev' });
      expect(await groups()).toEqual(['system:authenticated']);
    });

    test('has the groups as they are, though the changes of them are no longer kept', async () => {
      await putGroup(store, 'dev', ['bob']);
      await store.pruneChanges(new Date(Date.now() + 1000));
      expect((await identities.resolve(basis))!.groups).toContain('dev');
      await putGroup(store, 'dev', []);
      await store.pruneChanges(new Date(Date.now() + 1000));
      expect((await identities.resolve(basis))!.groups).not.toContain('dev');
    });

    test('has no group of the system from a Group object', async () => {
      for (const name of ['system:masters', 'system:serviceaccounts', 'system:x']) await putGroup(store, name, ['bob']);
      expect((await identities.resolve(basis))!.groups).toEqual(['system:authenticated']);
    });

    test('has the groups that its provider named, and of the system none of these', async () => {
      const named = JSON.stringify(['sales', 'system:masters', 'system:authenticated:oauth', 'dev']);
      await putUser(store, 'bob', [{ provider: 'idp', extra: { [identityGroupsKey]: named } }]);
      await putGroup(store, 'dev', ['bob']);
      expect((await identities.resolve(basis))!.groups).toEqual(['dev', 'sales', 'system:authenticated']);
    });
  });

  describe('that stands on an API token', () => {
    const issue = async (name: string, uid: string, lifetimeSeconds = 600): Promise<Basis & { name: string }> => {
      const issued = await tokens.issue({
        user: { name, uid },
        clientName: 'x',
        scopes: ['user:full'],
        lifetimeSeconds,
      });
      return { kind: 'access-token', name: issued.name };
    };

    test('is the user of the token, by name and uid', async () => {
      const user = await putUser(store, 'ann', [{ provider: 'idp' }]);
      await putGroup(store, 'dev', ['ann']);
      const basis = await issue('ann', user.metadata.uid);
      expect(await identities.resolve(basis)).toEqual({
        kind: 'user',
        name: 'ann',
        uid: user.metadata.uid,
        groups: ['dev', 'system:authenticated', 'system:authenticated:oauth'],
        basis,
      });
    });

    test.each(places)('is gone when the token was revoked %s', async (where) => {
      const user = await putUser(store, 'ann', [{ provider: 'idp' }]);
      const basis = await issue('ann', user.metadata.uid);
      expect(await identities.resolve(basis)).toBeDefined();
      expect(await new AccessTokens(at(where).objects).revoke(basis.name)).toBe(true);
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test('is gone when the token has expired', async () => {
      const user = await putUser(store, 'ann', [{ provider: 'idp' }]);
      expect(await identities.resolve(await issue('ann', user.metadata.uid, 0))).toBeUndefined();
    });

    test('is gone when the token expires between two requests, and nothing has changed', async () => {
      let now = Date.now();
      const clock = () => new Date(now);
      store = new KyselyObjectStore(here.db, clock);
      tokens = new AccessTokens(store, clock);
      identities = new Identities(store, users, tokens, clock);
      const user = await putUser(store, 'ann', [{ provider: 'idp' }]);
      const basis = await issue('ann', user.metadata.uid, 600);
      now += 599_000;
      expect(await identities.resolve(basis)).toBeDefined();
      now += 999;
      expect(await identities.resolve(basis), 'to the millisecond, as it was given').toBeDefined();
      now += 1;
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test.each(places)('has the groups that name the user, as they were last changed %s', async (where) => {
      const user = await putUser(store, 'ann', [{ provider: 'idp' }]);
      const basis = await issue('ann', user.metadata.uid);
      const groups = async () => (await identities.resolve(basis))!.groups;
      expect(await groups()).not.toContain('ops');
      await putGroup(at(where).objects, 'ops', ['ann']);
      expect(await groups()).toContain('ops');
      await remove(at(where).objects, groupsResource, { name: 'ops' });
      expect(await groups()).not.toContain('ops');
    });

    test.each(places)('has the role of the local user as it is now, when it was changed %s', async (where) => {
      await users.putUser({ name: 'bob', passwordHash: hash, role: 'admin' });
      const user = await putUser(store, 'bob', [{ provider: 'local' }]);
      const basis = await issue('bob', user.metadata.uid);
      const groups = async () => (await identities.resolve(basis))!.groups;
      expect(await groups()).toContain('system:masters');
      await at(where).users.putUser({ name: 'bob', passwordHash: hash, role: 'user' });
      expect(await groups()).not.toContain('system:masters');
    });

    test.each(places)('has lost the rights of its local identity when that was taken away %s', async (where) => {
      await users.putUser({ name: 'root', passwordHash: hash, role: 'admin' });
      const user = await putUser(store, 'root', [{ provider: 'local' }, { provider: 'idp' }]);
      const basis = await issue('root', user.metadata.uid);
      expect((await identities.resolve(basis))!.groups).toContain('system:masters');
      const { objects } = at(where);
      const stored = (await objects.find({ resource: usersResource, namespace: '', name: 'root' }))!;
      const object = { ...stored, identities: ['idp:root'] };
      await objects.commit([{ kind: 'replace', resource: usersResource, object }]);
      expect((await identities.resolve(basis))!.groups).not.toContain('system:masters');
    });

    test.each(places)('is not that of a local user who came later %s under the same name', async (where) => {
      const later = new KyselyUserRecords(at(where).db, () => new Date(Date.now() + 60_000));
      await users.putUser({ name: 'bob', passwordHash: hash, role: 'user' });
      const user = await putUser(store, 'bob', [{ provider: 'local' }]);
      const basis = await issue('bob', user.metadata.uid);
      expect(await identities.resolve(basis)).toMatchObject({ name: 'bob' });
      await later.removeUser('bob');
      await later.putUser({ name: 'bob', passwordHash: hash, role: 'user' });
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test.each(places)(
      'is gone when the user was removed %s, and stays so when one of that name comes',
      async (where) => {
        const user = await putUser(store, 'ann', [{ provider: 'idp' }]);
        const basis = await issue('ann', user.metadata.uid);
        expect(await identities.resolve(basis)).toBeDefined();
        await remove(at(where).objects, usersResource, { name: 'ann' });
        expect(await identities.resolve(basis)).toBeUndefined();
        await put(at(where).objects, usersResource, { name: 'ann' }, { identities: ['idp:ann'] });
        expect(await identities.resolve(basis)).toBeUndefined();
      },
    );

    test.each(places)('of a local user is gone when that user was removed %s', async (where) => {
      await users.putUser({ name: 'bob', passwordHash: hash, role: 'user' });
      const user = await putUser(store, 'bob', [{ provider: 'local' }]);
      const basis = await issue('bob', user.metadata.uid);
      expect(await identities.resolve(basis)).toMatchObject({ name: 'bob' });
      await at(where).users.removeUser('bob');
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test('of a local user who can also come by a provider stays when the local one was removed', async () => {
      await users.putUser({ name: 'bob', passwordHash: hash, role: 'admin' });
      const user = await putUser(store, 'bob', [{ provider: 'local' }, { provider: 'idp' }]);
      const basis = await issue('bob', user.metadata.uid);
      expect((await identities.resolve(basis))!.groups).toContain('system:masters');
      await users.removeUser('bob');
      expect((await identities.resolve(basis))!.groups).toEqual(['system:authenticated', 'system:authenticated:oauth']);
    });

    test('has the rights of an administrator only where the local user of that name is one', async () => {
      await users.putUser({ name: 'root', passwordHash: hash, role: 'admin' });
      const stranger = await putUser(store, 'root', [{ provider: 'idp' }]);
      const groups = async (uid: string) => (await identities.resolve(await issue('root', uid)))!.groups;
      expect(await groups(stranger.metadata.uid)).not.toContain('system:masters');
      await remove(store, usersResource, { name: 'root' });
      const local = await put(store, usersResource, { name: 'root' }, { identities: ['local:root'] });
      expect(await groups(local.metadata.uid)).toContain('system:masters');
      await users.putUser({ name: 'root', passwordHash: hash, role: 'user' });
      expect(await groups(local.metadata.uid)).not.toContain('system:masters');
    });

    test('is not that of a local user whose identity is of another name', async () => {
      await users.putUser({ name: 'root', passwordHash: hash, role: 'admin' });
      const user = await put(store, usersResource, { name: 'root' }, { identities: ['local:bob'] });
      const principal = await identities.resolve(await issue('root', user.metadata.uid));
      expect(principal!.groups).not.toContain('system:masters');
    });
  });

  describe('that stands on a service account', () => {
    const account = { namespace: 'team', name: 'robot' };
    const putAccount = (uid: string) => put(store, 'serviceaccounts', { ...account, uid }, {});
    const basis: Basis = { kind: 'service-account', ...account, uid: 'first' };

    test('is the service account, in the groups of its namespace', async () => {
      await putAccount('first');
      await putGroup(store, 'dev', ['system:serviceaccount:team:robot']);
      expect(await identities.resolve(basis)).toEqual({
        kind: 'service-account',
        name: 'system:serviceaccount:team:robot',
        uid: 'first',
        groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
        basis,
      });
    });

    test.each(places)('is gone when it was removed %s, and stays so when one of that name comes', async (where) => {
      await putAccount('first');
      expect(await identities.resolve(basis)).toBeDefined();
      await remove(at(where).objects, 'serviceaccounts', account);
      expect(await identities.resolve(basis)).toBeUndefined();
      await put(at(where).objects, 'serviceaccounts', { ...account, uid: 'second' }, {});
      expect(await identities.resolve(basis)).toBeUndefined();
      expect(await identities.resolve({ ...basis, uid: 'second' })).toBeDefined();
    });

    test.each([
      { name: 'uid', other: { ...basis, uid: 'second' } },
      { name: 'namespace', other: { ...basis, namespace: 'other' } },
      { name: 'secret', other: { ...basis, secret: { name: 'robot-token', uid: 's1' } } },
    ] satisfies { name: string; other: Basis }[])(
      'is nobody with another $name, though it was seen before',
      async ({ other }) => {
        await putAccount('first');
        expect(await identities.resolve(basis)).toBeDefined();
        expect(await identities.resolve(other)).toBeUndefined();
      },
    );

    test('is not one of that name in another namespace', async () => {
      await put(store, 'serviceaccounts', { ...account, namespace: 'other', uid: 'first' }, {});
      expect(await identities.resolve(basis)).toBeUndefined();
    });

    test.each(places)('is gone when the secret it is bound to was removed %s, or is another', async (where) => {
      await putAccount('first');
      const secret = { namespace: 'team', name: 'robot-token' };
      await put(store, 'secrets', { ...secret, uid: 's1' }, {});
      const bound: Basis = { ...basis, secret: { name: secret.name, uid: 's1' } };
      expect(await identities.resolve(bound)).toMatchObject({ name: 'system:serviceaccount:team:robot' });
      await remove(at(where).objects, 'secrets', secret);
      expect(await identities.resolve(bound)).toBeUndefined();
      await put(at(where).objects, 'secrets', { ...secret, uid: 's2' }, {});
      expect(await identities.resolve(bound)).toBeUndefined();
      expect(await identities.resolve(basis)).toBeDefined();
    });
  });
});
