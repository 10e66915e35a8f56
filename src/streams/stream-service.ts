import { actorOf } from '../auth/principal.js';
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  type GroupResource,
  type StatusCause,
} from '../kube/errors.js';
import { deepEqual, type JsonValue } from '../kube/json.js';
import type { Call, WriteOptions } from '../kube/resource.js';
import type { JsonBody, OwnMetadata, StreamEdit, StreamShell, StreamStore } from '../metadata/stream-store.js';
import {
  StreamLimitError,
  type Actor,
  type FindTagRules,
  type TagEventCause,
  type TagRules,
} from '../metadata/tag-history.js';
import { decodeReason, parseReason, ReasonError, reasonHeader } from '../oci/reason.js';
import { asRepository, formatPullSpec, PullSpecError, pullSpecOrError, withClientDefaults } from '../oci/pull-spec.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { registryCauses, registryRefusal, type AllowedRegistries } from './allowed-registries.js';
import { TagCausesError, toApiError } from './stream-errors.js';
import {
  imagesOf,
  limitRefusal,
  noUsage,
  quotaRefusal,
  specReferencesOf,
  type StreamLimit,
  type StreamLimits,
  type StreamUsage,
} from './stream-limits.js';
import { reasonAnnotation, shellSpecOf, tagReferenceOf } from './stream-view.js';
import { foreignSource, resolveTag, specTagOf, withGeneration, type Editor, type TagChange } from './tag-edits.js';
import { isChanged } from './tag-validation.js';
import type { ImageStreamSpec, TagReference } from './types.js';

/** What streams are kept in and ruled by. */
export interface StreamServiceOptions {
  readonly store: StreamStore;
  readonly findRules: FindTagRules;
  readonly limits: Pick<StreamLimits, 'of'>;
  readonly allowedRegistries: AllowedRegistries;
  /** Under which this registry is configured to be called. */
  readonly ownHosts: readonly string[];
}

/** A stream as somebody wants to have it. */
export interface WantedStream {
  readonly metadata: OwnMetadata;
  readonly spec: ImageStreamSpec;
}

/** Whose rules an edit is under, what it is of, and under which name errors speak of it. */
export interface EditRequest extends WriteOptions {
  readonly call: Pick<Call, 'principal'>;
  readonly repository: RepositoryName;
  readonly resource: GroupResource;
  /** Who is said to have done it; the principal when left out. */
  readonly actor?: Actor;
}

/** An edit that somebody asks for. */
export interface CallRequest extends EditRequest {
  readonly call: Call;
}

/** An edit under way: the commit, and the rules it keeps. */
export interface RunningEdit {
  readonly edit: StreamEdit;
  readonly editor: Editor;
  readonly rules: TagRules;
}

/** Thrown inside of an edit to have the whole request looked at again. */
export class StaleError extends Error {
  override readonly name = 'StaleError';
}

const retries = 10;

/**
 * Changes of image streams: what tags are wanted to be, and what becomes of them (openshift-apiserver, imagestream
 * strategy). Every change is one commit.
 */
export class StreamService {
  readonly #store: StreamStore;
  readonly #findRules: FindTagRules;
  readonly #limits: Pick<StreamLimits, 'of'>;
  readonly #allowedRegistries: AllowedRegistries;
  readonly #ownHosts: readonly string[];

  constructor({ store, findRules, limits, allowedRegistries, ownHosts }: StreamServiceOptions) {
    this.#store = store;
    this.#findRules = findRules;
    this.#limits = limits;
    this.#allowedRegistries = allowedRegistries;
    this.#ownHosts = ownHosts;
  }

  /**
   * Runs an edit under the rules of the project, again when it finds that what it was made from has changed.
   *
   * @param reason why, beside what the request's header says
   * @throws {StatusError}
   */
  async edit<Result>(
    { call, repository, resource, dryRun, actor }: EditRequest,
    reason: string | undefined,
    work: (running: RunningEdit) => Promise<Result>,
  ): Promise<Result> {
    const rules = await this.#findRules(projectOf(repository), call.principal);
    const editor = { actor: actor ?? actorOf(call.principal), reason };
    const keepEvents = rules.keepEvents?.(repository);
    const options = { guard: rules.guard, ...(keepEvents !== undefined && { keepEvents }), dryRun };
    const limit = await this.#limits.of(projectOf(repository));
    try {
      return await this.#store.edit(async (edit) => {
        const before = await usageOf(edit, repository, limit);
        const result = await work({ edit, editor, rules });
        await checkLimits(edit, { repository, resource, limit, before });
        return result;
      }, options);
    } catch (error) {
      throw toApiError(error, resource, streamNameOf(repository));
    }
  }

  /** Runs a request as often as it takes to find things as it left them. @throws {StatusError} Conflict */
  async retry<Result>(resource: GroupResource, name: string, attempt: () => Promise<Result>): Promise<Result> {
    for (let count = 1; ; count += 1) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof StaleError)) throw error;
        if (count === retries) throw conflict(resource, name);
      }
    }
  }

  /** Makes a stream with its tags. */
  async create(request: CallRequest, wanted: WantedStream, reason: string | undefined): Promise<void> {
    await this.checkSources(
      request,
      (wanted.spec.tags ?? []).map((next) => ({ next, old: undefined })),
    );
    await this.edit(request, reason, async (running) => {
      const { edit } = running;
      if ((await edit.findStream(request.repository)) !== undefined) {
        throw alreadyExists(request.resource, streamNameOf(request.repository));
      }
      const stream = await edit.createStream(request.repository, {
        metadata: wanted.metadata,
        spec: shellBody(wanted.spec),
      });
      await this.#putSource(edit, request.repository, undefined, wanted.spec);
      await applyTags(
        running,
        stream,
        (wanted.spec.tags ?? []).map((next) => ({ next, old: undefined })),
        1,
      );
    });
  }

  /**
   * Replaces what a stream is wanted to be. Tags that are no longer wanted keep what they are.
   *
   * @param old the stream that the wish was made from
   * @throws {StaleError} when it is another one by now
   */
  async replace(
    request: CallRequest,
    old: { readonly stream: StreamShell; readonly tags: readonly TagReference[] },
    wanted: WantedStream,
    reason: string | undefined,
  ): Promise<void> {
    const { stream } = old;
    const before = new Map(old.tags.map((tag) => [tag.name, tag]));
    const changes = (wanted.spec.tags ?? []).map((next) => ({ next, old: before.get(next.name) }));
    await this.checkSources(request, changes);
    await this.edit(request, reason, async (running) => {
      const { edit } = running;
      const now = await edit.findStream(request.repository);
      if (now?.version !== stream.version) throw new StaleError();
      const generation = stream.generation + (isSpecChanged(old, changes, wanted.spec) ? 1 : 0);
      const spec = shellBody(wanted.spec);
      if (!isSame(stream.metadata, wanted.metadata) || !isSame(stream.spec, spec) || generation !== stream.generation) {
        await edit.replaceStream(request.repository, { metadata: wanted.metadata, spec, generation });
      }
      await this.#putSource(edit, request.repository, stream, wanted.spec);
      const kept = new Set(changes.map(({ next }) => next.name));
      for (const { name } of old.tags) if (!kept.has(name)) await edit.removeSpecTag(request.repository, name);
      await applyTags(running, { ...stream, generation }, changes, generation);
    });
  }

  /**
   * Wants one tag of a stream to be something else; the stream is made when it is not there.
   *
   * @param decide what it is to be, given what it is; throws when the wish does not fit
   * @returns whether nobody had wanted anything of the tag before
   */
  async putTag(
    request: CallRequest,
    tag: string,
    reason: string | undefined,
    decide: (stream: StreamShell | undefined, old: TagReference | undefined) => TagReference | undefined,
  ): Promise<{ readonly isNew: boolean }> {
    const { repository } = request;
    const known = await this.#store.findTag(repository, tag, 1);
    const before = known?.tag && tagReferenceOf(known.tag);
    const next = decide(known?.stream, before);
    if (next !== undefined) await this.checkSources(request, [{ next, old: before }]);
    return this.edit(request, reason, async (running) => {
      const { edit } = running;
      const found = await edit.findStream(repository);
      const state = found && (await edit.findTag(repository, tag, 1));
      const old = state && tagReferenceOf(state);
      // What was checked must be what is written.
      if ((found === undefined) !== (known === undefined) || !isSame(old, before)) throw new StaleError();
      const stream = found ?? (await edit.createStream(repository, { metadata: {}, spec: {} }));
      if (next === undefined && old === undefined) return { isNew: false };
      if (next === undefined) {
        await edit.replaceStream(repository, { ...stream, generation: stream.generation + 1 });
        await edit.removeSpecTag(repository, tag);
        return { isNew: false };
      }
      const change = { next, old };
      const isSpecNew = found !== undefined && !isSame(comparable(change), old);
      const generation = stream.generation + (isSpecNew ? 1 : 0);
      if (isSpecNew) await edit.replaceStream(repository, { ...stream, generation });
      await applyTags(running, { ...stream, generation }, [change], generation);
      return { isNew: old === undefined };
    });
  }

  /** Removes what a tag is and what it is wanted to be. */
  async removeTag(
    request: CallRequest,
    tag: string,
    { reason, uid }: { readonly reason: string | undefined; readonly uid: string | undefined },
  ): Promise<StreamShell> {
    const { call, repository, resource, dryRun } = request;
    const stream = streamNameOf(repository);
    return this.edit(request, reason, async ({ edit, editor, rules }) => {
      const found = await edit.findStream(repository);
      if (found === undefined) throw notFound(resource, stream);
      const state = await edit.findTag(repository, tag, 1);
      if (state === undefined) throw notFound(resource, `${stream}:${tag}`);
      if (uid !== undefined && uid !== found.uid) {
        throw conflict(resource, `${stream}:${tag}`, 'the UID precondition was not met');
      }
      if (state.sequence > 0) requireReason(rules, repository, 'delete', editor);
      if (state.spec !== undefined) {
        await edit.replaceStream(repository, { ...found, generation: found.generation + 1 });
      }
      const followers = await edit.listFollowers(repository, tag);
      await edit.removeTag(repository, tag, {
        actor: editor.actor,
        ...(editor.reason !== undefined && { reason: editor.reason }),
      });
      for (const follower of followers) call.warn(`tag ${follower} follows ${tag} and keeps what it is`);
      if (state.image !== undefined && !(await edit.isTagged(repository, state.image))) {
        call.warn(`image ${state.image} ${dryRun ? 'would lose' : 'lost'} its last tag in ${stream}`);
      }
      return found;
    });
  }

  /**
   * Whoever takes an image from another namespace must be allowed to pull it there, and other registries must be among
   * those that are allowed. What was there before is not looked at again.
   *
   * @throws {StatusError} Invalid, with a cause for each tag
   */
  async checkSources({ call, repository }: CallRequest, changes: readonly TagChange[]): Promise<void> {
    const here = { namespace: projectOf(repository), name: streamNameOf(repository) };
    const allowed = new Map<string, boolean>();
    const causes: StatusCause[] = [];
    for (const change of changes) {
      const path = `spec.tags[${change.next.name}]`;
      if (isChanged(change.old, change.next, here.namespace)) {
        causes.push(
          ...registryCauses(change.next, path, { allowed: this.#allowedRegistries, isInsecureStream: false }),
        );
      }
      const source = foreignSource(change, here, this.#ownHosts);
      if (source === undefined) continue;
      const key = `${source.namespace}/${source.stream}`;
      let may = allowed.get(key);
      if (may === undefined) {
        may = await call.may({
          verb: 'get',
          group: 'image.openshift.io',
          resource: 'imagestreams/layers',
          namespace: source.namespace,
          name: source.stream,
        });
        allowed.set(key, may);
      }
      if (may) continue;
      causes.push({
        reason: 'FieldValueForbidden',
        field: `${path}.from`,
        message: `Forbidden: ${key}: ${call.principal.name} may not pull from it (get imagestreams/layers)`,
      });
    }
    if (causes.length > 0) throw invalid({ group: 'image.openshift.io', kind: 'ImageStream' }, here.name, causes);
  }

  /** A repository elsewhere that a stream names as a whole has its tags imported when it is another one than before. */
  async #putSource(
    edit: StreamEdit,
    repository: RepositoryName,
    before: StreamShell | undefined,
    { dockerImageRepository: wanted = '' }: ImageStreamSpec,
  ): Promise<void> {
    const old = before === undefined ? '' : (shellSpecOf(before).dockerImageRepository ?? '');
    if (wanted === old) return;
    const spec = wanted === '' ? undefined : pullSpecOrError(wanted);
    if (spec === undefined || spec instanceof PullSpecError || spec.name === '') {
      await edit.putSource(repository, undefined);
      return;
    }
    const refusal = registryRefusal(this.#allowedRegistries, spec, { isInsecure: false });
    if (refusal !== undefined) {
      const field = 'spec.dockerImageRepository';
      throw new TagCausesError([{ reason: 'FieldValueForbidden', field, message: `Forbidden: ${refusal}` }]);
    }
    await edit.putSource(repository, formatPullSpec(asRepository(withClientDefaults(spec))));
  }
}

/** More events than any tag has. */
const allEvents = 1_000_000_000;

/** What is counted of a stream: undefined when there is none. Nothing is read where nothing is limited. */
async function usageOf(
  edit: StreamEdit,
  repository: RepositoryName,
  { specReferences, images, quotas }: StreamLimit,
): Promise<StreamUsage | undefined> {
  const isCounted = specReferences !== undefined || images !== undefined;
  if (!isCounted && quotas.length === 0) return noUsage;
  if ((await edit.findStream(repository)) === undefined) return undefined;
  if (!isCounted) return noUsage;
  const tags = await edit.listTags(repository, images === undefined ? 0 : allEvents);
  return {
    specReferences: specReferencesOf(
      projectOf(repository),
      tags.map(tagReferenceOf).filter((tag) => tag !== undefined),
    ),
    images: imagesOf(
      tags.map(({ events }) => ({ items: events.map(({ image }) => ({ image: image ?? '' })) as never })),
    ),
  };
}

/** @throws {StreamLimitError} @throws {StatusError} Forbidden when the project may have no further stream */
async function checkLimits(
  edit: StreamEdit,
  {
    repository,
    resource,
    limit,
    before,
  }: {
    readonly repository: RepositoryName;
    readonly resource: GroupResource;
    readonly limit: StreamLimit;
    readonly before: StreamUsage | undefined;
  },
): Promise<void> {
  const after = await usageOf(edit, repository, limit);
  if (after === undefined) return;
  if (before === undefined) {
    const refusal = quotaRefusal((await edit.countStreams(projectOf(repository))) - 1, limit);
    if (refusal !== undefined) throw forbidden(resource, streamNameOf(repository), refusal);
  }
  const refusal = limitRefusal(before ?? noUsage, after, limit);
  if (refusal !== undefined) throw new StreamLimitError(refusal);
}

/**
 * Why a request is made: what its header says, or else the annotation.
 *
 * @throws {StatusError} BadRequest
 */
export function reasonOf(
  call: Call,
  annotations: Readonly<Record<string, string>> | null | undefined,
): string | undefined {
  try {
    return decodeReason(call.header(reasonHeader)) ?? parseReason(annotations?.[reasonAnnotation] ?? '');
  } catch (error) {
    if (error instanceof ReasonError) throw badRequest(error.message);
    throw error;
  }
}

/** @throws {StatusError} Invalid when the project wants a reason and none is given */
export function requireReason(
  rules: TagRules,
  repository: RepositoryName,
  cause: TagEventCause,
  { reason }: Editor,
): void {
  if (reason !== undefined || !rules.reasonsFor(repository).includes(cause)) return;
  throw new TagCausesError([
    {
      reason: 'FieldValueRequired',
      field: `metadata.annotations[${reasonAnnotation}]`,
      message: `Required value: the project wants a reason for every ${cause}; give it here or in the header ${reasonHeader}`,
    },
  ]);
}

/** Stores tags of spec, and lets happen what they ask for. */
async function applyTags(
  { edit, editor, rules }: RunningEdit,
  stream: StreamShell,
  changes: readonly TagChange[],
  generation: number,
): Promise<void> {
  const { name: repository } = stream;
  const namespace = projectOf(repository);
  const causes: StatusCause[] = [];
  for (const change of changes) {
    const tag = withGeneration(change, namespace, generation);
    if (!isSame(tag, change.old)) await edit.putSpecTag(repository, tag.name, specTagOf(tag, stream));
  }
  for (const change of changes) {
    if (!isChanged(change.old, change.next, namespace)) continue;
    const tag = withGeneration(change, namespace, generation);
    const resolved = await resolveTag(edit, repository, tag, editor);
    if (resolved === undefined) continue;
    if ('field' in resolved) {
      causes.push(resolved);
      continue;
    }
    const isAdded = await edit.addEvent(repository, tag.name, resolved.event, resolved.linkFrom);
    if (isAdded) requireReason(rules, repository, 'tag', editor);
  }
  if (causes.length > 0) throw new TagCausesError(causes);
}

/** Whether what is wanted of a stream is something else, whatever is said about generations that are not to be seen to. */
function isSpecChanged(
  old: { readonly stream: StreamShell; readonly tags: readonly TagReference[] },
  changes: readonly TagChange[],
  spec: ImageStreamSpec,
): boolean {
  return (
    old.tags.length !== changes.length ||
    !isSame(shellBody(shellSpecOf(old.stream)), shellBody(spec)) ||
    changes.some((change) => !isSame(comparable(change), change.old))
  );
}

/** A tag as it is compared with what it was: only a generation of 0 is the client's to say. */
function comparable({ next, old }: TagChange): TagReference {
  if (next.generation === 0) return next;
  const { generation: _generation, ...rest } = next;
  return { ...rest, ...(typeof old?.generation === 'number' && { generation: old.generation }) };
}

/** What of a spec is kept with the stream, rather than with its tags. */
function shellBody({ lookupPolicy, dockerImageRepository = '' }: ImageStreamSpec): JsonBody {
  return {
    ...(lookupPolicy.local && { lookupPolicy: { local: true } }),
    ...(dockerImageRepository !== '' && { dockerImageRepository }),
  };
}

function isSame(a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  return deepEqual(a as JsonValue, b as JsonValue);
}
