import { Option, type Command } from 'commander';
import { ReasonError, parseReason } from '../../oci/reason.js';
import { UsageError } from '../usage-error.js';

/** Options of whatever changes a tag. */
export interface ChangeOptions {
  readonly reason?: string;
  readonly dryRun?: true;
}

/** Adds the options by which a change says why, and by which it is only tried. */
export function withChangeOptions(command: Command): Command {
  return withReasonOption(command).option('--dry-run', 'only say what would happen');
}

/** Adds the option by which a change says why. */
export function withReasonOption(command: Command): Command {
  return command.addOption(new Option('--reason <text>', 'why; it is kept in the history').argParser(reasonOf));
}

function reasonOf(text: string): string {
  try {
    const reason = parseReason(text);
    if (reason !== undefined) return reason;
  } catch (error) {
    if (!(error instanceof ReasonError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
  throw new UsageError('a reason is not empty; leave out --reason when there is none');
}
