import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { parseManifest, type ManifestReference, type ParsedManifest } from '../oci/manifest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import { notInArchive } from './archive-layout.js';

/** A manifest of an archive, ready to be pushed. */
export interface PlannedManifest {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly mediaType: string;
}

/** What has to be pushed for an image, in this order. */
export interface ImagePlan {
  /** Configs, layers, and what else manifests refer to, each once. */
  readonly blobs: readonly ManifestReference[];
  /** Those that an index lists come before it; the image itself is the last. */
  readonly manifests: readonly PlannedManifest[];
  readonly warnings: readonly string[];
}

/** Deeper than indexes are nested. */
const maxDepth = 8;

/** Manifests that are about an image beside them (BuildKit, attestation storage). */
const attestation = 'attestation-manifest';

/**
 * Gathers what an image is made of. An index of which the archive has one platform only, as `docker save` writes it of an
 * image for several, becomes the image for that one.
 *
 * @param documents of the archive, by digest
 * @throws {OciError} MANIFEST_INVALID; MANIFEST_BLOB_UNKNOWN with status 400 when a manifest is not in the archive
 */
export function planImage(
  documents: ReadonlyMap<Digest, Buffer>,
  image: { readonly digest: Digest; readonly mediaType: string | undefined },
): ImagePlan {
  const { bytes, manifest } = open(documents, image.digest, image.mediaType);
  const listed = manifest.references.filter(isManifest);
  const missing = listed.filter(({ digest }) => !documents.has(digest));
  if (missing.length === 0) return gather(documents, image);
  const attestations = attestationsOf(bytes);
  const there = listed.filter(({ digest }) => documents.has(digest) && !attestations.has(digest));
  const [only] = there;
  if (only === undefined || there.length > 1) throw notInArchive(missing.map(({ digest }) => digest));
  const plan = gather(documents, only);
  const warning = `of the ${listed.length} manifests of ${image.digest} the archive has one image, which was imported alone`;
  return { ...plan, warnings: [warning] };
}

function gather(
  documents: ReadonlyMap<Digest, Buffer>,
  top: { readonly digest: Digest; readonly mediaType: string | undefined },
): ImagePlan {
  const blobs = new Map<Digest, ManifestReference>();
  const manifests = new Map<Digest, PlannedManifest>();
  const visit = (digest: Digest, described: string | undefined, depth: number): void => {
    if (manifests.has(digest)) return;
    if (depth > maxDepth) throw new OciError('MANIFEST_INVALID', `indexes are nested more than ${maxDepth} deep`);
    const { bytes, manifest } = open(documents, digest, described);
    for (const reference of manifest.references) {
      if (isManifest(reference)) visit(reference.digest, reference.mediaType, depth + 1);
      else blobs.set(reference.digest, reference);
    }
    manifests.set(digest, { digest, bytes, mediaType: manifest.mediaType });
  };
  visit(top.digest, top.mediaType, 0);
  return { blobs: [...blobs.values()], manifests: [...manifests.values()], warnings: [] };
}

function open(
  documents: ReadonlyMap<Digest, Buffer>,
  digest: Digest,
  described: string | undefined,
): { readonly bytes: Buffer; readonly manifest: ParsedManifest } {
  const bytes = documents.get(digest);
  if (bytes === undefined) throw notInArchive([digest]);
  return { bytes, manifest: parseManifest(bytes, described) };
}

/** An index may list any content (OCI Image Spec, "Image Index"). */
function isManifest({ role, mediaType }: ManifestReference): boolean {
  return role === 'manifest' && isManifestMediaType(mediaType);
}

function attestationsOf(bytes: Buffer): ReadonlySet<string> {
  const { manifests } = JSON.parse(bytes.toString()) as {
    readonly manifests?: readonly {
      readonly digest: string;
      readonly annotations?: Readonly<Record<string, unknown>>;
    }[];
  };
  const found = (manifests ?? []).filter(
    ({ annotations }) => annotations?.['vnd.docker.reference.type'] === attestation,
  );
  return new Set(found.map(({ digest }) => digest));
}
