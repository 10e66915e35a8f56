/**
 * Why a patch was not applied: `malformed` when no object could be patched with it, which is answered with 400
 * BadRequest; `unprocessable` when this object cannot, which is answered with 422 Invalid.
 */
export type PatchErrorKind = 'malformed' | 'unprocessable';

/** A patch that was not applied, and a message for the client that says what was wrong with it. */
export class PatchError extends Error {
  override readonly name = 'PatchError';
  readonly kind: PatchErrorKind;

  constructor(kind: PatchErrorKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
