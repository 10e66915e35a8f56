import { ForbiddenAddressError } from './addresses.js';
import { shown, TooLargeError } from './http-answer.js';
import { RedirectError } from './redirects.js';
import type { UpstreamProblem } from './upstream.js';

/** Why a request got no answer that can be used. */
export interface ConnectionFailure {
  readonly problem: UpstreamProblem;
  readonly message: string;
  /** Whether it may go away by itself in a moment. */
  readonly isTransient: boolean;
}

const invalidCodes = [
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
];
const certificatePattern =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|ERROR_IN_CERT|CRL_)/;
/** What OpenSSL says of bytes that are no TLS. */
const noTlsPattern =
  /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL)$/;

/** What an error of a socket, of TLS or of HTTP means. @param host that was spoken to */
export function connectionFailure(error: unknown, host: string): ConnectionFailure {
  if (error instanceof ForbiddenAddressError) return final('forbidden-address', error.message);
  if (error instanceof RedirectError || error instanceof TooLargeError) {
    return final('invalid-answer', `${host} ${error.message}`);
  }
  const code = codeOf(error);
  if (certificatePattern.test(code)) {
    return final('certificate', `the certificate of ${host} is not valid here: ${reasonOf(error)}`);
  }
  if (isNoTls(error)) return final('http-only', `${host} speaks plain HTTP only`);
  if (invalidCodes.includes(code) || code.startsWith('HPE_')) {
    return final('invalid-answer', `${host} does not speak HTTP as it must: ${reasonOf(error)}`);
  }
  if (code === 'ENOTFOUND') return final('unavailable', `${host} is not known by that name`);
  return { problem: 'unavailable', message: `no answer from ${host}: ${reasonOf(error)}`, isTransient: true };
}

function final(problem: UpstreamProblem, message: string): ConnectionFailure {
  return { problem, message, isTransient: false };
}

/** Whether the other side answered a TLS handshake with something else. */
function isNoTls(error: unknown): boolean {
  return (
    noTlsPattern.test(codeOf(error)) || (codeOf(error) === 'EPROTO' && String(error).includes('wrong version number'))
  );
}

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
}

function reasonOf(error: unknown): string {
  // With several addresses there is an error for each, and no message of all.
  const all = error instanceof AggregateError ? (error.errors as readonly unknown[]) : [error];
  const reasons = all.map((one) => (one instanceof Error && one.message !== '' ? one.message : codeOf(one)));
  return shown([...new Set(reasons)].filter((reason) => reason !== '').join(', ')) ?? 'unknown error';
}
