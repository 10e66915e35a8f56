import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { ImageStream } from '../../src/streams/types.js';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { accepted, from, StreamApi, type SentTag, type TagName } from '../streams/stream-api.js';

const everySecond = { 'weir.dev/import-interval': '1s' };

let registry: TestRegistry;
let upstream: FaultyRegistry;
let team: StreamApi;
beforeAll(async () => {
  upstream = await startFaultyRegistry();
  registry = await startRegistry({
    WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
    WEIR_IMPORTS_AUTOMATIC: 'true',
    WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
  });
  await registry.addProject('team');
  team = new StreamApi(registry, 'team');
});
afterAll(async () => {
  await registry.stop();
  await upstream.close();
});
afterEach(() => {
  upstream.clearFaults();
});

const tagOf = (name: string, policy: object = {}, more: object = {}): SentTag => ({
  ...from.docker(`${upstream.host}/${name}`),
  importPolicy: { insecure: true, ...policy },
  ...more,
});
const scheduled = (name: string): SentTag => tagOf(name, { scheduled: true }, { annotations: everySecond });

/** The stream as soon as it is as it should be. */
async function until(name: string, isDone: (stream: ImageStream) => boolean): Promise<ImageStream> {
  for (let tries = 0; ; tries += 1) {
    const stream = await team.read(name);
    if (isDone(stream)) return stream;
    if (tries === 100) throw new Error(`never became so: ${JSON.stringify(stream)}`);
    await sleep(100);
  }
}

const imagesOf = (stream: ImageStream, tag: string) =>
  stream.status.tags?.find((each) => each.tag === tag)?.items?.map(({ image }) => image) ?? [];
const conditionsOf = (stream: ImageStream, tag: string) =>
  stream.status.tags?.find((each) => each.tag === tag)?.conditions ?? [];
const requestsFor = (repository: string) => upstream.seen.filter((seen) => seen.includes(`/${repository}/manifests/`));

async function annotations(name: TagName): Promise<Readonly<Record<string, string>>> {
  const { body } = await team.send<{ metadata: { annotations?: Record<string, string> } }>(
    'GET',
    `imagestreamtags/${name}`,
  );
  return body.metadata.annotations ?? {};
}

test('a tag that is wanted is imported at once', async () => {
  const a = upstream.addImage('wanted', '1');
  await team.create('wanted', { tags: [{ name: 'v1', ...tagOf('wanted:1') }] });
  const stream = await until('wanted', (each) => imagesOf(each, 'v1').length > 0);
  expect(stream.status.tags).toMatchObject([
    {
      tag: 'v1',
      items: [{ image: a.digest, dockerImageReference: `${upstream.host}/wanted@${a.digest}`, generation: 2 }],
    },
  ]);
  expect(stream.spec.tags).toMatchObject([{ generation: 2 }]);
  // By oc tag too.
  const b = upstream.addImage('wanted', '2', 'b');
  accepted(await team.putTag('wanted:v2', tagOf('wanted:2')), 201);
  expect(imagesOf(await until('wanted', (each) => imagesOf(each, 'v2').length > 0), 'v2')).toEqual([b.digest]);
});

test('a stream that names a repository gets its tags', async () => {
  const a = upstream.addImage('whole', '1');
  await team.create(
    'whole',
    { dockerImageRepository: `${upstream.host}/whole` },
    {
      metadata: { name: 'whole', annotations: { 'openshift.io/image.insecureRepository': 'true' } },
    },
  );
  expect(imagesOf(await until('whole', (each) => imagesOf(each, '1').length > 0), '1')).toEqual([a.digest]);
});

test('68: what failed is not tried again until somebody wants it anew', async () => {
  await team.create('late', { tags: [{ name: 'v1', ...tagOf('late:1') }] });
  await until('late', (each) => conditionsOf(each, 'v1').length > 0);
  const a = upstream.addImage('late', '1');
  const count = requestsFor('late').length;
  await sleep(1500);
  expect(requestsFor('late')).toHaveLength(count);
  accepted(await team.editTags('late', ([tag]) => [{ ...tag, generation: 0 }]), 200);
  const stream = await until('late', (each) => imagesOf(each, 'v1').length > 0);
  expect(imagesOf(stream, 'v1')).toEqual([a.digest]);
  expect(conditionsOf(stream, 'v1')).toEqual([]);
});

test('69: a scheduled tag follows its source, and is left alone while that stays', async () => {
  const a = upstream.addImage('moving', '1', 'moving a');
  await team.create('moving', { tags: [{ name: 'v1', ...scheduled('moving:1') }] });
  const first = await until('moving', (each) => imagesOf(each, 'v1').length > 0);
  const gets = () => requestsFor('moving').filter((seen) => seen.startsWith('GET')).length;
  const heads = () => requestsFor('moving').length - gets();
  const [getsBefore, headsBefore] = [gets(), heads()];
  const checkedBefore = (await annotations('moving:v1'))['weir.dev/import-checked'];
  for (let tries = 0; heads() < headsBefore + 2 && tries < 100; tries += 1) await sleep(100);
  // Looked at by HEAD alone, and nothing was written.
  expect(heads()).toBeGreaterThanOrEqual(headsBefore + 2);
  expect(gets()).toBe(getsBefore);
  expect((await team.read('moving')).metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  const told = await annotations('moving:v1');
  expect(told['weir.dev/import-checked']! >= checkedBefore!).toBe(true);
  expect(Date.parse(told['weir.dev/import-next']!)).toBeGreaterThan(Date.now() - 2000);
  expect(told).not.toHaveProperty(['weir.dev/import-error']);

  const b = upstream.addImage('moving', '1', 'moving b');
  const second = await until('moving', (each) => imagesOf(each, 'v1').length === 2);
  expect(imagesOf(second, 'v1')).toEqual([b.digest, a.digest]);
  expect(second.metadata.generation).toBe(first.metadata.generation! + 1);
  expect(second.spec.tags?.[0]?.generation).toBe(second.status.tags?.[0]?.items?.[0]?.generation);
});

test('a source that fails, goes away or serves something broken never moves the tag', async () => {
  const a = upstream.addImage('known-good', '1');
  await team.create('known-good', { tags: [{ name: 'v1', ...scheduled('known-good:1') }] });
  await until('known-good', (each) => imagesOf(each, 'v1').length > 0);
  const faults = [
    { kind: 'answer', status: 404, body: '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}' },
    { kind: 'answer', status: 403, body: '{"errors":[{"code":"DENIED"}]}' },
    { kind: 'answer', status: 200, body: '<html>Welcome</html>', headers: { 'Content-Type': 'text/html' } },
    { kind: 'body', body: '{"schemaVersion": 2}' },
  ] as const;
  for (const fault of faults) {
    // Another image, so that it is looked at more closely than by its digest.
    upstream.addImage('known-good', '1', `broken by ${fault.kind}`);
    upstream.addFault({ ...fault, path: /known-good\/manifests/ });
    const failing = await until('known-good', (each) => conditionsOf(each, 'v1').length > 0);
    expect(imagesOf(failing, 'v1')).toEqual([a.digest]);
    expect(await team.pull('known-good', 'v1')).toBe(a.digest);
    expect(await annotations('known-good:v1')).toHaveProperty(['weir.dev/import-error']);
    upstream.setTag('known-good', '1', a.digest);
    upstream.clearFaults();
    const well = await until('known-good', (each) => conditionsOf(each, 'v1').length === 0);
    expect(imagesOf(well, 'v1')).toEqual([a.digest]);
  }
});

test('70: what is named by its digest is imported once', async () => {
  const a = upstream.addImage('pinned', '1');
  await team.create('pinned', { tags: [{ name: 'v1', ...scheduled(`pinned@${a.digest}`) }] });
  await until('pinned', (each) => imagesOf(each, 'v1').length > 0);
  const count = requestsFor('pinned').length;
  await sleep(2500);
  expect(requestsFor('pinned')).toHaveLength(count);
  expect(await annotations('pinned:v1')).not.toHaveProperty(['weir.dev/import-next']);
});

test('many streams with one source ask it once', async () => {
  const a = upstream.addImage('shared', '1');
  for (const name of ['shared-a', 'shared-b', 'shared-c', 'shared-d']) {
    await team.create(name, { tags: [{ name: 'v1', ...scheduled('shared:1') }] });
  }
  for (const name of ['shared-a', 'shared-b', 'shared-c', 'shared-d']) {
    await until(name, (each) => imagesOf(each, 'v1').length > 0);
  }
  await sleep(1500);
  const before = requestsFor('shared').length;
  const start = Date.now();
  await sleep(5000);
  const perSecond = ((requestsFor('shared').length - before) / (Date.now() - start)) * 1000;
  // Four streams, looked at every second.
  expect(perSecond).toBeLessThan(1.6);
  expect(await team.pull('shared-d', 'v1')).toBe(a.digest);
});

test('a push over a scheduled tag lasts until its source is looked at', async () => {
  const a = upstream.addImage('pushed', '1');
  await team.create('pushed', { tags: [{ name: 'v1', ...scheduled('pushed:1') }] });
  await until('pushed', (each) => imagesOf(each, 'v1').length > 0);
  const { digest } = await team.push('pushed:v1', 'pushed over');
  const stream = await until('pushed', (each) => imagesOf(each, 'v1').length >= 3);
  expect(imagesOf(stream, 'v1').slice(0, 3)).toEqual([a.digest, digest, a.digest]);
});

test('an interval that is none is refused', async () => {
  const { status, body } = await team.send('POST', 'imagestreams', {
    body: {
      metadata: { name: 'wrong' },
      spec: { tags: [{ name: 'v1', ...tagOf('x:1', {}, { annotations: { 'weir.dev/import-interval': 'often' } }) }] },
    },
  });
  expect(status).toBe(422);
  expect(body.message).toContain('expected a number with s, m, h or d, such as 30m');
});

test('the metrics tell of imports', async () => {
  const text = await (await registry.fetch('/metrics')).text();
  expect(text).toMatch(
    new RegExp(`weir_imports_total\\{registry="${upstream.host}",scheduled="true",result="imported",reason=""\\} \\d+`),
  );
  expect(text).toMatch(/result="failed",reason="NotFound"/);
  expect(text).toMatch(/result="unchanged"/);
  expect(text).toMatch(/weir_imports_waiting\{state="due"\}/);
});
