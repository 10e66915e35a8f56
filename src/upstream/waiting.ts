import { setTimeout as wait } from 'node:timers/promises';

/** Waits, unless the signal ends it. */
export type Sleep = (ms: number, signal: AbortSignal | undefined) => Promise<void>;

export const sleepFor: Sleep = async (ms, signal) => {
  await wait(ms, undefined, { signal });
};

/** Requests are sent so many times at most. */
export const maxTries = 3;
/** Nobody is waited for longer than this. */
export const maxWaitMs = 10_000;
const firstWaitMs = 500;

/** A `Retry-After` header in milliseconds from now (RFC 9110 section 10.2.3); undefined when it says nothing. */
export function parseRetryAfter(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // Only dates have letters; Date.parse would take any number.
  const at = /[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now.getTime());
}

/**
 * How long to wait before the next try: what the registry asked for, or else anything up to a limit that doubles.
 *
 * @param tries that have failed, from 1
 * @returns milliseconds; undefined when there is to be no other try
 */
export function waitBeforeNext(
  tries: number,
  { retryAfterMs, random }: { readonly retryAfterMs: number | undefined; readonly random: () => number },
): number | undefined {
  if (tries >= maxTries) return undefined;
  if (retryAfterMs !== undefined) return retryAfterMs <= maxWaitMs ? retryAfterMs : undefined;
  return random() * Math.min(maxWaitMs, firstWaitMs * 2 ** tries);
}
