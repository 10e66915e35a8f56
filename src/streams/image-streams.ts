import { LRUCache } from 'lru-cache';
import { badRequest, invalid, notFound, type StatusCause } from '../kube/errors.js';
import { changedMeta, generatedName, invalidValue, metaCauses, newMeta, timestamp } from '../kube/object-meta.js';
import {
  allVerbs,
  type Call,
  type ListQuery,
  type ObjectChange,
  type ObjectList,
  type RemoveOptions,
  type Resource,
  type ResourceStorage,
  type Subresource,
  type WatchSource,
  type WriteOptions,
} from '../kube/resource.js';
import { checkPreconditions, listPaged } from '../kube/stored-resource.js';
import type { ApiObject, ObjectMeta, ObjectStore } from '../metadata/object-store.js';
import { streamsResource, type OwnMetadata, type StreamState, type StreamStore } from '../metadata/stream-store.js';
import { TagProtectedError } from '../metadata/tag-history.js';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.js';
import { imageStreamColumns } from './stream-columns.js';
import { streamNames } from './stream-errors.js';
import { parseStreamName, requireRepository } from './stream-names.js';
import { imageStreamSchema } from './stream-schema.js';
import { reasonOf, type StreamService, type WantedStream } from './stream-service.js';
import {
  pullLocation,
  reasonAnnotation,
  shellSpecOf,
  sightOf,
  streamMetaOf,
  tagReferenceOf,
  toImageStream,
  truncatedAnnotation,
  type SightOptions,
} from './stream-view.js';
import { streamCauses, withTagDefaults, type SentTag } from './tag-validation.js';
import type { ImageStream, ImageStreamSpec, TagReference } from './types.js';

/** What image streams are a view of. */
export interface ImageStreamOptions extends SightOptions {
  readonly store: StreamStore;
  readonly service: StreamService;
  readonly objects: Pick<ObjectStore, 'currentVersion'>;
}

/** Streams read at a time: each may have many tags. */
const pageSize = 100;
/** Streams that are told to those who watch, kept for the next of them: so many tags and events. */
const keptEntries = 50_000;

/** image.openshift.io/v1 ImageStream: a repository, over the very rows that pushes write. */
export function imageStreamResource(storage: ImageStreamStorage, subresources: readonly Subresource[]): Resource {
  return {
    ...streamNames,
    version: 'v1',
    singular: 'imagestream',
    shortNames: ['is'],
    categories: ['all'],
    verbs: allVerbs,
    description: 'ImageStream is a repository: its tags, and the images they have pointed to.',
    schema: imageStreamSchema,
    mergeStrategies: {
      'spec.tags': { kind: 'merge', key: 'name' },
      'status.tags': { kind: 'merge', key: 'tag' },
    },
    fieldSelectors: ['spec.dockerImageRepository', 'status.dockerImageRepository'],
    columns: imageStreamColumns,
    storage,
    subresources,
  };
}

/** Image streams as they are kept in the rows of repositories. */
export class ImageStreamStorage implements ResourceStorage {
  readonly #options: ImageStreamOptions;
  readonly watch: WatchSource;
  readonly #told = new LRUCache<ApiObject, StreamState>({
    maxSize: keptEntries,
    sizeCalculation: ({ tags }) => tags.reduce((sum, tag) => sum + 1 + tag.events.length, 1),
  });

  constructor(options: ImageStreamOptions) {
    this.#options = options;
    this.watch = {
      resource: streamsResource,
      view: (stored) => stored,
      show: (call) => (stored, kind) => this.#show(call, stored, kind),
    };
  }

  readonly get = async (call: Call, name: string): Promise<ImageStream> => {
    const state = await this.#read(call.namespace, name);
    return toImageStream(state, sightOf(call, this.#options));
  };

  readonly list = async (call: Call, query: ListQuery): Promise<ObjectList> => {
    const { store, objects, maxItems } = this.#options;
    const sight = sightOf(call, this.#options);
    const version = await objects.currentVersion();
    if (query.name !== undefined && call.namespace !== '') {
      const repository = parseStreamName(call.namespace, query.name);
      const state = repository && (await store.readStream(repository, maxItems));
      const items = state === undefined ? [] : [toImageStream(state, sight)].filter(query.matches);
      return { items, resourceVersion: String(version) };
    }
    return listPaged(query, async (after, limit) => {
      const states = await store.listStreams({
        ...(call.namespace !== '' && { project: call.namespace }),
        ...(after !== undefined && { after: repositoryOf(after.namespace, after.name) }),
        limit: Math.min(limit, pageSize) + 1,
        events: maxItems,
      });
      const isLast = states.length <= Math.min(limit, pageSize);
      const page = isLast ? states : states.slice(0, -1);
      return { objects: page.map((state) => toImageStream(state, sight)), version, isLast };
    });
  };

  readonly create = async (call: Call, sent: ApiObject, { dryRun }: WriteOptions): Promise<ApiObject> => {
    const { name: sentName = '', generateName = '' } = sent.metadata as { name?: string; generateName?: string };
    const name = sentName === '' && generateName !== '' ? generatedName(generateName) : sentName;
    const metadata = newMeta(sent.metadata as never, { name, namespace: call.namespace, now: call.now });
    const wanted = wantedStream(metadata, specOf(sent));
    checkStream(metadata, sent, wanted.spec);
    const repository = repositoryOf(call.namespace, name);
    const request = { call, repository, resource: streamNames, dryRun };
    const reason = reasonOf(call, sent.metadata.annotations);
    await this.#options.service.create(request, wanted, reason);
    if (!dryRun) return this.get(call, name);
    // Nothing is there to be read.
    const location = pullLocation(repository, sightOf(call, this.#options));
    const tags = wanted.spec.tags?.map((tag) => ({ ...tag, generation: 1 }));
    return {
      metadata: { ...metadata, generation: 1 },
      spec: { ...wanted.spec, ...(tags !== undefined && { tags }) },
      status: { dockerImageRepository: location },
    };
  };

  readonly update = async (
    call: Call,
    name: string,
    change: ObjectChange,
    { dryRun }: WriteOptions,
  ): Promise<{ object: ApiObject; isNew: boolean }> => {
    const { service } = this.#options;
    return service.retry(streamNames, name, async () => {
      const state = await this.#find(call.namespace, name);
      const current = state && toImageStream(state, sightOf(call, this.#options));
      const sent = change(current);
      if (state === undefined || current === undefined) throw notFound(streamNames, name);
      requireVersion(sent, current);
      const metadata = changedMeta(current.metadata, sent.metadata as never);
      const wanted = wantedStream(metadata, specOf(sent));
      checkStream(metadata, sent, wanted.spec);
      const { stream } = state;
      const tags = state.tags.map(tagReferenceOf).filter((tag) => tag !== undefined);
      const request = { call, repository: stream.name, resource: streamNames, dryRun };
      await service.replace(request, { stream, tags }, wanted, reasonOf(call, sent.metadata.annotations));
      if (!dryRun) return { object: await this.get(call, name), isNew: false };
      return { object: { ...current, metadata, spec: wanted.spec }, isNew: false };
    });
  };

  readonly remove = async (call: Call, name: string, options: RemoveOptions): Promise<ApiObject> => {
    const { service } = this.#options;
    const repository = requireRepository(parseStreamName(call.namespace, name), streamNames, name);
    const request = { call, repository, resource: streamNames, dryRun: options.dryRun };
    return service.edit(request, reasonOf(call, undefined), async ({ edit, rules }) => {
      const stream = await edit.findStream(repository);
      if (stream === undefined) throw notFound(streamNames, name);
      const metadata = streamMetaOf(stream);
      checkPreconditions(streamNames, { metadata }, options);
      const kept = await edit.findTagWithin(repository, rules.protectedTags(repository));
      if (kept !== undefined) throw new TagProtectedError(repository, kept, rules.guard(repository, kept) ?? '');
      if ((stream.metadata.finalizers ?? []).length === 0) {
        await edit.removeStream(repository);
        return { metadata };
      }
      if (stream.metadata.deletionTimestamp !== undefined) return { metadata };
      const going = { ...stream.metadata, deletionTimestamp: timestamp(edit.at), deletionGracePeriodSeconds: 0 };
      await edit.replaceStream(repository, { ...stream, metadata: going });
      return { metadata: { ...metadata, ...going } };
    });
  };

  /** The stream as it is kept; undefined when there is none. */
  find(call: Call, name: string): Promise<StreamState | undefined> {
    return this.#find(call.namespace, name);
  }

  async #find(namespace: string, name: string): Promise<StreamState | undefined> {
    const { store, maxItems } = this.#options;
    if (namespace === '') throw badRequest('an image stream is in a namespace');
    const repository = parseStreamName(namespace, name);
    return repository && store.readStream(repository, maxItems);
  }

  async #read(namespace: string, name: string): Promise<StreamState> {
    const state = await this.#find(namespace, name);
    if (state === undefined) throw notFound(streamNames, name);
    return state;
  }

  /**
   * The change log keeps streams without their tags, which are read when somebody is told. What is told is never older
   * than the change; when changes come fast it may be newer.
   */
  async #show(call: Call, stored: ApiObject, kind: 'ADDED' | 'MODIFIED' | 'DELETED'): Promise<ApiObject> {
    const sight = sightOf(call, this.#options);
    const { namespace, name } = stored.metadata;
    let state = this.#told.get(stored);
    if (state === undefined && kind !== 'DELETED') {
      state = await this.#find(namespace!, name);
      if (state !== undefined) this.#told.set(stored, state);
    }
    if (state?.stream.uid !== stored.metadata.uid) {
      const location = pullLocation(repositoryOf(namespace!, name), sight);
      const status = {
        dockerImageRepository: location,
        ...(sight.isPublic && { publicDockerImageRepository: location }),
      };
      return { metadata: stored.metadata, spec: shellSpecOf({ spec: stored['spec'] as never }), status };
    }
    const shown = toImageStream(state, sight);
    return { ...shown, metadata: { ...shown.metadata, resourceVersion: stored.metadata.resourceVersion! } };
  }
}

/** Of a name that was checked. */
function repositoryOf(namespace: string, name: string): RepositoryName {
  return parseRepositoryName(`${namespace}/${name}`);
}

/** A PUT must say what it was made from (openshift-apiserver, AllowUnconditionalUpdate). */
function requireVersion(sent: ApiObject, current: ApiObject): void {
  const { resourceVersion = '', uid, name } = sent.metadata;
  checkPreconditions(streamNames, current, { resourceVersion: undefined, uid: uid === '' ? undefined : uid });
  if (resourceVersion === '' || resourceVersion === '0') {
    throw invalid(streamNames, name, [invalidValue('metadata.resourceVersion', 0, 'must be specified for an update')]);
  }
  checkPreconditions(streamNames, current, { resourceVersion, uid: undefined });
}

/** As the schema lets it through. */
interface SentSpec {
  readonly lookupPolicy?: { readonly local?: boolean };
  readonly dockerImageRepository?: string;
  readonly tags?: readonly SentTag[] | null;
}

/** The spec with its defaults; of two tags of one name the last counts, and they are in the order of their names. */
function specOf(sent: ApiObject): ImageStreamSpec {
  const spec = (sent['spec'] as SentSpec | null | undefined) ?? {};
  const tags = new Map<string, TagReference>();
  for (const tag of spec.tags ?? []) tags.set(tag.name ?? '', withTagDefaults(tag, tag.name ?? ''));
  return {
    lookupPolicy: { local: spec.lookupPolicy?.local ?? false },
    ...(spec.dockerImageRepository !== undefined &&
      spec.dockerImageRepository !== '' && { dockerImageRepository: spec.dockerImageRepository }),
    ...(tags.size > 0 && { tags: [...tags.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) }),
  };
}

function wantedStream(metadata: ObjectMeta, spec: ImageStreamSpec): WantedStream {
  return { metadata: ownMetadata(metadata), spec };
}

/** What of its metadata the owner of a stream says, without what is only told or only asked. */
export function ownMetadata(metadata: ObjectMeta): OwnMetadata {
  const {
    name: _name,
    namespace: _namespace,
    uid: _uid,
    resourceVersion: _resourceVersion,
    generation: _generation,
    creationTimestamp: _creationTimestamp,
    annotations = {},
    ...own
  } = metadata;
  const { [reasonAnnotation]: _reason, [truncatedAnnotation]: _truncated, ...kept } = annotations;
  return { ...own, ...(Object.keys(kept).length > 0 && { annotations: kept }) };
}

/** @throws {StatusError} Invalid */
function checkStream(metadata: ObjectMeta, sent: ApiObject, spec: ImageStreamSpec): void {
  const { name, namespace } = metadata;
  const causes: StatusCause[] = [
    ...(name === ''
      ? [
          {
            reason: 'FieldValueRequired' as const,
            field: 'metadata.name',
            message: 'Required value: name or generateName is required',
          },
        ]
      : []),
    ...metaCauses({ ...metadata, ...sent.metadata }),
    ...streamCauses({ metadata: { namespace, name }, spec }).filter(
      (cause) => name !== '' || cause.field !== 'metadata.name',
    ),
  ];
  if (causes.length > 0) throw invalid(streamNames, name, causes);
}
