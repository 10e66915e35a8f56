import type { RegistryAccess } from '../auth/registry-access.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** What every route asks first: which repository is meant, and may the caller do this. */
export interface RegistryEntrance {
  readonly access: RegistryAccess;
  /** @throws {OciError} NAME_INVALID */
  readonly parseName: (text: string) => RepositoryName;
}
