import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Random } from './random.js';
import { NoAnswerError, RegistryClient, sha256, type Answer, type Call } from './registry-client.js';
import { killWhileStarting, runFsck, startRegistryProcess, type RegistryProcess } from './registry-process.js';
import { SlowUpstream, type UpstreamImage } from './slow-upstream.js';

const rounds = Number(process.env['WEIR_TEST_KILL_ROUNDS'] ?? 25);
const seed = process.env['WEIR_TEST_KILL_SEED'] ?? String(Date.now());
const pullers = 8;

/** Uploads of fetches that were killed go soon, and blobs that nothing refers to. */
const settings = {
  WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
  WEIR_IMPORTS_AUTOMATIC: 'false',
  WEIR_UPLOADS_EXPIRE_SECONDS: '2',
  WEIR_COLLECTION_GRACE_SECONDS: '2',
  WEIR_COLLECTION_INTERVAL_SECONDS: '1',
};

/** Where an image of the other registry is pulled here. */
interface Place {
  /** As in `lib/app:v1`. */
  readonly source: string;
  /** As in `hub/lib/app`. */
  readonly repository: string;
  readonly tag: string;
  /** Of a stream: what was imported, which does not follow the other registry. */
  readonly imported?: UpstreamImage;
  /** Whether what is pulled is kept. */
  readonly isKept: boolean;
}

/** What clients got. */
interface Tally {
  manifests: number;
  blobs: number;
  ranges: number;
  bytes: number;
  /** Answers that broke off, or said that the blob cannot be had: by kills, and by what is wrong with the other registry. */
  failures: number;
  /** Answers that must not be. */
  readonly violations: string[];
}

let folder = '';
let dataDir = '';
let upstream: SlowUpstream;
let registry: RegistryProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-pull-kill-'));
  dataDir = path.join(folder, 'data');
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.error(`Log of Weir:\n${registry?.log() ?? ''}`);
  await registry?.kill();
  registry = undefined;
  await upstream.stop();
  await rm(folder, { recursive: true, force: true });
});

test(`what is pulled through is whole and right in ${rounds} rounds of kill -9, and then there without its source`, async () => {
  console.log(`pull-through kill: seed ${seed} (WEIR_TEST_KILL_SEED)`);
  const startedAt = Date.now();
  const random = new Random(seed);
  upstream = await SlowUpstream.start(new Random(`${seed} upstream`));
  const tally: Tally = { manifests: 0, blobs: 0, ranges: 0, bytes: 0, failures: 0, violations: [] };
  registry = await startRegistryProcess({ dataDir, environment: settings });
  const places = await setUp(registry.url);
  const cached = places.filter(({ imported }) => imported === undefined);

  upstream.faultPercent = 3;
  for (let round = 1; round <= rounds; round += 1) {
    const client = new RegistryClient(registry.url);
    await client.expect(200, 'GET', '/v2/');
    // New images each time, or all would soon be here.
    const moving = Array.from({ length: 3 }, async () => {
      await delay(random.between(0, 400));
      upstream.move(random.pick(cached).source);
    });
    let isEnding = false;
    const load = Array.from({ length: pullers }, (_, index) =>
      pull({
        client,
        places,
        tally,
        random: new Random(`${seed} round ${round} puller ${index}`),
        isEnding: () => isEnding,
      }),
    );
    await delay(random.between(50, 1200));
    isEnding = true;
    await registry.kill();
    await Promise.all([...load, ...moving]);
    client.close();
    expect(tally.violations, `after round ${round} of seed ${seed}`).toEqual([]);

    const options = { dataDir, environment: settings };
    if (round % 10 === 0) await killWhileStarting(options, random.between(50, 600));
    registry = await startRegistryProcess(options);
  }

  upstream.faultPercent = 0;
  upstream.maxPauseMs = 0;
  const client = new RegistryClient(registry.url);
  for (const place of places) await expectWhole(client, place, newestOf(place));
  // Also what tags were before, when anybody ever pulled it.
  let older = 0;
  for (const place of cached) {
    for (const image of upstream.historyOf(place.source).slice(0, -1)) {
      await expectWhole(client, { ...place, tag: image.digest }, image);
      older += 1;
    }
  }
  client.close();
  await upstream.stop();
  await registry.kill();

  registry = await startRegistryProcess({ dataDir, environment: settings });
  const alone = new RegistryClient(registry.url);
  for (const place of places.filter(({ isKept }) => isKept)) await expectWhole(alone, place, newestOf(place));
  for (const place of cached) {
    for (const image of upstream.historyOf(place.source)) {
      await expectWhole(alone, { ...place, tag: image.digest }, image);
    }
  }
  alone.close();
  await expect.poll(() => readdir(path.join(dataDir, 'uploads')), { timeout: 30_000, interval: 200 }).toEqual([]);
  await registry.stop();
  const checked = await runFsck(dataDir);
  expect(checked).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(': 0 lost, 0 notes') as string });

  const { manifests, blobs, ranges, bytes, failures } = tally;
  console.log(
    `pull-through kill: ${rounds} rounds, pulled ${manifests} manifests, ${blobs} blobs and ${ranges} ranges ` +
      `(${Math.round(bytes / 1_000_000)} MB), ${failures} cut off or refused, none wrong; upstream gave ` +
      `${upstream.manifestsGiven} manifests and ${upstream.blobsGiven} blobs, ${upstream.faultsMade} of them spoilt; ` +
      `${older} older images; ${Math.round((Date.now() - startedAt) / 1000)} s`,
  );
  // It was no test if hardly anything came, or all came before it was killed.
  expect(blobs).toBeGreaterThan(rounds);
  expect(failures).toBeGreaterThan(rounds);
});

/** A cache project, and a stream with tags of both policies. */
async function setUp(url: string): Promise<readonly Place[]> {
  const client = new RegistryClient(url);
  const token = await apiToken(client);
  const create = async (target: string, object: object): Promise<Answer> =>
    client.expect(201, 'POST', target, {
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(object)),
    });
  for (const name of ['hub', 'team']) await create('/apis/project.openshift.io/v1/projects', { metadata: { name } });
  await create('/apis/weir.dev/v1/namespaces/hub/upstreamcaches', {
    metadata: { name: 'upstream' },
    spec: { registry: upstream.host, insecure: true, freshSeconds: 0, missingSeconds: 0 },
  });
  const cached = ['lib/app:v1', 'lib/app:v2', 'lib/db:latest', 'web:1'].map((source): Place => {
    upstream.move(source);
    const [repository = '', tag = ''] = source.split(':');
    return { source, repository: `hub/${repository}`, tag, isKept: true };
  });
  const imported: Place[] = [];
  for (const type of ['Local', 'Source']) {
    for (let number = 0; number < 6; number += 1) {
      const tag = `${type.toLowerCase()}-${number}`;
      const source = `of-streams/app:${tag}`;
      const image = upstream.move(source);
      const from = { kind: 'DockerImage', name: `${upstream.host}/${source}` };
      const policy = { importPolicy: { insecure: true }, referencePolicy: { type } };
      const { body } = await create('/apis/image.openshift.io/v1/namespaces/team/imagestreamimports', {
        metadata: { name: 'app' },
        spec: { import: true, images: [{ from, to: { name: tag }, ...policy }] },
      });
      expect(body.toString()).toContain(image.digest);
      imported.push({ source, repository: 'team/app', tag, imported: image, isKept: type === 'Local' });
    }
  }
  client.close();
  return [...cached, ...imported];
}

async function apiToken(client: RegistryClient): Promise<string> {
  const query = new URLSearchParams({ client_id: 'openshift-challenging-client', response_type: 'token' });
  const { headers } = await client.expect(302, 'GET', `/oauth/authorize?${query.toString()}`, {
    headers: { 'x-csrf-token': '1' },
  });
  return /access_token=([^&]+)/.exec(decodeURIComponent(headers.location ?? ''))?.[1] ?? '';
}

interface PullerOptions {
  readonly client: RegistryClient;
  readonly places: readonly Place[];
  readonly tally: Tally;
  readonly random: Random;
  readonly isEnding: () => boolean;
}

/** Pulls images, one after the other, until the registry ends. */
async function pull({ client, places, tally, random, isEnding }: PullerOptions): Promise<void> {
  while (!isEnding()) {
    const place = random.pick(places);
    try {
      await pullOnce({ client, place, tally, random });
    } catch (error) {
      if (!(error instanceof NoAnswerError)) tally.violations.push(error instanceof Error ? error.stack! : 'unknown');
      tally.failures += 1;
    }
  }
}

async function pullOnce({
  client,
  place,
  tally,
  random,
}: Pick<PullerOptions, 'client' | 'tally' | 'random'> & { readonly place: Place }): Promise<void> {
  const { repository, tag } = place;
  const target = `/v2/${repository}/manifests/${tag}`;
  const answer = await client.send('GET', target);
  const image = expectManifest(target, answer, place);
  tally.manifests += 1;
  for (const [digest, bytes] of image.blobs) {
    const start = random.chance(0.2) ? random.between(0, bytes.length - 1) : undefined;
    const call: Call = start === undefined ? {} : { headers: { range: `bytes=${start}-` } };
    const blob = `/v2/${repository}/blobs/${digest}`;
    let got: Answer;
    try {
      got = await client.send('GET', blob, call);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      tally.failures += 1;
      continue;
    }
    if (got.status === 502 || got.status === 503) tally.failures += 1;
    else if (got.status !== (start === undefined ? 200 : 206)) throw new Error(`${blob}: ${describe(got)}`);
    else if (!got.body.equals(bytes.subarray(start ?? 0))) throw new Error(`${blob}: ${got.body.length} wrong bytes`);
    else {
      tally[start === undefined ? 'blobs' : 'ranges'] += 1;
      tally.bytes += got.body.length;
    }
  }
}

/** What a tag is, or was, in the other registry. @throws {Error} when it is anything else */
function expectManifest(target: string, answer: Answer, { source, imported }: Place): UpstreamImage {
  if (answer.status !== 200) throw new Error(`${target}: ${describe(answer)}`);
  const digest = sha256(answer.body);
  const known = imported === undefined ? upstream.historyOf(source) : [imported];
  const image = known.find((each) => each.digest === digest);
  if (image === undefined) throw new Error(`${target}: an image that the tag never was: ${digest}`);
  if (answer.headers['docker-content-digest'] !== digest) throw new Error(`${target}: not the digest of its bytes`);
  return image;
}

function newestOf({ source, imported }: Place): UpstreamImage {
  return imported ?? upstream.historyOf(source).at(-1)!;
}

/** The manifest and every blob. */
async function expectWhole(client: RegistryClient, { repository, tag }: Place, image: UpstreamImage): Promise<void> {
  const { body } = await client.expect(200, 'GET', `/v2/${repository}/manifests/${tag}`);
  expect({ repository, tag, digest: sha256(body) }).toEqual({ repository, tag, digest: image.digest });
  for (const [digest, bytes] of image.blobs) {
    const blob = await client.expect(200, 'GET', `/v2/${repository}/blobs/${digest}`);
    expect({ repository, digest, isRight: blob.body.equals(bytes) }).toEqual({ repository, digest, isRight: true });
  }
}

function describe({ status, body }: Answer): string {
  return `${status} ${body.toString('utf8').slice(0, 500)}`;
}
