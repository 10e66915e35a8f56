import { isDigest, parseDigest, type Digest } from './digest.js';
import { OciError } from './errors.js';

declare const brand: unique symbol;
/** A validated tag (OCI Distribution Spec, "Pulling manifests"). */
export type Tag = string & { readonly [brand]: 'Tag' };

/** What stands after `/manifests/`: a tag or a digest. */
export type Reference =
  { readonly kind: 'tag'; readonly tag: Tag } | { readonly kind: 'digest'; readonly digest: Digest };

const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

export function isTag(text: string): text is Tag {
  return tagPattern.test(text);
}

/** @throws {OciError} MANIFEST_INVALID: the spec has no code of its own for a malformed tag */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  throw new OciError('MANIFEST_INVALID', {
    tag: text.slice(0, 200),
    expected: 'a letter, digit or _ and up to 127 more of those or . or -',
  });
}

/**
 * A colon is legal in a digest and never in a tag, so it decides which rule the text is held to.
 *
 * @throws {OciError} DIGEST_INVALID or MANIFEST_INVALID
 */
export function parseReference(text: string): Reference {
  if (isDigest(text)) return { kind: 'digest', digest: text };
  if (text.includes(':')) return { kind: 'digest', digest: parseDigest(text) };
  return { kind: 'tag', tag: parseTag(text) };
}
