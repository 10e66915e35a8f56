import type { TagTarget } from '../metadata/tag-history.js';
import type { Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.js';
import { parsePullSpec } from '../oci/pull-spec.js';
import type { StreamSight } from './stream-view.js';

/** The repository of this registry that a pull spec names; undefined when it names something outside. */
export function ownRepository(pullSpec: string, { host }: Pick<StreamSight, 'host'>): RepositoryName | undefined {
  const { registry, namespace, name } = parsePullSpec(pullSpec);
  if (registry !== host || namespace === '') return undefined;
  try {
    return parseRepositoryName(`${namespace}/${name}`);
  } catch (error) {
    if (error instanceof OciError) return undefined;
    throw error;
  }
}

/** What an event points at whose pull spec was given as text. */
export function targetOfPullSpec(
  repository: RepositoryName,
  pullSpec: string,
  image: Digest | undefined,
  sight: Pick<StreamSight, 'host'>,
): TagTarget {
  const own = image === undefined ? undefined : ownRepository(pullSpec, sight);
  if (own === undefined) return { image, reference: pullSpec };
  return { image, ...(own !== repository && { location: own }) };
}
