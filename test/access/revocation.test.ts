import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ensureDefaultPolicy } from '../../src/access/default-policy.js';
import { loggedIn } from '../support/api-call.js';
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
