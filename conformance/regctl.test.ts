import { beforeAll, expect, test } from 'vitest';
import { run, runRefused, type Command } from './support/command.js';
import { buildImage, buildIndex, contentOf, randomFiles, type Image } from './support/image.js';
import { readLayout, writeLayout } from './support/oci-layout.js';
import { fetchImage, fetchReferrers, fetchTags } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';

describeWithPrograms('regctl', ['regctl'], () => {
  const site = siteWithWeir();
  let command: Command;
  let image: Image;
  const regctl = (...args: readonly string[]): Promise<string> => run(installedProgram('regctl'), args, command);

  beforeAll(async () => {
    const { weir, workspace } = site;
    const environment = {
      REGCTL_CONFIG: workspace.path('regctl.json'),
      DOCKER_CONFIG: workspace.makeDirectory('docker'),
    };
    command = { environment: { ...workspace.environment, ...environment } };
    image = buildIndex([buildImage(randomFiles(3)), buildImage(randomFiles(2), 'arm64')]);
    await writeLayout(workspace.path('pushed'), 'v1', image);
    await regctl('registry', 'set', weir.host, '--skip-check', '--cacert', weir.caCertificate);
    // Chunks far below the size of a layer: uploads are then made of several PATCH requests.
    await regctl('registry', 'set', weir.host, '--skip-check', '--blob-chunk', '30000', '--blob-max', '50000');
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    const login = ['registry', 'login', site.weir.host, '--user', site.weir.username, '--pass-stdin'];
    const refusal = await runRefused(installedProgram('regctl'), login, { ...command, input: 'wrong' });
    expect(refusal).toMatch(/unauthorized|401/i);
    await run(installedProgram('regctl'), login, { ...command, input: site.weir.password });
  });

  test('copies a multi-arch image from an OCI layout in chunks and back, bit for bit', async () => {
    const { weir, workspace } = site;
    await regctl('image', 'copy', `ocidir://${workspace.path('pushed')}:v1`, `${weir.host}/regctl/multi:v1`);
    expect(contentOf(await fetchImage(weir, 'regctl/multi', 'v1'))).toEqual(contentOf(image));

    await regctl('image', 'copy', `${weir.host}/regctl/multi:v1`, `ocidir://${workspace.path('pulled')}:v1`);
    expect(contentOf(await readLayout(workspace.path('pulled')))).toEqual(contentOf(image));
  });

  test('shows the very bytes of a manifest', async () => {
    const raw = await regctl('manifest', 'get', '--format', 'raw-body', `${site.weir.host}/regctl/multi:v1`);
    expect(raw).toBe(image.manifests.get(image.descriptor.digest)?.toString('utf8'));
  });

  test('attaches an artifact, lists it, and copies it along with its subject', async () => {
    const { weir } = site;
    const artifactType = 'application/vnd.example.report';
    const put = ['artifact', 'put', '--artifact-type', artifactType, '--subject', `${weir.host}/regctl/multi:v1`];
    await run(installedProgram('regctl'), put, { ...command, input: 'all is well' });
    expect(await fetchReferrers(weir, 'regctl/multi', image.descriptor.digest)).toMatchObject([{ artifactType }]);
    expect(await regctl('artifact', 'list', `${weir.host}/regctl/multi:v1`)).toContain(artifactType);
    const get = [
      'artifact',
      'get',
      '--subject',
      `${weir.host}/regctl/multi:v1`,
      '--filter-artifact-type',
      artifactType,
    ];
    expect(await regctl(...get)).toBe('all is well');

    await regctl('image', 'copy', '--referrers', `${weir.host}/regctl/multi:v1`, `${weir.host}/regctl/copy:v1`);
    expect(await fetchReferrers(weir, 'regctl/copy', image.descriptor.digest)).toMatchObject([{ artifactType }]);
  });

  test('deletes a tag and leaves the manifest', async () => {
    const { weir } = site;
    await regctl('image', 'copy', `${weir.host}/regctl/multi:v1`, `${weir.host}/regctl/multi:v2`);
    await regctl('tag', 'delete', `${weir.host}/regctl/multi:v2`);
    expect(await fetchTags(weir, 'regctl/multi')).toEqual(['v1']);
    expect(await regctl('tag', 'ls', `${weir.host}/regctl/multi`)).toBe('v1\n');
  });
});
