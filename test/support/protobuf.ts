import protobuf from 'protobufjs';
import { protobufMessages } from '../../src/kube/protobuf-messages.js';

const messages = protobuf.parse(protobufMessages, { keepCase: true }).root;
messages.resolveAll();

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * A request body as client-go sends it: every field that is no pointer is there, if only with a length of zero.
 *
 * @param object in its JSON form; kind and apiVersion may be left out
 */
export function encodeProtobuf(kind: string, apiVersion: string, object: object): Buffer {
  const fields = Object.fromEntries(Object.entries(object).filter(([name]) => !['kind', 'apiVersion'].includes(name)));
  const unknown = protobuf.Writer.create();
  unknown.uint32(tagOf(1, 2)).bytes(encodeMessage('TypeMeta', { apiVersion, kind }));
  unknown.uint32(tagOf(2, 2)).bytes(encodeMessage(kind, fields));
  unknown.uint32(tagOf(3, 2)).string('').uint32(tagOf(4, 2)).string('');
  return Buffer.concat([Buffer.from('k8s\0', 'latin1'), unknown.finish()]);
}

function encodeMessage(typeName: string, object: JsonObject): Uint8Array {
  const type = messages.lookupType(typeName);
  const stray = Object.keys(object).find((name) => !Object.hasOwn(type.fields, name));
  if (stray !== undefined) throw new RangeError(`${typeName} has no field ${stray}`);
  const writer = protobuf.Writer.create();
  for (const field of [...type.fieldsArray].sort((a, b) => a.id - b.id)) {
    const value = object[field.name];
    if (field.map) {
      for (const [key, entry] of Object.entries((value ?? {}) as JsonObject).sort()) {
        const pair = protobuf.Writer.create().uint32(tagOf(1, 2)).string(key);
        writeValue(pair, 2, field.type, entry);
        writer.uint32(tagOf(field.id, 2)).bytes(pair.finish());
      }
    } else if (field.repeated) {
      for (const item of (value ?? []) as readonly unknown[]) writeValue(writer, field.id, field.type, item);
    } else if (value !== undefined || field.partOf === null) {
      writeValue(writer, field.id, field.type, value);
    }
  }
  return writer.finish();
}

function writeValue(writer: protobuf.Writer, id: number, type: string, value: unknown): void {
  switch (type) {
    case 'string':
      writer.uint32(tagOf(id, 2)).string((value ?? '') as string);
      return;
    case 'bytes':
      writer.uint32(tagOf(id, 2)).bytes(Buffer.from((value ?? '') as string, 'base64'));
      return;
    case 'bool':
      writer.uint32(tagOf(id, 0)).bool((value ?? false) as boolean);
      return;
    case 'int32':
    case 'int64':
      writer.uint32(tagOf(id, 0)).int64((value ?? 0) as number);
      return;
    default:
      writer.uint32(tagOf(id, 2)).bytes(encodeMessageValue(type, value));
  }
}

function encodeMessageValue(type: string, value: unknown): Uint8Array {
  switch (type) {
    case 'Time':
    case 'MicroTime': {
      if (value === undefined) return new Uint8Array();
      const [, second, fraction = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(value as string)!;
      const seconds = Date.parse(`${second!}Z`) / 1000;
      return encodeMessage(type, { seconds, nanos: Number(fraction.padEnd(9, '0')) });
    }
    case 'Quantity':
      return encodeMessage(type, { string: value });
    case 'ExtraValue':
      return encodeMessage(type, { items: value });
    default:
      return encodeMessage(type, (value ?? {}) as JsonObject);
  }
}

function tagOf(fieldNumber: number, wireType: number): number {
  return (fieldNumber << 3) | wireType;
}
