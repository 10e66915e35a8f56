import { setMaxListeners } from 'node:events';
import type { Command } from 'commander';
import { UsageError } from '../usage-error.js';
import { clientCommand, parseCount, withServerOptions } from './client-command.js';
import { ClientError } from './client-error.js';
import { connect, type ConnectionOptions } from './connection.js';
import { withChangeOptions, type ChangeOptions } from './reason-option.js';
import { CopyDryRun } from './registry-copy-dry-run.js';
import { reasonOf } from './registry-copy-failures.js';
import { parseSourceAddress, RepositoryChoice } from './registry-copy-names.js';
import { barProgress, lineProgress, type CopyProgress } from './registry-copy-progress.js';
import { CopyReport } from './registry-copy-report.js';
import { CopyRun } from './registry-copy-run.js';
import { openSource, type SourceOptions } from './registry-copy-source.js';
import { FileCopyState, noCopyState } from './registry-copy-state.js';
import { CopiedProjects, pushLoginOf } from './registry-copy-target.js';
import { RegistryCopy } from './registry-copy.js';
import { StopError } from './registry-push-answer.js';
import { RegistryPush } from './registry-push.js';
import type { Terminal } from './terminal.js';

interface ImportRegistryOptions extends ConnectionOptions, ChangeOptions, SourceOptions {
  readonly repositories?: readonly string[];
  readonly tags?: string;
  readonly project?: string;
  readonly jobs: number;
  readonly state?: string;
}

const usualJobs = 4;
/** More would be a burden on any source. */
const maxJobs = 64;
/** Of large images it is the layers that take long. */
const blobsPerJob = 2;

/** `weir import-registry`: copies another registry, or a part of it. */
export function importRegistryCommand(terminal: Terminal): Command {
  const command = clientCommand('import-registry', {
    description: 'copy repositories with their tags, images, indexes, signatures and SBOMs from another registry',
    summary: 'copy another registry, or a part of it',
    examples: [
      'weir import-registry old.example                              everything it lists',
      'weir import-registry old.example/team                         what is in or below team',
      "weir import-registry old.example --repositories 'team/*' --tags 'v*'",
      'weir import-registry quay.io --repositories team/app --repositories team/web',
      'weir import-registry old.example --project archive            below one project: archive/team/app',
      'weir import-registry old.example --dry-run                    only say what would be copied',
      'weir import-registry old.example --state copied.db            a second run is faster',
      'weir import-registry old.example --source-username ci --source-password-stdin < secret',
    ],
    notes: [
      'team/app goes into the project team, which is made when you may, and app into the default project of the server.',
      'Run it again to go on after an interruption, or to fetch what is new: what is there is not sent again. With',
      '--state, images that are known to be whole are not looked through again, not even for new signatures.',
    ],
  })
    .argument('<url>', 'HOST, HOST:PORT or URL of the other registry, with /PATH for what is below')
    .option('--repositories <glob>', 'only these, as the registry names them (* and ?); may be given again', gather)
    .option('--tags <glob>', 'only these tags')
    .option('-n, --project <name>', 'put everything below this project')
    .option('--jobs <count>', 'images at once', parseJobs, usualJobs)
    .option('--state <file>', 'remember there what is copied')
    .option('--source-username <name>', 'who logs in to the other registry (as docker and podman do, when left out)')
    .option('--source-password-stdin', 'read the password for it from standard input')
    .option('--source-ca <file>', 'certificate of the authority that it is trusted by')
    .option('--source-hosts <host>', 'another host it sends clients to, as for tokens; may be given again', gather)
    .option('--insecure-source', 'it may have no certificate that is trusted, or speak plain HTTP');
  return withServerOptions(withChangeOptions(command)).action(async (url: string, options: ImportRegistryOptions) => {
    await importRegistry(terminal, url, options);
  });
}

async function importRegistry(terminal: Terminal, url: string, options: ImportRegistryOptions): Promise<void> {
  const address = parseSourceAddress(url);
  const choice = new RepositoryChoice(address.path, options.repositories ?? []);
  const interruption = new AbortController();
  const { signal } = interruption;
  // Everything under way waits for it.
  setMaxListeners(0, signal);
  const session = await connect(terminal, options, undefined);
  const { source, access } = await openSource(terminal, address, options, signal);
  const login = await pushLoginOf(terminal, options, session);
  const { reason, jobs, tags, project } = options;
  const connections = jobs * (blobsPerJob + 1);
  const target = new RegistryPush({ server: session.server, ...login, reason, connections, signal });
  const state = options.state === undefined || options.dryRun === true ? noCopyState : new FileCopyState(options.state);
  const progress = openProgress(terminal, options);
  const report = new CopyReport(progress);
  const isDryRun = options.dryRun === true;
  const projects = new CopiedProjects({ session, login, note: terminal.note, isDryRun });
  const dryRun = isDryRun ? new CopyDryRun({ source, access, target, ...terminal }) : undefined;
  const copy = new RegistryCopy({
    ...{ source, access, target, report, state },
    blobs: jobs * blobsPerJob,
    findsCosignTags: tags !== undefined,
  });
  const run = new CopyRun({
    ...{ source, access, address, choice, tags, project, jobs, report },
    ensureProject: async (name, repository) => {
      const isMade = await projects.ensure(name, () => target.checkMayPush(repository));
      if (isMade) report.say(`${isDryRun ? 'would make' : 'made'} the project ${name}`);
    },
    copyTag: (repository, tag) =>
      dryRun === undefined ? copy.copyTag(repository, tag) : dryRun.tellTag(repository, tag),
  });

  const interrupt = (): void => {
    interruption.abort();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  if (dryRun === undefined) progress.follow(report);
  const failure = await run
    .run()
    .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  progress.close();
  state.close();
  await Promise.all([target.close(), source.close()]);

  if (failure instanceof UsageError) throw failure;
  terminal.print(dryRun === undefined ? report.summary() : dryRun.summary());
  if (signal.aborted) {
    throw new ClientError(
      'interrupted; nothing is half done. Run the same again to go on: what is there is not sent again',
    );
  }
  if (failure instanceof StopError) throw new ClientError(`stopped: ${reasonOf(failure)}`, { cause: failure });
  if (failure instanceof Error) throw failure;
  if (report.failed > 0) throw new ClientError(`${report.failed} of what was wanted ${could(dryRun)} copied`);
}

function could(dryRun: CopyDryRun | undefined): string {
  return dryRun === undefined ? 'was not' : 'cannot be';
}

/** Bars where somebody watches; a dry run has its own lines. */
function openProgress({ note }: Terminal, { dryRun }: ImportRegistryOptions): CopyProgress {
  return process.stderr.isTTY && dryRun !== true ? barProgress(process.stderr) : lineProgress(note);
}

function gather(glob: string, globs: readonly string[] = []): readonly string[] {
  return [...globs, glob];
}

function parseJobs(text: string): number {
  const jobs = parseCount(1)(text);
  if (jobs <= maxJobs) return jobs;
  throw new UsageError(`${jobs} jobs are too many at once; at most ${maxJobs}`);
}
