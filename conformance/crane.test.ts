import { beforeAll, expect, test } from 'vitest';
import { run, runRefused, type Command } from './support/command.js';
import { buildImage, buildIndex, contentOf, randomFiles, type Image } from './support/image.js';
import { readLayout, writeLayout } from './support/oci-layout.js';
import { fetchImage, fetchManifest, fetchTags } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';
import { trustByEnvironment } from './support/trust.js';

describeWithPrograms('crane', ['crane'], () => {
  const site = siteWithWeir();
  let command: Command;
  let image: Image;
  const crane = (...args: readonly string[]): Promise<string> => run(installedProgram('crane'), args, command);

  beforeAll(async () => {
    const environment = { DOCKER_CONFIG: site.workspace.makeDirectory('docker'), ...trustByEnvironment(site) };
    command = { environment: { ...site.workspace.environment, ...environment } };
    image = buildIndex([buildImage(randomFiles(3)), buildImage(randomFiles(2), 'arm64')]);
    await writeLayout(site.workspace.path('pushed'), 'v1', image);
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    const { weir, workspace } = site;
    const push = ['push', '--index', workspace.path('pushed'), `${weir.host}/crane/refused:v1`];
    const login = ['auth', 'login', weir.host, '--username', weir.username, '--password-stdin'];
    // crane writes the password down without asking the registry; the push is what fails.
    await run(installedProgram('crane'), login, { ...command, input: 'wrong' });
    expect(await runRefused(installedProgram('crane'), push, command)).toMatch(/UNAUTHORIZED|401/);
    await run(installedProgram('crane'), login, { ...command, input: weir.password });
  });

  test('pushes a multi-arch image from an OCI layout and pulls it back, bit for bit', async () => {
    const name = `${site.weir.host}/crane/multi:v1`;
    await crane('push', '--index', site.workspace.path('pushed'), name);
    expect(await crane('digest', name)).toBe(`${(await fetchManifest(site.weir, 'crane/multi', 'v1')).digest}\n`);

    // A push of a layout pushes its index.json, whose only entry is the image.
    const byDigest = `${site.weir.host}/crane/multi@${image.descriptor.digest}`;
    expect(contentOf(await fetchImage(site.weir, 'crane/multi', image.descriptor.digest))).toEqual(contentOf(image));
    await crane('pull', '--format', 'oci', byDigest, site.workspace.path('pulled'));
    expect(contentOf(await readLayout(site.workspace.path('pulled')))).toEqual(contentOf(image));
  });

  test('finds nothing to complain about in what it pushed', async () => {
    await crane('validate', '--remote', `${site.weir.host}/crane/multi@${image.descriptor.digest}`);
  });

  test('copies to another repository, tags, lists and deletes', async () => {
    const { weir } = site;
    await crane('copy', `${weir.host}/crane/multi@${image.descriptor.digest}`, `${weir.host}/crane/copy:v1`);
    await crane('tag', `${weir.host}/crane/copy:v1`, 'v2');
    expect(contentOf(await fetchImage(weir, 'crane/copy', 'v2'))).toEqual(contentOf(image));
    expect((await crane('ls', `${weir.host}/crane/copy`)).split('\n').filter(Boolean)).toEqual(['v1', 'v2']);
    expect((await crane('catalog', weir.host)).split('\n')).toContain('crane/copy');

    await crane('delete', `${weir.host}/crane/copy:v1`);
    expect(await fetchTags(weir, 'crane/copy')).toEqual(['v2']);
  });
});
