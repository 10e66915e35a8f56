/** Media types the registry acts on (OCI Image Spec, "Media Types"; Docker Image Manifest V2, Schema 2). */
export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

export type ManifestMediaType = (typeof mediaTypes)[keyof typeof mediaTypes];

export const manifestMediaTypes: readonly ManifestMediaType[] = Object.values(mediaTypes);

export function isManifestMediaType(mediaType: string): mediaType is ManifestMediaType {
  return (manifestMediaTypes as readonly string[]).includes(mediaType);
}

export function isIndexMediaType(mediaType: ManifestMediaType): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerManifestList;
}

/** The retired format (Docker Image Manifest V2, Schema 1), signed or not, named so that the refusal can say so. */
export function isDockerSchema1(mediaType: string): boolean {
  return /^application\/vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)$/.test(mediaType);
}

/** Layers whose bytes live elsewhere and need not be pushed (OCI Image Spec, "Non-Distributable Layers"). */
export function isNonDistributable(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.v1.tar') ||
    mediaType === 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  );
}
