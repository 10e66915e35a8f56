import { describe, expect, test, vi } from 'vitest';
import { ensureDefaultPolicy, openshiftDefaults, projectDefaults } from '../../src/access/default-policy.js';
import { defaultClusterRoleBindings, defaultClusterRoles } from '../../src/auth/default-roles.js';
import { AccessPolicy } from '../../src/auth/policy.js';
import type { AccessRequest } from '../../src/auth/rules.js';
import type { ApiObject, ObjectStore } from '../../src/metadata/object-store.js';
import { loggedIn } from '../support/api-call.js';
import { now, openStore, startAccessApi } from './access-api.js';

const clusterRoles = 'clusterroles.rbac.authorization.k8s.io';
const clusterRoleBindings = 'clusterrolebindings.rbac.authorization.k8s.io';

async function namesIn(store: ObjectStore, resource: string, namespace = ''): Promise<readonly string[]> {
  const { objects } = await store.list({ resource, namespace, limit: 1000 });
  return objects.map(({ metadata }) => metadata.name);
}

const sorted = (objects: readonly { readonly metadata: { readonly name: string } }[]) =>
  objects.map(({ metadata }) => metadata.name).sort();

describe('the default policy', () => {
  test('is there after the first start, in one commit', async () => {
    const store = await openStore();
    await ensureDefaultPolicy(store, () => now);
    expect(await namesIn(store, clusterRoles)).toEqual(sorted(defaultClusterRoles));
    expect(await namesIn(store, clusterRoleBindings)).toEqual(sorted(defaultClusterRoleBindings));
    const view = await store.find({ resource: clusterRoles, namespace: '', name: 'view' });
    expect(view!.metadata).toMatchObject({
      creationTimestamp: '2024-05-01T12:00:00Z',
      uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
      annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
    });
  });

  test('is written once', async () => {
    const store = await openStore();
    await ensureDefaultPolicy(store, () => now);
    const version = await store.currentVersion();
    await ensureDefaultPolicy(store, () => now);
    expect(await store.currentVersion()).toBe(version);
  });

  test('is written once when another process starts at the same time', async () => {
    const store = await openStore();
    const commit = vi.spyOn(store, 'commit').mockImplementationOnce(async (writes) => {
      // The other one comes in between looking and writing.
      await ensureDefaultPolicy(store, () => now);
      return store.commit(writes);
    });
    await ensureDefaultPolicy(store, () => now);
    expect(await store.currentVersion()).toBe(defaultClusterRoles.length + defaultClusterRoleBindings.length);
    // As it was called, the other one's, and its own in the end: refused, and not made again.
    expect(commit).toHaveBeenCalledTimes(3);
  });

  test('is added to what another process has just changed', async () => {
    const api = await startAccessApi();
    const target = { resource: 'clusterroles' };
    const rule = (verb: string) => ({ verbs: [verb], apiGroups: ['x'], resources: ['y'] });
    const change = (verb: string) =>
      api.update(target, 'system:image-puller', (role) => ({ ...role, rules: [rule(verb)] }));
    await change('list');
    vi.spyOn(api.store, 'commit').mockImplementationOnce(async (writes) => {
      await change('watch');
      return api.store.commit(writes);
    });
    await ensureDefaultPolicy(api.store, () => now);
    const { rules } = await api.get(target, 'system:image-puller');
    expect(rules).toMatchObject([rule('watch'), { resources: ['imagestreams/layers'] }]);
  });

  test('is given up when it can never be written', async () => {
    const store = await openStore();
    vi.spyOn(store, 'commit').mockResolvedValue({ kind: 'refused', reason: 'conflict', index: 0 });
    await expect(ensureDefaultPolicy(store, () => now)).rejects.toThrow('could not be stored: conflict');
  });

  test('lets those in the groups of admins do everything', async () => {
    const store = await openStore();
    await ensureDefaultPolicy(store, () => now);
    const policy = new AccessPolicy(store);
    const request = { kind: 'resource', verb: 'delete', group: 'x', resource: 'y' } as const;
    expect(await policy.allows(loggedIn('ada', 'system:cluster-admins'), request)).toBe(true);
    expect(await policy.allows(loggedIn('ada'), request)).toBe(false);
  });

  test('that was deleted in part comes back', async () => {
    const api = await startAccessApi();
    await api.remove({ resource: 'clusterroles' }, 'system:image-puller');
    await api.remove({ resource: 'clusterrolebindings' }, 'basic-users');
    await ensureDefaultPolicy(api.store, () => now);
    expect(await namesIn(api.store, clusterRoles)).toContain('system:image-puller');
    expect(await namesIn(api.store, clusterRoleBindings)).toContain('basic-users');
  });
});

describe('at a start', () => {
  test.each<{
    readonly name: string;
    readonly resource: 'clusterroles' | 'clusterrolebindings';
    readonly object: string;
    readonly change: (object: ApiObject) => object;
    readonly fields: (object: ApiObject) => unknown;
    readonly expected: unknown;
  }>([
    {
      name: 'a missing rule comes back, and what was added stays',
      resource: 'clusterroles',
      object: 'system:image-puller',
      change: (role) => ({ ...role, rules: [{ verbs: ['list'], apiGroups: ['x'], resources: ['y'] }] }),
      fields: ({ rules }) => rules,
      expected: [
        { verbs: ['list'], apiGroups: ['x'], resources: ['y'] },
        { verbs: ['get'], apiGroups: ['', 'image.openshift.io'], resources: ['imagestreams/layers'] },
      ],
    },
    {
      name: 'a wider rule makes the default one superfluous',
      resource: 'clusterroles',
      object: 'system:image-puller',
      change: (role) => ({ ...role, rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['imagestreams/layers'] }] }),
      fields: ({ rules }) => rules,
      expected: [{ verbs: ['*'], apiGroups: ['*'], resources: ['imagestreams/layers'] }],
    },
    {
      name: 'a missing selector comes back',
      resource: 'clusterroles',
      object: 'view',
      change: (role) => ({ ...role, aggregationRule: { clusterRoleSelectors: [{ matchLabels: { mine: 'yes' } }] } }),
      fields: ({ aggregationRule }) => aggregationRule,
      expected: {
        clusterRoleSelectors: [
          { matchLabels: { mine: 'yes' } },
          { matchLabels: { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' } },
        ],
      },
    },
    {
      name: 'a role that was made to gather others stays so',
      resource: 'clusterroles',
      object: 'system:image-puller',
      change: ({ metadata }) => ({ metadata, aggregationRule: { clusterRoleSelectors: [{}] } }),
      fields: ({ rules, aggregationRule }) => ({ rules, aggregationRule }),
      expected: { rules: undefined, aggregationRule: { clusterRoleSelectors: [{}] } },
    },
    {
      name: 'a missing subject comes back, and one who was added stays',
      resource: 'clusterrolebindings',
      object: 'self-provisioners',
      change: (binding) => ({ ...binding, subjects: [{ kind: 'User', name: 'ada' }] }),
      fields: ({ subjects }) => (subjects as { readonly name: string }[]).map(({ name }) => name),
      expected: ['ada', 'system:authenticated:oauth'],
    },
    {
      name: 'what is marked as somebody’s own is left alone',
      resource: 'clusterrolebindings',
      object: 'self-provisioners',
      change: (binding) => ({
        ...binding,
        metadata: {
          ...binding.metadata,
          annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'false' },
        },
        subjects: [],
      }),
      fields: ({ subjects }) => subjects,
      expected: undefined,
    },
    {
      name: 'what is not marked at all is left alone',
      resource: 'clusterroles',
      object: 'system:image-puller',
      change: (role) => ({ ...role, metadata: { ...role.metadata, annotations: {} }, rules: [] }),
      fields: ({ rules }) => rules,
      expected: [],
    },
  ])('$name', async ({ resource, object, change, fields, expected }) => {
    const api = await startAccessApi();
    await api.update({ resource }, object, change);
    await ensureDefaultPolicy(api.store, () => now);
    const key = { resource: `${resource}.rbac.authorization.k8s.io`, namespace: '', name: object };
    expect(fields((await api.store.find(key))!)).toEqual(expected);
    const version = await api.store.currentVersion();
    await ensureDefaultPolicy(api.store, () => now);
    expect(await api.store.currentVersion()).toBe(version);
  });

  test('nobody is added to a binding that gives another role by now', async () => {
    const api = await startAccessApi();
    const target = { resource: 'clusterrolebindings' };
    await api.remove(target, 'basic-users');
    await api.create(target, {
      metadata: { name: 'basic-users', annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' } },
      roleRef: { kind: 'ClusterRole', name: 'cluster-admin' },
    });
    await ensureDefaultPolicy(api.store, () => now);
    expect(await api.get(target, 'basic-users')).not.toHaveProperty('subjects');
  });

  test('a subject that came back has the right', async () => {
    const api = await startAccessApi();
    await api.update({ resource: 'clusterrolebindings' }, 'self-provisioners', ({ metadata, roleRef }) => ({
      metadata,
      roleRef,
    }));
    const request: AccessRequest = {
      kind: 'resource',
      verb: 'create',
      group: 'project.openshift.io',
      resource: 'projectrequests',
    };
    const ada = loggedIn('ada', 'system:authenticated:oauth');
    expect(await api.policy.allows(ada, request)).toBe(false);
    await ensureDefaultPolicy(api.store, () => now);
    expect(await api.policy.allows(ada, request)).toBe(true);
  });
});

describe('a new project', () => {
  test('has an admin, and bindings for its service accounts', async () => {
    const api = await startAccessApi();
    const result = await api.store.commit(projectDefaults('team', now, 'ada'));
    expect(result.kind).toBe('committed');
    expect(await namesIn(api.store, 'rolebindings.rbac.authorization.k8s.io', 'team')).toEqual([
      'admin',
      'system:deployers',
      'system:image-builders',
      'system:image-pullers',
    ]);
    const ask = (verb: string, namespace = 'team'): AccessRequest => ({
      kind: 'resource',
      verb,
      group: 'image.openshift.io',
      resource: 'imagestreams/layers',
      namespace,
    });
    const account = (name: string) =>
      loggedIn(`system:serviceaccount:team:${name}`, 'system:serviceaccounts', 'system:serviceaccounts:team');
    const may = async (who: string | ReturnType<typeof account>, request: AccessRequest) =>
      api.policy.allows(typeof who === 'string' ? loggedIn(who) : who, request);
    expect(await may('ada', ask('update'))).toBe(true);
    expect(await may('ada', ask('get', 'other'))).toBe(false);
    expect(await may('bob', ask('get'))).toBe(false);
    expect(await may(account('default'), ask('get'))).toBe(true);
    expect(await may(account('default'), ask('update'))).toBe(false);
    expect(await may(account('builder'), ask('update'))).toBe(true);
  });

  test('that nobody asked for has no admin', async () => {
    const api = await startAccessApi();
    await api.store.commit(projectDefaults('team', now));
    expect(await namesIn(api.store, 'rolebindings.rbac.authorization.k8s.io', 'team')).not.toContain('admin');
  });
});

test('what is in namespace openshift is for everybody to pull who is logged in', async () => {
  const api = await startAccessApi();
  await api.store.commit([
    {
      kind: 'create',
      resource: 'namespaces',
      object: { metadata: { name: 'openshift', uid: 'u', creationTimestamp: '2024-05-01T12:00:00Z' } },
    },
    ...projectDefaults('openshift', now),
    ...openshiftDefaults(now),
  ]);
  const pull: AccessRequest = {
    kind: 'resource',
    verb: 'get',
    group: 'image.openshift.io',
    resource: 'imagestreams/layers',
    namespace: 'openshift',
  };
  expect(await api.policy.allows(loggedIn('ada'), pull)).toBe(true);
  expect(await api.policy.allows({ name: 'system:anonymous', groups: ['system:unauthenticated'] }, pull)).toBe(false);
});
