import { Option, type Command } from 'commander';
import { apiPath, type ApiClient } from './api-client.js';
import { clientCommand, connectFor, printAnswer, withClientOptions, type ClientOptions } from './client-command.js';
import { ClientError } from './client-error.js';
import { formatTable, shortDigest } from './output.js';
import { plainText } from './plain-text.js';
import { withChangeOptions, type ChangeOptions } from './reason-option.js';
import { showReference, type StreamReference } from './stream-reference.js';
import { importModes } from './tag-command.js';
import type { Terminal } from './terminal.js';
import { UsageError } from '../usage-error.js';
import {
  imageStreamImportSchema,
  imageStreamSchema,
  type ImageStream,
  type ImageStreamImport,
  type ImportedImage,
  type TagReference,
} from './wire.js';

interface ImportOptions extends ClientOptions, ChangeOptions {
  readonly from?: string;
  readonly all?: true;
  readonly scheduled?: true;
  readonly insecureSource?: true;
  readonly referencePolicy?: string;
  readonly importMode?: string;
}

/** The annotation of a stream whose source may have no certificate that is trusted. */
const insecureAnnotation = 'openshift.io/image.insecureRepository';

/** `weir import`: fetches what other registries have. */
export function importCommand(terminal: Terminal): Command {
  const command = clientCommand('import', {
    description: 'look at another registry, and make tags what it has there; the stream is made when it is not there',
    summary: 'fetch tags of another registry',
    examples: [
      'weir import shop/redis:7 --from docker.io/library/redis:7   a tag from another registry',
      'weir import shop/redis:7                                    the same again, later',
      'weir import shop/redis:7 --scheduled                        again and again from now on',
      'weir import shop/redis --all --from docker.io/library/redis every tag there',
      'weir import shop/redis --all                                every tag that comes from elsewhere',
      'weir import shop/redis:7 --from docker.io/library/redis:7 --dry-run',
    ],
  })
    .argument('<reference>', 'PROJECT/STREAM:TAG; :latest when no tag is named')
    .option('--from <image>', 'HOST/NAME:TAG; where it came from last time when left out')
    .option('--all', 'every tag')
    .option('--scheduled', 'look again and again from now on')
    .option('--insecure-source', 'the other registry may have no certificate that is trusted')
    .addOption(new Option('--reference-policy <where>', 'where it is pulled from').choices(['source', 'local']))
    .addOption(new Option('--import-mode <mode>', 'of an image for several platforms').choices(importModes));
  return withClientOptions(withChangeOptions(command)).action(async (text: string, options: ImportOptions) => {
    const { session, references } = await connectFor(terminal, options, [text]);
    const reference = references[0]!;
    if (reference.digest !== undefined) throw new UsageError(`"${text}" names an image; name the tag to import into`);
    if (options.all === true && reference.tag !== undefined) {
      throw new UsageError(`with --all every tag is imported; leave out :${reference.tag}`);
    }
    const stream = await findStream(session.api, reference);
    const { raw, value } = await session.api.post(
      apiPath('image.openshift.io', 'namespaces', reference.project, 'imagestreamimports'),
      imageStreamImportSchema,
      importBody(reference, { stream, options }),
      { reason: options.reason },
    );
    printAnswer(terminal, options, raw, () => importTable(value));
    failIfAny(value, reference);
  });
}

async function findStream(api: ApiClient, { project, stream }: StreamReference): Promise<ImageStream | undefined> {
  try {
    const path = apiPath('image.openshift.io', 'namespaces', project, 'imagestreams', stream);
    return (await api.get(path, imageStreamSchema)).value;
  } catch (error) {
    if (error instanceof ClientError && error.status === 404) return undefined;
    throw error;
  }
}

/** image.openshift.io/v1 ImageStreamImport, as `oc import-image` sends it. */
function importBody(
  reference: StreamReference,
  { stream, options }: { readonly stream: ImageStream | undefined; readonly options: ImportOptions },
): object {
  const { resourceVersion } = stream?.metadata ?? {};
  const isWholeRepository = options.all === true && options.from !== undefined;
  return {
    kind: 'ImageStreamImport',
    apiVersion: 'image.openshift.io/v1',
    metadata: {
      name: reference.stream,
      namespace: reference.project,
      ...(resourceVersion && { resourceVersion }),
    },
    spec: {
      import: options.dryRun !== true,
      ...(isWholeRepository
        ? { repository: { from: { kind: 'DockerImage', name: options.from }, ...policies(options, stream, undefined) } }
        : { images: wantedTags(reference, { stream, options }) }),
    },
    status: {},
  };
}

function wantedTags(
  reference: StreamReference,
  { stream, options }: { readonly stream: ImageStream | undefined; readonly options: ImportOptions },
): readonly object[] {
  const tags = stream?.spec?.tags ?? [];
  const entry = (name: string, to: string, tag: TagReference | undefined): object => ({
    from: { kind: 'DockerImage', name },
    to: { name: to },
    ...policies(options, stream, tag),
  });
  if (options.all === true) {
    const imported = tags.filter(({ from }) => from?.kind === 'DockerImage');
    if (imported.length > 0) return imported.map((tag) => entry(tag.from!.name, tag.name, tag));
    throw new ClientError(`no tag of ${showReference(reference)} comes from another registry; name one with --from`);
  }
  const wanted = reference.tag ?? 'latest';
  if (options.from !== undefined)
    return [
      entry(
        options.from,
        wanted,
        tags.find(({ name }) => name === wanted),
      ),
    ];
  const source = importedTag(reference.stream, tags, wanted);
  if (source?.from) return [entry(source.from.name, source.name, source)];
  throw new ClientError(
    `${showReference({ ...reference, tag: wanted })} does not come from another registry; name one with --from`,
  );
}

/** The tag itself, or the one of the same stream that it follows. */
function importedTag(stream: string, tags: readonly TagReference[], name: string): TagReference | undefined {
  const seen = new Set<string>();
  for (let wanted = name; !seen.has(wanted);) {
    seen.add(wanted);
    const tag = tags.find((candidate) => candidate.name === wanted);
    if (tag?.from?.kind === 'DockerImage') return tag;
    if (tag?.from?.kind !== 'ImageStreamTag') return undefined;
    wanted = tag.from.name.startsWith(`${stream}:`) ? tag.from.name.slice(stream.length + 1) : tag.from.name;
  }
  return undefined;
}

/** What a tag was imported with stays as far as `oc import-image` keeps it. */
function policies(options: ImportOptions, stream: ImageStream | undefined, tag: TagReference | undefined): object {
  const isInsecure =
    options.insecureSource === true ||
    tag?.importPolicy?.insecure === true ||
    stream?.metadata.annotations?.[insecureAnnotation] === 'true';
  const isScheduled = options.scheduled === true || tag?.importPolicy?.scheduled === true;
  return {
    importPolicy: {
      importMode: options.importMode ?? 'Legacy',
      ...(isInsecure && { insecure: true }),
      ...(isScheduled && { scheduled: true }),
    },
    referencePolicy: { type: options.referencePolicy === 'local' ? 'Local' : 'Source' },
  };
}

function importTable({ status }: ImageStreamImport): string {
  const images = [...(status?.images ?? []), ...(status?.repository?.images ?? [])];
  const more = status?.repository?.additionalTags ?? [];
  return (
    formatTable({
      columns: ['TAG', 'RESULT', 'IMAGE', 'WHY'],
      rows: images.map((image) => [
        image.tag ?? '',
        hasFailed(image) ? 'failed' : 'imported',
        shortDigest(image.image?.metadata?.name),
        hasFailed(image) ? (image.status?.message ?? image.status?.reason ?? '') : '',
      ]),
    }) + (more.length > 0 ? `not imported, as there are too many at once: ${plainText(more.join(', '))}\n` : '')
  );
}

function failIfAny({ status }: ImageStreamImport, reference: StreamReference): void {
  const repository = status?.repository;
  if (repository?.status?.status === 'Failure' && (repository.images ?? []).length === 0) {
    throw new ClientError(
      `nothing was imported: ${plainText(repository.status.message ?? 'the server does not say why')}`,
    );
  }
  const failed = [...(status?.images ?? []), ...(repository?.images ?? [])].filter(hasFailed);
  if (failed.length === 0) return;
  const names = plainText(failed.map(({ tag }) => tag ?? '?').join(', '));
  throw new ClientError(`not everything was imported into ${showReference(reference)}: ${names} failed`);
}

function hasFailed({ status }: ImportedImage): boolean {
  return status?.status === 'Failure';
}
