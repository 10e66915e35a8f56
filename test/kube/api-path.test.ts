import { describe, expect, test } from 'vitest';
import { parseApiPath, type ApiPath, type ResourcePath } from '../../src/kube/api-path.js';

function resource(plural: string, rest: Partial<ResourcePath> = {}): ResourcePath {
  return {
    kind: 'resource',
    group: '',
    version: 'v1',
    namespace: '',
    plural,
    name: undefined,
    subresource: undefined,
    ...rest,
  };
}

const image = { group: 'image.openshift.io', namespace: 'team' };

describe('a path of the API', () => {
  test.each<{ readonly path: string; readonly parsed: ApiPath }>([
    { path: '/api', parsed: { kind: 'groups', root: 'api' } },
    { path: '/apis/', parsed: { kind: 'groups', root: 'apis' } },
    { path: '/apis/apps', parsed: { kind: 'group', group: 'apps' } },
    { path: '/api/v1', parsed: { kind: 'version', group: '', version: 'v1' } },
    { path: '/apis/apps/v1/', parsed: { kind: 'version', group: 'apps', version: 'v1' } },
    { path: '/api/v1/secrets', parsed: resource('secrets') },
    { path: '/api/v1/secrets/', parsed: resource('secrets') },
    { path: '/api/v1/namespaces', parsed: resource('namespaces') },
    { path: '/api/v1/namespaces/team', parsed: resource('namespaces', { name: 'team' }) },
    {
      path: '/api/v1/namespaces/team/status',
      parsed: resource('namespaces', { name: 'team', subresource: 'status' }),
    },
    {
      path: '/api/v1/namespaces/team/finalize',
      parsed: resource('namespaces', { name: 'team', subresource: 'finalize' }),
    },
    { path: '/api/v1/namespaces/team/secrets', parsed: resource('secrets', { namespace: 'team' }) },
    { path: '/api/v1/namespaces/team/secrets/a', parsed: resource('secrets', { namespace: 'team', name: 'a' }) },
    {
      path: '/api/v1/namespaces/team/serviceaccounts/a/token',
      parsed: resource('serviceaccounts', { namespace: 'team', name: 'a', subresource: 'token' }),
    },
    {
      path: '/apis/image.openshift.io/v1/namespaces/team/imagestreamtags/app:v1',
      parsed: resource('imagestreamtags', { ...image, name: 'app:v1' }),
    },
    {
      path: '/apis/image.openshift.io/v1/namespaces/team/imagestreamtags/app%3Av1',
      parsed: resource('imagestreamtags', { ...image, name: 'app:v1' }),
    },
    {
      path: '/apis/image.openshift.io/v1/namespaces/team/imagestreamimages/app@sha256:abc',
      parsed: resource('imagestreamimages', { ...image, name: 'app@sha256:abc' }),
    },
    {
      path: '/apis/user.openshift.io/v1/users/~',
      parsed: resource('users', { group: 'user.openshift.io', name: '~' }),
    },
    {
      path: '/apis/user.openshift.io/v1/users/%C3%BCn%C3%AF',
      parsed: resource('users', { group: 'user.openshift.io', name: 'ünï' }),
    },
    { path: '/apis/x/v1/a/b/c', parsed: resource('a', { group: 'x', name: 'b', subresource: 'c' }) },
  ])('$path is taken apart', ({ path, parsed }) => {
    expect(parseApiPath(path)).toEqual(parsed);
  });

  test.each([
    { why: 'nothing', path: '' },
    { why: 'the root', path: '/' },
    { why: 'another root', path: '/v2/' },
    { why: 'a longer root', path: '/apiserver' },
    { why: 'the root in other letters', path: '/API/v1' },
    { why: 'an empty segment', path: '/api//v1' },
    { why: 'two slashes at the end', path: '/api/v1//' },
    { why: 'a slash in a name', path: '/api/v1/secrets/a%2Fb' },
    { why: 'a percent sign in a name', path: '/api/v1/secrets/a%252Fb' },
    { why: 'a backslash in a name', path: '/api/v1/secrets/a%5Cb' },
    { why: 'a control character in a name', path: '/api/v1/secrets/a%00' },
    { why: 'a line end in a name', path: '/api/v1/secrets/a%0A' },
    { why: 'a broken escape', path: '/api/v1/secrets/%E0%A4' },
    { why: 'a dot', path: '/api/v1/./secrets' },
    { why: 'two dots', path: '/api/v1/namespaces/../secrets' },
    { why: 'two encoded dots', path: '/api/v1/namespaces/%2e%2e/secrets' },
    { why: 'a part too many', path: '/api/v1/secrets/a/b/c' },
    { why: 'a part too many in a namespace', path: '/api/v1/namespaces/team/secrets/a/b/c' },
    { why: 'a part too many of a namespace', path: '/api/v1/namespaces/team/status/x' },
  ])('is not one with $why', ({ path }) => {
    expect(parseApiPath(path)).toBeUndefined();
  });
});
