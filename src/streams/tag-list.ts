import { z } from 'zod';
import { badRequest, notFound } from '../kube/errors.js';
import { agoOf } from '../kube/ages.js';
import { timestamp } from '../kube/object-meta.js';
import type { Call, Column, ListQuery, ObjectList, Subresource } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { ImportState } from '../metadata/import-state.js';
import type { StreamShell, TagQuery, TagRow } from '../metadata/stream-store.js';
import type { FindTagRules, TagRules } from '../metadata/tag-history.js';
import type { HistoryOptions } from './history.js';
import { parseStreamName } from './stream-names.js';
import { pullSpecOf, sightOf, streamMetaOf, tagReferenceOf } from './stream-view.js';
import { weirGroup } from './tag-rollback.js';

/** What lists of tags are made from. */
export interface TagListOptions extends HistoryOptions {
  readonly findRules: FindTagRules;
}

const usualLimit = 100;
const maxLimit = 1000;
const maxPatternLength = 200;

const text = z.string();

/** weir.dev/v1 StreamTag beside its metadata: one row of a list of tags. */
const streamTagSchema = z.object({
  tag: text,
  image: text.optional().describe('Digest of the image that the tag points to.'),
  reference: text.optional().describe('Pull spec.'),
  changed: text.describe('When the tag changed.'),
  cause: text.optional().describe('Why it changed.'),
  user: z.object({ name: text, kind: text }).optional().describe('Who changed it.'),
  reason: text.optional(),
  source: text.optional(),
  generation: z.int().optional().describe('The number of the newest event.'),
  events: z.int().describe('Entries in the history of the tag.'),
  size: z.int().optional(),
  platforms: z.array(text).optional(),
  version: text.optional(),
  from: z.object({ kind: text, name: text, namespace: text.optional() }).optional(),
  scheduled: z.boolean(),
  failing: z.boolean(),
  import: z
    .object({ checked: text, moved: text, next: text, error: text })
    .partial()
    .optional()
    .describe(
      'Of a tag that comes from another registry: when it was looked for, found to be another image, and will be again.',
    ),
  protectedBy: text.optional().describe('The rule that keeps the tag where it is.'),
});

const columns: readonly Column[] = [
  {
    name: 'Image',
    type: 'string',
    description: 'What the tag points to.',
    cell: (tag) => (tag['image'] as string | undefined) ?? '',
  },
  { name: 'Size', type: 'integer', description: 'Bytes.', cell: (tag) => (tag['size'] as number | undefined) ?? null },
  {
    name: 'Changed',
    type: 'string',
    description: 'How long ago.',
    cell: (tag, now) => agoOf(String(tag['changed']), now),
  },
  {
    name: 'By',
    type: 'string',
    description: 'Who changed it.',
    cell: (tag) => (tag['user'] as { name: string } | undefined)?.name ?? '',
  },
];

/**
 * `tags` of a stream: a query with a page, an order and a total, whatever the number of tags. `q` is a glob or the
 * beginning of a digest, `sort` one of name, changed and size (with a dash before it the other way round), `state` one of
 * protected, scheduled and failing.
 */
export function tagsSubresource(options: TagListOptions): Subresource {
  return {
    name: 'tags',
    kind: 'StreamTag',
    group: weirGroup,
    version: 'v1',
    verbs: ['get'],
    schema: streamTagSchema,
    columns,
    list: (call, name, query) => listTagRows(options, call, name, query),
  };
}

async function listTagRows(options: TagListOptions, call: Call, name: string, query: ListQuery): Promise<ObjectList> {
  const { store, objects, findRules } = options;
  const repository = parseStreamName(call.namespace, name);
  const stream = repository && (await store.findStream(repository));
  if (stream === undefined) throw notFound({ group: weirGroup, plural: 'imagestreams' }, name);
  const rules = await findRules(call.namespace, { name: '', groups: [] });
  const sort = sortOf(call);
  const limit = Math.min(query.limit ?? usualLimit, maxLimit);
  const resourceVersion = String(await objects.currentVersion());
  const found = await store.queryTags(stream.name, {
    ...sort,
    ...patternOf(call),
    ...stateOf(call, stream, rules),
    limit,
    ...(query.continue !== undefined && { after: parsePosition(query.continue) }),
  });
  if (found === undefined) throw notFound({ group: weirGroup, plural: 'imagestreams' }, name);
  const last = found.rows.at(-1);
  return {
    items: found.rows.map((row) => toStreamTag(row, { stream, call, options, rules })),
    resourceVersion,
    continue: found.isLast || last === undefined ? undefined : writePosition(last),
    more: { total: found.total },
  };
}

/** @throws {StatusError} BadRequest */
function sortOf(call: Call): Pick<TagQuery, 'sort' | 'descending'> {
  const given = call.query('sort') ?? 'name';
  const sort = given.replace(/^-/, '');
  if (sort !== 'name' && sort !== 'changed' && sort !== 'size') {
    throw badRequest('sort: expected name, changed or size, with a dash before it for the other way round');
  }
  return { sort, descending: given.startsWith('-') };
}

/** @throws {StatusError} BadRequest */
function patternOf(call: Call): Pick<TagQuery, 'glob' | 'digestPrefix'> {
  const q = call.query('q');
  if (q === undefined) return {};
  if (q.length > maxPatternLength) throw badRequest(`q: at most ${maxPatternLength} characters`);
  if (/^sha\d{3}:[0-9a-f]*$/.test(q)) return { digestPrefix: q };
  // What is no glob is looked for anywhere in the name.
  return { glob: /[*?]/.test(q) ? q : `*${q}*` };
}

/** @throws {StatusError} BadRequest */
function stateOf(call: Call, stream: StreamShell, rules: TagRules): Pick<TagQuery, 'state' | 'within'> {
  const state = call.query('state');
  switch (state) {
    case undefined:
      return {};
    case 'scheduled':
    case 'failing':
      return { state };
    case 'protected':
      return { within: rules.protectedTags(stream.name) };
    default:
      throw badRequest('state: expected protected, scheduled or failing');
  }
}

interface Surroundings {
  readonly stream: StreamShell;
  readonly call: Call;
  readonly options: TagListOptions;
  readonly rules: TagRules;
}

function toStreamTag(row: TagRow, { stream, call, options, rules }: Surroundings): ApiObject {
  const { newest, summary } = row;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = streamMetaOf(stream);
  const from = tagReferenceOf(row)?.from;
  const protectedBy = rules.guard(stream.name, row.name);
  return {
    metadata: {
      name: `${name}:${row.name}`,
      namespace: namespace!,
      uid,
      resourceVersion: resourceVersion!,
      creationTimestamp,
    },
    tag: row.name,
    ...(newest?.image !== undefined && { image: newest.image }),
    ...(newest !== undefined && {
      reference: pullSpecOf(stream.name, newest, sightOf(call, options)),
      cause: newest.cause,
      user: newest.actor,
      ...(newest.reason !== undefined && { reason: newest.reason }),
      ...(newest.source !== undefined && { source: newest.source }),
      generation: newest.sequence,
    }),
    changed: timestamp(row.changedAt),
    events: row.events,
    ...(summary !== undefined && {
      size: summary.size,
      platforms: summary.platforms,
      ...(summary.version !== undefined && { version: summary.version }),
    }),
    ...(from !== undefined && { from }),
    scheduled: row.spec?.scheduled ?? false,
    failing: row.conditions.length > 0,
    ...(row.lastImport !== undefined && { import: importOf(row.lastImport, row.spec?.scheduled === true) }),
    ...(protectedBy !== undefined && { protectedBy }),
  };
}

function importOf({ checkedAt, movedAt, dueAt, error }: ImportState, isScheduled: boolean): object {
  return {
    ...(checkedAt !== undefined && { checked: timestamp(checkedAt) }),
    ...(movedAt !== undefined && { moved: timestamp(movedAt) }),
    ...(dueAt !== undefined && isScheduled && { next: timestamp(dueAt) }),
    ...(error !== undefined && { error }),
  };
}

function writePosition({ key, name }: TagRow): string {
  return Buffer.from(JSON.stringify([key, name])).toString('base64url');
}

const positionSchema = z.tuple([z.union([z.string(), z.number()]), z.string()]);

/** @throws {StatusError} BadRequest */
function parsePosition(given: string): NonNullable<TagQuery['after']> {
  try {
    const [key, name] = positionSchema.parse(JSON.parse(Buffer.from(given, 'base64url').toString('utf8')));
    return { key, name };
  } catch {
    throw badRequest('continue key is not valid: expected the value of metadata.continue of the page before');
  }
}
