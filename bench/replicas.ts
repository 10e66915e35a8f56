import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeBlob, type Blob } from './blobs.js';
import { rotate, settle } from './comparison.js';
import { RegistryClient } from './registry-client.js';
import type { Bucket, Registry, RunningRegistry } from './registries.js';
import type { Postgres, S3 } from './replicas-servers.js';
import { inParallel, makeBlobs, mebibytes, pull } from './rows.js';

/** How much is pushed and pulled; sizes in bytes. */
export interface ReplicasLoad {
  readonly bigBlob: number;
  readonly smallBlobs: number;
  readonly rounds: number;
  /** Which rows are wanted, by name. */
  readonly wants: (row: string) => boolean;
}

/** A registry over shared servers, as one process or as several. */
export interface ReplicatedRegistry {
  readonly product: Product;
  readonly title: string;
  /** One of its processes. */
  readonly replica: (environment: SharedServers) => Registry;
}

/** Who is measured. */
export type Product = 'weir' | 'distribution';

/** What all replicas of one registry have in common. */
export interface SharedServers {
  readonly bucket: Bucket;
  /** An empty database. */
  readonly database: string;
  /** Of the first user, for those that have users. */
  readonly password: string;
  /** 32 bytes in base64. */
  readonly secretsKey: string;
}

/** What one piece of work took, once. */
export interface ReplicasSample {
  readonly product: Product;
  readonly seconds: number;
  /** What was done, in the unit of the row. */
  readonly amount: number;
  readonly bytes: number;
  readonly blobs: number;
  /** Seconds of all replicas, of the S3 server, and of the database server. */
  readonly processor: { readonly registry: number; readonly s3: number; readonly database: number };
  /** Requests that the S3 server got, by what they did. */
  readonly requests: Readonly<Record<string, number>>;
}

/** A row: the same work, on so many replicas. */
export interface ReplicasRow {
  readonly name: string;
  readonly kind: 'push' | 'pull';
  readonly replicas: number;
  readonly unit: 'MB/s' | 'blobs/s';
  readonly samples: readonly ReplicasSample[];
}

/** Memory of all processes of one registry, summed, in bytes: the most in each round. */
export interface ReplicasMemory {
  readonly product: Product;
  readonly replicas: number;
  readonly peaks: readonly number[];
}

/** All that a run found out. */
export interface ReplicasResult {
  /** Load average before the run began: what others were doing on the machine. */
  readonly load: number;
  readonly titles: Readonly<Partial<Record<Product, string>>>;
  readonly rows: readonly ReplicasRow[];
  readonly memory: readonly ReplicasMemory[];
}

/** The servers that all registries share, each with a bucket or database of its own. */
export interface Servers {
  readonly postgres: Postgres;
  readonly s3: S3;
}

interface Case {
  readonly kind: 'push' | 'pull';
  readonly name: string;
  readonly unit: 'MB/s' | 'blobs/s';
  readonly blobs: readonly number[];
  /** How many are on their way at a time. */
  readonly atOnce: number;
  readonly repeats: number;
}

/** A registry that takes part in a round. */
interface Contestant {
  readonly product: Product;
  readonly replicas: readonly RunningRegistry[];
  readonly client: RegistryClient;
  readonly bucket: string;
  /** What was pushed by each case, to be pulled by another. */
  readonly pushed: Map<string, readonly Blob[]>;
}

const MiB = 1024 * 1024;
const replicaCounts = [1, 2];

/**
 * Pushes blobs as docker does, and pulls them, at registries that keep all in S3: with one process and with two, which get the
 * requests in turn. All do the same work one after the other, again and again, so that what else the machine does hits all alike.
 */
export async function measureReplicas(
  registries: readonly ReplicatedRegistry[],
  servers: Servers,
  load: ReplicasLoad,
  folder: string,
  say: (text: string) => void,
): Promise<ReplicasResult> {
  const loadBefore = os.loadavg()[0] ?? 0;
  const rows = new Map<string, ReplicasRow & { readonly samples: ReplicasSample[] }>();
  const memory = new Map<string, ReplicasMemory & { readonly peaks: number[] }>();
  for (let round = 0; round < load.rounds; round += 1) {
    for (const replicas of rotate(replicaCounts, round)) {
      const cases = casesOf(load).filter(({ name }) => load.wants(rowName(name, replicas)));
      if (cases.length === 0) continue;
      say(`round ${round + 1} of ${load.rounds}, ${replicas === 1 ? '1 replica' : `${replicas} replicas`}`);
      const contestants: Contestant[] = [];
      const own = path.join(folder, `round-${round}-${replicas}`);
      try {
        for (const registry of rotate(registries, round)) {
          const name = `${registry.product}-${round}-${replicas}`;
          contestants.push(
            await begin(registry, { name, replicas, servers, folder: path.join(own, registry.product) }),
          );
        }
        for (const one of cases) {
          const name = rowName(one.name, replicas);
          const row = rows.get(name) ?? { name, kind: one.kind, replicas, unit: one.unit, samples: [] };
          rows.set(name, row);
          await runCase(one, contestants, servers, { folder, load }, (sample) => {
            row.samples.push(sample);
            say(`  ${name}: ${sample.product} ${(sample.amount / sample.seconds).toFixed(1)} ${one.unit}`);
          });
        }
        for (const { product, replicas: running } of contestants) {
          const key = `${product} ${replicas}`;
          const kept = memory.get(key) ?? { product, replicas, peaks: [] };
          memory.set(key, kept);
          kept.peaks.push(running.reduce((sum, one) => sum + (one.memory()?.peak ?? NaN), 0));
        }
      } finally {
        for (const contestant of contestants) await end(contestant, servers.s3);
        fs.rmSync(own, { recursive: true, force: true });
      }
    }
  }
  const titles = Object.fromEntries(registries.map(({ product, title }) => [product, title]));
  const inOrder = replicaCounts.flatMap((replicas) => casesOf(load).map(({ name }) => rowName(name, replicas)));
  return {
    load: loadBefore,
    titles,
    rows: inOrder.flatMap((name) => rows.get(name) ?? []),
    memory: [...memory.values()].sort((a, b) => a.replicas - b.replicas),
  };
}

function casesOf({ bigBlob, smallBlobs }: ReplicasLoad): readonly Case[] {
  const big = { name: mebibytes(bigBlob), unit: 'MB/s', blobs: [bigBlob], atOnce: 1 } as const;
  const small = {
    name: `${smallBlobs} × 1 MiB, 8 at a time`,
    unit: 'blobs/s',
    blobs: Array.from({ length: smallBlobs }, () => MiB),
    atOnce: 8,
  } as const;
  return [big, small].flatMap((one) => [
    { ...one, kind: 'push', name: `push ${one.name}`, repeats: 2 } as const,
    { ...one, kind: 'pull', name: `pull ${one.name}`, repeats: 2 } as const,
  ]);
}

function rowName(name: string, replicas: number): string {
  return `${name}, ${replicas === 1 ? '1 replica' : `${replicas} replicas`}`;
}

async function begin(
  { product, replica }: ReplicatedRegistry,
  of: { readonly name: string; readonly replicas: number; readonly servers: Servers; readonly folder: string },
): Promise<Contestant> {
  const bucket = await of.servers.s3.createBucket(of.name);
  const database = await of.servers.postgres.createDatabase(of.name.replaceAll('-', '_'));
  const password = randomBytes(12).toString('hex');
  const registry = replica({ bucket, database, password, secretsKey: randomBytes(32).toString('base64') });
  const replicas: RunningRegistry[] = [];
  try {
    for (let number = 0; number < of.replicas; number += 1) {
      const folder = path.join(of.folder, String(number));
      fs.mkdirSync(folder, { recursive: true });
      replicas.push(await registry.start(folder));
    }
    const urls = replicas.map(({ url }) => url);
    const client = await RegistryClient.signIn(urls, 'bench/replicas', replicas[0]!.credentials);
    const contestant = { product, replicas, client, bucket: of.name, pushed: new Map<string, readonly Blob[]>() };
    // Compilers and pools of connections have had their time before anything is measured.
    await explained(contestant, 'warming up', async () => {
      const blobs = [makeBlob(64 * MiB), ...makeBlobs(64, MiB)];
      await inParallel(8, blobs, (blob) => client.pushStreamed(blob));
      await pull(
        client,
        8,
        blobs.map((blob) => client.blobRequest(blob)),
      );
    });
    return contestant;
  } catch (error) {
    for (const one of replicas) await one.stop();
    throw error;
  }
}

async function end({ replicas, client, bucket }: Contestant, s3: S3): Promise<void> {
  client.close();
  for (const replica of replicas) await replica.stop();
  s3.removeBucket(bucket);
}

/** A case's pull comes after its push. */
async function runCase(
  one: Case,
  contestants: readonly Contestant[],
  servers: Servers,
  { folder, load }: { readonly folder: string; readonly load: ReplicasLoad },
  record: (sample: ReplicasSample) => void,
): Promise<void> {
  const content = one.blobs.join(' ');
  for (let turn = 0; turn < one.repeats; turn += 1) {
    for (const contestant of rotate(contestants, turn)) {
      const { client, pushed } = contestant;
      await explained(contestant, one.name, async () => {
        let blobs = pushed.get(content);
        if (one.kind === 'push' || blobs === undefined) blobs = one.blobs.map((size) => makeBlob(size));
        if (one.kind === 'pull' && !pushed.has(content)) await push(client, one, blobs);
        if (one.kind === 'pull' && turn === 0) await client.verify(client.blobRequest(blobs[0]!));
        pushed.set(content, blobs);
        settle(folder, load.bigBlob);
        // Connections that rested too long were closed meanwhile, which has to be noticed before one is used.
        await sleep(50);
        const bytes = one.blobs.reduce((sum, size) => sum + size, 0);
        const before = usage(contestant, servers);
        const began = performance.now();
        if (one.kind === 'push') await push(client, one, blobs);
        else
          await pull(
            client,
            one.atOnce,
            blobs.map((blob) => client.blobRequest(blob)),
          );
        const seconds = (performance.now() - began) / 1000;
        const amount = one.unit === 'MB/s' ? bytes / 1_000_000 : blobs.length;
        const used = difference(before, usage(contestant, servers));
        record({ product: contestant.product, seconds, amount, bytes, blobs: blobs.length, ...used });
      });
    }
  }
}

function push(client: RegistryClient, { atOnce }: Case, blobs: readonly Blob[]): Promise<void> {
  return inParallel(atOnce, blobs, (blob) => client.pushStreamed(blob));
}

type Usage = Pick<ReplicasSample, 'processor' | 'requests'>;

function usage({ replicas, bucket }: Contestant, { postgres, s3 }: Servers): Usage {
  return {
    processor: {
      registry: replicas.reduce((sum, replica) => sum + (replica.processorSeconds() ?? NaN), 0),
      s3: s3.program.processorSeconds() ?? NaN,
      database: postgres.program.processorSeconds() ?? NaN,
    },
    requests: Object.fromEntries(s3.countRequests(bucket)),
  };
}

function difference(before: Usage, after: Usage): Usage {
  const operations = Object.entries(after.requests);
  return {
    processor: {
      registry: after.processor.registry - before.processor.registry,
      s3: after.processor.s3 - before.processor.s3,
      database: after.processor.database - before.processor.database,
    },
    requests: Object.fromEntries(
      operations
        .map(([operation, count]) => [operation, count - (before.requests[operation] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    ),
  };
}

async function explained<T>({ product, replicas }: Contestant, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const logs = replicas.map((replica) => replica.log().slice(-2000)).join('\n--\n');
    throw new Error(`${product}, ${what}: ${reason}\nThe logs end:\n${logs}`, { cause: error });
  }
}
