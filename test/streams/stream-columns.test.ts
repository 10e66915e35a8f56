import { describe, expect, test } from 'vitest';
import type { Column } from '../../src/kube/resource.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import {
  imageColumns,
  imageStreamColumns,
  imageStreamImageColumns,
  imageStreamTagColumns,
  imageTagColumns,
  tagsCell,
} from '../../src/streams/stream-columns.js';
import type { ImageTag, NamedTagEventList, TagReference } from '../../src/streams/types.js';

const now = new Date('2026-03-10T12:00:00Z');
const metadata = { name: 'app', namespace: 'team', uid: 'u', creationTimestamp: '2026-03-10T10:00:00Z' };
const digest = `sha256:${'0'.repeat(64)}`;

function cells(columns: readonly Column[], fields: object): readonly (string | number | null)[] {
  const object: ApiObject = { metadata, ...fields };
  return columns.map((column) => column.cell(object, now));
}

function headings(columns: readonly Column[]): readonly string[] {
  return columns.map(({ name, priority = 0 }) => (priority > 0 ? `[${name}]` : name));
}

describe('the columns', () => {
  test.each([
    { kind: 'Image', columns: imageColumns, expected: ['Image Reference'] },
    { kind: 'ImageStream', columns: imageStreamColumns, expected: ['Image Repository', 'Tags', 'Updated'] },
    {
      kind: 'ImageStreamTag',
      columns: imageStreamTagColumns,
      expected: ['Image Reference', 'Updated', '[Image Name]'],
    },
    { kind: 'ImageTag', columns: imageTagColumns, expected: ['Spec', 'Status', 'History', 'Updated'] },
    {
      kind: 'ImageStreamImage',
      columns: imageStreamImageColumns,
      expected: ['Updated', '[Image Reference]', '[Image Name]'],
    },
  ])('of $kind are those of OpenShift', ({ columns, expected }) => {
    expect(headings(columns)).toEqual(expected);
  });
});

describe('an image', () => {
  test('shows where it is', () => {
    expect(cells(imageColumns, { dockerImageReference: 'weir/team/app@sha256:0' })).toEqual(['weir/team/app@sha256:0']);
  });

  const image = { metadata: { ...metadata, name: digest }, dockerImageReference: `weir/team/app@${digest}` };

  test('of a tag shows where it is, since when, and its name', () => {
    expect(cells(imageStreamTagColumns, { image })).toEqual([`weir/team/app@${digest}`, '2 hours ago', digest]);
    expect(cells(imageStreamTagColumns, { image: {} })).toEqual(['', '2 hours ago', '']);
  });

  test('of a stream shows when it was made, where it is, and its name', () => {
    expect(cells(imageStreamImageColumns, { image })).toEqual(['2 hours ago', `weir/team/app@${digest}`, digest]);
  });
});

describe('an image stream', () => {
  const event = (tag: string, created: string): NamedTagEventList => ({
    tag,
    items: [
      { created, dockerImageReference: 'weir/team/app', image: digest, generation: 1 },
      { created: '2020-01-01T00:00:00Z', dockerImageReference: 'weir/team/app', image: digest, generation: 1 },
    ],
  });
  const failed = {
    conditions: [{ type: 'ImportSuccess', status: 'False', lastTransitionTime: '2026-03-10T11:59:00Z', generation: 1 }],
  };

  test.each([
    {
      name: 'its public repository',
      spec: { dockerImageRepository: 'quay.io/a/b' },
      pub: 'pub/team/app',
      expected: 'pub/team/app',
    },
    {
      name: 'what it imports',
      spec: { dockerImageRepository: 'quay.io/a/b' },
      pub: undefined,
      expected: 'quay.io/a/b',
    },
    { name: 'its own repository', spec: { dockerImageRepository: '' }, pub: '', expected: 'int/team/app' },
  ])('shows $name', ({ spec, pub, expected }) => {
    const status = { dockerImageRepository: 'int/team/app', publicDockerImageRepository: pub };
    expect(cells(imageStreamColumns, { spec, status })).toEqual([expected, '', '']);
  });

  test.each<{ name: string; tags: readonly object[]; expected: readonly string[] }>([
    { name: 'no tags', tags: [], expected: ['', ''] },
    {
      name: 'the tag that moved last first',
      tags: [
        event('a', '2026-03-10T10:00:00Z'),
        event('b', '2026-03-10T11:59:00Z'),
        event('c', '2026-03-10T10:30:00Z'),
      ],
      expected: ['b,c,a', 'About a minute ago'],
    },
    {
      name: 'tags of the same second by name',
      tags: [
        event('b', '2026-03-10T10:00:00.4Z'),
        event('a', '2026-03-10T11:00:00+01:00'),
        event('c', '2026-03-10T10:00:00Z'),
      ],
      expected: ['a,b,c', '2 hours ago'],
    },
    {
      name: 'tags that have only failed last',
      tags: [
        { tag: 'b', items: null, ...failed },
        { tag: 'a', items: [], ...failed },
        event('z', '2026-03-09T12:00:00Z'),
      ],
      expected: ['z,a,b', '24 hours ago'],
    },
    { name: 'no time when no tag ever moved', tags: [{ tag: 'a', items: null, ...failed }], expected: ['a', ''] },
  ])('shows $name', ({ tags, expected }) => {
    const status = { dockerImageRepository: 'int/team/app', tags };
    expect(cells(imageStreamColumns, { spec: {}, status })).toEqual(['int/team/app', ...expected]);
  });
});

describe('the tags in a table', () => {
  test.each([
    { name: 'are all there when they fit', tags: ['v1', 'v2', 'latest'], cell: 'v1,v2,latest' },
    { name: 'are none for a stream without any', tags: [], cell: '' },
    { name: 'are at least one', tags: ['a'.repeat(60), 'b'], cell: `${'a'.repeat(60)} + 1 more...` },
    {
      name: 'stop when the room is used up',
      tags: ['a'.repeat(19), 'b'.repeat(19), 'c'],
      cell: `${'a'.repeat(19)},${'b'.repeat(19)} + 1 more...`,
    },
    {
      name: 'go a little beyond when much is left',
      tags: ['a'.repeat(20), 'b'.repeat(27), 'c'],
      cell: `${'a'.repeat(20)},${'b'.repeat(27)} + 1 more...`,
    },
    {
      name: 'go a little beyond when 11 characters are left',
      tags: ['a'.repeat(27), 'b'.repeat(20)],
      cell: `${'a'.repeat(27)},${'b'.repeat(20)}`,
    },
    {
      name: 'do not go beyond when 10 characters are left',
      tags: ['a'.repeat(28), 'b'.repeat(20)],
      cell: `${'a'.repeat(28)} + 1 more...`,
    },
    {
      name: 'do not go far beyond',
      tags: ['a'.repeat(20), 'b'.repeat(40)],
      cell: `${'a'.repeat(20)} + 1 more...`,
    },
  ])('$name', ({ tags, cell }) => {
    expect(tagsCell(tags.map((tag) => ({ tag })))).toBe(cell);
  });
});

describe('an image tag', () => {
  const short = 'sha256:0000000000';
  const spec = (kind: string, name: string, more: object = {}) =>
    ({
      name: 'v1',
      from: { kind, name },
      importPolicy: {},
      referencePolicy: { type: 'Source' },
      ...more,
    }) as TagReference;
  const history = (...items: readonly object[]) =>
    ({
      tag: 'v1',
      items: items.map((item) => ({
        created: '2026-03-08T12:00:00Z',
        dockerImageReference: '',
        image: '',
        generation: 1,
        ...item,
      })),
    }) as NamedTagEventList;
  const condition = (status: 'True' | 'False' | 'Unknown', lastTransitionTime = '2026-03-10T10:00:00Z') => ({
    conditions: [
      { type: 'ImportSuccess', status, reason: 'AbjectFailure', lastTransitionTime, generation: 1 },
    ] as const,
  });

  test.each<{
    name: string;
    spec?: TagReference;
    status?: NamedTagEventList;
    expected: readonly (string | number | null)[];
  }>([
    { name: 'of nothing is empty', expected: ['', '', null, ''] },
    {
      name: 'without a source and without an image is empty',
      spec: { name: 'v1', importPolicy: {}, referencePolicy: { type: 'Source' } },
      expected: ['', '', null, ''],
    },
    { name: 'says that its source is of no kind', spec: spec('', ''), expected: ['Tag', 'InvalidRefKind', null, ''] },
    {
      name: 'that only refers is Ref',
      spec: spec('DockerImage', 'a/b:c', { reference: true }),
      expected: ['Ref', 'a/b:c', null, ''],
    },
    { name: 'of another stream is Tag', spec: spec('ImageStreamTag', 'b:c'), expected: ['Tag', 'istag/b:c', null, ''] },
    { name: 'of its own stream is Track', spec: spec('ImageStreamTag', 'c'), expected: ['Track', 'istag/c', null, ''] },
    {
      name: 'of an image of its own stream names that',
      spec: spec('ImageStreamImage', short),
      expected: ['Tag', `image/${short}`, null, ''],
    },
    {
      name: 'of an image that is no name says so',
      spec: spec('ImageStreamImage', 'a@b@c'),
      status: history({ image: digest }),
      expected: ['Tag', 'InvalidRefName', 1, '2 days ago'],
    },
    {
      name: 'that is imported again and again is Scheduled, also when it only refers',
      spec: spec('DockerImage', 'a/b:c', { importPolicy: { scheduled: true }, reference: true }),
      expected: ['Scheduled', 'a/b:c', null, ''],
    },
    {
      name: 'of a stream elsewhere names its namespace',
      spec: spec('ImageStreamTag', 'b:c', { from: { kind: 'ImageStreamTag', name: 'b:c', namespace: 'a' } }),
      expected: ['Tag', 'istag a/b:c', null, ''],
    },
    {
      name: 'of an image of another stream names the image',
      spec: spec('ImageStreamImage', `a@${short}`),
      expected: ['Tag', `image/${short}`, null, ''],
    },
    {
      name: 'that could not be imported says why',
      spec: spec('DockerImage', 'a/b:c'),
      status: { tag: 'v1', items: null, ...condition('False') },
      expected: ['Tag', 'ImportFailed (AbjectFailure)', null, '2 hours ago'],
    },
    {
      name: 'that could not be imported again says why, and when that was',
      spec: spec('DockerImage', 'a/b:c', { generation: 1 }),
      status: { ...history({ image: digest }), ...condition('False') },
      expected: ['Tag', 'ImportFailed (AbjectFailure)', 1, '2 hours ago'],
    },
    {
      name: 'with a condition that is no failure shows its source',
      spec: spec('ImageStreamImage', `a@${short}`),
      status: { tag: 'v1', items: [], ...condition('Unknown') },
      expected: ['Tag', `image/${short}`, null, '2 hours ago'],
    },
    {
      name: 'with an event older than itself is Importing',
      spec: spec('DockerImage', 'a/b:c', { generation: 2 }),
      status: history({ image: digest, generation: 1 }),
      expected: ['Tag', 'Importing', 1, '2 days ago'],
    },
    {
      name: 'with its own event shows the image and how many there were',
      spec: spec('DockerImage', 'a/b:c', { generation: 2 }),
      status: history({ image: digest, generation: 2 }, { dockerImageReference: 'old/image:nowhere', generation: 1 }),
      expected: ['Tag', `image/${digest}`, 2, '2 days ago'],
    },
    {
      name: 'that was only pushed is Push',
      status: history({ image: digest, generation: 2 }),
      expected: ['Push', `image/${digest}`, 1, '2 days ago'],
    },
    {
      name: 'that only carries annotations is Push, and is not importing',
      spec: { name: 'v1', generation: 3, importPolicy: {}, referencePolicy: { type: 'Source' } },
      status: history({ image: digest, generation: 2 }),
      expected: ['Push', `image/${digest}`, 1, '2 days ago'],
    },
    {
      name: 'that was pushed after it was set is Push',
      spec: spec('ImageStreamImage', `a@${short}`, { generation: 3 }),
      status: history({ image: digest, generation: 4 }, { image: short, generation: 3 }),
      expected: ['Push', `image/${digest}`, 2, '2 days ago'],
    },
    {
      name: 'whose event only points elsewhere shows where',
      status: history({ dockerImageReference: 'a/b:c', generation: 2 }),
      expected: ['Push', 'a/b:c', 1, '2 days ago'],
    },
    {
      name: 'that follows another stays Track when that moves',
      spec: spec('ImageStreamTag', 'other', { generation: 1 }),
      status: history({ image: digest, generation: 2 }),
      expected: ['Track', `image/${digest}`, 1, '2 days ago'],
    },
  ])('$name', ({ spec: wanted, status, expected }) => {
    const tag: Pick<ImageTag, 'spec' | 'status' | 'image'> = {
      spec: wanted ?? null,
      status: status ?? null,
      image: null,
    };
    expect(cells(imageTagColumns, tag)).toEqual(expected);
  });
});
