import { Option, type Command } from 'commander';
import { ClientError } from './client-error.js';
import { apiPath } from './api-client.js';
import { clientCommand, printAnswer, withServerOptions } from './client-command.js';
import { connect, type ConnectionOptions } from './connection.js';
import { formatTable, outputFormats, type OutputFormat } from './output.js';
import { readPages } from './pages.js';
import { plainText } from './plain-text.js';
import type { Terminal } from './terminal.js';
import { UsageError } from '../usage-error.js';
import { projectSchema } from './wire.js';

/** `weir projects`: what one may see, and where one is. */
export function projectsCommand(terminal: Terminal): Command {
  const command = clientCommand('projects', {
    description: 'list the projects you may see; * marks the one that commands use when none is named',
    summary: 'list the projects you may see',
    examples: [
      'weir projects             every project with its display name',
      'weir projects -o json     the same for a program',
      'weir project NAME         use another one from now on',
    ],
  }).addOption(new Option('-o, --output <format>', 'form of the answer').choices(outputFormats).default('table'));
  return withServerOptions(command).action(async (options: ConnectionOptions & { readonly output: OutputFormat }) => {
    const { api, context } = await connect(terminal, options, undefined);
    const listed = await readPages(api, apiPath('project.openshift.io', 'projects'), projectSchema, { limit: 0 });
    printAnswer(terminal, options, listed.whole, () =>
      formatTable({
        columns: ['', 'NAME', 'DISPLAY NAME', 'STATUS'],
        rows: listed.items.map(({ metadata, status }) => [
          metadata.name === context?.namespace ? '*' : '',
          metadata.name,
          metadata.annotations?.['openshift.io/display-name'] ?? '',
          status?.phase ?? '',
        ]),
      }),
    );
    if (listed.items.length === 0) terminal.note('There is no project that you may see.\n');
  });
}

/** `weir project`: which one is used when none is named. */
export function projectCommand(terminal: Terminal): Command {
  const command = clientCommand('project', {
    description: 'say which project is current, or make another one current, also for oc and kubectl',
    summary: 'say which project is current, or change that',
    examples: ['weir project            say which one is current', 'weir project team-a     use team-a from now on'],
  }).argument('[name]', 'the project to use');
  return withServerOptions(command).action(async (name: string | undefined, options: ConnectionOptions) => {
    const { api, server, context, kubeconfig } = await connect(terminal, options, undefined);
    if (name === undefined) {
      if (context?.namespace === undefined) throw new UsageError('no project is current; use "weir project NAME"');
      terminal.print(`${plainText(context.namespace)}\n`);
      return;
    }
    if (context === undefined) {
      throw new ClientError(
        `there is no login to ${server.host} to keep the project in; use "weir login ${server.host}"`,
      );
    }
    const { value } = await api.get(apiPath('project.openshift.io', 'projects', name), projectSchema);
    await kubeconfig.switchProject(context, value.metadata.name);
    terminal.print(`Using project ${plainText(value.metadata.name)} on ${server.host}.\n`);
  });
}
