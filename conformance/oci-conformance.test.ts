import { beforeAll, describe, expect, test } from 'vitest';
import { everythingOptional, runConformance, type ConformanceSummary } from './support/conformance-program.js';
import { bindRole, makeProject, openKubeApi } from './support/kube-api.js';
import { describeWithPrograms, siteWithWeir, type Site } from './support/suite.js';
import { addUser } from './support/users.js';

/** Where all of it happens: its user has a role there and nowhere else. */
const project = 'conformance';

describeWithPrograms('the official conformance program', ['conformance'], () => {
  describe('version 1.1 of the specification, with what it asks for by default', () => {
    const site = siteWithWeir({ sparse: '' });
    const summary = summaryOf(site, { OCI_VERSION: '1.1' });
    expectNothingBad(summary);
  });

  describe('what will be the next version, with all that is optional', () => {
    const site = siteWithWeir({ sparse: 'images,indexes' });
    const summary = summaryOf(site, everythingOptional);
    expectNothingBad(summary);
    test('no test is disabled', () => {
      expect(summary()['Disabled']).toBe(0);
    });
  });
});

function expectNothingBad(summary: () => ConformanceSummary): void {
  test.each(['FAIL', 'Error', 'Skip'])('no test ends with "%s"', (name) => {
    expect(summary()[name]).toBe(0);
  });
  test('more than 800 tests pass', () => {
    expect(summary()['Pass']).toBeGreaterThan(800);
  });
}

/** Runs the program before the tests of the enclosing suite. */
function summaryOf(site: Site, settings: Readonly<Record<string, string>>): () => ConformanceSummary {
  let summary: ConformanceSummary = {};
  beforeAll(async () => {
    const api = await openKubeApi(site.weir);
    await makeProject(api, project);
    const login = await addUser(site, 'editor');
    await bindRole(api, project, 'registry-editor', { user: login.username });
    summary = await runConformance(site, { project, login, settings });
  });
  return () => summary;
}
