import { z } from 'zod';
import type { Descriptor } from '../oci/descriptor.js';
import { isDigest, type Digest } from '../oci/digest.js';
import { mediaTypes } from '../oci/media-types.js';
import { parseTag } from '../oci/reference.js';
import { readManifest } from './manifest-reading.js';
import { PageReader } from './page-reading.js';
import type { RegistryExchange } from './registry-exchange.js';
import { UpstreamError } from './upstream.js';

const maxReferrers = 10_000;

const descriptor = z.object({
  mediaType: z.string().min(1).max(255),
  digest: z.string().refine(isDigest),
  size: z.int().nonnegative(),
  artifactType: z.string().max(255).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});

/** OCI Distribution Spec, end-12a, or "Referrers Tag Schema" when there is no such API. */
export async function listReferrers(
  exchange: RegistryExchange,
  path: string,
  subject: Digest,
): Promise<readonly Descriptor[]> {
  const listed = await byApi(exchange, path, subject);
  return listed ?? byTag(exchange, path, subject);
}

/** Undefined when there is no such API. */
async function byApi(exchange: RegistryExchange, path: string, subject: Digest): Promise<Descriptor[] | undefined> {
  const pages = new PageReader(exchange, { Accept: mediaTypes.ociIndex });
  const found: Descriptor[] = [];
  let next: string | undefined = `${path}/referrers/${subject}`;
  try {
    while (next !== undefined && found.length < maxReferrers) {
      const page = await pages.read(next);
      found.push(...descriptorsOf(page.json));
      next = page.next;
    }
  } catch (error) {
    if (found.length === 0 && error instanceof UpstreamError && hasNoApi(error)) return undefined;
    throw error;
  }
  return found.slice(0, maxReferrers);
}

/** Registries without the API answer 404 as the spec asks, or what they answer to any path they do not know. */
function hasNoApi({ problem, status }: UpstreamError): boolean {
  return (
    problem === 'not-found' ||
    status === 400 ||
    status === 405 ||
    (problem === 'invalid-answer' && status === undefined)
  );
}

async function byTag(exchange: RegistryExchange, path: string, subject: Digest): Promise<Descriptor[]> {
  const [algorithm = '', encoded = ''] = subject.split(':');
  const tag = parseTag(`${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`);
  try {
    const { bytes, mediaType } = await readManifest(exchange, path, { kind: 'tag', tag });
    if (mediaType !== mediaTypes.ociIndex) return [];
    return descriptorsOf(JSON.parse(bytes.toString('utf8')) as Record<string, unknown>).slice(0, maxReferrers);
  } catch (error) {
    if (error instanceof UpstreamError && error.problem === 'not-found') return [];
    throw error;
  }
}

/** Those that can be read. */
function descriptorsOf({ manifests }: Readonly<Record<string, unknown>>): Descriptor[] {
  if (!Array.isArray(manifests)) return [];
  return manifests.slice(0, maxReferrers).flatMap((entry: unknown) => {
    const parsed = descriptor.safeParse(entry);
    if (!parsed.success) return [];
    const { artifactType, annotations, ...rest } = parsed.data;
    return [{ ...rest, ...(artifactType != null && { artifactType }), ...(annotations != null && { annotations }) }];
  });
}
