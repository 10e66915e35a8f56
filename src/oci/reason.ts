/** Says why somebody changes a tag, for its history: percent-encoded UTF-8. */
export const reasonHeader = 'Weir-Reason';
const maxReasonLength = 1000;

/** A reason that is none. */
export class ReasonError extends Error {
  override readonly name = 'ReasonError';
}

/**
 * A reason as a header gives it; undefined when there is none.
 *
 * @throws {ReasonError} when it is not percent-encoded UTF-8, has control characters or is too long
 */
export function decodeReason(header: string): string | undefined {
  try {
    return parseReason(decodeURIComponent(header));
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new ReasonError(`the header ${reasonHeader} is not percent-encoded UTF-8`);
  }
}

/** @throws {ReasonError} when it has control characters or is too long */
export function parseReason(text: string): string | undefined {
  const reason = text.trim();
  if (reason === '') return undefined;
  if (reason.length > maxReasonLength || /[\p{Cc}\p{Cs}]/u.test(reason)) {
    throw new ReasonError(`a reason is one line of at most ${maxReasonLength} characters`);
  }
  return reason;
}
