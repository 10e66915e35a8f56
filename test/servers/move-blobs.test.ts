import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { root } from '../../scripts/tools.mjs';
import { blobsCommand } from '../../src/cli/blobs-command.js';
import { UsageError } from '../../src/cli/usage-error.js';
import { checkRegistry } from '../../src/distribution/fsck.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import { digestOf } from '../../src/oci/digest.js';
import { imageManifest, pushBlob, pushManifest, type Content } from '../support/images.js';
import { startRegistry, TestRegistry } from '../support/registry.js';
import { startS3, type TestS3 } from '../support/s3.js';

const MiB = 1024 * 1024;

let s3: TestS3;
beforeAll(async () => {
  s3 = await startS3();
});
afterAll(() => s3.stop());

async function settings(): Promise<Record<string, string>> {
  return {
    WEIR_BLOBSTORE_S3_BUCKET: await s3.createBucket(),
    WEIR_BLOBSTORE_S3_ENDPOINT: s3.endpoint,
    WEIR_BLOBSTORE_S3_REGION: s3.region,
    WEIR_BLOBSTORE_S3_ACCESS_KEY_ID: s3.accessKeyId,
    WEIR_BLOBSTORE_S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  };
}

/** Runs the command in this process. */
async function move(registry: TestRegistry, environment: Readonly<Record<string, string>>, ...args: readonly string[]) {
  vi.stubEnv('WEIR_DATA_DIR', registry.dataDir);
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  let printed = '';
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    printed += chunk.toString();
    return true;
  });
  const program = new Command('weir').option('--config <file>').addCommand(blobsCommand());
  try {
    await program.parseAsync(['blobs', 'move', ...args], { from: 'user' });
    return { printed, exitCode: process.exitCode };
  } finally {
    stdout.mockRestore();
    vi.unstubAllEnvs();
    process.exitCode = undefined;
  }
}

async function addBlobs(registry: TestRegistry): Promise<Content[]> {
  const blobs = [];
  for (const size of [1, 1000, 5 * MiB, 9 * MiB + 1, ...Array.from({ length: 12 }, (_, index) => 100_000 + index)]) {
    blobs.push(await pushBlob(registry, 'team/app', randomBytes(size)));
  }
  await pushManifest(registry, 'team/app', imageManifest(blobs[0]!, blobs.slice(1)), 'v1');
  return blobs;
}

async function expectBlob(registry: TestRegistry, { digest, bytes }: Content): Promise<void> {
  const response = await registry.fetch(`/v2/team/app/blobs/${digest}`);
  expect(response.status).toBe(200);
  expect(digestOf(Buffer.from(await response.arrayBuffer()))).toBe(digest);
  const part = await registry.fetch(`/v2/team/app/blobs/${digest}`, { headers: { Range: 'bytes=0-99' } });
  expect(Buffer.from(await part.arrayBuffer())).toEqual(bytes.subarray(0, 100));
}

async function kinds(registry: TestRegistry): Promise<{ readonly disk: number; readonly s3: number }> {
  const db = await registry.openDatabase();
  const locations = await db.selectFrom('blob').select('location').execute();
  const there = locations.filter(({ location }) => location.startsWith('s3:')).length;
  return { disk: locations.length - there, s3: there };
}

async function findings(registry: TestRegistry): Promise<string[]> {
  const problems: string[] = [];
  const store = await registry.openBlobStore();
  await checkRegistry(new KyselyInspection(await registry.openDatabase()), store, {
    readBlobs: true,
    onFinding: ({ severity, problem }) => problems.push(`${severity}: ${problem}`),
  });
  await store.close();
  return problems;
}

/** Starts a registry on the same folder with new bytes going elsewhere. */
async function startedWith(
  registry: TestRegistry,
  environment: Readonly<Record<string, string>>,
): Promise<TestRegistry> {
  await registry.running.stop();
  await (await registry.openDatabase()).destroy();
  const next = new TestRegistry(registry.dataDir, environment);
  await next.start();
  return next;
}

test('blobs go from the disk to S3 and back while they are read', async () => {
  const s3Settings = await settings();
  const onS3 = { ...s3Settings, WEIR_BLOBSTORE_KIND: 's3' };
  const onDisk = { ...s3Settings, WEIR_BLOBSTORE_KIND: 'disk' };
  let registry = await startRegistry();
  try {
    const blobs = await addBlobs(registry);
    await expect(move(registry, onDisk, '--to', 's3')).rejects.toThrow(UsageError);
    for (const [to, environment] of [
      ['s3', onS3],
      ['disk', onDisk],
    ] as const) {
      registry = await startedWith(registry, environment);
      for (const blob of blobs) await expectBlob(registry, blob);
      const over = new AbortController();
      const reading = (async () => {
        for (let turn = 0; !over.signal.aborted; turn += 1) await expectBlob(registry, blobs[turn % blobs.length]!);
      })();
      const { printed, exitCode } = await move(registry, environment, '--to', to, '--rate', '20MiB/s');
      over.abort();
      await reading;
      expect(printed).toMatch(/^16 blobs moved \(\d+ bytes\), 0 damaged, 0 gone meanwhile\n$/);
      expect(exitCode).toBe(0);
      expect(await kinds(registry)).toMatchObject({ [to]: 16, [to === 's3' ? 'disk' : 's3']: 0 });
      for (const blob of blobs) await expectBlob(registry, blob);
      expect(await findings(registry)).toEqual([]);
    }
  } finally {
    await registry.stop();
  }
});

test('a move that is killed at any time leaves all as it should be, and the next one goes on', async () => {
  const environment = { ...(await settings()), WEIR_BLOBSTORE_KIND: 's3' };
  let registry = await startRegistry();
  try {
    const blobs = await addBlobs(registry);
    registry = await startedWith(registry, environment);
    let killed = 0;
    for (let afterMs = 0; killed < 6; afterMs += 150) {
      const child = spawn(
        process.execPath,
        [join(root, 'bin', 'weir.cjs'), 'blobs', 'move', '--to', 's3', '--parallel', '2', '--rate', '4MiB'],
        { env: { ...process.env, ...environment, WEIR_DATA_DIR: registry.dataDir }, stdio: 'inherit' },
      );
      const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
      const isOver = ended.then(() => true);
      // It is at work from the moment on at which there is a session more.
      const db = await registry.openDatabase();
      const sessions = async () => (await db.selectFrom('upload').select('id').execute()).length;
      const before = await sessions();
      while ((await sessions()) <= before && !(await Promise.race([isOver, sleep(5, false)])));
      await sleep(afterMs);
      child.kill('SIGKILL');
      const [code, signal] = await ended;
      if (code === 0) break;
      expect(signal).toBe('SIGKILL');
      killed += 1;
      for (const blob of blobs) await expectBlob(registry, blob);
      expect((await findings(registry)).filter((each) => each.startsWith('lost'))).toEqual([]);
    }
    expect(killed).toBeGreaterThan(1);
    const { printed } = await move(registry, environment, '--to', 's3');
    expect(printed).toMatch(/, 0 damaged, 0 gone meanwhile\n$/);
    expect(await kinds(registry)).toEqual({ disk: 0, s3: 16 });
    for (const blob of blobs) await expectBlob(registry, blob);
    expect((await findings(registry)).filter((each) => !each.startsWith('note: bytes of upload'))).toEqual([]);
  } finally {
    await registry.stop();
  }
});
