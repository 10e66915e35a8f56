import type { Command } from 'commander';
import { completionCommand } from './completion-command.js';
import { diffCommand } from './diff-command.js';
import { historyCommand } from './history-command.js';
import { importArchiveCommand } from './import-archive-command.js';
import { importCommand } from './import-command.js';
import { importRegistryCommand } from './import-registry-command.js';
import { loginCommand } from './login-command.js';
import { policyCommand } from './policy-command.js';
import { projectCommand, projectsCommand } from './projects-command.js';
import { rollbackCommand, undeleteCommand } from './rollback-command.js';
import { tagCommand, untagCommand } from './tag-command.js';
import { streamsCommand, tagsCommand } from './tags-command.js';
import type { Terminal } from './terminal.js';

/** The commands that speak to a server, in the order in which somebody meets them. */
export function clientCommands(terminal: Terminal): readonly Command[] {
  return [
    loginCommand(terminal),
    projectsCommand(terminal),
    projectCommand(terminal),
    streamsCommand(terminal),
    tagsCommand(terminal),
    historyCommand(terminal),
    diffCommand(terminal),
    tagCommand(terminal),
    untagCommand(terminal),
    rollbackCommand(terminal),
    undeleteCommand(terminal),
    importCommand(terminal),
    importArchiveCommand(terminal),
    importRegistryCommand(terminal),
    policyCommand(terminal),
    completionCommand(terminal),
  ];
}
