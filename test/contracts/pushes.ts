import type { ManifestPush, TagRemoval } from '../../src/metadata/repository-store.js';
import { digestOf, type Digest } from '../../src/oci/digest.js';
import { summarizeImage } from '../../src/oci/image-config.js';
import { parseManifest } from '../../src/oci/manifest.js';
import { mediaTypes } from '../../src/oci/media-types.js';
import { parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';

/** What matters of an image manifest; two of the same fields are the same bytes. */
export interface ImageFields {
  readonly repository?: RepositoryName;
  /** Tells images apart. */
  readonly name?: string;
  readonly tags?: readonly string[];
  readonly principal?: string;
  readonly config?: Digest;
  readonly layers?: readonly Digest[];
  /** Layers that need not be in the repository. */
  readonly foreignLayers?: readonly Digest[];
  readonly subject?: Digest;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Its config is allowed to be missing. */
  readonly sparse?: boolean;
}

export const app = parseRepositoryName('team/app');
export const other = parseRepositoryName('team/other');
const emptyConfig = digestOf('{}');

/** The push of an image manifest, sparse unless it says otherwise: most tests push no blobs. */
export function imagePush(fields: ImageFields = {}): ManifestPush {
  const descriptor = (mediaType: string, digest: Digest) => ({ mediaType, digest, size: 2 });
  const json = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    ...(fields.artifactType !== undefined && { artifactType: fields.artifactType }),
    config: descriptor('application/vnd.oci.image.config.v1+json', fields.config ?? emptyConfig),
    layers: [
      ...(fields.layers ?? []).map((digest) => descriptor('application/vnd.oci.image.layer.v1.tar', digest)),
      ...(fields.foreignLayers ?? []).map((digest) =>
        descriptor('application/vnd.oci.image.layer.nondistributable.v1.tar', digest),
      ),
    ],
    ...(fields.subject !== undefined && { subject: descriptor(mediaTypes.ociManifest, fields.subject) }),
    ...(fields.annotations !== undefined && { annotations: fields.annotations }),
    ...(fields.name !== undefined && { name: fields.name }),
  };
  return push(json, fields);
}

/** The push of an image index. */
export function indexPush(
  children: readonly { readonly digest: Digest; readonly mediaType: string }[],
  fields: ImageFields = {},
): ManifestPush {
  const manifests = children.map((child) => ({ ...child, size: 2 }));
  return push({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests, name: fields.name }, fields);
}

function push(json: object, fields: ImageFields): ManifestPush {
  const bytes = Buffer.from(JSON.stringify(json));
  const manifest = parseManifest(bytes, undefined);
  return {
    repository: fields.repository ?? app,
    digest: digestOf(bytes),
    bytes,
    manifest,
    tags: (fields.tags ?? []).map(parseTag),
    sparse: fields.sparse ?? true,
    summary: summarizeImage(bytes, manifest, undefined),
    actor: { name: fields.principal ?? 'ada', kind: 'user' },
  };
}

/** A deletion by somebody. */
export function by(name: string): TagRemoval {
  return { actor: { name, kind: 'user' } };
}
