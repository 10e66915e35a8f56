import { OciError } from '../oci/errors.js';
import { PullSpecError, parsePullSpec } from '../oci/pull-spec.js';
import { isTag, type Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { ArchiveImage } from './archive-layout.js';

/** What whoever imports wants the images to be called; the archive says it otherwise. */
export interface WantedNames {
  readonly repository: RepositoryName | undefined;
  readonly tag: Tag | undefined;
}

/** An image, and where it goes. */
export interface ArchiveTarget {
  readonly repository: RepositoryName;
  readonly tags: readonly Tag[];
  readonly image: ArchiveImage;
}

/** How an archive calls an image, as far as it does. */
interface OwnName {
  /** Below the project. */
  readonly path: string | undefined;
  readonly tag: Tag | undefined;
}

/**
 * Decides where each image goes. Of `quay.io/team/tools/app:v1` the registry and the namespace are left out: it becomes
 * `tools/app:v1` of the project.
 *
 * @param inProject makes the name of a repository of what stands below the project
 * @returns one target for each repository that an image goes to, and what was not taken
 * @throws {OciError} MANIFEST_INVALID when nobody names a repository or a tag, or when two images get the same name;
 *   NAME_INVALID when a name is none for a repository
 */
export function chooseTargets(
  images: readonly ArchiveImage[],
  wanted: WantedNames,
  inProject: (path: string) => RepositoryName,
): { readonly targets: readonly ArchiveTarget[]; readonly warnings: readonly string[] } {
  if (images.length === 0) throw new OciError('MANIFEST_INVALID', 'the archive holds no images');
  const warnings: string[] = [];
  // Beside images with names, what has none belongs to one of them or to nobody.
  const hasNames = images.some(({ names }) => names.length > 0);
  const named = images.length > 1 && hasNames ? images.filter(({ names }) => names.length > 0) : images;
  if (named.length < images.length)
    warnings.push(`${images.length - named.length} manifests without a name were left out`);
  const unread = named.flatMap(({ names }) => names).filter((name) => parseOwnName(name) === undefined);
  warnings.push(...unread.map((name) => `${name.slice(0, 300)} is no name of an image, and was left out`));
  const targets = named.flatMap((image) => targetsOf(image, wanted, inProject));
  checkDifferent(targets);
  return { targets, warnings };
}

/** A name that is complete only in part counts where no other is. */
function targetsOf(
  image: ArchiveImage,
  wanted: WantedNames,
  inProject: (path: string) => RepositoryName,
): readonly ArchiveTarget[] {
  const own = image.names.map(parseOwnName).filter((name) => name !== undefined);
  const names = (own.length > 0 ? own : [{ path: undefined, tag: undefined }]).map(({ path, tag }) => ({
    repository: wanted.repository ?? (path === undefined ? undefined : inProject(path)),
    tag: wanted.tag ?? tag,
  }));
  const tagsOf = new Map<RepositoryName, Set<Tag>>();
  for (const { repository, tag } of names) {
    if (repository === undefined || tag === undefined) continue;
    tagsOf.set(repository, (tagsOf.get(repository) ?? new Set()).add(tag));
  }
  if (tagsOf.size === 0) {
    throw nameless(image, names.every(({ repository }) => repository === undefined) ? 'repository' : 'tag');
  }
  return [...tagsOf].map(([repository, tags]) => ({ repository, tags: [...tags], image }));
}

/** @returns undefined for what is no name of an image */
function parseOwnName(text: string): OwnName | undefined {
  // OCI Image Spec, "Annotations": the name of a reference, which for many tools is a tag alone.
  if (!/[/:@]/.test(text)) return isTag(text) ? { path: undefined, tag: text } : undefined;
  try {
    const { name, tag } = parsePullSpec(text);
    if (name === '') return undefined;
    return { path: name, tag: isTag(tag) ? tag : undefined };
  } catch (error) {
    if (error instanceof PullSpecError) return undefined;
    throw error;
  }
}

function nameless({ digest, names }: ArchiveImage, what: 'repository' | 'tag'): OciError {
  return new OciError('MANIFEST_INVALID', {
    digest,
    names: names.slice(0, 20),
    reason: `neither the request nor the archive names a ${what} for the image`,
    expected: `a ${what} in the request`,
  });
}

function checkDifferent(targets: readonly ArchiveTarget[]): void {
  const taken = new Map<string, string>();
  for (const { repository, tags, image } of targets) {
    for (const tag of tags) {
      const other = taken.get(`${repository}:${tag}`) ?? image.digest;
      if (other !== image.digest) {
        throw new OciError('MANIFEST_INVALID', {
          repository,
          tag,
          digests: [other, image.digest],
          reason: 'two images of the archive would get the same tag; leave out the tag, or import them one by one',
        });
      }
      taken.set(`${repository}:${tag}`, image.digest);
    }
  }
}
