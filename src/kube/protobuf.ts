import protobuf from 'protobufjs';
import { protobufMessages } from './protobuf-messages.js';

/** A body in protobuf that is malformed or holds a kind that is not read; the message says where and what. */
export class ProtobufError extends Error {
  override readonly name = 'ProtobufError';
}

/** An object as its JSON form has it: times in RFC 3339, bytes in base64, whatever is empty left out. */
export interface ProtobufObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** "k8s" and a zero: what tells a Kubernetes body from any other protobuf (runtime/serializer/protobuf). */
const magic = Buffer.from('k8s\0', 'latin1');

/** The kinds that are read. The same kind of another group or version may be laid out differently. */
const apiVersions: Readonly<Record<string, string>> = {
  ClusterRole: 'rbac.authorization.k8s.io/v1',
  ClusterRoleBinding: 'rbac.authorization.k8s.io/v1',
  ConfigMap: 'v1',
  Event: 'v1',
  LimitRange: 'v1',
  LocalSubjectAccessReview: 'authorization.k8s.io/v1',
  Namespace: 'v1',
  ResourceQuota: 'v1',
  Role: 'rbac.authorization.k8s.io/v1',
  RoleBinding: 'rbac.authorization.k8s.io/v1',
  Secret: 'v1',
  SelfSubjectAccessReview: 'authorization.k8s.io/v1',
  SelfSubjectReview: 'authentication.k8s.io/v1',
  SelfSubjectRulesReview: 'authorization.k8s.io/v1',
  ServiceAccount: 'v1',
  SubjectAccessReview: 'authorization.k8s.io/v1',
  TokenRequest: 'authentication.k8s.io/v1',
  TokenReview: 'authentication.k8s.io/v1',
};

const messages = protobuf.parse(protobufMessages, { keepCase: true }).root;
messages.resolveAll();

/** Whether a Content-Type header announces a body for {@link decodeProtobuf}. */
export function isProtobuf(contentType: string): boolean {
  return /^\s*application\/vnd\.kubernetes\.protobuf\s*(;|$)/i.test(contentType);
}

/**
 * Reads a request body of type `application/vnd.kubernetes.protobuf` into what the same body would be in JSON. client-go
 * writes every field that is no pointer; those that are empty are left out of the result, `metadata` among them.
 * metadata.managedFields is left out always.
 *
 * @throws {ProtobufError} when it is malformed, or its kind is none of those that are read
 */
export function decodeProtobuf(body: Buffer): ProtobufObject {
  if (!body.subarray(0, magic.length).equals(magic)) {
    throw new ProtobufError('the body is no Kubernetes protobuf: expected it to begin with 6b 38 73 00');
  }
  const { apiVersion, kind, raw } = readEnvelope(body.subarray(magic.length));
  // The kind of DeleteOptions goes with the group and version of what is to be deleted.
  if (kind !== 'DeleteOptions' && !(Object.hasOwn(apiVersions, kind) && apiVersions[kind] === apiVersion)) {
    throw new ProtobufError(
      `kind "${shortened(kind)}" of "${shortened(apiVersion)}" is not read as protobuf; send it as JSON`,
    );
  }
  return { apiVersion, kind, ...readObject(messages.lookupType(kind), protobuf.Reader.create(raw), kind) };
}

interface Envelope {
  readonly apiVersion: string;
  readonly kind: string;
  /** The object itself. */
  readonly raw: Uint8Array;
}

/** runtime.Unknown */
function readEnvelope(bytes: Uint8Array): Envelope {
  const typeMeta: JsonObject = {};
  let raw: Uint8Array = new Uint8Array();
  const reader = protobuf.Reader.create(bytes);
  readFields(messages.lookupType('Unknown'), reader, 'Unknown', (field, path) => {
    if (field.name === 'typeMeta') readValue(field, reader, path, typeMeta);
    else if (field.name === 'raw') raw = reader.bytes();
    // Neither is set by client-go, where raw is protobuf and not compressed.
    else if (reader.bytes().length > 0) throw new ProtobufError(`${path}: expected it to be empty`);
  });
  return { apiVersion: stringOf(typeMeta['apiVersion']), kind: stringOf(typeMeta['kind']), raw };
}

function stringOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

type JsonObject = Record<string, unknown>;

/**
 * Reads a message that goes on to the end of the reader.
 *
 * @param object takes the fields: a message that is sent in several parts is the union of them
 */
function readObject(type: protobuf.Type, reader: protobuf.Reader, path: string, object: JsonObject = {}): JsonObject {
  readFields(type, reader, path, (field, fieldPath) => {
    const before = object[field.name];
    if (field.map) {
      object[field.name] = readMapEntry(field, reader, fieldPath, (before ?? {}) as JsonObject);
    } else if (field.repeated) {
      const list = (before ?? []) as unknown[];
      list.push(readValue(field, reader, fieldPath));
      object[field.name] = list;
    } else {
      const value = readValue(field, reader, fieldPath, before);
      const isAbsent = value === undefined || (isEmpty(value) && !isPointer(field));
      if (isAbsent) Reflect.deleteProperty(object, field.name);
      else object[field.name] = value;
    }
  });
  return object;
}

/** Such a field says something by being there, even if it is empty. */
function isPointer(field: protobuf.Field): boolean {
  // The compiler of Protocol Buffers puts each `optional` field of proto3 in a oneof of its own.
  return field.partOf !== null;
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === '' || value === 0 || value === false;
}

function readMapEntry(field: protobuf.Field, reader: protobuf.Reader, path: string, map: JsonObject): JsonObject {
  let key = '';
  let value: unknown;
  withinMessage(reader, () => {
    readTags(reader, path, (number, wireType) => {
      if (number === 1) {
        expectWireType(2, wireType, `${path} key`);
        key = reader.stringVerify();
      } else if (number === 2) {
        const valuePath = `${path}[${shortened(key)}]`;
        expectWireType(wireTypeOf(field), wireType, valuePath);
        value = readValue(field, reader, valuePath);
      } else reader.skipType(wireType, 0, number);
    });
  });
  value ??= emptyValueOf(field);
  // With this one name an assignment would do something else.
  if (key === '__proto__') {
    Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
  } else map[key] = value;
  return map;
}

/** What a map entry without a value stands for. */
function emptyValueOf(field: protobuf.Field): unknown {
  if (field.type === 'ExtraValue') return [];
  return field.type === 'Quantity' ? '0' : '';
}

function readValue(field: protobuf.Field, reader: protobuf.Reader, path: string, before?: unknown): unknown {
  switch (field.type) {
    case 'string':
      return reader.stringVerify();
    case 'bytes':
      return Buffer.from(reader.bytes()).toString('base64');
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return numberOf(reader.int64());
    default:
      return withinMessage(reader, () => readMessage(field.resolvedType as protobuf.Type, reader, path, before));
  }
}

function readMessage(type: protobuf.Type, reader: protobuf.Reader, path: string, before: unknown): unknown {
  switch (type.name) {
    case 'Time':
      return readTime(type, reader, path)?.replace(/\.\d+Z$/, 'Z');
    case 'MicroTime':
      return readTime(type, reader, path);
    case 'Quantity':
      return readObject(type, reader, path)['string'] ?? '0';
    case 'ExtraValue':
      return readObject(type, reader, path)['items'] ?? [];
    default:
      return readObject(type, reader, path, (before ?? {}) as JsonObject);
  }
}

/** Beyond 2^53 it is the nearest one, as in JSON. */
function numberOf({ high, low }: { readonly high: number; readonly low: number }): number {
  return high * 2 ** 32 + (low >>> 0);
}

/** RFC 3339 with microseconds. The zero time of Go is an empty message, and no time at all. */
function readTime(type: protobuf.Type, reader: protobuf.Reader, path: string): string | undefined {
  if (reader.pos === reader.len) return undefined;
  const { seconds = 0, nanos = 0 } = readObject(type, reader, path) as {
    readonly seconds?: number;
    readonly nanos?: number;
  };
  // The years 1 to 9999, which is what RFC 3339 can say.
  if (seconds < -62_135_596_800 || seconds > 253_402_300_799 || nanos < 0 || nanos > 999_999_999) {
    throw new ProtobufError(`${path}: ${seconds} s and ${nanos} ns are no time from the year 1 to 9999`);
  }
  const micros = String(Math.floor(nanos / 1000)).padStart(6, '0');
  return new Date(seconds * 1000).toISOString().replace(/\.000Z$/, `.${micros}Z`);
}

/** Has a message read that is preceded by its length: for so long the reader ends where the message does. */
function withinMessage<T>(reader: protobuf.Reader, read: () => T): T {
  const length = reader.size();
  const outerEnd = reader.len;
  const end = reader.pos + length;
  if (end > outerEnd) throw new RangeError(`${length} bytes where ${outerEnd - reader.pos} are left`);
  reader.len = end;
  const result = read();
  reader.len = outerEnd;
  return result;
}

/** Hands over the fields of a message in the order in which they were sent; unknown ones are skipped. */
function readFields(
  type: protobuf.Type,
  reader: protobuf.Reader,
  path: string,
  take: (field: protobuf.Field, path: string) => void,
): void {
  readTags(reader, path, (number, wireType) => {
    const field = type.fieldsById[number];
    if (field === undefined) {
      reader.skipType(wireType, 0, number);
      return;
    }
    const fieldPath = `${path}.${field.name}`;
    expectWireType(wireTypeOf(field), wireType, fieldPath);
    take(field, fieldPath);
  });
}

function readTags(reader: protobuf.Reader, path: string, take: (fieldNumber: number, wireType: number) => void): void {
  try {
    while (reader.pos < reader.len) {
      const tag = reader.tag();
      take(tag >>> 3, tag & 7);
    }
  } catch (error) {
    if (error instanceof ProtobufError) throw error;
    throw new ProtobufError(`${path}: the message breaks off or is garbled`, { cause: error });
  }
}

/** 0 for a number, 2 for what is preceded by its length. */
function wireTypeOf(field: protobuf.Field): number {
  return field.type === 'bool' || field.type === 'int32' || field.type === 'int64' ? 0 : 2;
}

function expectWireType(expected: number, found: number, path: string): void {
  if (found !== expected) throw new ProtobufError(`${path}: wire type ${found} where ${expected} was expected`);
}

/** What a client sent, cut to a length that suits a message. */
function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
