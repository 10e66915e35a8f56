import { timestamp } from '../kube/object-meta.js';
import type { Call } from '../kube/resource.js';
import type { ObjectMeta } from '../metadata/object-store.js';
import type { StreamShell, StreamState, TagState } from '../metadata/stream-store.js';
import type { TagTarget } from '../metadata/tag-history.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import type {
  ImageStream,
  ImageStreamSpec,
  NamedTagEventList,
  TagEventCondition,
  TagEventItem,
  TagReference,
} from './types.js';

/** On a stream whose tags have more events than are shown: `<tag>=<number of events>`, separated by commas. */
export const truncatedAnnotation = 'weir.dev/history-truncated';
/** On a write: why. It is kept in the history and not on the object. */
export const reasonAnnotation = 'weir.dev/reason';

/** On a tag whose schedule was paused by a rollback, until it is taken away: when that was. */
export const pausedAnnotation = 'weir.dev/schedule-paused';

/** How streams are shown. */
export interface StreamSight {
  /** By which the registry is called, as in `weir.example:5000`. */
  readonly host: string;
  /** Whether it is configured, and so the same for everyone. */
  readonly isPublic: boolean;
  /** Of each tag at most so many events. */
  readonly maxItems: number;
}

/** What of the configuration decides how streams are shown. */
export interface SightOptions {
  readonly publicUrl: string | undefined;
  readonly maxItems: number;
}

export function sightOf({ origin }: Pick<Call, 'origin'>, { publicUrl, maxItems }: SightOptions): StreamSight {
  return { host: new URL(origin).host, isPublic: publicUrl !== undefined, maxItems };
}

/** Where the images of a repository are pulled from. */
export function pullLocation(repository: RepositoryName, { host }: Pick<StreamSight, 'host'>): string {
  return `${host}/${repository}`;
}

/** The pull spec of what an event points at. */
export function pullSpecOf(repository: RepositoryName, target: TagTarget, sight: Pick<StreamSight, 'host'>): string {
  if (target.reference !== undefined) return target.reference;
  return `${pullLocation(target.location ?? repository, sight)}@${target.image ?? ''}`;
}

/** What a tag is wanted to be; undefined when nobody wants anything of it. */
export function tagReferenceOf({ name, spec }: Pick<TagState, 'name' | 'spec'>): TagReference | undefined {
  if (spec === undefined) return undefined;
  return { name, ...spec.body, generation: spec.generation } as unknown as TagReference;
}

/** What a tag is; undefined when nothing has happened to it. */
export function tagEventsOf(
  repository: RepositoryName,
  { name, events, conditions }: TagState,
  sight: StreamSight,
): NamedTagEventList | undefined {
  if (events.length === 0 && conditions.length === 0) return undefined;
  const items = events.map((event): TagEventItem => ({
    created: timestamp(event.created),
    dockerImageReference: pullSpecOf(repository, event, sight),
    image: event.image ?? '',
    generation: event.generation,
  }));
  return {
    tag: name,
    items: items.length === 0 ? null : items,
    ...(conditions.length > 0 && { conditions: conditions as unknown as readonly TagEventCondition[] }),
  };
}

/** The spec of a stream without its tags. */
export function shellSpecOf({ spec }: Pick<StreamShell, 'spec'>): ImageStreamSpec {
  const { lookupPolicy, dockerImageRepository } = spec as Partial<ImageStreamSpec>;
  return {
    lookupPolicy: { local: lookupPolicy?.local ?? false },
    ...(dockerImageRepository !== undefined && { dockerImageRepository }),
  };
}

/** Metadata of a stream. */
export function streamMetaOf(stream: StreamShell): ObjectMeta {
  return {
    name: streamNameOf(stream.name),
    namespace: projectOf(stream.name),
    uid: stream.uid,
    resourceVersion: String(stream.version),
    generation: stream.generation,
    creationTimestamp: timestamp(stream.createdAt),
    ...stream.metadata,
  };
}

/** A stream with all its tags. */
export function toImageStream({ stream, tags }: StreamState, sight: StreamSight): ImageStream {
  const location = pullLocation(stream.name, sight);
  const wanted = tags.map(tagReferenceOf).filter((tag) => tag !== undefined);
  const found = tags.map((tag) => tagEventsOf(stream.name, tag, sight)).filter((tag) => tag !== undefined);
  const metadata = streamMetaOf(stream);
  const truncated = tags
    .filter((tag) => tag.sequence > 0 && tag.sequence - tag.firstSequence + 1 > sight.maxItems)
    .map((tag) => `${tag.name}=${tag.sequence - tag.firstSequence + 1}`);
  return {
    metadata: {
      ...metadata,
      ...(truncated.length > 0 && {
        annotations: { ...metadata.annotations, [truncatedAnnotation]: truncated.join(',') },
      }),
    },
    spec: { ...shellSpecOf(stream), ...(wanted.length > 0 && { tags: wanted }) },
    status: {
      dockerImageRepository: location,
      ...(sight.isPublic && { publicDockerImageRepository: location }),
      ...(found.length > 0 && { tags: found }),
    },
  };
}
