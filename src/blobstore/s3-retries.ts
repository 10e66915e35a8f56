import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from './blob-store.js';

/** How patient requests are. */
export interface RetryPolicy {
  /** Tries of one request, the first included. */
  readonly attempts: number;
  /** Before the second try; twice as long before each that follows, and up to a half less by chance. */
  readonly delayMs: number;
  readonly maxDelayMs: number;
  /** After so long nothing is tried again. */
  readonly deadlineMs: number;
}

/** Rides out what an overloaded, restarted or briefly unreachable store does: half a minute of it. */
export const patientRetries: RetryPolicy = { attempts: 10, delayMs: 200, maxDelayMs: 8_000, deadlineMs: 45_000 };

/** Told of each try. */
export interface S3Request {
  /** As S3 calls it: `UploadPart`. */
  readonly operation: string;
  readonly durationMs: number;
  /** `retried`: it failed and is tried again. */
  readonly outcome: 'ok' | 'retried' | 'failed';
}

const passingNames: readonly string[] = [
  'SlowDown',
  'RequestTimeout',
  'RequestTimeTooSkewed',
  'InternalError',
  'ServiceUnavailable',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
  'OperationAborted',
  'TimeoutError',
  // The bytes were damaged on their way: what is here may well be right.
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'IncompleteBody',
];

const passingCodes: readonly string[] = [
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOTFOUND',
  'ERR_STREAM_PREMATURE_CLOSE',
];

/** Whether the same request may well succeed a little later. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (passingNames.includes(error.name)) return true;
  if ('code' in error && passingCodes.includes(String(error.code))) return true;
  const status = statusOf(error);
  return status !== undefined && (status >= 500 || status === 429) && status !== 501;
}

/** Whether S3 says that what was asked for is not there. */
export function isAbsent(error: unknown): boolean {
  return error instanceof Error && ['NoSuchKey', 'NoSuchUpload', 'NotFound'].includes(error.name);
}

/** HTTP status of an answer that the SDK made an error of. */
export function statusOf(error: Error): number | undefined {
  if (!('$metadata' in error)) return undefined;
  return (error.$metadata as { readonly httpStatusCode?: number }).httpStatusCode;
}

function unavailable(operation: string, cause: unknown): StoreUnavailableError {
  const { name, message } = cause as Error;
  return new StoreUnavailableError(`${operation}: ${message === '' ? name : message}`, { cause });
}

/** How a request is tried, and who is told. */
export interface RetryOptions {
  readonly operation: string;
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal | undefined;
  readonly onRequest: ((request: S3Request) => void) | undefined;
}

/**
 * Tries a request until it succeeds, fails for good, or patience ends.
 *
 * @param attempt what it still does when it has failed is to end with its signal: the bytes it sends are then others' again
 * @throws {StoreUnavailableError} when patience has ended
 * @throws {Error} what will not pass; the reason of the signal
 */
export async function withRetries<T>(
  attempt: (signal: AbortSignal) => Promise<T>,
  { operation, policy, signal, onRequest }: RetryOptions,
): Promise<T> {
  const start = performance.now();
  for (let tries = 1; ; tries += 1) {
    signal?.throwIfAborted();
    const abort = new AbortController();
    const onAbort = () => {
      abort.abort(signal!.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const triedAt = performance.now();
    const tell = (outcome: S3Request['outcome']) =>
      onRequest?.({ operation, durationMs: performance.now() - triedAt, outcome });
    try {
      const result = await attempt(abort.signal);
      tell('ok');
      return result;
    } catch (error) {
      abort.abort();
      signal?.throwIfAborted();
      const delay = Math.min(policy.maxDelayMs, policy.delayMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2);
      const isOver = tries >= policy.attempts || performance.now() - start + delay > policy.deadlineMs;
      if (isOver || !isPassing(error)) {
        tell('failed');
        throw isPassing(error) ? unavailable(operation, error) : error;
      }
      tell('retried');
      await sleep(delay, undefined, { signal });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
