import type { Command } from 'commander';
import { apiPath } from './api-client.js';
import {
  clientCommand,
  connectForProject,
  parseCount,
  printAnswer,
  withClientOptions,
  type ClientOptions,
} from './client-command.js';
import { formatTable } from './output.js';
import { readPages } from './pages.js';
import { plainText } from './plain-text.js';
import type { Terminal } from './terminal.js';
import { UsageError } from '../usage-error.js';
import { anySchema, tagPolicySchema, type TagPolicy } from './wire.js';

/** Somebody, as a TagPolicy names those who need not keep to it. */
interface PolicySubject {
  readonly kind: 'User' | 'Group' | 'ServiceAccount';
  readonly name: string;
  /** Of a service account; the project's own when left out. */
  readonly namespace?: string;
}

interface NewPolicyOptions extends ClientOptions {
  readonly stream?: readonly string[];
  readonly override?: readonly PolicySubject[];
  readonly name?: string;
}

/** What a person does to a tag that a project can ask the reason of. */
const changes = ['tag', 'rollback', 'delete', 'push', 'import', 'undelete'];

/** `weir policy`: which tags may not move, what needs a reason, how much history is kept. */
export function policyCommand(terminal: Terminal): Command {
  const policy = clientCommand('policy', {
    description: 'say which tags of a project may not move, and what needs a reason',
    summary: 'protect tags, ask for reasons',
    examples: [
      "weir policy protect shop 'v*'                        nobody moves or deletes v1, v2, …",
      "weir policy protect shop 'v*' --stream app --override user:bob",
      'weir policy require-reason shop rollback delete      these need --reason',
      'weir policy keep shop 1000                           so many events of each tag',
      'weir policy list shop                                what there is',
      'weir policy remove shop NAME                         an end to one of them',
    ],
    notes: ['The rules count for everybody and every way: docker push, oc tag, imports, rollbacks and this program.'],
  });
  for (const child of [list, protect, requireReason, keep, remove]) policy.addCommand(child(terminal));
  return policy;
}

function list(terminal: Terminal): Command {
  const command = clientCommand('list', {
    description: 'list the policies of a project',
    examples: ['weir policy list shop', 'weir policy list shop -o yaml'],
  }).argument('[project]', 'the current one when left out');
  return withClientOptions(command).action(async (named: string | undefined, options: ClientOptions) => {
    const { session, project } = await connectForProject(terminal, options, named);
    const listed = await readPages(session.api, policiesPath(project), tagPolicySchema, { limit: 0 });
    printAnswer(terminal, options, listed.whole, () => policyTable(listed.items));
    if (listed.items.length === 0 && options.output === 'table') terminal.note(`${project} has no policies.\n`);
  });
}

function protect(terminal: Terminal): Command {
  const command = clientCommand('protect', {
    description: 'let nobody move or delete tags that match, once they are there',
    examples: [
      "weir policy protect shop 'v*'                       in every stream of shop",
      "weir policy protect shop 'v*' 'release-*' --stream app --stream 'lib-*'",
      "weir policy protect shop 'v*' --override user:bob --override group:releasers",
    ],
  })
    .argument('<project>', 'the project')
    .argument('<tags...>', 'names of tags, with * and ?')
    .option(
      '--override <subject>',
      'user:NAME, group:NAME or serviceaccount:[PROJECT/]NAME, who may all the same',
      collectSubject,
    );
  return withNewPolicyOptions(command).action((project: string, tags: readonly string[], options: NewPolicyOptions) => {
    const { override: overriddenBy = [] } = options;
    const protection = { tags, ...(overriddenBy.length > 0 && { overriddenBy }) };
    return create(terminal, { project, prefix: 'protect-', spec: { protect: [protection] }, options });
  });
}

function requireReason(terminal: Terminal): Command {
  const command = clientCommand('require-reason', {
    description: 'refuse changes of tags that say no reason',
    examples: [
      'weir policy require-reason shop rollback delete     in every stream of shop',
      'weir policy require-reason shop tag --stream app',
    ],
  })
    .argument('<project>', 'the project')
    .argument('<changes...>', changes.join(', '));
  return withNewPolicyOptions(command).action(
    (project: string, wanted: readonly string[], options: NewPolicyOptions) => {
      const unknown = wanted.find((change) => !changes.includes(change));
      if (unknown !== undefined) {
        throw new UsageError(`"${unknown}" is no change of a tag; expected some of ${changes.join(', ')}`);
      }
      return create(terminal, { project, prefix: 'reason-', spec: { requireReason: wanted }, options });
    },
  );
}

function keep(terminal: Terminal): Command {
  const command = clientCommand('keep', {
    description: 'keep so many events of each tag, and forget those before them',
    examples: ['weir policy keep shop 1000', "weir policy keep shop 50 --stream 'nightly-*'"],
  })
    .argument('<project>', 'the project')
    .argument('<events>', 'how many', parseCount(1));
  return withNewPolicyOptions(command).action((project: string, keepEvents: number, options: NewPolicyOptions) =>
    create(terminal, { project, prefix: 'keep-', spec: { keepEvents }, options }),
  );
}

function remove(terminal: Terminal): Command {
  const command = clientCommand('remove', {
    description: 'remove policies; what they kept from happening may happen again',
    examples: ['weir policy remove shop protect-x7k2p'],
  })
    .argument('<project>', 'the project')
    .argument('<names...>', 'as "weir policy list" shows them');
  return withClientOptions(command).action(
    async (named: string, policies: readonly string[], options: ClientOptions) => {
      const { session, project } = await connectForProject(terminal, options, named);
      for (const name of policies) {
        const { raw } = await session.api.delete(policiesPath(project, checkedName(name)), anySchema);
        printAnswer(terminal, options, raw, () => `policy ${name} of ${project} is removed\n`);
      }
    },
  );
}

function withNewPolicyOptions(command: Command): Command {
  return withClientOptions(
    command
      .option('--stream <name>', 'only in streams of this name, with * and ?; may be given again', collect)
      .option('--name <name>', 'what to call the policy'),
  );
}

async function create(
  terminal: Terminal,
  {
    project: named,
    prefix,
    spec,
    options,
  }: {
    readonly project: string;
    readonly prefix: string;
    readonly spec: object;
    readonly options: NewPolicyOptions;
  },
): Promise<void> {
  const { session, project } = await connectForProject(terminal, options, named);
  // A name that is asked for is the whole of it; otherwise the server makes one that nothing else has.
  const metadata = options.name === undefined ? { generateName: prefix } : { name: checkedName(options.name) };
  const streams = (options.stream ?? ['*']).map((stream) => stream.replaceAll('/', '__'));
  const { raw, value } = await session.api.post(policiesPath(project), tagPolicySchema, {
    kind: 'TagPolicy',
    apiVersion: 'weir.dev/v1',
    metadata: { ...metadata, namespace: project },
    spec: { streams, ...spec },
  });
  printAnswer(
    terminal,
    options,
    raw,
    () => `policy ${plainText(value.metadata.name)} counts in ${project} from now on\n`,
  );
}

function policiesPath(project: string, ...name: readonly string[]): string {
  return apiPath('weir.dev', 'namespaces', project, 'tagpolicies', ...name);
}

function policyTable(policies: readonly TagPolicy[]): string {
  return formatTable({
    columns: ['NAME', 'STREAMS', 'PROTECTED TAGS', 'EXCEPT FOR', 'REASON FOR', 'EVENTS KEPT'],
    rows: policies.map(({ metadata, spec }) => [
      metadata.name,
      (spec?.streams ?? ['*']).join(',').replaceAll('__', '/'),
      (spec?.protect ?? []).flatMap(({ tags }) => tags ?? []).join(','),
      (spec?.protect ?? [])
        .flatMap(({ overriddenBy }) => overriddenBy ?? [])
        .map(({ kind, name, namespace }) => `${kind.toLowerCase()}:${namespace ? `${namespace}/` : ''}${name}`)
        .join(','),
      (spec?.requireReason ?? []).join(','),
      String(spec?.keepEvents ?? ''),
    ]),
  });
}

function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

function collectSubject(text: string, before: readonly PolicySubject[] | undefined): readonly PolicySubject[] {
  return [...(before ?? []), parseSubject(text)];
}

function parseSubject(text: string): PolicySubject {
  const [, kind, name = ''] = /^(user|group|serviceaccount):(.+)$/.exec(text) ?? [];
  switch (kind) {
    case 'user':
      return { kind: 'User', name };
    case 'group':
      return { kind: 'Group', name };
    case 'serviceaccount': {
      const slash = name.indexOf('/');
      const namespace = slash === -1 ? {} : { namespace: name.slice(0, slash) };
      return { kind: 'ServiceAccount', ...namespace, name: name.slice(slash + 1) };
    }
    case undefined:
    default:
      throw new UsageError(`"${text}" is nobody; expected user:NAME, group:NAME or serviceaccount:[PROJECT/]NAME`);
  }
}

/** A name of an object (RFC 1123 subdomain). */
function checkedName(name: string): string {
  if (/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(name)) return name;
  throw new UsageError(`"${name}" is no name of a policy; expected a-z, 0-9, - and .`);
}
