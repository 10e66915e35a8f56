import { timestamp } from '../kube/object-meta.js';
import type { StreamShell, TagState } from '../metadata/stream-store.js';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { specTagOf } from '../streams/tag-edits.js';
import { requireReason, type RunningEdit } from '../streams/stream-service.js';
import { tagReferenceOf } from '../streams/stream-view.js';
import type { TagReference } from '../streams/types.js';
import type { FetchedImage } from './image-fetcher.js';
import type { ImportFailure } from './import-failure.js';
import type { NextCheck } from './import-schedule.js';

/** On a stream: when images were last imported into it. */
export const checkAnnotation = 'openshift.io/image.dockerRepositoryCheck';

/** What an image was found to be, wherever it was looked for. */
export type FoundImage =
  | {
      readonly kind: 'fetched';
      readonly image: FetchedImage;
      readonly children: readonly FetchedImage[];
      /** What the reference names; the index, when one image of an index was taken. */
      readonly sourceDigest: Digest;
      /** As written, by the digest of the image. */
      readonly pullSpec: string;
    }
  | { readonly kind: 'own'; readonly image: Digest; readonly repository: RepositoryName }
  | {
      readonly kind: 'failed';
      readonly failure: ImportFailure;
      /** Whoever asks may not have it: what is wanted is not remembered, or it would be imported when nobody asks. */
      readonly isRefused?: boolean;
    };

/** A tag, and what its image was found to be. */
export interface TagImport {
  readonly tag: string;
  /** What was asked for, as written. */
  readonly from: string;
  readonly found: FoundImage;
  readonly importPolicy: TagReference['importPolicy'];
  /** Only of a tag that has none yet. */
  readonly referencePolicy: TagReference['referencePolicy'];
  /** Whether the tag was named: then a failure is remembered though there is no such tag yet. */
  readonly isNamed: boolean;
}

/** How imports are applied. */
export interface ApplyOptions {
  readonly nextCheck: NextCheck;
  /** Nobody was asked, and nobody can say why. */
  readonly isAutomatic: boolean;
}

/**
 * Lets a stream have what was imported (openshift-apiserver, imagestreamimport strategy): a tag whose image is another one gets
 * an event, one whose image could not be had a condition, and keeps what it is. Nothing is written when nothing changed.
 *
 * @returns the stream as it was, or as it was made
 */
export async function applyImports(
  running: RunningEdit,
  repository: RepositoryName,
  imports: readonly TagImport[],
  options: ApplyOptions,
): Promise<StreamShell> {
  const { edit } = running;
  const found = await edit.findStream(repository);
  const stream = found ?? (await edit.createStream(repository, { metadata: {}, spec: {} }));
  const next = found === undefined ? 1 : stream.generation + 1;
  let isChanged = found === undefined;
  let isSpecChanged = false;
  for (const each of imports) {
    const change = await applyImport(running, { ...stream, generation: next }, each, options);
    isChanged ||= change !== 'none';
    isSpecChanged ||= change === 'spec';
  }
  if (isChanged || stream.metadata.annotations?.[checkAnnotation] === undefined) {
    const annotations = { ...stream.metadata.annotations, [checkAnnotation]: timestamp(edit.at) };
    await edit.replaceStream(repository, {
      metadata: { ...stream.metadata, annotations },
      spec: stream.spec,
      generation: isSpecChanged ? next : stream.generation,
    });
  }
  return stream;
}

type Change = 'none' | 'status' | 'spec';

/** @param stream with the generation that it will have when something is wanted anew */
async function applyImport(
  running: RunningEdit,
  stream: StreamShell,
  each: TagImport,
  { nextCheck, isAutomatic }: ApplyOptions,
): Promise<Change> {
  const { edit } = running;
  const { name: repository } = stream;
  const state = await edit.findTag(repository, each.tag, 1);
  const old = state && tagReferenceOf(state);
  const { found } = each;
  if (found.kind === 'failed') {
    const change = await applyFailure(running, stream, each, { state, old, failure: found.failure });
    const tag = old ?? wantedTag(each, undefined, stream.generation);
    await edit.settleImport(repository, each.tag, {
      dueAt: nextCheck(tag, 'failed', edit.at),
      error: found.failure.message,
    });
    return change;
  }
  const target = await targetOf(running, found);
  const head = state?.events[0];
  const isSame =
    head !== undefined &&
    old?.from?.kind === 'DockerImage' &&
    old.from.name === each.from &&
    head.image === target.image &&
    head.reference === target.reference &&
    head.location === undefined &&
    (old.generation ?? stream.generation) <= head.generation;
  const tag: TagReference = isSame
    ? { ...old, importPolicy: each.importPolicy }
    : wantedTag(each, old, stream.generation);
  let change: Change = 'none';
  if (!isSame || !isSamePolicy(old, each)) {
    await edit.putSpecTag(repository, each.tag, specTagOf(tag, stream));
    change = 'spec';
  }
  if (isSame) {
    if (state!.conditions.length > 0) {
      await edit.setConditions(repository, each.tag, []);
      if (change === 'none') change = 'status';
    }
  } else {
    if (found.kind === 'fetched') {
      for (const child of found.children) await edit.addImage(repository, child);
      await edit.addImage(repository, found.image);
    }
    const { actor, reason } = running.editor;
    const isAdded = await edit.addEvent(
      repository,
      each.tag,
      {
        ...target,
        generation: stream.generation,
        cause: 'import',
        actor,
        ...(reason !== undefined && { reason }),
        source: `DockerImage ${each.from}`,
      },
      found.kind === 'own' ? found.repository : undefined,
    );
    if (isAdded && !isAutomatic) requireReason(running.rules, repository, 'import', running.editor);
  }
  await edit.settleImport(repository, each.tag, {
    dueAt: nextCheck(tag, 'imported', edit.at),
    digest: found.kind === 'fetched' ? found.sourceDigest : found.image,
    isMoved: head?.image !== target.image,
  });
  return change;
}

/** The tag keeps what it is, and says what went wrong. */
async function applyFailure(
  { edit }: RunningEdit,
  stream: StreamShell,
  each: TagImport,
  {
    state,
    old,
    failure,
  }: { readonly state: TagState | undefined; readonly old: TagReference | undefined; readonly failure: ImportFailure },
): Promise<Change> {
  const condition = {
    type: 'ImportSuccess',
    status: 'False',
    reason: failure.reason,
    message: failure.message,
    generation: stream.generation,
    lastTransitionTime: timestamp(edit.at),
  };
  const isKnown = (state?.conditions ?? []).some(
    (known) =>
      known['type'] === condition.type &&
      known['status'] === condition.status &&
      known['reason'] === condition.reason &&
      known['message'] === condition.message,
  );
  let change: Change = 'none';
  if (!isKnown) {
    change = 'status';
    if (old !== undefined) {
      const tag = { ...old, generation: stream.generation };
      await edit.putSpecTag(stream.name, each.tag, specTagOf(tag, stream));
      change = 'spec';
    }
  }
  if (old === undefined && each.isNamed && each.found.kind === 'failed' && each.found.isRefused !== true) {
    await edit.putSpecTag(stream.name, each.tag, specTagOf(wantedTag(each, undefined, stream.generation), stream));
    change = 'spec';
  }
  if (!isKnown) await edit.setConditions(stream.name, each.tag, [condition]);
  return change;
}

/** What a tag is wanted to be that is imported: the policy of what it was stays, and what is said about it. */
function wantedTag(each: TagImport, old: TagReference | undefined, generation: number): TagReference {
  return {
    ...old,
    name: each.tag,
    from: { kind: 'DockerImage', name: each.from },
    generation,
    importPolicy: each.importPolicy,
    referencePolicy: old?.referencePolicy ?? each.referencePolicy,
  };
}

function isSamePolicy(old: TagReference | undefined, { importPolicy }: TagImport): boolean {
  const of = (policy: TagReference['importPolicy'] | undefined) =>
    [policy?.insecure === true, policy?.scheduled === true, policy?.importMode ?? 'Legacy'].join(' ');
  return of(old?.importPolicy) === of(importPolicy);
}

/** What is here because it was imported says here too where it comes from: its layers may have to be had from there. */
async function targetOf(
  { edit }: RunningEdit,
  found: Exclude<FoundImage, { readonly kind: 'failed' }>,
): Promise<{ readonly image: Digest; readonly reference?: string }> {
  if (found.kind === 'fetched') return { image: found.image.digest, reference: found.pullSpec };
  const [event] = await edit.findEventsByImage(found.repository, found.image);
  const reference = event?.location === undefined ? event?.reference : undefined;
  return { image: found.image, ...(reference !== undefined && { reference }) };
}
