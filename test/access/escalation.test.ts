import { describe, expect, test } from 'vitest';
import type { Principal } from '../../src/auth/principal.js';
import type { JsonObject } from '../../src/kube/json.js';
import { loggedIn, master } from '../support/api-call.js';
import { rbac, startAccessApi, type AccessApi, type Target } from './access-api.js';

const readSecrets = { verbs: ['get'], apiGroups: [''], resources: ['secrets'] };
const readStreams = { verbs: ['get', 'list'], apiGroups: ['image.openshift.io'], resources: ['imagestreams'] };
const everything = { verbs: ['*'], apiGroups: ['*'], resources: ['*'] };
const everyPath = { verbs: ['*'], nonResourceURLs: ['*'] };
const manageRbac = (resource: string, ...verbs: string[]) => ({ verbs, apiGroups: [rbac], resources: [resource] });

/** Makes a ClusterRole as somebody who may, and gives it to somebody, everywhere or in a namespace. */
async function give(api: AccessApi, user: string, rules: readonly JsonObject[], namespace = ''): Promise<void> {
  const role = await api.create({ resource: 'clusterroles' }, { metadata: { generateName: 'given-' }, rules });
  await api.bind(user, (role['metadata'] as { name: string }).name, namespace);
}

const bob = loggedIn('bob');

type Outcome = 'allowed' | 'Forbidden' | 'NotFound';

async function outcomeOf(attempt: Promise<unknown>): Promise<Outcome> {
  return attempt.then(
    () => 'allowed' as const,
    (error: unknown) => (error as { readonly reason: Outcome }).reason,
  );
}

const inTeam = (resource: string, as: Principal = bob): Target => ({ as, resource, namespace: 'team' });
const everywhere = (resource: string, as: Principal = bob): Target => ({ as, resource });
const roleWith = (...rules: readonly JsonObject[]): JsonObject => ({ metadata: { name: 'new' }, rules });
const bindingOf = (kind: 'ClusterRole' | 'Role', name: string): JsonObject => ({
  metadata: { name: 'new' },
  subjects: [{ kind: 'User', name: 'eve' }],
  roleRef: { kind, name },
});

describe('who may create what', () => {
  test.each<{
    readonly name: string;
    readonly prepare: (api: AccessApi) => Promise<unknown>;
    readonly attempt: (api: AccessApi) => Promise<unknown>;
    readonly expected: Outcome;
  }>([
    {
      name: 'an editor may not write roles at all',
      prepare: (api) => api.bind('bob', 'edit', 'team'),
      attempt: (api) => api.create(inTeam('roles'), roleWith(readStreams)),
      expected: 'Forbidden',
    },
    {
      name: 'an editor who may write roles writes one with what editors may do',
      prepare: async (api) => {
        await api.bind('bob', 'edit', 'team');
        await give(api, 'bob', [manageRbac('roles', 'create')], 'team');
      },
      attempt: (api) => api.create(inTeam('roles'), roleWith(readStreams, readSecrets)),
      expected: 'allowed',
    },
    {
      name: 'and not one with more',
      prepare: async (api) => {
        await api.bind('bob', 'edit', 'team');
        await give(api, 'bob', [manageRbac('roles', 'create')], 'team');
      },
      attempt: (api) => api.create(inTeam('roles'), roleWith(readStreams, manageRbac('rolebindings', 'create'))),
      expected: 'Forbidden',
    },
    {
      name: 'an admin of a project writes no role with a wildcard',
      prepare: (api) => api.bind('bob', 'admin', 'team'),
      attempt: (api) => api.create(inTeam('roles'), roleWith(everything)),
      expected: 'Forbidden',
    },
    {
      name: 'an admin of a project writes no role in another',
      prepare: (api) => api.bind('bob', 'admin', 'team'),
      attempt: (api) => api.create({ ...inTeam('roles'), namespace: 'other' }, roleWith(readStreams)),
      expected: 'Forbidden',
    },
    {
      name: 'who may escalate writes what they like',
      prepare: (api) => give(api, 'bob', [manageRbac('roles', 'create', 'escalate')], 'team'),
      attempt: (api) => api.create(inTeam('roles'), roleWith(everything)),
      expected: 'allowed',
    },
    {
      name: 'a right to escalate one role by name is none to create it',
      prepare: (api) =>
        give(
          api,
          'bob',
          [manageRbac('roles', 'create'), { ...manageRbac('roles', 'escalate'), resourceNames: ['new'] }],
          'team',
        ),
      attempt: (api) => api.create(inTeam('roles'), roleWith(everything)),
      expected: 'Forbidden',
    },
    {
      name: 'rights in a project do not make a ClusterRole',
      prepare: async (api) => {
        await api.bind('bob', 'admin', 'team');
        await give(api, 'bob', [manageRbac('clusterroles', 'create')]);
      },
      attempt: (api) => api.create(everywhere('clusterroles'), roleWith(readSecrets)),
      expected: 'Forbidden',
    },
    {
      name: 'an aggregationRule takes more than the right to everything but paths',
      prepare: (api) => give(api, 'bob', [everything]),
      attempt: (api) =>
        api.create(everywhere('clusterroles'), {
          metadata: { name: 'new' },
          aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
        }),
      // Whoever may do everything with resources may also escalate.
      expected: 'allowed',
    },
    {
      name: 'an aggregationRule is not for who may only write ClusterRoles',
      prepare: (api) => give(api, 'bob', [manageRbac('clusterroles', 'create', 'update')]),
      attempt: (api) =>
        api.create(everywhere('clusterroles'), {
          metadata: { name: 'new' },
          aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
        }),
      expected: 'Forbidden',
    },
    ...(
      ['view', 'edit', 'admin', 'registry-viewer', 'registry-editor', 'registry-admin', 'system:deployer'] as const
    ).map((role) => ({
      name: `an admin of a project gives ${role} in it`,
      prepare: (api: AccessApi) => api.bind('bob', 'admin', 'team'),
      attempt: (api: AccessApi) => api.create(inTeam('rolebindings'), bindingOf('ClusterRole', role)),
      expected: 'allowed' as const,
    })),
    ...(['cluster-admin', 'cluster-reader', 'system:image-pruner'] as const).map((role) => ({
      name: `an admin of a project does not give ${role}, not even in it`,
      prepare: (api: AccessApi) => api.bind('bob', 'admin', 'team'),
      attempt: (api: AccessApi) => api.create(inTeam('rolebindings'), bindingOf('ClusterRole', role)),
      expected: 'Forbidden' as const,
    })),
    {
      name: 'an admin of a project gives nothing in another',
      prepare: (api) => api.bind('bob', 'admin', 'team'),
      attempt: (api) => api.create({ ...inTeam('rolebindings'), namespace: 'other' }, bindingOf('ClusterRole', 'view')),
      expected: 'Forbidden',
    },
    {
      name: 'rights in a project are not given everywhere',
      prepare: async (api) => {
        await api.bind('bob', 'admin', 'team');
        await give(api, 'bob', [manageRbac('clusterrolebindings', 'create')]);
      },
      attempt: (api) => api.create(everywhere('clusterrolebindings'), bindingOf('ClusterRole', 'view')),
      expected: 'Forbidden',
    },
    {
      name: 'who may bind a role gives it without having it',
      prepare: (api) =>
        give(api, 'bob', [
          manageRbac('rolebindings', 'create'),
          { ...manageRbac('clusterroles', 'bind'), resourceNames: ['cluster-admin'] },
        ]),
      attempt: (api) => api.create(inTeam('rolebindings'), bindingOf('ClusterRole', 'cluster-admin')),
      expected: 'allowed',
    },
    {
      name: 'and no other role',
      prepare: (api) =>
        give(api, 'bob', [
          manageRbac('rolebindings', 'create'),
          { ...manageRbac('clusterroles', 'bind'), resourceNames: ['view'] },
        ]),
      attempt: (api) => api.create(inTeam('rolebindings'), bindingOf('ClusterRole', 'cluster-admin')),
      expected: 'Forbidden',
    },
    {
      name: 'a right to bind in a project does not reach beyond it',
      prepare: async (api) => {
        await give(api, 'bob', [manageRbac('clusterroles', 'bind')], 'team');
        await give(api, 'bob', [manageRbac('clusterrolebindings', 'create')]);
      },
      attempt: (api) => api.create(everywhere('clusterrolebindings'), bindingOf('ClusterRole', 'view')),
      expected: 'Forbidden',
    },
    {
      name: 'a role that is not there is bound by nobody who might gain by it',
      prepare: (api) => api.bind('bob', 'admin', 'team'),
      attempt: (api) => api.create(inTeam('rolebindings'), bindingOf('Role', 'later')),
      expected: 'NotFound',
    },
    {
      name: 'nor is a ClusterRole that is not there',
      prepare: (api) => api.bind('bob', 'admin', 'team'),
      attempt: (api) => api.create(inTeam('rolebindings'), bindingOf('ClusterRole', 'later')),
      expected: 'NotFound',
    },
    {
      name: 'a role of another project is not there',
      prepare: async (api) => {
        await api.bind('bob', 'admin', 'team');
        await api.create({ resource: 'roles', namespace: 'other' }, roleWith(readStreams));
      },
      attempt: (api) => api.create(inTeam('rolebindings'), bindingOf('Role', 'new')),
      expected: 'NotFound',
    },
    {
      name: 'who may bind every role binds one that is to come',
      prepare: (api) => give(api, 'bob', [manageRbac('rolebindings', 'create'), manageRbac('roles', 'bind')], 'team'),
      attempt: (api) => api.create(inTeam('rolebindings'), bindingOf('Role', 'later')),
      expected: 'allowed',
    },
    {
      name: 'who may do everything binds a role that is to come',
      prepare: () => Promise.resolve(),
      attempt: (api) => api.create(inTeam('rolebindings', master), bindingOf('Role', 'later')),
      expected: 'allowed',
    },
    {
      name: 'a cluster-admin gives cluster-admin',
      prepare: (api) => api.bind('bob', 'cluster-admin'),
      attempt: (api) => api.create(everywhere('clusterrolebindings'), bindingOf('ClusterRole', 'cluster-admin')),
      expected: 'allowed',
    },
    {
      name: 'a token that is narrowed gives nothing, whoever has it',
      prepare: async (api) => {
        await api.bind('bob', 'admin', 'team');
      },
      attempt: (api) =>
        api.create(
          inTeam('rolebindings', { ...bob, access: [{ type: 'repository', name: 'team/app', actions: ['pull'] }] }),
          bindingOf('ClusterRole', 'view'),
        ),
      expected: 'Forbidden',
    },
  ])('$name', async ({ prepare, attempt, expected }) => {
    const api = await startAccessApi();
    await prepare(api);
    expect(await outcomeOf(attempt(api))).toBe(expected);
  });
});

describe('what an update gives', () => {
  test('more rules are checked, other labels of a Role are not', async () => {
    const api = await startAccessApi();
    await api.create({ resource: 'roles', namespace: 'team' }, roleWith(everything));
    await give(api, 'bob', [manageRbac('roles', 'update')], 'team');
    await api.update(inTeam('roles'), 'new', (role) => ({
      ...role,
      metadata: { ...role.metadata, labels: { a: 'b' } },
    }));
    const more = api.update(inTeam('roles'), 'new', (role) => ({
      ...role,
      rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*', 'pods'] }],
    }));
    expect(await outcomeOf(more)).toBe('Forbidden');
  });

  test('who may escalate one role by name changes that one', async () => {
    const api = await startAccessApi();
    await api.create({ resource: 'roles', namespace: 'team' }, roleWith(readStreams));
    await api.create({ resource: 'roles', namespace: 'team' }, { ...roleWith(), metadata: { name: 'another' } });
    await give(
      api,
      'bob',
      [manageRbac('roles', 'update'), { ...manageRbac('roles', 'escalate'), resourceNames: ['new'] }],
      'team',
    );
    const widen = (name: string) =>
      outcomeOf(api.update(inTeam('roles'), name, (role) => ({ ...role, rules: [everything] })));
    expect(await widen('new')).toBe('allowed');
    expect(await widen('another')).toBe('Forbidden');
  });

  test('a label that puts a role into an aggregated one is a right given', async () => {
    const api = await startAccessApi();
    await api.create({ resource: 'clusterroles' }, roleWith(everything));
    await give(api, 'bob', [manageRbac('clusterroles', 'update')]);
    await api.bind('bob', 'view', 'team');
    const label = (as: Principal, labels: Readonly<Record<string, string>>) =>
      outcomeOf(
        api.update(everywhere('clusterroles', as), 'new', (role) => ({
          ...role,
          metadata: { ...role.metadata, labels },
        })),
      );
    expect(await label(bob, { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' })).toBe('Forbidden');
    const annotate = api.update(everywhere('clusterroles'), 'new', (role) => ({
      ...role,
      metadata: { ...role.metadata, annotations: { 'weir.dev/note': 'mine' } },
    }));
    expect(await outcomeOf(annotate)).toBe('allowed');

    const deleteStreams = {
      kind: 'resource',
      verb: 'delete',
      group: 'image.openshift.io',
      resource: 'imagestreams',
      namespace: 'team',
    } as const;
    expect(await api.policy.allows(bob, deleteStreams)).toBe(false);
    expect(await label(master, { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' })).toBe('allowed');
    expect(await api.policy.allows(bob, deleteStreams)).toBe(true);
  });

  test('an aggregationRule is taken away, changed and relabelled by cluster-admins only', async () => {
    const api = await startAccessApi();
    await give(api, 'bob', [manageRbac('clusterroles', 'update')]);
    const changes: readonly ((role: { readonly metadata: object }) => object)[] = [
      ({ metadata }) => ({ metadata, rules: [] }),
      ({ metadata }) => ({ metadata, aggregationRule: { clusterRoleSelectors: [{}] } }),
      (role) => ({ ...role, metadata: { ...role.metadata, labels: { mine: 'true' } } }),
    ];
    for (const change of changes) {
      await expect(api.update(everywhere('clusterroles'), 'edit', change)).rejects.toThrow(
        'must have cluster-admin privileges to use the aggregationRule',
      );
    }
  });

  test('nobody adds themselves to a binding of a role that they could not give', async () => {
    const api = await startAccessApi();
    await api.create({ resource: 'rolebindings', namespace: 'team' }, bindingOf('ClusterRole', 'cluster-admin'));
    await api.bind('bob', 'admin', 'team');
    const target = inTeam('rolebindings');
    const addSelf = api.update(target, 'new', (binding) => ({
      ...binding,
      subjects: [...(binding['subjects'] as object[]), { kind: 'User', name: 'bob' }],
    }));
    expect(await outcomeOf(addSelf)).toBe('Forbidden');
    const label = api.update(target, 'new', (binding) => ({
      ...binding,
      metadata: { ...binding.metadata, labels: { a: 'b' } },
    }));
    expect(await outcomeOf(label)).toBe('allowed');
    await api.remove(target, 'new');
  });

  test('nobody has a default brought back at the next start that they could not give', async () => {
    const api = await startAccessApi();
    await give(api, 'bob', [manageRbac('clusterrolebindings', 'update')]);
    const target = everywhere('clusterrolebindings');
    const changed = (as: Principal, value: string) =>
      api.update({ ...target, as }, 'cluster-admins', (binding) => ({
        ...binding,
        metadata: {
          ...binding.metadata,
          annotations: { 'rbac.authorization.kubernetes.io/autoupdate': value },
        },
      }));
    await changed(master, 'false');
    expect(await outcomeOf(changed(bob, 'true'))).toBe('Forbidden');
  });
});

test('the refusal says who asked and what is missing, in the words of Kubernetes', async () => {
  const api = await startAccessApi();
  await give(api, 'bob', [manageRbac('roles', 'create')], 'team');
  const attempt = api.create(
    inTeam('roles', loggedIn('bob', 'devs')),
    roleWith(readSecrets, { ...readSecrets, verbs: ['list'] }, readStreams),
  );
  await expect(attempt).rejects.toThrow(
    [
      'roles.rbac.authorization.k8s.io "new" is forbidden: user "bob" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:',
      '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}',
      '{APIGroups:["image.openshift.io"], Resources:["imagestreams"], Verbs:["get" "list"]}',
    ].join('\n'),
  );
});

test('a refusal about very many rights names a hundred of them', async () => {
  const api = await startAccessApi();
  await give(api, 'bob', [manageRbac('roles', 'create')], 'team');
  const resources = Array.from({ length: 250 }, (_, index) => `things${index}`);
  const attempt = api.create(inTeam('roles'), roleWith({ verbs: ['get'], apiGroups: ['x'], resources }));
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown as Error,
  );
  expect(error!.message.split('\n')).toHaveLength(102);
  expect(error!.message).toMatch(/\nand 150 more$/);
});

test('paths are rights too', async () => {
  const api = await startAccessApi();
  await give(api, 'bob', [manageRbac('clusterroles', 'create')]);
  expect(await outcomeOf(api.create(everywhere('clusterroles'), roleWith(everyPath)))).toBe('Forbidden');
  expect(
    await outcomeOf(
      api.create(everywhere('clusterroles'), roleWith({ verbs: ['get'], nonResourceURLs: ['/version'] })),
    ),
  ).toBe('allowed');
});
