import { tryRun } from './command.js';
import type { Login } from './api-token.js';
import { installedProgram, type Site } from './suite.js';

/** Counts of results by their name in the official program's summary. */
export type ConformanceSummary = Readonly<Record<string, number>>;

/** What the program is to do, and as whom. */
export interface ConformanceRun {
  /** A project in which the user may push and delete. */
  readonly project: string;
  readonly login: Login;
  /** `OCI_…` variables. */
  readonly settings: Readonly<Record<string, string>>;
  /** How the registry is called; the site's own name when left out. */
  readonly host?: string;
  /** Variables such as HTTPS_PROXY. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** All that the next version of the specification will ask for, with what is optional. */
export const everythingOptional = {
  OCI_VERSION: 'dev',
  OCI_API_BLOBS_DIGEST_HEADER: 'true',
  OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
  OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
  OCI_API_MANIFESTS_TAG_PARAM: 'true',
  OCI_DATA_SPARSE: 'true',
} as const;

/** Runs the official program, and shows what came of it: why, when something is not as it should be. */
export async function runConformance({ weir, workspace }: Site, run: ConformanceRun): Promise<ConformanceSummary> {
  const { project, login, settings, host = weir.host } = run;
  const environment = {
    ...workspace.environment,
    ...run.environment,
    ...settings,
    SSL_CERT_FILE: weir.caFile,
    OCI_TLS: 'enabled',
    OCI_REGISTRY: host,
    OCI_REPO1: `${project}/repo1`,
    OCI_REPO2: `${project}/repo2`,
    OCI_USERNAME: login.username,
    OCI_PASSWORD: login.password,
    OCI_RESULTS_DIR: workspace.makeDirectory('results'),
    // Its warnings name each failed test and the reason, on standard error.
    OCI_LOG: 'warn',
  };
  const outcome = await tryRun(installedProgram('conformance'), [], {
    environment,
    workingDirectory: workspace.directory,
  });
  const settingsText = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  console.log([`conformance ${settingsText.join(' ')}`, ...summaryLines(outcome.stdout)].join('\n'));
  const bad = badLines(outcome.stdout);
  if (outcome.exitCode !== 0 || bad.length > 0) console.error([...bad, outcome.stderr, weir.log()].join('\n'));
  return parseSummary(outcome.stdout);
}

/** Lines like `  Pass..........................:        728`. */
const countPattern = /^ {2}(\w+)\.+: +(\d+)$/;

function summaryLines(output: string): string[] {
  return output.split('\n').filter((line) => countPattern.test(line));
}

function parseSummary(output: string): ConformanceSummary {
  const counts = summaryLines(output).map((line) => countPattern.exec(line));
  return Object.fromEntries(counts.map((match) => [match?.[1] ?? '', Number(match?.[2])] as const));
}

/** What failed or was skipped, with the reasons that follow it. */
function badLines(output: string): string[] {
  return output.split('\n').filter((line) => /: (FAIL|Error|Skip)$|^ +- /.test(line));
}
