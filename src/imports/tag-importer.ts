import { LRUCache } from 'lru-cache';
import type { Principal } from '../auth/principal.js';
import { imageGroup } from '../auth/authorize.js';
import { StatusError } from '../kube/errors.js';
import type { DueImport } from '../metadata/import-records.js';
import type { ImportOutcome } from '../metadata/import-state.js';
import type { StreamStore } from '../metadata/stream-store.js';
import type { Actor } from '../metadata/tag-history.js';
import type { Digest } from '../oci/digest.js';
import { asRepository, formatPullSpec, parsePullSpec } from '../oci/pull-spec.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import { importSourceOf } from '../streams/tag-edits.js';
import type { StreamService } from '../streams/stream-service.js';
import { shellSpecOf, tagReferenceOf } from '../streams/stream-view.js';
import type { TagReference } from '../streams/types.js';
import { askAlsoAnonymously } from '../upstream/also-anonymously.js';
import type { Upstream, UpstreamAccess } from '../upstream/upstream.js';
import { applyImports, type FoundImage, type TagImport } from './apply-imports.js';
import { ImageFetcher, upstreamRepositoryOf } from './image-fetcher.js';
import { ownRepositoryOf, type ImageReader, type ImageWish, type Reader } from './image-reader.js';
import { insecureAnnotation, preferredPlatform } from './image-stream-imports.js';
import type { ImportFailure } from './import-failure.js';
import type { ImportSchedule } from './import-schedule.js';
import { fingerprintOf, type ProjectAccess } from './project-access.js';

/** What tags are imported with when nobody asks. */
export interface TagImporterOptions {
  readonly store: StreamStore;
  readonly service: StreamService;
  readonly reader: ImageReader;
  readonly upstream: Upstream;
  readonly access: ProjectAccess;
  readonly schedule: ImportSchedule;
  /** Names of this registry. */
  readonly ownHosts: readonly string[];
  /** Whether a project may go on pulling from a repository of another one here. */
  readonly mayFollow: (project: string, own: RepositoryName) => Promise<boolean>;
  readonly maxTags: number;
  readonly now?: () => Date;
}

/** Tags of one source want the same, but for a few; what is remembered is in memory as a whole. */
const maxRemembered = 2;

/** Who imports when nobody asks: it holds no rights and no rule makes an exception for it. */
const importer: Principal = { kind: 'user', name: 'system:image-import', groups: [], basis: { kind: 'nobody' } };
const actor: Actor = { kind: 'system', name: importer.name };
const resource = { group: imageGroup, plural: 'imagestreams' } as const;

/** Tags that a source is asked for with the same credential. */
export interface ImportGroup {
  readonly imports: readonly DueImport[];
  /** What the source is now. @throws {UpstreamError} */
  readonly head: () => Promise<Digest | undefined>;
}

/** Imports of one source, which share what was read. */
export interface ImportSession {
  /**
   * Reads the source of a tag and lets the tag have it.
   *
   * @param failure why the source cannot be had, when that is known already
   * @throws whatever is no failure of the source; the tag is as it was
   */
  readonly importTag: (
    due: DueImport,
    failure: ImportFailure | undefined,
  ) => Promise<ImportOutcome & { readonly failure: ImportFailure | undefined }>;
}

/** Imports single tags of streams, as their specs say. */
export class TagImporter {
  readonly #options: TagImporterOptions;
  readonly #fetcher: ImageFetcher;
  readonly #now: () => Date;

  constructor(options: TagImporterOptions) {
    this.#options = options;
    this.#fetcher = new ImageFetcher(options.upstream);
    this.#now = options.now ?? (() => new Date());
  }

  /** When a tag is to be looked for again. */
  async nextCheck({ repository, spec, tag }: DueImport, result: 'imported' | 'failed'): Promise<Date | undefined> {
    const wanted = tagReferenceOf({ name: tag, spec });
    if (wanted === undefined) return undefined;
    const next = await this.#options.schedule.of(projectOf(repository));
    return next(wanted, result, this.#now());
  }

  /** Two projects are told the same only when they show the same. */
  async groupByAccess(
    source: string,
    imports: readonly DueImport[],
    signal: AbortSignal,
  ): Promise<readonly ImportGroup[]> {
    const spec = parsePullSpec(source);
    const repository = upstreamRepositoryOf(spec);
    const isOwn = ownRepositoryOf(source, this.#options) !== undefined;
    const groups = new Map<string, { readonly access: UpstreamAccess; readonly imports: DueImport[] }>();
    for (const each of imports) {
      const isInsecure = await this.#isInsecure(each);
      const access = await this.#options.access.of(projectOf(each.repository), isInsecure, signal);
      const key = fingerprintOf(access, repository);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { access, imports: [each] });
      else group.imports.push(each);
    }
    return [...groups.values()].map((group) => ({
      imports: group.imports,
      // What is here is looked up when it is imported, which costs no more.
      head: () =>
        isOwn
          ? Promise.resolve(undefined)
          : askAlsoAnonymously(group.access, (shown) => this.#fetcher.digestOf(spec, shown)),
    }));
  }

  session(signal: AbortSignal): ImportSession {
    const read = new LRUCache<string, Promise<FoundImage>>({ max: maxRemembered });
    return {
      importTag: (due, failure) =>
        due.tag === '' ? this.#importStream(due, signal) : this.#importTag(due, failure, read, signal),
    };
  }

  async #importTag(
    due: DueImport,
    failure: ImportFailure | undefined,
    read: LRUCache<string, Promise<FoundImage>>,
    signal: AbortSignal,
  ): Promise<ImportOutcome & { readonly failure: ImportFailure | undefined }> {
    const wanted = tagReferenceOf({ name: due.tag, spec: due.spec });
    const source = wanted && importSourceOf(wanted);
    if (wanted?.from === undefined || source === undefined) return { dueAt: undefined, failure: undefined };
    const wish: ImageWish = {
      from: wanted.from.name,
      isInsecure: await this.#isInsecure(due),
      importMode: wanted.importPolicy.importMode ?? 'Legacy',
      ...preferredPlatform(wanted),
    };
    const named = ownRepositoryOf(wish.from, this.#options);
    // What is here is not the same for all.
    const isNew = named !== undefined && (await this.#isNew(due));
    const forWhom = named === undefined ? '' : `${projectOf(due.repository)} ${isNew}`;
    const key = JSON.stringify([wish.from, wish.importMode, wish.os, wish.architecture, forWhom]);
    const reading =
      read.get(key) ??
      (failure === undefined
        ? this.#options.reader
            .read([wish], this.#reader(due.repository, signal, { named, isNew }))
            .then(([first]) => first!)
        : Promise.resolve<FoundImage>({ kind: 'failed', failure }));
    read.set(key, reading);
    const found = await reading;
    // What broke off because we are going away says nothing of the source.
    signal.throwIfAborted();
    return this.#apply(due, source, [toTagImport(wanted, found)]);
  }

  /** All tags of the repository that a stream names as a whole. */
  async #importStream(
    due: DueImport,
    signal: AbortSignal,
  ): Promise<ImportOutcome & { readonly failure: ImportFailure | undefined }> {
    const { store, reader, maxTags } = this.#options;
    const stream = await store.findStream(due.repository);
    const from = stream && shellSpecOf(stream).dockerImageRepository;
    if (stream === undefined || from === undefined) return { dueAt: undefined, failure: undefined };
    const isInsecure = await this.#isInsecure(due);
    // Who may have a repository here was asked of single tags only.
    const asking = this.#reader(due.repository, signal);
    const listed = await reader.listTags(from, isInsecure, maxTags, asking);
    signal.throwIfAborted();
    if (listed.kind === 'failed') return { dueAt: undefined, error: listed.failure.message, failure: listed.failure };
    const place = asRepository(parsePullSpec(from));
    const wanted = listed.tags.map((tag): TagReference & { readonly from: { readonly name: string } } => ({
      name: tag,
      from: { kind: 'DockerImage', name: formatPullSpec({ ...place, tag }) },
      importPolicy: { importMode: 'Legacy' },
      referencePolicy: { type: 'Source' },
    }));
    const found = await reader.read(
      wanted.map((tag) => ({ from: tag.from.name, isInsecure, importMode: 'Legacy' })),
      asking,
    );
    signal.throwIfAborted();
    const imports = wanted.map((tag, position) => ({ ...toTagImport(tag, found[position]!), isNamed: false }));
    return this.#apply(due, from, imports);
  }

  /** @param source that the tag, or the stream as a whole, must still have */
  async #apply(
    { repository, tag, spec }: DueImport,
    source: string,
    imports: readonly TagImport[],
  ): Promise<ImportOutcome & { readonly failure: ImportFailure | undefined }> {
    const { service, schedule } = this.#options;
    const nextCheck = await schedule.of(projectOf(repository));
    const request = { call: { principal: importer }, actor, repository, resource, dryRun: false };
    const apply = (applied: readonly TagImport[]) =>
      service.edit(request, undefined, async (running) => {
        const { edit } = running;
        const stream = await edit.findStream(repository);
        if (stream === undefined) return;
        const state = await edit.findTag(repository, tag, 1);
        const now = state && tagReferenceOf(state);
        const wanted = tag === '' ? shellSpecOf(stream).dockerImageRepository : now && importSourceOf(now);
        // Somebody wants something else by now, or the same anew.
        if (wanted !== source || (tag !== '' && now?.generation !== spec?.generation)) return;
        const present = now === undefined ? applied : applied.map((each) => withWishes(each, now));
        await applyImports(running, repository, present, { nextCheck, isAutomatic: true });
      });
    const [only] = imports;
    let failure = imports.length === 1 && only?.found.kind === 'failed' ? only.found.failure : undefined;
    try {
      await apply(imports);
    } catch (error) {
      if (!(error instanceof StatusError) || !['Forbidden', 'Invalid'].includes(error.reason)) throw error;
      // A rule or a limit of the project stands against it, and the tag says so.
      const refusal: ImportFailure = { reason: 'Forbidden', message: error.message };
      failure = refusal;
      await apply(imports.map((each) => ({ ...each, found: { kind: 'failed', failure: refusal }, isNamed: false })));
    }
    // What the tag says of itself was kept in the same commit: this is what remains when there was no tag.
    return { dueAt: undefined, failure };
  }

  /** @param asked.named the repository of this registry that the tag names */
  #reader(
    repository: RepositoryName,
    signal: AbortSignal,
    { named, isNew }: { readonly named?: RepositoryName | undefined; readonly isNew: boolean } = { isNew: false },
  ): Reader {
    const project = projectOf(repository);
    return {
      project,
      ownHosts: this.#options.ownHosts,
      // Whoever wanted the tag was asked whether they may, but not of other repositories that this one only points at.
      mayPull: async (own) => {
        if (projectOf(own) === project) return true;
        return own === named && (isNew || (await this.#options.mayFollow(project, own)));
      },
      signal,
    };
  }

  /** Whether somebody wanted the tag, and was asked what they may, since it was last looked for. */
  async #isNew({ repository, tag: name }: DueImport): Promise<boolean> {
    const tag = (await this.#options.store.findTag(repository, name, 1))?.tag;
    const seen = [
      tag?.events[0]?.generation ?? 0,
      ...(tag?.conditions ?? []).map((each) => Number(each['generation'])),
    ];
    return tag?.spec !== undefined && tag.spec.generation > Math.max(...seen);
  }

  async #isInsecure({ repository, spec }: DueImport): Promise<boolean> {
    const policy = (spec?.body as Partial<TagReference> | undefined)?.importPolicy;
    if (policy?.insecure === true) return true;
    const stream = await this.#options.store.findStream(repository);
    return stream?.metadata.annotations?.[insecureAnnotation] === 'true';
  }
}

function toTagImport(tag: TagReference, found: FoundImage): TagImport {
  return {
    tag: tag.name,
    from: tag.from?.name ?? '',
    found,
    importPolicy: tag.importPolicy,
    referencePolicy: tag.referencePolicy,
    isNamed: true,
  };
}

/** What is said of the tag by now, where only its image is news. */
function withWishes(each: TagImport, now: TagReference): TagImport {
  if (each.tag !== now.name) return each;
  return { ...each, importPolicy: now.importPolicy, referencePolicy: now.referencePolicy };
}
