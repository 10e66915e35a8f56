import { RememberedAnswers } from '../auth/remembered-answers.js';
import { formatQuantity, readQuantity, type Quantity } from '../kube/quantity.js';
import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import {
  dockerHubNames,
  formatPullSpec,
  PullSpecError,
  pullSpecOrError,
  withClientDefaults,
} from '../oci/pull-spec.js';
import type { NamedTagEventList, TagReference, TagSource } from './types.js';

const limitRangesResource = 'limitranges';
const resourceQuotasResource = 'resourcequotas';

const imageType = 'openshift.io/Image';
const streamType = 'openshift.io/ImageStream';
const tagsKey = 'openshift.io/image-tags';
const imagesKey = 'openshift.io/images';
const storageKey = 'storage';
const countKeys = ['count/imagestreams.image.openshift.io', 'openshift.io/imagestreams'] as const;

/** core/v1 LimitRange, as far as it is about images. */
interface LimitRange extends ApiObject {
  readonly spec?: {
    readonly limits?: readonly { readonly type?: string; readonly max?: Readonly<Record<string, string>> }[];
  };
}

/** core/v1 ResourceQuota, as far as it is about image streams. */
interface ResourceQuota extends ApiObject {
  readonly spec?: {
    readonly hard?: Readonly<Record<string, string>>;
    readonly scopes?: readonly string[];
    readonly scopeSelector?: object;
  };
}

/** How many image streams there may be in a project, as one ResourceQuota says. */
export interface StreamQuota {
  readonly name: string;
  /** By the name of what is counted, in byte order; each of them means image streams. */
  readonly hard: readonly { readonly key: string; readonly most: Quantity }[];
}

/** How much there may be of images in a project; what is left out is not limited. */
export interface StreamLimit {
  /** Different sources among the tags of the spec of a stream. */
  readonly specReferences?: Quantity;
  /** Different images in the history of the tags of a stream. */
  readonly images?: Quantity;
  /** Bytes of one image. */
  readonly imageSize?: Quantity;
  readonly quotas: readonly StreamQuota[];
}

/** What of a stream is counted. */
export interface StreamUsage {
  /** See `specReferencesOf`. */
  readonly specReferences: ReadonlySet<string>;
  /** Digests. */
  readonly images: ReadonlySet<string>;
}

/** Of a stream that is not there. */
export const noUsage: StreamUsage = { specReferences: new Set(), images: new Set() };

/**
 * What the LimitRanges and ResourceQuotas of projects say of images. They are read through the version of the last
 * change of any of them, so a change counts from the moment it is committed, by whichever process.
 */
export class StreamLimits {
  readonly #store: ObjectStore;
  readonly #limits: RememberedAnswers<StreamLimit>;

  constructor(store: ObjectStore) {
    this.#store = store;
    this.#limits = new RememberedAnswers(() => store.lastChangeOf([limitRangesResource, resourceQuotasResource]));
  }

  /** Of several limits for the same thing, the lowest. */
  of(namespace: string): Promise<StreamLimit> {
    return this.#limits.get(namespace, () => this.#read(namespace));
  }

  async #read(namespace: string): Promise<StreamLimit> {
    const limits: Limit[] = [];
    for await (const object of allObjects(this.#store, { resource: limitRangesResource, namespace })) {
      limits.push(...limitsOf(object));
    }
    const quotas: StreamQuota[] = [];
    for await (const object of allObjects(this.#store, { resource: resourceQuotasResource, namespace })) {
      quotas.push(...quotasOf(object));
    }
    const specReferences = lowest(limits, streamType, tagsKey);
    const images = lowest(limits, streamType, imagesKey);
    const imageSize = lowest(limits, imageType, storageKey);
    return {
      ...(specReferences && { specReferences }),
      ...(images && { images }),
      ...(imageSize && { imageSize }),
      quotas,
    };
  }
}

interface Limit {
  readonly type: string;
  readonly key: string;
  readonly most: Quantity;
}

function limitsOf({ spec }: LimitRange): Limit[] {
  return (spec?.limits ?? []).flatMap(({ type = '', max = {} }) =>
    quantitiesOf(max).map((quantity) => ({ type, ...quantity })),
  );
}

function quotasOf({ metadata: { name }, spec = {} }: ResourceQuota): StreamQuota[] {
  // Scopes are for pods: a quota that has any is for nothing else (Kubernetes, "Resource Quotas").
  if ((spec.scopes ?? []).length > 0 || spec.scopeSelector !== undefined) return [];
  const hard = quantitiesOf(spec.hard ?? {}).filter(({ key }) => (countKeys as readonly string[]).includes(key));
  return hard.length === 0 ? [] : [{ name, hard: hard.sort((one, other) => (one.key < other.key ? -1 : 1)) }];
}

/** What is no quantity is not kept by their resources. */
function quantitiesOf(texts: Readonly<Record<string, string>>): { key: string; most: Quantity }[] {
  return Object.entries(texts).flatMap(([key, text]) => {
    const most = readQuantity(text);
    return most === undefined ? [] : [{ key, most }];
  });
}

function lowest(limits: readonly Limit[], type: string, key: string): Quantity | undefined {
  return limits
    .filter((limit) => limit.type === type && limit.key === key)
    .map(({ most }) => most)
    .reduce<Quantity | undefined>((low, next) => (low === undefined || next.value < low.value ? next : low), undefined);
}

/**
 * The different sources of the tags of a spec (openshift-apiserver, GetImageStreamUsage). Tags of the stream itself by
 * their bare name, and what cannot be read, do not count.
 *
 * @param namespace of the stream
 */
export function specReferencesOf(
  namespace: string,
  tags: readonly Pick<TagReference, 'from'>[] | undefined,
): ReadonlySet<string> {
  const references = new Set<string>();
  for (const { from } of tags ?? []) {
    const reference = from && referenceOf(namespace, from);
    if (reference !== undefined) references.add(reference);
  }
  return references;
}

function referenceOf(
  namespace: string,
  { kind, name, namespace: ofSource = namespace }: TagSource,
): string | undefined {
  switch (kind) {
    case 'DockerImage':
      return pullReferenceOf(name);
    case 'ImageStreamTag':
      return /^[^:]+:[^:]+$/.test(name) ? `${ofSource}/${name}` : undefined;
    case 'ImageStreamImage':
      return /^[^@]+@[^@]+$/.test(name) ? `${ofSource}/${name}` : undefined;
  }
}

/** One text for each image elsewhere: with its registry, without what Docker would add. */
function pullReferenceOf(text: string): string | undefined {
  const parsed = pullSpecOrError(text);
  if (parsed instanceof PullSpecError) return undefined;
  const spec = withClientDefaults(parsed);
  const isDockerHub = dockerHubNames.includes(spec.registry);
  return formatPullSpec({
    ...spec,
    registry: isDockerHub ? dockerHubNames[0]! : spec.registry,
    namespace: isDockerHub && spec.namespace === 'library' ? '' : spec.namespace,
    tag: spec.tag === 'latest' ? '' : spec.tag,
  });
}

/** The different images in the history of tags. */
export function imagesOf(tags: readonly Pick<NamedTagEventList, 'items'>[] | undefined): ReadonlySet<string> {
  const images = (tags ?? []).flatMap(({ items }) => (items ?? []).map(({ image }) => image));
  return new Set(images.filter((image) => image !== ''));
}

/**
 * Why a stream may not become what it is to be; undefined when it may. What is above a limit already may stay, and
 * lose something: only what adds something is looked at (openshift-apiserver, VerifyLimits).
 *
 * @param old `noUsage` for a stream that is not there
 */
export function limitRefusal(old: StreamUsage, next: StreamUsage, limit: StreamLimit): string | undefined {
  if (!isMore(old.specReferences, next.specReferences) && !isMore(old.images, next.images)) return undefined;
  const messages = [
    overLimit(streamType, imagesKey, countOf(next.images.size), limit.images),
    overLimit(streamType, tagsKey, countOf(next.specReferences.size), limit.specReferences),
  ].filter((message) => message !== undefined);
  return messages.length > 1 ? `[${messages.join(', ')}]` : messages[0];
}

/** Whether there is anything new; more of them there can be only then. */
function isMore(old: ReadonlySet<string>, next: ReadonlySet<string>): boolean {
  for (const each of next) if (!old.has(each)) return true;
  return false;
}

/** Why an image may not be in the project; undefined when it may. @param size bytes */
export function imageSizeRefusal(size: number, { imageSize }: StreamLimit): string | undefined {
  return overLimit(imageType, storageKey, { value: size, units: 'binary' }, imageSize);
}

/** What is limited of a push into a project. */
export async function pushLimitsOf(
  limits: Pick<StreamLimits, 'of'>,
  project: string,
): Promise<{
  readonly refuseSize: (size: number) => string | undefined;
  readonly refuseImages?: (count: number) => string | undefined;
}> {
  const limit = await limits.of(project);
  return {
    refuseSize: (size) => imageSizeRefusal(size, limit),
    ...(limit.images !== undefined && {
      refuseImages: (count: number) => overLimit(streamType, imagesKey, countOf(count), limit.images),
    }),
  };
}

function overLimit(type: string, key: string, usage: Quantity, limit: Quantity | undefined): string | undefined {
  if (limit === undefined || usage.value <= limit.value) return undefined;
  return `requested usage of ${key} exceeds the maximum limit per ${type} (${formatQuantity(usage)} > ${formatQuantity(limit)})`;
}

function countOf(value: number): Quantity {
  return { value, units: 'decimal' };
}

/**
 * Why there may not be one more image stream in the project; undefined when there may (Kubernetes, resource quota
 * admission).
 *
 * @param count of those that are there
 */
export function quotaRefusal(count: number, { quotas }: StreamLimit): string | undefined {
  for (const { name, hard } of quotas) {
    const exceeded = hard.filter(({ most }) => count + 1 > most.value);
    if (exceeded.length === 0) continue;
    const list = (quantityOf: (most: Quantity) => Quantity) =>
      exceeded.map(({ key, most }) => `${key}=${formatQuantity(quantityOf(most))}`).join(',');
    const requested = list(() => countOf(1));
    const used = list(() => countOf(count));
    return `exceeded quota: ${name}, requested: ${requested}, used: ${used}, limited: ${list((most) => most)}`;
  }
  return undefined;
}
