import { run, runRefused, tryRun, type Command, type Outcome } from './command.js';
import type { Site } from './suite.js';
import { trustByEnvironment } from './trust.js';

/** One program, run by a user who has a home and a kubeconfig of their own. */
export interface Terminal {
  /** Runs it; it must succeed. @returns its standard output */
  run(...args: readonly string[]): Promise<string>;
  /** Runs it; it must fail. @returns all its output */
  refused(...args: readonly string[]): Promise<string>;
  /** Runs it to whatever end. */
  tried(...args: readonly string[]): Promise<Outcome>;
  /** Runs it with an editor that is a shell command, to which the name of a file is added. */
  edit(editor: string, ...args: readonly string[]): Promise<string>;
  /** Runs it with something on its standard input. */
  given(input: string, ...args: readonly string[]): Promise<string>;
  readonly program: string;
  readonly command: Command;
}

/**
 * Opens a terminal while Weir runs.
 *
 * @param name of who sits at it: the same name is the same home
 * @param kubeconfig one of their own, empty at first, when left out
 */
export function openTerminal(site: Site, program: string, name: string, kubeconfig?: string): Terminal {
  const { workspace } = site;
  const command: Command = {
    environment: {
      ...workspace.environment,
      ...trustByEnvironment(site),
      HOME: workspace.makeDirectory(`home-${name}`),
      XDG_RUNTIME_DIR: workspace.makeDirectory(`home-${name}/run`),
      KUBECONFIG: kubeconfig ?? workspace.path(`home-${name}`, 'config'),
    },
    workingDirectory: workspace.directory,
  };
  return {
    program,
    command,
    run: (...args) => run(program, args, command),
    refused: (...args) => runRefused(program, args, command),
    tried: (...args) => tryRun(program, args, command),
    given: (input, ...args) => run(program, args, { ...command, input }),
    edit: (editor, ...args) =>
      run(program, args, { ...command, environment: { ...command.environment, KUBE_EDITOR: editor, EDITOR: editor } }),
  };
}
