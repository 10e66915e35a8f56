import { readFile } from 'node:fs/promises';
import { ProjectUnavailableError } from '../metadata/repository-rows.js';
import type { RepositoryStore } from '../metadata/repository-store.js';
import type { FindTagRules } from '../metadata/tag-history.js';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { maxManifestSize, parseManifest, type ManifestReference } from '../oci/manifest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import { isTag, type Tag } from '../oci/reference.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import type { DistributionStorage } from './distribution-storage.js';
import {
  importActor,
  type Destination,
  type ImagePlacement,
  type MovableTag,
  type ReadyImage,
} from './image-placement.js';
import type { ImportCounts, ImportTally } from './import-tally.js';
import { forEachAtMost } from '../slots.js';
import type { Obstacle, StorageBlobs } from './storage-blobs.js';

/** Images worked on at once: most of what each does is wait for the disk, and waits that come together are one. */
const imagesAtOnce = 32;

/** What an import works with. */
export interface StorageImportOptions {
  readonly storage: DistributionStorage;
  readonly repositories: Pick<RepositoryStore, 'findManifest' | 'readManifest' | 'repositoryExists'>;
  readonly blobs: StorageBlobs;
  readonly placement: ImagePlacement;
  readonly findRules: FindTagRules;
  /** Makes a project with all that is in one from the start, unless it is there. */
  readonly ensureProject: (project: string) => Promise<void>;
  /** What a repository of the storage is to be called. @throws {OciError} NAME_INVALID */
  readonly nameOf: (repository: string) => RepositoryName;
  readonly isWanted: (repository: string) => boolean;
  readonly tally: ImportTally;
  /** Called often: when a repository was looked at, and when an image was worked on. */
  readonly onProgress?: (progress: ImportProgress) => void;
}

/** How far an import has come. */
export interface ImportProgress {
  readonly counts: ImportCounts;
  /** Images looked at, of so many. */
  readonly done: number;
  readonly total: number;
}

/** A repository of the storage, and its place here. */
interface Place {
  readonly from: string;
  readonly to: RepositoryName;
}

/** A repository that is being imported. */
interface OpenRepository extends Destination {
  readonly images: ReadonlySet<Digest>;
  /** The tags on each of them. */
  readonly tags: ReadonlyMap<Digest, readonly Tag[]>;
  /** What came of each image. */
  readonly taken: Map<Digest, Promise<Obstacle | undefined>>;
  /** Blobs that it links for certain. */
  readonly linked: Set<Digest>;
  isCounted: boolean;
  /** Its project takes nothing. */
  isRefused: boolean;
}

/** A manifest of the storage that can be taken. */
interface FoundImage extends ReadyImage {
  /** Configs and layers of it that are there. */
  readonly blobs: ReadonlySet<Digest>;
}

/** Brings what the storage of another registry holds into this one: repositories, tags, images and blobs. */
export class StorageImport {
  readonly #options: StorageImportOptions;
  readonly #projects = new Map<string, Promise<void>>();
  #total = 0;
  #done = 0;

  constructor(options: StorageImportOptions) {
    this.#options = options;
  }

  /**
   * Takes all that is wanted and not there yet. What is damaged is left out and told, with all that needs it; nothing is
   * half there. May be broken off at any time and run again.
   */
  async run(): Promise<ImportCounts> {
    const places = await this.#plan();
    await forEachAtMost(imagesAtOnce, this.#images(places), async ({ repository, digest }) => {
      await this.#take(repository, digest);
      this.#done += 1;
      this.#tell();
    });
    return this.#options.tally.counts;
  }

  async #plan(): Promise<readonly Place[]> {
    const { storage, isWanted, nameOf, tally } = this.#options;
    const places = new Map<RepositoryName, Place>();
    for await (const from of storage.repositories()) {
      if (!isWanted(from)) continue;
      const to = nameHere(from, nameOf);
      const other = to.name && places.get(to.name);
      if (to.name === undefined || other !== undefined) {
        const why = other === undefined ? to.why! : `it would be ${to.name!}, as ${other.from} is`;
        tally.leaveOut({ kind: 'repository', repository: from, why });
        continue;
      }
      places.set(to.name, { from, to: to.name });
      this.#total += (await storage.revisions(from)).length;
      this.#tell();
    }
    return [...places.values()];
  }

  async *#images(places: readonly Place[]) {
    for (const place of places) {
      const repository = await this.#open(place);
      for (const digest of repository.images) yield { repository, digest };
    }
  }

  async #open({ from, to }: Place): Promise<OpenRepository> {
    const { storage, repositories, findRules, tally } = this.#options;
    const images = new Set(await storage.revisions(from));
    const tags = new Map<Digest, Tag[]>();
    for (const { name, digest } of await storage.tags(from)) {
      const tag = { kind: 'tag', repository: from, tag: name } as const;
      if (digest === undefined) tally.leaveOut({ ...tag, why: 'it points nowhere' });
      else if (!isTag(name)) tally.leaveOut({ ...tag, digest, why: 'its name is not valid' });
      else if (!images.has(digest)) tally.leaveOut({ ...tag, digest, why: 'its image was deleted' });
      else if (tags.get(digest)?.push(name) === undefined) tags.set(digest, [name]);
    }
    const rules = await findRules(projectOf(to), { name: importActor.name, groups: [] });
    return {
      from,
      to,
      images,
      tags,
      guard: rules.guard,
      keepEvents: rules.keepEvents?.(to),
      isOld: await repositories.repositoryExists(to),
      taken: new Map(),
      linked: new Set(),
      isCounted: false,
      isRefused: false,
    };
  }

  /** Takes an image once, after those that it lists. @returns undefined when it is there */
  #take(repository: OpenRepository, digest: Digest): Promise<Obstacle | undefined> {
    const taken = repository.taken.get(digest) ?? this.#takeOnce(repository, digest);
    repository.taken.set(digest, taken);
    return taken;
  }

  async #takeOnce(repository: OpenRepository, digest: Digest): Promise<Obstacle | undefined> {
    const { placement, repositories, tally } = this.#options;
    const known = await repositories.readManifest(repository.to, { kind: 'digest', digest });
    if (known === undefined) return this.#bring(repository, digest);
    const manifest = parseManifest(known.bytes, known.mediaType);
    this.#count(repository);
    tally.image('there');
    for (const { role, ...blob } of manifest.references) if (role !== 'manifest') tally.blob(blob, 'there');
    const tags = await this.#chooseTags(repository, digest);
    if (tags.length === 0) return undefined;
    const obstacle = await placement.put(repository, { digest, bytes: known.bytes, manifest }, tags);
    if (obstacle !== undefined) for (const { name } of tags) placement.leaveTag(repository, name, digest, obstacle.why);
    return undefined;
  }

  async #bring(repository: OpenRepository, digest: Digest): Promise<Obstacle | undefined> {
    const { from, tags } = repository;
    const { placement, tally } = this.#options;
    try {
      const obstacle = await this.#carry(repository, digest);
      if (obstacle === undefined) return undefined;
      tally.leaveOut({ kind: 'image', repository: from, digest, why: obstacle.why });
      for (const tag of tags.get(digest) ?? []) {
        placement.leaveTag(repository, tag, digest, 'its image was left out');
      }
      return obstacle;
    } catch (error) {
      if (!(error instanceof ProjectUnavailableError)) throw error;
      if (!repository.isRefused) tally.leaveOut({ kind: 'repository', repository: from, why: error.message });
      repository.isRefused = true;
      return { why: error.message, isAbsent: false };
    }
  }

  /** All is looked at before anything is written: an image that cannot be taken leaves no project and no repository. */
  async #carry(repository: OpenRepository, digest: Digest): Promise<Obstacle | undefined> {
    const image = await this.#look(repository, digest);
    if ('why' in image) return image;
    await this.#ensureProject(projectOf(repository.to));
    const tags = await this.#chooseTags(repository, digest);
    let obstacle = await this.#place(repository, image, tags);
    if (obstacle?.isAbsent === true) {
      // What nothing refers to yet may have been collected meanwhile.
      repository.linked.clear();
      obstacle = await this.#place(repository, image, tags);
    }
    if (obstacle !== undefined) return obstacle;
    this.#options.tally.image('taken');
    this.#count(repository);
    return undefined;
  }

  async #place(
    repository: OpenRepository,
    image: FoundImage,
    tags: readonly MovableTag[],
  ): Promise<Obstacle | undefined> {
    const { placement } = this.#options;
    return (await this.#provide(repository, image.blobs)) ?? placement.put(repository, image, tags);
  }

  #chooseTags(repository: OpenRepository, digest: Digest): Promise<readonly MovableTag[]> {
    return this.#options.placement.chooseTags(repository, digest, repository.tags.get(digest) ?? []);
  }

  /** Reads a manifest, and looks whether all that it needs can be taken; images that it lists are taken on the way. */
  async #look(repository: OpenRepository, digest: Digest): Promise<Obstacle | FoundImage> {
    const read = await this.#read(repository, digest);
    if ('why' in read) return read;
    const isSparse = this.#options.placement.isSparse(read.manifest);
    const blobs = new Set<Digest>();
    const obstacles = await Promise.all(
      read.manifest.references.map(async (reference) => {
        const isImage = isImageOf(repository, reference);
        const obstacle = isImage
          ? await this.#lookAtListed(repository, reference.digest)
          : await this.#options.blobs.check(repository.from, reference);
        if (obstacle === undefined && !isImage) blobs.add(reference.digest);
        return reference.required && !(isSparse && obstacle?.isAbsent === true) ? obstacle : undefined;
      }),
    );
    const obstacle = obstacles.find((found) => found !== undefined);
    return obstacle === undefined ? { digest, ...read, blobs } : { ...obstacle, isAbsent: false };
  }

  /** An image that an index lists. */
  async #lookAtListed(repository: OpenRepository, digest: Digest): Promise<Obstacle | undefined> {
    if (repository.images.has(digest)) {
      const obstacle = await this.#take(repository, digest);
      return obstacle && { why: `image ${digest}, which it lists, was left out`, isAbsent: false };
    }
    const known = await this.#options.repositories.findManifest(repository.to, { kind: 'digest', digest });
    return known === undefined ? { why: `image ${digest}, which it lists, is not there`, isAbsent: true } : undefined;
  }

  async #read({ from }: OpenRepository, digest: Digest): Promise<Obstacle | Pick<ReadyImage, 'bytes' | 'manifest'>> {
    const isAbsent = false;
    const content = await this.#options.storage.findManifest(from, digest);
    if (content === undefined) return { why: 'its manifest is gone', isAbsent };
    if (content.size > maxManifestSize) return { why: `its manifest has ${content.size} bytes`, isAbsent };
    try {
      const bytes = await readFile(content.path);
      const actual = digestOf(bytes, digestAlgorithm(digest));
      if (actual !== digest) return { why: `its manifest is damaged: the bytes are those of ${actual}`, isAbsent };
      return { bytes, manifest: parseManifest(bytes, undefined) };
    } catch (error) {
      if (error instanceof OciError) return { why: `its manifest is not valid: ${explain(error)}`, isAbsent };
      return { why: `its manifest cannot be read: ${(error as Error).message}`, isAbsent };
    }
  }

  /** One after the other: other images are worked on beside this one, and open files are few. */
  async #provide({ from, to, linked }: OpenRepository, blobs: ReadonlySet<Digest>): Promise<Obstacle | undefined> {
    for (const digest of blobs) {
      if (linked.has(digest)) continue;
      const obstacle = await this.#options.blobs.provide(from, to, digest);
      if (obstacle !== undefined) return obstacle;
      linked.add(digest);
    }
    return undefined;
  }

  #ensureProject(project: string): Promise<void> {
    const ensured = this.#projects.get(project) ?? this.#options.ensureProject(project);
    this.#projects.set(project, ensured);
    return ensured;
  }

  #tell(): void {
    const { tally, onProgress } = this.#options;
    onProgress?.({ counts: tally.counts, done: this.#done, total: this.#total });
  }

  #count(repository: OpenRepository): void {
    if (!repository.isCounted) this.#options.tally.repository();
    repository.isCounted = true;
  }
}

function nameHere(
  from: string,
  nameOf: StorageImportOptions['nameOf'],
): { readonly name?: RepositoryName; readonly why?: string } {
  try {
    return { name: nameOf(from) };
  } catch (error) {
    if (error instanceof OciError) return { why: `its name is not valid here: ${explain(error)}` };
    throw error;
  }
}

/** Build caches list their layers in an index, so what is no manifest may be a blob there. */
function isImageOf({ images }: OpenRepository, { role, digest, mediaType }: ManifestReference): boolean {
  return role === 'manifest' && (isManifestMediaType(mediaType) || images.has(digest));
}

/** The detail of an error says which rule is broken. */
function explain({ detail, message }: OciError): string {
  if (typeof detail === 'string') return detail;
  if (typeof detail !== 'object' || detail === null) return message;
  if ('reason' in detail && typeof detail.reason === 'string') return detail.reason;
  if ('expected' in detail && typeof detail.expected === 'string') return `expected ${detail.expected}`;
  return JSON.stringify(detail).slice(0, 300);
}
