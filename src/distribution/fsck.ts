import { createHash } from 'node:crypto';
import type { BlobStore } from '../blobstore/blob-store.js';
import type { BlobRecord } from '../metadata/blob-records.js';
import type { Inspection } from '../metadata/inspection.js';
import { digestAlgorithm, digestOf, digestOfHash, type Digest } from '../oci/digest.js';

/** Something that is not as it must be. */
export interface Finding {
  /** `lost`: something that was acknowledged is gone or damaged; `note`: untidy, or what a user did on purpose. */
  readonly severity: 'lost' | 'note';
  readonly problem: string;
}

/** What was checked, for the operator to see that something was. */
export interface CheckCounts {
  tags: number;
  images: number;
  blobs: number;
  bytes: number;
  files: number;
}

/** How thorough a check is, and whom it tells. */
export interface CheckOptions {
  /** Read every blob and compare its digest; otherwise only sizes are looked at. */
  readonly readBlobs: boolean;
  readonly onFinding: (finding: Finding) => void;
  /** Called now and then with what has been checked so far. */
  readonly onProgress?: (counts: Readonly<CheckCounts>) => void;
}

/**
 * Checks what must always hold, in a registry at rest or at work: every tag leads to an image, and is where its newest
 * event says; every image has its digest and finds its blobs and manifests in its repository; every blob has its bytes,
 * and they have its digest.
 */
export async function checkRegistry(
  inspection: Inspection,
  store: BlobStore,
  options: CheckOptions,
): Promise<Readonly<CheckCounts>> {
  const counts: CheckCounts = { tags: 0, images: 0, blobs: 0, bytes: 0, files: 0 };
  const report = (severity: Finding['severity'], problem: string) => {
    options.onFinding({ severity, problem });
  };

  for await (const tag of inspection.tags()) {
    counts.tags += 1;
    const name = `${tag.repository}:${tag.name}`;
    if (!tag.linked) report('lost', `tag ${name} points at ${tag.image}, which is not in the repository`);
    if (tag.newestImage !== tag.image || tag.newestSequence !== tag.sequence) {
      report('lost', `tag ${name} is not where its newest event (${tag.newestSequence}) says`);
    }
  }
  for await (const name of inspection.forgottenTags()) {
    report('lost', `tag ${name.repository}:${name.tag} has a newest event with an image, but points nowhere`);
  }

  for await (const image of inspection.images()) {
    counts.images += 1;
    if (digestOf(image.bytes, digestAlgorithm(image.digest)) !== image.digest || image.bytes.length !== image.size) {
      report('lost', `image ${image.digest} does not have the bytes of its digest`);
    }
    options.onProgress?.(counts);
  }
  for await (const { repository, image } of inspection.missingImages()) {
    report('lost', `image ${image} of ${repository} is gone`);
  }
  for await (const missing of inspection.missingReferences()) {
    // A manifest inside an index may be deleted by whoever may delete manifests; a blob that is needed may not.
    report(
      missing.role === 'manifest' ? 'note' : 'lost',
      `image ${missing.image} of ${missing.repository} lacks its ${missing.role} ${missing.target}`,
    );
  }

  for await (const blob of inspection.blobs()) {
    counts.blobs += 1;
    counts.bytes += blob.size;
    const problem = await checkBlob(store, blob, options.readBlobs);
    // Beside a registry at work the blob may have been collected since its row was read.
    if (problem !== undefined && (await inspection.findBlob(blob.digest))?.location === blob.location) {
      report('lost', `blob ${blob.digest} ${problem} (at ${blob.location})`);
    }
    options.onProgress?.(counts);
  }

  for await (const location of store.list()) {
    counts.files += 1;
    if (!(await inspection.isKnownLocation(location))) {
      report('note', `bytes at ${location} belong to no blob and to no upload`);
    }
  }
  for await (const id of store.listUploads()) {
    if (!(await inspection.isKnownUpload(id))) report('note', `bytes of upload ${id} belong to no session`);
  }
  return counts;
}

async function checkBlob(store: BlobStore, blob: BlobRecord, read: boolean): Promise<string | undefined> {
  const size = await store.size(blob.location);
  if (size === undefined) return 'has no bytes';
  if (size !== blob.size) return `has ${size} bytes instead of ${blob.size}`;
  if (!read) return undefined;
  const actual = await digestOfStored(store, blob);
  return actual === blob.digest ? undefined : `has bytes of digest ${actual ?? 'unknown'}`;
}

async function digestOfStored(store: BlobStore, { digest, location }: BlobRecord): Promise<Digest | undefined> {
  const bytes = await store.open(location);
  if (bytes === undefined) return undefined;
  const algorithm = digestAlgorithm(digest);
  const hash = createHash(algorithm);
  await bytes.copyTo(hash);
  return digestOfHash(hash, algorithm);
}
