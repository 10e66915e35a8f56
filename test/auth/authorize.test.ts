import { describe, expect, test } from 'vitest';
import {
  catalogRequest,
  createRequest,
  pruneRequest,
  repositoryRequests,
  tokenCovers,
  tokenCoversCatalog,
} from '../../src/auth/authorize.js';
import type { Principal, TokenAccess } from '../../src/auth/principal.js';
import { rulesAllow, type PolicyRule } from '../../src/auth/rules.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';

const repository = parseRepositoryName('team/app');
const user: Principal = {
  kind: 'user',
  name: 'ada',
  groups: ['system:authenticated'],
  basis: { kind: 'password', user: 'ada', stamp: '' },
};

describe('a request for a repository', () => {
  const stream = { kind: 'resource', group: 'image.openshift.io', namespace: 'team', name: 'app__web' };
  const layers = { ...stream, resource: 'imagestreams/layers' };
  test.each([
    { action: 'pull', checks: [{ ...layers, verb: 'get' }] },
    {
      action: 'push',
      checks: [
        { ...layers, verb: 'get' },
        { ...layers, verb: 'update' },
      ],
    },
    { action: 'delete', checks: [{ ...stream, resource: 'imagestreamtags', verb: 'delete' }] },
  ] as const)('to $action is a check of $checks.length rights to its image stream', ({ action, checks }) => {
    expect(repositoryRequests(action, parseRepositoryName('team/app/web'))).toEqual(checks);
  });

  test('to make it is a check on the image streams of its project, without a name', () => {
    expect(createRequest(parseRepositoryName('team/app/web'))).toEqual({
      kind: 'resource',
      verb: 'create',
      group: 'image.openshift.io',
      resource: 'imagestreams',
      namespace: 'team',
    });
  });

  test('to prune is one on images, in no namespace', () => {
    expect(pruneRequest).toEqual({ kind: 'resource', verb: 'delete', group: 'image.openshift.io', resource: 'images' });
  });

  test('for the catalog is one on the image streams of a project, or of all', () => {
    const list = { kind: 'resource', verb: 'list', group: 'image.openshift.io', resource: 'imagestreams' };
    expect(catalogRequest('team')).toEqual({ ...list, namespace: 'team' });
    expect(catalogRequest('')).toEqual(list);
  });

  test.each<{ readonly name: string; readonly rule: PolicyRule; readonly may: readonly string[] }>([
    {
      name: 'the layers of another group',
      rule: { verbs: ['*'], apiGroups: ['apps'], resources: ['imagestreams/layers'] },
      may: [],
    },
    {
      name: 'image streams themselves',
      rule: { verbs: ['*'], apiGroups: ['image.openshift.io'], resources: ['imagestreams'] },
      may: ['create', 'catalog'],
    },
    {
      name: 'their layers',
      rule: { verbs: ['*'], apiGroups: ['image.openshift.io'], resources: ['imagestreams/layers'] },
      may: ['pull', 'push'],
    },
    {
      name: 'the layers of another stream',
      rule: {
        verbs: ['*'],
        apiGroups: ['image.openshift.io'],
        resources: ['imagestreams/layers'],
        resourceNames: ['other'],
      },
      may: [],
    },
    {
      name: 'image stream tags',
      rule: { verbs: ['*'], apiGroups: ['image.openshift.io'], resources: ['imagestreamtags'] },
      may: ['delete'],
    },
    {
      name: 'paths',
      rule: { verbs: ['*'], nonResourceURLs: ['*'] },
      may: [],
    },
  ])('is met by rights to $name for $may', ({ rule, may }) => {
    const requests = {
      pull: repositoryRequests('pull', repository),
      push: repositoryRequests('push', repository),
      delete: repositoryRequests('delete', repository),
      create: [createRequest(repository)],
      catalog: [catalogRequest('team')],
    };
    const met = Object.entries(requests).filter(([, checks]) => checks.every((check) => rulesAllow([rule], check)));
    expect(met.map(([name]) => name)).toEqual(may);
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
