import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { UpstreamError, UpstreamProblem } from '../upstream/upstream.js';

/** How a problem is told to who pulls a blob; of those of several registries the one with the highest rank. */
interface Telling {
  readonly rank: number;
  readonly code: 'BLOB_UNKNOWN' | 'TOOMANYREQUESTS';
  readonly status: number;
}

// Clients give up at the codes UNSUPPORTED and DENIED whatever the status is, and try an unknown blob again when it comes with
// 5xx. Nobody is told 401 or 403: it is not their credential that was refused, and a login would not help.
const tooMany: Telling = { rank: 3, code: 'TOOMANYREQUESTS', status: 429 };
const later: Telling = { rank: 2, code: 'BLOB_UNKNOWN', status: 503 };
const wrong: Telling = { rank: 1, code: 'BLOB_UNKNOWN', status: 502 };
const never: Telling = { rank: 0, code: 'BLOB_UNKNOWN', status: 404 };

const tellings: Readonly<Record<UpstreamProblem, Telling>> = {
  'rate-limited': tooMany,
  budget: tooMany,
  unavailable: later,
  certificate: wrong,
  'http-only': wrong,
  'not-v2': wrong,
  integrity: wrong,
  'invalid-answer': wrong,
  'not-found': never,
  unauthorized: never,
  denied: never,
  'forbidden-address': never,
  blocked: never,
};

const defaultRetryMs = 15_000;

/** What somebody is told who asked for a blob that no registry gave. @param errors of the registries, in their order */
export function blobRefusal(repository: RepositoryName, digest: Digest, errors: readonly UpstreamError[]): OciError {
  const told = errors.map(({ problem }) => tellings[problem]);
  const { code, status, rank } = told.reduce((high, next) => (next.rank > high.rank ? next : high), never);
  const upstreams = errors.map(({ reference, problem, status: answered, answer }) => ({
    reference,
    problem,
    ...(answered !== undefined && { status: answered }),
    ...(answer !== undefined && { answer }),
  }));
  const waits = errors.filter((_, at) => told[at]!.rank === rank).map(({ retryAfterMs }) => retryAfterMs);
  const refusal = new OciError(
    code,
    { repository, digest, upstreams },
    {
      status,
      ...(rank >= later.rank && { headers: { 'Retry-After': wholeSeconds(waits) } }),
      cause: errors.at(-1),
    },
  );
  // Clients show the message and not the detail.
  const why = upstreams.map(({ reference, problem }) => `${reference}: ${problem}`).join('; ');
  if (why !== '') refusal.message = `${refusal.message} (${why})`;
  return refusal;
}

/** The soonest time at which one of them may be asked (RFC 9110, section 10.2.3), but not at once. */
function wholeSeconds(waits: readonly (number | undefined)[]): string {
  const ms = Math.min(...waits.map((wait) => wait ?? defaultRetryMs));
  return String(Math.max(1, Math.ceil(ms / 1000)));
}
