import type { Image, ImageStream } from '../../src/streams/types.js';
import type { FaultyRegistry } from '../support/faulty-registry.js';
import { content, descriptor, imageIndex, imageManifest, type Manifest } from '../support/images.js';
import { admin, type Identity, type TestRegistry } from '../support/registry.js';
import { accepted, type Answer } from '../streams/stream-api.js';

/** What of an ImageStreamImport tests look at. */
export interface Imported {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly status: {
    readonly import?: ImageStream;
    readonly images?: readonly ImageResult[];
    readonly repository?: {
      readonly status: ImageResult['status'];
      readonly images?: readonly ImageResult[];
      readonly additionalTags?: readonly string[];
    };
  };
}

/** image.openshift.io/v1 ImageImportStatus. */
export interface ImageResult {
  readonly status: {
    readonly status: string;
    readonly reason?: string;
    readonly message?: string;
    readonly code?: number;
  };
  readonly image?: Image;
  readonly tag?: string;
  readonly manifests?: readonly Image[];
}

/** How an import is sent, beside its spec; `as` is who sends it, the admin when left out. */
export interface ImportRequest {
  readonly as?: Identity;
  readonly headers?: Readonly<Record<string, string>>;
  readonly metadata?: object;
  /** With its question mark. */
  readonly query?: string;
}

/** Imports into the streams of one project. */
export class ImportApi {
  readonly #registry: TestRegistry;
  readonly #project: string;

  constructor(registry: TestRegistry, project: string) {
    this.#registry = registry;
    this.#project = project;
  }

  async send(
    stream: string,
    spec: object,
    { as = admin, headers = {}, metadata = {}, query = '' }: ImportRequest = {},
  ): Promise<Answer<Imported>> {
    const path = `/apis/image.openshift.io/v1/namespaces/${this.#project}/imagestreamimports${query}`;
    const body = { metadata: { name: stream, ...metadata }, spec: { import: true, ...spec } };
    const response = await this.#registry.api(path, { method: 'POST', as, headers, body });
    return { status: response.status, body: (await response.json()) as Answer<Imported>['body'] };
  }

  /** What came of each image of an import that is accepted. */
  async images(stream: string, images: readonly object[], request?: ImportRequest): Promise<readonly ImageResult[]> {
    return accepted(await this.send(stream, { images }, request), 201).status.images ?? [];
  }

  /** What came of one image. */
  async image(stream: string, image: object, request?: ImportRequest): Promise<ImageResult> {
    return (await this.images(stream, [image], request))[0]!;
  }
}

/** An image of an import. @param to the tag; `''`: it is only looked at */
export function imageOf(from: string, to = 'v1', more: object = {}): object {
  return { from: { kind: 'DockerImage', name: from }, ...(to !== '' && { to: { name: to } }), ...more };
}

export const insecure = { importPolicy: { insecure: true } } as const;

/** An index with one image for each of the platforms, as in `linux/arm64`. */
export function addIndex(
  upstream: FaultyRegistry,
  repository: string,
  tag: string,
  platforms: readonly string[],
): { readonly index: Manifest; readonly children: readonly Manifest[] } {
  const children = platforms.map((platform) => {
    const [os = '', architecture = ''] = platform.split('/');
    const config = content(JSON.stringify({ os, architecture, name: `${repository} ${platform}` }));
    const layer = content(`layer of ${repository} for ${platform}`);
    for (const blob of [config, layer]) upstream.addBlob(repository, blob);
    const child = imageManifest(config, [layer]);
    upstream.addManifest(repository, child);
    return { ...child, platform: { os, architecture } };
  });
  const index = imageIndex([], {
    manifests: children.map(({ platform, ...child }) => ({ ...descriptor(child.mediaType, child), platform })),
  });
  upstream.addManifest(repository, index, tag);
  return { index, children };
}

/** Adds a secret with a docker config. @param config by host, without `auths` */
export async function addPullSecret(
  registry: TestRegistry,
  namespace: string,
  name: string,
  config: Readonly<Record<string, { readonly username: string; readonly password: string }>>,
  { isLegacy = false, annotations = {} }: { readonly isLegacy?: boolean; readonly annotations?: object } = {},
): Promise<void> {
  const auths = Object.fromEntries(
    Object.entries(config).map(([host, { username, password }]) => [
      host,
      { auth: Buffer.from(`${username}:${password}`).toString('base64') },
    ]),
  );
  const [type, key, body] = isLegacy
    ? ['kubernetes.io/dockercfg', '.dockercfg', auths]
    : ['kubernetes.io/dockerconfigjson', '.dockerconfigjson', { auths }];
  const response = await registry.api(`/api/v1/namespaces/${namespace}/secrets`, {
    method: 'POST',
    body: {
      metadata: { name, annotations },
      type,
      data: { [key]: Buffer.from(JSON.stringify(body)).toString('base64') },
    },
  });
  if (response.status !== 201) throw new Error(`no secret: ${response.status} ${await response.text()}`);
}
