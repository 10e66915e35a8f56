import type { Readable } from 'node:stream';
import type { Principal } from '../auth/principal.js';
import { OciError } from '../oci/errors.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { notInArchive, readImages } from './archive-layout.js';
import { chooseTargets, type ArchiveTarget, type WantedNames } from './archive-names.js';
import { planImage, type ImagePlan } from './archive-plan.js';
import { readArchive, type ArchiveLimits } from './archive-reader.js';
import { ArchiveStaging, type StagingOwner } from './archive-staging.js';
import type { BlobService } from './blobs.js';
import type { ManifestService } from './manifests.js';
import type { UploadService } from './uploads.js';

/** What an import works with. */
export interface ArchiveImportOptions {
  readonly uploads: UploadService;
  readonly blobs: BlobService;
  readonly manifests: ManifestService;
  readonly limits?: ArchiveLimits;
}

/** How the images of an archive are stored. */
export interface StoreRequest extends WantedNames {
  readonly reason: string | undefined;
  /** Makes the name of a repository of what stands below the project. @throws {OciError} NAME_INVALID */
  readonly inProject: (path: string) => RepositoryName;
  /** Whether the caller may push there now. @throws {OciError} when not */
  readonly admit: (repository: RepositoryName) => Promise<Principal>;
}

/** An image that came. */
export interface ImportedArchiveImage {
  readonly repository: RepositoryName;
  readonly tag: Tag;
  readonly digest: string;
  readonly mediaType: string;
}

/** What came of an archive. */
export interface ArchiveImportResult {
  readonly images: readonly ImportedArchiveImage[];
  /** What was done in another way than the archive says. */
  readonly warnings: readonly string[];
}

interface PlannedTarget extends ArchiveTarget {
  readonly plan: ImagePlan;
}

/** Images out of archives: of `docker save`, `podman save`, and OCI image layouts. */
export class ArchiveImport {
  readonly #uploads: UploadService;
  readonly #blobs: BlobService;
  readonly #manifests: ManifestService;
  readonly #limits: ArchiveLimits | undefined;

  constructor({ uploads, blobs, manifests, limits }: ArchiveImportOptions) {
    this.#uploads = uploads;
    this.#blobs = blobs;
    this.#manifests = manifests;
    this.#limits = limits;
  }

  /**
   * Receives an archive: into upload sessions, so that nothing is in any repository yet. Whoever gets it discards it.
   *
   * @throws {OciError} as `readArchive` and `ArchiveStaging.add`; what came before is then thrown away
   */
  async receive(source: Readable, owner: StagingOwner): Promise<ArchiveStaging> {
    const staging = new ArchiveStaging(this.#uploads, owner);
    try {
      for await (const entry of readArchive(source, this.#limits)) await staging.add(entry);
      return staging;
    } catch (error) {
      await staging.discard();
      // A file that breaks off does so because the archive does, and that is known better.
      throw error instanceof OciError && error.cause instanceof OciError ? error.cause : error;
    }
  }

  /**
   * Makes images of an archive that was received, as if they were pushed. All of it is checked before the first byte is
   * in a repository; what a policy of the project refuses keeps those after it out, and those before it stay.
   *
   * @throws {OciError} as `readImages`, `chooseTargets`, `planImage` and `ManifestService.put`
   */
  async store(staging: ArchiveStaging, request: StoreRequest): Promise<ArchiveImportResult> {
    const { targets, warnings } = chooseTargets(readImages(staging), request, request.inProject);
    const planned = targets.map((target) => ({ ...target, plan: planImage(staging.documents, target.image) }));
    for (const target of planned) {
      await request.admit(target.repository);
      await this.#checkComplete(staging, target);
    }
    const images: ImportedArchiveImage[] = [];
    const committed = new Map<string, RepositoryName>();
    for (const target of planned) {
      // Each may be the first of a repository, and a quota counts those.
      const principal = await request.admit(target.repository);
      await this.#storeBlobs(staging, target, committed);
      images.push(...(await this.#storeManifests(target, { principal, reason: request.reason })));
    }
    const planWarnings = new Set(planned.flatMap(({ plan }) => plan.warnings));
    return { images, warnings: [...warnings, ...planWarnings] };
  }

  /** What the archive has not may be in the repository already. */
  async #checkComplete(staging: ArchiveStaging, { repository, plan }: PlannedTarget): Promise<void> {
    const missing: string[] = [];
    for (const { digest, required } of plan.blobs) {
      if (!required || staging.has(digest)) continue;
      if (!(await this.#isLinked(repository, digest))) missing.push(digest);
    }
    if (missing.length > 0) throw notInArchive(missing);
  }

  async #isLinked(repository: RepositoryName, digest: ImagePlan['blobs'][number]['digest']): Promise<boolean> {
    try {
      await this.#blobs.get(repository, digest);
      return true;
    } catch (error) {
      if (error instanceof OciError && error.code === 'BLOB_UNKNOWN') return false;
      throw error;
    }
  }

  async #storeBlobs(
    staging: ArchiveStaging,
    { repository, plan }: PlannedTarget,
    committed: Map<string, RepositoryName>,
  ): Promise<void> {
    for (const { digest } of plan.blobs) {
      if (!staging.has(digest)) continue;
      if (committed.has(digest)) {
        if (committed.get(digest) === repository || (await this.#blobs.mount(repository, digest))) continue;
        throw new OciError('BLOB_UNKNOWN', { repository, digest });
      }
      await staging.commit(digest, repository);
      committed.set(digest, repository);
    }
  }

  async #storeManifests(
    { repository, tags, plan }: PlannedTarget,
    by: { readonly principal: Principal; readonly reason: string | undefined },
  ): Promise<readonly ImportedArchiveImage[]> {
    const last = plan.manifests.length - 1;
    for (const [index, { digest, bytes, mediaType }] of plan.manifests.entries()) {
      await this.#manifests.put({
        repository,
        reference: { kind: 'digest', digest },
        tags: index === last ? tags : [],
        bytes,
        contentType: mediaType,
        by,
      });
    }
    const { digest, mediaType } = plan.manifests[last]!;
    return tags.map((tag) => ({ repository, tag, digest, mediaType }));
  }
}
