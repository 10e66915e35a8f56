import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { makeBlob } from './blobs.js';
import { RegistryClient, type Credentials } from './registry-client.js';
import type { Registry, RunningRegistry } from './registries.js';
import { median } from './report.js';
import { numberImages, seedStreams, tagNameOf, type Seeded, type SeededStream } from './stream-seed.js';

/** What to seed and how long to measure. */
export interface StreamLoad {
  readonly streams: number;
  /** Of each stream. */
  readonly tags: number;
  readonly rounds: number;
  /** Which rows to run. */
  readonly wants: (row: string) => boolean;
}

/** What was measured. */
export interface StreamsResult {
  readonly load: StreamLoad;
  readonly images: number;
  readonly seedSeconds: number;
  /** Bytes of the full database. */
  readonly size: number;
  readonly rows: readonly StreamsRow[];
}

/** The same request where there is little and where there is much, in milliseconds: medians of the rounds. */
export interface StreamsRow {
  readonly name: string;
  readonly small: Latency;
  readonly large: Latency;
}

interface Latency {
  readonly p50: number;
  readonly p99: number;
}

/** Of the times in the small and in the large; more is a scan somewhere. */
const limit = 2;
const requestsPerRound = 100;
const warmUps = 20;
const projects = 100;
const bigProject = 'bench-big';
/** Rows of a page of the tag list, and of the history. */
const pageSize = 50;

/**
 * Measures the requests that streams get on two registries in turn: one that has next to nothing, and one with many streams
 * and a few very big ones. Streams, tags and pages are chosen anew for each request.
 */
export async function measureStreams(
  registry: Registry,
  load: StreamLoad,
  folder: string,
  say: (text: string) => void,
): Promise<StreamsResult> {
  const usual = { tags: load.tags, events: 1 };
  const first = { project: 'bench-0', ...usual };
  const [empty, full] = [path.join(folder, 'empty'), path.join(folder, 'full')];
  // The second stream is pushed to, which would make the first one longer.
  const small = await SeededRegistry.start(registry, empty, [
    { ...first, name: 's0' },
    { ...first, name: 's1' },
  ]);
  say(`seeding ${load.streams} streams with ${load.tags} tags each ...`);
  const large = await SeededRegistry.start(registry, full, [
    ...Array.from({ length: load.streams }, (_, n) => ({ project: `bench-${n % projects}`, name: `s${n}`, ...usual })),
    ...[100, 10_000, 100_000].map((tags) => ({ project: bigProject, name: `tags-${tags}`, tags, events: 1 })),
    ...[100, 10_000].map((events) => ({ project: bigProject, name: `events-${events}`, tags: 1, events })),
  ]);
  const { images, seconds } = large.seeded;
  const size = fs.statSync(databaseIn(full)).size;
  say(`${images} images in ${seconds.toFixed(0)} s, ${(size / 1e9).toFixed(1)} GB`);
  const rows = [...crowdRows(small, large, load), ...(await bigRows(large))].filter(({ name }) => load.wants(name));
  const measured = await measureRows(rows, load.rounds, say);
  await small.stop();
  await large.stop();
  return { load, images, seedSeconds: seconds, size, rows: measured };
}

/** As a table. */
export function formatStreams({ load, images, seedSeconds, size, rows }: StreamsResult): string {
  const cells = rows.map(({ name, small, large }) => {
    const times = [small.p50, small.p99, large.p50, large.p99].map((ms) => ms.toFixed(2));
    return [name, ...times, ratioOf({ small, large }).toFixed(2), isWithin({ small, large }) ? 'yes' : 'NO'];
  });
  const table = [['milliseconds', 'p50', 'p99', 'p50', 'p99', 'ratio', `within ${limit}x`], ...cells];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return [
    `${load.streams} streams of ${load.tags} tags and some big ones: ${images} images, seeded in` +
      ` ${seedSeconds.toFixed(0)} s, ${(size / 1e9).toFixed(1)} GB. Medians of ${load.rounds} rounds; the first two figures are` +
      ' of the registry or stream that has little, the next two of the one that has much; the ratio is of the p50.',
    '',
    ...table.map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('   '),
    ),
  ].join('\n');
}

/** What does not hold that must; empty when all does. */
export function streamsShortfalls({ rows }: StreamsResult): string[] {
  return rows.filter((row) => !isWithin(row)).map((row) => `${row.name}: ${ratioOf(row).toFixed(2)} times the p50`);
}

function ratioOf({ small, large }: Pick<StreamsRow, 'small' | 'large'>): number {
  return large.p50 / small.p50;
}

function isWithin(row: Pick<StreamsRow, 'small' | 'large'>): boolean {
  return ratioOf(row) <= limit;
}

/** A request, and what of its answer shows that it is the right one. */
interface Ask {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly body?: Buffer;
  readonly status: number;
  /** Somewhere in the body, or the Docker-Content-Digest. */
  readonly holds: string;
}

/** Where something is asked, and what: another thing each time. */
interface Source {
  readonly registry: SeededRegistry;
  readonly ask: () => Ask;
}

/** The same request where there is little and where there is much. */
interface Comparison {
  readonly name: string;
  readonly small: Source;
  readonly large: Source;
}

/** Registries with few and with many streams. */
function crowdRows(small: SeededRegistry, large: SeededRegistry, load: StreamLoad): readonly Comparison[] {
  const compare = (name: string, askOf: (registry: SeededRegistry, stream: SeededStream) => Ask): Comparison => ({
    name,
    small: { registry: small, ask: () => askOf(small, small.streams[0]!) },
    large: { registry: large, ask: () => askOf(large, large.streams[below(load.streams)]!) },
  });
  const pages = Math.min(load.tags, pageSize);
  return [
    compare('GET imagestreamtag', askTag),
    compare('GET manifest by tag', (registry, stream) => {
      const { image, tag } = registry.randomTag(stream);
      return get(`/v2/${stream.project}/${stream.name}/manifests/${tag}`, image);
    }),
    compare('tags/list?n=100', (_, stream) =>
      get(`/v2/${stream.project}/${stream.name}/tags/list?n=100`, tagNameOf(stream, 0)),
    ),
    compare('GET imagestream', (registry, stream) =>
      get(`${imageApi(stream)}/imagestreams/${stream.name}`, registry.randomTag(stream).image),
    ),
    compare('history of a tag', (registry, stream) => {
      const { image, tag } = registry.randomTag(stream);
      return get(`${weirApi(stream)}/imagestreamtags/${stream.name}:${tag}/history`, image);
    }),
    compare(`history of a stream, ${pages} events`, (_, stream) =>
      get(`${weirApi(stream)}/imagestreams/${stream.name}/history?limit=${pages}`, 'sha256:'),
    ),
    compare(`activity of a project, ${pages} events`, (_, stream) =>
      get(`${weirApi(stream)}/activities?limit=${pages}`, 'sha256:'),
    ),
    compare('move a tag', (registry, stream) => registry.moveTag(registry === small ? small.streams[1]! : stream)),
  ];
}

/** A small and a big stream, or a tag with a short and a long history, on one registry. */
async function bigRows(registry: SeededRegistry): Promise<readonly Comparison[]> {
  const find = (name: string): SeededStream => registry.streams.find((stream) => stream.name === name)!;
  const compare = (name: string, small: () => Ask, large: () => Ask): Comparison => ({
    name,
    small: { registry, ask: small },
    large: { registry, ask: large },
  });
  const tagOf = (stream: SeededStream) => () => askTag(registry, stream);
  const historyOf = async (stream: SeededStream): Promise<() => Ask> => {
    const tag = stream.tags === 1 ? `tags/${stream.name}:${tagNameOf(stream, 0)}` : `s/${stream.name}`;
    const url = `${weirApi(stream)}/imagestream${tag}/history`;
    return askPages(url, await registry.listPages(url, (stream.tags * stream.events) / 2));
  };
  const listOf = async (stream: SeededStream, sort: string): Promise<() => Ask> => {
    const url = `${weirApi(stream)}/imagestreams/${stream.name}/tags?sort=${sort}`;
    return askPages(url, await registry.listPages(url, stream.tags / 2));
  };
  const queryOf = (stream: SeededStream, q: () => { readonly text: string; readonly holds: string }) => (): Ask => {
    const { text, holds } = q();
    return get(`${weirApi(stream)}/imagestreams/${stream.name}/tags?q=${encodeURIComponent(text)}`, holds);
  };
  // Of v1.10 to v1.99, or v1.1000 to v1.9999: ten tags, however many there are.
  const globOf = (stream: SeededStream) => () => {
    const begin = `v1.${stream.tags / 100 + below((stream.tags * 9) / 100)}`;
    return { text: `${begin}?`, holds: `${begin}7` };
  };
  const partOf = (stream: SeededStream) => () => {
    const number = String(stream.tags / 10 + below((stream.tags * 9) / 10));
    return { text: number, holds: `v1.${number}` };
  };
  const digestOf = (stream: SeededStream) => () => {
    const { image, tag } = registry.randomTag(stream);
    return { text: image.slice(0, 'sha256:'.length + 12), holds: tag };
  };

  // None of them.
  const failingOf = (stream: SeededStream) => (): Ask =>
    get(`${weirApi(stream)}/imagestreams/${stream.name}/tags?state=failing&sort=-changed`, '"items":[]');

  const [few, short, long] = [find('tags-100'), find('events-100'), find('events-10000')];
  const rows = [
    compare('GET imagestreamtag of 10000 events', tagOf(short), tagOf(long)),
    compare('GET imagestream, one tag of 10000 events', askStream(registry, short), askStream(registry, long)),
    compare(`history of 10000 events, ${pageSize} events`, await historyOf(short), await historyOf(long)),
  ];
  for (const many of [find('tags-10000'), find('tags-100000')]) {
    const of = `of ${many.tags} tags`;
    rows.push(compare(`GET imagestreamtag ${of}`, tagOf(few), tagOf(many)));
    rows.push(compare(`history ${of}, ${pageSize} events`, await historyOf(few), await historyOf(many)));
    for (const sort of ['name', 'changed', 'size', '-changed']) {
      const name = `list ${of} by ${sort}, ${pageSize} tags`;
      rows.push(compare(name, await listOf(few, sort), await listOf(many, sort)));
    }
    rows.push(compare(`list ${of}, the failing ones`, failingOf(few), failingOf(many)));
    for (const [kind, q] of [
      ['a glob', globOf],
      ['a part of the name', partOf],
      ['a digest', digestOf],
    ] as const) {
      rows.push(compare(`list ${of}, ${kind}`, queryOf(few, q(few)), queryOf(many, q(many))));
    }
  }
  return rows;
}

function askTag(registry: SeededRegistry, stream: SeededStream): Ask {
  const { image, tag } = registry.randomTag(stream);
  return get(`${imageApi(stream)}/imagestreamtags/${stream.name}:${tag}`, image);
}

function askStream(registry: SeededRegistry, stream: SeededStream): () => Ask {
  return () => get(`${imageApi(stream)}/imagestreams/${stream.name}`, registry.randomTag(stream).image);
}

/** A page somewhere in a list. */
function askPages(url: string, begins: readonly string[]): () => Ask {
  return () => get(withQuery(url, `limit=${pageSize}${begins[below(begins.length)]!}`), 'sha256:');
}

function get(url: string, holds: string): Ask {
  return { method: 'GET', path: url, status: 200, holds };
}

function imageApi({ project }: SeededStream): string {
  return `/apis/image.openshift.io/v1/namespaces/${project}`;
}

function weirApi({ project }: SeededStream): string {
  return `/apis/weir.dev/v1/namespaces/${project}`;
}

function withQuery(url: string, query: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}${query}`;
}

/** A whole number from 0, exclusive of the limit. */
function below(end: number): number {
  return Math.floor(Math.random() * end);
}

async function measureRows(
  rows: readonly Comparison[],
  rounds: number,
  say: (text: string) => void,
): Promise<readonly StreamsRow[]> {
  const measured = new Map(rows.map(({ name }) => [name, { small: [] as Latency[], large: [] as Latency[] }]));
  for (let round = 1; round <= rounds; round += 1) {
    say(`round ${round} of ${rounds}`);
    for (const row of rows) {
      const { small, large } = await measureRow(row);
      measured.get(row.name)!.small.push(small);
      measured.get(row.name)!.large.push(large);
    }
  }
  const middle = (latencies: readonly Latency[]): Latency => ({
    p50: median(latencies.map(({ p50 }) => p50)) ?? NaN,
    p99: median(latencies.map(({ p99 }) => p99)) ?? NaN,
  });
  return [...measured].map(([name, { small, large }]) => ({ name, small: middle(small), large: middle(large) }));
}

/** One request here and one there, so that what else the machine does hits both. */
async function measureRow({ small, large }: Comparison): Promise<Pick<StreamsRow, 'small' | 'large'>> {
  const times = { small: [] as number[], large: [] as number[] };
  for (let count = -warmUps; count < requestsPerRound; count += 1) {
    const smallMs = await small.registry.time(small.ask());
    const largeMs = await large.registry.time(large.ask());
    if (count < 0) continue;
    times.small.push(smallMs);
    times.large.push(largeMs);
  }
  return { small: latencyOf(times.small), large: latencyOf(times.large) };
}

function latencyOf(times: readonly number[]): Latency {
  const sorted = [...times].sort((a, b) => a - b);
  return { p50: median(sorted) ?? NaN, p99: sorted[Math.floor(sorted.length * 0.99)] ?? NaN };
}

function databaseIn(folder: string): string {
  return path.join(folder, 'data', 'weir.sqlite');
}

/** A registry with seeded streams, and somebody who is logged in. */
class SeededRegistry {
  readonly streams: readonly SeededStream[];
  readonly seeded: Seeded;
  readonly #running: RunningRegistry;
  readonly #token: string;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  /** Numbers of the images of tags that were moved, by `<stream> <position>`. */
  readonly #moved = new Map<string, number>();

  private constructor(running: RunningRegistry, token: string, streams: readonly SeededStream[], seeded: Seeded) {
    this.#running = running;
    this.#token = token;
    this.streams = streams;
    this.seeded = seeded;
  }

  /** Starts it to make projects and push one image, and again when all is seeded. */
  static async start(
    registry: Registry,
    folder: string,
    wanted: readonly Omit<SeededStream, 'firstImage'>[],
  ): Promise<SeededRegistry> {
    fs.mkdirSync(folder);
    const streams = numberImages(wanted);
    const names = new Set(streams.map(({ project }) => project));
    const first = await registry.start(folder);
    const { url, credentials } = first;
    if (credentials === undefined) throw new Error('streams are measured with a user');
    const token = await apiToken(url, credentials);
    for (const name of names) await makeProject(url, token, name);
    const template = `${streams[0]!.project}/template`;
    const client = await RegistryClient.signIn(url, template, credentials);
    await client.pushImage('latest', makeBlob(100_000));
    client.close();
    await first.stop();
    const seeded = seedStreams(databaseIn(folder), template, streams);
    // The log still says where it served before.
    fs.rmSync(path.join(folder, 'log'));
    return new SeededRegistry(await registry.start(folder), token, streams, seeded);
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    await this.#running.stop();
  }

  /** A tag of a stream with the image it points to, if nobody moved it. */
  randomTag(stream: SeededStream): { readonly tag: string; readonly image: string } {
    const position = below(stream.tags);
    const number = this.#moved.get(`${stream.name} ${position}`) ?? newestImageOf(stream, position);
    return { tag: tagNameOf(stream, position), image: this.seeded.imageOf(number).digest };
  }

  /** A push of an image of another tag. */
  moveTag(stream: SeededStream): Ask {
    const position = below(stream.tags);
    const key = `${stream.name} ${position}`;
    const now = this.#moved.get(key) ?? newestImageOf(stream, position);
    const others = Array.from({ length: stream.tags }, (_, other) => newestImageOf(stream, other)).filter(
      (number) => number !== now,
    );
    const number = others[below(others.length)] ?? now;
    this.#moved.set(key, number);
    const { bytes, digest } = this.seeded.imageOf(number);
    const url = `/v2/${stream.project}/${stream.name}/manifests/${tagNameOf(stream, position)}`;
    return { method: 'PUT', path: url, body: bytes, status: 201, holds: digest };
  }

  /** What is put into a query to get each page of a list: nothing for the first, the mark of the page before for others. */
  async listPages(url: string, perPage: number): Promise<readonly string[]> {
    const begins = [''];
    for (;;) {
      const query = `limit=${Math.min(1000, perPage)}${begins.at(-1)!}`;
      const { text } = await this.#send({ ...get(withQuery(url, query), ''), status: 200 });
      const { metadata } = JSON.parse(text) as { readonly metadata: { readonly continue?: string } };
      if (metadata.continue === undefined || metadata.continue === '') return begins;
      begins.push(`&continue=${encodeURIComponent(metadata.continue)}`);
    }
  }

  /**
   * Asks on the one connection there is.
   *
   * @returns milliseconds until the whole answer was there
   */
  async time(ask: Ask): Promise<number> {
    const began = performance.now();
    const { text, digest } = await this.#send(ask);
    const ms = performance.now() - began;
    if (!text.includes(ask.holds) && digest !== ask.holds) {
      throw new Error(`${ask.method} ${ask.path}: expected ${ask.holds} in ${text.slice(0, 2000)}`);
    }
    return ms;
  }

  #send({ method, path: target, body, status }: Ask): Promise<{ readonly text: string; readonly digest: string }> {
    return new Promise((resolve, reject) => {
      const headers = {
        Authorization: `Bearer ${this.#token}`,
        ...(body !== undefined && { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }),
      };
      const request = http.request(new URL(target, this.#running.url), { method, agent: this.#agent, headers });
      request.on('error', reject);
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          const digest = response.headers['docker-content-digest'];
          if (response.statusCode === status) resolve({ text, digest: typeof digest === 'string' ? digest : '' });
          else reject(new Error(`${method} ${target}: ${response.statusCode ?? 0} ${text.slice(0, 2000)}`));
        });
      });
      request.end(body);
    });
  }
}

/** The number of the image of the newest event of the tag at a position. */
function newestImageOf({ firstImage, events }: SeededStream, position: number): number {
  return firstImage + position * events + events - 1;
}

async function makeProject(url: URL, token: string, name: string): Promise<void> {
  const response = await fetch(new URL('/apis/project.openshift.io/v1/projectrequests', url), {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ metadata: { name } }),
  });
  if (!response.ok) throw new Error(`no project ${name}: ${response.status} ${await response.text()}`);
}

/** An API token by the flow of `oc login` (RFC 6749, section 4.2). */
async function apiToken(url: URL, { name, password }: Credentials): Promise<string> {
  const query = new URLSearchParams({
    client_id: 'openshift-challenging-client',
    response_type: 'token',
    redirect_uri: new URL('/oauth/token/implicit', url).href,
  });
  const response = await fetch(new URL(`/oauth/authorize?${query.toString()}`, url), {
    redirect: 'manual',
    headers: { 'X-CSRF-Token': '1', Authorization: `Basic ${btoa(`${name}:${password}`)}` },
  });
  const fragment = (response.headers.get('Location') ?? '').split('#')[1];
  const token = new URLSearchParams(fragment).get('access_token');
  if (token === null) throw new Error(`no API token: ${response.status}`);
  return token;
}
