import type { Command } from 'commander';
import { apiPath } from './api-client.js';
import {
  clientCommand,
  connectFor,
  parseCount,
  printAnswer,
  withClientOptions,
  withTag,
  type ClientOptions,
} from './client-command.js';
import { ClientError } from './client-error.js';
import type { Session } from './connection.js';
import { formatComparison } from './comparison-text.js';
import { readPages } from './pages.js';
import { showReference, type StreamReference } from './stream-reference.js';
import type { Terminal } from './terminal.js';
import { UsageError } from '../usage-error.js';
import { wholeDigest } from './whole-digest.js';
import { imageComparisonSchema, tagEventSchema } from './wire.js';

interface DiffOptions extends ClientOptions {
  readonly from?: number;
  readonly to?: number;
  readonly platform?: string;
}

/** `weir diff`: what is different between two images. */
export function diffCommand(terminal: Terminal): Command {
  const command = clientCommand('diff', {
    description:
      'tell how two images of a stream differ: settings, environment, labels, and layers with their commands',
    summary: 'tell how two images differ',
    examples: [
      'weir diff shop/app:v1 shop/app:v2                  two tags',
      'weir diff shop/app:prod                            what the last change of a tag changed',
      'weir diff shop/app:prod --from 41 --to 44          two events of "weir history shop/app:prod"',
      'weir diff shop/app:prod --from 41                  an event, and what the tag is now',
      'weir diff shop/app@sha256:12ab34cd shop/app:prod   an image and a tag',
      'weir diff shop/app:v1 shop/app:v2 --platform linux/arm64',
    ],
  })
    .argument('<reference>', 'PROJECT/STREAM:TAG or PROJECT/STREAM@DIGEST')
    .argument('[other]', 'the one to compare with, of the same stream')
    .option('--from <event>', 'the event to begin with, of the one tag that is named', parseCount(1))
    .option('--to <event>', 'the event to compare with; what the tag is now when left out', parseCount(1))
    .option('--platform <platform>', 'only this one of images for several, as in linux/arm64');
  return withClientOptions(command).action(async (text: string, other: string | undefined, options: DiffOptions) => {
    if (other !== undefined && (options.from !== undefined || options.to !== undefined)) {
      throw new UsageError('--from and --to are events of one tag; name one tag, or two without them');
    }
    const texts = other === undefined ? [text] : [text, other];
    const { session, references } = await connectFor(terminal, options, texts);
    const { project, stream } = references[0]!;
    const [from, to] =
      references.length === 2
        ? await twoSides(session, references[0]!, references[1]!)
        : await eventSides(session, withTag(references[0]!, text), options);
    const path = apiPath('weir.dev', 'namespaces', project, 'imagestreams', stream, 'compare');
    const query = { from, to, platform: options.platform };
    const { raw, value } = await session.api.get(path, imageComparisonSchema, query);
    printAnswer(terminal, options, raw, () => formatComparison(value, { from, to }));
  });
}

async function twoSides(
  session: Session,
  from: StreamReference,
  to: StreamReference,
): Promise<readonly [string, string]> {
  if (from.project !== to.project || from.stream !== to.stream) {
    throw new UsageError(
      `images of one stream can be compared, and ${showReference({ ...from, tag: undefined, digest: undefined })} and ` +
        `${showReference({ ...to, tag: undefined, digest: undefined })} are two; ` +
        'tag one of the images into the other stream first',
    );
  }
  for (const { tag, digest, ...stream } of [from, to]) {
    if (tag === undefined && digest === undefined) {
      throw new UsageError(`${showReference({ ...stream, tag, digest })} is a stream; name a tag or an image of it`);
    }
  }
  return [await sideOf(session, from), await sideOf(session, to)];
}

async function sideOf({ api }: Session, reference: StreamReference): Promise<string> {
  return reference.tag ?? wholeDigest(api, reference, reference.digest ?? '');
}

async function eventSides(
  { api }: Session,
  { project, stream, tag }: StreamReference & { readonly tag: string },
  { from, to }: DiffOptions,
): Promise<readonly [string, string]> {
  const sideAt = (event: number | undefined): string => (event === undefined ? tag : `${tag}@${event}`);
  if (from !== undefined) return [sideAt(from), sideAt(to)];
  if (to !== undefined) throw new UsageError('--to needs a --from to be compared with');
  const path = apiPath('weir.dev', 'namespaces', project, 'imagestreamtags', `${stream}:${tag}`, 'history');
  const { items } = await readPages(api, path, tagEventSchema, { limit: 2 });
  const before = items[1]?.generation ?? undefined;
  if (before === undefined) {
    throw new ClientError(
      `${project}/${stream}:${tag} has changed less than twice; name another image to compare it with`,
    );
  }
  return [sideAt(before), sideAt(items[0]?.generation ?? undefined)];
}
