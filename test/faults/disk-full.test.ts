import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { describeBytes, mediaTypes } from '../../conformance/support/image.js';
import { skipLoudly } from '../../conformance/support/suite.js';
import { manifestOf } from './load.js';
import { Random } from './random.js';
import { RegistryClient, sha256, uploadWays, type Answer } from './registry-client.js';
import { runFsck, startRegistryProcess, type RegistryProcess } from './registry-process.js';

const repository = 'faults/full';
const isRoot = process.getuid?.() === 0;

const folder = mkdtempSync(path.join(tmpdir(), 'weir-full-'));
const mounted =
  isRoot &&
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs', folder], { stdio: 'ignore' }).status === 0;

// At the very end, whatever went wrong in a hook: a mount must not be left behind.
const cleanUp = (): void => {
  if (mounted) spawnSync('umount', ['--lazy', folder], { stdio: 'ignore' });
  rmSync(folder, { recursive: true, force: true });
};
process.once('exit', cleanUp);
afterAll(cleanUp);

if (mounted) fullDisk();
else if (isRoot) skipLoudly('a full disk', 'mounting a tmpfs was refused');
else test.skip('a full disk (a tmpfs can be mounted by root only)', () => undefined);

/** One registry through all tests, in their order: with space, without, and with space again. */
function fullDisk(): void {
  const dataDir = path.join(folder, 'data');
  const ballast = path.join(folder, 'ballast');
  const random = new Random('full');
  /** Everything that was acknowledged. */
  const blobs = new Map<string, Buffer>();
  const manifests = new Map<string, Buffer>();
  /** How many bytes of each session were acknowledged, blobs of their own by now or not. */
  const received = new Map<string, number>();
  let registry: RegistryProcess | undefined;
  let client = new RegistryClient('http://127.0.0.1:9');

  beforeAll(async () => {
    await writeFile(ballast, Buffer.alloc(6 * 1024 * 1024));
    // A short grace time, half of which is soon over: from then on looking at a blob writes to the database.
    const environment = { WEIR_COLLECTION_GRACE_SECONDS: '4', WEIR_COLLECTION_INTERVAL_SECONDS: '3600' };
    registry = await startRegistryProcess({ dataDir, environment });
    client = new RegistryClient(registry.url);
  });

  afterAll(async () => {
    client.close();
    await registry?.kill();
  });

  afterEach((context) => {
    if (context.task.result?.state === 'fail') console.error(`Log of Weir:\n${registry?.log() ?? ''}`);
  });

  test('pushes are acknowledged until the disk is full, and then refused as full', async () => {
    const refusals: Answer[] = [];
    for (let pushed = 0; refusals.length < 8 && pushed < 100; pushed += 1) {
      const refused = await push(random.bytes(1_500_000), uploadWays[pushed % uploadWays.length]!);
      if (refused !== undefined) refusals.push(refused);
    }
    expect(blobs.size).toBeGreaterThan(2);
    expect(refusals).toHaveLength(8);
    for (const refused of refusals) expectFull(refused);
  });

  test('also what only the database has to take is refused as full, and never half done', async () => {
    // Small pushes take what is left, the database's own space included.
    const refusals: Answer[] = [];
    for (let pushed = 0; refusals.length < 5 && pushed < 3000; pushed += 1) {
      const refused = await pushManifest(20_000);
      if (refused !== undefined) refusals.push(refused);
    }
    expect(refusals).toHaveLength(5);
    for (const refused of refusals) expectFull(refused);
  });

  test('a full disk can be read from', async () => {
    expect((await statfs(folder)).bavail * 4096).toBeLessThan(1_000_000);
    await expectAllServed();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await expectAllServed();
    expect((await client.send('GET', '/healthz')).status).toBe(200);
    expect((await client.send('GET', '/readyz')).status).toBe(503);
  });

  test('what was refused takes no space', async () => {
    const uploads = path.join(dataDir, 'uploads');
    const sizes = new Map<string, number>();
    for (const name of await readdir(uploads)) {
      const { size } = await stat(path.join(uploads, name));
      if (size > 0) sizes.set(name, size);
    }
    // Only what a client was told is kept takes space: it may go on from there.
    expect(sizes).toEqual(new Map([...received].filter(([session]) => sizes.has(session))));
  });

  test('a registry whose disk is full can be killed and started again, and reads go on', async () => {
    await restart();
    await expectAllServed();
  });

  test('when there is space again, pushes go on without a restart', async () => {
    await rm(ballast);
    for (const way of uploadWays) expect(await push(random.bytes(300_000), way)).toBeUndefined();
    expect(await pushManifest(1_000)).toBeUndefined();
    await expectAllServed();
  });

  test('nothing acknowledged is lost after that', async () => {
    client.close();
    await registry?.stop();
    const checked = await runFsck(dataDir);
    expect(checked).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(': 0 lost, ') as string });
    await restart();
    await expectAllServed();
  });

  async function restart(): Promise<void> {
    client.close();
    await registry?.kill();
    registry = await startRegistryProcess({
      dataDir,
      environment: { WEIR_COLLECTION_GRACE_SECONDS: '4', WEIR_COLLECTION_INTERVAL_SECONDS: '3600' },
    });
    client = new RegistryClient(registry.url);
  }

  /** @returns the answer that refused it */
  async function push(bytes: Buffer, way: (typeof uploadWays)[number]): Promise<Answer | undefined> {
    const digest = sha256(bytes);
    const uploads = `/v2/${repository}/blobs/uploads/`;
    let answer: Answer;
    if (way === 'POST with the digest') {
      answer = await client.send('POST', `${uploads}?digest=${digest}`, { body: bytes });
    } else {
      const opened = await client.send('POST', uploads);
      if (opened.status !== 202) return opened;
      const location = opened.headers.location!;
      if (way === 'POST then PUT') {
        answer = await client.send('PUT', `${location}?digest=${digest}`, { body: bytes });
      } else {
        for (const chunk of way === 'streamed PATCH'
          ? [bytes]
          : [bytes.subarray(0, 200_000), bytes.subarray(200_000)]) {
          const patched = await client.send('PATCH', location, { body: way === 'streamed PATCH' ? [chunk] : chunk });
          if (patched.status !== 202) return patched;
          const session = path.basename(location);
          received.set(session, (received.get(session) ?? 0) + chunk.length);
        }
        answer = await client.send('PUT', `${location}?digest=${digest}`);
      }
    }
    if (answer.status !== 201) return answer;
    blobs.set(digest, bytes);
    return undefined;
  }

  /** A manifest whose rows are all that is new. */
  async function pushManifest(size: number): Promise<Answer | undefined> {
    const [config] = blobs.values();
    const image = manifestOf({
      mediaType: mediaTypes.manifest,
      config: describeBytes(config!, mediaTypes.config),
      layers: [],
      annotations: { filler: random.bytes(size / 2).toString('hex') },
    });
    const answer = await client.send('PUT', `/v2/${repository}/manifests/t${manifests.size}`, {
      headers: { 'content-type': image.mediaType },
      body: image.bytes,
    });
    if (answer.status !== 201) return answer;
    manifests.set(`t${manifests.size}`, image.bytes);
    return undefined;
  }

  async function expectAllServed(): Promise<void> {
    const wrong: string[] = [];
    for (const [digest, bytes] of blobs) {
      const { status, body } = await client.send('GET', `/v2/${repository}/blobs/${digest}`);
      if (status !== 200 || !body.equals(bytes)) wrong.push(`blob ${digest}: ${status} ${describe(body)}`);
    }
    for (const [tag, bytes] of manifests) {
      const { status, body } = await client.send('GET', `/v2/${repository}/manifests/${tag}`);
      if (status !== 200 || !body.equals(bytes)) wrong.push(`tag ${tag}: ${status} ${describe(body)}`);
    }
    expect(wrong).toEqual([]);
  }
}

function expectFull({ status, body }: Answer): void {
  expect({ status, body: describe(body) }).toEqual({
    status: 507,
    body: expect.stringContaining('no space') as string,
  });
  expect(JSON.parse(body.toString('utf8'))).toMatchObject({ errors: [{ code: 'DENIED' }] });
}

function describe(body: Buffer): string {
  return body.toString('utf8', 0, 300);
}
