import { badRequest, notFound, type GroupResource } from '../kube/errors.js';
import { OciError } from '../oci/errors.js';
import { parseRepositoryName, streamNameOf, type RepositoryName } from '../oci/repository-name.js';

/**
 * The repository of an image stream; undefined when no stream can have that name. One spelling for each: `a/b` is called
 * `a__b`.
 */
export function parseStreamName(namespace: string, name: string): RepositoryName | undefined {
  if (namespace === '') return undefined;
  try {
    const repository = parseRepositoryName(`${namespace}/${name}`);
    return streamNameOf(repository) === name ? repository : undefined;
  } catch (error) {
    if (error instanceof OciError) return undefined;
    throw error;
  }
}

/** A tag of a stream, as `app:v1` names it. */
export interface StreamTagName {
  /** Undefined when no stream can have that name. */
  readonly repository: RepositoryName | undefined;
  readonly stream: string;
  readonly tag: string;
}

/** @throws {StatusError} BadRequest when the name is not of the form `<stream>:<tag>` */
export function parseStreamTagName(
  namespace: string,
  name: string,
  kind: 'ImageStreamTags' | 'ImageTags',
): StreamTagName {
  const [stream = '', tag = '', ...rest] = name.split(':');
  if (stream === '' || tag === '' || rest.length > 0 || name.includes('@')) {
    throw badRequest(`${kind} must be retrieved with <name>:<tag>`);
  }
  return { repository: parseStreamName(namespace, stream), stream, tag };
}

/** @throws {StatusError} NotFound, in the name of the resource that is being served */
export function requireRepository(
  repository: RepositoryName | undefined,
  resource: GroupResource,
  name: string,
): RepositoryName {
  if (repository === undefined) throw notFound(resource, name);
  return repository;
}
