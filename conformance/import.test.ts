import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import { fetchApiToken, type Login } from './support/api-token.js';
import { run, tryRun, type Command, type Outcome } from './support/command.js';
import { makeContainerStorage, type ContainerStorage } from './support/container-storage.js';
import { contentOf } from './support/image.js';
import { kubeApiWith, makeProject, type KubeApi } from './support/kube-api.js';
import { writeKubeconfig } from './support/kubeconfig.js';
import { fetchImage, fetchManifest } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir, type Site } from './support/suite.js';
import { openTerminal, type Terminal } from './support/terminal.js';
import { trustByEnvironment } from './support/trust.js';
import { makeCertificate, type Certificate } from './support/upstreams/certificate.js';
import { startRealRegistry, type RealRegistry } from './support/upstreams/real-registry.js';
import { pushImage, type Pushed, type PushOptions } from './support/upstreams/seed.js';
import { TokenServer } from './support/upstreams/token-server.js';
import { makeWorkspace } from './support/workspace.js';

// Images of a registry that others wrote, with tokens of a server of its own, under an authority that nobody else knows.

const reader: Login = { username: 'reader', password: 'the password of reader' };
const publisher: Login = { username: 'publisher', password: 'the password of publisher' };
const weirProgram = path.join(root, 'bin', 'weir.cjs');

/** What the tests read of image.openshift.io/v1 ImageStreamImport. */
interface Imported {
  readonly status: {
    readonly images?: readonly {
      readonly status: { readonly status: string; readonly reason?: string; readonly message?: string };
      readonly image?: { readonly metadata: { readonly name: string }; readonly dockerImageReference: string };
      readonly manifests?: readonly { readonly metadata: { readonly name: string } }[];
    }[];
  };
}

/** What the tests read of image.openshift.io/v1 ImageStream. */
interface Stream {
  readonly status: {
    readonly tags?: readonly {
      readonly tag: string;
      readonly items: readonly { readonly image: string; readonly dockerImageReference: string }[] | null;
      readonly conditions?: readonly { readonly reason: string; readonly message: string }[];
    }[];
  };
}

describeWithPrograms('imports from distribution', ['registry', 'kubectl', 'podman', 'crane'], () => {
  const outside = makeWorkspace();
  const settings: Record<string, string> = {};
  let tls: Certificate;
  let tokens: TokenServer;
  let upstream: RealRegistry;

  /** The same registry again, when it was stopped. */
  const startUpstream = (port?: number): Promise<RealRegistry> =>
    startRealRegistry({
      kind: 'distribution',
      folder: outside.makeDirectory('registry'),
      tls,
      auth: { kind: 'token', server: tokens },
      ...(port !== undefined && { port }),
    });
  // Before Weir starts, which is told of it.
  beforeAll(async () => {
    tls = await makeCertificate(outside.makeDirectory('tls'));
    tokens = await TokenServer.start({
      folder: outside.makeDirectory('tokens'),
      tls,
      users: [
        { ...reader, pull: ['team/*'] },
        { ...publisher, push: ['*'] },
      ],
      publicRepositories: ['public/app'],
    });
    upstream = await startUpstream();
    Object.assign(settings, {
      WEIR_IMPORTS_AUTOMATIC: 'true',
      WEIR_IMPORTS_INTERVAL_SECONDS: '1',
      WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
      WEIR_UPSTREAMS_ALLOW_PRIVATE: `${upstream.host},${tokens.host}`,
      WEIR_UPSTREAMS_REGISTRIES: JSON.stringify([
        { registry: upstream.host, caFile: upstream.caFile, tokenHosts: ['localhost'] },
      ]),
    });
  });
  afterAll(async () => {
    await upstream.stop();
    await tokens.stop();
    await outside.remove();
  });
  const site = siteWithWeir({ settings });
  let admin: Terminal;
  let api: KubeApi;

  const push = (repository: string, tag: string, options: PushOptions = {}): Promise<Pushed> =>
    pushImage(upstream, repository, tag, { as: publisher, ...options });
  const imageOf = (name: string, tag: string, policies: object = {}): object => ({
    from: { kind: 'DockerImage', name: `${upstream.host}/${name}` },
    to: { name: tag },
    ...policies,
  });
  /** Imports as a file for kubectl says. */
  const importFile = async (stream: string, images: readonly object[], namespace: string): Promise<Imported> => {
    const file = JSON.stringify({
      apiVersion: 'image.openshift.io/v1',
      kind: 'ImageStreamImport',
      metadata: { name: stream },
      spec: { import: true, images },
    });
    return JSON.parse(await admin.given(file, 'create', '-n', namespace, '-f', '-', '-o', 'json')) as Imported;
  };
  const readStream = async (name: string, namespace: string): Promise<Stream> =>
    JSON.parse(await admin.run('get', 'is', name, '-n', namespace, '-o', 'json')) as Stream;
  const tagOf = async (name: string, namespace: string) => (await readStream(name, namespace)).status.tags?.[0];
  const addSecret = (namespace: string, { username, password }: Login): Promise<string> =>
    admin.run(
      ...['create', 'secret', 'docker-registry', 'upstream', '-n', namespace],
      ...[`--docker-server=${upstream.host}`, `--docker-username=${username}`, `--docker-password=${password}`],
    );

  beforeAll(async () => {
    const token = await fetchApiToken(site.weir);
    api = kubeApiWith(site.weir, token);
    const kubeconfig = writeKubeconfig(site, [{ name: 'admin', token, namespace: 'shop' }]);
    admin = openTerminal(site, installedProgram('kubectl'), 'admin', kubeconfig);
    await makeProject(api, 'shop');
    await addSecret('shop', reader);
  });

  describe('as kubectl asks for them', () => {
    test('need a secret of the project where the registry wants one', async () => {
      const { digest } = await push('team/secret', 'v1');
      await makeProject(api, 'poor');
      const refused = (await importFile('app', [imageOf('team/secret:v1', 'v1')], 'poor')).status.images?.[0];
      expect(refused?.status).toMatchObject({ status: 'Failure', reason: 'Unauthorized' });
      expect(refused?.status.message).toContain('credential shown: none');
      expect((await tagOf('app', 'poor'))?.conditions).toMatchObject([{ reason: 'Unauthorized' }]);

      tokens.requests.splice(0);
      await addSecret('poor', reader);
      const found = (await importFile('app', [imageOf('team/secret:v1', 'v1')], 'poor')).status.images?.[0];
      expect(found).toMatchObject({
        status: { status: 'Success' },
        image: { metadata: { name: digest }, dockerImageReference: `${upstream.host}/team/secret@${digest}` },
      });
      expect(tokens.requests).toMatchObject([
        { shown: { username: 'reader' }, scopes: ['repository:team/secret:pull'], status: 200 },
      ]);
      expect(await tagOf('app', 'poor')).not.toHaveProperty('conditions');
      expect((await fetchManifest(site.weir, 'poor/app', 'v1')).digest).toBe(digest);
    });

    test('of what everyone may have do not fail for a wrong secret', async () => {
      const { digest, image } = await push('public/app', 'v1');
      await makeProject(api, 'wrong');
      await addSecret('wrong', { ...reader, password: 'guessed' });
      const [result] = (await importFile('app', [imageOf('public/app:v1', 'v1')], 'wrong')).status.images!;
      expect(result).toMatchObject({ status: { status: 'Success' }, image: { metadata: { name: digest } } });
      expect(contentOf(await fetchImage(site.weir, 'wrong/app', 'v1'))).toEqual(contentOf(image));
      const [refused] = (await importFile('app', [imageOf('team/secret:v1', 'v2')], 'wrong')).status.images!;
      expect(refused?.status).toMatchObject({
        reason: 'Unauthorized',
        message: expect.stringContaining('credential shown: secret wrong/upstream') as string,
      });
    });

    test('take one image of an index, or all of it', async () => {
      const { digest, platforms } = await push('team/multi', 'v1', { platforms: ['amd64', 'arm64'], layers: 2 });
      const own = platforms[process.arch === 'arm64' ? 'arm64' : 'amd64']!;
      const preserve = { importPolicy: { importMode: 'PreserveOriginal' } };
      const images = [imageOf('team/multi:v1', 'one'), imageOf('team/multi:v1', 'all', preserve)];
      const [one, all] = (await importFile('multi', images, 'shop')).status.images!;
      expect(one?.image?.metadata.name).toBe(own);
      expect(all?.image?.metadata.name).toBe(digest);
      expect(all?.manifests?.map(({ metadata }) => metadata.name).sort()).toEqual(Object.values(platforms).sort());
      for (const child of Object.values(platforms)) {
        expect((await fetchManifest(site.weir, 'shop/multi', child)).digest).toBe(child);
      }
    });

    test('are told of by the history', async () => {
      await push('team/told', 'v1');
      await importFile('told', [imageOf('team/told:v1', 'v1')], 'shop');
      const { items } = await api.get('/apis/weir.dev/v1/namespaces/shop/imagestreamtags/told:v1/history');
      expect(items).toMatchObject([
        { cause: 'import', source: `DockerImage ${upstream.host}/team/told:v1`, user: { name: 'admin' } },
      ]);
    });
  });

  describe('by weir import', () => {
    let command: Command;
    beforeAll(async () => {
      command = await logIn(site);
    });
    const weir = (...args: readonly string[]): Promise<Outcome> =>
      tryRun(process.execPath, [weirProgram, ...args], command);

    test('make a stream, and say what came', async () => {
      const { digest } = await push('team/redis', '7');
      const from = `${upstream.host}/team/redis:7`;
      const tried = await weir('import', 'shop/redis:7', '--from', from, '--dry-run');
      expect(tried.stderr + tried.stdout).toContain(digest.slice(0, 19));
      await expect(readStream('redis', 'shop')).rejects.toThrow(/NotFound/);
      const { exitCode, stdout, stderr } = await weir('import', 'shop/redis:7', '--from', from);
      expect(exitCode, stderr).toBe(0);
      expect(stdout).toMatch(new RegExp(`^TAG +RESULT +IMAGE\n7 +imported +${digest.slice(0, 19)}\n$`));
      expect((await fetchManifest(site.weir, 'shop/redis', '7')).digest).toBe(digest);

      const { digest: second } = await push('team/redis', '7', { layers: 2 });
      expect((await weir('import', 'shop/redis:7')).stdout).toContain(second.slice(0, 19));
      expect((await fetchManifest(site.weir, 'shop/redis', '7')).digest).toBe(second);
    });

    test('take every tag of a repository', async () => {
      for (const tag of ['1.0', '1.1', 'latest']) await push('team/many', tag);
      const { stdout, exitCode } = await weir('import', 'shop/many', '--all', '--from', `${upstream.host}/team/many`);
      expect(exitCode).toBe(0);
      expect(stdout.match(/^\S+ +imported/gm)?.map((line) => line.split(' ')[0])).toEqual(['latest', '1.1', '1.0']);
      const again = await weir('import', 'shop/many', '--all');
      expect(again.exitCode, again.stderr).toBe(0);
      expect(again.stdout.match(/ imported /g)).toHaveLength(3);
    });

    test('say what went wrong, and end as failed', async () => {
      const { exitCode, stdout, stderr } = await weir(
        ...['import', 'shop/none:v1', '--from', `${upstream.host}/team/none:v1`],
      );
      expect(exitCode).not.toBe(0);
      expect(stdout).toMatch(/^v1 +failed +dockerimage\.image\.openshift\.io .* not found/m);
      expect(stderr).toContain('not everything was imported into shop/none:v1: v1 failed');
      const again = await weir('import', 'shop/none:v1');
      expect(again.exitCode).not.toBe(0);
      expect(again.stdout).toContain('failed');
    });
  });

  describe('on a schedule', () => {
    let storage: ContainerStorage;
    let crane: Command;
    let image: Pushed;
    beforeAll(async () => {
      storage = makeContainerStorage(site);
      const environment = { DOCKER_CONFIG: site.workspace.makeDirectory('docker'), ...trustByEnvironment(site) };
      crane = { environment: { ...site.workspace.environment, ...environment } };
      const { weir } = site;
      const login = ['--username', weir.username, '--password-stdin', weir.host];
      const podman = [...storage.options('one'), 'login', '--cert-dir', storage.certificates, ...login];
      await run(installedProgram('podman'), podman, { ...storage.command, input: weir.password });
      await run(installedProgram('crane'), ['auth', 'login', ...login], { ...crane, input: weir.password });
    });
    // Without root, podman leaves a process behind that holds its user namespace; a migration is what ends it.
    afterAll(() => run(installedProgram('podman'), [...storage.options('one'), 'system', 'migrate'], storage.command));

    const name = () => `${site.weir.host}/shop/followed:v1`;
    const pull = async (store: string): Promise<string> => {
      const podman = (...args: readonly string[]): Promise<string> =>
        run(installedProgram('podman'), [...storage.options(store), ...args], storage.command);
      await podman('pull', '--cert-dir', storage.certificates, name());
      return (await podman('image', 'inspect', '--format', '{{.Digest}}', name())).trim();
    };
    const until = async (isDone: (tag: Awaited<ReturnType<typeof tagOf>>) => boolean) => {
      for (let tries = 0; ; tries += 1) {
        const tag = await tagOf('followed', 'shop');
        if (isDone(tag)) return tag;
        if (tries === 60) throw new Error(`never became so: ${JSON.stringify(tag)}`);
        await delay(500);
      }
    };

    test('follow the tag there', async () => {
      const first = await push('team/followed', 'v1');
      const policies = { importPolicy: { scheduled: true }, referencePolicy: { type: 'Local' } };
      await importFile('followed', [imageOf('team/followed:v1', 'v1', policies)], 'shop');
      expect((await tagOf('followed', 'shop'))?.items?.map(({ image: digest }) => digest)).toEqual([first.digest]);
      image = await push('team/followed', 'v1', { layers: 3 });
      const tag = await until((now) => now?.items?.length === 2);
      expect(tag?.items?.map(({ image: digest }) => digest)).toEqual([image.digest, first.digest]);
      expect((await fetchManifest(site.weir, 'shop/followed', 'v1')).digest).toBe(image.digest);
    });

    test('are pulled through Weir, bit for bit', async () => {
      expect(await pull('one')).toBe(image.digest);
      expect(contentOf(await fetchImage(site.weir, 'shop/followed', 'v1'))).toEqual(contentOf(image.image));
    });

    test('stay when the registry is gone, for other clients too', async () => {
      const { port } = upstream;
      await upstream.stop();
      const tag = await until((now) => now?.conditions !== undefined);
      expect(tag?.items?.[0]?.image).toBe(image.digest);
      expect(tag?.conditions).toMatchObject([{ reason: 'ServiceUnavailable' }]);
      expect((await fetchManifest(site.weir, 'shop/followed', 'v1')).digest).toBe(image.digest);
      expect(await pull('two')).toBe(image.digest);
      await run(installedProgram('crane'), ['validate', '--remote', name()], crane);

      upstream = await startUpstream(port);
      const next = await push('team/followed', 'v1', { layers: 4 });
      const after = await until((now) => now?.items?.[0]?.image === next.digest);
      expect(after).not.toHaveProperty('conditions');
      expect(await pull('three')).toBe(next.digest);
    });
  });
});

/** Somebody who is logged in to Weir, with a home of their own. */
async function logIn({ weir, workspace }: Site): Promise<Command> {
  const command = { environment: { ...workspace.environment, HOME: workspace.makeDirectory('home-importer') } };
  const login = [weirProgram, 'login', weir.host, '-u', weir.username, '--ca', weir.caFile, '--password-stdin'];
  await run(process.execPath, login, { ...command, input: weir.password });
  return command;
}
