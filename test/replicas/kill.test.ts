import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareWithLedger, type ComparisonCounts } from '../faults/comparison.js';
import { Ledger } from '../faults/ledger.js';
import { makeSharedLayers } from '../faults/load.js';
import { Random } from '../faults/random.js';
import { RegistryClient } from '../faults/registry-client.js';
import { Replicas } from '../support/replicas.js';
import { checkRegister } from './linearizability-checker.js';
import { fetchToken, UncertainClient } from './replica-client.js';
import { pushThroughout } from './steady-pusher.js';
import { StreamWatch } from './stream-watch.js';
import { checkEvents, fetchEvents, versionOf, wrongInHistory, type ApiAccess } from './tag-events.js';
import { MoveRecord, moveTags } from './tag-moves.js';

const rounds = Number(process.env['WEIR_TEST_REPLICA_ROUNDS'] ?? 12);
const seed = process.env['WEIR_TEST_REPLICA_SEED'] ?? String(Date.now());
const outageSeconds = Number(process.env['WEIR_TEST_REPLICA_OUTAGE_SECONDS'] ?? 30);
const pushers = 5;
const movers = 3;
const movedTags = ['one', 'two', 'three'];
const hourMs = 3_600_000;
/** So long may a session be held by a process that is no more. */
const turnMs = 11_000;

/** Who believes a clock that is an hour ahead gives these up at once. */
const settings = {
  WEIR_COLLECTION_GRACE_SECONDS: '3000',
  WEIR_COLLECTION_INTERVAL_SECONDS: '1',
  WEIR_UPLOADS_EXPIRE_SECONDS: '3000',
};

let replicas: Replicas | undefined;

beforeEach(async () => {
  // One has the right time, one is an hour ahead, and one an hour behind.
  replicas = await Replicas.start({ count: 3, clockShiftsMs: [0, hourMs, -hourMs], settings });
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.error(replicas?.log());
  await replicas?.stop();
  replicas = undefined;
});

test(`nothing acknowledged is lost in ${rounds} rounds of faults and an outage of ${outageSeconds} s`, async () => {
  console.log(`replicas: seed ${seed} (WEIR_TEST_REPLICA_SEED)`);
  const startedAt = performance.now();
  const random = new Random(seed);
  const disturbed = replicas!;
  const access = { url: disturbed.url, token: await fetchToken(disturbed.url) };
  const watches = {
    faults: await StreamWatch.start(access, 'faults'),
    moves: await StreamWatch.start(access, 'moves'),
  };
  const ledger = new Ledger();
  const record = new MoveRecord('moves/app');
  const load = startLoad(disturbed, { ledger, record, random });

  const counts: Record<string, number> = {};
  for (let round = 1; round <= rounds; round += 1) {
    const name = await disturb(disturbed, round, random);
    counts[name] = (counts[name] ?? 0) + 1;
    if (round === Math.ceil(rounds / 2)) expect(await disturbed.run(['fsck'])).toMatchObject({ exitCode: 0 });
    expect([...ledger.violations, ...record.violations], `after ${name} of seed ${seed}`).toEqual([]);
  }
  disturbed.servers.proxy.setOutage(true);
  await delay(outageSeconds * 500);
  await disturbed.all[0]!.kill();
  await disturbed.all[0]!.start();
  await delay(outageSeconds * 500);
  disturbed.servers.proxy.setOutage(false);
  await delay(2000);
  const { requests, unknown } = await load.stop();
  await delay(turnMs);

  const looked = await compare(ledger, { collecting: false });
  expect([...ledger.violations, ...record.violations], `seed ${seed}`).toEqual([]);
  const afterLoad = await disturbed.run(['fsck']);
  console.log(`replicas: ${afterLoad.stdout.trim().split('\n').at(-1) ?? ''}`);
  expect(afterLoad).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(': 0 lost, ') as string });

  const events = await expectEvents(access, { ledger, record, watches });
  for (const watch of Object.values(watches)) await watch.stop();

  await expectNothingLeftBehind(disturbed, ledger);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const faults = Object.entries(counts).map(([name, count]) => `${count} × ${name}`);
  console.log(
    [
      `replicas: ${rounds} rounds (${faults.join(', ')}) and an S3 outage of ${outageSeconds} s, in ${seconds} s`,
      `replicas: ${requests} requests, ${unknown} without an answer; acknowledged: ${ledger.acknowledgedManifests} manifests, ` +
        `${ledger.acknowledgedBlobs} blobs, ${ledger.acknowledgedDeletes} deletes, ${record.acknowledged} tag moves ` +
        `(${record.unknown} unknown); lost: ${ledger.violations.length + record.violations.length}`,
      `replicas: looked at ${looked.tags} tags, ${looked.images} images, ${looked.blobs} blobs, ${looked.sessions} open ` +
        `sessions, ${events} tag events, none missing or doubled; watches needed ` +
        `${watches.faults.connections + watches.moves.connections} connections`,
    ].join('\n'),
  );
});

/** Clients that push, move and read for as long as they are let. */
function startLoad(
  { url }: Replicas,
  { ledger, record, random }: { readonly ledger: Ledger; readonly record: MoveRecord; readonly random: Random },
): { stop(): Promise<{ readonly requests: number; readonly unknown: number }> } {
  let ending = false;
  const isEnding = (): boolean => ending;
  const clients = Array.from({ length: pushers + movers }, () => new UncertainClient(url));
  const sharedLayers = makeSharedLayers(random);
  const running = clients.map((client, index) => {
    const own = new Random(`${seed} ${index}`);
    if (index >= pushers) {
      const mix = { tags: movedTags, reads: 30, removals: 20, maxPauseMs: 100 };
      return moveTags({ client, record, random: own, ...mix, isEnding });
    }
    const name = `p${index}`;
    return pushThroughout({ client, ledger, random: own, name, sharedLayers, collecting: false, isEnding });
  });
  return {
    stop: async () => {
      ending = true;
      await Promise.all(running);
      for (const client of clients) client.close();
      const sum = (of: (client: UncertainClient) => number): number =>
        clients.reduce((total, client) => total + of(client), 0);
      return { requests: sum(({ requests }) => requests), unknown: sum(({ unknown }) => unknown) };
    },
  };
}

/** One fault, some time into the load, and the recovery from it. @returns what it was */
async function disturb({ all, servers }: Replicas, round: number, random: Random): Promise<string> {
  await delay(random.between(300, 1500));
  const downMs = random.between(0, 1500);
  switch (round % 4) {
    case 0: {
      const mode = round % 8 === 0 ? 'immediate' : 'fast';
      await servers.postgres.restart({ mode, downMs });
      return `PostgreSQL restarted (${mode})`;
    }
    case 2: {
      const survivor = random.between(0, all.length - 1);
      const victims = all.filter((_, index) => index !== survivor);
      await Promise.all(victims.map((victim) => victim.kill()));
      await delay(downMs);
      await Promise.all(victims.map((victim) => victim.start()));
      return 'all but one killed';
    }
    default: {
      const victim = random.pick(all);
      await victim.kill();
      await delay(downMs);
      await victim.start();
      return 'one killed';
    }
  }
}

async function compare(ledger: Ledger, { collecting }: { readonly collecting: boolean }): Promise<ComparisonCounts> {
  const client = new RegistryClient(replicas!.url);
  await client.expect(200, 'GET', '/v2/');
  try {
    const random = new Random(`${seed} comparison`);
    return await compareWithLedger({ client, ledger, random, olderImages: Infinity, collecting });
  } finally {
    client.close();
  }
}

/** No tag event is missing or doubled, and the watches have told of the same. @returns how many events there are */
async function expectEvents(
  access: ApiAccess,
  parts: {
    readonly ledger: Ledger;
    readonly record: MoveRecord;
    readonly watches: { readonly faults: StreamWatch; readonly moves: StreamWatch };
  },
): Promise<number> {
  const { ledger, record, watches } = parts;
  for (const [tag, operations] of record.operations) {
    expect(checkRegister(operations), `${tag} of seed ${seed}`).toEqual({ isLinearizable: true });
  }
  const moves = await checkEvents(access, record);
  expect(moves.wrong, `seed ${seed}`).toEqual([]);

  const pushed = new Set<number>();
  for (const [key, register] of ledger.tags) {
    const [repository = '', tag = ''] = key.split(':');
    // One whose only push had no answer may never have been.
    const events = await fetchEvents(access, repository, tag).catch((error: unknown) => {
      if (register.possible().has(undefined)) return [];
      throw error;
    });
    expect(wrongInHistory(key, events)).toEqual([]);
    for (const event of events) pushed.add(versionOf(event));
  }
  const lastOf = (versions: Iterable<number>): number => Math.max(...versions);
  await expect
    .poll(() => lastOf(watches.moves.told.map(({ version }) => version)), { timeout: 10_000 })
    .toBeGreaterThanOrEqual(lastOf(moves.versions));
  await expect
    .poll(() => lastOf(watches.faults.told.map(({ version }) => version)), { timeout: 10_000 })
    .toBeGreaterThanOrEqual(lastOf(pushed));
  expect([...watches.moves.violations, ...watches.faults.violations]).toEqual([]);
  // Nothing but tags changes in this one.
  expect(watches.moves.told.map(({ version }) => version)).toEqual([...new Set(moves.versions)].sort((a, b) => a - b));
  const told = new Set(watches.faults.told.map(({ version }) => version));
  expect([...pushed].filter((version) => !told.has(version))).toEqual([]);
  return moves.versions.length + pushed.size;
}

/** What the faults left behind is accounted for: expiry and collection clear all of it away, and nothing else. */
async function expectNothingLeftBehind({ all, run }: Replicas, ledger: Ledger): Promise<void> {
  await Promise.all(all.map((replica) => replica.kill()));
  for (const replica of all) await replica.start({ ...settings, ...impatient });
  await expect
    .poll(async () => (await run(['fsck'])).stdout, { timeout: 60_000, interval: 1000 })
    .toContain('0 lost, 0 notes');
  await compare(ledger, { collecting: true });
  expect(ledger.violations).toEqual([]);
}

const impatient = {
  WEIR_UPLOADS_EXPIRE_SECONDS: '1',
  WEIR_COLLECTION_GRACE_SECONDS: '0',
  WEIR_COLLECTION_INTERVAL_SECONDS: '1',
};
