import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { decodeObject, fieldOf, parseJson, type ExpectedKind, type FieldValidation } from '../../src/kube/decode.js';
import { StatusError } from '../../src/kube/errors.js';
import type { JsonValue } from '../../src/kube/json.js';

const expected: ExpectedKind = {
  group: 'apps',
  version: 'v1',
  kind: 'Thing',
  schema: z.object({
    spec: z
      .object({
        size: z.number().min(1).optional(),
        name: z.string(),
        mode: z.enum(['fast', 'slow']).optional(),
        parts: z.array(z.object({ id: z.string() })).optional(),
      })
      .optional(),
    data: z.record(z.string(), z.string()).optional(),
  }),
};

function decode(body: JsonValue, fieldValidation: FieldValidation = 'Strict', text?: string) {
  const warnings: string[] = [];
  const options = { fieldValidation, ...(text !== undefined && { text }), warn: (w: string) => warnings.push(w) };
  return { object: decodeObject(body, expected, options), warnings };
}

function refusal(work: () => unknown): StatusError {
  try {
    work();
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('an object in a body', () => {
  test('is read without its type', () => {
    const body = {
      apiVersion: 'apps/v1',
      kind: 'Thing',
      metadata: { name: 'a', labels: { x: 'y' } },
      spec: { name: 'n' },
    };
    expect(decode(body).object).toEqual({ metadata: { name: 'a', labels: { x: 'y' } }, spec: { name: 'n' } });
  });

  test.each<{ readonly name: string; readonly type: Record<string, JsonValue> }>([
    { name: 'no type', type: {} },
    { name: 'an empty type', type: { apiVersion: '', kind: '' } },
    { name: 'a type that is null', type: { apiVersion: null, kind: null } },
  ])('may have $name', ({ type }) => {
    expect(decode({ ...type, metadata: { name: 'a' } }).object).toEqual({ metadata: { name: 'a' } });
  });

  test('may have no metadata', () => {
    expect(decode({}).object).toEqual({ metadata: {} });
  });

  test('loses nulls everywhere: they mean absent', () => {
    const body = {
      metadata: { name: 'a', labels: { gone: null, kept: '' }, annotations: null },
      spec: { name: 'n', size: null, parts: [null, { id: 'x', unknown: null }] },
      data: null,
    };
    expect(decode(body)).toEqual({
      object: { metadata: { name: 'a', labels: { kept: '' } }, spec: { name: 'n', parts: [{ id: 'x' }] } },
      warnings: [],
    });
  });

  test.each<{ readonly name: string; readonly body: JsonValue; readonly message: string }>([
    { name: 'a list', body: [], message: 'expected a JSON object of kind Thing' },
    { name: 'a text', body: 'x', message: 'expected a JSON object of kind Thing' },
    { name: 'null', body: null, message: 'expected a JSON object of kind Thing' },
    {
      name: 'another kind',
      body: { kind: 'Other' },
      message: '"Other" in the body does not match the expected kind Thing',
    },
    {
      name: 'another version',
      body: { apiVersion: 'v1' },
      message: 'the API version in the data ("v1") does not match the expected API version (apps/v1)',
    },
    {
      name: 'a number for a text',
      body: { spec: { name: 7 } },
      message: 'Thing in version "v1" cannot be handled: spec.name: Invalid input: expected string, received number',
    },
    {
      name: 'a text for a list, deep inside',
      body: { spec: { name: 'n', parts: [{ id: 'x' }, { id: true }] } },
      message:
        'Thing in version "v1" cannot be handled: spec.parts[1].id: Invalid input: expected string, received boolean',
    },
    {
      name: 'labels that are no texts',
      body: { metadata: { labels: { x: 1 } } },
      message:
        'Thing in version "v1" cannot be handled: metadata.labels.x: Invalid input: expected string, received number',
    },
    {
      name: 'metadata that is a text',
      body: { metadata: 'x' },
      message: 'Thing in version "v1" cannot be handled: metadata: Invalid input: expected object, received string',
    },
  ])('is a bad request as $name', ({ body, message }) => {
    const error = refusal(() => decode(body));
    expect([error.reason, error.message]).toEqual(['BadRequest', message]);
  });

  test('is invalid when a value breaks a rule, with every cause', () => {
    const body = { metadata: { name: 'a' }, spec: { size: 0, mode: 'other' } };
    const error = refusal(() => decode(body));
    expect(error.reason).toBe('Invalid');
    expect(error.message).toContain('Thing.apps "a" is invalid: [');
    expect(error.details).toMatchObject({ name: 'a', group: 'apps', kind: 'Thing' });
    expect(error.details!.causes!.map(({ reason, field }) => [reason, field])).toEqual([
      ['FieldValueInvalid', 'spec.size'],
      ['FieldValueRequired', 'spec.name'],
      ['FieldValueNotSupported', 'spec.mode'],
    ]);
    expect(error.details!.causes![1]!.message).toBe('Required value');
  });

  test('that is nested deeper than anything is a bad request and exhausts no stack', () => {
    const depth = 200_000;
    const body = parseJson(`{"data":${'['.repeat(depth)}${']'.repeat(depth)}}`);
    expect(refusal(() => decode(body))).toMatchObject({
      reason: 'BadRequest',
      message: 'the body is nested more than 500 levels deep',
    });
  });

  test('cannot change what every object has', () => {
    const body = parseJson('{"metadata":{"name":"a","labels":{"__proto__":"x"}},"__proto__":{"polluted":true}}');
    const { object } = decode(body, 'Ignore');
    expect(object['polluted']).toBeUndefined();
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('fields that a kind does not have', () => {
  const body = {
    metadata: { name: 'a', nam: 'b' },
    spec: { name: 'n', sise: 1, parts: [{ id: 'x', y: 1 }] },
    extra: 1,
  };
  const problems = [
    'unknown field "metadata.nam"',
    'unknown field "spec.sise"',
    'unknown field "spec.parts[0].y"',
    'unknown field "extra"',
  ];

  test('are dropped, whatever is said of them', () => {
    for (const validation of ['Ignore', 'Warn'] as const) {
      expect(decode(body, validation).object).toEqual({
        metadata: { name: 'a' },
        spec: { name: 'n', parts: [{ id: 'x' }] },
      });
    }
  });

  test('are ignored, warned of or refused, as the client asks', () => {
    expect(decode(body, 'Ignore').warnings).toEqual([]);
    expect([...decode(body, 'Warn').warnings].sort()).toEqual([...problems].sort());
    const error = refusal(() => decode(body, 'Strict'));
    expect(error.reason).toBe('BadRequest');
    expect(error.message.startsWith('strict decoding error: ')).toBe(true);
    for (const problem of problems) expect(error.message).toContain(problem);
  });

  test('that are there twice are told as well, from the text', () => {
    const text = '{"spec":{"name":"a","name":"b"}}';
    expect(decode(parseJson(text), 'Warn', text)).toEqual({
      object: { metadata: {}, spec: { name: 'b' } },
      warnings: ['duplicate field "spec.name"'],
    });
    expect(refusal(() => decode(parseJson(text), 'Strict', text)).message).toBe(
      'strict decoding error: duplicate field "spec.name"',
    );
    expect(decode(parseJson(text), 'Ignore', text).warnings).toEqual([]);
  });
});

describe('a body', () => {
  test.each(['', '{', '{"a":1}x', 'apiVersion: v1', 'NaN'])('that is no JSON is a bad request: "%s"', (text) => {
    const error = refusal(() => parseJson(text));
    expect(error.reason).toBe('BadRequest');
    expect(error.message).toMatch(/^the body is not JSON: /);
  });
});

test.each([
  { path: ['spec', 'tags', 0, 'from', 'name'], field: 'spec.tags[0].from.name' },
  { path: ['metadata'], field: 'metadata' },
  { path: [0, 'a'], field: '[0].a' },
  { path: [], field: '' },
])('the field $field is written as Kubernetes writes it', ({ path, field }) => {
  expect(fieldOf(path)).toBe(field);
});
