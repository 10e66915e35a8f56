import { OciError } from '../../oci/errors.js';
import { UpstreamError } from '../../upstream/upstream.js';
import { ClientError } from './client-error.js';
import { StopError } from './registry-push-answer.js';

/** Why something was not copied, on one line. */
export function reasonOf(error: unknown): string {
  if (error instanceof OciError) return withMore(error.message, error.detail);
  if (error instanceof UpstreamError) {
    return withMore(`${error.message}${hintOf(error)}`, error.answer);
  }
  return error instanceof Error ? error.message : String(error);
}

/**
 * Whether whatever else is tried would fail as well, and only be a burden on the source.
 *
 * @param signal of an interruption, after which every failure is its doing
 */
export function isEndOfAll(error: unknown, signal: AbortSignal | undefined): boolean {
  if (error instanceof StopError || signal?.aborted === true) return true;
  if (error instanceof UpstreamError) return error.problem === 'rate-limited' || error.problem === 'budget';
  if (error instanceof ClientError) return error.status === 401;
  // A mistake of ours, which is not to be taken for one of the source.
  return !(error instanceof OciError);
}

/** What a server's administrator would configure is an option here. */
function hintOf({ problem, message }: UpstreamError): string {
  if (problem === 'http-only') return ' (name it with http://, or say --insecure-source)';
  return /tokenHosts|allowPrivate/.test(message) ? ' (of this command: --source-hosts HOST)' : '';
}

function withMore(message: string, more: unknown): string {
  if (more === undefined) return message;
  return `${message}: ${(typeof more === 'string' ? more : JSON.stringify(more)).slice(0, 500)}`;
}
