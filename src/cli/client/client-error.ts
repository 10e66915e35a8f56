/** What kept a command from being carried out; the message says what was wrong and what to do next. */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  /** Of the HTTP answer, when a server gave one. */
  readonly status: number | undefined;
  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = options.status;
  }
}
