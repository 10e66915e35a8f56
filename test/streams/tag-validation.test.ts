import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StatusCause } from '../../src/kube/errors.js';
import {
  isChanged,
  parseTagSource,
  streamCauses,
  tagCauses,
  withTagDefaults,
  type SentTag,
} from '../../src/streams/tag-validation.js';
import type { TagReference, TagSource } from '../../src/streams/types.js';

describe('withTagDefaults', () => {
  const defaults = { importPolicy: { importMode: 'Legacy' }, referencePolicy: { type: 'Source' } };

  test.each<{ name: string; sent: SentTag; expected: object }>([
    { name: 'an empty tag gets its policies', sent: {}, expected: {} },
    {
      name: 'what is empty is what is left out',
      sent: {
        annotations: {},
        reference: false,
        importPolicy: { insecure: false, scheduled: false, importMode: '' },
        referencePolicy: { type: '' },
      },
      expected: {},
    },
    {
      name: 'null is what is left out',
      sent: { annotations: null, from: null, generation: null, importPolicy: null, referencePolicy: null },
      expected: {},
    },
    {
      name: 'a source without kind and name is none',
      sent: { from: { kind: '', name: '', namespace: 'x' } },
      expected: {},
    },
    {
      name: 'of a source only kind, name and namespace are kept',
      sent: {
        from: { kind: 'ImageStreamTag', name: 'a:b', namespace: 'x', uid: 'u', fieldPath: 'f' } as SentTag['from'],
      },
      expected: { from: { kind: 'ImageStreamTag', name: 'a:b', namespace: 'x' } },
    },
    {
      name: 'an empty namespace is that of the stream',
      sent: { from: { kind: 'DockerImage', name: 'a', namespace: '' } },
      expected: { from: { kind: 'DockerImage', name: 'a' } },
    },
    { name: 'generation 0 is kept', sent: { generation: 0 }, expected: { generation: 0 } },
    {
      name: 'what is said is kept',
      sent: {
        annotations: { a: 'b' },
        reference: true,
        generation: 7,
        importPolicy: { insecure: true, scheduled: true, importMode: 'PreserveOriginal' },
        referencePolicy: { type: 'Local' },
      },
      expected: {
        annotations: { a: 'b' },
        reference: true,
        generation: 7,
        importPolicy: { insecure: true, scheduled: true, importMode: 'PreserveOriginal' },
        referencePolicy: { type: 'Local' },
      },
    },
    {
      name: 'words that mean nothing go through to be refused',
      sent: { from: { kind: 'Secret' }, referencePolicy: { type: 'x' } },
      expected: { from: { kind: 'Secret', name: '' }, referencePolicy: { type: 'x' } },
    },
  ])('$name', ({ sent, expected }) => {
    expect(withTagDefaults({ name: 'other', ...sent }, 'v1')).toEqual({ name: 'v1', ...defaults, ...expected });
  });

  test('changes nothing when it is done again', () => {
    const text = fc.constantFrom('', 'x', 'Source', 'Legacy', 'DockerImage', 'ImageStreamTag');
    const sent = fc.record(
      {
        annotations: fc.option(fc.dictionary(text, text)),
        from: fc.option(fc.record({ kind: text, name: text, namespace: text }, { requiredKeys: [] })),
        reference: fc.boolean(),
        generation: fc.option(fc.nat()),
        importPolicy: fc.record(
          { insecure: fc.boolean(), scheduled: fc.boolean(), importMode: text },
          { requiredKeys: [] },
        ),
        referencePolicy: fc.record({ type: text }, { requiredKeys: [] }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(sent, (tag) => {
        const once = withTagDefaults(tag, 'v1');
        expect(withTagDefaults(once, 'v1')).toEqual(once);
        expect(tagCauses(once, 'tag')).toEqual(tagCauses({ ...tag, name: 'v1' }, 'tag'));
      }),
    );
  });
});

describe('tagCauses', () => {
  const invalid = (field: string, message: string): StatusCause => ({ reason: 'FieldValueInvalid', field, message });
  const required = (field: string, message = 'Required value'): StatusCause => ({
    reason: 'FieldValueRequired',
    field,
    message,
  });
  const digest = `sha256:${'0'.repeat(64)}`;

  test.each<{ name: string; tag: SentTag }>([
    { name: 'no source', tag: {} },
    { name: 'a source that means none', tag: { from: { kind: '', name: '' } } },
    { name: 'an image in a registry', tag: { from: { kind: 'DockerImage', name: 'quay.io/a/b:c' } } },
    { name: 'a registry without a name', tag: { from: { kind: 'DockerImage', name: 'localhost:5000' } } },
    { name: 'a tag of its stream', tag: { from: { kind: 'ImageStreamTag', name: 'v2' } } },
    { name: 'an image of another stream', tag: { from: { kind: 'ImageStreamImage', name: `app@${digest}` } } },
    {
      name: 'a schedule',
      tag: {
        from: { kind: 'DockerImage', name: 'a' },
        importPolicy: { scheduled: true, importMode: 'PreserveOriginal' },
      },
    },
    { name: 'policies that are empty', tag: { importPolicy: { importMode: '' }, referencePolicy: { type: '' } } },
  ])('are none for $name', ({ tag }) => {
    expect(tagCauses({ name: 'v1', ...tag }, 'tag')).toEqual([]);
  });

  test.each<{ name: string; tag: SentTag; causes: readonly StatusCause[] }>([
    {
      name: 'a source without a name',
      tag: { from: { kind: 'DockerImage' } },
      causes: [required('spec.tags[v1].from.name')],
    },
    {
      name: 'a source without a kind',
      tag: { from: { name: 'a' } },
      causes: [
        required(
          'spec.tags[v1].from.kind',
          "Required value: valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'",
        ),
      ],
    },
    {
      name: 'a source of a kind that is none',
      tag: { from: { kind: 'Pod' } },
      causes: [
        required('spec.tags[v1].from.name'),
        required(
          'spec.tags[v1].from.kind',
          "Required value: valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'",
        ),
      ],
    },
    {
      name: 'a pull spec that is none',
      tag: { from: { kind: 'DockerImage', name: 'a b' } },
      causes: [invalid('spec.tags[v1].from.name', 'Invalid value: "a b": invalid reference format')],
    },
    {
      name: 'a pull spec in upper case',
      tag: { from: { kind: 'DockerImage', name: 'quay.io/a/B' } },
      causes: [invalid('spec.tags[v1].from.name', 'Invalid value: "quay.io/a/B": repository name must be lowercase')],
    },
    ...['ImageStreamTag', 'ImageStreamImage'].map((kind) => ({
      name: `a schedule for ${kind}`,
      tag: { from: { kind, name: 'a' }, importPolicy: { scheduled: true } },
      causes: [
        invalid(
          'spec.tags[v1].importPolicy.scheduled',
          'Invalid value: true: only tags pointing to Docker repositories may be scheduled for background import',
        ),
      ],
    })),
    {
      name: 'policies that are none',
      tag: { importPolicy: { importMode: 'legacy' }, referencePolicy: { type: 'Remote' } },
      causes: [
        invalid('spec.tags[v1].referencePolicy.type', 'Invalid value: "Remote": valid values are "Source", "Local"'),
        invalid(
          'spec.tags[v1].importPolicy.importMode',
          `Invalid value: "legacy": invalid import mode, valid modes are '', 'Legacy', 'PreserveOriginal'`,
        ),
      ],
    },
    { name: 'no name', tag: { name: '' }, causes: [required('spec.tags[v1].name')] },
    ...['a/b', 'a:b', 'a@b', 'a\nb', '\u001b[2J', '\u202e', '\ud800'].map((name) => ({
      name: `the name ${JSON.stringify(name)}`,
      tag: { name },
      causes: [
        invalid(
          'spec.tags[v1].name',
          `Invalid value: ${JSON.stringify(name)}: may not contain '/', ':', '@' or control characters`,
        ),
      ],
    })),
    {
      name: 'a name of 254 characters',
      tag: { name: 'a'.repeat(254) },
      causes: [
        {
          reason: 'FieldValueTooLong',
          field: 'spec.tags[v1].name',
          message: 'Too long: may not be more than 253 characters',
        },
      ],
    },
  ])('name $name', ({ tag, causes }) => {
    expect(tagCauses({ name: 'v1', ...tag }, 'spec.tags[v1]')).toEqual(causes);
  });

  test.each(['a'.repeat(253), 'v1 beta', '-', '..', 'ü', '100%'])('take the name %s', (name) => {
    expect(tagCauses({ name }, 'tag')).toEqual([]);
  });

  test('repeat no more than the beginning of a hostile value', () => {
    const text = 'A'.repeat(1_000_000);
    const causes = tagCauses(
      {
        name: text,
        from: { kind: 'DockerImage', name: text },
        importPolicy: { importMode: text },
        referencePolicy: { type: text },
      },
      'tag',
    );
    expect(causes).toHaveLength(4);
    for (const { message } of causes) expect(message.length).toBeLessThan(500);
  });
});

describe('streamCauses', () => {
  const causesOf = (namespace: string, name: string, spec = {}) =>
    streamCauses({ metadata: { namespace, name }, spec });

  test.each(['app', 'a.b', 'a_b', 'a-b', 'a__b', 'a__b__c', 'a--b', '0', 'a'.repeat(250)])(
    'take the name %s',
    (name) => {
      expect(causesOf('team', name)).toEqual([]);
    },
  );

  const rule = 'must match "[a-z0-9]+(?:[._-][a-z0-9]+)*"';
  test.each([
    { name: 'App', rules: [rule] },
    { name: '', rules: [rule] },
    { name: 'a..b', rules: [rule] },
    { name: 'a___b', rules: [rule] },
    { name: '_a', rules: [rule] },
    { name: 'a__', rules: [rule] },
    { name: 'a:b', rules: [rule] },
    { name: '.', rules: [`may not be '.'`] },
    { name: '..', rules: [`may not be '..'`] },
    { name: 'a/b', rules: [`may not contain '/'`] },
    { name: 'a/b%', rules: [`may not contain '/'`, `may not contain '%'`] },
    { name: 'a'.repeat(251), rules: [`'namespace/name' cannot be longer than 255 characters`] },
  ])('refuse the name "$name"', ({ name, rules }) => {
    expect(causesOf('team', name)).toEqual(
      rules.map((text) => ({
        reason: 'FieldValueInvalid',
        field: 'metadata.name',
        message: `Invalid value: ${JSON.stringify(name)}: ${text}`,
      })),
    );
  });

  test.each([
    { text: '', messages: [] },
    { text: 'quay.io/a/b', messages: [] },
    { text: 'quay.io/a/b:v1', messages: ['the repository name may not contain a tag'] },
    { text: `a@sha256:${'0'.repeat(64)}`, messages: ['the repository name may not contain an ID'] },
    {
      text: `a:v1@sha256:${'0'.repeat(64)}`,
      messages: ['the repository name may not contain a tag', 'the repository name may not contain an ID'],
    },
    { text: 'a//b', messages: ['invalid reference format'] },
  ])('say of the repository "$text": $messages', ({ text, messages }) => {
    expect(causesOf('team', 'app', { dockerImageRepository: text })).toEqual(
      messages.map((message) => ({
        reason: 'FieldValueInvalid',
        field: 'spec.dockerImageRepository',
        message: `Invalid value: ${JSON.stringify(text)}: ${message}`,
      })),
    );
  });

  test('gather everything that is wrong with a stream', () => {
    const tags = [
      { name: 'good', from: { kind: 'DockerImage', name: 'a' } },
      { name: 'bad', from: { kind: 'DockerImage', name: 'A' } },
      { name: 'worse', from: { kind: 'ImageStreamTag' }, importPolicy: { scheduled: true } },
    ];
    expect(causesOf('team', 'App', { dockerImageRepository: 'a:b', tags }).map(({ field }) => field)).toEqual([
      'metadata.name',
      'spec.dockerImageRepository',
      'spec.tags[bad].from.name',
      'spec.tags[worse].from.name',
      'spec.tags[worse].importPolicy.scheduled',
    ]);
  });
});

describe('parseTagSource', () => {
  const stream = { namespace: 'team', name: 'app' };

  test.each<{ from: TagSource; expected: object }>([
    {
      from: { kind: 'ImageStreamTag', name: 'v1' },
      expected: { kind: 'tag', namespace: 'team', stream: 'app', tag: 'v1' },
    },
    {
      from: { kind: 'ImageStreamTag', name: 'web__front:v1', namespace: 'other' },
      expected: { kind: 'tag', namespace: 'other', stream: 'web__front', tag: 'v1' },
    },
    {
      from: { kind: 'ImageStreamImage', name: 'sha256:0123' },
      expected: { kind: 'image', namespace: 'team', stream: 'app', id: 'sha256:0123' },
    },
    {
      from: { kind: 'ImageStreamImage', name: 'web@sha256:0123' },
      expected: { kind: 'image', namespace: 'team', stream: 'web', id: 'sha256:0123' },
    },
    { from: { kind: 'DockerImage', name: 'quay.io/a/b:c' }, expected: { kind: 'docker', reference: 'quay.io/a/b:c' } },
    { from: { kind: 'DockerImage', name: 'a', namespace: 'team' }, expected: { kind: 'docker', reference: 'a' } },
  ])('reads $from.kind $from.name', ({ from, expected }) => {
    expect(parseTagSource(from, stream, 'spec.tags[x]')).toEqual(expected);
  });

  test.each<{ from: TagSource }>([
    { from: { kind: 'ImageStreamTag', name: 'a:b:c' } },
    { from: { kind: 'ImageStreamTag', name: ':v1' } },
    { from: { kind: 'ImageStreamTag', name: 'app:' } },
    { from: { kind: 'ImageStreamImage', name: 'a@b@c' } },
    { from: { kind: 'ImageStreamImage', name: 'a@' } },
    { from: { kind: 'DockerImage', name: 'a', namespace: 'other' } },
  ])('refuses $from.kind $from.name', ({ from }) => {
    expect(parseTagSource(from, stream, 'spec.tags[x]')).toEqual({
      kind: 'invalid',
      cause: {
        reason: 'FieldValueInvalid',
        field: 'spec.tags[x].from.name',
        message: `Invalid value: "${from.name}": must be of the form <tag>, <repo>:<tag>, <id>, or <repo>@<id>`,
      },
    });
  });
});

describe('a tag has changed', () => {
  const tag = (from?: Partial<TagSource>, more: Partial<TagReference> = {}): TagReference => ({
    name: 'v1',
    ...(from !== undefined && { from: { kind: 'ImageStreamTag', name: 'other:latest', ...from } }),
    importPolicy: {},
    referencePolicy: { type: 'Source' },
    ...more,
  });

  test.each<{ name: string; old: TagReference | undefined; next: TagReference; expected: boolean }>([
    { name: 'when it is new', old: undefined, next: tag({}), expected: true },
    {
      name: 'when it is new and has a source without a kind',
      old: undefined,
      next: tag({ kind: '' as 'DockerImage' }),
      expected: true,
    },
    { name: 'not when it is new without a source', old: undefined, next: tag(), expected: false },
    { name: 'not when it loses its source', old: tag({}), next: tag(), expected: false },
    {
      name: 'not when its source means none',
      old: tag({}),
      next: tag({ kind: '' as 'DockerImage', name: '' }),
      expected: false,
    },
    { name: 'when it gets a source', old: tag(), next: tag({}), expected: true },
    { name: 'not when it is the same', old: tag({}), next: tag({}), expected: false },
    { name: 'when its source has another name', old: tag({}), next: tag({ name: 'other:1' }), expected: true },
    { name: 'when its source is of another kind', old: tag({}), next: tag({ kind: 'DockerImage' }), expected: true },
    { name: 'when its source is elsewhere', old: tag({}), next: tag({ namespace: 'another' }), expected: true },
    { name: 'when its source is here again', old: tag({ namespace: 'another' }), next: tag({}), expected: true },
    {
      name: 'not when its own namespace is spelled out',
      old: tag({}),
      next: tag({ namespace: 'team' }),
      expected: false,
    },
    { name: 'not when its own namespace is left out', old: tag({ namespace: 'team' }), next: tag({}), expected: false },
    { name: 'when it only refers now', old: tag({}), next: tag({}, { reference: true }), expected: true },
    {
      name: 'not when it still does not only refer',
      old: tag({}),
      next: tag({}, { reference: false }),
      expected: false,
    },
    {
      name: 'when its platforms are kept now',
      old: tag({}),
      next: tag({}, { importPolicy: { importMode: 'PreserveOriginal' } }),
      expected: true,
    },
    {
      name: 'not when the default is spelled out',
      old: tag({}),
      next: tag({}, { importPolicy: { importMode: 'Legacy' } }),
      expected: false,
    },
    {
      name: 'when it is to be looked at again',
      old: tag({}, { generation: 3 }),
      next: tag({}, { generation: 0 }),
      expected: true,
    },
    {
      name: 'not when it was to be looked at already',
      old: tag({}, { generation: 0 }),
      next: tag({}, { generation: 0 }),
      expected: false,
    },
    {
      name: 'not when its generation differs otherwise',
      old: tag({}, { generation: 3 }),
      next: tag({}, { generation: 2 }),
      expected: false,
    },
    { name: 'not when it had no generation', old: tag({}), next: tag({}, { generation: 0 }), expected: false },
    {
      name: 'not for annotations and other policies',
      old: tag({}),
      next: tag(
        {},
        {
          annotations: { a: 'b' },
          importPolicy: { insecure: true, scheduled: true },
          referencePolicy: { type: 'Local' },
        },
      ),
      expected: false,
    },
  ])('$name', ({ old, next, expected }) => {
    expect(isChanged(old, next, 'team')).toBe(expected);
  });
});
