import { describe, expect, test } from 'vitest';
import type { Principal } from '../../src/auth/principal.js';
import type { JsonObject } from '../../src/kube/json.js';
import { loggedIn } from '../support/api-call.js';
import { startAccessApi, type AccessApi } from './access-api.js';

const ada = loggedIn('ada', 'system:authenticated:oauth');
const robot = loggedIn('system:serviceaccount:team:robot', 'system:serviceaccounts', 'system:serviceaccounts:team');
/** What a token for docker shows: less than its owner may. */
const narrowed: Principal = { ...ada, access: [{ type: 'repository', name: 'team/app', actions: ['pull'] }] };

const authentication = 'authentication.k8s.io';
const authorization = 'authorization.k8s.io';
const openshift = 'authorization.openshift.io';

describe('who somebody is', () => {
  test('everybody who is logged in may ask about themselves', async () => {
    const api = await startAccessApi();
    const resource = `${authentication}/selfsubjectreviews`;
    expect(await api.create({ as: { ...robot, uid: 'u-1' }, resource }, { metadata: {} })).toEqual({
      metadata: {},
      status: {
        userInfo: {
          username: 'system:serviceaccount:team:robot',
          uid: 'u-1',
          groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
        },
      },
    });
  });

  test.each([
    {
      name: 'a good token is one of its user',
      spec: { token: 'sha256~good', audiences: ['https://weir.example'] },
      expected: {
        metadata: {},
        spec: { token: 'sha256~good', audiences: ['https://weir.example'] },
        status: { authenticated: true, user: { username: 'ada', groups: ['devs', 'system:authenticated'] } },
      },
    },
    {
      name: 'another is worth nothing',
      spec: { token: 'sha256~bad' },
      expected: {
        metadata: {},
        spec: { token: 'sha256~bad' },
        status: { authenticated: false, user: {}, error: 'invalid bearer token' },
      },
    },
  ])('$name', async ({ spec, expected }) => {
    const api = await startAccessApi();
    expect(await api.create({ resource: `${authentication}/tokenreviews` }, { metadata: {}, spec })).toEqual(expected);
  });

  test('a token review is not for everybody, and needs a token', async () => {
    const api = await startAccessApi();
    const resource = `${authentication}/tokenreviews`;
    await expect(api.create({ as: ada, resource }, { spec: { token: 'sha256~good' } })).rejects.toThrow(
      'User "ada" cannot create resource "tokenreviews"',
    );
    await expect(api.create({ resource }, { spec: {} })).rejects.toThrow('token is required');
  });
});

const getStreams = { verb: 'get', group: 'image.openshift.io', resource: 'imagestreams', namespace: 'team' };

describe('what the caller may do', () => {
  test.each<{ readonly name: string; readonly as?: Principal; readonly spec: JsonObject; readonly allowed: boolean }>([
    { name: 'in their project', spec: { resourceAttributes: getStreams }, allowed: true },
    { name: 'in another', spec: { resourceAttributes: { ...getStreams, namespace: 'other' } }, allowed: false },
    { name: 'everywhere', spec: { resourceAttributes: { ...getStreams, namespace: '' } }, allowed: false },
    {
      name: 'with a subresource',
      spec: { resourceAttributes: { ...getStreams, subresource: 'layers', name: 'app' } },
      allowed: true,
    },
    {
      name: 'with another verb on it',
      spec: { resourceAttributes: { ...getStreams, verb: 'update', subresource: 'layers' } },
      allowed: false,
    },
    {
      name: 'everything',
      spec: { resourceAttributes: { verb: '*', resource: '*', namespace: 'team' } },
      allowed: false,
    },
    {
      name: 'everything, as an admin of everything',
      as: loggedIn('root', 'system:masters'),
      spec: { resourceAttributes: { verb: '*', resource: '*' } },
      allowed: true,
    },
    { name: 'a path', spec: { nonResourceAttributes: { verb: 'get', path: '/apis/apps' } }, allowed: true },
    { name: 'a path for few', spec: { nonResourceAttributes: { verb: 'get', path: '/metrics' } }, allowed: false },
    {
      name: 'with a token that is narrowed',
      as: narrowed,
      spec: { resourceAttributes: getStreams },
      allowed: false,
    },
    {
      name: 'a path, with a token that is narrowed',
      as: narrowed,
      spec: { nonResourceAttributes: { verb: 'get', path: '/apis/apps' } },
      allowed: false,
    },
  ])('$name: $allowed', async ({ as = ada, spec, allowed }) => {
    const api = await startAccessApi();
    await api.bind('ada', 'view', 'team');
    const resource = `${authorization}/selfsubjectaccessreviews`;
    expect(await api.create({ as, resource }, { metadata: {}, spec })).toEqual({
      metadata: {},
      spec,
      status: { allowed },
    });
  });

  test.each<{ readonly name: string; readonly spec: JsonObject; readonly message: string }>([
    {
      name: 'nothing',
      spec: {},
      message: 'exactly one of nonResourceAttributes or resourceAttributes must be specified',
    },
    {
      name: 'two things',
      spec: { resourceAttributes: getStreams, nonResourceAttributes: { verb: 'get', path: '/' } },
      message: 'cannot be specified in combination with resourceAttributes',
    },
  ])('$name cannot be asked', async ({ spec, message }) => {
    const api = await startAccessApi();
    await expect(
      api.create({ as: ada, resource: `${authorization}/selfsubjectaccessreviews` }, { spec }),
    ).rejects.toMatchObject({ reason: 'Invalid', message: expect.stringContaining(message) as string });
  });

  test('is listed with what everybody may, each right once', async () => {
    const api = await startAccessApi();
    await api.create(
      { resource: 'roles', namespace: 'team' },
      {
        metadata: { name: 'reader' },
        rules: [
          { verbs: ['get'], apiGroups: [''], resources: ['secrets'], resourceNames: ['pull'] },
          { verbs: ['list'], apiGroups: [''], resources: ['secrets'], resourceNames: ['pull'] },
        ],
      },
    );
    await api.create(
      { resource: 'rolebindings', namespace: 'team' },
      {
        metadata: { name: 'reader' },
        subjects: [{ kind: 'User', name: 'ada' }],
        roleRef: { kind: 'Role', name: 'reader' },
      },
    );
    const resource = `${authorization}/selfsubjectrulesreviews`;
    const ask = async (namespace: string) => {
      const { status } = await api.create({ as: ada, resource }, { metadata: {}, spec: { namespace } });
      return status as unknown as { resourceRules: object[]; nonResourceRules: object[]; incomplete: boolean };
    };
    const secrets = { verbs: ['get', 'list'], apiGroups: [''], resources: ['secrets'], resourceNames: ['pull'] };
    const inTeam = await ask('team');
    expect(inTeam.incomplete).toBe(false);
    expect(inTeam.resourceRules).toContainEqual(secrets);
    expect(inTeam.resourceRules).toContainEqual({
      verbs: ['create'],
      apiGroups: ['authentication.k8s.io'],
      resources: ['selfsubjectreviews'],
    });
    expect(inTeam.nonResourceRules).toContainEqual({ verbs: ['get'], nonResourceURLs: ['/v2/'] });
    expect((await ask('other')).resourceRules).not.toContainEqual(secrets);
    await expect(ask('')).rejects.toThrow('no namespace on request');
  });
});

describe('what somebody else may do', () => {
  const resource = `${authorization}/subjectaccessreviews`;

  test('is for those to know who may ask', async () => {
    const api = await startAccessApi();
    await api.bind('ada', 'view', 'team');
    const spec = { user: 'ada', resourceAttributes: getStreams };
    expect(await api.create({ resource }, { spec })).toMatchObject({ status: { allowed: true } });
    await expect(api.create({ as: ada, resource }, { spec })).rejects.toMatchObject({ reason: 'Forbidden' });
  });

  test('counts the groups that are named, and no others', async () => {
    const api = await startAccessApi();
    const createRequests = { verb: 'create', group: 'project.openshift.io', resource: 'projectrequests' };
    const ask = async (groups: readonly string[]) =>
      (await api.create({ resource }, { spec: { user: 'ada', groups, resourceAttributes: createRequests } }))['status'];
    expect(await ask([])).toEqual({ allowed: false });
    expect(await ask(['system:authenticated:oauth'])).toEqual({ allowed: true });
  });

  test('cannot be asked about nobody', async () => {
    const api = await startAccessApi();
    await expect(api.create({ resource }, { spec: { resourceAttributes: getStreams } })).rejects.toThrow(
      'at least one of user or group must be specified',
    );
  });

  test('in their project, its admins may ask, and about nothing else', async () => {
    const api = await startAccessApi();
    await api.bind('boss', 'admin', 'team');
    await api.bind('ada', 'view', 'team');
    const target = {
      as: loggedIn('boss'),
      resource: `${authorization}/localsubjectaccessreviews`,
      namespace: 'team',
    };
    const ask = (attributes: JsonObject) => api.create(target, { spec: { user: 'ada', ...attributes } });
    expect(await ask({ resourceAttributes: getStreams })).toMatchObject({ status: { allowed: true } });
    await expect(ask({ resourceAttributes: { ...getStreams, namespace: 'other' } })).rejects.toThrow(
      'spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace',
    );
    await expect(ask({ nonResourceAttributes: { verb: 'get', path: '/metrics' } })).rejects.toThrow(
      'disallowed on this kind of request',
    );
    await expect(
      api.create({ ...target, namespace: 'other' }, { spec: { user: 'ada', resourceAttributes: getStreams } }),
    ).rejects.toMatchObject({ reason: 'Forbidden' });
  });
});

describe('in the words of OpenShift', () => {
  /** As `oc` writes it. */
  const action = (verb: string, resource: string, resourceAPIGroup = '', namespace = ''): JsonObject => ({
    metadata: {},
    namespace,
    verb,
    resourceAPIGroup,
    resourceAPIVersion: '',
    resource,
    resourceName: '',
    path: '',
    isNonResourceURL: false,
    content: null,
  });
  const self = { user: '', groups: null, scopes: null };
  const subjectAccess = `${openshift}/subjectaccessreviews`;

  const allowedTo = async (api: AccessApi, as: Principal, question: JsonObject, namespace = '') => {
    const resource = namespace === '' ? subjectAccess : `${openshift}/localsubjectaccessreviews`;
    return (await api.create({ as, resource, namespace }, question))['allowed'];
  };

  test('everybody who is logged in asks about themselves, as a login does', async () => {
    const api = await startAccessApi();
    expect(
      await api.create(
        { as: ada, resource: subjectAccess },
        { ...action('create', 'projectrequests', '', 'default'), ...self },
      ),
    ).toEqual({
      kind: 'SubjectAccessReviewResponse',
      apiVersion: 'authorization.openshift.io/v1',
      metadata: {},
      namespace: 'default',
      allowed: true,
      reason: '',
    });
    expect(await allowedTo(api, robot, { ...action('create', 'projectrequests'), ...self })).toBe(false);
    expect(await allowedTo(api, narrowed, { ...action('create', 'projectrequests'), ...self })).toBe(false);
  });

  test('and nobody but those who may asks about others', async () => {
    const api = await startAccessApi();
    await api.bind('boss', 'admin', 'team');
    await api.bind('ada', 'view', 'team');
    const about = (user: string, namespace: string) => ({
      ...action('get', 'imagestreams', 'image.openshift.io', namespace),
      ...self,
      user,
    });
    const boss = loggedIn('boss');
    expect(await allowedTo(api, boss, about('ada', 'team'))).toBe(true);
    expect(await allowedTo(api, boss, about('eve', 'team'))).toBe(false);
    await expect(allowedTo(api, boss, about('ada', ''))).rejects.toThrow(
      'User "boss" cannot create resource "subjectaccessreviews" in API group "authorization.openshift.io" at the cluster scope',
    );
    await expect(allowedTo(api, boss, about('ada', 'other'))).rejects.toThrow('in the namespace "other"');
    await expect(allowedTo(api, ada, about('ada', 'team'))).rejects.toMatchObject({ reason: 'Forbidden' });
    await expect(
      allowedTo(api, ada, { ...about('', 'team'), groups: ['system:masters'] }),
      'a group alone is somebody else as well',
    ).rejects.toMatchObject({ reason: 'Forbidden' });
  });

  test('the local form is asked in its namespace', async () => {
    const api = await startAccessApi();
    await api.bind('boss', 'admin', 'team');
    const boss = loggedIn('boss');
    const question = { ...action('delete', 'imagestreams', 'image.openshift.io'), ...self };
    expect(await allowedTo(api, boss, question, 'team')).toBe(true);
    await expect(allowedTo(api, boss, { ...question, namespace: 'other' }, 'team')).rejects.toThrow(
      'namespace must be: team',
    );
    await expect(allowedTo(api, boss, question, 'other')).rejects.toMatchObject({ reason: 'Forbidden' });
  });

  test.each([
    { name: 'no scopes', scopes: [], allowed: true },
    { name: 'all rights', scopes: ['user:full'], allowed: true },
    { name: 'other scopes', scopes: ['user:info'], allowed: false },
  ])('with $name: $allowed', async ({ scopes, allowed }) => {
    const api = await startAccessApi();
    const question = { ...action('list', 'projects', 'project.openshift.io'), ...self, scopes };
    expect(await allowedTo(api, ada, question)).toBe(allowed);
  });

  test('who can is told by users and groups', async () => {
    const api = await startAccessApi();
    await api.bind('ada', 'view', 'team');
    await api.bind('bob', 'admin', 'team');
    await api.bind('eve', 'view', 'other');
    await api.create(
      { resource: 'rolebindings', namespace: 'team' },
      {
        metadata: { name: 'more' },
        subjects: [
          { kind: 'Group', name: 'devs' },
          { kind: 'ServiceAccount', name: 'robot', namespace: 'other' },
        ],
        roleRef: { kind: 'ClusterRole', name: 'registry-viewer' },
      },
    );
    const target = { as: loggedIn('bob'), resource: `${openshift}/localresourceaccessreviews`, namespace: 'team' };
    expect(await api.create(target, action('get', 'imagestreams', 'image.openshift.io'))).toEqual({
      kind: 'ResourceAccessReviewResponse',
      apiVersion: 'authorization.openshift.io/v1',
      metadata: {},
      namespace: 'team',
      users: ['ada', 'bob', 'system:serviceaccount:other:robot'],
      groups: ['devs', 'system:cluster-admins', 'system:cluster-readers', 'system:masters'],
      evalutionError: '',
    });
    await expect(api.create({ ...target, namespace: 'other' }, action('get', 'imagestreams'))).rejects.toMatchObject({
      reason: 'Forbidden',
    });
  });

  test('who can is asked of everything, of one namespace and of paths', async () => {
    const api = await startAccessApi();
    await api.bind('ada', 'view', 'team');
    const target = { resource: `${openshift}/resourceaccessreviews` };
    const get = (namespace: string) => action('get', 'imagestreams', 'image.openshift.io', namespace);
    expect(await api.create(target, get(''))).toMatchObject({ users: [], namespace: '' });
    expect(await api.create(target, get('team'))).toMatchObject({ users: ['ada'], namespace: 'team' });
    expect(await api.create(target, { verb: 'get', path: '/metrics', isNonResourceURL: true })).toMatchObject({
      groups: ['system:cluster-admins', 'system:cluster-readers', 'system:masters'],
    });
  });

  test('a resource that was in the core group once is found in its own without naming it', async () => {
    const api = await startAccessApi();
    const rules = (resource: string) => [{ verbs: ['get'], apiGroups: ['image.openshift.io'], resources: [resource] }];
    for (const [name, resource] of [
      ['puller', 'imagestreams/layers'],
      ['lister', 'pods'],
    ] as const) {
      await api.create({ resource: 'clusterroles' }, { metadata: { name }, rules: rules(resource) });
      await api.bind(`user-of-${name}`, name, 'team');
    }
    const target = { resource: `${openshift}/localresourceaccessreviews`, namespace: 'team' };
    expect(await api.create(target, action('get', 'imagestreams/layers'))).toMatchObject({
      users: ['user-of-puller'],
    });
    expect(await api.create(target, action('get', 'pods'))).toMatchObject({ users: [] });
  });

  test('rules are listed, of oneself and of others', async () => {
    const api = await startAccessApi();
    await api.bind('boss', 'admin', 'team');
    await api.bind('puller', 'system:image-puller', 'team');
    const pull = {
      verbs: ['get'],
      apiGroups: ['', 'image.openshift.io'],
      resources: ['imagestreams/layers'],
    };
    const own = await api.create(
      { as: loggedIn('puller'), resource: `${openshift}/selfsubjectrulesreviews`, namespace: 'team' },
      { metadata: {}, spec: { scopes: null } },
    );
    const { rules } = own['status'] as unknown as { rules: { apiGroups: unknown; resources: unknown }[] };
    expect(rules).toContainEqual(pull);
    expect(rules.every(({ apiGroups, resources }) => Array.isArray(apiGroups) && Array.isArray(resources))).toBe(true);
    const about = (as: Principal) =>
      api.create(
        { as, resource: `${openshift}/subjectrulesreviews`, namespace: 'team' },
        { metadata: {}, spec: { user: 'puller', groups: null } },
      );
    expect(await about(loggedIn('boss'))).toEqual({
      metadata: {},
      spec: { user: 'puller' },
      status: { rules: [pull] },
    });
    await expect(about(loggedIn('puller'))).rejects.toMatchObject({ reason: 'Forbidden' });
  });
});

test('a review that is about a namespace is asked in one', async () => {
  const api = await startAccessApi();
  for (const resource of [`${authorization}/localsubjectaccessreviews`, `${openshift}/selfsubjectrulesreviews`]) {
    await expect(api.create({ resource }, { spec: {} })).rejects.toMatchObject({ reason: 'BadRequest' });
  }
});
