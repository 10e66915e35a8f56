import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { identityGroupsKey, type IdentityObject } from '../../src/auth/identities.js';
import { Logins } from '../../src/identity/logins.js';
import { IdentityServer, OAU, USR } from './identity-server.js';

let server: IdentityServer;
let root: string;
beforeAll(async () => {
  server = await IdentityServer.start();
  root = await server.login('root');
});
afterAll(() => server.stop());

const nobody = {};

describe('the user ~', () => {
  test('is whoever asks', async () => {
    const { status, body } = await server.api('GET', `${USR}/users/~`, { token: root });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      metadata: { name: 'root' },
      groups: ['system:masters', 'system:authenticated', 'system:authenticated:oauth'],
    });
  });

  test('is nobody for the anonymous', async () => {
    expect(await server.api('GET', `${USR}/users/~`, nobody)).toMatchObject({
      status: 403,
      body: { reason: 'Forbidden' },
    });
  });

  test('is made up for those who have no User, such as service accounts', async () => {
    const response = await server.fetch(`${USR}/users/~`, {
      headers: { Authorization: `Bearer ${root}`, 'Impersonate-User': 'system:serviceaccount:team:ci' },
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      kind: 'User',
      metadata: { name: 'system:serviceaccount:team:ci' },
      identities: [],
      groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
    });
    expect((await server.api('GET', `${USR}/users/system:serviceaccount:team:ci`, { token: root })).status).toBe(404);
  });

  test('is all that others may see of users', async () => {
    const token = await server.login('dev');
    for (const path of ['users', 'users/root', 'users/dev', 'groups', 'identities', 'identities/local:root']) {
      expect((await server.api('GET', `${USR}/${path}`, { token })).status, path).toBe(403);
    }
  });
});

describe('users', () => {
  test('are created as oc create user does', async () => {
    expect(
      await server.api('POST', `${USR}/users`, { token: root, body: { metadata: { name: 'joe' }, groups: null } }),
    ).toMatchObject({ status: 201, body: { metadata: { name: 'joe' }, identities: [], groups: [] } });
    expect(
      (await server.api('POST', `${USR}/users`, { token: root, body: { metadata: { name: 'joe' } } })).status,
    ).toBe(409);
  });

  test.each([
    { name: 'a reserved name', body: { metadata: { name: 'system:admin' } }, field: 'metadata.name' },
    { name: 'a name of the API', body: { metadata: { name: '~' } }, field: 'metadata.name' },
    { name: 'groups', body: { metadata: { name: 'x1' }, groups: ['system:masters'] }, field: 'groups' },
    {
      name: 'an identity that is none',
      body: { metadata: { name: 'x1' }, identities: ['bob'] },
      field: 'identities[0]',
    },
  ])('cannot have $name', async ({ body, field }) => {
    const answer = await server.api('POST', `${USR}/users`, { token: root, body });
    expect(answer).toMatchObject({ status: 422, body: { details: { causes: [{ field }] } } });
  });

  test('take nothing that is not theirs', async () => {
    const body = {
      metadata: { name: 'mallory', uid: 'mine', creationTimestamp: '2001-01-01T00:00:00Z', resourceVersion: '' },
      role: 'admin',
      isAdmin: true,
      passwordHash: '$2b$10$x',
      fullName: 'M',
    };
    const { status, body: made } = await server.api('POST', `${USR}/users`, { token: root, body });
    expect(status).toBe(201);
    expect(Object.keys(made).sort()).toEqual(['apiVersion', 'fullName', 'groups', 'identities', 'kind', 'metadata']);
    expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(made.metadata.creationTimestamp).toBe('2026-03-01T12:00:00Z');
    expect(await server.records.findUser('mallory')).toBeUndefined();
    expect((await server.api('POST', `${USR}/users?fieldValidation=Strict`, { token: root, body })).status).toBe(400);
  });

  test('are made by nobody but administrators', async () => {
    const token = await server.login('dev');
    for (const [path, body] of [
      ['users', { metadata: { name: 'x2' } }],
      ['groups', { metadata: { name: 'x2' }, users: ['dev'] }],
      ['identities', { metadata: { name: 'sso:x2' }, providerName: 'sso', providerUserName: 'x2' }],
    ] as const) {
      expect((await server.api('POST', `${USR}/${path}`, { token, body })).status, path).toBe(403);
      expect((await server.api('POST', `${USR}/${path}`, { body })).status, path).toBe(403);
    }
    expect((await server.api('PATCH', `${USR}/users/dev`, { token, body: { fullName: 'x' } })).status).toBe(403);
  });

  test('are shown in columns', async () => {
    const response = await server.fetch(`${USR}/users`, {
      headers: { Authorization: `Bearer ${root}`, Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    const table = (await response.json()) as {
      columnDefinitions: { name: string }[];
      rows: { cells: unknown[] }[];
    };
    expect(table.columnDefinitions.map(({ name }) => name)).toEqual(['Name', 'UID', 'Full Name', 'Identities']);
    expect(table.rows.map(({ cells }) => [cells[0], cells[2], cells[3]])).toContainEqual(['root', '', 'local:root']);
  });

  test('that are deleted lose password, tokens and identities at once', async () => {
    await server.addUser('leaver', 'user');
    const token = await server.login('leaver');
    expect((await server.api('GET', `${USR}/identities/local:leaver`, { token: root })).status).toBe(200);
    const before = await server.api('GET', `${OAU}/oauthaccesstokens?fieldSelector=userName%3Dleaver`, { token: root });
    expect(before.body['items']).toHaveLength(1);

    const dry = { kind: 'DeleteOptions', dryRun: ['All'] };
    expect((await server.api('DELETE', `${USR}/users/leaver`, { token: root, body: dry })).status).toBe(200);
    const other = { preconditions: { uid: 'other' } };
    expect((await server.api('DELETE', `${USR}/users/leaver`, { token: root, body: other })).status).toBe(409);
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(200);

    expect(await server.api('DELETE', `${USR}/users/leaver`, { token: root })).toMatchObject({
      status: 200,
      body: { status: 'Success', details: { name: 'leaver', kind: 'users' } },
    });
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
    expect((await server.api('GET', `${USR}/identities/local:leaver`, { token: root })).status).toBe(404);
    const after = await server.api('GET', `${OAU}/oauthaccesstokens?fieldSelector=userName%3Dleaver`, { token: root });
    expect(after.body['items']).toEqual([]);
    expect(await server.records.findUser('leaver')).toBeUndefined();
    expect(await server.login('leaver')).toBe('');
  });

  test('that are deleted and made again do not get their old tokens back', async () => {
    await server.addUser('phoenix', 'user');
    const token = await server.login('phoenix');
    await server.api('DELETE', `${USR}/users/phoenix`, { token: root });
    await server.addUser('phoenix', 'user');
    expect(await server.login('phoenix')).not.toBe('');
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
  });

  test('that are held by a finalizer cannot log in while they go', async () => {
    await server.addUser('held', 'user');
    const token = await server.login('held');
    const body = { metadata: { finalizers: ['example.com/hold'] } };
    await server.api('PATCH', `${USR}/users/held`, { token: root, body });
    await server.api('DELETE', `${USR}/users/held`, { token: root });
    expect((await server.api('GET', `${USR}/users/held`, { token: root })).status).toBe(200);
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
    await server.addUser('held', 'user');
    expect(await server.login('held')).toBe('');
  });

  test('keep at least one administrator', async () => {
    expect(await server.api('DELETE', `${USR}/users/root`, { token: root })).toMatchObject({
      status: 403,
      body: { message: expect.stringContaining('last administrator') as string },
    });
    expect((await server.api('GET', `${USR}/users/~`, { token: root })).status).toBe(200);
  });
});

describe('groups', () => {
  test('are created as oc adm groups new does, and say who is in them', async () => {
    expect(
      await server.api('POST', `${USR}/groups`, { token: root, body: { metadata: { name: 'empty' }, users: null } }),
    ).toMatchObject({ status: 201, body: { users: [] } });
    expect(
      await server.api('POST', `${USR}/groups`, {
        token: root,
        body: { metadata: { name: 'devs' }, users: ['dev', 'joe', 'dev'] },
      }),
    ).toMatchObject({ status: 201, body: { users: ['dev', 'joe'] } });
    const token = await server.login('dev');
    expect((await server.api('GET', `${USR}/users/~`, { token })).body['groups']).toContain('devs');
    await server.api('PATCH', `${USR}/groups/devs`, { token: root, body: { users: ['joe'] } });
    expect((await server.api('GET', `${USR}/users/~`, { token })).body['groups']).not.toContain('devs');
  });

  test.each([
    {
      name: 'a name of the system',
      body: { metadata: { name: 'system:masters' }, users: ['dev'] },
      field: 'metadata.name',
    },
    { name: 'a colon', body: { metadata: { name: 'a:b' } }, field: 'metadata.name' },
    { name: 'users of the system', body: { metadata: { name: 'g1' }, users: ['system:admin'] }, field: 'users[0]' },
  ])('cannot have $name', async ({ body, field }) => {
    const answer = await server.api('POST', `${USR}/groups`, { token: root, body });
    expect(answer).toMatchObject({ status: 422, body: { details: { causes: [{ field }] } } });
  });
});

describe('identities', () => {
  const identity = { metadata: { name: 'sso:1' }, providerName: 'sso', providerUserName: '1' };

  test('are for a user that is there', async () => {
    const made = await server.api('POST', `${USR}/identities`, {
      token: root,
      body: { ...identity, user: { name: 'joe' } },
    });
    const { body: joe } = await server.api('GET', `${USR}/users/joe`, { token: root });
    expect(made).toMatchObject({ status: 201, body: { user: { name: 'joe', uid: joe.metadata.uid } } });
  });

  test.each([
    { name: 'another name', body: { ...identity, metadata: { name: 'sso:2' } }, field: 'metadata.name' },
    { name: 'no provider', body: { metadata: { name: 'sso:2' }, providerUserName: '2' }, field: 'providerName' },
    { name: 'a user that is not there', body: { ...identity, user: { name: 'nobody' } }, field: 'user' },
    { name: 'another uid', body: { ...identity, user: { name: 'joe', uid: 'x' } }, field: 'user' },
    {
      name: 'groups of the system',
      body: { ...identity, extra: { [identityGroupsKey]: '["system:masters"]' } },
      field: `extra[${identityGroupsKey}]`,
    },
    {
      name: 'groups that cannot be read',
      body: { ...identity, extra: { [identityGroupsKey]: 'admins' } },
      field: `extra[${identityGroupsKey}]`,
    },
  ])('cannot have $name', async ({ body, field }) => {
    const answer = await server.api('POST', `${USR}/identities`, { token: root, body });
    expect(answer).toMatchObject({ status: 422, body: { details: { causes: [{ field }] } } });
  });
});

describe('a login', () => {
  const claim = { provider: 'sso', subject: 's-1', preferredName: 'ada' };
  const groupsOf = async (name: string) => {
    const key = { resource: 'identities.user.openshift.io', namespace: '', name };
    return ((await server.store.find(key)) as IdentityObject | undefined)?.extra?.[identityGroupsKey];
  };

  test('makes the user once, and goes on being that user under another preferred name', async () => {
    const logins = new Logins(server.store, server.records, server.clock.now);
    const first = await logins.completeLogin({ ...claim, fullName: 'Ada L.' });
    expect(first.name).toBe('ada');
    const version = await server.store.currentVersion();
    expect(await logins.completeLogin({ ...claim, fullName: 'Ada L.' })).toEqual(first);
    expect(await server.store.currentVersion()).toBe(version);
    expect(await logins.completeLogin({ ...claim, preferredName: 'ada2' })).toEqual(first);
    expect((await server.api('GET', `${USR}/users/ada`, { token: root })).body).toMatchObject({
      fullName: 'Ada L.',
      identities: ['sso:s-1'],
    });
  });

  test('happens once when it comes in two windows at a time', async () => {
    const logins = new Logins(server.store, server.records, server.clock.now);
    const twin = { provider: 'sso', subject: 'twin', preferredName: 'twin' };
    const users = await Promise.all(Array.from({ length: 4 }, () => logins.completeLogin(twin)));
    expect(new Set(users.map(({ uid }) => uid)).size).toBe(1);
  });

  test('replaces the groups of the one before', async () => {
    const logins = new Logins(server.store, server.records, server.clock.now);
    await logins.completeLogin({ ...claim, groups: ['b', 'a', 'a', 'system:masters', 'x\0system:masters'] });
    expect(await groupsOf('sso:s-1')).toBe('["a","b"]');
    await logins.completeLogin({ ...claim, groups: ['c'] });
    expect(await groupsOf('sso:s-1')).toBe('["c"]');
    await logins.completeLogin(claim);
    expect(await groupsOf('sso:s-1')).toBeUndefined();
  });

  test('takes a user that an administrator has made and nobody has used', async () => {
    await server.api('POST', `${USR}/users`, { token: root, body: { metadata: { name: 'waiting' } } });
    const logins = new Logins(server.store, server.records, server.clock.now);
    const user = await logins.completeLogin({ provider: 'sso', subject: 'w', preferredName: 'waiting' });
    expect((await server.api('GET', `${USR}/users/waiting`, { token: root })).body).toMatchObject({
      metadata: { uid: user.uid },
      identities: ['sso:w'],
    });
  });

  test.each([
    { name: 'a name of another identity', claim: { ...claim, subject: 's-2' }, why: /"ada" is somebody else's/ },
    { name: 'a name of the same subject elsewhere', claim: { ...claim, provider: 'other' }, why: /somebody else's/ },
    {
      name: 'a local user who never logged in',
      claim: { ...claim, subject: 's-3', preferredName: 'late' },
      why: /somebody else's/,
    },
    {
      name: 'a name of the system',
      claim: { ...claim, subject: 's-4', preferredName: 'system:admin' },
      why: /cannot be a user name/,
    },
    { name: 'no name', claim: { ...claim, subject: 's-5', preferredName: '' }, why: /cannot be a user name/ },
    { name: 'no subject', claim: { ...claim, subject: '' }, why: /cannot be kept here/ },
  ])('does not take $name', async ({ claim: other, why }) => {
    await server.addUser('late', 'user');
    const logins = new Logins(server.store, server.records, server.clock.now);
    await expect(logins.completeLogin(other)).rejects.toThrow(why);
  });
});
