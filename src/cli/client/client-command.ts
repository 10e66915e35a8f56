import { Command, Option } from 'commander';
import { UsageError } from '../usage-error.js';
import { connect, type ConnectionOptions, type Session } from './connection.js';
import { formatAnswer, outputFormats, type OutputFormat } from './output.js';
import { hostOfReference, parseStreamReference, type StreamReference } from './stream-reference.js';
import type { Terminal } from './terminal.js';

/** What every command of the client can be told. */
export interface ClientOptions extends ConnectionOptions {
  readonly project?: string;
  readonly output: OutputFormat;
}

/** What a command is for, and lines to learn it from. */
export interface ClientCommandTexts {
  readonly description: string;
  /** The same in a few words, for the list of all commands. */
  readonly summary?: string;
  /** One a line, with what it does behind two spaces or more. */
  readonly examples: readonly string[];
  /** Further lines that whoever asks for help has to know. */
  readonly notes?: readonly string[];
}

/** A command of the client, with the options by which it finds its server. */
export function clientCommand(
  name: string,
  { description, summary = description, examples, notes = [] }: ClientCommandTexts,
): Command {
  const help = [...notes, ...(notes.length > 0 ? [''] : []), 'Examples:', ...examples.map((line) => `  ${line}`)];
  return new Command(name)
    .description(description)
    .summary(summary)
    .addHelpText('after', `\n${help.join('\n')}`);
}

/** The options that say which server is meant, and who asks. */
export function withServerOptions(command: Command): Command {
  const options = [
    new Option('--server <host>', 'the server, when not the one logged in to (also in WEIR_SERVER)'),
    new Option('--token <token>', 'an API token; others see it in the list of processes, but not in WEIR_TOKEN'),
    new Option('--ca <file>', 'certificate of the authority that the server is trusted by'),
    new Option('--insecure', 'trust whoever answers'),
  ];
  for (const option of options) command.addOption(option.helpGroup('Server:'));
  return command;
}

/** The options of a command about streams: their project, the form of the answer, and the server. */
export function withClientOptions(command: Command): Command {
  command
    .option('-n, --project <name>', 'the project of what is named without one')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(outputFormats).default('table'));
  return withServerOptions(command);
}

/** Prints an answer in the form that was asked for. */
export function printAnswer(
  terminal: Terminal,
  { output }: Pick<ClientOptions, 'output'>,
  whole: unknown,
  table: () => string,
): void {
  terminal.print(formatAnswer(output, whole, table));
}

/**
 * Opens a session for the streams that the command line names.
 *
 * @returns the references in the order of the texts
 * @throws {UsageError} when they are on more than one server
 */
export async function connectFor(
  terminal: Terminal,
  options: ClientOptions,
  texts: readonly string[],
): Promise<{ readonly session: Session; readonly references: readonly StreamReference[] }> {
  const hosts = new Set(texts.map(hostOfReference).filter((host) => host !== undefined));
  if (hosts.size > 1) throw new UsageError(`one command speaks to one server, and ${[...hosts].join(' and ')} are two`);
  // Before anything is sent, so that a slip is told of without a server.
  for (const text of texts) parseStreamReference(text, options.project ?? 'project');
  const session = await connect(terminal, options, [...hosts][0]);
  const project = projectOf(session, options);
  return { session, references: texts.map((text) => parseStreamReference(text, project)) };
}

/** Opens a session for a project: the one that is named, or else the one that is current. @throws {UsageError} when there is neither */
export async function connectForProject(
  terminal: Terminal,
  options: ClientOptions,
  named: string | undefined,
): Promise<{ readonly session: Session; readonly project: string }> {
  if (named !== undefined && options.project !== undefined && named !== options.project) {
    throw new UsageError(`the project is named twice, as ${named} and as ${options.project}`);
  }
  const session = await connect(terminal, options, undefined);
  const project = named ?? projectOf(session, options);
  if (project === undefined)
    throw new UsageError('no project is named; give --project NAME, or use "weir project NAME"');
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(project)) {
    throw new UsageError(`"${project}" is no name of a project; expected up to 63 characters a-z, 0-9 and -`);
  }
  return { session, project };
}

/** The project of what is named without one: as the command line says, or the current one of the server. */
export function projectOf({ context }: Session, { project }: Pick<ClientOptions, 'project'>): string | undefined {
  return project ?? context?.namespace;
}

/** A reference that names a tag. @throws {UsageError} when it does not */
export function withTag(reference: StreamReference, text: string): StreamReference & { readonly tag: string } {
  const { tag } = reference;
  if (tag === undefined)
    throw new UsageError(`"${text}" names no tag; write it behind a colon, as in ${text.split('@')[0]!}:latest`);
  return { ...reference, tag };
}

/** A whole number of at least `least`, as an option has it. */
export function parseCount(least: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (/^\d{1,15}$/.test(text) && count >= least) return count;
    throw new UsageError(`"${text}" is no count; expected a whole number from ${least} on`);
  };
}
