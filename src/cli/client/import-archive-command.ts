import { open } from 'node:fs/promises';
import { finished, Transform, type Readable, type Writable } from 'node:stream';
import cliProgress from 'cli-progress';
import type { Command } from 'commander';
import { z } from 'zod';
import { UsageError } from '../usage-error.js';
import {
  clientCommand,
  connectFor,
  connectForProject,
  printAnswer,
  withClientOptions,
  type ClientOptions,
} from './client-command.js';
import { ClientError } from './client-error.js';
import type { Session } from './connection.js';
import type { StreamedBody } from './json-request.js';
import { formatSize, formatTable, shortDigest } from './output.js';
import { plainText } from './plain-text.js';
import { withReasonOption } from './reason-option.js';
import type { Terminal } from './terminal.js';

interface ImportArchiveOptions extends ClientOptions {
  readonly name?: string;
  readonly reason?: string;
}

/** Where an archive can come from beside files, and where it is shown how far it is. */
export interface ArchivePipes {
  readonly input: Readable & { readonly isTTY?: boolean };
  /** Nothing is shown when it is no terminal. */
  readonly output: Writable & { readonly isTTY?: boolean };
}

/** Which images are meant to be called what. */
interface ArchivePlace {
  readonly session: Session;
  readonly project: string;
  /** With its project; the archive says it when undefined. */
  readonly repository: string | undefined;
  readonly tag: string | undefined;
}

/** The answer of the server. */
const importedSchema = z.object({
  images: z.array(z.object({ repository: z.string(), tag: z.string(), digest: z.string(), mediaType: z.string() })),
  warnings: z.array(z.string()),
});

/** `weir import-archive`: sends what `docker save` and its like wrote. */
export function importArchiveCommand(
  terminal: Terminal,
  { input, output }: ArchivePipes = { input: process.stdin, output: process.stderr },
): Command {
  const command = clientCommand('import-archive', {
    description:
      'make images of an archive: of docker save, podman save, or an OCI image layout, as it is or compressed with gzip',
    summary: 'make images of an archive',
    examples: [
      'weir import-archive app.tar -n shop                        what docker save wrote, under its own names',
      'weir import-archive app.tar --name shop/app:v1             under another name',
      'docker save app:v1 | weir import-archive - -n shop         without a file between',
      'weir import-archive app.tar.gz -n shop --reason "from the old registry"',
    ],
    notes: ['Of a name like quay.io/team/app:v1 in the archive, app:v1 is kept.'],
  })
    .argument('<file>', 'the archive; - for what is piped in')
    .option('--name <stream>', 'STREAM[:TAG]; the archive says it when left out');
  return withClientOptions(withReasonOption(command)).action(async (file: string, options: ImportArchiveOptions) => {
    const place = await placeOf(terminal, options);
    const archive = file === '-' ? await pipedArchive(input) : await openArchive(file);
    const { raw, value } = await send(place, archive, { reason: options.reason, output });
    for (const warning of value.warnings) terminal.note(`warning: ${plainText(warning)}\n`);
    printAnswer(terminal, options, raw, () =>
      formatTable({
        columns: ['TAG', 'IMAGE', 'TYPE'],
        rows: value.images.map(({ repository, tag, digest, mediaType }) => [
          `${repository}:${tag}`,
          shortDigest(digest),
          mediaType,
        ]),
      }),
    );
  });
}

async function placeOf(terminal: Terminal, options: ImportArchiveOptions): Promise<ArchivePlace> {
  const { name } = options;
  if (name === undefined) {
    return { ...(await connectForProject(terminal, options, undefined)), repository: undefined, tag: undefined };
  }
  const { session, references } = await connectFor(terminal, options, [name]);
  const { project, stream, tag, digest } = references[0]!;
  if (digest !== undefined) throw new UsageError(`"${name}" names an image; name the stream and the tag it is to get`);
  return { session, project, repository: `${project}/${stream.replaceAll('__', '/')}`, tag };
}

async function openArchive(path: string): Promise<StreamedBody> {
  try {
    const file = await open(path);
    const stat = await file.stat();
    if (stat.isDirectory()) {
      await file.close();
      throw new UsageError(
        `${path} is a folder; expected an archive, as "tar -cf app.tar -C ${path} ." makes one of it`,
      );
    }
    // Of a pipe with a name nobody knows how much it will give.
    return { source: file.createReadStream(), size: stat.isFile() ? stat.size : undefined };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new ClientError(`the archive ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** Waits for the first byte: what pipes it in may take long to begin, and a server does not wait for ever. */
async function pipedArchive(input: ArchivePipes['input']): Promise<StreamedBody> {
  if (input.isTTY === true) throw new UsageError('nothing is piped in; give the archive as a file, or pipe it in');
  await new Promise<void>((resolve) => {
    const stop = finished(input, { writable: false }, () => {
      resolve();
    });
    input.once('readable', () => {
      stop();
      resolve();
    });
  });
  return { source: input, size: undefined };
}

async function send(
  { session, project, repository, tag }: ArchivePlace,
  { source, size }: StreamedBody,
  { reason, output }: { readonly reason: string | undefined; readonly output: ArchivePipes['output'] },
) {
  const bar = new cliProgress.SingleBar(
    {
      stream: output,
      format: size === undefined ? '{value}' : '[{bar}] {percentage}% of {total}',
      formatValue: (value, _options, type) => (type === 'percentage' ? String(value) : formatSize(value)),
      clearOnComplete: true,
      hideCursor: true,
    },
    cliProgress.Presets.legacy,
  );
  const counter = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      bar.increment(chunk.length);
      done(undefined, chunk);
    },
  });
  source.on('error', (error) => counter.destroy(error));
  const isShown = output.isTTY === true;
  if (isShown) bar.start(size ?? 0, 0);
  try {
    return await session.api.upload(
      `/extensions/weir/v1/projects/${encodeURIComponent(project)}/archives`,
      importedSchema,
      { source: source.pipe(counter), size, contentType: 'application/x-tar', query: { repository, tag }, reason },
    );
  } finally {
    if (isShown) bar.stop();
    source.destroy();
  }
}
