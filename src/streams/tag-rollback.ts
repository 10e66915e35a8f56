import { z } from 'zod';
import { imageGroup } from '../auth/authorize.js';
import { badRequest, conflict, invalid, notFound } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';
import type { Call, Subresource, WriteOptions } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { StreamEdit, TagState } from '../metadata/stream-store.js';
import type { TagEvent } from '../metadata/tag-history.js';
import { isDigest, type Digest } from '../oci/digest.js';
import { ReasonError, parseReason } from '../oci/reason.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { TagOptions } from './image-stream-tags.js';
import { parseStreamTagName, requireRepository } from './stream-names.js';
import { reasonOf, requireReason, type RunningEdit } from './stream-service.js';
import { pausedAnnotation, sightOf, tagReferenceOf } from './stream-view.js';
import { specTagOf } from './tag-edits.js';
import { toImageStreamTag, toPendingTag, type FoundTag } from './tag-view.js';

/** weir.dev/v1 */
export const weirGroup = 'weir.dev';

const names = { group: imageGroup, plural: 'imagestreamtags' } as const;

/** Further back a rollback does not count. */
const maxSteps = 1000;

const rollbackSpec = z.object({
  to: z
    .object({
      steps: z.int().optional().describe('Goes back so many entries of the history.'),
      generation: z.int().optional().describe('The number of an event in the history of the tag.'),
      image: z.string().optional().describe('The digest of an image that the tag pointed to.'),
    })
    .describe('Where to go back to: one of steps, generation and image.'),
  reason: z.string().optional().describe('Why, for the history.'),
});

/** `rollback`: makes a tag point again at what it pointed to before. Nothing is pushed, and nothing is lost. */
export function rollbackSubresource(options: TagOptions): Subresource {
  return {
    name: 'rollback',
    kind: 'TagRollback',
    group: weirGroup,
    version: 'v1',
    verbs: ['create'],
    schema: z.object({ spec: rollbackSpec.optional() }),
    create: (call, name, object, write) => rollBack(options, call, name, object, write),
  };
}

/** `undelete`: brings back a tag that was deleted, with its history. */
export function undeleteSubresource(options: TagOptions): Subresource {
  return {
    name: 'undelete',
    kind: 'TagUndelete',
    group: weirGroup,
    version: 'v1',
    verbs: ['create'],
    schema: z.object({
      spec: z.object({ reason: z.string().optional().describe('Why, for the history.') }).optional(),
    }),
    create: (call, name, object, write) => undelete(options, call, name, object, write),
  };
}

async function rollBack(
  options: TagOptions,
  call: Call,
  name: string,
  sent: ApiObject,
  { dryRun }: WriteOptions,
): Promise<ApiObject> {
  const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
  const repository = requireRepository(parsed, names, stream);
  const { to = {}, reason } = (sent['spec'] ?? {}) as { to?: RollbackTarget; reason?: string };
  checkTarget(name, to);
  const request = { call, repository, resource: names, dryRun };
  const edited = await options.service.edit(request, reasonOfBody(call, reason), async (running) => {
    const { edit, editor, rules } = running;
    const found = await findTag(edit, repository, stream, name, tag);
    const event = await findTarget(edit, repository, name, found.tag, to);
    if (event.image === undefined && event.reference === undefined) {
      throw conflict(names, name, `event ${event.sequence} points at nothing that could be gone back to`);
    }
    if (event.image !== undefined && event.location === undefined && !(await edit.isLinked(repository, event.image))) {
      throw conflict(names, name, `image ${event.image} was deleted; choose another event of the history`);
    }
    await pauseSchedule(running, found);
    const { generation } = found.stream;
    const isMoved = await edit.addEvent(repository, tag, {
      image: event.image,
      ...(event.location !== undefined && { location: event.location }),
      ...(event.reference !== undefined && { reference: event.reference }),
      generation,
      cause: 'rollback',
      actor: editor.actor,
      ...(editor.reason !== undefined && { reason: editor.reason }),
      source: `${stream}:${tag}@${event.sequence}`,
      returnedTo: event.sequence,
    });
    if (isMoved) requireReason(rules, repository, 'rollback', editor);
    return {
      ...(await foundTag(edit, repository, tag)),
      moves: await edit.listFollowers(repository, tag),
      untagged: await untaggedBy(edit, repository, found.tag),
    };
  });
  const { moves, untagged } = edited;
  for (const each of moves) call.warn(`tag ${each} follows ${tag} and ${dryRun ? 'would move' : 'moved'} with it`);
  const shown = await show(options, call, edited);
  return dryRun ? { ...shown, consequences: { moves, untagged } } : shown;
}

async function undelete(
  options: TagOptions,
  call: Call,
  name: string,
  sent: ApiObject,
  { dryRun }: WriteOptions,
): Promise<ApiObject> {
  const { repository: parsed, stream, tag } = parseStreamTagName(call.namespace, name, 'ImageStreamTags');
  const repository = requireRepository(parsed, names, stream);
  const { reason } = (sent['spec'] ?? {}) as { reason?: string };
  const request = { call, repository, resource: names, dryRun };
  const edited = await options.service.edit(request, reasonOfBody(call, reason), async ({ edit, editor, rules }) => {
    const found = await edit.findStream(repository);
    if (found === undefined) throw notFound(names, stream);
    const present = await edit.findTag(repository, tag, 1);
    if (present !== undefined && present.sequence > 0) {
      throw conflict(names, name, 'the tag is there; only a tag that was deleted can be brought back');
    }
    const deleted = await edit.findDeletion(repository, tag);
    if (deleted === undefined) throw notFound(names, name);
    const { last, firstSequence } = deleted;
    if (last.image !== undefined && last.location === undefined && !(await edit.isLinked(repository, last.image))) {
      throw conflict(
        names,
        name,
        `image ${last.image} was deleted with its manifest, so the tag cannot be brought back`,
      );
    }
    requireReason(rules, repository, 'undelete', editor);
    await edit.addEvent(repository, tag, {
      image: last.image,
      ...(last.location !== undefined && { location: last.location }),
      ...(last.reference !== undefined && { reference: last.reference }),
      generation: found.generation,
      cause: 'undelete',
      actor: editor.actor,
      ...(editor.reason !== undefined && { reason: editor.reason }),
      source: `${stream}:${tag}@${last.sequence}`,
      returnedTo: last.sequence,
    });
    await edit.extendLife(repository, tag, firstSequence);
    return foundTag(edit, repository, tag);
  });
  return show(options, call, edited);
}

interface RollbackTarget {
  readonly steps?: number;
  readonly generation?: number;
  readonly image?: string;
}

/** @throws {StatusError} Invalid */
function checkTarget(name: string, { steps, generation, image }: RollbackTarget): void {
  const kind = { group: weirGroup, kind: 'TagRollback' };
  const given = [steps, generation, image].filter((each) => each !== undefined);
  if (given.length !== 1) {
    throw invalid(kind, name, [
      invalidValue('spec.to', given.length, 'give exactly one of steps, generation and image'),
    ]);
  }
  if (steps !== undefined && (steps < 1 || steps > maxSteps)) {
    throw invalid(kind, name, [invalidValue('spec.to.steps', steps, `expected a number from 1 to ${maxSteps}`)]);
  }
  if (image !== undefined && !isDigest(image)) {
    throw invalid(kind, name, [invalidValue('spec.to.image', image.slice(0, 200), 'expected a digest, sha256:…')]);
  }
}

/** @throws {StatusError} NotFound */
async function findTarget(
  edit: StreamEdit,
  repository: RepositoryName,
  name: string,
  tag: TagState,
  { steps, generation, image }: RollbackTarget,
): Promise<TagEvent> {
  if (generation !== undefined) {
    const event = await edit.findEvent(repository, tag.name, generation);
    if (event !== undefined && event.cause !== 'delete') return event;
    throw notFound({ group: weirGroup, plural: 'events' }, `${name}@${generation}`);
  }
  if (steps !== undefined) {
    const [event] = (await edit.findTag(repository, tag.name, steps + 1))!.events.slice(steps);
    if (event !== undefined) return event;
    throw badRequest(`${name} has no ${steps} earlier entries in its history`);
  }
  const event = await edit.findEventOfTag(repository, tag.name, image as Digest);
  if (event !== undefined) return event;
  throw notFound({ group: weirGroup, plural: 'events' }, `${name} with image ${image}`);
}

async function findTag(
  edit: StreamEdit,
  repository: RepositoryName,
  stream: string,
  name: string,
  tag: string,
): Promise<FoundTag> {
  const found = await edit.findStream(repository);
  if (found === undefined) throw notFound(names, stream);
  const state = await edit.findTag(repository, tag, 1);
  if (state === undefined || state.sequence === 0) throw notFound(names, name);
  return { stream: found, tag: state };
}

/** The next import must not undo what somebody has just done by hand. */
async function pauseSchedule({ edit }: RunningEdit, { stream, tag }: FoundTag): Promise<void> {
  const wanted = tagReferenceOf(tag);
  if (wanted?.importPolicy.scheduled !== true) return;
  const annotations = { ...wanted.annotations, [pausedAnnotation]: edit.at.toISOString() };
  await edit.putSpecTag(stream.name, tag.name, specTagOf({ ...wanted, annotations }, stream));
}

/** What the tag is inside of the edit, and so also when the edit is only tried. */
async function foundTag(edit: StreamEdit, repository: RepositoryName, tag: string): Promise<FoundTag> {
  return { stream: (await edit.findStream(repository))!, tag: (await edit.findTag(repository, tag, 1))! };
}

/** The image that a tag pointed at before the edit, when no tag does any more. */
export async function untaggedBy(
  edit: StreamEdit,
  repository: RepositoryName,
  { image }: TagState,
): Promise<readonly Digest[]> {
  return image === undefined || (await edit.isTagged(repository, image)) ? [] : [image];
}

async function show(options: TagOptions, call: Call, found: FoundTag): Promise<ApiObject> {
  const image = found.tag.events[0]?.image;
  const record = image === undefined ? undefined : await options.images.find(image);
  const shown = record === undefined ? toPendingTag(found) : toImageStreamTag(found, record, sightOf(call, options));
  return { kind: 'ImageStreamTag', apiVersion: `${imageGroup}/v1`, ...shown };
}

/** @throws {StatusError} BadRequest */
function reasonOfBody(call: Call, reason: string | undefined): string | undefined {
  try {
    return parseReason(reason ?? '') ?? reasonOf(call, undefined);
  } catch (error) {
    if (error instanceof ReasonError) throw badRequest(error.message);
    throw error;
  }
}
