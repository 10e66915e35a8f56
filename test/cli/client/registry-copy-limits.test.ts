import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { SharedWork } from '../../../src/cli/client/registry-copy-limits.js';
import { forEachAtMost, Slots } from '../../../src/slots.js';
import { lineProgress } from '../../../src/cli/client/registry-copy-progress.js';
import { CopyReport } from '../../../src/cli/client/registry-copy-report.js';
import { RegistryPush } from '../../../src/cli/client/registry-push.js';
import type { Digest } from '../../../src/oci/digest.js';
import { listen } from './answering-server.js';

describe('forEachAtMost', () => {
  test('takes the next item only when there is a hand free for it', async () => {
    let taken = 0;
    let ended = 0;
    let ahead = 0;
    async function* endless(): AsyncGenerator<number, void, undefined> {
      for (;;) {
        await Promise.resolve();
        taken += 1;
        ahead = Math.max(ahead, taken - ended);
        if (taken === 5000) return;
        yield taken;
      }
    }
    await forEachAtMost(3, endless(), async () => {
      await Promise.resolve();
      ended += 1;
    });
    expect(ended).toBe(4999);
    expect(ahead).toBeLessThanOrEqual(4);
  });

  test('begins nothing after a failure, ends what was begun, and lets go of the items', async () => {
    const ended: number[] = [];
    let isLetGo = false;
    function* items(): Generator<number, void, undefined> {
      try {
        for (let item = 1; ; item += 1) yield item;
      } finally {
        isLetGo = true;
      }
    }
    const work = forEachAtMost(2, items(), async (item) => {
      if (item === 2) throw new Error('two');
      await delay(20);
      ended.push(item);
    });
    await expect(work).rejects.toThrow('two');
    expect(ended).toEqual([1]);
    expect(isLetGo).toBe(true);
  });
});

describe('Slots', () => {
  test('let so many work at once, and all in the end', async () => {
    const slots = new Slots(2);
    let now = 0;
    let most = 0;
    const all = Array.from({ length: 20 }, () =>
      slots.run(async () => {
        most = Math.max(most, ++now);
        await delay(1);
        now -= 1;
      }),
    );
    await Promise.all(all);
    expect(most).toBe(2);
  });
});

describe('SharedWork', () => {
  test('does what is wanted twice at once a single time, and again later', async () => {
    const shared = new SharedWork<number>();
    let count = 0;
    const work = async (): Promise<number> => {
      await delay(5);
      return ++count;
    };
    expect(await Promise.all([shared.run('a', work), shared.run('a', work), shared.run('b', work)])).toEqual([1, 1, 2]);
    expect(await shared.run('a', work)).toBe(3);
  });

  test('does one thing after the other when told so, also after a failure', async () => {
    const shared = new SharedWork<void>();
    const order: string[] = [];
    const step = (name: string) => async () => {
      order.push(`${name} begins`);
      await delay(2);
      order.push(`${name} ends`);
      if (name === 'one') throw new Error('one');
    };
    const all = ['one', 'two', 'three'].map((name) => shared.runAlone('key', step(name)));
    const ends = await Promise.allSettled(all);
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(order).toEqual(['one', 'two', 'three'].flatMap((name) => [`${name} begins`, `${name} ends`]));
  });
});

test('a blob comes no faster than the server takes it', async () => {
  const url = await listen((received, response) => {
    if (received.method === 'POST') response.writeHead(202, { Location: '/v2/a/blobs/uploads/1' }).end();
    // The body of a PUT is not read.
    else if (received.method === 'DELETE') response.writeHead(204).end();
  });
  const chunk = Buffer.alloc(1024 * 1024);
  const count = 500;
  let given = 0;
  let isCancelled = false;
  const interruption = new AbortController();
  const push = new RegistryPush({
    server: new URL(url),
    trust: { isInsecure: false },
    tokens: () => Promise.resolve(undefined),
    connections: 4,
    signal: interruption.signal,
  });
  async function* body(): AsyncGenerator<Buffer, void, undefined> {
    for (; given < count; given += 1) {
      await Promise.resolve();
      yield chunk;
    }
  }
  const pushed = push.pushBlob('a', `sha256:${'0'.repeat(64)}` as Digest, {
    open: () => Promise.resolve({ size: count * chunk.length, body: body(), cancel: () => (isCancelled = true) }),
  });
  const ended = expect(pushed).rejects.toThrow();
  await delay(500);
  // What the sockets of this machine hold.
  expect(given).toBeGreaterThan(0);
  expect(given).toBeLessThan(30);
  interruption.abort();
  await ended;
  expect(isCancelled).toBe(true);
  await push.close();
});

test('where nothing can be drawn, a line tells now and then what has changed', async () => {
  const lines: string[] = [];
  const progress = lineProgress((line) => lines.push(line), 10);
  const report = new CopyReport(progress);
  progress.follow(report);
  report.repositories = 2;
  report.tagsCopied = 1;
  await delay(60);
  report.notCopied('team/app:v1', 'it is\nnot there');
  await delay(60);
  progress.close();
  expect(lines).toEqual([
    '2 repositories: 1 tag copied, 0 there already, 0 blobs (0B)\n',
    'not copied: team/app:v1: it is not there\n',
    '2 repositories: 1 tag copied, 0 there already, 0 blobs (0B), 1 not copied\n',
  ]);
});
