import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Random } from '../faults/random.js';
import { Replicas } from '../support/replicas.js';
import { checkRegister, precedes, type Operation } from './linearizability-checker.js';
import { fetchToken, UncertainClient } from './replica-client.js';
import { checkEvents } from './tag-events.js';
import { MoveRecord, moveTags, type MoverOptions } from './tag-moves.js';

const seed = process.env['WEIR_TEST_REPLICA_SEED'] ?? String(Date.now());
const seconds = Number(process.env['WEIR_TEST_REPLICA_SECONDS'] ?? 8);
const tags = ['one', 'two', 'three'];
const readers = 4;
const writers = 5;

let replicas: Replicas;
beforeAll(async () => {
  replicas = await Replicas.start({ count: 3 });
});
afterEach((context) => {
  if (context.task.result?.state === 'fail') console.error(replicas.log());
});
afterAll(() => replicas.stop());

test('tags are moved and read over three replicas as if there were one', async () => {
  const record = new MoveRecord('moves/quiet');
  await recordMoves(record, () => delay(seconds * 1000));
  expect(record.unknown).toBe(0);
  await expectLinearizable(record);
});

test('they are while replicas are killed and come back', async () => {
  const random = new Random(`${seed} kills`);
  let kills = 0;
  const record = new MoveRecord('moves/killed');
  await recordMoves(record, async () => {
    for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
      await delay(random.between(100, 700));
      const victim = random.pick(replicas.all);
      await victim.kill();
      kills += 1;
      await delay(random.between(0, 200));
      await victim.start();
    }
  });
  expect(kills).toBeGreaterThan(0);
  await expectLinearizable(record);
});

test('a history with one answer that is wrong is not taken for a good one', async () => {
  const record = new MoveRecord('moves/spoilt');
  await recordMoves(record, async () => {
    const isEnough = (tag: string): boolean => acknowledgedWrites(record.operations.get(tag) ?? []).length > 5;
    await expect.poll(() => tags.every(isEnough), { timeout: 60_000 }).toBe(true);
  });
  for (const operations of record.operations.values()) {
    expect(checkRegister(operations).isLinearizable).toBe(true);
    for (const spoilt of [withStaleRead(operations), withLostWrite(operations)]) {
      expect(checkRegister(spoilt)).toMatchObject({ isLinearizable: false, stuck: spoilt.slice(-1) });
    }
  }
});

/** Lets writers and readers loose on the same few tags for as long as something goes on. */
async function recordMoves(record: MoveRecord, meanwhile: () => Promise<void>): Promise<void> {
  let ending = false;
  const client = new UncertainClient(replicas.url);
  await client.expect(200, 'GET', '/v2/');
  const loads = [
    ...Array.from({ length: writers }, () => ({ reads: 30, removals: 20, maxPauseMs: 20 })),
    ...Array.from({ length: readers }, () => ({ reads: 100, removals: 0, maxPauseMs: 8 })),
  ];
  const movers = loads.map((load, index) => {
    const random = new Random(`${seed} ${record.repository} ${index}`);
    const options: MoverOptions = { ...load, client, record, random, tags, isEnding: () => ending };
    return moveTags(options);
  });
  await meanwhile();
  ending = true;
  await Promise.all(movers);
  client.close();
  expect(record.violations).toEqual([]);
}

/** What was told at any time has one order, and it is the one that the history of the tag tells. */
async function expectLinearizable(record: MoveRecord): Promise<void> {
  const startedAt = performance.now();
  for (const [tag, operations] of record.operations) {
    expect(checkRegister(operations), `${tag} of seed ${seed}`).toEqual({ isLinearizable: true });
  }
  const checkedMs = Math.round(performance.now() - startedAt);
  const access = { url: replicas.url, token: await fetchToken(replicas.url) };
  const { wrong, versions } = await checkEvents(access, record);
  expect(wrong).toEqual([]);
  console.log(
    `linearizability: ${record.repository}: ${record.total} operations, ${record.acknowledged} moves acknowledged, ` +
      `${record.unknown} unknown, ${versions.length} events; checked in ${checkedMs} ms (seed ${seed})`,
  );
}

/** After everything somebody sees what was there before the last push, or the one before. */
function withStaleRead(operations: readonly Operation[]): Operation[] {
  const writes = acknowledgedWrites(operations);
  const last = writes.reduce((one, other) => (other.invokedAt > one.invokedAt ? other : one));
  const stale = writes.find((write) => precedes(write, last))!;
  return [...operations, { kind: 'read', value: stale.value, ...after(operations) }];
}

/** Somebody is told of a push, and then nothing is there though nobody has removed it. */
function withLostWrite(operations: readonly Operation[]): Operation[] {
  const written = [...operations, { kind: 'write', value: 'lost', ...after(operations) } as const];
  return [...written, { kind: 'read', value: undefined, ...after(written) }];
}

function acknowledgedWrites(operations: readonly Operation[]): Operation[] {
  return operations.filter(({ kind, respondedAt }) => kind === 'write' && respondedAt !== Infinity);
}

function after(operations: readonly Operation[]): { readonly invokedAt: number; readonly respondedAt: number } {
  const times = operations.flatMap(({ invokedAt, respondedAt }) => [invokedAt, respondedAt]);
  const end = Math.max(...times.filter((time) => time !== Infinity));
  return { invokedAt: end + 1, respondedAt: end + 2 };
}
