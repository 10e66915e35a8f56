import {
  isJsonArray,
  isJsonObject,
  memberOf,
  type JsonArray,
  type JsonObject,
  type JsonPrimitive,
  type JsonValue,
} from './json.js';
import { PatchError } from './patch-error.js';

/**
 * How a strategic merge patch treats a list: `merge` takes elements with the same value of the member `key` for the
 * same element and merges them, `set` holds every primitive once, `replace` takes the list of the patch whole. For an
 * object, `replace` does the same, and without it objects are merged.
 */
export type MergeStrategy =
  { readonly kind: 'merge'; readonly key: string } | { readonly kind: 'set' } | { readonly kind: 'replace' };

/**
 * The strategies of a kind by path, names joined by dots, an element of a list adding nothing: `spec.tags`,
 * `signatures.conditions`. A list that is not mentioned is replaced, an object merged.
 */
export type MergeStrategies = Readonly<Record<string, MergeStrategy>>;

/** Of ObjectMeta, which every object has. */
const objectMetaStrategies: MergeStrategies = {
  'metadata.ownerReferences': { kind: 'merge', key: 'uid' },
  'metadata.finalizers': { kind: 'set' },
};

/**
 * Applies a strategic merge patch as Kubernetes does (apimachinery, strategicpatch): like a JSON merge patch, but lists
 * are merged by the strategies, and directives in the patch ask for something else than merging. Changes neither
 * argument, but the result shares parts with both.
 *
 * Merging into what is not there is merging into something empty, so nulls and directives never reach the result.
 *
 * @param strategies of all but `metadata.ownerReferences` and `metadata.finalizers`
 * @throws {PatchError} malformed when a directive cannot be understood, or an element has no merge key
 */
export function applyStrategicMergePatch(
  target: JsonObject,
  patch: JsonObject,
  strategies: MergeStrategies,
): JsonObject {
  return mergeObject(target, patch, { path: '', fields: fieldsOf({ ...objectMetaStrategies, ...strategies }) });
}

/** Where in the object a part of the patch applies, and what is known of the fields there. */
interface Place extends Field {
  /** For messages; comparing paths that a client makes long would take long. */
  readonly path: string;
}

/** What the strategies say of a field and of those in it. */
interface Field {
  strategy?: MergeStrategy;
  readonly fields: Map<string, Field>;
}

function fieldsOf(strategies: MergeStrategies): Map<string, Field> {
  const top = new Map<string, Field>();
  for (const [path, strategy] of Object.entries(strategies)) {
    let field: Field = { fields: top };
    for (const name of path.split('.')) {
      const inner: Field = field.fields.get(name) ?? { fields: new Map() };
      field.fields.set(name, inner);
      field = inner;
    }
    field.strategy = strategy;
  }
  return top;
}

/** All that a patch asks of one field. */
interface FieldPatch {
  /** Of the member with the field's name. */
  value?: JsonValue;
  /** Of `$setElementOrder/<field>`: the elements that shall be there, in their order. */
  order?: JsonArray;
  /** Of `$deleteFromPrimitiveList/<field>`. */
  removals?: JsonArray;
}

/** All that a patch asks of one object, but for its `$patch`. */
interface ObjectPatch {
  readonly fields: ReadonlyMap<string, FieldPatch>;
  /** Of `$retainKeys`: the only members that may stay. */
  readonly retained: ReadonlySet<JsonValue> | undefined;
}

type Directive = 'merge' | 'replace' | 'delete';

function mergeObject(target: JsonObject, patch: JsonObject, at: Place): JsonObject {
  switch (directiveOf(patch, at)) {
    case 'merge':
      return mergeMembers(target, patch, at);
    case 'replace':
      return mergeMembers({}, patch, at);
    case 'delete':
      // Its members, not itself: only null removes a field.
      return {};
  }
}

function mergeMembers(target: JsonObject, patch: JsonObject, at: Place): JsonObject {
  const { fields, retained } = parseObjectPatch(patch, at);
  const members = new Map(Object.entries(target).filter(([name]) => retained?.has(name) ?? true));
  for (const [name, field] of fields) {
    const merged = mergeField(members.get(name), field, placeOf(name, at));
    if (merged === undefined) members.delete(name);
    else members.set(name, merged);
  }
  return Object.fromEntries(members);
}

/** @returns undefined when the field shall not be there */
function mergeField(current: JsonValue | undefined, field: FieldPatch, at: Place): JsonValue | undefined {
  const merged = mergeValue(current, field, at);
  const { removals } = field;
  if (removals === undefined || !isJsonArray(merged)) return merged;
  // After adding, so that an element which is both added and removed is gone.
  const removed = new Set(removals);
  return merged.filter((element) => !removed.has(element));
}

function mergeValue(current: JsonValue | undefined, { value, order }: FieldPatch, at: Place): JsonValue | undefined {
  if (value === null) return undefined;
  if (isJsonArray(value)) return mergeList(isJsonArray(current) ? current : [], value, order, at);
  if (value === undefined) {
    return order !== undefined && isJsonArray(current) ? mergeList(current, [], order, at) : current;
  }
  if (order !== undefined) throw malformed(at, 'is no list in the patch, and yet its order is given');
  if (!isJsonObject(value)) return value;
  if (!isJsonObject(current)) return directiveOf(value, at) === 'delete' ? undefined : mergeMembers({}, value, at);
  return mergeObject(at.strategy?.kind === 'replace' ? {} : current, value, at);
}

function mergeList(current: JsonArray, patch: JsonArray, order: JsonArray | undefined, at: Place): JsonArray {
  const strategy = at.strategy ?? { kind: 'replace' };
  switch (strategy.kind) {
    case 'merge':
      return mergeByKey(current, patch, order, strategy.key, at);
    case 'set':
      return mergeSet(current, patch, order, at);
    case 'replace':
      // A client that gives an order has sent parts of elements, which must not take the place of whole ones.
      if (order !== undefined) throw malformed(at, 'is replaced and not merged, and its order cannot be given');
      return newElements(patch, at);
  }
}

/** Those of a list that is not merged: elements that only carry a directive are left out. */
function newElements(patch: JsonArray, at: Place): JsonArray {
  return patch.flatMap((element) => {
    if (isJsonArray(element)) return [newElements(element, at)];
    if (!isJsonObject(element)) return [element];
    return directiveOf(element, at) === 'merge' ? [mergeMembers({}, element, at)] : [];
  });
}

/** An element of a list while it is merged. */
interface Entry {
  /** The value of the merge key, or the primitive itself; undefined for a stored element that has none. */
  readonly key: JsonValue | undefined;
  /** Index in the list as it was; undefined for an element that is new. */
  readonly index: number | undefined;
  value: JsonValue;
}

function mergeByKey(
  current: JsonArray,
  patch: JsonArray,
  order: JsonArray | undefined,
  key: string,
  at: Place,
): JsonArray {
  const { elements, deleted, replaces } = parseElements(patch, key, at);
  const kept = current
    .map((value, index): Entry => ({ key: isJsonObject(value) ? memberOf(value, key) : undefined, index, value }))
    .filter((entry) => !replaces && (entry.key === undefined || !deleted.has(entry.key)));
  const merged = [...kept];
  const byKey = new Map<JsonValue, Entry>();
  // Backwards: of stored elements with the same key, the first is the one that is merged.
  for (const entry of kept.toReversed()) if (entry.key !== undefined) byKey.set(entry.key, entry);
  for (const [elementKey, element] of elements) {
    const entry = byKey.get(elementKey);
    if (entry !== undefined) {
      entry.value = mergeMembers(isJsonObject(entry.value) ? entry.value : {}, element, at);
    } else {
      const added: Entry = { key: elementKey, index: undefined, value: mergeMembers({}, element, at) };
      byKey.set(elementKey, added);
      merged.push(added);
    }
  }
  const patchKeys = elements.map(([elementKey]) => elementKey);
  const orderKeys = order?.map((element) => mergeKeyOf(element, key, at));
  return arrange(merged, keysInOrder(patchKeys, orderKeys, at));
}

/** What the elements of a patch ask of a list that is merged by key. */
interface ElementPatches {
  /** By merge key; the same key may come twice. */
  readonly elements: readonly (readonly [JsonPrimitive, JsonObject])[];
  /** Merge keys of elements with `$patch: delete`. */
  readonly deleted: ReadonlySet<JsonValue>;
  /** Whether there is an element with `$patch: replace`; it says so of the list, and its other members mean nothing. */
  readonly replaces: boolean;
}

function parseElements(patch: JsonArray, key: string, at: Place): ElementPatches {
  const elements: [JsonPrimitive, JsonObject][] = [];
  const deleted = new Set<JsonValue>();
  let replaces = false;
  for (const element of patch) {
    if (!isJsonObject(element)) throw malformed(at, 'has an element that is not an object');
    switch (directiveOf(element, at)) {
      case 'merge':
        elements.push([mergeKeyOf(element, key, at), element]);
        break;
      case 'delete':
        deleted.add(mergeKeyOf(element, key, at));
        break;
      case 'replace':
        replaces = true;
        break;
    }
  }
  return { elements, deleted, replaces };
}

function mergeKeyOf(element: JsonValue, key: string, at: Place): JsonPrimitive {
  const value = isJsonObject(element) ? memberOf(element, key) : undefined;
  if (value === undefined || value === null || typeof value === 'object') {
    throw malformed(at, `has an element without its merge key ${key}`);
  }
  return value;
}

function mergeSet(current: JsonArray, patch: JsonArray, order: JsonArray | undefined, at: Place): JsonArray {
  for (const element of [...patch, ...(order ?? [])]) {
    if (element === null || typeof element === 'object') {
      throw malformed(at, 'is a set of primitives, and the patch has an element that is none');
    }
  }
  const entries = new Map<JsonValue, Entry>();
  for (const [index, value] of current.entries()) {
    if (!entries.has(value)) entries.set(value, { key: value, index, value });
  }
  for (const value of patch) {
    if (!entries.has(value)) entries.set(value, { key: value, index: undefined, value });
  }
  return arrange([...entries.values()], keysInOrder(patch, order, at));
}

/** @returns the order asked for, or without one that of the patch */
function keysInOrder(patchKeys: JsonArray, order: JsonArray | undefined, at: Place): JsonArray {
  if (order === undefined || order.length === 0) return patchKeys;
  let next = 0;
  for (const key of order) if (next < patchKeys.length && patchKeys[next] === key) next++;
  if (next < patchKeys.length) throw malformed(at, 'has elements that are not in the order given for them');
  return order;
}

/**
 * Orders a merged list as Kubernetes does: the keys given in their order; the other elements, which only the server
 * knew, in theirs; and of the two that are next, the server's goes first only if it was in front of the other before.
 */
function arrange(merged: readonly Entry[], keys: JsonArray): JsonArray {
  const ranks = new Map<JsonValue | undefined, number>();
  for (const key of keys) if (!ranks.has(key)) ranks.set(key, ranks.size);
  const ordered = merged
    .filter(({ key }) => ranks.has(key))
    .sort((a, b) => (ranks.get(a.key) ?? 0) - (ranks.get(b.key) ?? 0));
  const others = merged.filter(({ key }) => !ranks.has(key));
  const arranged: JsonValue[] = [];
  let next = 0;
  for (const { index, value } of ordered) {
    for (; next < others.length && isInFront(others[next]!.index, index); next++) arranged.push(others[next]!.value);
    arranged.push(value);
  }
  return [...arranged, ...others.slice(next).map(({ value }) => value)];
}

function isInFront(index: number | undefined, of: number | undefined): boolean {
  return index !== undefined && of !== undefined && index < of;
}

function parseObjectPatch(patch: JsonObject, at: Place): ObjectPatch {
  const fields = new Map<string, FieldPatch>();
  const fieldOf = (name: string): FieldPatch => {
    const field = fields.get(name) ?? {};
    fields.set(name, field);
    return field;
  };
  for (const [name, value] of Object.entries(patch)) {
    if (name === '$patch' || name === '$retainKeys') continue;
    if (name.startsWith('$setElementOrder')) {
      fieldOf(listNameOf(name, '$setElementOrder', at)).order = listOf(name, value, at);
    } else if (name.startsWith('$deleteFromPrimitiveList')) {
      const removals = listOf(name, value, at);
      if (removals.some((element) => typeof element === 'object')) {
        throw malformed(placeOf(name, at), 'has an element that is not a primitive');
      }
      fieldOf(listNameOf(name, '$deleteFromPrimitiveList', at)).removals = removals;
    } else {
      fieldOf(name).value = value;
    }
  }
  return { fields, retained: retainedKeysOf(patch, fields, at) };
}

function retainedKeysOf(
  patch: JsonObject,
  fields: ReadonlyMap<string, FieldPatch>,
  at: Place,
): ReadonlySet<JsonValue> | undefined {
  const keys = memberOf(patch, '$retainKeys');
  if (keys === undefined) return undefined;
  const retained = new Set(listOf('$retainKeys', keys, at));
  for (const [name, { value }] of fields) {
    if (value !== undefined && value !== null && !retained.has(name)) {
      throw malformed(placeOf('$retainKeys', at), `does not list ${name}, which the patch sets`);
    }
  }
  return retained;
}

function directiveOf(patch: JsonObject, at: Place): Directive {
  const directive = memberOf(patch, '$patch');
  if (directive === undefined) return 'merge';
  if (directive === 'merge' || directive === 'replace' || directive === 'delete') return directive;
  throw malformed(placeOf('$patch', at), 'must be merge, replace or delete');
}

function listNameOf(name: string, directive: string, at: Place): string {
  const list = name.slice(directive.length + 1);
  if (name[directive.length] !== '/' || list === '') {
    throw malformed(placeOf(name, at), `must name a list, as in ${directive}/finalizers`);
  }
  return list;
}

function listOf(name: string, value: JsonValue, at: Place): JsonArray {
  if (!isJsonArray(value)) throw malformed(placeOf(name, at), 'must be a list');
  return value;
}

function placeOf(name: string, { path, fields }: Place): Place {
  return { fields: new Map(), ...fields.get(name), path: path === '' ? name : `${path}.${name}` };
}

function malformed({ path }: Place, what: string): PatchError {
  return new PatchError('malformed', `${path} ${what}`);
}
