import os from 'node:os';

/** One row of the table: what was measured, on each registry, in every round. */
export interface Measurement {
  readonly row: string;
  readonly unit: 'MB/s' | 'blobs/s' | 'requests/s' | 'MiB';
  /** Every number that was measured, in all rounds, by the id of the registry. */
  readonly samples: Map<string, number[]>;
}

/** A column of the table. */
export interface Column {
  readonly id: string;
  readonly title: string;
}

/** All that a run found out. */
export interface Result {
  readonly rounds: number;
  /** Load average before the run began: what others were doing on the machine. */
  readonly load: number;
  readonly columns: readonly Column[];
  readonly measurements: readonly Measurement[];
  /** Weir's memory while many big blobs are pushed at once, in MiB; `undefined` when that did not run. */
  readonly crowdPeak: number | undefined;
}

/** What Weir may use, in MiB, while 20 blobs of 200 MiB are pushed at once. */
export const crowdLimit = 300;

/** The table, and what to know when reading it. */
export function formatReport(result: Result): string {
  const cpu = os.cpus();
  const lines = [
    `${cpu[0]?.model.trim() ?? 'unknown processor'}, ${cpu.length} cores shared by registry and client,` +
      ` ${os.type()} ${os.release()}, Node ${process.versions.node}, load average before the run ${result.load.toFixed(1)}`,
    `Median of ${count(result.rounds, 'round')}. In brackets Weir's rate divided by that registry's: above 1 Weir is faster.`,
    '',
    ...formatTable([
      ['', ...result.columns.map(({ title }) => title)],
      ...result.measurements.map((m) => cells(m, result)),
    ]),
    '',
    'MB is 1,000,000 bytes, MiB 1,048,576. All over plain HTTP on loopback, storage on one disk.',
  ];
  if (result.columns.some(({ id }) => id === 'weir')) {
    lines.push(
      'Weir checks a Bearer token with every request; distribution runs without users, its own default, and is spared that.',
    );
  }
  if (result.crowdPeak !== undefined) {
    const verdict = result.crowdPeak < crowdLimit ? 'holds' : 'DOES NOT HOLD';
    lines.push(
      `Weir with many big pushes at once: ${result.crowdPeak.toFixed(0)} MiB at most, limit ${crowdLimit} MiB: ${verdict}.`,
    );
  }
  return lines.join('\n');
}

/** What keeps Weir from being the better registry, in words; empty when nothing does. */
export function findShortfalls(result: Result): string[] {
  const shortfalls = result.measurements.flatMap((measurement) => {
    const value = ratio(measurement, 'distribution');
    if (value === undefined || value >= 1) return [];
    return [`${measurement.row}: ${value.toFixed(2)} of distribution's ${measurement.unit}`];
  });
  if (result.crowdPeak !== undefined && result.crowdPeak >= crowdLimit) {
    shortfalls.push(`memory with many big pushes at once: ${result.crowdPeak.toFixed(0)} MiB, limit ${crowdLimit} MiB`);
  }
  return shortfalls;
}

/** The result with every sample, for a program to read. */
export function toJson(result: Result): string {
  const rows = result.measurements.map((measurement) => ({
    row: measurement.row,
    unit: measurement.unit,
    registries: Object.fromEntries(
      [...measurement.samples].map(([id, samples]) => [
        id,
        { median: median(samples), ratio: ratio(measurement, id), samples },
      ]),
    ),
  }));
  const machine = { cpu: os.cpus()[0]?.model, cores: os.cpus().length, node: process.versions.node, load: result.load };
  const { rounds, columns, crowdPeak } = result;
  return `${JSON.stringify({ machine, rounds, registries: columns, rows, crowdPeak, crowdLimit }, undefined, 2)}\n`;
}

/** The middle of some numbers; `undefined` when there are none. */
export function median(samples: readonly number[]): number | undefined {
  const sorted = [...samples].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  return upper === undefined || lower === undefined ? undefined : (upper + lower) / 2;
}

/** Weir's rate divided by the other's; `undefined` for memory, and where either was not measured. */
function ratio(measurement: Measurement, id: string): number | undefined {
  const ours = median(measurement.samples.get('weir') ?? []);
  const theirs = median(measurement.samples.get(id) ?? []);
  if (id === 'weir' || measurement.unit === 'MiB' || ours === undefined || theirs === undefined) return undefined;
  return ours / theirs;
}

function cells(measurement: Measurement, { columns }: Result): string[] {
  const values = columns.map(({ id }) => {
    const value = median(measurement.samples.get(id) ?? []);
    if (value === undefined) return '-';
    const compared = ratio(measurement, id);
    const text = value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 1 : 0 });
    return compared === undefined ? text : `${text} (${compared.toFixed(2)})`;
  });
  return [`${measurement.row}, ${measurement.unit}`, ...values];
}

/** Columns one below the other, the first to the left and the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('   ')
      .trimEnd(),
  );
}

/** As in `1 round` and `2 rounds`. */
export function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}
