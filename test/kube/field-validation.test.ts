import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { duplicateFields, unknownFields } from '../../src/kube/field-validation.js';
import type { JsonValue } from '../../src/kube/json.js';

describe('unknownFields', () => {
  const schema = z.object({
    spec: z
      .object({
        size: z.number().optional(),
        labels: z.record(z.string(), z.string()).optional(),
        anything: z.unknown().optional(),
        policy: z
          .union([z.object({ kind: z.literal('a') }), z.object({ kind: z.literal('b'), b: z.string() })])
          .optional(),
        asText: z
          .object({ value: z.string() })
          .transform(({ value }) => value)
          .optional(),
      })
      .optional(),
    tags: z.array(z.object({ name: z.string() })).optional(),
  });

  test.each<{ name: string; input: JsonValue; expected: string[] }>([
    { name: 'nothing', input: {}, expected: [] },
    { name: 'only known fields', input: { spec: { size: 1 }, tags: [{ name: 'v1' }] }, expected: [] },
    { name: 'at the top', input: { foo: 1 }, expected: ['foo'] },
    { name: 'inside', input: { spec: { foo: 'x', size: 1 } }, expected: ['spec.foo'] },
    {
      name: 'in a list',
      input: {
        tags: [
          { name: 'v1', bar: {} },
          { name: 'v2', baz: [] },
        ],
      },
      expected: ['tags[0].bar', 'tags[1].baz'],
    },
    { name: 'null is absent', input: { foo: null, spec: { foo: null } }, expected: [] },
    { name: 'the outermost of several', input: { foo: { bar: { baz: 1 } } }, expected: ['foo'] },
    { name: 'in their order', input: { z: 1, spec: { y: 1 }, a: 1 }, expected: ['z', 'spec.y', 'a'] },
    { name: 'no names of a map', input: { spec: { labels: { a: 'b', c: 'd' } } }, expected: [] },
    { name: 'nothing in what may be anything', input: { spec: { anything: { a: [{ b: 1 }] } } }, expected: [] },
    { name: 'of another alternative', input: { spec: { policy: { kind: 'a', b: 'c' } } }, expected: ['spec.policy.b'] },
    {
      name: 'nothing in what is turned into a text',
      input: { spec: { asText: { value: 'a', more: 'b' } } },
      expected: [],
    },
  ])('$name', ({ input, expected }) => {
    expect(unknownFields(input, schema.parse(input))).toEqual(expected);
  });

  test('__proto__ is a name like any other', () => {
    const input = JSON.parse('{"spec":{"__proto__":{"a":1},"constructor":1}}') as JsonValue;
    expect(unknownFields(input, schema.parse(input))).toEqual(['spec.__proto__', 'spec.constructor']);
  });

  test('a hundred are told', () => {
    const input = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`f${index}`, index]));
    const found = unknownFields(input, {});
    expect(found).toHaveLength(100);
    expect(found.at(-1)).toBe('f99');
  });

  test('a path of any length is cut to one that can be shown', () => {
    expect(unknownFields({ ['x'.repeat(1_000_000)]: 1 }, {})).toEqual([`${'x'.repeat(1024)}…`]);
  });

  test('what may be anything may be of any depth', () => {
    const input = JSON.parse(`{"spec":{"anything":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`) as JsonValue;
    expect(unknownFields(input, schema.parse(input))).toEqual([]);
  });
});

describe('duplicateFields', () => {
  test.each([
    { name: 'nothing twice', text: '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}', expected: [] },
    { name: 'no object at all', text: '"a"', expected: [] },
    { name: 'at the top', text: '{"a":1,"b":2,"a":3}', expected: ['a'] },
    { name: 'inside', text: '{"spec":{"tags":[],"foo":{},"tags":[]}}', expected: ['spec.tags'] },
    { name: 'in a list', text: '{"tags":[{},{"a":1,"a":1}]}', expected: ['tags[1].a'] },
    { name: 'in lists of lists', text: '[[0,1],[{"a":1,"a":1}]]', expected: ['[1][0].a'] },
    { name: 'three times is told once', text: '{"a":1,"a":2,"a":3}', expected: ['a'] },
    { name: 'in their order', text: '{"b":{"c":1,"c":1},"a":1,"a":1,"b":1}', expected: ['b.c', 'a', 'b'] },
    { name: 'after an object has ended', text: '{"a":{"b":1},"c":1,"a":1}', expected: ['a'] },
    { name: 'escaped and not', text: String.raw`{"a":1,"\u0061":2}`, expected: ['a'] },
    { name: 'quotes in names', text: String.raw`{"a\"b":1,"a\"b":2}`, expected: ['a"b'] },
    { name: 'backslashes at the end of a text', text: String.raw`{"a":"\\","b":"\\\"","a":1}`, expected: ['a'] },
    {
      name: 'values that look like fields',
      text: String.raw`{"a":"\"a\":1,","b":"{\"a\"","c":["a","a"]}`,
      expected: [],
    },
    { name: 'values that are like names', text: '{"a":"b","b":"a","c":"b"}', expected: [] },
    { name: 'spaces anywhere', text: ' {\n "a" : 1 ,\t"a" : [ ] } ', expected: ['a'] },
    { name: '__proto__', text: '{"__proto__":1,"__proto__":2}', expected: ['__proto__'] },
    { name: 'different cases', text: '{"a":1,"A":2}', expected: [] },
    { name: 'an empty name', text: '{"a":{"":1,"":2}}', expected: ['a.'] },
  ])('$name', ({ text, expected }) => {
    JSON.parse(text);
    expect(duplicateFields(text)).toEqual(expected);
  });

  test('a hundred are told', () => {
    const members = Array.from({ length: 1000 }, (_, index) => `"f${index}":0`).join();
    expect(duplicateFields(`{${members},${members}}`)).toHaveLength(100);
  });

  test('a text may be of any depth, and a thousand levels of it are looked at', () => {
    const nested = (levels: number) => `{"a":1,${'"x":{'.repeat(levels)}"b":1,"b":2${'}'.repeat(levels)},"a":2}`;
    expect(duplicateFields(nested(999))).toEqual([`${'x.'.repeat(512)}…`, 'a']);
    expect(duplicateFields(nested(1000))).toEqual([]);
    expect(duplicateFields('['.repeat(1_000_000))).toEqual([]);
  });

  test.each([
    { name: 'backslashes', text: `{"a":"${String.raw`\\`.repeat(1_000_000)}","a":1}` },
    { name: 'quotes', text: `{"a":"${String.raw`\"`.repeat(1_000_000)}","a":1}` },
  ])('a text of a million escaped $name does not hold the scan up', ({ text }) => {
    expect(duplicateFields(text)).toEqual(['a']);
  });
});
