import { ageOf } from '../../kube/ages.js';
import { formatSize, formatTable, shortDigest } from './output.js';
import type { TagEvent } from './wire.js';

/** Somebody by name, and what they are when that is no user and the name does not tell. */
export function actorName(
  user: { readonly name?: string | null | undefined; readonly kind?: string | null | undefined } | null | undefined,
): string {
  const name = user?.name ?? '';
  const kind = user?.kind ?? '';
  return kind === '' || kind.toLowerCase() === 'user' || name.startsWith('system:') ? name : `${name} (${kind})`.trim();
}

/** The changes of a tag, of a stream or of a project, in the order they come in. */
export function eventTable(
  events: readonly TagEvent[],
  { of, now }: { readonly of: 'tag' | 'stream' | 'project'; readonly now: Date },
): string {
  return formatTable({
    columns: ['', 'STREAM', 'TAG', 'EVENT', 'WHEN', 'AGE', 'WHO', 'HOW', 'FROM', 'IMAGE', 'SIZE', 'VERSION', 'REASON'],
    rows: events.map((event) => [
      event.current === true ? '*' : '',
      of === 'project' ? (event.stream ?? '').replaceAll('__', '/') : '',
      of === 'tag' ? '' : (event.tag ?? ''),
      String(event.generation ?? ''),
      (event.created ?? '').replace(/\.\d+Z$/, 'Z'),
      event.created ? ageOf(event.created, now) : '',
      actorName(event.user),
      event.cause ?? '',
      sourceOf(event),
      event.image ? shortDigest(event.image) : '-',
      formatSize(event.size),
      event.version ?? '',
      event.reason ?? '',
    ]),
  });
}

/** Where the image came from; a rollback says which change of the tag it went back to. */
function sourceOf({ backTo, source }: TagEvent): string {
  if (backTo !== undefined && backTo !== null && backTo !== 0 && backTo !== '') return `back to ${backTo}`;
  return (source ?? '').replace(/sha\d+:[0-9a-f]{13,}/g, shortDigest);
}
