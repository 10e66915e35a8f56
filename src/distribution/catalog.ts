import type { RepositoryStore } from '../metadata/repository-store.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { readPage, type ListPage, type PageRequest } from './pages.js';

/** The names of all repositories, as distribution's API lists them. */
export class CatalogService {
  readonly #store: RepositoryStore;

  constructor(store: RepositoryStore) {
    this.#store = store;
  }

  /** Names in byte order. */
  list(request: PageRequest): Promise<ListPage<RepositoryName>> {
    return readPage(request, (limit) => this.#store.listRepositories({ last: request.last, limit }));
  }
}
