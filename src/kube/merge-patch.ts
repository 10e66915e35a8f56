import { isJsonObject, type JsonObject, type JsonValue } from './json.js';

/**
 * Applies a JSON merge patch (RFC 7396, which replaced 7386): null removes a member, objects are merged, all else is
 * put in the place of what was there. Changes neither argument, but the result shares parts with both.
 */
export function applyMergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  const members = new Map(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, mergeMember(members.get(name), value));
  }
  return Object.fromEntries(members);
}

function mergeMember(current: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (!isJsonObject(patch)) return patch;
  return applyMergePatch(isJsonObject(current) ? current : {}, patch);
}
