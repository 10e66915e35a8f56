import { z } from 'zod';
import type { Resource } from '../kube/resource.js';
import type { ImageRecord } from '../metadata/image-store.js';
import type { ObjectStore } from '../metadata/object-store.js';
import type { StreamStore } from '../metadata/stream-store.js';
import type { FindTagRules } from '../metadata/tag-history.js';
import type { Digest } from '../oci/digest.js';
import { streamCompareSubresource, tagCompareSubresource } from './compare.js';
import { activityResource, streamHistorySubresource, tagHistorySubresource } from './history.js';
import { imageStreamImageResource } from './image-stream-images.js';
import { imageStreamMappingResource } from './image-stream-mappings.js';
import { imageStreamTagResource } from './image-stream-tags.js';
import { ImageStreamStorage, imageStreamResource } from './image-streams.js';
import { imageTagResource } from './image-tags.js';
import type { StreamService } from './stream-service.js';
import { statusSubresource } from './stream-status.js';
import { layersSubresource, secretsSubresource, type PullSecrets } from './stream-subresources.js';
import { tagsSubresource } from './tag-list.js';
import { rollbackSubresource, undeleteSubresource, weirGroup } from './tag-rollback.js';

/** What image streams are kept in and ruled by. */
export interface StreamResourcesOptions {
  readonly store: StreamStore;
  readonly images: { readonly find: (digest: Digest) => Promise<ImageRecord | undefined> };
  readonly objects: Pick<ObjectStore, 'currentVersion'>;
  readonly service: StreamService;
  readonly findRules: FindTagRules;
  readonly secrets: PullSecrets;
  readonly publicUrl: string | undefined;
  /** Entries of the history of a tag that an image stream shows. */
  readonly maxItems: number;
}

/** Image streams in all their forms, over the rows that pushes write. */
export function streamResources(options: StreamResourcesOptions): readonly Resource[] {
  const streams = new ImageStreamStorage(options);
  const rollback = [rollbackSubresource(options), undeleteSubresource(options)];
  return [
    imageStreamResource(streams, [
      layersSubresource(options),
      secretsSubresource(options.secrets, () => options.objects.currentVersion()),
      statusSubresource(options, streams),
    ]),
    imageStreamTagResource(options, rollback),
    imageTagResource(options),
    imageStreamImageResource(options),
    imageStreamMappingResource(options),
    activityResource(options),
    // Under their usual names, for what OpenShift's do not have.
    {
      ...hidden,
      plural: 'imagestreams',
      singular: 'imagestream',
      kind: 'ImageStream',
      description: 'What Weir tells of an image stream beside the stream itself.',
      subresources: [tagsSubresource(options), streamHistorySubresource(options), streamCompareSubresource(options)],
    },
    {
      ...hidden,
      plural: 'imagestreamtags',
      singular: 'imagestreamtag',
      kind: 'ImageStreamTag',
      description: 'What Weir tells of a tag beside the tag itself, and lets do with it.',
      subresources: [tagHistorySubresource(options), tagCompareSubresource(options), ...rollback],
    },
  ];
}

/** Not in discovery: a name such as `imagestreams` means OpenShift's. */
const hidden = {
  group: weirGroup,
  version: 'v1',
  isNamespaced: true,
  isHidden: true,
  verbs: [],
  schema: z.object({}),
  storage: {},
} as const satisfies Partial<Resource>;
