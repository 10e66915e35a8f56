import { z } from 'zod';
import { notFound } from '../kube/errors.js';
import type { Call, Subresource } from '../kube/resource.js';
import { listPaged } from '../kube/stored-resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { Digest } from '../oci/digest.js';
import { parseManifest } from '../oci/manifest.js';
import type { TagOptions } from './image-stream-tags.js';
import { streamNames } from './stream-errors.js';
import { parseStreamName } from './stream-names.js';

/** Images read at a time. */
const pageSize = 50;

/** image.openshift.io/v1 ImageStreamLayers: every image and every blob that can be pulled through a stream. */
export function layersSubresource({ store, images }: TagOptions): Subresource {
  return {
    name: 'layers',
    kind: 'ImageStreamLayers',
    verbs: ['get'],
    schema: z.object({
      blobs: z.record(z.string(), z.object({ size: z.number().optional(), mediaType: z.string() })),
      images: z.record(
        z.string(),
        z.object({
          imageMissing: z.boolean().optional(),
          layers: z.array(z.string()).nullish(),
          config: z.string().optional(),
          manifests: z.array(z.string()).optional(),
        }),
      ),
    }),
    get: async (call, name) => {
      const repository = parseStreamName(call.namespace, name);
      const stream = repository && (await store.findStream(repository));
      if (stream === undefined) throw notFound(streamNames, name);
      const blobs: Record<string, { size?: number; mediaType: string }> = {};
      const layers: Record<string, object> = {};
      for (let after: Digest | undefined; ;) {
        const page = await store.listLinkedImages(stream.name, after, pageSize);
        for (const digest of page) {
          const record = await images.find(digest);
          if (record === undefined) {
            layers[digest] = { imageMissing: true, layers: null };
            continue;
          }
          const manifest = parseManifest(record.bytes, record.mediaType);
          blobs[digest] = { mediaType: record.mediaType };
          const ofRole = (role: string) => manifest.references.filter((reference) => reference.role === role);
          for (const { role, digest: blob, size, mediaType } of manifest.references) {
            if (role === 'layer') blobs[blob] = { size, mediaType };
            if (role === 'config') blobs[blob] = { mediaType };
          }
          const [config] = ofRole('config');
          const children = ofRole('manifest').map((child) => child.digest);
          layers[digest] = {
            layers: ofRole('layer').map((layer) => layer.digest),
            ...(config !== undefined && { config: config.digest }),
            ...(children.length > 0 && { manifests: children }),
          };
        }
        after = page.at(-1);
        if (page.length < pageSize) break;
      }
      return {
        metadata: { name, namespace: call.namespace, uid: stream.uid, creationTimestamp: '' },
        blobs,
        images: layers,
      };
    },
  };
}

/** Finds the secrets of a project that open other registries. */
export interface PullSecrets {
  readonly list: (namespace: string) => AsyncIterable<ApiObject>;
}

/**
 * The secrets of the project with which images are imported (core/v1 SecretList), for those who may see them here though
 * they may not see secrets. The name of the stream does not matter.
 */
export function secretsSubresource(secrets: PullSecrets, version: () => Promise<number>): Subresource {
  return {
    name: 'secrets',
    kind: 'Secret',
    group: '',
    version: 'v1',
    verbs: ['get'],
    schema: z.object({}).loose(),
    list: async (call: Call, _name, query) => {
      const found: ApiObject[] = [];
      for await (const secret of secrets.list(call.namespace)) if (isPullSecret(secret)) found.push(secret);
      const current = await version();
      return listPaged(query, (after) =>
        Promise.resolve({
          objects: found.filter(({ metadata }) => after === undefined || metadata.name > after.name),
          version: current,
          isLast: true,
        }),
      );
    },
  };
}

const pullSecretTypes: readonly unknown[] = ['kubernetes.io/dockercfg', 'kubernetes.io/dockerconfigjson'];

export function isPullSecret(secret: ApiObject): boolean {
  const isExcluded = secret.metadata.annotations?.['openshift.io/image.excludeSecret'] === 'true';
  return pullSecretTypes.includes(secret['type']) && !isExcluded;
}
