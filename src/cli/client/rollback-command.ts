import type { Command } from 'commander';
import { apiPath, type ApiClient } from './api-client.js';
import {
  clientCommand,
  connectFor,
  parseCount,
  printAnswer,
  withClientOptions,
  withTag,
  type ClientOptions,
} from './client-command.js';
import { shortDigest } from './output.js';
import { plainText } from './plain-text.js';
import { withChangeOptions, type ChangeOptions } from './reason-option.js';
import { isDigestLike, showReference, type StreamReference } from './stream-reference.js';
import type { Terminal } from './terminal.js';
import { UsageError } from '../usage-error.js';
import { wholeDigest } from './whole-digest.js';
import { imageStreamTagSchema } from './wire.js';

interface RollbackOptions extends ClientOptions, ChangeOptions {
  readonly to?: string;
  readonly steps?: number;
}

/** Where a tag goes back to, as weir.dev/v1 TagRollback has it. */
type RollbackTarget = { readonly steps: number } | { readonly generation: number } | { readonly image: string };

/** `weir rollback`: makes a tag what it was. */
export function rollbackCommand(terminal: Terminal): Command {
  const command = clientCommand('rollback', {
    description:
      'make a tag the image that it was before; nothing is uploaded, and the rollback is an event like any other',
    summary: 'make a tag what it was before',
    examples: [
      'weir rollback shop/app:prod                   what it was before the last change',
      'weir rollback shop/app:prod --steps 2         before the last two',
      'weir rollback shop/app:prod --to 41           what event 41 of "weir history shop/app:prod" made it',
      'weir rollback shop/app:prod --to sha256:12ab34cd --reason "v2 loses orders"',
      'weir rollback shop/app:prod --dry-run         only say what would happen',
    ],
    notes: ['A tag that is imported on a schedule stays where it is until that is resumed.'],
  })
    .argument('<tag>', 'PROJECT/STREAM:TAG')
    .option('--to <event>', 'a number of its history, or a digest (the first digits will do)')
    .option('--steps <count>', 'how many changes to go back (1 when nothing is said)', parseCount(1));
  return withClientOptions(withChangeOptions(command)).action(async (text: string, options: RollbackOptions) => {
    const wanted = parseTarget(options);
    const { session, references } = await connectFor(terminal, options, [text]);
    const tag = withTag(references[0]!, text);
    const to = 'image' in wanted ? { image: await wholeDigest(session.api, tag, wanted.image) } : wanted;
    const body = { kind: 'TagRollback', apiVersion: 'weir.dev/v1', spec: { to, ...reasonOf(options) } };
    await change(terminal, options, { api: session.api, tag, subresource: 'rollback', body });
  });
}

/** `weir undelete`: brings a tag back. */
export function undeleteCommand(terminal: Terminal): Command {
  const command = clientCommand('undelete', {
    description: 'bring a deleted tag back, as it was and with its history',
    summary: 'bring a deleted tag back',
    examples: [
      'weir undelete shop/app:old                              as it was when it was deleted',
      'weir undelete shop/app:old --reason "still in use"',
      'weir history shop/app --cause delete                    which tags were deleted, and by whom',
    ],
  }).argument('<tag>', 'PROJECT/STREAM:TAG');
  return withClientOptions(withChangeOptions(command)).action(
    async (text: string, options: ClientOptions & ChangeOptions) => {
      const { session, references } = await connectFor(terminal, options, [text]);
      const tag = withTag(references[0]!, text);
      const body = { kind: 'TagUndelete', apiVersion: 'weir.dev/v1', spec: reasonOf(options) };
      await change(terminal, options, { api: session.api, tag, subresource: 'undelete', body });
    },
  );
}

async function change(
  terminal: Terminal,
  options: ClientOptions & ChangeOptions,
  {
    api,
    tag,
    subresource,
    body,
  }: {
    readonly api: ApiClient;
    readonly tag: StreamReference & { readonly tag: string };
    readonly subresource: 'rollback' | 'undelete';
    readonly body: object;
  },
): Promise<void> {
  const name = `${tag.stream}:${tag.tag}`;
  const path = apiPath('weir.dev', 'namespaces', tag.project, 'imagestreamtags', name, subresource);
  const { raw, value } = await api.post(path, imageStreamTagSchema, body, { isDryRun: options.dryRun });
  const said = options.dryRun === true ? 'would be' : 'is';
  const image = plainText(shortDigest(value.image?.metadata?.name));
  printAnswer(terminal, options, raw, () => `${showReference(tag)} ${said} ${image} again\n`);
  for (const digest of value.consequences?.untagged ?? []) {
    terminal.note(`No tag would point at ${plainText(shortDigest(digest))} any more.\n`);
  }
}

function parseTarget({ to, steps }: RollbackOptions): RollbackTarget {
  if (to === undefined) return { steps: steps ?? 1 };
  if (steps !== undefined) throw new UsageError('give either --to or --steps');
  if (isDigestLike(to)) return { image: to };
  if (/^[1-9]\d{0,14}$/.test(to)) return { generation: Number(to) };
  throw new UsageError(
    `"${to}" is nothing to go back to; expected a number of "weir history", or a digest as in sha256:12ab34cd`,
  );
}

function reasonOf({ reason }: ChangeOptions): { readonly reason?: string } {
  return reason === undefined ? {} : { reason };
}
