import { timestamp } from '../kube/object-meta.js';
import type { ObjectMeta } from '../metadata/object-store.js';
import type { ImageRecord } from '../metadata/image-store.js';
import type { StreamShell, TagState } from '../metadata/stream-store.js';
import type { TagEvent } from '../metadata/tag-history.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { imageObjectOf } from './image-object.js';
import {
  pullLocation,
  pullSpecOf,
  shellSpecOf,
  streamMetaOf,
  tagEventsOf,
  tagReferenceOf,
  type StreamSight,
} from './stream-view.js';
import type { Image, ImageStreamTag, ImageTag, TagEventCondition, TagReference } from './types.js';

/**
 * The pull spec that others are told: with the policy `Local` an image is pulled from this registry, wherever it came from.
 */
function resolvedPullSpec(
  repository: RepositoryName,
  event: TagEvent,
  wanted: TagReference | undefined,
  sight: StreamSight,
): string {
  if (wanted?.referencePolicy.type === 'Local' && event.image !== undefined) {
    return `${pullLocation(repository, sight)}@${event.image}`;
  }
  return pullSpecOf(repository, event, sight);
}

/** An image as it stands in another object: without its manifest and config. */
export function embeddedImage(record: ImageRecord, reference: string): Image {
  return imageObjectOf(
    {
      digest: record.digest,
      mediaType: record.mediaType,
      bytes: record.bytes,
      config: record.config,
      createdAt: record.createdAt,
      uid: record.uid,
      version: String(record.version),
      ...record.metadata,
      reference,
      signatures: record.signatures,
    },
    { withConfig: false },
  );
}

/** A stream and one of its tags, which has an event with an image. */
export interface FoundTag {
  readonly stream: StreamShell;
  readonly tag: TagState;
}

/**
 * A tag with its image.
 *
 * @param image undefined in lists, which name the image only
 */
export function toImageStreamTag(
  { stream, tag }: FoundTag,
  image: ImageRecord | undefined,
  sight: StreamSight,
): ImageStreamTag {
  const wanted = tagReferenceOf(tag);
  const event = tag.events[0]!;
  const reference = resolvedPullSpec(stream.name, event, wanted, sight);
  const annotations = wanted?.annotations ?? undefined;
  const told = { ...annotations, ...importAnnotationsOf(tag) };
  return {
    metadata: tagMeta(stream, `${streamMetaOf(stream).name}:${tag.name}`, timestamp(event.created), told),
    tag: wanted ?? null,
    generation: event.generation,
    lookupPolicy: shellSpecOf(stream).lookupPolicy,
    ...(tag.conditions.length > 0 && { conditions: tag.conditions as unknown as readonly TagEventCondition[] }),
    image:
      image === undefined
        ? { metadata: { name: event.image ?? '' } as ObjectMeta, dockerImageReference: reference }
        : withAnnotations(embeddedImage(image, reference), annotations),
  };
}

function withAnnotations(image: Image, annotations: Readonly<Record<string, string>> | undefined): Image {
  if (annotations === undefined) return image;
  return { ...image, metadata: { ...image.metadata, annotations: { ...image.metadata.annotations, ...annotations } } };
}

/** A tag that is wanted, though nothing has come of it yet. */
export function toPendingTag({ stream, tag }: FoundTag): ImageStreamTag {
  const wanted = tagReferenceOf(tag);
  const { creationTimestamp, name } = streamMetaOf(stream);
  const told = { ...wanted?.annotations, ...importAnnotationsOf(tag) };
  return {
    metadata: tagMeta(stream, `${name}:${tag.name}`, creationTimestamp, told),
    tag: wanted ?? null,
    generation: 0,
    lookupPolicy: shellSpecOf(stream).lookupPolicy,
    ...(tag.conditions.length > 0 && { conditions: tag.conditions as unknown as readonly TagEventCondition[] }),
    image: { metadata: { name: '' } as ObjectMeta },
  };
}

function tagMeta(
  stream: StreamShell,
  name: string,
  creationTimestamp: string,
  annotations: Readonly<Record<string, string>>,
): ObjectMeta {
  const { namespace, uid, resourceVersion, labels } = streamMetaOf(stream);
  return {
    name,
    namespace: namespace!,
    uid,
    resourceVersion: resourceVersion!,
    creationTimestamp,
    ...(labels !== undefined && { labels }),
    ...(Object.keys(annotations).length > 0 && { annotations }),
  };
}

/** What the server says of a tag that is imported, and nobody else can. */
export const importAnnotations = {
  /** When its source was last looked at. */
  checked: 'weir.dev/import-checked',
  /** When the source was last found to be another image. */
  moved: 'weir.dev/import-moved',
  /** When it will be looked at again. */
  next: 'weir.dev/import-next',
  /** Why the last look failed. */
  error: 'weir.dev/import-error',
} as const;

function importAnnotationsOf({ lastImport, spec }: TagState): Readonly<Record<string, string>> {
  const { checkedAt, movedAt, dueAt, error } = lastImport ?? {};
  return {
    ...(checkedAt !== undefined && { [importAnnotations.checked]: timestamp(checkedAt) }),
    ...(movedAt !== undefined && { [importAnnotations.moved]: timestamp(movedAt) }),
    ...(dueAt !== undefined && spec?.scheduled === true && { [importAnnotations.next]: timestamp(dueAt) }),
    ...(error !== undefined && { [importAnnotations.error]: error }),
  };
}

/** What a tag is wanted to be and what it is, side by side. */
export function toImageTag({ stream, tag }: FoundTag, image: ImageRecord | undefined, sight: StreamSight): ImageTag {
  const metadata = streamMetaOf(stream);
  const wanted = tagReferenceOf(tag);
  const [event] = tag.events;
  return {
    metadata: { ...metadata, name: `${metadata.name}:${tag.name}` },
    spec: wanted ?? null,
    status: tagEventsOf(stream.name, tag, sight) ?? null,
    image:
      image === undefined || event === undefined
        ? null
        : embeddedImage(image, resolvedPullSpec(stream.name, event, wanted, sight)),
  };
}
