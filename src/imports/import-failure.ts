import { PullSpecError, pullSpecOrError, withClientDefaults } from '../oci/pull-spec.js';
import type { UpstreamError } from '../upstream/upstream.js';

/** Why an image was not imported, as a metav1.Status says it. */
export interface ImportFailure {
  readonly reason:
    | 'NotFound'
    | 'Unauthorized'
    | 'Forbidden'
    | 'BadRequest'
    | 'Invalid'
    | 'NotV2Registry'
    | 'TooManyRequests'
    | 'ServiceUnavailable'
    | 'InternalError'
    | 'ImportFailed';
  readonly message: string;
  /** When it makes sense to try again; undefined when nobody said. */
  readonly retryAfterMs?: number;
}

const codes: Readonly<Record<ImportFailure['reason'], number>> = {
  NotFound: 404,
  Unauthorized: 401,
  Forbidden: 403,
  BadRequest: 400,
  Invalid: 422,
  NotV2Registry: 403,
  TooManyRequests: 429,
  ServiceUnavailable: 503,
  InternalError: 500,
  ImportFailed: 500,
};

/** metav1.Status of an image among others; its reasons are more than those of whole answers. */
export interface ImportStatus {
  readonly metadata: object;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
}

export const imported: ImportStatus = { metadata: {}, status: 'Success' };

export function statusOf({ reason, message }: ImportFailure): ImportStatus {
  return { metadata: {}, status: 'Failure', message, reason, code: codes[reason] };
}

/**
 * A failure in the words of OpenShift's importer, which clients look for, with what people need to mend it: which credential
 * was shown and what the registry said.
 *
 * @param what as in `quay.io/team/app:v1`
 * @param of what was asked for
 */
export function failureOf(error: UpstreamError, what: string, of: 'image' | 'repository'): ImportFailure {
  const why = explanation(error);
  const told = why === '' ? '' : ` (${why})`;
  const internal = (message: string) => `Internal error occurred: ${what}: ${message}`;
  const retry = error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs };
  switch (error.problem) {
    case 'not-found':
      return { reason: 'NotFound', message: `dockerimage.image.openshift.io "${what}" not found${told}` };
    case 'unauthorized':
      return {
        reason: 'Unauthorized',
        message:
          error.credential === 'none'
            ? `you may not have access to the container image "${what}" and did not have credentials to the repository${told}`
            : `incorrect username or password for image "${what}"${told}`,
      };
    case 'denied':
      return { reason: 'Unauthorized', message: `you may not have access to the container image "${what}"${told}` };
    case 'http-only':
      return {
        reason: 'BadRequest',
        message: `the repository ${what} is HTTP only and requires the insecure flag to import`,
      };
    case 'not-v2':
      return {
        reason: of === 'repository' ? 'NotV2Registry' : 'InternalError',
        message: `${of === 'repository' ? '' : 'Internal error occurred: '}registry ${JSON.stringify(registryOf(what))} does not support the v2 Registry API`,
      };
    case 'blocked':
      return { reason: 'Forbidden', message: `${what} is forbidden: registry ${registryOf(what)} blocked` };
    case 'forbidden-address':
      return { reason: 'Forbidden', message: `${what} is forbidden: ${error.message}` };
    case 'rate-limited':
    case 'budget':
      return { reason: 'TooManyRequests', message: internal(`${error.message}${told}`), ...retry };
    case 'unavailable':
      return { reason: 'ServiceUnavailable', message: internal(`${error.message}${told}`), ...retry };
    case 'integrity':
      return { reason: 'InternalError', message: internal(`content integrity error: ${error.message}`) };
    case 'certificate':
    case 'invalid-answer':
      return { reason: 'InternalError', message: internal(`${error.message}${told}`) };
  }
}

function explanation({ credential, answer, problem }: UpstreamError): string {
  const shown =
    problem === 'unauthorized' || problem === 'denied' || problem === 'not-found'
      ? `credential shown: ${credential}`
      : '';
  const said = answer === undefined ? '' : `the registry said: ${answer}`;
  return [shown, said].filter((text) => text !== '').join('; ');
}

function registryOf(what: string): string {
  const spec = pullSpecOrError(what);
  return spec instanceof PullSpecError ? what : withClientDefaults(spec).registry;
}
