import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { decodeObject } from '../../src/kube/decode.js';
import { StatusError, type StatusCause } from '../../src/kube/errors.js';
import type { JsonValue } from '../../src/kube/json.js';
import { tagPolicyCauses, tagPolicySpecSchema, type TagPolicySpec } from '../../src/streams/tag-policy-spec.js';

const expected = {
  group: 'weir.dev',
  version: 'v1',
  kind: 'TagPolicy',
  schema: z.object({ spec: tagPolicySpecSchema }),
};

/** What is wrong with a policy by its schema or else by its rules, as `field: message`. */
function causesOf(spec: JsonValue): readonly string[] {
  const body = { apiVersion: 'weir.dev/v1', kind: 'TagPolicy', metadata: { name: 'rule' }, spec };
  let causes: readonly StatusCause[];
  try {
    const object = decodeObject(body, expected, { fieldValidation: 'Strict', warn: () => undefined });
    causes = tagPolicyCauses(object['spec'] as TagPolicySpec);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    causes = error.details?.causes ?? [];
  }
  return causes.map(({ field, message }) => `${field}: ${message}`);
}

test.each<{ readonly name: string; readonly spec: JsonValue }>([
  { name: 'one rule', spec: { protect: [{ tags: ['v*', '!v0.?', '*_rc-1'] }] } },
  {
    name: 'reasons for everything',
    spec: { requireReason: ['push', 'tag', 'import', 'rollback', 'delete', 'undelete'] },
  },
  { name: 'one event', spec: { keepEvents: 1 } },
  { name: 'a million events', spec: { keepEvents: 1_000_000, streams: ['*'] } },
  {
    name: 'all that there may be',
    spec: {
      streams: Array.from({ length: 20 }, () => 'a__b-c.d?*'),
      protect: Array.from({ length: 10 }, () => ({
        tags: Array.from({ length: 20 }, () => 'v'.repeat(253)),
        overriddenBy: Array.from({ length: 100 }, () => ({ kind: 'ServiceAccount', name: 'ci', namespace: 'team' })),
      })),
    },
  },
  { name: 'nulls, which mean nothing', spec: { streams: null, protect: null, requireReason: null, keepEvents: 1 } },
])('a tag policy of $name is right', ({ spec }) => {
  expect(causesOf(spec)).toEqual([]);
});

describe('a tag policy is refused', () => {
  const tagRule =
    "expected letters, digits, '.', '_' and '-', with '*' for any characters, '?' for one and a '!' in front";
  const streamRule =
    "expected a-z, 0-9, '.', '_' and '-' ('__' for a slash), with '*' for any characters and '?' for one";
  const emptyList = 'Required value: leave it out, or say at least one';

  test.each<{ readonly name: string; readonly spec: JsonValue; readonly causes: readonly string[] }>([
    {
      name: 'says nothing',
      spec: { streams: ['*'] },
      causes: ['spec: Required value: say at least one of protect, requireReason and keepEvents'],
    },
    {
      name: 'has empty lists',
      spec: { streams: [], protect: [{ tags: [], overriddenBy: [] }], requireReason: [] },
      causes: [
        `spec.streams: ${emptyList}`,
        `spec.protect[0].tags: ${emptyList}`,
        `spec.protect[0].overriddenBy: ${emptyList}`,
        `spec.requireReason: ${emptyList}`,
      ],
    },
    { name: 'has no rule where there should be some', spec: { protect: [] }, causes: [`spec.protect: ${emptyList}`] },
    {
      name: 'has patterns that are none',
      spec: { streams: ['', 'a/b', 'App'], protect: [{ tags: ['', '!', '!!v1', 'v[0-9]', 'a b', 'app:v1', 'v1'] }] },
      causes: [
        'spec.streams[0]: Required value',
        `spec.streams[1]: Invalid value: "a/b": ${streamRule}`,
        `spec.streams[2]: Invalid value: "App": ${streamRule}`,
        'spec.protect[0].tags[0]: Required value',
        'spec.protect[0].tags[1]: Required value',
        `spec.protect[0].tags[2]: Invalid value: "!!v1": ${tagRule}`,
        `spec.protect[0].tags[3]: Invalid value: "v[0-9]": ${tagRule}`,
        `spec.protect[0].tags[4]: Invalid value: "a b": ${tagRule}`,
        `spec.protect[0].tags[5]: Invalid value: "app:v1": ${tagRule}`,
      ],
    },
    {
      name: 'only takes tags out',
      spec: { protect: [{ tags: ['!v0*'] }] },
      causes: [
        `spec.protect[0].tags: Invalid value: ["!v0*"]: only takes tags out; say first which are meant, such as '*'`,
      ],
    },
    {
      name: 'has patterns that are too long',
      spec: { streams: ['a'.repeat(254)], protect: [{ tags: [`!${'v'.repeat(254)}`, `!${'v'.repeat(253)}`] }] },
      causes: [
        'spec.streams[0]: Too long: may not be more than 253 characters',
        'spec.protect[0].tags[0]: Too long: may not be more than 253 characters',
      ],
    },
    {
      name: 'has too much of everything',
      spec: {
        streams: Array.from({ length: 21 }, () => ''),
        protect: [
          {
            tags: Array.from({ length: 21 }, () => ''),
            overriddenBy: Array.from({ length: 101 }, () => ({ kind: 'User', name: '' })),
          },
        ],
      },
      causes: [
        'spec.streams: Invalid value: "21 items": must have at most 20 items',
        'spec.protect[0].tags: Invalid value: "21 items": must have at most 20 items',
        'spec.protect[0].overriddenBy: Invalid value: "101 items": must have at most 100 items',
      ],
    },
    {
      name: 'has too many rules',
      spec: { protect: Array.from({ length: 11 }, () => ({ tags: [] })) },
      causes: ['spec.protect: Invalid value: "11 items": must have at most 10 items'],
    },
    {
      name: 'lets nobodies override',
      spec: {
        protect: [
          {
            tags: ['*'],
            overriddenBy: [
              { kind: 'User', name: '' },
              { kind: 'Group', name: 'devs', namespace: 'team' },
              { kind: 'User', name: 'u'.repeat(254) },
              { kind: 'ServiceAccount', name: 'CI', namespace: 'a.b' },
            ],
          },
        ],
      },
      causes: [
        'spec.protect[0].overriddenBy[0].name: Required value',
        'spec.protect[0].overriddenBy[1].namespace: Forbidden: a Group is in no namespace',
        'spec.protect[0].overriddenBy[2].name: Too long: may not be more than 253 characters',
        expect.stringMatching(/^spec\.protect\[0\]\.overriddenBy\[3\]\.name: Invalid value: "CI": /) as string,
        expect.stringMatching(/^spec\.protect\[0\]\.overriddenBy\[3\]\.namespace: Invalid value: "a\.b": /) as string,
      ],
    },
    {
      name: 'lets somebody of an unknown kind override',
      spec: { protect: [{ tags: ['*'], overriddenBy: [{ kind: 'Robot', name: 'r' }] }] },
      causes: [
        'spec.protect[0].overriddenBy[0].kind: Unsupported value: supported values: "User", "Group", "ServiceAccount"',
      ],
    },
    {
      name: 'wants reasons for what does not happen',
      spec: { requireReason: ['push', 'steal'] },
      causes: [
        'spec.requireReason[1]: Unsupported value: supported values: "push", "tag", "import", "rollback", "delete", "undelete"',
      ],
    },
    {
      name: 'names a cause twice',
      spec: { requireReason: ['push', 'tag', 'push', 'push'] },
      causes: ['spec.requireReason: Duplicate value: "push"'],
    },
    {
      name: 'keeps nothing',
      spec: { keepEvents: 0 },
      causes: ['spec.keepEvents: Invalid value: Too small: expected number to be >=1'],
    },
    {
      name: 'keeps more than there can be',
      spec: { keepEvents: 1_000_001 },
      causes: ['spec.keepEvents: Invalid value: Too big: expected number to be <=1000000'],
    },
  ])('that $name', ({ spec, causes }) => {
    expect(causesOf(spec)).toEqual(causes);
  });

  test('as a whole, with one cause, when a list of it is as long as a body can be', () => {
    expect(causesOf({ protect: [{ tags: Array.from({ length: 50_000 }, () => '[') }] })).toHaveLength(1);
  });
});
