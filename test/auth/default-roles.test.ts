import { describe, expect, test } from 'vitest';
import { aggregateRules } from '../../src/auth/aggregation.js';
import {
  defaultClusterRoleBindings,
  defaultClusterRoles,
  openshiftNamespaceRole,
  openshiftNamespaceRoleBinding,
  projectAdminBinding,
  projectRoleBindings,
} from '../../src/auth/default-roles.js';
import { rulesAllow, uncoveredRules, type AccessRequest, type PolicyRule } from '../../src/auth/rules.js';
import { subjectMatches } from '../../src/auth/subjects.js';

function rulesOf(name: string): readonly PolicyRule[] {
  const role = defaultClusterRoles.find(({ metadata }) => metadata.name === name);
  expect(role, name).toBeDefined();
  return aggregateRules(role!, defaultClusterRoles);
}

function ask(verb: string, resource: string, group = 'image.openshift.io', name?: string): AccessRequest {
  return { kind: 'resource', verb, group, resource, namespace: 'team', ...(name === undefined ? {} : { name }) };
}

const rbac = 'rbac.authorization.k8s.io';

const operations = {
  pull: ask('get', 'imagestreams/layers'),
  push: ask('update', 'imagestreams/layers'),
  'create a stream': ask('create', 'imagestreams'),
  'list streams': ask('list', 'imagestreams'),
  'delete a stream': ask('delete', 'imagestreams'),
  'move a tag': ask('update', 'imagestreamtags'),
  'delete a tag': ask('delete', 'imagestreamtags'),
  import: ask('create', 'imagestreamimports'),
  'read pull secrets': ask('get', 'imagestreams/secrets'),
  'write status': ask('update', 'imagestreams/status'),
  'map an image': ask('create', 'imagestreammappings'),
  'read images': ask('get', 'images'),
  'delete images': ask('delete', 'images'),
  sign: ask('create', 'imagesignatures'),
  'read secrets': ask('get', 'secrets', ''),
  'see the project': ask('get', 'projects', 'project.openshift.io'),
  'delete the project': ask('delete', 'projects', 'project.openshift.io'),
  'let others in': ask('create', 'rolebindings', rbac),
} as const satisfies Record<string, AccessRequest>;
type Operation = keyof typeof operations;

const editing: readonly Operation[] = [
  'pull',
  'push',
  'create a stream',
  'list streams',
  'delete a stream',
  'move a tag',
  'delete a tag',
  'import',
  'read pull secrets',
  'map an image',
  'read secrets',
  'see the project',
];

const matrix: Readonly<Record<string, readonly Operation[]>> = {
  'cluster-admin': [
    'pull',
    'push',
    'create a stream',
    'list streams',
    'delete a stream',
    'move a tag',
    'delete a tag',
    'import',
    'read pull secrets',
    'write status',
    'map an image',
    'read images',
    'delete images',
    'sign',
    'read secrets',
    'see the project',
    'delete the project',
    'let others in',
  ],
  'cluster-reader': ['pull', 'list streams', 'read images', 'see the project'],
  'system:openshift:aggregate-to-cluster-reader': ['pull', 'read images', 'see the project'],

  admin: [...editing, 'delete the project', 'let others in'],
  edit: editing,
  view: ['pull', 'list streams', 'see the project'],
  'system:aggregate-to-admin': ['let others in'],
  'system:aggregate-to-edit': ['read secrets'],
  'system:aggregate-to-view': [],
  'system:openshift:aggregate-to-admin': [
    'pull',
    'push',
    'create a stream',
    'list streams',
    'delete a stream',
    'move a tag',
    'delete a tag',
    'import',
    'read pull secrets',
    'map an image',
    'see the project',
    'delete the project',
  ],
  'system:openshift:aggregate-to-edit': [
    'pull',
    'push',
    'create a stream',
    'list streams',
    'delete a stream',
    'move a tag',
    'delete a tag',
    'import',
    'read pull secrets',
    'map an image',
    'see the project',
  ],
  'system:openshift:aggregate-to-view': ['list streams', 'see the project'],

  'registry-viewer': ['pull', 'list streams', 'see the project'],
  'registry-editor': editing,
  'registry-admin': [...editing, 'delete the project', 'let others in'],

  'system:image-puller': ['pull'],
  'system:image-pusher': ['pull', 'push'],
  'system:image-builder': ['pull', 'push', 'create a stream'],
  'system:image-signer': ['pull', 'read images', 'sign'],
  'system:image-auditor': ['read images'],
  'system:image-pruner': ['list streams', 'write status', 'read images', 'delete images'],
  'system:deployer': ['move a tag'],
  'system:registry': ['pull', 'list streams', 'read pull secrets', 'map an image', 'read images'],

  'self-provisioner': [],
  'basic-user': [],
  'system:basic-user': [],
  'system:discovery': [],
  'system:public-info-viewer': [],
};

describe('the default ClusterRoles', () => {
  test('are all in the matrix, each once', () => {
    expect(defaultClusterRoles.map(({ metadata }) => metadata.name).sort()).toEqual(Object.keys(matrix).sort());
  });

  test.each(Object.entries(matrix))('%s lets do with images exactly what it should', (name, may) => {
    const rules = rulesOf(name);
    const allowed = Object.keys(operations).filter((operation) =>
      rulesAllow(rules, operations[operation as Operation]),
    );
    expect(allowed).toEqual(may);
  });

  test.each(Object.keys(matrix))('%s says the same of the legacy group of image resources', (name) => {
    const rules = rulesOf(name);
    for (const request of Object.values<AccessRequest>(operations)) {
      if (request.kind !== 'resource' || request.group !== 'image.openshift.io') continue;
      expect(rulesAllow(rules, { ...request, group: '' }), request.resource).toBe(rulesAllow(rules, request));
    }
  });

  test('are marked as defaults that a start may bring up to date', () => {
    for (const { metadata } of [...defaultClusterRoles, ...defaultClusterRoleBindings]) {
      expect(metadata.labels, metadata.name).toMatchObject({ 'kubernetes.io/bootstrapping': 'rbac-defaults' });
      expect(metadata.annotations, metadata.name).toMatchObject({
        'rbac.authorization.kubernetes.io/autoupdate': 'true',
      });
    }
  });

  test('have either rules or an aggregation rule', () => {
    for (const { metadata, rules, aggregationRule } of defaultClusterRoles) {
      expect(
        [rules, aggregationRule].filter((part) => part !== undefined),
        metadata.name,
      ).toHaveLength(1);
    }
  });

  test.each([
    { name: 'admin', selects: ['aggregate-to-admin'] },
    { name: 'edit', selects: ['aggregate-to-edit'] },
    { name: 'view', selects: ['aggregate-to-view'] },
    { name: 'cluster-reader', selects: ['aggregate-to-cluster-reader', 'aggregate-to-view'] },
  ])('$name takes in what is labelled so', ({ name, selects }) => {
    expect(defaultClusterRoles.find(({ metadata }) => metadata.name === name)!.aggregationRule).toEqual({
      clusterRoleSelectors: selects.map((label) => ({ matchLabels: { [`${rbac}/${label}`]: 'true' } })),
    });
  });

  test.each([
    { name: 'registry-viewer', labels: ['aggregate-to-view'] },
    { name: 'registry-editor', labels: ['aggregate-to-edit'] },
    { name: 'registry-admin', labels: ['aggregate-to-admin'] },
    { name: 'system:image-builder', labels: ['aggregate-to-admin', 'aggregate-to-edit'] },
    { name: 'edit', labels: ['aggregate-to-admin'] },
    { name: 'view', labels: ['aggregate-to-edit'] },
    { name: 'system:image-puller', labels: [] },
    { name: 'cluster-admin', labels: [] },
  ])('$name is labelled for what takes it in', ({ name, labels }) => {
    expect(defaultClusterRoles.find(({ metadata }) => metadata.name === name)!.metadata.labels).toEqual({
      'kubernetes.io/bootstrapping': 'rbac-defaults',
      ...Object.fromEntries(labels.map((label) => [`${rbac}/${label}`, 'true'])),
    });
  });

  test('system:image-pusher in full', () => {
    expect(defaultClusterRoles.find(({ metadata }) => metadata.name === 'system:image-pusher')).toEqual({
      metadata: {
        name: 'system:image-pusher',
        labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
        annotations: {
          'openshift.io/description':
            'Grants the right to push and pull images from within a project, to image streams that exist.',
          'rbac.authorization.kubernetes.io/autoupdate': 'true',
        },
      },
      rules: [{ verbs: ['get', 'update'], apiGroups: ['', 'image.openshift.io'], resources: ['imagestreams/layers'] }],
    });
  });

  const authorization = 'authorization.k8s.io';
  const openshiftAuthorization = 'authorization.openshift.io';
  test.each<{ readonly role: string; readonly request: AccessRequest; readonly yes: boolean }>([
    { role: 'view', request: ask('list', 'configmaps', ''), yes: true },
    { role: 'view', request: ask('update', 'configmaps', ''), yes: false },
    { role: 'view', request: ask('watch', 'serviceaccounts', ''), yes: true },
    { role: 'view', request: ask('list', 'secrets', ''), yes: false },
    { role: 'view', request: ask('create', 'serviceaccounts/token', ''), yes: false },
    { role: 'view', request: ask('list', 'pods', ''), yes: true },
    { role: 'view', request: ask('list', 'deployments', 'apps'), yes: true },
    { role: 'view', request: ask('list', 'buildconfigs', 'build.openshift.io'), yes: true },
    { role: 'view', request: ask('get', 'imagestreams/status'), yes: true },
    { role: 'view', request: ask('list', 'rolebindings', rbac), yes: false },
    { role: 'edit', request: ask('create', 'configmaps', ''), yes: true },
    { role: 'edit', request: ask('create', 'serviceaccounts/token', ''), yes: true },
    { role: 'edit', request: ask('impersonate', 'serviceaccounts', ''), yes: false },
    { role: 'edit', request: ask('list', 'rolebindings', rbac), yes: false },
    { role: 'edit', request: ask('create', 'templates', 'template.openshift.io'), yes: true },
    { role: 'edit', request: ask('update', 'resourcequotas', ''), yes: false },
    { role: 'edit', request: ask('delete', 'namespaces', ''), yes: false },
    { role: 'admin', request: ask('patch', 'projects', 'project.openshift.io'), yes: true },
    { role: 'admin', request: ask('create', 'projects', 'project.openshift.io'), yes: false },
    { role: 'admin', request: ask('get', 'namespaces', ''), yes: true },
    { role: 'admin', request: ask('delete', 'namespaces', ''), yes: false },
    { role: 'admin', request: ask('list', 'limitranges', ''), yes: true },
    { role: 'admin', request: ask('update', 'limitranges', ''), yes: false },
    { role: 'admin', request: ask('update', 'resourcequotas', ''), yes: false },
    { role: 'admin', request: ask('create', 'roles', rbac), yes: true },
    { role: 'admin', request: ask('escalate', 'roles', rbac), yes: false },
    { role: 'admin', request: ask('bind', 'roles', rbac), yes: false },
    { role: 'admin', request: ask('create', 'clusterroles', rbac), yes: false },
    { role: 'admin', request: ask('create', 'localsubjectaccessreviews', authorization), yes: true },
    { role: 'admin', request: ask('create', 'localsubjectaccessreviews', openshiftAuthorization), yes: true },
    { role: 'admin', request: ask('create', 'localresourceaccessreviews', openshiftAuthorization), yes: true },
    { role: 'registry-admin', request: ask('create', 'localsubjectaccessreviews', authorization), yes: true },
    { role: 'registry-admin', request: ask('patch', 'projects', 'project.openshift.io'), yes: false },
    { role: 'registry-editor', request: ask('update', 'serviceaccounts', ''), yes: true },
    { role: 'admin', request: ask('create', 'trustrules', 'weir.dev'), yes: true },
    { role: 'registry-admin', request: ask('create', 'trustrules', 'weir.dev'), yes: true },
    { role: 'registry-admin', request: ask('create', 'serviceaccounts/token', ''), yes: true },
    { role: 'edit', request: ask('update', 'trustrules', 'weir.dev'), yes: false },
    { role: 'edit', request: ask('list', 'trustrules', 'weir.dev'), yes: true },
    { role: 'view', request: ask('get', 'trustrules', 'weir.dev'), yes: true },
    { role: 'registry-editor', request: ask('get', 'trustrules', 'weir.dev'), yes: false },
    { role: 'cluster-reader', request: ask('list', 'trustrules', 'weir.dev'), yes: true },
    { role: 'registry-viewer', request: ask('list', 'configmaps', ''), yes: false },
    { role: 'view', request: ask('list', 'tagpolicies', 'weir.dev'), yes: true },
    { role: 'view', request: ask('create', 'tagpolicies', 'weir.dev'), yes: false },
    { role: 'registry-viewer', request: ask('get', 'upstreamcaches', 'weir.dev'), yes: true },
    { role: 'edit', request: ask('create', 'upstreamcaches', 'weir.dev'), yes: false },
    { role: 'registry-editor', request: ask('update', 'upstreamcaches', 'weir.dev'), yes: false },
    { role: 'admin', request: ask('create', 'upstreamcaches', 'weir.dev'), yes: true },
    { role: 'registry-admin', request: ask('delete', 'upstreamcaches', 'weir.dev'), yes: true },
    { role: 'admin', request: ask('list', 'upstreams', 'weir.dev'), yes: false },
    { role: 'cluster-reader', request: ask('list', 'upstreams', 'weir.dev'), yes: true },
    { role: 'view', request: ask('get', 'imagestreams/tags', 'weir.dev'), yes: true },
    { role: 'view', request: ask('get', 'imagestreams/history', 'weir.dev'), yes: true },
    { role: 'view', request: ask('get', 'imagestreams/compare', 'weir.dev'), yes: true },
    { role: 'view', request: ask('get', 'imagestreamtags/history', 'weir.dev'), yes: true },
    { role: 'view', request: ask('list', 'activities', 'weir.dev'), yes: true },
    { role: 'view', request: ask('create', 'imagestreamtags/rollback', 'weir.dev'), yes: false },
    { role: 'registry-viewer', request: ask('list', 'tagpolicies', 'weir.dev'), yes: true },
    { role: 'registry-viewer', request: ask('get', 'imagestreams/tags', 'weir.dev'), yes: true },
    { role: 'registry-viewer', request: ask('get', 'imagestreamtags/history', 'weir.dev'), yes: true },
    { role: 'registry-viewer', request: ask('create', 'imagestreamtags/undelete', 'weir.dev'), yes: false },
    { role: 'edit', request: ask('create', 'imagestreamtags/rollback', 'weir.dev'), yes: true },
    { role: 'edit', request: ask('create', 'imagestreamtags/rollback'), yes: true },
    { role: 'edit', request: ask('create', 'imagestreamtags/undelete', 'weir.dev'), yes: true },
    { role: 'edit', request: ask('create', 'imagestreamtags/undelete'), yes: true },
    { role: 'edit', request: ask('get', 'imagestreamtags/history', 'weir.dev'), yes: true },
    { role: 'edit', request: ask('get', 'tagpolicies', 'weir.dev'), yes: true },
    { role: 'edit', request: ask('delete', 'tagpolicies', 'weir.dev'), yes: false },
    { role: 'registry-editor', request: ask('create', 'imagestreamtags/rollback', 'weir.dev'), yes: true },
    { role: 'registry-editor', request: ask('create', 'imagestreamtags/undelete'), yes: true },
    { role: 'registry-editor', request: ask('list', 'activities', 'weir.dev'), yes: true },
    { role: 'registry-editor', request: ask('patch', 'tagpolicies', 'weir.dev'), yes: false },
    { role: 'admin', request: ask('create', 'imagestreamtags/rollback', 'weir.dev'), yes: true },
    { role: 'admin', request: ask('patch', 'tagpolicies', 'weir.dev'), yes: true },
    { role: 'registry-admin', request: ask('create', 'imagestreamtags/undelete', 'weir.dev'), yes: true },
    { role: 'registry-admin', request: ask('delete', 'tagpolicies', 'weir.dev'), yes: true },
    { role: 'registry-admin', request: ask('get', 'imagestreams/compare', 'weir.dev'), yes: true },
    { role: 'cluster-reader', request: ask('watch', 'tagpolicies', 'weir.dev'), yes: true },
    { role: 'cluster-reader', request: ask('list', 'activities', 'weir.dev'), yes: true },
    { role: 'cluster-reader', request: ask('create', 'imagestreamtags/rollback', 'weir.dev'), yes: false },
    { role: 'system:image-pusher', request: ask('create', 'imagestreamtags/rollback', 'weir.dev'), yes: false },
    { role: 'cluster-reader', request: ask('list', 'secrets', ''), yes: false },
    { role: 'cluster-reader', request: ask('list', 'configmaps', ''), yes: true },
    { role: 'cluster-reader', request: ask('list', 'users', 'user.openshift.io'), yes: true },
    { role: 'cluster-reader', request: ask('list', 'oauthaccesstokens', 'oauth.openshift.io'), yes: false },
    { role: 'cluster-reader', request: ask('list', 'clusterrolebindings', rbac), yes: true },
    { role: 'cluster-reader', request: ask('get', 'auditrecords', 'weir.dev'), yes: true },
    { role: 'cluster-reader', request: { kind: 'path', verb: 'get', path: '/metrics' }, yes: true },
    { role: 'cluster-admin', request: ask('get', 'auditrecords', 'weir.dev'), yes: true },
    { role: 'cluster-admin', request: { kind: 'path', verb: 'get', path: '/metrics' }, yes: true },
    { role: 'admin', request: ask('get', 'auditrecords', 'weir.dev'), yes: false },
    { role: 'admin', request: { kind: 'path', verb: 'get', path: '/metrics' }, yes: false },
    { role: 'self-provisioner', request: ask('create', 'projectrequests', 'project.openshift.io'), yes: true },
    { role: 'basic-user', request: ask('create', 'projectrequests', 'project.openshift.io'), yes: false },
    { role: 'basic-user', request: ask('list', 'projectrequests', 'project.openshift.io'), yes: true },
    { role: 'basic-user', request: ask('list', 'projects', 'project.openshift.io'), yes: true },
    { role: 'basic-user', request: ask('get', 'projects', 'project.openshift.io', 'team'), yes: false },
    { role: 'basic-user', request: ask('get', 'users', 'user.openshift.io', '~'), yes: true },
    { role: 'basic-user', request: ask('get', 'users', 'user.openshift.io', 'ada'), yes: false },
    { role: 'basic-user', request: ask('list', 'users', 'user.openshift.io'), yes: false },
    { role: 'basic-user', request: ask('get', 'clusterroles', rbac, 'view'), yes: true },
    { role: 'system:basic-user', request: ask('create', 'selfsubjectreviews', 'authentication.k8s.io'), yes: true },
    { role: 'system:basic-user', request: ask('delete', 'useroauthaccesstokens', 'oauth.openshift.io'), yes: true },
    { role: 'system:basic-user', request: ask('delete', 'oauthaccesstokens', 'oauth.openshift.io'), yes: false },
    {
      role: 'system:discovery',
      request: { kind: 'path', verb: 'get', path: '/apis/image.openshift.io/v1' },
      yes: true,
    },
    { role: 'system:discovery', request: { kind: 'path', verb: 'get', path: '/metrics' }, yes: false },
    { role: 'system:public-info-viewer', request: { kind: 'path', verb: 'get', path: '/version' }, yes: true },
    { role: 'system:public-info-viewer', request: { kind: 'path', verb: 'get', path: '/apis' }, yes: false },
    { role: 'system:image-pruner', request: ask('list', 'deployments', 'apps'), yes: true },
    { role: 'system:image-pruner', request: ask('list', 'limitranges', ''), yes: true },
    { role: 'system:registry', request: ask('create', 'subjectaccessreviews', authorization), yes: true },
    { role: 'system:image-builder', request: ask('update', 'builds/details', 'build.openshift.io'), yes: true },
    { role: 'system:deployer', request: ask('create', 'pods', ''), yes: true },
  ])('$role may $request.verb $request.resource$request.path $request.name: $yes', ({ role, request, yes }) => {
    expect(rulesAllow(rulesOf(role), request)).toBe(yes);
  });

  test.each([
    {
      holder: 'admin',
      gives: [
        'admin',
        'edit',
        'registry-admin',
        'registry-editor',
        'registry-viewer',
        'system:deployer',
        'system:image-builder',
        'system:image-puller',
        'system:image-pusher',
        'view',
      ],
    },
    {
      holder: 'registry-admin',
      gives: ['registry-admin', 'registry-editor', 'registry-viewer', 'system:image-puller', 'system:image-pusher'],
    },
    { holder: 'system:image-pusher', gives: ['system:image-puller', 'system:image-pusher'] },
  ])('$holder holds all that is in these and no other members’ roles', ({ holder, gives }) => {
    const membersRoles = Object.keys(matrix).filter(
      (name) => matrix[name]!.length > 0 && !name.includes('aggregate-to-'),
    );
    const covered = membersRoles.filter((name) => uncoveredRules(rulesOf(holder), rulesOf(name)).length === 0);
    expect(covered.sort()).toEqual(gives);
  });

  test('are all held by cluster-admin, and asking so is no work', () => {
    const everyRule = defaultClusterRoles.flatMap(({ metadata }) => rulesOf(metadata.name));
    expect(uncoveredRules(rulesOf('cluster-admin'), everyRule)).toEqual([]);
    expect(uncoveredRules([], everyRule).length).toBeLessThan(2_000);
  });
});

describe('from the start, a role in the whole registry', () => {
  const masters = { name: 'root', groups: ['system:masters', 'system:authenticated'] };
  const clusterAdmin = {
    name: 'eve',
    groups: ['system:cluster-admins', 'system:authenticated'],
  };
  const reader = { name: 'rob', groups: ['system:cluster-readers', 'system:authenticated'] };
  const person = {
    name: 'ada',
    groups: ['system:authenticated', 'system:authenticated:oauth'],
  };
  const account = {
    name: 'system:serviceaccount:team:ci',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
  };
  const impostor = { name: 'system:masters', groups: [] };
  const anonymous = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

  interface Identity {
    readonly name: string;
    readonly groups: readonly string[];
  }
  const toAnybody = ['system:discovery', 'system:public-info-viewer'];
  const toLoggedIn = ['basic-user', 'system:basic-user', ...toAnybody].sort();

  test.each<{ readonly who: string; readonly principal: Identity; readonly roles: readonly string[] }>([
    {
      who: 'system:masters',
      principal: masters,
      roles: ['basic-user', 'cluster-admin', 'system:basic-user', ...toAnybody],
    },
    {
      who: 'system:cluster-admins',
      principal: clusterAdmin,
      roles: ['basic-user', 'cluster-admin', 'system:basic-user', ...toAnybody],
    },
    {
      who: 'system:cluster-readers',
      principal: reader,
      roles: ['basic-user', 'cluster-reader', 'system:basic-user', ...toAnybody],
    },
    { who: 'people', principal: person, roles: ['basic-user', 'self-provisioner', 'system:basic-user', ...toAnybody] },
    { who: 'service accounts', principal: account, roles: toLoggedIn },
    { who: 'the anonymous', principal: anonymous, roles: toAnybody },
    { who: 'who is only called like a group', principal: impostor, roles: [] },
  ])('is given to $who as it should', ({ principal, roles }) => {
    const given = defaultClusterRoleBindings
      .filter(({ subjects }) => subjects.some((subject) => subjectMatches(subject, principal, undefined)))
      .map(({ roleRef }) => roleRef.name);
    expect(given.sort()).toEqual([...roles].sort());
  });

  test('is one there is', () => {
    const names = defaultClusterRoles.map(({ metadata }) => metadata.name);
    for (const { roleRef } of defaultClusterRoleBindings) {
      expect(roleRef).toMatchObject({ apiGroup: rbac, kind: 'ClusterRole' });
      expect(names).toContain(roleRef.name);
    }
  });

  test('lets nobody but administrators and readers do anything with images', () => {
    for (const principal of [person, account, anonymous]) {
      const rules = defaultClusterRoleBindings
        .filter(({ subjects }) => subjects.some((subject) => subjectMatches(subject, principal, undefined)))
        .flatMap(({ roleRef }) => rulesOf(roleRef.name));
      expect(Object.values<AccessRequest>(operations).filter((request) => rulesAllow(rules, request))).toEqual([]);
      expect(rulesAllow(rules, { kind: 'path', verb: 'get', path: '/metrics' })).toBe(false);
      expect(rulesAllow(rules, { kind: 'path', verb: 'get', path: '/v2/' })).toBe(principal !== anonymous);
    }
  });

  test('self-provisioners in full', () => {
    expect(defaultClusterRoleBindings.find(({ metadata }) => metadata.name === 'self-provisioners')).toEqual({
      metadata: {
        name: 'self-provisioners',
        labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
        annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
      },
      subjects: [{ kind: 'Group', apiGroup: rbac, name: 'system:authenticated:oauth' }],
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'self-provisioner' },
    });
  });
});

describe('a new project', () => {
  test('has roles for its service accounts', () => {
    const clusterRole = (name: string) => ({ apiGroup: rbac, kind: 'ClusterRole', name });
    expect(
      projectRoleBindings('team').map(({ metadata: { name, namespace }, subjects, roleRef }) => ({
        name,
        namespace,
        subjects,
        roleRef,
      })),
    ).toEqual([
      {
        name: 'system:image-pullers',
        namespace: 'team',
        subjects: [{ kind: 'Group', apiGroup: rbac, name: 'system:serviceaccounts:team' }],
        roleRef: clusterRole('system:image-puller'),
      },
      {
        name: 'system:image-builders',
        namespace: 'team',
        subjects: [{ kind: 'ServiceAccount', namespace: 'team', name: 'builder' }],
        roleRef: clusterRole('system:image-builder'),
      },
      {
        name: 'system:deployers',
        namespace: 'team',
        subjects: [{ kind: 'ServiceAccount', namespace: 'team', name: 'deployer' }],
        roleRef: clusterRole('system:deployer'),
      },
    ]);
  });

  test('has who asked for it as its admin', () => {
    expect(projectAdminBinding('team', 'ada')).toEqual({
      metadata: { name: 'admin', namespace: 'team' },
      subjects: [{ kind: 'User', apiGroup: rbac, name: 'ada' }],
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'admin' },
    });
  });
});

describe('namespace openshift', () => {
  test('shares its image streams with everybody who is logged in', () => {
    expect(openshiftNamespaceRoleBinding).toMatchObject({
      metadata: { name: 'shared-resource-viewers', namespace: 'openshift' },
      subjects: [{ kind: 'Group', apiGroup: rbac, name: 'system:authenticated' }],
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'shared-resource-viewer' },
    });
    expect(openshiftNamespaceRole.metadata).toMatchObject({ name: 'shared-resource-viewer', namespace: 'openshift' });
  });

  test.each<{ readonly request: AccessRequest; readonly yes: boolean }>([
    { request: ask('get', 'imagestreams/layers'), yes: true },
    { request: ask('list', 'imagestreams'), yes: true },
    { request: ask('watch', 'imagestreamtags'), yes: true },
    { request: ask('get', 'imagetags'), yes: true },
    { request: ask('get', 'imagestreamimages'), yes: true },
    { request: ask('list', 'templates', 'template.openshift.io'), yes: true },
    { request: ask('get', 'configmaps', '', 'x'), yes: true },
    { request: ask('list', 'configmaps', ''), yes: false },
    { request: ask('update', 'imagestreams/layers'), yes: false },
    { request: ask('delete', 'imagestreamtags'), yes: false },
    { request: ask('get', 'imagestreams/secrets'), yes: false },
    { request: ask('get', 'secrets', ''), yes: false },
  ])('lets them $request.verb $request.resource: $yes', ({ request, yes }) => {
    expect(rulesAllow(openshiftNamespaceRole.rules, request)).toBe(yes);
  });
});
