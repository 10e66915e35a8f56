import { Option, type Command } from 'commander';
import { ageOf } from '../../kube/ages.js';
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
import { formatSize, formatTable, shortDigest } from './output.js';
import { readPages } from './pages.js';
import { showReference } from './stream-reference.js';
import type { Terminal } from './terminal.js';
import { actorName } from './tag-events.js';
import { UsageError } from '../usage-error.js';
import { imageStreamSchema, streamTagSchema, type StreamTag } from './wire.js';

interface TagsOptions extends ClientOptions {
  readonly query?: string;
  readonly sort?: string;
  readonly state?: string;
  readonly limit: number;
}

const sorts = ['name', '-name', 'changed', '-changed', 'size', '-size'];

/** `weir tags`: the tags of a stream, as they are now. */
export function tagsCommand(terminal: Terminal): Command {
  const command = clientCommand('tags', {
    description: 'list the tags of a stream: which image each is, how it became so, and who made it so',
    summary: 'list the tags of a stream',
    examples: [
      'weir tags shop/app                        the first 100, by name (v9 before v10)',
      "weir tags shop/app -q 'v1.*'              those that match",
      'weir tags shop/app -q sha256:1234abcd     those that are this image',
      'weir tags shop/app --sort -changed        the last to change first',
      'weir tags shop/app --state protected      those that may not be moved',
      'weir tags shop/app --limit 0 -o json      all of them, for a program',
    ],
  })
    .argument('<stream>', 'PROJECT/STREAM, or STREAM of the current project')
    .option('-q, --query <pattern>', 'part of a name, a name with * and ?, or the beginning of a digest')
    .addOption(new Option('--sort <order>', 'what to sort by; - is the other way round').choices(sorts))
    .addOption(new Option('--state <state>', 'only these').choices(['protected', 'scheduled', 'failing']))
    .option('--limit <count>', 'how many; 0 is all', parseCount(0), 100);
  return withClientOptions(command).action(async (text: string, options: TagsOptions) => {
    const { session, references } = await connectFor(terminal, options, [text]);
    const { project, stream, tag, digest } = references[0]!;
    if (tag !== undefined || digest !== undefined) {
      throw new UsageError(
        `"${text}" is more than a stream; see "weir history ${text}", or give a pattern with --query`,
      );
    }
    const path = apiPath('weir.dev', 'namespaces', project, 'imagestreams', stream, 'tags');
    const { query: q, sort, state, limit } = options;
    const listed = await readPages(session.api, path, streamTagSchema, { q, sort, state, limit });
    printAnswer(terminal, options, listed.whole, () => tagTable(listed.items, terminal.now()));
    if (options.output !== 'table') return;
    if (listed.items.length === 0) terminal.note(`${showReference({ ...references[0]! })} has no such tags.\n`);
    if (listed.hasMore) {
      const of = listed.total === undefined ? '' : ` of ${listed.total}`;
      terminal.note(`These are ${listed.items.length}${of}; --limit 0 lists all, and --query some.\n`);
    }
  });
}

/** `weir streams`: the image streams of a project. */
export function streamsCommand(terminal: Terminal): Command {
  const command = clientCommand('streams', {
    description: 'list the image streams (repositories) of a project',
    summary: 'list the streams of a project',
    examples: ['weir streams            of the current project', 'weir streams shop       of the project shop'],
  })
    .argument('[project]', 'the current one when left out')
    .option('--limit <count>', 'how many; 0 is all', parseCount(0), 100);
  return withClientOptions(command).action(
    async (named: string | undefined, options: ClientOptions & { readonly limit: number }) => {
      const { session, project } = await connectForProject(terminal, options, named);
      const path = apiPath('image.openshift.io', 'namespaces', project, 'imagestreams');
      const listed = await readPages(session.api, path, imageStreamSchema, { limit: options.limit });
      printAnswer(terminal, options, listed.whole, () =>
        formatTable({
          columns: ['STREAM', 'TAGS', 'CHANGED', 'REPOSITORY'],
          rows: listed.items.map(({ metadata, status }) => {
            const created = (status?.tags ?? []).map(({ items }) => items?.[0]?.created ?? '').sort();
            const changed = created.at(-1) ?? '';
            return [
              metadata.name.replaceAll('__', '/'),
              String(status?.tags?.length ?? 0),
              changed === '' ? '' : ageOf(changed, terminal.now()),
              status?.publicDockerImageRepository ?? status?.dockerImageRepository ?? '',
            ];
          }),
        }),
      );
      if (options.output !== 'table') return;
      if (listed.items.length === 0) terminal.note(`${project} has no image streams.\n`);
      if (listed.hasMore) terminal.note(`These are ${listed.items.length}; --limit 0 lists all.\n`);
    },
  );
}

function tagTable(tags: readonly StreamTag[], now: Date): string {
  return formatTable({
    columns: ['TAG', 'IMAGE', 'HOW', 'WHO', 'AGE', 'SIZE', 'PLATFORMS', 'VERSION', 'EVENTS', 'STATE'],
    rows: tags.map((tag) => [
      tag.tag,
      shortDigest(tag.image),
      tag.cause ?? '',
      actorName(tag.user),
      tag.changed ? ageOf(tag.changed, now) : '',
      formatSize(tag.size),
      (tag.platforms ?? []).join(','),
      tag.version ?? '',
      String(tag.events ?? ''),
      stateOf(tag),
    ]),
  });
}

function stateOf({ protectedBy, scheduled, failing }: StreamTag): string {
  const states = [
    protectedBy ? `protected by ${protectedBy}` : '',
    scheduled === true ? 'scheduled' : '',
    failing === true ? 'failing' : '',
  ];
  return states.filter((state) => state !== '').join(', ');
}
