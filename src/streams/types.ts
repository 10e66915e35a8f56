import type { ApiObject } from '../metadata/object-store.js';

/** core/v1 ObjectReference, as far as the source of a tag has it. */
export interface TagSource {
  readonly kind: 'DockerImage' | 'ImageStreamTag' | 'ImageStreamImage';
  readonly name: string;
  /** The stream's own when left out. */
  readonly namespace?: string;
}

/** image.openshift.io/v1 TagReference: what a tag is wanted to be. */
export interface TagReference {
  readonly name: string;
  readonly annotations?: Readonly<Record<string, string>> | null;
  /** Left out for a tag that only carries annotations and policies, and takes pushes. */
  readonly from?: TagSource;
  /** Only a pointer: nothing is imported, and the event keeps the location of the source. */
  readonly reference?: boolean;
  /** The server's to say; a client may send 0 to have the source looked at again. */
  readonly generation?: number | null;
  readonly importPolicy: {
    readonly insecure?: boolean;
    readonly scheduled?: boolean;
    readonly importMode?: 'Legacy' | 'PreserveOriginal';
  };
  readonly referencePolicy: { readonly type: 'Source' | 'Local' };
}

/** image.openshift.io/v1 TagEvent: one entry of the history of a tag. */
export interface TagEventItem {
  /** When it happened; not when the image was built. */
  readonly created: string;
  readonly dockerImageReference: string;
  /** Digest; empty when the event only points at something outside. */
  readonly image: string;
  readonly generation: number;
}

/** image.openshift.io/v1 TagEventCondition; only failures are kept. */
export interface TagEventCondition {
  readonly type: 'ImportSuccess';
  readonly status: 'True' | 'False' | 'Unknown';
  readonly lastTransitionTime: string;
  readonly reason?: string;
  readonly message?: string;
  readonly generation: number;
}

/** image.openshift.io/v1 NamedTagEventList: what a tag is, newest event first. */
export interface NamedTagEventList {
  readonly tag: string;
  readonly items: readonly TagEventItem[] | null;
  readonly conditions?: readonly TagEventCondition[];
}

export interface ImageStreamSpec {
  readonly lookupPolicy: { readonly local: boolean };
  readonly dockerImageRepository?: string;
  /** In byte order of their names. */
  readonly tags?: readonly TagReference[];
}

export interface ImageStreamStatus {
  readonly dockerImageRepository: string;
  readonly publicDockerImageRepository?: string;
  /** In byte order of their names. */
  readonly tags?: readonly NamedTagEventList[];
}

/** image.openshift.io/v1 ImageStream. */
export interface ImageStream extends ApiObject {
  readonly spec: ImageStreamSpec;
  readonly status: ImageStreamStatus;
}

/** image.openshift.io/v1 ImageLayer. */
export interface ImageLayer {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly mediaType: string;
}

/** image.openshift.io/v1 ImageManifest: an entry of an index. */
export interface ImageManifestEntry {
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes. */
  readonly manifestSize: number;
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
}

/** image.openshift.io/1.0 DockerImage, with its capitalised keys. */
export interface DockerImage {
  readonly kind: 'DockerImage';
  readonly apiVersion: 'image.openshift.io/1.0';
  readonly Id: string;
  readonly Created: string | null;
  readonly Size: number;
  readonly [field: string]: unknown;
}

/** image.openshift.io/v1 ImageSignature, as it is inside of an Image. */
export interface ImageSignature {
  readonly metadata: { readonly name: string; readonly creationTimestamp: string };
  readonly type: string;
  /** Base64. */
  readonly content: string;
  readonly [field: string]: unknown;
}

/** image.openshift.io/v1 Image: cluster-scoped, named by its digest. */
export interface Image extends ApiObject {
  readonly dockerImageReference: string;
  readonly dockerImageMetadata: DockerImage;
  readonly dockerImageMetadataVersion: '1.0';
  readonly dockerImageManifest?: string;
  /** Base first; null for an index. */
  readonly dockerImageLayers: readonly ImageLayer[] | null;
  readonly signatures?: readonly ImageSignature[];
  readonly dockerImageManifestMediaType: string;
  readonly dockerImageConfig?: string;
  readonly dockerImageManifests?: readonly ImageManifestEntry[];
}

/** image.openshift.io/v1 ImageStreamTag. */
export interface ImageStreamTag extends ApiObject {
  readonly tag: TagReference | null;
  /** Of the current event. */
  readonly generation: number;
  readonly lookupPolicy: { readonly local: boolean };
  readonly conditions?: readonly TagEventCondition[];
  readonly image: Partial<Image>;
}

/** image.openshift.io/v1 ImageTag: what is wanted and what is, side by side. */
export interface ImageTag extends ApiObject {
  readonly spec: TagReference | null;
  readonly status: NamedTagEventList | null;
  readonly image: Partial<Image> | null;
}
