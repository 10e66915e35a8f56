import { Argument, type Command } from 'commander';
import { clientCommand } from './client-command.js';
import { completionScripts, type Completion, type Shell } from './completion-scripts.js';
import type { Terminal } from './terminal.js';

/** `weir completion`: a script that lets a shell complete commands and options. */
export function completionCommand(terminal: Terminal): Command {
  return clientCommand('completion', {
    description: 'print a script by which a shell completes commands and options',
    summary: 'complete commands in a shell',
    examples: [
      'source <(weir completion bash)                                in ~/.bashrc',
      'source <(weir completion zsh)                                 in ~/.zshrc, after compinit',
      'weir completion fish > ~/.config/fish/completions/weir.fish   once',
    ],
  })
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(completionScripts)))
    .action((shell: Shell, _options, command: Command) => {
      const completions = completionsOf(command.parent!, 'weir');
      terminal.print(completionScripts[shell](completions));
    });
}

/** The program itself comes first. */
function completionsOf(command: Command, name: string): readonly Completion[] {
  const help = command.createHelp();
  return [
    {
      command: name,
      subcommands: help
        .visibleCommands(command)
        .map((child) => ({ name: child.name(), description: child.summary() || child.description() })),
      options: help.visibleOptions(command).map(({ short, long, description, argChoices, required, optional }) => ({
        short,
        long,
        description,
        choices: argChoices ?? [],
        takesValue: required || optional,
      })),
    },
    ...command.commands.flatMap((child) => completionsOf(child, `${name} ${child.name()}`)),
  ];
}
