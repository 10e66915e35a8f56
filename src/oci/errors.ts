const codes = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  BLOB_UPLOAD_INVALID: { status: 400, message: 'blob upload invalid' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to registry' },
  DIGEST_INVALID: { status: 400, message: 'provided digest did not match uploaded content' },
  MANIFEST_BLOB_UNKNOWN: { status: 404, message: 'manifest references a manifest or blob unknown to registry' },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to registry' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  SIZE_INVALID: { status: 400, message: 'provided length did not match content length' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  // Not of the specification: what registries answer while something they stand on does not work.
  UNAVAILABLE: { status: 503, message: 'service unavailable' },
} as const satisfies Record<string, { status: number; message: string }>;

export type OciErrorCode = keyof typeof codes;

/** Every code of the OCI Distribution Spec, "Error Codes", with the HTTP status it has unless the thrower says otherwise. */
export const ociErrorCodes: Readonly<Record<OciErrorCode, { readonly status: number; readonly message: string }>> =
  codes;

/** A failure the client is told about, in the terms of the OCI Distribution Spec, "Error Codes". */
export class OciError extends Error {
  override readonly name = 'OciError';
  readonly code: OciErrorCode;
  /** Of the HTTP response. */
  readonly status: number;
  /** Any JSON value that helps the client; never a stack or a storage path. */
  readonly detail: unknown;
  /** Headers the answer must carry, such as `Allow` or the `Range` of an upload session. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: OciErrorCode,
    detail?: unknown,
    options: { status?: number; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(codes[code].message, { cause: options.cause });
    this.code = code;
    this.status = options.status ?? codes[code].status;
    this.detail = detail;
    this.headers = options.headers ?? {};
  }
}
