import type { ImageRecord } from '../metadata/image-store.js';
import type { Digest } from '../oci/digest.js';
import { imageObjectOf, type StoredImage } from '../streams/image-object.js';
import type { Image } from '../streams/types.js';
import type { FoundImage } from './apply-imports.js';
import type { FetchedImage } from './image-fetcher.js';
import { imported, statusOf, type ImportFailure, type ImportStatus } from './import-failure.js';

/** image.openshift.io/v1 ImageImportStatus. */
export interface ImageImportStatus {
  readonly status: ImportStatus;
  readonly tag?: string;
  readonly image?: Image;
  readonly manifests?: readonly Image[];
}

/** How images are shown that were imported or only looked at. */
export interface AnswerOptions {
  readonly find: (digest: Digest) => Promise<ImageRecord | undefined>;
  readonly now: Date;
  /** Where images of a repository here are pulled from. */
  readonly ownPullSpec: (image: Digest, repository: string) => string;
}

/** What came of looking for an image. */
export async function imageStatusOf(
  found: FoundImage,
  { tag, includeManifest }: { readonly tag: string | undefined; readonly includeManifest: boolean },
  options: AnswerOptions,
): Promise<ImageImportStatus> {
  const named = tag === undefined ? {} : { tag };
  if (found.kind === 'failed') return { status: statusOf(found.failure), ...named };
  const show = async (image: FetchedImage | Digest, reference: string) =>
    shownImage(await storedImage(image, reference, options), includeManifest);
  if (found.kind === 'own') {
    return {
      status: imported,
      image: await show(found.image, options.ownPullSpec(found.image, found.repository)),
      ...named,
    };
  }
  const { image, children, pullSpec } = found;
  const manifests: Image[] = [];
  for (const child of children) manifests.push(await show(child, pullSpec.replace(image.digest, child.digest)));
  return {
    status: imported,
    image: await show(image, pullSpec),
    ...named,
    ...(manifests.length > 0 && { manifests }),
  };
}

/** As it is kept, or as it would be. */
async function storedImage(
  image: FetchedImage | Digest,
  reference: string,
  { find, now }: AnswerOptions,
): Promise<StoredImage> {
  const record = await find(typeof image === 'string' ? image : image.digest);
  if (record !== undefined) {
    const { version, metadata, ...fields } = record;
    return { ...fields, ...metadata, version: String(version), reference };
  }
  if (typeof image === 'string') throw new Error(`image ${image} was removed meanwhile`);
  return {
    digest: image.digest,
    mediaType: image.manifest.mediaType,
    bytes: image.bytes,
    config: image.summary.config,
    createdAt: now,
    uid: '',
    version: '',
    reference,
  };
}

function shownImage(image: StoredImage, withManifest: boolean): Image {
  const object = imageObjectOf(image, { withConfig: withManifest });
  return withManifest ? { ...object, dockerImageManifest: image.bytes.toString() } : object;
}

/** What is said of a repository some of whose images could not be had. */
export function repositoryStatusOf(found: readonly FoundImage[]): ImportStatus {
  const failed = found.filter(({ kind }) => kind === 'failed').length;
  if (failed === 0) return imported;
  const failure: ImportFailure = {
    reason: 'ImportFailed',
    message: `${failed === 1 ? 'one' : failed} of the images from this repository failed to import`,
  };
  return statusOf(failure);
}
