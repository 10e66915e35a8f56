import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { aggregatedContentType, Discovery, versionInfo, wantsAggregated } from '../../src/kube/discovery.js';
import { allVerbs, type Resource } from '../../src/kube/resource.js';

function resource(group: string, plural: string, kind: string, more: Partial<Resource> = {}): Resource {
  return {
    group,
    version: 'v1',
    kind,
    plural,
    singular: kind.toLowerCase(),
    isNamespaced: true,
    verbs: ['get', 'list'],
    description: `A ${kind}.`,
    schema: z.object({}),
    storage: {},
    ...more,
  };
}

const schema = z.object({});

const serviceAccounts = resource('', 'serviceaccounts', 'ServiceAccount', {
  shortNames: ['sa'],
  verbs: allVerbs,
  subresources: [
    { name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'], schema },
  ],
});
const imageStreams = resource('image.openshift.io', 'imagestreams', 'ImageStream', {
  shortNames: ['is'],
  categories: ['all'],
  subresources: [
    { name: 'status', kind: 'ImageStream', verbs: ['update', 'get', 'patch'], schema },
    { name: 'layers', kind: 'ImageStreamLayers', verbs: ['get'], schema },
  ],
});

const discovery = new Discovery([
  resource('template.openshift.io', 'templates', 'Template'),
  resource('template.openshift.io', 'processedtemplates', 'Template', { verbs: ['create'] }),
  resource('weir.dev', 'widgets', 'Widget'),
  resource('apps', 'deployments', 'Deployment', { isHidden: true }),
  resource('another.dev', 'widgets', 'Widget', { version: 'v2' }),
  resource('another.dev', 'widgets', 'Widget'),
  imageStreams,
  resource('rbac.authorization.k8s.io', 'clusterroles', 'ClusterRole', { isNamespaced: false }),
  serviceAccounts,
  resource('', 'pods', 'Pod', { isHidden: true }),
  resource('', 'namespaces', 'Namespace', { isNamespaced: false, shortNames: ['ns'] }),
]);

const groupNames = [
  'rbac.authorization.k8s.io',
  'image.openshift.io',
  'template.openshift.io',
  'another.dev',
  'weir.dev',
];

const serviceAccountVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

describe('aggregated discovery', () => {
  test('of the core group is one item without a name', () => {
    expect(discovery.aggregated('api', 'v2')).toEqual({
      kind: 'APIGroupDiscoveryList',
      apiVersion: 'apidiscovery.k8s.io/v2',
      metadata: {},
      items: [
        {
          metadata: {},
          versions: [
            {
              version: 'v1',
              freshness: 'Current',
              resources: [
                {
                  resource: 'namespaces',
                  responseKind: { group: '', version: 'v1', kind: 'Namespace' },
                  scope: 'Cluster',
                  singularResource: 'namespace',
                  verbs: ['get', 'list'],
                  shortNames: ['ns'],
                },
                {
                  resource: 'serviceaccounts',
                  responseKind: { group: '', version: 'v1', kind: 'ServiceAccount' },
                  scope: 'Namespaced',
                  singularResource: 'serviceaccount',
                  verbs: serviceAccountVerbs,
                  shortNames: ['sa'],
                  subresources: [
                    {
                      subresource: 'token',
                      responseKind: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' },
                      verbs: ['create'],
                    },
                  ],
                },
              ],
            },
          ],
        },
      ],
    });
  });

  test('has the groups in the order in which bare names are looked up, others after them', () => {
    expect(discovery.aggregated('apis', 'v2').items.map(({ metadata }) => metadata.name)).toEqual(groupNames);
  });

  test('has resources, their subresources and verbs alphabetically', () => {
    const items = discovery.aggregated('apis', 'v2').items;
    expect(items[2]?.versions[0]?.resources.map(({ resource: name }) => name)).toEqual([
      'processedtemplates',
      'templates',
    ]);
    expect(items[1]?.versions[0]?.resources[0]).toEqual({
      resource: 'imagestreams',
      responseKind: { group: 'image.openshift.io', version: 'v1', kind: 'ImageStream' },
      scope: 'Namespaced',
      singularResource: 'imagestream',
      verbs: ['get', 'list'],
      shortNames: ['is'],
      categories: ['all'],
      subresources: [
        {
          subresource: 'layers',
          responseKind: { group: 'image.openshift.io', version: 'v1', kind: 'ImageStreamLayers' },
          verbs: ['get'],
        },
        {
          subresource: 'status',
          responseKind: { group: 'image.openshift.io', version: 'v1', kind: 'ImageStream' },
          verbs: ['get', 'patch', 'update'],
        },
      ],
    });
  });

  test('has the version that is declared first in front', () => {
    expect(discovery.aggregated('apis', 'v2').items[3]?.versions.map(({ version }) => version)).toEqual(['v2', 'v1']);
  });

  test('is the same for clients that know only v2beta1, but for the version', () => {
    const { apiVersion, ...document } = discovery.aggregated('apis', 'v2beta1');
    expect(apiVersion).toBe('apidiscovery.k8s.io/v2beta1');
    expect(discovery.aggregated('apis', 'v2')).toMatchObject(document);
  });
});

describe('the documents of old', () => {
  test('/api has the versions of the core group', () => {
    expect(discovery.apiVersions()).toEqual({
      kind: 'APIVersions',
      versions: ['v1'],
      serverAddressByClientCIDRs: [],
    });
  });

  test('/apis has the groups in the order in which bare names are looked up', () => {
    const { groups, ...list } = discovery.groupList();
    expect(list).toEqual({ kind: 'APIGroupList', apiVersion: 'v1' });
    expect(groups.map(({ name }) => name)).toEqual(groupNames);
    expect(groups[0]).toEqual({
      name: 'rbac.authorization.k8s.io',
      versions: [{ groupVersion: 'rbac.authorization.k8s.io/v1', version: 'v1' }],
      preferredVersion: { groupVersion: 'rbac.authorization.k8s.io/v1', version: 'v1' },
    });
  });

  test('/apis/{group} has its versions', () => {
    expect(discovery.group('another.dev')).toEqual({
      kind: 'APIGroup',
      apiVersion: 'v1',
      name: 'another.dev',
      versions: [
        { groupVersion: 'another.dev/v2', version: 'v2' },
        { groupVersion: 'another.dev/v1', version: 'v1' },
      ],
      preferredVersion: { groupVersion: 'another.dev/v2', version: 'v2' },
    });
  });

  test.each([['apps'], [''], ['constructor']])('there is no group %j', (group) => {
    expect(discovery.group(group)).toBeUndefined();
  });

  test('a version has its resources, each followed by its subresources', () => {
    expect(discovery.resourceList('', 'v1')).toEqual({
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: 'v1',
      resources: [
        {
          name: 'namespaces',
          singularName: 'namespace',
          namespaced: false,
          kind: 'Namespace',
          verbs: ['get', 'list'],
          shortNames: ['ns'],
        },
        {
          name: 'serviceaccounts',
          singularName: 'serviceaccount',
          namespaced: true,
          kind: 'ServiceAccount',
          verbs: serviceAccountVerbs,
          shortNames: ['sa'],
        },
        {
          name: 'serviceaccounts/token',
          singularName: '',
          namespaced: true,
          group: 'authentication.k8s.io',
          version: 'v1',
          kind: 'TokenRequest',
          verbs: ['create'],
        },
      ],
    });
  });

  test('a subresource of the same group does not name it', () => {
    expect(discovery.resourceList('image.openshift.io', 'v1')?.resources[1]).toEqual({
      name: 'imagestreams/layers',
      singularName: '',
      namespaced: true,
      kind: 'ImageStreamLayers',
      verbs: ['get'],
    });
  });

  test.each([
    { group: 'weir.dev', version: 'v2' },
    { group: 'apps', version: 'v1' },
    { group: 'image', version: 'v1' },
  ])('there is no $group/$version', ({ group, version }) => {
    expect(discovery.resourceList(group, version)).toBeUndefined();
  });
});

test('without resources there are no groups', () => {
  const empty = new Discovery([resource('', 'pods', 'Pod', { isHidden: true })]);
  expect(empty.aggregated('api', 'v2').items).toEqual([]);
  expect(empty.aggregated('apis', 'v2').items).toEqual([]);
  expect(empty.apiVersions().versions).toEqual([]);
  expect(empty.groupList().groups).toEqual([]);
});

describe('wantsAggregated', () => {
  const v2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const v2beta1 = 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList';

  test.each([
    { name: 'no header', accept: '', expected: undefined },
    { name: 'JSON', accept: 'application/json, */*', expected: undefined },
    { name: 'client-go', accept: `${v2},${v2beta1},application/json`, expected: 'v2' },
    { name: 'an old client-go', accept: `${v2beta1},application/json`, expected: 'v2beta1' },
    { name: 'the documents of old before the new one', accept: `application/json,${v2}`, expected: undefined },
    { name: 'by weight', accept: `application/json;q=0.8,${v2};q=0.9`, expected: 'v2' },
    { name: 'refused', accept: `${v2};q=0,application/json`, expected: undefined },
    {
      name: 'protobuf before JSON',
      accept: `application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,${v2}`,
      expected: 'v2',
    },
    {
      name: 'a version to come',
      accept: `application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,${v2}`,
      expected: 'v2',
    },
    { name: 'another group', accept: 'application/json;g=a;v=v2;as=APIGroupDiscoveryList', expected: undefined },
    { name: 'a table', accept: 'application/json;g=meta.k8s.io;v=v1;as=Table', expected: undefined },
  ])('$name', ({ accept, expected }) => {
    expect(wantsAggregated(accept)).toBe(expected);
  });

  test('the answer says so in its content type', () => {
    expect(aggregatedContentType('v2')).toBe(v2);
    expect(aggregatedContentType('v2beta1')).toBe(v2beta1);
  });
});

test.each([
  { weir: '0.1.0', expected: 'v1.36.0+weir.0.1.0' },
  { weir: '1.0.0-rc.1+build.5', expected: 'v1.36.0+weir.1.0.0-rc.1.build.5' },
])('Weir $weir is $expected', ({ weir, expected }) => {
  expect(versionInfo(weir)).toEqual({
    major: '1',
    minor: '36',
    gitVersion: expected,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '',
    goVersion: '',
    compiler: '',
    platform: '',
  });
});
