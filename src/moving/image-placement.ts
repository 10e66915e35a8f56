import type { ConfigReader } from '../distribution/config-reader.js';
import type { SparsePolicy } from '../distribution/manifests.js';
import type { RepositoryStore } from '../metadata/repository-store.js';
import { TagProtectedError, type Actor, type TagGuard } from '../metadata/tag-history.js';
import type { Digest } from '../oci/digest.js';
import { summarizeImage } from '../oci/image-config.js';
import type { ParsedManifest } from '../oci/manifest.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { ImportTally } from './import-tally.js';
import type { Obstacle } from './storage-blobs.js';
import type { WriteRoom } from './write-room.js';

/** Who changes tags here. */
export const importActor: Actor = { kind: 'system', name: 'system:import-storage' };

const reason = 'imported from the storage of another registry';

/** Tags moved in one transaction: others wait for it to end. */
const tagsAtOnce = 20;

/** What images are placed with. */
export interface ImagePlacementOptions {
  readonly repositories: Pick<RepositoryStore, 'findManifest' | 'putManifest' | 'listTagEvents'>;
  readonly configs: ConfigReader;
  /** Kinds of manifests that are taken without all they refer to, as pushes are. */
  readonly sparse: SparsePolicy;
  readonly tally: ImportTally;
  readonly room: WriteRoom;
}

/** Where images and tags go. */
export interface Destination {
  /** Name of the repository in the storage, for what is told. */
  readonly from: string;
  readonly to: RepositoryName;
  readonly guard: TagGuard;
  readonly keepEvents: number | undefined;
  /** Whether it may have a history already. */
  readonly isOld: boolean;
}

/** A manifest that has all it needs. */
export interface ReadyImage {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: ParsedManifest;
}

/** A tag that may be put on another image. */
export interface MovableTag {
  readonly name: Tag;
  /** It was put where it is by an import. */
  readonly isOurs: boolean;
}

/** Puts images and the tags on them into repositories of this registry. */
export class ImagePlacement {
  readonly #options: ImagePlacementOptions;

  constructor(options: ImagePlacementOptions) {
    this.#options = options;
  }

  /** Whether an image may be there without all it refers to. */
  isSparse({ isIndex }: ParsedManifest): boolean {
    return this.#options.sparse.includes(isIndex ? 'indexes' : 'images');
  }

  /**
   * The tags of those that may be put on an image, and tells of the others. A tag that somebody has moved or deleted here is
   * theirs: only what an import did is done again.
   */
  async chooseTags(destination: Destination, digest: Digest, tags: readonly Tag[]): Promise<readonly MovableTag[]> {
    const { repositories, tally } = this.#options;
    const { to, isOld } = destination;
    const movable: MovableTag[] = [];
    for (const name of tags) {
      const [newest] = isOld ? await repositories.listTagEvents(to, name, 1) : [];
      const isOurs = newest?.actor.kind === importActor.kind && newest.actor.name === importActor.name;
      if (newest?.image === digest && (await this.#isOn(to, name, digest))) tally.tags(1, 'there');
      else if (newest === undefined || isOurs) movable.push({ name, isOurs });
      else {
        const what = newest.cause === 'delete' ? 'deleted' : 'changed';
        this.leaveTag(destination, name, digest, `it was ${what} here by ${newest.actor.name}`);
      }
    }
    return movable;
  }

  /**
   * Puts an image and tags on it into their places, and tells of tags that a rule keeps where they are.
   *
   * @returns what the registry lacks of what the image needs; then nothing was stored
   */
  async put(destination: Destination, image: ReadyImage, tags: readonly MovableTag[]): Promise<Obstacle | undefined> {
    for (let start = 0; start === 0 || start < tags.length; start += tagsAtOnce) {
      const together = tags.slice(start, start + tagsAtOnce);
      const refusal = await this.#put(destination, image, together);
      if (typeof refusal === 'object') return refusal;
      if (refusal === undefined) {
        this.#options.tally.tags(together.length, 'taken');
        continue;
      }
      // One of them is protected, and held up the image and the others.
      const obstacle = await this.#put(destination, image, []);
      if (typeof obstacle === 'object') return obstacle;
      for (const tag of together) await this.#putAlone(destination, image, tag);
    }
    return undefined;
  }

  async #putAlone(destination: Destination, image: ReadyImage, tag: MovableTag): Promise<void> {
    const refusal = await this.#put(destination, image, [tag]);
    if (refusal === undefined) this.#options.tally.tags(1, 'taken');
    else this.leaveTag(destination, tag.name, image.digest, typeof refusal === 'string' ? refusal : refusal.why);
  }

  async #isOn(repository: RepositoryName, tag: Tag, digest: Digest): Promise<boolean> {
    return (await this.#options.repositories.findManifest(repository, { kind: 'tag', tag }))?.digest === digest;
  }

  /** @returns a text when a rule protects one of the tags */
  async #put(
    { to, guard, keepEvents }: Destination,
    { digest, bytes, manifest }: ReadyImage,
    tags: readonly MovableTag[],
  ): Promise<Obstacle | string | undefined> {
    const { configs, repositories, room } = this.#options;
    const summary = summarizeImage(bytes, manifest, await configs.read(to, manifest));
    const isNew = new Set<string>(tags.filter(({ isOurs }) => !isOurs).map(({ name }) => name));
    try {
      const result = await room.write(() =>
        repositories.putManifest({
          repository: to,
          digest,
          bytes,
          manifest,
          tags: tags.map(({ name }) => name),
          sparse: this.isSparse(manifest),
          summary,
          actor: importActor,
          reason,
          // It is asked when a tag is to leave another image: one that was not there has been pushed meanwhile.
          guard: (name, tag) =>
            guard(name, tag) ?? (isNew.has(tag) ? 'a change made here during the import' : undefined),
          ...(keepEvents !== undefined && { keepEvents }),
        }),
      );
      if (result.kind === 'stored') return undefined;
      return { why: `the registry lacks ${result.missing.slice(0, 10).join(', ')}`, isAbsent: true };
    } catch (error) {
      if (error instanceof TagProtectedError) return error.message;
      throw error;
    }
  }

  /** Tells that a tag was left out. */
  leaveTag({ from }: Destination, tag: Tag, digest: Digest, why: string): void {
    this.#options.tally.leaveOut({ kind: 'tag', repository: from, tag, digest, why });
  }
}
