import { describe, expect, test } from 'vitest';
import {
  authorize,
  catalogRequest,
  repositoryRequest,
  tokenCovers,
  tokenCoversCatalog,
  type AccessRequest,
} from '../../src/auth/authorize.js';
import { anonymous, userPrincipal, type Principal, type TokenAccess } from '../../src/auth/principal.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';

const repository = parseRepositoryName('team/app');
const admin = userPrincipal('root', 'admin');
const user = userPrincipal('ada', 'user');
const impostor: Principal = { kind: 'user', name: 'system:masters', groups: ['system:authenticated'] };
const groupless: Principal = { kind: 'user', name: 'admin', groups: [] };
const unknownGroup: Principal = { kind: 'user', name: 'x', groups: ['constructor', 'toString', '__proto__'] };

const requests = {
  pull: repositoryRequest('pull', repository),
  push: repositoryRequest('push', repository),
  delete: repositoryRequest('delete', repository),
  catalog: catalogRequest,
  'the base': { kind: 'path', verb: 'get', path: '/v2/' },
  metrics: { kind: 'path', verb: 'get', path: '/metrics' },
  'another path': { kind: 'path', verb: 'get', path: '/debug' },
  'a write to a path': { kind: 'path', verb: 'post', path: '/metrics' },
  'the stream itself': { ...resource('imagestreams'), verb: 'delete' },
  'layers of another group': { ...resource('imagestreams/layers'), group: 'apps' },
  secrets: { ...resource('secrets'), group: '' },
} as const satisfies Record<string, AccessRequest>;

function resource(name: string) {
  return { kind: 'resource', verb: 'get', group: 'image.openshift.io', resource: name, namespace: 'team' } as const;
}

type RequestName = keyof typeof requests;
const everything = Object.keys(requests) as RequestName[];

describe('authorize', () => {
  test.each<{ readonly name: string; readonly principal: Principal; readonly may: readonly RequestName[] }>([
    { name: 'an admin', principal: admin, may: everything },
    { name: 'a user', principal: user, may: ['pull', 'push', 'catalog', 'the base', 'metrics'] },
    { name: 'nobody', principal: anonymous, may: [] },
    {
      name: 'a user who is called like a group',
      principal: impostor,
      may: ['pull', 'push', 'catalog', 'the base', 'metrics'],
    },
    { name: 'a principal without groups', principal: groupless, may: [] },
    { name: 'a principal of groups that have no rules', principal: unknownGroup, may: [] },
  ])('lets $name do exactly what the rules of their groups say', ({ principal, may }) => {
    const allowed = everything.filter((name) => authorize(principal, requests[name]));
    expect(allowed).toEqual(may);
  });

  test('does not look at the token: narrowing comes on top', () => {
    expect(authorize({ ...user, access: [] }, requests.pull)).toBe(true);
  });
});

describe('a request for a repository', () => {
  test.each([
    { action: 'pull', verb: 'get' },
    { action: 'push', verb: 'update' },
    { action: 'delete', verb: 'delete' },
  ] as const)('to $action is a check of verb $verb on the layers of its image stream', ({ action, verb }) => {
    expect(repositoryRequest(action, parseRepositoryName('team/app/web'))).toEqual({
      kind: 'resource',
      verb,
      group: 'image.openshift.io',
      resource: 'imagestreams/layers',
      namespace: 'team',
      name: 'app__web',
    });
  });
});

describe('a token', () => {
  const pull: TokenAccess = { type: 'repository', name: 'team/app', actions: ['pull'] };
  test.each<{
    readonly name: string;
    readonly access: readonly TokenAccess[] | undefined;
    readonly covers: readonly ('pull' | 'push' | 'delete')[];
  }>([
    { name: 'that is none', access: undefined, covers: ['pull', 'push', 'delete'] },
    { name: 'of nothing', access: [], covers: [] },
    { name: 'of one action', access: [pull], covers: ['pull'] },
    { name: 'of several actions', access: [{ ...pull, actions: ['push', 'pull'] }], covers: ['pull', 'push'] },
    { name: 'of several lines', access: [pull, { ...pull, actions: ['delete'] }], covers: ['pull', 'delete'] },
    { name: 'of another repository', access: [{ ...pull, name: 'team/other' }], covers: [] },
    { name: 'of a repository below', access: [{ ...pull, name: 'team/app/web' }], covers: [] },
    { name: 'of the project', access: [{ ...pull, name: 'team' }], covers: [] },
    { name: 'of something else by that name', access: [{ ...pull, type: 'registry' }], covers: [] },
    { name: 'of actions that are not spelled out', access: [{ ...pull, actions: ['*'] }], covers: [] },
  ])('$name covers $covers', ({ access, covers }) => {
    const principal = { ...user, ...(access && { access }) };
    const covered = (['pull', 'push', 'delete'] as const).filter((action) =>
      tokenCovers(principal, action, repository),
    );
    expect(covered).toEqual(covers);
  });

  test.each<{ readonly name: string; readonly access: readonly TokenAccess[] | undefined; readonly covers: boolean }>([
    { name: 'that is none', access: undefined, covers: true },
    { name: 'of nothing', access: [], covers: false },
    { name: 'of the catalog', access: [{ type: 'registry', name: 'catalog', actions: ['*'] }], covers: true },
    {
      name: 'of no action on the catalog',
      access: [{ type: 'registry', name: 'catalog', actions: [] }],
      covers: false,
    },
    { name: 'of another name', access: [{ type: 'registry', name: 'users', actions: ['*'] }], covers: false },
    { name: 'of a repository', access: [{ type: 'repository', name: 'catalog', actions: ['*'] }], covers: false },
  ])('$name covers the catalog: $covers', ({ access, covers }) => {
    expect(tokenCoversCatalog({ ...user, ...(access && { access }) })).toBe(covers);
  });
});
