import type { ApiObject, Change, ObjectStore } from '../metadata/object-store.js';
import { StatusError } from './errors.js';
import type { WatchSource } from './resource.js';

/** One line of a watch (metav1.WatchEvent). */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: ApiObject;
}

/** Changes kept in memory for those who watch; who is further behind reads the change log. */
const keptChanges = 500;
const readAtOnce = 500;
/** Those who have gone are noticed so late at the latest. */
const tickMs = 1000;

/**
 * The change log as one reader of this process sees it, for all who watch: it is waited for, read and parsed once,
 * whatever their number. What is kept is only a copy: whoever falls behind it reads the log itself.
 */
export class ChangeFeed {
  readonly #store: ObjectStore;
  readonly #stopping: AbortSignal;
  #kept: Change[] = [];
  /** Through which version, and after which one, changes are in `#kept`. */
  #through: number | undefined;
  #after = 0;
  #waiting: Promise<void> | undefined;

  /** @param stopping lets nobody wait any longer */
  constructor(store: ObjectStore, stopping: AbortSignal) {
    this.#store = store;
    this.#stopping = stopping;
  }

  /**
   * Changes of a resource after a version; waits a second or so when there is none yet.
   *
   * @returns the changes, and through which version they are complete; undefined when some are no longer kept anywhere
   */
  async changesAfter(
    version: number,
    resource: string,
  ): Promise<{ readonly changes: readonly Change[]; readonly through: number } | undefined> {
    if (this.#through === undefined || version >= this.#through) {
      await (this.#waiting ??= this.#waitAndRead(this.#through ?? version).finally(() => {
        this.#waiting = undefined;
      }));
      if (this.#through !== undefined && version >= this.#through) return { changes: [], through: version };
    }
    if (this.#through === undefined || version < this.#after) {
      return this.#store.readChanges(version, { resource, limit: readAtOnce });
    }
    const changes: Change[] = [];
    for (let index = this.#indexAfter(version); index < this.#kept.length; index += 1) {
      const change = this.#kept[index]!;
      if (change.resource === resource) changes.push(change);
    }
    return { changes, through: this.#through };
  }

  async #waitAndRead(after: number): Promise<void> {
    await this.#store.waitForChange(after, { signal: this.#stopping, withinMs: tickMs });
    if (this.#stopping.aborted) return;
    if (this.#through !== undefined && (await this.#store.currentVersion()) <= this.#through) return;
    const read = await this.#store.readChanges(after, { limit: readAtOnce });
    if (read === undefined) {
      // Nobody has watched for a long time.
      this.#kept = [];
      this.#through = undefined;
      return;
    }
    if (this.#through === undefined) this.#after = after;
    this.#kept.push(...read.changes);
    this.#through = read.through;
    if (this.#kept.length > 2 * keptChanges) {
      const dropped = this.#kept.splice(0, this.#kept.length - keptChanges);
      this.#after = dropped.at(-1)!.version;
    }
  }

  #indexAfter(version: number): number {
    let low = 0;
    let high = this.#kept.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#kept[middle]!.version <= version) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Who sees what of a resource. */
export interface WatchSelection {
  readonly source: WatchSource;
  /** Empty: all namespaces. */
  readonly namespace: string;
  readonly matches: (object: ApiObject) => boolean;
  readonly visible: ((object: ApiObject) => Promise<boolean>) | undefined;
  readonly show: ((stored: ApiObject, kind: Change['kind']) => Promise<ApiObject>) | undefined;
}

/** How a watch runs. */
export interface WatchOptions {
  /** Changes after this version are told. */
  readonly from: number;
  /** Send the version reached now and then, though nothing changed. */
  readonly bookmarks: boolean;
  /** Ends it, within a second. */
  readonly signal: AbortSignal;
  /** When to end, about. */
  /** By `performance.now()`. */
  readonly untilMs: number;
  /** Asked every second while there are events: whether the caller still may. */
  readonly stillMay: () => Promise<boolean>;
  readonly bookmarkMs?: number;
}

/** An event, and the change it tells of; a bookmark tells of none. */
export interface ToldEvent {
  readonly event: WatchEvent;
  readonly change: Change | undefined;
}

/** Events in memory at a time: what is shown may be much more than what the log keeps. */
const toldAtOnce = 50;
const usualBookmarkMs = 60_000;
const checkMs = 900;

/**
 * The changes of a selection from a version on, in the order of their commits, as many at a time as there are. Nothing is
 * queued for a slow reader: it finds its changes in the log when it comes for them, or that they are no longer kept.
 *
 * @throws {StatusError} Expired when changes are asked for that are no longer kept
 */
export async function* watchChanges(
  feed: ChangeFeed,
  { source, namespace, matches, visible, show }: WatchSelection,
  { from, bookmarks, signal, untilMs, stillMay, bookmarkMs = usualBookmarkMs }: WatchOptions,
): AsyncGenerator<readonly ToldEvent[]> {
  let version = from;
  let checkedAt = performance.now();
  let nextBookmark = performance.now() + bookmarkMs;
  while (!signal.aborted && performance.now() < untilMs) {
    const read = await feed.changesAfter(version, source.resource);
    if (read === undefined) throw expired(version);
    let told: ToldEvent[] = [];
    for (const change of read.changes) {
      if (namespace !== '' && change.object.metadata.namespace !== namespace) continue;
      const event = eventOf(change, source, matches);
      if (event === undefined || (visible !== undefined && !(await visible(event.object)))) continue;
      const object = show === undefined ? event.object : await show(event.object, event.type as Change['kind']);
      told.push({ event: { ...event, object }, change });
      if (told.length < toldAtOnce) continue;
      yield told;
      told = [];
    }
    version = Math.max(version, read.through);
    if (bookmarks && performance.now() >= nextBookmark) {
      nextBookmark = performance.now() + bookmarkMs;
      told.push({ event: bookmark(version), change: undefined });
    }
    if (told.length === 0) continue;
    if (performance.now() - checkedAt > checkMs) {
      if (!(await stillMay())) return;
      checkedAt = performance.now();
    }
    yield told;
  }
}

/** What a change is to those who see a selection: an object may enter it or leave it. */
function eventOf(
  { kind, object, previous }: Change,
  { view }: WatchSource,
  matches: (object: ApiObject) => boolean,
): WatchEvent | undefined {
  const now = view(object);
  const isSelected = kind !== 'DELETED' && matches(now);
  const wasSelected = kind === 'DELETED' ? matches(now) : previous !== undefined && matches(view(previous));
  if (isSelected) return { type: wasSelected ? 'MODIFIED' : 'ADDED', object: now };
  if (!wasSelected) return undefined;
  // What leaves the selection is told as it was in it, and when: `previous` has the version of the change.
  return { type: 'DELETED', object: kind === 'DELETED' ? now : view(previous!) };
}

/** @param annotations as the end of the initial events has them */
export function bookmark(version: number | string, annotations?: Readonly<Record<string, string>>): WatchEvent {
  const metadata = { resourceVersion: String(version), ...(annotations !== undefined && { annotations }) };
  return { type: 'BOOKMARK', object: { metadata: { ...metadata, creationTimestamp: null } as never } };
}

/** The changes after a version are no longer kept: list again, and watch from there. */
export function expired(version: number | string): StatusError {
  return new StatusError('Expired', `too old resource version: ${version}; list again and watch from there`);
}
