import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectFilesIn, makeBuildContext, type BuildContext } from './support/build-context.js';
import { run, runRefused } from './support/command.js';
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { buildImage, buildIndex, mediaTypes, randomFiles } from './support/image.js';
import { fetchImage, fetchManifest, pushImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir, skipLoudly } from './support/suite.js';

const obstacle = whyNoDockerEngine();
if (obstacle === undefined) describeWithPrograms('docker', ['docker', 'dockerd'], dockerSuite);
else skipLoudly('docker', obstacle);

function dockerSuite(): void {
  const site = siteWithWeir({ publicUrl: `https://${publicHost}` });
  const name = `${publicHost}/docker/app:v1`;
  let engine: DockerEngine;
  let context: BuildContext;

  beforeAll(async () => {
    engine = await startDockerEngine(site, 'engine');
    context = makeBuildContext(site.workspace, 'context');
  });
  afterAll(() => engine.stop());

  test('is refused with a wrong password, and let in with the right one', async () => {
    const login = ['login', '--username', site.weir.username, '--password-stdin', publicHost];
    const wrong = { ...engine.command, input: 'wrong' };
    expect(await runRefused(installedProgram('docker'), login, wrong)).toMatch(/unauthorized/i);
    const right = { ...engine.command, input: site.weir.password };
    expect(await run(installedProgram('docker'), login, right)).toContain('Login Succeeded');
  });

  test('builds and pushes, and pulls the same after all of it was removed', async () => {
    const { docker } = engine;
    await docker('build', '--tag', name, context.directory);
    const push = await docker('push', name);
    const stored = await fetchImage(site.weir, 'docker/app', 'v1');
    expect(stored.descriptor.mediaType).toBe(mediaTypes.dockerManifest);
    expect(push).toContain(`digest: ${stored.descriptor.digest}`);

    await docker('system', 'prune', '--all', '--force');
    expect(await docker('image', 'ls', '--quiet')).toBe('');
    await docker('pull', name);
    expect(await imageIdentity(name)).toEqual([
      `${publicHost}/docker/app@${stored.descriptor.digest}`,
      (await fetchManifest(site.weir, 'docker/app', 'v1')).manifest.config?.digest,
    ]);
    await expectFilesOf(name, context);
  });

  test('pulls by digest', async () => {
    const { digest } = await fetchManifest(site.weir, 'docker/app', 'v1');
    await engine.docker('system', 'prune', '--all', '--force');
    const pull = await engine.docker('pull', `${publicHost}/docker/app@${digest}`);
    expect(pull).toContain(digest);
  });

  test('pushes a second tag without uploading a layer again', async () => {
    await engine.docker('pull', name);
    await engine.docker('tag', name, `${publicHost}/docker/app:v2`);
    expect(await engine.docker('push', `${publicHost}/docker/app:v2`)).toContain('Layer already exists');
    expect((await fetchManifest(site.weir, 'docker/app', 'v2')).digest).toBe(
      (await fetchManifest(site.weir, 'docker/app', 'v1')).digest,
    );
  });

  test('mounts the layers into another repository', async () => {
    await engine.docker('tag', name, `${publicHost}/docker/other:v1`);
    expect(await engine.docker('push', `${publicHost}/docker/other:v1`)).toContain('Mounted from docker/app');
    const { digest } = (await fetchImage(site.weir, 'docker/other', 'v1')).descriptor;
    expect(digest).toBe((await fetchManifest(site.weir, 'docker/app', 'v1')).digest);
  });

  test('pulls the wanted platform of a multi-arch image in the OCI format', async () => {
    const arm64 = buildImage(randomFiles(2), 'arm64');
    const index = buildIndex([buildImage(randomFiles(2)), arm64]);
    await pushImage(site.weir, 'docker/multi', 'v1', index);
    const multi = `${publicHost}/docker/multi:v1`;
    await engine.docker('pull', '--platform', 'linux/arm64', multi);
    const [config] = arm64.blobs.keys();
    expect(await imageIdentity(multi)).toEqual([`${publicHost}/docker/multi@${index.descriptor.digest}`, config]);
  });

  async function imageIdentity(image: string): Promise<string[]> {
    const format = '{{index .RepoDigests 0}} {{.Id}}';
    return (await engine.docker('image', 'inspect', '--format', format, image)).trim().split(' ');
  }

  async function expectFilesOf(image: string, expected: BuildContext): Promise<void> {
    const container = (await engine.docker('create', image)).trim();
    const copy = site.workspace.makeDirectory('files');
    await engine.docker('cp', `${container}:/.`, copy);
    await engine.docker('rm', container);
    await expectFilesIn(copy, expected);
  }
}
