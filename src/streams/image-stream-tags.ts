import { imageGroup } from '../auth/authorize.js';
import { alreadyExists, badRequest, conflict, invalid, notFound, type StatusCause } from '../kube/errors.js';
import { deepEqual, type JsonValue } from '../kube/json.js';
import { invalidValue } from '../kube/object-meta.js';
import type {
  Call,
  ListQuery,
  ObjectChange,
  ObjectList,
  RemoveOptions,
  Resource,
  ResourceStorage,
  Subresource,
  WriteOptions,
} from '../kube/resource.js';
import { checkPreconditions } from '../kube/stored-resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import type { ImageRecord } from '../metadata/image-store.js';
import type { StreamShell, StreamStore, TagState } from '../metadata/stream-store.js';
import type { Digest } from '../oci/digest.js';
import { imageStreamTagColumns } from './stream-columns.js';
import { parseStreamTagName, requireRepository } from './stream-names.js';
import { imageStreamTagSchema } from './stream-schema.js';
import { reasonOf, type StreamService } from './stream-service.js';
import { reasonAnnotation, sightOf, type SightOptions } from './stream-view.js';
import { listTags } from './tag-lists.js';
import { tagCauses, withTagDefaults, type SentTag } from './tag-validation.js';
import { importAnnotations, toImageStreamTag, toPendingTag } from './tag-view.js';
import type { ImageStreamTag, TagReference } from './types.js';

/** What tags are a view of. */
export interface TagOptions extends SightOptions {
  readonly store: StreamStore;
  readonly images: { readonly find: (digest: Digest) => Promise<ImageRecord | undefined> };
  readonly service: StreamService;
  readonly objects: Pick<ObjectStore, 'currentVersion'>;
}

const names = { group: imageGroup, plural: 'imagestreamtags', kind: 'ImageStreamTag', isNamespaced: true } as const;

/** image.openshift.io/v1 ImageStreamTag: a tag of a stream, with its image. */
export function imageStreamTagResource(options: TagOptions, further: readonly Subresource[]): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'imagestreamtag',
    shortNames: ['istag'],
    verbs: ['create', 'delete', 'get', 'list', 'patch', 'update'],
    description: 'ImageStreamTag is a tag of an image stream, with the image that it points to.',
    schema: imageStreamTagSchema,
    mergeStrategies: {
      'image.dockerImageMetadata': { kind: 'replace' },
      'image.signatures': { kind: 'merge', key: 'name' },
    },
    columns: imageStreamTagColumns,
    storage: new ImageStreamTagStorage(options),
    subresources: further,
  };
}

/** Tags of streams, each with the image it points to. */
export class ImageStreamTagStorage implements ResourceStorage {
  readonly #options: TagOptions;

  constructor(options: TagOptions) {
    this.#options = options;
  }

  readonly get = async (call: Call, name: string): Promise<ImageStreamTag> => {
    const { repository, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
    const found = repository && (await this.#options.store.findTag(repository, tag, 1));
    if (found === undefined) throw notFound(names, stream);
    const image = found.tag?.events[0]?.image;
    if (found.tag === undefined || image === undefined) throw notFound(names, name);
    const record = await this.#options.images.find(image);
    if (record === undefined) throw notFound(names, image);
    return toImageStreamTag({ stream: found.stream, tag: found.tag }, record, sightOf(call, this.#options));
  };

  readonly list = async (call: Call, query: ListQuery): Promise<ObjectList> => {
    const { store, objects } = this.#options;
    const sight = sightOf(call, this.#options);
    const source = { store, version: () => objects.currentVersion() };
    return listTags(source, call, query, {
      events: 1,
      view: (found) =>
        found.tag.events[0]?.image === undefined ? undefined : toImageStreamTag(found, undefined, sight),
    });
  };

  readonly create = async (call: Call, sent: ApiObject, { dryRun }: WriteOptions): Promise<ApiObject> => {
    const { name } = sent.metadata;
    const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
    const repository = requireRepository(parsed, names, stream);
    const wanted = sentTagOf(sent);
    const next = wanted && withTagDefaults(wanted, tag);
    const annotations = ownAnnotations(sent.metadata.annotations);
    const causes = next === undefined ? [] : tagCauses(next, 'tag');
    if (next?.annotations !== undefined && !isSame(ownAnnotations(next.annotations), annotations ?? next.annotations)) {
      causes.push({
        reason: 'FieldValueInvalid',
        field: 'tag.annotations',
        message: 'Invalid value: tag annotations must not be provided or must be equal to the object meta annotations',
      });
    }
    if (causes.length > 0) throw invalid(names, name, causes);
    const { service } = this.#options;
    const reason = reasonOf(call, sent.metadata.annotations ?? next?.annotations);
    await service.retry(names, name, () =>
      service.putTag({ call, repository, resource: names, dryRun }, tag, reason, (_stream, old) => {
        if (old !== undefined) throw alreadyExists({ group: imageGroup, plural: 'imagestreamtag' }, name);
        return next === undefined ? undefined : keptTag(next, next.annotations ?? undefined);
      }),
    );
    return dryRun ? { ...sent, metadata: { ...sent.metadata, namespace: call.namespace } } : this.#show(call, name);
  };

  readonly update = async (
    call: Call,
    name: string,
    change: ObjectChange,
    { dryRun }: WriteOptions,
  ): Promise<{ object: ApiObject; isNew: boolean }> => {
    const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
    const repository = requireRepository(parsed, names, stream);
    const { service, store } = this.#options;
    return service.retry(names, name, async () => {
      const found = await store.findTag(repository, tag, 1);
      const current = await this.#currentOf(call, found);
      // A tag that is not there may be made by a PUT, which has no need of what is; a patch has nothing to change.
      const sent = change(current);
      const { resourceVersion = '' } = sent.metadata;
      if (found === undefined && resourceVersion !== '') throw notFound(names, name);
      if (found !== undefined && resourceVersion !== '' && resourceVersion !== String(found.stream.version)) {
        throw conflict(names, name, `another caller has updated the resource version to ${found.stream.version}`);
      }
      const { uid = '' } = sent.metadata as { uid?: string };
      if (current !== undefined && uid !== '') checkPreconditions(names, current, { uid, resourceVersion: undefined });
      const causes = found === undefined ? [] : metaCauses(sent, current, found.stream);
      const wanted = sentTagOf(sent);
      const annotations = ownAnnotations(sent.metadata.annotations);
      const next = wanted && withTagDefaults({ ...wanted, annotations: annotations ?? null }, tag);
      if (next !== undefined) causes.push(...tagCauses(next, 'tag'));
      if (causes.length > 0) throw invalid(names, name, causes);
      const reason = reasonOf(call, sent.metadata.annotations ?? wanted?.annotations);
      const request = { call, repository, resource: names, dryRun };
      const { isNew } = await service.putTag(request, tag, reason, (_stream, old) => {
        if (next !== undefined) return keptTag(next, annotations);
        if (old !== undefined) return keptTag(old, annotations);
        throw badRequest(
          `imagestreamtag ${tag} is not a spec tag in imagestream ${call.namespace}/${stream}, cannot be updated`,
        );
      });
      const object = dryRun
        ? { ...(current ?? sent), ...sent, metadata: { ...current?.metadata, ...sent.metadata } }
        : await this.#show(call, name);
      return { object, isNew };
    });
  };

  readonly remove = async (call: Call, name: string, { dryRun, uid }: RemoveOptions): Promise<ApiObject> => {
    const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
    const repository = requireRepository(parsed, names, stream);
    const request = { call, repository, resource: names, dryRun };
    const reason = reasonOf(call, undefined);
    const { uid: streamUid } = await this.#options.service.removeTag(request, tag, { reason, uid });
    return { metadata: { name, namespace: call.namespace, uid: streamUid, creationTimestamp: '' } };
  };

  async #currentOf(
    call: Call,
    found: { readonly stream: StreamShell; readonly tag: TagState | undefined } | undefined,
  ): Promise<ImageStreamTag | undefined> {
    if (found?.tag === undefined) return undefined;
    const tag = { stream: found.stream, tag: found.tag };
    const image = found.tag.events[0]?.image;
    const record = image === undefined ? undefined : await this.#options.images.find(image);
    return record === undefined ? toPendingTag(tag) : toImageStreamTag(tag, record, sightOf(call, this.#options));
  }

  /** The tag after a write, whether or not there is an image yet. */
  async #show(call: Call, name: string): Promise<ImageStreamTag> {
    const { repository, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
    const found = await this.#options.store.findTag(repository!, tag, 1);
    if (found === undefined) throw notFound(names, stream);
    const shown = await this.#currentOf(call, found);
    // An empty stream was made, or the tag is gone again.
    return shown ?? toPendingTag({ stream: found.stream, tag: blankTag(tag) });
  }
}

function blankTag(name: string): TagState {
  return { name, spec: undefined, image: undefined, sequence: 0, firstSequence: 0, conditions: [], events: [] };
}

function sentTagOf(sent: ApiObject): SentTag | undefined {
  return (sent['tag'] as SentTag | null | undefined) ?? undefined;
}

/** Only the annotations of a tag can be changed beside the tag itself (openshift-apiserver, ValidateImageStreamTagUpdate). */
function metaCauses(sent: ApiObject, current: ImageStreamTag | undefined, stream: StreamShell): StatusCause[] {
  const { labels, finalizers, ownerReferences } = sent.metadata;
  const known = current?.metadata.labels ?? stream.metadata.labels ?? {};
  const isLabelled = labels !== undefined && Object.keys(labels).length > 0 && !isSame(labels, known);
  if (!isLabelled && (finalizers ?? []).length === 0 && (ownerReferences ?? []).length === 0) return [];
  return [invalidValue('metadata', '', 'may not update fields other than metadata.annotations')];
}

/** The tag as it is to be kept. */
function keptTag(
  { annotations: _annotations, ...tag }: TagReference,
  annotations: Readonly<Record<string, string>> | undefined,
): TagReference {
  const kept = ownAnnotations(annotations);
  return { ...tag, ...(kept !== undefined && { annotations: kept }) };
}

const serverAnnotations: readonly string[] = [reasonAnnotation, ...Object.values(importAnnotations)];

/** What is kept of annotations: not why they are written, nor what the server says of the tag. */
function ownAnnotations(
  annotations: Readonly<Record<string, string>> | null | undefined,
): Readonly<Record<string, string>> | undefined {
  if (annotations === null || annotations === undefined) return undefined;
  const kept = Object.entries(annotations).filter(([name]) => !serverAnnotations.includes(name));
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

function isSame(a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  return deepEqual(a as JsonValue, b as JsonValue);
}
