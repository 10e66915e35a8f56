import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyJsonPatch } from '../../src/kube/json-patch.js';
import type { JsonObject, JsonValue } from '../../src/kube/json.js';
import { PatchError, type PatchErrorKind } from '../../src/kube/patch-error.js';

const maxDepth = 20;

describe('a JSON patch', () => {
  test.each<{ name: string; target: JsonObject; patch: JsonValue; expected: JsonObject }>([
    { name: 'of no operations changes nothing', target: { a: 1 }, patch: [], expected: { a: 1 } },
    // RFC 6902, appendix A.
    {
      name: 'adds a member (A.1)',
      target: { foo: 'bar' },
      patch: [{ op: 'add', path: '/baz', value: 'qux' }],
      expected: { baz: 'qux', foo: 'bar' },
    },
    {
      name: 'adds an element (A.2)',
      target: { foo: ['bar', 'baz'] },
      patch: [{ op: 'add', path: '/foo/1', value: 'qux' }],
      expected: { foo: ['bar', 'qux', 'baz'] },
    },
    {
      name: 'removes a member (A.3)',
      target: { baz: 'qux', foo: 'bar' },
      patch: [{ op: 'remove', path: '/baz' }],
      expected: { foo: 'bar' },
    },
    {
      name: 'removes an element (A.4)',
      target: { foo: ['bar', 'qux', 'baz'] },
      patch: [{ op: 'remove', path: '/foo/1' }],
      expected: { foo: ['bar', 'baz'] },
    },
    {
      name: 'replaces a value (A.5)',
      target: { baz: 'qux', foo: 'bar' },
      patch: [{ op: 'replace', path: '/baz', value: 'boo' }],
      expected: { baz: 'boo', foo: 'bar' },
    },
    {
      name: 'moves a value (A.6)',
      target: { foo: { bar: 'baz', waldo: 'fred' }, qux: { corge: 'grault' } },
      patch: [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
      expected: { foo: { bar: 'baz' }, qux: { corge: 'grault', thud: 'fred' } },
    },
    {
      name: 'moves an element (A.7)',
      target: { foo: ['all', 'grass', 'cows', 'eat'] },
      patch: [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
      expected: { foo: ['all', 'cows', 'eat', 'grass'] },
    },
    {
      name: 'tests values (A.8)',
      target: { baz: 'qux', foo: ['a', 2, 'c'] },
      patch: [
        { op: 'test', path: '/baz', value: 'qux' },
        { op: 'test', path: '/foo/1', value: 2 },
      ],
      expected: { baz: 'qux', foo: ['a', 2, 'c'] },
    },
    {
      name: 'adds an object (A.10)',
      target: { foo: 'bar' },
      patch: [{ op: 'add', path: '/child', value: { grandchild: {} } }],
      expected: { foo: 'bar', child: { grandchild: {} } },
    },
    {
      name: 'ignores members it does not know (A.11)',
      target: { foo: 'bar' },
      patch: [{ op: 'add', path: '/baz', value: 'qux', xyz: 123 }],
      expected: { foo: 'bar', baz: 'qux' },
    },
    {
      name: 'tells ~01 from ~1 (A.14)',
      target: { '/': 9, '~1': 10 },
      patch: [
        { op: 'test', path: '/~01', value: 10 },
        { op: 'test', path: '/~1', value: 9 },
        { op: 'replace', path: '/~01', value: 11 },
      ],
      expected: { '/': 9, '~1': 11 },
    },
    {
      name: 'adds at the end by - (A.16)',
      target: { foo: ['bar'] },
      patch: [{ op: 'add', path: '/foo/-', value: ['abc', 'def'] }],
      expected: { foo: ['bar', ['abc', 'def']] },
    },
    {
      name: 'adds at the end by the number of elements',
      target: { foo: ['bar'] },
      patch: [{ op: 'add', path: '/foo/1', value: 'baz' }],
      expected: { foo: ['bar', 'baz'] },
    },
    {
      name: 'sets a member that is there',
      target: { foo: 'bar' },
      patch: [{ op: 'add', path: '/foo', value: null }],
      expected: { foo: null },
    },
    {
      name: 'takes - and digits for names in objects',
      target: { a: { '-': 1, '0': 2, '01': 3 } },
      patch: [
        { op: 'remove', path: '/a/-' },
        { op: 'remove', path: '/a/0' },
        { op: 'replace', path: '/a/01', value: 4 },
      ],
      expected: { a: { '01': 4 } },
    },
    {
      name: 'finds a member with an empty name',
      target: { '': { '': 1 } },
      patch: [{ op: 'replace', path: '//', value: 2 }],
      expected: { '': { '': 2 } },
    },
    {
      name: 'replaces an element',
      target: { a: [1, 2, 3] },
      patch: [{ op: 'replace', path: '/a/1', value: [4] }],
      expected: { a: [1, [4], 3] },
    },
    {
      name: 'moves a value onto itself',
      target: { a: [1, 2], b: 3 },
      patch: [
        { op: 'move', from: '/b', path: '/b' },
        { op: 'move', from: '/a/0', path: '/a/0' },
      ],
      expected: { a: [1, 2], b: 3 },
    },
    {
      name: 'copies a value that then goes its own way',
      target: { a: { list: [1] } },
      patch: [
        { op: 'copy', from: '/a', path: '/b' },
        { op: 'add', path: '/b/list/-', value: 2 },
      ],
      expected: { a: { list: [1] }, b: { list: [1, 2] } },
    },
    {
      name: 'copies a value into itself',
      target: { a: { b: 1 } },
      patch: [{ op: 'copy', from: '/a', path: '/a/c' }],
      expected: { a: { b: 1, c: { b: 1 } } },
    },
    {
      name: 'adds the same value twice, each going its own way',
      target: {},
      patch: [
        { op: 'add', path: '/a', value: {} },
        { op: 'add', path: '/a/b', value: 1 },
        { op: 'test', path: '/a', value: { b: 1 } },
      ],
      expected: { a: { b: 1 } },
    },
    {
      name: 'tests objects whatever the order of members, and numbers by value',
      target: { a: { x: 1, y: [0] } },
      patch: [{ op: 'test', path: '/a', value: { y: [-0], x: 1.0 } }],
      expected: { a: { x: 1, y: [0] } },
    },
    {
      name: 'replaces the document',
      target: { a: 1 },
      patch: [{ op: 'replace', path: '', value: { b: 2 } }],
      expected: { b: 2 },
    },
    {
      name: 'adds the document in the place of the old one',
      target: { a: 1 },
      patch: [{ op: 'add', path: '', value: { b: 2 } }],
      expected: { b: 2 },
    },
    {
      name: 'removes the document and adds another',
      target: { a: 1 },
      patch: [
        { op: 'remove', path: '' },
        { op: 'add', path: '', value: {} },
      ],
      expected: {},
    },
    {
      name: 'moves a part to be the document',
      target: { a: { b: 1 } },
      patch: [{ op: 'move', from: '/a', path: '' }],
      expected: { b: 1 },
    },
    {
      name: 'copies the document into itself',
      target: { a: 1 },
      patch: [
        { op: 'copy', from: '', path: '/b' },
        { op: 'test', path: '', value: { a: 1, b: { a: 1 } } },
      ],
      expected: { a: 1, b: { a: 1 } },
    },
    {
      name: 'may leave a document for a while that is no object',
      target: { a: 1 },
      patch: [
        { op: 'replace', path: '', value: [] },
        { op: 'add', path: '/-', value: { b: 2 } },
        { op: 'move', from: '/0', path: '' },
      ],
      expected: { b: 2 },
    },
  ])('$name', ({ target, patch, expected }) => {
    const before = JSON.stringify([target, patch]);
    expect(applyJsonPatch(target, patch, maxDepth)).toStrictEqual(expected);
    expect(JSON.stringify([target, patch])).toBe(before);
  });

  const target = { foo: 'bar', list: ['a', 'b'], nested: { member: {} } };

  test.each<{ name: string; patch: JsonValue }>([
    { name: 'an object', patch: { op: 'remove', path: '/foo' } },
    { name: 'an operation that is not an object', patch: ['remove'] },
    { name: 'an operation without op', patch: [{ path: '/foo' }] },
    { name: 'an unknown operation', patch: [{ op: 'increment', path: '/foo' }] },
    { name: 'an operation named like what objects inherit', patch: [{ op: 'toString', path: '/foo' }] },
    { name: 'an operation without path', patch: [{ op: 'remove' }] },
    { name: 'a path that is not text', patch: [{ op: 'remove', path: ['foo'] }] },
    { name: 'a path that does not begin with a slash', patch: [{ op: 'remove', path: 'foo' }] },
    { name: 'a path with an escape that is none', patch: [{ op: 'remove', path: '/~2' }] },
    { name: 'a path that ends within an escape', patch: [{ op: 'remove', path: '/foo~' }] },
    { name: 'add without value', patch: [{ op: 'add', path: '/baz' }] },
    { name: 'replace without value', patch: [{ op: 'replace', path: '/foo' }] },
    { name: 'test without value', patch: [{ op: 'test', path: '/foo' }] },
    { name: 'move without from', patch: [{ op: 'move', path: '/baz' }] },
    { name: 'copy with a from that is no pointer', patch: [{ op: 'copy', path: '/baz', from: 'foo' }] },
    { name: 'move into itself', patch: [{ op: 'move', from: '/nested', path: '/nested/member' }] },
    { name: 'move of the document into itself', patch: [{ op: 'move', from: '', path: '/baz' }] },
    { name: 'a malformed operation after good ones', patch: [{ op: 'remove', path: '/foo' }, { op: 'remove' }] },
    {
      name: 'more than 10,000 operations',
      patch: Array.from({ length: 10_001 }, () => ({ op: 'test', path: '/foo', value: 'bar' })),
    },
  ])('with $name is malformed', ({ patch }) => {
    expectRefusal(target, patch, 'malformed');
  });

  test.each<{ name: string; patch: JsonValue }>([
    { name: 'remove of what is not there', patch: [{ op: 'remove', path: '/baz' }] },
    { name: 'replace of what is not there', patch: [{ op: 'replace', path: '/baz', value: 1 }] },
    { name: 'replace of what objects inherit', patch: [{ op: 'replace', path: '/constructor', value: 1 }] },
    { name: 'test of what is not there', patch: [{ op: 'test', path: '/baz', value: null }] },
    { name: 'copy of what is not there', patch: [{ op: 'copy', from: '/baz', path: '/foo' }] },
    { name: 'move of what is not there', patch: [{ op: 'move', from: '/baz', path: '/foo' }] },
    { name: 'add in what is not there (A.12)', patch: [{ op: 'add', path: '/baz/bat', value: 1 }] },
    { name: 'add in a primitive', patch: [{ op: 'add', path: '/foo/0', value: 1 }] },
    { name: 'add past the end', patch: [{ op: 'add', path: '/list/3', value: 1 }] },
    { name: 'add at an index with a leading zero', patch: [{ op: 'add', path: '/list/01', value: 1 }] },
    { name: 'add at an index that is not a number', patch: [{ op: 'add', path: '/list/length', value: 1 }] },
    { name: 'add at a negative index', patch: [{ op: 'add', path: '/list/-1', value: 1 }] },
    { name: 'add at an index with an exponent', patch: [{ op: 'add', path: '/list/1e0', value: 1 }] },
    { name: 'add at an index without digits', patch: [{ op: 'add', path: '/list/', value: 1 }] },
    {
      name: 'add at an index too large for a number',
      patch: [{ op: 'add', path: `/list/${'9'.repeat(400)}`, value: 1 }],
    },
    { name: 'remove past the end', patch: [{ op: 'remove', path: '/list/2' }] },
    { name: 'remove of the length of an array', patch: [{ op: 'remove', path: '/list/length' }] },
    { name: 'remove of -', patch: [{ op: 'remove', path: '/list/-' }] },
    { name: 'replace of -', patch: [{ op: 'replace', path: '/list/-', value: 1 }] },
    { name: 'replace past the end', patch: [{ op: 'replace', path: '/list/2', value: 1 }] },
    { name: 'test of an index with a leading zero', patch: [{ op: 'test', path: '/list/00', value: 'a' }] },
    { name: 'test of another value (A.9)', patch: [{ op: 'test', path: '/foo', value: 'baz' }] },
    { name: 'test of a number against text (A.15)', patch: [{ op: 'test', path: '/list/0', value: 10 }] },
    { name: 'remove of the document', patch: [{ op: 'remove', path: '' }] },
    { name: 'a document that is an array', patch: [{ op: 'replace', path: '', value: [] }] },
    { name: 'a document that is null', patch: [{ op: 'add', path: '', value: null }] },
    {
      name: 'an operation after the document is gone',
      patch: [
        { op: 'remove', path: '' },
        { op: 'replace', path: '', value: {} },
      ],
    },
    {
      name: 'a failure after operations that succeed',
      patch: [
        { op: 'remove', path: '/foo' },
        { op: 'test', path: '/foo', value: 'bar' },
      ],
    },
  ])('with $name is unprocessable', ({ patch }) => {
    expectRefusal(target, patch, 'unprocessable');
  });

  test('says which operation failed, and where', () => {
    const patch = [
      { op: 'remove', path: '/foo' },
      { op: 'replace', path: '/a~1b/~0', value: 1 },
    ];
    expect(() => applyJsonPatch(target, patch, maxDepth)).toThrow('operation 1 (replace): there is no "/a~1b"');
  });

  test('takes 10,000 operations', () => {
    const patch = Array.from({ length: 10_000 }, (_, index) => ({ op: 'add', path: '/list/-', value: index }));
    expect(applyJsonPatch(target, patch, maxDepth)['list']).toHaveLength(10_002);
  });

  test('whose copies double again and again is refused before it fills the memory', () => {
    const patch = Array.from({ length: 200 }, () => ({ op: 'copy', from: '/list', path: '/list/-' }));
    expectRefusal({ list: ['x'.repeat(100)] }, patch, 'unprocessable');
  });

  test('that copies more than 8 MiB is refused though little of it stays', () => {
    const patch = Array.from({ length: 9 }, () => ({ op: 'copy', from: '/a', path: '/b' }));
    const large = { a: 'x'.repeat(1024 * 1024) };
    expectRefusal(large, patch, 'unprocessable');
    expect(applyJsonPatch(large, patch.slice(0, 7), maxDepth)['b']).toBe(large.a);
  });

  test('that leaves more than 8 MiB is refused', () => {
    // Two bytes of UTF-8 each.
    const half = 'é'.repeat(2 * 1024 * 1024);
    const add = (name: string) => ({ op: 'add', path: `/${name}`, value: half });
    expectRefusal({}, [add('a'), add('b')], 'unprocessable');
    expect(Object.keys(applyJsonPatch({}, [add('a'), add('a')], maxDepth))).toEqual(['a']);
  });

  test('that shifts a long array again and again is refused', () => {
    const list = Array.from({ length: 200_000 }, () => 0);
    const front = Array.from({ length: 5_000 }, () => ({ op: 'add', path: '/list/0', value: 0 }));
    expectRefusal({ list }, front, 'unprocessable');
    const end = Array.from({ length: 5_000 }, () => ({ op: 'add', path: '/list/-', value: 0 }));
    expect(applyJsonPatch({ list }, end, maxDepth)['list']).toHaveLength(205_000);
  });

  test('that nests a document deeper than allowed is refused', () => {
    const nest = [
      { op: 'add', path: '/new', value: {} },
      { op: 'move', from: '/a', path: '/new/a' },
      { op: 'move', from: '/new', path: '/a' },
    ];
    const times = (count: number) => Array.from({ length: count }, () => nest).flat();
    // The document and 19 objects in it are 20 levels.
    expect(() => applyJsonPatch({ a: 1 }, times(19), maxDepth)).not.toThrow();
    expectRefusal({ a: 1 }, times(20), 'unprocessable');
  });

  test('that nests a document very deep is refused at a copy, and without running out of stack at the end', () => {
    const nest = [
      { op: 'add', path: '/new', value: {} },
      { op: 'move', from: '/a', path: '/new/a' },
      { op: 'move', from: '/new', path: '/a' },
    ];
    const deep = Array.from({ length: 3_333 }, () => nest).flat();
    expectRefusal({ a: 1 }, deep, 'unprocessable');
    expectRefusal({ a: 1 }, [...deep, { op: 'copy', from: '/a', path: '/b' }], 'unprocessable');
  });

  test.each(['__proto__', 'constructor', 'prototype'])('adds a member named %s to one object only', (name) => {
    const patched = applyJsonPatch({ a: {} }, [{ op: 'add', path: `/a/${name}`, value: { polluted: true } }], maxDepth);
    expect(JSON.stringify(patched)).toBe(`{"a":{"${name}":{"polluted":true}}}`);
    expect(Object.getPrototypeOf(patched['a'])).toBe(Object.prototype);
    expect(({} as JsonObject)['polluted']).toBeUndefined();
  });

  test.each([
    '/__proto__/polluted',
    '/a/__proto__/polluted',
    '/constructor/prototype/polluted',
    '/list/__proto__/polluted',
  ])('finds no %s in an object without such a member', (path) => {
    expectRefusal({ a: {}, list: [] }, [{ op: 'add', path, value: true }], 'unprocessable');
    expect(({} as JsonObject)['polluted']).toBeUndefined();
    expect(([] as unknown as JsonObject)['polluted']).toBeUndefined();
  });

  test('keeps, moves, copies and removes members named __proto__', () => {
    const odd = JSON.parse('{"__proto__":{"a":1}}') as JsonObject;
    const patched = applyJsonPatch(
      odd,
      [
        { op: 'copy', from: '/__proto__', path: '/b' },
        { op: 'move', from: '/__proto__', path: '/c' },
        { op: 'add', path: '/d', value: JSON.parse('{"__proto__":2}') as JsonValue },
      ],
      maxDepth,
    );
    expect(JSON.stringify(patched)).toBe('{"b":{"a":1},"c":{"a":1},"d":{"__proto__":2}}');
  });

  const pointer = fc
    .array(fc.constantFrom('a', 'b', '0', '1', '-', '__proto__'), { maxLength: 3 })
    .map((tokens) => tokens.map((token) => `/${token}`).join(''));
  const value = fc.constantFrom<JsonValue>(1, null, { a: 1 }, [1, { b: 2 }], {});
  const operation = fc.oneof(
    fc.record({ op: fc.constantFrom('add', 'replace', 'test'), path: pointer, value }),
    fc.record({ op: fc.constant('remove'), path: pointer }),
    fc.record({ op: fc.constantFrom('move', 'copy'), from: pointer, path: pointer }),
  );
  const object = fc.constantFrom<JsonObject>({ a: { b: [1, 2] } }, { a: [{ a: 1 }], b: {} }, {});

  test('succeeds or throws a PatchError, and changes nothing it is given', () => {
    fc.assert(
      fc.property(object, fc.array(operation, { maxLength: 5 }), (document, patch) => {
        const before = JSON.stringify([document, patch]);
        try {
          applyJsonPatch(document, patch, maxDepth);
        } catch (error) {
          expect(error).toBeInstanceOf(PatchError);
        }
        expect(JSON.stringify([document, patch])).toBe(before);
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});

function expectRefusal(target: JsonObject, patch: JsonValue, kind: PatchErrorKind): void {
  const before = JSON.stringify(target);
  expect(() => applyJsonPatch(target, patch, maxDepth)).toThrow(
    expect.objectContaining({ name: 'PatchError', kind }) as Error,
  );
  expect(JSON.stringify(target)).toBe(before);
}
