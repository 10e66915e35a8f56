import { OciError, type OciErrorCode } from '../oci/errors.js';
import type { UpstreamError, UpstreamProblem } from '../upstream/upstream.js';

/** How a problem with another registry is told to who pulls from here. */
interface Telling {
  readonly code: OciErrorCode;
  readonly status?: number;
  /** After the name of the registry. */
  readonly words: string;
}

// Never an unknown manifest for what is only not to be had now: clients would take it for gone.
const tellings: Readonly<Record<UpstreamProblem, Telling>> = {
  'not-found': { code: 'MANIFEST_UNKNOWN', words: 'does not have it' },
  unauthorized: { code: 'DENIED', words: 'wants another credential than it was shown' },
  denied: { code: 'DENIED', words: 'does not let this registry pull it' },
  'rate-limited': { code: 'TOOMANYREQUESTS', words: 'lets nothing more be pulled for now' },
  budget: { code: 'TOOMANYREQUESTS', words: 'may not be asked more often for now' },
  unavailable: { code: 'UNSUPPORTED', status: 503, words: 'does not answer' },
  certificate: { code: 'UNSUPPORTED', status: 503, words: 'has a certificate that is not valid here' },
  'http-only': { code: 'UNSUPPORTED', status: 503, words: 'speaks plain HTTP only, which is not allowed' },
  'not-v2': { code: 'UNSUPPORTED', status: 503, words: 'is no registry that is understood' },
  integrity: { code: 'UNSUPPORTED', status: 503, words: 'sent something else than was asked for' },
  'invalid-answer': { code: 'UNSUPPORTED', status: 503, words: 'sent something that is not understood' },
  'forbidden-address': { code: 'DENIED', words: 'is at an address that may not be spoken to' },
  blocked: { code: 'DENIED', words: 'may not be pulled from' },
};

const defaultRetryMs = 15_000;

/** What somebody is told who asked for what is not here and could not be had. @param registry as in `docker.io` */
export function upstreamRefusal(registry: string, error: UpstreamError): OciError {
  const { code, status, words } = tellings[error.problem];
  const isTemporary = code === 'TOOMANYREQUESTS' || status === 503;
  const refusal = new OciError(
    code,
    { upstream: registry, reference: error.reference, problem: error.problem },
    {
      cause: error,
      ...(status !== undefined && { status }),
      ...(isTemporary && { headers: { 'Retry-After': String(wholeSeconds(error.retryAfterMs ?? defaultRetryMs)) } }),
    },
  );
  // Clients show the message and not the detail.
  if (code === 'UNSUPPORTED') refusal.message = `${registry} ${words}`;
  else if (code !== 'MANIFEST_UNKNOWN') refusal.message = `${refusal.message}: ${registry} ${words}`;
  return refusal;
}

/** RFC 9110, section 10.2.3: whole seconds, and nobody is told to come again at once. */
function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}

/** Why what is served may be old, for people. @param problem undefined when there is no answer yet */
export function staleReason(registry: string, problem: UpstreamProblem | undefined): string {
  return `${registry} ${problem === undefined ? 'has not answered yet' : tellings[problem].words}`;
}

/** The value of a `Warning` header (RFC 7234, section 5.5): code 299, from nobody in particular. */
export function warningHeader(text: string): string {
  const plain = text.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(/["\\]/g, "'");
  return `299 - "${plain}"`;
}
