import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { clientCommands } from '../../../src/cli/client/commands.js';
import type { Terminal } from '../../../src/cli/client/terminal.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

/** What a command said. */
export interface Said {
  readonly stdout: string;
  readonly stderr: string;
}

/** Somebody at a terminal, with a folder of their own, who has answers ready for whatever they are asked. */
export class ClientTerminal {
  readonly home: string;
  readonly environment: Record<string, string>;
  /** What they type in turn, or pipe in. */
  readonly answers: string[] = [];
  /** What they were asked. */
  readonly questions: string[] = [];
  now = new Date('2026-05-01T12:00:00Z');

  private constructor(home: string) {
    this.home = home;
    this.environment = { XDG_RUNTIME_DIR: join(home, 'run') };
  }

  static async open(environment: Readonly<Record<string, string>> = {}): Promise<ClientTerminal> {
    const terminal = new ClientTerminal(await temporaryFolder());
    Object.assign(terminal.environment, environment);
    return terminal;
  }

  /** Below the home folder. */
  path(...parts: readonly string[]): string {
    return join(this.home, ...parts);
  }

  async write(path: string, text: string): Promise<string> {
    const whole = this.path(path);
    await mkdir(dirname(whole), { recursive: true });
    await writeFile(whole, text);
    return whole;
  }

  /** Runs a command as the program does; what it throws is thrown. */
  async weir(...args: readonly string[]): Promise<Said> {
    let stdout = '';
    let stderr = '';
    const answer = (question: string): Promise<string> => {
      this.questions.push(question);
      return Promise.resolve(this.answers.shift() ?? '');
    };
    const terminal: Terminal = {
      environment: this.environment,
      home: this.home,
      userId: 1000,
      now: () => this.now,
      print: (text) => (stdout += text),
      note: (text) => (stderr += text),
      ask: answer,
      askSecret: answer,
      readInput: () => answer('input'),
    };
    const program = new Command('weir').exitOverride();
    for (const command of clientCommands(terminal)) program.addCommand(inherit(command, program));
    program.configureOutput({ writeOut: (text) => (stdout += text), writeErr: (text) => (stderr += text) });
    for (const command of program.commands) inherit(command, program);
    try {
      await program.parseAsync(args, { from: 'user' });
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'commander.helpDisplayed')
        return { stdout, stderr };
      throw error;
    }
    return { stdout, stderr };
  }
}

function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
  return command;
}
