import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cloneJson, deepEqual, isDeeperThan, isJsonArray, isJsonObject, memberOf } from '../../src/kube/json.js';
import type { JsonValue } from '../../src/kube/json.js';

const jsonValue = fc.jsonValue().map((value) => value as JsonValue);

describe('deepEqual', () => {
  test.each<{ name: string; a: JsonValue; b: JsonValue; expected: boolean }>([
    { name: 'the same number written differently', a: 1, b: 1.0, expected: true },
    { name: 'zero and negative zero', a: 0, b: -0, expected: true },
    { name: 'a number and its text', a: 1, b: '1', expected: false },
    { name: 'null and false', a: null, b: false, expected: false },
    { name: 'null and an object', a: null, b: {}, expected: false },
    { name: 'an empty array and an empty object', a: [], b: {}, expected: false },
    { name: 'an empty object and an empty array', a: {}, b: [], expected: false },
    { name: 'members in another order', a: { a: 1, b: [2] }, b: { b: [2], a: 1 }, expected: true },
    { name: 'elements in another order', a: [1, 2], b: [2, 1], expected: false },
    { name: 'a member more', a: { a: 1 }, b: { a: 1, b: 1 }, expected: false },
    { name: 'as many members of other names', a: { a: 1 }, b: { b: 1 }, expected: false },
    { name: 'an element more', a: [1], b: [1, 1], expected: false },
    { name: 'a name that objects inherit', a: { constructor: 1 }, b: { toString: 1 }, expected: false },
  ])('$name: $expected', ({ a, b, expected }) => {
    expect(deepEqual(a, b)).toBe(expected);
  });

  test('a value equals its copy', () => {
    fc.assert(fc.property(jsonValue, (value) => deepEqual(value, cloneJson(value))));
  });
});

describe('cloneJson', () => {
  test('shares nothing with the value', () => {
    const value = { list: [{ a: 1 }] };
    const clone = cloneJson(value);
    expect(clone).toEqual(value);
    expect(clone['list']).not.toBe(value.list);
    expect((clone['list'] as JsonValue[])[0]).not.toBe(value.list[0]);
  });

  test('keeps a member named __proto__ a member', () => {
    const text = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
    const clone = cloneJson(JSON.parse(text) as JsonValue);
    expect(JSON.stringify(clone)).toBe(text);
    expect(Object.getPrototypeOf(clone)).toBe(Object.prototype);
  });
});

describe('memberOf', () => {
  test.each(['__proto__', 'constructor', 'toString', 'b'])('finds no %s in an object that has none', (name) => {
    expect(memberOf({ a: 1 }, name)).toBeUndefined();
  });

  test('finds a member named __proto__', () => {
    expect(memberOf(JSON.parse('{"__proto__":1}') as Record<string, JsonValue>, '__proto__')).toBe(1);
  });
});

test.each<{ value: JsonValue | undefined; isObject: boolean; isArray: boolean }>([
  { value: {}, isObject: true, isArray: false },
  { value: [], isObject: false, isArray: true },
  { value: null, isObject: false, isArray: false },
  { value: '', isObject: false, isArray: false },
  { value: undefined, isObject: false, isArray: false },
])('$value is an object: $isObject, an array: $isArray', ({ value, isObject, isArray }) => {
  expect(isJsonObject(value)).toBe(isObject);
  expect(isJsonArray(value)).toBe(isArray);
});

test.each<{ value: JsonValue; depth: number }>([
  { value: 1, depth: 0 },
  { value: null, depth: 0 },
  { value: [], depth: 1 },
  { value: { a: 1 }, depth: 1 },
  { value: { a: [] }, depth: 2 },
  { value: [1, [{ a: {} }], 2], depth: 4 },
])('$value is $depth levels deep', ({ value, depth }) => {
  expect(isDeeperThan(depth, value)).toBe(false);
  if (depth > 0) expect(isDeeperThan(depth - 1, value)).toBe(true);
});
