import os from 'node:os';
import type { Product, ReplicasResult, ReplicasRow, ReplicasSample } from './replicas.js';
import { formatTable, median } from './report.js';

/** Weir's rate divided by distribution's has to be as much. */
const leastRatio = { push: 1.2, pull: 1 };
const MiB = 1024 * 1024;
const products: readonly Product[] = ['weir', 'distribution'];

/** As a table, with the ratios to distribution, and what each took of the machine. */
export function formatReplicas({ load, titles, rows, memory }: ReplicasResult): string {
  const cpu = os.cpus();
  const head = ['', titles.weir ?? 'Weir', titles.distribution ?? 'distribution', 'ratio'];
  return [
    `${cpu[0]?.model.trim() ?? 'unknown processor'}, ${cpu.length} cores shared by registry, client, versitygw and` +
      ` PostgreSQL, Node ${process.versions.node}, load average before the run ${load.toFixed(1)}.`,
    'Medians. Both keep all on the same S3 server, in buckets of their own; Weir has PostgreSQL with fsync beside it.',
    '',
    ...formatTable([
      head,
      ...rows.flatMap((row) => [
        [
          `${row.name}, ${row.unit}`,
          ...products.map((product) => decimal(rateOf(row, product))),
          decimal(ratioOf(row), 2),
        ],
        [
          '  processor s/GB: registry',
          ...products.map((product) => decimal(processorOf(row, product, 'registry'), 2)),
          '',
        ],
        ['  processor s/GB: S3 server', ...products.map((product) => decimal(processorOf(row, product, 's3'), 2)), ''],
        ['  processor s/GB: PostgreSQL', decimal(processorOf(row, 'weir', 'database'), 2), '', ''],
        ['  S3 requests per blob', ...products.map((product) => decimal(requestsOf(row, product), 1)), ''],
      ]),
      ...[...new Set(memory.map(({ replicas }) => replicas))].map((replicas) => [
        `peak memory of ${replicas === 1 ? '1 replica' : `${replicas} replicas`}, MiB`,
        ...products.map((product) => {
          const peaks = memory.find((one) => one.product === product && one.replicas === replicas)?.peaks ?? [];
          return decimal(peaks.length === 0 ? undefined : Math.max(...peaks) / MiB, 0);
        }),
        '',
      ]),
    ]),
    '',
    ...operationLines(rows),
    '',
    'MB is 1,000,000 bytes, MiB 1,048,576. A push is POST, one PATCH, and an empty PUT. With several replicas each request',
    'goes to the next one. Weir checks a Bearer token with every request; distribution runs without users.',
  ].join('\n');
}

/** What does not hold that must; empty when all does. */
export function replicasShortfalls({ rows }: ReplicasResult): string[] {
  return rows.flatMap((row) => {
    const ratio = ratioOf(row);
    const least = leastRatio[row.kind];
    if (ratio === undefined || ratio >= least) return [];
    return [`${row.name}: ${ratio.toFixed(2)} of distribution's ${row.unit}, where ${least} are wanted`];
  });
}

/** The result for a program to read. */
export function replicasJson(result: ReplicasResult): string {
  const rows = result.rows.map((row) => ({ ...row, ratio: ratioOf(row) }));
  return `${JSON.stringify({ ...result, rows }, undefined, 2)}\n`;
}

/** What a push asked of the S3 server, in all. */
function operationLines(rows: readonly ReplicasRow[]): string[] {
  return rows
    .filter(({ kind }) => kind === 'push')
    .flatMap((row) =>
      products.flatMap((product) => {
        const sample = samplesOf(row, product).at(-1);
        if (sample === undefined) return [];
        const counts = Object.entries(sample.requests).sort(([, a], [, b]) => b - a);
        return [`${row.name}, ${product}: ${counts.map(([operation, count]) => `${count} ${operation}`).join(', ')}`];
      }),
    );
}

function ratioOf(row: ReplicasRow): number | undefined {
  const [ours, theirs] = [rateOf(row, 'weir'), rateOf(row, 'distribution')];
  return ours === undefined || theirs === undefined ? undefined : ours / theirs;
}

function rateOf(row: ReplicasRow, product: Product): number | undefined {
  return median(samplesOf(row, product).map(({ amount, seconds }) => amount / seconds));
}

function processorOf(
  row: ReplicasRow,
  product: Product,
  server: keyof ReplicasSample['processor'],
): number | undefined {
  return median(samplesOf(row, product).map(({ processor, bytes }) => processor[server] / (bytes / 1e9)));
}

function requestsOf(row: ReplicasRow, product: Product): number | undefined {
  return median(
    samplesOf(row, product).map(({ requests, blobs }) => Object.values(requests).reduce((a, b) => a + b, 0) / blobs),
  );
}

function samplesOf({ samples }: ReplicasRow, product: Product): ReplicasSample[] {
  return samples.filter((sample) => sample.product === product);
}

function decimal(value: number | undefined, digits = 1): string {
  if (value === undefined || Number.isNaN(value)) return '-';
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
