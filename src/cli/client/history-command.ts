import { Option, type Command } from 'commander';
import { apiPath } from './api-client.js';
import {
  clientCommand,
  connectFor,
  connectForProject,
  parseCount,
  printAnswer,
  withClientOptions,
  type ClientOptions,
} from './client-command.js';
import type { Session } from './connection.js';
import { readPages } from './pages.js';
import { showReference } from './stream-reference.js';
import { eventTable } from './tag-events.js';
import type { Terminal } from './terminal.js';
import { parseTime } from './times.js';
import { UsageError } from '../usage-error.js';
import { tagEventSchema } from './wire.js';

interface HistoryOptions extends ClientOptions {
  readonly cause?: string;
  readonly user?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

/** What a history is of. */
interface Subject {
  readonly session: Session;
  readonly of: 'tag' | 'stream' | 'project';
  readonly path: string;
  readonly shown: string;
}

const causes = ['push', 'tag', 'import', 'rollback', 'delete', 'undelete'];

/** `weir history`: what happened to a tag, a stream or a project. */
export function historyCommand(terminal: Terminal): Command {
  const command = clientCommand('history', {
    description: 'tell when a tag changed, who changed it, how and why; * marks what it is now',
    summary: 'tell what happened to a tag',
    examples: [
      'weir history shop/app:prod                     the last 50 changes of a tag',
      'weir history shop/app                          of every tag of a stream',
      'weir history                                   of everything in the current project',
      'weir history shop/app:prod --since 7d          of a week',
      'weir history shop/app --cause rollback         how often it was rolled back',
      'weir history shop/app:prod --user ada -o json  what ada did, for a program',
      'weir rollback shop/app:prod --to 41            back to what event 41 was',
    ],
  })
    .argument('[reference]', 'PROJECT/STREAM:TAG, or a stream; the whole project when left out')
    .addOption(new Option('--cause <cause>', 'only changes of this kind').choices(causes))
    .option('--user <name>', 'only what this user did')
    .option('--since <time>', 'only from then on: 90m, 3d, or 2026-01-31')
    .option('--until <time>', 'only before')
    .option('--limit <count>', 'how many; 0 is all', parseCount(0), 50);
  return withClientOptions(command).action(async (text: string | undefined, options: HistoryOptions) => {
    const { cause, user, limit } = options;
    const [since, until] = [options.since, options.until].map((time) => time && parseTime(time, terminal.now()));
    const { session, of, path, shown } = await findSubject(terminal, options, text);
    const listed = await readPages(session.api, path, tagEventSchema, { cause, user, since, until, limit });
    printAnswer(terminal, options, listed.whole, () => eventTable(listed.items, { of, now: terminal.now() }));
    if (options.output !== 'table') return;
    if (listed.items.length === 0) terminal.note(`Nothing of that kind has happened to ${shown}.\n`);
    if (listed.hasMore) terminal.note(`These are the last ${listed.items.length}; --limit 0 tells all.\n`);
  });
}

async function findSubject(terminal: Terminal, options: HistoryOptions, text: string | undefined): Promise<Subject> {
  if (text === undefined) {
    const { session, project } = await connectForProject(terminal, options, undefined);
    const path = apiPath('weir.dev', 'namespaces', project, 'activities');
    return { session, of: 'project', path, shown: project };
  }
  const { session, references } = await connectFor(terminal, options, [text]);
  const { project, stream, tag, digest } = references[0]!;
  if (digest !== undefined) throw new UsageError('an image has no history; name a tag of it, or its stream');
  const place = ['namespaces', project] as const;
  return {
    session,
    of: tag === undefined ? 'stream' : 'tag',
    path:
      tag === undefined
        ? apiPath('weir.dev', ...place, 'imagestreams', stream, 'history')
        : apiPath('weir.dev', ...place, 'imagestreamtags', `${stream}:${tag}`, 'history'),
    shown: showReference(references[0]!),
  };
}
