import { createCipheriv, createHash } from 'node:crypto';
import {
  buildImage,
  buildIndex,
  describeBytes,
  mediaTypes,
  parseManifest,
  type Descriptor,
  type Image,
} from '../image.js';

/** How an image is to be. The same options and name make the same bytes. */
export interface SampleOptions {
  /** Of each platform; default 1. */
  readonly layers?: number;
  /** Bytes of each layer, which no compression makes smaller; default 1,000. */
  readonly layerSize?: number;
  /** Architectures of Linux. With any, an index is made; without, one image for amd64. */
  readonly platforms?: readonly string[];
  /** Media types of the OCI, or of Docker (schema 2 and manifest lists). Default `oci`. */
  readonly format?: 'oci' | 'docker';
}

const emptyMediaType = 'application/vnd.oci.empty.v1+json';

const dockerTypes: Readonly<Record<string, string>> = {
  [mediaTypes.manifest]: mediaTypes.dockerManifest,
  [mediaTypes.index]: mediaTypes.dockerIndex,
  [mediaTypes.config]: 'application/vnd.docker.container.image.v1+json',
  [mediaTypes.layer]: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

/** An image, or an index of images, whose bytes follow from the name and the options. */
export function sampleImage(name: string, options: SampleOptions = {}): Image {
  const { layers = 1, layerSize = 1000, platforms, format = 'oci' } = options;
  const images = (platforms ?? ['amd64']).map((architecture) => {
    const files = Array.from({ length: layers }, (_, number) => {
      const file = `${architecture}/layer-${number}`;
      return [file, sampleBytes(`${name}/${file}`, layerSize)] as const;
    });
    const image = buildImage(new Map(files), architecture);
    return format === 'docker' ? asDocker(image) : image;
  });
  const index = platforms && buildIndex(images);
  if (index === undefined) return images[0]!;
  return format === 'docker' ? asDocker(index) : index;
}

/** An artifact that refers to a manifest (OCI Image Spec, "Guidelines for Artifact Usage"), with one blob. */
export function sampleReferrer(
  subject: Descriptor,
  { artifactType, content }: { readonly artifactType: string; readonly content: string },
): Image {
  const config = Buffer.from('{}');
  const blob = Buffer.from(content);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType,
      config: describeBytes(config, emptyMediaType),
      layers: [describeBytes(blob, 'text/plain')],
      subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
    }),
  );
  const descriptor = { ...describeBytes(manifest, mediaTypes.manifest), artifactType };
  return {
    descriptor,
    manifests: new Map([[descriptor.digest, manifest]]),
    blobs: new Map([config, blob].map((bytes) => [describeBytes(bytes, '').digest, bytes])),
  };
}

/** Bytes that follow from the name and look like random ones. */
export function sampleBytes(name: string, size: number): Buffer {
  const key = createHash('sha256').update(name).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

/** The same with Docker's media types. An index keeps the digests it lists, whose images are Docker's already. */
function asDocker(image: Image): Image {
  const { digest } = image.descriptor;
  const manifest = parseManifest(image.manifests.get(digest)!);
  const bytes = Buffer.from(
    JSON.stringify(manifest, (key, value: unknown) =>
      key === 'mediaType' && typeof value === 'string' ? (dockerTypes[value] ?? value) : value,
    ),
  );
  const mediaType = dockerTypes[image.descriptor.mediaType]!;
  const descriptor = { ...image.descriptor, ...describeBytes(bytes, mediaType) };
  const listed = [...image.manifests].filter(([other]) => other !== digest);
  return { ...image, descriptor, manifests: new Map([[descriptor.digest, bytes], ...listed]) };
}
