import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { answerOf, RegistryClient } from '../faults/registry-client.js';
import { Replicas } from '../support/replicas.js';
import { startSwallowingS3, type SwallowingS3 } from './swallowing-s3.js';

const pushes = 50;
const MiB = 1024 * 1024;
const sizeMiB = Number(process.env['WEIR_TEST_REPLICA_PUSH_MIB'] ?? 500);
const limitMiB = 500;

let replicas: Replicas | undefined;
let s3: SwallowingS3 | undefined;

beforeEach(async () => {
  s3 = await startSwallowingS3();
  // What is written to a disk of this machine is no memory of the replica, and would only take its time.
  // As deploy/ sets it: the C library gives back what was freed.
  const settings = { WEIR_BLOBSTORE_S3_ENDPOINT: s3.endpoint, MALLOC_ARENA_MAX: '1' };
  replicas = await Replicas.start({ count: 1, settings });
});
afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.error(replicas?.log());
  await replicas?.stop();
  await s3?.stop();
});

test(`${pushes} pushes of ${sizeMiB} MiB at once stay under ${limitMiB} MiB of memory`, async () => {
  const [replica] = replicas!.all;
  const block = randomBytes(MiB);
  const hash = createHash('sha256');
  for (let index = 0; index < sizeMiB; index += 1) hash.update(block);
  const digest = `sha256:${hash.digest('hex')}`;
  const client = new RegistryClient(replica!.url);
  await client.expect(200, 'GET', '/v2/');
  const idle = await memoryOf(replica!.pid);

  const all = barrier(pushes);
  const startedAt = performance.now();
  const push = async (index: number): Promise<void> => {
    const { headers } = await client.expect(202, 'POST', `/v2/memory/app-${index}/blobs/uploads/`);
    const outgoing = client.start('PUT', `${headers.location!}?digest=${digest}`, {
      'content-length': String(sizeMiB * MiB),
    });
    const answered = answerOf(outgoing);
    // Where so many want the same processor, one may have to wait for its turn.
    outgoing.setTimeout(0);
    const [answer] = await Promise.all([answered, pipeline(Readable.from(body(block, all)), outgoing)]);
    expect(answer.status, answer.body.toString('utf8')).toBe(201);
  };
  await Promise.all(Array.from({ length: pushes }, (_, index) => push(index)));
  const seconds = (performance.now() - startedAt) / 1000;
  client.close();

  const { peakMiB, nowMiB } = await memoryOf(replica!.pid);
  console.log(
    `memory: ${pushes} pushes of ${sizeMiB} MiB at once in ${seconds.toFixed(1)} s ` +
      `(${Math.round((pushes * sizeMiB) / seconds)} MiB/s): ${peakMiB} MiB resident at most, ${nowMiB} MiB afterwards, ` +
      `${idle.nowMiB} MiB before`,
  );
  expect(s3!.swallowed()).toBeGreaterThanOrEqual(pushes * sizeMiB * MiB);
  expect(peakMiB).toBeLessThan(limitMiB);
});

/** None goes on before all have sent a tenth. */
async function* body(block: Buffer, all: () => Promise<void>): AsyncGenerator<Buffer> {
  for (let index = 0; index < sizeMiB; index += 1) {
    if (index === Math.floor(sizeMiB / 10)) await all();
    yield block;
  }
}

/** @returns what resolves when it was called so often */
function barrier(count: number): () => Promise<void> {
  let missing = count;
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return () => {
    missing -= 1;
    if (missing === 0) open();
    return opened;
  };
}

async function memoryOf(pid: number): Promise<{ readonly peakMiB: number; readonly nowMiB: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const read = (field: string): number =>
    Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)![1]) / 1024);
  return { peakMiB: read('VmHWM'), nowMiB: read('VmRSS') };
}
