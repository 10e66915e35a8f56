import { invalid, notFound, type StatusCause } from '../kube/errors.js';
import { changedMeta, invalidValue, requiredValue } from '../kube/object-meta.js';
import type { Call, ObjectChange, Subresource, WriteOptions } from '../kube/resource.js';
import { checkPreconditions } from '../kube/stored-resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { TagState } from '../metadata/stream-store.js';
import type { TagEvent } from '../metadata/tag-history.js';
import { isDigest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { ownMetadata, type ImageStreamOptions, type ImageStreamStorage } from './image-streams.js';
import { parsePullSpec, PullSpecError } from '../oci/pull-spec.js';
import { streamNames } from './stream-errors.js';
import { imageStreamSchema } from './stream-schema.js';
import { reasonOf, StaleError, type RunningEdit } from './stream-service.js';
import { pullSpecOf, shellSpecOf, sightOf, type StreamSight } from './stream-view.js';
import { targetOfPullSpec } from './tag-targets.js';
import { tagCauses } from './tag-validation.js';
import type { NamedTagEventList, TagEventCondition, TagEventItem } from './types.js';

/** More events than any tag is shown with. */
const allEvents = 1_000_000;

/**
 * `status` of a stream, for those who prune it: events can be taken out of the history of a tag, and new ones come before
 * the rest. What tags are wanted to be is not to be changed here.
 */
export function statusSubresource(options: ImageStreamOptions, storage: ImageStreamStorage): Subresource {
  return {
    name: 'status',
    kind: 'ImageStream',
    verbs: ['get', 'patch', 'update'],
    schema: imageStreamSchema,
    get: storage.get,
    update: (call, name, change, write) => updateStatus(options, storage, call, { name, change, write }),
  };
}

async function updateStatus(
  options: ImageStreamOptions,
  storage: ImageStreamStorage,
  call: Call,
  { name, change, write }: { readonly name: string; readonly change: ObjectChange; readonly write: WriteOptions },
): Promise<{ object: ApiObject; isNew: boolean }> {
  const { service } = options;
  const sight = sightOf(call, options);
  return service.retry(streamNames, name, async () => {
    const state = await storage.find(call, name);
    if (state === undefined) throw notFound(streamNames, name);
    const current = await storage.get(call, name);
    const sent = change(current) as SentStream;
    const { resourceVersion = '', uid } = sent.metadata;
    checkPreconditions(streamNames, current, {
      resourceVersion: resourceVersion === '' ? undefined : resourceVersion,
      uid: uid === '' ? undefined : uid,
    });
    const wanted = (sent.status?.tags ?? []).map(withItemDefaults);
    const causes = wanted.flatMap(tagEventCauses);
    if (causes.length > 0) throw invalid(streamNames, name, causes);
    const { stream } = state;
    const request = { call, repository: stream.name, resource: streamNames, dryRun: write.dryRun };
    await service.edit(request, reasonOf(call, sent.metadata.annotations), async (running) => {
      const { edit } = running;
      if ((await edit.findStream(stream.name))?.version.toString() !== current.metadata.resourceVersion) {
        throw new StaleError();
      }
      const metadata = ownMetadata(changedMeta(current.metadata, sent.metadata as never));
      const local = sent.spec?.lookupPolicy?.local ?? shellSpecOf(stream).lookupPolicy.local;
      const { lookupPolicy: _lookupPolicy, ...spec } = stream.spec;
      const next = { metadata, spec: { ...spec, ...(local && { lookupPolicy: { local } }) } };
      if (JSON.stringify(next) !== JSON.stringify({ metadata: stream.metadata, spec: stream.spec })) {
        await edit.replaceStream(stream.name, { ...next, generation: stream.generation });
      }
      const byName = new Map(wanted.map((tag) => [tag.tag, tag]));
      for (const tag of await edit.listTags(stream.name, allEvents)) {
        await updateTag(running, stream, tag, byName.get(tag.name), sight);
        byName.delete(tag.name);
      }
      for (const tag of byName.values()) await updateTag(running, stream, blank(tag.tag), tag, sight);
    });
    return { object: write.dryRun ? sent : await storage.get(call, name), isNew: false };
  });
}

function blank(name: string): TagState {
  return { name, spec: undefined, image: undefined, sequence: 0, firstSequence: 0, conditions: [], events: [] };
}

/** What of a stream counts here, as the schema lets it through. */
interface SentStream extends ApiObject {
  readonly spec?: { readonly lookupPolicy?: { readonly local?: boolean } } | null;
  readonly status?: { readonly tags?: readonly SentTagEvents[] | null } | null;
}

interface SentTagEvents {
  readonly tag: string;
  readonly items?: readonly SentItem[] | null;
  readonly conditions?: readonly TagEventCondition[] | null;
}

interface SentItem extends Partial<Omit<TagEventItem, 'created'>> {
  readonly created?: string | null;
}

/** The history of a tag with what was left out of it. */
function withItemDefaults({ tag, items, conditions }: SentTagEvents): NamedTagEventList {
  return {
    tag,
    items: (items ?? []).map(({ created, dockerImageReference = '', image = '', generation = 0 }) => ({
      created: created ?? '',
      dockerImageReference,
      image,
      generation,
    })),
    conditions: conditions ?? [],
  };
}

/** What is wrong with the history of a tag as it was sent. */
function tagEventCauses({ tag, items }: NamedTagEventList): StatusCause[] {
  const causes = tagCauses({ name: tag }, `status.tags[${tag.slice(0, 200)}]`);
  if (causes.length > 0) return causes;
  return (items ?? []).flatMap(({ dockerImageReference, image }, index): StatusCause[] => {
    const field = `status.tags[${tag}].items[${index}]`;
    if (dockerImageReference === '') return [requiredValue(`${field}.dockerImageReference`)];
    if (image !== '' && !isDigest(image)) {
      return [invalidValue(`${field}.image`, image.slice(0, 200), 'expected a digest, sha256:…')];
    }
    try {
      parsePullSpec(dockerImageReference);
      return [];
    } catch (error) {
      if (!(error instanceof PullSpecError)) throw error;
      return [invalidValue(`${field}.dockerImageReference`, dockerImageReference.slice(0, 300), error.message)];
    }
  });
}

/** Brings one tag to what was sent of it. */
async function updateTag(
  { edit, editor }: RunningEdit,
  stream: { readonly name: RepositoryName; readonly generation: number },
  tag: TagState,
  sent: NamedTagEventList | undefined,
  sight: StreamSight,
): Promise<void> {
  const items = sent?.items ?? [];
  const { added, kept } = match(items, tag.events, (event) => pullSpecOf(stream.name, event, sight));
  if (kept === undefined) {
    throw invalid(streamNames, stream.name, [
      invalidValue(
        `status.tags[${tag.name}].items`,
        items.length,
        'events can be added only before those that are there',
      ),
    ]);
  }
  // Events beyond those that are shown were never offered to be taken out.
  const isCut = tag.events.length > sight.maxItems;
  const beyond = isCut ? tag.events.slice(sight.maxItems) : [];
  if (kept.length + beyond.length < tag.events.length) {
    const sequences = [...kept, ...(items.length === 0 ? [] : beyond)].map(({ sequence }) => sequence);
    const by = { actor: editor.actor, ...(editor.reason !== undefined && { reason: editor.reason }) };
    await edit.keepEvents(stream.name, tag.name, sequences, by);
  }
  for (const item of [...added].reverse()) {
    const image = isDigest(item.image) ? item.image : undefined;
    const generation = item.generation > 0 ? item.generation : (tag.spec?.generation ?? stream.generation);
    await edit.addEvent(stream.name, tag.name, {
      ...targetOfPullSpec(stream.name, item.dockerImageReference, image, sight),
      generation,
      cause: 'tag',
      actor: editor.actor,
      ...(editor.reason !== undefined && { reason: editor.reason }),
      ...(Number.isNaN(Date.parse(item.created)) ? {} : { created: new Date(item.created) }),
    });
  }
  const [head] = items;
  const [newest] = kept;
  if (added.length === 0 && head !== undefined && newest !== undefined && head.generation !== newest.generation) {
    const { image, location, reference, cause, actor } = newest;
    await edit.addEvent(stream.name, tag.name, {
      image,
      ...(location !== undefined && { location }),
      ...(reference !== undefined && { reference }),
      generation: head.generation > 0 ? head.generation : stream.generation,
      cause: cause as 'tag',
      actor,
    });
  }
  const conditions = (sent?.conditions ?? []) as readonly object[];
  await edit.setConditions(stream.name, tag.name, conditions as never);
}

/** Which of the events are kept, and which items are new before them; `kept` is undefined when they are not in order. */
function match(
  items: readonly TagEventItem[],
  events: readonly TagEvent[],
  specOf: (event: TagEvent) => string,
): { readonly added: readonly TagEventItem[]; readonly kept: readonly TagEvent[] | undefined } {
  const added: TagEventItem[] = [];
  const kept: TagEvent[] = [];
  let from = 0;
  for (const item of items) {
    const index = events.findIndex(
      (event, position) =>
        position >= from && (event.image ?? '') === item.image && specOf(event) === item.dockerImageReference,
    );
    if (index === -1) {
      if (kept.length > 0) return { added, kept: undefined };
      added.push(item);
    } else {
      kept.push(events[index]!);
      from = index + 1;
    }
  }
  return { added, kept };
}
