import { imageGroup } from '../auth/authorize.js';
import { badRequest, conflict, notFound } from '../kube/errors.js';
import { timestamp } from '../kube/object-meta.js';
import type { Call, Resource } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { TagOptions } from './image-stream-tags.js';
import { imageStreamImageColumns } from './stream-columns.js';
import { parseStreamName } from './stream-names.js';
import { imageStreamImageSchema } from './stream-schema.js';
import { pullLocation, sightOf } from './stream-view.js';
import { embeddedImage } from './tag-view.js';

const names = { group: imageGroup, plural: 'imagestreamimages', kind: 'ImageStreamImage', isNamespaced: true } as const;
/** By which it is not found (openshift-apiserver). */
const singular = { group: imageGroup, plural: 'imagestreamimage' } as const;

/** Long enough for every digest. */
const maxIdLength = 200;

/** image.openshift.io/v1 ImageStreamImage: an image of a stream, by its digest or an unambiguous beginning of it. */
export function imageStreamImageResource(options: TagOptions): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'imagestreamimage',
    shortNames: ['isimage'],
    verbs: ['get'],
    description: 'ImageStreamImage is an image that can be pulled through an image stream, by its digest.',
    schema: imageStreamImageSchema,
    columns: imageStreamImageColumns,
    storage: { get: (call, name) => getImage(options, call, name) },
  };
}

async function getImage(options: TagOptions, call: Call, name: string): Promise<ApiObject> {
  const { store, images } = options;
  const [streamName = '', id = '', ...rest] = name.split('@');
  if (streamName === '' || id === '' || rest.length > 0) {
    throw badRequest('ImageStreamImages must be retrieved with <name>@<id>');
  }
  const repository = parseStreamName(call.namespace, streamName);
  const stream = repository && (await store.findStream(repository));
  if (stream === undefined) throw notFound(names, streamName);
  const isPossible = id.length <= maxIdLength && /^(sha\d{3}:)?[0-9a-f]*$/.test(id);
  const [image, other] = isPossible ? await store.findLinkedImages(stream.name, id) : [];
  if (image === undefined) throw notFound(singular, name);
  if (other !== undefined && image !== id) {
    throw conflict(singular, name, `multiple images match the prefix "${id}": ${image}, ${other}`);
  }
  const record = await images.find(image);
  if (record === undefined) throw notFound(singular, name);
  const { annotations } = stream.metadata;
  return {
    metadata: {
      name,
      namespace: call.namespace,
      uid: '',
      creationTimestamp: timestamp(record.createdAt),
      ...(annotations !== undefined && { annotations }),
    },
    image: embeddedImage(record, `${pullLocation(stream.name, sightOf(call, options))}@${image}`),
  };
}
