import { createHash } from 'node:crypto';
import { RememberedAnswers } from '../auth/remembered-answers.js';
import type { ObjectStore } from '../metadata/object-store.js';
import { isWildcardMatch } from '../oci/wildcards.js';
import { isPullSecret, type PullSecrets } from '../streams/stream-subresources.js';
import { credentialChooser, dockerConfigOfSecret, type DockerConfig } from '../upstream/credentials.js';
import type { UpstreamRegistry } from '../upstream/upstream-settings.js';
import type { CredentialChooser, UpstreamAccess, UpstreamRepository } from '../upstream/upstream.js';

/** What a project shows to other registries: its pull secrets, by the order of their names, and then the administrator's. */
export class ProjectAccess {
  readonly #secrets: PullSecrets;
  readonly #registries: readonly UpstreamRegistry[];
  readonly #choosers: RememberedAnswers<CredentialChooser>;

  constructor(
    objects: Pick<ObjectStore, 'lastChangeOf'>,
    secrets: PullSecrets,
    registries: readonly UpstreamRegistry[],
  ) {
    this.#secrets = secrets;
    this.#registries = registries;
    this.#choosers = new RememberedAnswers(() => objects.lastChangeOf(['secrets']));
  }

  /** @param isInsecure whether certificates need not be valid, and plain HTTP may be spoken */
  async of(project: string, isInsecure: boolean, signal?: AbortSignal): Promise<UpstreamAccess> {
    const credentials = await this.#choosers.get(project, () => this.#read(project));
    return { credentials, isInsecure, ...(signal !== undefined && { signal }) };
  }

  async #read(project: string): Promise<CredentialChooser> {
    const configs: DockerConfig[] = [];
    for await (const secret of this.#secrets.list(project)) {
      if (!isPullSecret(secret)) continue;
      configs.push(dockerConfigOfSecret(secret as never, `secret ${project}/${secret.metadata.name}`));
    }
    return credentialChooser(
      configs,
      this.#registries.filter(({ projects = ['*'] }) => projects.some((glob) => isWildcardMatch(glob, project))),
    );
  }
}

/** Two accesses with one fingerprint are the same to a repository. */
export function fingerprintOf({ credentials, isInsecure }: UpstreamAccess, repository: UpstreamRepository): string {
  const credential = credentials(repository);
  const shown =
    credential === undefined
      ? ''
      : JSON.stringify([credential.username, credential.password, credential.identityToken]);
  return createHash('sha256').update(`${isInsecure} ${shown}`).digest('hex');
}
