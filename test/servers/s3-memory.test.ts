import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../../scripts/tools.mjs';
import { startDiscardingS3, type DiscardingS3 } from '../support/discarding-s3.js';

const MiB = 1024 * 1024;

interface Outcome {
  /** Resident bytes before anything was pushed, and at most. */
  readonly before: number;
  readonly most: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Different digests of what was pushed. */
  readonly digests: number;
}

let s3: DiscardingS3;
let scratchDir: string;
beforeAll(async () => {
  s3 = await startDiscardingS3();
  scratchDir = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(async () => {
  await s3.stop();
  await rm(scratchDir, { recursive: true, force: true });
});

/** Pushes in a process of its own, as built. */
async function push(uploads: number, size: number): Promise<Outcome> {
  const options = { bucket: 'b', endpoint: s3.endpoint, accessKeyId: 'a', secretAccessKey: 's', scratchDir };
  const script = join(import.meta.dirname, 's3-many-uploads.mjs');
  const args = [script, join(root, 'dist'), String(uploads), String(size), JSON.stringify(options)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [said, complained] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complained += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  // Also: nothing warns of the version of Node.
  expect({ code, complained }).toEqual({ code: 0, complained: '' });
  return JSON.parse(said) as Outcome;
}

test('50 pushes of 500 MiB at once take less than 500 MiB', { timeout: 900_000 }, async () => {
  const { most, digests } = await push(50, 500 * MiB);
  expect(digests).toBe(1);
  expect(s3.receivedBytes).toBeGreaterThanOrEqual(50 * 500 * MiB);
  // What the rest of the server has is not here: 130 MiB at rest, of which this process has 70.
  expect(most).toBeLessThan(440 * MiB);
});

test('one push takes no more than its parts on their way', { timeout: 120_000 }, async () => {
  const { before, most } = await push(1, 1024 * MiB);
  expect(most - before).toBeLessThan(100 * MiB);
});
