import { Option, type Command } from 'commander';
import { apiPath, type ApiClient, type WriteOptions } from './api-client.js';
import {
  clientCommand,
  connectFor,
  printAnswer,
  withClientOptions,
  withTag,
  projectOf,
  type ClientOptions,
} from './client-command.js';
import { ClientError } from './client-error.js';
import type { Session } from './connection.js';
import { shortDigest } from './output.js';
import { plainText } from './plain-text.js';
import { withChangeOptions, type ChangeOptions } from './reason-option.js';
import { hostOfReference, parseStreamReference, showReference, type StreamReference } from './stream-reference.js';
import type { Terminal } from './terminal.js';
import { UsageError } from '../usage-error.js';
import { anySchema, imageStreamTagSchema } from './wire.js';

interface TagOptions extends ClientOptions, ChangeOptions {
  readonly delete?: true;
  readonly alias?: true;
  readonly source?: 'stream' | 'registry';
  readonly scheduled?: true;
  readonly insecureSource?: true;
  readonly reference?: true;
  readonly referencePolicy?: string;
  readonly importMode?: string;
}

/** image.openshift.io/v1 TagReference, as `oc tag` sends it. */
type TagReferenceBody = Readonly<Record<string, unknown>>;

/** How often a tag is set again when somebody else changed it at the same moment; as often as `oc tag` tries. */
const attempts = 5;

/** `weir tag`: points a tag at an image. */
export function tagCommand(terminal: Terminal): Command {
  const command = clientCommand('tag', {
    description: 'point tags at an image; what they were stays in their history',
    summary: 'point tags at an image',
    examples: [
      'weir tag shop/app:v1 shop/app:prod                  prod becomes the image that v1 is now',
      'weir tag shop/app@sha256:12ab34cd shop/app:prod     an image by its digest',
      'weir tag shop/app:v1 live/app:v1 live/app:prod      into another project, no byte copied',
      'weir tag shop/app:v1 shop/app:prod --reason "release 12"',
      'weir tag --alias shop/app:v1 shop/app:stable        stable goes wherever v1 goes',
      'weir tag quay.io/team/app:v1 shop/app:v1            an image of another registry',
      'weir tag -d shop/app:old                            delete a tag (as weir untag)',
    ],
  })
    .argument('<source>', 'PROJECT/STREAM:TAG, PROJECT/STREAM@DIGEST, or an image of another registry')
    .argument('[targets...]', 'tags to point at it')
    .option('-d, --delete', 'delete the tags that are named instead')
    .option('--alias', 'follow the tag from now on, within its stream')
    .addOption(new Option('--source <kind>', 'what the source is').choices(['stream', 'registry']))
    .option('--scheduled', 'look at the other registry again and again')
    .option('--insecure-source', 'the other registry may have no certificate that is trusted')
    .option('--reference', 'only point at the other registry, and import nothing')
    .addOption(new Option('--reference-policy <where>', 'where it is pulled from').choices(['source', 'local']))
    .addOption(new Option('--import-mode <mode>', 'of an image for several platforms').choices(importModes));
  return withClientOptions(withChangeOptions(command)).action(
    async (source: string, targets: readonly string[], options: TagOptions) => {
      if (options.delete === true) await deleteTags(terminal, [source, ...targets], options);
      else if (targets.length === 0) throw new UsageError('name the tags to point at it: weir tag SOURCE TARGET...');
      else await setTags(terminal, source, targets, options);
    },
  );
}

/** What can be made of an image for several platforms: the one for this, or all of them. */
export const importModes = ['Legacy', 'PreserveOriginal'] as const;

/** `weir untag`: deletes tags. */
export function untagCommand(terminal: Terminal): Command {
  const command = clientCommand('untag', {
    description: 'delete tags; their images and their history stay for a time, and "weir undelete" brings a tag back',
    summary: 'delete tags',
    examples: [
      'weir untag shop/app:old                       delete a tag',
      'weir untag shop/app:a shop/app:b --reason "not used"',
      'weir untag shop/app:old --dry-run             only say what would happen',
      'weir undelete shop/app:old                    bring it back',
    ],
  }).argument('<tags...>', 'PROJECT/STREAM:TAG');
  return withClientOptions(withChangeOptions(command)).action(
    (tags: readonly string[], options: ClientOptions & ChangeOptions) => deleteTags(terminal, tags, options),
  );
}

async function deleteTags(
  terminal: Terminal,
  texts: readonly string[],
  options: ClientOptions & ChangeOptions,
): Promise<void> {
  const { session, references } = await connectFor(terminal, options, texts);
  const tags = references.map((reference, index) => withTag(reference, texts[index]!));
  for (const tag of tags) {
    const { raw } = await session.api.delete(tagPath(tag), anySchema, writeOptions(options));
    const said = options.dryRun === true ? 'would be deleted' : 'is deleted';
    printAnswer(terminal, options, raw, () => `${showReference(tag)} ${said}\n`);
  }
}

async function setTags(
  terminal: Terminal,
  sourceText: string,
  targetTexts: readonly string[],
  options: TagOptions,
): Promise<void> {
  const { session, references } = await connectFor(terminal, options, targetTexts);
  const targets = references.map((target, index) => withTag(target, targetTexts[index]!));
  const from = isOfRegistry(session, sourceText, options)
    ? registrySource(sourceText, options)
    : await streamSource(session, parseStreamReference(sourceText, projectOf(session, options)), { targets, options });
  for (const target of targets) {
    const { raw, value } = await putTag(session.api, target, from, writeOptions(options));
    const image = value.image?.metadata?.name ?? '';
    const said = options.dryRun === true ? 'would be' : 'is';
    const what = image === '' ? `to be imported from ${sourceText}` : shortDigest(image);
    printAnswer(terminal, options, raw, () => `${showReference(target)} ${said} ${plainText(what)}\n`);
  }
}

/** A source behind a host is of another registry, unless it is the server's own. */
function isOfRegistry({ api }: Session, text: string, { source }: TagOptions): boolean {
  if (source !== undefined) return source === 'registry';
  const host = hostOfReference(text);
  return host !== undefined && host !== api.host;
}

function registrySource(name: string, options: TagOptions): TagReferenceBody {
  if (options.alias === true) throw new UsageError('an alias follows a tag of the same stream, and no other registry');
  return {
    from: { kind: 'DockerImage', name },
    generation: 0,
    ...policies(options),
  };
}

/** The tag as it is now, by the digest of its image: a later change of it does not come along. */
async function streamSource(
  { api }: Session,
  source: StreamReference,
  { targets, options }: { readonly targets: readonly StreamReference[]; readonly options: TagOptions },
): Promise<TagReferenceBody> {
  const { project, stream, digest } = source;
  if (options.alias === true) return aliasSource(source, targets, options);
  const from = { kind: 'ImageStreamImage', namespace: project };
  const settings = { generation: null, ...policies(options) };
  if (digest !== undefined) return { from: { ...from, name: `${stream}@${digest}` }, ...settings };
  const tag = source.tag ?? 'latest';
  const { value } = await api.get(tagPath({ ...source, tag }), imageStreamTagSchema);
  const image = value.image?.metadata?.name ?? '';
  if (image !== '') return { from: { ...from, name: `${stream}@${image}` }, ...settings };
  const place = value.image?.dockerImageReference ?? '';
  if (place === '') throw new ClientError(`${showReference({ ...source, tag })} has no image yet`);
  return { from: { kind: 'DockerImage', name: place }, generation: 0, ...policies(options) };
}

function aliasSource(
  { project, stream, tag, digest }: StreamReference,
  targets: readonly StreamReference[],
  options: TagOptions,
): TagReferenceBody {
  if (digest !== undefined) throw new UsageError('an alias follows a tag; a digest never changes');
  if (targets.some((target) => target.project !== project || target.stream !== stream)) {
    throw new UsageError('an alias follows a tag of the same stream; leave out --alias, or name a tag of it');
  }
  return {
    from: { kind: 'ImageStreamTag', name: `${stream}:${tag ?? 'latest'}` },
    generation: 0,
    ...policies(options),
  };
}

function policies(options: TagOptions): TagReferenceBody {
  return {
    importPolicy: {
      importMode: options.importMode ?? 'Legacy',
      ...(options.scheduled === true && { scheduled: true }),
      ...(options.insecureSource === true && { insecure: true }),
    },
    referencePolicy: { type: options.referencePolicy === 'local' ? 'Local' : 'Source' },
    ...(options.reference === true && { reference: true }),
  };
}

/** Writes a tag as `oc tag` does: whatever it was before. */
async function putTag(
  api: ApiClient,
  target: StreamReference & { readonly tag: string },
  tagReference: TagReferenceBody,
  options: WriteOptions,
) {
  const { project, stream, tag } = target;
  const body = {
    kind: 'ImageStreamTag',
    apiVersion: 'image.openshift.io/v1',
    metadata: { name: `${stream}:${tag}`, namespace: project },
    tag: { name: tag, annotations: null, ...tagReference },
    generation: 0,
    lookupPolicy: { local: false },
    image: { metadata: {}, dockerImageMetadata: null },
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await api.put(tagPath(target), imageStreamTagSchema, body, options);
    } catch (error) {
      if (!(error instanceof ClientError) || error.status !== 409 || attempt === attempts) throw error;
    }
  }
}

/** Where a tag is in the API. */
export function tagPath({ project, stream, tag }: StreamReference & { readonly tag: string }): string {
  return apiPath('image.openshift.io', 'namespaces', project, 'imagestreamtags', `${stream}:${tag}`);
}

function writeOptions({ reason, dryRun }: ChangeOptions): WriteOptions {
  return { reason, isDryRun: dryRun };
}
