import { digestOf, type Digest } from '../../src/oci/digest.js';
import type { Reference } from '../../src/oci/reference.js';
import {
  UpstreamError,
  type Upstream,
  type UpstreamAccess,
  type UpstreamBlob,
  type UpstreamManifest,
  type UpstreamManifestHead,
  type UpstreamProblem,
  type UpstreamRepository,
} from '../../src/upstream/upstream.js';
import type { Content, Manifest } from '../support/images.js';

/** Another registry inside the test process, which notes what it is asked. */
export class FakeUpstream implements Pick<Upstream, 'headManifest' | 'readManifest' | 'openBlob'> {
  /** What was asked, as in `GET docker.io/library/alpine:3`, oldest first. */
  asked: string[] = [];
  lastAccess: UpstreamAccess | undefined;
  /** What every question is answered with; undefined: with what there is. */
  failure: { readonly problem: UpstreamProblem; readonly retryAfterMs?: number } | undefined;
  /** Waited for before each answer. */
  pause: Promise<unknown> | undefined;
  readonly #manifests = new Map<string, Manifest>();
  readonly #blobs = new Map<string, Buffer>();

  /** A manifest, which can be had by its digest and by tags. @param place as in `docker.io/library/alpine` */
  put(place: string, manifest: Manifest, ...tags: readonly string[]): void {
    this.#manifests.set(`${place}@${manifest.digest}`, manifest);
    for (const tag of tags) this.#manifests.set(`${place}:${tag}`, manifest);
  }

  putBlob(place: string, { bytes, digest }: Content): void {
    this.#blobs.set(`${place}@${digest}`, bytes);
  }

  remove(place: string, tag: string): void {
    this.#manifests.delete(`${place}:${tag}`);
  }

  /** What was asked since this was last called. */
  takeAsked(): string[] {
    return this.asked.splice(0);
  }

  async headManifest(
    repository: UpstreamRepository,
    reference: Reference,
    access: UpstreamAccess,
  ): Promise<UpstreamManifestHead> {
    const { digest, mediaType } = await this.#find('HEAD', repository, reference, access);
    return { digest: digest as Digest, mediaType };
  }

  async readManifest(
    repository: UpstreamRepository,
    reference: Reference,
    access: UpstreamAccess,
  ): Promise<UpstreamManifest> {
    const { bytes, mediaType } = await this.#find('GET', repository, reference, access);
    return { digest: digestOf(bytes), mediaType, bytes };
  }

  async openBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<UpstreamBlob> {
    const name = `${repository.registry}/${repository.path}@${digest}`;
    const bytes = await this.#answer('BLOB', name, access, () => this.#blobs.get(name));
    return { size: bytes.length, body: pieces(bytes), cancel: () => undefined };
  }

  #find(
    method: string,
    { registry, path }: UpstreamRepository,
    reference: Reference,
    access: UpstreamAccess,
  ): Promise<Manifest> {
    const suffix = reference.kind === 'tag' ? `:${reference.tag}` : `@${reference.digest}`;
    const name = `${registry}/${path}${suffix}`;
    return this.#answer(method, name, access, () => this.#manifests.get(name));
  }

  async #answer<T>(method: string, name: string, access: UpstreamAccess, find: () => T | undefined): Promise<T> {
    this.asked.push(`${method} ${name}`);
    this.lastAccess = access;
    await this.pause;
    const { failure } = this;
    if (failure !== undefined) {
      const of = { reference: name, retryAfterMs: failure.retryAfterMs };
      throw new UpstreamError(failure.problem, `${name}: ${failure.problem}`, of);
    }
    const found = find();
    if (found === undefined) throw new UpstreamError('not-found', `${name} is not there`, { reference: name });
    return found;
  }
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}
