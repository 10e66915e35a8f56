import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectFilesIn, makeBuildContext, type BuildContext } from './support/build-context.js';
import { run } from './support/command.js';
import { makeContainerStorage, type ContainerStorage } from './support/container-storage.js';
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { contentOf, type Image } from './support/image.js';
import { readLayout } from './support/oci-layout.js';
import { fetchImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir, skipLoudly } from './support/suite.js';

const obstacle = whyNoDockerEngine();
if (obstacle === undefined)
  describeWithPrograms('across clients', ['docker', 'dockerd', 'podman', 'skopeo'], mixedSuite);
else skipLoudly('across clients', obstacle);

function mixedSuite(): void {
  const site = siteWithWeir({ publicUrl: `https://${publicHost}` });
  let engine: DockerEngine;
  let storage: ContainerStorage;
  let context: BuildContext;
  const podman = (...args: readonly string[]): Promise<string> =>
    run(installedProgram('podman'), [...storage.options('store'), ...args], storage.command);
  const trust = (): string[] => ['--cert-dir', storage.certificates];

  beforeAll(async () => {
    const { weir } = site;
    engine = await startDockerEngine(site, 'engine');
    storage = makeContainerStorage(site, { HTTPS_PROXY: engine.proxyUrl });
    context = makeBuildContext(site.workspace, 'context');
    const login = ['login', '--username', weir.username, '--password-stdin'];
    await run(installedProgram('docker'), [...login, publicHost], { ...engine.command, input: weir.password });
    const podmanLogin = [...storage.options('store'), ...login, ...trust(), publicHost];
    await run(installedProgram('podman'), podmanLogin, { ...storage.command, input: weir.password });
  });
  afterAll(() => engine.stop());

  test('podman and skopeo pull what docker pushed', async () => {
    const { weir, workspace } = site;
    await engine.docker('build', '--tag', `${publicHost}/mixed/from-docker:v1`, context.directory);
    await engine.docker('push', `${publicHost}/mixed/from-docker:v1`);
    const stored = await fetchImage(weir, 'mixed/from-docker', 'v1');

    const name = `${publicHost}/mixed/from-docker:v1`;
    await podman('pull', ...trust(), name);
    expect(await podman('image', 'inspect', '--format', '{{.Digest}}', name)).toBe(`${stored.descriptor.digest}\n`);
    await expectFilesIn((await podman('image', 'mount', name)).trim(), context);

    // A "dir:" keeps the Docker format as it is; an OCI layout would not.
    const copy = ['copy', '--preserve-digests', '--src-cert-dir', storage.certificates];
    await run(
      installedProgram('skopeo'),
      [...copy, `docker://${name}`, `dir:${workspace.makeDirectory('pulled')}`],
      storage.command,
    );
    await expectDirectoryToHold(workspace.path('pulled'), stored);
  });

  test('docker pulls what podman pushed, and skopeo copies it bit for bit', async () => {
    const { weir, workspace } = site;
    const name = `${publicHost}/mixed/from-podman:v1`;
    await podman('build', '--isolation', 'chroot', '--tag', name, context.directory);
    await podman('push', ...trust(), '--format', 'oci', name);
    const stored = await fetchImage(weir, 'mixed/from-podman', 'v1');

    const pull = await engine.docker('pull', `${publicHost}/mixed/from-podman:v1`);
    expect(pull).toContain(`Digest: ${stored.descriptor.digest}`);
    const copy = ['copy', '--preserve-digests', '--src-cert-dir', storage.certificates];
    await run(
      installedProgram('skopeo'),
      [...copy, `docker://${name}`, `oci:${workspace.path('layout')}:v1`],
      storage.command,
    );
    expect(contentOf(await readLayout(workspace.path('layout')))).toEqual(contentOf(stored));
  });
}

/** Expects the manifest and every blob of an image in skopeo's "dir:" form, where a blob's file is named by its hex digest. */
async function expectDirectoryToHold(directory: string, image: Image): Promise<void> {
  expect(await readFile(`${directory}/manifest.json`)).toEqual(image.manifests.get(image.descriptor.digest));
  for (const [digest, blob] of image.blobs) {
    expect((await readFile(`${directory}/${digest.replace('sha256:', '')}`)).equals(blob), digest).toBe(true);
  }
}
