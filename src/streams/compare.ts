import { z } from 'zod';
import { badRequest, notFound } from '../kube/errors.js';
import type { Call, Subresource } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { ImageRecord } from '../metadata/image-store.js';
import type { StreamStore } from '../metadata/stream-store.js';
import { isDigest, type Digest } from '../oci/digest.js';
import { indexEntries, platformOf, readImageConfig } from '../oci/image-config.js';
import { parseManifest } from '../oci/manifest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { compareImages } from './image-comparison.js';
import type { TagOptions } from './image-stream-tags.js';
import { parseStreamName, parseStreamTagName } from './stream-names.js';
import { weirGroup } from './tag-rollback.js';

const maxPlatforms = 50;

const text = z.string();

/** weir.dev/v1 ImageComparison beside its metadata. */
const comparisonSchema = z.object({
  from: z.object({ image: text, tag: text.optional(), generation: z.int().optional() }).describe('What it was.'),
  to: z.object({ image: text, tag: text.optional(), generation: z.int().optional() }).describe('What it is.'),
  platforms: z.array(z.object({ name: text }).loose()).describe('How they differ, for each platform.'),
  onlyIn: z.object({ from: z.array(text), to: z.array(text) }).describe('Platforms that only one of the two has.'),
});

const common = {
  name: 'compare',
  kind: 'ImageComparison',
  group: weirGroup,
  version: 'v1',
  verbs: ['get'],
  schema: comparisonSchema,
} as const;

/**
 * `compare` of a stream: how two of its images differ, platform by platform. `from` and `to` are a tag, a digest, or
 * `<tag>@<generation>` for an event of its history.
 */
export function streamCompareSubresource(options: TagOptions): Subresource {
  return {
    ...common,
    get: async (call, name) => {
      const repository = parseStreamName(call.namespace, name);
      if (repository === undefined || (await options.store.findStream(repository)) === undefined) {
        throw notFound({ group: weirGroup, plural: 'imagestreams' }, name);
      }
      return compare(options, call, { name, repository, tag: undefined });
    },
  };
}

/** `compare` of a tag: as that of its stream, where a number is an event of this tag. */
export function tagCompareSubresource(options: TagOptions): Subresource {
  return {
    ...common,
    get: async (call, name) => {
      const { repository, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
      if (repository === undefined || (await options.store.findStream(repository)) === undefined) {
        throw notFound({ group: weirGroup, plural: 'imagestreams' }, stream);
      }
      return compare(options, call, { name, repository, tag });
    },
  };
}

interface Compared {
  readonly name: string;
  readonly repository: RepositoryName;
  /** That numbers are events of. */
  readonly tag: string | undefined;
}

interface Side {
  readonly image: Digest;
  readonly tag?: string;
  readonly generation?: number;
}

async function compare(options: TagOptions, call: Call, compared: Compared): Promise<ApiObject> {
  const from = await findSide(options.store, call, compared, 'from');
  const to = await findSide(options.store, call, compared, 'to');
  const wanted = call.query('platform');
  const before = await platformsOf(options, compared.repository, from.image);
  const after = await platformsOf(options, compared.repository, to.image);
  // Two images for one platform each are compared whatever their platforms.
  const isPair = before.size === 1 && after.size === 1;
  const names = isPair ? [[...before.keys()][0]!] : [...before.keys()].filter((platform) => after.has(platform));
  const shown = names.filter((platform) => wanted === undefined || platform === wanted).slice(0, maxPlatforms);
  const platforms = [];
  for (const platform of shown) {
    const [left, right] = isPair
      ? [[...before.values()][0]!, [...after.values()][0]!]
      : [before.get(platform)!, after.get(platform)!];
    platforms.push({ ...compareImages(await read(options, left), await read(options, right)), name: platform });
  }
  const missing = (each: ReadonlyMap<string, Digest>, other: ReadonlyMap<string, Digest>) =>
    isPair ? [] : [...each.keys()].filter((platform) => !other.has(platform));
  return {
    metadata: { name: compared.name, namespace: call.namespace, uid: '', creationTimestamp: '' },
    from,
    to,
    platforms,
    onlyIn: { from: missing(before, after), to: missing(after, before) },
  };
}

/** @throws {StatusError} */
async function findSide(
  store: StreamStore,
  call: Call,
  { name, repository, tag: ownTag }: Compared,
  side: 'from' | 'to',
): Promise<Side> {
  const given = call.query(side);
  if (given === undefined || given.length > 400) {
    throw badRequest(`${side}: expected a tag, a digest, or <tag>@<generation>`);
  }
  if (isDigest(given)) {
    const [linked] = await store.findLinkedImages(repository, given);
    if (linked !== given) throw notFound({ group: weirGroup, plural: 'images' }, given);
    return { image: given };
  }
  const isNumber = /^\d{1,9}$/.test(given) && ownTag !== undefined;
  const [tag = '', number] = isNumber ? [ownTag, given] : given.split('@', 2);
  if (number === undefined) {
    const image = (await store.findTag(repository, tag, 1))?.tag?.events[0]?.image;
    if (image === undefined) throw notFound({ group: weirGroup, plural: 'imagestreamtags' }, `${name}:${tag}`);
    return { image, tag };
  }
  if (!/^\d{1,9}$/.test(number)) throw badRequest(`${side}: expected a number after @`);
  const before = { version: 0, repositoryId: 0, tag, sequence: Number(number) + 1 };
  const [event] = await store.listHistory({ of: { kind: 'tag', repository, tag }, before, limit: 1 });
  if (event?.sequence !== Number(number) || event.image === undefined) {
    throw notFound({ group: weirGroup, plural: 'events' }, `${tag}@${number}`);
  }
  const [linked] = await store.findLinkedImages(repository, event.image);
  if (linked !== event.image) throw notFound({ group: weirGroup, plural: 'images' }, event.image);
  return { image: event.image, tag, generation: event.sequence };
}

/** The images of an index by platform, as far as the repository has them; an image is its own only one. */
async function platformsOf(
  options: TagOptions,
  repository: RepositoryName,
  digest: Digest,
): Promise<ReadonlyMap<string, Digest>> {
  const record = await read(options, digest);
  const manifest = parseManifest(record.bytes, record.mediaType);
  if (!manifest.isIndex) return new Map([[platformOf(readImageConfig(record.config)) ?? '', digest]]);
  const found = new Map<string, Digest>();
  for (const { digest: child, platform } of indexEntries(record.bytes, manifest).slice(0, maxPlatforms)) {
    if (platform === undefined) continue;
    const name = [platform.os, platform.architecture, platform.variant].filter((part) => part !== undefined).join('/');
    if (name.startsWith('unknown') || found.has(name)) continue;
    const [linked] = await options.store.findLinkedImages(repository, child);
    if (linked === child) found.set(name, child);
  }
  return found;
}

async function read(options: TagOptions, digest: Digest): Promise<ImageRecord> {
  const record = await options.images.find(digest);
  if (record === undefined) throw notFound({ group: weirGroup, plural: 'images' }, digest);
  return record;
}
