import { applyJsonPatch } from './json-patch.js';
import { cloneJson, isDeeperThan, isJsonObject, type JsonObject, type JsonValue } from './json.js';
import { applyMergePatch } from './merge-patch.js';
import { PatchError } from './patch-error.js';
import { applyStrategicMergePatch, type MergeStrategies } from './strategic-merge-patch.js';

export { PatchError, type PatchErrorKind } from './patch-error.js';
export type { MergeStrategies, MergeStrategy } from './strategic-merge-patch.js';

/** A way to say what shall change: RFC 6902, RFC 7396, or that of Kubernetes. */
export type PatchType = 'json' | 'merge' | 'strategic';

const patchTypes: ReadonlyMap<string, PatchType> = new Map([
  ['application/json-patch+json', 'json'],
  ['application/merge-patch+json', 'merge'],
  ['application/strategic-merge-patch+json', 'strategic'],
]);

/** Far deeper than any object of the API, and far from what the stack of JSON.stringify bears. */
const maxDepth = 500;

/**
 * Finds the kind of patch by the `Content-Type` of a request, whose parameters are ignored.
 *
 * @returns undefined for every other media type, server-side apply (`application/apply-patch+yaml`) included
 */
export function patchTypeOf(contentType: string): PatchType | undefined {
  const [mediaType = ''] = contentType.split(';');
  return patchTypes.get(mediaType.trim().toLowerCase());
}

/**
 * Applies a patch to an object, all of it or, when it throws, nothing. Never changes its arguments; the result shares
 * nothing with them. A member named `__proto__` is a member like any other.
 *
 * @param strategies how a strategic merge patch treats the lists of this kind, beyond those of its metadata; other
 *   types of patch know no strategies
 * @throws {PatchError} malformed when it is not such a patch: nothing could be patched with it
 * @throws {PatchError} unprocessable when it is one, but not for this object
 */
export function applyPatch(
  type: PatchType,
  target: JsonObject,
  patch: JsonValue,
  strategies: MergeStrategies,
): JsonObject {
  if (isDeeperThan(maxDepth, patch)) {
    throw new PatchError('malformed', `the patch is nested more than ${maxDepth} levels deep`);
  }
  if (isDeeperThan(maxDepth, target)) {
    throw new PatchError('unprocessable', `the object is nested more than ${maxDepth} levels deep`);
  }
  switch (type) {
    case 'json':
      return applyJsonPatch(target, patch, maxDepth);
    case 'merge':
      return cloneJson(applyMergePatch(target, objectOf(patch)));
    case 'strategic':
      return cloneJson(applyStrategicMergePatch(target, objectOf(patch), strategies));
  }
}

function objectOf(patch: JsonValue): JsonObject {
  if (!isJsonObject(patch)) throw new PatchError('malformed', 'a patch of this type is an object');
  return patch;
}
