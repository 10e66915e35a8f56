import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry, RunningRegistry } from './registries.js';
import { RegistryClient } from './registry-client.js';
import type { Measurement, Result } from './report.js';
import { type RateRow, type Sizes, crowd, mebibytes, pushCrowd, rateRows } from './rows.js';

const MiB = 1024 * 1024;

/** What to measure. */
export interface Plan {
  readonly registries: readonly Registry[];
  readonly sizes: Sizes;
  readonly rounds: number;
  /** Which rows to run. */
  readonly wants: (row: string) => boolean;
  /** Where the registries keep their data; emptied again. */
  readonly folder: string;
  readonly say: (text: string) => void;
}

/** A registry taking part in a round. */
interface Contestant {
  readonly registry: Registry;
  readonly running: RunningRegistry;
  readonly folder: string;
}

type Recorder = (row: string, unit: Measurement['unit'], registry: Registry, value: number) => void;

/** Does the same work on every registry in turn, round after round, so that what else the machine does hits all alike. */
export async function compare(plan: Plan): Promise<Result> {
  const load = os.loadavg()[0] ?? 0;
  const measurements = new Map<string, Measurement>();
  const record: Recorder = (row, unit, { id }, value) => {
    const measurement = measurements.get(row) ?? { row, unit, samples: new Map<string, number[]>() };
    measurements.set(row, measurement);
    measurement.samples.set(id, [...(measurement.samples.get(id) ?? []), value]);
    plan.say(`  ${row}: ${id} ${value.toFixed(1)} ${unit}`);
  };
  const rows = rateRows(plan.sizes).filter(({ name }) => plan.wants(name));
  const crowdRow = `peak memory, ${crowd} pushes of ${mebibytes(plan.sizes.crowdBlob)} at once`;
  requireDiskSpace(plan);

  for (let round = 1; round <= plan.rounds; round += 1) {
    plan.say(`round ${round} of ${plan.rounds}`);
    const registries = rotate(plan.registries, round - 1);
    if (rows.length > 0) await runRates(plan, registries, rows, record);
    if (!plan.wants(crowdRow)) continue;
    for (const registry of registries) {
      const peak = await measureCrowd(plan, registry);
      if (peak !== undefined) record(crowdRow, 'MiB', registry, peak);
    }
  }

  const ours = measurements.get(crowdRow)?.samples.get('weir');
  return {
    rounds: plan.rounds,
    load,
    columns: plan.registries,
    measurements: [...measurements.values()].sort((a, b) => Number(a.unit === 'MiB') - Number(b.unit === 'MiB')),
    crowdPeak: ours && Math.max(...ours),
  };
}

async function runRates(
  plan: Plan,
  registries: readonly Registry[],
  rows: readonly RateRow[],
  record: Recorder,
): Promise<void> {
  const contestants: Contestant[] = [];
  try {
    for (const registry of registries) contestants.push(await begin(plan, registry));
    await sleep(2000);
    recordMemory('idle memory', 'resident', contestants, record);
    for (const row of rows) await runRow(plan, row, contestants, record);
    recordMemory('peak memory after the rows above', 'peak', contestants, record);
  } finally {
    for (const contestant of contestants) await end(contestant);
  }
}

/**
 * In a process of its own, so that the peak is that of these pushes alone.
 *
 * @returns MiB, where the registry's processes can be looked at
 */
async function measureCrowd(plan: Plan, registry: Registry): Promise<number | undefined> {
  const contestant = await begin(plan, registry);
  const { running } = contestant;
  try {
    if (running.memory() === undefined) return undefined;
    return await explained(contestant, 'many pushes at once', async () => {
      const client = await RegistryClient.signIn(running.url, 'bench/crowd', running.credentials);
      await pushCrowd(client, plan.sizes.crowdBlob);
      client.close();
      const memory = running.memory();
      if (memory === undefined) throw new Error('its process is gone');
      return memory.peak / MiB;
    });
  } finally {
    await end(contestant);
  }
}

/** All are made ready before the first is timed; then they take turns. */
async function runRow(plan: Plan, row: RateRow, contestants: readonly Contestant[], record: Recorder): Promise<void> {
  const repository = `bench/${row.name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
  const ready: { readonly contestant: Contestant; readonly work: () => Promise<number>; readonly close: () => void }[] =
    [];
  for (const contestant of contestants) {
    await explained(contestant, row.name, async () => {
      const { url, credentials } = contestant.running;
      const client = await RegistryClient.signIn(url, repository, credentials);
      ready.push({
        contestant,
        work: await row.prepare(client),
        close: () => {
          client.close();
        },
      });
    });
  }
  for (let turn = 0; turn < row.repeats; turn += 1) {
    for (const { contestant, work } of rotate(ready, turn)) {
      const rate = await explained(contestant, row.name, () => measureRate(plan, work));
      record(row.name, row.unit, contestant.registry, rate);
    }
  }
  for (const { close } of ready) close();
}

async function measureRate(plan: Plan, work: () => Promise<number>): Promise<number> {
  settle(plan.folder, plan.sizes.bigBlob);
  const start = performance.now();
  const amount = await work();
  return amount / ((performance.now() - start) / 1000);
}

/** Before something is timed that writes up to `bytes` to the disk of `folder`: brings the machine to rest. */
export function settle(folder: string, bytes: number): void {
  warmMemory(folder, bytes);
  // What earlier rows left in the page cache must not be written while this one is timed.
  spawnSync('sync');
}

/**
 * Writes a file and removes it. A virtual machine may get its memory from its host page by page, on first use, at a tenth
 * of the speed of memory that it has used before: whoever happens to write into new pages would look slow.
 */
function warmMemory(folder: string, bytes: number): void {
  const ballast = path.join(folder, 'ballast');
  const file = fs.openSync(ballast, 'w');
  const chunk = Buffer.alloc(MiB, 1);
  for (let written = 0; written < bytes * 1.25; written += chunk.length) fs.writeSync(file, chunk);
  fs.closeSync(file);
  fs.rmSync(ballast);
}

function recordMemory(
  row: string,
  which: 'resident' | 'peak',
  contestants: readonly Contestant[],
  record: Recorder,
): void {
  for (const { registry, running } of contestants) {
    const memory = running.memory();
    if (memory !== undefined) record(row, 'MiB', registry, memory[which] / MiB);
  }
}

async function explained<T>({ registry, running }: Contestant, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const log = running.log().slice(-2000);
    throw new Error(`${registry.title}, ${what}: ${reason}${log && `\nIts log ends:\n${log}`}`, { cause: error });
  }
}

async function begin(plan: Plan, registry: Registry): Promise<Contestant> {
  const folder = fs.mkdtempSync(path.join(plan.folder, 'registry-'));
  return { registry, running: await registry.start(folder), folder };
}

/** Ends the registry and makes room on the disk for the next. */
async function end({ running, folder }: Contestant): Promise<void> {
  await running.stop();
  fs.rmSync(folder, { recursive: true, force: true });
}

/** Nobody always goes first. */
export function rotate<T>(items: readonly T[], by: number): T[] {
  const first = by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

function requireDiskSpace({ registries, sizes, folder }: Plan): void {
  const rates = registries.length * (2 * sizes.bigBlob + (sizes.smallBlobs + 250) * MiB);
  const needed = Math.max(rates, crowd * sizes.crowdBlob) * 1.2;
  const { bavail, bsize } = fs.statfsSync(folder);
  if (bavail * bsize >= needed) return;
  const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);
  throw new Error(`needs ${gigabytes(needed)} GB of disk in ${folder}, where ${gigabytes(bavail * bsize)} GB are free`);
}
