import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Agent, request } from 'undici';
import {
  clientNames,
  expectDone,
  makeClients,
  makeCredentials,
  type Client,
  type ClientName,
} from './support/clients.js';
import type { Login } from './support/api-token.js';
import { run } from './support/command.js';
import { makeContainerStorage } from './support/container-storage.js';
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { contentOf, mediaTypes, parseManifest } from './support/image.js';
import { makeProject, openKubeApi, type KubeApi } from './support/kube-api.js';
import { fetchImage, fetchManifest } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir, skipLoudly } from './support/suite.js';
import { makeCertificate } from './support/upstreams/certificate.js';
import { startRealRegistry, type RealRegistry } from './support/upstreams/real-registry.js';
import { pushImage, type Pushed, type PushOptions } from './support/upstreams/seed.js';
import { TokenServer } from './support/upstreams/token-server.js';
import { makeWorkspace } from './support/workspace.js';

// Images of a registry that others wrote, with tokens and TLS, pulled from Weir by the clients that people have.

const programs = ['registry', 'podman', 'docker', 'dockerd', 'skopeo', 'crane'];
const obstacle = whyNoDockerEngine();
if (obstacle === undefined) describeWithPrograms('pulls through Weir from distribution', programs, suite);
else skipLoudly('pulls through Weir from distribution', obstacle);

/** The two ways to an image of another registry. */
const ways = ['a cache project', 'a tag with the reference policy Local'] as const;
type Way = (typeof ways)[number];

function suite(): void {
  const reader: Login = { username: 'reader', password: 'the password of reader' };
  const publisher: Login = { username: 'publisher', password: 'the password of publisher' };
  const outside = makeWorkspace();
  const settings: Record<string, string> = {};
  let tokens: TokenServer;
  let upstream: RealRegistry;
  // Before Weir starts, which is told of it.
  beforeAll(async () => {
    const tls = await makeCertificate(outside.makeDirectory('tls'));
    const users = [
      { ...reader, pull: ['team/*'] },
      { ...publisher, push: ['*'] },
    ];
    tokens = await TokenServer.start({ folder: outside.makeDirectory('tokens'), tls, users });
    const auth = { kind: 'token', server: tokens } as const;
    upstream = await startRealRegistry({ kind: 'distribution', folder: outside.makeDirectory('registry'), tls, auth });
    Object.assign(settings, {
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

  const site = siteWithWeir({ publicUrl: `https://${publicHost}`, settings });
  let api: KubeApi;
  let engine: DockerEngine;
  let clients: Readonly<Record<ClientName, Client>>;
  const credentials = new Map<ClientName, string>();
  /** Images of their own for each way and client, so that each of them is the first who pulls it. */
  const pushed = new Map<string, Pushed>();
  const nameThere = (way: Way, client: string): string => `team/${way === ways[0] ? 'cached' : 'imported'}-${client}`;
  /** As in `project/app:v1`. */
  const nameHere = (way: Way, client: string): string =>
    `${way === ways[0] ? `hub/${nameThere(way, client)}` : `shop/${client}`}:v1`;
  const push = (repository: string, options: PushOptions = {}): Promise<Pushed> =>
    pushImage(upstream, repository, 'v1', { as: publisher, layers: 3, layerSize: 200_000, ...options });
  const importTag = async (stream: string, repository: string): Promise<void> => {
    const from = { kind: 'DockerImage', name: `${upstream.host}/${repository}:v1` };
    const policy = { importPolicy: { importMode: 'PreserveOriginal' }, referencePolicy: { type: 'Local' } };
    const { status } = await api.create('/apis/image.openshift.io/v1/namespaces/shop/imagestreamimports', {
      metadata: { name: stream },
      spec: { import: true, images: [{ from, to: { name: 'v1' }, ...policy }] },
    });
    expect(status).toMatchObject({ images: [{ status: { status: 'Success' } }] });
  };
  const pull = async (client: ClientName, image: string): Promise<void> => {
    expectDone(await clients[client].pull(credentials.get(client)!, image));
  };

  beforeAll(async () => {
    api = await openKubeApi(site.weir);
    const auth = Buffer.from(`${reader.username}:${reader.password}`).toString('base64');
    for (const project of ['hub', 'shop']) {
      await makeProject(api, project);
      await api.create(`/api/v1/namespaces/${project}/secrets`, {
        metadata: { name: 'upstream' },
        type: 'kubernetes.io/dockerconfigjson',
        stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [upstream.host]: { auth } } }) },
      });
    }
    await api.create('/apis/weir.dev/v1/namespaces/hub/upstreamcaches', {
      metadata: { name: 'upstream' },
      spec: { registry: upstream.host, freshSeconds: 0, mirror: true },
    });
    for (const way of ways) {
      for (const client of clientNames) {
        pushed.set(nameHere(way, client), await push(nameThere(way, client)));
        if (way !== ways[0]) await importTag(client, nameThere(way, client));
      }
    }
    engine = await startDockerEngine(site, 'engine');
    clients = await makeClients({ site, engine });
    for (const client of clientNames) {
      const directory = makeCredentials(site, client);
      credentials.set(client, directory);
      expectDone(await clients[client].login(directory, site.weir));
    }
  });
  afterAll(() => engine.stop());

  /** How often the other registry was asked for the bytes of a blob. */
  const givenOf = (digest: string): number =>
    upstream
      .log()
      .split('\n')
      .filter((line) => line.includes('response completed') && line.includes('http.request.method=GET'))
      .filter((line) => line.includes(`/blobs/${digest}`)).length;

  describe.each(ways)('from %s', (way) => {
    test.each(clientNames)('%s gets all of an image that was not here', async (client) => {
      const name = nameHere(way, client);
      const { image, digest } = pushed.get(name)!;
      const layers = parseManifest(image.manifests.get(digest)!).layers!.map((layer) => layer.digest);
      expect(layers.map(givenOf)).toEqual([0, 0, 0]);
      await pull(client, name);
      // Also when somebody pulls it again.
      await pull(client, name);
      expect(layers.map(givenOf)).toEqual([1, 1, 1]);
      const [repository = '', tag = ''] = name.split(':');
      expect(contentOf(await fetchImage(site.weir, repository, tag))).toEqual(contentOf(image));
      expect(layers.map(givenOf)).toEqual([1, 1, 1]);
    });
  });

  test('podman gets the image for its platform of an index, and no other blob comes', async () => {
    const { image, platforms } = await push('team/multi', { platforms: ['amd64', 'arm64'], layers: 1 });
    const storage = makeContainerStorage(site, { HTTPS_PROXY: engine.proxyUrl });
    const authfile = `${credentials.get('podman')!}/config.json`;
    const podman = (...args: readonly string[]): Promise<string> =>
      run(installedProgram('podman'), [...storage.options('multi'), ...args], storage.command);
    const name = `${publicHost}/hub/team/multi:v1`;
    await podman('pull', '--cert-dir', storage.certificates, '--authfile', authfile, '--arch', 'arm64', name);
    expect(await podman('image', 'inspect', '--format', '{{.Architecture}}', name)).toBe('arm64\n');
    const layerOf = (platform: string): string =>
      parseManifest(image.manifests.get(platforms[platform]!)!).layers![0]!.digest;
    expect([givenOf(layerOf('arm64')), givenOf(layerOf('amd64'))]).toEqual([1, 0]);
  });

  test('skopeo copies a whole index, bit for bit', async () => {
    const { image } = await push('team/whole', { platforms: ['amd64', 'arm64', 's390x'], layers: 2 });
    const { command, certificates } = makeContainerStorage(site, { HTTPS_PROXY: engine.proxyUrl });
    const options = ['--src-cert-dir', certificates, '--src-authfile', `${credentials.get('skopeo')!}/config.json`];
    const target = `oci:${site.workspace.path('whole')}:v1`;
    await run(
      installedProgram('skopeo'),
      ['copy', '--all', ...options, `docker://${publicHost}/hub/team/whole:v1`, target],
      command,
    );
    expect(contentOf(await fetchImage(site.weir, 'hub/team/whole', 'v1'))).toEqual(contentOf(image));
  });

  test('an image in the format of Docker stays what it is', async () => {
    const { digest } = await push('team/docker', { format: 'docker' });
    await pull('docker', 'hub/team/docker:v1');
    expect(await fetchManifest(site.weir, 'hub/team/docker', 'v1')).toMatchObject({
      digest,
      mediaType: mediaTypes.dockerManifest,
    });
  });

  test.each(clientNames)('%s is told why nothing can be pushed to a cache project', async (client) => {
    const { exitCode, stdout, stderr } = await clients[client].push(credentials.get(client)!, 'hub/team/own:v1');
    expect(exitCode).not.toBe(0);
    expect(stdout + stderr).toContain(`project hub is a cache of ${upstream.host}, and takes no pushes`);
  });

  test('who asks as containerd asks a mirror gets what the other registry has', async () => {
    const { image, digest } = await push('team/mirrored');
    const mirror = new Mirror(site.weir, upstream.host);
    try {
      const tag = await mirror.ask('HEAD', 'team/mirrored/manifests/v1');
      expect(tag.headers['docker-content-digest']).toBe(digest);
      expect(mirror.scopes).toEqual(['repository:hub/team/mirrored:pull']);
      const manifest = await mirror.ask('GET', `team/mirrored/manifests/${digest}`);
      expect(manifest.body).toEqual(image.manifests.get(digest));
      for (const [blob, bytes] of image.blobs) {
        const { body } = await mirror.ask('GET', `team/mirrored/blobs/${blob}`);
        expect(body.equals(bytes)).toBe(true);
        expect(givenOf(blob)).toBeGreaterThan(0);
      }
    } finally {
      await mirror.close();
    }
  });

  describe('when the other registry is stopped', () => {
    beforeAll(() => upstream.stop());

    test.each(clientNames)('%s pulls what others pulled before', async (client) => {
      for (const way of ways) {
        for (const other of clientNames) await pull(client, nameHere(way, other));
      }
    });

    test('an index is here as it was', async () => {
      const image = await fetchImage(site.weir, 'hub/team/whole', 'v1');
      expect(image.manifests.size).toBe(4);
    });

    test('what nobody pulled cannot be had for now, and the client is told why', async () => {
      const outcome = await clients.crane.pull(credentials.get('crane')!, 'hub/team/never:v1');
      expect(outcome.exitCode).not.toBe(0);
      expect(outcome.stdout + outcome.stderr).toContain(`${upstream.host} does not answer`);
    });
  });
}

/** A client that asks a mirror as containerd does: the registry it means is in the query, and the scope is the one it is told. */
class Mirror {
  readonly #weir: { readonly url: string; readonly username: string; readonly password: string };
  readonly #registry: string;
  readonly #agent: Agent;
  readonly scopes: string[] = [];
  #token: string | undefined;

  constructor(
    weir: {
      readonly url: string;
      readonly username: string;
      readonly password: string;
      readonly caCertificate: string;
    },
    registry: string,
  ) {
    this.#weir = weir;
    this.#registry = registry;
    this.#agent = new Agent({ connect: { ca: weir.caCertificate } });
  }

  close(): Promise<void> {
    return this.#agent.close();
  }

  async ask(
    method: 'GET' | 'HEAD',
    path: string,
  ): Promise<{ readonly headers: Readonly<Record<string, string | string[] | undefined>>; readonly body: Buffer }> {
    const target = `/v2/${path}?ns=${encodeURIComponent(this.#registry)}`;
    let answer = await this.#send(method, target, this.#token && `Bearer ${this.#token}`);
    if (answer.status === 401) {
      this.#token = await this.#fetchToken(String(answer.headers['www-authenticate']));
      answer = await this.#send(method, target, `Bearer ${this.#token}`);
    }
    expect({ target, status: answer.status }).toEqual({ target, status: 200 });
    return answer;
  }

  async #fetchToken(challenge: string): Promise<string> {
    const parameter = (name: string): string => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? '';
    this.scopes.push(parameter('scope'));
    const query = new URLSearchParams({ service: parameter('service'), scope: parameter('scope') });
    const { username, password } = this.#weir;
    const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    // Of the realm the path: the host is reached by another name here.
    const { pathname } = new URL(parameter('realm'));
    const { body } = await this.#send('GET', `${pathname}?${query.toString()}`, basic);
    return (JSON.parse(body.toString('utf8')) as { readonly token: string }).token;
  }

  async #send(method: 'GET' | 'HEAD', target: string, authorization: string | undefined) {
    const { statusCode, headers, body } = await request(this.#weir.url + target, {
      method,
      dispatcher: this.#agent,
      headers: {
        accept: `${Object.values(mediaTypes).join(', ')}, */*`,
        ...(authorization !== undefined && { authorization }),
      },
    });
    return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()) };
  }
}
