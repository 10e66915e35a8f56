import { expect } from 'vitest';

/** The closed list of the OCI Distribution Spec, "Error Codes", code-1 to code-14. */
export const specErrorCodes = [
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
] as const;

export type SpecErrorCode = (typeof specErrorCodes)[number];

/** What an answer is looked at for. */
export interface ErrorAnswer {
  readonly status: number;
  readonly contentType: string | null | undefined;
  readonly text: string;
}

/** Holds a failure to the spec's form, `{"errors":[{"code","message","detail"}]}` with codes of the closed list. */
export function expectOciError(answer: ErrorAnswer, status: number, code: SpecErrorCode): void {
  // The text goes along, so that a surprise shows what the registry said.
  expect({ status: answer.status, text: answer.text }).toEqual({ status, text: answer.text });
  expect(answer.contentType).toMatch(/^application\/json(;|$)/);
  const body = JSON.parse(answer.text) as { errors: Record<string, unknown>[] };
  expect(Object.keys(body)).toEqual(['errors']);
  expect(body.errors.length).toBeGreaterThan(0);
  for (const error of body.errors) {
    expect(specErrorCodes).toContain(error['code']);
    expect(error['message']).toEqual(expect.any(String));
    expect(['code', 'detail', 'message']).toEqual(expect.arrayContaining(Object.keys(error)));
  }
  expect(body.errors[0]!['code']).toBe(code);
}

/** As `expectOciError`, for an answer of `fetch`. */
export async function expectFailure(response: Response, status: number, code: SpecErrorCode): Promise<void> {
  const contentType = response.headers.get('Content-Type');
  expectOciError({ status: response.status, contentType, text: await response.text() }, status, code);
}
