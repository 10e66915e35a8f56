import { describe, expect, test } from 'vitest';
import {
  changedMeta,
  generatedName,
  invalidValue,
  metaCauses,
  nameCauses,
  newMeta,
  requiredValue,
  timestamp,
  type NameRule,
  type RequestMeta,
} from '../../src/kube/object-meta.js';
import type { ObjectMeta } from '../../src/metadata/object-store.js';

const now = new Date('2026-01-02T03:04:05.678Z');
const current: ObjectMeta = {
  name: 'a',
  namespace: 'team',
  uid: 'u',
  resourceVersion: '7',
  generation: 2,
  creationTimestamp: '2026-01-01T00:00:00Z',
  labels: { old: 'label' },
  annotations: { old: 'annotation' },
  finalizers: ['weir.dev/old'],
};

test('a time is written to the second', () => {
  expect(timestamp(now)).toBe('2026-01-02T03:04:05Z');
  expect(timestamp(new Date('2026-01-02T03:04:05.000Z'))).toBe('2026-01-02T03:04:05Z');
});

describe('metadata of a new object', () => {
  test('has name, namespace, uid and time from the server, whatever the client says', () => {
    const sent: RequestMeta = {
      name: 'other',
      namespace: 'other',
      uid: 'mine',
      resourceVersion: '99',
      generation: 5,
      creationTimestamp: '1999-01-01T00:00:00Z',
      deletionTimestamp: '1999-01-01T00:00:00Z',
      deletionGracePeriodSeconds: 1,
      selfLink: '/x',
      managedFields: [{}],
    };
    const meta = newMeta(sent, { name: 'a', namespace: 'team', now });
    expect(meta).toEqual({
      name: 'a',
      namespace: 'team',
      uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      creationTimestamp: '2026-01-02T03:04:05Z',
    });
    expect(newMeta(sent, { name: 'a', namespace: 'team', now }).uid).not.toBe(meta.uid);
  });

  test('has labels, annotations, finalizers and owners from the client, when there are any', () => {
    const owner = { apiVersion: 'v1', kind: 'Secret', name: 's', uid: 'u' };
    const mine = {
      labels: { x: 'y' },
      annotations: { k: 'v' },
      finalizers: ['weir.dev/f'],
      ownerReferences: [owner],
    };
    expect(newMeta(mine, { name: 'a', namespace: '', now })).toMatchObject(mine);
    const empty = { labels: {}, annotations: {}, finalizers: [], ownerReferences: [], generateName: '' };
    expect(Object.keys(newMeta(empty, { name: 'a', namespace: '', now }))).toEqual([
      'name',
      'uid',
      'creationTimestamp',
    ]);
  });

  test('keeps the beginning that its name was made from', () => {
    expect(newMeta({ generateName: 'a-' }, { name: 'a-12345', namespace: '', now })).toMatchObject({
      generateName: 'a-',
    });
  });
});

describe('changed metadata', () => {
  test('takes what is the client’s, and nothing else', () => {
    const wanted = { name: 'b', uid: 'v', generation: 9, labels: { new: 'label' } };
    expect(changedMeta(current, wanted)).toEqual({
      name: 'a',
      namespace: 'team',
      uid: 'u',
      resourceVersion: '7',
      generation: 2,
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { new: 'label' },
    });
  });

  test('leaves out what was emptied', () => {
    expect(changedMeta(current, { labels: {}, annotations: { old: 'annotation' }, finalizers: [] })).not.toHaveProperty(
      'labels',
    );
    expect(changedMeta(current, { finalizers: [] })).not.toHaveProperty('finalizers');
  });

  test('cannot bring an object back that is going away', () => {
    const going = { ...current, deletionTimestamp: '2026-01-02T00:00:00Z', deletionGracePeriodSeconds: 0 };
    expect(changedMeta(going, {})).toMatchObject({ deletionTimestamp: '2026-01-02T00:00:00Z' });
  });
});

describe('a generated name', () => {
  test('begins as asked and ends with five letters that spell no word', () => {
    const names = Array.from({ length: 50 }, () => generatedName('build-'));
    for (const name of names) expect(name).toMatch(/^build-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
    expect(new Set(names).size).toBe(50);
  });

  test('fits into a label, however long the beginning', () => {
    expect(generatedName('x'.repeat(100))).toMatch(/^x{58}.{5}$/);
  });
});

describe('a name', () => {
  test.each<{ readonly name: string; readonly right: readonly NameRule[] }>([
    { name: 'a', right: ['label', 'subdomain', 'path-segment'] },
    { name: '0', right: ['label', 'subdomain', 'path-segment'] },
    { name: 'a-b', right: ['label', 'subdomain', 'path-segment'] },
    { name: 'a.b', right: ['subdomain', 'path-segment'] },
    { name: 'x'.repeat(63), right: ['label', 'subdomain', 'path-segment'] },
    { name: 'x'.repeat(64), right: ['subdomain', 'path-segment'] },
    { name: 'x'.repeat(253), right: ['subdomain', 'path-segment'] },
    { name: 'x'.repeat(254), right: [] },
    { name: 'A', right: ['path-segment'] },
    { name: 'system:admin', right: ['path-segment'] },
    { name: 'ünï', right: ['path-segment'] },
    { name: '-a', right: ['path-segment'] },
    { name: 'a-', right: ['path-segment'] },
    { name: 'a..b', right: ['path-segment'] },
    { name: 'a.-b', right: ['path-segment'] },
    { name: 'a\n', right: [] },
    { name: '.', right: [] },
    { name: '..', right: [] },
    { name: 'a/b', right: [] },
    { name: 'a%b', right: [] },
    { name: 'a\0', right: [] },
    { name: '', right: [] },
  ])('"$name" is right for $right', ({ name, right }) => {
    const rules = (['label', 'subdomain', 'path-segment'] as const).filter(
      (rule) => nameCauses(name, rule).length === 0,
    );
    expect(rules).toEqual(right);
  });

  test('that is wrong is named, with its field and the rule', () => {
    expect(nameCauses('A', 'label')).toEqual([
      {
        reason: 'FieldValueInvalid',
        field: 'metadata.name',
        message: expect.stringMatching(/^Invalid value: "A": a lowercase RFC 1123 label must consist of /) as string,
      },
    ]);
    expect(nameCauses('A', 'subdomain', 'roleRef.name')[0]!.field).toBe('roleRef.name');
  });
});

describe('metadata', () => {
  test.each<{ readonly name: string; readonly meta: Partial<ObjectMeta>; readonly fields: readonly string[] }>([
    { name: 'nothing', meta: {}, fields: [] },
    {
      name: 'usual labels',
      meta: { labels: { app: 'web', 'app.kubernetes.io/name': 'a_b.C', empty: '', X: '1' } },
      fields: [],
    },
    { name: 'a label of 63 characters', meta: { labels: { x: 'y'.repeat(63) } }, fields: [] },
    { name: 'a label of 64', meta: { labels: { x: 'y'.repeat(64) } }, fields: ['metadata.labels'] },
    { name: 'a label with a space', meta: { labels: { x: 'a b' } }, fields: ['metadata.labels'] },
    { name: 'a label that ends in a dash', meta: { labels: { x: 'a-' } }, fields: ['metadata.labels'] },
    { name: 'an empty key', meta: { labels: { '': 'x' } }, fields: ['metadata.labels'] },
    { name: 'a key with an empty prefix', meta: { labels: { '/x': 'x' } }, fields: ['metadata.labels'] },
    { name: 'a key with two slashes', meta: { labels: { 'a/b/c': 'x' } }, fields: ['metadata.labels'] },
    { name: 'a key with a prefix that is no domain', meta: { labels: { 'A/b': 'x' } }, fields: ['metadata.labels'] },
    { name: 'a key of 64', meta: { labels: { ['x'.repeat(64)]: '' } }, fields: ['metadata.labels'] },
    {
      name: 'a key and a value that are wrong',
      meta: { labels: { 'a b': 'c d' } },
      fields: ['metadata.labels', 'metadata.labels'],
    },
    { name: 'annotations of any text', meta: { annotations: { 'weir.dev/x': 'a b\n{}' } }, fields: [] },
    { name: 'an annotation with a prefix in upper case', meta: { annotations: { 'Weir.dev/x': '' } }, fields: [] },
    { name: 'an annotation with a wrong key', meta: { annotations: { 'a b': '' } }, fields: ['metadata.annotations'] },
    { name: 'annotations of 256 KiB', meta: { annotations: { ab: 'x'.repeat(256 * 1024 - 2) } }, fields: [] },
    {
      name: 'annotations of more',
      meta: { annotations: { ab: 'x'.repeat(256 * 1024 - 1) } },
      fields: ['metadata.annotations'],
    },
    { name: 'a finalizer', meta: { finalizers: ['weir.dev/x', 'kubernetes'] }, fields: [] },
    { name: 'a finalizer with a space', meta: { finalizers: ['a b'] }, fields: ['metadata.finalizers'] },
  ])('of $name has wrong fields $fields', ({ meta, fields }) => {
    const causes = metaCauses({ name: 'a', uid: 'u', creationTimestamp: '', ...meta });
    expect(causes.map(({ field }) => field)).toEqual(fields);
  });

  test('that is too long is told so', () => {
    const causes = metaCauses({ name: 'a', uid: 'u', creationTimestamp: '', annotations: { a: 'é'.repeat(131_072) } });
    expect(causes).toEqual([
      {
        reason: 'FieldValueTooLong',
        field: 'metadata.annotations',
        message: 'Too long: may not be more than 262144 bytes',
      },
    ]);
  });
});

test('causes say what is wrong and where', () => {
  expect(invalidValue('a.b', { x: 1 }, 'must be y')).toEqual({
    reason: 'FieldValueInvalid',
    field: 'a.b',
    message: 'Invalid value: {"x":1}: must be y',
  });
  expect(requiredValue('a')).toEqual({ reason: 'FieldValueRequired', field: 'a', message: 'Required value' });
  expect(requiredValue('a', 'because').message).toBe('Required value: because');
});
