import { imageGroup } from '../auth/authorize.js';
import { alreadyExists, conflict, invalid, notFound, type StatusCause } from '../kube/errors.js';
import { deepEqual, type JsonValue } from '../kube/json.js';
import { changedMeta, invalidValue, metaCauses, newMeta, requiredValue } from '../kube/object-meta.js';
import {
  allVerbs,
  type Call,
  type ListQuery,
  type ObjectChange,
  type ObjectList,
  type RemoveOptions,
  type Resource,
  type ResourceStorage,
  type WatchSource,
  type WriteOptions,
} from '../kube/resource.js';
import { checkPreconditions, listPaged } from '../kube/stored-resource.js';
import type { ImageNeed, ImageRecord, ImageStore, ImageWords, NewImage } from '../metadata/image-store.js';
import type { ApiObject, ObjectMeta, ObjectStore } from '../metadata/object-store.js';
import { imagesResource, type OwnMetadata } from '../metadata/stream-store.js';
import { digestAlgorithm, digestOf, isDigest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { configOf, summarizeImage } from '../oci/image-config.js';
import { maxManifestSize, parseManifest, type ParsedManifest } from '../oci/manifest.js';
import { imageAnnotations, imageObjectOf } from './image-object.js';
import { newSignatures, updateSignatures, type SentSignature } from './signature-rules.js';
import { imageColumns } from './stream-columns.js';
import { imageSchema } from './stream-schema.js';
import type { Image } from './types.js';

/** Images, as errors name them. */
export const imageNames = { group: imageGroup, plural: 'images', kind: 'Image', isNamespaced: false } as const;

/** What images are kept in. */
export interface ImageOptions {
  readonly images: ImageStore;
  readonly objects: Pick<ObjectStore, 'currentVersion'>;
  /** How long a blob that nothing refers to is kept. */
  readonly graceMs: number;
}

/** Images read at a time. */
const readAtOnce = 50;
/** A list ends when it has so many bytes of manifests, configs and signatures, and says where the next one begins. */
const maxListBytes = 64 * 1024 * 1024;
const retries = 5;

/**
 * image.openshift.io/v1 Image: what was pushed, by its digest, whatever repositories link it. A list of many large images
 * may be shorter than was asked for, and then says where the next begins.
 */
export function imageResource(options: ImageOptions): Resource {
  return {
    ...imageNames,
    version: 'v1',
    singular: 'image',
    verbs: allVerbs,
    description: 'Image is an image, an index or an artifact of the registry, named by the digest of its manifest.',
    schema: imageSchema,
    mergeStrategies: { dockerImageMetadata: { kind: 'replace' }, signatures: { kind: 'merge', key: 'name' } },
    columns: imageColumns,
    storage: new ImageStorage(options),
  };
}

/** Images as they are kept with their manifests. */
export class ImageStorage implements ResourceStorage {
  readonly #options: ImageOptions;
  readonly watch: WatchSource;

  constructor(options: ImageOptions) {
    this.#options = options;
    this.watch = {
      resource: imagesResource,
      view: (stored) => stored,
      show: (call) => (stored, kind) => this.#show(call, stored, kind),
    };
  }

  readonly get = async (call: Call, name: string): Promise<Image> => {
    const record = await this.#find(name);
    if (record === undefined) throw notFound(imageNames, name);
    return toImage(record, call);
  };

  readonly list = async (call: Call, query: ListQuery): Promise<ObjectList> => {
    const { images, objects } = this.#options;
    const version = await objects.currentVersion();
    if (query.name !== undefined) {
      const record = await this.#find(query.name);
      const items = record === undefined ? [] : [toImage(record, call)].filter(query.matches);
      return { items, resourceVersion: String(version) };
    }
    const sizes = new Map<string, number>();
    let bytes = 0;
    const page = await listPaged(
      {
        ...query,
        matches: (object) => {
          const isMatch = query.matches(object);
          if (isMatch) bytes += sizes.get(object.metadata.name) ?? 0;
          return isMatch;
        },
      },
      async (after, limit) => {
        const read = await images.list(after?.name, Math.min(limit, readAtOnce));
        sizes.clear();
        for (const record of read.images) sizes.set(record.digest, sizeOf(record));
        return { objects: read.images.map((record) => toImage(record, call)), version, isLast: read.isLast };
      },
      () => bytes >= maxListBytes,
    );
    if (page.continue !== undefined && query.limit === undefined) {
      call.warn(
        `the list ends after ${page.items.length} images; list with a limit, and go on with its continue token`,
      );
    }
    return page;
  };

  readonly create = async (call: Call, sent: ApiObject, { dryRun }: WriteOptions): Promise<ApiObject> => {
    const { image, metadata } = newImage(sent, call.now);
    if (dryRun) {
      if ((await this.#find(image.digest)) !== undefined) throw alreadyExists(imageNames, image.digest);
      const { metadata: shown, ...fields } = toImage(recordOf(image, metadata, call.now), call);
      const { resourceVersion: _resourceVersion, ...unstored } = shown;
      return { ...fields, metadata: unstored };
    }
    const created = await this.#options.images.create(image);
    if (created === undefined) throw alreadyExists(imageNames, image.digest);
    return toImage(created, call);
  };

  /** Of what is sent, only labels, annotations and signatures count: the rest is what the manifest says. */
  readonly update = async (
    call: Call,
    name: string,
    change: ObjectChange,
    { dryRun }: WriteOptions,
  ): Promise<{ object: ApiObject; isNew: boolean }> => {
    for (let attempt = 1; ; attempt += 1) {
      const record = await this.#find(name);
      const old = record && toImage(record, call);
      const sent = change(old);
      if (record === undefined || old === undefined) throw notFound(imageNames, name);
      const { uid = '', resourceVersion = '' } = sent.metadata as Partial<ObjectMeta>;
      checkPreconditions(imageNames, old, {
        uid: uid === '' ? undefined : uid,
        resourceVersion: resourceVersion === '' ? undefined : resourceVersion,
      });
      const words = changedWords(record, old, sent, call.now);
      if (isSame(words, record)) return { object: old, isNew: false };
      if (dryRun) return { object: toImage({ ...record, ...words }, call), isNew: false };
      const result = await this.#options.images.replace(record.digest, record.version, words);
      if (result.kind === 'replaced') return { object: toImage(result.image, call), isNew: false };
      if (result.kind === 'absent') throw notFound(imageNames, name);
      // Whoever named a resourceVersion is told at the next attempt that it is not the present one.
      if (attempt >= retries) throw conflict(imageNames, name);
    }
  };

  readonly remove = async (call: Call, name: string, options: RemoveOptions): Promise<ApiObject> => {
    const record = await this.#find(name);
    if (record === undefined) throw notFound(imageNames, name);
    const image = toImage(record, call);
    checkPreconditions(imageNames, image, options);
    const collectAt = new Date(call.now.getTime() + this.#options.graceMs);
    const result = await this.#options.images.remove(record.digest, { collectAt, dryRun: options.dryRun });
    switch (result.kind) {
      case 'removed':
        return image;
      case 'absent':
        throw notFound(imageNames, name);
      case 'needed':
        throw conflict(imageNames, name, needOf(result.by));
    }
  };

  #find(name: string): Promise<ImageRecord | undefined> {
    return isDigest(name) ? this.#options.images.find(name) : Promise.resolve(undefined);
  }

  /** The change log keeps the metadata of an image alone; all else of it but the signatures never changes. */
  async #show(call: Call, stored: ApiObject, kind: 'ADDED' | 'MODIFIED' | 'DELETED'): Promise<ApiObject> {
    const { metadata } = stored;
    const record = kind === 'DELETED' ? undefined : await this.#find(metadata.name);
    if (record?.uid !== metadata.uid) return goneImage(metadata);
    const shown = toImage({ ...record, metadata }, call);
    return { ...shown, metadata: { ...shown.metadata, resourceVersion: metadata.resourceVersion! } };
  }
}

/** The image as it is shown: pulled through the oldest repository that links it. */
function toImage(record: ImageRecord, { origin }: Pick<Call, 'origin'>): Image {
  const { host } = new URL(origin);
  const { labels, annotations } = record.metadata;
  return imageObjectOf(
    {
      digest: record.digest,
      mediaType: record.mediaType,
      bytes: record.bytes,
      config: record.config,
      createdAt: record.createdAt,
      uid: record.uid,
      version: String(record.version),
      ...(labels !== undefined && { labels }),
      ...(annotations !== undefined && { annotations }),
      // Nobody can pull an image that no repository links; clients still look for the registry in its reference.
      reference:
        record.repository === undefined ? `${host}/${record.digest}` : `${host}/${record.repository}@${record.digest}`,
      signatures: record.signatures,
    },
    { withConfig: true },
  );
}

/** What is left of an image for those who are told that it is gone: clients want every field that they look at. */
function goneImage(metadata: ObjectMeta): Image {
  return {
    metadata,
    dockerImageReference: '',
    dockerImageMetadata: {
      kind: 'DockerImage',
      apiVersion: 'image.openshift.io/1.0',
      Id: metadata.name,
      Created: null,
      Size: 0,
    },
    dockerImageMetadataVersion: '1.0',
    dockerImageLayers: null,
    dockerImageManifestMediaType: '',
  };
}

/** Bytes, about, of what an image is made of. */
function sizeOf({ bytes, config = '', signatures }: ImageRecord): number {
  return signatures.reduce((sum, { content }) => sum + content.length, bytes.length + config.length);
}

function needOf(need: ImageNeed): string {
  switch (need.kind) {
    case 'tag':
      return `tag ${need.tag} of ${need.repository} points to it; delete the tag first`;
    case 'index':
      return `index ${need.image} in ${need.repository} lists it; delete the index first`;
    case 'subject':
      return `it says something about image ${need.image} in ${need.repository}; delete that first, or this one there`;
  }
}

/** An Image as the schema lets it through. */
interface SentImage extends ApiObject {
  readonly dockerImageManifest?: string;
  readonly dockerImageManifestMediaType?: string;
  readonly dockerImageConfig?: string;
  readonly signatures?: readonly SentSignature[];
}

/**
 * The image that somebody wants to make. It is known by its manifest, out of which all else about it is read.
 *
 * @throws {StatusError} Invalid
 */
function newImage(sent: SentImage, now: Date): { readonly image: NewImage; readonly metadata: ObjectMeta } {
  const { name = '' } = sent.metadata as { readonly name?: string };
  const metadata = newMeta(sent.metadata as never, { name, namespace: '', now });
  const own = ownMetadata(metadata);
  const causes: StatusCause[] = metaCauses({ ...metadata, ...own });
  if (name === '') causes.push(requiredValue('metadata.name', 'the digest of the manifest'));
  else if (!isDigest(name)) {
    causes.push(invalidValue('metadata.name', name.slice(0, 300), 'must be the digest of the manifest'));
  }
  const bytes = Buffer.from(sent.dockerImageManifest ?? '');
  const manifest = parseSentManifest(sent, bytes, causes);
  if (manifest !== undefined && isDigest(name)) {
    const digest = digestOf(bytes, digestAlgorithm(name));
    if (digest !== name) causes.push(manifestCause(`has the digest ${digest}, which is not the name of the image`));
  }
  const config = manifest && parseSentConfig(sent, manifest, causes);
  const signatures = newSignatures(sent.signatures ?? [], now);
  if (signatures.kind === 'refused') causes.push(...signatures.causes);
  if (causes.length > 0 || manifest === undefined || signatures.kind === 'refused' || !isDigest(name)) {
    throw invalid(imageNames, name, causes);
  }
  const image = {
    digest: name,
    bytes,
    manifest,
    summary: summarizeImage(bytes, manifest, config),
    metadata: own,
    signatures: signatures.signatures,
  };
  return { image, metadata };
}

function manifestCause(rule: string): StatusCause {
  return { reason: 'FieldValueInvalid', field: 'dockerImageManifest', message: `Invalid value: ${rule}` };
}

/** @returns undefined when there is none to be had, which is then among the causes */
function parseSentManifest(
  { dockerImageManifestMediaType = '' }: SentImage,
  bytes: Buffer,
  causes: StatusCause[],
): ParsedManifest | undefined {
  if (bytes.length === 0) {
    causes.push(requiredValue('dockerImageManifest', 'images are kept by their manifests'));
    return undefined;
  }
  if (bytes.length > maxManifestSize) {
    causes.push(manifestCause(`may not be more than ${maxManifestSize} bytes`));
    return undefined;
  }
  try {
    return parseManifest(bytes, dockerImageManifestMediaType === '' ? undefined : dockerImageManifestMediaType);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    causes.push(manifestCause(JSON.stringify(error.detail)));
    return undefined;
  }
}

function parseSentConfig(
  { dockerImageConfig = '' }: SentImage,
  manifest: ParsedManifest,
  causes: StatusCause[],
): Buffer | undefined {
  if (dockerImageConfig === '') return undefined;
  const bytes = Buffer.from(dockerImageConfig);
  const expected = configOf(manifest)?.digest;
  if (expected !== undefined && digestOf(bytes, digestAlgorithm(expected)) === expected) return bytes;
  const rule =
    expected === undefined ? 'the manifest has none' : `must have the digest ${expected}, as the manifest says`;
  causes.push({ reason: 'FieldValueInvalid', field: 'dockerImageConfig', message: `Invalid value: ${rule}` });
  return undefined;
}

/** @throws {StatusError} Invalid */
function changedWords(record: ImageRecord, old: Image, sent: SentImage, now: Date): ImageWords {
  const metadata = ownMetadata(changedMeta(old.metadata, sent.metadata as never));
  const update = updateSignatures(sent.signatures, record.signatures, now);
  const causes = [
    ...metaCauses({ ...old.metadata, labels: {}, annotations: {}, ...metadata }),
    ...(update.kind === 'refused' ? update.causes : []),
  ];
  if (causes.length > 0 || update.kind === 'refused') throw invalid(imageNames, record.digest, causes);
  return { metadata, signatures: update.signatures };
}

const serverAnnotations: readonly string[] = [imageAnnotations.manifestBlobStored, imageAnnotations.layersOrder];

/**
 * What somebody may say of an image: labels, and annotations without those that the server gives to every image. An image
 * goes with its last repository, so there are no finalizers that would hold it, and no owners.
 */
function ownMetadata({ labels, annotations = {} }: ObjectMeta): OwnMetadata {
  const own = Object.entries(annotations).filter(
    ([key, value]) => !serverAnnotations.includes(key) && !(key === imageAnnotations.managed && value === 'true'),
  );
  return {
    ...(labels !== undefined && { labels }),
    ...(own.length > 0 && { annotations: Object.fromEntries(own) }),
  };
}

/** An image that is not stored. */
function recordOf(image: NewImage, { uid }: ObjectMeta, now: Date): ImageRecord {
  const { manifest, summary, ...fields } = image;
  return {
    ...fields,
    uid,
    mediaType: manifest.mediaType,
    config: summary.config,
    createdAt: now,
    version: 0,
    repository: undefined,
  };
}

function isSame(words: ImageWords, { metadata, signatures }: ImageRecord): boolean {
  return deepEqual(words as unknown as JsonValue, { metadata, signatures } as unknown as JsonValue);
}
