import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseManifest, readImage, type Descriptor, type Image } from './image.js';

/** Writes an image to an OCI layout (OCI Image Spec, "Image Layout"), under a tag. */
export async function writeLayout(directory: string, tag: string, image: Image): Promise<void> {
  await mkdir(path.join(directory, 'blobs', 'sha256'), { recursive: true });
  for (const [digest, bytes] of [...image.manifests, ...image.blobs])
    await writeFile(blobPath(directory, digest), bytes);
  const descriptor = { ...image.descriptor, annotations: { 'org.opencontainers.image.ref.name': tag } };
  await writeFile(path.join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }));
  await writeFile(path.join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

/** Reads the only image of an OCI layout, every piece checked against its digest. */
export async function readLayout(directory: string): Promise<Image> {
  const entries = parseManifest(await readFile(path.join(directory, 'index.json'))).manifests ?? [];
  const [entry] = entries;
  if (entry === undefined || entries.length > 1)
    throw new Error(`${directory} holds ${entries.length} images, not one`);
  const read = (descriptor: Descriptor): Promise<Buffer> => readFile(blobPath(directory, descriptor.digest));
  return readImage(entry, read, read);
}

function blobPath(directory: string, digest: string): string {
  return path.join(directory, 'blobs', ...digest.split(':'));
}
