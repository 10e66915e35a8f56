import { describe, expect, test } from 'vitest';
import { decodeProtobuf, isProtobuf, ProtobufError } from '../../src/kube/protobuf.js';
import { encodeProtobuf } from '../support/protobuf.js';
import { clientGoBodies } from './client-go-bodies.js';

/** Bytes from hexadecimal digits; what follows a # on a line says what they are. */
function bytes(text: string): Buffer {
  return Buffer.from(text.replace(/#.*|\s/g, ''), 'hex');
}

/** A body around the bytes of an object; both are shorter than 128 bytes. */
function bodyOf(kind: string, apiVersion: string, object: string): Buffer {
  const field = (tag: number, content: Buffer) => Buffer.concat([Buffer.of(tag, content.length), content]);
  const typeMeta = Buffer.concat([field(0x0a, Buffer.from(apiVersion)), field(0x12, Buffer.from(kind))]);
  return Buffer.concat([bytes('6b 38 73 00'), field(0x0a, typeMeta), field(0x12, bytes(object))]);
}

test.each([
  { contentType: 'application/vnd.kubernetes.protobuf', expected: true },
  { contentType: 'Application/Vnd.Kubernetes.Protobuf', expected: true },
  { contentType: 'application/vnd.kubernetes.protobuf; charset=utf-8', expected: true },
  { contentType: 'application/vnd.kubernetes.protobuf ;stream=watch', expected: true },
  { contentType: 'application/vnd.kubernetes.protobuf2', expected: false },
  { contentType: 'application/x-protobuf', expected: false },
  { contentType: 'application/json', expected: false },
  { contentType: 'text/plain; a=application/vnd.kubernetes.protobuf', expected: false },
  { contentType: '', expected: false },
])('"$contentType" is Kubernetes protobuf: $expected', ({ contentType, expected }) => {
  expect(isProtobuf(contentType)).toBe(expected);
});

describe('decodeProtobuf reads', () => {
  test('a namespace, and nothing of what is empty in it', () => {
    const body = bytes(`
      6b 38 73 00
      0a 0f                               # typeMeta
        0a 02 76 31                       # apiVersion v1
        12 09 4e 61 6d 65 73 70 61 63 65  # kind Namespace
      12 1c                               # raw
        0a 14                             # metadata
          0a 04 64 65 6d 6f               # name demo
          12 00 1a 00 22 00 2a 00 32 00   # generateName, namespace, selfLink, uid, resourceVersion
          38 00                           # generation
          42 00                           # creationTimestamp
        12 00                             # spec
        1a 02 0a 00                       # status with a phase
      1a 00 22 00                         # contentEncoding, contentType`);
    expect(decodeProtobuf(body)).toEqual({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo' } });
  });

  test('a role for the core group, whose name is empty', () => {
    const body = bytes(`
      6b 38 73 00
      0a 24
        0a 1c 72 62 61 63 2e 61 75 74 68 6f 72 69 7a 61 74 69 6f 6e   # rbac.authorization
              2e 6b 38 73 2e 69 6f 2f 76 31                           # .k8s.io/v1
        12 04 52 6f 6c 65                                             # Role
      12 14
        0a 03 0a 01 72                                                # metadata.name r
        12 0d                                                         # rules
          0a 03 67 65 74                                              # verbs get
          12 00                                                       # apiGroups ""
          1a 04 70 6f 64 73                                           # resources pods`);
    expect(decodeProtobuf(body)).toEqual({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'r' },
      rules: [{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }],
    });
  });

  test('a service account that says no', () => {
    const body = bytes(`
      6b 38 73 00
      0a 14
        0a 02 76 31
        12 0e 53 65 72 76 69 63 65 41 63 63 6f 75 6e 74
      12 15
        0a 07 0a 05 72 6f 62 6f 74        # metadata.name robot
        12 03 1a 01 73                    # secrets, of which one is named s
        1a 03 0a 01 70                    # imagePullSecrets, of which one is named p
        20 00                             # automountServiceAccountToken false`);
    expect(decodeProtobuf(body)).toEqual({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'robot' },
      secrets: [{ name: 's' }],
      imagePullSecrets: [{ name: 'p' }],
      automountServiceAccountToken: false,
    });
  });

  test('a secret with bytes and a time', () => {
    const object = `
      0a 0a
        42 08 08 a5 eb dc ca 06 10 00     # metadata.creationTimestamp, 1767323045 s
      12 09
        0a 01 6b 12 04 00 ff 10 80        # data k, four bytes
      1a 06 4f 70 61 71 75 65             # type Opaque
      28 01                               # immutable`;
    expect(decodeProtobuf(bodyOf('Secret', 'v1', object))).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { creationTimestamp: '2026-01-02T03:04:05Z' },
      data: { k: 'AP8QgA==' },
      type: 'Opaque',
      immutable: true,
    });
  });

  test('options of a deletion, whatever its group', () => {
    const object = '08 00 18 00 22 0a 42 61 63 6b 67 72 6f 75 6e 64 2a 03 41 6c 6c';
    expect(decodeProtobuf(bodyOf('DeleteOptions', 'example.com/v7', object))).toEqual({
      apiVersion: 'example.com/v7',
      kind: 'DeleteOptions',
      gracePeriodSeconds: 0,
      orphanDependents: false,
      propagationPolicy: 'Background',
      dryRun: ['All'],
    });
  });

  test.each(clientGoBodies)('what client-go sends: $name', ({ hex, object }) => {
    expect(decodeProtobuf(Buffer.from(hex, 'hex'))).toEqual(object);
  });

  const details: readonly {
    readonly name: string;
    readonly kind: string;
    readonly object: string;
    readonly expected: object;
  }[] = [
    { name: 'an object without anything', kind: 'ConfigMap', object: '', expected: {} },
    { name: 'a map entry without a value', kind: 'ConfigMap', object: '12 03 0a 01 6b', expected: { data: { k: '' } } },
    { name: 'a map entry without a key', kind: 'ConfigMap', object: '12 03 12 01 76', expected: { data: { '': 'v' } } },
    { name: 'bytes without a value', kind: 'Secret', object: '12 03 0a 01 6b', expected: { data: { k: '' } } },
    {
      name: 'a quantity without a value',
      kind: 'ResourceQuota',
      object: '12 05 0a 03 0a 01 6b',
      expected: { spec: { hard: { k: '0' } } },
    },
    {
      name: 'a list without a value',
      kind: 'SubjectAccessReview',
      object: '12 05 2a 03 0a 01 6b',
      expected: { spec: { extra: { k: [] } } },
    },
    {
      name: 'the later of two values for a key',
      kind: 'ConfigMap',
      object: '12 06 0a 01 6b 12 01 76 12 06 0a 01 6b 12 01 77',
      expected: { data: { k: 'w' } },
    },
    {
      name: 'the later of two values for a field, though it is empty',
      kind: 'Secret',
      object: '1a 01 61 1a 00',
      expected: {},
    },
    {
      name: 'a message in two parts',
      kind: 'ConfigMap',
      object: '0a 03 0a 01 61 0a 03 1a 01 62',
      expected: { metadata: { name: 'a', namespace: 'b' } },
    },
    {
      name: 'a message of which the second part is empty',
      kind: 'ConfigMap',
      object: '0a 03 0a 01 61 0a 00',
      expected: { metadata: { name: 'a' } },
    },
    {
      name: 'fields that are not known, of every wire type',
      kind: 'ConfigMap',
      object: 'a0 06 01 a1 06 00 00 00 00 00 00 00 00 a2 06 01 00 a3 06 08 01 a4 06 a5 06 00 00 00 00 20 00',
      expected: { immutable: false },
    },
    {
      name: 'the epoch, which is a time',
      kind: 'ConfigMap',
      object: '0a 06 42 04 08 00 10 00',
      expected: { metadata: { creationTimestamp: '1970-01-01T00:00:00Z' } },
    },
    {
      name: 'a time without seconds',
      kind: 'ConfigMap',
      object: '0a 04 42 02 10 01',
      expected: { metadata: { creationTimestamp: '1970-01-01T00:00:00Z' } },
    },
    {
      name: 'a time before the epoch',
      kind: 'ConfigMap',
      object: '0a 0d 42 0b 08 ff ff ff ff ff ff ff ff ff 01',
      expected: { metadata: { creationTimestamp: '1969-12-31T23:59:59Z' } },
    },
    {
      name: 'the last second of the year 9999',
      kind: 'ConfigMap',
      object: '0a 09 42 07 08 ff 82 d1 ff af 07',
      expected: { metadata: { creationTimestamp: '9999-12-31T23:59:59Z' } },
    },
    {
      name: 'a pointer to no time',
      kind: 'ConfigMap',
      object: '0a 02 4a 00',
      expected: {},
    },
    {
      name: '2^40',
      kind: 'ConfigMap',
      object: '0a 07 38 80 80 80 80 80 20',
      expected: { metadata: { generation: 1_099_511_627_776 } },
    },
    {
      name: 'a negative number of 64 bits',
      kind: 'DeleteOptions',
      object: '08 fe ff ff ff ff ff ff ff ff 01',
      expected: { gracePeriodSeconds: -2 },
    },
    {
      name: 'a negative number of 32 bits',
      kind: 'Event',
      object: '40 fe ff ff ff ff ff ff ff ff 01',
      expected: { count: -2 },
    },
  ];
  test.each(details)('$name', ({ kind, object, expected }) => {
    const apiVersion = kind === 'SubjectAccessReview' ? 'authorization.k8s.io/v1' : 'v1';
    expect(decodeProtobuf(bodyOf(kind, apiVersion, object))).toEqual({ apiVersion, kind, ...expected });
  });

  test('a key that every object in JavaScript has', () => {
    const object = '12 0e 0a 09 5f 5f 70 72 6f 74 6f 5f 5f 12 01 76 12 05 0a 03 6b 65 79';
    const { data } = decodeProtobuf(bodyOf('ConfigMap', 'v1', object));
    expect(Object.entries(data as object)).toEqual([
      ['__proto__', 'v'],
      ['key', ''],
    ]);
  });
});

describe('decodeProtobuf refuses', () => {
  const garbled = 'the message breaks off or is garbled';

  test.each([
    { name: 'nothing', body: Buffer.of(), message: 'expected it to begin with 6b 38 73 00' },
    { name: 'a part of the magic bytes', body: bytes('6b 38 73'), message: 'expected it to begin with 6b 38 73 00' },
    { name: 'other magic bytes', body: bytes('6b 38 73 01 0a 00'), message: 'the body is no Kubernetes protobuf' },
    { name: 'JSON', body: Buffer.from('{"kind":"Role"}'), message: 'the body is no Kubernetes protobuf' },
    { name: 'the magic bytes alone', body: bytes('6b 38 73 00'), message: 'kind "" of "" is not read as protobuf' },
    { name: 'a type that breaks off', body: bytes('6b 38 73 00 0a 0f 0a'), message: `Unknown: ${garbled}` },
    { name: 'a type that is a number', body: bytes('6b 38 73 00 08 01'), message: 'Unknown.typeMeta: wire type 0' },
    { name: 'an object that is a number', body: bytes('6b 38 73 00 10 01'), message: 'Unknown.raw: wire type 0' },
    {
      name: 'a compressed object',
      body: Buffer.concat([bodyOf('Secret', 'v1', ''), bytes('1a 04 67 7a 69 70')]),
      message: 'Unknown.contentEncoding: expected it to be empty',
    },
    {
      name: 'an object in JSON',
      body: Buffer.concat([bodyOf('Secret', 'v1', ''), bytes('22 04 6a 73 6f 6e')]),
      message: 'Unknown.contentType: expected it to be empty',
    },
  ])('$name', ({ body, message }) => {
    expect(() => decodeProtobuf(body)).toThrow(ProtobufError);
    expect(() => decodeProtobuf(body)).toThrow(message);
  });

  test.each([
    { kind: 'Pod', apiVersion: 'v1' },
    { kind: 'Role', apiVersion: 'v1' },
    { kind: 'Role', apiVersion: 'authorization.openshift.io/v1' },
    { kind: 'Event', apiVersion: 'events.k8s.io/v1' },
    { kind: 'ObjectMeta', apiVersion: 'v1' },
    { kind: 'Unknown', apiVersion: 'v1' },
    { kind: 'constructor', apiVersion: 'v1' },
    { kind: '__proto__', apiVersion: 'v1' },
    { kind: '', apiVersion: 'v1' },
  ])('kind "$kind" of $apiVersion', ({ kind, apiVersion }) => {
    expect(() => decodeProtobuf(bodyOf(kind, apiVersion, ''))).toThrow(ProtobufError);
    expect(() => decodeProtobuf(bodyOf(kind, apiVersion, ''))).toThrow(
      `kind "${kind}" of "${apiVersion}" is not read as protobuf; send it as JSON`,
    );
  });

  test.each([
    {
      name: 'a number for a text',
      object: '0a 02 08 01',
      message: 'ConfigMap.metadata.name: wire type 0 where 2 was expected',
    },
    { name: 'a text for a yes or no', object: '22 01 00', message: 'ConfigMap.immutable: wire type 2 where 0 was' },
    { name: 'a number for a message', object: '08 01', message: 'ConfigMap.metadata: wire type 0 where 2 was' },
    { name: 'a number for a map entry', object: '10 01', message: 'ConfigMap.data: wire type 0 where 2 was' },
    { name: 'a number for a key', object: '12 02 08 01', message: 'ConfigMap.data key: wire type 0 where 2 was' },
    { name: 'a number for a value', object: '12 05 0a 01 6b 10 01', message: 'ConfigMap.data[k]: wire type 0 where 2' },
    { name: 'a text for a number', object: '0a 02 3a 00', message: 'ConfigMap.metadata.generation: wire type 2' },
    { name: 'a message that breaks off', object: '0a 05 0a', message: `ConfigMap: ${garbled}` },
    {
      name: 'a text that leaves its message',
      object: '0a 03 0a 05 61 61 61',
      message: `ConfigMap.metadata: ${garbled}`,
    },
    { name: 'a key that leaves its entry', object: '12 02 0a 05 61 61 61', message: `ConfigMap.data: ${garbled}` },
    { name: 'a field without a value', object: '20', message: `ConfigMap: ${garbled}` },
    { name: 'a tag that breaks off', object: '80', message: `ConfigMap: ${garbled}` },
    { name: 'a length of ten bytes', object: '0a ff ff ff ff ff ff ff ff ff 01', message: `ConfigMap: ${garbled}` },
    {
      name: 'a number that does not end',
      object: '20 ff ff ff ff ff ff ff ff ff ff ff',
      message: `ConfigMap: ${garbled}`,
    },
    { name: 'a text that is no UTF-8', object: '0a 03 0a 01 ff', message: `ConfigMap.metadata: ${garbled}` },
    { name: 'a key that is no UTF-8', object: '12 03 0a 01 ff', message: `ConfigMap.data: ${garbled}` },
    { name: 'field number 0', object: '00 00', message: `ConfigMap: ${garbled}` },
    { name: 'a wire type that is none', object: 'a6 06', message: `ConfigMap: ${garbled}` },
    { name: 'the end of a group that did not begin', object: 'a4 06', message: `ConfigMap: ${garbled}` },
    { name: 'a group that does not end', object: 'a3 06 08 01', message: `ConfigMap: ${garbled}` },
    {
      name: 'the year 10000',
      object: '0a 09 42 07 08 80 83 d1 ff af 07',
      message: 'ConfigMap.metadata.creationTimestamp: 253402300800 s and 0 ns are no time from the year 1 to 9999',
    },
    {
      name: 'a negative fraction of a second',
      object: '0a 0d 42 0b 10 ff ff ff ff ff ff ff ff ff 01',
      message: 'ConfigMap.metadata.creationTimestamp: 0 s and -1 ns are no time',
    },
  ])('$name', ({ object, message }) => {
    expect(() => decodeProtobuf(bodyOf('ConfigMap', 'v1', object))).toThrow(ProtobufError);
    expect(() => decodeProtobuf(bodyOf('ConfigMap', 'v1', object))).toThrow(message);
  });

  test('groups in groups without an end', () => {
    const object = Buffer.alloc(2_000_000, bytes('a3 06'));
    const raw = Buffer.concat([bytes('12 80 89 7a'), object]);
    const body = Buffer.concat([bodyOf('ConfigMap', 'v1', ''), raw]);
    expect(() => decodeProtobuf(body)).toThrow(`ConfigMap: ${garbled}`);
  });

  test('a long name of a kind, and repeats only its beginning', () => {
    const body = Buffer.concat([bytes('6b 38 73 00 0a eb 07 12 e8 07'), Buffer.alloc(1000, 'a')]);
    expect(() => decodeProtobuf(body)).toThrow(/^kind "a{100}\.\.\." of "" is not read/);
  });
});

describe('whatever is done to a body of client-go', () => {
  /** Undefined when the body is read after all. */
  function failureOf(body: Buffer): unknown {
    try {
      decodeProtobuf(body);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  test.each(clientGoBodies)('$name: it is read or refused', ({ hex }) => {
    const body = Buffer.from(hex, 'hex');
    const failures: unknown[] = [];
    for (const position of body.keys()) {
      failures.push(failureOf(body.subarray(0, position)));
      for (const byte of [0x00, 0xff, body[position]! ^ 1, body[position]! ^ 0x80]) {
        const changed = Buffer.from(body);
        changed[position] = byte;
        failures.push(failureOf(changed));
      }
    }
    const refused = failures.filter((failure) => failure !== undefined);
    expect(refused.length).toBeGreaterThan(10);
    expect(refused.filter((failure) => !(failure instanceof ProtobufError))).toEqual([]);
  });
});

describe('encodeProtobuf', () => {
  // What is not read cannot be written.
  const whole = clientGoBodies.filter(({ name }) => name !== 'Namespace with all of its metadata');

  test.each(whole)('writes what client-go sends: $name', ({ hex, object }) => {
    expect(encodeProtobuf(object.kind, object.apiVersion, object).toString('hex')).toBe(hex);
  });

  test('refuses what the kind does not have', () => {
    expect(() => encodeProtobuf('Secret', 'v1', { spec: {} })).toThrow('Secret has no field spec');
  });
});
