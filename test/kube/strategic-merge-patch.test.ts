import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deepEqual, type JsonObject, type JsonValue } from '../../src/kube/json.js';
import { PatchError } from '../../src/kube/patch-error.js';
import { applyStrategicMergePatch, type MergeStrategies } from '../../src/kube/strategic-merge-patch.js';

const strategies: MergeStrategies = {
  'spec.tags': { kind: 'merge', key: 'name' },
  signatures: { kind: 'merge', key: 'name' },
  'signatures.conditions': { kind: 'merge', key: 'type' },
  redirectURIs: { kind: 'set' },
  dockerImageMetadata: { kind: 'replace' },
};

interface Row {
  readonly name: string;
  readonly target: JsonObject;
  readonly patch: JsonObject;
  readonly expected: JsonObject;
}

function expectPatched({ target, patch, expected }: Omit<Row, 'name'>): void {
  const before = JSON.stringify([target, patch]);
  expect(applyStrategicMergePatch(target, patch, strategies)).toStrictEqual(expected);
  expect(JSON.stringify([target, patch])).toBe(before);
}

describe('a strategic merge patch of objects', () => {
  test.each<Row>([
    { name: 'adds a field', target: { a: 1 }, patch: { b: 2 }, expected: { a: 1, b: 2 } },
    { name: 'replaces a primitive', target: { a: 1 }, patch: { a: '2' }, expected: { a: '2' } },
    { name: 'removes a field by null', target: { a: 1, b: 2 }, patch: { a: null }, expected: { b: 2 } },
    { name: 'removes what is not there', target: { b: 2 }, patch: { a: null }, expected: { b: 2 } },
    {
      name: 'merges an object',
      target: { spec: { a: 1, b: { c: 2, d: 3 } } },
      patch: { spec: { b: { c: null, e: 4 } } },
      expected: { spec: { a: 1, b: { d: 3, e: 4 } } },
    },
    {
      name: 'drops nulls of an object that is new',
      target: {},
      patch: { spec: { a: null, b: { c: null }, list: [{ d: null, e: 1 }, null] } },
      expected: { spec: { b: {}, list: [{ e: 1 }, null] } },
    },
    {
      name: 'puts an object in the place of something else',
      target: { a: [1], b: 'text' },
      patch: { a: { c: 1, d: null }, b: {} },
      expected: { a: { c: 1 }, b: {} },
    },
    {
      name: 'puts something else in the place of an object',
      target: { a: { c: 1 }, b: { c: 1 } },
      patch: { a: [1], b: 'text' },
      expected: { a: [1], b: 'text' },
    },
    {
      name: 'replaces an object by $patch: replace',
      target: { spec: { a: 1, b: 2 } },
      patch: { spec: { $patch: 'replace', b: 3, c: null, d: { $patch: 'delete' } } },
      expected: { spec: { b: 3 } },
    },
    {
      name: 'replaces the whole object by $patch: replace',
      target: { a: 1, b: 2 },
      patch: { $patch: 'replace', b: 3 },
      expected: { b: 3 },
    },
    {
      name: 'adds an object that says $patch: replace',
      target: {},
      patch: { spec: { $patch: 'replace', a: 1 } },
      expected: { spec: { a: 1 } },
    },
    {
      name: 'empties an object by $patch: delete',
      target: { spec: { a: 1 }, b: 2 },
      patch: { spec: { $patch: 'delete', c: 3 } },
      expected: { spec: {}, b: 2 },
    },
    { name: 'empties the whole object by $patch: delete', target: { a: 1 }, patch: { $patch: 'delete' }, expected: {} },
    {
      name: 'adds no object that says $patch: delete',
      target: { c: 'text' },
      patch: { a: { $patch: 'delete' }, b: { a: { $patch: 'delete' } }, c: { $patch: 'delete' } },
      expected: { b: {} },
    },
    {
      name: 'merges an object by $patch: merge',
      target: { spec: { a: 1 } },
      patch: { $patch: 'merge', spec: { $patch: 'merge', b: 2 }, c: { $patch: 'merge', d: 3 } },
      expected: { spec: { a: 1, b: 2 }, c: { d: 3 } },
    },
    {
      name: 'replaces an object whose strategy says so',
      target: { dockerImageMetadata: { Id: 'a', Size: 1 } },
      patch: { dockerImageMetadata: { Id: 'b', Config: null } },
      expected: { dockerImageMetadata: { Id: 'b' } },
    },
    {
      name: 'keeps only the fields that $retainKeys lists',
      target: { spec: { a: 1, b: 2, c: { d: 3 }, e: 4 } },
      patch: { spec: { $retainKeys: ['a', 'c', 'f'], c: { g: 5 }, f: 6, h: null } },
      expected: { spec: { a: 1, c: { d: 3, g: 5 }, f: 6 } },
    },
    {
      name: 'heeds $retainKeys in an object that is new',
      target: {},
      patch: { spec: { $retainKeys: ['a'], a: 1 } },
      expected: { spec: { a: 1 } },
    },
    {
      name: 'replaces a list that has no strategy',
      target: { rules: [{ name: 'a', verbs: ['get'] }, { name: 'b' }] },
      patch: { rules: [{ name: 'a' }] },
      expected: { rules: [{ name: 'a' }] },
    },
    {
      name: 'leaves no directive in a list that has no strategy',
      target: { rules: [1] },
      patch: {
        rules: [
          { $patch: 'replace' },
          { $patch: 'delete', name: 'a' },
          { $patch: 'merge', name: 'b' },
          { name: 'c', spec: { $patch: 'replace', a: 1 } },
          [{ $patch: 'replace' }, { $retainKeys: ['name'], name: 'd' }],
        ],
      },
      expected: { rules: [{ name: 'b' }, { name: 'c', spec: { a: 1 } }, [{ name: 'd' }]] },
    },
  ])('$name', expectPatched);
});

describe('a strategic merge patch of a list with a merge key', () => {
  const patchTags = (target: JsonValue | undefined, patch: JsonObject, expected: JsonValue): void => {
    expectPatched({
      target: { spec: target === undefined ? {} : { tags: target } },
      patch: { spec: patch },
      expected: { spec: { tags: expected } },
    });
  };
  const names = (text: string): JsonObject[] => Array.from(text, (name) => ({ name }));

  test('changes, adds and removes elements as oc asks', () => {
    const patch = JSON.parse(
      '{"spec":{"$setElementOrder/tags":[{"name":"x"},{"name":"z"}],"tags":[{"from":{"name":"a/b2"},"name":"x"},{"from":{"kind":"DockerImage","name":"a/z"},"name":"z"},{"$patch":"delete","name":"y"}]}}',
    ) as JsonObject;
    expectPatched({
      target: {
        metadata: { name: 'app' },
        spec: {
          tags: [
            { name: 'x', from: { kind: 'DockerImage', name: 'a/b1' }, generation: 2 },
            { name: 'y', from: { kind: 'DockerImage', name: 'a/y' } },
          ],
        },
      },
      patch,
      expected: {
        metadata: { name: 'app' },
        spec: {
          tags: [
            { name: 'x', from: { kind: 'DockerImage', name: 'a/b2' }, generation: 2 },
            { name: 'z', from: { kind: 'DockerImage', name: 'a/z' } },
          ],
        },
      },
    });
  });

  test.each<{ name: string; target: JsonValue | undefined; patch: JsonValue; expected: JsonValue }>([
    {
      name: 'adds the list',
      target: undefined,
      patch: [{ name: 'a', from: null, annotations: { b: null } }],
      expected: [{ name: 'a', annotations: {} }],
    },
    {
      name: 'puts the list in the place of something else',
      target: 'text',
      patch: [{ name: 'a' }],
      expected: [{ name: 'a' }],
    },
    { name: 'adds an empty list', target: undefined, patch: [], expected: [] },
    { name: 'changes nothing by an empty list', target: names('ab'), patch: [], expected: names('ab') },
    {
      name: 'merges an element and keeps the others',
      target: [
        { name: 'a', x: 1 },
        { name: 'b', x: 1, y: 2 },
      ],
      patch: [{ name: 'b', x: null, z: 3 }],
      expected: [
        { name: 'a', x: 1 },
        { name: 'b', y: 2, z: 3 },
      ],
    },
    { name: 'puts new elements first', target: names('ab'), patch: names('c'), expected: names('cab') },
    {
      name: 'puts elements in the order of the patch, those of the server in between',
      target: names('abcd'),
      patch: names('ca'),
      expected: names('bcad'),
    },
    {
      name: 'puts new elements after the one they follow in the patch',
      target: names('abc'),
      patch: names('be'),
      expected: names('abec'),
    },
    {
      name: 'removes elements by $patch: delete',
      target: names('abc'),
      patch: [
        { $patch: 'delete', name: 'b' },
        { $patch: 'delete', name: 'z' },
      ],
      expected: names('ac'),
    },
    {
      name: 'removes all elements with the key',
      target: [{ name: 'a', x: 1 }, { name: 'b' }, { name: 'a', x: 2 }],
      patch: [{ $patch: 'delete', name: 'a' }],
      expected: names('b'),
    },
    {
      name: 'removes an element and adds it anew',
      target: [{ name: 'a', x: 1 }],
      patch: [
        { name: 'a', y: 2 },
        { $patch: 'delete', name: 'a' },
      ],
      expected: [{ name: 'a', y: 2 }],
    },
    {
      name: 'leaves an empty list when nothing stays',
      target: names('a'),
      patch: [{ $patch: 'delete', name: 'a' }],
      expected: [],
    },
    {
      name: 'adds an empty list when there is nothing to remove',
      target: undefined,
      patch: [{ $patch: 'delete', name: 'a' }],
      expected: [],
    },
    {
      name: 'replaces the list by $patch: replace, wherever it stands',
      target: [{ name: 'a', x: 1 }, { name: 'b' }],
      patch: [{ name: 'c' }, { $patch: 'replace' }, { name: 'a' }, { $patch: 'delete', name: 'c' }],
      expected: [{ name: 'c' }, { name: 'a' }],
    },
    { name: 'empties the list by $patch: replace', target: names('ab'), patch: [{ $patch: 'replace' }], expected: [] },
    {
      name: 'merges an element by $patch: merge',
      target: [{ name: 'a', x: 1 }],
      patch: [
        { $patch: 'merge', name: 'a', y: 2 },
        { $patch: 'merge', name: 'b' },
      ],
      expected: [{ name: 'a', x: 1, y: 2 }, { name: 'b' }],
    },
    {
      name: 'heeds directives within elements, old and new',
      target: [{ name: 'a', from: { kind: 'K', name: 'n' } }],
      patch: [
        { name: 'a', from: { $patch: 'replace', kind: 'L' } },
        { name: 'b', from: { $patch: 'replace', kind: 'M' }, to: { $patch: 'delete' } },
      ],
      expected: [
        { name: 'a', from: { kind: 'L' } },
        { name: 'b', from: { kind: 'M' } },
      ],
    },
    {
      name: 'merges elements with the same key in the patch',
      target: [],
      patch: [
        { name: 'a', x: 1 },
        { name: 'a', y: 2 },
      ],
      expected: [{ name: 'a', x: 1, y: 2 }],
    },
    {
      name: 'merges into the first of stored elements with the same key',
      target: [
        { name: 'a', x: 1 },
        { name: 'a', x: 2 },
      ],
      patch: [{ name: 'a', y: 3 }],
      expected: [
        { name: 'a', x: 1, y: 3 },
        { name: 'a', x: 2 },
      ],
    },
    {
      name: 'tells keys of different types apart',
      target: [
        { name: '1', x: 1 },
        { name: true, x: 2 },
      ],
      patch: [{ name: 1, x: 3 }],
      expected: [
        { name: 1, x: 3 },
        { name: '1', x: 1 },
        { name: true, x: 2 },
      ],
    },
    {
      name: 'lets a stored element without key be',
      target: [{ x: 1 }, 'text', { name: 'a' }],
      patch: [{ name: 'a', y: 2 }],
      expected: [{ x: 1 }, 'text', { name: 'a', y: 2 }],
    },
    {
      name: 'takes __proto__ and constructor for keys like any other',
      target: [{ name: '__proto__', x: 1 }],
      patch: [{ name: '__proto__', y: 2 }, { name: 'constructor' }],
      expected: [{ name: '__proto__', x: 1, y: 2 }, { name: 'constructor' }],
    },
  ])('$name', ({ target, patch, expected }) => {
    patchTags(target, { tags: patch }, expected);
  });

  test.each<{
    name: string;
    target: string | undefined;
    patch: JsonValue | undefined;
    order: string;
    expected: string;
  }>([
    { name: 'reorders the list', target: 'abc', patch: undefined, order: 'cab', expected: 'cab' },
    { name: 'orders a new list', target: undefined, patch: names('ac'), order: 'abc', expected: 'ac' },
    { name: 'puts a new element where it is wanted', target: 'ab', patch: names('c'), order: 'acb', expected: 'acb' },
    { name: 'puts a new element last', target: 'ab', patch: names('c'), order: 'abc', expected: 'abc' },
    {
      name: 'keeps an element that only the server knows behind the one it followed',
      target: 'asb',
      patch: names('c'),
      order: 'abc',
      expected: 'asbc',
    },
    {
      name: 'keeps an element that only the server knows at the end',
      target: 'abs',
      patch: names('c'),
      order: 'bca',
      expected: 'bcas',
    },
    {
      name: 'keeps an element that only the server knows at the front',
      target: 'sab',
      patch: undefined,
      order: 'ba',
      expected: 'sba',
    },
    { name: 'ignores what is not in the list', target: 'ab', patch: undefined, order: 'bxa', expected: 'ba' },
    { name: 'leaves the list as it was when empty', target: 'ab', patch: undefined, order: '', expected: 'ab' },
    {
      name: 'takes no heed of elements to be removed',
      target: 'abc',
      patch: [{ $patch: 'delete', name: 'a' }, ...names('d')],
      order: 'dcb',
      expected: 'dcb',
    },
    {
      name: 'orders a list that is replaced',
      target: 'ab',
      patch: [{ $patch: 'replace' }, ...names('cd')],
      order: 'cd',
      expected: 'cd',
    },
  ])('$setElementOrder $name', ({ target, patch, order, expected }) => {
    patchTags(
      target === undefined ? undefined : names(target),
      { '$setElementOrder/tags': names(order), ...(patch === undefined ? {} : { tags: patch }) },
      names(expected),
    );
  });

  test.each<Row>([
    {
      name: 'an order of a list that is nowhere adds none',
      target: { spec: {} },
      patch: { spec: { '$setElementOrder/tags': [{ name: 'a' }] } },
      expected: { spec: {} },
    },
    {
      name: 'an order of what is no list changes nothing',
      target: { spec: { tags: 'text' } },
      patch: { spec: { '$setElementOrder/tags': [{ name: 'a' }] } },
      expected: { spec: { tags: 'text' } },
    },
    {
      name: 'null removes the list, whatever its order',
      target: { spec: { tags: [{ name: 'a' }] } },
      patch: { spec: { '$setElementOrder/tags': [{ name: 'a' }], tags: null } },
      expected: { spec: {} },
    },
    {
      name: 'lists within elements have strategies too',
      target: {
        signatures: [
          { name: 's', conditions: [{ type: 'Trusted', status: 'False', reason: 'r' }, { type: 'ForImage' }] },
          { name: 't' },
        ],
      },
      patch: {
        signatures: [
          {
            name: 's',
            '$setElementOrder/conditions': [{ type: 'New' }, { type: 'Trusted' }],
            conditions: [{ type: 'New' }, { type: 'Trusted', status: 'True' }, { $patch: 'delete', type: 'ForImage' }],
          },
          { name: 'u', conditions: [{ type: 'Trusted' }, { $patch: 'delete', type: 'ForImage' }] },
        ],
      },
      expected: {
        signatures: [
          { name: 's', conditions: [{ type: 'New' }, { type: 'Trusted', status: 'True', reason: 'r' }] },
          { name: 'u', conditions: [{ type: 'Trusted' }] },
          { name: 't' },
        ],
      },
    },
    {
      name: 'owner references are merged by uid',
      target: {
        metadata: {
          ownerReferences: [
            { uid: '1', name: 'a' },
            { uid: '2', name: 'b' },
          ],
        },
      },
      patch: { metadata: { ownerReferences: [{ uid: '2', controller: true }] } },
      expected: {
        metadata: {
          ownerReferences: [
            { uid: '1', name: 'a' },
            { uid: '2', name: 'b', controller: true },
          ],
        },
      },
    },
    {
      name: 'a name with a dot in it is no path',
      target: { 'spec.tags': [{ name: 'a' }] },
      patch: { 'spec.tags': [{ name: 'b' }] },
      expected: { 'spec.tags': [{ name: 'b' }] },
    },
    {
      name: 'a path is that of the object, not of an object within it',
      target: { image: { metadata: { finalizers: ['a'] } } },
      patch: { image: { metadata: { finalizers: ['b'] } } },
      expected: { image: { metadata: { finalizers: ['b'] } } },
    },
  ])('$name', expectPatched);
});

describe('a strategic merge patch of a set', () => {
  test.each<{ name: string; target: JsonValue | undefined; patch: JsonObject; expected: JsonValue | undefined }>([
    { name: 'adds the set', target: undefined, patch: { finalizers: ['b', 'a', 'b'] }, expected: ['b', 'a'] },
    {
      name: 'adds elements that are new, in front',
      target: ['a', 'b'],
      patch: { finalizers: ['c', 'b'] },
      expected: ['c', 'a', 'b'],
    },
    { name: 'changes nothing by an empty list', target: ['a'], patch: { finalizers: [] }, expected: ['a'] },
    {
      name: 'removes elements by $deleteFromPrimitiveList',
      target: ['a', 'b', 'c'],
      patch: { '$deleteFromPrimitiveList/finalizers': ['b', 'x'] },
      expected: ['a', 'c'],
    },
    {
      name: 'leaves an empty list when nothing stays',
      target: ['a'],
      patch: { '$deleteFromPrimitiveList/finalizers': ['a'] },
      expected: [],
    },
    {
      name: 'adds no list to remove something from it',
      target: undefined,
      patch: { '$deleteFromPrimitiveList/finalizers': ['a'] },
      expected: undefined,
    },
    {
      name: 'adds, removes and orders at once',
      target: ['a', 's', 'b'],
      patch: {
        finalizers: ['c'],
        '$deleteFromPrimitiveList/finalizers': ['b'],
        '$setElementOrder/finalizers': ['c', 'a'],
      },
      expected: ['c', 'a', 's'],
    },
    {
      name: 'removes what it adds',
      target: ['a'],
      patch: { finalizers: ['b'], '$deleteFromPrimitiveList/finalizers': ['b'] },
      expected: ['a'],
    },
    {
      name: 'orders elements',
      target: ['a', 'b', 'c'],
      patch: { '$setElementOrder/finalizers': ['c', 'b', 'a'] },
      expected: ['c', 'b', 'a'],
    },
    { name: 'removes the set by null', target: ['a'], patch: { finalizers: null }, expected: undefined },
  ])('$name', ({ target, patch, expected }) => {
    expectPatched({
      target: { metadata: target === undefined ? {} : { finalizers: target } },
      patch: { metadata: patch },
      expected: { metadata: expected === undefined ? {} : { finalizers: expected } },
    });
  });

  test('takes a set by the strategy it is given', () => {
    expectPatched({
      target: { redirectURIs: ['https://a', 'https://b'] },
      patch: { redirectURIs: ['https://c'], '$deleteFromPrimitiveList/redirectURIs': ['https://a'] },
      expected: { redirectURIs: ['https://c', 'https://b'] },
    });
  });

  test('removes primitives from a list without strategy too', () => {
    expectPatched({
      target: { list: [1, '1', true, 1] },
      patch: { '$deleteFromPrimitiveList/list': [1, true] },
      expected: { list: ['1'] },
    });
  });
});

describe('a strategic merge patch is malformed', () => {
  const target = {
    metadata: { finalizers: ['a'] },
    spec: { tags: [{ name: 'a', from: { kind: 'K' } }], list: ['a'], rules: [{ name: 'a' }] },
  };

  test.each<{ name: string; patch: JsonObject; message: string }>([
    {
      name: 'with an unknown directive',
      patch: { $patch: 'remove' },
      message: '$patch must be merge, replace or delete',
    },
    { name: 'with a directive that is no text', patch: { spec: { $patch: null } }, message: 'spec.$patch must be' },
    {
      name: 'with a directive that objects inherit',
      patch: { spec: { new: { $patch: 'constructor' } } },
      message: 'spec.new.$patch must be',
    },
    {
      name: 'with an unknown directive in an element',
      patch: { spec: { tags: [{ $patch: 'add', name: 'a' }] } },
      message: 'spec.tags.$patch must be',
    },
    {
      name: 'with an unknown directive in an element of a list without strategy',
      patch: { spec: { rules: [{ $patch: 'add' }] } },
      message: 'spec.rules.$patch must be',
    },
    {
      name: 'with an element without its merge key',
      patch: { spec: { tags: [{ from: {} }] } },
      message: 'spec.tags has an element without its merge key name',
    },
    {
      name: 'with an element without its merge key in a list that is new',
      patch: { signatures: [{ type: 'x' }] },
      message: 'signatures has an element without its merge key name',
    },
    {
      name: 'with an element to be removed without its merge key',
      patch: { spec: { tags: [{ $patch: 'delete' }] } },
      message: 'spec.tags has an element without its merge key name',
    },
    {
      name: 'with a merge key that is null',
      patch: { spec: { tags: [{ name: null }] } },
      message: 'spec.tags has an element without its merge key name',
    },
    {
      name: 'with a merge key that is an object',
      patch: { spec: { tags: [{ name: {} }] } },
      message: 'spec.tags has an element without its merge key name',
    },
    {
      name: 'with a primitive in a list of objects',
      patch: { spec: { tags: ['a'] } },
      message: 'spec.tags has an element that is not an object',
    },
    {
      name: 'with an object in a set',
      patch: { metadata: { finalizers: [{ $patch: 'replace' }] } },
      message: 'metadata.finalizers is a set of primitives',
    },
    {
      name: 'with null in a set',
      patch: { metadata: { finalizers: [null] } },
      message: 'metadata.finalizers is a set of primitives',
    },
    {
      name: 'with an order that is no list',
      patch: { spec: { '$setElementOrder/tags': { name: 'a' } } },
      message: 'spec.$setElementOrder/tags must be a list',
    },
    {
      name: 'with an order without merge keys',
      patch: { spec: { '$setElementOrder/tags': ['a'] } },
      message: 'spec.tags has an element without its merge key name',
    },
    {
      name: 'with an order of nothing',
      patch: { spec: { '$setElementOrder/': [] } },
      message: 'spec.$setElementOrder/ must name a list',
    },
    {
      name: 'with an order without a list',
      patch: { spec: { $setElementOrder: [] } },
      message: 'spec.$setElementOrder must name a list',
    },
    {
      name: 'with an order of a list that is replaced',
      patch: { spec: { '$setElementOrder/list': ['a'] } },
      message: 'spec.list is replaced and not merged',
    },
    {
      name: 'with an order of what is no list in the patch',
      patch: { spec: { '$setElementOrder/tags': [{ name: 'a' }], tags: {} } },
      message: 'spec.tags is no list in the patch',
    },
    {
      name: 'with elements in another order than given',
      patch: {
        spec: { '$setElementOrder/tags': [{ name: 'a' }, { name: 'b' }], tags: [{ name: 'b' }, { name: 'a' }] },
      },
      message: 'spec.tags has elements that are not in the order given',
    },
    {
      name: 'with an element that is not in the order given',
      patch: { metadata: { '$setElementOrder/finalizers': ['a'], finalizers: ['b'] } },
      message: 'metadata.finalizers has elements that are not in the order given',
    },
    {
      name: 'with primitives to remove that are no list',
      patch: { metadata: { '$deleteFromPrimitiveList/finalizers': 'a' } },
      message: 'metadata.$deleteFromPrimitiveList/finalizers must be a list',
    },
    {
      name: 'with primitives to remove that are none',
      patch: { metadata: { '$deleteFromPrimitiveList/finalizers': [{}] } },
      message: 'metadata.$deleteFromPrimitiveList/finalizers has an element that is not a primitive',
    },
    {
      name: 'with primitives to remove from nothing',
      patch: { metadata: { $deleteFromPrimitiveListFinalizers: ['a'] } },
      message: 'metadata.$deleteFromPrimitiveListFinalizers must name a list',
    },
    {
      name: 'with $retainKeys that are no list',
      patch: { spec: { $retainKeys: 'tags' } },
      message: 'spec.$retainKeys must be a list',
    },
    {
      name: 'with a field that $retainKeys does not list',
      patch: { spec: { $retainKeys: ['tags'], list: [] } },
      message: 'spec.$retainKeys does not list list, which the patch sets',
    },
  ])('$name', ({ patch, message }) => {
    const before = JSON.stringify(target);
    expect(() => applyStrategicMergePatch(target, patch, strategies)).toThrow(
      expect.objectContaining({
        name: 'PatchError',
        kind: 'malformed',
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
    expect(JSON.stringify(target)).toBe(before);
  });
});

test('a long name with many lists in it is merged in no time', () => {
  const lists = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`list${index}`, [index]]));
  const patch = { ['x'.repeat(1_000_000)]: lists };
  const started = performance.now();
  const patched = applyStrategicMergePatch({}, patch, strategies);
  // Looking every list up by its path takes more than ten seconds.
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(deepEqual(patched, patch)).toBe(true);
});

describe('any strategic merge patch', () => {
  const name = fc.constantFrom('a', 'b', '__proto__', 'tags', 'finalizers', 'constructor');
  const primitive = fc.constantFrom<JsonValue>('a', 'b', 1, true);
  const directive = fc.constantFrom('merge', 'replace', 'delete');
  const { object } = fc.letrec<{ value: JsonValue; object: JsonObject; element: JsonObject }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      primitive,
      fc.constant(null),
      fc.array(primitive, { maxLength: 3 }),
      fc.array(tie('element'), { maxLength: 3 }),
      tie('object'),
    ),
    element: fc.tuple(name, tie('object')).map(([key, members]) => ({ ...members, name: key })),
    object: fc
      .record({
        members: fc.dictionary(name, tie('value'), { maxKeys: 3 }),
        directive: fc.option(directive, { freq: 6 }),
        removals: fc.option(fc.array(primitive, { maxLength: 2 }), { freq: 6 }),
        order: fc.option(fc.array(primitive, { maxLength: 3 }), { freq: 6 }),
        retained: fc.option(fc.array(name), { freq: 10 }),
      })
      .map(({ members, directive: patch, removals, order, retained }) => ({
        ...members,
        ...(patch === null ? {} : { $patch: patch }),
        ...(removals === null ? {} : { '$deleteFromPrimitiveList/a': removals }),
        ...(order === null ? {} : { '$setElementOrder/finalizers': order }),
        ...(retained === null ? {} : { $retainKeys: [...retained, ...Object.keys(members)] }),
      })),
  }));
  const jsonObject = object.map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);
  const anywhere: MergeStrategies = {
    tags: { kind: 'merge', key: 'name' },
    'tags.tags': { kind: 'merge', key: 'name' },
    finalizers: { kind: 'set' },
    'tags.finalizers': { kind: 'set' },
    b: { kind: 'replace' },
  };
  const plain = fc.constantFrom<JsonObject>(
    {},
    {
      a: ['a', 1],
      tags: [{ name: 'a', tags: [{ name: 'b' }], finalizers: ['a'] }, { name: 'b' }],
      finalizers: ['b', 'a'],
    },
    { a: { tags: [] }, b: { a: 1 }, tags: 'text', finalizers: [] },
  );

  test('leaves no directive and no new null, and changes nothing it is given', () => {
    let applied = 0;
    fc.assert(
      fc.property(plain, jsonObject, (target, patch) => {
        const before = JSON.stringify([target, patch]);
        try {
          const result = JSON.stringify(applyStrategicMergePatch(target, patch, anywhere));
          expect(result).not.toMatch(/"\$(?:patch|retainKeys|setElementOrder|deleteFromPrimitiveList)|:null/);
          applied++;
        } catch (error) {
          if (!(error instanceof PatchError)) throw error;
        }
        expect(JSON.stringify([target, patch])).toBe(before);
      }),
      { numRuns: 500 },
    );
    expect(applied).toBeGreaterThan(50);
  });

  test('without directives changes nothing when applied again', () => {
    fc.assert(
      fc.property(plain, plain, (target, patch) => {
        const once = applyStrategicMergePatch(target, patch, anywhere);
        expect(applyStrategicMergePatch(once, patch, anywhere)).toStrictEqual(once);
      }),
    );
  });
});
