import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ColdPullOrder, ColdPullReport } from './cold-pull-clients.js';
import { makeImage, type ColdImage } from './cold-pull-image.js';
import type { ColdUpstreamReady, ColdUpstreamReport } from './cold-pull-upstream.js';
import type { Registry, RunningRegistry } from './registries.js';
import { median } from './report.js';
import { Api, apiToken } from './watch.js';

/** How much is pulled. */
export interface ColdPullLoad {
  readonly clients: number;
  readonly layers: number;
  /** Bytes of each layer. */
  readonly layerSize: number;
  readonly rounds: number;
  /** Which ways are wanted. */
  readonly wants: (way: string) => boolean;
}

/** What the registries are made with. */
export interface ColdPullRegistries {
  readonly weir: (environment: Readonly<Record<string, string>>) => Registry;
  /** As a pull-through cache of a registry; undefined when it cannot be had. */
  readonly distribution: ((upstream: URL) => Registry) | undefined;
}

/** One way to an image of another registry, in one round: first nothing of it is there, and then all. */
export interface ColdPullRun {
  readonly way: string;
  readonly cold: ColdPull;
  readonly warm: ColdPull;
  /** Bytes of the registry: before, and at most. */
  readonly memory: { readonly idle: number; readonly peak: number };
}

/** What all clients at once had to do with. */
export interface ColdPull {
  /** Until the last of them had all. */
  readonly seconds: number;
  readonly bytes: number;
  /** Milliseconds from asking for a layer to its first byte: half of them, and the longest. */
  readonly firstByte: { readonly p50: number; readonly max: number };
  /** How often the other registry was asked for the layer that it was asked for most often. */
  readonly fetches: number;
  /** Of the config, which tells what the image is before anybody pulls it. */
  readonly configFetches: number;
  readonly upstreamBytes: number;
  readonly errors: readonly string[];
}

/** Weir may be at most so many bytes larger than before. */
const memoryLimit = 512 * 1024 * 1024;
const clientProcesses = 2;
const repository = 'bench/app';
const tag = 'v1';

/** Lets many clients pull one image at the same time, through Weir and through distribution, from a registry of ours. */
export async function measureColdPull(
  { weir, distribution }: ColdPullRegistries,
  load: ColdPullLoad,
  folder: string,
  say: (text: string) => void,
): Promise<readonly ColdPullRun[]> {
  const runs: ColdPullRun[] = [];
  for (let round = 0; round < load.rounds; round += 1) {
    const image = makeImage(path.join(folder, `image-${round}`), load.layers, load.layerSize);
    const upstream = await Upstream.start(image);
    const settings = { WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1', WEIR_IMPORTS_AUTOMATIC: 'false' };
    const ways: readonly Way[] = [
      { name: 'Weir, cache project', registry: weir(settings), prepare: prepareCache },
      { name: 'Weir, imported tag', registry: weir(settings), prepare: prepareImport },
      ...(distribution === undefined
        ? []
        : [
            {
              name: 'distribution, cache',
              registry: distribution(new URL(`http://${upstream.host}`)),
              prepare: () => Promise.resolve({ repository, authorization: undefined }),
            },
          ]),
    ];
    for (const way of ways.filter(({ name }) => load.wants(name))) {
      const own = path.join(folder, `${round}-${ways.indexOf(way)}`);
      fs.mkdirSync(own);
      say(`${way.name}, round ${round + 1} of ${load.rounds} ...`);
      runs.push(await measureWay(way, { upstream, image, load, folder: own }));
      fs.rmSync(own, { recursive: true });
    }
    upstream.stop();
    fs.rmSync(image.folder, { recursive: true });
  }
  return runs;
}

/** How clients reach the image. */
interface Entrance {
  readonly repository: string;
  readonly authorization: string | undefined;
}

interface Way {
  readonly name: string;
  readonly registry: Registry;
  readonly prepare: (registry: RunningRegistry, upstream: Upstream) => Promise<Entrance>;
}

async function measureWay(
  { name, registry, prepare }: Way,
  {
    upstream,
    image,
    load,
    folder,
  }: {
    readonly upstream: Upstream;
    readonly image: ColdImage;
    readonly load: ColdPullLoad;
    readonly folder: string;
  },
): Promise<ColdPullRun> {
  const running = await registry.start(folder);
  try {
    const entrance = await prepare(running, upstream);
    await upstream.report();
    const idle = running.memory()?.resident ?? NaN;
    const order = { ...entrance, url: running.url.href, tag, image };
    const cold = await pullTogether(order, load, upstream);
    const warm = await pullTogether(order, load, upstream);
    return { way: name, cold, warm, memory: { idle, peak: running.memory()?.peak ?? NaN } };
  } finally {
    await running.stop();
  }
}

async function pullTogether(
  order: Omit<ColdPullOrder, 'clients'>,
  { clients }: ColdPullLoad,
  upstream: Upstream,
): Promise<ColdPull> {
  const share = Math.ceil(clients / clientProcesses);
  const program = fileURLToPath(new URL('cold-pull-clients.js', import.meta.url));
  const reports = await Promise.all(
    Array.from({ length: clientProcesses }, async (_, position): Promise<ColdPullReport> => {
      const child = fork(program);
      const mine = Math.min(share, clients - position * share);
      const answered = once(child, 'message') as Promise<[ColdPullReport]>;
      const ended = once(child, 'exit');
      child.send({ ...order, clients: mine } satisfies ColdPullOrder);
      const answer = await Promise.race([answered, ended.then(() => undefined)]);
      if (answer === undefined) throw new Error('the clients ended before they had all');
      child.disconnect();
      return answer[0];
    }),
  );
  const asked = await upstream.report();
  const ends = reports.flatMap((report) => report.ends);
  const firstBytes = reports.flatMap((report) => report.firstBytes);
  const missing = clients - ends.length;
  return {
    seconds: largest(ends) / 1000,
    bytes: reports.reduce((sum, { bytes }) => sum + bytes, 0),
    firstByte: { p50: median(firstBytes) ?? NaN, max: largest(firstBytes) },
    fetches: largest(order.image.layers.map(({ digest }) => asked.blobs[digest] ?? 0)),
    configFetches: asked.blobs[order.image.config.digest] ?? 0,
    upstreamBytes: asked.bytes,
    errors: [
      ...(missing > 0 ? [`${missing} clients did not get all`] : []),
      ...new Set(reports.flatMap(({ errors }) => errors)),
    ],
  };
}

/** As a table, with the ratios to distribution. */
export function formatColdPull(runs: readonly ColdPullRun[], { clients, layers, layerSize }: ColdPullLoad): string {
  const theirs = mediansOf(runs, 'distribution, cache');
  const lines = waysOf(runs).flatMap((way) => {
    const of = mediansOf(runs, way);
    return [
      `${way}:`,
      ...(['cold', 'warm'] as const).map((kind) => {
        const { seconds, rate, p50, max, fetches, upstreamMB } = of[kind];
        const ratio =
          way.startsWith('Weir') && theirs[kind].rate > 0 ? ` (${(rate / theirs[kind].rate).toFixed(2)})` : '';
        return (
          `  ${kind}   ${seconds.toFixed(1)} s, ${rate.toFixed(0)} MB/s${ratio}; ` +
          `first byte of a layer ${p50.toFixed(0)} ms, at most ${max.toFixed(0)} ms; ` +
          `each layer fetched ${fetches} times, ${upstreamMB.toFixed(0)} MB in all`
        );
      }),
      `  memory idle ${of.idle.toFixed(0)} MiB, at most ${of.peak.toFixed(0)} MiB`,
    ];
  });
  return [
    `${clients} clients at once, one image of ${layers} layers of ${Math.round(layerSize / MiB)} MiB, three blobs at a time each.`,
    'In brackets the rate divided by that of distribution: above 1 Weir is faster.',
    '',
    ...lines,
  ].join('\n');
}

/** What does not hold that must; empty when all does. */
export function coldPullShortfalls(runs: readonly ColdPullRun[]): string[] {
  const theirs = mediansOf(runs, 'distribution, cache');
  const ofRuns = runs.flatMap(({ way, cold, warm, memory }) => [
    ...[...cold.errors, ...warm.errors].map((error) => `${way}: ${error}`),
    ...(way.startsWith('Weir') && cold.fetches !== 1 ? [`${way}: a layer was fetched ${cold.fetches} times`] : []),
    ...(way.startsWith('Weir') && warm.upstreamBytes > 0 ? [`${way}: what was here was fetched again`] : []),
    ...(way.startsWith('Weir') && memory.peak - memory.idle > memoryLimit
      ? [`${way}: memory grows by ${Math.round((memory.peak - memory.idle) / MiB)} MiB`]
      : []),
  ]);
  const slower = waysOf(runs)
    .filter((way) => way.startsWith('Weir'))
    .flatMap((way) =>
      (['cold', 'warm'] as const)
        .map((kind) => ({ kind, ratio: mediansOf(runs, way)[kind].rate / theirs[kind].rate }))
        .filter(({ ratio }) => ratio < 1)
        .map(({ kind, ratio }) => `${way}, ${kind}: ${ratio.toFixed(2)} of distribution's MB/s`),
    );
  return [...new Set([...ofRuns, ...slower])];
}

const MiB = 1024 * 1024;

function waysOf(runs: readonly ColdPullRun[]): readonly string[] {
  return [...new Set(runs.map(({ way }) => way))];
}

/** Of the rounds of one way; NaN where there is none. */
function mediansOf(runs: readonly ColdPullRun[], way: string) {
  const own = runs.filter((run) => run.way === way);
  const middle = (of: (run: ColdPullRun) => number): number => median(own.map(of)) ?? NaN;
  const pullOf = (kind: 'cold' | 'warm') => ({
    seconds: middle((run) => run[kind].seconds),
    rate: middle((run) => run[kind].bytes / 1_000_000 / run[kind].seconds),
    p50: middle((run) => run[kind].firstByte.p50),
    max: middle((run) => run[kind].firstByte.max),
    fetches: middle((run) => run[kind].fetches),
    upstreamMB: middle((run) => run[kind].upstreamBytes / 1_000_000),
  });
  return {
    cold: pullOf('cold'),
    warm: pullOf('warm'),
    idle: middle((run) => run.memory.idle / MiB),
    peak: middle((run) => run.memory.peak / MiB),
  };
}

function largest(numbers: readonly number[]): number {
  return numbers.reduce((most, number) => Math.max(most, number), -Infinity);
}

async function prepareCache(registry: RunningRegistry, { host }: Upstream): Promise<Entrance> {
  const api = await openApi(registry);
  await api.send('POST', '/apis/project.openshift.io/v1/projectrequests', { metadata: { name: 'hub' } });
  await api.send('POST', '/apis/weir.dev/v1/namespaces/hub/upstreamcaches', {
    metadata: { name: 'upstream' },
    spec: { registry: host, insecure: true },
  });
  api.close();
  return entranceTo(registry, `hub/${repository}`);
}

async function prepareImport(registry: RunningRegistry, { host }: Upstream): Promise<Entrance> {
  const api = await openApi(registry);
  await api.send('POST', '/apis/project.openshift.io/v1/projectrequests', { metadata: { name: 'team' } });
  const from = { kind: 'DockerImage', name: `${host}/${repository}:${tag}` };
  const policy = { importPolicy: { insecure: true }, referencePolicy: { type: 'Local' } };
  await api.send('POST', '/apis/image.openshift.io/v1/namespaces/team/imagestreamimports', {
    metadata: { name: 'app' },
    spec: { import: true, images: [{ from, to: { name: tag }, ...policy }] },
  });
  api.close();
  return entranceTo(registry, 'team/app');
}

async function openApi({ url, credentials }: RunningRegistry): Promise<Api> {
  return new Api(url, await apiToken(url, credentials!));
}

/** With one token for all clients. */
async function entranceTo({ url, credentials }: RunningRegistry, name: string): Promise<Entrance> {
  const query = new URLSearchParams({ service: 'weir-registry', scope: `repository:${name}:pull` });
  const basic = Buffer.from(`${credentials!.name}:${credentials!.password}`).toString('base64');
  const answer = await fetch(new URL(`/auth/token?${query.toString()}`, url), {
    headers: { Authorization: `Basic ${basic}` },
  });
  const { token } = (await answer.json()) as { readonly token: string };
  return { repository: name, authorization: `Bearer ${token}` };
}

/** The other registry, in its own process. */
class Upstream {
  readonly host: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, { host }: ColdUpstreamReady) {
    this.#child = child;
    this.host = host;
  }

  static async start(image: ColdImage): Promise<Upstream> {
    const program = fileURLToPath(new URL('cold-pull-upstream.js', import.meta.url));
    const child = fork(program, [JSON.stringify(image)]);
    const [ready] = (await once(child, 'message')) as [ColdUpstreamReady];
    return new Upstream(child, ready);
  }

  /** What it was asked for since this was last called. */
  async report(): Promise<ColdUpstreamReport> {
    const answered = once(this.#child, 'message') as Promise<[ColdUpstreamReport]>;
    this.#child.send({});
    const [report] = await answered;
    return report;
  }

  stop(): void {
    this.#child.disconnect();
  }
}
