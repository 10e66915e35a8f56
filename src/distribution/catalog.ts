import type { RepositoryStore } from '../metadata/repository-store.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { readPage, type ListPage, type PageRequest } from './pages.js';

/** The names of all repositories, as distribution's API lists them. */
export class CatalogService {
  readonly #store: RepositoryStore;

  constructor(store: RepositoryStore) {
    this.#store = store;
  }

  /**
   * Names in byte order.
   *
   * @param projects only the repositories of these; of all when undefined
   */
  list(request: PageRequest, projects: readonly string[] | undefined): Promise<ListPage<RepositoryName>> {
    return readPage(request, async (limit) => {
      if (projects === undefined) return this.#store.listRepositories({ last: request.last, limit });
      const names: RepositoryName[] = [];
      // In the order of "<project>/", which is that of the names: "a-b/" comes before "a/".
      for (const prefix of projects.map((project) => `${project}/`).sort()) {
        if (names.length >= limit) break;
        const page = { last: request.last, limit: limit - names.length };
        names.push(...(await this.#store.listRepositories(page, prefix.slice(0, -1))));
      }
      return names;
    });
  }
}
