import { z } from 'zod';
import { badRequest, notFound } from '../kube/errors.js';
import { agoOf } from '../kube/ages.js';
import { timestamp } from '../kube/object-meta.js';
import type { Call, Column, ListQuery, ObjectList, Resource, Subresource } from '../kube/resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import type { HistoryEvent, HistoryPosition, HistoryQuery, StreamStore } from '../metadata/stream-store.js';
import type { TagEventCause } from '../metadata/tag-history.js';
import { isDigest } from '../oci/digest.js';
import { projectOf, streamNameOf } from '../oci/repository-name.js';
import { parseStreamName, parseStreamTagName } from './stream-names.js';
import { pullSpecOf, sightOf, type SightOptions } from './stream-view.js';
import { weirGroup } from './tag-rollback.js';

/** What histories are read from. */
export interface HistoryOptions extends SightOptions {
  readonly store: StreamStore;
  readonly objects: Pick<ObjectStore, 'currentVersion'>;
}

const usualLimit = 100;
const maxLimit = 1000;
const causes: readonly TagEventCause[] = ['push', 'tag', 'import', 'rollback', 'delete', 'undelete'];

const text = z.string();

/** weir.dev/v1 TagEvent beside its metadata. */
const tagEventSchema = z.object({
  stream: text.describe('Name of the image stream.'),
  tag: text,
  generation: z.int().describe('Counts the changes of the tag from 1; a rollback names events by it.'),
  current: z.boolean().describe('Whether it is what the tag is now.'),
  cause: z.enum(causes).describe('Why the tag changed.'),
  user: z.object({ name: text, kind: text }).describe('Who changed it, and what kind of identity that is.'),
  reason: text.optional(),
  image: text.optional().describe('Digest; absent for a deletion and for what is elsewhere.'),
  reference: text.optional().describe('Pull spec.'),
  source: text.optional().describe('Where it came from.'),
  backTo: z.int().optional().describe('The event that a rollback returned to.'),
  replaced: z.boolean().optional().describe('Whether a later event took its place in the image stream.'),
  size: z.int().optional().describe('Bytes of the config and the unique layers.'),
  platforms: z.array(text).optional().describe('As in linux/arm64.'),
  version: text.optional().describe('The version that the image is labelled with.'),
});

const columns: readonly Column[] = [
  {
    name: 'Tag',
    type: 'string',
    description: 'The tag.',
    cell: (event) => `${String(event['stream'])}:${String(event['tag'])}`,
  },
  { name: 'Cause', type: 'string', description: 'Why the tag changed.', cell: (event) => String(event['cause']) },
  {
    name: 'By',
    type: 'string',
    description: 'Who changed it.',
    cell: (event) => (event['user'] as { name: string }).name,
  },
  {
    name: 'Image',
    type: 'string',
    description: 'What it points at.',
    cell: (event) => (event['image'] as string | undefined) ?? '',
  },
  {
    name: 'Reason',
    type: 'string',
    description: 'Why, in words.',
    cell: (event) => (event['reason'] as string | undefined) ?? '',
  },
  {
    name: 'When',
    type: 'string',
    description: 'How long ago.',
    cell: ({ metadata }, now) => agoOf(metadata.creationTimestamp, now),
  },
];

const kind = { group: weirGroup, version: 'v1', kind: 'TagEvent' } as const;

/** `history` of a tag: every event of it, newest first, also when it was deleted. */
export function tagHistorySubresource(options: HistoryOptions): Subresource {
  return {
    ...kind,
    name: 'history',
    verbs: ['get'],
    schema: tagEventSchema,
    columns,
    list: async (call, name, query) => {
      const { repository, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
      if (repository === undefined) throw notFound(streamTags, stream);
      const list = await listEvents(options, call, query, { kind: 'tag', repository, tag });
      const isFiltered = ['cause', 'user', 'image', 'since', 'until'].some((each) => call.query(each) !== undefined);
      // A tag that never was has no history, and neither has one of a stream that is not there.
      if (list.items.length === 0 && query.continue === undefined && !isFiltered) throw notFound(streamTags, name);
      return list;
    },
  };
}

/** `history` of a stream: the events of all its tags, newest first. */
export function streamHistorySubresource(options: HistoryOptions): Subresource {
  return {
    ...kind,
    name: 'history',
    verbs: ['get'],
    schema: tagEventSchema,
    columns,
    list: async (call, name, query) => {
      const repository = parseStreamName(call.namespace, name);
      if (repository === undefined || (await options.store.findStream(repository)) === undefined) {
        throw notFound(streams, name);
      }
      return listEvents(options, call, query, { kind: 'stream', repository });
    },
  };
}

/** What happened to the tags of a project, or of all, newest first. */
export function activityResource(options: HistoryOptions): Resource {
  return {
    ...kind,
    plural: 'activities',
    singular: 'activity',
    isNamespaced: true,
    verbs: ['list'],
    description: 'What happened to the tags of a project: who changed what, when and why.',
    schema: tagEventSchema,
    columns,
    storage: {
      list: async (call, query) => {
        const { namespace: project } = call;
        return listEvents(options, call, query, project === '' ? { kind: 'everything' } : { kind: 'project', project });
      },
    },
  };
}

const streamTags = { group: weirGroup, plural: 'imagestreamtags' } as const;
const streams = { group: weirGroup, plural: 'imagestreams' } as const;

async function listEvents(
  options: HistoryOptions,
  call: Call,
  query: ListQuery,
  of: HistoryQuery['of'],
): Promise<ObjectList> {
  const { store, objects } = options;
  const limit = Math.min(query.limit ?? usualLimit, maxLimit);
  const resourceVersion = String(await objects.currentVersion());
  const before = query.continue === undefined ? undefined : parsePosition(query.continue);
  const events = await store.listHistory({
    of,
    ...filtersOf(call),
    limit: limit + 1,
    ...(before !== undefined && { before }),
  });
  const page = events.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map((event) => toTagEventObject(event, call, options)),
    resourceVersion,
    continue: events.length > limit && last !== undefined ? writePosition(last.position) : undefined,
  };
}

/** @throws {StatusError} BadRequest */
function filtersOf(call: Call): Partial<HistoryQuery> {
  const cause = call.query('cause');
  const wanted = cause?.split(',');
  const unknown = wanted?.find((each) => !(causes as readonly string[]).includes(each));
  if (unknown !== undefined) {
    throw badRequest(`cause ${JSON.stringify(unknown.slice(0, 100))} is none: expected ${causes.join(', ')}`);
  }
  const actor = call.query('user');
  const image = call.query('image');
  if (image !== undefined && !isDigest(image)) throw badRequest('image: expected a digest, sha256:…');
  const since = timeOf(call, 'since');
  const until = timeOf(call, 'until');
  return {
    ...(wanted !== undefined && { causes: wanted as TagEventCause[] }),
    ...(actor !== undefined && { actor }),
    ...(image !== undefined && { image }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  };
}

function timeOf(call: Call, name: string): Date | undefined {
  const given = call.query(name);
  if (given === undefined) return undefined;
  const time = new Date(given);
  if (/^\d{4}-\d{2}-\d{2}/.test(given) && !Number.isNaN(time.getTime())) return time;
  throw badRequest(`${name}: expected a time as in 2026-01-31T12:00:00Z, or a day`);
}

function toTagEventObject(event: HistoryEvent, call: Call, options: HistoryOptions): ApiObject {
  const { repository, tag, sequence, image, facts, source, returnedTo, reason } = event;
  const stream = streamNameOf(repository);
  return {
    metadata: {
      name: `${stream}:${tag}@${sequence}`,
      namespace: projectOf(repository),
      uid: '',
      resourceVersion: String(event.version),
      creationTimestamp: timestamp(event.at),
    },
    stream,
    tag,
    generation: sequence,
    current: event.isCurrent,
    created: event.at.toISOString(),
    cause: event.cause,
    user: { name: event.actor.name, kind: event.actor.kind },
    ...(reason !== undefined && { reason }),
    ...(image !== undefined && { image }),
    ...(event.cause !== 'delete' && { reference: pullSpecOf(repository, event, sightOf(call, options)) }),
    ...(source !== undefined && { source }),
    ...(returnedTo !== undefined && { backTo: returnedTo }),
    ...(!event.shown && event.cause !== 'delete' && { replaced: true }),
    ...(facts !== undefined && {
      size: facts.size,
      platforms: facts.platforms,
      ...(facts.version !== undefined && { version: facts.version }),
    }),
  };
}

function writePosition({ version, repositoryId, tag, sequence }: HistoryPosition): string {
  return Buffer.from(JSON.stringify([version, repositoryId, tag, sequence])).toString('base64url');
}

/** @throws {StatusError} BadRequest */
function parsePosition(given: string): HistoryPosition {
  const parsed = positionSchema.safeParse(jsonOf(Buffer.from(given, 'base64url').toString('utf8')));
  if (!parsed.success) {
    throw badRequest('continue key is not valid: expected the value of metadata.continue of the page before');
  }
  const [version, repositoryId, tag, sequence] = parsed.data;
  return { version, repositoryId, tag, sequence };
}

const positionSchema = z.tuple([z.int(), z.int(), z.string(), z.int()]);

function jsonOf(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return undefined;
  }
}
