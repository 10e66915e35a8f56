import { forEachAtMost } from '../../slots.js';
import { LRUCache } from 'lru-cache';
import { isTag, type Tag } from '../../oci/reference.js';
import { isWildcardMatch } from '../../oci/wildcards.js';
import { UpstreamError, type Upstream, type UpstreamAccess } from '../../upstream/upstream.js';
import { UsageError } from '../usage-error.js';
import { ClientError } from './client-error.js';
import type { CopiedRepository } from './registry-copy.js';
import { isEndOfAll, reasonOf } from './registry-copy-failures.js';
import { targetNameOf, type RepositoryChoice, type SourceAddress, type TargetName } from './registry-copy-names.js';
import type { CopyReport } from './registry-copy-report.js';
import { StopError } from './registry-push-answer.js';

/** Which tags of which repositories are copied, and what is done with each. */
export interface CopyRunOptions {
  readonly source: Upstream;
  readonly access: UpstreamAccess;
  readonly address: SourceAddress;
  readonly choice: RepositoryChoice;
  /** As `isWildcardMatch` takes it; all when left out. */
  readonly tags?: string | undefined;
  /** Project of the server that everything goes into. */
  readonly project?: string | undefined;
  /** Tags that are worked on at once. */
  readonly jobs: number;
  readonly report: CopyReport;
  /** Sees to it that a project is there, for a repository in it. @throws {ClientError} when it is not, and cannot be made */
  readonly ensureProject: (name: string, repository: string) => Promise<void>;
  readonly copyTag: (repository: CopiedRepository, tag: Tag) => Promise<void>;
}

interface CopyJob {
  readonly repository: CopiedRepository;
  readonly tag: Tag;
}

/** So many failures in a row of a source that does not answer are the end of it. */
const maxSilences = 8;

/**
 * Goes through the repositories and tags of a registry as it lists them, which may be any number, and copies each. What
 * cannot be copied is reported, and the rest goes on.
 *
 * @throws {UsageError} when the registry does not list its repositories and none is named
 * @throws {StopError} when going on would be in vain
 */
export class CopyRun {
  readonly #options: CopyRunOptions;
  readonly #projects = new LRUCache<string, Promise<string | undefined>>({ max: 10_000 });
  #silences = 0;

  constructor(options: CopyRunOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { jobs, copyTag, report } = this.#options;
    await forEachAtMost(jobs, this.#jobs(), async ({ repository, tag }) => {
      try {
        await copyTag(repository, tag);
        this.#silences = 0;
      } catch (error) {
        this.#checkGoesOn(error);
        report.notCopied(`${repository.to}:${tag}`, reasonOf(error));
      }
    });
  }

  async *#jobs(): AsyncGenerator<CopyJob, void, undefined> {
    const { address, report, choice } = this.#options;
    for await (const path of this.#repositories()) {
      report.repositories += 1;
      let target: TargetName;
      try {
        target = targetNameOf(path, this.#options.project);
        const why = target.project === undefined ? undefined : await this.#projectProblem(target.project, target.name);
        if (why !== undefined) throw new ClientError(why);
      } catch (error) {
        this.#checkGoesOn(error);
        report.notCopied(path, reasonOf(error));
        continue;
      }
      const repository = { from: { registry: address.registry, path }, to: target.name };
      yield* this.#tagsOf(repository, { isListed: choice.exact === undefined });
    }
  }

  async *#tagsOf(
    repository: CopiedRepository,
    { isListed }: { readonly isListed: boolean },
  ): AsyncGenerator<CopyJob, void, undefined> {
    const { source, access, tags = '*', report } = this.#options;
    let count = 0;
    try {
      for await (const tag of source.listTags(repository.from, access)) {
        count += 1;
        if (!isTag(tag)) report.notCopied(`${repository.to}:${tag}`, 'this is no name of a tag');
        else if (isWildcardMatch(tags, tag)) yield { repository, tag };
      }
      if (count === 0) report.emptyRepositories += 1;
    } catch (error) {
      // A registry may list what has no tag any more, and then say that it does not know it.
      if (isListed && count === 0 && error instanceof UpstreamError && error.problem === 'not-found') {
        report.emptyRepositories += 1;
        return;
      }
      this.#checkGoesOn(error);
      report.notCopied(repository.to, count === 0 ? reasonOf(error) : `not all of its tags: ${reasonOf(error)}`);
    }
  }

  async *#repositories(): AsyncGenerator<string, void, undefined> {
    const { source, access, address, choice, report } = this.#options;
    if (choice.exact !== undefined) {
      yield* choice.exact;
      return;
    }
    let isBegun = false;
    try {
      for await (const name of source.listRepositories(address.registry, access)) {
        isBegun = true;
        if (choice.has(name)) yield name;
      }
    } catch (error) {
      if (isBegun || !isWithoutCatalog(error)) throw asStop(error);
      if (address.path !== '' && choice.has(address.path)) {
        report.say(`${address.registry} does not list its repositories; only ${address.path} itself is copied`);
        yield address.path;
        return;
      }
      throw new UsageError(
        `${address.registry} does not list its repositories (${reasonOf(error)}); ` +
          'name them, as in --repositories team/app --repositories team/web',
        { cause: error },
      );
    }
  }

  /** @returns why nothing can be copied into it; undefined when it can */
  #projectProblem(name: string, repository: string): Promise<string | undefined> {
    const known = this.#projects.get(name);
    if (known !== undefined) return known;
    const asked = this.#options.ensureProject(name, repository).then(
      () => undefined,
      (error: unknown) => {
        if (isEndOfAll(error, this.#options.access.signal)) throw error;
        return reasonOf(error);
      },
    );
    this.#projects.set(name, asked);
    return asked;
  }

  #checkGoesOn(error: unknown): void {
    if (isEndOfAll(error, this.#options.access.signal)) throw asStop(error);
    const isSilent = error instanceof UpstreamError && error.problem === 'unavailable';
    this.#silences = isSilent ? this.#silences + 1 : 0;
    if (this.#silences >= maxSilences) throw asStop(error);
  }
}

/** 401, 404, 405 and the like to `_catalog`, as of registries that keep it for administrators or have none. */
function isWithoutCatalog(error: unknown): boolean {
  if (!(error instanceof UpstreamError)) return false;
  const { problem, status } = error;
  return (
    ['unauthorized', 'denied', 'not-found'].includes(problem) ||
    (status !== undefined && status >= 400 && status < 500 && status !== 429)
  );
}

function asStop(error: unknown): unknown {
  return error instanceof UpstreamError ? new StopError(reasonOf(error), { cause: error }) : error;
}
