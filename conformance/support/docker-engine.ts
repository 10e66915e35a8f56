import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { run, tryRun, type Command } from './command.js';
import { startConnectProxy } from './connect-proxy.js';
import { installedProgram, type Site } from './suite.js';
import { trustByEnvironment } from './trust.js';

/**
 * The registry's host in the names of images that an engine handles, and so in the public URL of its Weir.
 * An engine does not verify the certificate of anything at 127.0.0.0/8, localhost included. It does for this address,
 * which RFC 5737 keeps for documentation; a proxy leads the connection to Weir, so that nothing leaves the machine.
 */
export const publicHost = '203.0.113.1';

/** A real engine with its own images, and the client that speaks to it. */
export interface DockerEngine {
  readonly docker: (...args: readonly string[]) => Promise<string>;
  /** For runs of the client with input, or that must fail. */
  readonly command: Command;
  /** With this as HTTPS_PROXY, other clients reach {@link publicHost} too. */
  readonly proxyUrl: string;
  stop(): Promise<void>;
}

const readyTimeoutMs = 60_000;

/** Why no engine can be started here, or `undefined` when one can. */
export function whyNoDockerEngine(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'the Docker engine needs root';
}

/** Starts an engine that trusts Weir's authority alone. Each name of an engine is one without images at first. */
export async function startDockerEngine(site: Site, name: string): Promise<DockerEngine> {
  const { weir, workspace } = site;
  const proxy = await startConnectProxy(weir.port);
  const socket = workspace.path(name, 'docker.sock');
  const logFile = workspace.path(name, 'engine.log');
  // The image store that all versions have: newer ones would otherwise keep images in containerd, in other formats.
  const configuration = workspace.writeFile(`${name}/daemon.json`, '{"features":{"containerd-snapshotter":false}}');
  const child = spawn(
    installedProgram('dockerd'),
    [
      ...['--config-file', configuration, '--storage-driver', 'vfs'],
      // Images are only built and moved: the machine's network settings are not ours to change.
      ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
      ...[
        '--data-root',
        workspace.makeDirectory(`${name}/data`),
        '--exec-root',
        workspace.makeDirectory(`${name}/exec`),
      ],
      ...['-H', `unix://${socket}`, '-p', workspace.path(name, 'pid')],
    ],
    {
      env: { ...workspace.environment, HTTPS_PROXY: proxy.url, ...trustByEnvironment(site) },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  child.stderr.pipe(createWriteStream(logFile));
  // The engine starts a containerd of its own, and ends it only when it is asked to end itself.
  const stopWithTests = (): void => void child.kill('SIGTERM');
  process.once('exit', stopWithTests);
  const command: Command = {
    environment: {
      ...workspace.environment,
      DOCKER_HOST: `unix://${socket}`,
      DOCKER_CONFIG: workspace.makeDirectory(`${name}/client`),
      DOCKER_BUILDKIT: '0',
    },
  };
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    process.removeListener('exit', stopWithTests);
    await proxy.close();
  };
  const deadline = Date.now() + readyTimeoutMs;
  while ((await tryRun(installedProgram('docker'), ['version'], command)).exitCode !== 0) {
    if (child.exitCode === null && Date.now() < deadline) {
      await delay(200);
      continue;
    }
    await stop();
    throw new Error(`the Docker engine did not start\n${await readFile(logFile, 'utf8')}`);
  }
  return { docker: (...args) => run(installedProgram('docker'), args, command), command, proxyUrl: proxy.url, stop };
}
