import { describe, expect, test } from 'vitest';
import { anonymous, type Principal } from '../../src/auth/principal.js';
import type { AccessRequest } from '../../src/auth/rules.js';
import {
  authenticate,
  impersonate,
  impersonationOf,
  requireAccess,
  type ApiAccess,
  type Impersonation,
} from '../../src/kube/access.js';

const bob: Principal = {
  kind: 'user',
  name: 'bob',
  groups: ['system:authenticated'],
  basis: { kind: 'password', user: 'bob', stamp: '' },
};

/** Lets everyone do what is in the list; keeps what was asked. */
function accessOf(allowed: readonly string[], asked: string[] = []): ApiAccess {
  return {
    authenticate: (header) => Promise.resolve(header === 'Bearer good' ? bob : undefined),
    allows: (_principal, request) => {
      const text = textOf(request);
      asked.push(text);
      return Promise.resolve(allowed.includes(text));
    },
  };
}

function textOf(request: AccessRequest): string {
  if (request.kind === 'path') return `${request.verb} ${request.path}`;
  const { verb, group, resource, namespace = '', name = '' } = request;
  return `${verb} ${group}/${resource} ${namespace}/${name}`;
}

describe('authentication', () => {
  test('gives the principal of what was shown', async () => {
    expect(await authenticate(accessOf([]), 'Bearer good')).toBe(bob);
  });

  test('is refused with a challenge when it is worth nothing', async () => {
    await expect(authenticate(accessOf([]), 'Bearer bad')).rejects.toMatchObject({
      reason: 'Unauthorized',
      message: 'Unauthorized',
      headers: { 'WWW-Authenticate': 'Bearer realm="weir"' },
    });
  });
});

describe('a refusal', () => {
  test.each<{ readonly request: AccessRequest; readonly message: string; readonly details: object }>([
    {
      request: { kind: 'path', verb: 'get', path: '/metrics' },
      message: 'forbidden: User "bob" cannot get path "/metrics"',
      details: {},
    },
    {
      request: { kind: 'resource', verb: 'list', group: '', resource: 'secrets', namespace: 'team' },
      message:
        'secrets is forbidden: User "bob" cannot list resource "secrets" in API group "" in the namespace "team"',
      details: { kind: 'secrets' },
    },
    {
      request: { kind: 'resource', verb: 'get', group: 'apps', resource: 'things', namespace: 'team', name: 'a' },
      message:
        'things.apps "a" is forbidden: User "bob" cannot get resource "things" in API group "apps" in the namespace "team"',
      details: { name: 'a', group: 'apps', kind: 'things' },
    },
    {
      request: {
        kind: 'resource',
        verb: 'create',
        group: '',
        resource: 'serviceaccounts/token',
        namespace: 'team',
        name: 'a',
      },
      message:
        'serviceaccounts "a" is forbidden: User "bob" cannot create resource "serviceaccounts/token" in API group "" in the namespace "team"',
      details: { name: 'a', kind: 'serviceaccounts' },
    },
    {
      request: { kind: 'resource', verb: 'list', group: '', resource: 'namespaces' },
      message:
        'namespaces is forbidden: User "bob" cannot list resource "namespaces" in API group "" at the cluster scope',
      details: { kind: 'namespaces' },
    },
    {
      request: { kind: 'resource', verb: 'list', group: '', resource: 'secrets', namespace: '' },
      message: 'secrets is forbidden: User "bob" cannot list resource "secrets" in API group "" at the cluster scope',
      details: { kind: 'secrets' },
    },
  ])('says "$message"', async ({ request, message, details }) => {
    await expect(requireAccess(accessOf([]), bob, request)).rejects.toMatchObject({
      reason: 'Forbidden',
      message,
      details,
    });
    await requireAccess(accessOf([textOf(request)]), bob, request);
  });
});

describe('impersonation headers', () => {
  function read(headers: Readonly<Record<string, readonly string[]>>): Impersonation | undefined {
    const joined = Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values.join(', ')]));
    return impersonationOf(joined, (name) => headers[name] ?? []);
  }

  test('that are not there ask for nothing', () => {
    expect(read({ authorization: ['Bearer x'] })).toBeUndefined();
  });

  test('name a user, groups and a uid', () => {
    expect(read({ 'impersonate-user': ['ann'] })).toEqual({ user: 'ann', groups: [], uid: undefined });
    const all = { 'impersonate-user': ['ann'], 'impersonate-group': ['dev', 'a, b'], 'impersonate-uid': ['u'] };
    expect(read(all)).toEqual({ user: 'ann', groups: ['dev', 'a, b'], uid: 'u' });
  });

  test.each<{ readonly name: string; readonly headers: Readonly<Record<string, readonly string[]>> }>([
    { name: 'groups without a user', headers: { 'impersonate-group': ['system:masters'] } },
    { name: 'a uid without a user', headers: { 'impersonate-uid': ['u'] } },
    { name: 'an empty user', headers: { 'impersonate-user': [''] } },
    { name: 'two users', headers: { 'impersonate-user': ['ann', 'bob'] } },
  ])('are a bad request with $name', ({ headers }) => {
    expect(() => read(headers)).toThrow(expect.objectContaining({ reason: 'BadRequest' }) as Error);
  });

  test.each(['impersonate-extra-scopes', 'impersonate-groups', 'impersonate-'])(
    'are forbidden, and never ignored, with %s',
    (name) => {
      const headers = { 'impersonate-user': ['ann'], [name]: ['x'] };
      expect(() => read(headers)).toThrow(expect.objectContaining({ reason: 'Forbidden' }) as Error);
      expect(() => read({ [name]: ['x'] })).toThrow(expect.objectContaining({ reason: 'Forbidden' }) as Error);
    },
  );
});

describe('impersonation', () => {
  const robot = 'system:serviceaccount:team:robot';
  const none = { groups: [], uid: undefined };

  test.each<{
    readonly name: string;
    readonly wanted: Impersonation;
    readonly asked: readonly string[];
    readonly result: Omit<Principal, 'basis'>;
  }>([
    {
      name: 'a user',
      wanted: { ...none, user: 'ann' },
      asked: ['impersonate /users /ann'],
      result: { kind: 'user', name: 'ann', groups: ['system:authenticated'] },
    },
    {
      name: 'a user with groups',
      wanted: { ...none, user: 'ann', groups: ['dev', 'system:authenticated'] },
      asked: ['impersonate /users /ann', 'impersonate /groups /dev', 'impersonate /groups /system:authenticated'],
      result: { kind: 'user', name: 'ann', groups: ['dev', 'system:authenticated'] },
    },
    {
      name: 'a user with a uid',
      wanted: { ...none, user: 'ann', uid: 'u' },
      asked: ['impersonate /users /ann', 'impersonate authentication.k8s.io/uids /u'],
      result: { kind: 'user', name: 'ann', uid: 'u', groups: ['system:authenticated'] },
    },
    {
      name: 'a service account',
      wanted: { ...none, user: robot },
      asked: ['impersonate /serviceaccounts team/robot'],
      result: {
        kind: 'service-account',
        name: robot,
        groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
      },
    },
    {
      name: 'a service account with groups, which are then all it has',
      wanted: { ...none, user: robot, groups: ['dev'] },
      asked: ['impersonate /serviceaccounts team/robot', 'impersonate /groups /dev'],
      result: { kind: 'service-account', name: robot, groups: ['dev', 'system:authenticated'] },
    },
    {
      name: 'a name that only looks like a service account',
      wanted: { ...none, user: 'system:serviceaccount:team:a:b' },
      asked: ['impersonate /users /system:serviceaccount:team:a:b'],
      result: { kind: 'user', name: 'system:serviceaccount:team:a:b', groups: ['system:authenticated'] },
    },
    {
      name: 'nobody',
      wanted: { ...none, user: anonymous.name },
      asked: ['impersonate /users /system:anonymous'],
      result: { kind: 'anonymous', name: 'system:anonymous', groups: ['system:unauthenticated'] },
    },
  ])('of $name takes the right to each of them, and gives what they have', async ({ wanted, asked, result }) => {
    const seen: string[] = [];
    const access = accessOf(asked, seen);
    expect(await impersonate(access, bob, wanted)).toEqual({ ...result, basis: { kind: 'nobody' } });
    expect(seen).toEqual(asked);
    for (const missing of asked) {
      const allowed = asked.filter((text) => text !== missing);
      await expect(impersonate(accessOf(allowed), bob, wanted)).rejects.toMatchObject({ reason: 'Forbidden' });
    }
  });

  test('is refused in the words of Kubernetes', async () => {
    await expect(impersonate(accessOf([]), bob, { ...none, user: 'ann' })).rejects.toMatchObject({
      message:
        'users "ann" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope',
    });
  });
});
