import {
  cloneJson,
  deepEqual,
  isDeeperThan,
  isJsonArray,
  isJsonObject,
  memberOf,
  type JsonObject,
  type JsonValue,
  type MutableJsonObject,
  type MutableJsonValue,
} from './json.js';
import { PatchError } from './patch-error.js';

/** As many as a Kubernetes API server takes. */
const maxOperations = 10_000;

/** Of the JSON of the result, and of all that the copy operations of one patch copy. */
const maxBytes = 8 * 1024 * 1024;

/** Elements that adding to and removing from the front of arrays may move, all operations taken together. */
const maxShiftedElements = 500_000_000;

type Pointer = readonly string[];

type Operation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: Pointer; readonly value: JsonValue }
  | { readonly op: 'remove'; readonly path: Pointer }
  | { readonly op: 'move' | 'copy'; readonly path: Pointer; readonly from: Pointer };

/**
 * Applies a JSON patch (RFC 6902), all of it or, when it throws, nothing. Changes neither argument and shares nothing
 * with them.
 *
 * @param maxDepth levels of arrays and objects that the result may have
 * @throws {PatchError} malformed when it is no JSON patch, or one of more than 10,000 operations
 * @throws {PatchError} unprocessable when a test fails, a place is missing, or the result is no object or too large
 */
export function applyJsonPatch(target: JsonObject, patch: JsonValue, maxDepth: number): JsonObject {
  const operations = parseJsonPatch(patch);
  const document = new PatchedDocument(target, maxDepth);
  operations.forEach((operation, index) => {
    try {
      document.apply(operation);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      throw new PatchError(error.kind, `operation ${index} (${operation.op}): ${error.message}`);
    }
  });
  return document.finish();
}

/** A copy of a document while operations are applied to it. */
class PatchedDocument {
  /** The document is a member of this, so that the whole of it is added, removed and replaced like any of its parts. */
  readonly #holder: MutableJsonObject;
  readonly #maxDepth: number;
  #copiedBytes = 0;
  #shiftedElements = 0;

  constructor(target: JsonObject, maxDepth: number) {
    this.#holder = { document: cloneJson(target) };
    this.#maxDepth = maxDepth;
  }

  apply(operation: Operation): void {
    switch (operation.op) {
      case 'add':
        this.#add(operation.path, cloneJson(operation.value));
        return;
      case 'remove':
        this.#remove(operation.path);
        return;
      case 'replace':
        this.#replace(operation.path, cloneJson(operation.value));
        return;
      case 'move':
        this.#add(operation.path, this.#remove(operation.from));
        return;
      case 'copy':
        this.#add(operation.path, this.#copy(operation.from));
        return;
      case 'test':
        if (!deepEqual(operation.value, this.#get(operation.path))) {
          throw new PatchError('unprocessable', `"${formatPointer(operation.path)}" is not equal to the value given`);
        }
    }
  }

  finish(): JsonObject {
    const document = memberOf(this.#holder, 'document');
    if (!isJsonObject(document)) throw new PatchError('unprocessable', 'what the patch leaves is not an object');
    this.#checkDepth(document);
    if (byteLength(document) > maxBytes) {
      throw new PatchError('unprocessable', `what the patch leaves is larger than ${maxBytes} bytes`);
    }
    return document;
  }

  #get(path: Pointer): MutableJsonValue {
    let value: MutableJsonValue = this.#holder;
    for (const token of ['document', ...path]) {
      const next: MutableJsonValue | undefined = isJsonArray(value)
        ? value[parseIndex(token) ?? value.length]
        : isJsonObject(value)
          ? memberOf(value, token)
          : undefined;
      if (next === undefined) throw missing(path);
      value = next;
    }
    return value;
  }

  /** The array or object that holds what the pointer points at, and its name or index there. */
  #parentOf(path: Pointer): { readonly parent: MutableJsonValue; readonly token: string } {
    const token = path.at(-1);
    if (token === undefined) return { parent: this.#holder, token: 'document' };
    return { parent: this.#get(path.slice(0, -1)), token };
  }

  #add(path: Pointer, value: MutableJsonValue): void {
    const { parent, token } = this.#parentOf(path);
    if (isJsonObject(parent)) {
      setMember(parent, token, value);
      return;
    }
    if (!isJsonArray(parent)) throw missing(path);
    const index = token === '-' ? parent.length : parseIndex(token);
    if (index === undefined || index > parent.length) throw missing(path);
    this.#shift(parent.length - index);
    parent.splice(index, 0, value);
  }

  #replace(path: Pointer, value: MutableJsonValue): void {
    const { parent, token } = this.#parentOf(path);
    if (isJsonArray(parent)) {
      const index = parseIndex(token);
      if (index === undefined || index >= parent.length) throw missing(path);
      parent[index] = value;
    } else {
      if (!isJsonObject(parent) || !Object.hasOwn(parent, token)) throw missing(path);
      setMember(parent, token, value);
    }
  }

  /** @returns what was there */
  #remove(path: Pointer): MutableJsonValue {
    const removed = this.#get(path);
    const { parent, token } = this.#parentOf(path);
    if (isJsonArray(parent)) {
      const index = Number(token);
      this.#shift(parent.length - index);
      parent.splice(index, 1);
    } else if (isJsonObject(parent)) {
      Reflect.deleteProperty(parent, token);
    }
    return removed;
  }

  /** Copies of copies grow like powers of two, and a patch of few bytes could fill the memory: what is copied is counted. */
  #copy(from: Pointer): MutableJsonValue {
    const original = this.#get(from);
    this.#checkDepth(original);
    this.#copiedBytes += byteLength(original);
    if (this.#copiedBytes > maxBytes) {
      throw new PatchError('unprocessable', `the patch copies more than ${maxBytes} bytes`);
    }
    return cloneJson(original);
  }

  /** Everything else runs on one thread with this, and must not wait for a long array moved a thousand times. */
  #shift(elements: number): void {
    this.#shiftedElements += elements;
    if (this.#shiftedElements > maxShiftedElements) {
      throw new PatchError('unprocessable', 'the patch adds and removes too often near the front of a long array');
    }
  }

  #checkDepth(value: JsonValue): void {
    if (isDeeperThan(this.#maxDepth, value)) {
      throw new PatchError('unprocessable', `a value would be nested more than ${this.#maxDepth} levels deep`);
    }
  }
}

function parseJsonPatch(patch: JsonValue): readonly Operation[] {
  if (!isJsonArray(patch)) throw new PatchError('malformed', 'a JSON patch is an array of operations');
  if (patch.length > maxOperations) {
    throw new PatchError('malformed', `a JSON patch has at most ${maxOperations} operations, this one ${patch.length}`);
  }
  return patch.map(parseOperation);
}

function parseOperation(operation: JsonValue, index: number): Operation {
  if (!isJsonObject(operation)) throw new PatchError('malformed', `operation ${index} is not an object`);
  const path = parsePointer(memberOf(operation, 'path'), 'path', index);
  const op = memberOf(operation, 'op');
  if (op === 'remove') return { op, path };
  if (op === 'add' || op === 'replace' || op === 'test') {
    const value = memberOf(operation, 'value');
    if (value === undefined) throw new PatchError('malformed', `operation ${index} (${op}): value is missing`);
    return { op, path, value };
  }
  if (op === 'move' || op === 'copy') {
    const from = parsePointer(memberOf(operation, 'from'), 'from', index);
    if (op === 'move' && from.length < path.length && from.every((token, depth) => token === path[depth])) {
      throw new PatchError('malformed', `operation ${index} (move): nothing can be moved into itself`);
    }
    return { op, path, from };
  }
  throw new PatchError('malformed', `operation ${index}: op must be add, remove, replace, move, copy or test`);
}

/** JSON Pointer (RFC 6901). */
function parsePointer(pointer: JsonValue | undefined, name: 'path' | 'from', index: number): Pointer {
  if (typeof pointer !== 'string' || /^[^/]|~(?![01])/.test(pointer)) {
    throw new PatchError('malformed', `operation ${index}: ${name} is not a JSON pointer`);
  }
  const [, ...tokens] = pointer.split('/');
  // In this order: "~01" is "~1" escaped, not "/".
  return tokens.map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function formatPointer(pointer: Pointer): string {
  return pointer.map((token) => `/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** @returns undefined when it is no array index: those have no leading zeros (RFC 6901, section 4) */
function parseIndex(token: string): number | undefined {
  return /^(?:0|[1-9]\d{0,14})$/.test(token) ? Number(token) : undefined;
}

/** By assignment, a member named __proto__ would become the prototype instead. */
function setMember(object: MutableJsonObject, name: string, value: MutableJsonValue): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}

function byteLength(value: JsonValue): number {
  return Buffer.byteLength(JSON.stringify(value));
}

function missing(path: Pointer): PatchError {
  return new PatchError('unprocessable', `there is no "${formatPointer(path)}"`);
}
