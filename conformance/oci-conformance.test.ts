import { beforeAll, describe, expect, test } from 'vitest';
import { tryRun } from './support/command.js';
import { bindRole, makeProject, openKubeApi } from './support/kube-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir, type Site } from './support/suite.js';
import { addUser } from './support/users.js';

/** Where all of it happens: its user has a role there and nowhere else. */
const project = 'conformance';

/** Counts of results by their name in the official program's summary. */
type Summary = Readonly<Record<string, number>>;

describeWithPrograms('the official conformance program', ['conformance'], () => {
  describe('version 1.1 of the specification, with what it asks for by default', () => {
    const site = siteWithWeir({ sparse: '' });
    const summary = summaryOf(site, { OCI_VERSION: '1.1' });
    expectNothingBad(summary);
  });

  describe('what will be the next version, with all that is optional', () => {
    const site = siteWithWeir({ sparse: 'images,indexes' });
    const summary = summaryOf(site, {
      OCI_VERSION: 'dev',
      OCI_API_BLOBS_DIGEST_HEADER: 'true',
      OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
      OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
      OCI_API_MANIFESTS_TAG_PARAM: 'true',
      OCI_DATA_SPARSE: 'true',
    });
    expectNothingBad(summary);
    test('no test is disabled', () => {
      expect(summary()['Disabled']).toBe(0);
    });
  });
});

function expectNothingBad(summary: () => Summary): void {
  test.each(['FAIL', 'Error', 'Skip'])('no test ends with "%s"', (name) => {
    expect(summary()[name]).toBe(0);
  });
  test('more than 800 tests pass', () => {
    expect(summary()['Pass']).toBeGreaterThan(800);
  });
}

/** Runs the program before the tests of the enclosing suite. */
function summaryOf(site: Site, settings: Readonly<Record<string, string>>): () => Summary {
  let summary: Summary = {};
  beforeAll(async () => {
    const { weir, workspace } = site;
    const api = await openKubeApi(weir);
    await makeProject(api, project);
    const editor = await addUser(site, 'editor');
    await bindRole(api, project, 'registry-editor', { user: editor.username });
    const environment = {
      ...workspace.environment,
      ...settings,
      SSL_CERT_FILE: weir.caFile,
      OCI_TLS: 'enabled',
      OCI_REGISTRY: weir.host,
      OCI_REPO1: `${project}/repo1`,
      OCI_REPO2: `${project}/repo2`,
      OCI_USERNAME: editor.username,
      OCI_PASSWORD: editor.password,
      OCI_RESULTS_DIR: workspace.makeDirectory('results'),
      // Its warnings name each failed test and the reason, on standard error.
      OCI_LOG: 'warn',
    };
    const outcome = await tryRun(installedProgram('conformance'), [], {
      environment,
      workingDirectory: workspace.directory,
    });
    summary = parseSummary(outcome.stdout);
    const settingsText = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    console.log([`conformance ${settingsText.join(' ')}`, ...summaryLines(outcome.stdout)].join('\n'));
    const bad = badLines(outcome.stdout);
    if (outcome.exitCode !== 0 || bad.length > 0) console.error([...bad, outcome.stderr, weir.log()].join('\n'));
  });
  return () => summary;
}

/** Lines like `  Pass..........................:        728`. */
const countPattern = /^ {2}(\w+)\.+: +(\d+)$/;

function summaryLines(output: string): string[] {
  return output.split('\n').filter((line) => countPattern.test(line));
}

function parseSummary(output: string): Summary {
  const counts = summaryLines(output).map((line) => countPattern.exec(line));
  return Object.fromEntries(counts.map((match) => [match?.[1] ?? '', Number(match?.[2])] as const));
}

/** What failed or was skipped, with the reasons that follow it. */
function badLines(output: string): string[] {
  return output.split('\n').filter((line) => /: (FAIL|Error|Skip)$|^ +- /.test(line));
}
