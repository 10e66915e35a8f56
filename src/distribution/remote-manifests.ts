import type { Digest } from '../oci/digest.js';
import type { Reference } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** What is known of a manifest before it is looked up. */
export interface PreparedManifest {
  /** The value of a `Warning` header: what is here may not be what is there any more. */
  readonly warning: string | undefined;
  /** To be told what was found and served. */
  readonly served: (digest: Digest) => void;
}

/** Manifests of repositories that are those of another registry. */
export interface RemoteManifests {
  /**
   * Gets a manifest from elsewhere when it is not here, or may have moved there; to be called before it is looked up.
   *
   * @returns undefined when the repository is nothing but what was pushed to it
   * @throws {OciError} MANIFEST_UNKNOWN when the other registry does not have it either; TOOMANYREQUESTS with
   *   `Retry-After` when it lets nobody pull for now; DENIED when it must not come from there; UNSUPPORTED with status 503
   *   when the other registry cannot be spoken to
   */
  prepare(repository: RepositoryName, reference: Reference): Promise<PreparedManifest | undefined>;
}
