import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryClient, sha256, sha512 } from '../test/faults/registry-client.js';
import { fetchToken } from '../test/replicas/replica-client.js';
import { StreamWatch, type ToldChange } from '../test/replicas/stream-watch.js';
import { expectDone, makeClients, makeCredentials, type Client, type ClientName } from './support/clients.js';
import { everythingOptional, runConformance, type ConformanceSummary } from './support/conformance-program.js';
import { startConnectProxy, type ConnectProxy } from './support/connect-proxy.js';
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { follow } from './support/follow.js';
import { buildImage, contentOf, mediaTypes, randomFiles } from './support/image.js';
import { bindRole, makeProject, openKubeApi } from './support/kube-api.js';
import { writeKubeconfig } from './support/kubeconfig.js';
import { fetchImage, pushImage } from './support/registry-api.js';
import { addUserOfReplicas, siteWithReplicas, type ReplicaSite } from './support/replicas.js';
import { describeWithPrograms, installedProgram, skipLoudly } from './support/suite.js';

const count = 3;
const KiB = 1024;
const MiB = 1024 * KiB;

describeWithPrograms('three replicas, each request to the next one', ['conformance', 'kubectl', 'versitygw'], () => {
  const site = siteWithReplicas({ count, settings: { WEIR_POLICY_SPARSE: 'images,indexes' } });

  describe('the official conformance program, with all that is optional', () => {
    let summary: ConformanceSummary = {};
    let proxy: ConnectProxy;

    beforeAll(async () => {
      const project = 'conformance';
      const api = await openKubeApi(site.weir);
      await makeProject(api, project);
      const login = await addUserOfReplicas(site, 'editor');
      await bindRole(api, project, 'registry-editor', { user: login.username });
      proxy = await startConnectProxy(site.weir.port);
      const environment = { HTTPS_PROXY: proxy.url };
      summary = await runConformance(site, {
        project,
        login,
        settings: everythingOptional,
        host: publicHost,
        environment,
      });
    });
    afterAll(() => proxy.close());

    test.each(['FAIL', 'Error', 'Skip', 'Disabled'])('no test ends with "%s"', (name) => {
      expect(summary[name]).toBe(0);
    });
    test('more than 800 tests pass', () => {
      expect(summary['Pass']).toBeGreaterThan(800);
    });
    test('every replica had a third of the requests', () => {
      const { counts } = site.replicas.balancer;
      expect(Math.min(...counts)).toBeGreaterThan(300);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(10);
    });
  });

  clientsSuite(site);
  uploadsSuite(site);
  watchSuite(site);
});

function clientsSuite(site: ReplicaSite): void {
  const obstacle = whyNoDockerEngine();
  if (obstacle !== undefined) {
    skipLoudly('clients of three replicas', obstacle);
    return;
  }
  const programs = ['docker', 'dockerd', 'podman', 'skopeo', 'crane'];
  describeWithPrograms('clients', programs, () => {
    let engine: DockerEngine;
    let clients: Readonly<Record<ClientName, Client>>;

    beforeAll(async () => {
      engine = await startDockerEngine(site, 'engine');
      clients = await makeClients({ site, engine });
    });
    afterAll(() => engine.stop());

    test.each<ClientName>(['docker', 'podman', 'skopeo', 'crane'])(
      '%s pushes, and pulls what is whole',
      async (name) => {
        const credentials = makeCredentials(site, name);
        const { username, password } = site.weir;
        expectDone(await clients[name].login(credentials, { username, password }));
        const before = [...site.replicas.balancer.counts];
        expectDone(await clients[name].push(credentials, `clients/${name}:v1`));
        const image = await fetchImage(site.weir, `clients/${name}`, 'v1');
        expect(image.blobs.size).toBeGreaterThan(1);
        expectDone(await clients[name].pull(credentials, `clients/${name}:v1`));
        const given = site.replicas.balancer.counts.map((requests, position) => requests - before[position]!);
        expect(Math.min(...given)).toBeGreaterThan(1);
      },
    );
  });
}

/** Speaks to each replica by itself: what comes to which one is then certain. */
function uploadsSuite(site: ReplicaSite): void {
  let clients: RegistryClient[] = [];
  /** Counts requests, over and over through the replicas. */
  let turn = 0;
  const next = (): RegistryClient => clients[turn++ % clients.length]!;

  beforeAll(async () => {
    clients = site.replicas.all.map(({ url }) => new RegistryClient(url));
    for (const client of clients) await client.expect(200, 'GET', '/v2/');
  });
  afterAll(() => {
    for (const client of clients) client.close();
  });

  const uploads = '/v2/uploads/app/blobs/uploads/';
  const digestOf = { sha256, sha512 };
  const algorithms = ['sha256', 'sha512'] as const;
  const sizes = [
    { name: '1 KiB', chunk: KiB },
    { name: '1 MiB', chunk: MiB },
    { name: '6 MiB', chunk: 6 * MiB },
    { name: '20 MiB', chunk: 20 * MiB },
  ];

  describe.each(algorithms)('a chunked upload with %s, each request to another replica', (algorithm) => {
    describe.each([
      { how: 'told when it begins', query: `?digest-algorithm=${algorithm}` },
      { how: 'told by the digest at its end', query: '' },
    ])('$how', ({ query }) => {
      test.each(sizes)('chunks of $name', async ({ chunk }) => {
        // What is left for the end is nothing, something, or more than a chunk: by turns over the sizes.
        const bytes = randomBytes(3 * chunk + (chunk % 7) * 1000 + 17);
        const { headers } = await next().expect(202, 'POST', uploads + query);
        const location = headers.location!;
        for (let start = 0; start < 3 * chunk; start += chunk) {
          const range = { 'content-range': `${start}-${start + chunk - 1}` };
          const answer = await next().expect(202, 'PATCH', location, {
            headers: range,
            body: bytes.subarray(start, start + chunk),
          });
          expect(answer.headers['range']).toBe(`0-${start + chunk - 1}`);
          const status = await next().expect(204, 'GET', location);
          expect(status.headers['range']).toBe(`0-${start + chunk - 1}`);
        }
        const digest = digestOf[algorithm](bytes);
        const body = bytes.subarray(3 * chunk);
        await next().expect(201, 'PUT', `${location}?digest=${digest}`, { body });
        const read = await next().expect(200, 'GET', `/v2/uploads/app/blobs/${digest}`);
        expect(read.body.equals(bytes)).toBe(true);
      });
    });

    test('a chunk out of order is refused, and the upload goes on where it stands', async () => {
      const bytes = randomBytes(3 * MiB);
      const { headers } = await next().expect(202, 'POST', uploads);
      const location = headers.location!;
      const first = { headers: { 'content-range': `0-${MiB - 1}` }, body: bytes.subarray(0, MiB) };
      await next().expect(202, 'PATCH', location, first);
      await next().expect(416, 'PATCH', location, first);
      const digest = digestOf[algorithm](bytes);
      await next().expect(201, 'PUT', `${location}?digest=${digest}`, { body: bytes.subarray(MiB) });
      expect((await next().expect(200, 'GET', `/v2/uploads/app/blobs/${digest}`)).body.equals(bytes)).toBe(true);
    });
  });

  describe.each(algorithms)('what is pushed in one piece is not read again, with %s', (algorithm) => {
    test.each([
      { way: 'POST and PUT', size: 100 * KiB },
      { way: 'POST and PUT', size: 30 * MiB },
      { way: 'POST, PATCH and PUT', size: 100 * KiB },
      { way: 'POST, PATCH and PUT', size: 30 * MiB },
      { way: 'POST alone', size: 100 * KiB },
      { way: 'POST alone', size: 30 * MiB },
    ])('$way, $size bytes', async ({ way, size }) => {
      const { proxy } = site.replicas.servers;
      const bytes = randomBytes(size);
      const digest = digestOf[algorithm](bytes);
      proxy.reset();
      if (way === 'POST alone') {
        await next().expect(201, 'POST', `${uploads}?digest=${digest}`, { body: bytes });
      } else {
        const { headers } = await next().expect(202, 'POST', `${uploads}?digest-algorithm=${algorithm}`);
        const location = headers.location!;
        if (way === 'POST and PUT') {
          await next().expect(201, 'PUT', `${location}?digest=${digest}`, { body: bytes });
        } else {
          await next().expect(202, 'PATCH', location, { body: bytes });
          await next().expect(201, 'PUT', `${location}?digest=${digest}`);
        }
      }
      const { GetObject = 0, HeadObject = 0, UploadPartCopy = 0, ListParts = 0 } = proxy.counts();
      expect({ GetObject, HeadObject, UploadPartCopy, ListParts }).toEqual({
        GetObject: 0,
        HeadObject: 0,
        UploadPartCopy: 0,
        ListParts: 0,
      });
      expect((await next().expect(200, 'GET', `/v2/uploads/app/blobs/${digest}`)).body.equals(bytes)).toBe(true);
    });
  });

  test('an image that one replica was given is whole at all others at once', async () => {
    const image = buildImage(randomFiles(3));
    await pushImage(site.weir, 'uploads/image', 'v1', image);
    for (let pulls = 0; pulls < 2 * count; pulls += 1) {
      expect(contentOf(await fetchImage(site.weir, 'uploads/image', 'v1'))).toEqual(contentOf(image));
    }
  });
}

function watchSuite(site: ReplicaSite): void {
  const index = (): { readonly headers: Record<string, string>; readonly body: Buffer } => ({
    headers: { 'content-type': mediaTypes.index },
    body: Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.index,
        manifests: [],
        annotations: { random: randomBytes(8).toString('hex') },
      }),
    ),
  });

  test('a watch at one replica sees at once what another one has committed', async () => {
    const [watched, pushedTo] = site.replicas.all;
    const client = new RegistryClient(pushedTo!.url);
    await client.expect(201, 'PUT', '/v2/watched/app/manifests/v0', index());
    const watch = await StreamWatch.start({ url: watched!.url, token: await fetchToken(watched!.url) }, 'watched');
    const delays: number[] = [];
    for (let change = 1; change <= 100; change += 1) {
      const told = new Promise<ToldChange>((resolve) => {
        watch.onChange = resolve;
      });
      await client.expect(201, 'PUT', `/v2/watched/app/manifests/v${change % 10}`, index());
      const committedAt = performance.now();
      // It may be told before the one who pushed is.
      delays.push(Math.max(0, (await told).at - committedAt));
    }
    await watch.stop();
    client.close();
    expect(watch.violations).toEqual([]);
    expect(watch.told).toHaveLength(100);
    const sorted = delays.sort((one, other) => one - other);
    const [median, max] = [sorted[50]!, sorted[99]!];
    console.log(
      `replicas: a watch sees another replica's commit after ${median.toFixed(1)} ms (median), ${max.toFixed(1)} ms (max of 100)`,
    );
    expect(max).toBeLessThan(1000);
  });

  test('kubectl watches through the balancer while others push through it', async () => {
    const api = await openKubeApi(site.weir);
    await makeProject(api, 'followed');
    const token = await fetchToken(site.replicas.all[0]!.url);
    const kubeconfig = writeKubeconfig(site, [{ name: 'watcher', token, namespace: 'followed' }]);
    const command = { environment: { ...site.workspace.environment, KUBECONFIG: kubeconfig } };
    const watch = follow(installedProgram('kubectl'), ['get', 'imagestreams', '--watch'], command);
    try {
      for (const name of ['first', 'second', 'third', 'fourth']) {
        await pushImage(site.weir, `followed/${name}`, 'v1', buildImage(randomFiles(1, 1000)));
        await watch.waitFor(new RegExp(`^${name} `, 'm'));
      }
    } finally {
      await watch.stop();
    }
  });
}
