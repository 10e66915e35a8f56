/** The errors of RFC 6749, sections 4.1.2.1 and 5.2, with the status where one is answered and not redirected. */
const codes = {
  invalid_request: 400,
  invalid_client: 401,
  invalid_grant: 400,
  unauthorized_client: 400,
  unsupported_grant_type: 400,
  unsupported_response_type: 400,
  invalid_scope: 400,
  access_denied: 403,
  temporarily_unavailable: 429,
} as const satisfies Record<string, number>;
export type OAuthErrorCode = keyof typeof codes;

/** A failure the client is told about, in the terms of OAuth 2.0. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';
  readonly code: OAuthErrorCode;
  /** Where the client hears of it; undefined when it cannot be trusted to be the client's. */
  readonly location: string | undefined;

  /** @param description in the characters of RFC 6749, section 5.2 */
  constructor(
    code: OAuthErrorCode,
    description: string,
    options: { readonly location?: string; readonly cause?: unknown } = {},
  ) {
    super(description, { cause: options.cause });
    this.code = code;
    this.location = options.location;
  }

  /** Of the HTTP answer. */
  get status(): number {
    return codes[this.code];
  }

  toBody(): { readonly error: OAuthErrorCode; readonly error_description: string } {
    return { error: this.code, error_description: this.message };
  }
}
