import { describe, expect, test } from 'vitest';
import type { JsonObject, JsonValue } from '../../src/kube/json.js';
import { applyPatch, patchTypeOf, type PatchType } from '../../src/kube/patch.js';

const types: readonly PatchType[] = ['json', 'merge', 'strategic'];

describe('patchTypeOf', () => {
  test.each([
    { contentType: 'application/json-patch+json', expected: 'json' },
    { contentType: 'application/merge-patch+json', expected: 'merge' },
    { contentType: 'application/strategic-merge-patch+json', expected: 'strategic' },
    { contentType: 'application/merge-patch+json; charset=utf-8', expected: 'merge' },
    { contentType: ' Application/Merge-Patch+JSON ;charset=utf-8', expected: 'merge' },
    { contentType: 'application/apply-patch+yaml', expected: undefined },
    { contentType: 'application/json', expected: undefined },
    { contentType: 'application/merge-patch+json, application/json-patch+json', expected: undefined },
    { contentType: 'constructor', expected: undefined },
    { contentType: '', expected: undefined },
  ])('$contentType is $expected', ({ contentType, expected }) => {
    expect(patchTypeOf(contentType)).toBe(expected);
  });
});

describe('applyPatch', () => {
  const target = { metadata: { name: 'app', finalizers: ['a'] }, spec: { tags: [{ name: 'x', reference: true }] } };
  const strategies = { 'spec.tags': { kind: 'merge', key: 'name' } } as const;

  test.each<{ type: PatchType; patch: JsonValue; expected: JsonObject }>([
    {
      type: 'json',
      patch: [{ op: 'replace', path: '/spec/tags/0/name', value: 'y' }],
      expected: { ...target, spec: { tags: [{ name: 'y', reference: true }] } },
    },
    {
      type: 'merge',
      patch: { spec: { tags: [{ name: 'y' }] } },
      expected: { ...target, spec: { tags: [{ name: 'y' }] } },
    },
    {
      type: 'strategic',
      patch: { spec: { tags: [{ name: 'y' }] } },
      expected: { ...target, spec: { tags: [{ name: 'y' }, { name: 'x', reference: true }] } },
    },
  ])('applies a $type patch', ({ type, patch, expected }) => {
    expect(applyPatch(type, target, patch, strategies)).toStrictEqual(expected);
  });

  test.each<{ type: PatchType; patch: JsonValue }>([
    { type: 'json', patch: {} },
    { type: 'json', patch: 'x' },
    { type: 'merge', patch: [] },
    { type: 'merge', patch: null },
    { type: 'merge', patch: 'x' },
    { type: 'strategic', patch: [] },
    { type: 'strategic', patch: null },
    { type: 'strategic', patch: 1 },
  ])('refuses $patch as a $type patch: malformed', ({ type, patch }) => {
    expect(() => applyPatch(type, target, patch, strategies)).toThrow(
      expect.objectContaining({ name: 'PatchError', kind: 'malformed' }) as Error,
    );
  });

  const patches: Readonly<Record<PatchType, JsonValue>> = {
    json: [{ op: 'add', path: '/status', value: { list: [{ a: 1 }] } }],
    merge: { status: { list: [{ a: 1 }] } },
    strategic: { status: { list: [{ a: 1 }] } },
  };

  test.each(types)('a %s patch leaves a result of its own', (type) => {
    const frozenTarget = deepFreeze(structuredClone<JsonValue>(target)) as JsonObject;
    const frozenPatch = deepFreeze(structuredClone(patches[type]));
    const result = applyPatch(type, frozenTarget, frozenPatch, strategies);
    expect(result).toEqual({ ...target, status: { list: [{ a: 1 }] } });
    expect(isUnfrozen(result)).toBe(true);
  });

  test.each(types)('a %s patch takes __proto__ and constructor for names like any other', (type) => {
    const value = JSON.parse(
      '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}',
    ) as JsonValue;
    const patch =
      type === 'json'
        ? [
            { op: 'add', path: '/__proto__', value },
            { op: 'add', path: '/metadata', value },
          ]
        : (JSON.parse(`{"__proto__":${JSON.stringify(value)},"metadata":${JSON.stringify(value)}}`) as JsonValue);
    const result = applyPatch(type, {}, patch, strategies);
    expect(JSON.stringify(result)).toBe(`{"__proto__":${JSON.stringify(value)},"metadata":${JSON.stringify(value)}}`);
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
    expect(({} as JsonObject)['polluted']).toBeUndefined();
  });

  test.each(types)('a %s patch nested without end is malformed', (type) => {
    const deep = JSON.parse(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`) as JsonValue;
    const patch = type === 'json' ? [{ op: 'add', path: '/a', value: deep }] : deep;
    expect(() => applyPatch(type, target, patch, strategies)).toThrow(
      expect.objectContaining({ name: 'PatchError', kind: 'malformed' }) as Error,
    );
  });

  test.each(types)('a %s patch of an object nested without end is unprocessable', (type) => {
    const deep = JSON.parse(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`) as JsonObject;
    expect(() => applyPatch(type, deep, type === 'json' ? [] : {}, strategies)).toThrow(
      expect.objectContaining({ name: 'PatchError', kind: 'unprocessable' }) as Error,
    );
  });

  test.each(types)('a %s patch may be nested hundreds of levels deep', (type) => {
    const deep = (levels: number) =>
      JSON.parse(`${'{"key":0,"a":['.repeat(levels)}${']}'.repeat(levels)}`) as JsonObject;
    const paths = Array.from({ length: 249 }, (_, index) => Array.from({ length: index + 1 }, () => 'a').join('.'));
    const byKey = Object.fromEntries(paths.map((path) => [path, { kind: 'merge', key: 'key' } as const]));
    const patch = type === 'json' ? [{ op: 'add', path: '/a', value: deep(248)['a']! }] : deep(249);
    expect(applyPatch(type, deep(249), patch, byKey)).toStrictEqual(deep(type === 'json' ? 248 : 249));
  });
});

function deepFreeze(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values<JsonValue>(value)) deepFreeze(member);
  return Object.freeze(value);
}

function isUnfrozen(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return !Object.isFrozen(value) && Object.values<JsonValue>(value).every(isUnfrozen);
}
