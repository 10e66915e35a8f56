import { mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import SqliteDatabase from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeBytes, mediaTypes } from '../../conformance/support/image.js';
import { describeWithPrograms, installedProgram } from '../../conformance/support/suite.js';
import {
  checkDurability,
  findFleetingEntries,
  tracedCalls,
  type DurabilityReport,
  type Violation,
} from './durability.js';
import { manifestOf } from './load.js';
import { Random } from './random.js';
import { RegistryClient, sha256, sha512, uploadWays } from './registry-client.js';
import { startRegistryProcess, type RegistryProcessOptions } from './registry-process.js';
import { parseTrace, type SystemCall } from './trace.js';

const repository = 'faults/power';
const skippedSync = fileURLToPath(new URL('skipped-sync.mjs', import.meta.url));

let folder = '';
let dataDir = '';

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-power-'));
  dataDir = path.join(folder, 'data');
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describeWithPrograms('what the disk has when the power goes', ['strace'], () => {
  test('everything is synced before it is acknowledged, one request at a time', async () => {
    const { acknowledged, calls } = await trace((client) => pushEverything(client, new Random('one at a time')));
    const report = check(calls);
    expect(report.violations).toEqual([]);
    expect(report).toMatchObject(acknowledged);
    console.log(`power loss: ${describeReport(report)}`);
  });

  test('everything is synced before it is acknowledged, with eight pushers at once', async () => {
    const { acknowledged, calls } = await trace(async (client) => {
      const counts = await Promise.all(
        Array.from({ length: 8 }, (_, index) => pushEverything(client, new Random(`pusher ${index % 6}`), 1_500_000)),
      );
      return {
        blobs: sum(counts.map(({ blobs }) => blobs)),
        manifests: sum(counts.map(({ manifests }) => manifests)),
        progress: sum(counts.map(({ progress }) => progress)),
      };
    });
    const report = check(calls, { concurrent: true });
    expect(report.violations).toEqual([]);
    expect(report).toMatchObject(acknowledged);
    console.log(`power loss: ${describeReport(report)}`);
  });

  test('with eight pushers at once, too, a registry that skips the sync of the database is found out', async () => {
    const { calls } = await trace(
      (client) =>
        Promise.all(
          Array.from({ length: 8 }, (_, index) => pushEverything(client, new Random(`skip ${index}`), 300_000)),
        ),
      { preload: [skippedSync], environment: { WEIR_TEST_SKIPPED_SYNC: 'database' } },
    );
    const { violations, blobs, manifests } = check(calls, { concurrent: true });
    expect(new Set(violations.map(({ missing }) => missing))).toEqual(new Set(['the sync of the database']));
    // All but what a checkpoint happened to sync, and what changed nothing.
    expect(violations.length).toBeGreaterThan((blobs + manifests) / 2);
  });

  test('what the first start makes is in its folder for good', async () => {
    const { calls } = await trace(() => delay(1_000), {
      // With all that a start makes by itself: the password, and an authority for its certificate.
      environment: { WEIR_ADMIN_PASSWORD: undefined, WEIR_TLS_MODE: 'auto' },
    });
    // What is in uploads/ may go: a session is told to begin again then. The -shm file is made anew from the log.
    const isLasting = (file: string): boolean => !/\/uploads\/|-shm$|-journal$/.test(file);
    const fleeting = findFleetingEntries(calls, dataDir, isLasting);
    expect(fleeting.map((file) => path.relative(folder, file))).toEqual([]);
  });

  const skipped: readonly { sync: string; missing: readonly Violation['missing'][] }[] = [
    { sync: 'file', missing: ['the sync of the bytes'] },
    { sync: 'folder', missing: ['the sync of the folder after the rename'] },
    { sync: 'database', missing: ['the sync of the database'] },
    // An answer to PATCH has no rename, and its sync is missing altogether.
    { sync: 'before the rename', missing: ['the sync of the bytes', 'the sync of the bytes before the rename'] },
  ];
  test.each(skipped)('a registry that skips the sync $sync is found out', async ({ sync, missing }) => {
    const { calls } = await trace((client) => pushEverything(client, new Random(sync), 300_000), {
      preload: [skippedSync],
      environment: { WEIR_TEST_SKIPPED_SYNC: sync },
    });
    const { violations } = check(calls);
    console.log(`power loss, without the sync "${sync}": ${violations.length} violations, such as`, violations[0]);
    expect([...new Set(violations.map((violation) => violation.missing))].sort()).toEqual(missing);
  });
});

test('a session whose bytes the disk has lost does not become a blob', async () => {
  const bytes = new Random('lost bytes').bytes(500_000);
  const digest = sha256(bytes);
  let registry = await startRegistryProcess({ dataDir });
  const before = new RegistryClient(registry.url);
  const opened = await before.expect(202, 'POST', `/v2/${repository}/blobs/uploads/`);
  const location = opened.headers.location!;
  await before.expect(202, 'PATCH', location, { body: bytes });
  before.close();
  await registry.kill();

  await truncate(path.join(dataDir, 'uploads', path.basename(location)), 100_000);
  registry = await startRegistryProcess({ dataDir });
  const client = new RegistryClient(registry.url);
  const ended = await client.send('PUT', `${location}?digest=${digest}`);
  const { status } = await client.send('HEAD', `/v2/${repository}/blobs/${digest}`);
  client.close();
  await registry.kill();
  expect({ ended: ended.status, blob: status }).toEqual({ ended: 404, blob: 404 });
});

interface Acknowledged {
  readonly blobs: number;
  readonly manifests: number;
  readonly progress: number;
}

/** Runs requests against a registry under strace. */
async function trace<Result>(
  work: (client: RegistryClient) => Promise<Result>,
  options: Omit<RegistryProcessOptions, 'dataDir' | 'tracer'> = {},
): Promise<{ readonly acknowledged: Result; readonly calls: SystemCall[] }> {
  const output = path.join(folder, 'trace');
  const registry = await startRegistryProcess({
    dataDir,
    ...options,
    tracer: [
      installedProgram('strace'),
      // -D: the registry, not strace, is our child, and gets our signals.
      ...['-D', '-f', '--seccomp-bpf', '-yy', '-ttt', '-a', '1', '-s', '4200', '-o', output],
      ...['-e', `trace=${tracedCalls.join(',')}`],
    ],
  });
  try {
    const client = new RegistryClient(registry.url);
    const acknowledged = await work(client);
    client.close();
    await registry.stop();
    return { acknowledged, calls: parseTrace(await readFile(output, 'latin1')) };
  } finally {
    await registry.kill();
  }
}

/** Pushes blobs in every way, mounts, and pushes manifests in every way. @returns what was acknowledged */
async function pushEverything(client: RegistryClient, random: Random, largest = 40_000_000): Promise<Acknowledged> {
  const counts = { blobs: 0, manifests: 0, progress: 0 };
  const observer = {
    opened: () => undefined,
    finishing: () => undefined,
    received: (size: number) => {
      if (size > 0) counts.progress += 1;
    },
  };
  const pushBlob = async (bytes: Buffer, push: Omit<Parameters<RegistryClient['pushBlob']>[0], 'bytes' | 'digest'>) => {
    await client.pushBlob({ ...push, bytes, digest: sha256(bytes) }, observer);
    counts.blobs += 1;
  };
  const layers: Buffer[] = [];
  for (const way of uploadWays) {
    for (const size of [0, 3_000, largest / 4]) {
      const bytes = random.bytes(size);
      layers.push(bytes);
      await pushBlob(bytes, { repository, way, chunkSize: Math.ceil(size / 3) + 1 });
    }
  }
  // So large that the disk is set to work before the end.
  const large = random.bytes(largest);
  await pushBlob(large, { repository, way: 'streamed PATCH' });
  // Again, in the same repository and another one, by mounting and by sending.
  await pushBlob(layers[1]!, { repository, way: 'POST with the digest' });
  await pushBlob(layers[1]!, { repository: `${repository}/other`, way: 'chunked PATCHes' });
  await pushBlob(layers[2]!, { repository: `${repository}/other`, way: 'POST then PUT', from: repository });
  const other = random.bytes(2_000);
  await client.pushBlob({ repository, bytes: other, digest: sha512(other), way: 'POST then PUT' });
  counts.blobs += 1;

  const image = manifestOf({
    mediaType: mediaTypes.manifest,
    config: describeBytes(layers[1]!, mediaTypes.config),
    layers: [...layers, large].map((layer) => describeBytes(layer, mediaTypes.layer)),
    annotations: { random: random.bytes(8).toString('hex') },
  });
  const index = manifestOf({
    mediaType: mediaTypes.index,
    manifests: [describeBytes(image.bytes, image.mediaType)],
  });
  const tag = `v${random.between(0, 1_000_000)}`;
  for (const [pushed, reference] of [
    [image, image.digest],
    [image, tag],
    [image, `${image.digest}?tag=${tag}-a&tag=${tag}-b`],
    [image, tag],
    [index, `${tag}-index`],
  ] as const) {
    const headers = { 'content-type': pushed.mediaType };
    await client.expect(201, 'PUT', `/v2/${repository}/manifests/${reference}`, { headers, body: pushed.bytes });
    counts.manifests += 1;
  }
  await client.expect(202, 'DELETE', `/v2/${repository}/manifests/${tag}`);
  await client.expect(202, 'DELETE', `/v2/${repository}/manifests/${index.digest}`);
  return counts;
}

function check(calls: readonly SystemCall[], { concurrent } = { concurrent: false }): DurabilityReport {
  return checkDurability(calls, { dataDir, blobs: readBlobs(), concurrent });
}

/** Where the registry has its blobs; no answer says so. */
function readBlobs(): Map<string, { readonly location: string; readonly size: number }> {
  const database = new SqliteDatabase(path.join(dataDir, 'weir.sqlite'), { readonly: true });
  try {
    const rows = database.prepare<[], { digest: string; location: string; size: number }>(
      'select digest, location, size from blob',
    );
    return new Map(rows.all().map(({ digest, ...blob }) => [digest, blob]));
  } finally {
    database.close();
  }
}

function describeReport({ blobs, manifests, progress, others, violations }: DurabilityReport): string {
  return (
    `${blobs} blobs, ${manifests} manifests, ${progress} parts of uploads and ${others} other changes acknowledged, ` +
    `${violations.length} before they were on the disk`
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
