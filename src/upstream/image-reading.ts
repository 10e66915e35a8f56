import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { parseManifest, type ParsedManifest } from '../oci/manifest.js';
import {
  UpstreamError,
  type Upstream,
  type UpstreamAccess,
  type UpstreamManifest,
  type UpstreamRepository,
} from './upstream.js';

/**
 * What a manifest says.
 *
 * @param reference as errors tell it
 * @throws {UpstreamError} when it is none that is understood
 */
export function parseUpstreamManifest({ mediaType, bytes }: UpstreamManifest, reference: string): ParsedManifest {
  try {
    return parseManifest(bytes, mediaType);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    throw new UpstreamError('invalid-answer', `is no manifest: ${JSON.stringify(error.detail)}`, {
      reference,
      cause: error,
    });
  }
}

/**
 * A blob as a whole, for configs and the like.
 *
 * @returns undefined when it has more than `maxSize` bytes
 * @throws {UpstreamError}
 */
export async function readSmallBlob(
  upstream: Pick<Upstream, 'openBlob'>,
  { repository, digest }: { readonly repository: UpstreamRepository; readonly digest: Digest },
  maxSize: number,
  access: UpstreamAccess,
): Promise<Buffer | undefined> {
  const { body } = await upstream.openBlob(repository, digest, access);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxSize) return undefined;
    // What is passed on may be used again for the next bytes.
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}
