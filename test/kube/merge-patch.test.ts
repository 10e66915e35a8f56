import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deepEqual, isJsonObject, memberOf, type JsonObject, type JsonValue } from '../../src/kube/json.js';
import { applyMergePatch } from '../../src/kube/merge-patch.js';

describe('a JSON merge patch', () => {
  // RFC 7396, appendix A, as far as both are objects.
  test.each<{ target: JsonObject; patch: JsonObject; expected: JsonObject }>([
    { target: { a: 'b' }, patch: { a: 'c' }, expected: { a: 'c' } },
    { target: { a: 'b' }, patch: { b: 'c' }, expected: { a: 'b', b: 'c' } },
    { target: { a: 'b' }, patch: { a: null }, expected: {} },
    { target: { a: 'b', b: 'c' }, patch: { a: null }, expected: { b: 'c' } },
    { target: { a: ['b'] }, patch: { a: 'c' }, expected: { a: 'c' } },
    { target: { a: 'c' }, patch: { a: ['b'] }, expected: { a: ['b'] } },
    { target: { a: { b: 'c' } }, patch: { a: { b: 'd', c: null } }, expected: { a: { b: 'd' } } },
    { target: { a: [{ b: 'c' }] }, patch: { a: [1] }, expected: { a: [1] } },
    { target: { e: null }, patch: { a: 1 }, expected: { e: null, a: 1 } },
    { target: {}, patch: { a: { bb: { ccc: null } } }, expected: { a: { bb: {} } } },
    { target: { a: 'foo' }, patch: { a: { b: 'c' } }, expected: { a: { b: 'c' } } },
    { target: {}, patch: { a: [null] }, expected: { a: [null] } },
  ])('$patch makes $expected of $target', ({ target, patch, expected }) => {
    expect(applyMergePatch(target, patch)).toEqual(expected);
  });

  test('treats the example of section 3 as the RFC does', () => {
    const target = {
      title: 'Goodbye!',
      author: { givenName: 'John', familyName: 'Doe' },
      tags: ['example', 'sample'],
      content: 'This will be unchanged',
    };
    const patch = {
      title: 'Hello!',
      phoneNumber: '+01-123-456-7890',
      author: { familyName: null },
      tags: ['example'],
    };
    expect(applyMergePatch(target, patch)).toEqual({
      title: 'Hello!',
      author: { givenName: 'John' },
      tags: ['example'],
      content: 'This will be unchanged',
      phoneNumber: '+01-123-456-7890',
    });
  });

  const withoutNull = fc
    .letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom<JsonValue>(0, 1, 'x', true),
        fc.array(fc.constantFrom<JsonValue>(0, null, 'x'), { maxLength: 2 }),
        tie('object'),
      ),
      object: fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor'), tie('value'), { maxKeys: 4 }),
    }))
    .object.map((object) => JSON.parse(JSON.stringify(object)) as JsonObject);

  test('that tells two objects apart makes the one of the other', () => {
    fc.assert(
      fc.property(withoutNull, withoutNull, (from, to) => {
        expect(deepEqual(applyMergePatch(from, difference(from, to)), to)).toBe(true);
      }),
    );
  });

  test('changes nothing when applied again', () => {
    fc.assert(
      fc.property(withoutNull, withoutNull, (target, patch) => {
        const once = applyMergePatch(target, patch);
        expect(deepEqual(applyMergePatch(once, patch), once)).toBe(true);
      }),
    );
  });
});

/** Members to be removed, members to be set, and for objects in both the difference of them. */
function difference(from: JsonObject, to: JsonObject): JsonObject {
  const removed = Object.keys(from)
    .filter((name) => !Object.hasOwn(to, name))
    .map((name): [string, JsonValue] => [name, null]);
  const set = Object.entries(to).map(([name, value]): [string, JsonValue] => {
    const before = memberOf(from, name);
    return [name, isJsonObject(before) && isJsonObject(value) ? difference(before, value) : value];
  });
  return Object.fromEntries([...removed, ...set]);
}
