import type { ImageStore } from '../metadata/image-store.js';
import type { StoredSignature } from '../metadata/image-signatures.js';
import type { RepositoryStore } from '../metadata/repository-store.js';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';

/** What signatures are kept in. */
export interface SignatureServiceOptions {
  readonly repositories: Pick<RepositoryStore, 'findManifest'>;
  readonly images: Pick<ImageStore, 'listSignatures' | 'addSignature'>;
}

/** Signatures of images, through a repository that links them (OpenShift, registry signatures extension). */
export class SignatureService {
  readonly #repositories: SignatureServiceOptions['repositories'];
  readonly #images: SignatureServiceOptions['images'];

  constructor({ repositories, images }: SignatureServiceOptions) {
    this.#repositories = repositories;
    this.#images = images;
  }

  /** @returns undefined when the repository does not link the image */
  async list(repository: RepositoryName, digest: Digest): Promise<readonly StoredSignature[] | undefined> {
    return (await this.#isLinked(repository, digest)) ? this.#images.listSignatures(digest) : undefined;
  }

  /** @returns `absent` when the repository does not link the image; the rest as `ImageStore.addSignature` has it */
  async add(
    repository: RepositoryName,
    digest: Digest,
    signature: StoredSignature,
  ): Promise<'added' | 'exists' | 'full' | 'absent'> {
    return (await this.#isLinked(repository, digest)) ? this.#images.addSignature(digest, signature) : 'absent';
  }

  async #isLinked(repository: RepositoryName, digest: Digest): Promise<boolean> {
    return (await this.#repositories.findManifest(repository, { kind: 'digest', digest })) !== undefined;
  }
}
