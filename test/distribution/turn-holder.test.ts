import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { isHolderGone, newHolder } from '../../src/distribution/turn-holder.js';

/** As another process of this machine would be called. */
function holderOf(pid: number): string {
  const [space, , name] = newHolder().split('/') as [string, string, string];
  return `${space}/${pid}/${name}`;
}

test('each request is another holder', () => {
  expect(newHolder()).not.toBe(newHolder());
});

test('a holder of this process is gone when it has no turn here: it was of an earlier process with our number', () => {
  expect(isHolderGone(newHolder(), true)).toBe(false);
  expect(isHolderGone(newHolder(), false)).toBe(true);
});

test('a holder of another process is gone when that has ended, and not before', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  const holder = holderOf(child.pid!);
  expect(isHolderGone(holder, false)).toBe(false);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isHolderGone(holder, false)).toBe(true);
});

test.each(['', 'somebody', 'another-machine.4026531836/1/abc', '/1/abc'])(
  'of a holder %j nothing is known, so it is not gone',
  (holder) => {
    expect(isHolderGone(holder, false)).toBe(false);
  },
);
