import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { get as httpsGet } from 'node:https';
import { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { NoAnswerError, sha256, type Answer } from '../faults/registry-client.js';
import { runFsck } from '../faults/registry-process.js';
import { TestWorkers, workerCount } from './worker-group.js';
import { eventually, isAlive, type WorkerProcesses } from './worker-processes.js';

const healthRequests = 'weir_http_requests_total{method="GET",route="/healthz",code="200"}';

/** Which worker takes a connection is chance; in so many attempts each of them takes one. */
const manyRequests = 50;

function requestId({ headers }: Answer): string {
  return String(headers['x-request-id']);
}

describe('workers', () => {
  let weir: TestWorkers;
  let processes: WorkerProcesses;

  beforeAll(async () => {
    weir = await TestWorkers.open();
    processes = await weir.start();
    for (const content of ['one', 'two']) {
      const target = `/v2/team/app/blobs/uploads/?digest=${sha256(Buffer.from(content))}`;
      expect((await weir.send('POST', target, Buffer.from(content))).status).toBe(201);
    }
    // What there is when they start, each of them tells alike.
    await weir.registry.stop();
    processes = await weir.start();
  });
  afterAll(() => weir.close());

  test('share one port, and the connections to it', async () => {
    const answered = new Set<number>();
    for (let count = 0; count < manyRequests && answered.size < workerCount; count += 1) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => weir.send('GET', '/healthz')));
      for (const answer of answers) answered.add(await processes.answered(requestId(answer)));
    }
    expect(answered).toEqual(new Set([1, 2, 3]));
  });

  test('tell what all of them have measured, whoever is asked, and what each would tell alike only once', async () => {
    const before = await weir.measured(healthRequests);
    for (let count = 0; count < 10; count += 1) await weir.send('GET', '/healthz');
    await expect.poll(() => weir.measured(healthRequests)).toBe(before + 10);
    for (let count = 0; count < workerCount; count += 1) {
      expect(await weir.measured(healthRequests)).toBe(before + 10);
      expect(await weir.measured('weir_blobs')).toBe(2);
      expect(await weir.measured('weir_workers')).toBe(workerCount);
    }
  });

  test('that are killed are replaced, and what they had counted stays', async () => {
    const before = await weir.measured(healthRequests);
    const ended = await weir.measured('weir_workers_ended_total');
    const serving = await processes.untilServing(workerCount);
    process.kill(serving.get(2)!, 'SIGKILL');
    for (let count = 0; count < 10; count += 1) {
      const answer = await weir.send('GET', '/healthz').catch((error: unknown) => error);
      // The connection that was just given to the one that died breaks with it.
      if (!(answer instanceof NoAnswerError)) expect(answer).toMatchObject({ status: 200 });
    }
    expect(await weir.measured(healthRequests)).toBeGreaterThanOrEqual(before);
    expect(await weir.measured('weir_workers_ended_total')).toBe(ended + 1);
    const replaced = await processes.untilServing(workerCount);
    expect(replaced.get(2)).not.toBe(serving.get(2));
    expect(await weir.measured('weir_workers')).toBe(workerCount);
    expect(weir.registry.log()).toContain(`"worker":2,"pid":${serving.get(2)},"code":null,"signal":"SIGKILL"`);
  });

  test('that are told to end finish what they are at, and are replaced', async () => {
    const bytes = Buffer.alloc(200_000, 'x');
    const { headers } = await weir.send('POST', '/v2/team/app/blobs/uploads/');
    const ended = await weir.measured('weir_workers_ended_total');
    const { request, answer } = weir.begin('PUT', `${headers.location!}?digest=${sha256(bytes)}`, {
      'content-length': String(bytes.length),
    });
    request.write(bytes.subarray(0, 100_000));
    await eventually(async () =>
      (await readdir(path.join(weir.dataDir, 'uploads'))).some((name) => name.length === 40),
    );
    for (const pid of (await processes.untilServing(workerCount)).values()) process.kill(pid, 'SIGTERM');
    await eventually(() => processes.count(/^a worker ended/) >= workerCount - 1);
    request.end(bytes.subarray(100_000));
    expect((await answer).status).toBe(201);
    await processes.untilServing(workerCount);
    expect(await weir.measured('weir_workers_ended_total')).toBe(ended);
  });

  test('that are all killed at the same moment come back at the same port', async () => {
    const before = await processes.untilServing(workerCount);
    for (const pid of before.values()) process.kill(pid, 'SIGKILL');
    await eventually(() => processes.count(/^a worker ended/) > 0);
    const { status } = await eventually(() => weir.send('GET', '/healthz').catch(() => undefined));
    expect(status).toBe(200);
    const after = await processes.untilServing(workerCount);
    for (const pid of before.values()) expect([...after.values()]).not.toContain(pid);
    expect(await weir.measured('weir_workers')).toBe(workerCount);
  });
});

describe('a group of workers', () => {
  let weir: TestWorkers;
  beforeEach(async () => {
    weir = await TestWorkers.open();
  });
  afterEach(() => weir.close());

  /** The half of an upload has reached a worker; the rest is sent with the function that comes back. */
  async function beginUpload(): Promise<{ readonly answer: Promise<Answer>; readonly finish: () => void }> {
    const bytes = Buffer.alloc(200_000, 'x');
    const { headers } = await weir.send('POST', '/v2/team/app/blobs/uploads/');
    const { request, answer } = weir.begin('PUT', `${headers.location!}?digest=${sha256(bytes)}`, {
      'content-length': String(bytes.length),
    });
    request.write(bytes.subarray(0, 100_000));
    await eventually(async () =>
      (await readdir(path.join(weir.dataDir, 'uploads'))).some((name) => name.length === 40),
    );
    return {
      answer,
      finish: () => {
        request.end(bytes.subarray(100_000));
      },
    };
  }

  test('has one password, one authority and one set of keys from its first start on', async () => {
    const processes = await weir.start({ WEIR_ADMIN_PASSWORD: undefined, WEIR_TLS_MODE: 'auto' });
    const ca = await readFile(path.join(weir.dataDir, 'tls', 'ca.crt'));
    const password = (await readFile(path.join(weir.dataDir, 'admin-password'), 'utf8')).trim();
    expect((await readdir(weir.dataDir)).filter((name) => name.startsWith('admin-password'))).toHaveLength(1);
    const ask = (target: string, auth?: string) =>
      new Promise<{ status: number | undefined; id: string; body: string; certificate: string }>((resolve, reject) => {
        httpsGet(`${weir.registry.url}${target}`, { ca, agent: false, ...(auth && { auth }) }, (response) => {
          const { socket } = response;
          const certificate = socket instanceof TLSSocket ? socket.getPeerCertificate().fingerprint256 : '';
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.once('end', () => {
            resolve({ status: response.statusCode, id: String(response.headers['x-request-id']), body, certificate });
          });
        }).once('error', reject);
      });
    const answers = [];
    for (let count = 0; count < 10 * workerCount; count += 1) {
      const { status, id } = await ask('/v2/', `admin:${password}`);
      expect(status).toBe(200);
      answers.push({ ...(await ask('/auth/keys')), worker: await processes.answered(id) });
    }
    expect(new Set(answers.map(({ worker }) => worker)).size).toBe(workerCount);
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1);
    expect(new Set(answers.map(({ certificate }) => certificate)).size).toBe(1);
    expect(answers[0]!.certificate).not.toBe('');
    expect(weir.registry.log()).not.toContain('"level":50');
    await weir.registry.stop();
  });

  test('lets an upload finish when it is stopped, also by a signal to all of its processes', async () => {
    const processes = await weir.start({ WEIR_SHUTDOWN_GRACE_SECONDS: '20' });
    const upload = await beginUpload();
    const all = await processes.list();
    expect(all).toHaveLength(workerCount);
    const stopped = weir.registry.stop();
    for (const pid of all) process.kill(pid, 'SIGTERM');
    await eventually(() =>
      weir.send('GET', '/healthz').then(
        () => false,
        () => true,
      ),
    );
    upload.finish();
    expect((await upload.answer).status).toBe(201);
    await stopped;
    for (const pid of all) expect(await isAlive(pid)).toBe(false);
    expect(await runFsck(weir.dataDir)).toMatchObject({ exitCode: 0 });
  });

  test('cuts off what still runs after the grace time, and ends with 4', async () => {
    await weir.start({ WEIR_SHUTDOWN_GRACE_SECONDS: '1' });
    const upload = await beginUpload();
    await expect(weir.registry.stop()).rejects.toThrow('exit code 4');
    await expect(upload.answer).rejects.toThrow(NoAnswerError);
  });

  test('ends at once at a second signal, with 4', async () => {
    const processes = await weir.start({ WEIR_SHUTDOWN_GRACE_SECONDS: '60' });
    const all = await processes.list();
    const upload = await beginUpload();
    process.kill(processes.primary, 'SIGINT');
    await eventually(async () => (await processes.list()).length < workerCount);
    await expect(weir.registry.stop()).rejects.toThrow('exit code 4');
    await expect(upload.answer).rejects.toThrow(NoAnswerError);
    await eventually(async () => !(await Promise.all(all.map(isAlive))).includes(true));
  });

  test('ends with the process that started it', async () => {
    const processes = await weir.start();
    const all = await processes.list();
    await weir.registry.kill();
    await eventually(async () => !(await Promise.all(all.map(isAlive))).includes(true));
    await weir.start();
    expect((await weir.send('GET', '/readyz')).status).toBe(200);
  });

  test('does not start when the first worker cannot, and says why', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const started = weir.start({ WEIR_LISTEN: `127.0.0.1:${port}` });
    await expect(started).rejects.toThrow(/exit code 1, [^]*EADDRINUSE[^]*set WEIR_LISTEN to another host:port/);
    other.close();
  });
});
