import { isDigest } from '../../oci/digest.js';
import { apiPath, type ApiClient } from './api-client.js';
import type { StreamReference } from './stream-reference.js';
import { imageStreamImageSchema } from './wire.js';

/**
 * The digest that begins like this among the images of a stream: its first digits are enough for people, and the whole
 * is what the server is told.
 *
 * @throws {ClientError} when there is none, or more than one
 */
export async function wholeDigest(
  api: ApiClient,
  { project, stream }: Pick<StreamReference, 'project' | 'stream'>,
  digest: string,
): Promise<string> {
  if (isDigest(digest)) return digest;
  const path = apiPath('image.openshift.io', 'namespaces', project, 'imagestreamimages', `${stream}@${digest}`);
  const { value } = await api.get(path, imageStreamImageSchema);
  return value.image.metadata.name;
}
