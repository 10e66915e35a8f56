import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import {
  registryOfSource,
  type DueImport,
  type DueSource,
  type HeldSource,
  type ImportRecords,
} from '../metadata/import-records.js';
import type { ImportOutcome } from '../metadata/import-state.js';
import type { Digest } from '../oci/digest.js';
import { UpstreamError } from '../upstream/upstream.js';
import { failureOf, type ImportFailure } from './import-failure.js';
import { ImportQueue } from './import-queue.js';
import type { ImportGroup, ImportSession, TagImporter } from './tag-importer.js';

/** How much is done at a time. */
export interface ImportJobOptions {
  readonly records: ImportRecords;
  readonly importer: Pick<TagImporter, 'groupByAccess' | 'nextCheck' | 'session'>;
  /** Told of every tag that was looked for. */
  readonly onLook?: (look: ImportLook) => void;
  /** Sources that are asked at a time; 64 when left out. */
  readonly atOnce?: number;
  /** Of them, those of one registry; 16 when left out, which is a hundred a second of one that is far away. */
  readonly perRegistry?: number;
  readonly now?: () => Date;
}

/** One tag that was looked for. */
export interface ImportLook {
  readonly registry: string;
  readonly isScheduled: boolean;
  readonly result: 'unchanged' | 'imported' | 'failed';
  /** Of a failure. */
  readonly reason?: string;
}

type Outcome = ImportOutcome & Pick<DueImport, 'repository' | 'tag'>;

const sourcesPerClaim = 128;
/** Tags of one source that are claimed at a time. */
const importsPerSource = 200;
/**
 * Leases are renewed while work goes on: what a process held that died is somebody else's after so long. Whoever is held up
 * for longer than that finds work done twice.
 */
const leaseMs = 10_000;
const renewEveryMs = 3000;
/** New work is looked for while old work is under way. */
const pauseMs = 250;
/** A registry that does not answer is left alone for so long: those who wait for it must not keep the others waiting. */
const leftAloneMs = 30_000;
/** How often a tag that would not be looked for again is put off because its registry was silent when others asked. */
const maxDeferrals = 3;
const maxRegistries = 1000;
const firstRetryMs = 5000;
const lastRetryMs = 3600_000;

/**
 * Imports what is due: tags that are newly wanted, and those on a schedule, which are first asked for their digest. Tags with
 * one source are looked for with one request. Any process may do it: what one holds when it dies is taken over when its lease
 * is over.
 */
export class ImportJob {
  readonly #records: ImportRecords;
  readonly #importer: ImportJobOptions['importer'];
  readonly #onLook: (look: ImportLook) => void;
  readonly #now: () => Date;
  readonly #silent = new LRUCache<string, ImportFailure>({ max: maxRegistries, ttl: leftAloneMs });
  readonly #queue: ImportQueue;
  /** All that is claimed, by source. */
  readonly #held = new Map<string, HeldSource>();
  #claimedAt = -Infinity;
  #renewedAt = -Infinity;
  /** Whether the last claim had anything, or could have had. */
  #isMoreDue = false;

  constructor(options: ImportJobOptions) {
    this.#records = options.records;
    this.#importer = options.importer;
    this.#onLook = options.onLook ?? (() => undefined);
    this.#now = options.now ?? (() => new Date());
    this.#queue = new ImportQueue({
      atOnce: options.atOnce ?? 64,
      perRegistry: options.perRegistry ?? 16,
      isLeftAlone: (registry) => this.#silent.has(registry),
    });
  }

  /** Until nothing is due any more. @throws when something cannot be kept; what was under way is looked for again then */
  async run(signal: AbortSignal): Promise<void> {
    const ending = new AbortController();
    const end = () => {
      ending.abort(signal.reason);
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    // One for each request that is under way, and more of them than Node takes for a mistake.
    setMaxListeners(0, ending.signal);
    try {
      await this.#runUntilNothingIsDue(ending);
    } finally {
      signal.removeEventListener('abort', end);
      this.#queue.clear();
      const held = [...this.#held.values()];
      this.#held.clear();
      await this.#records.release(held);
    }
  }

  async #runUntilNothingIsDue(ending: AbortController): Promise<void> {
    const { signal } = ending;
    const running = new Set<Promise<void>>();
    let failure: { readonly error: unknown } | undefined;
    const fail = (error: unknown) => {
      // What breaks off because of the end is none.
      if (!signal.aborted) failure = { error };
      ending.abort();
    };
    let pause = new AbortController();
    for (;;) {
      pause = new AbortController();
      try {
        await this.#renew();
        if (!signal.aborted) await this.#claim({ isIdle: running.size === 0 });
      } catch (error) {
        fail(error);
      }
      for (const source of signal.aborted ? [] : this.#queue.begin()) {
        const work = this.#process(source, signal)
          .catch(fail)
          .finally(() => {
            running.delete(work);
            pause.abort();
          });
        running.add(work);
      }
      if (running.size === 0) break;
      await sleep(pauseMs, undefined, { ref: false, signal: pause.signal }).catch(() => undefined);
    }
    if (failure !== undefined) throw failure.error as Error;
  }

  async #claim({ isIdle }: { readonly isIdle: boolean }): Promise<void> {
    const isEarly = performance.now() - this.#claimedAt < pauseMs;
    if (isEarly && !isIdle && !(this.#isMoreDue && this.#queue.isShort)) return;
    this.#claimedAt = performance.now();
    const now = this.#now();
    const full = new Set<string>();
    const claimed = await this.#records.claim({
      now,
      leaseUntil: new Date(now.getTime() + leaseMs),
      sources: sourcesPerClaim,
      imports: importsPerSource,
      room: (registry) => {
        const room = this.#queue.roomFor(registry);
        if (room === 0) full.add(registry);
        return room;
      },
      except: [...this.#held.keys()],
    });
    this.#isMoreDue = full.size > 0 || claimed.length > 0;
    for (const { source, lease } of claimed) this.#held.set(source, { source, lease });
    this.#queue.add(claimed);
  }

  async #renew(): Promise<void> {
    if (performance.now() - this.#renewedAt < renewEveryMs) return;
    this.#renewedAt = performance.now();
    await this.#records.renew([...this.#held.values()], new Date(this.#now().getTime() + leaseMs));
  }

  async #process(source: DueSource, signal: AbortSignal): Promise<void> {
    const { lease } = source;
    try {
      const outcomes = await this.#look(source, signal);
      if (signal.aborted) return;
      await this.#records.settle(
        this.#now(),
        outcomes.map((outcome) => ({ ...outcome, lease })),
      );
      this.#held.delete(source.source);
    } finally {
      this.#queue.finish(source);
    }
  }

  async #look({ source, imports }: DueSource, signal: AbortSignal): Promise<readonly Outcome[]> {
    const wanted = imports.filter(({ spec, tag, isPending }) => tag === '' || spec?.scheduled === true || isPending);
    const outcomes: Outcome[] = imports
      .filter((each) => !wanted.includes(each))
      .map(({ repository, tag }) => ({ repository, tag, dueAt: undefined }));
    const registry = registryOfSource(source);
    try {
      for (const group of await this.#importer.groupByAccess(source, wanted, signal)) {
        outcomes.push(...(await this.#lookFor(group, source, signal)));
      }
    } catch (error) {
      if (signal.aborted) throw error;
      const isSettled = (each: DueImport) =>
        outcomes.some(({ repository, tag }) => repository === each.repository && tag === each.tag);
      for (const each of wanted) if (!isSettled(each)) outcomes.push(this.#unforeseen(registry, each, error));
    }
    return outcomes;
  }

  /** Tags for which the source is asked in the same way. */
  async #lookFor(group: ImportGroup, source: string, signal: AbortSignal): Promise<readonly Outcome[]> {
    const registry = registryOfSource(source);
    const silence = this.#silent.get(registry);
    let failure = silence;
    let digest: Digest | undefined;
    if (failure === undefined && group.imports.some((each) => !each.isPending && each.digest !== undefined)) {
      try {
        digest = await group.head();
        this.#hear(registry, undefined);
      } catch (error) {
        if (signal.aborted || !(error instanceof UpstreamError)) throw error;
        failure = failureOf(error, source, 'image');
        const isSilent = error.problem === 'unavailable' && error.status === undefined;
        this.#hear(registry, isSilent ? failure : undefined);
      }
    }
    const outcomes: Outcome[] = [];
    const session = this.#importer.session(signal);
    for (const each of group.imports) {
      if (signal.aborted) break;
      if (silence !== undefined && isPutOff(each)) {
        const dueAt = new Date(this.#now().getTime() + leftAloneMs);
        outcomes.push({ repository: each.repository, tag: each.tag, dueAt, error: silence.message });
        continue;
      }
      const isUnchanged = failure === undefined && digest !== undefined && each.digest === digest && !each.isPending;
      outcomes.push(
        isUnchanged
          ? await this.#settleUnchanged(registry, each, digest)
          : await this.#import(registry, each, { session, failure, signal }),
      );
    }
    return outcomes;
  }

  async #settleUnchanged(registry: string, each: DueImport, digest: Digest | undefined): Promise<Outcome> {
    this.#onLook({ registry, isScheduled: true, result: 'unchanged' });
    const dueAt = await this.#importer.nextCheck(each, 'imported');
    return { repository: each.repository, tag: each.tag, dueAt, digest };
  }

  /** Imports one tag. @param by.failure why its source cannot be had, when that is known already */
  async #import(
    registry: string,
    each: DueImport,
    by: { readonly session: ImportSession; readonly failure: ImportFailure | undefined; readonly signal: AbortSignal },
  ): Promise<Outcome> {
    const { repository, tag } = each;
    try {
      const { failure, ...outcome } = await by.session.importTag(each, by.failure);
      this.#onLook({
        registry,
        isScheduled: each.spec?.scheduled === true,
        result: failure === undefined ? 'imported' : 'failed',
        ...(failure !== undefined && { reason: failure.reason }),
      });
      if (by.failure === undefined) this.#hear(registry, failure);
      return { repository, tag, ...outcome };
    } catch (error) {
      if (by.signal.aborted) throw error;
      return this.#unforeseen(registry, each, error);
    }
  }

  /** What nobody foresaw is tried again, later each time. */
  #unforeseen(registry: string, { repository, tag, spec, failures }: DueImport, error: unknown): Outcome {
    this.#onLook({ registry, isScheduled: spec?.scheduled === true, result: 'failed', reason: 'InternalError' });
    const retryMs = Math.min(firstRetryMs * 2 ** (failures + 1), lastRetryMs);
    const message = error instanceof Error ? error.message : String(error);
    return { repository, tag, dueAt: new Date(this.#now().getTime() + retryMs), error: message };
  }

  /** Keeps what a look says of a registry: it is silent, or it is there, whatever it said. */
  #hear(registry: string, failure: ImportFailure | undefined): void {
    const isSilent = failure?.reason === 'ServiceUnavailable';
    if (isSilent) this.#silent.set(registry, failure);
    this.#queue.tell(registry, { isAnswering: !isSilent });
  }
}

/** Whether a tag that would not be looked for again if it failed now waits for its registry once more. */
function isPutOff({ spec, failures }: DueImport): boolean {
  // Failures are counted on when it is wanted anew.
  return spec?.scheduled !== true && failures % (maxDeferrals + 1) < maxDeferrals;
}
