import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Resource } from '../../src/kube/resource.js';
import {
  ageColumn,
  parseAccept,
  toPartialMetadata,
  toPartialMetadataList,
  toTable,
  type TableSource,
} from '../../src/kube/table.js';
import type { ApiObject } from '../../src/metadata/object-store.js';

describe('parseAccept', () => {
  const tableV1 = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  const tableV1beta1 = 'application/json;as=Table;v=v1beta1;g=meta.k8s.io';
  const partialList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
  const protobuf = 'application/vnd.kubernetes.protobuf';

  test.each([
    { name: 'no header', accept: '', expected: { kind: 'object' } },
    { name: 'blanks', accept: ' ', expected: { kind: 'object' } },
    { name: 'JSON', accept: 'application/json', expected: { kind: 'object' } },
    { name: 'JSON in a charset', accept: 'application/json;charset=utf-8', expected: { kind: 'object' } },
    { name: 'JSON or anything', accept: 'application/json, */*', expected: { kind: 'object' } },
    { name: 'anything', accept: '*/*', expected: { kind: 'object' } },
    { name: 'any application', accept: 'application/*', expected: { kind: 'object' } },
    { name: 'a browser', accept: 'text/html,application/xhtml+xml,*/*;q=0.8', expected: { kind: 'object' } },
    { name: 'protobuf or JSON', accept: `${protobuf},application/json`, expected: { kind: 'object' } },
    { name: 'a stream of JSON', accept: 'application/json;stream=watch', expected: { kind: 'object' } },
    { name: 'a stream of another kind', accept: 'application/json;stream=chunks', expected: undefined },
    {
      name: 'kubectl get',
      accept: `${tableV1},${tableV1beta1},application/json`,
      expected: { kind: 'table', version: 'v1' },
    },
    {
      name: 'an old kubectl get',
      accept: `${tableV1beta1},application/json`,
      expected: { kind: 'table', version: 'v1beta1' },
    },
    {
      name: 'both versions, the old one first',
      accept: `${tableV1beta1},${tableV1}`,
      expected: { kind: 'table', version: 'v1' },
    },
    { name: 'an object rather than a table', accept: `application/json,${tableV1}`, expected: { kind: 'object' } },
    { name: 'a table of less weight', accept: `${tableV1};q=0.4,application/json;q=0.5`, expected: { kind: 'object' } },
    {
      name: 'a table as anything',
      accept: '*/*;as=Table;v=v1;g=meta.k8s.io',
      expected: { kind: 'table', version: 'v1' },
    },
    {
      name: 'one partial object',
      accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
      expected: { kind: 'partial', version: 'v1' },
    },
    {
      name: 'client-go, metadata',
      accept: `${protobuf};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,${partialList},application/json`,
      expected: { kind: 'partial-list', version: 'v1' },
    },
    {
      name: 'a table of a version to come or JSON',
      accept: 'application/json;as=Table;v=v2;g=meta.k8s.io,application/json',
      expected: { kind: 'object' },
    },
    {
      name: 'a table of a version to come',
      accept: 'application/json;as=Table;v=v2;g=meta.k8s.io',
      expected: undefined,
    },
    { name: 'a table of another group', accept: 'application/json;as=Table;v=v1;g=weir.dev', expected: undefined },
    { name: 'a table of no group', accept: 'application/json;as=Table', expected: undefined },
    {
      name: 'what all objects inherit',
      accept: 'application/json;as=constructor;v=v1;g=meta.k8s.io',
      expected: undefined,
    },
    { name: 'protobuf alone', accept: protobuf, expected: undefined },
    { name: 'YAML alone', accept: 'application/yaml', expected: undefined },
    { name: 'anything but JSON', accept: 'application/json;q=0', expected: undefined },
    { name: 'nonsense', accept: ';;;,', expected: undefined },
  ])('$name', ({ accept, expected }) => {
    expect(parseAccept(accept)).toEqual(expected);
  });
});

const widgets: Resource = {
  group: 'weir.dev',
  version: 'v1',
  kind: 'Widget',
  plural: 'widgets',
  singular: 'widget',
  isNamespaced: true,
  verbs: ['get', 'list'],
  description: 'A widget.',
  schema: z.object({}),
  storage: {},
};

const metadata = {
  name: 'app',
  namespace: 'demo',
  uid: 'u1',
  resourceVersion: '7',
  creationTimestamp: '2026-01-02T03:04:05Z',
  labels: { tier: 'front' },
};
const app: ApiObject = { metadata, spec: { size: 3 } };

const source: TableSource = {
  resource: widgets,
  items: [app],
  resourceVersion: '9',
  includeObject: 'Metadata',
  now: new Date('2026-01-02T03:07:25Z'),
};

const nameDefinition = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name is unique within a namespace, and given when the object is created.',
  priority: 0,
};

describe('toTable', () => {
  test('a resource without columns has the name and the time of creation', () => {
    expect(toTable(source)).toEqual({
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { resourceVersion: '9' },
      columnDefinitions: [
        nameDefinition,
        {
          name: 'Created At',
          type: 'date',
          format: '',
          description: 'When the object was created, in RFC 3339 form and in UTC.',
          priority: 0,
        },
      ],
      rows: [
        {
          cells: ['app', '2026-01-02T03:04:05Z'],
          object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata },
        },
      ],
    });
  });

  test('the columns of a resource follow the name', () => {
    const table = toTable({
      ...source,
      resource: {
        ...widgets,
        columns: [
          ageColumn,
          { name: 'Size', type: 'integer', priority: 1, description: 'How large it is.', cell: () => null },
        ],
      },
    });
    expect(table.columnDefinitions).toEqual([
      nameDefinition,
      { name: 'Age', type: 'string', format: '', description: 'How long ago the object was created.', priority: 0 },
      { name: 'Size', type: 'integer', format: '', description: 'How large it is.', priority: 1 },
    ]);
    expect(table.rows[0]?.cells).toEqual(['app', '3m20s', null]);
  });

  test.each([
    { includeObject: 'None', expected: undefined },
    { includeObject: 'Metadata', expected: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata } },
    { includeObject: 'Object', expected: { kind: 'Widget', apiVersion: 'weir.dev/v1', metadata, spec: { size: 3 } } },
  ] as const)('includeObject $includeObject', ({ includeObject, expected }) => {
    expect(toTable({ ...source, includeObject }).rows[0]?.object).toEqual(expected);
  });

  test('later events of a watch have no columns, but all cells', () => {
    const table = toTable({ ...source, withColumns: false });
    expect(table.columnDefinitions).toEqual([]);
    expect(table.rows[0]?.cells).toEqual(['app', '2026-01-02T03:04:05Z']);
  });

  test('a page says how to go on', () => {
    expect(toTable({ ...source, continue: 'next', remainingItemCount: 4 }).metadata).toEqual({
      resourceVersion: '9',
      continue: 'next',
      remainingItemCount: 4,
    });
  });

  test('an empty list has columns and no rows', () => {
    const table = toTable({ ...source, items: [] });
    expect(table.columnDefinitions).toHaveLength(2);
    expect(table.rows).toEqual([]);
  });

  test('a client that knows only v1beta1 gets that', () => {
    const table = toTable({ ...source, version: 'v1beta1' });
    expect(table.apiVersion).toBe('meta.k8s.io/v1beta1');
    expect(table.rows[0]?.object).toMatchObject({ apiVersion: 'meta.k8s.io/v1beta1' });
  });
});

describe('partial objects', () => {
  test('have the metadata and nothing else', () => {
    expect(toPartialMetadata(app)).toEqual({
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
    });
  });

  test('are listed like objects', () => {
    expect(toPartialMetadataList({ items: [app], resourceVersion: '9', continue: 'next' })).toEqual({
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { resourceVersion: '9', continue: 'next' },
      items: [{ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }],
    });
  });
});
