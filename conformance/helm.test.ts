import { readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { run, runRefused, type Command } from './support/command.js';
import { digestOf } from './support/image.js';
import { fetchManifest } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';

describeWithPrograms('helm', ['helm'], () => {
  const site = siteWithWeir();
  let command: Command;
  const helm = (...args: readonly string[]): Promise<string> => run(installedProgram('helm'), args, command);

  beforeAll(async () => {
    const { workspace } = site;
    workspace.writeFile('chart/Chart.yaml', 'apiVersion: v2\nname: little\nversion: 1.2.3\n');
    workspace.writeFile('chart/values.yaml', 'answer: 42\n');
    const template =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: little }\ndata: { answer: "{{ .Values.answer }}" }\n';
    workspace.writeFile('chart/templates/config-map.yaml', template);
    const environment = {
      HELM_CACHE_HOME: workspace.makeDirectory('helm/cache'),
      HELM_CONFIG_HOME: workspace.makeDirectory('helm/config'),
      HELM_DATA_HOME: workspace.makeDirectory('helm/data'),
      HELM_REGISTRY_CONFIG: workspace.path('helm', 'registry.json'),
      DOCKER_CONFIG: workspace.makeDirectory('docker'),
    };
    command = { environment: { ...workspace.environment, ...environment }, workingDirectory: workspace.directory };
    await helm('package', 'chart');
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    const { weir } = site;
    const login = [
      'registry',
      'login',
      weir.host,
      '--ca-file',
      weir.caFile,
      '--username',
      weir.username,
      '--password-stdin',
    ];
    const refusal = await runRefused(installedProgram('helm'), login, { ...command, input: 'wrong' });
    expect(refusal).toMatch(/unauthorized|401|denied/i);
    await run(installedProgram('helm'), login, { ...command, input: weir.password });
  });

  test('pushes a chart and pulls it back, bit for bit', async () => {
    const { weir, workspace } = site;
    const chart = await readFile(workspace.path('little-1.2.3.tgz'));
    await helm('push', 'little-1.2.3.tgz', `oci://${weir.host}/charts`, '--ca-file', weir.caFile);
    const { manifest } = await fetchManifest(weir, 'charts/little', '1.2.3');
    expect(manifest.config?.mediaType).toBe('application/vnd.cncf.helm.config.v1+json');
    expect(manifest.layers?.map((layer) => layer.digest)).toEqual([digestOf(chart)]);

    const name = `oci://${weir.host}/charts/little`;
    const destination = ['--destination', workspace.makeDirectory('pulled')];
    await helm('pull', name, '--version', '1.2.3', '--ca-file', weir.caFile, ...destination);
    expect(await readFile(workspace.path('pulled', 'little-1.2.3.tgz'))).toEqual(chart);
  });

  test('finds the newest version among the tags and renders the chart', async () => {
    const name = `oci://${site.weir.host}/charts/little`;
    expect(await helm('template', name, '--version', '^1.0.0', '--ca-file', site.weir.caFile)).toContain(
      'answer: "42"',
    );
  });
});
