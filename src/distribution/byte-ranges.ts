import type { ByteRange } from '../blobstore/blob-store.js';

/** What a `Range` header asks of a representation of a known size. */
export type RangeRequest =
  /** No range, or one that may be ignored: the whole is the answer. */
  | { readonly kind: 'whole' }
  | { readonly kind: 'ranges'; readonly ranges: readonly [ByteRange, ...ByteRange[]] }
  | { readonly kind: 'unsatisfiable' };

/** More than this in one request is an attempt to make the server work, not to read a blob (RFC 9110, section 14.2). */
const maxRanges = 16;

/**
 * Parses a `Range` header (RFC 9110, section 14.2). A unit other than bytes, or text that is no range at all, is
 * ignored, as the RFC asks; a range that ends before it begins is answered like one beyond the end.
 *
 * @param size bytes of the whole representation
 */
export function parseRange(header: string, size: number): RangeRequest {
  const list = /^bytes=(.*)$/i.exec(header.trim())?.[1];
  if (list === undefined) return { kind: 'whole' };
  const specs = list.split(',').map((spec) => /^\s*(\d*)\s*-\s*(\d*)\s*$/.exec(spec));
  if (specs.some((spec) => spec === null || (spec[1] === '' && spec[2] === ''))) return { kind: 'whole' };
  if (specs.length > maxRanges) return { kind: 'whole' };
  const [first, ...rest] = specs.flatMap((spec) => toRange(spec![1]!, spec![2]!, size) ?? []);
  if (first === undefined) return { kind: 'unsatisfiable' };
  const ranges = [first, ...rest] as const;
  // Ranges that overlap would have the same bytes sent many times for one small request.
  const total = ranges.reduce((sum, { start, end }) => sum + end - start + 1, 0);
  return total > size ? { kind: 'whole' } : { kind: 'ranges', ranges };
}

function toRange(first: string, last: string, size: number): ByteRange | undefined {
  if (first === '') {
    // The last so many bytes.
    const length = Math.min(Number(last), size);
    return length === 0 ? undefined : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return start > end ? undefined : { start, end };
}

/** @throws {RangeError} when the text is not `<first>-<last>` (OCI Distribution Spec, "Pushing a blob in chunks") */
export function parseContentRange(header: string): ByteRange {
  // "bytes 0-99/1000" is the form of RFC 9110; the spec of registries wants the bare one, and some clients mix them.
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header);
  const range = { start: Number(match?.[1]), end: Number(match?.[2]) };
  if (match === null || range.end < range.start) throw new RangeError(`expected <first>-<last>, such as 0-1023`);
  return range;
}
