import { isDeepStrictEqual } from 'node:util';
import type { Operation } from './linearizability-checker.js';
import { fetchApi } from './replica-client.js';
import type { MoveRecord } from './tag-moves.js';

/** One event of a tag's history (weir.dev/v1 TagEvent). */
export interface ToldEvent {
  readonly metadata: { readonly resourceVersion: string };
  readonly generation: number;
  readonly cause: string;
  readonly image?: string;
}

/** Who asks, and where. */
export interface ApiAccess {
  readonly url: string;
  readonly token: string;
}

/** The whole history of a tag, oldest first. */
export async function fetchEvents(access: ApiAccess, repository: string, tag: string): Promise<ToldEvent[]> {
  const [project = '', stream = ''] = repository.split(/\/(.*)/);
  const name = encodeURIComponent(`${stream.replaceAll('/', '__')}:${tag}`);
  const path = `/apis/weir.dev/v1/namespaces/${project}/imagestreamtags/${name}/history`;
  const events: ToldEvent[] = [];
  let next = '';
  do {
    const page = await fetchApi<{ items: ToldEvent[]; metadata: { continue?: string } }>(
      access,
      `${path}?limit=1000${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`,
    );
    events.push(...page.items);
    next = page.metadata.continue ?? '';
  } while (next !== '');
  return events.reverse();
}

/** What is wrong with a history whatever it tells: its events are numbered from 1, and their versions only grow. */
export function wrongInHistory(name: string, events: readonly ToldEvent[]): string[] {
  const wrong: string[] = [];
  const expected = events.map((_, index) => index + 1);
  const numbers = events.map(({ generation }) => generation);
  if (!isDeepStrictEqual(numbers, expected)) wrong.push(`${name} has the events ${numbers.join(' ')}`);
  for (const [index, event] of events.entries()) {
    const before = events[index - 1];
    if (before === undefined || versionOf(event) > versionOf(before)) continue;
    wrong.push(`${name}: event ${event.generation} has version ${versionOf(event)}, after ${versionOf(before)}`);
  }
  return wrong;
}

/** What of a history is not as its tag was moved: each move that was acknowledged is one event, and nothing else is. */
export function wrongInMoves(name: string, operations: readonly Operation[], events: readonly ToldEvent[]): string[] {
  const wrong: string[] = [];
  const told = new Map<string, ToldEvent[]>();
  for (const event of events) told.set(event.image ?? '', [...(told.get(event.image ?? '') ?? []), event]);
  const removals = operations.filter(({ kind }) => kind === 'remove');
  const certain = removals.filter(({ respondedAt }) => respondedAt !== Infinity).length;
  const deletions = told.get('')?.length ?? 0;
  if (deletions < certain || deletions > removals.length) {
    wrong.push(`${name} was deleted ${deletions} times: ${certain} of ${removals.length} deletions were acknowledged`);
  }
  told.delete('');
  const writes = operations.filter(({ kind }) => kind === 'write');
  const versions: { readonly write: Operation; readonly version: number }[] = [];
  for (const write of writes) {
    const of = told.get(write.value!) ?? [];
    told.delete(write.value!);
    if (of.length > 1) wrong.push(`${name} has ${of.length} events of ${write.value!}`);
    if (of.length === 0 && write.respondedAt !== Infinity) wrong.push(`${name} has no event of ${write.value!}`);
    if (of[0] !== undefined) versions.push({ write, version: versionOf(of[0]) });
  }
  for (const digest of told.keys()) wrong.push(`${name} has an event of ${digest}, which nobody has pushed`);
  return [...wrong, ...wrongOrder(name, versions)];
}

/** Of two pushes one of which had ended when the other one began, that one is the earlier event. */
function wrongOrder(
  name: string,
  versions: readonly { readonly write: Operation; readonly version: number }[],
): string[] {
  const byVersion = [...versions].sort((one, other) => one.version - other.version);
  let earliestEnd = Infinity;
  const wrong: string[] = [];
  for (const { write, version } of byVersion.reverse()) {
    if (write.invokedAt > earliestEnd) wrong.push(`${name}: version ${version} was pushed after what comes later`);
    earliestEnd = Math.min(earliestEnd, write.respondedAt);
  }
  return wrong;
}

/** What is wrong with the tags of a record. @returns also how many events there are, and the versions they have */
export async function checkEvents(
  access: ApiAccess,
  { repository, operations }: MoveRecord,
): Promise<{ readonly wrong: readonly string[]; readonly versions: readonly number[] }> {
  const wrong: string[] = [];
  const versions: number[] = [];
  for (const [tag, asked] of operations) {
    if (asked.every(({ kind }) => kind === 'read')) continue;
    const events = await fetchEvents(access, repository, tag);
    const name = `${repository}:${tag}`;
    wrong.push(...wrongInHistory(name, events), ...wrongInMoves(name, asked, events));
    versions.push(...events.map(versionOf));
  }
  return { wrong, versions };
}

export function versionOf({ metadata }: ToldEvent): number {
  return Number(metadata.resourceVersion);
}
