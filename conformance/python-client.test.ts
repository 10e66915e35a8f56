import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { fetchApiToken } from './support/api-token.js';
import { tryRun, type Command } from './support/command.js';
import { writeKubeconfig } from './support/kubeconfig.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';
import { addUser } from './support/users.js';

describeWithPrograms('the Python clients', ['openshift-python'], () => {
  const site = siteWithWeir();
  let command: Command;

  beforeAll(async () => {
    const { weir, workspace } = site;
    const dev = await addUser(site, 'dev');
    const users = [
      { name: 'admin', token: await fetchApiToken(weir), namespace: 'default' },
      { name: 'dev', token: await fetchApiToken(weir, dev), namespace: 'default' },
    ];
    command = {
      environment: {
        ...workspace.environment,
        KUBECONFIG: writeKubeconfig(site, users),
        // Unlike clients written in Go, these ask the proxy for loopback too.
        NO_PROXY: 'localhost',
        PYTHONDONTWRITEBYTECODE: '1',
      },
      workingDirectory: path.join(import.meta.dirname, 'python'),
    };
  });

  test.each([
    { client: 'openshift.dynamic', module: 'test_dynamic_client' },
    { client: 'kubernetes.client', module: 'test_core_client' },
  ])('$client does all that it promises', async ({ module }) => {
    const args = ['-m', 'unittest', '--verbose', module];
    const { exitCode, stdout, stderr } = await tryRun(installedProgram('openshift-python'), args, command);
    // unittest has its report on standard error.
    expect(stderr + stdout).toMatch(/\nRan \d\d tests in .*\n\nOK\n/);
    expect(exitCode).toBe(0);
  });
});
