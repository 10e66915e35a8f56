import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { expect } from 'vitest';
import type { Login } from './api-token.js';
import { tryRun, type Outcome } from './command.js';
import { makeContainerStorage } from './container-storage.js';
import { publicHost, type DockerEngine } from './docker-engine.js';
import { buildImage, randomFiles } from './image.js';
import { writeLayout } from './oci-layout.js';
import { installedProgram, type Site } from './suite.js';
import { tar } from './tar.js';
import { trustByEnvironment } from './trust.js';

/** The clients that move images to and from {@link publicHost}. */
export const clientNames = ['podman', 'docker', 'skopeo', 'crane'] as const;
export type ClientName = (typeof clientNames)[number];

/**
 * A directory with the credentials of one user of one client, in the file `config.json` that they all have (Docker's
 * configuration file). Empty at first.
 */
export type Credentials = string;

/** One program, for whoever's credentials it is given. Images are named without the host, as in `project/app:v1`. */
export interface Client {
  login(credentials: Credentials, login: Login): Promise<Outcome>;
  /** Pushes content that the registry may have seen before. */
  push(credentials: Credentials, image: string): Promise<Outcome>;
  /** Pulls everything, and keeps nothing of it. */
  pull(credentials: Credentials, image: string): Promise<Outcome>;
  /** Of those who can. */
  readonly delete?: (credentials: Credentials, image: string) => Promise<Outcome>;
}

/** What a client needs to reach Weir by its public host. */
export interface ClientsOptions {
  readonly site: Site;
  readonly engine: DockerEngine;
}

/** Sets all clients up. */
export async function makeClients(options: ClientsOptions): Promise<Readonly<Record<ClientName, Client>>> {
  const { workspace } = options.site;
  const layout = workspace.path('clients', 'layout');
  await writeLayout(layout, 'v1', buildImage(randomFiles(2)));
  const archive = workspace.writeFile('clients/root.tar', tar(new Map([['file', randomBytes(100_000)]])));
  return {
    podman: await makePodman(options, archive),
    docker: await makeDocker(options, archive),
    skopeo: makeSkopeo(options, layout),
    crane: makeCrane(options, layout),
  };
}

/** New credentials, with what the file holds when it is not to be empty. */
export function makeCredentials({ workspace }: Site, name: string, content: object = {}): Credentials {
  return path.dirname(workspace.writeFile(`credentials/${name}/config.json`, JSON.stringify(content)));
}

/** Expects success, and shows what went wrong otherwise. */
export function expectDone(outcome: Outcome): void {
  expect(outcome.exitCode, outcome.stdout + outcome.stderr).toBe(0);
}

/** Expects failure for want of a right or of a login, and that the client says so. */
export function expectRefused(outcome: Outcome): void {
  const output = outcome.stdout + outcome.stderr;
  // Some begin a push with HEAD, whose answer has no body and so no code: they show the status.
  expect(output).toMatch(/denied|unauthorized|invalid username\/password|\b403 \(?Forbidden/i);
  expect(outcome.exitCode, output).not.toBe(0);
}

async function makePodman({ site, engine }: ClientsOptions, archive: string): Promise<Client> {
  const program = installedProgram('podman');
  const storage = makeContainerStorage(site, { HTTPS_PROXY: engine.proxyUrl });
  const podman = (args: readonly string[], input = ''): Promise<Outcome> =>
    tryRun(program, [...storage.options('podman'), ...args], { ...storage.command, input });
  const common = (credentials: Credentials): string[] => [
    ...['--cert-dir', storage.certificates],
    ...['--authfile', path.join(credentials, 'config.json')],
  ];
  const local = 'localhost/pushed:v1';
  expectDone(await podman(['import', archive, local]));
  return {
    login: (credentials, { username, password }) =>
      podman(['login', ...common(credentials), '--username', username, '--password-stdin', publicHost], password),
    push: (credentials, image) => podman(['push', ...common(credentials), local, `${publicHost}/${image}`]),
    pull: async (credentials, image) => {
      const outcome = await podman(['pull', ...common(credentials), `${publicHost}/${image}`]);
      await podman(['image', 'rm', '--force', `${publicHost}/${image}`]);
      return outcome;
    },
  };
}

async function makeDocker({ engine }: ClientsOptions, archive: string): Promise<Client> {
  const program = installedProgram('docker');
  const docker = (credentials: Credentials, args: readonly string[], input = ''): Promise<Outcome> =>
    tryRun(program, args, {
      ...engine.command,
      environment: { ...engine.command.environment, DOCKER_CONFIG: credentials },
      input,
    });
  const local = 'pushed:v1';
  await engine.docker('import', archive, local);
  return {
    login: (credentials, { username, password }) =>
      docker(credentials, ['login', '--username', username, '--password-stdin', publicHost], password),
    push: async (credentials, image) => {
      await engine.docker('tag', local, `${publicHost}/${image}`);
      const outcome = await docker(credentials, ['push', `${publicHost}/${image}`]);
      await engine.docker('image', 'rm', `${publicHost}/${image}`);
      return outcome;
    },
    pull: async (credentials, image) => {
      const outcome = await docker(credentials, ['pull', `${publicHost}/${image}`]);
      if (outcome.exitCode === 0) await engine.docker('image', 'rm', `${publicHost}/${image}`);
      return outcome;
    },
  };
}

function makeSkopeo({ site, engine }: ClientsOptions, layout: string): Client {
  const { command, certificates } = makeContainerStorage(site, { HTTPS_PROXY: engine.proxyUrl });
  const skopeo = (args: readonly string[], input = ''): Promise<Outcome> =>
    tryRun(installedProgram('skopeo'), args, { ...command, input });
  const authfile = (credentials: Credentials): string[] => ['--authfile', path.join(credentials, 'config.json')];
  return {
    login: (credentials, { username, password }) => {
      const options = ['--cert-dir', certificates, ...authfile(credentials), '--username', username];
      return skopeo(['login', ...options, '--password-stdin', publicHost], password);
    },
    push: (credentials, image) => {
      const options = ['--dest-cert-dir', certificates, ...authfile(credentials)];
      return skopeo(['copy', ...options, `oci:${layout}:v1`, `docker://${publicHost}/${image}`]);
    },
    pull: (credentials, image) => {
      const options = ['--src-cert-dir', certificates, ...authfile(credentials)];
      return skopeo(['copy', ...options, `docker://${publicHost}/${image}`, `dir:${newDirectory(site)}`]);
    },
    delete: (credentials, image) => {
      const options = ['--cert-dir', certificates, ...authfile(credentials)];
      return skopeo(['delete', ...options, `docker://${publicHost}/${image}`]);
    },
  };
}

function makeCrane({ site, engine }: ClientsOptions, layout: string): Client {
  const environment = { ...site.workspace.environment, ...trustByEnvironment(site), HTTPS_PROXY: engine.proxyUrl };
  const crane = (credentials: Credentials, args: readonly string[], input = ''): Promise<Outcome> =>
    tryRun(installedProgram('crane'), args, { environment: { ...environment, DOCKER_CONFIG: credentials }, input });
  return {
    // It writes the password down without asking the registry.
    login: (credentials, { username, password }) =>
      crane(credentials, ['auth', 'login', publicHost, '--username', username, '--password-stdin'], password),
    push: (credentials, image) => crane(credentials, ['push', layout, `${publicHost}/${image}`]),
    pull: (credentials, image) =>
      crane(credentials, ['pull', '--format', 'oci', `${publicHost}/${image}`, newDirectory(site)]),
    delete: (credentials, image) => crane(credentials, ['delete', `${publicHost}/${image}`]),
  };
}

function newDirectory({ workspace }: Site): string {
  return workspace.makeDirectory(`pulled/${randomBytes(6).toString('hex')}`);
}
