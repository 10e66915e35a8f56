import type { StatusCause } from '../kube/errors.js';
import type { SpecTag, StreamEdit, StreamShell } from '../metadata/stream-store.js';
import type { Actor, NewTagEvent, TagEvent } from '../metadata/tag-history.js';
import { formatPullSpec, mostSpecific, PullSpecError, pullSpecOrError, withClientDefaults } from '../oci/pull-spec.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { parseStreamName } from './stream-names.js';
import { pausedAnnotation } from './stream-view.js';
import { ownRepository } from './tag-targets.js';
import { isChanged, parseTagSource, type ParsedTagSource } from './tag-validation.js';
import type { TagReference } from './types.js';

/** Who edits, and why. */
export interface Editor {
  readonly actor: Actor;
  readonly reason: string | undefined;
}

/** What a tag of spec is to be, and what it was. */
export interface TagChange {
  readonly next: TagReference;
  readonly old: TagReference | undefined;
}

/** An event that a tag gets, and the repository through which its image is to be linked. */
interface ResolvedEvent {
  readonly event: NewTagEvent;
  readonly linkFrom: RepositoryName | undefined;
}

/**
 * The tag as it will be stored: its generation is the server's to say. One that is new, points elsewhere than before or is
 * asked to be looked at again gets that of the stream.
 *
 * @param generation of the stream after the edit
 */
export function withGeneration({ next, old }: TagChange, namespace: string, generation: number): TagReference {
  const isNew = old === undefined || isChanged(old, next, namespace) || next.generation === 0;
  return { ...next, generation: isNew ? generation : (old.generation ?? generation) };
}

/** What is kept of a tag of spec. */
export function specTagOf(tag: TagReference, stream: StreamShell): SpecTag {
  const { name, generation, ...body } = tag;
  const follows = followedTag(tag, stream.name);
  const source = importSourceOf(tag);
  return {
    generation: generation ?? stream.generation,
    body: body,
    ...(follows !== undefined && follows !== name && { follows }),
    scheduled: tag.importPolicy.scheduled === true && tag.annotations?.[pausedAnnotation] === undefined,
    ...(source !== undefined && { source }),
  };
}

/** What a tag is imported from, in one spelling for all tags that want the same; undefined when it is not imported. */
export function importSourceOf({ from, reference }: Pick<TagReference, 'from' | 'reference'>): string | undefined {
  if (from?.kind !== 'DockerImage' || reference === true) return undefined;
  const spec = pullSpecOrError(from.name);
  return spec instanceof PullSpecError ? undefined : formatPullSpec(mostSpecific(withClientDefaults(spec)));
}

/** The tag of the same stream whose events a tag gets too (openshift-apiserver, UpdateTrackingTags). */
function followedTag({ name, from }: TagReference, repository: RepositoryName): string | undefined {
  if (from?.kind !== 'ImageStreamTag') return undefined;
  const here = { namespace: projectOf(repository), name: streamNameOf(repository) };
  const source = parseTagSource(from, here, `spec.tags[${name}]`);
  if (source.kind !== 'tag' || source.namespace !== here.namespace || source.stream !== here.name) return undefined;
  return source.tag;
}

/**
 * Streams of other namespaces that a tag takes its image from, also by a pull spec that names this registry; undefined when it
 * is none.
 */
export function foreignSource(
  { next, old }: TagChange,
  stream: { readonly namespace: string; readonly name: string },
  ownHosts: readonly string[],
): { readonly namespace: string; readonly stream: string } | undefined {
  const isNew = isChanged(old, next, stream.namespace);
  // One that is to be looked at again is imported again.
  if (next.from === undefined || (!isNew && next.generation !== 0)) return undefined;
  const source = parseTagSource(next.from, stream, '');
  if (source.kind === 'docker') {
    const own = ownHosts.map((host) => ownRepository(source.reference, { host })).find((each) => each !== undefined);
    if (own === undefined || projectOf(own) === stream.namespace) return undefined;
    return { namespace: projectOf(own), stream: streamNameOf(own) };
  }
  const isOther = (source.kind === 'tag' || source.kind === 'image') && source.namespace !== stream.namespace;
  return isOther && isNew ? { namespace: source.namespace, stream: source.stream } : undefined;
}

/**
 * The event that a new or changed tag of spec brings (openshift-apiserver, tagsChanged): none for a tag without source,
 * and for one whose image is still to be imported.
 */
export async function resolveTag(
  edit: StreamEdit,
  repository: RepositoryName,
  tag: TagReference,
  { actor, reason }: Editor,
): Promise<ResolvedEvent | StatusCause | undefined> {
  const path = `spec.tags[${tag.name}]`;
  const here = { namespace: projectOf(repository), name: streamNameOf(repository) };
  const source = parseTagSource(tag.from!, here, path);
  const common = {
    generation: tag.generation!,
    cause: 'tag' as const,
    actor,
    ...(reason !== undefined && { reason }),
  };
  if (source.kind === 'invalid') return source.cause;
  if (source.kind === 'docker') {
    if (tag.reference !== true) return undefined;
    const event = {
      ...common,
      image: undefined,
      reference: source.reference,
      source: `DockerImage ${source.reference}`,
    };
    return { event, linkFrom: undefined };
  }
  const from = parseStreamName(source.namespace, source.stream);
  if (from === undefined || (await edit.findStream(from)) === undefined) {
    return notFoundCause(`${path}.from.name`, 'imagestreams', source.stream);
  }
  const found =
    source.kind === 'tag' ? await newestEvent(edit, from, source.tag) : await eventOfImage(edit, from, source, path);
  if (found === undefined || 'field' in found) return found;
  const event: NewTagEvent = {
    ...common,
    image: found.image,
    ...(source.kind === 'tag' && { created: found.created }),
    source: nameOf(source),
  };
  // A place of its own: what was pushed to the source is pulled from here from now on, unless only the place is wanted.
  if (found.reference === undefined && (found.location ?? from) === from && from !== repository) {
    return tag.reference === true
      ? { event: { ...event, location: from }, linkFrom: undefined }
      : { event, linkFrom: from };
  }
  const isLinked = found.image !== undefined && (await edit.isLinked(from, found.image));
  const isElsewhere = found.location !== undefined && found.location !== repository;
  return {
    event: {
      ...event,
      ...(isElsewhere && { location: found.location }),
      ...(found.reference !== undefined && { reference: found.reference }),
    },
    linkFrom: isLinked && found.location === undefined && tag.reference !== true ? from : undefined,
  };
}

/** As it is told in the history. */
function nameOf(source: Extract<ParsedTagSource, { kind: 'tag' | 'image' }>): string {
  return source.kind === 'tag'
    ? `ImageStreamTag ${source.namespace}/${source.stream}:${source.tag}`
    : `ImageStreamImage ${source.namespace}/${source.stream}@${source.id}`;
}

async function newestEvent(edit: StreamEdit, repository: RepositoryName, tag: string): Promise<TagEvent | undefined> {
  return (await edit.findTag(repository, tag, 1))?.events[0];
}

type FoundImage = Pick<TagEvent, 'image' | 'location' | 'reference' | 'created'>;

/** What the history of a stream knows of an image; or what was pushed by its digest. */
async function eventOfImage(
  edit: StreamEdit,
  repository: RepositoryName,
  { id }: { readonly id: string },
  path: string,
): Promise<FoundImage | StatusCause> {
  const events = await edit.findEventsByImage(repository, id);
  const [only] = events;
  if (only !== undefined && events.length === 1) return only;
  const linked = only === undefined ? await edit.findLinkedImages(repository, id) : [];
  const [image] = linked;
  if (image !== undefined && linked.length === 1) return { image, created: edit.at };
  const matches = only === undefined ? linked : events.map((event) => event.image);
  const why =
    matches.length === 0
      ? `error generating tag event: imagestreamimage.image.openshift.io "${id}" not found`
      : `error generating tag event: multiple images match the prefix "${id}": ${matches.join(', ')}`;
  return {
    reason: 'FieldValueInvalid',
    field: `${path}.from.name`,
    message: `Invalid value: ${JSON.stringify(id)}: ${why}`,
  };
}

function notFoundCause(field: string, resource: string, name: string): StatusCause {
  return {
    reason: 'FieldValueNotFound',
    field,
    message: `Not found: ${resource}.image.openshift.io "${name}" not found`,
  };
}
