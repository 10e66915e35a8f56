import type { Command } from './command.js';
import type { Site } from './suite.js';
import { trustByDirectory } from './trust.js';

/** How podman and buildah are run: with images, configuration and credentials of their own. */
export interface ContainerStorage {
  readonly command: Command;
  /** The options that go before the subcommand and say where images are kept. */
  options(store: string): string[];
  /** All arguments for a subcommand that mounts, which users other than root may do in a namespace of theirs only. */
  mountingArguments(program: string, store: string, subcommand: readonly string[]): string[];
  /** The directory for `--cert-dir`. */
  readonly certificates: string;
}

/**
 * Sets podman or buildah up inside the workspace. Each name of a store is a place without images at first.
 *
 * @param proxy variables like HTTPS_PROXY, for a registry that is not on loopback by its name
 */
export function makeContainerStorage(site: Site, proxy: Readonly<Record<string, string>> = {}): ContainerStorage {
  const { workspace } = site;
  // Locks in files, because those in shared memory have one name for all of a user's podmans.
  const engine = ['[engine]', 'cgroup_manager = "cgroupfs"', 'events_logger = "none"', 'lock_type = "file"'];
  const paths = [`tmp_dir = "${workspace.makeDirectory('libpod')}"`];
  const configuration = workspace.writeFile('containers.conf', [...engine, ...paths, ''].join('\n'));
  const options = (store: string): string[] => [
    ...['--root', workspace.makeDirectory(`${store}/images`)],
    ...['--runroot', workspace.makeDirectory(`${store}/run`)],
    // The one driver that works on every file system and without privileges.
    ...['--storage-driver', 'vfs'],
  ];
  const isRoot = process.getuid?.() === 0;
  return {
    command: {
      environment: {
        ...workspace.environment,
        CONTAINERS_CONF: configuration,
        CONTAINERS_REGISTRIES_CONF: workspace.writeFile('registries.conf', 'unqualified-search-registries = []\n'),
        REGISTRY_AUTH_FILE: workspace.path('auth.json'),
        ...proxy,
      },
    },
    options,
    mountingArguments: (program, store, subcommand) => {
      const args = [...options(store), ...subcommand];
      return isRoot ? args : [...options(store), 'unshare', program, ...args];
    },
    certificates: trustByDirectory(site),
  };
}
