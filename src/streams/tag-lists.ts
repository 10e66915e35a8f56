import { listPaged } from '../kube/stored-resource.js';
import type { Call, ListQuery, ObjectList } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { StreamStore } from '../metadata/stream-store.js';
import { parseRepositoryName } from '../oci/repository-name.js';
import { parseStreamTagName } from './stream-names.js';
import type { FoundTag } from './tag-view.js';

/** Tags read at a time. */
const pageSize = 500;

/** Where lists of tags come from. */
export interface TagListSource {
  readonly store: StreamStore;
  readonly version: () => Promise<number>;
}

/** Lists tags of streams one after the other; `view` gives nothing for those that are not in the list. */
export async function listTags(
  { store, version: currentVersion }: TagListSource,
  call: Call,
  query: ListQuery,
  { events, view }: { readonly events: number; readonly view: (found: FoundTag) => ApiObject | undefined },
): Promise<ObjectList> {
  const version = await currentVersion();
  if (query.name !== undefined && call.namespace !== '') {
    const [stream = '', tag = ''] = query.name.split(':');
    const { repository } = parseStreamTagName(call.namespace, `${stream || '-'}:${tag || '-'}`, 'ImageStreamTags');
    const found = repository && (await store.findTag(repository, tag, events));
    const object = found?.tag === undefined ? undefined : view({ stream: found.stream, tag: found.tag });
    return { items: object !== undefined && query.matches(object) ? [object] : [], resourceVersion: String(version) };
  }
  // What is not in the list still tells where the next page begins.
  return listPaged(
    { ...query, matches: (object) => object.kind !== leftOut && query.matches(object) },
    async (after, limit) => {
      const size = Math.min(limit, pageSize);
      const [stream = '', tag = ''] = after?.name.split(':') ?? [];
      const found = await store.listTagStates({
        ...(call.namespace !== '' && { project: call.namespace }),
        ...(after !== undefined && { after: { stream: parseRepositoryName(`${after.namespace}/${stream}`), tag } }),
        limit: size + 1,
        events,
      });
      const objects = found.slice(0, size).map((each) => view(each) ?? placeholder(each));
      return { objects, version, isLast: found.length <= size };
    },
  );
}

const leftOut = 'LeftOut';

function placeholder({ stream, tag }: FoundTag): ApiObject {
  const [namespace, ...path] = stream.name.split('/');
  const name = `${path.join('__')}:${tag.name}`;
  return { kind: leftOut, metadata: { name, namespace: namespace!, uid: '', creationTimestamp: '' } };
}
