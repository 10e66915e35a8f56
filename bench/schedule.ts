import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import SqliteDatabase from 'better-sqlite3';
import { makeBlob } from './blobs.js';
import { type CheckedRequest, type Credentials, RegistryClient } from './registry-client.js';
import type { Registry, RunningRegistry } from './registries.js';
import type { UpstreamCommand, UpstreamReady, UpstreamReport } from './schedule-upstream.js';
import { Api, apiToken } from './watch.js';

/** How much is looked for. */
export interface ScheduleLoad {
  readonly tags: number;
  /** How often each tag is looked for. */
  readonly intervalSeconds: number;
  /** How long is measured. */
  readonly seconds: number;
  /** Of the sources, which share moves in a minute. */
  readonly movedPerMinute: number;
  /** Which runs are wanted. */
  readonly wants: (run: string) => boolean;
}

/** What came of one run. Times are milliseconds, sizes bytes. */
export interface ScheduleRun {
  readonly name: string;
  readonly tags: number;
  readonly sources: number;
  /** Tags of a registry that takes connections and never answers. */
  readonly silentTags: number;
  /** Until all tags had their first image. */
  readonly firstImportSeconds: number;
  /** Checks that were due, and how many of them were never made. */
  readonly due: number;
  readonly missed: number;
  /** From when a check was due until the other registry was asked. */
  readonly late: Spread;
  readonly headsPerSecond: number;
  /** The most that one source was asked for in one interval. */
  readonly headsPerSourceAndInterval: number;
  readonly moves: number;
  /** Requests for manifests by tag. */
  readonly gets: number;
  /** From when a tag moved there until the last tag that wants it had moved here; undefined when none did. */
  readonly moved: Spread | undefined;
  /** Tags that are not what their sources were when all was over. */
  readonly stale: number;
  readonly memory: { readonly idle: number; readonly half: number; readonly end: number; readonly peak: number };
  /** Of one processor. */
  readonly cpuShare: number;
  readonly pull: { readonly idle: Spread; readonly busy: Spread };
}

/** How something is spread, in milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What a run must keep. */
const limits = {
  /** Of the interval: how late 99 of 100 checks may be. */
  late: 0.1,
  /** Times the memory at half time: whatever grows with the number of checks would show. */
  memoryGrowth: 1.25,
  /** What a pull may take longer than without anything to check, 99 of 100. */
  pullMs: 50,
};

const tagsPerStream = 10;
const projects = 10;

/** Measures tags that are looked for on a schedule: with sources of their own, with shared ones, and beside a silent registry. */
export async function measureSchedule(
  start: (environment: Readonly<Record<string, string>>) => Registry,
  load: ScheduleLoad,
  folder: string,
  say: (text: string) => void,
): Promise<readonly ScheduleRun[]> {
  const { tags, wants } = load;
  const shared = Math.max(1, Math.round(tags / 100));
  const plans: readonly Plan[] = [
    { name: 'sources of their own', sources: tags, silentTags: 0 },
    { name: 'shared sources', sources: shared, silentTags: 0 },
    { name: 'beside a silent registry', sources: tags, silentTags: Math.min(tags, 1000) },
  ];
  const runs: ScheduleRun[] = [];
  for (const [position, plan] of plans.filter(({ name }) => wants(name)).entries()) {
    const own = path.join(folder, `schedule-${position}`);
    fs.mkdirSync(own);
    say(`${plan.name}: ${tags} tags of ${plan.sources} sources, and ${plan.silentTags} of a silent registry ...`);
    const run = await measureRun(start, load, plan, { folder: own, say });
    runs.push(run);
    say(formatRun(run));
  }
  return runs;
}

interface Plan {
  readonly name: string;
  readonly sources: number;
  readonly silentTags: number;
}

async function measureRun(
  start: (environment: Readonly<Record<string, string>>) => Registry,
  load: ScheduleLoad,
  plan: Plan,
  { folder, say }: { readonly folder: string; readonly say: (text: string) => void },
): Promise<ScheduleRun> {
  const upstream = await Upstream.start(plan.sources);
  const weir = await start({
    WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
    WEIR_IMPORTS_INTERVAL_SECONDS: String(load.intervalSeconds),
    WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
    // Who pulls has one token for all of it.
    WEIR_TOKENS_LIFETIME_SECONDS: '3600',
  }).start(folder);
  try {
    const { credentials } = weir;
    if (credentials === undefined) throw new Error('the schedule is measured with a user');
    const api = new Api(weir.url, await apiToken(weir.url, credentials));
    const pulls = await Pulls.prepare(weir, credentials);
    await sleep(3000);
    const idlePulls = await pulls.during(10_000);
    const idle = weir.memory()?.resident ?? 0;

    const began = performance.now();
    await makeStreams(api, load, plan, upstream.ready);
    await untilImported(folder, load.tags);
    const firstImportSeconds = (performance.now() - began) / 1000;
    say(`  all are imported after ${firstImportSeconds.toFixed(0)} s; now ${load.seconds} s of checks ...`);
    upstream.send({ movesPerMinute: Math.ceil(load.movedPerMinute * plan.sources) });
    // What was imported at one moment is first looked for a while later.
    await sleep(load.intervalSeconds * 1500);
    upstream.send({ reset: true });
    const begin = Date.now();
    const cpuBefore = await cpuSeconds(weir, credentials);
    const busy = pulls.during(load.seconds * 1000);
    await sleep(load.seconds * 500);
    const half = weir.memory()?.resident ?? 0;
    await sleep(load.seconds * 500);
    const end = Date.now();
    const busyPulls = await busy;
    const cpuShare = ((await cpuSeconds(weir, credentials)) - cpuBefore) / ((end - begin) / 1000);
    const { resident = 0, peak = 0 } = weir.memory() ?? {};
    upstream.send({ movesPerMinute: 0 });
    // What moved last is seen an interval later.
    await sleep(load.intervalSeconds * 1150);
    const report = await upstream.report();
    api.close();
    pulls.close();
    return {
      name: plan.name,
      tags: load.tags,
      sources: plan.sources,
      silentTags: plan.silentTags,
      firstImportSeconds,
      ...checksOf(report, { host: upstream.ready.host, plan, load, begin, end }),
      ...movesOf(report, folder, begin - load.intervalSeconds * 1000),
      memory: { idle, half, end: resident, peak },
      cpuShare,
      pull: { idle: idlePulls, busy: busyPulls },
    };
  } finally {
    await weir.stop();
    upstream.stop();
  }
}

/** Sources are asked at moments of their own (as `nextCheck` says): how late the requests came, and which never did. */
function checksOf(
  { heads, gets }: UpstreamReport,
  of: {
    readonly host: string;
    readonly plan: Plan;
    readonly load: ScheduleLoad;
    readonly begin: number;
    readonly end: number;
  },
): Pick<ScheduleRun, 'due' | 'missed' | 'late' | 'headsPerSecond' | 'headsPerSourceAndInterval' | 'gets'> {
  const intervalMs = of.load.intervalSeconds * 1000;
  const late: number[] = [];
  let [due, missed, most, all] = [0, 0, 0, 0];
  for (let number = 0; number < of.plan.sources; number += 1) {
    const source = `${of.host}/r${number}:latest`;
    const offset = createHash('sha256').update(source).digest().readUInt32BE(0) % intervalMs;
    const asked = [...(heads[`r${number}`] ?? []), ...(gets[`r${number}`] ?? [])].sort((a, b) => a - b);
    all += asked.filter((at) => at >= of.begin && at < of.end).length;
    let at = Math.ceil((of.begin - offset) / intervalMs) * intervalMs + offset;
    // Those that are due at the end have the time until the next one.
    for (; at < of.end; at += intervalMs) {
      due += 1;
      const inTime = asked.filter((time) => time >= at && time < at + intervalMs);
      if (inTime[0] === undefined) missed += 1;
      else late.push(inTime[0] - at);
      const headsInTime = (heads[`r${number}`] ?? []).filter((time) => time >= at && time < at + intervalMs);
      most = Math.max(most, headsInTime.length);
    }
  }
  return {
    due,
    missed,
    late: spreadOf(late),
    headsPerSecond: all / ((of.end - of.begin) / 1000),
    headsPerSourceAndInterval: most,
    gets: Object.values(gets).reduce((sum, times) => sum + times.length, 0),
  };
}

/** What moved there, and when it was to be seen here. @param since before what was checked first had moved */
function movesOf(
  { moves, digests }: UpstreamReport,
  folder: string,
  since: number,
): Pick<ScheduleRun, 'moves' | 'moved' | 'stale'> {
  const db = new SqliteDatabase(path.join(folder, 'data', 'weir.sqlite'), { readonly: true });
  const seen = db
    .prepare<[number], { image: string; at: number }>(
      `select image, max(at) as at from tag_event where cause = 'import' and at >= ? group by image`,
    )
    .all(since);
  const tags = db
    .prepare<[], { stream: string; tag: string; image: string }>(
      `select repository.name as stream, tag.name as tag, image from tag
      inner join repository on repository.id = tag.repository_id where tag.image is not null and tag.scheduled`,
    )
    .all();
  db.close();
  // What moved on before anybody looked is never seen.
  const delays = seen.flatMap(({ image, at }) => (moves[image] === undefined ? [] : [at - moves[image]]));
  const stale = tags.filter(({ stream, tag, image }) => {
    const position = Number(/s(\d+)$/.exec(stream)![1]) * tagsPerStream + Number(tag.slice(1));
    return image !== digests[position % digests.length];
  });
  return {
    moves: Object.values(moves).filter((at) => at >= since).length,
    moved: delays.length === 0 ? undefined : spreadOf(delays),
    stale: stale.length,
  };
}

/** As a table. */
export function formatSchedule(runs: readonly ScheduleRun[]): string {
  return runs.map(formatRun).join('\n\n');
}

/** What does not hold that must; empty when all does. */
export function scheduleShortfalls(runs: readonly ScheduleRun[], { intervalSeconds }: ScheduleLoad): string[] {
  return runs.flatMap(({ name, late, missed, stale, memory, pull, ...run }) =>
    [
      ...(late.p99 > limits.late * intervalSeconds * 1000
        ? [`checks are late by ${late.p99.toFixed(0)} ms, 99 of 100`]
        : []),
      ...(missed > 0 ? [`${missed} checks were not made`] : []),
      ...(stale > 0 ? [`${stale} tags are not what they are there`] : []),
      ...(run.headsPerSourceAndInterval > 1
        ? [`a source was asked ${run.headsPerSourceAndInterval} times in an interval`]
        : []),
      ...(run.gets > run.moves * 1.05 + 1 ? [`${run.gets} manifests were read for ${run.moves} that moved`] : []),
      ...(memory.end > memory.half * limits.memoryGrowth ? ['memory grows with the number of checks'] : []),
      ...(pull.busy.p99 > pull.idle.p99 + limits.pullMs
        ? [`pulls take ${pull.busy.p99.toFixed(0)} ms, 99 of 100, and ${pull.idle.p99.toFixed(0)} ms when idle`]
        : []),
    ].map((shortfall) => `${name}: ${shortfall}`),
  );
}

function formatRun(run: ScheduleRun): string {
  const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;
  const ms = ({ p50, p99, max }: Spread, digits = 0) =>
    `median ${p50.toFixed(digits)} ms, 99 % ${p99.toFixed(digits)} ms, most ${max.toFixed(digits)} ms`;
  const { memory, pull } = run;
  return [
    `${run.name}: ${run.tags} tags of ${run.sources} sources` +
      (run.silentTags > 0 ? `, and ${run.silentTags} tags of a registry that never answers` : ''),
    `  first import of all    ${run.firstImportSeconds.toFixed(0)} s (${Math.round(run.tags / run.firstImportSeconds)} tags/s)`,
    `  checks                 ${run.due} due, ${run.missed} not made, ${run.headsPerSecond.toFixed(0)} requests/s`,
    `  late by                ${ms(run.late)}`,
    `  of one source          ${run.headsPerSourceAndInterval} HEAD in an interval at most`,
    `  moved there            ${run.moves}, for which ${run.gets} manifests were read by tag`,
    `  until moved here       ${run.moved === undefined ? 'none moved' : ms(run.moved)}; ${run.stale} never`,
    `  memory                 idle ${mib(memory.idle)}, half ${mib(memory.half)}, end ${mib(memory.end)}, most ${mib(memory.peak)}`,
    `  processor              ${(run.cpuShare * 100).toFixed(0)} % of one core`,
    `  GET manifest, idle     ${ms(pull.idle, 1)}`,
    `  GET manifest, busy     ${ms(pull.busy, 1)}`,
  ].join('\n');
}

function spreadOf(times: readonly number[]): Spread {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** Streams whose tags follow the sources in turn, and then those that follow the silent registry. */
async function makeStreams(
  api: Api,
  { tags }: ScheduleLoad,
  { sources, silentTags }: Plan,
  { host, silentHost }: UpstreamReady,
): Promise<void> {
  for (let project = 0; project < projects; project += 1) {
    await api.send('POST', '/apis/project.openshift.io/v1/projectrequests', { metadata: { name: `bench-${project}` } });
  }
  const make = async (name: string, number: number, sourceOf: (position: number) => string) => {
    const spec = {
      tags: Array.from({ length: tagsPerStream }, (_, tag) => ({
        name: `t${tag}`,
        from: { kind: 'DockerImage', name: sourceOf(number * tagsPerStream + tag) },
        importPolicy: { insecure: true, scheduled: true },
      })),
    };
    const collection = `/apis/image.openshift.io/v1/namespaces/bench-${number % projects}/imagestreams`;
    await api.send('POST', collection, { metadata: { name }, spec });
  };
  for (let number = 0; number * tagsPerStream < silentTags; number += 1) {
    await make(`silent-${number}`, number, (position) => `${silentHost}/r${position}:latest`);
  }
  for (let number = 0; number * tagsPerStream < tags; number += 1) {
    await make(`s${number}`, number, (position) => `${host}/r${position % sources}:latest`);
  }
}

async function untilImported(folder: string, tags: number): Promise<void> {
  const db = new SqliteDatabase(path.join(folder, 'data', 'weir.sqlite'), { readonly: true });
  const count = db.prepare<[], number>('select count(*) from tag where scheduled and image is not null').pluck();
  while (count.get()! < tags) await sleep(500);
  db.close();
}

async function cpuSeconds({ url }: RunningRegistry, { name, password }: Credentials): Promise<number> {
  const headers = { Authorization: `Basic ${btoa(`${name}:${password}`)}` };
  const text = await (await fetch(new URL('/metrics', url), { headers })).text();
  return Number(/^process_cpu_seconds_total (\S+)/m.exec(text)?.[1]);
}

/** Somebody who pulls a small manifest now and then. */
class Pulls {
  readonly #client: RegistryClient;
  readonly #request: CheckedRequest;

  private constructor(client: RegistryClient, request: CheckedRequest) {
    this.#client = client;
    this.#request = request;
  }

  static async prepare({ url }: RunningRegistry, credentials: Credentials): Promise<Pulls> {
    const client = await RegistryClient.signIn(url, 'library/pulled', credentials);
    return new Pulls(client, await client.pushImage('latest', makeBlob(1000)));
  }

  async during(ms: number): Promise<Spread> {
    const connection = await this.#client.openConnection();
    const times: number[] = [];
    const deadline = performance.now() + ms;
    while (performance.now() < deadline) {
      const began = performance.now();
      await connection.exchange(this.#request.head, this.#request.expected);
      times.push(performance.now() - began);
      await sleep(20);
    }
    connection.close();
    return spreadOf(times);
  }

  close(): void {
    this.#client.close();
  }
}

/** The other registry, in its own process. */
class Upstream {
  readonly ready: UpstreamReady;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ready: UpstreamReady) {
    this.#child = child;
    this.ready = ready;
  }

  static async start(sources: number): Promise<Upstream> {
    const child = fork(fileURLToPath(new URL('schedule-upstream.js', import.meta.url)), [String(sources)]);
    const [ready] = (await once(child, 'message')) as [UpstreamReady];
    return new Upstream(child, ready);
  }

  send(command: UpstreamCommand): void {
    this.#child.send(command);
  }

  async report(): Promise<UpstreamReport> {
    this.send({ report: true });
    const [report] = (await once(this.#child, 'message')) as [UpstreamReport];
    return report;
  }

  stop(): void {
    this.#child.disconnect();
  }
}
