import { readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { expectFilesIn, makeBuildContext, type BuildContext } from './support/build-context.js';
import { run, runRefused } from './support/command.js';
import { makeContainerStorage, type ContainerStorage } from './support/container-storage.js';
import { fetchImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';

describeWithPrograms('buildah', ['buildah'], () => {
  const site = siteWithWeir();
  let storage: ContainerStorage;
  let context: BuildContext;
  let name: string;
  const buildah = (store: string, ...args: readonly string[]): Promise<string> =>
    run(installedProgram('buildah'), [...storage.options(store), ...args], storage.command);
  const trust = (): string[] => ['--cert-dir', storage.certificates];

  beforeAll(() => {
    storage = makeContainerStorage(site);
    context = makeBuildContext(site.workspace, 'context');
    name = `${site.weir.host}/buildah/app:v1`;
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    const user = ['--username', site.weir.username, '--password-stdin'];
    const login = [...storage.options('one'), 'login', ...trust(), ...user, site.weir.host];
    const wrong = { ...storage.command, input: 'wrong' };
    expect(await runRefused(installedProgram('buildah'), login, wrong)).toMatch(/invalid username\/password/);
    await run(installedProgram('buildah'), login, { ...storage.command, input: site.weir.password });
  });

  test('builds and pushes, and pulls the same into a clean store', async () => {
    await buildah('one', 'bud', '--isolation', 'chroot', '--layers', '--tag', name, context.directory);
    const digestFile = site.workspace.path('digest');
    await buildah('one', 'push', ...trust(), '--digestfile', digestFile, name, `docker://${name}`);
    const stored = await fetchImage(site.weir, 'buildah/app', 'v1');
    expect(stored.descriptor.digest).toBe((await readFile(digestFile)).toString('utf8'));

    await buildah('clean', 'pull', ...trust(), `docker://${name}`);
    const container = (await buildah('clean', 'from', '--pull-never', name)).trim();
    const mount = storage.mountingArguments(installedProgram('buildah'), 'clean', ['mount', container]);
    await expectFilesIn((await run(installedProgram('buildah'), mount, storage.command)).trim(), context);
    const details = JSON.parse(await buildah('clean', 'inspect', '--type', 'image', name)) as {
      FromImageDigest: string;
    };
    expect(details.FromImageDigest).toBe(stored.descriptor.digest);
    await buildah('clean', 'rm', container);
  });

  test('adds a layer of its own on top of a pulled image and pushes the result', async () => {
    const changed = `${site.weir.host}/buildah/changed:v1`;
    const container = (await buildah('second', 'from', ...trust(), name)).trim();
    await buildah('second', 'copy', container, context.containerfile, '/added');
    await buildah('second', 'commit', '--rm', container, changed);
    await buildah('second', 'push', ...trust(), changed, `docker://${changed}`);
    const stored = await fetchImage(site.weir, 'buildah/changed', 'v1');
    expect(stored.blobs.size).toBe((await fetchImage(site.weir, 'buildah/app', 'v1')).blobs.size + 1);
  });
});
