import { z } from 'zod';
import { digestOf, isDigest, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { mediaTypes } from '../oci/media-types.js';
import type { ArchiveStaging, StagedFile } from './archive-staging.js';

/** An image of an archive, and how it is called there. */
export interface ArchiveImage {
  readonly digest: Digest;
  /** As the list of the archive says it; undefined when it does not. */
  readonly mediaType: string | undefined;
  /** As they are written: `docker.io/library/app:v1`, or a tag alone. */
  readonly names: readonly string[];
}

/** More images than anybody saves in one archive. */
const maxImages = 1000;

const text = z.string().max(1024);

/** `manifest.json` of `docker save` and of `podman save`. */
const dockerListSchema = z
  .array(
    z.looseObject({
      Config: text,
      RepoTags: z.array(text).max(maxImages).nullish(),
      Layers: z.array(text).max(maxImages).nullish(),
    }),
  )
  .max(maxImages);

/** `index.json` (OCI Image Spec, "Image Layout"). */
const layoutSchema = z.looseObject({
  schemaVersion: z.literal(2),
  manifests: z
    .array(
      z.looseObject({
        mediaType: text.optional(),
        digest: z.string().refine(isDigest, 'expected a digest'),
        annotations: z.record(z.string(), z.string()).nullish(),
        platform: z.looseObject({ os: z.string(), architecture: z.string() }).nullish(),
      }),
    )
    .max(maxImages),
});

type LayoutEntry = z.infer<typeof layoutSchema>['manifests'][number];

const layerTypes = {
  plain: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const satisfies Record<StagedFile['format'], string>;

/**
 * The images of an archive that was received. An OCI layout counts before a `manifest.json` beside it, because there the
 * images have their manifests; those of `docker save` are written here, and kept with the staging.
 *
 * @throws {OciError} MANIFEST_INVALID when its lists are wrong or there are none; MANIFEST_BLOB_UNKNOWN with status 400 when
 *   they name what is not there; DIGEST_INVALID when a layer is not the one that the config is about
 */
export function readImages(staging: ArchiveStaging): readonly ArchiveImage[] {
  const layout = staging.list('index.json');
  if (layout !== undefined) return imagesOfLayout(layout, staging);
  const list = staging.list('manifest.json');
  if (list !== undefined)
    return parseList('manifest.json', list, dockerListSchema).map((entry) => toImage(entry, staging));
  throw new OciError('MANIFEST_INVALID', {
    reason: 'the archive holds no images',
    expected: 'index.json of an OCI image layout, or manifest.json of docker save or podman save',
  });
}

function imagesOfLayout(bytes: Buffer, staging: ArchiveStaging): readonly ArchiveImage[] {
  const entries = parseList('index.json', bytes, layoutSchema).manifests;
  if (isWholeIndex(entries)) {
    const digest = digestOf(bytes);
    staging.addDocument(bytes, digest);
    return [{ digest, mediaType: mediaTypes.ociIndex, names: [] }];
  }
  const images = new Map<Digest, ArchiveImage>();
  for (const entry of entries) {
    if (!staging.documents.has(entry.digest)) throw notInArchive([entry.digest]);
    const known = images.get(entry.digest);
    images.set(entry.digest, {
      digest: entry.digest,
      mediaType: entry.mediaType,
      names: [...(known?.names ?? []), ...namesOf(entry)],
    });
  }
  return [...images.values()];
}

/** Some tools write the index of one image for several platforms as the list of the layout. */
function isWholeIndex(entries: readonly LayoutEntry[]): boolean {
  return entries.length > 1 && entries.every((entry) => namesOf(entry).length === 0 && entry.platform);
}

/** containerd and docker write the whole name beside the tag; others write either into the annotation of the spec. */
function namesOf({ annotations }: LayoutEntry): readonly string[] {
  const name = annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'];
  return name === undefined || name === '' ? [] : [name];
}

/**
 * Writes the manifest that an archive of `docker save` lacks, as `docker save` of version 25 on writes it beside: of OCI,
 * with the layers as they are. The config stays what it was, byte by byte, so that the image has the same id wherever it
 * is pulled.
 */
function toImage(entry: z.infer<typeof dockerListSchema>[number], staging: ArchiveStaging): ArchiveImage {
  const layerNames = entry.Layers ?? [];
  const config = staging.find(entry.Config);
  const layers = layerNames.map((name) => staging.find(name));
  const missing = [entry.Config, ...layerNames].filter((_name, index) => [config, ...layers][index] === undefined);
  if (config === undefined || !layers.every((layer) => layer !== undefined)) throw notInArchive(missing);
  checkLayers(entry.Config, config, layers);
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config.digest, size: config.size },
    layers: layers.map(({ digest, size, format }) => ({ mediaType: layerTypes[format], digest, size })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  staging.addDocument(bytes, digest);
  return { digest, mediaType: mediaTypes.ociManifest, names: entry.RepoTags ?? [] };
}

/** A layer that was packed has another digest than the config knows it by. */
function checkLayers(name: string, { diffIds }: StagedFile, layers: readonly StagedFile[]): void {
  if (diffIds?.length !== layers.length) {
    throw new OciError('MANIFEST_INVALID', {
      config: name,
      expected: `the config of an image with the ${layers.length} layers that manifest.json lists`,
    });
  }
  for (const [index, { digest, format }] of layers.entries()) {
    if (format !== 'plain' || digest === diffIds[index]) continue;
    throw new OciError('DIGEST_INVALID', { config: name, layer: index, expected: diffIds[index], actual: digest });
  }
}

function parseList<T>(name: string, bytes: Buffer, schema: z.ZodType<T>): T {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString());
  } catch (error) {
    throw new OciError('MANIFEST_INVALID', { entry: name, reason: 'it is not JSON' }, { cause: error });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const causes = parsed.error.issues
    .slice(0, 20)
    .map(({ path, message }) => ({ field: path.join('.'), reason: message }));
  throw new OciError('MANIFEST_INVALID', { entry: name, causes });
}

/** @param missing digests, or names of files */
export function notInArchive(missing: readonly string[]): OciError {
  const detail = {
    missing: missing.slice(0, 100),
    reason: 'the archive does not hold all that its images are made of',
  };
  return new OciError('MANIFEST_BLOB_UNKNOWN', detail, { status: 400 });
}
