import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { OpenApi } from '../../src/kube/openapi.js';
import { allVerbs, type Resource } from '../../src/kube/resource.js';

const tag = z
  .object({
    name: z.string().describe('Name of the tag.'),
    generation: z.number().int().nullable().optional(),
    kind: z.literal('ImageStreamTag').optional(),
  })
  .meta({ id: 'TagReference', description: 'A tag that is wanted.' });

/** Refers to itself. */
const node = z.object({
  name: z.string().optional(),
  get children() {
    return z.array(node).optional();
  },
});

const streams: Resource = {
  group: 'image.openshift.io',
  version: 'v1',
  kind: 'ImageStream',
  plural: 'imagestreams',
  singular: 'imagestream',
  isNamespaced: true,
  verbs: allVerbs,
  description: 'Images under names.',
  schema: z.object({
    spec: z
      .object({
        tags: z.array(tag).optional().describe('Tags that are wanted.'),
        conditions: z.array(z.object({ type: z.string() })).optional(),
        hosts: z.array(z.string()).optional(),
        policy: z.object({ local: z.boolean() }).nullish(),
      })
      .optional()
      .describe('What is wanted.'),
    anything: z.unknown(),
    list: z.array(z.unknown()).optional(),
    labels: z.record(z.string(), z.string()).optional(),
    open: z.looseObject({ known: z.string() }).optional(),
  }),
  mergeStrategies: {
    'spec.tags': { kind: 'merge', key: 'name' },
    'spec.tags.name': { kind: 'replace' },
    'spec.hosts': { kind: 'set' },
    'spec.policy': { kind: 'replace' },
    'spec.nowhere.at.all': { kind: 'set' },
  },
  storage: {},
  subresources: [
    { name: 'status', kind: 'ImageStream', verbs: ['get', 'patch', 'update'], schema: z.object({}) },
    { name: 'layers', kind: 'ImageStreamLayers', verbs: ['get'], schema: z.object({ blobs: z.object({}) }) },
  ],
};

const imports: Resource = {
  group: 'image.openshift.io',
  version: 'v1',
  kind: 'ImageStreamImport',
  plural: 'imagestreamimports',
  singular: 'imagestreamimport',
  isNamespaced: true,
  verbs: ['create'],
  description: 'An import.',
  schema: z.object({ spec: z.unknown() }),
  storage: {},
};

const nodes: Resource = {
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  singular: 'node',
  isNamespaced: false,
  verbs: ['get', 'list', 'patch'],
  description: 'A node.',
  schema: z.object({ tree: node }),
  storage: {},
};

const templates: Resource = {
  ...imports,
  group: 'template.openshift.io',
  kind: 'Template',
  plural: 'templates',
  singular: 'template',
  verbs: allVerbs,
  description: 'The kind proper.',
  schema: z.object({ objects: z.array(z.object({ kind: z.string() })) }),
  mergeStrategies: { objects: { kind: 'merge', key: 'kind' } },
};

const processedTemplates: Resource = {
  ...templates,
  plural: 'processedtemplates',
  verbs: ['create'],
  description: 'Another use of it.',
};

const hidden: Resource = { ...nodes, group: 'apps', kind: 'Deployment', plural: 'deployments', isHidden: true };

const openApi = new OpenApi([streams, imports, nodes, processedTemplates, templates, hidden]);

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

function documentOf(group: string): Document {
  return JSON.parse(openApi.document(group, 'v1')?.text ?? 'null') as Document;
}

const inside = '/apis/image.openshift.io/v1/namespaces/{namespace}';

describe('the index', () => {
  test('has each version of a group with the hash of its document', () => {
    const hashOf = (group: string) => openApi.document(group, 'v1')?.hash ?? 'none';
    expect(openApi.index()).toEqual({
      paths: {
        'apis/image.openshift.io/v1': {
          serverRelativeURL: `/openapi/v3/apis/image.openshift.io/v1?hash=${hashOf('image.openshift.io')}`,
        },
        'api/v1': { serverRelativeURL: `/openapi/v3/api/v1?hash=${hashOf('')}` },
        'apis/template.openshift.io/v1': {
          serverRelativeURL: `/openapi/v3/apis/template.openshift.io/v1?hash=${hashOf('template.openshift.io')}`,
        },
      },
    });
    expect(hashOf('')).toMatch(/^[0-9A-F]{64}$/);
  });

  test('has another hash when a document changes', () => {
    const changed = new OpenApi([{ ...nodes, description: 'Another node.' }]);
    expect(changed.document('', 'v1')?.hash).not.toBe(openApi.document('', 'v1')?.hash);
    expect(new OpenApi([nodes]).document('', 'v1')?.hash).toBe(openApi.document('', 'v1')?.hash);
  });

  test('leaves out what is hidden', () => {
    expect(openApi.document('apps', 'v1')).toBeUndefined();
  });
});

test('a document says which OpenAPI it is', () => {
  expect(documentOf('')).toMatchObject({ openapi: '3.0.0', info: { title: 'Weir', version: 'v1' } });
});

describe('paths', () => {
  function methodsOf(group: string): Record<string, string[]> {
    return Object.fromEntries(
      Object.entries(documentOf(group).paths).map(([path, item]) => [
        path,
        Object.keys(item).filter((name) => name !== 'parameters'),
      ]),
    );
  }

  test('have the methods of the verbs', () => {
    expect(methodsOf('image.openshift.io')).toEqual({
      [`${inside}/imagestreams`]: ['get', 'post', 'delete'],
      [`${inside}/imagestreams/{name}`]: ['get', 'put', 'patch', 'delete'],
      [`${inside}/imagestreams/{name}/status`]: ['get', 'put', 'patch'],
      [`${inside}/imagestreams/{name}/layers`]: ['get'],
      '/apis/image.openshift.io/v1/imagestreams': ['get'],
      [`${inside}/imagestreamimports`]: ['post'],
      [`${inside}/imagestreamimports/{name}`]: ['patch'],
    });
    expect(methodsOf('')).toEqual({ '/api/v1/nodes': ['get'], '/api/v1/nodes/{name}': ['get', 'patch'] });
  });

  test('have their own parameters', () => {
    expect(documentOf('image.openshift.io').paths[`${inside}/imagestreams/{name}`]?.['parameters']).toEqual([
      {
        name: 'namespace',
        description: 'Name of the namespace.',
        schema: { type: 'string' },
        in: 'path',
        required: true,
      },
      { name: 'name', description: 'Name of the object.', schema: { type: 'string' }, in: 'path', required: true },
    ]);
  });

  test.each([
    { path: `${inside}/imagestreams/{name}`, kind: 'ImageStream' },
    { path: `${inside}/imagestreams/{name}/status`, kind: 'ImageStream' },
    { path: `${inside}/imagestreamimports/{name}`, kind: 'ImageStreamImport' },
  ])('$path has a PATCH in which kubectl finds fieldValidation', ({ path, kind }) => {
    const parameter = (name: string) => expect.objectContaining({ name, in: 'query' }) as unknown;
    expect(documentOf('image.openshift.io').paths[path]?.['patch']).toMatchObject({
      'x-kubernetes-group-version-kind': { group: 'image.openshift.io', version: 'v1', kind },
      parameters: [parameter('dryRun'), parameter('fieldManager'), parameter('fieldValidation')],
    });
  });

  test('a kind that is patched under one name has no refused patch under another', () => {
    expect(methodsOf('template.openshift.io')).toMatchObject({
      '/apis/template.openshift.io/v1/namespaces/{namespace}/templates/{name}': ['get', 'put', 'patch', 'delete'],
    });
    expect(methodsOf('template.openshift.io')).not.toHaveProperty([
      '/apis/template.openshift.io/v1/namespaces/{namespace}/processedtemplates/{name}',
    ]);
  });

  test.each([
    {
      name: 'with merge strategies',
      group: 'image.openshift.io',
      path: `${inside}/imagestreams/{name}`,
      isStrategic: true,
    },
    // kubectl looks at any one path of the kind.
    {
      name: 'of the status as well',
      group: 'image.openshift.io',
      path: `${inside}/imagestreams/{name}/status`,
      isStrategic: true,
    },
    { name: 'without merge strategies', group: '', path: '/api/v1/nodes/{name}', isStrategic: false },
  ])('a kind $name is patched strategically: $isStrategic', ({ group, path, isStrategic }) => {
    const types = ['application/merge-patch+json', 'application/json-patch+json'];
    if (isStrategic) types.push('application/strategic-merge-patch+json');
    expect(documentOf(group).paths[path]?.['patch']).toMatchObject({
      requestBody: { content: Object.fromEntries(types.map((type) => [type, {}])) },
    });
    expect(JSON.stringify(documentOf(group).paths[path]).includes('strategic')).toBe(isStrategic);
  });
});

describe('schemas', () => {
  const streamName = 'io.weir.io.openshift.image.v1.ImageStream';

  test('have every kind, its lists, and what they refer to', () => {
    expect(Object.keys(documentOf('image.openshift.io').components.schemas)).toEqual([
      'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta',
      'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta',
      streamName,
      `${streamName}.TagReference`,
      'io.weir.io.openshift.image.v1.ImageStreamImport',
      'io.weir.io.openshift.image.v1.ImageStreamLayers',
      `${streamName}List`,
    ]);
  });

  test('a kind is described with all its fields, and how they are merged', () => {
    expect(documentOf('image.openshift.io').components.schemas[streamName]).toEqual({
      type: 'object',
      description: 'Images under names.',
      required: ['anything'],
      properties: {
        apiVersion: {
          type: 'string',
          description: 'Group and version of the kind, such as v1 or image.openshift.io/v1.',
        },
        kind: { type: 'string', description: 'What the object is, in CamelCase. It cannot be changed.' },
        metadata: {
          description: 'Name, labels and what else every object has.',
          allOf: [{ $ref: '#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' }],
        },
        spec: {
          type: 'object',
          description: 'What is wanted.',
          properties: {
            tags: {
              type: 'array',
              description: 'Tags that are wanted.',
              items: { $ref: `#/components/schemas/${streamName}.TagReference` },
              'x-kubernetes-patch-strategy': 'merge',
              'x-kubernetes-patch-merge-key': 'name',
            },
            conditions: {
              type: 'array',
              items: { type: 'object', properties: { type: { type: 'string' } }, required: ['type'] },
            },
            hosts: { type: 'array', items: { type: 'string' }, 'x-kubernetes-patch-strategy': 'merge' },
            policy: {
              type: 'object',
              nullable: true,
              properties: { local: { type: 'boolean' } },
              required: ['local'],
              'x-kubernetes-patch-strategy': 'replace',
            },
          },
        },
        anything: { 'x-kubernetes-preserve-unknown-fields': true },
        list: { type: 'array', items: { 'x-kubernetes-preserve-unknown-fields': true } },
        labels: { type: 'object', additionalProperties: { type: 'string' } },
        open: {
          type: 'object',
          properties: { known: { type: 'string' } },
          required: ['known'],
          'x-kubernetes-preserve-unknown-fields': true,
        },
      },
      'x-kubernetes-group-version-kind': [{ group: 'image.openshift.io', version: 'v1', kind: 'ImageStream' }],
    });
  });

  test('a named schema becomes a component, and strategies reach into it', () => {
    expect(documentOf('image.openshift.io').components.schemas[`${streamName}.TagReference`]).toEqual({
      type: 'object',
      description: 'A tag that is wanted.',
      required: ['name'],
      properties: {
        name: { type: 'string', description: 'Name of the tag.', 'x-kubernetes-patch-strategy': 'replace' },
        generation: { type: 'integer', nullable: true },
        kind: { type: 'string', enum: ['ImageStreamTag'] },
      },
    });
  });

  test('a list refers to its kind', () => {
    expect(documentOf('image.openshift.io').components.schemas[`${streamName}List`]).toMatchObject({
      properties: { items: { type: 'array', items: { $ref: `#/components/schemas/${streamName}` } } },
      'x-kubernetes-group-version-kind': [{ group: 'image.openshift.io', version: 'v1', kind: 'ImageStreamList' }],
    });
  });

  test('a schema that refers to itself ends', () => {
    const { schemas } = documentOf('').components;
    const tree = (schemas['io.weir.core.v1.Node'] as { properties: { tree: { $ref: string } } }).properties.tree.$ref;
    expect(tree).toMatch(/^#\/components\/schemas\/io\.weir\.core\.v1\.Node\.[^/]+$/);
    expect(schemas[tree.slice('#/components/schemas/'.length)]).toEqual({
      type: 'object',
      properties: { name: { type: 'string' }, children: { type: 'array', items: { $ref: tree } } },
    });
  });

  test('of two resources of one kind, the one that can be patched describes it', () => {
    expect(
      documentOf('template.openshift.io').components.schemas['io.weir.io.openshift.template.v1.Template'],
    ).toMatchObject({
      description: 'The kind proper.',
    });
  });

  test('a schema that has a name itself is the kind nevertheless', () => {
    const named = { ...imports, schema: z.object({ size: z.number() }).meta({ id: 'Named' }) };
    const text = new OpenApi([named]).document('image.openshift.io', 'v1')?.text ?? 'null';
    expect(
      (JSON.parse(text) as Document).components.schemas['io.weir.io.openshift.image.v1.ImageStreamImport'],
    ).toMatchObject({ properties: { size: { type: 'number' }, kind: { type: 'string' } } });
  });

  test('every field of metadata is described, and its lists are merged', () => {
    const meta = documentOf('').components.schemas['io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'] as {
      properties: Record<string, { description?: string }>;
    };
    const undescribed = Object.keys(meta.properties).filter((name) => meta.properties[name]?.description === undefined);
    expect(undescribed).toEqual([]);
    expect(meta.properties).toMatchObject({
      name: { type: 'string' },
      creationTimestamp: { type: 'string', format: 'date-time' },
      labels: { type: 'object', additionalProperties: { type: 'string' } },
      finalizers: { 'x-kubernetes-patch-strategy': 'merge' },
      ownerReferences: { 'x-kubernetes-patch-strategy': 'merge', 'x-kubernetes-patch-merge-key': 'uid' },
    });
  });

  test('every reference leads somewhere', () => {
    for (const group of ['', 'image.openshift.io', 'template.openshift.io']) {
      const names = Object.keys(documentOf(group).components.schemas);
      const text = openApi.document(group, 'v1')?.text ?? '';
      for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) expect(names).toContain(name);
    }
  });
});
