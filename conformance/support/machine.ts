import { readFile } from 'node:fs/promises';
import type { Login } from './api-token.js';
import { expectFilesIn, type BuildContext } from './build-context.js';
import { run, tryRun, type Outcome } from './command.js';
import { makeContainerStorage } from './container-storage.js';
import { publicHost, type DockerEngine } from './docker-engine.js';
import { installedProgram, type Site } from './suite.js';

/** A machine that images are built and run on, with the images and the credentials of one program. */
export interface Machine {
  /** The registry, in the names of images. */
  readonly host: string;
  /** From now on it is somebody else's machine. */
  logIn(login: Login): Promise<void>;
  /** Builds an image and pushes it. @param image as in `project/app:v1` @returns the digest that the push tells */
  publish(context: BuildContext, image: string): Promise<string>;
  /** Pulls, with nothing there to reuse. @returns the digest of what came */
  pull(image: string): Promise<string>;
  /** Pulls what must be refused, or is not there. */
  tryPull(image: string): Promise<Outcome>;
  /** Expects the files of a build, bit for bit, in an image that was pulled last. */
  expectFiles(image: string, context: BuildContext): Promise<void>;
  stop(): Promise<void>;
}

/** A machine with podman. */
export function makePodmanMachine(site: Site): Machine {
  const { weir, workspace } = site;
  const storage = makeContainerStorage(site);
  const program = installedProgram('podman');
  const trust = ['--cert-dir', storage.certificates];
  const podman = (store: string, ...args: readonly string[]): Promise<string> =>
    run(program, [...storage.options(store), ...args], storage.command);
  // A store of its own for each pull, as nothing of another one is then there.
  let pulls = 0;
  const store = (): string => `pulled-${pulls}`;
  const pullArguments = (image: string): string[] => ['pull', ...trust, `${weir.host}/${image}`];
  return {
    host: weir.host,
    logIn: async ({ username, password }) => {
      const login = ['login', ...trust, '--username', username, '--password-stdin', weir.host];
      await run(program, [...storage.options('built'), ...login], { ...storage.command, input: password });
    },
    publish: async (context, image) => {
      const digestFile = workspace.path('digest');
      await podman('built', 'build', '--isolation', 'chroot', '--tag', `${weir.host}/${image}`, context.directory);
      await podman('built', 'push', ...trust, '--digestfile', digestFile, `${weir.host}/${image}`);
      return readFile(digestFile, 'utf8');
    },
    pull: async (image) => {
      pulls += 1;
      await podman(store(), ...pullArguments(image));
      return (await podman(store(), 'image', 'inspect', '--format', '{{.Digest}}', `${weir.host}/${image}`)).trim();
    },
    tryPull: (image) => {
      pulls += 1;
      return tryRun(program, [...storage.options(store()), ...pullArguments(image)], storage.command);
    },
    expectFiles: async (image, context) => {
      const mount = ['image', 'mount', `${weir.host}/${image}`];
      const mounted = await run(program, storage.mountingArguments(program, store(), mount), storage.command);
      await expectFilesIn(mounted.trim(), context);
    },
    // Without root, podman leaves a process behind that holds its user namespace; a migration is what ends it.
    stop: async () => {
      await podman('built', 'system', 'migrate');
    },
  };
}

/** A machine with docker, for a Weir that is called {@link publicHost}. */
export function makeDockerMachine({ workspace }: Site, engine: DockerEngine): Machine {
  const { docker } = engine;
  let copies = 0;
  return {
    host: publicHost,
    logIn: async ({ username, password }) => {
      const login = ['login', '--username', username, '--password-stdin', publicHost];
      await run(installedProgram('docker'), login, { ...engine.command, input: password });
    },
    publish: async (context, image) => {
      await docker('build', '--tag', `${publicHost}/${image}`, context.directory);
      const [, digest = ''] =
        /digest: (sha256:[0-9a-f]{64})/.exec(await docker('push', `${publicHost}/${image}`)) ?? [];
      return digest;
    },
    pull: async (image) => {
      await docker('system', 'prune', '--all', '--force');
      await docker('pull', `${publicHost}/${image}`);
      const format = '{{index .RepoDigests 0}}';
      return (await docker('image', 'inspect', '--format', format, `${publicHost}/${image}`)).trim().replace(/.*@/, '');
    },
    tryPull: async (image) => {
      await docker('system', 'prune', '--all', '--force');
      return tryRun(installedProgram('docker'), ['pull', `${publicHost}/${image}`], engine.command);
    },
    expectFiles: async (image, context) => {
      copies += 1;
      const copy = workspace.makeDirectory(`files-${copies}`);
      const container = (await docker('create', `${publicHost}/${image}`)).trim();
      await docker('cp', `${container}:/.`, copy);
      await docker('rm', container);
      await expectFilesIn(copy, context);
    },
    stop: () => engine.stop(),
  };
}
