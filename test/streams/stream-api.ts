import { expect } from 'vitest';
import type { ImageStream, ImageStreamTag, TagEventItem, TagReference } from '../../src/streams/types.js';
import { emptyJson, imageManifest, pushBlob, pushManifest, type Manifest } from '../support/images.js';
import { admin, type Identity, type TestRegistry } from '../support/registry.js';

/** metav1.Status of a failure, as far as tests look at it. */
export interface Failure {
  readonly reason: string;
  readonly message: string;
  readonly details: {
    readonly causes?: readonly { readonly reason: string; readonly message: string; readonly field: string }[];
  };
}

/** An answer of the API; its body is a failure when its status says so. */
export interface Answer<Body> {
  readonly status: number;
  readonly body: Body & Failure;
}

/** A request beside its method and its path; `as` is who sends it, the admin when left out. */
export interface StreamRequest {
  readonly as?: Identity;
  readonly body?: unknown;
}

/** A tag of spec as it is sent, without its name. */
export type SentTag = Partial<Omit<TagReference, 'name'>>;

/** Names of a stream and one of its tags, as in `app:v1`. */
export type TagName = `${string}:${string}`;

/** The image streams of one project. */
export class StreamApi {
  readonly #registry: TestRegistry;
  readonly project: string;

  constructor(registry: TestRegistry, project: string) {
    this.#registry = registry;
    this.project = project;
  }

  /** @param path below the project, as in `imagestreams/app` */
  async send<Body>(method: string, path: string, { as = admin, body }: StreamRequest = {}): Promise<Answer<Body>> {
    const url = `/apis/image.openshift.io/v1/namespaces/${this.project}/${path}`;
    const response = await this.#registry.api(url, { method, as, body });
    return { status: response.status, body: (await response.json()) as Body & Failure };
  }

  /** Makes a stream that must be accepted. */
  async create(name: string, spec: object = {}, more: object = {}): Promise<ImageStream> {
    return accepted(await this.send('POST', 'imagestreams', { body: { metadata: { name }, spec, ...more } }), 201);
  }

  /** A stream that is there. */
  async read(name: string): Promise<ImageStream> {
    return accepted(await this.send('GET', `imagestreams/${name}`), 200);
  }

  /** Sends a stream back as it was read, but for what is changed of it. @param path `status` for that subresource */
  async edit(
    name: string,
    change: (stream: ImageStream) => object,
    { as = admin, path = '' }: { readonly as?: Identity; readonly path?: '' | '/status' } = {},
  ): Promise<Answer<ImageStream>> {
    const stream = await this.read(name);
    return this.send('PUT', `imagestreams/${name}${path}`, { as, body: { ...stream, ...change(stream) } });
  }

  /** Wants these tags of a stream, and no others. */
  editTags(
    name: string,
    change: (tags: readonly TagReference[]) => readonly object[],
    as: Identity = admin,
  ): Promise<Answer<ImageStream>> {
    return this.edit(name, ({ spec }) => ({ spec: { ...spec, tags: change(spec.tags ?? []) } }), { as });
  }

  /** Wants a tag, as `oc tag` does. */
  putTag(name: TagName, tag: SentTag, as: Identity = admin): Promise<Answer<ImageStreamTag>> {
    const body = { metadata: { name }, tag: { name: name.split(':')[1], ...tag } };
    return this.send('PUT', `imagestreamtags/${name}`, { as, body });
  }

  /** What a tag is wanted to be. */
  async wanted(name: TagName): Promise<TagReference | undefined> {
    const [stream, tag] = name.split(':') as [string, string];
    return (await this.read(stream)).spec.tags?.find((each) => each.name === tag);
  }

  /** What a tag is, newest first. */
  async items(name: TagName): Promise<readonly TagEventItem[]> {
    const [stream, tag] = name.split(':') as [string, string];
    return (await this.read(stream)).status.tags?.find((each) => each.tag === tag)?.items ?? [];
  }

  /** The images that a tag has pointed at, newest first. */
  async images(name: TagName): Promise<readonly string[]> {
    return (await this.items(name)).map(({ image }) => image);
  }

  /** Pushes an image that is told from others by its name. */
  async push(name: TagName, image: string): Promise<Manifest> {
    const [stream, tag] = name.split(':') as [string, string];
    const repository = `${this.project}/${stream}`;
    await pushBlob(this.#registry, repository, emptyJson.bytes);
    return pushManifest(this.#registry, repository, imageNamed(image), tag);
  }

  /** The digest that is pulled by a tag or a digest. */
  async pull(stream: string, reference: string, as: Identity = admin): Promise<string | null> {
    const response = await this.#registry.fetch(`/v2/${this.project}/${stream}/manifests/${reference}`, { as });
    return response.headers.get('Docker-Content-Digest');
  }
}

/** An image without layers that is told from others by its name. */
export function imageNamed(name: string): Manifest {
  return imageManifest(emptyJson, [], { annotations: { name } });
}

/** The body of an answer with this status; the test fails when it has another. */
export function accepted<Body>({ status, body }: Answer<Body>, expected: number): Body {
  expect(status, JSON.stringify(body)).toBe(expected);
  return body;
}

/** Sources of tags. */
export const from = {
  tag: (name: string, namespace?: string) => source('ImageStreamTag', name, namespace),
  image: (name: string, namespace?: string) => source('ImageStreamImage', name, namespace),
  docker: (name: string) => source('DockerImage', name, undefined),
} as const;

function source(kind: NonNullable<TagReference['from']>['kind'], name: string, namespace: string | undefined): SentTag {
  return { from: { kind, name, ...(namespace !== undefined && { namespace }) } };
}
