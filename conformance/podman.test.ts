import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectFilesIn, makeBuildContext, type BuildContext } from './support/build-context.js';
import { run, runRefused } from './support/command.js';
import { makeContainerStorage, type ContainerStorage } from './support/container-storage.js';
import { buildImage, buildIndex, mediaTypes, randomFiles } from './support/image.js';
import { fetchImage, fetchManifest, pushImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';

describeWithPrograms('podman', ['podman'], () => {
  const site = siteWithWeir();
  let storage: ContainerStorage;
  let context: BuildContext;
  let name: string;
  const podman = (store: string, ...args: readonly string[]): Promise<string> =>
    run(installedProgram('podman'), [...storage.options(store), ...args], storage.command);
  const trust = (): string[] => ['--cert-dir', storage.certificates];
  const pushedDigest = async (): Promise<string> => (await readFile(site.workspace.path('digest'))).toString('utf8');

  beforeAll(() => {
    storage = makeContainerStorage(site);
    context = makeBuildContext(site.workspace, 'context');
    name = `${site.weir.host}/podman/app`;
  });
  // Without root, podman leaves a process behind that holds its user namespace; a migration is what ends it.
  afterAll(() => podman('one', 'system', 'migrate'));

  test('is refused with a wrong password, and let in with the right one', async () => {
    const options = storage.options('one');
    const login = ['login', ...trust(), '--username', site.weir.username, '--password-stdin', site.weir.host];
    const wrong = { ...storage.command, input: 'wrong' };
    expect(await runRefused(installedProgram('podman'), [...options, ...login], wrong)).toMatch(
      /invalid username\/password/,
    );
    const right = { ...storage.command, input: site.weir.password };
    await run(installedProgram('podman'), [...options, ...login], right);
  });

  test.each([
    { format: 'oci', mediaType: mediaTypes.manifest },
    { format: 'v2s2', mediaType: mediaTypes.dockerManifest },
  ])('builds and pushes as $format, and pulls the same into a clean store', async ({ format, mediaType }) => {
    await podman('one', 'build', '--isolation', 'chroot', '--tag', `${name}:${format}`, context.directory);
    const push = ['push', ...trust(), '--format', format, '--digestfile', site.workspace.path('digest')];
    await podman('one', ...push, `${name}:${format}`);
    const stored = await fetchImage(site.weir, 'podman/app', format);
    expect(stored.descriptor).toMatchObject({ mediaType, digest: await pushedDigest() });

    const clean = `clean-${format}`;
    await podman(clean, 'pull', ...trust(), `${name}:${format}`);
    const digest = await podman(clean, 'image', 'inspect', '--format', '{{.Digest}}', `${name}:${format}`);
    expect(digest.trim()).toBe(stored.descriptor.digest);
    const mount = storage.mountingArguments(installedProgram('podman'), clean, ['image', 'mount', `${name}:${format}`]);
    const mounted = await run(installedProgram('podman'), mount, storage.command);
    await expectFilesIn(mounted.trim(), context);
  });

  test('pulls by digest', async () => {
    const { digest } = await fetchManifest(site.weir, 'podman/app', 'oci');
    await podman('by-digest', 'pull', ...trust(), `${name}@${digest}`);
    expect(await podman('by-digest', 'image', 'inspect', '--format', '{{.Digest}}', `${name}@${digest}`)).toBe(
      `${digest}\n`,
    );
  });

  test('pulls the wanted platform of a multi-arch image', async () => {
    const images = [buildImage(randomFiles(1)), buildImage(randomFiles(1), 'arm64')];
    await pushImage(site.weir, 'podman/multi', 'v1', buildIndex(images));
    const multi = `${site.weir.host}/podman/multi:v1`;
    await podman('arm64', 'pull', ...trust(), '--arch', 'arm64', multi);
    expect(await podman('arm64', 'image', 'inspect', '--format', '{{.Architecture}}', multi)).toBe('arm64\n');
  });

  test('pushes a manifest list with all its images', async () => {
    const list = `${site.weir.host}/podman/list:v1`;
    await podman('one', 'manifest', 'create', list, `containers-storage:${name}:oci`);
    await podman('one', 'manifest', 'push', '--all', ...trust(), list, `docker://${list}`);
    const stored = await fetchImage(site.weir, 'podman/list', 'v1');
    expect(stored.manifests.size).toBe(2);
  });
});
