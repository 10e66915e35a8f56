import { UpstreamError, type UpstreamAccess } from './upstream.js';

/**
 * Asks a registry, and when it does not take the credential that it was shown, once more without one: a wrong secret of the
 * project must not stand before what everyone may have.
 *
 * @throws {UpstreamError} the first refusal when nothing is had either way
 */
export async function askAlsoAnonymously<T>(
  access: UpstreamAccess,
  ask: (access: UpstreamAccess) => Promise<T>,
): Promise<T> {
  try {
    return await ask(access);
  } catch (refusal) {
    if (!(refusal instanceof UpstreamError) || refusal.problem !== 'unauthorized' || refusal.credential === 'none') {
      throw refusal;
    }
    try {
      return await ask({ ...access, credentials: () => undefined });
    } catch (error) {
      throw error instanceof UpstreamError ? refusal : error;
    }
  }
}
