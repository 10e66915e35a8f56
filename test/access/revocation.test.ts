import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ensureDefaultPolicy } from '../../src/access/default-policy.js';
import { accessTokenName, AccessTokens } from '../../src/auth/access-tokens.js';
import { groupsResource } from '../../src/auth/identities.js';
import { policyResources } from '../../src/auth/policy.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { loggedIn } from '../support/api-call.js';
import { addPerson, serviceAccountToken } from '../support/identities.js';
import { pushImage } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { putGroup, remove } from '../support/stored-access.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { AccessApi, makeNamespace, now, openStore, startAccessApi } from './access-api.js';

const pull = {
  kind: 'resource',
  verb: 'get',
  group: 'image.openshift.io',
  resource: 'imagestreams/layers',
  namespace: 'team',
} as const;
const ada = loggedIn('ada', 'devs');

async function nameOfOnlyBinding(api: AccessApi): Promise<string> {
  const { items } = await api.list({ resource: 'rolebindings', namespace: 'team' });
  expect(items).toHaveLength(1);
  return items[0]!.metadata.name;
}

test('a right is there and gone with the very next question, in every process', async () => {
  const file = join(await temporaryFolder(), 'weir.sqlite');
  const here = new AccessApi(await openStore(file));
  const there = new AccessApi(await openStore(file));
  await ensureDefaultPolicy(here.store, () => now);
  await makeNamespace(here.store, 'team');
  const mayPull = async () => [await here.policy.allows(ada, pull), await there.policy.allows(ada, pull)];
  expect(await mayPull()).toEqual([false, false]);

  await here.bind('ada', 'view', 'team');
  expect(await mayPull()).toEqual([true, true]);

  await there.remove({ resource: 'rolebindings', namespace: 'team' }, await nameOfOnlyBinding(there));
  expect(await mayPull()).toEqual([false, false]);
});

test('a subject taken off a binding has lost the right', async () => {
  const api = await startAccessApi();
  await api.bind('ada', 'view', 'team');
  expect(await api.policy.allows(ada, pull)).toBe(true);
  await api.update({ resource: 'rolebindings', namespace: 'team' }, await nameOfOnlyBinding(api), (binding) => ({
    ...binding,
    subjects: [{ kind: 'User', name: 'bob' }],
  }));
  expect(await api.policy.allows(ada, pull)).toBe(false);
  expect(await api.policy.allows(loggedIn('bob'), pull)).toBe(true);
});

test('a binding everywhere is found by a user, a group and a service account, and lost with them', async () => {
  const api = await startAccessApi();
  const target = { resource: 'clusterrolebindings' };
  const subjects = [
    { kind: 'User', name: 'eve' },
    { kind: 'Group', name: 'devs' },
    { kind: 'ServiceAccount', namespace: 'other', name: 'robot' },
  ];
  await api.create(target, {
    metadata: { name: 'pullers' },
    subjects,
    roleRef: { kind: 'ClusterRole', name: 'system:image-puller' },
  });
  const everyone = [loggedIn('eve'), ada, loggedIn('system:serviceaccount:other:robot'), loggedIn('zoe')];
  const may = () => Promise.all(everyone.map((who) => api.policy.allows(who, pull)));
  expect(await may()).toEqual([true, true, true, false]);
  await api.update(target, 'pullers', (binding) => ({ ...binding, subjects: subjects.slice(1, 2) }));
  expect(await may()).toEqual([false, true, false, false]);
  await api.remove(target, 'pullers');
  expect(await may()).toEqual([false, false, false, false]);
});

test('a role that loses its rule takes it from whom it was bound to', async () => {
  const api = await startAccessApi();
  const rule = { verbs: ['get'], apiGroups: ['image.openshift.io'], resources: ['imagestreams/layers'] };
  await api.create({ resource: 'roles', namespace: 'team' }, { metadata: { name: 'pull' }, rules: [rule] });
  await api.create(
    { resource: 'rolebindings', namespace: 'team' },
    {
      metadata: { name: 'pull' },
      subjects: [{ kind: 'Group', name: 'devs' }],
      roleRef: { kind: 'Role', name: 'pull' },
    },
  );
  expect(await api.policy.allows(ada, pull)).toBe(true);
  await api.update({ resource: 'roles', namespace: 'team' }, 'pull', (role) => ({ ...role, rules: [] }));
  expect(await api.policy.allows(ada, pull)).toBe(false);
});

test('a label taken from a gathered role takes its rules from the role that gathers', async () => {
  const api = await startAccessApi();
  await api.bind('ada', 'view', 'team');
  expect(await api.policy.allows(ada, pull)).toBe(true);
  await api.update({ resource: 'clusterroles' }, 'registry-viewer', (role) => ({
    ...role,
    metadata: { ...role.metadata, labels: {} },
  }));
  expect(await api.policy.allows(ada, pull)).toBe(false);
  await ensureDefaultPolicy(api.store, () => now);
  expect(await api.policy.allows(ada, pull), 'a start does not bring the label back').toBe(false);
});

describe('a pull that was answered again and again is refused as soon as another process has taken away', () => {
  const robot = { namespace: 'team', name: 'robot' };
  const subject = { kind: 'ServiceAccount', ...robot } as const;
  const bob = { name: 'bob', password: 'bob-secret' };

  const registryToken = (registry: TestRegistry) => registry.token(['repository:team/app:pull'], bob);
  const apiToken = (registry: TestRegistry) => registry.apiToken(bob);
  const accountToken = async (registry: TestRegistry) => {
    const metadata = { name: robot.name };
    await registry.api('/api/v1/namespaces/team/serviceaccounts', { method: 'POST', body: { metadata } });
    return serviceAccountToken(registry, robot.namespace, robot.name);
  };

  /** Behind the API, through a connection of its own. */
  const storeOf = async (registry: TestRegistry) => new KyselyObjectStore(await registry.openDatabase());
  const recordsOf = async (registry: TestRegistry) => new KyselyUserRecords(await registry.openDatabase());
  const removeBindings = async (registry: TestRegistry) => {
    const store = await storeOf(registry);
    const { objects } = await store.list({ resource: policyResources.roleBindings, namespace: 'team', limit: 100 });
    for (const { metadata } of objects) {
      await remove(store, policyResources.roleBindings, { namespace: 'team', name: metadata.name });
    }
  };
  const removeGroup = async (registry: TestRegistry) =>
    remove(await storeOf(registry), groupsResource, { name: 'pullers' });
  const removeUser = async (registry: TestRegistry) => (await recordsOf(registry)).removeUser(bob.name);
  const changePassword = (registry: TestRegistry) => registry.addUser({ ...bob, password: 'new', role: 'user' });
  const revokeToken = async (registry: TestRegistry, token: string) =>
    new AccessTokens(await storeOf(registry)).revoke(accessTokenName(token)!);
  const removeAccount = async (registry: TestRegistry) => remove(await storeOf(registry), 'serviceaccounts', robot);

  test.each([
    { what: 'the binding, from a registry token', token: registryToken, takeAway: removeBindings, status: 403 },
    { what: 'the group, from a registry token', token: registryToken, takeAway: removeGroup, status: 403 },
    { what: 'the user, from a registry token', token: registryToken, takeAway: removeUser, status: 401 },
    { what: 'the password, from a registry token', token: registryToken, takeAway: changePassword, status: 401 },
    { what: 'the binding, from an API token', token: apiToken, takeAway: removeBindings, status: 403 },
    { what: 'the group, from an API token', token: apiToken, takeAway: removeGroup, status: 403 },
    { what: 'the user, from an API token', token: apiToken, takeAway: removeUser, status: 401 },
    { what: 'the token itself', token: apiToken, takeAway: revokeToken, status: 401 },
    { what: 'the binding, from a service account', token: accountToken, takeAway: removeBindings, status: 403 },
    { what: 'the service account', token: accountToken, takeAway: removeAccount, status: 401 },
  ])('$what', async ({ token, takeAway, status }) => {
    const registry = await startRegistry();
    onTestFinished(() => registry.stop());
    await registry.addProject('team');
    const { layer } = await pushImage(registry, 'team/app', 'v1');
    await addPerson(registry, bob.name);
    await putGroup(await storeOf(registry), 'pullers', [bob.name]);
    await registry.bind({ kind: 'Group', name: 'pullers' }, 'system:image-puller', 'team');
    await registry.bind(subject, 'system:image-puller', 'team');
    const as = { token: await token(registry) };
    const pulls = [
      { path: '/v2/team/app/manifests/v1', method: 'GET' },
      { path: `/v2/team/app/blobs/${layer.digest}`, method: 'HEAD' },
    ];
    const pull = () =>
      Promise.all(pulls.map(async ({ path, method }) => (await registry.fetch(path, { as, method })).status));
    for (let round = 0; round < 3; round += 1) expect(await pull()).toEqual([200, 200]);
    await takeAway(registry, as.token);
    expect(await pull()).toEqual([status, status]);
  });
});
