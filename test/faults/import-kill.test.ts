import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import SqliteDatabase from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { content, imageManifest } from '../support/images.js';
import { Random } from './random.js';
import { RegistryClient } from './registry-client.js';
import { password, startRegistryProcess, type RegistryProcess } from './registry-process.js';

const rounds = Number(process.env['WEIR_TEST_KILL_ROUNDS'] ?? 25);
const seed = process.env['WEIR_TEST_KILL_SEED'] ?? String(Date.now());
const sources = 40;
/** Of the sources, those that two tags want. */
const shared = 20;
const moveEveryMs = 5;
/** Leases of what was killed are over by then, and all is looked at once more. */
const catchUpMs = 20_000;

let folder = '';
let dataDir = '';
let upstream: FaultyRegistry;
let registry: RegistryProcess | undefined;
let standstill: AbortController;
/** What the tag of each source was, one after the other. */
const served = Array.from({ length: sources }, () => [] as string[]);
const images = new Map<string, Buffer>();

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-import-kill-'));
  dataDir = path.join(folder, 'data');
  upstream = await startFaultyRegistry();
  standstill = new AbortController();
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.error(`Log of Weir:\n${registry?.log() ?? ''}`);
  standstill.abort();
  await registry?.kill();
  registry = undefined;
  await upstream.close();
  await rm(folder, { recursive: true, force: true });
});

test(`tags that follow another registry go its way, and no other, in ${rounds} rounds of kill -9`, async () => {
  console.log(`import kill: seed ${seed} (WEIR_TEST_KILL_SEED)`);
  const random = new Random(seed);
  for (let source = 0; source < sources; source += 1) move(source);
  const moves = new Random(`${seed} moves`);
  const moving = (async () => {
    while (!standstill.signal.aborted) {
      await delay(moveEveryMs);
      move(moves.between(0, sources - 1));
    }
  })();
  registry = await start();
  await makeStreams(registry.url);
  for (let round = 1; round <= rounds; round += 1) {
    // Now and then what was killed is given the time to be taken over.
    await delay(round % 5 === 0 ? 11_000 : random.between(20, 2500));
    await registry.kill();
    registry = await start();
  }

  standstill.abort();
  await moving;
  const startedAt = Date.now();
  await expect.poll(staleTags, { timeout: catchUpMs, interval: 200 }).toEqual([]);
  const caughtUpMs = Date.now() - startedAt;
  const histories = readHistories();
  expect(histories.size).toBe(sources + shared);
  const client = new RegistryClient(registry.url);
  let events = 0;
  for (const [tag, history] of histories) {
    const positions = history.map((image) => served[sourceOf(tag)]!.indexOf(image));
    expect(positions, `the history of ${tag}, seed ${seed}`).not.toContain(-1);
    expect(positions, `the history of ${tag}, seed ${seed}`).toEqual([...new Set(positions)].sort((a, b) => a - b));
    events += history.length;
    for (const image of history) {
      const { body } = await client.expect(200, 'GET', `/v2/${repositoryOf(tag)}/manifests/${image}`);
      expect(body.equals(images.get(image)!)).toBe(true);
    }
    const { headers } = await client.expect(200, 'HEAD', `/v2/${repositoryOf(tag)}/manifests/${tag}`);
    expect(headers['docker-content-digest']).toBe(served[sourceOf(tag)]!.at(-1));
  }
  client.close();
  await registry.stop();
  registry = undefined;
  expect(events).toBeGreaterThan(histories.size * 2);
  console.log(
    `import kill: ${rounds} rounds, ${images.size} images there, ${events} events of ${histories.size} tags here, ` +
      `caught up after ${caughtUpMs} ms`,
  );
});

function start(): Promise<RegistryProcess> {
  return startRegistryProcess({
    dataDir,
    environment: {
      WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
      WEIR_IMPORTS_INTERVAL_SECONDS: '1',
      WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
    },
  });
}

/** A new image for the tag of a source. */
function move(source: number): void {
  const config = content(
    JSON.stringify({ architecture: 'amd64', os: 'linux', author: `${source} ${served[source]!.length}` }),
  );
  const manifest = imageManifest(config, [content(`layer ${source} ${served[source]!.length}`)]);
  upstream.addBlob(`r${source}`, config);
  upstream.addManifest(`r${source}`, manifest, 'latest');
  served[source]!.push(manifest.digest);
  images.set(manifest.digest, manifest.bytes);
}

/** Tags `t0`, `t1` and so on, ten of each stream; the further ones want the first sources again. */
async function makeStreams(url: string): Promise<void> {
  const headers = { Authorization: `Bearer ${await apiToken(url)}`, 'Content-Type': 'application/json' };
  const post = async (target: string, body: object) => {
    const response = await fetch(url + target, { method: 'POST', headers, body: JSON.stringify(body) });
    expect(response.status, await response.text()).toBe(201);
  };
  await post('/apis/project.openshift.io/v1/projects', { metadata: { name: 'faults' } });
  for (let first = 0; first < sources + shared; first += 10) {
    const tags = Array.from({ length: 10 }, (_, n) => ({
      name: `t${first + n}`,
      from: { kind: 'DockerImage', name: `${upstream.host}/r${(first + n) % sources}:latest` },
      importPolicy: { insecure: true, scheduled: true },
    }));
    await post('/apis/image.openshift.io/v1/namespaces/faults/imagestreams', {
      metadata: { name: `s${first / 10}` },
      spec: { tags },
    });
  }
}

function sourceOf(tag: string): number {
  return Number(tag.slice(1)) % sources;
}

function repositoryOf(tag: string): string {
  return `faults/s${Math.floor(Number(tag.slice(1)) / 10)}`;
}

/** The images of each tag, the oldest first. */
function readHistories(): ReadonlyMap<string, readonly string[]> {
  const db = new SqliteDatabase(path.join(dataDir, 'weir.sqlite'), { readonly: true });
  const rows = db.prepare<[], { tag: string; image: string }>(
    'select tag, image from tag_event order by tag, sequence',
  );
  const histories = new Map<string, string[]>();
  for (const { tag, image } of rows.all()) histories.set(tag, [...(histories.get(tag) ?? []), image]);
  db.close();
  return histories;
}

function staleTags(): readonly string[] {
  const histories = readHistories();
  return Array.from({ length: sources + shared }, (_, n) => `t${n}`).filter(
    (tag) => histories.get(tag)?.at(-1) !== served[sourceOf(tag)]!.at(-1),
  );
}

/** By the flow of `oc login` (RFC 6749, section 4.2). */
async function apiToken(url: string): Promise<string> {
  const query = new URLSearchParams({
    client_id: 'openshift-challenging-client',
    response_type: 'token',
    redirect_uri: `${url}/oauth/token/implicit`,
  });
  const response = await fetch(`${url}/oauth/authorize?${query.toString()}`, {
    redirect: 'manual',
    headers: { 'X-CSRF-Token': '1', Authorization: `Basic ${btoa(`admin:${password}`)}` },
  });
  const token = new URLSearchParams((response.headers.get('Location') ?? '').split('#')[1]).get('access_token');
  if (token === null) throw new Error(`no API token: ${response.status}`);
  return token;
}
