import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import { fetchApiToken } from './support/api-token.js';
import { expectFilesIn, makeBuildContext, type BuildContext } from './support/build-context.js';
import { run, runRefused, type Command } from './support/command.js';
import { makeContainerStorage, type ContainerStorage } from './support/container-storage.js';
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { buildImage, buildIndex, contentOf, digestOf, mediaTypes, randomFiles } from './support/image.js';
import { writeLayout } from './support/oci-layout.js';
import { fetchImage, fetchManifest, pushImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir, skipLoudly, type Site } from './support/suite.js';

/** What `weir import-archive -o json` says. */
interface Imported {
  readonly images: readonly { readonly repository: string; readonly tag: string; readonly digest: string }[];
  readonly warnings: readonly string[];
}

const uncompressed = 'application/vnd.oci.image.layer.v1.tar';

/** The command as somebody calls it who has logged in. */
async function importCommand(site: Site): Promise<(...args: readonly string[]) => Promise<Imported>> {
  const { weir, workspace } = site;
  const command: Command = { environment: { ...workspace.environment, WEIR_TOKEN: await fetchApiToken(weir) } };
  const connection = ['--server', weir.host, '--ca', weir.caFile, '-o', 'json'];
  return async (...args) => {
    const words = [path.join(root, 'bin', 'weir.cjs'), 'import-archive', ...args, ...connection];
    return JSON.parse(await run(process.execPath, words, command)) as Imported;
  };
}

describeWithPrograms('archives of podman and skopeo', ['podman', 'skopeo'], () => {
  const site = siteWithWeir();
  let storage: ContainerStorage;
  let context: BuildContext;
  let importArchive: (...args: readonly string[]) => Promise<Imported>;
  const podman = (store: string, ...args: readonly string[]): Promise<string> =>
    run(installedProgram('podman'), [...storage.options(store), ...args], storage.command);
  const skopeo = (...args: readonly string[]): Promise<string> =>
    run(installedProgram('skopeo'), args, storage.command);
  const idOf = async (store: string, image: string): Promise<string> =>
    (await podman(store, 'image', 'inspect', '--format', '{{.Id}}', image)).trim();

  beforeAll(async () => {
    storage = makeContainerStorage(site);
    context = makeBuildContext(site.workspace, 'context');
    importArchive = await importCommand(site);
    await podman('one', 'build', '--isolation', 'chroot', '--tag', 'localhost/app:v1', context.directory);
    const password = { ...storage.command, input: site.weir.password };
    const login = ['login', '--cert-dir', storage.certificates, '--username', site.weir.username, '--password-stdin'];
    await run(installedProgram('podman'), [...storage.options('one'), ...login, site.weir.host], password);
  });
  // Without root, podman leaves a process behind that holds its user namespace; a migration is what ends it.
  afterAll(() => podman('one', 'system', 'migrate'));

  test.each(['docker-archive', 'oci-archive'])('podman save --format %s, and podman pulls the same', async (format) => {
    const archive = site.workspace.path(`${format}.tar`);
    await podman('one', 'save', '--format', format, '--output', archive, 'localhost/app:v1');
    const { images, warnings } = await importArchive(archive, '-n', format, '--reason', 'from a file');
    expect({ images, warnings }).toMatchObject({ images: [{ repository: `${format}/app`, tag: 'v1' }], warnings: [] });
    const stored = await fetchImage(site.weir, `${format}/app`, 'v1');
    expect(stored.descriptor).toMatchObject({ mediaType: mediaTypes.manifest, digest: images[0]!.digest });

    const name = `${site.weir.host}/${format}/app:v1`;
    await podman(
      format,
      'pull',
      '--cert-dir',
      storage.certificates,
      '--authfile',
      site.workspace.path('auth.json'),
      name,
    );
    expect(await idOf(format, name)).toBe(await idOf('one', 'localhost/app:v1'));
    const mount = storage.mountingArguments(installedProgram('podman'), format, ['image', 'mount', name]);
    await expectFilesIn((await run(installedProgram('podman'), mount, storage.command)).trim(), context);
  });

  test('podman save of several images, compressed, into a stream for each', async () => {
    await podman('one', 'tag', 'localhost/app:v1', 'quay.io/team/other:v2', 'localhost/app:v3');
    const archive = site.workspace.path('several.tar');
    const names = ['localhost/app:v1', 'quay.io/team/other:v2', 'localhost/app:v3'];
    await podman('one', 'save', '--multi-image-archive', '--output', archive, ...names);
    const packed = site.workspace.writeFile('several.tar.gz', gzipSync(readFileSync(archive)));
    const { images } = await importArchive(packed, '-n', 'several');
    expect(images.map(({ repository, tag }) => `${repository}:${tag}`).sort()).toEqual([
      'several/app:v1',
      'several/app:v3',
      'several/other:v2',
    ]);
    expect(new Set(images.map(({ digest }) => digest)).size).toBe(1);
  });

  test('skopeo copy --all to oci-archive keeps a multi-arch image bit for bit', async () => {
    const image = buildIndex([buildImage(randomFiles(2)), buildImage(randomFiles(1), 'arm64')]);
    await writeLayout(site.workspace.path('layout'), 'v1', image);
    const archive = site.workspace.path('multi.tar');
    await skopeo('copy', '--all', `oci:${site.workspace.path('layout')}:v1`, `oci-archive:${archive}:team/multi:v2`);
    const { images } = await importArchive(archive, '-n', 'skopeo');
    expect(images).toMatchObject([{ repository: 'skopeo/multi', tag: 'v2', digest: image.descriptor.digest }]);
    expect(contentOf(await fetchImage(site.weir, 'skopeo/multi', 'v2'))).toEqual(contentOf(image));
  });

  test('what skopeo writes of a registry comes back with the same digest, through a form of curl', async () => {
    const image = buildImage(randomFiles(2));
    await pushImage(site.weir, 'origin/app', 'v1', image);
    const archive = site.workspace.path('origin.tar');
    const trust = ['--src-cert-dir', storage.certificates];
    await skopeo('copy', ...trust, `docker://${site.weir.host}/origin/app:v1`, `oci-archive:${archive}`);
    const form = ['-F', `archive=@${archive}`, '-F', 'repository=copied', '-F', 'tag=v1', '-F', 'reason=moved'];
    const login = ['--user', `${site.weir.username}:${site.weir.password}`, '--cacert', site.weir.caFile];
    const url = `${site.weir.url}/extensions/weir/v1/projects/origin/archives`;
    const answer = await run(
      installedProgram('curl'),
      ['-sS', '--noproxy', '*', ...login, ...form, url],
      storage.command,
    );
    expect(JSON.parse(answer)).toMatchObject({ images: [{ repository: 'origin/copied', tag: 'v1' }] });
    expect(contentOf(await fetchImage(site.weir, 'origin/copied', 'v1'))).toEqual(contentOf(image));
  });

  test('skopeo copy to docker-archive becomes an image of the same config, with its layers as they are', async () => {
    const image = buildImage(randomFiles(2));
    await pushImage(site.weir, 'origin/plain', 'v1', image);
    const archive = site.workspace.path('plain.tar');
    const trust = ['--src-cert-dir', storage.certificates];
    const target = `docker-archive:${archive}:docker.io/library/plain:v1`;
    await skopeo('copy', ...trust, `docker://${site.weir.host}/origin/plain:v1`, target);
    const before = await skopeo('inspect', '--config', '--raw', `docker-archive:${archive}`);
    await importArchive(archive, '--name', 'plain/app');
    const { manifest } = await fetchManifest(site.weir, 'plain/app', 'v1');
    expect(manifest.layers?.map(({ mediaType }) => mediaType)).toEqual([uncompressed, uncompressed]);
    expect(manifest.config?.digest).toBe(digestOf(Buffer.from(before)));
    await fetchImage(site.weir, 'plain/app', 'v1');
  });

  test('a cut archive is refused, and nothing of it is there', async () => {
    const archive = site.workspace.path('whole.tar');
    await podman('one', 'save', '--output', archive, 'localhost/app:v1');
    const cut = site.workspace.writeFile('cut.tar', readFileSync(archive).subarray(0, 200_000));
    await expect(importArchive(cut, '-n', 'cut')).rejects.toThrow(/breaks off before its end/);
    const name = `docker://${site.weir.host}/cut/app:v1`;
    const inspect = ['inspect', '--cert-dir', storage.certificates, name];
    expect(await runRefused(installedProgram('skopeo'), inspect, storage.command)).toMatch(/unknown|denied/);
  });
});

const obstacle = whyNoDockerEngine();
if (obstacle === undefined) describeWithPrograms('archives of docker', ['docker', 'dockerd'], dockerSuite);
else skipLoudly('archives of docker', obstacle);

function dockerSuite(): void {
  const site = siteWithWeir({ publicUrl: `https://${publicHost}` });
  let engine: DockerEngine;
  let context: BuildContext;

  beforeAll(async () => {
    engine = await startDockerEngine(site, 'engine');
    context = makeBuildContext(site.workspace, 'context');
    const login = ['login', '--username', site.weir.username, '--password-stdin', publicHost];
    await run(installedProgram('docker'), login, { ...engine.command, input: site.weir.password });
  });
  afterAll(() => engine.stop());

  test('docker save, and docker pulls the image with the same id', async () => {
    await engine.docker('build', '--tag', 'app:v1', '--tag', 'team/app:v2', context.directory);
    const id = await imageId('app:v1');
    const archive = site.workspace.path('docker.tar');
    await engine.docker('save', '--output', archive, 'app:v1', 'team/app:v2');
    const importArchive = await importCommand(site);
    const { images } = await importArchive(archive, '-n', 'docker');
    expect(images.map(({ repository, tag }) => `${repository}:${tag}`).sort()).toEqual([
      'docker/app:v1',
      'docker/app:v2',
    ]);
    const { manifest } = await fetchManifest(site.weir, 'docker/app', 'v1');
    expect(manifest.config?.digest).toBe(id);

    await engine.docker('system', 'prune', '--all', '--force');
    const name = `${publicHost}/docker/app:v1`;
    await engine.docker('pull', name);
    expect(await imageId(name)).toBe(id);
    const container = (await engine.docker('create', name)).trim();
    const copy = site.workspace.makeDirectory('files');
    await engine.docker('cp', `${container}:/.`, copy);
    await expectFilesIn(copy, context);
  });

  async function imageId(image: string): Promise<string> {
    return (await engine.docker('image', 'inspect', '--format', '{{.Id}}', image)).trim();
  }
}
