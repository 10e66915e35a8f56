import type { Place } from './upstream-settings.js';
import { UpstreamError } from './upstream.js';

interface Failure {
  readonly place: Place;
  readonly error: UpstreamError;
}

/**
 * What the first place gives that gives anything.
 *
 * @throws {UpstreamError} the failure when there was one place, else one that tells of all: it is what the registry
 *   itself said or, when that was not asked, what all mirrors said
 */
export async function firstThatAnswers<T>(
  places: readonly Place[],
  of: { readonly reference: string; readonly signal: AbortSignal | undefined },
  ask: (place: Place) => Promise<T>,
): Promise<T> {
  const failures: Failure[] = [];
  for (const place of places) {
    try {
      return await ask(place);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      failures.push({ place, error });
      if (of.signal?.aborted === true) break;
    }
  }
  throw failureOf(failures, of.reference);
}

function failureOf(failures: readonly Failure[], reference: string): UpstreamError {
  const [first, ...others] = failures;
  if (first === undefined) {
    return new UpstreamError('unavailable', 'only mirrors of it may be asked, and it has none', { reference });
  }
  if (others.length === 0) return first.error;
  const errors = failures.map(({ error }) => error);
  const decisive = failures.find(({ place }) => place.isSource)?.error;
  const isUnanimous = errors.every(({ problem }) => problem === first.error.problem);
  const told = decisive ?? (isUnanimous ? first.error : undefined);
  return new UpstreamError(told?.problem ?? 'unavailable', `[${failures.map(messageOf).join(', ')}]`, {
    reference,
    status: told?.status,
    answer: told?.answer,
    credential: told?.credential,
    retryAfterMs: told?.retryAfterMs,
    cause: new AggregateError(errors),
  });
}

function messageOf({ place: { repository, isSource }, error }: Failure): string {
  return isSource ? error.message : `mirror ${repository.registry}/${repository.path}: ${error.message}`;
}
