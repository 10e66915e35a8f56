import type { RepositoryStore } from '../metadata/repository-store.js';
import { OciError } from '../oci/errors.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { readPage, type ListPage, type PageRequest } from './pages.js';

/** Tags of a repository: OCI Distribution Spec end-8. */
export class TagService {
  readonly #store: RepositoryStore;

  constructor(store: RepositoryStore) {
    this.#store = store;
  }

  /**
   * Tags in byte order.
   *
   * @throws {OciError} NAME_UNKNOWN
   */
  async list(repository: RepositoryName, request: PageRequest): Promise<ListPage<Tag>> {
    const page = await readPage(request, (limit) => this.#store.listTags(repository, { last: request.last, limit }));
    if (page.entries.length === 0 && !(await this.#store.repositoryExists(repository))) {
      throw new OciError('NAME_UNKNOWN', { repository });
    }
    return page;
  }
}
