import { homedir } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';
import { Writable, type Readable } from 'node:stream';
import { UsageError } from '../usage-error.js';

/** Who calls a command, and from where. */
export interface Terminal {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The folder of the user. */
  readonly home: string;
  /** The number of the user, where the system has such; it names a folder that podman keeps credentials in. */
  readonly userId: number | undefined;
  readonly now: () => Date;
  /** What the command was asked for. */
  readonly print: (text: string) => void;
  /** What is said beside it, so that it does not end up in a file. */
  readonly note: (text: string) => void;
  /** @throws {UsageError} when nobody is there to answer */
  readonly ask: (question: string) => Promise<string>;
  /** As `ask`, and what is typed is not shown. */
  readonly askSecret: (question: string) => Promise<string>;
  /** All that is piped into the command, without the line end after it. */
  readonly readInput: () => Promise<string>;
}

/** More than any password has. */
const maxInputLength = 64 * 1024;

/** The terminal that the process was started from. */
export function processTerminal(environment: Terminal['environment']): Terminal {
  const dialogue = { input: process.stdin, output: process.stderr };
  return {
    environment,
    home: homedir(),
    userId: process.getuid?.(),
    now: () => new Date(),
    print: (printed) => {
      process.stdout.write(printed);
    },
    note: (noted) => {
      process.stderr.write(noted);
    },
    ask: (question) => askFor(dialogue, question, { isShown: true }),
    askSecret: (question) => askFor(dialogue, question, { isShown: false }),
    readInput: async () => {
      const input = await text(process.stdin);
      if (input.length > maxInputLength) throw new UsageError(`more than ${maxInputLength} characters of input`);
      return input.replace(/\r?\n$/, '');
    },
  };
}

/** Where somebody types, and where they read. */
export interface Dialogue {
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Writable;
}

/**
 * Asks somebody for a line.
 *
 * @param isShown whether what they type is to be seen
 * @throws {UsageError} when nobody is there, or they end it without an answer
 */
export async function askFor(
  { input, output }: Dialogue,
  question: string,
  { isShown }: { readonly isShown: boolean },
): Promise<string> {
  if (input.isTTY !== true) {
    throw new UsageError(`nobody is there to be asked "${question.trim()}"; give it on the command line or by pipe`);
  }
  if (!isShown) output.write(question);
  // readline shows what is typed by writing it here.
  const lines = createInterface({ input, output: isShown ? output : nowhere(), terminal: true });
  const ended = new Promise<never>((_resolve, reject) => {
    lines.once('close', () => {
      reject(new UsageError('nothing was answered'));
    });
  });
  try {
    return await Promise.race([lines.question(isShown ? question : ''), ended]);
  } finally {
    // Already answered or refused: what closing says is heard by nobody.
    ended.catch(() => undefined);
    lines.close();
    if (!isShown) output.write('\n');
  }
}

function nowhere(): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
}
