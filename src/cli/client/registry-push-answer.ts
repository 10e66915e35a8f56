import type { IncomingHttpHeaders } from 'undici/types/header.js';
import { z } from 'zod';
import { ClientError } from './client-error.js';
import { plainText } from './plain-text.js';

/** An answer of a registry, whole. */
export interface PushAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Nothing more can be pushed, whatever it is; the message says why and what to do. */
export class StopError extends Error {
  override readonly name = 'StopError';
}

/** Enough for a person to see what is meant. */
const maxShownLength = 500;

/** OCI Distribution Spec, "Error Codes". */
const errorsSchema = z.object({
  errors: z.array(z.object({ code: z.string(), message: z.string().nullish(), detail: z.unknown() })).min(1),
});

/** What a refusal of the registry means: a sentence for people. */
export function refusalOf({ status, body }: PushAnswer, host: string): ClientError | StopError {
  if (status === 401) {
    return new StopError(
      `${host} wants a login, or does not take the token any more; log in with "weir login ${host}", and run this again to go on`,
    );
  }
  const said = saidIn(body);
  if (status === 507) return new StopError(`${host} has no space left; make some there, and run this again to go on`);
  if (said === undefined) return new ClientError(`${host} answers ${status}`, { status });
  return new ClientError(`${host} refuses: ${said}`, { status });
}

function saidIn(body: Buffer): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  const error = errorsSchema.safeParse(json).data?.errors[0];
  if (error === undefined) return undefined;
  const { code, message, detail } = error;
  const more = detail === undefined || detail === null ? '' : `: ${textOf(detail)}`;
  return plainText(`${message ?? code}${more}`).slice(0, maxShownLength);
}

function textOf(detail: unknown): string {
  return typeof detail === 'string' ? detail : JSON.stringify(detail);
}
