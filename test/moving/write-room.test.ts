import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { WriteRoom } from '../../src/moving/write-room.js';

test('leaves pauses in which nothing is written, and lets all that is written come to its end', async () => {
  const room = new WriteRoom();
  const spans: { readonly from: number; readonly to: number }[] = [];
  const lanes = Array.from({ length: 4 }, async () => {
    for (let write = 0; write < 60; write += 1) {
      await room.write(async () => {
        const from = performance.now();
        await sleep(2);
        spans.push({ from, to: performance.now() });
      });
    }
  });
  await Promise.all(lanes);
  expect(spans).toHaveLength(240);
  const longest = spans
    .sort((a, b) => a.from - b.from)
    .map(({ from }, index) => from - Math.max(0, ...spans.slice(0, index).map(({ to }) => to)))
    .slice(1)
    .filter((gap) => gap > 10);
  expect(longest.length).toBeGreaterThanOrEqual(2);
});

test('gives back what a write came to, and goes on after one that failed', async () => {
  const room = new WriteRoom();
  expect(await room.write(() => Promise.resolve(1))).toBe(1);
  await expect(room.write(() => Promise.reject(new Error('full')))).rejects.toThrow('full');
  await sleep(60);
  expect(await room.write(() => Promise.resolve(2))).toBe(2);
});
