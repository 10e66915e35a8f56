import { describeBytes, mediaTypes, type Descriptor, type Manifest } from '../../conformance/support/image.js';
import type { Ledger, OpenSession, PushedManifest } from './ledger.js';
import type { Random } from './random.js';
import {
  NoAnswerError,
  UnexpectedAnswerError,
  sha256,
  uploadWays,
  type Answer,
  type RegistryClient,
} from './registry-client.js';

/** Repositories that every pusher pushes to. */
const sharedRepositories = ['faults/one', 'faults/two', 'faults/three'] as const;
const sharedTags = ['latest', 'stable'] as const;

/** Makes the load of one pusher. */
export interface PusherOptions {
  readonly client: RegistryClient;
  readonly ledger: Ledger;
  readonly random: Random;
  /** Tells the tags of this pusher from those of the others. */
  readonly name: string;
  /** Layers that all pushers have, in whatever repository. */
  readonly sharedLayers: readonly Buffer[];
  /** Whether blobs that nothing refers to are collected after a short time. */
  readonly collecting: boolean;
  /** Whether the registry was told to end, so that requests without an answer are no wonder. */
  readonly isEnding: () => boolean;
}

/** Layers of very different sizes, from none at all. */
export function makeSharedLayers(random: Random): Buffer[] {
  return [0, 2, 700, 40_000, 65_536, 300_000, 1_048_576, 3_000_000].map((size) => random.bytes(size));
}

/** Pushes images, moves and deletes tags and deletes manifests, one request after the other, until the registry ends. */
export class Pusher {
  readonly #options: PusherOptions;
  readonly #images: { readonly repository: string; readonly image: PushedManifest }[] = [];
  #victims = 0;

  constructor(options: PusherOptions) {
    this.#options = options;
  }

  /** What the registry answers wrongly goes to the ledger's violations. */
  async run(): Promise<void> {
    const { ledger, isEnding, name } = this.#options;
    while (!isEnding()) {
      try {
        await this.#step();
      } catch (error) {
        if (error instanceof NoAnswerError && isEnding()) return;
        ledger.violations.push(`pusher ${name}: ${error instanceof Error ? error.message : String(error)}`);
        return;
      }
    }
  }

  async #step(): Promise<void> {
    const { random } = this.#options;
    const what = random.fraction();
    if (what < 0.12) await this.#deleteSomeTag();
    else if (what < 0.24) await this.#pushAndDelete();
    else if (what < 0.4) await this.#pushIndex();
    else if (what < 0.5) await this.#tagAgain();
    else await this.#pushSomeImage();
  }

  async #pushSomeImage(): Promise<void> {
    const { random } = this.#options;
    const repository = this.#repository();
    const image = await this.#pushBlobsOfImage(repository);
    const tags = random.pick([[], [this.#ownTag()], [random.pick(sharedTags)], [this.#ownTag(), ...sharedTags]]);
    if (await this.#putManifest(repository, image, [...new Set(tags)])) this.#images.push({ repository, image });
  }

  /** An older image under another tag: a roll-back. */
  async #tagAgain(): Promise<void> {
    const { random } = this.#options;
    if (this.#images.length === 0) return;
    const { repository, image } = random.pick(this.#images);
    await this.#putManifest(repository, image, [random.pick([this.#ownTag(), ...sharedTags])]);
  }

  async #pushIndex(): Promise<void> {
    const repository = this.#repository();
    const children = this.#images.filter((known) => known.repository === repository).slice(-3);
    if (children.length === 0) return;
    const index = manifestOf({
      mediaType: mediaTypes.index,
      manifests: children.map(({ image }) => describeBytes(image.bytes, image.mediaType)),
      annotations: this.#signature(),
    });
    await this.#putManifest(repository, index, [`${this.#options.name}-index`]);
  }

  /** Only images and tags of this pusher alone are deleted by digest: who else moves a tag there would not know. */
  async #pushAndDelete(): Promise<void> {
    const { client, ledger, collecting } = this.#options;
    const repository = this.#repository();
    const image = await this.#pushBlobsOfImage(repository);
    this.#victims += 1;
    const tag = `${this.#options.name}-victim-${this.#victims}-${this.#options.random.between(0, 1_000_000)}`;
    if (!(await this.#putManifest(repository, image, [tag]))) return;
    if (collecting) ledger.releaseBlobs(repository, referencesOf(image.manifest).map(digestOfDescriptor));
    const change = ledger.deleteManifest(repository, image.digest, [tag]);
    await client.expect(202, 'DELETE', `/v2/${repository}/manifests/${image.digest}`);
    change.acknowledge();
  }

  async #deleteSomeTag(): Promise<void> {
    const { client, ledger, random } = this.#options;
    const repository = this.#repository();
    const shared = random.chance(0.3);
    const tag = shared ? random.pick(sharedTags) : this.#ownTag();
    const mayBeAbsent = shared || (ledger.tags.get(`${repository}:${tag}`)?.possible().has(undefined) ?? true);
    const change = ledger.deleteTag(repository, tag);
    const { status } = await client.expect(
      mayBeAbsent ? [202, 404] : 202,
      'DELETE',
      `/v2/${repository}/manifests/${tag}`,
    );
    if (status === 202) change.acknowledge();
    else change.refuse();
  }

  async #pushBlobsOfImage(repository: string): Promise<PushedManifest> {
    const { random, sharedLayers } = this.#options;
    const layers: Descriptor[] = [];
    for (let count = random.between(0, 3); count > 0; count -= 1) {
      const shared = random.chance(0.4);
      const bytes = shared ? random.pick(sharedLayers) : random.bytes(this.#layerSize());
      await this.#pushBlob(repository, bytes, shared);
      layers.push(describeBytes(bytes, mediaTypes.layer));
    }
    const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', config: this.#signature() }));
    await this.#pushBlob(repository, config, false);
    return manifestOf({
      mediaType: mediaTypes.manifest,
      config: describeBytes(config, mediaTypes.config),
      layers,
      annotations: this.#signature(),
    });
  }

  async #pushBlob(repository: string, bytes: Buffer, shared: boolean): Promise<void> {
    const { client, ledger, random, collecting } = this.#options;
    const digest = sha256(bytes);
    if (shared && random.chance(0.3)) {
      const { status } = await client.expect([200, 404], 'HEAD', `/v2/${repository}/blobs/${digest}`);
      if (status === 200) return;
    }
    const session: OpenSession = {
      repository,
      location: '',
      bytes,
      digest,
      kept: !collecting,
      received: 0,
      finishing: false,
    };
    let opened = session;
    const change = ledger.pushBlob({ repository, digest, size: bytes.length, kept: !collecting });
    await client.pushBlob(
      {
        repository,
        bytes,
        digest,
        way: random.pick(uploadWays),
        chunkSize: random.pick([50_000, 300_000, 1_500_000]),
        ...(shared && random.chance(0.5) && { from: random.pick(sharedRepositories) }),
      },
      {
        opened: (location) => {
          opened = { ...session, location };
          ledger.sessions.add(opened);
        },
        received: (size) => {
          opened.received = size;
        },
        finishing: () => {
          opened.finishing = true;
        },
      },
    );
    change.acknowledge();
    ledger.sessions.delete(opened);
  }

  /** @returns false when it was refused because its blobs had been collected by then */
  async #putManifest(repository: string, pushed: PushedManifest, tags: readonly string[]): Promise<boolean> {
    const { client, ledger, random, collecting } = this.#options;
    const byDigest = tags.length !== 1 || random.chance(0.3);
    const reference = byDigest
      ? `${pushed.digest}${tags.length === 0 ? '' : `?${tags.map((tag) => `tag=${tag}`).join('&')}`}`
      : tags[0]!;
    const change = ledger.pushManifest(repository, pushed, tags);
    const answer: Answer = await client.send('PUT', `/v2/${repository}/manifests/${reference}`, {
      headers: { 'content-type': pushed.mediaType },
      body: pushed.bytes,
    });
    if (answer.status === 201) {
      change.acknowledge();
      return true;
    }
    change.refuse();
    if (collecting && answer.status === 404) return false;
    throw new UnexpectedAnswerError('PUT', `/v2/${repository}/manifests/${reference}`, answer);
  }

  #repository(): string {
    const { random, name } = this.#options;
    return random.pick([...sharedRepositories, `faults/own/${name}`]);
  }

  #ownTag(): string {
    return `${this.#options.name}-${this.#options.random.between(1, 4)}`;
  }

  #layerSize(): number {
    const { random } = this.#options;
    return random.pick([random.between(2, 5_000), random.between(2, 300_000), random.between(500_000, 4_000_000)]);
  }

  #signature(): Record<string, string> {
    return { random: this.#options.random.bytes(12).toString('hex') };
  }
}

/** What a manifest cannot do without, blobs and manifests. */
export function referencesOf(manifest: Manifest): Descriptor[] {
  return [...(manifest.config ? [manifest.config] : []), ...(manifest.layers ?? []), ...(manifest.manifests ?? [])];
}

export function manifestOf(content: Manifest & { readonly mediaType: string }): PushedManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...content }));
  return { digest: sha256(bytes), bytes, mediaType: content.mediaType, manifest: content };
}

function digestOfDescriptor({ digest }: Descriptor): string {
  return digest;
}
