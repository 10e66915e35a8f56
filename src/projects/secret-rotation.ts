import { allObjects, type ObjectStore } from '../metadata/object-store.js';
import type { SecretBox } from './secret-box.js';
import { isSealedAnew, openSecret, sealSecret, secretsResource, secretTraits } from './secret-object.js';

/**
 * Encrypts with the present key what an earlier one encrypted; after that, and once the change log has forgotten what was
 * before, the earlier key is not needed any more. To be called after every start, which is when keys are read.
 *
 * @param signal ends it between two secrets
 * @returns how many secrets there were to do
 */
export async function resealSecrets(store: ObjectStore, box: SecretBox, signal: AbortSignal): Promise<number> {
  let count = 0;
  for await (const stored of allObjects(store, { resource: secretsResource })) {
    if (signal.aborted) break;
    if (isSealedAnew(box, stored)) continue;
    const secret = openSecret(box, stored);
    // Refused when somebody has changed it meanwhile, which encrypted it anew as well.
    await store.commit([
      { kind: 'replace', resource: secretsResource, object: sealSecret(box, secret), ...secretTraits(secret) },
    ]);
    count += 1;
  }
  return count;
}
