import { z } from 'zod';
import { ClientError } from './client-error.js';
import type { PlainAnswer } from './json-request.js';
import { plainText } from './plain-text.js';

/** Enough for every field of an object that is wrong. */
const maxMessageLength = 4000;

/** metav1.Status, as far as somebody wants to hear of it. */
const statusSchema = z.object({
  kind: z.literal('Status'),
  message: z.string().nullish(),
  details: z.object({ name: z.string().nullish(), retryAfterSeconds: z.number().nullish() }).nullish(),
});

/** OCI Distribution Spec, "Error Codes": what is beside the API answers so. */
const ociErrorsSchema = z.object({
  errors: z
    .tuple([z.object({ code: z.string(), message: z.string().nullish(), detail: z.unknown() })])
    .rest(z.unknown()),
});

/** What a request was and who sent it, as far as an error needs it. */
export interface FailedRequest {
  /** With its port. */
  readonly host: string;
  /** Undefined for nobody. */
  readonly token: string | undefined;
}

/** What an answer that is no success means to whoever sent the request: one sentence, and what to do next. */
export function failureOf(answer: PlainAnswer, request: FailedRequest): ClientError {
  return new ClientError(withoutToken(explain(answer, request), request.token), { status: answer.status });
}

function explain({ status, headers, text }: PlainAnswer, { host, token }: FailedRequest): string {
  const json = parseJson(text);
  const said = statusSchema.safeParse(json).data ?? parseOciError(json);
  if (said === undefined) return explainForeign(status, headers['content-type'] ?? 'no content type', host);
  const message = plainText(said.message ?? '').slice(0, maxMessageLength) || `the server answers ${status}`;
  switch (status) {
    case 401:
      return token === undefined
        ? `${host} wants to know who you are; log in with "weir login ${host}"`
        : `${host} does not take the token any more, or never did; log in again with "weir login ${host}"`;
    case 403:
      if (token === undefined) return `${message}; nobody is logged in: try "weir login ${host}"`;
      // A rule that holds for everybody is not a matter of roles.
      return /is protected by|exceeded quota|exceeds the maximum limit/.test(message)
        ? message
        : `${message}; somebody who administers the project can give you a role for it`;
    case 404:
      // Only of a call, and not of an object, is nothing said.
      return said.details?.name ? message : `${message}; ${host} may be an older Weir than this client, or no Weir`;
    case 429:
      return `${host} has too much to do: ${message}; try again in ${retryAfter(headers['retry-after'])} seconds`;
    default: {
      if (status < 500) return message;
      const id = headers['x-request-id'];
      const hint =
        typeof id === 'string' ? ` (its log has the reason under request ${plainText(id).slice(0, 64)})` : '';
      return `${host} failed: ${message}; try again later${hint}`;
    }
  }
}

function explainForeign(status: number, contentType: string, host: string): string {
  if (status === 502 || status === 503 || status === 504) {
    return `${host} is not reached by what stands before it (${status}); try again later`;
  }
  return (
    `${host} answers ${status} with ${plainText(contentType).slice(0, 100)}, which Weir does not; ` +
    'is this the address of a Weir server?'
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseOciError(json: unknown): z.output<typeof statusSchema> | undefined {
  const error = ociErrorsSchema.safeParse(json).data?.errors[0];
  if (error === undefined) return undefined;
  const text = [error.message ?? error.code, detailText(error.detail)].filter((part) => part !== '').join(': ');
  return { kind: 'Status', message: text, details: { name: error.code } };
}

/** The reason first, which is a sentence; the other members say what it is about. */
function detailText(detail: unknown): string {
  if (typeof detail !== 'object' || detail === null) return typeof detail === 'string' ? detail : '';
  const { reason, ...others } = detail as Readonly<Record<string, unknown>>;
  const rest = Object.entries(others).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [...(typeof reason === 'string' ? [reason] : []), ...rest].join('; ');
}

function retryAfter(header: string | undefined): number {
  const seconds = Number(header);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : 1;
}

/** A server that repeats what it was sent is not helped to show it. */
function withoutToken(message: string, token: string | undefined): string {
  return token === undefined || token === '' ? message : message.replaceAll(token, '(token)');
}
