import { readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { run, runRefused, type Command } from './support/command.js';
import { buildImage, buildIndex, contentOf, randomFiles, type Image } from './support/image.js';
import { readLayout, writeLayout } from './support/oci-layout.js';
import { fetchImage, fetchManifest, fetchTags, pushImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';
import { trustByDirectory } from './support/trust.js';

describeWithPrograms('skopeo', ['skopeo'], () => {
  const site = siteWithWeir();
  let certificates: string;
  let command: Command;
  let image: Image;
  const skopeo = (...args: readonly string[]): Promise<string> => run(installedProgram('skopeo'), args, command);

  beforeAll(async () => {
    certificates = trustByDirectory(site);
    command = { environment: { ...site.workspace.environment, REGISTRY_AUTH_FILE: site.workspace.path('auth.json') } };
    image = buildIndex([buildImage(randomFiles(3)), buildImage(randomFiles(2), 'arm64')]);
    await writeLayout(site.workspace.path('pushed'), 'v1', image);
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    const login = [
      'login',
      '--cert-dir',
      certificates,
      '--username',
      site.weir.username,
      '--password-stdin',
      site.weir.host,
    ];
    const refusal = await runRefused(installedProgram('skopeo'), login, { ...command, input: 'wrong' });
    expect(refusal).toMatch(/unauthorized|invalid username\/password/i);
    await run(installedProgram('skopeo'), login, { ...command, input: site.weir.password });
  });

  test('copies a multi-arch image from an OCI layout and back, bit for bit', async () => {
    const name = `docker://${site.weir.host}/skopeo/multi:v1`;
    await skopeo('copy', '--all', '--dest-cert-dir', certificates, `oci:${site.workspace.path('pushed')}:v1`, name);
    expect(contentOf(await fetchImage(site.weir, 'skopeo/multi', 'v1'))).toEqual(contentOf(image));

    await skopeo('copy', '--all', '--src-cert-dir', certificates, name, `oci:${site.workspace.path('pulled')}:v1`);
    expect(contentOf(await readLayout(site.workspace.path('pulled')))).toEqual(contentOf(image));
  });

  test('inspects an image by digest', async () => {
    const name = `docker://${site.weir.host}/skopeo/multi@${image.descriptor.digest}`;
    const raw = await skopeo('inspect', '--raw', '--cert-dir', certificates, name);
    expect(raw).toBe(image.manifests.get(image.descriptor.digest)?.toString('utf8'));
  });

  test('converts to the Docker format and deletes the result', async () => {
    const name = `docker://${site.weir.host}/skopeo/docker:v1`;
    const source = `docker://${site.weir.host}/skopeo/multi:v1`;
    const trust = ['--src-cert-dir', certificates, '--dest-cert-dir', certificates];
    await skopeo('copy', '--format', 'v2s2', ...trust, source, name);
    const { mediaType, digest } = await fetchManifest(site.weir, 'skopeo/docker', 'v1');
    expect(mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json');

    await skopeo('delete', '--cert-dir', certificates, name);
    await expect(fetchManifest(site.weir, 'skopeo/docker', digest)).rejects.toThrow(/404/);
  });

  test('synchronizes all tags of a repository to a directory and to another repository', async () => {
    const second = buildImage(randomFiles(1));
    await pushImage(site.weir, 'skopeo/many', 'one', image);
    await pushImage(site.weir, 'skopeo/many', 'two', second);
    const source = `${site.weir.host}/skopeo/many`;
    const directory = site.workspace.makeDirectory('synchronized');
    await skopeo(
      'sync',
      '--all',
      '--src-cert-dir',
      certificates,
      '--src',
      'docker',
      '--dest',
      'dir',
      source,
      directory,
    );
    expect(await readFile(`${directory}/many:two/manifest.json`)).toEqual(
      second.manifests.get(second.descriptor.digest),
    );

    const trust = ['--src-cert-dir', certificates, '--dest-cert-dir', certificates];
    await skopeo('sync', '--all', ...trust, '--src', 'docker', '--dest', 'docker', source, `${site.weir.host}/copies`);
    expect((await fetchTags(site.weir, 'copies/many')).sort()).toEqual(['one', 'two']);
    expect(contentOf(await fetchImage(site.weir, 'copies/many', 'one'))).toEqual(contentOf(image));
    expect(contentOf(await fetchImage(site.weir, 'copies/many', 'two'))).toEqual(contentOf(second));
  });
});
