import type { RepositoryStore } from '../metadata/repository-store.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** The most entries one answer holds, whatever is asked for. */
export const maxPageSize = 1000;

/** An image index is a manifest, and manifests end at 4 MiB; a page of referrers stays below that where it can. */
const maxReferrerPageBytes = 3 * 1024 * 1024;
const referrerBatchSize = 10;

/** A part of a list, and whether there is more after it. */
export interface ListPage<T> {
  readonly entries: readonly T[];
  readonly more: boolean;
}

/** Which part of a list is wanted. */
export interface PageRequest {
  /** At most so many; what the registry thinks right when undefined. */
  readonly n: number | undefined;
  /** Begin after this entry. */
  readonly last: string | undefined;
}

/** Lists: OCI Distribution Spec end-8 and end-12, and the catalog of distribution's API. All in byte order. */
export class ListService {
  readonly #store: RepositoryStore;

  constructor(store: RepositoryStore) {
    this.#store = store;
  }

  /** @throws {OciError} NAME_UNKNOWN */
  async tags(repository: RepositoryName, request: PageRequest): Promise<ListPage<Tag>> {
    const page = await readPage(request, (limit) => this.#store.listTags(repository, { last: request.last, limit }));
    if (page.entries.length === 0 && !(await this.#store.repositoryExists(repository))) {
      throw new OciError('NAME_UNKNOWN', { repository });
    }
    return page;
  }

  async repositories(request: PageRequest): Promise<ListPage<RepositoryName>> {
    return readPage(request, (limit) => this.#store.listRepositories({ last: request.last, limit }));
  }

  /** Images that name `subject`, which need not exist. A page also ends when its descriptors grow too large. */
  async referrers(
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    request: PageRequest,
  ): Promise<ListPage<Descriptor>> {
    const wanted = Math.min(request.n ?? maxPageSize, maxPageSize);
    const entries: Descriptor[] = [];
    let bytes = 0;
    let last = request.last;
    while (entries.length < wanted && bytes < maxReferrerPageBytes) {
      const limit = Math.min(referrerBatchSize, wanted - entries.length);
      const batch = await this.#store.listReferrers(repository, subject, artifactType, { last, limit });
      entries.push(...batch);
      if (batch.length < limit) return { entries, more: false };
      bytes += JSON.stringify(batch).length;
      last = batch.at(-1)?.digest;
    }
    if (wanted === 0) return { entries, more: false };
    const next = await this.#store.listReferrers(repository, subject, artifactType, { last, limit: 1 });
    return { entries, more: next.length > 0 };
  }
}

/** Reads one entry more than asked for, to know whether a next page exists. */
async function readPage<T>(request: PageRequest, read: (limit: number) => Promise<T[]>): Promise<ListPage<T>> {
  const wanted = Math.min(request.n ?? maxPageSize, maxPageSize);
  if (wanted === 0) return { entries: [], more: false };
  const entries = await read(wanted + 1);
  return { entries: entries.slice(0, wanted), more: entries.length > wanted };
}
