import { agoOf } from '../kube/ages.js';
import type { Column } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { Image, ImageStream, ImageTag, NamedTagEventList, TagSource } from './types.js';

// What each cell reads is what openshift-apiserver prints, package printers/internalversion: people and scripts know it.

/** ImageStreamTag and ImageStreamImage, as far as their columns look at them. */
interface WithImage extends ApiObject {
  readonly image?: Partial<Image>;
}

const imageReference: Omit<Column, 'cell'> = {
  name: 'Image Reference',
  type: 'string',
  description: 'Where the image is pulled from.',
};

const imageName: Column = {
  name: 'Image Name',
  type: 'string',
  description: 'The digest of the image.',
  priority: 1,
  cell: (object) => (object as WithImage).image?.metadata?.name ?? '',
};

const referenceCell: Column['cell'] = (object) => (object as WithImage).image?.dockerImageReference ?? '';

const updated: Omit<Column, 'cell'> = {
  name: 'Updated',
  type: 'string',
  description: 'How long ago it changed.',
};

const createdAgo: Column = { ...updated, cell: ({ metadata }, now) => agoOf(metadata.creationTimestamp, now) };

/** What is shown of an Image after its name. */
export const imageColumns: readonly Column[] = [
  { ...imageReference, cell: (image) => (image as Image).dockerImageReference },
];

/** What is shown of an ImageStreamTag after its name. */
export const imageStreamTagColumns: readonly Column[] = [
  { ...imageReference, cell: referenceCell },
  createdAgo,
  imageName,
];

/** What is shown of an ImageStreamImage after its name. */
export const imageStreamImageColumns: readonly Column[] = [
  createdAgo,
  { ...imageReference, priority: 1, cell: referenceCell },
  imageName,
];

/** What is shown of an ImageStream after its name. */
export const imageStreamColumns: readonly Column[] = [
  {
    name: 'Image Repository',
    type: 'string',
    description: 'Where the images are pulled from.',
    cell: (stream) => repositoryCell(stream as ImageStream),
  },
  {
    name: 'Tags',
    type: 'string',
    description: 'The tags, the one that moved last first.',
    cell: (stream) => tagsCell(newestFirst((stream as ImageStream).status.tags ?? [])),
  },
  {
    ...updated,
    description: 'How long ago a tag moved.',
    cell: (stream, now) => agoOf(newest(((stream as ImageStream).status.tags ?? []).map(createdOf)), now),
  },
];

function repositoryCell({ spec, status }: ImageStream): string {
  const places = [status.publicDockerImageRepository, spec.dockerImageRepository, status.dockerImageRepository];
  return places.find((place) => place !== undefined && place !== '') ?? '';
}

/** When the current event of a tag was; undefined for one that has only conditions. */
function createdOf({ items }: NamedTagEventList): string | undefined {
  return items?.[0]?.created;
}

/** By the second, as the times were written; of the same second by name, and last those that never moved. */
function newestFirst(tags: readonly NamedTagEventList[]): readonly { readonly tag: string }[] {
  return tags
    .map((list) => ({ tag: list.tag, second: Math.round(timeOf(createdOf(list)) / 1000) }))
    .sort((a, b) => (a.second === b.second ? compare(a.tag, b.tag) : b.second > a.second ? 1 : -1));
}

/** Milliseconds; before all others for a time that is absent or none. */
function timeOf(time: string | undefined): number {
  const milliseconds = Date.parse(time ?? '');
  return Number.isNaN(milliseconds) ? -Infinity : milliseconds;
}

function newest(times: readonly (string | undefined)[]): string | undefined {
  return times.reduce((last, time) => (timeOf(time) > timeOf(last) ? time : last), undefined);
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
    const isSlight = left - 1 > overrun && cost - left <= overrun;
    if (shown.length > 0 && cost > left && !isSlight) break;
    shown.push(tag);
    left -= cost;
    if (left <= 0) break;
  }
  const more = tags.length - shown.length;
  return shown.join(',') + (more > 0 ? ` + ${more} more...` : '');
}

/** What is shown of an ImageTag after its name. */
export const imageTagColumns: readonly Column[] = [
  {
    name: 'Spec',
    type: 'string',
    description: 'How the tag gets its image: Tag, Ref, Scheduled, Track or Push.',
    cell: (tag) => specCell(tag as ImageTag),
  },
  {
    name: 'Status',
    type: 'string',
    description: 'What the tag points to, or why it does not.',
    cell: (tag) => statusCell(tag as ImageTag),
  },
  {
    name: 'History',
    type: 'integer',
    description: 'How many events the history of the tag has.',
    cell: (tag) => historyCell(tag as ImageTag),
  },
  {
    ...updated,
    cell: (tag, now) => {
      const { status } = tag as ImageTag;
      const changes = (status?.conditions ?? []).map(({ lastTransitionTime }) => lastTransitionTime);
      return agoOf(newest([status?.items?.[0]?.created, ...changes]), now);
    },
  },
];

function specCell({ spec, status }: ImageTag): string {
  const event = status?.items?.[0];
  const from = spec?.from;
  if (!spec || from === undefined) {
    return event !== undefined && (event.image !== '' || event.dockerImageReference !== '') ? 'Push' : '';
  }
  // The events of an alias have the generations of its source, which say nothing about itself.
  if (from.kind === 'ImageStreamTag' && !from.name.includes(':')) return 'Track';
  if (spec.generation && event !== undefined && event.generation > spec.generation) return 'Push';
  if (spec.importPolicy.scheduled === true) return 'Scheduled';
  return spec.reference === true ? 'Ref' : 'Tag';
}

function statusCell({ spec, status }: ImageTag): string {
  const failure = status?.conditions?.find((condition) => condition.status === 'False');
  if (failure !== undefined) return `ImportFailed (${failure.reason ?? ''})`;
  const event = status?.items?.[0];
  const source = spec?.from && sourceCell(spec.from);
  if (event === undefined) return source?.text ?? '';
  // Without a source there is nothing to import, however much older than the tag a push is.
  if (source && spec.generation && event.generation > 0 && event.generation < spec.generation) return 'Importing';
  if (source?.isWrong === true) return source.text;
  if (event.image !== '') return `image/${event.image}`;
  return event.dockerImageReference !== '' ? event.dockerImageReference : (source?.text ?? '');
}

function historyCell({ status }: ImageTag): number | null {
  const count = status?.items?.length ?? 0;
  return count === 0 ? null : count;
}

function sourceCell({ kind, name, namespace = '' }: TagSource): { readonly text: string; readonly isWrong?: boolean } {
  switch (kind) {
    case 'DockerImage':
      return { text: name };
    case 'ImageStreamTag':
      return { text: namespace === '' ? `istag/${name}` : `istag ${namespace}/${name}` };
    case 'ImageStreamImage': {
      // Of the tag's own stream when there is nothing before the digest.
      const parts = name.split('@', 3);
      const isRight = parts.length < 3 && !parts.includes('');
      return isRight ? { text: `image/${parts.at(-1)!}` } : { text: 'InvalidRefName', isWrong: true };
    }
    default:
      return { text: 'InvalidRefKind', isWrong: true };
  }
}
