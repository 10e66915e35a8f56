import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { run, runRefused, type Command } from './support/command.js';
import { contentOf, digestOf } from './support/image.js';
import { readLayout } from './support/oci-layout.js';
import { fetchImage, fetchManifest, fetchReferrers } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';

const artifactType = 'application/vnd.example.model';
const reportType = 'application/vnd.example.report';

describeWithPrograms('oras', ['oras'], () => {
  const site = siteWithWeir();
  let command: Command;
  let trust: readonly string[];
  let name: string;
  const oras = (...args: readonly string[]): Promise<string> => run(installedProgram('oras'), args, command);

  beforeAll(() => {
    const { weir, workspace } = site;
    // Without the second option oras would speak plain HTTP to anything called localhost.
    trust = ['--ca-file', weir.caFile, '--plain-http=false'];
    name = `${weir.host}/oras/artifact:v1`;
    workspace.writeFile('pushed/weights.bin', randomBytes(300_000));
    workspace.writeFile('pushed/empty.txt', '');
    workspace.writeFile('pushed/report.json', '{"verdict":"fine"}');
    const environment = { ...workspace.environment, DOCKER_CONFIG: workspace.makeDirectory('docker') };
    command = { environment, workingDirectory: workspace.path('pushed') };
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    const login = ['login', ...trust, '--username', site.weir.username, '--password-stdin', site.weir.host];
    const refusal = await runRefused(installedProgram('oras'), login, { ...command, input: 'wrong' });
    expect(refusal).toMatch(/unauthorized|401/i);
    await run(installedProgram('oras'), login, { ...command, input: site.weir.password });
  });

  test('pushes files as an artifact and pulls them back, bit for bit', async () => {
    const files = ['weights.bin:application/vnd.example.weights', 'empty.txt:text/plain'];
    await oras('push', ...trust, '--artifact-type', artifactType, name, ...files);
    const { manifest } = await fetchManifest(site.weir, 'oras/artifact', 'v1');
    const weights = await readFile(site.workspace.path('pushed', 'weights.bin'));
    expect(manifest.artifactType).toBe(artifactType);
    expect(manifest.layers?.map((layer) => layer.digest)).toEqual([digestOf(weights), digestOf(Buffer.alloc(0))]);

    await oras('pull', ...trust, '--output', site.workspace.path('pulled'), name);
    expect(await readFile(site.workspace.path('pulled', 'weights.bin'))).toEqual(weights);
    expect(await readFile(site.workspace.path('pulled', 'empty.txt'))).toEqual(Buffer.alloc(0));
  });

  test('attaches a report and discovers it, by its type too', async () => {
    await oras('attach', ...trust, '--artifact-type', reportType, name, 'report.json:application/json');
    const { digest } = await fetchManifest(site.weir, 'oras/artifact', 'v1');
    expect(await fetchReferrers(site.weir, 'oras/artifact', digest)).toMatchObject([{ artifactType: reportType }]);

    const discover = ['discover', ...trust, '--format', 'json', '--artifact-type'];
    expect(await oras(...discover, reportType, name)).toContain(reportType);
    expect(await oras(...discover, 'application/vnd.example.none', name)).not.toContain(reportType);
  });

  test('copies an artifact with all that refers to it to another repository', async () => {
    const copy = `${site.weir.host}/oras/copy:v1`;
    const from = ['--from-ca-file', site.weir.caFile, '--from-plain-http=false'];
    await oras('copy', '--recursive', ...from, '--to-ca-file', site.weir.caFile, '--to-plain-http=false', name, copy);
    const { digest } = await fetchManifest(site.weir, 'oras/artifact', 'v1');
    expect((await fetchManifest(site.weir, 'oras/copy', 'v1')).digest).toBe(digest);
    expect(await fetchReferrers(site.weir, 'oras/copy', digest)).toEqual(
      await fetchReferrers(site.weir, 'oras/artifact', digest),
    );
  });

  test('copies an artifact to an OCI layout, bit for bit', async () => {
    const layout = site.workspace.path('layout');
    const from = ['--from-ca-file', site.weir.caFile, '--from-plain-http=false'];
    await oras('copy', ...from, '--to-oci-layout', name, `${layout}:v1`);
    const stored = await fetchImage(site.weir, 'oras/artifact', 'v1');
    expect(contentOf(await readLayout(layout))).toEqual(contentOf(stored));
  });

  test('fetches a blob and deletes a manifest', async () => {
    const { manifest } = await fetchManifest(site.weir, 'oras/copy', 'v1');
    const blob = `${site.weir.host}/oras/copy@${manifest.layers?.[0]?.digest ?? ''}`;
    await oras('blob', 'fetch', ...trust, '--output', site.workspace.path('weights.bin'), blob);
    const weights = await readFile(site.workspace.path('pushed', 'weights.bin'));
    expect(await readFile(site.workspace.path('weights.bin'))).toEqual(weights);

    await oras('manifest', 'delete', ...trust, '--force', `${site.weir.host}/oras/copy:v1`);
    await expect(fetchManifest(site.weir, 'oras/copy', 'v1')).rejects.toThrow(/404/);
  });
});
