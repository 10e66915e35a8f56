import { readdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeBytes, mediaTypes } from '../../conformance/support/image.js';
import { manifestOf } from '../faults/load.js';
import { Random } from '../faults/random.js';
import { receivedBytes, RegistryClient, sha256, sha512, type Answer } from '../faults/registry-client.js';
import { runFsck } from '../faults/registry-process.js';
import { TestWorkers } from './worker-group.js';
import { eventually, type WorkerProcesses } from './worker-processes.js';

const repository = 'team/app';
const uploads = `/v2/${repository}/blobs/uploads/`;

let weir: TestWorkers;
let processes: WorkerProcesses;

beforeAll(async () => {
  weir = await TestWorkers.open();
  processes = await weir.start();
});
afterAll(async () => {
  await weir.registry.stop();
  expect(await runFsck(weir.dataDir)).toMatchObject({ exitCode: 0 });
  await weir.close();
});

async function openSession(algorithm = ''): Promise<string> {
  const { status, headers } = await weir.send('POST', `${uploads}${algorithm}`);
  expect(status).toBe(202);
  return headers.location!;
}

function workerOf({ headers }: Answer): Promise<number> {
  return processes.answered(String(headers['x-request-id']));
}

/** Of the admin, for `/apis`; in the way of clients that can be challenged. */
async function fetchToken(): Promise<string> {
  const target = '/oauth/authorize?client_id=openshift-challenging-client&response_type=token';
  const { headers } = await weir.send('GET', target, undefined, { 'x-csrf-token': '1' });
  return new URLSearchParams(new URL(headers.location!, weir.registry.url).hash.slice(1)).get('access_token')!;
}

async function readBlob(digest: string): Promise<Buffer> {
  const { status, body } = await weir.send('GET', `/v2/${repository}/blobs/${digest}`);
  expect(status).toBe(200);
  return body;
}

test.each([
  { name: 'sha256', digestOf: sha256, query: '' },
  { name: 'sha512', digestOf: sha512, query: '?digest-algorithm=sha512' },
  { name: 'sha512 that nobody was told of', digestOf: sha512, query: '' },
])('a chunked upload whose requests come to one worker or another is whole, by $name', async ({ digestOf, query }) => {
  // Which worker takes a connection is the kernel's choice.
  for (let attempt = 0; attempt < 20; attempt += 1) {
    if ((await uploadInChunks(digestOf, query)).size > 1) return;
  }
  throw new Error('all requests came to one worker');
});

/** @returns the workers that its requests came to */
async function uploadInChunks(digestOf: (bytes: Buffer) => string, query: string): Promise<ReadonlySet<unknown>> {
  const random = new Random(`chunks ${query} ${digestOf.name}`);
  const chunks = [700_000, 1, 1_500_000, 65_536, 300_000, 2, 70_000, 3, 4, 500_000, 5, 6].map((size) =>
    random.bytes(size),
  );
  const bytes = Buffer.concat(chunks);
  const location = await openSession(query);
  const answers: Answer[] = [];
  let offset = 0;
  for (const chunk of chunks.slice(0, -1)) {
    const range = `${offset}-${offset + chunk.length - 1}`;
    const answer = await weir.send('PATCH', location, chunk, { 'content-range': range });
    expect(answer.status).toBe(202);
    offset += chunk.length;
    expect(receivedBytes(answer)).toBe(offset);
    answers.push(answer);
    const status = await weir.send('GET', location);
    expect(receivedBytes(status)).toBe(offset);
  }
  const ended = await weir.send('PUT', `${location}?digest=${digestOf(bytes)}`, chunks.at(-1));
  expect(ended.status).toBe(201);
  answers.push(ended);
  expect((await readBlob(digestOf(bytes))).equals(bytes)).toBe(true);
  return workersOf(answers);
}

async function workersOf(answers: readonly Answer[]): Promise<ReadonlySet<unknown>> {
  return new Set(await Promise.all(answers.map(workerOf)));
}

test('a worker refuses to write to a session that another one is receiving for', async () => {
  const [first, second] = [Buffer.alloc(400_000, 'a'), Buffer.alloc(400_000, 'b')];
  const location = await openSession();
  const { request, answer } = weir.begin('PATCH', location, { 'content-length': String(first.length) });
  request.write(first.subarray(0, 200_000));
  await eventually(async () => (await readdir(path.join(weir.dataDir, 'uploads'))).includes(path.basename(location)));
  const others: Answer[] = [];
  // Which worker takes a connection is the kernel's choice.
  for (let round = 0; round < 20 && (await workersOf(others)).size < 2; round += 1) {
    const refused = await Promise.all([
      ...Array.from({ length: 8 }, () => weir.send('PATCH', location, second)),
      weir.send('PUT', `${location}?digest=${sha256(second)}`, second),
      weir.send('DELETE', location),
    ]);
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([409]));
    others.push(...refused);
  }
  expect((await workersOf(others)).size).toBeGreaterThan(1);
  request.end(first.subarray(200_000));
  const written = await answer;
  expect(receivedBytes(written)).toBe(first.length);
  expect((await weir.send('PUT', `${location}?digest=${sha256(first)}`)).status).toBe(201);
  expect((await readBlob(sha256(first))).equals(first)).toBe(true);
});

test('bytes that come to two workers for one session at the same moment are never mixed', async () => {
  const random = new Random('two writers');
  const outcomes = { one: 0, both: 0, across: 0 };
  // Until the kernel has given the two to different workers at least once.
  for (let round = 0; round < 10 || (outcomes.across === 0 && round < 300); round += 1) {
    const bodies = [random.bytes(random.between(1, 1_500_000)), random.bytes(random.between(1, 1_500_000))] as const;
    const location = await openSession();
    const answers = await Promise.all(bodies.map((body) => weir.send('PATCH', location, body)));
    for (const { status } of answers) expect([202, 409]).toContain(status);
    // In the order in which they were counted.
    const written = answers
      .map((answer, index) => ({ answer, body: bodies[index as 0 | 1] }))
      .filter(({ answer }) => answer.status === 202)
      .sort((a, b) => receivedBytes(a.answer) - receivedBytes(b.answer));
    expect(written.length).toBeGreaterThan(0);
    outcomes[written.length === 2 ? 'both' : 'one'] += 1;
    const [one, other] = await Promise.all(answers.map(workerOf));
    if (one !== other) outcomes.across += 1;
    const bytes = Buffer.concat(written.map(({ body }) => body));
    expect((await weir.send('PUT', `${location}?digest=${sha256(bytes)}`)).status).toBe(201);
    expect((await readBlob(sha256(bytes))).equals(bytes)).toBe(true);
  }
  console.log(`workers: two writers at once in ${JSON.stringify(outcomes)}`);
  expect(outcomes.across).toBeGreaterThan(0);
});

test('a session that two workers are asked to end at the same moment ends once', async () => {
  const random = new Random('two ends');
  for (let round = 0; round < 20; round += 1) {
    const bytes = random.bytes(random.between(1, 500_000));
    const location = await openSession();
    const target = `${location}?digest=${sha256(bytes)}`;
    const answers = await Promise.all([weir.send('PUT', target, bytes), weir.send('PUT', target, bytes)]);
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses[0]).toBe(201);
    expect([404, 409]).toContain(statuses[1]);
    expect((await readBlob(sha256(bytes))).equals(bytes)).toBe(true);
  }
});

test('a watch on one worker is told soon of what another one has committed', async () => {
  const config = Buffer.from('{}');
  await weir.send('POST', `${uploads}?digest=${sha256(config)}`, config);
  const push = async (note: string): Promise<Answer> => {
    const { bytes, mediaType } = manifestOf({
      mediaType: mediaTypes.manifest,
      config: describeBytes(config, mediaTypes.config),
      layers: [],
      annotations: { note },
    });
    const answer = await weir.send('PUT', `/v2/${repository}/manifests/latest`, bytes, { 'content-type': mediaType });
    expect(answer.status).toBe(201);
    return answer;
  };
  await push('before');

  const target = '/apis/image.openshift.io/v1/namespaces/team/imagestreams?watch=1';
  const client = new RegistryClient(weir.registry.url);
  const outgoing = client.start('GET', target, { authorization: `Bearer ${await fetchToken()}` });
  const told: number[] = [];
  const watch = await new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve).once('error', reject).end();
  });
  expect(watch.statusCode).toBe(200);
  let rest = '';
  watch.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) if (line.startsWith('{"type":"MODIFIED"')) told.push(performance.now());
  });

  await delay(500);
  const pushes: { readonly answer: Answer; readonly lagMs: number }[] = [];
  for (let count = 0; count < 60; count += 1) {
    const before = told.length;
    const answer = await push(`change ${count}`);
    const answeredAt = performance.now();
    await eventually(() => told.length > before);
    pushes.push({ answer, lagMs: Math.max(0, told[before]! - answeredAt) });
    await delay((count % 30) * 7);
  }
  outgoing.on('error', () => undefined).destroy();
  client.close();
  const watching = await processes.answered(String(watch.headers['x-request-id']));
  const lags: number[] = [];
  for (const { answer, lagMs } of pushes) if ((await workerOf(answer)) !== watching) lags.push(lagMs);
  lags.sort((a, b) => a - b);
  const median = lags[Math.floor(lags.length / 2)]!;
  console.log(
    `workers: a watch on another worker lags ${median.toFixed(0)} ms (median of ${lags.length}), ` +
      `${lags.at(-1)!.toFixed(0)} ms at most`,
  );
  expect(lags.length).toBeGreaterThan(3);
  expect(lags.at(-1)).toBeLessThan(1000);
});
