import { createHash } from 'node:crypto';
import type { TestRegistry, TestRequest } from './registry.js';

export const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  empty: 'application/vnd.oci.empty.v1+json',
} as const;

/** Bytes and the name they go by. */
export interface Content {
  readonly bytes: Buffer;
  readonly digest: string;
}

/** A manifest, ready to be pushed as what it is. */
export interface Manifest extends Content {
  readonly mediaType: string;
}

/** A descriptor as it stands in a manifest. */
export interface TestDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly data?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export function sha256(bytes: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function sha512(bytes: string | Uint8Array): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

export function content(bytes: string | Uint8Array): Content {
  return { bytes: Buffer.from(bytes), digest: sha256(bytes) };
}

/** What the OCI Image Spec calls the empty descriptor's content. */
export const emptyJson = content('{}');

export function descriptor(mediaType: string, { bytes, digest }: Content): TestDescriptor {
  return { mediaType, digest, size: bytes.length };
}

/** Any object as the bytes of a manifest. */
export function manifestOf(fields: object, mediaType: string = types.manifest): Manifest {
  return { ...content(JSON.stringify(fields)), mediaType };
}

/** Fields of an image manifest beside config and layers; `mediaType` may be replaced. */
export type ManifestFields = Readonly<Record<string, unknown>> & { readonly mediaType?: string };

export function imageManifest(config: Content, layers: readonly Content[] = [], fields: ManifestFields = {}): Manifest {
  return manifestOf(
    {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: descriptor(types.config, config),
      layers: layers.map((layer) => descriptor(types.layer, layer)),
      ...fields,
    },
    fields.mediaType,
  );
}

export function imageIndex(children: readonly Manifest[], fields: ManifestFields = {}): Manifest {
  return manifestOf(
    {
      schemaVersion: 2,
      mediaType: types.index,
      manifests: children.map((child) => descriptor(child.mediaType, child)),
      ...fields,
    },
    fields.mediaType ?? types.index,
  );
}

/** An artifact that says something about `subject`: an empty config, one layer. */
export function referrer(subject: Manifest, artifactType: string, fields: ManifestFields = {}): Manifest {
  return manifestOf({
    schemaVersion: 2,
    mediaType: types.manifest,
    artifactType,
    config: descriptor(types.empty, emptyJson),
    layers: [descriptor(types.empty, emptyJson)],
    subject: descriptor(subject.mediaType, subject),
    ...fields,
  });
}

/** @throws when the answer has another status, with what the registry said */
export async function expectStatus(response: Response, status: number): Promise<Response> {
  if (response.status === status) return response;
  throw new Error(`expected ${status}, got ${response.status}: ${await response.text()}`);
}

export async function pushBlob(
  registry: TestRegistry,
  repository: string,
  bytes: string | Uint8Array,
  request: TestRequest = {},
): Promise<Content> {
  const blob = content(bytes);
  const session = await startUpload(registry, repository, request);
  await expectStatus(
    await registry.fetch(`${session}?digest=${blob.digest}`, { ...request, method: 'PUT', body: blob.bytes }),
    201,
  );
  return blob;
}

/** Begins a session. @returns its Location */
export async function startUpload(
  registry: TestRegistry,
  repository: string,
  request: TestRequest = {},
): Promise<string> {
  const response = await registry.fetch(`/v2/${repository}/blobs/uploads/`, { ...request, method: 'POST' });
  await expectStatus(response, 202);
  return response.headers.get('Location')!;
}

/** @param reference the manifest's own digest when left out */
export async function putManifest(
  registry: TestRegistry,
  repository: string,
  manifest: Manifest,
  reference: string = manifest.digest,
  request: TestRequest = {},
): Promise<Response> {
  return registry.fetch(`/v2/${repository}/manifests/${reference}`, {
    ...request,
    method: 'PUT',
    headers: { 'Content-Type': manifest.mediaType },
    body: manifest.bytes,
  });
}

/** As `putManifest`, when it must succeed. */
export async function pushManifest(
  registry: TestRegistry,
  repository: string,
  manifest: Manifest,
  reference: string = manifest.digest,
  request: TestRequest = {},
): Promise<Manifest> {
  await expectStatus(await putManifest(registry, repository, manifest, reference, request), 201);
  return manifest;
}

/** An image of one layer, with what it is made of. */
export interface PushedImage extends Manifest {
  readonly config: Content;
  readonly layer: Content;
}

/**
 * Pushes a small image.
 *
 * @param name tells images apart: two of the same name are the same bytes
 */
export async function pushImage(
  registry: TestRegistry,
  repository: string,
  tag: string,
  name: string = tag,
  request: TestRequest = {},
): Promise<PushedImage> {
  const config = await pushBlob(registry, repository, JSON.stringify({ architecture: 'amd64', os: 'linux', name }));
  const layer = await pushBlob(registry, repository, `layer of ${name}`);
  const manifest = await pushManifest(registry, repository, imageManifest(config, [layer]), tag, request);
  return { ...manifest, config, layer };
}
