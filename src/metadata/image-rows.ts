import type { Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { ImageSummary } from '../oci/image-config.js';
import { inBatches } from './batches.js';
import { appendChange, nextVersion } from './change-log.js';
import type { ApiObject } from './object-store.js';
import type { ManifestPush } from './repository-store.js';
import type { Schema } from './schema.js';
import { toChangeBody, uidOf } from './stream-rows.js';
import { imagesResource, type OwnMetadata } from './stream-store.js';

/**
 * Stores an image, once, with its line in the change log.
 *
 * @returns false when it is there already, and stays as it is
 */
export async function insertImage(
  tx: Transaction<Schema>,
  { digest, bytes, manifest, summary }: Pick<ManifestPush, 'digest' | 'bytes' | 'manifest' | 'summary'>,
  at: Date,
  metadata: OwnMetadata = {},
): Promise<boolean> {
  const known = await tx.selectFrom('image').select('digest').where('digest', '=', digest).executeTakeFirst();
  if (known !== undefined) {
    // It may have come without its config before.
    if (summary.config !== undefined) await insertSummary(tx, digest, summary);
    return false;
  }
  const version = await nextVersion(tx);
  await tx
    .insertInto('image')
    .values({
      digest,
      media_type: manifest.mediaType,
      size: bytes.length,
      bytes,
      artifact_type: manifest.artifactType ?? null,
      annotations: manifest.annotations === undefined ? null : JSON.stringify(manifest.annotations),
      subject: manifest.subject ?? null,
      created_at: at.getTime(),
      version,
      metadata: JSON.stringify(metadata),
    })
    .execute();
  const rows = manifest.references.map((reference, position) => ({
    image: digest,
    position,
    role: reference.role,
    target: reference.digest,
    required: reference.required ? (1 as const) : (0 as const),
  }));
  for (const batch of inBatches(rows)) await tx.insertInto('image_reference').values(batch).execute();
  await insertSummary(tx, digest, summary);
  await appendImageChange(tx, { kind: 'ADDED', digest, createdAt: at, metadata, version, at });
  return true;
}

/** Keeps what was read out of manifest and config; what is known already stays. */
export async function insertSummary(tx: Transaction<Schema>, digest: Digest, summary: ImageSummary): Promise<void> {
  const facts = {
    size: summary.totalSize,
    platforms: JSON.stringify(summary.platforms),
    version: summary.version ?? null,
    config: summary.config ?? null,
  };
  await tx
    .insertInto('image_summary')
    .values({ image: digest, ...facts })
    .onConflict((conflict) => conflict.column('image').doUpdateSet(facts).where('image_summary.config', 'is', null))
    .execute();
}

/** An image as it stands in the change log: its metadata alone. */
export function toImageObject(image: {
  readonly digest: Digest;
  readonly createdAt: Date;
  readonly metadata: OwnMetadata;
  readonly version: number;
}): ApiObject {
  return {
    metadata: {
      name: image.digest,
      uid: imageUidOf(image.digest, image.createdAt),
      resourceVersion: String(image.version),
      creationTimestamp: image.createdAt.toISOString().replace(/\.\d+Z$/, 'Z'),
      ...image.metadata,
    },
  };
}

export function imageUidOf(digest: Digest, createdAt: Date): string {
  return uidOf(`${createdAt.getTime()} ${digest}`);
}

/** A line of the change log for an image. */
export async function appendImageChange(
  tx: Transaction<Schema>,
  change: {
    readonly kind: 'ADDED' | 'MODIFIED' | 'DELETED';
    readonly digest: Digest;
    readonly createdAt: Date;
    readonly metadata: OwnMetadata;
    /** Before the change, where there was something. */
    readonly previous?: OwnMetadata;
    readonly version: number;
    readonly at: Date;
  },
): Promise<void> {
  const { kind, digest, previous, version, at } = change;
  await appendChange(tx, {
    version,
    resource: imagesResource,
    namespace: '',
    name: digest,
    kind,
    body: toChangeBody(toImageObject(change)),
    previous: previous === undefined ? null : toChangeBody(toImageObject({ ...change, metadata: previous })),
    at: at.getTime(),
  });
}
