import { z } from 'zod';
import { digestAlgorithm, digestOf, isDigest, type Digest } from './digest.js';
import { OciError } from './errors.js';
import {
  isDockerSchema1,
  isIndexMediaType,
  isManifestMediaType,
  isNonDistributable,
  manifestMediaTypes,
  mediaTypes,
  type ManifestMediaType,
} from './media-types.js';

/** The most bytes a manifest may have; the spec asks registries to take at least 4 megabytes. */
export const maxManifestSize = 4 * 1024 * 1024;

/** What a manifest refers to, and in which role. */
export interface ManifestReference {
  readonly role: 'config' | 'layer' | 'manifest';
  readonly digest: Digest;
  /** Bytes, as the descriptor says. */
  readonly size: number;
  readonly mediaType: string;
  /** False for layers that are not distributed with the image. */
  readonly required: boolean;
}

/** The facts the registry keeps of a manifest, beside its bytes. */
export interface ParsedManifest {
  readonly mediaType: ManifestMediaType;
  readonly isIndex: boolean;
  /** `artifactType`, or for an image manifest without one its config's media type (OCI Distribution Spec, "Listing Referrers"). */
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
  readonly subject: Digest | undefined;
  readonly references: readonly ManifestReference[];
}

const digest = z.string().refine(isDigest, 'expected sha256:<64 hex digits> or sha512:<128 hex digits>');

/** More than real manifests have: an image has up to some hundred layers, an index up to some thousand entries. */
const maxDescriptors = 10_000;
const maxAnnotations = 1000;
/** So many faults are told. */
const maxCauses = 20;
const maxShownLength = 300;

/** Looked at before what is inside: each of two million wrong elements would be a fault of its own. */
function atMost(max: number, what: string) {
  return z.unknown().refine((value) => countOf(value) <= max, `expected at most ${max} ${what}`);
}

function countOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0;
}

const annotations = atMost(maxAnnotations, 'annotations').pipe(z.record(z.string(), z.string()));

const descriptor = z.looseObject({
  mediaType: z.string().min(1).max(255),
  digest,
  size: z.int().nonnegative(),
  data: z.string().optional(),
  annotations: annotations.nullish(),
});

type ParsedDescriptor = z.infer<typeof descriptor>;

const descriptors = atMost(maxDescriptors, 'descriptors').pipe(z.array(z.unknown()).transform(parseDescriptors));

/** Goes on until enough is wrong. */
function parseDescriptors(entries: readonly unknown[], context: z.RefinementCtx): ParsedDescriptor[] {
  const parsed: ParsedDescriptor[] = [];
  for (const [position, entry] of entries.entries()) {
    const result = descriptor.safeParse(entry);
    if (result.success) parsed.push(result.data);
    else for (const issue of result.error.issues) context.addIssue({ ...issue, path: [position, ...issue.path] });
    if (context.issues.length >= maxCauses) break;
  }
  return parsed;
}

// Go clients write an absent list or map as null.
const common = {
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().max(255).optional(),
  subject: descriptor.nullish(),
  annotations: annotations.nullish(),
};

const imageManifest = z.looseObject({
  ...common,
  config: descriptor,
  layers: descriptors.nullish(),
  manifests: z.undefined('an image manifest must not have manifests as well').optional(),
});

const imageIndex = z.looseObject({
  ...common,
  manifests: descriptors.nullable(),
  config: z.undefined('an image index must not have a config as well').optional(),
  layers: z.undefined('an image index must not have layers as well').optional(),
});

/**
 * Checks a manifest against the OCI Image Spec (and Docker's schema 2, its ancestor) and returns what it says.
 *
 * @param contentType of the push, without parameters; undefined when the client sent none
 * @throws {OciError} MANIFEST_INVALID, with a detail that names each wrong field
 */
export function parseManifest(bytes: Buffer, contentType: string | undefined): ParsedManifest {
  const json = parseJson(bytes);
  const mediaType = decideMediaType(json, contentType);
  const isIndex = isIndexMediaType(mediaType);
  if (isIndex) {
    const index = check(imageIndex, json);
    return facts(mediaType, index, nonEmpty(index.artifactType), toReferences('manifest', index.manifests ?? []));
  }
  const manifest = check(imageManifest, json);
  return facts(mediaType, manifest, nonEmpty(manifest.artifactType) ?? manifest.config.mediaType, [
    ...toReferences('config', [manifest.config]),
    ...toReferences('layer', manifest.layers ?? []),
  ]);
}

/** The spec treats an empty artifact type like none. */
function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function facts(
  mediaType: ManifestMediaType,
  manifest: z.infer<typeof imageManifest> | z.infer<typeof imageIndex>,
  artifactType: string | undefined,
  references: readonly ManifestReference[],
): ParsedManifest {
  if (manifest.subject) checkEmbeddedData('subject', manifest.subject);
  return {
    mediaType,
    isIndex: isIndexMediaType(mediaType),
    artifactType,
    annotations: manifest.annotations ?? undefined,
    subject: manifest.subject?.digest,
    references,
  };
}

function parseJson(bytes: Buffer): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new OciError('MANIFEST_INVALID', 'the body is not JSON in UTF-8', { cause: error });
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw new OciError('MANIFEST_INVALID', 'the body must be a JSON object');
}

/**
 * Bytes that could be read as an image by one client and as an index by another would let a signature vouch for
 * something else, so the content type, the `mediaType` field and the shape must all agree.
 */
function decideMediaType(json: Record<string, unknown>, contentType: string | undefined): ManifestMediaType {
  if (json['schemaVersion'] === 1 || (contentType !== undefined && isDockerSchema1(contentType))) {
    throw new OciError('MANIFEST_INVALID', {
      reason: 'Docker image manifest schema 1 is not supported; push schema 2 or an OCI image manifest',
    });
  }
  const declared = json['mediaType'];
  const shape = 'manifests' in json ? mediaTypes.ociIndex : mediaTypes.ociManifest;
  // application/json and octet-stream are what simple HTTP clients send for any file; they say nothing.
  const meant =
    contentType !== undefined && /^application\/(json|octet-stream)$/.test(contentType) ? undefined : contentType;
  const mediaType = declared ?? meant ?? shape;
  if (typeof mediaType !== 'string' || !isManifestMediaType(mediaType)) {
    // What is no text may be nested deeper than can be repeated.
    const shown = typeof mediaType === 'string' ? mediaType.slice(0, maxShownLength) : undefined;
    throw new OciError('MANIFEST_INVALID', { mediaType: shown, expected: manifestMediaTypes });
  }
  if (meant !== undefined && meant !== mediaType) {
    throw new OciError('MANIFEST_INVALID', {
      reason: 'Content-Type and mediaType differ',
      contentType: meant,
      mediaType,
    });
  }
  return mediaType;
}

function check<T>(schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const causes = result.error.issues
    .slice(0, maxCauses)
    .map((issue) => ({ field: issue.path.join('.').slice(0, maxShownLength), reason: issue.message }));
  throw new OciError('MANIFEST_INVALID', { causes });
}

function toReferences(role: ManifestReference['role'], descriptors: readonly ParsedDescriptor[]): ManifestReference[] {
  return descriptors.map((entry, position) => {
    checkEmbeddedData(`${role} ${position}`, entry);
    const required = role !== 'layer' || !isNonDistributable(entry.mediaType);
    return { role, digest: entry.digest, size: entry.size, mediaType: entry.mediaType, required };
  });
}

/** OCI Image Spec, "Embedded Content": `data` must be the content itself, or it would smuggle other bytes. */
function checkEmbeddedData(field: string, entry: ParsedDescriptor): void {
  if (entry.data === undefined) return;
  const data = Buffer.from(entry.data, 'base64');
  const isBase64 = data.toString('base64') === entry.data;
  if (!isBase64 || data.length !== entry.size || digestOf(data, digestAlgorithm(entry.digest)) !== entry.digest) {
    throw new OciError('MANIFEST_INVALID', { field, reason: 'data is not the content that digest and size name' });
  }
}
