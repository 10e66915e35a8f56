import { describe, expect, test } from 'vitest';
import { limitRangeCauses } from '../../src/projects/limit-ranges.js';
import { quantityCauses } from '../../src/projects/quantity.js';
import { encodeProtobuf } from '../support/protobuf.js';
import { namesIn, startProjectApi } from './project-api.js';

const quotas = '/api/v1/namespaces/library/resourcequotas';
const ranges = '/api/v1/namespaces/library/limitranges';
const table = { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };

describe('resource quotas and limit ranges', () => {
  test('are empty lists for `oc describe project`, and one of all namespaces for `oc adm prune images`', async () => {
    const { send } = await startProjectApi();
    expect(await send('root', 'GET', quotas)).toMatchObject({
      status: 200,
      body: { kind: 'ResourceQuotaList', items: [] },
    });
    expect(await send('root', 'GET', '/api/v1/limitranges')).toMatchObject({
      status: 200,
      body: { kind: 'LimitRangeList', items: [] },
    });
  });

  test('of which a quota has what it demands in its status, and nothing a client says there', async () => {
    const { send } = await startProjectApi();
    const hard = { 'openshift.io/imagestreams': '10' };
    const made = await send('root', 'POST', quotas, {
      metadata: { name: 'q' },
      spec: { hard: { ...hard, 'limits.cpu': 2 } },
      status: { used: { 'openshift.io/imagestreams': '0' } },
    });
    expect(made).toMatchObject({ status: 201 });
    expect(made.body['status']).toEqual({ hard: { 'openshift.io/imagestreams': '10', 'limits.cpu': '2' } });
    expect((await send('root', 'GET', quotas, undefined, table)).body).toMatchObject({
      columnDefinitions: [{ name: 'Name' }, { name: 'Request' }, { name: 'Limit' }, { name: 'Age' }],
      rows: [{ cells: ['q', 'openshift.io/imagestreams: 0/10', 'limits.cpu: 0/2', expect.any(String) as string] }],
    });
    expect(
      await send('root', 'POST', quotas, { metadata: { name: 'r' }, spec: { hard: { pods: 'many' } } }),
    ).toMatchObject({
      status: 422,
      body: { details: { causes: [{ field: 'spec.hard[pods]' }] } },
    });
  });

  test('are read from protobuf as well', async () => {
    const { send } = await startProjectApi();
    const limits = [{ type: 'openshift.io/Image', max: { storage: '1Gi' } }];
    const sent = encodeProtobuf('LimitRange', 'v1', { metadata: { name: 'l' }, spec: { limits } });
    expect((await send('root', 'POST', ranges, sent)).body).toMatchObject({
      spec: { limits: [{ type: 'openshift.io/Image', max: { storage: '1Gi' } }] },
    });
    expect(namesIn(await send('root', 'GET', ranges))).toEqual(['l']);
  });
});

test.each([
  ['0', true],
  ['10', true],
  ['1.5', true],
  ['.5', true],
  ['500m', true],
  ['2Gi', true],
  ['1e3', true],
  ['1E', true],
  ['+1k', true],
  ['', false],
  ['-1', false],
  ['1 Gi', false],
  ['Gi', false],
  ['1gi', false],
  ['1e', false],
])('the quantity %j is right: %s', (quantity, isRight) => {
  expect(quantityCauses({ a: quantity }, 'spec.hard').map(({ field }) => field)).toEqual(
    isRight ? [] : ['spec.hard[a]'],
  );
});

test('a limit needs a type, and quantities', () => {
  const metadata = { name: 'l', namespace: 'n', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' };
  const limits = [{ type: 'Container' }, { max: { cpu: 'x' } }];
  expect(limitRangeCauses({ metadata, spec: { limits } }).map(({ field }) => field)).toEqual([
    'spec.limits[1].type',
    'spec.limits[1].max[cpu]',
  ]);
});
