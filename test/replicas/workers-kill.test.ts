import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareWithLedger, type ComparisonCounts } from '../faults/comparison.js';
import { Ledger } from '../faults/ledger.js';
import { makeSharedLayers, Pusher } from '../faults/load.js';
import { Random } from '../faults/random.js';
import { RegistryClient } from '../faults/registry-client.js';
import { runFsck } from '../faults/registry-process.js';
import { TestWorkers, workerCount } from './worker-group.js';
import type { WorkerProcesses } from './worker-processes.js';

const rounds = Number(process.env['WEIR_TEST_WORKER_ROUNDS'] ?? 12);
const seed = process.env['WEIR_TEST_WORKER_SEED'] ?? String(Date.now());
const roundsPerComparison = 6;
const pushers = 8;
/** A worker that died gives back what it was writing to after so long. */
const turnMs = 5_500;

/** Every third group of rounds collects blobs that nothing refers to while others are pushed: in all workers at once. */
const collectingSettings = { WEIR_COLLECTION_GRACE_SECONDS: '2', WEIR_COLLECTION_INTERVAL_SECONDS: '1' };

let weir: TestWorkers;
let processes: WorkerProcesses;

beforeEach(async () => {
  weir = await TestWorkers.open();
});
afterEach(() => weir.close());

test(`nothing acknowledged is lost when one of ${workerCount} workers is killed, ${rounds} times`, async () => {
  console.log(`workers: seed ${seed} (WEIR_TEST_WORKER_SEED)`);
  const startedAt = Date.now();
  const random = new Random(seed);
  const sharedLayers = makeSharedLayers(random);
  const ledger = new Ledger();
  const looked: ComparisonCounts = { tags: 0, images: 0, blobs: 0, sessions: 0 };
  let kills = 0;

  const compare = async (options: { readonly olderImages: number; readonly collecting: boolean }): Promise<void> => {
    const client = new RegistryClient(weir.registry.url);
    const counts = await compareWithLedger({ client, ledger, random, ...options }).finally(() => {
      client.close();
    });
    for (const name of ['tags', 'images', 'blobs', 'sessions'] as const) looked[name] += counts[name];
  };

  for (let group = 0; group * roundsPerComparison < rounds; group += 1) {
    const collecting = group % 3 === 2;
    processes = await weir.start(collecting ? collectingSettings : {});
    for (let round = 0; round < roundsPerComparison; round += 1) {
      // A new one takes a while to start, and somebody must be left to answer.
      await processes.untilServing(2);
      let ending = false;
      const load = Array.from({ length: pushers }, async (_, index) => {
        // Each on connections of its own, so that every worker has its share of them.
        const client = new RegistryClient(weir.registry.url);
        await new Pusher({
          client,
          ledger,
          random: new Random(`${seed} group ${group} round ${round} pusher ${index}`),
          name: `p${index}`,
          sharedLayers,
          collecting,
          isEnding: () => ending,
        }).run();
        client.close();
      });
      await delay(random.between(100, 900));
      ending = true;
      process.kill(random.pick(await processes.list()), 'SIGKILL');
      kills += 1;
      await Promise.all(load);
    }
    expect(ledger.violations, `in group ${group} of seed ${seed}`).toEqual([]);
    await delay(turnMs);
    await compare({ olderImages: 15, collecting });
    expect(ledger.violations, `after group ${group} of seed ${seed}`).toEqual([]);
    await weir.registry.stop();
  }
  const afterRounds = await runFsck(weir.dataDir);
  console.log(`workers: ${afterRounds.stdout.trim().split('\n').at(-1) ?? ''}`);
  expect(afterRounds).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(': 0 lost, ') as string });

  // What the kills left behind is cleared away, by several at once, and nothing else.
  await weir.start({
    WEIR_UPLOADS_EXPIRE_SECONDS: '1',
    WEIR_COLLECTION_GRACE_SECONDS: '0',
    WEIR_COLLECTION_INTERVAL_SECONDS: '1',
  });
  const uploads = path.join(weir.dataDir, 'uploads');
  const listUploads = async () => (await readdir(uploads)).filter((name) => !name.startsWith('.'));
  await expect.poll(listUploads, { timeout: 60_000, interval: 200 }).toEqual([]);
  await compare({ olderImages: Infinity, collecting: true });
  expect(ledger.violations).toEqual([]);
  expect(weir.registry.log()).not.toContain('job failed');
  await weir.registry.stop();
  expect(await runFsck(weir.dataDir)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining(': 0 lost, 0 notes') as string,
  });

  console.log(
    `workers: ${kills} kills, ${ledger.acknowledgedManifests + ledger.acknowledgedBlobs} acknowledged pushes ` +
      `(${ledger.acknowledgedManifests} manifests, ${ledger.acknowledgedBlobs} blobs), ` +
      `${ledger.acknowledgedDeletes} deletes, ${ledger.violations.length} lost; looked at ${looked.tags} tags, ` +
      `${looked.images} images, ${looked.blobs} blobs, ${looked.sessions} open sessions; ` +
      `${Math.round((Date.now() - startedAt) / 1000)} s`,
  );
});
