import { createHash } from 'node:crypto';
import { RememberedAnswers } from '../auth/remembered-answers.js';
import type { ObjectStore } from '../metadata/object-store.js';
import { isDigest } from '../oci/digest.js';
import { PullSpecError, pullSpecOrError } from '../oci/pull-spec.js';
import { importSourceOf } from '../streams/tag-edits.js';
import { importIntervalAnnotation, parseImportInterval } from '../streams/tag-validation.js';
import { pausedAnnotation } from '../streams/stream-view.js';
import type { TagReference } from '../streams/types.js';

/** How often tags that are imported on a schedule are looked for. */
export interface ImportIntervals {
  readonly intervalMs: number;
  /** Nobody may want it more often. */
  readonly minIntervalMs: number;
}

/** Says when a tag is to be looked for again; undefined: not again. */
export type NextCheck = (tag: TagReference, result: 'imported' | 'failed', now: Date) => Date | undefined;

/**
 * When tags that follow another registry are looked for: every so many minutes, as the tag says, or its project, or the
 * configuration. Tags with one source come at the same moment, so that it is asked once for all of them; sources are spread
 * over the interval.
 */
export class ImportSchedule {
  readonly #objects: Pick<ObjectStore, 'find'>;
  readonly #intervals: ImportIntervals;
  readonly #ofProjects: RememberedAnswers<number>;

  constructor(objects: Pick<ObjectStore, 'find' | 'lastChangeOf'>, intervals: ImportIntervals) {
    this.#objects = objects;
    this.#intervals = intervals;
    this.#ofProjects = new RememberedAnswers(() => objects.lastChangeOf(['namespaces']));
  }

  async of(project: string): Promise<NextCheck> {
    const ofProject = await this.#ofProjects.get(project, () => this.#intervalOf(project));
    return (tag, result, now) => {
      const source = importSourceOf(tag);
      const isPaused = tag.annotations?.[pausedAnnotation] !== undefined;
      if (source === undefined || isPaused || tag.importPolicy.scheduled !== true) return undefined;
      // What is named by its digest cannot change.
      if (isPinned(tag) && result === 'imported') return undefined;
      const own = parseImportInterval(tag.annotations?.[importIntervalAnnotation] ?? '');
      return nextCheck(source, Math.max(own ?? ofProject, this.#intervals.minIntervalMs), now);
    };
  }

  async #intervalOf(project: string): Promise<number> {
    const namespace = await this.#objects.find({ resource: 'namespaces', namespace: '', name: project });
    const own = parseImportInterval(namespace?.metadata.annotations?.[importIntervalAnnotation] ?? '');
    return own ?? this.#intervals.intervalMs;
  }
}

function isPinned({ from }: TagReference): boolean {
  const spec = pullSpecOrError(from?.name ?? '');
  return !(spec instanceof PullSpecError) && isDigest(spec.id);
}

/** The next of the moments of a source that is at least half an interval away. */
export function nextCheck(source: string, intervalMs: number, now: Date): Date {
  const offset = createHash('sha256').update(source).digest().readUInt32BE(0) % intervalMs;
  const earliest = now.getTime() + intervalMs / 2;
  return new Date(Math.ceil((earliest - offset) / intervalMs) * intervalMs + offset);
}
