import { readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../faults/registry-client.js';
import { runFsck } from '../faults/registry-process.js';
import { TestWorkers } from './worker-group.js';
import { eventually, type WorkerProcesses } from './worker-processes.js';

/** A worker that is not heard of loses its turn at a session after so long. */
const turnMs = 5_500;

let weir: TestWorkers;
let processes: WorkerProcesses;

beforeAll(async () => {
  weir = await TestWorkers.open();
  processes = await weir.start();
});
afterAll(() => weir.close());

test.each(['PATCH', 'PUT'])(
  'a worker that stood still in a %s changes nothing of what another one has received since',
  async (method) => {
    const [late, whole] = [Buffer.alloc(3_000_000, 'a'), Buffer.alloc(3_000_000, 'b')];
    const { headers } = await weir.send('POST', '/v2/team/app/blobs/uploads/');
    const location = headers.location!;
    const { request, answer } = weir.begin(method, method === 'PUT' ? `${location}?digest=${sha256(late)}` : location, {
      'content-length': String(late.length),
    });
    request.write(late.subarray(0, 1_200_000));
    const holder = await eventually(() => findHolder(path.basename(location)));
    process.kill(holder, 'SIGSTOP');
    await delay(turnMs);
    // A connection that is given to the one that stands still has no answer.
    await eventually(async () => {
      const put = weir.send('PUT', `${location}?digest=${sha256(whole)}`, whole);
      const answered = await Promise.race([put, delay(4000)]);
      return answered?.status === 201;
    });
    process.kill(holder, 'SIGCONT');
    request.end(late.subarray(1_200_000));
    expect((await answer).status).toBeGreaterThanOrEqual(400);

    const read = await weir.send('GET', `/v2/team/app/blobs/${sha256(whole)}`);
    expect(sha256(read.body)).toBe(sha256(whole));
    expect((await weir.send('HEAD', `/v2/team/app/blobs/${sha256(late)}`)).status).toBe(404);
    expect(await runFsck(weir.dataDir)).toMatchObject({ exitCode: 0 });
  },
);

/** The process that has the file of a session open. */
async function findHolder(session: string): Promise<number | undefined> {
  for (const pid of await processes.list()) {
    for (const handle of await readdir(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${handle}`).catch(() => '');
      if (path.basename(target) === session) return pid;
    }
  }
  return undefined;
}
