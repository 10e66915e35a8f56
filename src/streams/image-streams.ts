import { createHash } from 'node:crypto';
import { z } from 'zod';
import { imageGroup } from '../auth/authorize.js';
import { agoOf } from '../kube/ages.js';
import { badRequest, notFound } from '../kube/errors.js';
import { timestamp } from '../kube/object-meta.js';
import type { Call, ListQuery, ObjectList, Resource } from '../kube/resource.js';
import { listPaged } from '../kube/stored-resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import type { RepositoryDescription, RepositoryStore } from '../metadata/repository-store.js';
import { parseRepositoryName, projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { OciError } from '../oci/errors.js';

/** image.openshift.io TagEvent. */
interface TagEvent {
  readonly created: string;
  readonly dockerImageReference: string;
  readonly image: string;
  readonly generation: number;
}

/** image.openshift.io ImageStream, as far as it can be read. */
interface ImageStream extends ApiObject {
  readonly spec: { readonly lookupPolicy: { readonly local: boolean } };
  readonly status: {
    readonly dockerImageRepository: string;
    readonly publicDockerImageRepository?: string;
    readonly tags?: readonly { readonly tag: string; readonly items: readonly TagEvent[] }[];
  };
}

/** What image streams are a view of. */
export interface ImageStreamOptions {
  readonly repositories: Pick<RepositoryStore, 'describeRepository' | 'describeRepositories'>;
  readonly objects: Pick<ObjectStore, 'currentVersion'>;
  /** What clients call the registry, when that is configured. */
  readonly publicUrl: string | undefined;
}

const names = { group: imageGroup, plural: 'imagestreams', kind: 'ImageStream', isNamespaced: true } as const;

const imageSchema = z.object({
  lookupPolicy: z.object({ local: z.boolean() }).optional(),
});

/**
 * image.openshift.io/v1 ImageStream: a repository, its tags and what they point to now, over the very rows that pushes
 * write. It can be read.
 */
export function imageStreamResource({ repositories, objects, publicUrl }: ImageStreamOptions): Resource {
  const view = (call: Call, repository: RepositoryDescription, version: number) =>
    toImageStream(repository, { host: new URL(call.origin).host, isPublic: publicUrl !== undefined, version });
  return {
    ...names,
    version: 'v1',
    singular: 'imagestream',
    shortNames: ['is'],
    categories: ['all'],
    verbs: ['get', 'list'],
    description: 'ImageStream is a repository: its tags, and the images they have pointed to.',
    schema: z.object({
      spec: imageSchema.optional().describe('What is wanted.'),
      status: z.object({}).loose().optional().describe('What is.'),
    }),
    columns: [
      {
        name: 'Image Repository',
        type: 'string',
        description: 'Where the images are pulled from.',
        cell: (stream) =>
          (stream as ImageStream).status.publicDockerImageRepository ??
          (stream as ImageStream).status.dockerImageRepository,
      },
      {
        name: 'Tags',
        type: 'string',
        description: 'The tags, the one that moved last first.',
        cell: (stream) => tagsCell(tagsOf(stream)),
      },
      {
        name: 'Updated',
        type: 'string',
        description: 'How long ago a tag moved.',
        cell: (stream, now) => {
          const newest = tagsOf(stream)[0];
          return newest === undefined ? '' : agoOf(newest.created, now);
        },
      },
    ],
    storage: {
      get: async (call, name) => {
        const repository = parseStreamName(call.namespace, name);
        const found = repository && (await repositories.describeRepository(repository));
        if (found === undefined) throw notFound(names, name);
        return view(call, found, await objects.currentVersion());
      },
      list: async (call: Call, query: ListQuery): Promise<ObjectList> => {
        const version = await objects.currentVersion();
        return listPaged(query, async (after, limit) => {
          const last = after && `${after.namespace}/${after.name.replaceAll('__', '/')}`;
          const page = await repositories.describeRepositories({
            ...(call.namespace !== '' && { project: call.namespace }),
            last: last as RepositoryName | undefined,
            limit: limit + 1,
          });
          return {
            objects: page.slice(0, limit).map((repository) => view(call, repository, version)),
            version,
            isLast: page.length <= limit,
          };
        });
      },
    },
  };
}

function parseStreamName(namespace: string, name: string): RepositoryName | undefined {
  if (namespace === '') throw badRequest('an image stream is in a namespace');
  try {
    const repository = parseRepositoryName(`${namespace}/${name}`);
    // One spelling for each: `a/b` is called `a__b`.
    return streamNameOf(repository) === name ? repository : undefined;
  } catch (error) {
    if (error instanceof OciError) return undefined;
    throw error;
  }
}

function toImageStream(
  { id, name, createdAt, tags }: RepositoryDescription,
  { host, isPublic, version }: { readonly host: string; readonly isPublic: boolean; readonly version: number },
): ImageStream {
  const location = `${host}/${name}`;
  const items = tags.map(({ tag, image, sequence, movedAt }) => ({
    tag,
    items: [
      {
        created: timestamp(movedAt),
        dockerImageReference: `${location}@${image}`,
        image,
        generation: sequence,
      },
    ],
  }));
  return {
    metadata: {
      name: streamNameOf(name),
      namespace: projectOf(name),
      uid: uidOf(`${id} ${createdAt.getTime()} ${name}`),
      resourceVersion: String(version),
      creationTimestamp: timestamp(createdAt),
    },
    spec: { lookupPolicy: { local: false } },
    status: {
      dockerImageRepository: location,
      ...(isPublic && { publicDockerImageRepository: location }),
      ...(items.length > 0 && { tags: items }),
    },
  };
}

/** The same for the same repository, and another for one of that name that is made later. */
function uidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

/** The tags with their newest event, the one that moved last first; of the same second by name. */
function tagsOf(stream: ApiObject): readonly { readonly tag: string; readonly created: string }[] {
  return ((stream as ImageStream).status.tags ?? [])
    .map(({ tag, items }) => ({ tag, created: items[0]!.created }))
    .sort((a, b) => (a.created === b.created ? compare(a.tag, b.tag) : compare(b.created, a.created)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const cellBudget = 40;
const overrun = 10;

/**
 * As many tags as fit into 40 characters, at least one, and how many there are beside (openshift-apiserver, printers): a
 * tag may reach a little beyond when much would be left unused otherwise.
 */
export function tagsCell(tags: readonly { readonly tag: string }[]): string {
  const shown: string[] = [];
  let left = cellBudget;
  for (const { tag } of tags) {
    const cost = tag.length + 1;
    const isSlight = left > overrun && cost - left <= overrun;
    if (shown.length > 0 && cost > left && !isSlight) break;
    shown.push(tag);
    left -= cost;
    if (left <= 0) break;
  }
  const more = tags.length - shown.length;
  return shown.join(',') + (more > 0 ? ` + ${more} more...` : '');
}
