import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareWithLedger, type ComparisonCounts } from './comparison.js';
import { Ledger } from './ledger.js';
import { makeSharedLayers, Pusher } from './load.js';
import { Random } from './random.js';
import { receivedBytes, RegistryClient, sha256 } from './registry-client.js';
import {
  killWhileStarting,
  runFsck,
  startRegistryProcess,
  type RegistryProcess,
  type RegistryProcessOptions,
} from './registry-process.js';

const rounds = Number(process.env['WEIR_TEST_KILL_ROUNDS'] ?? 50);
const seed = process.env['WEIR_TEST_KILL_SEED'] ?? String(Date.now());
const pushers = 8;

/** Blobs that nothing refers to are collected while others are pushed. */
const collectingSettings = { WEIR_COLLECTION_GRACE_SECONDS: '2', WEIR_COLLECTION_INTERVAL_SECONDS: '1' };

let folder = '';
let dataDir = '';
let registry: RegistryProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-kill-'));
  dataDir = path.join(folder, 'data');
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.error(`Log of Weir:\n${registry?.log() ?? ''}`);
  await registry?.kill();
  registry = undefined;
  await rm(folder, { recursive: true, force: true });
});

test(`nothing acknowledged is lost in ${rounds} rounds of kill -9`, async () => {
  console.log(`kill: seed ${seed} (WEIR_TEST_KILL_SEED)`);
  const startedAt = Date.now();
  const random = new Random(seed);
  const sharedLayers = makeSharedLayers(random);
  const ledger = new Ledger();
  const looked: ComparisonCounts = { tags: 0, images: 0, blobs: 0, sessions: 0 };
  const fsckRound = Math.ceil(rounds / 2);
  const isCollecting = (round: number): boolean => round === fsckRound || round % 5 === 4;
  const optionsOf = (round: number): RegistryProcessOptions => ({
    dataDir,
    environment: isCollecting(round) ? collectingSettings : {},
  });

  await killWhileStarting(optionsOf(1), random.between(250, 600));
  registry = await startRegistryProcess(optionsOf(1));
  for (let round = 1; round <= rounds; round += 1) {
    const client = new RegistryClient(registry.url);
    // The first check of a password is slow on purpose, and would be all there is of a short round.
    await client.expect(200, 'GET', '/v2/');
    let ending = false;
    const load = Array.from({ length: pushers }, (_, index) =>
      new Pusher({
        client,
        ledger,
        random: new Random(`${seed} round ${round} pusher ${index}`),
        name: `p${index}`,
        sharedLayers,
        collecting: isCollecting(round),
        isEnding: () => ending,
      }).run(),
    );
    const checked = round === fsckRound ? runFsck(dataDir) : undefined;
    await delay(random.between(20, 800));
    expect(await checked).toMatchObject(checked === undefined ? {} : { exitCode: 0 });
    ending = true;
    await registry.kill();
    await Promise.all(load);
    client.close();

    if (round % 10 === 0) await killWhileStarting(optionsOf(round + 1), random.between(50, 600));
    registry = await startRegistryProcess(optionsOf(round + 1));
    const counts = await compare(ledger, random, { olderImages: 15, collecting: isCollecting(round + 1) });
    for (const name of ['tags', 'images', 'blobs', 'sessions'] as const) looked[name] += counts[name];
    expect(ledger.violations, `after round ${round} of seed ${seed}`).toEqual([]);
  }
  await registry.stop();
  const afterRounds = await runFsck(dataDir);
  console.log(`kill: ${afterRounds.stdout.trim().split('\n').at(-1) ?? ''}`);
  expect(afterRounds).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(': 0 lost, ') as string });

  // What the kills left behind is accounted for: expiry and collection clear all of it away, and nothing else.
  registry = await startRegistryProcess({
    dataDir,
    environment: {
      WEIR_UPLOADS_EXPIRE_SECONDS: '1',
      WEIR_COLLECTION_GRACE_SECONDS: '0',
      WEIR_COLLECTION_INTERVAL_SECONDS: '1',
    },
  });
  await expect.poll(() => readdir(path.join(dataDir, 'uploads')), { timeout: 30_000, interval: 200 }).toEqual([]);
  await compare(ledger, random, { olderImages: Infinity, collecting: true });
  expect(ledger.violations).toEqual([]);
  await registry.stop();
  const afterCollection = await runFsck(dataDir);
  expect(afterCollection).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining(': 0 lost, 0 notes') as string,
  });

  const seconds = Math.round((Date.now() - startedAt) / 1000);
  console.log(
    `kill: ${rounds} rounds, ${ledger.acknowledgedManifests + ledger.acknowledgedBlobs} acknowledged pushes ` +
      `(${ledger.acknowledgedManifests} manifests, ${ledger.acknowledgedBlobs} blobs), ` +
      `${ledger.acknowledgedDeletes} deletes, ${ledger.violations.length} lost; looked at ${looked.tags} tags, ` +
      `${looked.images} images, ${looked.blobs} blobs, ${looked.sessions} open sessions; ${seconds} s`,
  );
});

test('a session that was cut off inside a PATCH ends as what it says it has, and not a byte more', async () => {
  const random = new Random('cut off');
  const first = random.bytes(200_000);
  registry = await startRegistryProcess({ dataDir });
  const location = await openSession(registry.url);
  const client = new RegistryClient(registry.url);
  await client.expect(202, 'PATCH', location, { body: first });
  const outgoing = client.start('PATCH', location, { 'transfer-encoding': 'chunked' });
  outgoing.on('error', () => undefined);
  outgoing.write(random.bytes(3_000_000));
  const file = path.join(dataDir, 'uploads', path.basename(location));
  await expect.poll(async () => (await stat(file)).size, { timeout: 10_000 }).toBeGreaterThan(first.length);
  await registry.kill();
  client.close();

  registry = await startRegistryProcess({ dataDir });
  const again = new RegistryClient(registry.url);
  const status = await again.expect(204, 'GET', location);
  expect(receivedBytes(status)).toBe(first.length);
  await again.expect(201, 'PUT', `${location}?digest=${sha256(first)}`);
  const { body } = await again.expect(200, 'GET', `/v2/faults/one/blobs/${sha256(first)}`);
  again.close();
  expect({ size: body.length, digest: sha256(body) }).toEqual({ size: first.length, digest: sha256(first) });
  await registry.stop();
  expect(await runFsck(dataDir)).toMatchObject({ exitCode: 0 });
});

async function compare(
  ledger: Ledger,
  random: Random,
  options: { readonly olderImages: number; readonly collecting: boolean },
): Promise<ComparisonCounts> {
  const client = new RegistryClient(registry!.url);
  await client.expect(200, 'GET', '/v2/');
  try {
    return await compareWithLedger({ client, ledger, random, ...options });
  } finally {
    client.close();
  }
}

async function openSession(url: string): Promise<string> {
  const client = new RegistryClient(url);
  const { headers } = await client.expect(202, 'POST', '/v2/faults/one/blobs/uploads/');
  client.close();
  return headers.location!;
}
