import { imageGroup } from '../auth/authorize.js';
import { alreadyExists, conflict, invalid, notFound, StatusError, type StatusCause } from '../kube/errors.js';
import { deepEqual, type JsonValue } from '../kube/json.js';
import { invalidValue, requiredValue } from '../kube/object-meta.js';
import type {
  Call,
  ListQuery,
  ObjectChange,
  ObjectList,
  RemoveOptions,
  Resource,
  ResourceStorage,
  WriteOptions,
} from '../kube/resource.js';
import { checkPreconditions } from '../kube/stored-resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import { imageTagColumns } from './stream-columns.js';
import { parseStreamTagName, requireRepository } from './stream-names.js';
import { imageTagSchema } from './stream-schema.js';
import { reasonOf } from './stream-service.js';
import { sightOf } from './stream-view.js';
import type { TagOptions } from './image-stream-tags.js';
import { listTags } from './tag-lists.js';
import { tagCauses, withTagDefaults, type SentTag } from './tag-validation.js';
import { toImageTag } from './tag-view.js';
import type { ImageTag, TagReference } from './types.js';

const names = { group: imageGroup, plural: 'imagetags', kind: 'ImageTag', isNamespaced: true } as const;

/** image.openshift.io/v1 ImageTag: what a tag is wanted to be and what it is, side by side. */
export function imageTagResource(options: TagOptions): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'imagetag',
    shortNames: ['itag'],
    verbs: ['create', 'delete', 'get', 'list', 'patch', 'update'],
    description: 'ImageTag is a tag of an image stream: what it is wanted to be, and what it is.',
    schema: imageTagSchema,
    mergeStrategies: {
      'image.dockerImageMetadata': { kind: 'replace' },
      'image.signatures': { kind: 'merge', key: 'name' },
    },
    columns: imageTagColumns,
    storage: new ImageTagStorage(options),
  };
}

class ImageTagStorage implements ResourceStorage {
  readonly #options: TagOptions;

  constructor(options: TagOptions) {
    this.#options = options;
  }

  readonly get = async (call: Call, name: string): Promise<ImageTag> => {
    const found = await this.#find(call, name);
    if (found === undefined) throw notFound(names, name);
    return found;
  };

  readonly list = async (call: Call, query: ListQuery): Promise<ObjectList> => {
    const { store, objects, maxItems } = this.#options;
    const sight = sightOf(call, this.#options);
    const source = { store, version: () => objects.currentVersion() };
    return listTags(source, call, query, {
      events: maxItems,
      view: (found) => toImageTag(found, undefined, sight),
    });
  };

  readonly create = async (call: Call, sent: ApiObject, { dryRun }: WriteOptions): Promise<ApiObject> => {
    const { name } = sent.metadata;
    const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageTags');
    const repository = requireRepository(parsed, names, stream);
    const wanted = sentSpecOf(sent);
    if (wanted === undefined) {
      throw invalid(names, name, [requiredValue('spec', 'spec is a required field during creation')]);
    }
    const next = this.#check(name, tag, wanted);
    const { service } = this.#options;
    await service.retry(names, name, () =>
      service.putTag(
        { call, repository, resource: names, dryRun },
        tag,
        reasonOf(call, sent.metadata.annotations),
        (_stream, old) => {
          if (old !== undefined) throw alreadyExists({ group: imageGroup, plural: 'imagetag' }, name);
          return next;
        },
      ),
    );
    return dryRun ? { ...sent, metadata: { ...sent.metadata, namespace: call.namespace } } : this.get(call, name);
  };

  readonly update = async (
    call: Call,
    name: string,
    change: ObjectChange,
    { dryRun }: WriteOptions,
  ): Promise<{ object: ApiObject; isNew: boolean }> => {
    const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageTags');
    const repository = requireRepository(parsed, names, stream);
    const { service } = this.#options;
    return service.retry(names, name, async () => {
      const current = await this.#find(call, name).catch(undefinedWhenAbsent);
      const sent = change(current);
      const { resourceVersion = '' } = sent.metadata;
      const known = current?.metadata.resourceVersion;
      if (resourceVersion !== '' && known === undefined) throw notFound(names, name);
      if (resourceVersion !== '' && resourceVersion !== known) {
        throw conflict(names, name, `another caller has updated the resource version to ${known}`);
      }
      const { uid = '' } = sent.metadata as { uid?: string };
      if (current !== undefined && uid !== '') checkPreconditions(names, current, { uid, resourceVersion: undefined });
      const causes = otherCauses(sent, current);
      if (causes.length > 0) throw invalid(names, name, causes);
      const wanted = sentSpecOf(sent);
      if (wanted === undefined && current === undefined) throw notFound(names, name);
      const next = wanted && this.#check(name, tag, wanted);
      const request = { call, repository, resource: names, dryRun };
      const reason = reasonOf(call, sent.metadata.annotations);
      const { isNew } = await service.putTag(request, tag, reason, () => next);
      if (dryRun) return { object: { ...(current ?? sent), spec: next ?? null }, isNew };
      const object = (await this.#find(call, name)) ?? { ...sent, spec: null, status: null, image: null };
      return { object, isNew };
    });
  };

  readonly remove = async (call: Call, name: string, { dryRun, uid }: RemoveOptions): Promise<ApiObject> => {
    const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageTags');
    const repository = requireRepository(parsed, names, stream);
    const request = { call, repository, resource: names, dryRun };
    const removed = await this.#options.service.removeTag(request, tag, { reason: reasonOf(call, undefined), uid });
    return { metadata: { name, namespace: call.namespace, uid: removed.uid, creationTimestamp: '' } };
  };

  async #find(call: Call, name: string): Promise<ImageTag | undefined> {
    const { store, images, maxItems } = this.#options;
    const { repository, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageTags');
    const found = repository && (await store.findTag(repository, tag, maxItems));
    if (found === undefined) throw notFound(names, stream);
    if (found.tag === undefined) return undefined;
    const image = found.tag.events[0]?.image;
    const record = image === undefined ? undefined : await images.find(image);
    return toImageTag({ stream: found.stream, tag: found.tag }, record, sightOf(call, this.#options));
  }

  /** The tag of spec as it is to be kept. @throws {StatusError} Invalid */
  #check(name: string, tag: string, wanted: SentTag): TagReference {
    const next = withTagDefaults(wanted, tag);
    const causes = tagCauses(next, 'spec');
    if (wanted.name !== undefined && wanted.name !== '' && wanted.name !== tag) {
      causes.push(invalidValue('spec.name', wanted.name, 'must match image tag name'));
    }
    if (causes.length > 0) throw invalid(names, name, causes);
    return next;
  }
}

/** A stream that is not there may be made by an update. */
function undefinedWhenAbsent(error: unknown): undefined {
  if (error instanceof StatusError && error.reason === 'NotFound') return undefined;
  throw error;
}

function sentSpecOf(sent: ApiObject): SentTag | undefined {
  return (sent['spec'] as SentTag | null | undefined) ?? undefined;
}

/** Only what is wanted of a tag can be changed (openshift-apiserver, ValidateImageTagUpdate). */
function otherCauses(sent: ApiObject, current: ImageTag | undefined): StatusCause[] {
  const status = sent['status'] as JsonValue | undefined;
  const isStatusChanged =
    status !== undefined && status !== null && !deepEqual(status, (current?.status ?? null) as unknown as JsonValue);
  const { labels } = sent.metadata;
  const isLabelled = labels !== undefined && !deepEqual(labels, current?.metadata.labels ?? {});
  return isStatusChanged || isLabelled ? [invalidValue('metadata', '', 'may not update fields other than spec')] : [];
}
