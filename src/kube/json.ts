/** What JSON can say that holds nothing else (RFC 8259, section 3). */
export type JsonPrimitive = string | number | boolean | null;

/** A JSON array that is only read. */
export type JsonArray = readonly JsonValue[];

/**
 * A JSON object that is only read. `JSON.parse` makes `__proto__` a member like any other; reading it by brackets does
 * not, so names that come from a client are read with {@link memberOf}.
 */
export interface JsonObject {
  readonly [name: string]: JsonValue;
}

/** Any JSON value that is only read (RFC 8259, section 3). */
export type JsonValue = JsonPrimitive | JsonArray | JsonObject;

/** A JSON object of one's own, to be changed in place. */
export interface MutableJsonObject {
  [name: string]: MutableJsonValue;
}

/** A JSON value of one's own, to be changed in place. */
export type MutableJsonValue = JsonPrimitive | MutableJsonValue[] | MutableJsonObject;

/** Tells an object from arrays and primitives. */
export function isJsonObject(value: MutableJsonValue | undefined): value is MutableJsonObject;
export function isJsonObject(value: JsonValue | undefined): value is JsonObject;
export function isJsonObject(value: JsonValue | undefined): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Tells an array from objects and primitives; unlike `Array.isArray`, it also narrows arrays that are only read. */
export function isJsonArray(value: MutableJsonValue | undefined): value is MutableJsonValue[];
export function isJsonArray(value: JsonValue | undefined): value is JsonArray;
export function isJsonArray(value: JsonValue | undefined): boolean {
  return Array.isArray(value);
}

/** The member of that name, and nothing that every JavaScript object inherits. */
export function memberOf(object: MutableJsonObject, name: string): MutableJsonValue | undefined;
export function memberOf(object: JsonObject, name: string): JsonValue | undefined;
export function memberOf(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** A copy that shares nothing with the value, so that it may be changed in place. */
export function cloneJson(value: JsonObject): MutableJsonObject;
export function cloneJson(value: JsonValue): MutableJsonValue;
export function cloneJson(value: JsonValue): MutableJsonValue {
  if (isJsonArray(value)) return value.map((element) => cloneJson(element));
  if (isJsonObject(value)) {
    // Object.fromEntries defines members and sets none, so __proto__ stays a name like any other.
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, cloneJson(member)]));
  }
  return value;
}

/** Whether both say the same: numbers by value, the members of objects in any order (RFC 6902, section 4.6). */
export function deepEqual(a: JsonValue, b: JsonValue): boolean {
  if (a === b) return true;
  if (isJsonArray(a)) {
    return isJsonArray(b) && a.length === b.length && a.every((element, index) => deepEqual(element, b[index]!));
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return false;
  const entries = Object.entries(a);
  if (entries.length !== Object.keys(b).length) return false;
  return entries.every(([name, member]) => {
    const other = memberOf(b, name);
    return other !== undefined && deepEqual(member, other);
  });
}

/** How many elements the lists in a value have, together. */
export function countElements(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return 0;
  const members = isJsonArray(value) ? value : Object.values(value);
  let count = isJsonArray(value) ? value.length : 0;
  for (const member of members) count += countElements(member);
  return count;
}

/** Whether arrays and objects are nested more than so many levels deep: `{"a":[]}` is deeper than 1, not than 2. */
export function isDeeperThan(levels: number, value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  const members = isJsonArray(value) ? value : Object.values(value);
  return members.some((member) => isDeeperThan(levels - 1, member));
}
