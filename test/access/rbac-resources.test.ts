import { describe, expect, test } from 'vitest';
import { ruleAllows, type PolicyRule } from '../../src/auth/rules.js';
import { OpenApi } from '../../src/kube/openapi.js';
import type { JsonObject } from '../../src/kube/json.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import { toTable } from '../../src/kube/table.js';
import { loggedIn } from '../support/api-call.js';
import { now, startAccessApi } from './access-api.js';

const view = { kind: 'ClusterRole', name: 'view' };

describe('a role or binding is refused', () => {
  test.each<{ readonly name: string; readonly resource: string; readonly body: JsonObject; readonly causes: string[] }>(
    [
      {
        name: 'without verbs',
        resource: 'roles',
        body: { rules: [{ verbs: [], apiGroups: [''], resources: ['secrets'] }] },
        causes: ['rules[0].verbs: Required value: verbs must contain at least one value'],
      },
      {
        name: 'whose rules leave verbs out',
        resource: 'roles',
        body: { rules: [{ apiGroups: [''], resources: ['secrets'] }] },
        causes: ['rules[0].verbs: Required value'],
      },
      {
        name: 'that names neither groups nor resources',
        resource: 'clusterroles',
        body: { rules: [{ verbs: ['get'] }] },
        causes: [
          'rules[0].apiGroups: Required value: resource rules must supply at least one api group',
          'rules[0].resources: Required value: resource rules must supply at least one resource',
        ],
      },
      {
        name: 'that allows paths in a namespace',
        resource: 'roles',
        body: { rules: [{ verbs: ['get'], nonResourceURLs: ['/metrics'] }] },
        causes: [
          'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs',
        ],
      },
      {
        name: 'that mixes paths and resources',
        resource: 'clusterroles',
        body: { rules: [{ verbs: ['get'], nonResourceURLs: ['/metrics'], resources: ['pods'] }] },
        causes: [
          'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: rules cannot apply to both regular resources and non-resource URLs',
        ],
      },
      {
        name: 'that gathers nothing',
        resource: 'clusterroles',
        body: { aggregationRule: { clusterRoleSelectors: [] } },
        causes: [
          'aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil',
        ],
      },
      {
        name: 'that gathers by In without values',
        resource: 'clusterroles',
        body: { aggregationRule: { clusterRoleSelectors: [{ matchExpressions: [{ key: 'a', operator: 'In' }] }] } },
        causes: [
          "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ],
      },
      { name: 'that binds no role', resource: 'rolebindings', body: {}, causes: ['roleRef: Required value'] },
      {
        name: 'that binds a role without a name',
        resource: 'rolebindings',
        body: { roleRef: { kind: 'Role', name: '' } },
        causes: ['roleRef.name: Required value'],
      },
      {
        name: 'that binds a role of another group',
        resource: 'rolebindings',
        body: { roleRef: { apiGroup: 'weir.dev', ...view } },
        causes: ['roleRef.apiGroup: Unsupported value: "weir.dev": supported values: "rbac.authorization.k8s.io"'],
      },
      {
        name: 'that binds a Role everywhere',
        resource: 'clusterrolebindings',
        body: { roleRef: { kind: 'Role', name: 'x' } },
        causes: ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
      },
      {
        name: 'that binds another kind',
        resource: 'rolebindings',
        body: { roleRef: { kind: 'Group', name: 'x' } },
        causes: ['roleRef.kind: Unsupported value: supported values: "ClusterRole", "Role"'],
      },
      {
        name: 'with subjects that cannot be',
        resource: 'rolebindings',
        body: {
          roleRef: view,
          subjects: [
            { kind: 'User', name: '' },
            { kind: 'Group', name: 'devs', apiGroup: 'weir.dev' },
            { kind: 'ServiceAccount', name: 'builder' },
            { kind: 'ServiceAccount', name: 'Builder', namespace: 'team', apiGroup: 'rbac.authorization.k8s.io' },
          ],
        },
        causes: [
          'subjects[0].name: Required value',
          'subjects[1].apiGroup: Unsupported value: "weir.dev": supported values: "rbac.authorization.k8s.io"',
          'subjects[2].namespace: Required value',
          "subjects[3].name: Invalid value: \"Builder\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', must start and end with an alphanumeric character, and has at most 253 of them",
          'subjects[3].apiGroup: Unsupported value: "rbac.authorization.k8s.io": supported values: ""',
        ],
      },
    ],
  )('$name', async ({ resource, body, causes }) => {
    const api = await startAccessApi();
    const isNamespaced = api.resource(resource).isNamespaced;
    const creation = api.create(
      { resource, namespace: isNamespaced ? 'team' : '' },
      { metadata: { name: 'x' }, ...body },
    );
    const error = await creation.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ reason: 'Invalid' });
    const { details } = error as { details: { causes: { field: string; message: string }[] } };
    expect(details.causes.map(({ field, message }) => `${field}: ${message}`)).toEqual(causes);
  });
});

describe('a binding', () => {
  test('is kept with the groups that clients leave out', async () => {
    const api = await startAccessApi();
    const created = await api.create(
      { resource: 'rolebindings', namespace: 'team' },
      {
        metadata: { name: 'system:viewers' },
        subjects: [
          { kind: 'User', name: 'ada' },
          { kind: 'Group', apiGroup: '', name: 'devs' },
          { kind: 'ServiceAccount', apiGroup: '', name: 'robot', namespace: 'other' },
        ],
        roleRef: view,
      },
    );
    expect(created).toMatchObject({ metadata: { name: 'system:viewers', namespace: 'team' } });
    expect({ subjects: created['subjects'], roleRef: created['roleRef'] }).toEqual({
      subjects: [
        { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'ada' },
        { kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'devs' },
        { kind: 'ServiceAccount', name: 'robot', namespace: 'other' },
      ],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    });
  });

  test('cannot be made one of another role', async () => {
    const api = await startAccessApi();
    await api.bind('ada', 'view', 'team');
    const target = { resource: 'rolebindings', namespace: 'team' };
    const [binding] = (await api.list(target)).items;
    const { name } = binding!.metadata;
    await expect(
      api.update(target, name, (object) => ({ ...object, roleRef: { kind: 'ClusterRole', name: 'edit' } })),
    ).rejects.toThrow('cannot change roleRef');
    await expect(
      api.update(target, name, (object) => ({ ...object, roleRef: view })),
      'with its defaults left out it is the same role',
    ).resolves.toMatchObject({ roleRef: { apiGroup: 'rbac.authorization.k8s.io' } });
  });

  test('is shown with its role and its subjects by kind', async () => {
    const api = await startAccessApi();
    const created = await api.create(
      { resource: 'clusterrolebindings' },
      {
        metadata: { name: 'all' },
        subjects: [
          { kind: 'User', name: 'ada' },
          { kind: 'User', name: 'bob' },
          { kind: 'Group', name: 'devs' },
          { kind: 'ServiceAccount', name: 'robot', namespace: 'team' },
        ],
        roleRef: view,
      },
    );
    const table = toTable({
      resource: api.resource('clusterrolebindings'),
      items: [created as never],
      resourceVersion: '1',
      includeObject: 'None',
      now: new Date(now.getTime() + 5 * 60_000),
    });
    expect(table.columnDefinitions.map(({ name, priority }) => [name, priority])).toEqual([
      ['Name', 0],
      ['Role', 0],
      ['Age', 0],
      ['Users', 1],
      ['Groups', 1],
      ['ServiceAccounts', 1],
    ]);
    expect(table.rows[0]!.cells).toEqual(['all', 'ClusterRole/view', '5m', 'ada, bob', 'devs', 'team/robot']);
  });
});

describe('a role', () => {
  test('is shown with its time of creation', async () => {
    const api = await startAccessApi();
    const role = await api.create({ resource: 'roles', namespace: 'team' }, { metadata: { name: 'a:b' } });
    expect(role).toMatchObject({ rules: [] });
    const resource = api.resource('roles');
    const { rows } = toTable({ resource, items: [role as never], resourceVersion: '1', includeObject: 'None', now });
    expect(rows[0]!.cells).toEqual(['a:b', '2024-05-01T12:00:00Z']);
  });

  test('that gathers rules shows them, and keeps none of its own', async () => {
    const api = await startAccessApi();
    const target = { resource: 'clusterroles' };
    const pulls = ({ rules }: ApiObject) =>
      (rules as PolicyRule[]).some((rule) =>
        ruleAllows(rule, {
          kind: 'resource',
          verb: 'get',
          group: 'image.openshift.io',
          resource: 'imagestreams/layers',
        }),
      );
    expect(pulls(await api.get(target, 'view'))).toBe(true);
    expect((await api.list(target)).items.filter(({ metadata }) => metadata.name === 'view').map(pulls)).toEqual([
      true,
    ]);

    const written = await api.update(target, 'view', (object) => ({
      ...object,
      metadata: { ...object.metadata, labels: { mine: 'true' } },
      rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
    }));
    expect(pulls(written)).toBe(true);
    expect(
      await api.store.find({ resource: 'clusterroles.rbac.authorization.k8s.io', namespace: '', name: 'view' }),
    ).not.toHaveProperty('rules');
    await expect(
      api.policy.allows(loggedIn('ada'), { kind: 'resource', verb: 'delete', group: '', resource: 'secrets' }),
    ).resolves.toBe(false);
  });
});

test('every kind explains itself', async () => {
  const api = await startAccessApi();
  const resources = ['roles', 'clusterroles', 'rolebindings', 'clusterrolebindings'].map((name) => api.resource(name));
  const document = new OpenApi(resources).document('rbac.authorization.k8s.io', 'v1');
  for (const text of ['What may be done', 'Who is given the role', 'It cannot be changed', 'gathered from']) {
    expect(document!.text).toContain(text);
  }
});
