import type { RepositoryStore } from '../metadata/repository-store.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { pageSize, type ListPage, type PageRequest } from './pages.js';

/** A page is a manifest itself, and manifests end at 4 MiB; it stays below that where one descriptor alone does. */
const maxPageBytes = 3 * 1024 * 1024;
/** Annotations may be large, so few rows are read at a time. */
const batchSize = 10;

/** Images that refer to others: OCI Distribution Spec end-12. */
export class ReferrerService {
  readonly #store: RepositoryStore;

  constructor(store: RepositoryStore) {
    this.#store = store;
  }

  /**
   * Descriptors of the images whose subject is `subject`, which need not exist, in order of their digests.
   *
   * @param artifactType undefined: of every type
   */
  async list(
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    request: PageRequest,
  ): Promise<ListPage<Descriptor>> {
    const size = pageSize(request);
    const entries: Descriptor[] = [];
    if (size === 0) return { entries, more: false };
    let bytes = 0;
    let { last } = request;
    for (;;) {
      // One more than fits tells whether there is a next page.
      const limit = Math.min(batchSize, size - entries.length + 1);
      const batch = await this.#store.listReferrers(repository, subject, artifactType, { last, limit });
      for (const descriptor of batch) {
        bytes += JSON.stringify(descriptor).length;
        if (entries.length === size || (entries.length > 0 && bytes > maxPageBytes)) return { entries, more: true };
        entries.push(descriptor);
      }
      if (batch.length < limit) return { entries, more: false };
      last = entries.at(-1)?.digest;
    }
  }
}
