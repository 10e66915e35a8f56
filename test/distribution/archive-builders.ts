import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { content, descriptor, types, type Content, type Manifest } from '../support/images.js';

/** A file of an archive, or the name that a symbolic link has in it. */
export type ArchiveEntry = readonly [name: string, bytes: string | Uint8Array | { readonly link: string }];

/** A tar archive of the entries in their order. */
export async function archiveOf(entries: readonly ArchiveEntry[]): Promise<Buffer> {
  const archive = pack();
  const whole = buffer(archive as AsyncIterable<Buffer>);
  for (const [name, bytes] of entries) {
    if (name.endsWith('/')) archive.entry({ name, type: 'directory' });
    else if (typeof bytes === 'object' && 'link' in bytes)
      archive.entry({ name, type: 'symlink', linkname: bytes.link });
    else archive.entry({ name }, Buffer.from(bytes));
  }
  archive.finalize();
  return whole;
}

/** A layer as a tar archive that says its name. */
export async function layerOf(text: string): Promise<Content> {
  return content(await archiveOf([['file', text]]));
}

/** The config of an image with these layers, which are not compressed. */
export function configOf(layers: readonly Content[], fields: object = {}): Content {
  return content(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/none'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      ...fields,
    }),
  );
}

/** An image of `docker save`. */
export interface SavedImage {
  readonly config: Content;
  readonly layers: readonly Content[];
  readonly repoTags: readonly string[] | null;
}

export async function savedImage(text: string, repoTags: readonly string[] | null): Promise<SavedImage> {
  const layers = [await layerOf(`first of ${text}`), await layerOf(`second of ${text}`)];
  return { layers, config: configOf(layers), repoTags };
}

/** What `docker save` before version 25 writes, with what it keeps for older readers. */
export function dockerEntries(images: readonly SavedImage[]): readonly ArchiveEntry[] {
  const hex = ({ digest }: Content): string => digest.slice('sha256:'.length);
  const folders = new Map<string, Content>();
  for (const { layers } of images) for (const layer of layers) folders.set(hex(layer), layer);
  const list = images.map(({ config, layers, repoTags }) => ({
    Config: `${hex(config)}.json`,
    RepoTags: repoTags,
    Layers: layers.map((layer) => `${hex(layer)}/layer.tar`),
  }));
  return [
    ...[...folders].flatMap(([folder, layer]): ArchiveEntry[] => [
      [`${folder}/`, ''],
      [`${folder}/VERSION`, '1.0'],
      [`${folder}/json`, '{"id":"none"}'],
      [`${folder}/layer.tar`, layer.bytes],
    ]),
    ...images.map(({ config }): ArchiveEntry => [`${hex(config)}.json`, config.bytes]),
    ['manifest.json', JSON.stringify(list)],
    ['repositories', '{}'],
  ];
}

/** The manifest that such an image gets: of OCI, with its layers as they are. */
export function writtenManifest({ config, layers }: SavedImage): Content {
  return content(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: descriptor(types.config, config),
      layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
    }),
  );
}

/** A manifest that a layout lists, under a name when it has one. */
export interface ListedManifest {
  readonly manifest: Manifest;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

export const refName = 'org.opencontainers.image.ref.name';

/** An OCI image layout; its list comes first, as skopeo writes it, or last, as docker does. */
export function layoutEntries(
  listed: readonly ListedManifest[],
  blobs: readonly Content[],
  { isListLast = false }: { readonly isListLast?: boolean } = {},
): readonly ArchiveEntry[] {
  const manifests = listed.map(({ manifest, ...rest }) => ({ ...descriptor(manifest.mediaType, manifest), ...rest }));
  const lists: ArchiveEntry[] = [
    ['index.json', JSON.stringify({ schemaVersion: 2, manifests })],
    ['oci-layout', '{"imageLayoutVersion":"1.0.0"}'],
  ];
  const all = new Map([...listed.map(({ manifest }) => manifest), ...blobs].map((blob) => [blob.digest, blob]));
  const files = [...all.values()].map(({ digest, bytes }): ArchiveEntry => [
    `blobs/${digest.replace(':', '/')}`,
    bytes,
  ]);
  return isListLast ? [...files, ...lists] : [...lists, ...files];
}
